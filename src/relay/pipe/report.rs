//! A pipe's reports to other threads: the state of both sides, the counts, and the hops.

use super::hops::HopSummary;
use super::problem::PipeProblem;
use super::side::Side;
use crate::api::Reply;
use crate::stats::MessageCounts;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A request from another thread to a pipe.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeRequest {
    /// Report the state, the counts and the hops. The reply costs about 5 kB, and up to a millisecond of the loop.
    Report(Reply<Box<PipeReport>>),
}

/// The state of a pipe, and its counts since its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipeReport {
    /// The sides, in the order of [`Side::BOTH`].
    pub sides: [SideReport; 2],
    /// The counts of the pipe as a whole.
    pub counts: PipeCounts,
    /// The kinds of messages that were passed on, with the time that the pipe added to them.
    pub hops: Vec<HopSummary>,
}

/// One side of a pipe.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SideReport {
    /// The side.
    pub side: Side,
    /// The address that was dialled last.
    pub address: SocketAddr,
    /// The state of the connection.
    pub state: SideState,
    /// How long the node has been ready; `None` if it is not.
    pub ready_for: Option<Duration>,
    /// The node's user agent as printable text, once it is known.
    pub user_agent: Option<String>,
    /// The reason for the last close or failure. It stays after the node is ready again.
    pub problem: Option<PipeProblem>,
    /// Connections that became ready, without probes. Each one after the first is a reconnect.
    pub connects: u64,
    /// Messages of the node that were handed to the opposite node's queue whole. The pipe's own messages, which
    /// [`PipeCounts`] counts, are not among them.
    pub forwarded: MessageCounts,
    /// Messages of the node that the kernel is known not to have accepted whole for the opposite node, because that
    /// node was lost, or the node itself in the middle of a large message. Some of them also count as forwarded. Of the
    /// messages in the opposite node's queue, at most 256 are known.
    pub lost: MessageCounts,
    /// Messages of the node that concern one connection alone and were not passed on, such as `authch`.
    pub withheld: MessageCounts,
    /// The number of bytes that wait in the pipe for the opposite node, without that node's send queue.
    pub held_bytes: usize,
    /// The number of the items in the node's unanswered `getdata` and `getblocktxn` messages that are remembered.
    pub open_requests: usize,
}

/// The state of a side's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SideState {
    /// No connection is open; the pipe waits before the next dial, or for the opposite node's facts.
    Waiting,
    /// The node's facts are being learned.
    Probing,
    /// The node is being dialled with the opposite node's facts.
    Connecting,
    /// The node is ready.
    Ready,
}

/// The counts of a pipe as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipeCounts {
    /// Remembered stateful messages that were sent to a node when it became ready.
    pub replays: u64,
    /// Items that were answered with `notfound` because the opposite node was lost.
    pub notfounds: u64,
    /// Nodes that were closed because the opposite node was lost: an open request could not be answered, or a large
    /// message was incomplete.
    pub closed_after_loss: u64,
    /// Nodes that were closed because the opposite node was not ready in time.
    pub closed_alone: u64,
}

impl PipeReport {
    /// Returns one side's report.
    pub fn side(&self, side: Side) -> &SideReport {
        &self.sides[side.index()]
    }

    /// Returns whether both nodes are ready, and so joined.
    pub fn is_joined(&self) -> bool {
        self.sides.iter().all(|side| side.state == SideState::Ready)
    }
}

impl fmt::Display for SideState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Probing => "probing",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
        })
    }
}
