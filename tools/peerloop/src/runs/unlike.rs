//! The first difference that forbids to add up two runs.

use super::Named;
use crate::model::{Document, Settings};
use serde_json::Value;

/// Fields of the configuration that belong to one process or one host. Runs that differ in them measure the same.
const OWN: [&str; 2] = ["min_peers", "source_ips"];

/// Fields of the configuration that are compared before the others, because the others follow from them.
const FIRST: [&str; 3] = ["workload", "stages", "connections"];

/// A field in which two runs differ.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    /// The path of the field in the run document.
    pub(crate) field: String,
    pub(crate) values: [String; 2],
}

impl Difference {
    /// Describes the difference between two runs with these names.
    pub(crate) fn describe(&self, [one, other]: [&str; 2]) -> String {
        let Self { field, values: [of_one, of_other] } = self;
        format!("`{field}` differs: it is {of_one} in {one} and {of_other} in {other}")
    }
}

/// Finds the first field that forbids to add up two runs: of the configuration, the stages, the intervals or the
/// bounds of the histograms.
pub(super) fn difference(one: &Named, other: &Named) -> Option<Difference> {
    let (one, other) = (&one.document, &other.document);
    of_settings(&one.config, &other.config)
        .or_else(|| {
            differing("timeline.interval_ns", [one, other].map(|document| document.timeline.interval.as_nanos()))
        })
        .or_else(|| differing("stages", [one, other].map(|document| format!("{} of them", document.stages.len()))))
        .or_else(|| differing("cut", [one, other].map(cut)))
        .or_else(|| of_metrics(one, other))
}

/// Finds the first difference of two configurations.
pub(crate) fn of_settings(one: &Settings, other: &Settings) -> Option<Difference> {
    let [one, other] = [one, other].map(|settings| serde_json::to_value(settings).unwrap_or_default());
    let others = one.as_object().into_iter().flat_map(|fields| fields.keys()).map(String::as_str);
    let mut fields = FIRST.into_iter().chain(others.filter(|name| !FIRST.contains(name) && !OWN.contains(name)));
    fields.find_map(|name| {
        let values = [&one, &other].map(|settings| settings.get(name).unwrap_or(&Value::Null).to_string());
        differing(&format!("config.{name}"), values)
    })
}

fn cut(document: &Document) -> String {
    let times = document.cut.map(|cut| format!("{:?} to {:?}", cut.from_ns.0, cut.to_ns.0));
    times.unwrap_or_else(|| "the whole run".to_owned())
}

fn of_metrics(one: &Document, other: &Document) -> Option<Difference> {
    one.metrics.iter().find_map(|metric| {
        let twin = other.metric(&metric.name)?;
        let name = format!("metrics.{}", metric.name);
        differing(&format!("{name}.unit"), [&metric.unit, &twin.unit]).or_else(|| {
            metric.views().find_map(|(view, of_one)| {
                let of_other = other.view(&metric.name, view)?;
                let bounds = [of_one, of_other].map(|view| view.latencies.bounds());
                differing(&format!("{name}.{view}.hdr"), bounds)
            })
        })
    })
}

fn differing<T: ToString + PartialEq>(field: &str, [one, other]: [T; 2]) -> Option<Difference> {
    (one != other).then(|| Difference { field: field.to_owned(), values: [one.to_string(), other.to_string()] })
}
