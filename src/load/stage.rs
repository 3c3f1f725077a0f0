//! The stages of a plan, and the changes of the rate that were requested during a load.

use super::phase::Phase;
use super::rate::Rate;
use std::time::Duration;

/// A part of a run with a constant or a steadily changing total rate.
///
/// ```
/// use peerloop::load::{Rate, Stage};
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let ramp = Stage::ramp(Rate::per_second(1_000), Rate::per_second(5_000), minute);
/// let plateau = Stage::constant(Rate::per_second(5_000), minute);
/// assert_eq!((ramp.to, ramp.operations()), (plateau.from, 180_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stage {
    /// The rate at the begin of the stage.
    pub from: Rate,
    /// The rate at the end of the stage.
    pub to: Rate,
    /// The length of the stage.
    pub time: Duration,
}

impl Stage {
    /// Returns a stage with a constant rate.
    pub const fn constant(rate: Rate, time: Duration) -> Self {
        Self { from: rate, to: rate, time }
    }

    /// Returns a stage whose rate changes steadily. A rate above one operation per nanosecond counts as that.
    pub const fn ramp(from: Rate, to: Rate, time: Duration) -> Self {
        Self { from, to, time }
    }
}

/// The peers' pace: the rule for the moments of the operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// The operations follow the schedule of the stages. A peer that was never ready or was lost keeps its share of
    /// the schedule: its operations are planned and count as not sent.
    #[default]
    Scheduled,
    /// As [`Pace::Scheduled`], but a peer's operations are planned only while the peer is ready. So the total rate
    /// falls with each lost peer, and a living peer's rate stays the same.
    PerLivingPeer,
    /// Each ready peer always has one operation outstanding: its next operation is planned for the moment at which the
    /// previous one ended, so a slow peer receives fewer operations. Latencies are therefore not charged for the
    /// operations that a stalling peer delays. The stages' rates do not apply.
    Max,
}

/// A change of the rate that was requested while the load was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateChange {
    /// The phase in which the rate was changed.
    pub phase: Phase,
    /// The moment of the change, from the start of the phase.
    pub at: Duration,
    /// The total rate before the change.
    pub from: Rate,
    /// The total rate after the change.
    pub to: Rate,
}

impl RateChange {
    /// Returns a change of the rate.
    #[doc(hidden)]
    pub fn new(phase: Phase, at: Duration, from: Rate, to: Rate) -> Self {
        Self { phase, at, from, to }
    }
}
