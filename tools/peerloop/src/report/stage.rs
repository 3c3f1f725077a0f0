//! How far a connection had come when it ended.

use peerloop::peer::ConnectionState;
use serde::Serialize;

/// The stage that a connection had reached; its name in result files is the variant's in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// It had no TCP connection yet.
    Connecting,
    /// It had a TCP connection, and the handshake was not complete.
    Handshake,
    /// It had completed the handshake.
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
