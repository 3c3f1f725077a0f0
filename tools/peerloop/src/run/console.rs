//! The node's messages on stderr while it runs: lines with a time and a level, and on a terminal a status line below.
//!
//! One thread writes all messages from a queue. The loop only adds its log lines to the queue, so it never waits for
//! a terminal or a pipe. While [`MAX_QUEUE_LINES`] messages wait, new lines are dropped; the next written line is
//! followed by the number of dropped lines.

use crate::exit::Failure;
use crate::progress::Progress;
use crate::units::show_time;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

/// Maximum number of messages that wait to be written.
const MAX_QUEUE_LINES: usize = 1_024;

/// Maximum time to wait at the end until the last lines are written.
pub(super) const MAX_FLUSH: Duration = Duration::from_millis(500);

/// The target of the library's log records; other crates' records are dropped.
const TARGET: &str = "peerloop";

/// The start of the library's log line about changed settings. The program drops this line, and reports the changes
/// itself, by the names of its settings.
const OF_RELOADS: &str = "event=config_updated ";

/// The queue to the thread that writes to stderr.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    said: SyncSender<Said>,
    lost: Arc<AtomicU64>,
    /// Whether there is a status line to maintain.
    is_live: bool,
}

#[derive(Debug)]
enum Said {
    Line(String),
    Status(String),
    /// Removes the status line.
    Clear,
    /// Confirms that all earlier messages are written.
    Flush(SyncSender<()>),
}

impl Console {
    /// Starts the thread, and makes the console the process's logger.
    pub(crate) fn start(quiet: bool, level: LevelFilter) -> Result<Self, Failure> {
        let (said, queue) = sync_channel(MAX_QUEUE_LINES);
        let progress = Progress::new(quiet);
        let console = Self { said, lost: Arc::default(), is_live: progress.is_live() };
        let lost = Arc::clone(&console.lost);
        let thread = Builder::new().name("console".to_owned()).spawn(move || write_all(&queue, &lost, progress));
        thread.map_err(|error| Failure::machine(format!("starting the console thread: {error}")))?;
        // The call fails only if the process already has a logger, which happens only in tests.
        let _ = log::set_logger(Box::leak(Box::new(console.clone())));
        log::set_max_level(level);
        Ok(console)
    }

    /// Returns whether a status line is shown.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Queues a line that the user sees at any log level.
    pub(crate) fn say(&self, level: Level, text: &str) {
        self.put(line(level, text, SystemTime::now()));
    }

    /// Queues a line that the user sees at the line's log level.
    pub(crate) fn note(&self, level: Level, text: &str) {
        if level <= log::max_level() {
            self.say(level, text);
        }
    }

    pub(super) fn show_status(&self, status: String) {
        // If the queue is full, the next status follows in a second.
        let _ = self.said.try_send(Said::Status(status));
    }

    /// Removes the status line and waits until everything is written, for at most [`MAX_FLUSH`]. If the queue is full,
    /// returns at once.
    pub(super) fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        let sent = self.said.try_send(Said::Clear).and_then(|()| self.said.try_send(Said::Flush(done)));
        if sent.is_ok() {
            let _ = is_done.recv_timeout(MAX_FLUSH);
        }
    }

    fn put(&self, line: String) {
        if self.said.try_send(Said::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target() == TARGET
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            if !text.starts_with(OF_RELOADS) {
                self.put(line(record.level(), &text, SystemTime::now()));
            }
        }
    }

    fn flush(&self) {
        self.finish();
    }
}

/// Formats a record as one line, with control characters replaced.
fn line(level: Level, text: &str, now: SystemTime) -> String {
    format!("{} {:<5} {}", show_time(now), level.as_str().to_lowercase(), text.replace(char::is_control, "?"))
}

fn write_all(queue: &Receiver<Said>, lost: &AtomicU64, mut progress: Progress) {
    let mut status = None;
    for said in queue {
        match said {
            Said::Line(line) => {
                progress.clear();
                // If stderr is closed, only the line is lost.
                let _ = writeln!(io::stderr(), "{line}");
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(io::stderr(), "lines dropped because the reader was too slow: {lost}");
                }
            }
            Said::Status(line) => status = Some(line),
            Said::Clear => status = None,
            Said::Flush(done) => {
                let _ = done.send(());
            }
        }
        match &status {
            Some(status) => progress.show(status),
            None => progress.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_one_line_with_a_time_and_a_level() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_125);
        assert_eq!(line(Level::Warn, "a\nb\x1b[2J", time), "2023-11-14T22:13:20.125Z warn  a?b?[2J");
    }

    #[test]
    fn a_line_has_a_time_however_the_wall_clock_is_set() {
        let year = Duration::from_secs(31_557_600);
        for (time, expected) in [
            (SystemTime::UNIX_EPOCH - Duration::from_millis(1), "1969-12-31T23:59:59.999Z warn  a"),
            (SystemTime::UNIX_EPOCH + 8_030 * year, "@253407528000 warn  a"),
        ] {
            assert_eq!(line(Level::Warn, "a", time), expected);
        }
    }

    #[test]
    fn a_full_queue_never_blocks_the_sender() {
        let (said, queue) = sync_channel(2);
        let console = Console { said, lost: Arc::default(), is_live: false };
        for _ in 0..5 {
            console.say(Level::Info, "x");
        }
        assert_eq!(console.lost.load(Ordering::Relaxed), 3);
        console.finish();
        assert_eq!(queue.try_iter().count(), 2);
    }

    #[test]
    fn only_the_librarys_records_up_to_the_maximum_level_are_logged() {
        log::set_max_level(LevelFilter::Info);
        let (said, queue) = sync_channel(9);
        let console = Console { said, lost: Arc::default(), is_live: false };
        for (target, level) in [("peerloop", Level::Info), ("peerloop", Level::Debug), ("mio::poll", Level::Info)] {
            let record = Record::builder().target(target).level(level).args(format_args!("x")).build();
            console.log(&record);
        }
        assert_eq!(queue.try_iter().count(), 1);
    }
}
