//! How the program ends: the exit codes that scripts rely on, and the one line that goes with a failure.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | finished |
//! | 1 | the run ended early or had too few peers, a name, file or address could not be used, or a check failed |
//! | 2 | wrong usage |
//! | 3 | this machine cannot do it, found before the start |
//! | 129, 130, 143 | ended by SIGHUP, SIGINT or SIGTERM; results up to then are written and marked `partial` |
//!
//! A node goes on until a signal comes, so that one is how it finishes; only a second one makes its end early.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    RunFailed,
    Usage,
    MachineCannot,
    Stopped(Stop),
}

/// What asked the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    HungUp,
    Interrupted,
    Terminated,
}

/// Why the program ends early: what was attempted, on what, what went wrong and what to do, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::RunFailed => 1,
            Self::Usage => 2,
            Self::MachineCannot => 3,
            Self::Stopped(Stop::HungUp) => 129,
            Self::Stopped(Stop::Interrupted) => 130,
            Self::Stopped(Stop::Terminated) => 143,
        }
    }
}

impl Stop {
    /// The signal's name.
    pub(crate) const fn signal(self) -> &'static str {
        match self {
            Self::HungUp => "SIGHUP",
            Self::Interrupted => "SIGINT",
            Self::Terminated => "SIGTERM",
        }
    }
}

impl Failure {
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self { exit: Exit::RunFailed, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self { exit: Exit::MachineCannot, message: message.into() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
