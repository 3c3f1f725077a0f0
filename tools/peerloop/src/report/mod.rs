//! What came out of a bench, and its three forms: [`text`] for people, [`json`] for programs, [`hgrm`] for plots.

mod ending;
pub(crate) mod hgrm;
pub(crate) mod json;
mod sample;
pub(crate) mod text;

use crate::bench::{Course, Setup};
use crate::exit::{Exit, Failure};
use peerloop::error::CloseReason;
use peerloop::load::{self, Report, TargetReport, Verdict};
use peerloop::peer::ConnectionState;
use peerloop::wire::RejectCode;
pub(crate) use sample::Sample;
use std::time::SystemTime;

/// A bench that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) start: SystemTime,
    pub(crate) course: Course,
    pub(crate) report: Report,
    /// How it ended other than well, in the order in which exit codes apply.
    endings: Vec<Ending>,
}

/// One reason for an exit code other than 0.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) exit: Exit,
    /// Whether it says why results are missing.
    pub(crate) is_partial: bool,
    pub(crate) reason: String,
}

impl Outcome {
    pub(crate) fn new(setup: &Setup, start: SystemTime, course: Course, report: Report) -> Self {
        let stopped = course.stops.exit().map(|(exit, reason)| Ending { exit, is_partial: true, reason });
        let reasons = [
            stopped,
            ending::early(setup, &report),
            ending::too_few_peers(setup, &report),
            ending::untrusted(setup, &report),
        ];
        let endings = reasons.into_iter().flatten().collect();
        Self { start, course, report, endings }
    }

    /// Returns how the program ends.
    pub(crate) fn exit(&self) -> Exit {
        self.endings.first().map_or(Exit::Success, |ending| ending.exit)
    }

    /// Says the same in words.
    pub(crate) fn reason(&self) -> &str {
        self.endings.first().map_or("finished", |ending| &ending.reason)
    }

    /// Lists every reason for an exit code other than 0.
    pub(crate) fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// Returns the line to end with, if the run failed.
    pub(crate) fn failure(&self, setup: &Setup) -> Option<Failure> {
        let message = || format!("bench {}: {}", setup.target_text(), self.reason());
        match self.exit() {
            exit @ (Exit::RunFailed | Exit::Untrusted) => Some(Failure { exit, message: message() }),
            Exit::Success | Exit::Usage | Exit::MachineCannot | Exit::Stopped(_) | Exit::StoppedAtOnce(_) => None,
        }
    }

    /// Says in one line whether the numbers can be trusted, for a reader who does not see the table.
    pub(crate) fn verdict(&self) -> String {
        let limit = self.report.limit.name();
        match &self.report.verdict {
            Verdict::Trusted => format!("verdict: TRUSTED; limit: {limit}"),
            Verdict::NotTrusted(doubts) => {
                let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
                format!("verdict: NOT TRUSTED: {}; limit: {limit}", doubts.join("; "))
            }
        }
    }
}

/// Says what is known of a cause beyond its name: where the connections stood, and what to do.
pub(crate) fn explain(failure: &load::Failure, targets: &[TargetReport]) -> String {
    let stage = stage(failure.state);
    let at = match stage {
        "ready" => "after the handshake: ",
        "handshake" => "in the handshake: ",
        _ => "",
    };
    let cause = match failure.example {
        Some(reason) => cause_at(reason, stage),
        None => "the loop had no room".to_owned(),
    };
    match ending::node_gone(failure, targets).or_else(|| hint(failure.label, stage)) {
        Some(hint) => format!("{at}{cause}; {hint}"),
        None => format!("{at}{cause}"),
    }
}

/// Says why a connection ended. What a node rejects in a handshake is our `version`, which gives the code its meaning.
pub(crate) fn cause_at(reason: CloseReason, stage: &str) -> String {
    match reason {
        CloseReason::RejectedByPeer(code) if stage == "handshake" => match RejectCode(code).meaning(b"version") {
            Some(meaning) => {
                format!("closed by the peer after a reject of our version with code {code:#04x}: {meaning}")
            }
            None => reason.to_string(),
        },
        _ => reason.to_string(),
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
