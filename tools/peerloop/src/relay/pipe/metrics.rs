//! A pipe's metrics as OpenMetrics text, which follows the loop's own.
//!
//! Every label is from a closed list, so that no node can add a line: a side, a known command or `other`, a kind of
//! hop, and a view.

use crate::run::exposition::{Metrics, commands, section};
use peerloop::Network;
use peerloop::relay::pipe::{PipeReport, SideReport, SideState};
use peerloop::stats::MessageCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt;

/// The counters of messages: the name, the help, and the function that returns the counts.
type Row = (&'static str, &'static str, fn(&SideReport) -> &MessageCounts);

const MESSAGES: [Row; 3] = [
    ("pipe_forwarded", "passed on to the other node's queue", |side| &side.forwarded),
    ("pipe_lost", "known not to have been written, because the other node was lost", |side| &side.lost),
    ("pipe_withheld", "that concern one connection alone", |side| &side.withheld),
];

/// A pipe's state at one moment.
#[derive(Debug)]
struct Snapshot(Box<PipeReport>);

/// Returns the metrics of a pipe without an end mark; `None` if they cannot be encoded.
pub(super) fn exposition(report: Box<PipeReport>, network: Network) -> Option<String> {
    section(Snapshot(report), network)
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut metrics, Self(report)) = (Metrics(encoder), self);
        let sides = report.sides.each_ref().map(|side| (side.side.to_string(), side));
        for (name, what, counts) in MESSAGES {
            let all = sides.each_ref().map(|(from, side)| (from, commands(counts(side))));
            let rows = all.iter().flat_map(|(from, commands)| {
                commands.iter().map(|(command, count)| ([("from", from.as_str()), ("command", command)], *count))
            });
            metrics.counts(&format!("{name}_messages"), &format!("Messages {what}"), None, rows)?;
            let bytes = |side: &SideReport| counts(side).total().payload_bytes;
            let rows = sides.iter().map(|(from, side)| ([("from", from.as_str())], bytes(side)));
            metrics.counts(name, &format!("Payload bytes of messages {what}"), Some(&Unit::Bytes), rows)?;
        }
        let ready =
            sides.iter().map(|(name, side)| ([("side", name.as_str())], (side.state == SideState::Ready).into()));
        metrics.gauges("pipe_ready", "Whether the node is ready", ready)?;
        let connects = sides.iter().map(|(name, side)| ([("side", name.as_str())], side.connects));
        metrics.counts("pipe_connects", "Connections that became ready, without probes", None, connects)?;
        let counts = report.counts;
        for (name, help, value) in [
            ("pipe_replays", "Stateful messages sent again to a node that became ready", counts.replays),
            ("pipe_notfounds", "Items answered with notfound because the other node was lost", counts.notfounds),
            ("pipe_closed_after_loss", "Nodes closed because the other node was lost", counts.closed_after_loss),
            ("pipe_closed_alone", "Nodes closed because the other node was not ready in time", counts.closed_alone),
        ] {
            metrics.count(name, help, value)?;
        }
        let hops = report.hops.iter();
        let measured = hops.clone().map(|hop| ([("command", hop.kind.label())], hop.read.count));
        metrics.counts("pipe_hops", "Messages whose hop was measured", None, measured)?;
        let missing = hops.clone().map(|hop| ([("command", hop.kind.label())], hop.unmeasured));
        metrics.counts("pipe_hops_unmeasured", "Messages whose hop was not measured", None, missing)?;
        let views = hops.flat_map(|hop| [("read", hop.read), ("arrival", hop.arrived)].map(|view| (hop.kind, view)));
        let rows = views.map(|(kind, (view, summary))| ([("command", kind.label()), ("view", view)], summary));
        let help = "Time from a message's last byte in to its last byte out";
        metrics.labelled_quantiles("pipe_hop", help, &rows.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::relay::pipe::Pipe;
    use peerloop::time::Instant;
    use std::collections::BTreeSet;

    #[test]
    fn every_sample_belongs_to_a_described_metric_of_a_pipe_and_none_is_repeated() {
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| vec![address.parse().unwrap()]);
        let mut report = Pipe::new(addresses).report(Instant::ZERO);
        report.sides[1].state = SideState::Ready;
        report.counts.notfounds = 3;
        let text = exposition(Box::new(report), Network::Regtest).expect("the metrics can be encoded");
        assert!(text.contains("\npeerloop_pipe_ready{network=\"regtest\",side=\"B\"} 1\n"), "{text}");
        assert!(text.contains("\npeerloop_pipe_notfounds_total{network=\"regtest\"} 3\n"), "{text}");
        for unit in ["peerloop_pipe_hop_seconds seconds", "peerloop_pipe_lost_bytes bytes"] {
            assert!(text.contains(&format!("\n# UNIT {unit}\n")), "{unit}: {text}");
        }
        let (mut described, mut samples) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            assert!(line.contains("peerloop_pipe_"), "the metric may be one of the relay's: {line}");
            let words: Vec<&str> = line.split(' ').collect();
            if let ["#", "TYPE", name, _] = words[..] {
                assert!(described.insert(name), "{name} is described twice");
            } else if !line.starts_with('#') {
                let (name, _) = line.split_once('{').expect("a sample has labels");
                let metric = name.strip_suffix("_total").unwrap_or(name);
                assert!(described.contains(metric), "{line}");
                assert!(samples.insert(line.rsplit_once(' ').expect("a sample has a value").0), "{line}");
            }
        }
    }
}
