//! The jobs of a real loop: one thread for each name being resolved, and one that writes the address book.
//!
//! The number of threads is bounded, and each completion wakes the loop. The loop's thread never waits for another
//! thread, except for the address book's thread when the loop ends.

use super::resolver::{Resolved, Resolver, ask_system};
use super::store_writer::StoreWriter;
use super::{Completion, Offload};
use crate::error::ResolveFailure;
use crate::manager::store::{Batch, PeerStore, Persisted, StoreError};
use crate::net::Wake;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Runs jobs on threads and wakes a loop for each completion.
pub struct Threads {
    waker: Arc<dyn Wake>,
    resolver: Resolver,
    book: Option<StoreWriter>,
    /// The id of the last batch that completed without a store, until its completion is read.
    unkept: Option<u64>,
}

impl Threads {
    /// Returns an instance without a running thread. The operating system looks up names, and there is no store.
    pub fn new(waker: Arc<dyn Wake>) -> Self {
        Self { waker, resolver: Resolver::new(ask_system), book: None, unkept: None }
    }

    /// Looks up names with `look_up` from now on.
    pub(crate) fn set_resolver(
        &mut self,
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) {
        self.resolver = Resolver::new(look_up);
    }

    /// Starts the thread that writes to `store`.
    pub(crate) fn set_store(&mut self, store: impl PeerStore + Send + 'static) -> io::Result<()> {
        self.book = Some(StoreWriter::spawn(store, Arc::clone(&self.waker))?);
        Ok(())
    }

    /// Waits until all batches are durable or a last attempt to write them has failed, and the store is closed. If a
    /// result does not arrive within [`MAX_BOOK_END`](crate::limits::MAX_BOOK_END), returns
    /// [`StoreError::NoAnswer`], and the store stays open. On success, returns the id of the last batch, if any, that
    /// was not known to be durable before the wait. Dropping the value waits in the same way, but only logs an error.
    pub(crate) fn finish_book(&mut self) -> Result<Option<u64>, StoreError> {
        let Some(book) = self.book.take() else { return Ok(None) };
        let last = book.last_unanswered();
        book.finish().map(|()| last)
    }
}

impl Offload for Threads {
    fn resolve(&mut self, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        self.resolver.ask(query, name, port, &self.waker)
    }

    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        match &mut self.book {
            Some(book) => book.try_send(batch),
            None => {
                self.unkept = Some(batch.id);
                self.waker.wake();
                Ok(())
            }
        }
    }

    fn take_completion(&mut self) -> Option<Completion> {
        if let Some(Resolved { query, outcome }) = self.resolver.take() {
            return Some(Completion::Resolved { query, outcome });
        }
        let unkept = self.unkept.take().map(|id| Persisted { id, result: Ok(()) });
        unkept.or_else(|| self.book.as_mut()?.try_answer()).map(Completion::Persisted)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("resolver", &self.resolver).field("book", &self.book).finish_non_exhaustive()
    }
}
