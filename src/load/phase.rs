//! The phases of a load, and the causes that end one early.
//!
//! The generator decides when a phase ends; this file only names the phases and the causes.

use std::time::Duration;

/// What a generator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections.
    Ramp,
    /// Pinging without counting.
    Warmup,
    /// Pinging and counting.
    Run,
    /// Waiting for the last answers.
    Drain,
    /// Closing the connections.
    Done,
}

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
    /// It was asked to, by [`GeneratorRequest::Finish`](super::GeneratorRequest::Finish).
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
