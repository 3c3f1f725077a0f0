//! Cuts a part out of a run: its results are then those of the intervals within it.
//!
//! Only what the intervals know remains exact: their counts, and the metrics that have intervals' histograms. The
//! stages that lie within the part stay. Targets, peers, traffic, failed connections, thresholds and the verdict are
//! those of the whole run.

use crate::model::{Cut, Document, Latencies, Metric, Row, Series, Timeline, View, Work};
use crate::output::json::Nanos;
use crate::units::{show_seconds, show_time};
use std::ops::Range;
use std::time::Duration;

/// Reduces a run to its intervals that lie within `from` and `to`, which count from the begin of the counted part. The
/// error says why nothing would remain.
pub(crate) fn cut(document: &mut Document, from: Duration, to: Duration) -> Result<(), String> {
    let timeline = &document.timeline;
    if timeline.histograms.is_empty() {
        return Err("the run has no intervals' histograms; `bench` writes them with -o, --json, --hlog or --csv".into());
    }
    let whole = timeline.rows.last().map_or(Duration::ZERO, |row| row.end);
    let kept = kept(timeline, from, to);
    let (Some(first), Some(last)) = (timeline.spans().nth(kept.start), timeline.rows.get(kept.end.wrapping_sub(1)))
    else {
        return Err(none_left(whole, timeline.interval));
    };
    if kept.is_empty() {
        return Err(none_left(whole, timeline.interval));
    }
    let (begin, end) = (first.0, last.end);
    let metrics = document.metrics.iter().filter_map(|metric| part(metric, timeline, &kept).transpose());
    document.metrics = metrics.collect::<Result<_, String>>()?;
    document.counts.work = work(&document.timeline.rows[kept.clone()]);
    if let Some(main) = document.metrics.iter_mut().find(|metric| metric.work.is_some()) {
        main.work = Some(document.counts.work);
    }
    document.stages.retain(|stage| stage.begin_ns.0 >= begin && stage.end_ns.0 <= end);
    for time in document.stages.iter_mut().flat_map(|stage| [&mut stage.begin_ns, &mut stage.end_ns]) {
        *time = Nanos(time.0 - begin);
    }
    rebase(&mut document.timeline, kept, begin);
    let run = &mut document.run;
    let overlap = |time: Nanos| Nanos(time.0.min(end).saturating_sub(begin));
    (run.duration_ns, run.scheduled_ns) = (overlap(run.duration_ns), overlap(run.scheduled_ns));
    let seconds = run.scheduled_ns.0.as_secs_f64();
    run.answered_per_s = (seconds > 0.0).then(|| document.counts.work.answered as f64 / seconds);
    let start = run.load_start.as_deref().and_then(|time| humantime::parse_rfc3339(time).ok());
    run.load_start = start.map(|start| show_time(start + begin));
    // A part of a part counts from the begin of the whole run, too.
    let before = document.cut.map_or(Duration::ZERO, |cut| cut.from_ns.0);
    let of_ns = document.cut.map_or(Nanos(whole), |cut| cut.of_ns);
    document.cut = Some(Cut { from_ns: Nanos(before + begin), to_ns: Nanos(before + end), of_ns });
    Ok(())
}

fn none_left(whole: Duration, interval: Duration) -> String {
    format!(
        "no interval lies within --from and --to: the run has {} in intervals of {}; choose a longer part of it",
        show_seconds(whole),
        show_seconds(interval)
    )
}

/// Returns the intervals within the part. If latencies are in the next interval's histogram, both are kept or neither.
fn kept(timeline: &Timeline, from: Duration, to: Duration) -> Range<usize> {
    let mut start = timeline.spans().take_while(|(begin, _)| *begin < from).count();
    let mut end = timeline.rows.partition_point(|row| row.end <= to);
    let is_joined = |index: usize| timeline.joined.contains(&(index as u64));
    while start < end && start > 0 && is_joined(start - 1) {
        start += 1;
    }
    while end > start && is_joined(end - 1) {
        end -= 1;
    }
    start..end.max(start)
}

/// Adds up the intervals of a metric; `None` if none of its views has intervals.
fn part(metric: &Metric, timeline: &Timeline, kept: &Range<usize>) -> Result<Option<Metric>, String> {
    let of = |name: &str, view: &Option<View>| -> Result<Option<View>, String> {
        let is_named = |series: &&Series| series.metric == metric.name && series.view == name;
        let (Some(view), Some(series)) = (view, timeline.histograms.iter().find(is_named)) else { return Ok(None) };
        let mut sum = Latencies::new();
        for packed in series.intervals[kept.clone()].iter().flatten() {
            sum.add(&packed.open()?)?;
        }
        let Work { unsent, timed_out, .. } = work(&timeline.rows[kept.clone()]);
        let failed = match (metric.work.is_some(), name) {
            (false, _) => 0,
            (true, "sent") => timed_out,
            (true, _) => timed_out + unsent,
        };
        // The shortest wait may lie outside the part, but no wait within it was shorter.
        Ok(Some(View::new(&view.percentiles.labels(), sum, failed, view.shortest_wait.filter(|_| failed > 0))))
    };
    let (planned, sent) = (of("planned", &metric.planned)?, of("sent", &metric.sent)?);
    let measured = of("measured", &metric.measured)?;
    if planned.is_none() && sent.is_none() && measured.is_none() {
        return Ok(None);
    }
    let (name, unit) = (metric.name.clone(), metric.unit.clone());
    Ok(Some(Metric { name, unit, work: metric.work, planned, sent, measured }))
}

/// Adds up the operations that were due in these intervals.
fn work(rows: &[Row]) -> Work {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let (planned, sent) = (sum(|row| row.planned), sum(|row| row.sent));
    let unsent = planned.saturating_sub(sent);
    let timed_out = sum(|row| row.failed.unwrap_or(0)).saturating_sub(unsent).min(sent);
    Work { planned: sent + unsent, sent, unsent, unsent_absent: 0, answered: sent - timed_out, timed_out }
}

/// Removes the other intervals, and counts time from the first one's begin.
fn rebase(timeline: &mut Timeline, kept: Range<usize>, begin: Duration) {
    timeline.rows = timeline.rows[kept.clone()].to_vec();
    timeline.rows.iter_mut().for_each(|row| row.end -= begin);
    for series in &mut timeline.histograms {
        series.intervals = series.intervals[kept.clone()].to_vec();
    }
    let joined = timeline.joined.iter().map(|&index| index as usize).filter(|index| kept.contains(index));
    timeline.joined = joined.map(|index| (index - kept.start) as u64).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use serde_json::{Value, json};

    /// Three intervals: 200 pings due and 150 answered, 200 and 200, 100 and 150.
    fn document(change: impl Fn(&mut Value)) -> Document {
        let mut value: Value = serde_json::from_str(include_str!("../bench/golden/measured.json")).unwrap();
        change(&mut value);
        model::parse(&value.to_string()).unwrap()
    }

    fn seconds(from: f64, to: f64) -> [Duration; 2] {
        [from, to].map(Duration::from_secs_f64)
    }

    #[test]
    fn only_intervals_that_lie_within_the_part_count() {
        for (from, to, planned, replies) in
            [(0.0, 2.5, 500, 500), (1.0, 2.0, 200, 200), (0.5, 9.0, 300, 350), (0.0, 2.4, 400, 350)]
        {
            let mut document = document(|_| {});
            let [from, to] = seconds(from, to);
            cut(&mut document, from, to).unwrap();
            let view = document.view("ping_rtt", "planned").unwrap();
            assert_eq!((document.counts.work.planned, view.latencies.count()), (planned, replies), "{from:?}");
            assert_eq!(document.metric("connect").map(|metric| &metric.name), None);
            // A part can be written and read again.
            let read = model::parse(&crate::output::json::pretty(&document)).unwrap();
            assert_eq!(read.cut, document.cut);
        }
    }

    #[test]
    fn the_percentiles_are_those_of_the_part() {
        let mut document = document(|_| {});
        cut(&mut document, Duration::from_secs(1), Duration::from_secs(2)).unwrap();
        let view = document.view("ping_rtt", "planned").unwrap();
        assert_eq!(view.percentile(50.0).measured(), Some(Duration::from_nanos(299_007)));
        assert_eq!(
            document.timeline.spans().map(|(begin, row)| (begin, row.end)).collect::<Vec<_>>(),
            [(Duration::ZERO, Duration::from_secs(1))]
        );
        assert_eq!(document.run.load_start.as_deref(), Some("1970-01-01T00:00:04.500Z"));
        assert_eq!((document.run.scheduled_ns.0, document.run.answered_per_s), (Duration::from_secs(1), Some(200.0)));
        assert_eq!(document.stages.len(), 0, "a stage that is only partly in the part has no results there");
    }

    #[test]
    fn a_part_of_a_part_counts_from_the_begin_of_the_run() {
        let mut document = document(|_| {});
        cut(&mut document, Duration::from_secs(1), Duration::MAX).unwrap();
        cut(&mut document, Duration::from_secs(1), Duration::MAX).unwrap();
        let Cut { from_ns, to_ns, of_ns } = document.cut.unwrap();
        assert_eq!([from_ns, to_ns, of_ns].map(|time| time.0.as_millis()), [2_000, 2_500, 2_500]);
    }

    #[test]
    fn failed_operations_stay_in_the_part_in_which_they_were_due() {
        let mut document = document(|value| {
            for work in ["/counts", "/metrics/2/work"].map(|pointer| pointer.to_owned()) {
                let work = value.pointer_mut(&work).unwrap();
                (work["planned"], work["unsent"], work["sent"], work["timed_out"]) =
                    (json!(510), json!(4), json!(506), json!(6));
            }
            value["timeline"]["rows"][1] = json!([2_000_000_000, 210, 206, 200, 10, null, null, null, 20, 0]);
        });
        cut(&mut document, Duration::from_secs(1), Duration::from_secs(2)).unwrap();
        let failed = |view| document.view("ping_rtt", view).map(|view| view.failed);
        assert_eq!((failed("planned"), document.counts.work.unsent, document.counts.work.timed_out), (Some(10), 4, 6));
    }

    #[test]
    fn intervals_whose_latencies_are_together_are_not_separated() {
        let joined = |value: &mut Value| {
            value["timeline"]["joined"] = json!([0]);
            let packed = value["timeline"]["histograms"][0]["intervals"][0].clone();
            let sum = &mut value["timeline"]["histograms"][0]["intervals"];
            let mut all = serde_json::from_value::<model::Packed>(packed).unwrap().open().unwrap();
            all.add(&serde_json::from_value::<model::Packed>(sum[1].clone()).unwrap().open().unwrap()).unwrap();
            (sum[0], sum[1]) = (json!(null), json!(model::Packed::new(all.as_hdr())));
        };
        let mut document = document(joined);
        cut(&mut document, Duration::from_secs(1), Duration::MAX).unwrap();
        assert_eq!(document.view("ping_rtt", "planned").unwrap().latencies.count(), 150);
        let mut document = self::document(joined);
        assert!(cut(&mut document, Duration::ZERO, Duration::from_secs(1)).unwrap_err().contains("no interval lies"));
    }

    #[test]
    fn a_part_without_intervals_is_refused_with_the_reason() {
        let refused = |from, to| {
            let [from, to] = seconds(from, to);
            cut(&mut document(|_| {}), from, to).unwrap_err()
        };
        for (from, to) in [(0.0, 0.5), (1.1, 1.9), (3.0, 9.0)] {
            assert!(refused(from, to).contains("the run has 2.5 s in intervals of 1 s"), "{}", refused(from, to));
        }
        let mut without = document(|value| value["timeline"]["histograms"] = json!([]));
        let text = cut(&mut without, Duration::ZERO, Duration::MAX).unwrap_err();
        assert!(text.contains("no intervals' histograms"), "{text}");
    }
}
