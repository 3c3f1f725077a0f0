//! The keys of the live view. Each key raises the signal that has the same effect without the view.
//!
//! The terminal no longer shows typed characters or waits for whole lines, but Ctrl-C still raises its signal. Ctrl-Z
//! is ignored, because the view of a stopped process would stay on the terminal. The drop restores the terminal's
//! settings.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::fmt;
use std::io::{self, IsTerminal, Stdin};
use std::os::fd::AsFd;

/// The keys, and what to say about them.
pub(super) const HELP: &str = "q stop and report   + - change the rate by 10 %   Ctrl-C as q, twice: stop at once";

/// The terminal from which keys are read.
pub(super) struct Keys {
    stdin: Stdin,
    before: Termios,
}

impl Keys {
    /// Prepares stdin; `None` if it is no terminal, or not one from which this process may read now.
    pub(super) fn open() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() || tcgetpgrp(&stdin).ok() != Some(getpgrp()) {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut settings = before.clone();
        settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Zero disables the key.
        settings.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &settings).ok()?;
        Some(Self { stdin, before })
    }

    /// Reads the keys typed so far, and raises their signals.
    pub(super) fn raise_signals(&self) {
        let mut keys = [0; 32];
        let mut polled = [PollFd::new(&self.stdin, PollFlags::IN)];
        if !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1)) {
            return;
        }
        let count = rustix::io::read(&self.stdin, &mut keys).unwrap_or(0);
        for signal in keys[..count].iter().filter_map(|key| signal(*key)) {
            let _ = kill_process(getpid(), signal);
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Returns whether a terminal belongs to another group of processes at the moment, as that of a background job does.
pub(super) fn is_in_background(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground != getpgrp())
}

/// Returns the signal of a key.
fn signal(key: u8) -> Option<Signal> {
    match key {
        b'q' | b'Q' => Some(Signal::INT),
        b'+' => Some(Signal::USR1),
        b'-' => Some(Signal::USR2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_of_the_help_raise_a_signal() {
        let raising: Vec<char> = (0..=u8::MAX).filter(|key| signal(*key).is_some()).map(char::from).collect();
        assert_eq!(raising, ['+', '-', 'Q', 'q']);
    }
}
