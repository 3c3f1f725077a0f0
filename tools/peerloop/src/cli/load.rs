//! The flags of `bench` that shape its load.

use crate::bench::{
    ArrivalKind, AskedRate, StartAt, parse_arrival, parse_asked_rate, parse_segment, parse_stage, parse_start_at,
};
use crate::units::{parse_count, parse_rate, parse_rate_above_zero, parse_time_above_zero};
use clap::Args;
use peerloop::load::{Rate, Segment, Stage};
use std::time::Duration;

#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Duration of the measurement [default: 10s; with -n, until all operations were planned]
    #[arg(short, long, value_name = "TIME", value_parser = parse_time_above_zero)]
    pub(crate) duration: Option<Duration>,
    /// Operations of all peers together: 500, 500/s, 10/ms; max starts each peer's next one when the last has ended
    /// [default: 1/s for each planned peer; 10/s for pings without a target]
    #[arg(short, long, value_name = "RATE", value_parser = parse_asked_rate, conflicts_with = "rate_per_peer")]
    pub(crate) rate: Option<AskedRate>,
    /// Operations of each living peer; the total rate falls with each lost peer
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) rate_per_peer: Option<Rate>,
    /// One stage of the measurement, in place of -r and -d: 1k@30s, or 1k..5k@60s for a steady change; repeatable
    #[arg(long = "stage", value_name = "RATE[..RATE]@TIME", value_parser = parse_stage)]
    pub(crate) stages: Vec<Stage>,
    /// Arrival of the operations: even, poisson (at random), or burst:N (N at once) [default: even]
    #[arg(long, value_name = "KIND", value_parser = parse_arrival)]
    pub(crate) arrival: Option<ArrivalKind>,
    /// Number of operations after which the measurement ends; 1k is 1000
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    pub(crate) count: Option<usize>,
    /// Connections to open per second [default: 100/s; 1000/s without a target]
    #[arg(long, value_name = "RATE", value_parser = parse_rate_above_zero)]
    pub(crate) connect_rate: Option<Rate>,
    /// Open all connections evenly within this time, in place of --connect-rate
    #[arg(long, value_name = "TIME", value_parser = parse_time_above_zero)]
    pub(crate) ramp_up: Option<Duration>,
    /// Carry out only this part of the load: 2/3 is the second of three processes with equal flags
    #[arg(long, value_name = "I/N", value_parser = parse_segment)]
    pub(crate) segment: Option<Segment>,
    /// Moment at which the measurement begins, with all peers ready: +10s, or in RFC 3339 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_start_at)]
    pub(crate) start_at: Option<StartAt>,
}
