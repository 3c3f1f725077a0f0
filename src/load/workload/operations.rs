//! A workload's access to its operations in flight: how it reports replies, steps and failures.

use crate::id::PeerId;
use crate::load::accounts::Accounts;
use crate::load::in_flight::InFlight;
use crate::load::pacer::Pacer;
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
    /// Whether the end of an operation lets the next one of its slot begin.
    pub(in crate::load) frees_slot: bool,
}

impl Operations<'_> {
    /// Ends an operation that was answered at `moment`.
    pub fn answered(&mut self, peer: PeerId, key: u64, moment: Instant) -> bool {
        let Some(flight) = self.in_flight.end(peer, key) else { return false };
        self.accounts.ledger.note_answered(flight.entry, flight.sent, moment);
        self.free(flight.slot, moment);
        true
    }

    /// Records the time until a step of an operation, measured by the metric with the index `metric`, which is not the
    /// main one. The operation stays in flight. Only the first call for a metric counts.
    ///
    /// # Panics
    ///
    /// If `metric` is 0 or the workload has no such metric.
    pub fn step(&mut self, peer: PeerId, key: u64, metric: usize, moment: Instant) -> bool {
        assert!(metric > 0, "metric 0 is the main one, which only an answer measures");
        let Some(flight) = self.in_flight.find(peer, key) else { return false };
        let bit = 1 << metric;
        if flight.measured & bit == 0 {
            flight.measured |= bit;
            self.accounts.ledger.note_step(metric, flight.entry, flight.sent, moment);
        }
        true
    }

    /// Ends an operation that failed at `moment`, for a cause from a closed list. The report counts the causes.
    pub fn failed(&mut self, peer: PeerId, key: u64, cause: &'static str, moment: Instant) -> bool {
        let Some(flight) = self.in_flight.end(peer, key) else { return false };
        if self.accounts.ledger.note_refused(moment, flight.entry, flight.sent, flight.measured) {
            self.accounts.note_operation_failure(cause);
        }
        self.free(flight.slot, moment);
        true
    }

    /// Returns the number of a peer's operations in flight.
    pub fn count(&self, peer: PeerId) -> usize {
        self.in_flight.count(peer)
    }

    fn free(&mut self, slot: u32, moment: Instant) {
        if self.frees_slot {
            self.pacer.note_ended(slot as usize, moment);
        }
    }
}

impl fmt::Debug for Operations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}
