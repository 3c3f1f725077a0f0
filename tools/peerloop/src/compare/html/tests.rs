//! Tests of the page of a comparison: its structure, its values, hostile texts, and its size.

use super::super::judge::{Judgement, judge};
use super::super::tests::{interleaved, judged};
use super::*;
use crate::forms::html::tests::{all, text, tree};
use roxmltree::Node;

fn html(judgement: &Judgement) -> String {
    page(&judgement.document, &judgement.runs).unwrap()
}

/// Returns the number of elements of the picture with this begin of its title that have exactly this class.
fn drawn(tree: &roxmltree::Document<'_>, title: &str, class: &str) -> usize {
    let picture = all(tree, "svg").find(|svg| text(*svg).starts_with(title)).expect("the page has the picture");
    picture.descendants().filter(|node| node.attribute("class") == Some(class)).count()
}

#[test]
fn the_verdict_is_first_and_the_sections_follow_in_the_order_of_their_weight() {
    let judgement = judged(interleaved(8, 1_000, 1_300));
    let html = html(&judgement);
    let tree = tree(&html);
    let headings: Vec<String> = all(&tree, "h2").map(text).collect();
    let expected = ["Metrics", "Latency", "Runs", "Configurations and hosts", "The document in this page"];
    assert_eq!(headings, expected);
    let card = all(&tree, "div").find(|node| node.attribute("class") == Some("card fault")).map(text).unwrap();
    assert_eq!(card, format!("WORSE The new version is worse than the base.{}", judgement.document.reason));
    assert!(html.find("WORSE").unwrap() < html.find("<h2").unwrap());
}

#[test]
fn the_table_of_metrics_has_their_values_intervals_margins_and_reasons() {
    let judgement = judged(interleaved(8, 1_000, 1_300));
    let html = html(&judgement);
    let tree = tree(&html);
    let table = all(&tree, "table").next().unwrap();
    let rows = table.descendants().filter(|node| node.has_tag_name("tr"));
    let rows: Vec<Vec<String>> = rows.map(|row| row.children().filter(Node::is_element).map(text).collect()).collect();
    assert_eq!(rows[0], ["metric", "base", "new", "change", "interval", "margin", "verdict", "reason"]);
    for (row, metric) in rows[1..].iter().zip(&judgement.document.metrics) {
        assert_eq!((&row[0], &row[6], &row[7]), (&metric.name, &metric.verdict.word().to_owned(), &metric.reason));
    }
    assert_eq!((rows[2][3].as_str(), rows[2][5].as_str()), ("+30.0 %", "5 %"));
    assert!(rows[2][4].starts_with("[+30.0, +30."), "{:?}", rows[2]);
    assert_eq!((rows[3][5].as_str(), rows.len()), ("0.1 points", 5));
    let bad = table.descendants().filter(|node| node.attribute("class") == Some("bad")).map(text);
    assert_eq!(bad.collect::<Vec<_>>(), ["worse", "worse"]);
}

#[test]
fn each_run_has_a_thin_curve_and_a_mark_in_each_metric_and_each_side_a_thick_curve() {
    let html = html(&judged(interleaved(8, 1_000, 1_300)));
    let tree = tree(&html);
    let curves = "Latency by percentile";
    assert_eq!((drawn(&tree, curves, "line thin one"), drawn(&tree, curves, "line thin two")), (8, 8));
    // Each thick line has a sample in the legend.
    assert_eq!((drawn(&tree, curves, "line thick one"), drawn(&tree, curves, "line thick two")), (2, 2));
    for metric in ["ping_rtt p50", "ping_rtt p99", "failed", "rate"] {
        let title = format!("{metric} of each run");
        assert_eq!((drawn(&tree, &title, "mark one"), drawn(&tree, &title, "mark two new")), (9, 9), "{metric}");
        assert_eq!((drawn(&tree, &title, "mark change"), drawn(&tree, &title, "line pair")), (1, 1), "{metric}");
    }
    assert!(html.contains("<title>base 1: ") && html.contains("<title>new 8: "));
}

#[test]
fn runs_apart_are_no_pairs_and_one_run_a_side_has_no_interval() {
    let [base, mut new] = interleaved(4, 1_000, 1_300);
    new.pop();
    let page = html(&judged([base, new]));
    let title = "ping_rtt p99 of each run";
    assert_eq!(drawn(&tree(&page), title, "line pair"), 0);
    assert_eq!((drawn(&tree(&page), title, "mark one"), drawn(&tree(&page), title, "mark two new")), (5, 4));
    let page = html(&judged(interleaved(1, 1_000, 1_300)));
    assert!(page.contains("and its interval, none."), "{page}");
    assert_eq!(drawn(&tree(&page), title, "line whisker plan"), 0);
}

#[test]
fn failed_runs_are_named_and_never_shown_as_fast() {
    let mut sides = interleaved(8, 1_000, 1_000);
    let fail = |run: &mut Named, failed| {
        let main = run.document.metrics.iter_mut().find(|metric| metric.work.is_some()).unwrap();
        main.planned.as_mut().unwrap().set_failed(failed);
    };
    sides[1].iter_mut().for_each(|run| fail(run, 5));
    let page = html(&judged(sides));
    assert_eq!(drawn(&tree(&page), "ping_rtt p99 of each run", "mark failed"), 8);
    assert!(page.contains("Runs that failed are at the upper edge: 8."), "{page}");
    assert!(page.contains("4.8 % never answered") && page.contains("p99 failed"), "{page}");
    let mut sides = interleaved(8, 1_000, 1_000);
    sides[0].iter_mut().for_each(|run| fail(run, 5));
    let page = html(&judged(sides));
    assert!(page.contains("No data: the base has no mean to compare with"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf "));
}

#[test]
fn the_embedded_document_is_that_of_the_json_form() {
    let judgement = judged(interleaved(3, 1_000, 1_300));
    let html = html(&judgement);
    let [begin, end] = DATA_BLOCK;
    let block = html.split_once(begin).unwrap().1.split_once(end.trim_end()).unwrap().0;
    let embedded: serde_json::Value = serde_json::from_str(block).unwrap();
    assert_eq!(embedded, serde_json::to_value(&judgement.document).unwrap());
    let scripts: Vec<_> = all(&tree(&html), "script")
        .map(|script| script.attribute("type"))
        .map(Option::unwrap)
        .map(str::to_owned)
        .collect();
    assert_eq!(scripts, ["application/json"]);
}

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=\"alert(1)\">&'\u{202e}";

#[test]
fn hostile_texts_never_become_markup_and_the_page_needs_no_network() {
    let [mut base, new] = interleaved(8, 1_000, 1_300);
    for run in &mut base {
        let document = &mut run.document;
        document.run.labels.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
        document.run.name = HOSTILE.to_owned();
        document.targets[0].addr = HOSTILE.to_owned();
        document.host.name = Some(HOSTILE.to_owned());
        document.agents.iter_mut().for_each(|agent| agent.agent = HOSTILE.to_owned());
        run.name = format!("{HOSTILE}{}", run.name);
    }
    base[0].document.run.partial = true;
    let html = html(&judge(base, new, 0.05).unwrap());
    let tree = tree(&html);
    for name in ["img", "link", "iframe", "a", "form", "object"] {
        assert_eq!(all(&tree, name).count(), 0, "{name}");
    }
    assert_eq!(all(&tree, "script").count(), 1);
    for node in tree.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on") && !["src", "href", "style"].contains(&attribute.name()));
        }
    }
    assert!(!html.contains('\u{202e}') && html.contains("default-src 'none'"));
}

#[test]
fn a_page_of_100_runs_is_small_and_complete() {
    let whole = html(&judged(interleaved(50, 1_000, 1_300)));
    assert!(whole.len() <= MAX_BYTES && whole.contains("in the element <code>comparison</code>"), "{}", whole.len());
    assert_eq!(drawn(&tree(&whole), "Latency by percentile", "line thin one"), 50);
    assert!(!whole.contains("not shown here"));
}

#[test]
fn a_page_of_long_texts_is_small_and_states_its_omissions() {
    let mut sides = interleaved(10, 1_000, 1_300);
    let long = "<\u{202e}>".repeat(10_000);
    for (index, run) in sides.iter_mut().flatten().enumerate() {
        run.name = format!("{long}{index}");
        run.document.run.partial = true;
        run.document.run.labels.insert(long.clone(), long.clone());
        run.document.targets[0].addr = format!("{index}{long}");
    }
    let page = html(&judged(sides));
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    assert!(page.contains("10 more runs are not shown here") && page.contains("16 more warnings"), "{}", page.len());
    assert!(page.contains("no document for programs, because it would be too large"));
    assert_eq!(all(&tree(&page), "script").count(), 0);
}
