//! The results of jobs that run off the loop: resolved names, and changes written to the address book.
//!
//! The result of an abandoned query is only counted, but a late result of a write is applied. An unresponsive disk is
//! reported whether the loop is running or stopping.

use super::Managing;
use crate::api::ControlEvent;
use crate::error::ResolveFailure;
use crate::manager::Announced;
use crate::manager::ban::Ban;
use crate::manager::store::{Persisted, StoreError};
use crate::offload::Completion;
use crate::state::LoopState;
use std::net::SocketAddr;
use std::sync::Arc;

/// Counts the result of a job, and passes it to the manager, if there is one.
pub(in crate::engine) fn job_completed(completion: Completion, state: &mut LoopState) {
    match &completion {
        Completion::Resolved { outcome: Ok(_), .. } => state.telemetry.counters.names_resolved += 1,
        Completion::Resolved { outcome: Err(_), .. } => state.telemetry.counters.resolve_failures += 1,
        Completion::Persisted(_) => {}
    }
    let Some(mut managing) = Managing::of(state) else { return };
    match completion {
        Completion::Resolved { query, outcome: Ok(addresses) } => managing.resolved(query, &addresses, None),
        Completion::Resolved { query, outcome: Err(failure) } => managing.resolved(query, &[], Some(failure)),
        Completion::Persisted(persisted) => managing.persisted(&persisted),
    }
}

impl Managing<'_> {
    /// Reports a disk that does not respond, unless its failure is already reported.
    pub(super) fn report_late_disk(&mut self) {
        if self.manager.persistence.note_late_disk(self.moment.now) {
            self.telemetry.counters.persist_failures += 1;
            self.outbox.emit(ControlEvent::BookFailing { error: Arc::new(StoreError::NoAnswer) });
        }
    }

    /// Handles the result of writing changes to the address book.
    fn persisted(&mut self, answer: &Persisted) {
        let was_failing = self.manager.persistence.is_failing();
        for announced in self.manager.persistence.persisted(answer) {
            self.outbox.emit(ban_event(announced));
        }
        match &answer.result {
            Ok(()) => {
                self.telemetry.counters.batches_persisted += 1;
                if was_failing {
                    self.outbox.emit(ControlEvent::BookRecovered);
                }
            }
            Err(error) => {
                self.telemetry.counters.persist_failures += 1;
                self.outbox.emit(ControlEvent::BookFailing { error: Arc::new(error.clone()) });
            }
        }
    }

    /// Handles the addresses of a name that the manager queried, or the failure to resolve it.
    fn resolved(&mut self, query: u32, addresses: &[SocketAddr], failure: Option<ResolveFailure>) {
        let Some(name) = self.manager.name_of(query) else { return };
        let (found, new) = self.manager.resolved(query, addresses, self.moment, self.rng);
        self.outbox.emit(match failure {
            None => ControlEvent::SeedResolved { name, found, new },
            Some(failure) => ControlEvent::SeedFailed { name, cause: failure.cause },
        });
    }
}

fn ban_event(announced: Announced) -> ControlEvent {
    let Announced { ban: Ban { host, reason, until, .. }, peers_closed } = announced;
    ControlEvent::PeerBanned { host, reason, until, peers_closed }
}
