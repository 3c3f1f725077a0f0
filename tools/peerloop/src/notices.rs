//! The events that the main thread waits for: signals, and the ends of the threads that do the work.
//!
//! One thread sleeps in the kernel until a signal arrives; nothing here polls. A command without other threads has no
//! [`Notices`]. A signal then ends it by the system's default action or, in process 1, by a handler of
//! [`end_by_signals_as_init`].

use crate::exit::{Exit, Failure, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// An event for the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A signal arrived that requests a stop, or a SIGHUP to a command that then reads its settings again.
    Stop(Stop),
    /// A signal requested a change of the rate. It arrives only with [`Notices::with_rate_changes`].
    Rate(RateStep),
    /// A thread has rung its [`Bell`]: what it watches requires the end of the run.
    Bell,
    /// A thread that [`Notices::spawn`] started has ended, for any reason.
    Ended,
}

/// A thread's means to wake the main thread.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Sender<Notice>);

impl Bell {
    /// Makes [`Notice::Bell`] arrive.
    pub(crate) fn ring(&self) {
        // If the inbox is gone, the program is about to end.
        let _ = self.0.send(Notice::Bell);
    }
}

/// A step of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateStep {
    Up,
    Down,
}

/// The main thread's inbox.
#[derive(Debug)]
pub(crate) struct Notices {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

impl Notices {
    /// Listens for signals from now on. A signal that was ignored when the program started stays ignored: a shell
    /// script makes a background command ignore SIGINT, and `nohup` makes a command ignore SIGHUP.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::listening_for(&not_ignored(&[SIGINT, SIGTERM, SIGHUP]))
    }

    /// Does the same as [`Notices::new`], but listens for SIGHUP even if SIGHUP was ignored when the program started.
    /// Only commands that continue after a SIGHUP use this function.
    pub(crate) fn with_hang_ups() -> Result<Self, Failure> {
        let mut signals = not_ignored(&[SIGINT, SIGTERM]);
        signals.push(SIGHUP);
        Self::listening_for(&signals)
    }

    /// Does the same as [`Notices::new`], and turns SIGUSR1 and SIGUSR2 into steps of the rate.
    pub(crate) fn with_rate_changes() -> Result<Self, Failure> {
        Self::listening_for(&not_ignored(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]))
    }

    fn listening_for(signals: &[i32]) -> Result<Self, Failure> {
        let (sender, receiver) = channel();
        let listening = Signals::new(signals).and_then(|mut signals| {
            let sender = sender.clone();
            Builder::new().name("signals".to_owned()).spawn(move || {
                for notice in signals.forever().filter_map(notice_of) {
                    if sender.send(notice).is_err() {
                        return;
                    }
                }
            })
        });
        match listening {
            Ok(_) => {
                ENDS_AT_ONCE.store(false, Ordering::Relaxed);
                Ok(Self { sender, receiver })
            }
            Err(error) => Err(Failure::machine(format!("listening for signals: {error}"))),
        }
    }

    /// Runs `work` on a new thread. When the thread ends, [`Notice::Ended`] arrives.
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

    /// Returns a bell of this inbox.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.sender.clone())
    }

    /// Returns a notice to the end of the inbox, for a later reader.
    pub(crate) fn put_back(&self, notice: Notice) {
        // The receiver is alive, because it belongs to this inbox.
        let _ = self.sender.send(notice);
    }

    /// Waits for the next notice, and returns `None` if `timeout` passes first. Without a timeout the wait has no
    /// limit.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Option<Notice> {
        let Some(timeout) = timeout else { return self.receiver.recv().ok() };
        self.receiver.recv_timeout(timeout).ok()
    }
}

/// Whether the handlers of [`end_by_signals_as_init`] end the program: true until a [`Notices`] listens for signals.
static ENDS_AT_ONCE: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));

/// Makes signals end the program at once, with their exit codes, if the program is process 1 of a container: the
/// system ignores each signal for which process 1 has no handler. The handlers do nothing once a [`Notices`] listens.
///
/// No thread is needed, so the program still has a single thread when it prepares its descriptors and its allocator.
pub(crate) fn end_by_signals_as_init() -> Result<(), Failure> {
    if std::process::id() != 1 {
        return Ok(());
    }
    for signal in not_ignored(&[SIGINT, SIGTERM, SIGHUP]) {
        let code = stop_of(signal).map_or(Exit::RunFailed, Exit::Stopped).code();
        register_conditional_shutdown(signal, code.into(), Arc::clone(&ENDS_AT_ONCE))
            .map_err(|error| Failure::machine(format!("listening for signals: {error}")))?;
    }
    Ok(())
}

/// Returns `signals` without those that were ignored when the program started. If `/proc` does not report which
/// signals are ignored, returns all of `signals`.
fn not_ignored(signals: &[i32]) -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    signals.iter().copied().filter(|&signal| !is_ignored(signal, &status)).collect()
}

/// Sends [`Notice::Ended`] when dropped: at the end of a thread, even if the thread panics.
struct Ending(Sender<Notice>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.send(Notice::Ended);
    }
}

/// Returns whether the mask `SigIgn` of `/proc/self/status` contains `signal`.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn notice_of(signal: i32) -> Option<Notice> {
    match signal {
        SIGUSR1 => Some(Notice::Rate(RateStep::Up)),
        SIGUSR2 => Some(Notice::Rate(RateStep::Down)),
        _ => stop_of(signal).map(Notice::Stop),
    }
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
    fn a_bell_wakes_the_inbox() {
        let (sender, receiver) = channel();
        let notices = Notices { sender, receiver };
        notices.bell().ring();
        assert_eq!(notices.next(None), Some(Notice::Bell));
    }

    #[test]
    fn a_panicking_thread_is_reported_as_ended() {
        let (sender, receiver) = channel();
        let notices = Notices { sender, receiver };
        let thread = notices.spawn("test", || panic!("a test panic")).unwrap();
        assert_eq!(notices.next(None), Some(Notice::Ended));
        assert!(thread.join().is_err());
        assert_eq!(notices.next(Some(Duration::ZERO)), None);
    }
}
