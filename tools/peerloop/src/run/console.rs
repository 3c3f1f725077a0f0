//! What a node says while it runs: lines with a time and a level on stderr, above a status line on a terminal.
//!
//! All of it is written by one thread, fed by a queue: the loop, whose log this is, never waits for a terminal or a
//! pipe. When [`MAX_QUEUE_LINES`] wait, what comes is dropped, and the next line that fits says how much.

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

/// Lines that may wait to be written.
const MAX_QUEUE_LINES: usize = 1_024;

/// How long the end waits for the last lines to be written.
pub(super) const MAX_FLUSH: Duration = Duration::from_millis(500);

/// What logs the events of the library; records of other crates are dropped.
const TARGET: &str = "peerloop";

/// How the library's line about other settings begins. The program tells of them itself, once and by the names of its
/// settings.
const OF_RELOADS: &str = "event=config_updated ";

/// The way to stderr.
#[derive(Clone, Debug)]
pub(super) struct Console {
    said: SyncSender<Said>,
    lost: Arc<AtomicU64>,
    /// Whether there is a status line to be kept.
    is_live: bool,
}

#[derive(Debug)]
enum Said {
    Line(String),
    Status(String),
    /// There is no status any more.
    Clear,
    /// All that was said before is written.
    Flush(SyncSender<()>),
}

impl Console {
    /// Starts the thread and becomes the process's logger.
    pub(super) fn start(quiet: bool, level: LevelFilter) -> Result<Self, Failure> {
        let (said, queue) = sync_channel(MAX_QUEUE_LINES);
        let progress = Progress::new(quiet);
        let console = Self { said, lost: Arc::default(), is_live: progress.is_live() };
        let lost = Arc::clone(&console.lost);
        let thread = Builder::new().name("console".to_owned()).spawn(move || write_all(&queue, &lost, progress));
        thread.map_err(|error| Failure::machine(format!("starting the console thread: {error}")))?;
        // The process has one logger for its whole life. That there is one already happens in tests alone.
        let _ = log::set_logger(Box::leak(Box::new(console.clone())));
        log::set_max_level(level);
        Ok(console)
    }

    /// Whether a status is shown.
    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Says something that whoever runs the node has asked for, whatever the level of the log is.
    pub(super) fn say(&self, level: Level, text: &str) {
        self.put(line(level, text, SystemTime::now()));
    }

    pub(super) fn show_status(&self, status: String) {
        // There is another one in a second.
        let _ = self.said.try_send(Said::Status(status));
    }

    /// Waits until everything is written, but not for a reader that has stopped to read. The status goes.
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

/// Returns one line, whatever is in the text.
fn line(level: Level, text: &str, now: SystemTime) -> String {
    format!("{} {:<5} {}", show_time(now), level.as_str().to_lowercase(), text.replace(char::is_control, "?"))
}

fn write_all(queue: &Receiver<Said>, lost: &AtomicU64, mut progress: Progress) {
    let mut status = None;
    for said in queue {
        match said {
            Said::Line(line) => {
                progress.clear();
                // A terminal that is gone loses its lines and nothing else.
                let _ = writeln!(io::stderr(), "{line}");
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(io::stderr(), "{lost} lines were dropped: the reader was too slow");
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
    fn a_line_has_its_time_and_level_and_no_end_within() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_125);
        assert_eq!(line(Level::Warn, "a\nb\x1b[2J", time), "2023-11-14T22:13:20.125Z warn  a?b?[2J");
    }

    #[test]
    fn a_line_has_a_time_whatever_the_wall_clock_says() {
        let year = Duration::from_secs(31_557_600);
        for (time, told) in [
            (SystemTime::UNIX_EPOCH - Duration::from_millis(1), "1969-12-31T23:59:59.999Z warn  a"),
            (SystemTime::UNIX_EPOCH + 8_030 * year, "@253407528000 warn  a"),
        ] {
            assert_eq!(line(Level::Warn, "a", time), told);
        }
    }

    #[test]
    fn a_queue_that_nobody_reads_holds_nobody_up() {
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
    fn only_the_librarys_own_lines_are_logged() {
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
