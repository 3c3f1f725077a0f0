//! The bounds that the invariants check. They follow from a loop's configuration.
//!
//! A new configuration replaces the bounds. A lowered limit never closes a link, so the loop may exceed the new
//! bounds.

use crate::config::{Config, ManagerConfig};
use crate::error::{CloseReason, Deadline, Disconnect, LocalCause};
use crate::limits::{BACKOFF_JITTER_PERCENT, BARRED_RECHECK, SELF_BACKOFF};
use crate::reactor::inspect::Summary;
use crate::time::Instant;
use std::time::Duration;

/// Maximum difference between two ways to round a pause.
const ROUNDING: Duration = Duration::from_micros(1);

/// A configuration's bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) magic: [u8; 4],
    pub(super) max_links: usize,
    pub(super) max_inbound: usize,
    pub(super) max_gathered_bytes: u64,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) pong_timeout: Duration,
    pub(super) dials: Option<DialBounds>,
}

/// A configuration's bounds for dials.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialBounds {
    pub(super) initial_backoff: Duration,
    pub(super) backoff_multiplier: f64,
    pub(super) max_backoff: Duration,
    pub(super) max_restarts: u32,
    pub(super) restart_window: Duration,
    pub(super) max_retries: u32,
}

impl Bounds {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            magic: config.magic_bytes(),
            max_links: config.max_links,
            max_inbound: config.max_inbound,
            max_gathered_bytes: config.max_buffered_total_bytes,
            connect_timeout: config.connect_timeout,
            handshake_timeout: config.handshake_timeout,
            pong_timeout: config.pong_timeout,
            dials: DialBounds::of(config),
        }
    }

    /// Returns the bounds for a turn in which a configuration with the bounds `other` replaced one with these bounds.
    /// Each limit on links or bytes is the higher of the two; everything else is as in `other`.
    pub(super) fn or_looser(self, other: Self) -> Self {
        Self {
            max_links: self.max_links.max(other.max_links),
            max_inbound: self.max_inbound.max(other.max_inbound),
            max_gathered_bytes: self.max_gathered_bytes.max(other.max_gathered_bytes),
            ..other
        }
    }

    /// Returns the bounds, with each exceeded limit on links or bytes raised to the current value. Links stay open
    /// even if a new configuration allows fewer links.
    pub(super) fn at_least(self, summary: &Summary) -> Self {
        Self {
            max_links: self.max_links.max(summary.links),
            max_inbound: self.max_inbound.max(summary.inbound),
            max_gathered_bytes: self.max_gathered_bytes.max(summary.gathered_bytes),
            ..self
        }
    }
}

impl DialBounds {
    pub(super) fn of(config: &Config) -> Option<Self> {
        let ManagerConfig {
            initial_backoff,
            backoff_multiplier,
            max_backoff,
            max_restarts,
            restart_window,
            max_retries,
            ..
        } = *config.manager.as_ref()?;
        Some(Self { initial_backoff, backoff_multiplier, max_backoff, max_restarts, restart_window, max_retries })
    }

    /// Returns the pause after a number of failures, without its jitter.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let secs = self.initial_backoff.as_secs_f64() * self.backoff_multiplier.powi(exponent);
        Duration::try_from_secs_f64(secs).map_or(self.max_backoff, |pause| pause.min(self.max_backoff))
    }

    /// Returns whether a pause from `now` until `until` is correct for `reason`. Moments are compared, not durations,
    /// because a pause beyond the clock's last moment ends at that moment.
    pub(super) fn allows(&self, now: Instant, until: Instant, failures: u32, reason: CloseReason) -> bool {
        let within = |least: Duration, most: Duration| {
            let longest = most.saturating_add(most / 100 * BACKOFF_JITTER_PERCENT as u32).saturating_add(ROUNDING);
            now.plus(least) <= until.plus(ROUNDING) && until <= now.plus(longest)
        };
        match reason {
            CloseReason::Local(LocalCause::SelfConnection) => within(SELF_BACKOFF, SELF_BACKOFF),
            CloseReason::TimedOut(Deadline::Connect) => within(self.pause(failures), self.pause(failures)),
            CloseReason::Local(LocalCause::Banned | LocalCause::Duplicate) => within(BARRED_RECHECK, BARRED_RECHECK),
            CloseReason::Requested(Disconnect::Done) | CloseReason::Local(_) => {
                within(self.max_backoff, self.max_backoff)
            }
            CloseReason::Wire(_)
            | CloseReason::Misbehaved(_)
            | CloseReason::Incompatible(_)
            | CloseReason::TimedOut(_)
            | CloseReason::Network(_)
            | CloseReason::Requested(_)
            | CloseReason::ClosedByPeer
            | CloseReason::RejectedByPeer(_) => within(self.initial_backoff, self.max_backoff),
        }
    }
}
