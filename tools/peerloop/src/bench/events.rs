//! The events file: one line for each operation of the counted run, in CSV, written while the run is in progress.
//!
//! The loop's thread collects operations in batches, and a thread of its own writes them, so that no disk can delay the
//! load. At most [`MAX_WAITING`] batches wait, about 6 MB. An operation that does not fit any more, or that cannot be
//! written, is counted as lost. A lost operation makes the run fail, because the file is then incomplete.

use crate::exit::Failure;
use crate::model::Events;
use crate::output::{Sink, Stream};
use peerloop::load::OperationRecord;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// Number of operations in a full batch.
const BATCH: usize = 1_024;

/// Maximum number of batches that wait to be written.
const MAX_WAITING: usize = 64;

/// The first line of the file. Times are in nanoseconds from the start of the counted run; an operation that was not
/// sent has no `sent_ns`.
const HEADER: &str = "index,metric,connection,target,planned_ns,sent_ns,ended_ns,result\n";

/// The end of an events file.
#[derive(Debug)]
pub(super) struct EventsOutcome {
    pub(super) counts: Events,
    /// Why operations were lost, with the file's name and advice; `None` if none was lost.
    pub(super) failure: Option<String>,
}

/// The writing of an events file, as the main thread sees it.
#[derive(Debug)]
pub(super) struct EventsWriter {
    shared: Arc<Shared>,
    /// The file's name, for messages.
    name: String,
}

/// The loop's end of the queue. It passes its last batch on when it is dropped.
pub(super) struct Offer {
    shared: Arc<Shared>,
    batch: Vec<OperationRecord>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Vec<OperationRecord>>,
    /// Empty batches to collect in.
    spares: Vec<Vec<OperationRecord>>,
    offered: u64,
    written: u64,
    error: Option<String>,
    /// Whether the load has ended.
    has_ended: bool,
    /// Whether the writing thread has ended.
    is_done: bool,
}

impl EventsWriter {
    /// Starts the thread that writes to `sink`. `targets` are the addresses of the plan's targets.
    pub(super) fn start(sink: Sink, targets: &[SocketAddr]) -> Result<(Self, Offer), Failure> {
        let shared = Arc::new(Shared::default());
        let name = sink.name().unwrap_or_else(|| "standard output".to_owned());
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let ours = Arc::clone(&shared);
        let thread = Builder::new().name("events".to_owned()).spawn(move || {
            let outcome = sink.stream().and_then(|stream| write_all(&ours, stream, &targets));
            let mut queue = ours.lock();
            queue.error = outcome.err().map(|error| error.to_string());
            queue.is_done = true;
            ours.changed.notify_all();
        });
        thread.map_err(|error| Failure::machine(format!("starting the events thread: {error}")))?;
        let offer = Offer { shared: Arc::clone(&shared), batch: Vec::with_capacity(BATCH) };
        Ok((Self { shared, name }, offer))
    }

    /// Ends the file after the generator has made its report, and waits at most `patience` until it is written.
    pub(super) fn finish(self, patience: Duration) -> EventsOutcome {
        let mut queue = self.shared.lock();
        queue.has_ended = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(queue, patience, |queue| !queue.is_done);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let counts = Events { written: queue.written, lost: queue.offered.saturating_sub(queue.written) };
        let cause = match &queue.error {
            Some(error) => error.clone(),
            None if queue.is_done => "the file could not be written as fast as operations ended".to_owned(),
            None => format!("the file was still not written {} s after the load", patience.as_secs()),
        };
        let failure = (counts.lost > 0 || queue.error.is_some()).then(|| {
            format!(
                "writing the events to {}: {cause}; {} of {} operations are missing; use a faster disk or lower the \
                 rate",
                self.name, counts.lost, queue.offered
            )
        });
        EventsOutcome { counts, failure }
    }
}

/// Writes the header and all batches until the load has ended.
fn write_all(shared: &Shared, mut stream: Stream, targets: &[String]) -> io::Result<()> {
    stream.write_all(HEADER.as_bytes())?;
    let mut text = String::new();
    while let Some(mut batch) = shared.next() {
        text.clear();
        batch.iter().for_each(|operation| line(&mut text, operation, targets));
        stream.write_all(text.as_bytes())?;
        let mut queue = shared.lock();
        queue.written += batch.len() as u64;
        batch.clear();
        queue.spares.push(batch);
    }
    stream.flush()
}

fn line(text: &mut String, operation: &OperationRecord, targets: &[String]) {
    let OperationRecord { index, connection, metric, planned, sent, ended, result, .. } = operation;
    let target = targets.get(operation.target).map_or("", String::as_str);
    let sent = sent.map(|sent| sent.as_nanos().to_string()).unwrap_or_default();
    let (planned, ended, result) = (planned.as_nanos(), ended.as_nanos(), result.name());
    writeln!(text, "{index},{metric},{connection},{target},{planned},{sent},{ended},{result}")
        .expect("writing to a string cannot fail");
}

impl Offer {
    pub(super) fn push(&mut self, operation: OperationRecord) {
        self.batch.push(operation);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Passes the collected operations on. If too many wait already, they are lost.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut queue = self.shared.lock();
        queue.offered += self.batch.len() as u64;
        if queue.waiting.len() >= MAX_WAITING || queue.is_done {
            self.batch.clear();
            return;
        }
        let spare = queue.spares.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        queue.waiting.push_back(mem::replace(&mut self.batch, spare));
        self.shared.changed.notify_all();
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent after a panic of the other thread, because no code that changes it can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch; `None` after the end.
    fn next(&self) -> Option<Vec<OperationRecord>> {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.has_ended;
        let queue = self.changed.wait_while(self.lock(), is_idle);
        queue.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::super::capture::capture;
    use super::*;
    use std::path::Path;

    fn offer(shared: &Arc<Shared>) -> Offer {
        Offer { shared: Arc::clone(shared), batch: Vec::new() }
    }

    #[test]
    fn operations_beyond_the_queue_are_lost_and_counted() {
        let operation = capture().operation;
        let shared = Arc::new(Shared::default());
        let operations = BATCH * MAX_WAITING + 100;
        let mut offer = offer(&shared);
        (0..operations).for_each(|_| offer.push(operation));
        drop(offer);
        assert_eq!(shared.lock().waiting.len(), MAX_WAITING, "the memory is not bounded");
        // The thread that writes would hang on a disk.
        let writer = EventsWriter { shared: Arc::clone(&shared), name: "slow.csv".to_owned() };
        let outcome = writer.finish(Duration::ZERO);
        assert_eq!(outcome.counts, Events { written: 0, lost: operations as u64 });
        let failure = outcome.failure.unwrap();
        assert!(failure.contains("slow.csv: the file was still not written 0 s after the load"), "{failure}");
        assert!(failure.contains(&format!("{operations} of {operations} operations are missing")), "{failure}");
    }

    #[test]
    fn every_operation_is_written_in_order() {
        let operation = capture().operation;
        let folder = peerloop_testkit::Folder::new(std::env::temp_dir());
        let path = folder.with("events.csv", "older content, which is replaced\n");
        let sink = Sink::open(Path::new(&path)).unwrap();
        let target: SocketAddr = "192.0.2.1:8333".parse().unwrap();
        let (writer, mut offer) = EventsWriter::start(sink, &[target]).unwrap();
        for index in 0..2_500 {
            let mut operation = operation;
            operation.index = index;
            offer.push(operation);
        }
        drop(offer);
        let outcome = writer.finish(Duration::from_secs(60));
        assert_eq!((outcome.counts, outcome.failure), (Events { written: 2_500, lost: 0 }, None));
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.split_inclusive('\n');
        assert_eq!(lines.next(), Some(HEADER));
        for (index, line) in lines.enumerate() {
            assert!(line.starts_with(&format!("{index},ping_rtt,0,192.0.2.1:8333,")), "{line}");
            assert!(line.ends_with(",answered\n"), "{line}");
        }
        assert_eq!(text.lines().count(), 2_501);
    }

    #[test]
    fn a_write_that_fails_loses_the_rest() {
        let operation = capture().operation;
        let Ok(sink) = Sink::open(Path::new("/dev/full")) else { return };
        let (writer, mut offer) = EventsWriter::start(sink, &[]).unwrap();
        (0..10).for_each(|_| offer.push(operation));
        drop(offer);
        let outcome = writer.finish(Duration::from_secs(60));
        assert_eq!(outcome.counts.lost, 10);
        assert!(outcome.failure.unwrap().contains("10 of 10 operations are missing"));
    }
}
