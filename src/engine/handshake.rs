//! How a connection becomes a peer: version, verack, protoconf and sendheaders, in both directions.
//!
//! The dialler says `version` at once; the acceptor waits for it and answers with `version`, `verack` and `protoconf`
//! in one write. Version and verack are taken in any order. Everything else, `sendheaders` first, waits for the peer's
//! `verack`. A peer that is refused for what it is gets a `reject` where the node sends one, and is closed gracefully
//! so that it can read it.

use super::Engine;
use crate::api::{ControlEvent, Event};
use crate::bugs::{self, Bug};
use crate::config::Config;
use crate::error::{CloseReason, Incompatibility, LocalCause, Misbehaviour};
use crate::handler::Handler;
use crate::id::{LinkId, PeerId};
use crate::limits::HEADER_LEN_BYTES;
use crate::manager::ban::Misconduct;
use crate::peer::{ConnectionState, ConnectionType, validate_version};
use crate::protocol::{CommandName, SENDHEADERS_VERSION};
use crate::state::LoopState;
use crate::wire::{
    AssociationId, MessageRef, NetAddress, ProtoconfRef, RejectCode, RejectRef, Sender, Version, put_frame,
};
use rand::Rng;
use std::num::NonZeroU8;

/// The stream policies that an SV node lists; peers without a common one use a single stream.
const STREAM_POLICIES: &[u8] = b"BlockPriority,Default";

/// The frames of the handshake that are the same for every peer.
#[derive(Debug)]
pub(super) struct HandshakeFrames {
    verack: Vec<u8>,
    protoconf: Vec<u8>,
    sendheaders: Vec<u8>,
}

impl HandshakeFrames {
    pub(super) fn new(config: &Config) -> Self {
        let magic = config.magic_bytes();
        let frame = |message: MessageRef<'_>| {
            let mut bytes = Vec::new();
            message.encode_frame(magic, &mut bytes);
            bytes
        };
        let max_recv_payload_bytes = u32::try_from(config.message_max_bytes).expect("the configuration is validated");
        Self {
            verack: frame(MessageRef::Verack),
            protoconf: frame(MessageRef::Protoconf(ProtoconfRef {
                max_recv_payload_bytes,
                stream_policies: Some(STREAM_POLICIES),
            })),
            sendheaders: frame(MessageRef::SendHeaders),
        }
    }
}

/// Appends a frame of the handshake to what goes out on a link.
fn append_frame(state: &mut LoopState, id: LinkId, command: CommandName, frame: &[u8]) {
    state.append(id, frame.len(), |out| out.extend_from_slice(frame));
    state.telemetry.sent.add(command, (frame.len() - HEADER_LEN_BYTES) as u64);
}

impl Engine {
    /// Sends our `version`.
    pub(super) fn send_version(&mut self, id: LinkId) {
        let Some(link) = self.state.links.table.get(id) else { return };
        // Odd where we dialled and even where we accepted: two loops with one seed draw the same numbers, and must not
        // take each other for themselves.
        let nonce = self.state.rng.next_u64() & !1 | u64::from(!link.peer.is_inbound());
        self.version_leaves(id, nonce);
        let Some(link) = self.state.links.table.get(id) else { return };
        let config = &self.state.config;
        // A node tells our port by it; who we are it sees.
        let port = self.state.manager.as_ref().map_or(0, |manager| manager.listening_port());
        let version = Version {
            protocol_version: i32::try_from(config.protocol_version).unwrap_or(i32::MAX),
            services: config.services,
            time: self.state.clocks.unix(),
            receiver: NetAddress::from_socket(0, link.peer.address()),
            sender: Some(Sender {
                address: NetAddress { services: config.services, port, ..NetAddress::UNSPECIFIED },
                nonce,
            }),
            user_agent: Some(config.user_agent.as_bytes().into()),
            start_height: Some(config.start_height),
            relay: Some(config.relay),
            association_id: Some(AssociationId::Empty),
        };
        let mut payload = self.state.links.pool.take();
        version.encode(&mut payload);
        self.send(id, CommandName::VERSION, payload);
        let claimed = self.state.config.protocol_version;
        if let Some(link) = self.state.links.table.get_mut(id) {
            // An acceptor has compared both versions already.
            if !link.peer.handshake().version_received() {
                link.negotiated_version = claimed;
            }
            link.peer.handshake_mut().mark_version_sent();
        }
    }

    pub(super) fn on_version<H: Handler>(&mut self, id: LinkId, payload: &[u8], handler: &mut H) {
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        if link.peer.handshake_mut().repeats_version() && !bugs::is_planted(Bug::SecondVersionAccepted) {
            self.state.telemetry.counters.duplicate_handshakes += 1;
            self.say_reject(id, b"version", RejectCode::DUPLICATE, b"Duplicate version message");
            return self.misbehaved(id, Misconduct::SecondVersion);
        }
        let version = match Version::decode(payload) {
            Ok(version) => version,
            Err(error) => {
                self.send_reject(id, b"version", RejectCode::STREAM_SETUP, &Version::reject_reason(payload));
                return self.state.links.close(id, error.into(), self.state.clocks.now());
            }
        };
        let config = &self.state.config;
        // What we have claimed counts, whatever the configuration says by now.
        let has_claimed = link.peer.handshake().version_sent();
        let ours = if has_claimed { link.negotiated_version } else { config.protocol_version };
        let negotiated = version.negotiated_version().min(ours);
        // The framer has compared the magic, so a frame is on our network unless its magic is one that says nothing.
        let heard_on = config.magic.is_none().then_some(config.network);
        let verdict = validate_version(&version, heard_on, config.network, &config.version_rules);
        link.negotiated_version = negotiated;
        link.peer.handshake_mut().mark_version_received(version);
        if self.close_if_own(id) {
            return;
        }
        if let Err(cause) = verdict {
            return self.refuse(id, cause);
        }
        if !self.identify(id) {
            return;
        }
        self.answer_version(id);
        self.tell(id, Event::VersionReceived, handler);
        self.complete_handshake(id, handler);
    }

    /// Sends what follows the peer's version, all of it in the write that is being gathered.
    fn answer_version(&mut self, id: LinkId) {
        let Some(link) = self.state.links.table.get(id) else { return };
        let over_capacity = link.peer.connection_type() == ConnectionType::OverCapacity;
        if !link.peer.handshake().version_sent() {
            self.send_version(id);
        }
        let HandshakeFrames { verack, protoconf, .. } = &self.frames;
        append_frame(&mut self.state, id, CommandName::VERACK, verack);
        if !over_capacity {
            append_frame(&mut self.state, id, CommandName::PROTOCONF, protoconf);
        }
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.peer.handshake_mut().mark_verack_sent();
        }
    }

    pub(super) fn on_verack<H: Handler>(&mut self, id: LinkId, handler: &mut H) {
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        let is_early = !link.peer.handshake().version_received();
        if !link.peer.handshake_mut().mark_verack_received() {
            self.state.telemetry.counters.duplicate_handshakes += 1;
            return;
        }
        if is_early {
            self.state.telemetry.counters.early_veracks += 1;
        }
        self.complete_handshake(id, handler);
    }

    fn complete_handshake<H: Handler>(&mut self, id: LinkId, handler: &mut H) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        let awaited = link.peer.state() == ConnectionState::AwaitingHandshake && link.is_open();
        if !awaited || !link.peer.handshake().is_complete() {
            return;
        }
        if link.peer.connection_type() == ConnectionType::OverCapacity {
            return self.turn_away(id);
        }
        let handshake = now.since(link.peer.since());
        let before = link.peer.state();
        if link.negotiated_version >= SENDHEADERS_VERSION {
            append_frame(&mut self.state, id, CommandName::SENDHEADERS, &self.frames.sendheaders);
        }
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        link.peer.transition_to_connected(now).expect("its handshake is complete");
        link.pinged_at = now;
        let (address, connection_type) = (link.peer.address(), link.peer.connection_type());
        self.state.telemetry.census.moved(connection_type, before, ConnectionState::Connected);
        self.state.telemetry.handshake.record(handshake);
        self.state.telemetry.counters.handshakes += 1;
        self.nonces.remove(id);
        let peer = PeerId::of(id);
        self.state.outbox.tell(ControlEvent::HandshakeComplete { peer, address, connection_type, handshake });
        self.settled(id);
        self.ask_for_addresses(id);
        self.state.links.rearm(id, now);
        self.tell(id, Event::Ready { handshake }, handler);
    }

    /// Closes a peer that is not one for us, with the words of the node where it has any.
    fn refuse(&mut self, id: LinkId, cause: Incompatibility) {
        match cause {
            Incompatibility::ProtocolVersion { .. } => {
                let min = self.state.config.version_rules.protocol_version_min;
                let reason = format!("Version must be {min} or greater");
                self.send_reject(id, b"version", RejectCode::OBSOLETE, reason.as_bytes());
            }
            Incompatibility::Network { .. } | Incompatibility::Blockchain | Incompatibility::BannedUserAgent => {}
        }
        self.state.links.close(id, CloseReason::Incompatible(cause), self.state.clocks.now());
        self.state.ban_if_earned(id);
    }

    /// Tells a peer beyond the maximum that there is no room, once it can understand that.
    fn turn_away(&mut self, id: LinkId) {
        self.send_reject(id, b"version", RejectCode::TOO_BUSY, b"maximum of connections reached");
        if let Some(link) = self.state.links.table.get(id) {
            let (peer, address) = (PeerId::of(id), link.peer.address());
            self.state.outbox.tell(ControlEvent::RejectedOverCapacity { peer, address });
        }
        self.state.links.close(id, LocalCause::OverCapacity.into(), self.state.clocks.now());
    }

    /// Sends a `reject`, which the peer gets time to read before the connection ends.
    pub(super) fn send_reject(&mut self, id: LinkId, message: &[u8], code: RejectCode, reason: &[u8]) {
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.said_reject = true;
        }
        self.say_reject(id, message, code, reason);
    }

    /// Sends a `reject` of `message`.
    pub(super) fn say_reject(&mut self, id: LinkId, message: &[u8], code: RejectCode, reason: &[u8]) {
        let reject = RejectRef { message, code, reason, hash: None };
        let mut payload = self.state.links.pool.take();
        reject.encode(&mut payload);
        self.send(id, CommandName::REJECT, payload);
    }

    /// Sends a message whose payload was encoded into a pooled buffer.
    pub(super) fn send(&mut self, id: LinkId, command: CommandName, payload: Vec<u8>) {
        let magic = self.state.magic;
        let len = HEADER_LEN_BYTES + payload.len();
        self.state.append(id, len, |out| put_frame(magic, command, &payload, out));
        self.state.telemetry.sent.add(command, payload.len() as u64);
        self.state.links.pool.put(payload);
    }

    // --- What follows the handshake ---------------------------------------------------------------------------------

    pub(super) fn on_protoconf<H: Handler>(&mut self, id: LinkId, payload: &[u8], handler: &mut H) {
        let ProtoconfRef { max_recv_payload_bytes, stream_policies } = match ProtoconfRef::decode(payload) {
            Ok(protoconf) => protoconf,
            Err(error) => return self.state.links.abort(id, error.into()),
        };
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        if !link.peer.apply_protoconf(max_recv_payload_bytes) {
            return self.state.links.abort(id, Misbehaviour::SecondProtoconf.into());
        }
        self.tell(id, Event::LimitsAnnounced { max_recv_payload_bytes, stream_policies }, handler);
    }

    pub(super) fn on_sendheaders<H: Handler>(&mut self, id: LinkId, handler: &mut H) {
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        if link.peer.send_headers_mode() {
            return self.misbehaved(id, Misconduct::SecondSendHeaders);
        }
        link.peer.set_send_headers_mode();
        self.tell(id, Event::SendHeaders, handler);
    }

    pub(super) fn on_reject<H: Handler>(&mut self, id: LinkId, payload: &[u8], handler: &mut H) {
        let Ok(reject) = RejectRef::decode(payload) else {
            self.state.telemetry.counters.undecodable += 1;
            return;
        };
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.reject_code = NonZeroU8::new(reject.code.0);
        }
        self.tell(id, Event::Rejected(reject), handler);
    }
}
