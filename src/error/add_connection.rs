//! Reasons why a connection that an embedder has opened is not taken over.

use super::{NetworkFailure, Refusal, RequestError};
use std::fmt;

/// The reason why a loop has not taken over a connection. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddConnectionError {
    /// The system refuses to use it: it is not connected, or broken. A simulated network takes none.
    Unusable(NetworkFailure),
    /// An inbound connection is refused, as an accepted one would be.
    Refused(Refusal),
    /// An outbound connection is not allowed, as a dial would not be.
    NotAllowed(RequestError),
}

impl fmt::Display for AddConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(failure) => {
                write!(f, "the connection cannot be used: {failure}; hand in a TCP connection that is established")
            }
            Self::Refused(refusal) => write!(f, "the connection is refused: {refusal}"),
            Self::NotAllowed(error) => write!(f, "the connection is not allowed: {error}"),
        }
    }
}

impl std::error::Error for AddConnectionError {}
