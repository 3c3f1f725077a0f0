//! The flags of `bench` that search for the highest load.

use crate::bench::{FindRange, FindWhat, parse_find_range, parse_find_width};
use crate::thresholds::{Condition, parse_condition};
use crate::units::parse_time_above_zero;
use clap::Args;
use std::time::Duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Search for the highest load")]
pub(crate) struct FindArgs {
    /// Find the highest rate, or number of peers, at which this condition holds, such as ping_rtt:p99<50ms
    #[arg(long, value_name = "EXPR", value_parser = parse_condition, conflicts_with_all =
        ["rate", "stages", "duration", "count", "start_at", "segment", "thresholds", "strict", "hlog", "hgrm", "tui",
         "repeat"])]
    pub(crate) find_max: Option<Condition>,
    /// Quantity to search; for peers, --rate-per-peer sets the rate of each
    #[arg(long, value_name = "WHAT", default_value = "rate", requires = "find_max")]
    pub(crate) find_what: FindWhat,
    /// First load to try, and the highest [default: 1k..100k for a rate, 10..10k for peers]
    #[arg(long, value_name = "LOW..HIGH", value_parser = parse_find_range, requires = "find_max")]
    pub(crate) find_range: Option<FindRange>,
    /// Widest gap between the answer and a rate that fails, as a part of the answer
    #[arg(long, value_name = "P%", default_value = "2%", value_parser = parse_find_width, requires = "find_max")]
    pub(crate) find_width: f64,
    /// Time of all trials and recoveries
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time_above_zero, requires = "find_max")]
    pub(crate) find_time: Duration,
    /// Trials of 10 s that confirm the answer
    #[arg(long, value_name = "N", default_value = "3", requires = "find_max")]
    pub(crate) confirm: u32,
}
