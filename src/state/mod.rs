//! The state that the engine and the handler's [`Ctx`](crate::handler::Ctx) share: the table, the wheel, the rng, and
//! the counters.
//!
//! Here links are opened, held, closed and timed; [`sending`] has what goes out on them. No call here reaches a socket
//! or a clock.

mod charging;
mod outbox;
mod sending;

pub(crate) use outbox::Outbox;
pub(crate) use sending::AfterWrite;

use crate::bugs::{self, Budget};
use crate::config::Config;
use crate::error::{CloseReason, CommandError};
use crate::id::LinkId;
use crate::limits::{CLOSE_GRACE, RESTART_WINDOW, RESTARTS_MAX, SEND_STALL_TIMEOUT, WHEEL_SLOTS};
use crate::link::blocks::WriteBlock;
use crate::link::row::{Ending, Hold, Link};
use crate::link::send_queue::BufferPool;
use crate::link::table::{Dial, Table};
use crate::manager::Manager;
use crate::peer::{ConnectionState, PeerConnection};
use crate::stats::histogram::{Counters, LatencyHistogram};
use crate::stats::{Census, CloseCounts, Costs, DialHoldCounts, MessageCounts, PeerCost};
use crate::time::{Instant, UnixTime};
use crate::wheel::{Wheel, tick_at_or_after, tick_of};
use rand::rngs::StdRng;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct LoopState {
    pub(crate) config: Config,
    /// Since when the ping interval is what it is: no ping was due by it before.
    pub(crate) ping_interval_since: Instant,
    /// The four bytes that begin every message.
    pub(crate) magic: [u8; 4],
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
    /// Who finds, keeps and refuses peers, if the loop has such a policy.
    pub(crate) manager: Option<Box<Manager>>,
    pub(crate) outbox: Outbox,
    /// The links by state and type.
    pub(crate) census: Census,
    pub(crate) counters: Counters,
    pub(crate) closes: CloseCounts,
    pub(crate) dial_holds: DialHoldCounts,
    pub(crate) received: MessageCounts,
    pub(crate) sent: MessageCounts,
    /// What each peer costs, if that is measured.
    pub(crate) costs: Option<Box<Costs>>,
    pub(crate) connect: LatencyHistogram,
    pub(crate) handshake: LatencyHistogram,
    pub(crate) ping_rtt: LatencyHistogram,
    pub(crate) turn: LatencyHistogram,
    pub(crate) loop_lag: LatencyHistogram,
    pub(crate) keepalive_lag: LatencyHistogram,
    pub(crate) busy: Duration,
    pub(crate) spinning: Duration,
}

impl LoopState {
    pub(crate) fn new(config: Config, mut rng: StdRng, now: Instant) -> Self {
        let manager =
            config.manager.as_deref().map(|manager| Box::new(Manager::new(manager, config.network, &mut rng)));
        Self {
            manager,
            ping_interval_since: now,
            magic: config.magic_bytes(),
            table: Table::new(),
            wheel: Wheel::new(bugs::shrunk(Budget::WheelSlots, WHEEL_SLOTS), tick_of(now)),
            rng,
            pool: BufferPool::default(),
            now,
            unix_time: UnixTime::default(),
            wake_at: None,
            replying: None,
            write_block: WriteBlock::default(),
            stopping: false,
            outbox: Outbox::default(),
            census: Census::default(),
            counters: Counters::default(),
            closes: CloseCounts::default(),
            dial_holds: DialHoldCounts::default(),
            received: MessageCounts::default(),
            sent: MessageCounts::default(),
            costs: config.measures_peers.then(Box::default),
            connect: LatencyHistogram::new(),
            handshake: LatencyHistogram::new(),
            ping_rtt: LatencyHistogram::new(),
            turn: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            keepalive_lag: LatencyHistogram::new(),
            busy: Duration::ZERO,
            spinning: Duration::ZERO,
            config,
        }
    }

    /// Peers whose handshake is complete.
    pub(crate) fn ready_peers(&self) -> usize {
        self.census.in_state(ConnectionState::Connected)
    }

    /// What a peer has cost so far, if that is measured.
    pub(crate) fn cost_of(&self, id: LinkId) -> Option<PeerCost> {
        self.costs.as_ref().map(|costs| costs.of(id, self.now))
    }

    // --- Reading or not ---------------------------------------------------------------------------------------------

    /// Adds a cause for not reading a link.
    pub(crate) fn hold(&mut self, id: LinkId, add: impl FnOnce(&mut Hold)) {
        let now = self.now;
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_open()) else { return };
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

    // --- Opening and closing ----------------------------------------------------------------------------------------

    /// Takes a row for a connection to `address`, which the turn then opens.
    pub(crate) fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> Result<LinkId, CommandError> {
        if self.stopping {
            return Err(CommandError::Stopped);
        }
        if self.table.len() >= self.config.max_links {
            return Err(CommandError::TableFull);
        }
        if let Some(manager) = &mut self.manager {
            manager.allow_dial(address, self.now, self.unix_time)?;
        }
        Ok(self.open(address, source))
    }

    /// Takes a row for a connection whose place is taken.
    pub(crate) fn open(&mut self, address: SocketAddr, source: Option<IpAddr>) -> LinkId {
        let mut peer = PeerConnection::new_outbound(address, (RESTARTS_MAX, RESTART_WINDOW), self.config.pong_timeout);
        let tracking = self.manager.as_ref().and_then(|manager| manager.dialler.restarts(address));
        if let (Some(restart), Some(tracking)) = (peer.restart_mut(), tracking) {
            *restart = tracking;
        }
        peer.transition_to_connecting(self.now).expect("a new connection may be opened");
        self.census.add(peer.connection_type(), peer.state());
        let link = self.table.insert(peer);
        if let Some(manager) = &mut self.manager {
            manager.entered(link, address);
        }
        self.table.push_dial(Dial { link, address, source });
        self.counters.dialled += 1;
        link
    }

    /// Closes a link after all that waits for it is sent.
    pub(crate) fn close(&mut self, id: LinkId, reason: CloseReason) {
        let now = self.now;
        let Some(link) = self.table.get_mut(id) else { return };
        if !link.is_open() {
            return;
        }
        if link.peer.state() == ConnectionState::Connecting {
            return self.abort(id, reason);
        }
        link.set_ending(Ending::Draining(reason, now));
        link.send_progress = now;
        self.release(id, |hold| *hold = Hold::default());
        self.table.mark_closing(id);
        self.rearm(id);
    }

    /// Closes a link at the end of this turn, whatever waits.
    pub(crate) fn abort(&mut self, id: LinkId, reason: CloseReason) {
        let Some(link) = self.table.get_mut(id) else { return };
        let first = link.ending.as_deref().map_or(reason, Ending::reason);
        link.set_ending(Ending::Ended(first));
        self.table.mark_closing(id);
    }

    // --- Timers -----------------------------------------------------------------------------------------------------

    /// Sees to it that the link's timer goes off no later than its earliest deadline. A deadline that moves away is
    /// left to the timer to find out.
    pub(crate) fn rearm(&mut self, id: LinkId) {
        let Some(link) = self.table.get(id) else { return };
        let due = self.due_at(link);
        if due == Instant::MAX {
            return;
        }
        let tick = tick_at_or_after(due);
        let key = id.slot() as u32;
        if self.wheel.armed_tick(key).is_none_or(|armed| armed > tick) {
            self.wheel.arm(key, tick);
        }
    }

    /// When the link's timer has something to do. Who is late while its next read or write waits for memory is judged
    /// after that: a timer for what has passed would go off in each turn until then.
    pub(crate) fn due_at(&self, link: &Link) -> Instant {
        let deadline = self.earliest_deadline(link);
        let is_put_off = deadline <= self.now && link.retry_at != Instant::MAX;
        if is_put_off { link.retry_at } else { deadline.min(link.retry_at) }
    }

    /// The next moment at which something about the link is too late or due.
    fn earliest_deadline(&self, link: &Link) -> Instant {
        let mut earliest = Instant::MAX;
        let mut consider = |deadline: Option<Instant>| earliest = earliest.min(deadline.unwrap_or(Instant::MAX));
        match link.ending.as_deref() {
            Some(Ending::Lingering(_, since)) => return since.plus(CLOSE_GRACE),
            // Its end goes on without a timer, which would go off in each turn until then.
            Some(Ending::Draining(..)) if link.is_listed_closing() => return Instant::MAX,
            Some(Ending::Draining(..)) if link.queue.is_empty() => return link.may_shut_down_at(),
            Some(Ending::Draining(_, since)) => {
                return link.send_progress.plus(CLOSE_GRACE).min(since.plus(SEND_STALL_TIMEOUT));
            }
            Some(Ending::Ended(_)) => return Instant::MAX,
            None => {}
        }
        let config = &self.config;
        match link.peer.state() {
            ConnectionState::Connecting => consider(Some(link.peer.since().plus(config.connect_timeout))),
            ConnectionState::AwaitingHandshake if link.hold.is_held() => {}
            ConnectionState::AwaitingHandshake => consider(link.peer.handshake().deadline(config.handshake_timeout)),
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

    /// When the next ping of ours is due; [`Instant::MAX`] for never.
    pub(crate) fn ping_due(&self, link: &Link) -> Instant {
        let interval = self.config.ping_interval;
        if interval.is_zero() || link.peer.state() != ConnectionState::Connected || !link.has_pongs() {
            return Instant::MAX;
        }
        link.pinged_at.plus(interval).max(self.ping_interval_since)
    }
}
