//! The metrics of a running load, and the dashboard and the alert rules that read them.

use crate::run::scrape;
use crate::{Running, peerloop};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Starts a load that lasts until a signal, and returns it and the address of its metrics.
fn load(arguments: &[&str]) -> (Running, String) {
    let fixed = ["bench", "-c", "3", "--rate-per-peer", "100", "-d", "1h", "--metrics-addr", "127.0.0.1:0"];
    let mut bench = Running::start(&[&fixed, arguments].concat());
    let address = address_of_metrics(|| bench.greeting());
    (bench, address)
}

/// Reads lines of a greeting up to the address of the metrics.
pub(crate) fn address_of_metrics(mut next_line: impl FnMut() -> String) -> String {
    loop {
        let line = next_line();
        assert!(!line.is_empty(), "the program ended without an address of its metrics");
        if let Some(rest) = line.strip_prefix("metrics at http://") {
            return rest.split_once('/').expect("the URL has a path").0.to_owned();
        }
    }
}

/// Scrapes until `is_due`.
pub(crate) fn scrape_until(address: &str, is_due: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    loop {
        let samples = scrape(address);
        if is_due(&samples) {
            return samples;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn bench(name: &str, labels: &str) -> String {
    format!("peerloop_bench_{name}{{network=\"regtest\",{labels}}}")
}

#[test]
fn a_running_load_can_be_scraped() {
    let (load, address) = load(&["--warmup", "0s"]);
    let measured = bench("latency_seconds_count", "metric=\"ping_rtt\",view=\"planned\"");
    let samples = scrape_until(&address, |samples| samples.get(&measured).is_some_and(|count| *count >= 250.0));
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} is not exposed"));
    for (phase, expected) in [("ramp", 0.0), ("warmup", 0.0), ("run", 1.0), ("drain", 0.0), ("done", 0.0)] {
        assert_eq!(value(&bench("phase", &format!("phase=\"{phase}\""))), expected, "{phase}");
    }
    for (outcome, expected) in [("asked", 3.0), ("opened", 3.0), ("ready", 3.0), ("lost", 0.0), ("failed", 0.0)] {
        assert_eq!(value(&bench("peers", &format!("outcome=\"{outcome}\""))), expected, "{outcome}");
    }
    assert_eq!(value("peerloop_bench_planned_rate{network=\"regtest\"}"), 300.0);
    let [planned, sent, answered] =
        ["planned", "sent", "answered"].map(|state| value(&bench("operations_total", &format!("state=\"{state}\""))));
    assert!(planned >= sent && sent >= answered && answered >= value(&measured), "{planned} {sent} {answered}");
    let all = value(&bench("latency_seconds_bucket", "le=\"+Inf\",metric=\"ping_rtt\",view=\"planned\""));
    assert_eq!(all, value(&measured), "the buckets do not add up to the count");
    assert!(value(&bench("latency_seconds_count", "metric=\"send_lag\",view=\"measured\"")) >= 250.0);
    // The loop's own metrics have the names of `run`.
    assert_eq!(value("peerloop_peers{network=\"regtest\"}"), 3.0);
    assert!(value("peerloop_ping_rtt_seconds_count{network=\"regtest\"}") >= 250.0);
    load.signal("INT");
    assert_eq!(load.finish().code, Some(130));
}

#[test]
fn before_the_run_no_latency_is_exposed() {
    let (load, address) = load(&["--warmup", "1h"]);
    let samples = scrape_until(&address, |samples| samples.get(&bench("phase", "phase=\"warmup\"")) == Some(&1.0));
    assert!(!samples.keys().any(|name| name.starts_with("peerloop_bench_latency")), "{samples:?}");
    assert_eq!(samples[&bench("operations_total", "state=\"planned\"")], 0.0);
    load.signal("INT");
    assert_eq!(load.finish().code, Some(130));
}

#[test]
fn a_port_in_use_for_the_metrics_of_a_load_is_reported_before_anything_is_connected() {
    let (load, address) = load(&[]);
    let refused = peerloop(&["bench", "-c", "1", "-d", "1s", "--metrics-addr", &address]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.complaint().contains(&format!("serving metrics on {address}: ")), "{}", refused.complaint());
    load.signal("INT");
    assert_eq!(load.finish().code, Some(130));
}

/// The names of all exposed samples, and all values of their labels.
#[derive(Default)]
struct Exposed {
    names: BTreeSet<String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Exposed {
    fn add(&mut self, samples: &BTreeMap<String, f64>) {
        for sample in samples.keys() {
            let (name, labels) = sample.split_once('{').expect("every sample has labels");
            self.names.insert(name.to_owned());
            for label in labels.trim_end_matches('}').split(',') {
                let (label, value) = label.split_once('=').expect("a label has a value");
                self.labels.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
            }
        }
    }

    /// Asserts that each metric, label and label value of an expression exists.
    fn check(&self, expression: &str) {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words: Vec<&str> = expression.split(|letter| !is_word(letter)).collect();
        let names: Vec<&&str> = words.iter().filter(|word| word.starts_with("peerloop_")).collect();
        assert!(!names.is_empty(), "no metric of ours: {expression}");
        for name in names {
            assert!(self.names.contains(*name), "{name} is not exposed: {expression}");
        }
        for selector in expression.split('{').skip(1) {
            let selector = selector.split_once('}').expect("a selector ends").0;
            for matcher in selector.split("\",").map(|matcher| matcher.trim_end_matches('"')) {
                let (label, values) = matcher.split_once('"').expect("a matcher has a value");
                let label = label.trim_end_matches(['=', '~', '!']);
                self.check_label(label, expression);
                for value in values.split('|').filter(|value| !value.starts_with('$')) {
                    assert!(self.labels[label].contains(value), "{label} is never `{value}`: {expression}");
                }
            }
        }
        for (index, _) in expression.match_indices("by (").chain(expression.match_indices("on (")) {
            let list = expression[index + 4..].split_once(')').expect("a list ends").0;
            list.split(',').for_each(|label| self.check_label(label.trim(), expression));
        }
    }

    /// Asserts that a label exists. The collector itself adds the instance.
    fn check_label(&self, label: &str, expression: &str) {
        assert!(label == "instance" || self.labels.contains_key(label), "no label {label}: {expression}");
    }
}

/// Returns the samples of a load, a node and a relay.
fn exposed() -> Exposed {
    let mut exposed = Exposed::default();
    let (load, address) = load(&["--warmup", "0s"]);
    let measured = bench("latency_seconds_count", "metric=\"ping_rtt\",view=\"planned\"");
    exposed.add(&scrape_until(&address, |samples| samples.contains_key(&measured)));
    let (server, target) = Running::serve(&["-q"]);
    for (command, peers) in [("run", "--fixed-peers"), ("relay", "--upstream")] {
        let arguments = ["--network", "regtest", "--metrics-addr", "127.0.0.1:0", "--ping-interval", "10ms"];
        let mut node = Running::start(&[&[command, peers, &target], &arguments[..]].concat());
        let address = address_of_metrics(|| node.greeting());
        // The lag of keepalive pings has values only after the first ping.
        exposed.add(&scrape_until(&address, |samples| {
            samples.keys().any(|name| name.starts_with("peerloop_keepalive_lag_seconds"))
        }));
    }
    drop((load, server));
    exposed
}

/// Lists the values of a key anywhere in a document.
fn values_of<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| values_of(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| values_of(item, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_dashboard_and_the_alert_rules_use_metrics_and_labels_that_exist() {
    let exposed = exposed();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the file can be read");
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("the dashboard is JSON");
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 40, "only {} expressions", expressions.len());
    expressions.iter().for_each(|expression| exposed.check(expression));
    let panels = dashboard["panels"].as_array().expect("the dashboard has panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("a panel has a number")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have the same number");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
    }
    let rules = read("alerts.yml");
    let expressions: Vec<String> = rules.split("expr: ").skip(1).map(expression).collect();
    assert_eq!(expressions.len(), rules.matches("- alert: ").count());
    expressions.iter().for_each(|expression| exposed.check(expression));
}

/// Returns the expression at the begin of a part of the rules: on one line, or in a folded block after `>-`.
fn expression(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    match lines.next() {
        Some(">-") => lines.take_while(|line| !line.starts_with("for:") && !line.starts_with("labels:")).collect(),
        Some(line) => line.to_owned(),
        None => String::new(),
    }
}
