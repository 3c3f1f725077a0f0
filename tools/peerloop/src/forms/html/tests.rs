//! Tests of the page: its structure, its values, its honesty, hostile texts, its size, and its document.

use super::embed::MAX_INTERVALS;
use super::*;
use crate::model::{self, Agent, Outcome, Packed, RateChange, Reason, Row, Series, Stage, Threshold, Timeline, View};
use crate::output::json::{Nanos, pretty};
use crate::units::parse_percentiles;
use hdrhistogram::Histogram;
use peerloop::histogram::LatencyHistogram;
use roxmltree::{Node, ParsingOptions};
use std::time::Duration;

const MEASURED: &str = include_str!("../../bench/golden/measured.json");
const FAILED: &str = include_str!("../../bench/golden/failed.json");
const STAGED: &str = include_str!("../../bench/golden/staged.json");
const FIRST: &str = include_str!("../../model/fixtures/schema1.json");
const UNANSWERED: &str = include_str!("../../model/fixtures/schema2-unanswered.json");

fn document(text: &str) -> Document {
    model::parse(text).unwrap()
}

fn html(document: &Document) -> String {
    page(document).unwrap()
}

/// Parses a page, which is well-formed XML too.
pub(crate) fn tree(html: &str) -> roxmltree::Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    roxmltree::Document::parse_with_options(html, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns all text in a node.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|part| part.text()).collect()
}

pub(crate) fn all<'a>(tree: &'a roxmltree::Document<'_>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    tree.descendants().filter(move |node| node.has_tag_name(name))
}

/// Returns the cells of each row of the table with this caption.
fn rows(tree: &roxmltree::Document<'_>, caption: &str) -> Vec<Vec<String>> {
    let table = all(tree, "table").find(|table| text(*table).starts_with(caption)).expect("the page has the table");
    let rows = table.descendants().filter(|node| node.has_tag_name("tr"));
    rows.map(|row| row.children().filter(Node::is_element).map(text).collect()).collect()
}

#[test]
fn every_page_is_well_formed_and_accessible() {
    for source in [MEASURED, FAILED, STAGED, FIRST, UNANSWERED] {
        let html = html(&document(source));
        let tree = tree(&html);
        assert_eq!(tree.root_element().attribute("lang"), Some("en"));
        assert!(all(&tree, "title").next().is_some_and(|title| !text(title).is_empty()));
        let mut level = 0;
        for heading in tree.descendants().filter(|node| matches!(node.tag_name().name(), "h1" | "h2" | "h3")) {
            let next: i32 = heading.tag_name().name()[1..].parse().unwrap();
            assert!(next <= level + 1, "a level is missing above `{}`", text(heading));
            level = next;
        }
        let mut ids = Vec::new();
        ids.extend(tree.descendants().filter_map(|node| node.attribute("id")));
        for svg in all(&tree, "svg") {
            assert_eq!(svg.attribute("role"), Some("img"));
            for id in svg.attribute("aria-labelledby").unwrap().split(' ') {
                let label = svg.descendants().find(|node| node.attribute("id") == Some(id)).unwrap();
                assert!(!text(label).is_empty(), "{id}");
            }
        }
        for table in all(&tree, "table") {
            assert!(table.children().any(|child| child.has_tag_name("caption")));
            let headings = table.descendants().filter(|node| node.has_tag_name("th"));
            assert!(headings.clone().count() > 1 && headings.into_iter().all(|th| th.has_attribute("scope")));
        }
        ids.sort_unstable();
        let unique = ids.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(unique && !html.contains("NaN") && !html.contains("inf "), "{ids:?}");
    }
}

#[test]
fn a_page_needs_no_network_and_runs_nothing() {
    let html = html(&document(STAGED));
    let tree = tree(&html);
    for name in ["link", "img", "iframe", "object", "embed", "a", "form", "base"] {
        assert_eq!(all(&tree, name).count(), 0, "{name}");
    }
    let scripts: Vec<_> = all(&tree, "script").map(|script| script.attribute("type")).collect();
    assert_eq!(scripts, [Some("application/json")]);
    for node in tree.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on") && !["src", "href", "style"].contains(&attribute.name()));
        }
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && html.contains("default-src 'none'"));
}

#[test]
fn the_sections_are_in_the_order_of_their_weight() {
    let mut document = document(STAGED);
    document.thresholds = vec![threshold(Outcome::Pass)];
    let html = html(&document);
    let headings: Vec<String> = all(&tree(&html), "h2").map(text).collect();
    let expected = [
        "Configuration and host",
        "Thresholds",
        "Latency",
        "Over time",
        "Stages",
        "Errors",
        "The generator",
        "The document in this page",
    ];
    assert_eq!(headings, expected);
    assert!(html.find("TRUSTED").unwrap() < html.find("Configuration and host").unwrap());
}

fn threshold(result: Outcome) -> Threshold {
    let value = (result != Outcome::NoData).then_some(2e6);
    Threshold { expr: "ping_rtt:p99<20ms".to_owned(), result, value, reason: "p99 was 2.00 ms".to_owned() }
}

#[test]
fn the_values_in_the_tables_are_those_of_the_document() {
    let document = document(UNANSWERED);
    let html = html(&document);
    let tree = tree(&html);
    let rows = rows(&tree, "Failed operations");
    assert_eq!(rows[0][..4], ["metric", "counted from", "measured", "failed"]);
    let pings = document.main_metric().unwrap();
    for (from, view) in [("planned time", pings.planned.as_ref()), ("send", pings.sent.as_ref())] {
        let view = view.unwrap();
        let row = rows.iter().find(|row| row[0] == "ping_rtt" && row[1] == from).unwrap();
        let mut expected = vec![view.latencies.count().to_string(), view.failed.to_string()];
        expected.extend(view.percentiles.0.iter().map(|(_, value)| value.shown()));
        assert_eq!(row[2..], expected, "{from}");
    }
    let bad: Vec<String> = tree.descendants().filter(|node| node.attribute("class") == Some("bad")).map(text).collect();
    assert!(bad.contains(&"24.2 %".to_owned()) && bad.contains(&"29".to_owned()), "{bad:?}");
    assert!(html.contains("24.2 % never answered"), "the curve does not show the failures");
}

#[test]
fn doubts_failures_and_missing_parts_are_before_everything_else() {
    let mut document = document(FAILED);
    let html_of = |document: &Document| html(document).split_once("Configuration and host").unwrap().0.to_owned();
    let top = html_of(&document);
    assert!(top.contains("NOT TRUSTED"), "{top}");
    for reason in document.generator.reasons.iter().chain(document.exit.reasons.iter().map(|one| &one.reason)) {
        assert!(top.contains(&escape::text(reason)), "{reason}: {top}");
    }
    document.run.partial = true;
    document.exit.reasons = vec![Reason { code: 130, partial: true, reason: "stopped by SIGINT".to_owned() }];
    document.thresholds = vec![threshold(Outcome::Pass), threshold(Outcome::NoData), threshold(Outcome::Fail)];
    let top = html_of(&document);
    let [partial, verdict] = ["PARTIAL RUN", "NOT TRUSTED"].map(|part| top.find(part).unwrap());
    assert!(
        partial < verdict && top.contains("stopped by SIGINT (exit code 130)") && top.contains("2 of 3 not met"),
        "{top}"
    );
    let html = html(&document);
    let results: Vec<String> = rows(&tree(&html), "Thresholds")[1..].iter().map(|row| row[1].clone()).collect();
    assert_eq!(results, ["met", "NOT MET: no data", "NOT MET"]);
}

/// Returns a run in which nothing was measured.
fn empty() -> Document {
    let mut document = document(FAILED);
    let percentiles = parse_percentiles("50,100").unwrap();
    for metric in &mut document.metrics {
        metric.work = metric.work.map(|_| model::Work::default());
        for view in [&mut metric.planned, &mut metric.sent, &mut metric.measured].into_iter().flatten() {
            *view = View::new(&percentiles, LatencyHistogram::new(), 0, None);
        }
    }
    (document.counts.work, document.counts.peers) = (model::Work::default(), model::Peers::default());
    document.run.answered_per_s = None;
    document.generator.verdict = model::Trust::Trusted;
    (document.timeline, document.targets, document.stages) = (Timeline::default(), Vec::new(), Vec::new());
    document.counts.errors.clear();
    document
}

#[test]
fn nothing_measured_is_no_data_and_never_zero() {
    let html = html(&empty());
    let tree = tree(&html);
    assert_eq!(all(&tree, "svg").count(), 0);
    assert_eq!(html.matches("<p>No data: ").count(), 6, "{html}");
    let tiles: Vec<String> = all(&tree, "dd").filter(|dd| dd.attribute("class") != Some("note")).map(text).collect();
    assert_eq!(tiles, ["no data"; 8]);
    assert!(html.contains("nothing was measured") && html.contains("No connection failed"));
    assert_eq!(model::parse(&html).unwrap().counts.work.planned, 0);
}

const HOSTILE: &str = "</script><script>alert(1)</script><!-- \"'&amp;\u{202e}\u{0}\u{1b}[2J\u{7f}\u{ffff}\n]]> é 日";

#[test]
fn hostile_texts_are_shown_as_text_and_survive_in_the_document() {
    let mut document = document(FAILED);
    let text_of = || HOSTILE.to_owned();
    document.agents = vec![Agent { agent: text_of(), protocol: 7, peers: 1 }];
    document.run.name = text_of();
    document.run.labels = [(text_of(), text_of())].into();
    document.run.command = vec![text_of()];
    document.host.name = Some(text_of());
    document.exit.reason = text_of();
    document.exit.reasons = vec![Reason { code: 1, partial: false, reason: text_of() }];
    document.generator.reasons = vec![text_of()];
    document.thresholds = vec![Threshold { expr: text_of(), reason: text_of(), ..threshold(Outcome::Fail) }];
    document.targets.iter_mut().for_each(|target| target.addr = text_of());
    for error in &mut document.counts.errors {
        (error.cause, error.explanation) = (text_of(), text_of());
    }
    let html = html(&document);
    let tree = tree(&html);
    assert_eq!((all(&tree, "script").count(), html.matches("<!--").count()), (1, 0));
    assert!(!html.contains(['\u{202e}', '\u{0}', '\u{1b}', '\u{7f}', '\u{ffff}']));
    let shown = r#"</script><script>alert(1)</script><!-- "'&amp;\u{202e}\u{0}\u{1b}[2J\u{7f}\u{ffff}\u{a}]]> é 日"#;
    assert!(rows(&tree, "Configuration").iter().any(|row| row[1].contains(shown)));
    assert_eq!(pretty(&model::parse(&html).unwrap()), pretty(&document));
}

#[test]
fn the_document_in_a_page_is_read_again_with_equal_totals() {
    for source in [MEASURED, FAILED, STAGED, UNANSWERED] {
        let document = document(source);
        assert_eq!(pretty(&model::parse(&html(&document)).unwrap()), pretty(&document));
    }
    let page = html(&document(MEASURED));
    let cut = page.split_once("application/json").unwrap().0;
    assert!(model::parse(cut).unwrap_err().contains("the page has no run document"), "{cut}");
}

/// Returns a histogram that is nearly as large as any when it is encoded, or with a larger `step` smaller.
fn wide(seed: u64, step: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new_from(LatencyHistogram::new().as_hdr());
    let (mut value, mut random) = (1_000, seed);
    while value < 10_000_000_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        histogram.record_n(value, (random >> 40) % 5_000 + 1).unwrap();
        value += value / step + 1;
    }
    histogram
}

/// Returns the document of a run with everything that can make it large.
fn large() -> Document {
    let mut document = document(FAILED);
    let view = |seed: u64| {
        let histogram = if seed < 3 { wide(seed, 350) } else { wide(seed, 50) };
        let (count, hdr) = (histogram.len(), Packed::new(&histogram).to_base64());
        let json = serde_json::json!({ "count": count, "percentiles": { "50": 0, "99": 0 }, "hdr": hdr });
        serde_json::from_value::<View>(json).unwrap()
    };
    let views: Vec<View> = (0..5).map(view).collect();
    let packed: Vec<Packed> = views.iter().map(|view| Packed::new(view.latencies.as_hdr())).collect();
    let count = views[0].latencies.count();
    for metric in &mut document.metrics {
        // There are few connections, and many operations and turns of the loop.
        let is_wide = ["ping_rtt", "send_lag", "loop_lag"].contains(&metric.name.as_str());
        let views = if is_wide { &views[..3] } else { &views[3..] };
        for (view, new) in [&mut metric.planned, &mut metric.sent, &mut metric.measured].into_iter().zip(views) {
            view.iter_mut().for_each(|view| *view = new.clone());
        }
    }
    let row = |index: u64| Row { end: Duration::from_secs(index + 1), answered: count, ..Row::default() };
    let names = [("ping_rtt", "planned"), ("ping_rtt", "sent"), ("send_lag", "measured"), ("loop_lag", "measured")];
    let series = |(metric, view): (&str, &str)| Series {
        metric: metric.to_owned(),
        view: view.to_owned(),
        intervals: (0..70).map(|index| Some(packed[index % 5].clone())).collect(),
    };
    document.timeline = Timeline {
        interval: Duration::from_secs(1),
        rows: (0..70).map(row).collect(),
        histograms: names.map(series).into(),
        joined: Vec::new(),
    };
    let mut metric = document.main_metric().unwrap().clone();
    (metric.planned, metric.sent) = (Some(views[3].clone()), Some(views[4].clone()));
    metric.work = Some(model::Work { planned: u64::MAX >> 11, sent: u64::MAX >> 11, ..model::Work::default() });
    document.stages = (0..100)
        .map(|_| Stage {
            from_per_s: Some(1e9 / 3.0),
            to_per_s: Some(2e9 / 3.0),
            begin_ns: Nanos(Duration::ZERO),
            end_ns: Nanos(Duration::from_secs(600)),
            metrics: vec![metric.clone()],
        })
        .collect();
    let mut target = document.targets[0].clone();
    target.view = Some(views[3].clone());
    document.targets = vec![target; 64];
    document.agents = vec![Agent { agent: "\u{1}".repeat(256), protocol: i32::MAX, peers: u64::MAX >> 11 }; 64];
    let mut error = document.counts.errors[0].clone();
    error.explanation = "explained ".repeat(40);
    document.counts.errors = vec![error; 64];
    let change = RateChange { phase: model::Phase::Run, at_ns: Nanos(Duration::ZERO), from_per_s: 0.1, to_per_s: 0.3 };
    document.run.rate_changes = vec![change; 1_000];
    document.run.labels = (0..100).map(|number| (format!("label {number}"), HOSTILE.to_owned())).collect();
    document.thresholds = vec![threshold(Outcome::Fail); 200];
    document
}

#[test]
fn the_page_of_the_largest_run_is_below_500_kb_and_still_has_its_totals() {
    let large = large();
    let page = html(&large);
    let len = page.len();
    assert!(len < 500_000, "{len}");
    tree(&page);
    // The counts of this run are not consistent, so only the shape of its document can be read.
    let [begin, end] = model::DATA_BLOCK;
    let block = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let json = block.unwrap_or_else(|| panic!("no document fits, although the rest has only {len} bytes")).0;
    let read: Document = serde_json::from_str(json).unwrap();
    assert_eq!(read.metrics[2].planned, large.metrics[2].planned);
    assert!(!read.omitted.is_empty() && page.contains(&read.omitted[0]), "{:?}", read.omitted);
    assert!((1..=MAX_INTERVALS).contains(&read.timeline.rows.len()), "{}", read.timeline.rows.len());
    let answered = |document: &Document| document.timeline.rows.iter().map(|row| row.answered).sum::<u64>();
    assert_eq!(answered(&read), answered(&large));
}

#[test]
fn a_run_that_no_page_can_hold_has_a_page_without_its_document() {
    let mut large = document(MEASURED);
    large.config.source_ips = vec!["255.255.255.255".to_owned(); 30_000];
    let page = html(&large);
    assert!(page.len() < 500_000 && page.contains("no document for programs"), "{}", page.len());
    assert!(model::parse(&page).unwrap_err().contains("the run was too large"));
}
