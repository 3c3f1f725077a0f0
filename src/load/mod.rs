//! Load: a [`Generator`] that opens peers and pings them by a schedule, and a [`Responder`] for it to talk to.
//!
//! Both are plain [`Handler`](crate::Handler)s, above the same [`Ctx`](crate::Ctx) that every embedder has, and can
//! do nothing that an embedder cannot. The generator never waits for an answer before it sends what is due: every
//! latency is recorded from the moment the ping was planned, so that a target that stalls is charged for the pings it
//! delayed, and beside it from the moment it was sent. It measures its own lag and says whether its numbers can be
//! trusted.

mod accounts;
mod counts;
mod generator;
mod phase;
mod plan;
mod report;
mod responder;
mod roster;
mod schedule;
mod targets;
mod timeline;
mod traffic;
mod unanswered;
mod verdict;

pub use counts::{PeerCounts, WorkCounts};
pub use generator::{Generator, GeneratorRequest, Progress};
pub use phase::{EarlyEnd, EndCause, Phase};
pub use plan::Plan;
pub use report::{Agent, Failure, Ramp, Report};
pub use responder::{Responder, ResponderRequest, Snapshot};
pub use schedule::Rate;
pub use targets::TargetReport;
pub use timeline::Interval;
pub use traffic::Traffic;
pub use unanswered::UnansweredWaits;
pub use verdict::{Doubt, Limit, Verdict};
