//! Thresholds: conditions that a run has to fulfil, in one line each.
//!
//! `ping_rtt{stage=2,view=sent}:p99.9<80ms over 10s` reads: of the metric `ping_rtt`, in stage 2, seen from the actual
//! send time, the 99.9th percentile has to be below 80 ms in every window of 10 s. [`str::parse`] reads a threshold and
//! its [`Display`](fmt::Display) writes it again. [`Watch`] judges it, at the end of a run or while it lasts.

mod parse;
mod watch;

pub use parse::ThresholdError;
pub use watch::{Judgement, MIN_WINDOW_OPERATIONS, Outcome, Watch, Windows};

use crate::tally::Tally;
use std::fmt;
use std::time::Duration;

/// A condition that a metric has to fulfil.
///
/// ```
/// use peerloop_measure::{Function, Relation, Threshold};
///
/// let threshold: Threshold = "ping_rtt{stage=2}: p(99) <= 20 ms over 10s".parse().unwrap();
/// assert_eq!(threshold.function, Function::Percentile(99.0));
/// assert_eq!((threshold.relation, threshold.limit), (Relation::AtMost, 20e6));
/// assert_eq!(threshold.to_string(), "ping_rtt{stage=2}:p99<=20ms over 10s");
/// assert!("ping_rtt:p99<20".parse::<Threshold>().unwrap_err().to_string().contains("no unit"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Threshold {
    /// The metric's name. Which names exist is not checked here.
    pub metric: String,
    /// The stage to which the threshold is limited, from 1; `None` for the whole run.
    pub stage: Option<u32>,
    /// The view of the metric; `None` for its usual one.
    pub view: Option<View>,
    /// The function of the metric's operations.
    pub function: Function,
    /// How the function's value has to relate to the limit.
    pub relation: Relation,
    /// The limit: nanoseconds, operations, operations per second, or a share, as [`Function`] states.
    pub limit: f64,
    /// The length of the sliding windows that all have to fulfil the condition; `None` for one judgement of all.
    pub over: Option<Duration>,
}

/// The moment from which a latency counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// From the planned moment.
    Planned,
    /// From the moment of sending.
    Sent,
    /// Of metrics without a plan, such as `loop_lag`.
    Measured,
}

impl View {
    /// All views, in the order of their documentation.
    pub const ALL: [Self; 3] = [Self::Planned, Self::Sent, Self::Measured];

    /// Returns the view's name in thresholds and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Measured => "measured",
        }
    }
}

/// A function of a metric's operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// The percentile, in nanoseconds; above 0 and at most 100. Failed operations are infinitely slow.
    Percentile(f64),
    /// The longest latency, in nanoseconds; infinite if an operation failed.
    Max,
    /// The mean latency, in nanoseconds; infinite if an operation failed.
    Mean,
    /// The number of operations that did not fail.
    Count,
    /// The operations per second that did not fail.
    Rate,
    /// The share of all operations that failed, from 0 to 1.
    Failed,
}

impl Function {
    /// Computes the function over operations that were measured within `time`; `None` without operations.
    ///
    /// ```
    /// use peerloop_measure::{Function, Tally};
    /// use std::time::Duration;
    ///
    /// let tally = Tally::from_counts([(1_000, 3)], 1);
    /// let second = Duration::from_secs(1);
    /// assert_eq!(Function::Failed.of(&tally, second), Some(0.25));
    /// assert_eq!(Function::Percentile(99.0).of(&tally, second), Some(f64::INFINITY));
    /// assert_eq!(Function::Count.of(&Tally::default(), second), None);
    /// ```
    pub fn of(self, tally: &Tally, time: Duration) -> Option<f64> {
        if tally.total() == 0 {
            return None;
        }
        match self {
            Self::Percentile(percent) => tally.percentile(percent).map(|reading| reading.as_f64()),
            Self::Max => tally.max().map(|reading| reading.as_f64()),
            Self::Mean => tally.mean(),
            Self::Count => Some(tally.answered() as f64),
            Self::Rate => (!time.is_zero()).then(|| tally.answered() as f64 / time.as_secs_f64()),
            Self::Failed => Some(tally.failed() as f64 / tally.total() as f64),
        }
    }

    /// Returns the unit of the function's values.
    pub fn unit(self) -> Unit {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => Unit::Nanoseconds,
            Self::Count => Unit::Operations,
            Self::Rate => Unit::PerSecond,
            Self::Failed => Unit::Share,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percent) => write!(f, "p{percent}"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
            Self::Count => f.write_str("count"),
            Self::Rate => f.write_str("rate"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

/// The unit of a [`Function`]'s values and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A latency.
    Nanoseconds,
    /// A number of operations.
    Operations,
    /// A rate.
    PerSecond,
    /// A part of all operations, from 0 to 1.
    Share,
}

impl Unit {
    /// Writes a limit as [`Threshold`]'s parser reads it.
    fn write(self, limit: f64) -> String {
        match self {
            Self::Nanoseconds => duration(limit),
            Self::Operations | Self::Share => limit.to_string(),
            Self::PerSecond => format!("{limit}/s"),
        }
    }
}

/// The units of durations, from the longest on, with their nanoseconds.
const DURATIONS: [(&str, f64); 6] = [("h", 3.6e12), ("m", 6e10), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];

/// Writes a duration in the longest unit of which it is a multiple.
fn duration(nanos: f64) -> String {
    let (name, unit) = DURATIONS.into_iter().find(|(_, unit)| nanos % unit == 0.0).unwrap_or(("ns", 1.0));
    match nanos == 0.0 {
        true => "0s".to_owned(),
        false => format!("{}{name}", nanos / unit),
    }
}

/// How a value has to relate to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// Returns whether the value relates to the limit like this.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }

    /// Returns whether smaller values fulfil the relation.
    pub fn wants_small(self) -> bool {
        match self {
            Self::Below | Self::AtMost => true,
            Self::Above | Self::AtLeast => false,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage.map(|stage| format!("stage={stage}"));
        let view = self.view.map(|view| format!("view={}", view.name()));
        let selectors: Vec<String> = stage.into_iter().chain(view).collect();
        f.write_str(&self.metric)?;
        if !selectors.is_empty() {
            write!(f, "{{{}}}", selectors.join(","))?;
        }
        write!(f, ":{}{}{}", self.function, self.relation.sign(), self.function.unit().write(self.limit))?;
        match self.over {
            Some(over) => write!(f, " over {}", duration(over.as_nanos() as f64)),
            None => Ok(()),
        }
    }
}
