//! What received bytes do: frames out of the block, the engine's own messages answered, the rest to the handler.

use super::{Engine, conduct};
use crate::api::{Chunk, Event, Frame, MessageEvent};
use crate::error::{CloseReason, Misbehaviour, WireError};
use crate::handler::{Ctx, Handler};
use crate::id::{LinkId, PeerId};
use crate::limits::{
    EMPTY_GATHERED_MAX_BYTES, HANDSHAKE_PAYLOAD_MAX_BYTES, HEADER_LEN_BYTES, LEGACY_PAYLOAD_MAX_BYTES,
    PING_GATHERED_MAX_BYTES, PONG_GATHERED_MAX_BYTES, POOLED_BUFFER_MAX_BYTES, REJECT_GATHERED_MAX_BYTES,
};
use crate::link::blocks::worth_sharing;
use crate::link::framer::{ChecksumVerdict, Delivery, DropCause, Framed, Input, Payload};
use crate::manager::Manager;
use crate::manager::ban::Misconduct;
use crate::peer::{ConnectionState, create_pong_nonce};
use crate::protocol::CommandName;
use crate::state::LoopState;
use crate::wire::{Header, put_frame, put_pong};
use bytes::Bytes;
use std::mem;

impl Engine {
    /// The room for a link's next bytes if they belong into a buffer of its own.
    pub(crate) fn direct_room(&mut self, id: LinkId) -> Option<&mut [u8]> {
        let link = self.state.links.table.get_mut(id)?;
        if !link.is_open() { None } else { link.framer.direct_room(&mut self.memory) }
    }

    /// `len` bytes have been received into [`Engine::direct_room`].
    pub(crate) fn received_directly<H: Handler>(&mut self, id: LinkId, len: usize, handler: &mut H) {
        let now = self.state.clocks.now();
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.framer.received_directly(len, now);
        }
        self.state.telemetry.counters.bytes_received += len as u64;
        self.parse(id, &Bytes::new(), 0, handler);
    }

    /// `len` bytes have been received into `block`.
    pub(crate) fn received<H: Handler>(&mut self, id: LinkId, block: &Bytes, len: usize, handler: &mut H) {
        self.state.telemetry.counters.bytes_received += len as u64;
        self.parse(id, block, len, handler);
    }

    /// Takes every frame out of the bytes. The framer is out of its row meanwhile, so that the handler may do
    /// anything to any peer, this one included.
    fn parse<H: Handler>(&mut self, id: LinkId, block: &Bytes, len: usize, handler: &mut H) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        if !link.is_open() {
            return;
        }
        let mut framer = mem::take(&mut link.framer);
        let was_within_large_payload = framer.is_within_large_payload();
        let mut input = Input::new(&block[..len]);
        while self.state.links.is_open(id) {
            let state = &mut self.state;
            let admit = |header: &Header| admit(state, id, header, handler);
            match framer.next(&mut input, now, &self.rules, &mut self.memory, admit) {
                Ok(None) => break,
                Ok(Some(framed)) if self.state.links.is_open(id) => self.take(id, framed, block, handler),
                // The handler has ended it at its header.
                Ok(Some(_)) => break,
                Err(error) => {
                    self.state.links.abort(id, error.into());
                    self.state.ban_if_earned(id);
                }
            }
        }
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.framer = framer;
            let is_within_frame = link.framer.is_within_frame();
            if was_within_large_payload || link.framer.is_within_large_payload() {
                // A pong cannot overtake it.
                link.peer.ping_pong_mut().resume_reading(now);
            }
            if was_within_large_payload || is_within_frame {
                self.state.links.rearm(id, now);
            }
        }
    }

    fn take<H: Handler>(&mut self, id: LinkId, framed: Framed<'_>, block: &Bytes, handler: &mut H) {
        match framed {
            Framed::Frame { header, payload: Payload::InPlace(payload) } => {
                self.count_frame(id, &header);
                self.dispatch(id, Frame::new(header, payload, Some(block)), handler);
            }
            Framed::Frame { header, payload: Payload::Gathered(payload) } => {
                self.count_frame(id, &header);
                if payload.len() > POOLED_BUFFER_MAX_BYTES && worth_sharing(payload.len(), payload.capacity()) {
                    let payload = Bytes::from(payload);
                    self.dispatch(id, Frame::new(header, &payload, Some(&payload)), handler);
                    if payload.is_unique() {
                        self.memory.recycle(payload.into());
                    }
                } else {
                    self.dispatch(id, Frame::new(header, &payload, None), handler);
                    self.memory.recycle(payload);
                }
            }
            Framed::Chunk { header, offset, bytes, last } => {
                if last.is_some() {
                    self.count_frame(id, &header);
                }
                let chunk = Chunk::new(header, offset, bytes, last, Some(block));
                handler.on_chunk(&mut Ctx::new(&mut self.state), PeerId::of(id), chunk);
                if last == Some(ChecksumVerdict::Wrong) {
                    self.note_bad_checksum(id);
                }
            }
            Framed::Dropped { header, cause } => {
                self.count_frame(id, &header);
                self.end_declined(id);
                let counters = &mut self.state.telemetry.counters;
                let counter = match cause {
                    DropCause::BadChecksum => return self.note_bad_checksum(id),
                    // No handler is asked about these.
                    DropCause::Discarded if own_limit(header.command).is_some() => &mut counters.over_buffer_limit,
                    DropCause::MalformedCommand => &mut counters.malformed_commands,
                    DropCause::Discarded => &mut counters.discarded,
                    DropCause::OverBufferLimit => &mut counters.over_buffer_limit,
                    DropCause::NoBufferRoom => &mut counters.no_buffer_room,
                };
                *counter += 1;
            }
        }
    }

    /// Counts a message with a wrong checksum, dropped or streamed, and charges the peer for it.
    fn note_bad_checksum(&mut self, id: LinkId) {
        self.state.telemetry.counters.bad_checksums += 1;
        self.had_bad_checksum(id);
    }

    /// Counts a frame, and ends a handshake that consists of too many.
    fn count_frame(&mut self, id: LinkId, header: &Header) {
        self.state.telemetry.counters.frames_received += 1;
        self.state.telemetry.received.add(header.command, header.payload_len);
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        // Only the last thing that a peer says can be its reason to leave.
        link.reject_code = None;
        let is_awaited = link.peer.state() == ConnectionState::AwaitingHandshake;
        if is_awaited && !link.peer.handshake_mut().count_message() {
            self.state.links.abort(id, Misbehaviour::TooManyHandshakeMessages.into());
        }
    }

    fn dispatch<H: Handler>(&mut self, id: LinkId, frame: Frame<'_>, handler: &mut H) {
        let Some(link) = self.state.links.table.get(id) else { return };
        if !link.is_open() {
            return;
        }
        let is_connected = link.peer.state() == ConnectionState::Connected;
        let (is_declined, has_pongs) = (link.declined, link.has_pongs());
        match frame.command() {
            CommandName::PING if is_connected => self.on_ping(id, &frame, has_pongs),
            CommandName::PONG if is_connected => self.on_pong(id, frame.payload(), handler),
            CommandName::VERSION => self.on_version(id, frame.payload(), handler),
            CommandName::VERACK => self.on_verack(id, handler),
            CommandName::REJECT => self.on_reject(id, frame.payload(), handler),
            CommandName::PROTOCONF if is_connected => self.on_protoconf(id, frame.payload(), handler),
            CommandName::SENDHEADERS if is_connected => self.on_sendheaders(id, handler),
            _ if is_connected => self.deliver(id, frame, is_declined, handler),
            command => self.spoke_too_early(id, command),
        }
    }

    /// Gives a message to the subscribers who want it, and to the handler unless it did not.
    fn deliver<H: Handler>(&mut self, id: LinkId, frame: Frame<'_>, is_declined: bool, handler: &mut H) {
        if self.state.outbox.wants(frame.command()) {
            let (header, received) = (*frame.header(), self.state.clocks.now());
            let message = MessageEvent { peer: PeerId::of(id), header, payload: frame.to_bytes(), received };
            self.state.outbox.publish(&message);
        }
        match is_declined {
            true => self.end_declined(id),
            false => handler.on_message(&mut Ctx::new(&mut self.state), PeerId::of(id), frame),
        }
        if self.state.manager.is_some() {
            self.overhear(id, &frame);
            if self.state.links.is_open(id) {
                self.judge(id, &frame, is_declined);
            }
        }
    }

    /// A message that the handler may have declined ends here; of the next one that is not known.
    fn end_declined(&mut self, id: LinkId) {
        if let Some(link) = self.state.links.table.get_mut(id) {
            link.declined = false;
        }
    }

    /// A message came that only a peer may send whose handshake is complete.
    fn spoke_too_early(&mut self, id: LinkId, command: CommandName) {
        self.state.telemetry.counters.before_handshake += 1;
        let has_version = self.state.links.table.get(id).is_some_and(|link| link.peer.handshake().version_received());
        match command {
            CommandName::CREATESTRM | CommandName::STREAMACK if has_version && self.state.manager.is_some() => {
                self.refuse_stream(id, command);
            }
            _ if has_version => self.misbehaved(id, Misconduct::MessageBeforeVerack),
            _ => self.misbehaved(id, Misconduct::MessageBeforeVersion),
        }
    }

    fn on_ping(&mut self, id: LinkId, frame: &Frame<'_>, has_pongs: bool) {
        let Some(nonce) = frame.payload().first_chunk::<8>() else {
            self.state.telemetry.counters.undecodable += 1;
            return;
        };
        if !has_pongs {
            return;
        }
        let magic = self.state.magic;
        let checksum = frame.header().checksum.filter(|_| frame.payload().len() == nonce.len());
        self.state.append(id, HEADER_LEN_BYTES + nonce.len(), |out| match checksum {
            Some(checksum) => put_pong(magic, nonce, checksum, out),
            None => {
                let nonce = create_pong_nonce(u64::from_le_bytes(*nonce));
                put_frame(magic, CommandName::PONG, &nonce.to_le_bytes(), out);
            }
        });
        self.state.telemetry.counters.pings_answered += 1;
        self.state.telemetry.sent.add(CommandName::PONG, nonce.len() as u64);
    }

    fn on_pong<H: Handler>(&mut self, id: LinkId, payload: &[u8], handler: &mut H) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        let nonce = payload.first_chunk::<8>().map_or(0, |nonce| u64::from_le_bytes(*nonce));
        let Ok(answered) = link.peer.ping_pong_mut().settle(nonce, now) else {
            self.state.telemetry.counters.pongs_unmatched += 1;
            return;
        };
        self.state.telemetry.counters.pongs_received += 1;
        self.state.telemetry.ping_rtt.record(answered.latency());
        let event = Event::Pong { nonce, planned: answered.planned, sent: answered.sent, received: now };
        self.tell(id, event, handler);
    }
}

/// What becomes of a message, decided when its header is complete.
fn admit<H: Handler>(
    state: &mut LoopState,
    id: LinkId,
    header: &Header,
    handler: &mut H,
) -> Result<Delivery, WireError> {
    let Header { command, payload_len: len_bytes, .. } = *header;
    let is_connected = state.links.table.get(id).is_some_and(|link| link.peer.state() == ConnectionState::Connected);
    if !is_connected && len_bytes > HANDSHAKE_PAYLOAD_MAX_BYTES {
        let error = WireError::OverLimit { command, len_bytes };
        // The lower limit of a handshake is our own, and a peer cannot know it.
        let reason = CloseReason::from(error);
        state.links.abort_with(id, reason, reason.consequences().without_ban());
        return Err(error);
    }
    Ok(match own_limit(command) {
        Some(max_bytes) if len_bytes > max_bytes => Delivery::Discard,
        None if is_connected => {
            let delivery = handler.on_header(&mut Ctx::new(state), PeerId::of(id), header);
            let is_wanted = delivery == Delivery::Discard && is_for_others(state, header);
            // Nothing is delivered of a message whose header made the handler end its peer.
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

/// Whether a message that the handler does not want is one for subscribers or the peer manager.
fn is_for_others(state: &LoopState, header: &Header) -> bool {
    let is_read =
        |manager: &Manager| manager.wants(header.command, header.payload_len) || conduct::is_judged(state, header);
    state.outbox.wants(header.command) || state.manager.as_deref().is_some_and(is_read)
}

/// The most that is gathered of a message that the engine takes itself, whatever handlers want; `None` for all others.
#[inline]
fn own_limit(command: CommandName) -> Option<u64> {
    match command {
        CommandName::PING => Some(PING_GATHERED_MAX_BYTES),
        CommandName::PONG => Some(PONG_GATHERED_MAX_BYTES),
        CommandName::VERSION => Some(HANDSHAKE_PAYLOAD_MAX_BYTES),
        CommandName::VERACK | CommandName::SENDHEADERS => Some(EMPTY_GATHERED_MAX_BYTES),
        CommandName::REJECT => Some(REJECT_GATHERED_MAX_BYTES),
        CommandName::PROTOCONF => Some(LEGACY_PAYLOAD_MAX_BYTES),
        _ => None,
    }
}
