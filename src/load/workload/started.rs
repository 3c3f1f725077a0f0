//! An operation that a workload starts, and the result of starting it.

use crate::time::Instant;

/// An operation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// The index in the schedule of all segments together. The warm-up and the run each begin with 0.
    pub index: u64,
    /// Whether the operation belongs to the warm-up, which is not measured.
    pub is_warmup: bool,
    /// The planned moment.
    pub planned: Instant,
    /// A number that no other operation of this generator has. A message that is sent with
    /// [`Ctx::send_marked`](crate::Ctx::send_marked) and this mark is timed from its write. Marks count from 0, so a
    /// workload can use those above [`u64::MAX`] / 2 for further messages.
    pub mark: u64,
}

/// The result of starting an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The operation's message was sent or queued. It is answered by
    /// [`Operations::answered`](super::Operations::answered).
    Sent {
        /// The key, for finding the operation when its reply arrives.
        key: u64,
    },
    /// The operation's message can be sent only after something that the peer is about to send. The workload sends it
    /// then with [`Operations::send_held`](super::Operations::send_held). The wait counts in the latency from the
    /// planned moment, and is no lag of the generator. If the peer already has
    /// [`MAX_MARKS_PER_PEER`](crate::limits::MAX_MARKS_PER_PEER) held operations, the operation counts as not sent
    /// instead, with the cause `too_many_operations`.
    Held,
    /// The operation was sent as a ping with [`Ctx::ping`](crate::Ctx::ping), and is answered by the pong. Only for a
    /// workload that [pings](super::Workload::pings).
    Pinged {
        /// The nonce that [`Ctx::ping`](crate::Ctx::ping) returned.
        nonce: u64,
    },
    /// The operation could not be sent, and counts as such.
    NotSent {
        /// The cause, from a closed list; for example [`RequestError::label`](crate::error::RequestError::label).
        cause: &'static str,
    },
}
