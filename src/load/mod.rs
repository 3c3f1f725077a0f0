//! Load: a [`Generator`] that connects to peers and carries out a [`Workload`] on a schedule, and a [`Responder`] for
//! it to connect to.
//!
//! Both are plain [`Handler`](crate::Handler)s that use the same [`Ctx`](crate::Ctx) as every embedder. The generator
//! never waits for a reply before it starts a due operation. An operation's latency is recorded twice: from its planned
//! moment, so that a stalling target is charged for the operations that it delayed, and from the moment at which it was
//! sent. The generator measures its own lag and reports whether its numbers can be trusted.

mod accounts;
mod counts;
mod dials;
mod generator;
mod in_flight;
mod interval;
mod judgement;
mod kinds;
mod ledger;
mod operations;
mod pacer;
mod phase;
mod plan;
mod rate;
mod record;
mod report;
mod request;
mod responder;
mod roster;
mod schedule;
mod stage;
mod targets;
mod timeline;
mod traffic;
mod unanswered;
mod verdict;
mod workload;
pub mod workloads;

pub use counts::{PeerCounts, WorkCounts};
pub use generator::Generator;
pub use interval::Interval;
pub use operations::{OperationReport, StageReport};
pub use phase::{EarlyEnd, EndCause, Phase};
pub use plan::Plan;
pub use rate::Rate;
pub use record::{IntervalHistograms, OperationRecord, OperationResult, Recorder, View};
pub use report::{Agent, Failure, OperationFailure, Ramp, Report};
pub use request::{GeneratorRequest, Progress};
pub use responder::{Responder, ResponderConfig, ResponderCounts, ResponderRequest, Snapshot, Stall};
pub use schedule::{Arrival, Segment};
pub use stage::{Pace, RateChange, Stage};
pub use targets::TargetReport;
pub use traffic::Traffic;
pub use unanswered::UnansweredWaits;
pub use verdict::{Doubt, Limit, Verdict};
pub use workload::{Expected, MAX_METRICS, Miss, Operation, Operations, Started, Workload};
