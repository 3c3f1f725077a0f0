//! The totals of a run for Prometheus, in its text format, version 0.0.4.
//!
//! Names, labels and buckets are those of `bench --metrics-addr`, so a file of a finished run can be shown beside
//! running loads. Failed operations are in no bucket: compare `answered` with `planned`.

use crate::model::{Document, Peers, Work};
use crate::run::exposition::{Metrics, exposition, plain};
use crate::run::load::LatencyRow;
use hdrhistogram::Histogram;
use peerloop::Network;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::io::{self, Write};

/// Writes the totals.
pub(crate) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let network = document.config.network.parse::<Network>();
    let network =
        network.map_err(|_| io::Error::other(format!("the network `{}` is unknown", document.config.network)))?;
    let views = document.metrics.iter().flat_map(|metric| {
        let views = metric.views();
        views.map(|(view, latencies)| (metric.name.clone(), view, latencies.latencies.as_hdr().clone()))
    });
    let totals = Totals { peers: document.counts.peers, work: document.counts.work, views: views.collect() };
    let text = exposition(totals, network).map_err(io::Error::other)?;
    out.write_all(plain(&text).as_bytes())
}

#[derive(Debug)]
struct Totals {
    peers: Peers,
    work: Work,
    /// The histograms, each with its metric and its view.
    views: Vec<(String, &'static str, Histogram<u64>)>,
}

impl Collector for Totals {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(encoder);
        let Peers { asked, opened, ready, lost, failed } = self.peers;
        let Work { planned, sent, answered, .. } = self.work;
        metrics.load_counts([asked, opened, ready, lost, failed], [planned, sent, answered])?;
        let rows: Vec<LatencyRow<'_>> = self
            .views
            .iter()
            .map(|(metric, view, all)| ([("metric", metric.as_str()), ("view", *view)], all))
            .collect();
        metrics.load_latencies(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn a_run_has_the_metrics_of_a_running_load() {
        let document = model::parse(include_str!("../bench/golden/measured.json")).unwrap();
        let mut out = Vec::new();
        write(&document, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "# TYPE peerloop_bench_peers gauge",
            "peerloop_bench_peers{network=\"regtest\",outcome=\"ready\"} 20",
            "peerloop_bench_operations_total{network=\"regtest\",state=\"answered\"} 500",
            "# TYPE peerloop_bench_latency_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        // 500 latencies of 50 us to 549 us.
        let pings = "metric=\"ping_rtt\",view=\"planned\"} ";
        let values = text.lines().filter(|line| line.contains("latency_seconds_bucket"));
        let values: Vec<&str> = values.filter_map(|line| line.split_once(pings)).map(|(_, value)| value).collect();
        assert_eq!((values.first(), values[3], values.last()), (Some(&"0"), "51", Some(&"500")), "{text}");
        assert!(!text.contains("# EOF") && text.ends_with('\n'));
    }
}
