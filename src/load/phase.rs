//! The phases of a load, and the causes of an early end.
//!
//! The generator decides when a phase ends; this file only names the phases and the causes.

use std::time::Duration;

/// A phase of a generator.
///
/// The enum is exhaustive, because a display of a load's progress has to name each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections.
    Ramp,
    /// Pinging without counting.
    Warmup,
    /// Pinging and counting.
    Run,
    /// Waiting for the last replies.
    Drain,
    /// Closing the connections.
    Done,
}

/// The early end of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlyEnd {
    /// The cause.
    pub cause: EndCause,
    /// The phase that ended early.
    pub phase: Phase,
    /// The time from the start of that phase to its early end, without the drain that may follow.
    pub elapsed: Duration,
}

/// The cause of a load's early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// [`GeneratorRequest::Finish`](super::GeneratorRequest::Finish) or
    /// [`GeneratorRequest::Report`](super::GeneratorRequest::Report) was received.
    Asked,
    /// No peer became ready: every connection failed.
    NoneReady,
    /// The first dials, and all others that ended before them, failed for the same reason, so no further dials were
    /// started.
    FirstDialsFailed {
        /// The number of failed dials.
        dials: usize,
    },
    /// Every ready peer was lost.
    AllLost,
}
