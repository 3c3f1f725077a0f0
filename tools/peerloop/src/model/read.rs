//! Reads run documents from files: the present version and all older ones.
//!
//! A document that is read is consistent: its histograms match their counts, and the histograms of its intervals add up
//! to those of the whole run. A newer document is refused, because its keys may have another meaning. Values that
//! follow from others are computed again.

use super::SCHEMA;
use super::document::{Document, Failed, PlannedStage, Work};
use super::latencies::Latencies;
use super::timeline::Series;
use crate::causes;
use crate::exit::Failure;
use crate::output::json::Nanos;
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The name of the document in a folder of results.
pub(crate) const RESULT_FILE: &str = "result.json";

/// The begin and the end of the document in a page of `bench --html`.
pub(crate) const DATA_BLOCK: [&str; 2] = ["<script type=\"application/json\" id=\"run\">", "</script>"];

/// The first characters of every page.
const PAGE: &str = "<!DOCTYPE html>";

/// The first version whose views contain the failed operations.
const FIRST_WITH_FAILURES: u32 = 2;

/// Reads a run document from a file, or from the file `result.json` in a folder.
pub(crate) fn read(path: &Path) -> Result<Document, Failure> {
    let path = if path.is_dir() { &path.join(RESULT_FILE) } else { path };
    let failed = |error: &dyn std::fmt::Display| Failure::run(format!("reading the run {}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| {
        failed(&format!("{error}; name a file that `bench --json` wrote, or a folder that `bench -o` wrote"))
    })?;
    parse(&text).map_err(|error| failed(&error))
}

/// The part of a document that all versions have.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

/// Returns the document in a page; any other text is returned unchanged.
fn embedded(text: &str) -> Result<&str, String> {
    let [begin, end] = DATA_BLOCK;
    let block = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    match block {
        _ if !text.starts_with(PAGE) => Ok(text),
        Some((document, _)) => Ok(document),
        None => Err("the page has no run document: it is cut, or the run was too large for it; name the file that \
                     `bench --json` wrote, or the folder of `bench -o`"
            .to_owned()),
    }
}

/// Parses a run document, or a page with one. The error says why the text is not one, and how to get one.
pub(crate) fn parse(text: &str) -> Result<Document, String> {
    let text = embedded(text)?;
    let Head { schema } = serde_json::from_str(text)
        .map_err(|error| format!("it is not a result of `peerloop bench --json` ({error}); name such a file"))?;
    if schema > SCHEMA {
        return Err(format!(
            "a newer peerloop wrote it: it has schema {schema}, and this program reads schemas up to {SCHEMA}; update \
             peerloop"
        ));
    }
    let damaged = |error: &dyn std::fmt::Display| format!("the run document is damaged: {error}; use an intact copy");
    let mut document: Document = serde_json::from_str(text).map_err(|error| damaged(&error))?;
    check_counts(&document).map_err(|error| damaged(&error))?;
    match check_intervals(&document) {
        // Early programs did not count every reply in an interval; without intervals, the document is consistent.
        Err(_) if schema < SCHEMA => document.timeline.rows.clear(),
        checked => checked.map_err(|error| damaged(&error))?,
    }
    complete(&mut document);
    Ok(document)
}

/// Fills in the fields that older documents lack, and computes derived values again.
fn complete(document: &mut Document) {
    let Document { schema, run, config, counts, metrics, .. } = document;
    if run.id.is_empty() {
        run.id = format!("{}-{}", run.start, run.seed);
    }
    if config.stages.is_empty() {
        let (from_per_s, to_per_s) = (config.rate_per_s, config.rate_per_s);
        config.stages = vec![PlannedStage { from_per_s, to_per_s, duration_ns: config.duration_ns }];
    }
    for error in counts.errors.iter_mut().filter(|error| error.explanation.is_empty()) {
        error.explanation = error.example.clone().unwrap_or_else(|| error.cause.clone());
    }
    if run.scheduled_ns.0.is_zero()
        && let Some(rate) = config.rate_per_s.filter(|rate| *rate > 0.0)
    {
        let seconds = counts.work.planned as f64 / rate;
        run.scheduled_ns = Nanos(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
    let seconds = run.scheduled_ns.0.as_secs_f64();
    run.answered_per_s = (seconds > 0.0).then(|| counts.work.answered as f64 / seconds);
    if *schema < SCHEMA
        && let Some(pings) = metrics.iter_mut().find(|metric| metric.name == "ping_rtt")
    {
        pings.work = Some(counts.work);
    }
    if *schema < FIRST_WITH_FAILURES {
        for metric in metrics {
            let failed = failed_of(&metric.name, counts.work, &counts.errors);
            let views =
                [(&mut metric.planned, failed[0]), (&mut metric.sent, failed[1]), (&mut metric.measured, failed[0])];
            for (view, failed) in views {
                view.iter_mut().for_each(|view| view.set_failed(failed));
            }
        }
    }
    *schema = SCHEMA;
}

/// Returns the number of failed operations of a metric in a document of version 1: those that count from the planned
/// time, and those that count from the start.
fn failed_of(metric: &str, work: Work, errors: &[Failed]) -> [u64; 2] {
    let at = |stage| errors.iter().filter(|error| error.stage == stage).map(|error| error.count).sum();
    match metric {
        "ping_rtt" => [work.failed(), work.timed_out],
        "connect" => [at(causes::Stage::Connecting); 2],
        "handshake" => [at(causes::Stage::Handshake); 2],
        _ => [0; 2],
    }
}

/// Checks that each planned operation has one outcome, in total and for each metric and target.
fn check_counts(document: &Document) -> Result<(), String> {
    let metrics = document.metrics.iter().filter_map(|metric| Some((metric.name.as_str(), metric.work?)));
    let targets = document.targets.iter().map(|target| (target.addr.as_str(), target.work));
    for (name, work) in metrics.chain(targets).chain([("counts", document.counts.work)]) {
        let Work { planned, sent, unsent, answered, timed_out, .. } = work;
        if sent.checked_add(unsent) != Some(planned) || answered.checked_add(timed_out) != Some(sent) {
            return Err(format!("the counts of `{name}` do not add up"));
        }
    }
    Ok(())
}

/// Checks that the intervals add up to the whole run.
fn check_intervals(document: &Document) -> Result<(), String> {
    let Document { timeline, counts, .. } = document;
    let answered = timeline.rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.answered));
    // A part of a run has replies to operations that were due before it.
    if answered != counts.work.answered && !timeline.rows.is_empty() && document.cut.is_none() {
        let total = counts.work.answered;
        return Err(format!("the intervals have {answered} replies, but the run has {total}"));
    }
    for series in &timeline.histograms {
        let sum = sum(series)?;
        let view = document.view(&series.metric, &series.view);
        if view.is_some_and(|view| view.latencies != sum) {
            return Err(format!("the intervals of `{}` do not add up to the run's histogram", series.tag()));
        }
    }
    Ok(())
}

/// Adds up the histograms of a series.
fn sum(series: &Series) -> Result<Latencies, String> {
    let mut sum = Latencies::new();
    for (number, packed) in series.intervals.iter().enumerate() {
        if let Some(packed) = packed {
            let latencies =
                packed.open().map_err(|error| format!("`{}` of interval {number}: {error}", series.tag()))?;
            sum.add(&latencies).map_err(|error| format!("`{}` of interval {number}: {error}", series.tag()))?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limit, Percentile, Reason, Trust};
    use serde_json::{Value, json};

    const FIRST: &str = include_str!("fixtures/schema1.json");
    const SECOND: &str = include_str!("fixtures/schema2.json");
    const UNANSWERED: &str = include_str!("fixtures/schema2-unanswered.json");
    const PRESENT: &str = include_str!("../bench/golden/measured.json");

    /// Parses the document after `change`.
    fn changed(text: &str, change: impl Fn(&mut Value)) -> Result<Document, String> {
        let mut value: Value = serde_json::from_str(text).unwrap();
        change(&mut value);
        parse(&value.to_string())
    }

    #[test]
    fn a_document_of_version_1_is_read_with_all_its_latencies() {
        let document = parse(FIRST).unwrap();
        let pings = document.main_metric().unwrap();
        assert_eq!((document.schema, pings.name.as_str()), (SCHEMA, "ping_rtt"));
        assert_eq!((pings.work.unwrap().planned, pings.first_view().unwrap().latencies.count()), (100, 100));
        assert_eq!((document.tool.git, document.host.kernel, document.run.segment), (None, None, [1, 1]));
        assert_eq!((document.run.answered_per_s, document.timeline.rows.len()), (Some(50.0), 0));
        assert_eq!((document.generator.verdict, document.generator.limit), (Trust::NotTrusted, Limit::None));
        assert!(document.generator.cpu_working > 0.0 && document.generator.cpu_spinning == 0.0);
    }

    #[test]
    fn failures_in_a_document_of_version_1_count_as_slower_than_every_latency() {
        let document = changed(FIRST, |value| {
            value["counts"]["planned"] = json!(130);
            value["counts"]["sent"] = json!(110);
            value["counts"]["timed_out"] = json!(10);
            value["counts"]["unsent"] = json!(20);
            value["counts"]["errors"] =
                json!([{ "cause": "refused", "side": "remote", "stage": "connecting", "count": 5, "example": null }]);
        });
        let document = document.unwrap();
        let failed = |metric, view| document.view(metric, view).unwrap().failed;
        assert_eq!([failed("ping_rtt", "planned"), failed("ping_rtt", "sent")], [30, 10]);
        assert_eq!([failed("connect", "measured"), failed("handshake", "measured")], [5, 0]);
        let view = document.view("ping_rtt", "planned").unwrap();
        assert_eq!(view.percentile(99.0), Percentile::Beyond(None));
        assert_eq!(document.counts.errors[0].explanation, "refused");
    }

    #[test]
    fn a_document_of_version_2_is_read_with_its_failures_and_its_percentiles() {
        let document = parse(SECOND).unwrap();
        let labels: Vec<&str> = document
            .main_metric()
            .unwrap()
            .first_view()
            .unwrap()
            .percentiles
            .0
            .iter()
            .map(|(one, _)| &*one.label)
            .collect();
        assert_eq!(labels, ["50", "99.90", "100"]);
        let document = parse(UNANSWERED).unwrap();
        let view = document.view("ping_rtt", "planned").unwrap();
        assert_eq!((view.failed, view.count(), document.counts.work.failed()), (29, 120, 29));
        let Percentile::Beyond(Some(wait)) = view.percentile(99.0) else { panic!("{view:?}") };
        assert!(wait > Duration::from_millis(200), "{wait:?}");
        assert_eq!(document.targets.iter().map(|target| target.work.timed_out).collect::<Vec<_>>(), [0, 29]);
    }

    #[test]
    fn every_document_that_is_written_is_read_again_as_the_same_document() {
        for text in [FIRST, SECOND, UNANSWERED] {
            let written = crate::output::json::pretty(&parse(text).unwrap());
            assert_eq!(crate::output::json::pretty(&parse(&written).unwrap()), written);
        }
    }

    #[test]
    fn a_reason_of_an_older_document_is_only_a_text() {
        let document = changed(SECOND, |value| value["exit"]["reasons"] = json!(["it rained"])).unwrap();
        assert_eq!(document.exit.reasons, [Reason { code: 1, partial: false, reason: "it rained".to_owned() }]);
    }

    #[test]
    fn a_newer_document_is_refused_with_advice_and_another_file_with_an_example() {
        let refused = changed(SECOND, |value| value["schema"] = json!(SCHEMA + 1)).unwrap_err();
        assert!(refused.contains("a newer peerloop wrote it") && refused.ends_with("update peerloop"), "{refused}");
        for text in ["", "{}", "[]", "peerloop", "{\"schema\": \"2\"}", "{\"schema\": 1e9}"] {
            let refused = parse(text).unwrap_err();
            assert!(refused.starts_with("it is not a result of `peerloop bench --json`"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_damaged_document_is_refused_with_the_place_of_the_damage() {
        let refused = |change: fn(&mut Value)| changed(SECOND, change).unwrap_err();
        for (text, part) in [
            (refused(|value| value["counts"]["answered"] = json!(99)), "the counts of `counts` do not add up"),
            (refused(|value| value["targets"][0]["unsent"] = json!(u64::MAX)), "do not add up"),
            (
                refused(|value| value["metrics"][2]["planned"]["count"] = json!(99)),
                "has 100 latencies, but `count` is 99",
            ),
            (
                refused(|value| value["metrics"][2]["planned"]["hdr"] = json!("SElTVA==")),
                "histogram is damaged (too short)",
            ),
            (refused(|value| value["counts"]["planned"] = json!(-1)), "invalid value: integer `-1`"),
            (refused(|value| value["generator"]["verdict"] = json!("maybe")), "unknown variant `maybe`"),
            (refused(|value| drop(value.as_object_mut().unwrap().remove("metrics"))), "missing field `metrics`"),
        ] {
            assert!(text.starts_with("the run document is damaged: ") && text.contains(part), "{part}: {text}");
        }
        let half = &SECOND[..SECOND.len() / 2];
        assert!(parse(half).is_err());
    }

    #[test]
    fn intervals_that_do_not_add_up_to_the_run_are_refused() {
        let refused = |change: fn(&mut Value)| changed(PRESENT, change).unwrap_err();
        assert_eq!(parse(PRESENT).unwrap().timeline.histograms[0].intervals.len(), 3);
        for (text, part) in [
            (refused(|value| value["timeline"]["rows"][0][3] = json!(1_000)), "1350 replies, but the run has 500"),
            (
                refused(|value| value["timeline"]["histograms"][0]["intervals"][1] = json!(null)),
                "the intervals of `ping_rtt.planned` do not add up",
            ),
            (
                refused(|value| value["timeline"]["histograms"][0]["intervals"][1] = json!("SElTVA==")),
                "`ping_rtt.planned` of interval 1: its histogram is damaged",
            ),
            (
                refused(|value| value["timeline"]["histograms"][0]["intervals"] = json!([])),
                "`ping_rtt.planned` has 0 histograms for 3 intervals",
            ),
        ] {
            assert!(text.starts_with("the run document is damaged: ") && text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_folder_of_results_is_read_like_its_document_and_a_missing_file_is_named() {
        let folder = peerloop_testkit::Folder::new(std::env::temp_dir());
        let path = folder.path().join(RESULT_FILE);
        let refused = read(folder.path()).unwrap_err().message;
        assert!(
            refused.contains(RESULT_FILE) && refused.contains("name a file that `bench --json` wrote"),
            "{refused}"
        );
        fs::write(&path, SECOND).unwrap();
        assert_eq!(read(folder.path()).unwrap().run.seed, read(&path).unwrap().run.seed);
    }
}
