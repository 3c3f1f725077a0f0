//! The causes that hold back wanted dials, each reported once until [`Holds::clear`] allows it again.

use crate::error::DialHold;
use crate::limits::NO_CANDIDATES_DELAY;
use crate::time::Instant;
use std::collections::BTreeSet;

/// The causes recorded since the last [`Holds::clear`], and those still to be reported.
#[derive(Debug, Default)]
pub(super) struct Holds {
    noted: BTreeSet<DialHold>,
    unreported: BTreeSet<DialHold>,
    /// The moment since which the book has had no candidate, and no address that is paused or held back by a cause;
    /// `None` otherwise.
    no_candidates_since: Option<Instant>,
}

impl Holds {
    pub(super) fn note(&mut self, cause: DialHold) {
        if self.noted.insert(cause) {
            self.unreported.insert(cause);
        }
    }

    pub(super) fn has(&self, cause: DialHold) -> bool {
        self.noted.contains(&cause)
    }

    /// Removes and returns a cause to report, or returns `None` if all are reported.
    pub(super) fn take(&mut self) -> Option<DialHold> {
        self.unreported.pop_first()
    }

    /// Records a draw from the book that found no candidate. `has_none` states whether there is also no address
    /// that is paused or held back by a cause.
    pub(super) fn drawn_without_candidate(&mut self, has_none: bool, now: Instant) {
        let since = self.no_candidates_since.unwrap_or(now);
        self.no_candidates_since = has_none.then_some(since);
        self.check_candidates(now);
    }

    /// Records that candidates are missing, once they have been missing for [`NO_CANDIDATES_DELAY`].
    pub(super) fn check_candidates(&mut self, now: Instant) {
        if self.no_candidates_since.is_some_and(|since| since.plus(NO_CANDIDATES_DELAY) <= now) {
            self.note(DialHold::NoCandidates);
        }
    }

    /// Returns the moment at which [`Holds::check_candidates`] has something to record, if any.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let since = self.no_candidates_since.filter(|_| !self.has(DialHold::NoCandidates))?;
        Some(since.plus(NO_CANDIDATES_DELAY))
    }

    /// Resets the time for which candidates have been missing, because an address is dialled.
    pub(super) const fn connect_starting(&mut self) {
        self.no_candidates_since = None;
    }

    /// Allows each cause to be reported again, because the wanted peers are connected or the settings changed.
    pub(super) fn clear(&mut self) {
        self.noted.clear();
        self.no_candidates_since = None;
    }
}
