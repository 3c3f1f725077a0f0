//! For how long a world is waited for, so that one that goes on and on holds nobody up.
//!
//! It is asked after every round of turns, and has an end in two ways: by the calls that the hosts of a world make,
//! which are the same in every run of it, and by a word from any thread. Nobody asks it within a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// When a world is given up. All clones hear the same word; by default nothing ends it but that.
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
    /// Gives up a world whose hosts make more calls than this. Default without limit.
    #[must_use]
    pub fn with_max_calls(self, max_calls: u64) -> Self {
        Self { max_calls, ..self }
    }

    /// Gives up every world, now and from here on.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody has ended it.
    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Whether a world that has come to so many calls is still waited for.
    pub fn lasts(&self, calls: u64) -> bool {
        calls <= self.max_calls && self.goes_on()
    }
}
