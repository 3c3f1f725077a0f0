//! How the ramp went, how a load ended before its time, and what limited it.

use super::generator::Phase;
use super::schedule::Rate;
use std::time::Duration;

/// Dials that must all fail in the same way for the ramp to end at once.
pub(super) const FIRST_DIALS: usize = 100;

/// How a load ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyEnd {
    /// Why.
    pub cause: EndCause,
    /// In which phase.
    pub phase: Phase,
    /// After how much of that phase.
    pub elapsed: Duration,
}

/// Why a load ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// It was asked to, by [`GeneratorCommand::Finish`](super::GeneratorCommand::Finish).
    Asked,
    /// Every connection failed, the last one after its own attempt.
    NoneReady,
    /// The first dials all failed in the same way, so the others were not made.
    FirstDialsFailed {
        /// How many they were.
        dials: usize,
    },
    /// Every peer that was ready was lost.
    AllLost,
}

/// How the connections were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ramp {
    /// Connections dialled.
    pub dialled: usize,
    /// From the begin to the last dial, by the plan.
    pub planned_time: Duration,
    /// From the begin to the last dial.
    pub dial_time: Duration,
    /// From the begin until every connection was ready or had failed, if it came to that.
    pub time: Option<Duration>,
}

impl Ramp {
    /// Computes the rate at which connections were dialled, per second, from the planned one; none for fewer than two.
    pub fn dial_rate_per_second(&self, planned: Rate) -> Option<f64> {
        let late = self.dial_time.as_secs_f64() / self.planned_time.as_secs_f64();
        (self.dialled > 1 && !self.planned_time.is_zero()).then(|| planned.as_per_second() / late.max(1.0))
    }
}

/// The cause that kept a load from being done as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing: everything planned was sent in time and answered.
    None,
    /// The target: it refused or lost peers, left pings unanswered, or fell behind.
    Node,
    /// The generator: it was late, at its limit, or left pings unsent. What it says of the target is in doubt.
    Generator,
}

impl Limit {
    /// Returns its name: `none`, `node` or `generator`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Node => "node",
            Self::Generator => "generator",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_dials_is_the_planned_one_unless_the_last_was_late() {
        let planned = Rate::per_second(5_000);
        let ramp = |planned_ms, dial_ms| Ramp {
            dialled: 19_000,
            planned_time: Duration::from_millis(planned_ms),
            dial_time: Duration::from_millis(dial_ms),
            time: None,
        };
        assert_eq!(ramp(3_800, 3_800).dial_rate_per_second(planned), Some(5_000.0));
        assert_eq!(ramp(3_800, 7_600).dial_rate_per_second(planned), Some(2_500.0));
        assert_eq!(Ramp { dialled: 1, ..ramp(0, 0) }.dial_rate_per_second(planned), None);
    }
}
