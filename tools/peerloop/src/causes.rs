//! Describes why a connection closed: the connection's stage, the reason, and a possible explanation.

use peerloop::error::{CloseReason, Deadline, Incompatibility, NetworkFailure, WireError};
use peerloop::peer::ConnectionState;
use peerloop::wire::RejectCode;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;

/// The stage that a connection had reached when it closed. Result files contain the variant's name in lower case.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// No TCP connection was established.
    Connecting,
    /// A TCP connection was established, but the handshake was not complete.
    Handshake,
    /// The handshake was complete.
    Ready,
}

impl Stage {
    /// Returns the stage of a connection in `state`.
    pub(crate) fn of(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Connected => Self::Ready,
            ConnectionState::AwaitingHandshake | ConnectionState::Rejected => Self::Handshake,
            ConnectionState::Connecting | ConnectionState::Disconnected | ConnectionState::Failed => Self::Connecting,
        }
    }
}

/// Describes why a connection closed. A reject code during the handshake refers to our `version`.
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

/// Returns whether the peer closed the connection, gracefully or with a reset, without a preceding `reject`.
pub(crate) fn is_closed_by_peer(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ClosedByPeer => true,
        CloseReason::Network(failure) => failure.kind == ErrorKind::ConnectionReset,
        _ => false,
    }
}

/// Suggests an explanation for a reason, if there is a likely one.
pub(crate) fn hint(reason: CloseReason, stage: Stage) -> Option<&'static str> {
    match reason {
        CloseReason::Network(NetworkFailure { kind: ErrorKind::ConnectionRefused, .. }) => {
            Some("is a node listening there?")
        }
        CloseReason::TimedOut(Deadline::Connect)
        | CloseReason::Network(NetworkFailure {
            kind: ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable,
            ..
        }) => Some("is the address right? does a firewall block it?"),
        CloseReason::RejectedByPeer(_) => {
            Some("is the node at capacity? one SV Node accepts at most 856 inbound peers, 116 by default")
        }
        _ if is_closed_by_peer(reason) => Some(match stage {
            Stage::Ready => {
                "a node at capacity drops old peers for new ones; an SV Node accepts 116 inbound peers by default, \
                 at most 856"
            }
            Stage::Connecting | Stage::Handshake => {
                "is --network right, the node below capacity, and this host not banned there? an SV Node accepts 116 \
                 inbound peers by default, at most 856, and bans a host for a day after another network's magic"
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
        let dropped = "a node at capacity drops";
        let (unreached, strange) = ("is the address right", "is this the port of a Bitcoin node");
        for (reason, stage, begin) in [
            (failure(ErrorKind::ConnectionRefused), Stage::Connecting, Some("is a node listening there?")),
            (failure(ErrorKind::HostUnreachable), Stage::Connecting, Some(unreached)),
            (failure(ErrorKind::NetworkUnreachable), Stage::Connecting, Some(unreached)),
            (CloseReason::TimedOut(Deadline::Connect), Stage::Connecting, Some(unreached)),
            (CloseReason::RejectedByPeer(0x11), Stage::Handshake, Some("is the node at capacity?")),
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
