//! A limit for worlds, so that an endless one blocks no test.
//!
//! The limit is checked after every round of turns, never within a turn. It is reached in two ways: by the number of
//! calls that a world's hosts make, which is the same in every run of it, and on request from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A limit after which a world is aborted. All clones share the same request; by default only that ends it.
#[derive(Clone, Debug)]
pub struct Patience {
    max_calls: u64,
    is_over: Arc<AtomicBool>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { max_calls: u64::MAX, is_over: Arc::default() }
    }
}

impl Patience {
    /// Aborts a world whose hosts make more calls than this. Default without limit.
    #[must_use]
    pub fn with_max_calls(self, max_calls: u64) -> Self {
        Self { max_calls, ..self }
    }

    /// Aborts every world, now and from now on.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns whether no request has ended it.
    pub fn is_active(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Returns whether a world with this many calls may continue.
    pub fn lasts(&self, calls: u64) -> bool {
        calls <= self.max_calls && self.is_active()
    }
}
