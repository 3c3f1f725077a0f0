//! The result of `probe --relay` as text for people or as JSON.

use super::sights::{Kind, Side, Ways};
use super::{Node, Observer};
use crate::exit::Exit;
use crate::model::{Latencies, Packed};
use crate::output::json::{self, Nanos, SCHEMA, Tool, pretty};
use crate::units::{show_latency, show_seconds};
use peerloop::Network;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The shown percentiles. A missed hash counts as the longest time.
const PERCENTILES: [(&str, f64); 4] = [("50", 50.0), ("90", 90.0), ("99", 99.0), ("100", 100.0)];

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: u32,
    tool: Tool,
    network: &'static str,
    nodes: [Seen<'a>; 2],
    measured_ns: Nanos,
    /// The longest time for which an announcement can have waited before it was timed.
    max_wait_ns: Nanos,
    ways: Vec<Way>,
    exit: json::Exit,
}

#[derive(Debug, Serialize)]
struct Seen<'a> {
    name: &'static str,
    target: &'a str,
    addr: String,
    agent: Option<String>,
    height: Option<i32>,
}

/// The first sights of one kind at the node `first`, and those at the node `then` that followed.
#[derive(Debug, Serialize)]
struct Way {
    kind: &'static str,
    first: &'static str,
    then: &'static str,
    count: u64,
    missed: u64,
    min_ns: Option<Nanos>,
    mean_ns: Option<Nanos>,
    max_ns: Option<Nanos>,
    /// Of all first sights, in nanoseconds; `null` if the percentile is among the missed ones.
    percentiles: BTreeMap<&'static str, Option<Nanos>>,
    hdr: Packed,
}

/// Formats the result for people.
pub(super) fn text(observer: &Observer, network: Network) -> String {
    let mut text = format!("probe --relay on {network}\n\n");
    for side in Side::BOTH {
        text += &format!("{:<12}{}\n", side.name(), described(&observer.nodes[side.index()]));
    }
    text += &format!("{:<12}{}\n\n", "measured", show_seconds(observer.measured));
    let headings: String = PERCENTILES.iter().map(|(label, _)| format!("{:>10}", heading(label))).collect();
    text += &format!("{:<20}{:>8}{:>8}{:>10}{headings}\n", "First sights", "count", "missed", "min");
    for (kind, from, ways) in all(observer) {
        let name = format!("{:<5} {} then {}", kind.name(), from.name(), from.other().name());
        let latencies = Latencies::from(ways.latencies.clone());
        let total = latencies.count() + ways.missed;
        text += &format!("{name:<20}{:>8}{:>8}", latencies.count(), ways.missed);
        if total == 0 {
            text += "   no data\n";
            continue;
        }
        text += &format!("{:>10}", latencies.min().map_or_else(|| "-".to_owned(), show_latency));
        for (_, percent) in PERCENTILES {
            let value = percentile(&latencies, ways.missed, percent);
            text += &format!("{:>10}", value.map_or_else(|| "missed".to_owned(), show_latency));
        }
        text.push('\n');
    }
    if observer.max_wait > Duration::ZERO {
        text += &format!("\neach sight was timed at most {} late\n", show_latency(observer.max_wait));
    }
    text
}

/// Formats the result for programs.
pub(super) fn json(observer: &Observer, network: Network, exit: Exit) -> String {
    let way = |(kind, from, ways): (Kind, Side, &Ways)| {
        let latencies = Latencies::from(ways.latencies.clone());
        let percentiles = PERCENTILES
            .into_iter()
            .map(|(label, percent)| (label, percentile(&latencies, ways.missed, percent).map(Nanos)))
            .collect();
        Way {
            kind: kind.name(),
            first: from.name(),
            then: from.other().name(),
            count: latencies.count(),
            missed: ways.missed,
            min_ns: latencies.min().map(Nanos),
            mean_ns: latencies.mean().map(Nanos),
            max_ns: latencies.max().map(Nanos),
            percentiles,
            hdr: Packed::new(latencies.as_hdr()),
        }
    };
    pretty(&Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        network: network.name(),
        nodes: Side::BOTH.map(|side| seen(side, &observer.nodes[side.index()])),
        measured_ns: Nanos(observer.measured),
        max_wait_ns: Nanos(observer.max_wait),
        ways: all(observer).map(way).collect(),
        exit: json::Exit {
            code: exit.code(),
            reason: observer.failed.clone().unwrap_or_else(|| "finished".to_owned()),
        },
    })
}

/// Lists the ways of each kind from each node.
fn all(observer: &Observer) -> impl Iterator<Item = (Kind, Side, &Ways)> {
    let of_kind = |kind| Side::BOTH.map(|from| (kind, from, observer.sights.ways(kind, from)));
    Kind::ALL.into_iter().flat_map(of_kind)
}

fn seen(side: Side, node: &Node) -> Seen<'_> {
    let version = node.version.as_ref();
    Seen {
        name: side.name(),
        target: &node.target.name,
        addr: node.address().to_string(),
        agent: version.map(|version| version.printable_user_agent()),
        height: version.and_then(|version| version.start_height),
    }
}

fn described(node: &Node) -> String {
    let address = node.address().to_string();
    let name = if node.target.name == address { address } else { format!("{} ({address})", node.target.name) };
    let Some(version) = &node.version else { return format!("{name}   not ready") };
    let height = version.start_height.map_or_else(String::new, |height| format!("   height {height}"));
    format!("{name}   {}{height}", version.printable_user_agent())
}

fn heading(label: &str) -> String {
    if label == "100" { "max".to_owned() } else { format!("p{label}") }
}

/// Returns a percentile of all first sights; `None` if it is among the missed ones, or if there are none.
fn percentile(latencies: &Latencies, missed: u64, percent: f64) -> Option<Duration> {
    let total = latencies.count() + missed;
    let rank = (percent / 100.0 * total as f64).ceil() as u64;
    latencies.at_rank(rank.max(1)).filter(|_| total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::histogram::LatencyHistogram;

    #[test]
    fn a_missed_hash_counts_as_the_longest_latency() {
        let mut histogram = LatencyHistogram::default();
        (1..=9).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let latencies = Latencies::from(histogram);
        let micros = |missed, percent| percentile(&latencies, missed, percent).map(|value| value.as_micros());
        assert_eq!((micros(0, 50.0), micros(0, 100.0)), (Some(5), Some(9)));
        assert_eq!((micros(1, 50.0), micros(1, 90.0), micros(1, 99.0)), (Some(5), Some(9), None));
        assert_eq!(percentile(&Latencies::new(), 0, 50.0), None);
        assert_eq!(percentile(&Latencies::new(), 3, 50.0), None);
    }
}
