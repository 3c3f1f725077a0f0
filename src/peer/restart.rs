//! How often a failed connection is opened again at once.
//!
//! A restart is the immediate second try after a network failure, before any backoff. It is granted a set number of
//! times per window, so a peer that keeps failing is soon left to the dialler's backoff. Accepted connections are never
//! restarted: nobody need listen at the address they came from.

use crate::time::Instant;
use std::time::Duration;

/// Grants a number of restarts per window of time. It is 32 bytes, `Copy`, and lives as long as the address is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartTracking {
    window: Duration,
    window_start: Instant,
    max_restarts: u32,
    restarts: u32,
}

impl RestartTracking {
    /// At most `max_restarts` per `window`, which begins with the first of them; a window of zero limits nothing.
    pub const fn new(max_restarts: u32, window: Duration) -> Self {
        Self { window, window_start: Instant::ZERO, max_restarts, restarts: 0 }
    }

    /// Grants as many restarts per `window` from now on; those that were granted count.
    pub const fn limit_to(&mut self, max_restarts: u32, window: Duration) {
        self.max_restarts = max_restarts;
        self.window = window;
    }

    /// Takes one restart, or returns `false` if the window has none left.
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

    /// Forgets the restarts so far, after a success.
    ///
    /// A completed handshake is a poor sign of success: a peer that drops every connection right behind it would be
    /// restarted without end.
    pub const fn reset(&mut self) {
        self.restarts = 0;
    }

    /// The window in which restarts are counted.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// The restarts that were granted in the latest window.
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }
}
