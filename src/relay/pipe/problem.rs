//! The reasons for which a pipe does not join its nodes at the moment.

use crate::error::{CloseReason, RequestError};
use crate::protocol::CommandName;
use std::fmt;

/// The reason for which a pipe closed a node or could not reach it. The pipe always tries again, after a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PipeProblem {
    /// The loop refused the dial.
    NotDialled(RequestError),
    /// The connection closed or could not be established.
    Closed(CloseReason),
    /// The node accepts smaller payloads than the loop announces to the opposite node. Lower
    /// [`Config::max_message_bytes`](crate::Config::max_message_bytes).
    SmallLimit {
        /// The largest payload that the node accepts, in bytes.
        accepts_bytes: u64,
        /// The largest payload that the loop announces, in bytes.
        announced_bytes: u64,
    },
    /// The node's version differs from the one that was stated to the opposite node.
    FactsChanged,
    /// The opposite node was not ready within [`PIPE_ALONE_TIMEOUT`](crate::limits::PIPE_ALONE_TIMEOUT).
    Alone,
    /// The opposite node was lost while this node waited for its reply to a request that no `notfound` can answer.
    Unanswered,
    /// The opposite node was lost in the middle of a large message to this node.
    BodyCut,
    /// A message of the opposite node cannot be sent to this node.
    NotSendable {
        /// The message's command; `block` for the rest of a large message.
        command: CommandName,
        /// The loop's error.
        error: RequestError,
    },
    /// The pipe held too many bytes for this node.
    Overflow,
}

impl PipeProblem {
    /// Returns the problem's short name, from a closed list.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotDialled(_) => "not_dialled",
            Self::Closed(_) => "closed",
            Self::SmallLimit { .. } => "small_limit",
            Self::FactsChanged => "facts_changed",
            Self::Alone => "alone",
            Self::Unanswered => "unanswered",
            Self::BodyCut => "body_cut",
            Self::NotSendable { .. } => "not_sendable",
            Self::Overflow => "overflow",
        }
    }
}

impl fmt::Display for PipeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDialled(error) => write!(f, "not dialled: {error}"),
            Self::Closed(reason) => write!(f, "{reason}"),
            Self::SmallLimit { accepts_bytes, announced_bytes } => write!(
                f,
                "it accepts payloads of {accepts_bytes} bytes, but this side announces {announced_bytes}; \
                 lower max_message_bytes"
            ),
            Self::FactsChanged => f.write_str("its version changed, so the other node needs a new connection"),
            Self::Alone => f.write_str("the other node was not ready in time"),
            Self::Unanswered => f.write_str("it waited for a reply of the other node, which was lost"),
            Self::BodyCut => f.write_str("the other node was lost in the middle of a message"),
            Self::NotSendable { command, error } => write!(f, "a {command} of the other node cannot be sent: {error}"),
            Self::Overflow => f.write_str("too many bytes waited for it"),
        }
    }
}
