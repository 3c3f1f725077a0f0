//! The flags of `bench`.

use super::find::FindArgs;
use super::load::LoadArgs;
use super::network_parser;
use crate::bench::{MinPeers, WorkloadKind, parse_label, parse_min_peers, parse_name, parse_workload};
use crate::sources::Source;
use crate::targets::FamilyFlags;
use crate::thresholds::{Condition, parse_condition};
use crate::units::{Percentiles, parse_address, parse_count, parse_percentiles, parse_time, parse_time_above_zero};
use clap::Args;
use peerloop::Network;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Nodes to connect to, in turn: host, host:port, [ipv6]:port, a,b or @FILE with one per line [default: a
    /// built-in node]
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Network of the nodes; required for any port but 8333 [default: PEERLOOP_NETWORK, or mainnet; regtest without a
    /// target]
    #[arg(long, value_name = "NAME", value_parser = network_parser())]
    pub(crate) network: Option<Network>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// Number of peers to open; 1k is 1000 [default: 100; 1000 without a target]
    #[arg(short, long, value_name = "N", value_parser = parse_count)]
    pub(crate) connections: Option<usize>,
    /// Minimum number of peers that must become ready and stay until the end: 950, 95%; 0 allows any number
    #[arg(long, value_name = "N|P%", default_value = "100%", value_parser = parse_min_peers)]
    pub(crate) min_peers: MinPeers,
    /// Kind of the operations: ping, inv (announce), headers (request), connect, handshake, churn[:TIME] (connect, hold
    /// and close), tx:FILE (send transactions: one per line, in hexadecimal), getdata:FILE (request `tx HASH` or
    /// `block HASH` of each line), block:SIZE (fetch blocks), mix:FILE (one `WEIGHT KIND` per line), or
    /// propagation[:TIME] (observe announcements)
    #[arg(long, value_name = "KIND", default_value = "ping", value_parser = parse_workload)]
    pub(crate) workload: WorkloadKind,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Duration of the warm-up, in which operations are started but not measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub(crate) warmup: Duration,
    /// Time to wait for the last replies; later ones count as timed out
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub(crate) drain: Duration,
    /// Maximum time for a pong, after which the peer is closed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time_above_zero)]
    pub(crate) timeout: Duration,
    /// Percentiles to report
    #[arg(long, value_name = "LIST", default_value = "50,90,99,99.9,100", value_parser = parse_percentiles)]
    pub(crate) percentiles: Percentiles,
    /// Local address to connect from; with a prefix, that address and all later host addresses; repeatable
    #[arg(long, value_name = "IP[/PREFIX]")]
    pub(crate) source_ip: Vec<Source>,
    /// Write all results into this folder, with their checksums; it may hold the results of an earlier run
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write the results as JSON; with -, stdout carries nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the histograms of all intervals as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
    /// Write the percentile spectrum of the operations, in milliseconds, for the HdrHistogram plotter
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write a page with the results and their plots, for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the timeline as a table, for spreadsheets
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write one line for each operation, while the run is in progress
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Address on which to serve /metrics for Prometheus while the run is in progress
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Name of the run in the results
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, value_parser = parse_name)]
    pub(crate) name: String,
    /// Label of the run in the results, for example version=1.2; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Show the plan and check the machine, and connect to nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show a live view on the terminal; needs a program that was built with the feature tui
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) tui: bool,
    /// Allow more than 8 peers, and workloads other than ping and propagation, to a public address
    #[arg(long)]
    pub(crate) yes: bool,
    /// Seed of all randomness, stored in the JSON [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Open a second TCP stream to each peer that supports it
    #[arg(long)]
    pub(crate) multistreams: bool,
    /// Sleep until operations are due instead of polling through the last millisecond: less CPU, up to 1 ms late
    #[arg(long)]
    pub(crate) no_spin: bool,
    /// Condition on the results, such as ping_rtt:p99<20ms or ping_rtt{stage=2,view=sent}:p99.9<80ms over 10s; exit
    /// with 99 if it is not met; repeatable
    #[arg(long = "threshold", value_name = "EXPR", value_parser = parse_condition)]
    pub(crate) thresholds: Vec<Condition>,
    /// End the run if two windows or intervals in a row fail a threshold, after this time
    #[arg(long, value_name = "GRACE", num_args = 0..=1, require_equals = true, default_missing_value = "0s",
        requires = "thresholds", value_parser = parse_time)]
    pub(crate) abort_on_threshold: Option<Duration>,
    /// Run the same load this many times, each as a process of its own, into DIR/001 and so on, and report how the runs
    /// differ
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "out",
        conflicts_with_all = ["json", "hlog", "hgrm", "html", "csv", "events", "start_at"])]
    pub(crate) repeat: Option<usize>,
    /// Time between two runs
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time, requires = "repeat")]
    pub(crate) pause: Duration,
    /// This process is a run of another command, which shows the results.
    #[arg(long, hide = true)]
    pub(crate) child: bool,
    /// The number of this run of --repeat, in a process that the command started.
    #[arg(long, hide = true, requires = "repeat")]
    pub(crate) number: Option<usize>,
    #[command(flatten)]
    pub(crate) find: FindArgs,
    /// Exit with 4 if the results are not trusted
    #[arg(long)]
    pub(crate) strict: bool,
}
