//! The prospect of a later connection to the same address, by how the last one ended, for embedders and the dialler.

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
    /// The peer refused us with a `reject`, as a full one does.
    TurnedAway,
    /// The peer is incompatible, or violated the protocol.
    Unfit,
    /// The loop is connected to itself.
    Itself,
    /// The address must not be dialled now.
    Barred,
    /// This side wanted the end.
    Dismissed,
}

impl CloseReason {
    /// Whether a later connection to the same address may well succeed. The peer manager retries an address after its
    /// usual pauses for exactly these reasons, and for a [`LocalCause::SelfConnection`] that ended while it was
    /// [`Connecting`](crate::peer::ConnectionState::Connecting).
    pub const fn is_transient(&self) -> bool {
        match self.prospect() {
            Prospect::Unanswered | Prospect::Late | Prospect::Failed(_) | Prospect::Closed | Prospect::TurnedAway => {
                true
            }
            Prospect::Unfit | Prospect::Itself | Prospect::Barred | Prospect::Dismissed => false,
        }
    }

    /// Returns the prospect of a later connection to the same address, which is decided here alone.
    pub(crate) const fn prospect(&self) -> Prospect {
        match self {
            Self::Wire(_) | Self::Misbehaved(_) | Self::Incompatible(_) => Prospect::Unfit,
            Self::TimedOut(Deadline::Connect) => Prospect::Unanswered,
            Self::TimedOut(
                Deadline::Handshake | Deadline::Pong | Deadline::Header | Deadline::Body | Deadline::Send,
            ) => Prospect::Late,
            Self::Network(failure) => Prospect::Failed(*failure),
            Self::ClosedByPeer => Prospect::Closed,
            // A full peer has room later.
            Self::RejectedByPeer(_) => Prospect::TurnedAway,
            Self::Local(LocalCause::SelfConnection) => Prospect::Itself,
            Self::Local(LocalCause::Banned | LocalCause::Duplicate) => Prospect::Barred,
            Self::Local(
                LocalCause::Requested | LocalCause::Shutdown | LocalCause::OverCapacity | LocalCause::Evicted,
            ) => Prospect::Dismissed,
        }
    }
}
