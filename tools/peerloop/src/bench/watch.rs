//! The main thread's watch over a generator: progress and signals. During the run, a progress line shows the
//! latencies of the timeline's last whole interval. SIGUSR1 and SIGUSR2 change the rate.
//!
//! The first signal makes the generator drain and report, and the second makes it report at once. After the second
//! signal the watch waits for the report for at most a second, so a loop that hangs never keeps the program from
//! ending.

use super::display::Display;
use crate::exit::{Exit, Failure, Stop, Stops};
use crate::notices::{Notice, Notices, RateStep};
use crate::status::wait_for;
use crate::units::{show_latency, show_rate, show_seconds};
use peerloop::Handle;
use peerloop::api::Pending;
use peerloop::load::{self, GeneratorRequest, Pace, Phase, Plan, Report};
use std::time::{Duration, SystemTime};

/// The pause before each check of whether the generator has replied to the request for its progress.
const ANSWER_PAUSE: Duration = Duration::from_millis(20);

/// The steps of the rate for SIGUSR1 and SIGUSR2: the new rate as a percentage of the old one.
const PERCENT_UP: u32 = 110;
const PERCENT_DOWN: u32 = 90;

/// The length of the progress bar in characters, without its brackets.
const BAR_CHARS: usize = 10;

/// Watches until the generator's thread has ended, and returns no report, because the thread returns it. After a
/// second signal, returns the report in its current state and abandons the loop. Fails if the loop does not report
/// within a second of that signal.
pub(crate) fn watch(
    notices: &Notices,
    handle: &Handle<GeneratorRequest>,
    plan: &Plan,
    start_at: Option<SystemTime>,
    mut display: Display,
) -> Result<(Stops, Option<Report>), Failure> {
    let mut watch = Watch::new(plan, start_at);
    loop {
        let pause = if watch.pending.is_some() { ANSWER_PAUSE } else { display.interval() };
        match notices.next(Some(pause)) {
            Some(Notice::Ended) => {
                display.clear();
                return Ok((watch.stops, None));
            }
            Some(Notice::Stop(stop)) if !watch.stops.note(stop) => {
                display.note("stopping: waiting for the last pongs; send the signal again to stop at once");
                // The watch sends too few requests to fill the queue, so this fails only if the loop has already
                // ended.
                let _ = handle.request(GeneratorRequest::Finish);
            }
            Some(Notice::Stop(stop)) => {
                display.clear();
                let report = report_at_once(handle, stop)?;
                return Ok((watch.stops, Some(report)));
            }
            Some(Notice::Bell) => {
                display.note("stopping: a threshold fails; waiting for the last pongs");
                let _ = handle.request(GeneratorRequest::Finish);
            }
            Some(Notice::Rate(step)) => {
                if let Some(line) = watch.change_rate(handle, step) {
                    display.note(line);
                }
            }
            None if watch.pending.is_none() => watch.ask(handle),
            None => {
                if let Some(progress) = watch.take_progress() {
                    display.update(&progress, &watch.line(&progress));
                }
            }
        }
    }
}

/// Requests the report in its current state, and waits at most a second for it.
pub(super) fn report_at_once(handle: &Handle<GeneratorRequest>, stop: Stop) -> Result<Report, Failure> {
    let (reply, pending) = Pending::new();
    let is_asked = handle.request(GeneratorRequest::Report(reply)).is_ok();
    let report = if is_asked { wait_for(pending) } else { None };
    report.map(|report| *report).ok_or_else(|| Failure {
        exit: Exit::StoppedAtOnce(stop),
        message: "stopped at once by a second signal; the loop did not report, so no results were written".to_owned(),
    })
}

/// The state of a watch.
#[derive(Debug)]
struct Watch<'a> {
    plan: &'a Plan,
    /// The requested wall time of the begin of the run.
    start_at: Option<SystemTime>,
    /// Whether the rate was changed.
    is_changed: bool,
    stops: Stops,
    pending: Option<Pending<load::Progress>>,
    /// The run's elapsed time and number of answered pings at the previous progress line.
    line_before: (Duration, u64),
}

impl<'a> Watch<'a> {
    fn new(plan: &'a Plan, start_at: Option<SystemTime>) -> Self {
        let line_before = (Duration::ZERO, 0);
        Self { plan, start_at, is_changed: false, stops: Stops::default(), pending: None, line_before }
    }

    /// Requests a step of the rate. Returns a line for the user if the step has no effect.
    fn change_rate(&mut self, handle: &Handle<GeneratorRequest>, step: RateStep) -> Option<&'static str> {
        if self.plan.pace == Pace::Max {
            return Some("the rate is not changed: with -r max, the peers' replies determine it");
        }
        let percent = match step {
            RateStep::Up => PERCENT_UP,
            RateStep::Down => PERCENT_DOWN,
        };
        // The request fails only if the loop has ended. `Notice::Ended` then arrives.
        self.is_changed |= handle.request(GeneratorRequest::ScaleRate { percent }).is_ok();
        None
    }

    fn ask(&mut self, handle: &Handle<GeneratorRequest>) {
        let (reply, pending) = Pending::new();
        // The request fails only if the loop has ended. `Notice::Ended` then arrives.
        if handle.request(GeneratorRequest::Progress(reply)).is_ok() {
            self.pending = Some(pending);
        }
    }

    /// Returns the progress if the generator has replied.
    fn take_progress(&mut self) -> Option<load::Progress> {
        let Ok(answer) = self.pending.as_ref()?.try_take() else {
            self.pending = None;
            return None;
        };
        let now = answer?;
        self.pending = None;
        Some(now)
    }

    fn line(&mut self, now: &load::Progress) -> String {
        let peers = now.peers;
        match now.phase {
            Phase::Ramp if self.start_at.is_some() && peers.ready + peers.failed >= peers.asked => self.wait_line(now),
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

    fn wait_line(&self, now: &load::Progress) -> String {
        let left = self.start_at.and_then(|start_at| start_at.duration_since(SystemTime::now()).ok());
        let left = show_seconds(Duration::from_secs(left.unwrap_or_default().as_secs()));
        format!("wait    {}/{} peers  the run begins in {left}", now.peers.ready, now.peers.asked)
    }

    /// Returns the planned rate of this moment for the progress line, unless it is the constant rate of the whole run.
    fn planned_rate(&self, now: &load::Progress) -> String {
        let is_constant = matches!(&self.plan.stages[..], [stage] if stage.from == stage.to) && !self.is_changed;
        let rate = now.rate.filter(|_| !is_constant);
        rate.map(|rate| format!(" of {}", show_rate(rate.as_per_second()))).unwrap_or_default()
    }

    fn run_line(&mut self, now: &load::Progress) -> String {
        let (before, answered_before) = self.line_before;
        self.line_before = (now.phase_elapsed, now.answered);
        let seconds = now.phase_elapsed.saturating_sub(before).as_secs_f64();
        let rate = if seconds > 0.0 { (now.answered - answered_before) as f64 / seconds } else { 0.0 };
        let shown = |latency: Option<Duration>| latency.map_or_else(|| "-".to_owned(), show_latency);
        let (p50, p99) = now.interval.map_or((None, None), |interval| (interval.p50, interval.p99));
        format!(
            "run     {} {:.1}/{}  {}/s{}  p50 {}  p99 {}  lost {}",
            bar(now.phase_elapsed, self.plan.duration()),
            now.phase_elapsed.as_secs_f64(),
            show_seconds(self.plan.duration()),
            rate.round(),
            self.planned_rate(now),
            shown(p50),
            shown(p99),
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
    fn the_bar_has_the_same_length_at_every_moment() {
        let whole = Duration::from_secs(10);
        assert_eq!(bar(Duration::ZERO, whole), "[..........]");
        assert_eq!(bar(Duration::from_millis(4_999), whole), "[####......]");
        assert_eq!(bar(Duration::from_secs(11), whole), "[##########]");
        assert_eq!(bar(Duration::ZERO, Duration::ZERO).len(), BAR_CHARS + 2);
    }
}
