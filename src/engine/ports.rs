//! What the loop hears from where it neither reads nor writes itself: listeners, and answers to what it has asked.

use super::Engine;
use crate::net::Answer;
use crate::store::Persisted;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

impl Engine {
    /// The loop listens at `address` from now on.
    pub(crate) fn listener_bound(&mut self, address: SocketAddr) {
        self.state.counters.listeners_bound += 1;
        log::info!("listening at {address}");
    }

    /// The loop does not listen at `address`, and tries again after `retry_in`.
    pub(crate) fn listener_failed(&mut self, address: SocketAddr, error: &io::Error, retry_in: Duration) {
        self.state.counters.listen_failures += 1;
        log::warn!("cannot listen at {address}: {error}; the next try is in {retry_in:?}");
    }

    /// An answer has come, in time or not.
    pub(crate) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Resolved { query, outcome: Ok(addresses) } => {
                self.state.counters.names_resolved += 1;
                log::debug!("query {query} gave {} addresses", addresses.len());
            }
            Answer::Resolved { outcome: Err(failure), .. } => {
                self.state.counters.resolve_failures += 1;
                log::info!("{failure}");
            }
            Answer::Persisted(Persisted { result: Ok(()), .. }) => self.state.counters.batches_persisted += 1,
            Answer::Persisted(Persisted { result: Err(error), .. }) => {
                self.state.counters.persist_failures += 1;
                log::warn!("the book is not written: {error}");
            }
        }
    }
}
