//! The intake of one link: extracts frames from the received bytes, handles the engine's own messages, and passes the
//! rest to the subscribers and the handler.
//!
//! The replies to one read are collected in the loop's write block and written with one call.

use super::conduct::{judge, note_bad_checksum};
use super::gossip::observe_gossip;
use super::report::emit;
use super::{Engine, conduct, streams};
use crate::api::{Chunk, Event, Frame, MessageEvent};
use crate::bugs::canary;
use crate::config::Config;
use crate::error::{CloseReason, IoStep, Misbehavior, WireError};
use crate::handler::{Ctx, Handler};
use crate::id::{LinkId, PeerId};
use crate::limits::{
    MAX_EMPTY_GATHERED_BYTES, MAX_HANDSHAKE_PAYLOAD_BYTES, MAX_LEGACY_PAYLOAD_BYTES, MAX_PING_GATHERED_BYTES,
    MAX_PONG_GATHERED_BYTES, MAX_POOLED_BUFFER_BYTES, MAX_REJECT_GATHERED_BYTES,
};
use crate::link::blocks::{WriteBlock, worth_sharing};
use crate::link::framer::{ChecksumVerdict, Delivery, DropCause, Framed, Input, Payload};
use crate::manager::Manager;
use crate::peer::{ConnectionState, LinkRole};
use crate::protocol::CommandName;
use crate::state::{Links, LoopState};
use crate::time::Instant;
use crate::wire::{Header, RejectRef};
use bytes::Bytes;
use std::num::NonZeroU8;
use std::{io, mem};

impl Engine {
    // --- Readiness --------------------------------------------------------------------------------------------------

    /// Records that the kernel has no more events, so every link with unread input is now known to be readable.
    pub(crate) fn input_is_seen(&mut self) {
        self.state.clocks.input_seen_until = self.now();
    }

    /// Records a socket's readiness. Returns whether the link is still connecting; if so, the caller must query
    /// the result of the connect.
    pub(crate) fn note_readiness(&mut self, id: LinkId, readable: bool, writable: bool, hung_up: bool) -> bool {
        let table = &mut self.state.links.table;
        let Some(link) = table.get_mut(id) else {
            self.state.telemetry.counters.stale_events += 1;
            return false;
        };
        link.readiness.readable |= readable;
        link.readiness.writable |= writable;
        link.readiness.hung_up |= hung_up;
        let has_queue = !link.queue.is_empty();
        if link.is_connecting() {
            return true;
        }
        if readable {
            table.mark_ready(id);
        }
        if writable && has_queue {
            table.mark_dirty(id);
        }
        false
    }

    // --- Reading ----------------------------------------------------------------------------------------------------

    /// Returns whether a link that is listed as ready may be read.
    pub(crate) fn may_read(&self, id: LinkId) -> bool {
        let Some(link) = self.state.links.table.get(id) else { return false };
        let is_early = link.peer.role() == LinkRole::Stream && streams::awaits_handshake(id, &self.state);
        !link.hold.is_held() && !link.has_ended() && !is_early
    }

    /// Returns whether a link is a stream whose peer's handshake is not complete, so that it must not be read yet.
    #[cfg(feature = "sim")]
    pub(crate) fn awaits_handshake(&self, id: LinkId) -> bool {
        streams::awaits_handshake(id, &self.state)
    }

    /// Returns whether the input of a peer's stream DATA1 is to be read before this link's input.
    pub(crate) fn is_behind_stream(&self, id: LinkId) -> bool {
        self.state.links.has_input_before(id)
    }

    /// Returns the room in a link's own buffer into which its next bytes must be read; `None` if they must be read into
    /// a block.
    pub(crate) fn direct_room(&mut self, id: LinkId) -> Option<&mut [u8]> {
        let link = self.state.links.table.get_mut(id)?;
        if !link.is_open() { None } else { link.framer.direct_room(&mut self.memory) }
    }

    /// Handles the result of a read into `room_len` bytes. If the read filled the whole room, more bytes
    /// may be readable.
    pub(crate) fn conclude_read(&mut self, id: LinkId, received: io::Result<usize>, room_len: usize) {
        match received {
            Ok(0) => self.ended_by_peer(id),
            Ok(len) => {
                let table = &mut self.state.links.table;
                if let Some(link) = table.get_mut(id) {
                    let is_full = len == room_len && !canary!(LostEdge);
                    link.readiness.readable = is_full || link.readiness.hung_up;
                    table.mark_ready(id);
                }
            }
            Err(error) => self.stalled(id, IoStep::Read, &error),
        }
    }
}

/// The input of one link while it is parsed, and the window in which replies to it are collected.
///
/// The write block belongs to the link from [`Intake::open`] until this value is consumed or dropped. Replies not
/// written by then are queued, so none is lost or sent to another link. All input is parsed through an `Intake`.
#[derive(Debug)]
pub(crate) struct Intake<'a, H: Handler> {
    engine: &'a mut Engine,
    handler: &'a mut H,
    id: LinkId,
}

impl<H: Handler> Drop for Intake<'_, H> {
    fn drop(&mut self) {
        let state = &mut self.engine.state;
        state.end_replies(self.id);
    }
}

impl<'a, H: Handler> Intake<'a, H> {
    /// Opens the reply window of a link.
    pub(crate) fn open(id: LinkId, engine: &'a mut Engine, handler: &'a mut H) -> Self {
        engine.state.begin_replies(id);
        Self { engine, handler, id }
    }

    /// Returns the loop's current time.
    pub(crate) fn now(&self) -> Instant {
        self.engine.now()
    }

    /// Parses `len` bytes that were received into [`Engine::direct_room`].
    pub(crate) fn received_directly(&mut self, len: usize) {
        let now = self.now();
        let state = &mut self.engine.state;
        if let Some(link) = state.links.table.get_mut(self.id) {
            link.framer.received_directly(len, now);
        }
        state.telemetry.counters.bytes_received += len as u64;
        self.parse(&Bytes::new(), 0);
    }

    /// Parses `len` bytes that were received into `block`.
    pub(crate) fn received(&mut self, block: &Bytes, len: usize) {
        self.engine.telemetry_mut().counters.bytes_received += len as u64;
        self.parse(block, len);
    }

    /// Returns the replies collected so far.
    pub(crate) fn replies(&self) -> &WriteBlock {
        self.engine.links().replies()
    }

    /// Handles the result of writing the replies at the moment `at`, queues the bytes that the kernel did not accept,
    /// and closes the reply window.
    pub(crate) fn wrote_replies(self, written: io::Result<usize>, at: Instant) {
        let (engine, id) = (&mut *self.engine, self.id);
        let written = match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => result,
        };
        let written = match written {
            Ok(written) => {
                if written < engine.state.links.replies().gathered().len() {
                    engine.state.links.not_writable(id);
                }
                written
            }
            Err(error) => {
                engine.stalled(id, IoStep::Write, &error);
                0
            }
        };
        let next = engine.state.wrote_replies(id, written, at);
        if !canary!(RepliesTellNobody) {
            engine.after_write(id, next, self.handler);
        }
    }

    /// Extracts every frame from the bytes. During this call the framer is moved out of its row, so that the handler
    /// may act on any peer, including this one.
    fn parse(&mut self, block: &Bytes, len: usize) {
        let id = self.id;
        let links = self.engine.links_mut();
        let Some(link) = links.table.get_mut(id) else { return };
        if !link.is_open() {
            return;
        }
        let mut framer = mem::take(&mut link.framer);
        let was_within_large_payload = framer.is_within_large_payload();
        let mut input = Input::new(&block[..len]);
        let now = self.now();
        loop {
            let Engine { state, rules, memory, .. } = &mut *self.engine;
            if !state.links.is_open(id) {
                break;
            }
            let admit = |header: &Header| admit(state, id, header, self.handler);
            match framer.next(&mut input, now, rules, memory, admit) {
                Ok(None) => break,
                Ok(Some(framed)) if state.links.is_open(id) => self.take(framed, block),
                // The handler closed the peer at this message's header.
                Ok(Some(_)) => break,
                Err(error) => {
                    state.links.abort(id, error.into());
                    state.ban_if_earned(state.links.peer_of(id));
                }
            }
        }
        let links = self.engine.links_mut();
        if let Some(link) = links.table.get_mut(id) {
            link.framer = framer;
            let is_within_frame = link.framer.is_within_frame();
            if was_within_large_payload || link.framer.is_within_large_payload() {
                // The peer's pongs, on whichever of its streams, may follow its large payload.
                links.restart_pings(id, now);
            }
            if was_within_large_payload || is_within_frame {
                links.rearm(id, now);
            }
        }
    }

    fn take(&mut self, framed: Framed<'_>, block: &Bytes) {
        match framed {
            Framed::Frame { header, payload: Payload::InPlace(payload) } => {
                self.count_frame(&header);
                self.dispatch(Frame::new(header, payload, Some(block)));
            }
            Framed::Frame { header, payload: Payload::Gathered(payload) } => {
                self.count_frame(&header);
                if payload.len() > MAX_POOLED_BUFFER_BYTES && worth_sharing(payload.len(), payload.capacity()) {
                    let payload = Bytes::from(payload);
                    self.dispatch(Frame::new(header, &payload, Some(&payload)));
                    if payload.is_unique() {
                        self.engine.memory.recycle(payload.into());
                    }
                } else {
                    self.dispatch(Frame::new(header, &payload, None));
                    self.engine.memory.recycle(payload);
                }
            }
            Framed::Chunk { header, offset, bytes, last } => {
                if last.is_some() {
                    self.count_frame(&header);
                }
                let state = &mut self.engine.state;
                let peer = state.links.peer_of(self.id);
                let chunk = Chunk::new(header, offset, bytes, last, Some(block));
                self.handler.on_chunk(&mut Ctx::new(state), PeerId::of(peer), chunk);
                if last == Some(ChecksumVerdict::Wrong) {
                    note_bad_checksum(peer, &mut self.engine.state);
                }
            }
            Framed::Dropped { header, cause } => {
                self.count_frame(&header);
                let state = &mut self.engine.state;
                end_declined(self.id, &mut state.links);
                let (counters, config) = (&mut state.telemetry.counters, &state.config);
                let counter = match cause {
                    DropCause::BadChecksum => return note_bad_checksum(state.links.peer_of(self.id), state),
                    // The engine buffers the messages that it handles itself, except those that exceed `own_limit`.
                    DropCause::Discarded if own_limit(header.command, config).is_some() => {
                        &mut counters.over_buffer_limit
                    }
                    DropCause::MalformedCommand => &mut counters.malformed_commands,
                    DropCause::Discarded => &mut counters.discarded,
                    DropCause::OverBufferLimit => &mut counters.over_buffer_limit,
                    DropCause::NoBufferRoom => &mut counters.no_buffer_room,
                };
                *counter += 1;
            }
        }
    }

    /// Counts a frame, and aborts a handshake with too many frames.
    fn count_frame(&mut self, header: &Header) {
        let state = &mut self.engine.state;
        state.telemetry.counters.frames_received += 1;
        state.telemetry.received.add(header.command, header.payload_len);
        let Some(link) = state.links.table.get_mut(self.id) else { return };
        // Only the peer's last message can explain its close.
        link.reject_code = None;
        if link.peer.role() == LinkRole::Stream {
            let peer = state.links.peer_of(self.id);
            state.links.table.get_mut(peer).into_iter().for_each(|link| link.reject_code = None);
        }
        let Some(link) = state.links.table.get_mut(self.id) else { return };
        let is_awaited = link.peer.state() == ConnectionState::AwaitingHandshake;
        if is_awaited && !link.peer.handshake_mut().count_message() {
            state.links.abort(self.id, Misbehavior::TooManyHandshakeMessages.into());
        }
    }

    fn dispatch(&mut self, frame: Frame<'_>) {
        let (engine, handler, id) = (&mut *self.engine, &mut *self.handler, self.id);
        let Some(link) = engine.state.links.table.get(id) else { return };
        if !link.is_open() {
            return;
        }
        let (is_declined, role) = (link.declined, link.peer.role());
        let (peer, link) = match role {
            LinkRole::Single | LinkRole::General => (id, link),
            LinkRole::Stream => {
                let peer = engine.state.links.peer_of(id);
                let Some(link) = engine.state.links.table.get(peer) else { return };
                (peer, link)
            }
            LinkRole::Opening => return self.dispatch_opening(&frame),
        };
        let (is_connected, has_pongs) = (link.peer.state() == ConnectionState::Connected, link.has_pongs());
        let (is_inbound, has_version) = (link.peer.is_inbound(), link.peer.handshake().version_received());
        match frame.command() {
            CommandName::PING if is_connected && engine.state.config.answer_pings => {
                let link = if role == LinkRole::Single { id } else { engine.state.links.pong_route(peer) };
                self.on_ping(&frame, link, has_pongs);
            }
            CommandName::PONG if is_connected => self.on_pong(peer, frame.payload()),
            CommandName::VERSION => engine.handshake(peer).on_version(frame.payload(), handler),
            CommandName::VERACK => engine.handshake(peer).on_verack(handler),
            CommandName::REJECT => engine.handshake(peer).on_reject(frame.payload(), handler),
            CommandName::PROTOCONF if is_connected => engine.handshake(peer).on_protoconf(frame.payload(), handler),
            CommandName::SENDHEADERS if is_connected => engine.handshake(peer).on_sendheaders(handler),
            command @ (CommandName::CREATESTRM | CommandName::STREAMACK) if has_version => {
                streams::refuse_late(peer, command, &mut engine.state);
            }
            CommandName::CREATESTRM if is_inbound => {
                streams::on_createstrm(id, frame.payload(), &mut engine.state, handler);
            }
            _ if is_connected => self.deliver(frame, peer, is_declined),
            _ => self.spoke_too_early(peer),
        }
    }

    /// Handles a message on a connection that this side sets up as a peer's further stream.
    fn dispatch_opening(&mut self, frame: &Frame<'_>) {
        let (engine, handler, id) = (&mut *self.engine, &mut *self.handler, self.id);
        match frame.command() {
            CommandName::STREAMACK => streams::on_streamack(id, frame.payload(), &mut engine.state, handler),
            CommandName::REJECT => {
                let code = RejectRef::decode(frame.payload()).map_or(0, |reject| reject.code.0);
                if let Some(link) = engine.state.links.table.get_mut(id) {
                    link.reject_code = NonZeroU8::new(code);
                }
            }
            _ => engine.state.telemetry.counters.before_handshake += 1,
        }
    }

    /// Passes a message to the subscribers that want it, to the handler unless the handler declined it, and to the peer
    /// manager, if any.
    fn deliver(&mut self, frame: Frame<'_>, link: LinkId, is_declined: bool) {
        let (engine, peer) = (&mut *self.engine, PeerId::of(link));
        if engine.state.outbox.wants(frame.command()) {
            let (header, received) = (*frame.header(), engine.now());
            let message = MessageEvent { peer, header, payload: frame.to_bytes(), received };
            engine.state.outbox.publish(&message);
        }
        match is_declined {
            true => end_declined(self.id, &mut engine.state.links),
            false => {
                let hash = engine.memory.hash_of_last(frame.header());
                let frame = frame.with_origin(engine.state.magic, hash.as_ref());
                self.handler.on_message(&mut Ctx::new(&mut engine.state), peer, frame);
            }
        }
        if engine.state.manager.is_some() {
            observe_gossip(link, &frame, &mut engine.state);
            if engine.state.links.is_open(link) {
                judge(link, &frame, is_declined, &mut engine.state);
            }
        }
    }

    /// Counts a message that may be sent only after the handshake, and charges the peer for it.
    fn spoke_too_early(&mut self, peer: LinkId) {
        let state = &mut self.engine.state;
        state.telemetry.counters.before_handshake += 1;
        let has_version = state.links.table.get(peer).is_some_and(|link| link.peer.handshake().version_received());
        let misbehavior = match has_version {
            true => Misbehavior::MessageBeforeVerack,
            false => Misbehavior::MessageBeforeVersion,
        };
        state.charge(peer, misbehavior);
    }

    /// Answers a ping on `link`.
    fn on_ping(&mut self, frame: &Frame<'_>, link: LinkId, has_pongs: bool) {
        let state = &mut self.engine.state;
        let Some(nonce) = frame.payload().first_chunk::<8>() else {
            state.telemetry.counters.undecodable += 1;
            return;
        };
        if !has_pongs {
            return;
        }
        let checksum = frame.header().checksum.filter(|_| frame.payload().len() == nonce.len());
        state.append_pong(link, nonce, checksum);
    }

    fn on_pong(&mut self, peer: LinkId, payload: &[u8]) {
        let state = &mut self.engine.state;
        let now = state.clocks.now();
        let nonce = payload.first_chunk::<8>().map_or(0, |nonce| u64::from_le_bytes(*nonce));
        let Some(answered) = state.links.settle_pong(peer, nonce, now) else {
            state.telemetry.counters.pongs_unmatched += 1;
            return;
        };
        state.telemetry.counters.pongs_received += 1;
        state.telemetry.ping_rtt.record(answered.latency());
        let event = Event::Pong { nonce, planned: answered.planned, sent: answered.sent, received: now };
        emit(peer, event, state, self.handler);
    }
}

/// Clears the link's `declined` flag after the declined message.
fn end_declined(id: LinkId, links: &mut Links) {
    if let Some(link) = links.table.get_mut(id) {
        link.declined = false;
    }
}

/// Decides how a message is delivered, once its header is complete. Before the handshake is complete, aborts the link
/// and returns an error if the message exceeds the handshake's limit.
fn admit<H: Handler>(
    state: &mut LoopState,
    id: LinkId,
    header: &Header,
    handler: &mut H,
) -> Result<Delivery, WireError> {
    let Header { command, payload_len: len_bytes, .. } = *header;
    let (peer, is_connected) = state.links.receiver_of(id);
    if !is_connected && len_bytes > MAX_HANDSHAKE_PAYLOAD_BYTES {
        let error = WireError::OverLimit { command, len_bytes };
        // The smaller limit that applies during a handshake is not part of the protocol, so a peer that exceeds it is
        // not banned.
        let reason = CloseReason::from(error);
        state.links.abort_with(id, reason, reason.consequences().without_ban());
        return Err(error);
    }
    Ok(match own_limit(command, &state.config) {
        Some(max_bytes) if len_bytes > max_bytes => Delivery::Discard,
        None if is_connected => {
            let delivery = handler.on_header(&mut Ctx::new(state), PeerId::of(peer), header);
            let is_wanted = delivery == Delivery::Discard && is_for_others(state, header);
            // A message is not delivered if the handler closed its peer at the header.
            match state.links.table.get_mut(id).filter(|link| link.is_open()) {
                Some(link) if is_wanted => {
                    link.declined = true;
                    Delivery::Buffer
                }
                Some(_) => delivery,
                None => Delivery::Discard,
            }
        }
        Some(_) | None => Delivery::Buffer,
    })
}

/// Returns whether subscribers or the peer manager want a message that the handler declines.
fn is_for_others(state: &LoopState, header: &Header) -> bool {
    let is_read =
        |manager: &Manager| manager.wants(header.command, header.payload_len) || conduct::is_judged(state, header);
    state.outbox.wants(header.command) || state.manager.as_deref().is_some_and(is_read)
}

/// Returns the maximum buffered payload, in bytes, of a message that the engine handles itself; `None` for all other
/// commands.
#[inline]
fn own_limit(command: CommandName, config: &Config) -> Option<u64> {
    match command {
        CommandName::PING => config.answer_pings.then_some(MAX_PING_GATHERED_BYTES),
        CommandName::PONG => Some(MAX_PONG_GATHERED_BYTES),
        CommandName::VERSION => Some(MAX_HANDSHAKE_PAYLOAD_BYTES),
        CommandName::VERACK | CommandName::SENDHEADERS | CommandName::CREATESTRM | CommandName::STREAMACK => {
            Some(MAX_EMPTY_GATHERED_BYTES)
        }
        CommandName::REJECT => Some(MAX_REJECT_GATHERED_BYTES),
        CommandName::PROTOCONF => Some(MAX_LEGACY_PAYLOAD_BYTES),
        _ => None,
    }
}
