//! The prospect of a later connection to the same address, judged by how the last one ended. Embedders and the dialler
//! use the same judgement.

use super::{CloseReason, Deadline, LocalCause, NetworkFailure};

/// The prospect of a later connection to the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Nobody answered in time.
    Unanswered,
    /// The peer missed a deadline.
    Late,
    /// The operating system reported a failure.
    Failed(NetworkFailure),
    /// The peer closed the connection.
    Closed,
    /// The peer said in a `reject` that it does not want us, as one that is full does.
    TurnedAway,
    /// The peer is not for us, or broke the protocol.
    Unfit,
    /// The loop is connected to itself.
    Itself,
    /// The address is not to be dialled as things are.
    Barred,
    /// This side wanted the end.
    Dismissed,
}

impl CloseReason {
    /// Tells whether a later connection to the same address may well succeed. The peer manager dials an address again
    /// after the usual pauses exactly for these reasons, and for a [`LocalCause::SelfConnection`] that ended while it
    /// was [`Connecting`](crate::peer::ConnectionState::Connecting).
    pub const fn is_transient(&self) -> bool {
        match self.prospect() {
            Prospect::Unanswered | Prospect::Late | Prospect::Failed(_) | Prospect::Closed | Prospect::TurnedAway => {
                true
            }
            Prospect::Unfit | Prospect::Itself | Prospect::Barred | Prospect::Dismissed => false,
        }
    }

    /// Tells what the reason says of a later connection to the same address: the one place that decides it.
    pub(crate) const fn prospect(&self) -> Prospect {
        match self {
            Self::Wire(_) | Self::Misbehaved(_) | Self::Incompatible(_) => Prospect::Unfit,
            Self::TimedOut(Deadline::Connect) => Prospect::Unanswered,
            Self::TimedOut(
                Deadline::Handshake | Deadline::Pong | Deadline::Header | Deadline::Body | Deadline::Send,
            ) => Prospect::Late,
            Self::Network(failure) => Prospect::Failed(*failure),
            Self::ClosedByPeer => Prospect::Closed,
            // One that is full has room later.
            Self::RejectedByPeer(_) => Prospect::TurnedAway,
            Self::Local(LocalCause::SelfConnection) => Prospect::Itself,
            Self::Local(LocalCause::Banned | LocalCause::Duplicate) => Prospect::Barred,
            Self::Local(
                LocalCause::Requested | LocalCause::Shutdown | LocalCause::OverCapacity | LocalCause::Evicted,
            ) => Prospect::Dismissed,
        }
    }
}
