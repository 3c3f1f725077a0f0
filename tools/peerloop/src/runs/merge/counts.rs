//! Adds up the counts of runs: of targets, peers, operations and failed connections.

use crate::model::{Agent, Counts, Events, Peers, Target, Work};

pub(super) fn add_counts(sum: &mut Counts, other: Counts) {
    add_peers(&mut sum.peers, other.peers);
    add_work(&mut sum.work, other.work);
    sum.streams_opened += other.streams_opened;
    sum.stream_failures += other.stream_failures;
    sum.sent_bytes += other.sent_bytes;
    sum.received_bytes += other.received_bytes;
    sum.events = match (sum.events, other.events) {
        (Some(one), Some(other)) => Some(Events { written: one.written + other.written, lost: one.lost + other.lost }),
        (one, other) => one.or(other),
    };
    for failed in other.failed_operations {
        match sum.failed_operations.iter_mut().find(|known| known.cause == failed.cause) {
            Some(known) => known.count += failed.count,
            None => sum.failed_operations.push(failed),
        }
    }
    for error in other.errors {
        let is_same = |known: &&mut crate::model::Failed| {
            (&known.cause, known.side, known.stage) == (&error.cause, error.side, error.stage)
        };
        match sum.errors.iter_mut().find(is_same) {
            Some(known) => known.count += error.count,
            None => sum.errors.push(error),
        }
    }
}

fn add_peers(sum: &mut Peers, other: Peers) {
    let Peers { asked, opened, ready, lost, failed } = other;
    sum.asked += asked;
    sum.opened += opened;
    sum.ready += ready;
    sum.lost += lost;
    sum.failed += failed;
}

pub(super) fn add_work(sum: &mut Work, other: Work) {
    let Work { planned, sent, unsent, unsent_absent, answered, timed_out } = other;
    sum.planned += planned;
    sum.sent += sent;
    sum.unsent += unsent;
    sum.unsent_absent += unsent_absent;
    sum.answered += answered;
    sum.timed_out += timed_out;
}

/// Adds targets by their addresses.
pub(super) fn add_targets(sum: &mut Vec<Target>, others: Vec<Target>) -> Result<(), String> {
    for other in others {
        let Some(known) = sum.iter_mut().find(|target| target.addr == other.addr) else {
            sum.push(other);
            continue;
        };
        add_peers(&mut known.peers, other.peers);
        add_work(&mut known.work, other.work);
        if known.agent != other.agent || known.protocol != other.protocol {
            (known.agent, known.protocol) = (None, None);
        }
        match (&mut known.view, &other.view) {
            (Some(view), Some(other)) => view.add(other)?,
            // A view of only some runs would not match the counts.
            (view, _) => *view = None,
        }
    }
    Ok(())
}

pub(super) fn add_agents(sum: &mut Vec<Agent>, others: Vec<Agent>) {
    for other in others {
        match sum.iter_mut().find(|agent| (&agent.agent, agent.protocol) == (&other.agent, other.protocol)) {
            Some(known) => known.peers += other.peers,
            None => sum.push(other),
        }
    }
}
