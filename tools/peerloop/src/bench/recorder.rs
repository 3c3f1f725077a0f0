//! The recording of a run: the histograms of each interval, encoded by a thread of its own, and the operations.
//!
//! The generator's loop only exchanges full histograms for empty ones. At most [`MAX_WAITING`] intervals wait to be
//! encoded; if the thread cannot keep up, an interval's latencies are added to those of the one before it in the queue,
//! so nothing is lost and the memory stays bounded. A set of histograms for one metric uses up to 1.4 MB, and three
//! sets are in use: one is being recorded in, one encoded, and one is ready. Only if the thread is late, further sets
//! are allocated, and freed after their encoding. An encoded interval uses about 2 KB for each 10,000 latencies.

use super::alarm::{Alarm, Span};
use super::events::{EventsOutcome, EventsWriter, Offer};
use super::find::Samples;
use super::live::Live;
use crate::exit::Failure;
use crate::model::{Packer, Series};
use crate::output::Sink;
use peerloop::load::{self, Interval, IntervalHistograms, OperationRecord};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

/// Maximum number of intervals that wait to be encoded.
const MAX_WAITING: usize = 16;

/// Maximum number of empty sets of histograms that are ready for the loop.
const MAX_SPARES: usize = 1;

/// The encoding thread's niceness: it shall not delay the loops of the generator and of the built-in node.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Everything that was recorded of a run.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The wall time at which the counted part began.
    pub(super) begin: Option<SystemTime>,
    /// The histograms of each metric and view, one for each interval so far.
    pub(super) series: Vec<Series>,
    /// The intervals whose latencies are in the next interval's histograms.
    pub(super) joined: Vec<u64>,
    /// The events file, if one was requested.
    pub(super) events: Option<EventsOutcome>,
    /// Why a threshold ended the run, if one did.
    pub(super) aborted: Option<String>,
}

/// A recording while the run is in progress, as the main thread sees it.
#[derive(Debug)]
pub(super) struct Recording {
    shared: Arc<Shared>,
    encoder: Option<JoinHandle<Encoded>>,
    events: Option<EventsWriter>,
}

/// The values that a run needs of its recording.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The intervals' histograms.
    pub(super) intervals: bool,
    /// The wall time at which the counted part begins.
    pub(super) begin: bool,
    /// Where to add up the latencies while the load runs.
    pub(super) live: Option<Live>,
    /// The watch over the intervals. It needs them.
    pub(super) alarm: Option<Alarm>,
    /// The way to a search.
    pub(super) samples: Option<Samples>,
}

/// The observer of the load, on the loop's thread.
pub(super) struct Recorder {
    shared: Arc<Shared>,
    /// Whether the encoding thread wants the intervals' histograms.
    has_intervals: bool,
    events: Option<Offer>,
}

/// The intervals between the loop's thread and the encoding thread.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    begin: Option<SystemTime>,
    waiting: VecDeque<Waiting>,
    /// Empty histograms to record in.
    spares: Vec<IntervalHistograms>,
    has_ended: bool,
}

/// The histograms of an interval or, if the encoding thread could not keep up, of several consecutive ones.
#[derive(Debug)]
struct Waiting {
    histograms: IntervalHistograms,
    intervals: usize,
    /// The counts of all these intervals, and the end and the peers of the last one.
    interval: Interval,
}

#[derive(Debug, Default)]
struct Encoded {
    series: Vec<Series>,
    joined: Vec<u64>,
    aborted: Option<String>,
}

impl Recording {
    /// Starts a recording of the wanted values, and of the operations, if there is a file for them.
    /// Returns the recording, and the observer to give to the generator; `None` if nothing is to be recorded.
    pub(super) fn start(
        wanted: Wanted,
        events: Option<Sink>,
        targets: &[SocketAddr],
    ) -> Result<(Self, Option<Recorder>), Failure> {
        let shared = Arc::new(Shared::default());
        let (has_begin, has_intervals) =
            (wanted.begin, wanted.intervals || wanted.live.is_some() || wanted.samples.is_some());
        let encoder = match has_intervals {
            true => Some(spawn_encoder(&shared, wanted)?),
            false => None,
        };
        let (events, offer) = events.map(|sink| EventsWriter::start(sink, targets)).transpose()?.unzip();
        let is_idle = encoder.is_none() && offer.is_none() && !has_begin;
        let recorder = Recorder { shared: Arc::clone(&shared), has_intervals, events: offer };
        Ok((Self { shared, encoder, events }, (!is_idle).then_some(recorder)))
    }

    /// Ends the recording after the generator has made its report. Waits until everything is encoded, and at most
    /// `patience` until the operations are written.
    pub(super) fn finish(self, patience: Duration) -> Result<Recorded, Failure> {
        let begin = self.shared.end();
        let encoded = match self.encoder.map(JoinHandle::join) {
            Some(Ok(encoded)) => encoded,
            Some(Err(_)) => return Err(Failure::run("encoding the intervals' histograms: the thread panicked")),
            None => Encoded::default(),
        };
        let events = self.events.map(|events| events.finish(patience));
        let Encoded { series, joined, aborted } = encoded;
        Ok(Recorded { begin, series, joined, events, aborted })
    }
}

fn spawn_encoder(shared: &Arc<Shared>, mut wanted: Wanted) -> Result<JoinHandle<Encoded>, Failure> {
    let shared = Arc::clone(shared);
    let thread = Builder::new().name("recorder".to_owned()).spawn(move || {
        // On Linux, this changes only the calling thread. A failure has no effect but the loops' delay. A search
        // waits for its intervals.
        #[cfg(target_os = "linux")]
        if wanted.samples.is_none() {
            let _ = rustix::process::nice(NICENESS);
        }
        let (mut encoded, mut packer) = (Encoded::default(), Packer::fast());
        let mut begin = Duration::ZERO;
        while let Some(waiting) = shared.next() {
            if let Some(live) = &wanted.live {
                live.add(waiting.interval.end, &waiting.histograms);
            }
            if wanted.intervals {
                encoded.add(&waiting, &mut packer);
            }
            let Waiting { histograms, interval, .. } = waiting;
            if let Some(alarm) = &mut wanted.alarm {
                alarm.add(&histograms, Span { begin, end: interval.end, unsent: interval.failed });
            }
            if let Some(samples) = &mut wanted.samples {
                samples.pass(&interval, &histograms);
            }
            begin = interval.end;
            shared.put_back(histograms);
        }
        encoded.aborted = wanted.alarm.and_then(Alarm::into_reason);
        encoded
    });
    thread.map_err(|error| Failure::machine(format!("starting the recorder thread: {error}")))
}

/// Adds up the counts of two consecutive intervals.
fn joined(first: &Interval, second: &Interval) -> Interval {
    let mut joined = *second;
    joined.planned += first.planned;
    joined.sent += first.sent;
    joined.absent += first.absent;
    joined.answered += first.answered;
    joined.failed += first.failed;
    joined.broken += first.broken;
    joined.lost += first.lost;
    joined.peers = joined.peers.min(first.peers);
    joined
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent after a panic of the other thread, because no code that changes it can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an interval's histograms on, and puts empty ones in their place.
    fn pass(&self, interval: &Interval, histograms: &mut IntervalHistograms) {
        let mut queue = self.lock();
        if queue.waiting.len() >= MAX_WAITING
            && let Some(last) = queue.waiting.back_mut()
        {
            last.histograms.merge(histograms);
            last.intervals += 1;
            last.interval = joined(&last.interval, interval);
            return;
        }
        let spare = queue.spares.pop().unwrap_or_else(|| histograms.spare());
        let histograms = mem::replace(histograms, spare);
        queue.waiting.push_back(Waiting { histograms, intervals: 1, interval: *interval });
        self.changed.notify_one();
    }

    /// Waits for the next histograms; `None` after the end.
    fn next(&self) -> Option<Waiting> {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.has_ended;
        let queue = self.changed.wait_while(self.lock(), is_idle);
        queue.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    /// Empties a set of histograms for the loop. Its pages then cost the loop no fault. A surplus set is freed.
    fn put_back(&self, mut histograms: IntervalHistograms) {
        if self.lock().spares.len() < MAX_SPARES {
            histograms.clear();
            self.lock().spares.push(histograms);
        }
    }

    /// Ends the recording, and returns the wall time of the begin of the counted part.
    fn end(&self) -> Option<SystemTime> {
        let mut queue = self.lock();
        queue.has_ended = true;
        self.changed.notify_one();
        queue.begin
    }
}

impl Encoded {
    fn add(&mut self, Waiting { histograms, intervals, .. }: &Waiting, packer: &mut Packer) {
        if self.series.is_empty() {
            let series = |(metric, view, _): (&str, load::View, _)| Series {
                metric: metric.to_owned(),
                view: view.name().to_owned(),
                intervals: Vec::new(),
            };
            self.series = histograms.iter().map(series).collect();
        }
        let begin = self.series.first().map_or(0, |series| series.intervals.len()) as u64;
        let before = intervals.saturating_sub(1);
        self.joined.extend(begin..begin + before as u64);
        for (series, (_, _, histogram)) in self.series.iter_mut().zip(histograms.iter()) {
            series.intervals.extend(std::iter::repeat_n(None, before));
            series.intervals.push((histogram.count() > 0).then(|| packer.pack(histogram.as_hdr())));
        }
    }
}

impl load::Recorder for Recorder {
    fn on_begin(&mut self) {
        self.shared.lock().begin = Some(SystemTime::now());
    }

    fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
        if self.has_intervals {
            self.shared.pass(interval, histograms);
        }
        if let Some(events) = &mut self.events {
            events.flush();
        }
    }

    fn on_operation(&mut self, operation: &OperationRecord) {
        if let Some(events) = &mut self.events {
            events.push(*operation);
        }
    }

    fn on_end(&mut self) {
        // The main thread may write the results before this thread ends.
        if let Some(events) = &mut self.events {
            events.flush();
        }
    }

    fn wants_operations(&self) -> bool {
        self.events.is_some()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("has_events", &self.events.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::capture::capture;
    use super::*;
    use crate::model::Latencies;

    const INTERVALS: Wanted = Wanted { intervals: true, begin: false, live: None, alarm: None, samples: None };

    /// Adds up a series, and lists the indices of its intervals that have a histogram.
    fn sum(series: &Series) -> (u64, Vec<usize>) {
        let mut sum = Latencies::new();
        let present = series.intervals.iter().enumerate().filter_map(|(index, packed)| Some((index, packed.as_ref()?)));
        let indices = present.map(|(index, packed)| {
            sum.add(&packed.open().expect("the histogram is intact")).expect("the bounds are equal");
            index
        });
        let indices = indices.collect();
        (sum.count(), indices)
    }

    #[test]
    fn intervals_that_cannot_be_encoded_in_time_are_joined_and_lose_no_latency() {
        let captured = capture();
        let counts: Vec<u64> = captured.histograms.iter().map(|(_, _, histogram)| histogram.count()).collect();
        // Nothing is encoded before all intervals have ended.
        let shared = Arc::new(Shared::default());
        let intervals = MAX_WAITING + 7;
        for _ in 0..intervals {
            let mut histograms = captured.histograms.clone();
            shared.pass(&captured.interval, &mut histograms);
        }
        assert_eq!(shared.lock().waiting.len(), MAX_WAITING);
        shared.end();
        let encoded = spawn_encoder(&shared, INTERVALS).unwrap().join().unwrap();
        assert_eq!(encoded.series.len(), 4);
        for (series, count) in encoded.series.iter().zip(counts) {
            let (total, present) = sum(series);
            assert_eq!((series.intervals.len(), total), (intervals, count * intervals as u64), "{}", series.tag());
            let alone: Vec<usize> = (0..MAX_WAITING - 1).chain([intervals - 1]).collect();
            assert_eq!(present, if count > 0 { alone } else { Vec::new() }, "{}", series.tag());
        }
        let joined: Vec<u64> = (MAX_WAITING as u64 - 1..intervals as u64 - 1).collect();
        assert_eq!(encoded.joined, joined);
        assert!(shared.lock().spares.len() <= MAX_SPARES);
    }

    #[test]
    fn the_loop_gets_empty_histograms_for_full_ones() {
        let captured = capture();
        let (recording, recorder) = Recording::start(INTERVALS, None, &[]).unwrap();
        let mut recorder = recorder.unwrap();
        load::Recorder::on_begin(&mut recorder);
        for _ in 0..3 {
            let mut histograms = captured.histograms.clone();
            load::Recorder::on_interval(&mut recorder, &captured.interval, &mut histograms);
            assert_eq!(histograms.iter().map(|(_, _, histogram)| histogram.count()).sum::<u64>(), 0);
        }
        let recorded = recording.finish(Duration::ZERO).unwrap();
        assert!(recorded.begin.is_some() && recorded.events.is_none() && recorded.joined.is_empty());
        assert!(recorded.series.iter().all(|series| series.intervals.len() == 3));
    }

    #[test]
    fn every_operation_is_written_although_the_loops_thread_has_not_ended() {
        let captured = capture();
        let folder = peerloop_testkit::Folder::new(std::env::temp_dir());
        let sink = Sink::open(folder.file("events.csv").as_ref()).unwrap();
        let (recording, recorder) = Recording::start(Wanted::default(), Some(sink), &[]).unwrap();
        let mut recorder = recorder.unwrap();
        load::Recorder::on_operation(&mut recorder, &captured.operation);
        load::Recorder::on_end(&mut recorder);
        let events = recording.finish(Duration::from_secs(60)).unwrap().events.unwrap();
        assert_eq!((events.counts.written, events.counts.lost), (1, 0));
        drop(recorder);
    }

    #[test]
    fn without_a_result_that_needs_it_nothing_is_recorded() {
        let (recording, recorder) = Recording::start(Wanted::default(), None, &[]).unwrap();
        assert!(recorder.is_none());
        let recorded = recording.finish(Duration::ZERO).unwrap();
        assert!(recorded.series.is_empty() && recorded.begin.is_none());
    }
}
