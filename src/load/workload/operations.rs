//! A workload's access to its operations in flight: how it reports replies, steps and failures.

use crate::id::PeerId;
use crate::load::accounts::Accounts;
use crate::load::in_flight::InFlight;
use crate::load::ledger::Entry;
use crate::load::operations::Part;
use crate::load::pacer::Pacer;
use crate::load::phase::Phase;
use crate::load::record::OperationResult;
use crate::load::roster::Roster;
use crate::time::Instant;
use std::fmt;

/// A workload's operations in flight, for one call.
///
/// An operation ends when it is answered or fails, when its peer closes, or with the load. Each method acts on the
/// peer's oldest operation with a key, and returns whether there is one: a reply to nothing changes nothing.
///
/// ```
/// use peerloop::load::Operations;
/// use peerloop::{Ctx, PeerId};
///
/// /// The index of `first_byte` in a workload's metrics.
/// const FIRST_BYTE: usize = 1;
///
/// /// Counts a reply that arrives in parts, of which the last may be missing.
/// fn note_part(ctx: &Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, key: u64, is_last: bool, is_valid: bool)
/// {
///     operations.step(peer, key, FIRST_BYTE, ctx.now());
///     match (is_last, is_valid) {
///         (true, true) => drop(operations.answered(peer, key, ctx.now())),
///         (true, false) => drop(operations.failed(peer, key, "invalid_reply", ctx.now())),
///         (false, _) => println!("{} operations in flight", operations.count(peer)),
///     }
/// }
/// ```
pub struct Operations<'a> {
    pub(in crate::load) in_flight: &'a mut InFlight,
    pub(in crate::load) accounts: &'a mut Accounts,
    pub(in crate::load) pacer: &'a mut Pacer,
    pub(in crate::load) roster: &'a Roster,
    pub(in crate::load) phase: Phase,
    /// Whether the end of an operation lets the next one of its slot begin.
    pub(in crate::load) frees_slot: bool,
    /// The only part whose operations these are; `None` for all operations.
    pub(in crate::load) part: Option<Part>,
}

impl Operations<'_> {
    /// Returns the operations of one part alone, whose metrics count from 0.
    pub(in crate::load) fn of_part(&mut self, index: usize) -> Operations<'_> {
        let part = Some(self.accounts.ledger.part(index));
        let Operations { in_flight, accounts, pacer, roster, phase, frees_slot, .. } = self;
        Operations { in_flight, accounts, pacer, roster, phase: *phase, frees_slot: *frees_slot, part }
    }

    /// Sets the moment of an operation's write, if the engine has reported it without the operation's mark.
    pub(in crate::load) fn note_sent(&mut self, peer: PeerId, key: u64, sent: Instant) {
        if let Some(flight) = self.in_flight.find(peer, Some(key), self.part) {
            flight.sent = sent;
        }
    }

    /// Ends an operation that was answered at `moment`.
    pub fn answered(&mut self, peer: PeerId, key: u64, moment: Instant) -> bool {
        let Some(flight) = self.in_flight.end(peer, Some(key), self.part) else { return false };
        self.accounts.ledger.note_answered(flight.entry, flight.sent, moment);
        self.free(flight.slot, moment);
        true
    }

    /// Records the time until a step of an operation, measured by the metric with the index `metric`, which is not the
    /// main one. The operation stays in flight. Only the first call for a metric counts.
    ///
    /// # Panics
    ///
    /// If `metric` is 0, or if the operation has no such metric.
    pub fn step(&mut self, peer: PeerId, key: u64, metric: usize, moment: Instant) -> bool {
        assert!(metric > 0, "metric 0 is the main one, which only an answer measures");
        let Some(flight) = self.in_flight.find(peer, Some(key), self.part) else { return false };
        let metric = metric + flight.entry.part.main();
        assert!(flight.entry.part.metrics().contains(&metric), "the operation has no such metric");
        let bit = 1 << metric;
        if flight.measured & bit == 0 {
            flight.measured |= bit;
            self.accounts.ledger.note_step(metric, flight.entry, flight.sent, moment);
        }
        true
    }

    /// Ends an operation that failed at `moment`, for a cause from a closed list. The report counts the causes.
    pub fn failed(&mut self, peer: PeerId, key: u64, cause: &'static str, moment: Instant) -> bool {
        self.fail(peer, Some(key), cause, moment)
    }

    /// Sends a peer's oldest [held](super::Started::Held) operation with `send`, which receives the operation's mark
    /// and returns its key, or the cause, from a closed list. An operation that could not be sent has failed at
    /// `moment`.
    ///
    /// ```
    /// use peerloop::bytes::Bytes;
    /// use peerloop::load::Operations;
    /// use peerloop::{Ctx, PeerId};
    ///
    /// /// Sends all held requests, now that the peer may be asked.
    /// fn send_all(ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, request: &Bytes) {
    ///     let now = ctx.now();
    ///     let mut send = |mark| match ctx.send_marked(peer, request, mark) {
    ///         Ok(()) => Ok(0),
    ///         Err(error) => Err(error.label()),
    ///     };
    ///     while operations.send_held(peer, now, &mut send) {}
    /// }
    /// ```
    pub fn send_held(
        &mut self,
        peer: PeerId,
        moment: Instant,
        send: impl FnOnce(u64) -> Result<u64, &'static str>,
    ) -> bool {
        let Some(flight) = self.in_flight.find(peer, None, self.part) else { return false };
        match send(flight.mark) {
            Ok(key) => flight.key = Some(key),
            Err(cause) => drop(self.fail(peer, None, cause, moment)),
        }
        true
    }

    /// Ends the oldest operation with this key, or the oldest held one without a key, as failed.
    fn fail(&mut self, peer: PeerId, key: Option<u64>, cause: &'static str, moment: Instant) -> bool {
        let Some(flight) = self.in_flight.end(peer, key, self.part) else { return false };
        if self.accounts.ledger.note_refused(moment, flight.entry, flight.sent(), flight.measured) {
            self.accounts.note_operation_failure(cause);
        }
        self.free(flight.slot, moment);
        true
    }

    /// Counts an operation of a passive workload: something that a peer is expected to do. Returns whether it counts;
    /// it does not outside the counted run, or after the peer's end. An operation that counts must end with
    /// [`observed`](Self::observed) or [`missed`](Self::missed) exactly once.
    ///
    /// # Panics
    ///
    /// If the workload has no main metric with this index.
    pub fn expect(&mut self, peer: PeerId, expected: Expected) -> bool {
        let entry = self.entry(peer, expected).filter(|_| self.phase == Phase::Run);
        entry.inspect(|&entry| self.accounts.ledger.note_due(expected.since, entry, true)).is_some()
    }

    /// Ends an operation of a passive workload: at `moment` the peer did what it was expected to do.
    ///
    /// # Panics
    ///
    /// If the workload has no main metric with this index.
    pub fn observed(&mut self, peer: PeerId, expected: Expected, moment: Instant) {
        if let Some(entry) = self.entry(peer, expected) {
            self.accounts.ledger.note_observed(entry, moment);
            self.in_flight.note_ended();
        }
    }

    /// Ends an operation of a passive workload: the peer did not do what it was expected to do, as is known at
    /// `moment`.
    ///
    /// # Panics
    ///
    /// If the workload has no main metric with this index.
    pub fn missed(&mut self, peer: PeerId, expected: Expected, miss: Miss, moment: Instant) {
        let Some(entry) = self.entry(peer, expected) else { return };
        let (ledger, since) = (&mut self.accounts.ledger, Some(expected.since));
        match miss {
            Miss::TimedOut => ledger.note_unanswered(moment, entry, since, 0, OperationResult::TimedOut),
            Miss::Lost => ledger.note_unanswered(moment, entry, since, 0, OperationResult::Lost),
            Miss::Failed(cause) => {
                if ledger.note_refused(moment, entry, since, 0) {
                    self.accounts.note_operation_failure(cause);
                }
            }
        }
        self.in_flight.note_ended();
    }

    fn entry(&self, peer: PeerId, expected: Expected) -> Option<Entry> {
        let Expected { index, metric, since } = expected;
        let connection = self.roster.connection(self.roster.slot_of_peer(peer)?);
        let part = self.accounts.ledger.part_of_main(metric);
        Some(Entry { index, connection, planned: since, part, was_held: false })
    }

    /// Returns the number of a peer's operations in flight.
    pub fn count(&self, peer: PeerId) -> usize {
        self.in_flight.count(peer, self.part)
    }

    fn free(&mut self, slot: u32, moment: Instant) {
        if self.frees_slot {
            self.pacer.note_ended(slot as usize, moment);
        }
    }
}

/// An operation of a passive workload: something that a peer is expected to do.
///
/// ```
/// use peerloop::load::{Expected, Miss, Operations};
/// use peerloop::time::Instant;
/// use peerloop::{Ctx, PeerId};
///
/// /// Expects something of a peer, which has done it after all or has not.
/// fn observe(ctx: &Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, since: Instant, is_done: bool) {
///     let expected = Expected { index: 0, metric: 0, since };
///     if operations.expect(peer, expected) {
///         match is_done {
///             true => operations.observed(peer, expected, ctx.now()),
///             false => operations.missed(peer, expected, Miss::Failed("not_done"), ctx.now()),
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// A number that no other operation of the workload has.
    pub index: u64,
    /// The index of the main metric that measures the operation.
    pub metric: usize,
    /// The moment from which the latency counts.
    pub since: Instant,
}

/// The reason why an expected operation ended without its observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The load ended.
    TimedOut,
    /// The peer was lost.
    Lost,
    /// Another cause, from a closed list. The report counts the causes.
    Failed(&'static str),
}

impl fmt::Debug for Operations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}
