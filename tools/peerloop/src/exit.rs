//! The program's exit: the codes that scripts rely on, and the one line that describes a failure.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | finished |
//! | 1 | the run ended early or had too few peers; a name, file or address could not be used; or a check failed |
//! | 2 | wrong usage |
//! | 3 | a limit of this machine is too low, found before the start |
//! | 4 | `bench --strict`: the numbers cannot be trusted; `--find-max`: the generator is the limit |
//! | 99 | a threshold is not met |
//! | 129, 130, 143 | ended by SIGHUP, SIGINT or SIGTERM; `bench` and `sim` write their results, marked `partial` |
//! | 131 | `bench` or `sim` ended by a second signal: it writes at once the results that are available |
//!
//! A node or a relay (`run`, `serve`, `relay`) runs until a signal stops it. This is its normal end, so the exit code
//! is 0. A second signal ends it early, with that signal's exit code: 129, 130 or 143. SIGHUP stops `run` and `relay`
//! only if the terminal was closed; otherwise they read their settings again, and `relay --pipe` continues unchanged.
//! While they are stopping, they ignore SIGHUP.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    RunFailed,
    Usage,
    MachineCannot,
    Untrusted,
    /// A threshold is not met.
    Missed,
    Stopped(Stop),
    /// Ended by a second signal.
    StoppedAtOnce(Stop),
}

/// A signal that requests the program's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    HungUp,
    Interrupted,
    Terminated,
}

/// The reason why the program ends early. The message is one line: the attempt, its object, the error and advice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Exit {
    /// Returns the exit code for the shell.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::RunFailed => 1,
            Self::Usage => 2,
            Self::MachineCannot => 3,
            Self::Untrusted => 4,
            Self::Missed => 99,
            Self::Stopped(Stop::HungUp) => 129,
            Self::Stopped(Stop::Interrupted) => 130,
            Self::Stopped(Stop::Terminated) => 143,
            Self::StoppedAtOnce(_) => 131,
        }
    }

    /// Returns the exit with this code of another process of this program. An unknown code counts as a failed run.
    pub(crate) const fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Success,
            2 => Self::Usage,
            3 => Self::MachineCannot,
            4 => Self::Untrusted,
            99 => Self::Missed,
            129 => Self::Stopped(Stop::HungUp),
            130 => Self::Stopped(Stop::Interrupted),
            143 => Self::Stopped(Stop::Terminated),
            _ => Self::RunFailed,
        }
    }

    /// Returns the place of the exit among others for the same run, of which the first determines the code.
    pub(crate) const fn precedence(self) -> u8 {
        precedence(self.code())
    }
}

/// Returns the place of an exit code in the order in which codes apply: of several reasons, the one with the lowest
/// place determines the program's exit.
pub(crate) const fn precedence(code: u8) -> u8 {
    match code {
        2 => 0,
        3 => 1,
        129..=131 | 143 => 2,
        1 => 3,
        99 => 4,
        4 => 5,
        _ => 6,
    }
}

/// The time after the first signal within which a repetition of that signal is ignored. The command `timeout` sends
/// its signal to the process and then to the process's group, so the signal arrives twice.
pub(crate) const MAX_ECHO: Duration = Duration::from_millis(100);

/// The signals that have arrived; only the first two are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stops {
    first: Option<(Stop, Instant)>,
    second: Option<Stop>,
}

impl Stops {
    /// Notes a signal. Returns whether a second signal has arrived, which ends the program at once.
    pub(crate) fn note(&mut self, stop: Stop) -> bool {
        self.note_at(stop, Instant::now())
    }

    fn note_at(&mut self, stop: Stop, now: Instant) -> bool {
        match self.first {
            None => self.first = Some((stop, now)),
            Some((first, at)) if first == stop && now.saturating_duration_since(at) <= MAX_ECHO => {}
            Some(_) => self.second = self.second.or(Some(stop)),
        }
        self.second.is_some()
    }

    /// Returns whether a signal has arrived.
    pub(crate) fn is_any(self) -> bool {
        self.first.is_some()
    }

    /// Returns the exit and the reason in words, if a signal has arrived.
    pub(crate) fn exit(self) -> Option<(Exit, String)> {
        match (self.first?.0, self.second) {
            (stop, None) => Some((Exit::Stopped(stop), format!("stopped by {}", stop.signal()))),
            (_, Some(stop)) => {
                Some((Exit::StoppedAtOnce(stop), format!("stopped at once by a second signal, {}", stop.signal())))
            }
        }
    }
}

impl Stop {
    /// Returns the signal's name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_has_its_own_exit_code_and_an_early_repetition_of_the_first_is_ignored() {
        let mut stops = Stops::default();
        assert_eq!((stops.is_any(), stops.exit()), (false, None));
        let began = Instant::now();
        assert!(!stops.note_at(Stop::Interrupted, began));
        assert!(!stops.note_at(Stop::Interrupted, began + MAX_ECHO), "a repetition counted as a second signal");
        assert_eq!(stops.exit().unwrap(), (Exit::Stopped(Stop::Interrupted), "stopped by SIGINT".to_owned()));
        assert!(stops.note_at(Stop::Terminated, began), "a different signal counted as a repetition");
        assert!(stops.note_at(Stop::HungUp, began), "a third signal removed the second");
        let (exit, reason) = stops.exit().unwrap();
        assert_eq!((exit.code(), reason.as_str()), (131, "stopped at once by a second signal, SIGTERM"));
        let mut repeated = Stops::default();
        repeated.note_at(Stop::Interrupted, began);
        assert!(repeated.note_at(Stop::Interrupted, began + MAX_ECHO + Duration::from_nanos(1)));
    }
}
