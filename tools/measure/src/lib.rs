//! The statistics of peerloop's measurements, as pure functions and small types.
//!
//! - [`Tally`]: counted latencies, with failed operations as infinitely slow.
//! - [`Series`]: the intervals of a run. [`Series::percentile`] gives a percentile with its interval.
//! - [`compare`]: whether a new version is better, worse or the same, by several runs of each side.
//! - [`Threshold`]: a condition such as `ping_rtt:p99<20ms over 10s`, which [`Watch`] judges.
//! - [`Search`]: the search for the highest load that meets a goal, as a state machine.
//! - [`ShareInterval`]: the share of slow operations with its interval.
//!
//! This crate knows no clock, file or socket, and nothing of peers. Every formula is tested on synthetic series whose
//! truth is known; `tests/synthetic` prints how often the intervals contain it.

#![forbid(unsafe_code)]

mod compare;
mod design;
mod quantile;
mod search;
mod series;
mod share;
mod student;
mod tally;
mod threshold;

pub use compare::{
    Change, Comparison, Direction, Doubt, FailOn, MARGIN, MIN_CONFIRMED, MIN_RUNS, MetricRuns, Pairing, Scale,
    TooFewRuns, Verdict, compare,
};
pub use design::{DesignEffect, MIN_BATCHES};
pub use quantile::{Estimate, MIN_TAIL};
pub use search::{
    Answer, Bound, Distrust, End, Goal, GoalError, Purpose, Reason, Remainder, Search, SearchOutcome, SearchSettings,
    Searched, SettingsError, Step, TRIAL_INTERVAL, Trial, TrialRow, TrialVerdict,
};
pub use series::{MAX_BUCKETS, MAX_INTERVALS, MIN_INTERVALS, Series};
pub use share::ShareInterval;
pub use student::{CONFIDENCE, student_cdf, student_quantile};
pub use tally::{Reading, Share, Tally, percentile_rank};
pub use threshold::{
    Function, Judgement, MIN_WINDOW_OPERATIONS, Outcome, Relation, Threshold, ThresholdError, Unit, View, Watch,
    Windows,
};
