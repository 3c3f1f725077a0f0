//! What the reporting thread waits for: signals, and the end of the loops that other threads run.
//!
//! One thread sleeps in the kernel until a signal comes; nothing here wakes up by the clock.

use crate::exit::{Failure, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Something that the reporting thread has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A signal asks for the end, unless the command takes a hang-up for something else.
    Stop(Stop),
    /// A thread that [`Notices::spawn`] started has ended, in whatever way.
    Ended,
}

/// The inbox of the reporting thread.
#[derive(Debug)]
pub(crate) struct Notices {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

impl Notices {
    /// Hears the signals from here on, a hang-up only if it is not ignored: the program may have been started to
    /// outlive its terminal.
    pub(crate) fn new() -> Result<Self, Failure> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        match is_ignored(SIGHUP, &status) {
            true => Self::hearing(&[SIGINT, SIGTERM]),
            false => Self::hearing(&[SIGINT, SIGTERM, SIGHUP]),
        }
    }

    /// Hears the signals from here on, a hang-up in any case: for a command that does not end by it.
    pub(crate) fn with_hang_ups() -> Result<Self, Failure> {
        Self::hearing(&[SIGINT, SIGTERM, SIGHUP])
    }

    fn hearing(signals: &[i32]) -> Result<Self, Failure> {
        let (sender, receiver) = channel();
        let listening = Signals::new(signals).and_then(|mut signals| {
            let sender = sender.clone();
            Builder::new().name("signals".to_owned()).spawn(move || {
                for stop in signals.forever().filter_map(stop_of) {
                    if sender.send(Notice::Stop(stop)).is_err() {
                        return;
                    }
                }
            })
        });
        match listening {
            Ok(_) => Ok(Self { sender, receiver }),
            Err(error) => Err(Failure::machine(format!("listening for signals: {error}"))),
        }
    }

    /// Runs `work` on a thread of its own, whose end becomes a notice.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Failure> {
        let ending = Ending(self.sender.clone());
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _ending = ending;
            work()
        });
        thread.map_err(|error| Failure::machine(format!("starting the {name} thread: {error}")))
    }

    /// The next notice; none when `timeout` passes first. Without a timeout it waits for as long as it takes.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Option<Notice> {
        let Some(timeout) = timeout else { return self.receiver.recv().ok() };
        self.receiver.recv_timeout(timeout).ok()
    }
}

/// Tells of a thread's end even if it panics.
struct Ending(Sender<Notice>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.send(Notice::Ended);
    }
}

/// Whether the mask `SigIgn` of `/proc/self/status` holds `signal`.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn stop_of(signal: i32) -> Option<Stop> {
    match signal {
        SIGHUP => Some(Stop::HungUp),
        SIGINT => Some(Stop::Interrupted),
        SIGTERM => Some(Stop::Terminated),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_seen_in_the_mask() {
        assert!(is_ignored(SIGHUP, "Name:\tpeerloop\nSigIgn:\t0000000000001001\n"));
        assert!(!is_ignored(SIGHUP, "SigIgn:\t0000000000001000\n"));
        assert!(!is_ignored(SIGHUP, "SigBlk:\t0000000000000001\n"));
        assert!(!is_ignored(SIGHUP, ""));
    }

    #[test]
    fn the_end_of_a_panicking_thread_is_a_notice() {
        let (sender, receiver) = channel();
        let notices = Notices { sender, receiver };
        let thread = notices.spawn("test", || panic!("as the test wants it")).unwrap();
        assert_eq!(notices.next(None), Some(Notice::Ended));
        assert!(thread.join().is_err());
        assert_eq!(notices.next(Some(Duration::ZERO)), None);
    }
}
