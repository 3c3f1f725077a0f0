//! The handshake, which turns a connection into a ready peer: version, verack, protoconf and sendheaders, in both
//! directions.
//!
//! The dialler sends `version` at once. The acceptor waits for it and replies with `version`, `verack` and
//! `protoconf` in one write. A peer over capacity gets no `protoconf`. A peer's version and verack are accepted in
//! any order. Apart from a `reject`, nothing else is sent before the handshake is complete. The first message after
//! it is `sendheaders`, if the negotiated version includes that message. An incompatible peer gets a `reject` if SV
//! Node would send one. Its connection is closed gracefully, so that it can read the `reject`.

use super::gossip::ask_for_addresses;
use super::greeting::HandshakeFrames;
use super::managing::Managing;
use super::nonces::Nonces;
use super::report::emit;
use super::streams;
use crate::api::{ControlEvent, Event};
use crate::bugs::canary;
use crate::error::{CloseReason, Incompatibility, LocalCause, Misbehavior};
use crate::handler::Handler;
use crate::id::{LinkId, PeerId};
use crate::link::row::Link;
use crate::peer::{ConnectionState, ConnectionType, VersionFacts, validate_version};
use crate::protocol::{CommandName, SENDHEADERS_VERSION};
use crate::state::LoopState;
use crate::wire::{NetAddress, ProtoconfRef, RejectCode, RejectRef, Sender, Version};
use rand::Rng;
use std::num::NonZeroU8;
use std::time::Duration;

/// One link's handshake. It also handles the peer's `protoconf`, `sendheaders` and `reject`.
pub(crate) struct Handshake<'a> {
    pub(super) id: LinkId,
    pub(super) state: &'a mut LoopState,
    pub(super) frames: &'a HandshakeFrames,
    pub(super) nonces: &'a mut Nonces,
}

impl Handshake<'_> {
    /// Begins the handshake of a link whose TCP connection is established.
    pub(crate) fn tcp_connected<H: Handler>(&mut self, handler: &mut H) {
        let Some(link) = self.state.links.table.get(self.id) else { return };
        if !link.is_peer() {
            return streams::connected(self.id, self.state);
        }
        let was_dialled = link.peer.state() == ConnectionState::Connecting;
        let connect = was_dialled.then(|| self.state.clocks.now().since(link.peer.since()));
        self.connection_opened(connect, handler);
    }

    /// Begins the handshake of a link; `connect` is the duration of its dial, if the loop dialled it.
    pub(crate) fn connection_opened<H: Handler>(&mut self, connect: Option<Duration>, handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let now = state.clocks.now();
        let Some(link) = state.links.table.get_mut(id) else { return };
        let before = link.peer.state();
        let is_dialler = !link.peer.is_inbound();
        link.peer.transition_to_awaiting_handshake(now).expect("the link was not open before");
        let (address, connection_type) = (link.peer.address(), link.peer.connection_type());
        let peer = PeerId::of(id);
        state.telemetry.census.moved(connection_type, before, ConnectionState::AwaitingHandshake);
        if let Some(connect) = connect {
            state.telemetry.connect.record(connect);
        }
        state.outbox.emit(ControlEvent::ConnectionEstablished { peer, address, connection_type });
        state.links.rearm(id, now);
        emit(id, Event::Opened { connect }, state, handler);
        if is_dialler && state.links.is_open(id) {
            self.send_version();
        }
    }

    /// Sends our `version`.
    fn send_version(&mut self) {
        let (state, id) = (&mut *self.state, self.id);
        let Some(link) = state.links.table.get(id) else { return };
        // The nonce is odd on dialled links and even on accepted ones. Two loops with the same seed draw the same
        // numbers, and neither may mistake the other for itself.
        let nonce = state.rng.next_u64() & !1 | u64::from(!link.peer.is_inbound());
        let address = link.peer.address();
        if !link.peer.is_inbound() {
            self.nonces.insert(nonce, id);
            if let Some(manager) = &mut state.manager {
                manager.tcp_connected(id, link.peer.address());
            }
        }
        let association_id = Some(streams::association_id_to_send(id, state));
        let facts = state.facts.remove(&id).unwrap_or_else(|| VersionFacts::of_config(&state.config));
        // The peer learns our listening port from `sender`, and our address from the connection itself.
        let port = state.manager.as_ref().map_or(0, |manager| manager.listening_port(id));
        let claimed = facts.protocol_version;
        let version = Version {
            protocol_version: i32::try_from(claimed).unwrap_or(i32::MAX),
            services: facts.services,
            time: state.clocks.unix(),
            receiver: NetAddress::from_socket(0, address),
            sender: Some(Sender {
                address: NetAddress { services: facts.services, port, ..NetAddress::UNSPECIFIED },
                nonce,
            }),
            user_agent: Some(facts.user_agent),
            start_height: Some(facts.start_height),
            relay: Some(facts.relay),
            association_id,
        };
        let mut payload = state.links.pool.take();
        version.encode(&mut payload);
        state.send_payload(id, CommandName::VERSION, payload);
        if let Some(link) = state.links.table.get_mut(id) {
            // On an accepted link, both versions have been compared already.
            if !link.peer.handshake().version_received() {
                link.negotiated_version = claimed;
            }
            link.peer.handshake_mut().mark_version_sent();
        }
    }

    /// Handles the peer's `version`: replies to it, or refuses the peer.
    pub(super) fn on_version<H: Handler>(&mut self, payload: &[u8], handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let Some(link) = state.links.table.get_mut(id) else { return };
        if link.peer.handshake_mut().repeats_version() && !canary!(SecondVersionAccepted) {
            state.telemetry.counters.duplicate_handshakes += 1;
            state.send_reject(id, b"version", RejectCode::DUPLICATE, b"Duplicate version message");
            return state.charge(id, Misbehavior::SecondVersion);
        }
        let version = match Version::decode(payload) {
            Ok(version) => version,
            Err(error) => {
                let reason = Version::reject_reason(payload);
                state.send_last_reject(id, b"version", RejectCode::STREAM_SETUP, &reason);
                return state.links.close(id, error.into(), state.clocks.now());
            }
        };
        let config = &state.config;
        // The version that we have sent counts, even if the configuration has changed since.
        let has_claimed = link.peer.handshake().version_sent();
        let ours = if has_claimed { link.negotiated_version } else { config.protocol_version };
        let negotiated = version.negotiated_version().min(ours);
        // The framer has checked the magic, so the peer is on our network. A custom magic identifies no network.
        let network = config.magic.is_none().then_some(config.network);
        let compatibility = validate_version(&version, network, config.network, &config.version_rules);
        let id_check = streams::check_id(id, &version, state);
        let Some(link) = state.links.table.get_mut(id) else { return };
        link.negotiated_version = negotiated;
        link.peer.handshake_mut().mark_version_received(version);
        if self.close_if_own() {
            return;
        }
        if let Err(cause) = compatibility {
            return self.refuse(cause);
        }
        if let Err(error) = id_check {
            let reason = b"Badly formatted association ID: Mismatched association IDs";
            self.state.send_last_reject(id, b"version", RejectCode::STREAM_SETUP, reason);
            return self.state.links.close(id, error.into(), self.state.clocks.now());
        }
        if Managing::of(self.state).is_some_and(|mut managing| !managing.identify(id)) {
            return;
        }
        self.answer_version();
        emit(id, Event::VersionReceived, self.state, handler);
        self.complete(handler);
    }

    /// Closes the link if the nonce in the peer's `version` is in [`Nonces`]: either the loop is connected to itself,
    /// or the peer repeats a nonce of ours. If the link on which we sent the nonce has the same remote IP address,
    /// closes that link too. Returns whether the nonce was in [`Nonces`].
    fn close_if_own(&mut self) -> bool {
        let (state, id) = (&mut *self.state, self.id);
        let table = &state.links.table;
        let Some(link) = table.get(id) else { return false };
        let sender = link.peer.handshake().peer_version().and_then(|version| version.sender);
        let Some(dialled) = sender.and_then(|sender| self.nonces.link_of(sender.nonce)) else { return false };
        let ip_of = |link: &Link| link.peer.address().ip().to_canonical();
        // A stranger that repeats a nonce must not be able to close the link on which we sent it.
        let is_proven = table.get(dialled).is_some_and(|dialled| ip_of(dialled) == ip_of(link));
        let reason = LocalCause::SelfConnection.into();
        if is_proven {
            state.links.close(dialled, reason, state.clocks.now());
        }
        state.links.close(id, reason, state.clocks.now());
        true
    }

    /// Sends the replies to the peer's `version`, all in one write.
    fn answer_version(&mut self) {
        let Some(link) = self.state.links.table.get(self.id) else { return };
        let over_capacity = link.peer.connection_type() == ConnectionType::OverCapacity;
        if !link.peer.handshake().version_sent() {
            self.send_version();
        }
        let (state, HandshakeFrames { verack, protoconf, .. }) = (&mut *self.state, self.frames);
        state.send_frame(self.id, CommandName::VERACK, verack);
        if !over_capacity {
            state.send_frame(self.id, CommandName::PROTOCONF, protoconf);
        }
        if let Some(link) = state.links.table.get_mut(self.id) {
            link.peer.handshake_mut().mark_verack_sent();
        }
    }

    /// Handles the peer's `verack`.
    pub(super) fn on_verack<H: Handler>(&mut self, handler: &mut H) {
        let state = &mut *self.state;
        let Some(link) = state.links.table.get_mut(self.id) else { return };
        let is_early = !link.peer.handshake().version_received();
        if !link.peer.handshake_mut().mark_verack_received() {
            state.telemetry.counters.duplicate_handshakes += 1;
            return;
        }
        if is_early {
            state.telemetry.counters.early_veracks += 1;
        }
        self.complete(handler);
    }

    /// Completes the handshake once both sides have finished it: makes the link a ready peer, or rejects the peer if
    /// it is over capacity.
    fn complete<H: Handler>(&mut self, handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let now = state.clocks.now();
        let Some(link) = state.links.table.get_mut(id) else { return };
        let awaited = link.peer.state() == ConnectionState::AwaitingHandshake && link.is_open();
        if !awaited || !link.peer.handshake().is_complete() {
            return;
        }
        if link.peer.connection_type() == ConnectionType::OverCapacity {
            return self.turn_away();
        }
        let handshake = now.since(link.peer.since());
        let before = link.peer.state();
        if link.negotiated_version >= SENDHEADERS_VERSION {
            state.send_frame(id, CommandName::SENDHEADERS, &self.frames.sendheaders);
        }
        let Some(link) = state.links.table.get_mut(id) else { return };
        link.peer.transition_to_connected(now).expect("the handshake is complete");
        link.pinged_at = now;
        let (address, connection_type) = (link.peer.address(), link.peer.connection_type());
        state.telemetry.census.moved(connection_type, before, ConnectionState::Connected);
        state.telemetry.handshake.record(handshake);
        state.telemetry.counters.handshakes += 1;
        self.nonces.remove(id);
        let peer = PeerId::of(id);
        state.outbox.emit(ControlEvent::HandshakeComplete { peer, address, connection_type, handshake });
        if let Some(mut managing) = Managing::of(state) {
            managing.handshake_completed(id);
            ask_for_addresses(id, state);
        }
        state.links.rearm(id, now);
        emit(id, Event::Ready { handshake }, state, handler);
        streams::begin_reading(id, state);
    }

    /// Closes an incompatible peer. If SV Node sends a `reject` in the same case, a `reject` is sent first.
    fn refuse(&mut self, cause: Incompatibility) {
        let (state, id) = (&mut *self.state, self.id);
        match cause {
            Incompatibility::ProtocolVersion { .. } => {
                let min = state.config.version_rules.min_protocol_version;
                let reason = format!("Version must be {min} or greater");
                state.send_last_reject(id, b"version", RejectCode::OBSOLETE, reason.as_bytes());
            }
            Incompatibility::Network { .. } | Incompatibility::Blockchain | Incompatibility::BannedUserAgent => {}
        }
        state.links.close(id, CloseReason::Incompatible(cause), state.clocks.now());
        state.ban_if_earned(id);
    }

    /// Sends a `reject` to a peer over capacity, and closes the peer gracefully so that it can read the `reject`.
    fn turn_away(&mut self) {
        let (state, id) = (&mut *self.state, self.id);
        state.send_last_reject(id, b"version", RejectCode::TOO_BUSY, b"maximum of connections reached");
        if let Some(link) = state.links.table.get(id) {
            let (peer, address) = (PeerId::of(id), link.peer.address());
            state.outbox.emit(ControlEvent::RejectedOverCapacity { peer, address });
        }
        state.links.close(id, LocalCause::OverCapacity.into(), state.clocks.now());
    }

    // --- After the handshake ----------------------------------------------------------------------------------------

    /// Handles the peer's `protoconf`; a second or undecodable one aborts the link.
    pub(super) fn on_protoconf<H: Handler>(&mut self, payload: &[u8], handler: &mut H) {
        let links = &mut self.state.links;
        let ProtoconfRef { max_recv_payload_bytes, stream_policies } = match ProtoconfRef::decode(payload) {
            Ok(protoconf) => protoconf,
            Err(error) => return links.abort(self.id, error.into()),
        };
        let Some(link) = links.table.get_mut(self.id) else { return };
        if !link.peer.apply_protoconf(max_recv_payload_bytes) {
            return links.abort(self.id, Misbehavior::SecondProtoconf.into());
        }
        streams::open_if_agreed(self.id, stream_policies, self.state);
        emit(self.id, Event::LimitsAnnounced { max_recv_payload_bytes, stream_policies }, self.state, handler);
    }

    /// Handles the peer's `sendheaders`, and charges the peer for a second one.
    pub(super) fn on_sendheaders<H: Handler>(&mut self, handler: &mut H) {
        let state = &mut *self.state;
        let Some(link) = state.links.table.get_mut(self.id) else { return };
        if link.peer.send_headers_mode() {
            return state.charge(self.id, Misbehavior::SecondSendHeaders);
        }
        link.peer.set_send_headers_mode();
        emit(self.id, Event::SendHeaders, state, handler);
    }

    /// Handles the peer's `reject`, which usually explains the close that follows it.
    pub(super) fn on_reject<H: Handler>(&mut self, payload: &[u8], handler: &mut H) {
        let state = &mut *self.state;
        let Ok(reject) = RejectRef::decode(payload) else {
            state.telemetry.counters.undecodable += 1;
            return;
        };
        if let Some(link) = state.links.table.get_mut(self.id) {
            link.reject_code = NonZeroU8::new(reject.code.0);
        }
        emit(self.id, Event::Rejected(reject), state, handler);
    }
}
