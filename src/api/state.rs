//! What the engine and the handler's [`Ctx`](super::Ctx) both act on: the table, the wheel, the rng, and the bytes on
//! their way out.
//!
//! Everything that can be sent goes through here, so the one order of a link's bytes is kept in one place: first what
//! is gathered in the write block while the link is being read, then its queue, and never the block while the queue
//! holds anything. No call here reaches a socket or a clock.

use crate::buffer::{BufferPool, WriteBlock};
use crate::config::Config;
use crate::error::{CloseReason, CommandError, LocalCause};
use crate::framer::FramerRules;
use crate::histogram::{Counters, LatencyHistogram};
use crate::id::LinkId;
use crate::limits::{
    CLOSE_GRACE, HEADER_LEN_BYTES, PINGS_OUTSTANDING_MAX, RESTART_WINDOW, RESTARTS_MAX, SEND_QUEUE_MAX_BYTES,
    SEND_QUEUE_PAUSE_BYTES, SEND_STALL_TIMEOUT, WHEEL_SLOTS,
};
use crate::peer::{ConnectionState, PeerConnection, PingPongState};
use crate::table::{Dial, Ending, Hold, Link, Table};
use crate::time::{Instant, UnixTime};
use crate::wheel::{Wheel, tick_at_or_after, tick_of};
use crate::wire::{MessageRef, PayloadLimits};
use bytes::Bytes;
use rand::rngs::StdRng;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct LoopState {
    pub(crate) config: Config,
    pub(crate) rules: FramerRules,
    pub(crate) table: Table,
    pub(crate) wheel: Wheel,
    pub(crate) rng: StdRng,
    pub(crate) pool: BufferPool,
    pub(crate) now: Instant,
    /// The wall time when the turn began, for version stamps.
    pub(crate) unix_time: UnixTime,
    /// The earliest moment that the handler asked for.
    pub(crate) wake_at: Option<Instant>,
    /// The link that is being read, whose replies go to the write block.
    replying: Option<LinkId>,
    pub(crate) write_block: WriteBlock,
    pub(crate) stopping: bool,
    pub(crate) ready_peers: usize,
    pub(crate) counters: Counters,
    pub(crate) turn: LatencyHistogram,
    pub(crate) loop_lag: LatencyHistogram,
    pub(crate) busy: Duration,
}

impl LoopState {
    pub(crate) fn new(config: Config, rng: StdRng, now: Instant) -> Self {
        let limits =
            PayloadLimits { message_max_bytes: config.message_max_bytes, block_max_bytes: config.block_max_bytes };
        let rules = FramerRules {
            magic: config.magic_bytes(),
            limits,
            buffered_message_max_bytes: config.buffered_message_max_bytes,
        };
        Self {
            rules,
            table: Table::new(),
            wheel: Wheel::new(WHEEL_SLOTS, tick_of(now)),
            rng,
            pool: BufferPool::default(),
            now,
            unix_time: UnixTime::default(),
            wake_at: None,
            replying: None,
            write_block: WriteBlock::default(),
            stopping: false,
            ready_peers: 0,
            counters: Counters::default(),
            turn: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            busy: Duration::ZERO,
            config,
        }
    }

    // --- What goes out ----------------------------------------------------------------------------------------------

    /// From here on replies to `id` are gathered.
    pub(crate) fn begin_replies(&mut self, id: LinkId) {
        self.replying = Some(id);
    }

    /// The gathered replies have been taken care of.
    pub(crate) fn end_replies(&mut self) {
        self.replying = None;
        self.write_block.clear();
    }

    /// Appends what `write` writes to the link's outgoing bytes and returns the offset at which they end.
    ///
    /// The link must be able to take it: see [`LoopState::check_room`].
    pub(crate) fn append(&mut self, id: LinkId, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let Some(link) = self.table.get_mut(id) else { return 0 };
        if self.replying == Some(id) && link.queue.is_empty() {
            if self.write_block.has_room(len) {
                write(self.write_block.bytes());
                return self.write_block.gathered().len() as u64;
            }
            link.send_progress = self.now;
            link.queue.push_copy(self.write_block.gathered(), &mut self.pool);
            self.write_block.clear();
        }
        if link.queue.is_empty() {
            link.send_progress = self.now;
        }
        let mut frame = self.pool.take();
        write(&mut frame);
        link.queue.push_copy(&frame, &mut self.pool);
        self.pool.put(frame);
        let end = link.queue.end_offset();
        self.queue_grew(id);
        end
    }

    /// Appends a frame without copying it.
    pub(crate) fn append_shared(&mut self, id: LinkId, frame: Bytes) {
        let Some(link) = self.table.get_mut(id) else { return };
        if self.replying == Some(id) && link.queue.is_empty() {
            link.queue.push_copy(self.write_block.gathered(), &mut self.pool);
            self.write_block.clear();
            link.send_progress = self.now;
        }
        if link.queue.is_empty() {
            link.send_progress = self.now;
        }
        link.queue.push_shared(frame, &mut self.pool);
        self.queue_grew(id);
    }

    /// Puts what the kernel did not take of the gathered replies into the link's queue.
    pub(crate) fn queue_rest(&mut self, id: LinkId, written: usize) {
        let Some(link) = self.table.get_mut(id) else { return };
        link.send_progress = self.now;
        link.queue.push_rest(self.write_block.gathered(), written, &mut self.pool);
        self.queue_grew(id);
    }

    /// Whether `len` more bytes fit the link's queue.
    pub(crate) fn check_room(&self, id: LinkId, len: usize) -> Result<(), CommandError> {
        let link = self.table.get(id).ok_or(CommandError::NoSuchPeer)?;
        if link.queue.waiting_bytes().saturating_add(len) > SEND_QUEUE_MAX_BYTES && !link.queue.is_empty() {
            return Err(CommandError::QueueFull);
        }
        Ok(())
    }

    /// A message of the engine's own: a peer that has no room for it is closed.
    pub(crate) fn reply(&mut self, id: LinkId, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Option<u64> {
        match self.check_room(id, len) {
            Ok(()) => Some(self.append(id, len, write)),
            Err(_) => {
                self.abort(id, LocalCause::SendQueueFull.into());
                None
            }
        }
    }

    /// Removes what was written from the queue, stamps the pings among it, and resumes reading if it had to stop.
    /// Returns whether the queue is empty now.
    pub(crate) fn wrote_queued(&mut self, id: LinkId, written: usize, at: Instant) -> bool {
        let Some(link) = self.table.get_mut(id) else { return true };
        let offset = link.queue.advance(written, &mut self.pool);
        link.peer.ping_pong_mut().mark_written(offset, at);
        link.send_progress = self.now;
        self.counters.bytes_sent += written as u64;
        let is_empty = link.queue.is_empty();
        if link.hold.queue_full && link.queue.waiting_bytes() <= SEND_QUEUE_PAUSE_BYTES / 2 {
            self.release(id, |hold| hold.queue_full = false);
        }
        self.rearm(id);
        is_empty
    }

    /// The kernel took less than it was offered: it says when there is room again.
    pub(crate) fn not_writable(&mut self, id: LinkId) {
        if let Some(link) = self.table.get_mut(id) {
            link.readiness.writable = false;
        }
    }

    fn queue_grew(&mut self, id: LinkId) {
        self.table.mark_dirty(id);
        if self.table.get(id).is_some_and(|link| link.queue.waiting_bytes() > SEND_QUEUE_PAUSE_BYTES) {
            self.hold(id, |hold| hold.queue_full = true);
        }
        self.rearm(id);
    }

    // --- Reading or not ---------------------------------------------------------------------------------------------

    /// Adds a cause for not reading a link.
    pub(crate) fn hold(&mut self, id: LinkId, add: impl FnOnce(&mut Hold)) {
        let now = self.now;
        let Some(link) = self.table.get_mut(id).filter(|link| link.ending == Ending::Open) else { return };
        if !link.hold.is_held() {
            link.held_since = now;
        }
        add(&mut link.hold);
    }

    /// Lifts a cause for not reading; if it was the last, the time lost is charged to no deadline of the peer.
    pub(crate) fn release(&mut self, id: LinkId, lift: impl FnOnce(&mut Hold)) {
        let now = self.now;
        let Some(link) = self.table.get_mut(id) else { return };
        let was_held = link.hold.is_held();
        lift(&mut link.hold);
        if was_held && !link.hold.is_held() {
            let pause = now.since(link.held_since);
            link.framer.excuse(pause);
            link.peer.handshake_mut().excuse(pause);
            link.peer.ping_pong_mut().resume_reading(now);
            self.table.mark_ready(id);
            self.rearm(id);
        }
    }

    // --- Pings ------------------------------------------------------------------------------------------------------

    /// Sends a ping that was due at `planned`.
    pub(crate) fn ping(&mut self, id: LinkId, planned: Instant) -> Result<u64, CommandError> {
        let frame_len = HEADER_LEN_BYTES + 8;
        self.check_room(id, frame_len)?;
        let nonce = PingPongState::generate_nonce(&mut self.rng);
        let link = self.table.get_mut(id).ok_or(CommandError::NoSuchPeer)?;
        if !link.answers_pings {
            return Err(CommandError::NoPongs);
        }
        if link.peer.ping_pong().pending_count() >= PINGS_OUTSTANDING_MAX {
            return Err(CommandError::TooManyPings);
        }
        let magic = self.rules.magic;
        let end = self.append(id, frame_len, |out| MessageRef::Ping { nonce }.encode_frame(magic, out));
        let link = self.table.get_mut(id).ok_or(CommandError::NoSuchPeer)?;
        link.peer.ping_pong_mut().queue_ping(nonce, planned, end);
        self.counters.pings_sent += 1;
        Ok(nonce)
    }

    // --- Opening and closing ----------------------------------------------------------------------------------------

    /// Takes a row for a connection to `address`, which the turn then opens.
    pub(crate) fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> Result<LinkId, CommandError> {
        if self.stopping {
            return Err(CommandError::Stopped);
        }
        if self.table.len() >= self.config.max_links {
            return Err(CommandError::TableFull);
        }
        let restarts = (RESTARTS_MAX, RESTART_WINDOW);
        let mut peer = PeerConnection::new_outbound(address, restarts, self.config.pong_timeout);
        peer.transition_to_connecting(self.now).expect("a new connection may be opened");
        let link = self.table.insert(peer);
        self.table.push_dial(Dial { link, address, source });
        self.counters.dialled += 1;
        Ok(link)
    }

    /// Closes a link after all that waits for it is sent.
    pub(crate) fn close(&mut self, id: LinkId, reason: CloseReason) {
        let now = self.now;
        let Some(link) = self.table.get_mut(id) else { return };
        if link.ending != Ending::Open {
            return;
        }
        if link.peer.state() == ConnectionState::Connecting {
            return self.abort(id, reason);
        }
        link.ending = Ending::Draining(reason, now);
        link.send_progress = now;
        self.release(id, |hold| *hold = Hold::default());
        self.table.mark_closing(id);
        self.rearm(id);
    }

    /// Closes a link at the end of this turn, whatever waits.
    pub(crate) fn abort(&mut self, id: LinkId, reason: CloseReason) {
        let Some(link) = self.table.get_mut(id) else { return };
        link.ending = match link.ending {
            Ending::Open => Ending::Ended(reason),
            Ending::Draining(first, _) | Ending::Lingering(first, _) | Ending::Ended(first) => Ending::Ended(first),
        };
        self.table.mark_closing(id);
    }

    // --- Timers -----------------------------------------------------------------------------------------------------

    /// Sees to it that the link's timer goes off no later than its earliest deadline. A deadline that moves away is
    /// left to the timer to find out.
    pub(crate) fn rearm(&mut self, id: LinkId) {
        let Some(link) = self.table.get(id) else { return };
        let deadline = earliest_deadline(link, &self.config);
        if deadline == Instant::MAX {
            return;
        }
        let tick = tick_at_or_after(deadline);
        let key = id.slot() as u32;
        if self.wheel.armed_tick(key).is_none_or(|armed| armed > tick) {
            self.wheel.arm(key, tick);
        }
    }
}

/// The next moment at which something about the link is too late or due.
pub(crate) fn earliest_deadline(link: &Link, config: &Config) -> Instant {
    let mut earliest = Instant::MAX;
    let mut consider = |deadline: Option<Instant>| earliest = earliest.min(deadline.unwrap_or(Instant::MAX));
    match link.ending {
        Ending::Lingering(_, since) => return since.plus(CLOSE_GRACE),
        Ending::Draining(..) if link.queue.is_empty() => return link.may_shut_down_at(),
        Ending::Draining(_, since) => {
            return link.send_progress.plus(CLOSE_GRACE).min(since.plus(SEND_STALL_TIMEOUT));
        }
        Ending::Ended(_) => return Instant::MAX,
        Ending::Open => {}
    }
    match link.peer.state() {
        ConnectionState::Connecting => consider(Some(link.peer.since().plus(config.connect_timeout))),
        ConnectionState::AwaitingHandshake if link.hold.is_held() => {}
        ConnectionState::AwaitingHandshake => consider(link.peer.handshake().deadline(config.handshake_timeout)),
        ConnectionState::Connected => consider(Some(link.ping_due)),
        ConnectionState::Disconnected | ConnectionState::Rejected | ConnectionState::Failed => {}
    }
    if !link.queue.is_empty() {
        consider(Some(link.send_progress.plus(SEND_STALL_TIMEOUT)));
    }
    if !link.hold.is_held() {
        consider(link.framer.deadline());
        consider(link.peer.ping_pong().next_deadline());
    }
    earliest
}
