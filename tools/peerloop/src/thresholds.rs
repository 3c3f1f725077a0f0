//! Thresholds: conditions on the results of a run, judged by the run document.
//!
//! The metrics, views, stages and intervals to which a threshold may refer are those of a document, never a list of
//! names. So a threshold can be checked before a run, by the document of a run without results. A threshold for which
//! nothing was measured is not met.

use crate::model::{self, Document, Metric, Outcome, Packed, Row, Series, View};
use crate::units::{counted, show_latency, show_rate, show_seconds};
use peerloop_measure::{self as measure, Function, Judgement, Tally, Threshold, Unit, Watch};
use std::time::Duration;

/// A threshold, with its text as typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) text: String,
    pub(crate) threshold: Threshold,
}

/// The part of a document to which a threshold refers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) view_name: &'static str,
    view: &'a View,
    /// The begin and the planned end of the stage; `None` for the whole run.
    pub(crate) stage: Option<(Duration, Duration)>,
    /// The histograms of the intervals, if the document has them.
    pub(crate) series: Option<&'a Series>,
}

/// Parses a threshold.
pub(crate) fn parse_condition(text: &str) -> Result<Condition, String> {
    let threshold = text.parse().map_err(|error: measure::ThresholdError| error.to_string())?;
    Ok(Condition { text: text.to_owned(), threshold })
}

/// Returns the part of a document to which a threshold refers. The error lists the names that exist.
pub(crate) fn subject<'a>(condition: &Condition, document: &'a Document) -> Result<Subject<'a>, String> {
    let Condition { text, threshold } = condition;
    let refused = |problem: String| format!("the threshold `{text}`: {problem}");
    let (metrics, stage) = match threshold.stage {
        None => (&document.metrics, None),
        Some(number) => {
            let count = document.stages.len();
            let stage = document.stages.get(number as usize - 1).ok_or_else(|| {
                refused(format!("there is no stage {number}; the run has {}", counted(count as u64, "stage")))
            })?;
            (&stage.metrics, Some((stage.begin_ns.0, stage.end_ns.0)))
        }
    };
    let metric = metrics.iter().find(|metric| metric.name == threshold.metric).ok_or_else(|| {
        let of_stage = if stage.is_some() { " in a stage" } else { "" };
        let name = &threshold.metric;
        refused(format!("there is no metric `{name}`{of_stage}; choose from {}", names(metrics)))
    })?;
    let wanted = threshold.view.map(measure::View::name);
    let mut views = metric.views();
    let (view_name, view) = views.find(|(name, _)| wanted.is_none_or(|wanted| wanted == *name)).ok_or_else(|| {
        let wanted = wanted.unwrap_or("any");
        refused(format!("`{}` has no view `{wanted}`; choose from {}", metric.name, names(metrics)))
    })?;
    if threshold.function == Function::Rate && metric.work.is_none() {
        let name = &metric.name;
        return Err(refused(format!("`{name}` has no rate, because it has no planned operations; use count")));
    }
    let series = document
        .timeline
        .histograms
        .iter()
        .find(|series| (&*series.metric, &*series.view) == (&metric.name, view_name));
    if threshold.over.is_some() && series.is_none() {
        let tag = format!("{}.{view_name}", metric.name);
        return Err(refused(format!("there are no intervals of `{tag}`, so it has no windows; remove `over`")));
    }
    Ok(Subject { metric, view_name, view, stage, series })
}

/// Lists the metrics and their views: `connect (planned, sent), handshake (measured)`.
fn names(metrics: &[Metric]) -> String {
    let name = |metric: &Metric| {
        let views: Vec<&str> = metric.views().map(|(name, _)| name).collect();
        format!("{} ({})", metric.name, views.join(", "))
    };
    metrics.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Judges a threshold by the results of a run.
pub(crate) fn judge(condition: &Condition, document: &Document) -> Result<model::Threshold, String> {
    let subject = subject(condition, document)?;
    let threshold = &condition.threshold;
    let mut watch = Watch::new(threshold.clone());
    let begin = match (threshold.over, subject.series) {
        (Some(_), Some(series)) => watch_intervals(&mut watch, subject, series, document)?,
        (Some(_) | None, _) => {
            let scheduled = document.run.scheduled_ns.0;
            let (begin, end) = subject.stage.unwrap_or((Duration::ZERO, scheduled));
            watch.push(&tally(subject.view), end.min(scheduled).saturating_sub(begin));
            begin
        }
    };
    let judgement = watch.judgement();
    Ok(model::Threshold {
        expr: condition.text.clone(),
        result: match judgement.outcome {
            measure::Outcome::Pass => Outcome::Pass,
            measure::Outcome::Fail => Outcome::Fail,
            measure::Outcome::NoData => Outcome::NoData,
        },
        value: judgement.value.filter(|value| value.is_finite()),
        reason: reason(threshold, &judgement, begin),
    })
}

fn tally(view: &View) -> Tally {
    Tally::of(view.latencies.as_hdr(), view.failed)
}

/// Adds the intervals of the run, or those that lie within the stage, and returns the begin of the first. The drain
/// belongs to the last interval of the schedule: its replies count, but it makes no windows of its own.
fn watch_intervals(
    watch: &mut Watch,
    subject: Subject<'_>,
    series: &Series,
    document: &Document,
) -> Result<Duration, String> {
    let Document { timeline, run, .. } = document;
    let scheduled = run.scheduled_ns.0;
    let (begin, end) = subject.stage.unwrap_or((Duration::ZERO, Duration::MAX));
    let end = if end < scheduled { end } else { Duration::MAX };
    let (mut first, mut pending) = (None, None);
    // Whether the latencies of the interval before are in this one.
    let mut is_joined = false;
    for (index, ((start, row), packed)) in timeline.spans().zip(&series.intervals).enumerate() {
        if start < begin || row.end > end {
            continue;
        }
        let failed = if subject.view.failed == 0 { 0 } else { failed_in(row, subject.view_name) };
        let (tally, length) = (tally_of(packed.as_ref(), failed)?, row.end.saturating_sub(start));
        first.get_or_insert(start);
        match &mut pending {
            Some((sum, _)) if start >= scheduled => Tally::add(sum, &tally),
            Some((sum, time)) if is_joined => {
                Tally::add(sum, &tally);
                *time += length;
            }
            _ => {
                if let Some((before, time)) = pending.replace((tally, length)) {
                    watch.push(&before, time);
                }
            }
        }
        is_joined = timeline.joined.contains(&(index as u64));
    }
    if let Some((last, time)) = pending {
        watch.push(&last, time);
    }
    Ok(first.unwrap_or(begin))
}

/// Opens the histogram of an interval in which this many operations failed.
pub(crate) fn tally_of(packed: Option<&Packed>, failed: u64) -> Result<Tally, String> {
    match packed {
        Some(packed) => Ok(Tally::of(packed.open()?.as_hdr(), failed)),
        None => Ok(Tally::from_counts([], failed)),
    }
}

/// Returns the number of the interval's operations that were never answered. From the moment of sending, only those
/// count that were sent.
pub(crate) fn failed_in(row: &Row, view: &str) -> u64 {
    let failed = row.failed.unwrap_or(0);
    if view == "sent" { failed.saturating_sub(row.planned.saturating_sub(row.sent)) } else { failed }
}

/// Describes why a threshold is met or not, in one line. `begin` is the begin of the first interval that was judged.
pub(crate) fn reason(threshold: &Threshold, judgement: &Judgement, begin: Duration) -> String {
    let function = threshold.function;
    let value = judgement.value.map(|value| format!("{function} {}", shown(function.unit(), value)));
    let Some((windows, over)) = judgement.windows.zip(threshold.over) else {
        return value.unwrap_or_else(|| "nothing was measured".to_owned());
    };
    let (count, over) = (windows.count, show_seconds(over));
    if count == 0 {
        return format!("the run has no whole window of {over}");
    }
    let worst = match (value, windows.worst_begin) {
        (Some(value), Some(worst)) => format!("; the worst begins at {:.1} s: {value}", (begin + worst).as_secs_f64()),
        (Some(_) | None, _) => String::new(),
    };
    let few = format!("{} of {count} windows of {over} have too few operations", windows.without_data);
    match (windows.failed, windows.without_data) {
        (0, 0) => format!("all {count} windows of {over} pass{worst}"),
        (0, _) => format!("{few}{worst}"),
        (failed, 0) => format!("{failed} of {count} windows of {over} fail{worst}"),
        (failed, _) => format!("{failed} of {count} windows of {over} fail{worst}; {few}"),
    }
}

fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds if value.is_infinite() => "is that of operations that never completed".to_owned(),
        Unit::Nanoseconds => show_latency(Duration::from_nanos(value as u64)),
        Unit::Operations => format!("{value:.0}"),
        Unit::PerSecond => show_rate(value),
        Unit::Share => format!("{:.3} %", 100.0 * value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json::Nanos;

    const MEASURED: &str = include_str!("bench/golden/measured.json");
    const FAILED: &str = include_str!("bench/golden/failed.json");
    const STAGED: &str = include_str!("bench/golden/staged.json");
    const OLD: &str = include_str!("model/fixtures/schema2.json");

    fn judged(document: &str, text: &str) -> Result<(Outcome, Option<f64>, String), String> {
        let condition = parse_condition(text)?;
        let judged = judge(&condition, &model::parse(document).expect("the document is intact"))?;
        assert_eq!(judged.expr, text);
        Ok((judged.result, judged.value, judged.reason))
    }

    #[track_caller]
    fn assert_judged(document: &str, text: &str, result: Outcome, value: Option<f64>, reason: &str) {
        assert_eq!(judged(document, text).unwrap(), (result, value, reason.to_owned()), "{text}");
    }

    #[test]
    fn every_metric_view_and_function_is_judged() {
        for (text, result, value, reason) in [
            ("ping_rtt:p50<300us", Outcome::Pass, 299_007.0, "p50 299 us"),
            ("ping_rtt: p(50) <= 200us", Outcome::Fail, 299_007.0, "p50 299 us"),
            ("ping_rtt{view=sent}:max<540us", Outcome::Pass, 539_135.0, "max 539 us"),
            ("connect{view=planned}:count>=20", Outcome::Pass, 20.0, "count 20"),
            ("handshake:p100<1ms", Outcome::Pass, 219_007.0, "p100 219 us"),
            ("loop_lag:max<10us", Outcome::Fail, 49_023.0, "max 49 us"),
            ("ping_rtt:rate>=200/s", Outcome::Pass, 200.0, "rate 200/s"),
            ("ping_rtt{stage=1}:rate>200/s", Outcome::Fail, 200.0, "rate 200/s"),
            ("ping_rtt:failed<0.1%", Outcome::Pass, 0.0, "failed 0.000 %"),
        ] {
            assert_judged(MEASURED, text, result, Some(value), reason);
        }
    }

    #[test]
    fn failures_are_infinite_and_no_data_is_no_pass() {
        let never = "p50 is that of operations that never completed";
        assert_judged(FAILED, "ping_rtt:p50<1h", Outcome::Fail, None, never);
        assert_judged(FAILED, "ping_rtt:failed<50%", Outcome::Fail, Some(0.9), "failed 90.000 %");
        assert_judged(FAILED, "connect:p99<1h", Outcome::Fail, None, "p99 is that of operations that never completed");
        assert_judged(FAILED, "handshake:p99<1h", Outcome::NoData, None, "nothing was measured");
    }

    fn windows(document: &Document, text: &str) -> (Outcome, Option<f64>, String) {
        let judged = judge(&parse_condition(text).unwrap(), document).unwrap();
        (judged.result, judged.value, judged.reason)
    }

    #[test]
    fn windows_slide_over_the_intervals() {
        let all = "all 2 windows of 2 s pass; the worst begins at 0.0 s: p50 299 us";
        assert_judged(MEASURED, "ping_rtt:p50<1ms over 2s", Outcome::Pass, Some(299_007.0), all);
        let one = "1 of 3 windows of 1 s fail; the worst begins at 1.0 s: max 549 us";
        assert_judged(MEASURED, "ping_rtt:max<500us over 1s", Outcome::Fail, Some(549_375.0), one);
        assert_judged(MEASURED, "ping_rtt:max<1s over 3s", Outcome::NoData, None, "the run has no whole window of 3 s");
    }

    #[test]
    fn the_drain_and_joined_intervals_belong_to_others() {
        let mut document = model::parse(MEASURED).unwrap();
        // The third interval is the drain.
        document.run.scheduled_ns = Nanos(Duration::from_secs(2));
        let drained = "1 of 2 windows of 1 s fail; the worst begins at 1.0 s: max 549 us";
        assert_eq!(
            windows(&document, "ping_rtt:max<200us over 1s"),
            (Outcome::Fail, Some(549_375.0), drained.to_owned())
        );
        document.timeline.joined = vec![0];
        document.timeline.histograms[0].intervals[0] = None;
        let joined = "all 1 windows of 1 s pass; the worst begins at 0.0 s: count 350";
        assert_eq!(windows(&document, "ping_rtt:count<=350 over 1s"), (Outcome::Pass, Some(350.0), joined.to_owned()));
    }

    #[test]
    fn failures_of_an_interval_count_in_its_windows() {
        let mut document = model::parse(MEASURED).unwrap();
        let ping_rtt = document.metrics.iter_mut().find(|metric| metric.name == "ping_rtt").unwrap();
        ping_rtt.planned.as_mut().unwrap().failed = 50;
        // 30 of the 50 failed operations of the first interval were not sent.
        (document.timeline.rows[0].failed, document.timeline.rows[0].sent) = (Some(50), 170);
        let half = "1 of 3 windows of 1 s fail; the worst begins at 0.0 s: failed 25.000 %";
        assert_eq!(windows(&document, "ping_rtt:failed<1% over 1s"), (Outcome::Fail, Some(0.25), half.to_owned()));
        assert_eq!(
            (failed_in(&document.timeline.rows[0], "sent"), failed_in(&document.timeline.rows[0], "planned")),
            (20, 50)
        );
    }

    #[test]
    fn a_stage_has_its_own_results() {
        assert_judged(STAGED, "ping_rtt{stage=1}:max<150us", Outcome::Pass, Some(149_119.0), "max 149 us");
        assert_judged(STAGED, "ping_rtt{stage=2}:max<150us", Outcome::Fail, Some(419_071.0), "max 419 us");
        let windows = "all 1 windows of 1 s pass; the worst begins at 0.0 s: max 149 us";
        assert_judged(STAGED, "ping_rtt{stage=1}:max<150us over 1s", Outcome::Pass, Some(149_119.0), windows);
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused_with_those_that_do() {
        for (document, text, part) in [
            (MEASURED, "pong_rtt:p99<1s", "no metric `pong_rtt`; choose from connect (planned, sent), handshake"),
            (MEASURED, "handshake{view=sent}:p99<1s", "`handshake` has no view `sent`; choose from connect (planned"),
            (MEASURED, "ping_rtt{stage=2}:p99<1s", "there is no stage 2; the run has 1 stage"),
            (
                MEASURED,
                "connect{stage=1}:p99<1s",
                "no metric `connect` in a stage; choose from ping_rtt (planned, sent)",
            ),
            (MEASURED, "connect:p99<1s over 1s", "no intervals of `connect.planned`, so it has no windows; remove"),
            (OLD, "ping_rtt:p99<1s over 1s", "no intervals of `ping_rtt.planned`"),
            (MEASURED, "connect:rate>1/s", "`connect` has no rate, because it has no planned operations; use count"),
            (MEASURED, "ping_rtt:p99<20", "column 14: the duration `20` has no unit"),
        ] {
            let refused = judged(document, text).expect_err(text);
            assert!(refused.contains(part) && refused.contains(&format!("the threshold `{text}`")), "{refused}");
        }
    }
}
