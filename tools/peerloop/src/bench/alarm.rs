//! The alarm: judges thresholds while a run is in progress, and requests its end if one of them fails.
//!
//! It runs on the thread that encodes the intervals, so it costs the loop nothing. While the run is in progress, an
//! operation counts as failed only if it could not be sent: one that waits for its reply may still be answered. So the
//! alarm never ends a run that could pass, but a run that it does not end may still fail.

use super::setup::Setup;
use crate::model::Document;
use crate::notices::Bell;
use crate::thresholds::{self, Condition};
use crate::units::show_seconds;
use peerloop::load::IntervalHistograms;
use peerloop_measure::{Tally, Watch};
use std::time::Duration;

/// The thresholds of a run in progress.
#[derive(Debug)]
pub(super) struct Alarm {
    watched: Vec<Watched>,
    /// The time from the begin of the run within which a failing window has no effect.
    grace: Duration,
    /// The planned length of the run, after which there is nothing to end.
    run_time: Duration,
    bell: Bell,
    /// Why the bell has rung.
    rung: Option<String>,
}

#[derive(Debug)]
struct Watched {
    text: String,
    metric: String,
    view: &'static str,
    /// The begin and the planned end of the threshold's stage.
    stage: (Duration, Duration),
    /// The begin of the first interval that was judged.
    began: Option<Duration>,
    watch: Watch,
}

/// One interval, or several consecutive ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The begin and the end, from the begin of the run.
    pub(super) begin: Duration,
    pub(super) end: Duration,
    /// Operations that were due and could not be sent.
    pub(super) unsent: u64,
}

impl Alarm {
    /// Returns the alarm for those of the conditions whose metrics have intervals. `document` is that of the run
    /// without results. Returns `None` if the run is not to be aborted.
    pub(super) fn new(setup: &Setup, document: &Document, bell: Bell) -> Option<Self> {
        let grace = setup.abort_after?;
        let watched = setup.thresholds.iter().filter_map(|condition| Watched::new(condition, document));
        Some(Self { watched: watched.collect(), grace, run_time: setup.shape.duration(), bell, rung: None })
    }

    /// Judges the thresholds after an interval, and rings the bell for the first one that fails.
    pub(super) fn add(&mut self, histograms: &IntervalHistograms, span: Span) {
        if self.rung.is_some() || span.end > self.run_time {
            return;
        }
        for watched in &mut self.watched {
            watched.add(histograms, span);
            if watched.must_abort(self.grace) {
                self.rung = Some(watched.reason(span.end, self.run_time));
                self.bell.ring();
                return;
            }
        }
    }

    /// Returns why the bell has rung, if it has.
    pub(super) fn into_reason(self) -> Option<String> {
        self.rung
    }
}

impl Watched {
    fn new(condition: &Condition, document: &Document) -> Option<Self> {
        let subject = thresholds::subject(condition, document).ok()?;
        subject.series?;
        Some(Self {
            text: condition.text.clone(),
            metric: subject.metric.name.clone(),
            view: subject.view_name,
            stage: subject.stage.unwrap_or((Duration::ZERO, Duration::MAX)),
            began: None,
            watch: Watch::new(condition.threshold.clone()),
        })
    }

    fn add(&mut self, histograms: &IntervalHistograms, span: Span) {
        let (begin, end) = self.stage;
        if span.begin < begin || span.end > end {
            return;
        }
        let Some((_, _, histogram)) =
            histograms.iter().find(|(metric, view, _)| (*metric, view.name()) == (&self.metric, self.view))
        else {
            return;
        };
        let failed = if self.view == "planned" { span.unsent } else { 0 };
        self.began.get_or_insert(span.begin);
        self.watch.push(&Tally::of(histogram.as_hdr(), failed), span.end.saturating_sub(span.begin));
    }

    fn must_abort(&self, grace: Duration) -> bool {
        self.began.is_some_and(|began| self.watch.must_abort(grace.saturating_sub(began)))
    }

    fn reason(&self, now: Duration, run_time: Duration) -> String {
        let reason =
            thresholds::reason(self.watch.threshold(), &self.watch.judgement(), self.began.unwrap_or_default());
        format!(
            "aborted after {} of {}: the threshold {} fails: {reason}",
            show_seconds(now),
            show_seconds(run_time),
            self.text
        )
    }
}
