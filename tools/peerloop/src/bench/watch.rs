//! The reporting thread's watch over a generator: progress, signals, and the course of the run second by second.
//!
//! The first signal makes the generator drain and report, the second makes it report at once. The watch waits for an
//! answer of the loop for a second at the most, so a loop that hangs can still be interrupted.

use crate::exit::{Exit, Failure, Stop, Stops};
use crate::notices::{Notice, Notices};
use crate::progress::Progress;
use crate::status::{ANSWER_PAUSE, wait_for};
use crate::units::{show_latency, show_seconds};
use peerloop::Handle;
use peerloop::api::Pending;
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{self, GeneratorCommand, Phase, Plan, Report};
use std::time::Duration;

/// Characters of the bar that shows how much of the run is done.
const BAR_CHARS: usize = 10;
/// The time that a row of the timeline covers, at the least.
pub(crate) const TIMELINE_INTERVAL: Duration = Duration::from_secs(1);

/// What was seen of a run from outside.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The signals that ended it before its time.
    pub(crate) stops: Stops,
    pub(crate) timeline: Vec<TimelineRow>,
}

/// One interval of the counted part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimelineRow {
    /// Its end, from the beginning of the counted part.
    pub(crate) end: Duration,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) max: Option<Duration>,
}

/// Watches until the generator's thread has ended, or until it has reported because of a second signal: then the report
/// is returned, and the loop is left to itself.
pub(crate) fn watch(
    notices: &Notices,
    handle: &Handle<GeneratorCommand>,
    plan: &Plan,
    quiet: bool,
) -> Result<(Course, Option<Report>), Failure> {
    let mut progress = Progress::new(quiet);
    let mut watch = Watch::new(plan);
    loop {
        let pause = if watch.pending.is_some() { ANSWER_PAUSE } else { progress.interval() };
        match notices.next(Some(pause)) {
            Some(Notice::Ended) => {
                progress.clear();
                return Ok((watch.course, None));
            }
            Some(Notice::Stop(stop)) if !watch.course.stops.note(stop) => {
                progress.show("stopping: waiting for the last answers; once more to stop at once");
                // A loop that has ended needs no telling.
                let _ = handle.command(GeneratorCommand::Finish);
            }
            Some(Notice::Stop(stop)) => {
                progress.clear();
                let report = report_at_once(handle, stop)?;
                return Ok((watch.course, Some(report)));
            }
            None if watch.pending.is_none() => watch.ask(handle),
            None => {
                if let Some(line) = watch.take_progress() {
                    progress.show(&line);
                }
            }
        }
    }
}

/// Asks for the account as it is now.
fn report_at_once(handle: &Handle<GeneratorCommand>, stop: Stop) -> Result<Report, Failure> {
    let (answer, pending) = Pending::new();
    let is_asked = handle.command(GeneratorCommand::Report(answer)).is_ok();
    let report = if is_asked { wait_for(&pending) } else { None };
    report.map(|report| *report).ok_or_else(|| Failure {
        exit: Exit::StoppedAtOnce(stop),
        message: "stopped at once by a second signal; the loop did not report, so no results were written".to_owned(),
    })
}

/// The state of a watch.
#[derive(Debug)]
struct Watch<'a> {
    plan: &'a Plan,
    course: Course,
    pending: Option<Pending<load::Progress>>,
    /// Goes to the loop in exchange for the one that it filled.
    spare: Option<Box<LatencyHistogram>>,
    /// All latencies so far.
    total: LatencyHistogram,
    /// Those since the last row of the timeline.
    since_row: LatencyHistogram,
    /// Time, sent and answered at the last row.
    row_began: (Duration, u64, u64),
    /// Time and answered at the last line.
    line_before: (Duration, u64),
}

impl<'a> Watch<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            course: Course::default(),
            pending: None,
            spare: Some(Box::default()),
            total: LatencyHistogram::new(),
            since_row: LatencyHistogram::new(),
            row_began: (Duration::ZERO, 0, 0),
            line_before: (Duration::ZERO, 0),
        }
    }

    fn ask(&mut self, handle: &Handle<GeneratorCommand>) {
        let (answer, pending) = Pending::new();
        let spare = self.spare.take().unwrap_or_default();
        // A loop that does not take it has ended, and that is a notice of its own.
        if handle.command(GeneratorCommand::Progress { spare, answer }).is_ok() {
            self.pending = Some(pending);
        }
    }

    /// The line that describes the answer, if there is one.
    fn take_progress(&mut self) -> Option<String> {
        let Ok(answer) = self.pending.as_ref()?.try_take() else {
            self.pending = None;
            return None;
        };
        let mut now = answer?;
        self.pending = None;
        if matches!(now.phase, Phase::Run | Phase::Drain) {
            self.total.merge(&now.interval);
            self.since_row.merge(&now.interval);
        }
        if now.phase == Phase::Run {
            self.note_row(&now);
        }
        let line = self.line(&now);
        now.interval.clear();
        self.spare = Some(now.interval);
        Some(line)
    }

    fn note_row(&mut self, now: &load::Progress) {
        let (row_began, sent, answered) = self.row_began;
        if now.phase_elapsed.saturating_sub(row_began) < TIMELINE_INTERVAL {
            return;
        }
        self.row_began = (now.phase_elapsed, now.sent, now.answered);
        self.course.timeline.push(TimelineRow {
            end: now.phase_elapsed,
            sent: now.sent - sent,
            answered: now.answered - answered,
            p50: self.since_row.percentile(50.0),
            p99: self.since_row.percentile(99.0),
            max: self.since_row.max(),
        });
        self.since_row.clear();
    }

    fn line(&mut self, now: &load::Progress) -> String {
        let peers = now.peers;
        match now.phase {
            Phase::Ramp => format!("ramp    {}/{} peers  failed {}", peers.ready, peers.asked, peers.failed),
            Phase::Warmup => format!(
                "warmup  {} of {}  {} peers",
                show_seconds(now.phase_elapsed),
                show_seconds(self.plan.warmup),
                peers.ready.saturating_sub(peers.lost)
            ),
            Phase::Run => self.run_line(now),
            Phase::Drain => format!("drain   {} of {} answered", now.answered, now.sent),
            Phase::Done => "closing".to_owned(),
        }
    }

    fn run_line(&mut self, now: &load::Progress) -> String {
        let (before, answered_before) = self.line_before;
        self.line_before = (now.phase_elapsed, now.answered);
        let seconds = now.phase_elapsed.saturating_sub(before).as_secs_f64();
        let rate = if seconds > 0.0 { (now.answered - answered_before) as f64 / seconds } else { 0.0 };
        let latency = |percent| self.total.percentile(percent).map_or_else(|| "-".to_owned(), show_latency);
        format!(
            "run     {} {:.1}/{}  {}/s  p50 {}  p99 {}  lost {}",
            bar(now.phase_elapsed, self.plan.duration),
            now.phase_elapsed.as_secs_f64(),
            show_seconds(self.plan.duration),
            rate.round(),
            latency(50.0),
            latency(99.0),
            now.peers.lost
        )
    }
}

fn bar(done: Duration, whole: Duration) -> String {
    let share = (done.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 1.0);
    let filled = (share * BAR_CHARS as f64) as usize;
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_CHARS - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_at_every_moment() {
        let whole = Duration::from_secs(10);
        assert_eq!(bar(Duration::ZERO, whole), "[..........]");
        assert_eq!(bar(Duration::from_millis(4_999), whole), "[####......]");
        assert_eq!(bar(Duration::from_secs(11), whole), "[##########]");
        assert_eq!(bar(Duration::ZERO, Duration::ZERO).len(), BAR_CHARS + 2);
    }
}
