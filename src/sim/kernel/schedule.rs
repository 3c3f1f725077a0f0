//! The scheduled changes of the virtual kernel, in the order of their moments.
//!
//! Changes due at the same moment happen in the order in which they were added.

use super::naming::Reply;
use crate::sim::connection::EndId;
use crate::time::Instant;
use std::collections::BTreeMap;

/// A scheduled change.
#[derive(Debug)]
pub(super) enum Change {
    /// A dial fails.
    DialFails(EndId, i32),
    /// A host receives a completion. Nothing happens if the host was restarted in the meantime.
    Answer(Reply),
    /// A host's attempt to write its address book ends. Nothing happens if the host was restarted in the meantime.
    Write { host: usize, life: u32 },
}

/// The scheduled changes.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    changes: BTreeMap<(Instant, u64), Change>,
    /// The number of changes added so far.
    added: u64,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Instant, what: Change) {
        self.changes.insert((at, self.added), what);
        self.added += 1;
    }

    /// Returns the moment of the next change.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.changes.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes the next change that is due by `until`, and returns it with its moment.
    pub(super) fn take_by(&mut self, until: Instant) -> Option<(Instant, Change)> {
        let first = self.changes.first_entry().filter(|first| first.key().0 <= until)?;
        let ((at, _), what) = first.remove_entry();
        Some((at, what))
    }
}
