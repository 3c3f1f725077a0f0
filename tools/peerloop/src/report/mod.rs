//! What came out of a bench, and its three forms: [`text`] for people, [`json`] for programs, [`hgrm`] for plots.

pub(crate) mod hgrm;
pub(crate) mod json;
pub(crate) mod text;

use crate::bench::{Course, Setup};
use crate::exit::{Exit, Failure};
use peerloop::load::{self, Report};
use peerloop::peer::ConnectionState;
use std::time::SystemTime;

/// A bench that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) start: SystemTime,
    pub(crate) course: Course,
    pub(crate) report: Report,
    reason: String,
}

impl Outcome {
    pub(crate) fn new(setup: &Setup, start: SystemTime, course: Course, report: Report) -> Self {
        let mut outcome = Self { start, course, report, reason: String::new() };
        outcome.reason = match outcome.exit() {
            Exit::Stopped(stop) => format!("stopped by {}", stop.signal()),
            Exit::Success => "finished".to_owned(),
            Exit::RunFailed | Exit::Usage | Exit::MachineCannot => {
                let of_first = setup.failed_ahead.clone();
                of_first.unwrap_or_else(|| no_peer_ready(setup, &outcome.report))
            }
        };
        outcome
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self.course.stop {
            Some(stop) => Exit::Stopped(stop),
            None if self.report.peers.ready == 0 => Exit::RunFailed,
            None => Exit::Success,
        }
    }

    /// The same in words.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The line to end with, if the run failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        (self.exit() == Exit::RunFailed).then(|| Failure::run(self.reason.clone()))
    }
}

/// What is known of a cause beyond its name: where the connections stood, and what to do.
pub(crate) fn explain(failure: &load::Failure) -> String {
    let stage = stage(failure.state);
    let at = match stage {
        "ready" => "after the handshake: ",
        "handshake" => "in the handshake: ",
        _ => "",
    };
    let cause = match failure.example {
        Some(reason) => reason.to_string(),
        None => "the loop had no room".to_owned(),
    };
    match hint(failure.label, stage) {
        Some(hint) => format!("{at}{cause}; {hint}"),
        None => format!("{at}{cause}"),
    }
}

/// How far a connection had come, from a closed list for result files.
pub(crate) fn stage(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Connected => "ready",
        ConnectionState::AwaitingHandshake | ConnectionState::Rejected => "handshake",
        ConnectionState::Connecting | ConnectionState::Disconnected | ConnectionState::Failed => "connecting",
    }
}

/// What may be behind a cause that the peer does not tell, by its label and by how far the connection had come.
pub(crate) fn hint(label: &str, stage: &str) -> Option<&'static str> {
    match (label, stage) {
        ("refused", _) => Some("is a node listening there?"),
        ("connect_timeout" | "host_unreachable" | "network_unreachable", _) => {
            Some("is the address right, and no firewall between?")
        }
        ("rejected_by_peer", _) => {
            Some("is the node full? one SV Node takes 856 inbound peers at most, 116 by default")
        }
        ("closed_by_peer" | "reset", "ready") => {
            Some("a full SV Node drops older peers for newer ones: it takes 856 inbound at most, 116 by default")
        }
        ("closed_by_peer" | "reset", _) => Some(
            "is --network right, the node not full, and this host not banned there? one SV Node takes 856 inbound \
             peers at most, 116 by default, and bans a host for a day that has spoken of another network",
        ),
        ("bad_magic" | "handshake_timeout", _) => {
            Some("is this the port of a Bitcoin node, and --network the network of that node?")
        }
        ("wrong_network", _) => Some("choose the node's network with --network"),
        _ => None,
    }
}

fn no_peer_ready(setup: &Setup, report: &Report) -> String {
    let cause = match report.failures.first() {
        Some(failure) => format!("{} of {} failed: {}", failure.count, report.peers.asked, explain(failure)),
        None => format!("none of {} connections got that far", report.peers.asked),
    };
    format!("bench {}: no peer became ready; {cause}", setup.target_text())
}
