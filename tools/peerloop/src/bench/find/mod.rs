//! `bench --find-max`: the search for the highest load that meets a goal.
//!
//! One generator carries the whole search, and its peers stay connected. [`driver`] carries out the steps of
//! [`Search`](peerloop_measure::Search); its time is that of the load's intervals of 100 ms.

mod driver;
mod history;
mod load;
mod results;
mod samples;
mod steered;
mod terms;
#[cfg(test)]
mod tests;
mod trial;

use super::display::Display;
use super::min_peers::MinPeers;
use crate::exit::{Failure, Stops};
use crate::notices::Notices;
pub(super) use driver::Found;
use driver::Task;
use load::Sample;
use peerloop::Handle;
use peerloop::load::{GeneratorRequest, Plan, Report};
pub(super) use results::document;
pub(super) use samples::Samples;
use std::sync::mpsc::Receiver;
use steered::Steered;
pub(crate) use terms::{Find, FindRange, FindWhat, parse_find_range, parse_find_width};

/// Searches with a running generator, then ends it. Returns what was found, the signals that arrived and, after a
/// second signal, the report in its current state.
pub(super) fn run(
    find: &Find,
    plan: &Plan,
    min_peers: MinPeers,
    notices: &Notices,
    (handle, samples): (&Handle<GeneratorRequest>, Receiver<Sample>),
    display: Display,
) -> Result<(Found, Stops, Option<Report>), Failure> {
    let mut steered = Steered {
        notices,
        handle,
        samples,
        searched: find.settings.searched,
        connections: plan.connections,
        display,
        stops: Stops::default(),
        has_ended: false,
        shown: None,
    };
    let task = Task {
        goal: find.goal,
        settings: find.settings,
        limit: find.limit,
        peers: plan.connections as u64,
        min_peers,
        connect_rate: plan.connect_rate.as_per_second(),
    };
    let found = driver::search(&mut steered, task).map_err(|error| Failure::usage(error.to_string()))?;
    let (stops, report) = steered.end()?;
    Ok((found, stops, report))
}
