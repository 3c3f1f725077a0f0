//! The violations of one run, in the order in which they were found.
//!
//! All violations are counted, but only the first 32 are kept. A violation never ends the run.

use super::Violation;
use crate::time::Instant;

/// Maximum number of violations kept; the first ones are the most useful.
const VIOLATIONS_KEPT: usize = 32;

/// Violations in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) now: Instant,
    list: Vec<Violation>,
    pub(super) total: u64,
}

impl Findings {
    pub(super) fn list(&self) -> &[Violation] {
        &self.list
    }

    #[inline]
    pub(super) fn check(&mut self, invariant: u8, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.found(invariant, text());
        }
    }

    #[cold]
    pub(super) fn found(&mut self, invariant: u8, text: String) {
        self.total += 1;
        if self.list.len() < VIOLATIONS_KEPT {
            self.list.push(Violation { invariant, at: self.now, text });
        }
    }
}
