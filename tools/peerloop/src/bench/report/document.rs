//! The results of a bench: the one model from which every output format is rendered.
//!
//! The serialized model is the JSON output, with the fields in the same order. JSON omits a few fields that only the
//! other formats show, for example the explanation of a failure. This file never reads the generator's report: `build`
//! does.

use super::ending::Ending;
use super::view::{Table, View};
use crate::causes::Stage;
use crate::exit::Exit;
use crate::output::json::{Nanos, Tool};
use peerloop::error::Side;
use peerloop::load::Limit;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(super) schema: u32,
    pub(super) tool: Tool,
    pub(super) run: Run,
    pub(super) host: Host,
    pub(super) config: Settings,
    pub(super) targets: Vec<Target>,
    pub(super) agents: Vec<Agent>,
    pub(super) counts: Counts,
    pub(super) metrics: Metrics,
    pub(super) timeline: Timeline,
    pub(super) generator: Generator,
    pub(super) exit: Ended,
}

impl Document {
    /// Returns the exit code of the program.
    pub(crate) fn exit(&self) -> Exit {
        self.exit.reasons.first().map_or(Exit::Success, |ending| ending.exit)
    }

    /// Returns the reason for the exit code, or `finished`.
    pub(crate) fn reason(&self) -> &str {
        &self.exit.reason
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) start: String,
    pub(super) duration_ns: Nanos,
    /// The length of the schedule that `counts.planned` covers.
    pub(super) scheduled_ns: Nanos,
    pub(super) ramp_ns: Option<Nanos>,
    /// Planned duration from the start of the ramp to its last dial.
    pub(super) ramp_planned_ns: Nanos,
    /// Measured duration from the start of the ramp to its last dial.
    pub(super) ramp_dial_ns: Nanos,
    pub(super) dial_rate_per_s: Option<f64>,
    pub(super) answered_per_s: Option<f64>,
    pub(super) partial: bool,
    /// A string, because the seed may use all 64 bits.
    pub(super) seed: String,
    pub(super) command: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub(super) os: &'static str,
    pub(super) cpus: usize,
    pub(super) clock: &'static str,
    pub(super) descriptors: u64,
    pub(super) ports: Option<(u16, u16)>,
    pub(super) backlog: Option<u32>,
    pub(super) load_average: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) network: &'static str,
    pub(super) built_in_node: bool,
    pub(super) connections: usize,
    pub(super) min_peers: usize,
    pub(super) rate_per_s: f64,
    pub(super) rate_per_peer_per_s: f64,
    pub(super) connect_rate_per_s: f64,
    pub(super) warmup_ns: Nanos,
    pub(super) duration_ns: Nanos,
    pub(super) drain_ns: Nanos,
    pub(super) timeout_ns: Nanos,
    pub(super) source_ips: Vec<String>,
    pub(super) spin: bool,
    pub(super) multistreams: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Target {
    pub(super) addr: String,
    /// The peers' user agent, if there is only one target and all peers have the same user agent and protocol
    /// version.
    pub(super) agent: Option<String>,
    pub(super) protocol: Option<i32>,
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// Percentiles of the duration from a ping's planned time to its pong; `None` for each target after the first 64.
    pub(super) ping_rtt_percentiles: Option<Table>,
}

#[derive(Debug, Serialize)]
pub(super) struct Agent {
    pub(super) agent: String,
    pub(super) protocol: i32,
    pub(super) peers: usize,
}

/// The outcomes of the connections and the pings, of one target or of all.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tally {
    pub(super) asked: usize,
    pub(super) opened: usize,
    pub(super) ready: usize,
    pub(super) lost: usize,
    pub(super) failed: usize,
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) unsent: u64,
    /// Number of unsent pings whose peer was never ready, was lost, or had too many unanswered pings.
    pub(super) unsent_absent: u64,
    pub(super) answered: u64,
    pub(super) timed_out: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts {
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// Further TCP streams that were opened, and those that could not be opened.
    pub(super) streams_opened: u64,
    pub(super) stream_failures: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) errors: Vec<Failed>,
}

/// The connections that were closed too soon or never opened, for one cause at one stage.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) cause: &'static str,
    #[serde(serialize_with = "side_name")]
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) count: u64,
    pub(super) example: Option<String>,
    /// The full cause, and advice if there is any.
    #[serde(skip)]
    pub(super) explanation: String,
}

fn side_name<S: Serializer>(side: &Side, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match side {
        Side::Local => "local",
        Side::Remote => "remote",
    })
}

#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) connect: Scheduled,
    pub(super) handshake: Measured,
    pub(super) ping_rtt: Scheduled,
    pub(super) send_lag: Measured,
    pub(super) loop_lag: Measured,
    pub(super) dial_lag: Measured,
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { connect, handshake, ping_rtt, send_lag, loop_lag, dial_lag } = self;
        let mut list = serializer.serialize_seq(Some(6))?;
        list.serialize_element(connect)?;
        list.serialize_element(handshake)?;
        list.serialize_element(ping_rtt)?;
        for metric in [send_lag, loop_lag, dial_lag] {
            list.serialize_element(metric)?;
        }
        list.end()
    }
}

/// Latencies of one kind of operation: from its planned time, and from its actual start.
#[derive(Debug, Serialize)]
pub(super) struct Scheduled {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) planned: View,
    pub(super) sent: View,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<FailedPings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p_with_failures: Option<Table>,
}

#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) measured: View,
}

#[derive(Debug, Serialize)]
pub(super) struct FailedPings {
    pub(super) timeout: u64,
    pub(super) unsent: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    pub(super) interval_ns: Nanos,
    pub(super) columns: [&'static str; 9],
    pub(super) rows: Vec<[Option<u64>; 9]>,
}

#[derive(Debug, Serialize)]
pub(super) struct Generator {
    /// The share of `run.duration_ns` in which the loop's thread worked.
    pub(super) cpu_working: f64,
    /// The share of `run.duration_ns` in which the thread polled for exact wake-ups instead of sleeping. Polling uses
    /// the CPU too.
    pub(super) cpu_spinning: f64,
    pub(super) verdict: Trust,
    pub(super) reasons: Vec<String>,
    /// The side that kept the load below the plan, if there is one.
    #[serde(serialize_with = "limit_name")]
    pub(super) limit: Limit,
}

fn limit_name<S: Serializer>(limit: &Limit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(limit.name())
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trust {
    Trusted,
    NotTrusted,
}

/// The end of the bench; `reason` is the first of `reasons`, or `finished`.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    pub(super) code: u8,
    pub(super) reason: String,
    /// The reasons in order of precedence; the first one determines `code`.
    pub(super) reasons: Vec<Ending>,
}
