//! A loop's links and the parts that they share: table, timers, buffers, and the block that collects replies.
//!
//! This module pauses, resumes and closes links, and arms their timers. A deadline is never stored. It is computed
//! from its stored start, so a new configuration moves it. No call uses a socket or a clock; the current moment is a
//! parameter.

use crate::bugs::{budget, canary};
use crate::config::Config;
use crate::error::{CloseReason, Consequences, RequestError};
use crate::id::LinkId;
use crate::limits::{CLOSE_GRACE, MAX_BLOCK_PAYLOAD_BYTES, SEND_STALL_TIMEOUT, WHEEL_SLOTS};
use crate::link::blocks::WriteBlock;
use crate::link::row::{Ending, Hold, Link, Phase};
use crate::link::send_queue::BufferPool;
use crate::link::table::Table;
use crate::peer::ConnectionState;
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
        if self.ping_interval.is_zero() || link.peer.state() != ConnectionState::Connected || !link.has_pongs() {
            return Instant::MAX;
        }
        link.pinged_at.plus(self.ping_interval).max(self.ping_interval_since)
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
            Some(Phase::Ended) => return Instant::MAX,
            None => {}
        }
        match link.peer.state() {
            ConnectionState::Connecting => consider(Some(link.peer.since().plus(self.connect))),
            ConnectionState::AwaitingHandshake if link.hold.is_held() => {}
            ConnectionState::AwaitingHandshake => consider(link.peer.handshake().deadline(self.handshake)),
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

    /// Marks a link as not writable after a partial write. The kernel reports when there is room again.
    pub(crate) fn not_writable(&mut self, id: LinkId) {
        if let Some(link) = self.table.get_mut(id) {
            link.readiness.writable = false;
        }
    }

    // --- Pauses in reading ------------------------------------------------------------------------------------------

    /// Adds a reason not to read from a link, if the link is open.
    pub(crate) fn hold(&mut self, id: LinkId, now: Instant, add: impl FnOnce(&mut Hold)) {
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_open()) else { return };
        if !link.hold.is_held() {
            link.held_since = now;
        }
        add(&mut link.hold);
    }

    /// Removes a reason not to read from a link. If no reason remains, reading resumes, and the pause does not count
    /// towards the peer's deadlines for input.
    pub(crate) fn release(&mut self, id: LinkId, now: Instant, lift: impl FnOnce(&mut Hold)) {
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

    /// Closes a link after its queue is sent; aborts a link that is still connecting. A close that has begun keeps its
    /// reason and consequences.
    pub(crate) fn close(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.table.get_mut(id) else { return };
        if !link.is_open() {
            return;
        }
        if link.peer.state() == ConnectionState::Connecting {
            return self.abort(id, reason);
        }
        let consequences = reason.consequences();
        link.ending = Some(Box::new(Ending { reason, consequences, phase: Phase::Draining(now) }));
        link.send_progress = now;
        self.release(id, now, |hold| *hold = Hold::default());
        self.table.mark_closing(id);
        self.rearm(id, now);
    }

    /// Closes a link in the next closing step and drops its queue. A close that has begun keeps its reason and
    /// consequences.
    pub(crate) fn abort(&mut self, id: LinkId, reason: CloseReason) {
        self.abort_with(id, reason, reason.consequences());
    }

    /// Closes a link like [`Links::abort`], but with `consequences` instead of the reason's own.
    pub(crate) fn abort_with(&mut self, id: LinkId, reason: CloseReason, consequences: Consequences) {
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
        let Some(link) = self.table.get(id) else { return };
        let due = self.due_at(link, now);
        if due == Instant::MAX {
            return;
        }
        let tick = tick_at_or_after(due);
        let key = id.slot() as u32;
        if self.wheel.armed_tick(key).is_none_or(|armed| armed > tick) {
            self.wheel.arm(key, tick);
        }
    }

    /// Returns the moment at which the link's timer must fire. While the next read or write waits for memory, a passed
    /// deadline is checked only after the retry. Otherwise the deadline's timer would fire in each turn until the
    /// retry.
    pub(crate) fn due_at(&self, link: &Link, now: Instant) -> Instant {
        let deadline = self.timeouts.earliest_deadline(link);
        let is_put_off = deadline <= now && link.retry_at != Instant::MAX;
        if is_put_off { link.retry_at } else { deadline.min(link.retry_at) }
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

    /// Checks that the link's queue has room for a message of `len` bytes.
    pub(super) fn check_room(&self, id: LinkId, len: usize) -> Result<(), RequestError> {
        let link = self.table.get(id).ok_or(RequestError::NoSuchPeer)?;
        if len > link.free_bytes() && !canary!(UnboundedQueue) {
            return Err(RequestError::QueueFull);
        }
        Ok(())
    }
}
