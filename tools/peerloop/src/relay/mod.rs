//! `relay`: relays transactions and blocks between upstreams and all other peers, or, with `--pipe`, joins two nodes
//! verbatim.

mod blocks;
mod header_file;
mod hops;
mod metrics;
mod node;
mod pipe;
mod saver;
mod summary;
mod trusting;
mod upstreams;

use crate::cli::RelayArgs;
use crate::exit::{Exit, Failure};

pub(crate) fn run(args: &RelayArgs) -> Result<Exit, Failure> {
    match &args.pipe {
        Some(nodes) => pipe::run(args, nodes),
        None => node::run(args),
    }
}
