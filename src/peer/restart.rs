//! Immediate restarts of lost connections.
//!
//! A restart reopens a lost connection at once, without a backoff. A limited number of restarts is granted per
//! window, so that the dialler's backoff soon applies to a peer that keeps failing. Accepted connections are never
//! restarted: the peer need not listen on the address from which it connected.

use crate::time::Instant;
use std::time::Duration;

/// A limit on restarts per window of time, and the restarts granted so far: 32 bytes, `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartTracking {
    window: Duration,
    window_start: Instant,
    max_restarts: u32,
    restarts: u32,
}

impl RestartTracking {
    /// Creates a limit of `max_restarts` per `window`. Each window begins with its first restart. A window of zero
    /// does not limit restarts, unless `max_restarts` is 0.
    pub const fn new(max_restarts: u32, window: Duration) -> Self {
        Self { window, window_start: Instant::ZERO, max_restarts, restarts: 0 }
    }

    /// Changes the limit to `max_restarts` per `window`. Restarts already granted still count.
    #[doc(hidden)]
    pub const fn limit_to(&mut self, max_restarts: u32, window: Duration) {
        self.max_restarts = max_restarts;
        self.window = window;
    }

    /// Grants one restart and returns `true`, or returns `false` if the window's restarts are used up.
    #[must_use]
    pub fn try_restart(&mut self, now: Instant) -> bool {
        if self.restarts == 0 || now.since(self.window_start) >= self.window {
            self.window_start = now;
            self.restarts = 0;
        }
        let granted = self.restarts < self.max_restarts;
        self.restarts += u32::from(granted);
        granted
    }

    /// Clears the restarts so far, after a success.
    ///
    /// A completed handshake alone is not a success: a peer that closes every connection right after the handshake
    /// would be restarted endlessly.
    pub const fn reset(&mut self) {
        self.restarts = 0;
    }

    /// Returns the window in which restarts are counted.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Returns the number of restarts granted in the latest window and since the last [reset](Self::reset).
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }
}
