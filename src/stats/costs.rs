//! The cost of each peer, in a separate table that exists only while costs are measured.
//!
//! The loop sets a mark when it starts to work on a link, and charges the link with everything up to the next mark.
//! This needs one clock reading for each link on which a turn works. The time includes system calls, the framer and
//! the handler, even if the handler works for other peers.

use crate::id::LinkId;
use crate::time::Instant;
use std::time::Duration;

/// A peer's cost since the measurement began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCost {
    /// Time that the loop spent reading from the peer, handling its input, and writing to it.
    pub busy: Duration,
    /// Bytes received from the peer.
    pub received_bytes: u64,
    /// Bytes that the kernel accepted for the peer.
    pub sent_bytes: u64,
    /// Time during which the peer's send queue was not empty.
    pub queued: Duration,
}

impl PeerCost {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            busy: self.busy + other.busy,
            received_bytes: self.received_bytes + other.received_bytes,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            queued: self.queued + other.queued,
        }
    }
}

/// The costs of all links of a loop, by slot: [`PEER_COST_BYTES`](crate::limits::PEER_COST_BYTES) for each slot up to
/// the highest measured one.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// The generation of the slot's user: a later user starts at zero, and an earlier user has no row.
    generation: u32,
    cost: PeerCost,
    /// The moment at which the peer's queue became non-empty; [`Instant::MAX`] while it is empty.
    waits_since: Instant,
}

const _: () =
    assert!(size_of::<Row>() <= crate::limits::PEER_COST_BYTES, "a row of the table exceeds its documented size");

/// The clock and the byte counters when the loop started to work on a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Costs {
    /// Returns a peer's cost up to `now`; zero if the peer was never measured, or a later user of its slot was.
    pub(crate) fn of(&self, id: LinkId, now: Instant) -> PeerCost {
        let row = self.rows.get(id.slot()).filter(|row| row.generation == id.generation());
        row.map_or_else(PeerCost::default, |row| PeerCost { queued: row.queued(now), ..row.cost })
    }

    /// Charges a link with the work from one mark to the next.
    pub(crate) fn charge(&mut self, id: LinkId, from: &Mark, to: &Mark) {
        let Some(Row { cost, .. }) = self.row(id) else { return };
        cost.busy += to.at.since(from.at);
        cost.received_bytes += to.received_bytes - from.received_bytes;
        cost.sent_bytes += to.sent_bytes - from.sent_bytes;
    }

    /// Starts the link's queueing time, unless it is already running.
    pub(crate) fn waits(&mut self, id: LinkId, now: Instant) {
        if let Some(row) = self.row(id) {
            row.waits_since = row.waits_since.min(now);
        }
    }

    /// Stops the link's queueing time because its queue is empty.
    pub(crate) fn waits_no_more(&mut self, id: LinkId, now: Instant) {
        if let Some(row) = self.row(id) {
            row.cost.queued = row.queued(now);
            row.waits_since = Instant::MAX;
        }
    }

    /// Returns the table's memory in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
    }

    /// Returns a link's row. Resets the row if the slot had an earlier user. Returns `None` if the slot has a later
    /// user.
    fn row(&mut self, id: LinkId) -> Option<&mut Row> {
        if self.rows.len() <= id.slot() {
            self.rows.resize(id.slot() + 1, Row::new(0));
        }
        let row = &mut self.rows[id.slot()];
        if row.generation < id.generation() {
            *row = Row::new(id.generation());
        }
        (row.generation == id.generation()).then_some(row)
    }
}

impl Row {
    const fn new(generation: u32) -> Self {
        let cost = PeerCost { busy: Duration::ZERO, received_bytes: 0, sent_bytes: 0, queued: Duration::ZERO };
        Self { generation, cost, waits_since: Instant::MAX }
    }

    fn queued(&self, now: Instant) -> Duration {
        match self.waits_since {
            Instant::MAX => self.cost.queued,
            since => self.cost.queued + now.since(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn mark(nanos: u64, received_bytes: u64, sent_bytes: u64) -> Mark {
        Mark { at: at(nanos), received_bytes, sent_bytes }
    }

    #[test]
    fn costs_add_up_and_do_not_pass_to_the_slots_next_user() {
        let mut costs = Costs::default();
        let (peer, next) = (LinkId::new(3, 0), LinkId::new(3, 1));
        assert_eq!(costs.of(peer, at(1)), PeerCost::default());
        costs.charge(peer, &mark(10, 100, 0), &mark(15, 132, 0));
        costs.charge(peer, &mark(30, 132, 7), &mark(31, 132, 39));
        let (busy, queued) = (Duration::from_nanos(6), Duration::ZERO);
        assert_eq!(costs.of(peer, at(40)), PeerCost { busy, received_bytes: 32, sent_bytes: 32, queued });
        assert_eq!(costs.of(LinkId::new(2, 0), at(40)), PeerCost::default());
        assert_eq!(costs.of(next, at(40)), PeerCost::default());
        costs.charge(next, &mark(50, 0, 0), &mark(51, 1, 0));
        assert_eq!(costs.of(next, at(60)).received_bytes, 1);
        assert_eq!(costs.of(peer, at(60)), PeerCost::default());
    }

    #[test]
    fn a_stale_id_is_not_charged_and_does_not_change_its_slots_costs() {
        let mut costs = Costs::default();
        let (stale, owner) = (LinkId::new(0, 4), LinkId::new(0, 5));
        costs.charge(owner, &mark(10, 0, 0), &mark(15, 32, 7));
        costs.waits(owner, at(20));
        let before = costs.of(owner, at(30));
        costs.charge(stale, &mark(20, 32, 7), &mark(28, 64, 9));
        costs.waits(stale, at(1));
        costs.waits_no_more(stale, at(29));
        assert_eq!(costs.of(owner, at(30)), before);
        assert_eq!(before.queued, Duration::from_nanos(10));
        assert_eq!(costs.of(stale, at(30)), PeerCost::default());
    }

    #[test]
    fn queueing_time_runs_exactly_while_the_queue_is_not_empty() {
        let mut costs = Costs::default();
        let peer = LinkId::new(0, 5);
        let queued = |costs: &Costs, now| costs.of(peer, at(now)).queued.as_nanos();
        costs.waits_no_more(peer, at(5));
        assert_eq!(queued(&costs, 9), 0);
        costs.waits(peer, at(10));
        costs.waits(peer, at(14));
        assert_eq!(queued(&costs, 17), 7);
        costs.waits_no_more(peer, at(20));
        costs.waits_no_more(peer, at(29));
        costs.waits(peer, at(30));
        costs.waits_no_more(peer, at(31));
        assert_eq!(queued(&costs, 99), 11);
    }
}
