//! Reasons why a loop does not accept a connection that an embedder opened.
//!
//! Each text contains the cause and, where there is one, the remedy. The loop has already closed the connection.

use super::{NetworkFailure, Refusal, RequestError};
use std::fmt;

/// The reason why a loop did not accept an embedder's connection. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddConnectionError {
    /// The connection is unusable: it is broken or not connected. A simulated network reports every connection of
    /// an embedder as unusable.
    Unusable(NetworkFailure),
    /// The inbound connection was refused for a reason that also applies to connections from the loop's listeners.
    Refused(Refusal),
    /// The outbound connection was refused for a reason that also applies to dials.
    NotAllowed(RequestError),
}

impl fmt::Display for AddConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(failure) => {
                write!(f, "the connection cannot be used: {failure}; pass an established TCP connection")
            }
            Self::Refused(refusal) => write!(f, "the connection is refused: {refusal}"),
            Self::NotAllowed(error) => write!(f, "the connection is not allowed: {error}"),
        }
    }
}

impl std::error::Error for AddConnectionError {}
