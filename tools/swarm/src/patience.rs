//! A limit for worlds, so that an endless world does not block a test.
//!
//! The limit is checked before every round of turns and before every step of the clock, never within a turn. A world
//! is aborted in two cases: its hosts have made too many kernel calls, or any thread has requested the abort. The
//! number of calls is the same in every run of a world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A world's limit: a maximum number of kernel calls, and a request to abort. By default, the number of calls is not
/// limited. A request applies to all clones.
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
    /// Sets the maximum number of kernel calls that a world's hosts make in all. Default: no limit.
    #[must_use]
    pub fn with_max_calls(self, max_calls: u64) -> Self {
        Self { max_calls, ..self }
    }

    /// Aborts all worlds that have this patience or a clone of it, including worlds that start later.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns whether no abort has been requested.
    pub fn is_active(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Returns whether a world with this many calls may continue.
    pub fn lasts(&self, calls: u64) -> bool {
        calls <= self.max_calls && self.is_active()
    }
}
