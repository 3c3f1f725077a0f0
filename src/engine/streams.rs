//! The setup of a peer's further TCP streams, in both roles (SV Node 1.2.2, net_processing.cpp
//! ProcessCreateStreamMessage and ProcessStreamAckMessage).
//!
//! The dialler offers an association id in its `version`, and the acceptor repeats it. When the acceptor's `protoconf`
//! lists `BlockPriority`, the dialler opens a second connection, whose first message is `createstrm`. The acceptor adds
//! that connection to the peer and replies with `streamack` on it. A setup that fails is not repeated, and the peer
//! keeps its first stream.
//!
//! An accepted link is a peer of its own until its `createstrm` arrives. It is then closed as a peer, and all that a
//! peer holds is given back: its slot, its host's count and its place in the statistics. The link itself stays open. A
//! stream is not read before the peer's own handshake is complete. Messages that arrive together with a `createstrm`
//! before that are charged like those on the peer's first stream.

use super::managing;
use super::report::emit;
use crate::api::{ControlEvent, Event};
use crate::config::Multistreams;
use crate::error::{CloseReason, LocalCause, Misbehavior, WireError};
use crate::handler::Handler;
use crate::id::{LinkId, PeerId};
use crate::link::association::{Association, Uuid};
use crate::link::row::{Ending, Link, Phase};
use crate::peer::{ConnectionState, ConnectionType, LinkRole, StreamPolicy};
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::{AssociationId, CreateStreamRef, RejectCode, StreamAck, StreamType, Version};
use rand::Rng;
use std::net::IpAddr;

/// The stream that this side opens, the only one that a policy uses.
const OPENED: StreamType = StreamType::Data1;

// --- The association id ---------------------------------------------------------------------------------------------

/// Returns the association id that our `version` names on a link, and stores it.
pub(super) fn association_id_to_send(id: LinkId, state: &mut LoopState) -> AssociationId {
    let Some(link) = state.links.table.get(id) else { return AssociationId::Empty };
    if !link.peer.is_inbound() {
        let may_offer = state.config.multistreams == Multistreams::Open;
        let Some(association) = state.links.association_mut(id).filter(|_| may_offer) else {
            return AssociationId::Empty;
        };
        let uuid = random_uuid(&mut state.rng);
        association.id = Some(uuid);
        return AssociationId::Uuid(uuid);
    }
    let offered = link.peer.handshake().peer_version().and_then(|version| version.association_id);
    let has_slot = link.peer.connection_type() == ConnectionType::Inbound;
    match offered {
        Some(AssociationId::Uuid(uuid)) if has_slot && state.config.multistreams != Multistreams::Off => {
            // A peer that names another peer's id gets a single stream.
            if !state.links.claim_id(id, uuid, &mut state.rng) {
                return AssociationId::Empty;
            }
            state.links.associate(id, Association::of_accepted(uuid));
            AssociationId::Uuid(uuid)
        }
        Some(AssociationId::Uuid(_) | AssociationId::Empty) | None => AssociationId::Empty,
    }
}

/// Draws a UUID of version 4.
fn random_uuid(rng: &mut impl Rng) -> Uuid {
    let mut uuid = [0; 16];
    rng.fill_bytes(&mut uuid);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Compares the association id in the `version` of a peer that we dialled with the id that we offered. Without an id,
/// the peer keeps a single stream.
///
/// # Errors
///
/// If the peer names another id.
pub(super) fn check_id(id: LinkId, version: &Version, state: &mut LoopState) -> Result<(), WireError> {
    let Some(offered) = state.links.association(id).filter(|association| !association.is_agreed) else { return Ok(()) };
    match (offered.id, version.association_id) {
        (Some(ours), Some(AssociationId::Uuid(theirs))) if ours == theirs => {
            if let Some(association) = state.links.association_mut(id) {
                association.is_agreed = true;
            }
            Ok(())
        }
        (_, Some(AssociationId::Uuid(_))) => Err(WireError::BadValue { command: CommandName::VERSION }),
        (_, Some(AssociationId::Empty) | None) => {
            state.links.dissociate(id);
            Ok(())
        }
    }
}

// --- The dialler ----------------------------------------------------------------------------------------------------

/// Opens the second stream of a peer that we dialled, whose `protoconf` lists `policies`. Opens none unless the peer
/// has repeated our association id and both sides support a policy that uses the stream.
pub(super) fn open_if_agreed(peer: LinkId, policies: Option<&[u8]>, state: &mut LoopState) {
    let is_dialler = state.links.table.get(peer).is_some_and(|link| !link.peer.is_inbound());
    let is_agreed = state.links.association(peer).is_some_and(|association| association.is_agreed);
    let policy = policies.and_then(StreamPolicy::common);
    if !is_dialler || !is_agreed || policy != Some(StreamPolicy::BlockPriority) || state.stopping {
        return;
    }
    if state.open_stream(peer, OPENED).is_none() {
        report_failure(peer, LocalCause::OverCapacity.into(), state);
    }
}

/// Sends `createstrm` on the connection that we opened for a peer's second stream.
pub(super) fn connected(id: LinkId, state: &mut LoopState) {
    let now = state.clocks.now();
    let peer = state.links.peer_of(id);
    let stream_type = state.links.stream_type(id);
    let Some(uuid) = state.links.association(peer).and_then(|association| association.id) else { return };
    let Some(link) = state.links.table.get_mut(id) else { return };
    link.peer.transition_to_awaiting_handshake(now).expect("the link was not open before");
    let (association_id, policy) = (AssociationId::Uuid(uuid), StreamPolicy::BlockPriority.name().as_bytes());
    let mut payload = state.links.pool.take();
    CreateStreamRef { association_id, stream_type, policy }.encode(&mut payload);
    state.send_payload(id, CommandName::CREATESTRM, payload);
    state.links.rearm(id, now);
}

/// Handles the `streamack` on a connection that we opened for a peer's second stream.
pub(super) fn on_streamack<H: Handler>(id: LinkId, payload: &[u8], state: &mut LoopState, handler: &mut H) {
    let peer = state.links.peer_of(id);
    let expected = state.links.association(peer).and_then(|association| association.id).map(AssociationId::Uuid);
    let expected =
        expected.map(|association_id| StreamAck { association_id, stream_type: state.links.stream_type(id) });
    match StreamAck::decode(payload) {
        Ok(ack) if Some(ack) == expected => {
            add_stream(id, peer, ack.stream_type, Some(StreamPolicy::BlockPriority), state);
            report_opened(peer, id, state, handler);
        }
        Ok(_) => state.links.abort(id, WireError::BadValue { command: CommandName::STREAMACK }.into()),
        Err(error) => state.links.abort(id, error.into()),
    }
}

/// Reports a second stream that could not be opened.
pub(super) fn report_failure(peer: LinkId, reason: CloseReason, state: &mut LoopState) {
    let Some(address) = state.links.table.get(peer).map(|link| link.peer.address()) else { return };
    state.telemetry.counters.stream_failures += 1;
    state.outbox.emit(ControlEvent::StreamFailed { peer: PeerId::of(peer), address, reason });
}

// --- The acceptor ---------------------------------------------------------------------------------------------------

/// A `createstrm` that the peer it names does not allow.
struct Refused {
    text: Vec<u8>,
    is_foreign: bool,
}

/// Handles `createstrm` on an accepted connection without a `version`: adds the connection to the peer with the named
/// association id, or rejects it.
pub(super) fn on_createstrm<H: Handler>(id: LinkId, payload: &[u8], state: &mut LoopState, handler: &mut H) {
    let Some(link) = state.links.table.get(id) else { return };
    let host = link.peer.address().ip();
    match find_peer(payload, host, state) {
        Ok((peer, stream_type, policy)) => {
            close_as_peer(id, peer, stream_type, state, handler);
            // The handler may have closed both in the meantime.
            if !state.links.is_open(peer) {
                return state.links.abort(id, LocalCause::StreamRefused.into());
            }
            if state.links.is_open(id) {
                // The stream's first message. No frame overtakes it, because the link is no open stream yet.
                acknowledge(id, peer, stream_type, state);
                add_stream(id, peer, stream_type, policy, state);
                report_opened(peer, id, state, handler);
            }
        }
        Err(Refused { text, is_foreign }) => {
            state.send_last_reject(id, b"createstrm", RejectCode::STREAM_SETUP, &text);
            if is_foreign {
                state.charge(id, Misbehavior::StreamFromOtherHost);
            }
            // A graceful close, so that the peer can read the `reject`.
            state.links.close(id, LocalCause::StreamRefused.into(), state.clocks.now());
        }
    }
}

/// Returns the peer that a `createstrm` from `host` names, the stream to add, and the policy to set, if any. The checks
/// and the texts are those of SV Node 1.0.13, in the same order, but the stream type 0 is refused.
fn find_peer(
    payload: &[u8],
    host: IpAddr,
    state: &LoopState,
) -> Result<(LinkId, StreamType, Option<StreamPolicy>), Refused> {
    let refused = |text: Vec<u8>| Refused { text, is_foreign: false };
    let request = CreateStreamRef::decode(payload).map_err(|_| refused(CreateStreamRef::reject_reason(payload)))?;
    let AssociationId::Uuid(uuid) = request.association_id else {
        return Err(refused(CreateStreamRef::reject_reason(payload)));
    };
    if request.stream_type == StreamType::Unknown {
        return Err(refused(b"StreamType out of range".into()));
    }
    let peer = state.links.peer_with_id(&uuid).filter(|peer| state.links.is_open(*peer));
    let row = peer.and_then(|peer| Some((peer, state.links.peer(peer)?)));
    let Some((peer, link)) = row else {
        return Err(refused(format!("No node found with association ID {}", Hyphenated(&uuid)).into()));
    };
    let owner = link.peer.address().ip();
    if owner.to_canonical() != host.to_canonical() {
        let text = format!("Attempt to move stream between peers with different IPs: {host} != {owner}");
        return Err(Refused { text: text.into(), is_foreign: true });
    }
    let policy = match request.policy {
        b"" => None,
        name => Some(
            StreamPolicy::from_name(name).ok_or_else(|| refused([b"Unknown stream policy name ", name].concat()))?,
        ),
    };
    if !state.links.association(peer).is_some_and(|association| association.is_free(request.stream_type)) {
        return Err(refused(b"Attempt to overwrite existing stream in move".into()));
    }
    Ok((peer, request.stream_type, policy))
}

/// Closes an accepted link as a peer, because it becomes another peer's stream: gives back all that a peer holds, and
/// reports the close. The link stays open.
fn close_as_peer<H: Handler>(
    id: LinkId,
    peer: LinkId,
    stream_type: StreamType,
    state: &mut LoopState,
    handler: &mut H,
) {
    let Some(link) = state.links.table.get(id) else { return };
    let reason = CloseReason::from(LocalCause::BecameStream);
    let consequences = reason.consequences();
    let leaving = managing::leaving(id, link, reason, consequences);
    managing::give_back(leaving, state);
    let ending = Ending { reason, consequences, phase: Phase::Draining(state.clocks.now()) };
    set_ending(id, Some(Box::new(ending)), state);
    // As in every other close, the handler sees a peer with which it can do nothing more.
    emit(id, Event::Closed { reason, state: leaving.state }, state, handler);
    set_ending(id, None, state);
    state.links.join(id, peer, stream_type, true);
}

fn set_ending(id: LinkId, ending: Option<Box<Ending>>, state: &mut LoopState) {
    if let Some(link) = state.links.table.get_mut(id) {
        link.ending = ending;
    }
}

fn acknowledge(id: LinkId, peer: LinkId, stream_type: StreamType, state: &mut LoopState) {
    let Some(uuid) = state.links.association(peer).and_then(|association| association.id) else { return };
    let mut payload = state.links.pool.take();
    StreamAck { association_id: AssociationId::Uuid(uuid), stream_type }.encode(&mut payload);
    state.send_payload(id, CommandName::STREAMACK, payload);
}

/// Adds a link to a peer's streams. The caller reports it.
fn add_stream(id: LinkId, peer: LinkId, stream_type: StreamType, policy: Option<StreamPolicy>, state: &mut LoopState) {
    let now = state.clocks.now();
    let Some(hold) = state.links.peer(peer).map(|link| link.hold) else { return };
    let Some(link) = state.links.table.get_mut(id) else { return };
    link.peer.become_stream(now);
    state.links.join(id, peer, stream_type, false);
    let Some(association) = state.links.association_mut(peer) else { return };
    association.policy = policy.unwrap_or(association.policy);
    match hold.is_held() {
        true => state.links.hold(id, now, |of_link| *of_link = hold),
        false => state.links.release(id, now, |of_link| *of_link = hold),
    }
    state.telemetry.counters.streams_opened += 1;
    state.links.rearm(id, now);
}

/// Reports a stream that was added to a peer.
fn report_opened<H: Handler>(peer: LinkId, id: LinkId, state: &mut LoopState, handler: &mut H) {
    let stream_type = state.links.stream_type(id);
    let Some(policy) = state.links.association(peer).map(|association| association.policy) else { return };
    let Some(address) = state.links.table.get(id).map(|link| link.peer.address()) else { return };
    state.outbox.emit(ControlEvent::StreamOpened { peer: PeerId::of(peer), address, stream_type, policy });
    emit(peer, Event::StreamOpened { stream_type, policy }, state, handler);
}

/// Lists a peer's further streams for reading, because the peer's handshake is complete.
pub(super) fn begin_reading(peer: LinkId, state: &mut LoopState) {
    if state.links.association(peer).is_some() {
        for member in state.links.members(peer) {
            state.links.table.mark_ready(member);
        }
    }
}

// --- Both roles -----------------------------------------------------------------------------------------------------

/// Rejects a `createstrm` or `streamack` on a connection that is in use, and closes the peer, even if its host is
/// trusted.
pub(super) fn refuse_late(peer: LinkId, command: CommandName, state: &mut LoopState) {
    let (message, reason): (&[u8], &[u8]) = match command {
        CommandName::CREATESTRM => (b"createstrm", b"Invalid createstream scenario"),
        _ => (b"streamack", b"Invalid streamack"),
    };
    state.send_last_reject(peer, message, RejectCode::NONSTANDARD, reason);
    state.charge(peer, Misbehavior::LateStreamSetup);
    state.links.close(peer, Misbehavior::LateStreamSetup.into(), state.clocks.now());
}

/// Returns whether a stream must not be read yet, because its peer's handshake is not complete.
pub(super) fn awaits_handshake(id: LinkId, state: &LoopState) -> bool {
    let table = &state.links.table;
    let is_awaited = |link: &Link| link.is_open() && link.peer.state() == ConnectionState::AwaitingHandshake;
    table.get(id).is_some_and(|link| link.peer.role() == LinkRole::Stream)
        && table.get(state.links.peer_of(id)).is_some_and(is_awaited)
}

/// The usual text of a UUID.
struct Hyphenated<'a>(&'a Uuid);

impl std::fmt::Display for Hyphenated<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}
