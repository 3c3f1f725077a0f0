//! Jobs off the loop: blocking work runs on other threads and completes later.
//!
//! The loop starts a job with [`Offload::resolve`] or [`Offload::persist`], never waits for it, and collects its
//! [`Completion`] after a wake-up. [`Threads`] runs the jobs of a real loop; the simulator completes them in virtual
//! time. The library's other modules never start a thread.

pub(crate) mod resolver;
pub mod store_writer;
mod threads;

pub use threads::Threads;

use crate::error::ResolveFailure;
use crate::manager::store::{Batch, Persisted};
use std::net::SocketAddr;

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// A name was looked up, or the look-up failed.
    Resolved {
        /// The number passed to [`Offload::resolve`].
        query: u32,
        /// 1 to [`MAX_RESOLVED_ADDRESSES`](crate::limits::MAX_RESOLVED_ADDRESSES) addresses, in the resolver's order.
        /// They are unchecked: an address may be unusable or repeated.
        outcome: Result<Vec<SocketAddr>, ResolveFailure>,
    },
    /// The address book is durable up to a batch, or cannot be written.
    Persisted(Persisted),
}

/// Runs jobs off the loop. No call blocks. Embedders cannot name this trait, so only the library and its tests
/// implement it.
pub trait Offload {
    /// Starts to look up the addresses of `name`. A port after a colon in `name` replaces `port`. The completion
    /// carries `query`. The completion may never arrive, so the caller needs a timeout of its own.
    ///
    /// # Errors
    ///
    /// If [`MAX_RESOLVES`](crate::limits::MAX_RESOLVES) completions are outstanding, or no thread can be started. No
    /// completion follows.
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure>;

    /// Starts to make a batch of changes to the address book durable. Completions arrive in the order of the batches.
    /// One completion may cover several batches. Without a store, the batch completes at once and its changes are not
    /// stored.
    ///
    /// # Errors
    ///
    /// The batch, if [`MAX_BOOK_QUEUE`](crate::limits::MAX_BOOK_QUEUE) batches are not durable yet or the writer has
    /// ended.
    fn persist(&mut self, batch: Batch) -> Result<(), Batch>;

    /// Returns the next completion, if there is one. A new completion ends a [`Net::wait`](crate::net::Net::wait).
    fn take_completion(&mut self) -> Option<Completion>;
}
