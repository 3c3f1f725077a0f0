//! What came out of a bench, and its three forms: [`text`] for people, [`json`] for programs, [`hgrm`] for plots.

mod ending;
pub(crate) mod hgrm;
pub(crate) mod json;
mod sample;
mod stage;
pub(crate) mod text;

use crate::bench::{Course, Setup};
use crate::exit::{Exit, Failure};
use peerloop::error::{CloseReason, Deadline, Incompatibility, NetworkFailure, WireError};
use peerloop::load::{self, Report, TargetReport, Verdict};
use peerloop::wire::RejectCode;
pub(crate) use sample::Sample;
pub(crate) use stage::Stage;
use std::io::ErrorKind;
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
    let stage = Stage::of(failure.state);
    let at = match stage {
        Stage::Ready => "after the handshake: ",
        Stage::Handshake => "in the handshake: ",
        Stage::Connecting => "",
    };
    let cause = match failure.example {
        Some(reason) => cause_at(reason, stage),
        None => "the loop had no room".to_owned(),
    };
    match ending::node_gone(failure, targets).or_else(|| hint(failure.example?, stage)) {
        Some(hint) => format!("{at}{cause}; {hint}"),
        None => format!("{at}{cause}"),
    }
}

/// Says why a connection ended. What a node rejects in a handshake is our `version`, which gives the code its meaning.
pub(crate) fn cause_at(reason: CloseReason, stage: Stage) -> String {
    match reason {
        CloseReason::RejectedByPeer(code) if stage == Stage::Handshake => match RejectCode(code).meaning(b"version") {
            Some(meaning) => {
                format!("closed by the peer after a reject of our version with code {code:#04x}: {meaning}")
            }
            None => reason.to_string(),
        },
        _ => reason.to_string(),
    }
}

/// Returns whether the peer ended a connection, in order or with a reset, without a reject.
fn is_closed_by_peer(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ClosedByPeer => true,
        CloseReason::Network(failure) => failure.kind == ErrorKind::ConnectionReset,
        _ => false,
    }
}

/// Says what may be behind a cause that the peer does not explain.
pub(crate) fn hint(reason: CloseReason, stage: Stage) -> Option<&'static str> {
    match reason {
        CloseReason::Network(NetworkFailure { kind: ErrorKind::ConnectionRefused, .. }) => {
            Some("is a node listening there?")
        }
        CloseReason::TimedOut(Deadline::Connect)
        | CloseReason::Network(NetworkFailure {
            kind: ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable,
            ..
        }) => Some("is the address right, and no firewall between?"),
        CloseReason::RejectedByPeer(_) => {
            Some("is the node full? one SV Node takes 856 inbound peers at most, 116 by default")
        }
        _ if is_closed_by_peer(reason) => Some(match stage {
            Stage::Ready => {
                "a full SV Node drops older peers for newer ones: it takes 856 inbound at most, 116 by default"
            }
            Stage::Connecting | Stage::Handshake => {
                "is --network right, the node not full, and this host not banned there? one SV Node takes 856 inbound \
                 peers at most, 116 by default, and bans a host for a day that has spoken of another network"
            }
        }),
        CloseReason::Wire(WireError::BadMagic { .. }) | CloseReason::TimedOut(Deadline::Handshake) => {
            Some("is this the port of a Bitcoin node, and --network the network of that node?")
        }
        CloseReason::Incompatible(Incompatibility::Network { .. }) => Some("choose the node's network with --network"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::Network;
    use peerloop::error::{IoStep, LocalCause};
    use std::io;

    #[test]
    fn a_hint_follows_from_the_reason_and_the_stage() {
        let failure = |kind: ErrorKind| CloseReason::Network(NetworkFailure::new(IoStep::Read, &io::Error::from(kind)));
        let dropped = "a full SV Node drops";
        let (unreached, strange) = ("is the address right", "is this the port of a Bitcoin node");
        for (reason, stage, begin) in [
            (failure(ErrorKind::ConnectionRefused), Stage::Connecting, Some("is a node listening there?")),
            (failure(ErrorKind::HostUnreachable), Stage::Connecting, Some(unreached)),
            (failure(ErrorKind::NetworkUnreachable), Stage::Connecting, Some(unreached)),
            (CloseReason::TimedOut(Deadline::Connect), Stage::Connecting, Some(unreached)),
            (CloseReason::RejectedByPeer(0x11), Stage::Handshake, Some("is the node full?")),
            (CloseReason::ClosedByPeer, Stage::Ready, Some(dropped)),
            (failure(ErrorKind::ConnectionReset), Stage::Ready, Some(dropped)),
            (CloseReason::ClosedByPeer, Stage::Handshake, Some("is --network right")),
            (failure(ErrorKind::ConnectionReset), Stage::Connecting, Some("is --network right")),
            (CloseReason::TimedOut(Deadline::Handshake), Stage::Handshake, Some(strange)),
            (CloseReason::Wire(WireError::BadMagic { found: [0; 4], network: None }), Stage::Handshake, Some(strange)),
            (
                CloseReason::Incompatible(Incompatibility::Network { found: Network::Stn }),
                Stage::Handshake,
                Some("choose the node's network"),
            ),
            (failure(ErrorKind::BrokenPipe), Stage::Ready, None),
            (CloseReason::TimedOut(Deadline::Pong), Stage::Ready, None),
            (CloseReason::Local(LocalCause::Banned), Stage::Ready, None),
        ] {
            let hint = hint(reason, stage);
            assert!(hint.is_some() == begin.is_some(), "{reason}: {hint:?}");
            assert!(hint.unwrap_or_default().starts_with(begin.unwrap_or_default()), "{reason}: {hint:?}");
        }
    }
}
