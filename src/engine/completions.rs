//! What the loop hears from where it neither reads nor writes itself: listeners, and answers to what it has asked.

use super::Engine;
use super::peers::banned;
use crate::api::ControlEvent;
use crate::error::{IoStep, NetworkFailure, RefusedOption, ResolveFailure};
use crate::manager::store::{Persisted, StoreError};
use crate::offload::Completion;
use crate::state::LoopState;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// The loop listens at `address` from now on.
    pub(crate) fn listener_bound(&mut self, address: SocketAddr) {
        self.state.telemetry.counters.listeners_bound += 1;
        self.state.outbox.emit(ControlEvent::ListenerBound { address });
        self.listens_at(address);
    }

    /// `address` is one of our own.
    pub(crate) fn listens_at(&mut self, address: SocketAddr) {
        if let Some(manager) = &mut self.state.manager {
            manager.listens_at(address);
        }
    }

    /// The loop does not listen at `address`, and tries again after `retry_in`.
    pub(crate) fn listener_failed(&mut self, address: SocketAddr, error: &io::Error, retry_in: Duration) {
        self.state.telemetry.counters.listen_failures += 1;
        let failure = NetworkFailure::new(IoStep::Bind, error);
        self.state.outbox.emit(ControlEvent::ListenerBindFailed { address, failure, retry_in });
    }

    /// The loop does not listen at `address` any more.
    pub(crate) fn listener_closed(&mut self, address: SocketAddr) {
        if let Some(manager) = &mut self.state.manager {
            manager.listens_no_more_at(address);
        }
    }

    /// Takes in the result of a job, however late.
    pub(crate) fn job_completed(&mut self, completion: Completion) {
        match completion {
            Completion::Resolved { query, outcome: Ok(addresses) } => {
                self.state.telemetry.counters.names_resolved += 1;
                self.resolved(query, &addresses, None);
            }
            Completion::Resolved { query, outcome: Err(failure) } => {
                self.state.telemetry.counters.resolve_failures += 1;
                self.resolved(query, &[], Some(failure));
            }
            Completion::Persisted(persisted) => self.persisted(&persisted),
        }
    }

    /// Reports a socket option that the system refuses.
    pub(crate) fn option_refused(&mut self, refused: RefusedOption) {
        self.state.telemetry.counters.socket_options_refused += 1;
        self.state.outbox.emit(ControlEvent::SocketOptionRefused { refused });
    }

    /// Changes of the book are on the disk, or cannot be written yet.
    fn persisted(&mut self, answer: &Persisted) {
        let LoopState { manager, outbox, telemetry, .. } = &mut self.state;
        let Some(manager) = manager else { return };
        let was_failing = manager.persistence.is_failing();
        for announced in manager.persistence.persisted(answer) {
            outbox.emit(banned(announced));
        }
        match &answer.result {
            Ok(()) => {
                telemetry.counters.batches_persisted += 1;
                if was_failing {
                    outbox.emit(ControlEvent::BookRecovered);
                }
            }
            Err(error) => {
                telemetry.counters.persist_failures += 1;
                outbox.emit(ControlEvent::BookFailing { error: Arc::new(error.clone()) });
            }
        }
    }

    /// Tells of a disk that does not answer; also while the loop stops.
    pub(super) fn watch_disk(&mut self) {
        let LoopState { manager, outbox, telemetry, clocks, .. } = &mut self.state;
        if manager.as_mut().is_some_and(|manager| manager.persistence.note_late_disk(clocks.now())) {
            telemetry.counters.persist_failures += 1;
            outbox.emit(ControlEvent::BookFailing { error: Arc::new(StoreError::NoAnswer) });
        }
    }

    /// A name of the manager's was looked up.
    fn resolved(&mut self, query: u32, addresses: &[SocketAddr], failure: Option<ResolveFailure>) {
        let LoopState { manager, outbox, clocks, rng, .. } = &mut self.state;
        let Some(manager) = manager else { return };
        let Some(name) = manager.name_of(query) else { return };
        let (found, new) = manager.resolved(query, addresses, (clocks.now(), clocks.unix()), rng);
        outbox.emit(match failure {
            None => ControlEvent::SeedResolved { name, found, new },
            Some(failure) => ControlEvent::SeedFailed { name, cause: failure.cause },
        });
    }
}
