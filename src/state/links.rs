//! A loop's links and the parts that they share: table, timers, buffers, and the block that collects replies.
//!
//! This module pauses, resumes and closes links, and arms their timers. A deadline is never stored. It is computed
//! from its stored start, so a new configuration moves it. No call uses a socket or a clock; the current moment is a
//! parameter.

use crate::bugs::{budget, canary};
use crate::config::Config;
use crate::error::{CloseReason, Consequences, RequestError};
use crate::id::{Lane, LinkId};
use crate::limits::{CLOSE_GRACE, MAX_BLOCK_PAYLOAD_BYTES, SEND_STALL_TIMEOUT, STREAM_ACK_TIMEOUT, WHEEL_SLOTS};
use crate::link::association::Associations;
use crate::link::blocks::WriteBlock;
use crate::link::row::{Ending, Hold, Link, Phase};
use crate::link::send_queue::BufferPool;
use crate::link::table::Table;
use crate::peer::{ConnectionState, LinkRole};
use crate::protocol::CommandName;
use crate::time::Instant;
use crate::wheel::{Wheel, tick_at_or_after, tick_of};
use crate::wire::PayloadLimits;
use crate::wire::header::payload_limit;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) table: Table,
    pub(crate) wheel: Wheel,
    pub(crate) pool: BufferPool,
    /// The link whose input is being parsed. The write block collects our replies on that link.
    pub(super) replying: Option<LinkId>,
    pub(super) associations: Associations,
    pub(super) write_block: WriteBlock,
    pub(crate) timeouts: Timeouts,
}

/// The configured timeouts and the ping interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) pong: Duration,
    /// Zero disables our pings.
    ping_interval: Duration,
    /// The moment of the ping interval's last change; no ping is due before it.
    ping_interval_since: Instant,
}

impl Timeouts {
    fn new(config: &Config, now: Instant) -> Self {
        Self {
            connect: config.connect_timeout,
            handshake: config.handshake_timeout,
            pong: config.pong_timeout,
            ping_interval: config.ping_interval,
            ping_interval_since: now,
        }
    }

    /// Applies the configuration. Returns whether the links must be rearmed: a timer may now be too late, or the
    /// rows hold the old pong timeout.
    pub(crate) fn update(&mut self, config: &Config, now: Instant) -> bool {
        let mut new = Self::new(config, now);
        if new.ping_interval == self.ping_interval {
            new.ping_interval_since = self.ping_interval_since;
        }
        let before = std::mem::replace(self, new);
        let is_sooner = !new.ping_interval.is_zero()
            && (before.ping_interval.is_zero() || new.ping_interval < before.ping_interval)
            || new.connect < before.connect
            || new.handshake < before.handshake;
        is_sooner || new.pong != before.pong
    }

    /// Returns the moment at which our next ping is due; [`Instant::MAX`] for never.
    pub(crate) fn ping_due(&self, link: &Link) -> Instant {
        // One keepalive ping serves all of a peer's streams.
        let has_pings = link.peer.state() == ConnectionState::Connected && link.has_pongs() && link.is_peer();
        if self.ping_interval.is_zero() || !has_pings {
            return Instant::MAX;
        }
        link.pinged_at.plus(self.ping_interval).max(self.ping_interval_since)
    }

    /// Returns the maximum time that a link may await its handshake, or its `streamack` if it is being set up as a
    /// further stream.
    pub(crate) fn handshake_of(&self, link: &Link) -> Duration {
        match link.peer.role() {
            LinkRole::Single | LinkRole::General => self.handshake,
            LinkRole::Stream | LinkRole::Opening => STREAM_ACK_TIMEOUT,
        }
    }

    /// Returns the link's earliest deadline or due moment; [`Instant::MAX`] for never.
    fn earliest_deadline(&self, link: &Link) -> Instant {
        let mut earliest = Instant::MAX;
        let mut consider = |deadline: Option<Instant>| earliest = earliest.min(deadline.unwrap_or(Instant::MAX));
        match link.phase() {
            Some(Phase::Lingering(since)) => return since.plus(CLOSE_GRACE),
            // A link in the closing list needs no timer. The timer would fire in each turn until the closing step.
            Some(Phase::Draining(_)) if link.is_listed_closing() => return Instant::MAX,
            Some(Phase::Draining(_)) if link.queue.is_empty() => return link.may_shut_down_at(),
            Some(Phase::Draining(since)) => {
                return link.send_progress.plus(CLOSE_GRACE).min(since.plus(SEND_STALL_TIMEOUT));
            }
            // The peer's other links list this one when they are sent.
            Some(Phase::AwaitingStreams(since)) => return since.plus(SEND_STALL_TIMEOUT),
            Some(Phase::Ended) => return Instant::MAX,
            None => {}
        }
        match link.peer.state() {
            ConnectionState::Connecting => consider(Some(link.peer.since().plus(self.connect))),
            ConnectionState::AwaitingHandshake if link.hold.is_held() => {}
            ConnectionState::AwaitingHandshake => consider(link.peer.handshake().deadline(self.handshake_of(link))),
            ConnectionState::Connected => consider(Some(self.ping_due(link))),
            ConnectionState::Disconnected | ConnectionState::Rejected | ConnectionState::Failed => {}
        }
        if !link.queue.is_empty() {
            consider(Some(link.send_progress.plus(SEND_STALL_TIMEOUT)));
        }
        if !link.hold.is_held() {
            consider(link.framer.deadline());
            if !link.framer.is_within_large_payload() {
                consider(link.peer.ping_pong().next_deadline());
            }
        }
        earliest
    }
}

impl Links {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            table: Table::new(),
            wheel: Wheel::new(budget!(WheelSlots, WHEEL_SLOTS), tick_of(now)),
            pool: BufferPool::default(),
            replying: None,
            associations: Associations::default(),
            write_block: WriteBlock::default(),
            timeouts: Timeouts::new(config, now),
        }
    }

    /// Returns whether the link exists and is not closing.
    pub(crate) fn is_open(&self, id: LinkId) -> bool {
        self.table.get(id).is_some_and(|link| link.is_open())
    }

    /// Returns the replies collected for the link whose input is being parsed.
    pub(crate) fn replies(&self) -> &WriteBlock {
        &self.write_block
    }

    /// Returns the link whose input is being parsed.
    pub(crate) fn receiving(&self) -> Option<LinkId> {
        self.replying
    }

    /// Marks a link as not writable after a partial write. The kernel reports when there is room again.
    pub(crate) fn not_writable(&mut self, id: LinkId) {
        if let Some(link) = self.table.get_mut(id) {
            link.readiness.writable = false;
        }
    }

    // --- Pauses in reading ------------------------------------------------------------------------------------------

    /// Adds a reason not to read from a peer, to each of the peer's open links.
    pub(crate) fn hold(&mut self, id: LinkId, now: Instant, add: impl Fn(&mut Hold)) {
        for member in self.members(id) {
            let Some(link) = self.table.get_mut(member).filter(|link| link.is_open()) else { continue };
            if !link.hold.is_held() {
                link.held_since = now;
            }
            add(&mut link.hold);
        }
    }

    /// Removes a reason not to read from a peer. If no reason remains, reading resumes, and the pause does not count
    /// towards the peer's deadlines for input.
    pub(crate) fn release(&mut self, id: LinkId, now: Instant, lift: impl Fn(&mut Hold)) {
        self.members(id).for_each(|member| self.release_link(member, now, &lift));
    }

    fn release_link(&mut self, id: LinkId, now: Instant, lift: impl FnOnce(&mut Hold)) {
        let Some(link) = self.table.get_mut(id) else { return };
        let was_held = link.hold.is_held();
        lift(&mut link.hold);
        if was_held && !link.hold.is_held() {
            let pause = now.since(link.held_since);
            link.framer.extend_deadlines(pause);
            link.peer.handshake_mut().extend_deadline(pause);
            link.peer.ping_pong_mut().resume_reading(now);
            self.table.mark_ready(id);
            self.rearm(id, now);
        }
    }

    // --- Closing ----------------------------------------------------------------------------------------------------

    /// Closes a peer after the queues of all its links are sent; aborts a link that is still connecting. A close that
    /// has begun keeps its reason and consequences. The end of a link that is being set up as a stream closes that link
    /// alone.
    pub(crate) fn close(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        self.abort_opening(id, reason);
        self.members(id).for_each(|member| self.close_link(member, reason, now));
    }

    /// Aborts the link that is being set up as a further stream of an open peer, because the peer closes.
    fn abort_opening(&mut self, id: LinkId, reason: CloseReason) {
        let peer = self.peer_of(id);
        let opening = self.association(peer).and_then(|association| association.opening);
        if let Some(opening) = opening.filter(|opening| *opening != id && self.is_open(peer)) {
            self.abort_link(opening, reason, reason.consequences().without_ban());
        }
    }

    fn close_link(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.table.get_mut(id) else { return };
        if !link.is_open() {
            return;
        }
        let consequences = match link.is_peer() {
            true => reason.consequences(),
            false => reason.consequences().without_ban(),
        };
        if link.peer.state() == ConnectionState::Connecting {
            return self.abort_link(id, reason, consequences);
        }
        link.ending = Some(Box::new(Ending { reason, consequences, phase: Phase::Draining(now) }));
        link.send_progress = now;
        self.release_link(id, now, |hold| *hold = Hold::default());
        // A stream is read while it drains, even if it waited for its peer's handshake.
        self.table.mark_ready(id);
        self.table.mark_closing(id);
        self.rearm(id, now);
    }

    /// Closes a peer in the next closing step and drops its queues. A close that has begun keeps its reason and
    /// consequences. The end of any stream is the peer's end, but the end of a link that is being set up as a stream
    /// closes that link alone.
    pub(crate) fn abort(&mut self, id: LinkId, reason: CloseReason) {
        self.abort_with(id, reason, reason.consequences());
    }

    /// Closes a link like [`Links::abort`], but with `consequences` instead of the reason's own.
    pub(crate) fn abort_with(&mut self, id: LinkId, reason: CloseReason, consequences: Consequences) {
        self.abort_opening(id, reason);
        for member in self.members(id) {
            let Some(link) = self.table.get(member) else { continue };
            // A link that is closing already is ended by the end of its peer.
            let is_affected = member == id || link.is_open() && !canary!(StreamOutlivesPeer);
            let consequences = if link.is_peer() { consequences } else { consequences.without_ban() };
            if is_affected {
                self.abort_link(member, reason, consequences);
            }
        }
    }

    fn abort_link(&mut self, id: LinkId, reason: CloseReason, consequences: Consequences) {
        if let Some(link) = self.table.get_mut(id).filter(|link| link.is_open()) {
            link.ending = Some(Box::new(Ending { reason, consequences, phase: Phase::Ended }));
        }
        self.finish(id);
    }

    /// Frees a closing link in the next closing step, and drops its queue.
    pub(crate) fn finish(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        link.set_phase(Phase::Ended);
        self.table.mark_closing(id);
    }

    // --- Timers -----------------------------------------------------------------------------------------------------

    /// Arms the link's timer to fire no later than the first tick at or after [`Links::due_at`]. A timer that is armed
    /// too early is kept, and is rearmed when it fires.
    pub(crate) fn rearm(&mut self, id: LinkId, now: Instant) {
        let due = self.due_at(id, now);
        if due == Instant::MAX {
            return;
        }
        let tick = tick_at_or_after(due);
        let key = id.slot() as u32;
        if self.wheel.armed_tick(key).is_none_or(|armed| armed > tick) {
            self.wheel.arm(key, tick);
        }
    }

    /// Returns the moment at which the link's timer must fire. While the next read or write of any of the peer's links
    /// waits for memory, a passed deadline is checked only after the retry. Otherwise the deadline's timer would fire
    /// in each turn until the retry.
    pub(crate) fn due_at(&self, id: LinkId, now: Instant) -> Instant {
        let Some(link) = self.table.get(id) else { return Instant::MAX };
        let deadline = self.timeouts.earliest_deadline(link);
        if deadline > now {
            return deadline.min(link.retry_at);
        }
        let retries = self.members(id).filter_map(|member| self.table.get(member)).map(|link| link.retry_at);
        retries.min().filter(|retry_at| *retry_at != Instant::MAX).unwrap_or(deadline)
    }

    /// Restarts the timeouts of the pings on all of a peer's links, because the pongs may wait behind other input.
    pub(crate) fn restart_pings(&mut self, id: LinkId, now: Instant) {
        for member in self.members(id) {
            if let Some(link) = self.table.get_mut(member) {
                link.peer.ping_pong_mut().resume_reading(now);
            }
        }
    }

    // --- Room to send -----------------------------------------------------------------------------------------------

    /// Checks that the peer accepts a payload of `len_bytes`. The limit in the peer's `protoconf` does not apply
    /// to commands that have a limit of their own, such as `block` and `tx`.
    pub(super) fn check_size(&self, id: LinkId, command: CommandName, len_bytes: u64) -> Result<(), RequestError> {
        let link = self.table.get(id).ok_or(RequestError::NoSuchPeer)?;
        let limits = PayloadLimits {
            max_message_bytes: u64::from(link.peer.max_recv_payload()),
            max_block_bytes: MAX_BLOCK_PAYLOAD_BYTES,
        };
        if len_bytes > payload_limit(command, &limits) {
            return Err(RequestError::TooLargeForPeer);
        }
        Ok(())
    }

    /// Returns the bytes of unread replies that wait on all links of a peer.
    pub(super) fn unread_replies_bytes(&self, id: LinkId) -> usize {
        let Some(link) = self.table.get(id) else { return 0 };
        let on_link = |member| self.table.get(member).map_or(0, Link::unread_replies_bytes);
        match link.peer.role() {
            LinkRole::Single | LinkRole::Opening => link.unread_replies_bytes(),
            LinkRole::General | LinkRole::Stream => self.members(id).map(on_link).sum(),
        }
    }

    /// Returns the length of the longest message that a peer accepts now, on whichever stream it is sent.
    pub(crate) fn free_bytes(&self, peer: LinkId) -> usize {
        self.members(peer).filter_map(|member| self.table.get(member)).map(Link::free_bytes).min().unwrap_or(0)
    }

    /// Returns whether so few bytes wait on each of a peer's links that the free room may be offered to a handler.
    pub(crate) fn has_pull_room(&self, peer: LinkId) -> bool {
        self.members(peer).all(|member| self.table.get(member).is_some_and(Link::has_pull_room))
    }

    /// Lists a peer for an offer of its free room, if a handler requested the room and there is enough.
    pub(crate) fn mark_pull(&mut self, peer: LinkId) {
        if self.table.get(peer).is_some_and(Link::asks_pull) && self.has_pull_room(peer) {
            self.table.mark_pull(peer);
        }
    }

    /// Returns the next lane that requested the peer's free room, and the number of free bytes; `None` as
    /// [`Table::take_pull`].
    pub(crate) fn take_pull(&mut self, peer: LinkId) -> Option<(Lane, usize)> {
        if !self.has_pull_room(peer) {
            return None;
        }
        let (lane, _) = self.table.take_pull(peer)?;
        Some((lane, self.free_bytes(peer)))
    }

    /// Checks that the link's queue has room for a message of `len` bytes.
    pub(super) fn check_room(&self, id: LinkId, len: usize) -> Result<(), RequestError> {
        let link = self.table.get(id).ok_or(RequestError::NoSuchPeer)?;
        if len > link.free_bytes() && !canary!(UnboundedQueue) {
            return Err(RequestError::QueueFull);
        }
        Ok(())
    }
}
