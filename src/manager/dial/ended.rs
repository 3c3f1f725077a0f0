//! The consequences of a dialled connection's close for its address.
//!
//! [`CloseReason::consequences`](crate::error::CloseReason) classifies the reason; [`Ended::while_in`] adds the state
//! that the connection had reached. Both are pure functions.

pub(crate) use crate::error::Ended;

use crate::peer::ConnectionState;
use crate::time::Instant;

/// The dialler's decision about an address whose connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The address is dialled again at once: [`Dialler::next`](super::Dialler::next) returns it before the other
    /// addresses of its family.
    Restart,
    /// The address is not dialled before this moment, except on request, when a missing resource is free again, or
    /// when a ban of its host ends.
    WaitUntil(Instant),
    /// The book should mark the address as inaccessible, because it failed too often, is incompatible, or failed while
    /// too many other addresses were waiting. The address is then usually dialled after all others.
    Inaccessible,
    /// The address belongs to a fixed peer that is known by name. The name's next address is dialled instead, or the
    /// name is resolved again.
    NextAddress,
    /// No dial is planned: the address was dialled once on request, is dialled again only on request, or may be drawn
    /// from the book at any time.
    Nothing,
}

/// The decision about a dialled connection's close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) decision: Decision,
    /// The number of consecutive failures of the address.
    pub(crate) failures: u32,
    /// The number of restarts of the address within the window.
    pub(crate) restarts: u32,
}

impl Ended {
    /// Returns the close's meaning for a connection that was in `state`.
    pub(crate) const fn while_in(self, state: ConnectionState) -> Self {
        match self {
            Self::Lost if !was_open(state) => Self::Unreached,
            Self::NoNetwork if was_open(state) => Self::Lost,
            // The kernel connected the socket to itself, so no peer listens on this address yet.
            Self::SelfConnection if !was_open(state) => Self::Unreached,
            ended @ (Self::Unreached
            | Self::Lost
            | Self::TurnedAway
            | Self::MissedDeadline
            | Self::Offline
            | Self::Incompatible
            | Self::SelfConnection
            | Self::ClosedByUs
            | Self::NotAllowed
            | Self::Short(_)
            | Self::NoNetwork) => ended,
        }
    }

    /// Returns whether this close extends the address's backoff. A lost connection does so only if it is not
    /// restarted.
    pub(super) const fn is_failure(self) -> bool {
        match self {
            Self::Unreached | Self::Lost | Self::TurnedAway | Self::MissedDeadline | Self::Offline => true,
            Self::Incompatible
            | Self::SelfConnection
            | Self::ClosedByUs
            | Self::NotAllowed
            | Self::Short(_)
            | Self::NoNetwork => false,
        }
    }

    /// Returns whether a connection closed this way in `state` may indicate an [outage](super::Outage): its handshake
    /// was not complete, and the reason does not show that the network works or that this machine caused the close.
    pub(crate) fn is_failed_dial(self, state: ConnectionState) -> bool {
        match self {
            Self::Unreached | Self::Lost | Self::MissedDeadline | Self::Offline => state != ConnectionState::Connected,
            // After these closes a message has usually arrived, so the network works.
            Self::TurnedAway | Self::Incompatible | Self::SelfConnection => false,
            Self::ClosedByUs | Self::NotAllowed | Self::Short(_) | Self::NoNetwork => false,
        }
    }
}

const fn was_open(state: ConnectionState) -> bool {
    match state {
        ConnectionState::AwaitingHandshake | ConnectionState::Connected => true,
        ConnectionState::Disconnected
        | ConnectionState::Connecting
        | ConnectionState::Rejected
        | ConnectionState::Failed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{
        CloseReason, Deadline, Disconnect, Incompatibility, IoStep, LocalCause, Misbehavior, NetworkFailure, Shortage,
        WireError, one_of_each,
    };
    use ConnectionState::{AwaitingHandshake, Connected, Connecting};
    use std::io::{self, ErrorKind};

    const LIVE: [ConnectionState; 3] = [Connecting, AwaitingHandshake, Connected];

    fn network(error: impl Into<io::Error>) -> CloseReason {
        CloseReason::Network(NetworkFailure::new(IoStep::Connect, &error.into()))
    }

    fn ends(reason: CloseReason) -> [Ended; 3] {
        LIVE.map(|state| reason.consequences().ended.while_in(state))
    }

    #[test]
    fn req_e19_a_network_failure_is_a_failed_dial_until_the_connection_opens_and_then_a_lost_connection() {
        use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, HostUnreachable, Other, TimedOut};
        for kind in [ConnectionRefused, TimedOut, HostUnreachable, ConnectionReset, BrokenPipe, Other] {
            assert_eq!(ends(network(kind)), [Ended::Unreached, Ended::Lost, Ended::Lost], "{kind}");
        }
        for kind in [ErrorKind::NetworkUnreachable, ErrorKind::NetworkDown] {
            assert_eq!(ends(network(kind)), [Ended::NoNetwork, Ended::Lost, Ended::Lost], "{kind}");
        }
        assert_eq!(ends(CloseReason::ClosedByPeer), [Ended::Unreached, Ended::Lost, Ended::Lost]);
    }

    #[test]
    fn fault_e02_a_local_shortage_is_recognised_in_every_state() {
        for (code, shortage) in [(24, Shortage::Descriptors), (23, Shortage::Descriptors), (12, Shortage::Memory)] {
            let reason = network(io::Error::from_raw_os_error(code));
            assert_eq!(ends(reason), [Ended::Short(shortage); 3], "{code}");
        }
        assert_eq!(ends(network(ErrorKind::AddrNotAvailable)), [Ended::Short(Shortage::Ports); 3]);
    }

    #[test]
    fn req_e20_a_missed_connect_deadline_means_unreached_and_any_other_means_missed_deadline() {
        assert_eq!(
            CloseReason::TimedOut(Deadline::Connect).consequences().ended.while_in(Connecting),
            Ended::Unreached
        );
        assert_eq!(
            CloseReason::TimedOut(Deadline::Handshake).consequences().ended.while_in(AwaitingHandshake),
            Ended::MissedDeadline
        );
        for deadline in [Deadline::Pong, Deadline::Header, Deadline::Body, Deadline::Send] {
            let reason = CloseReason::TimedOut(deadline);
            assert_eq!(reason.consequences().ended.while_in(AwaitingHandshake), Ended::MissedDeadline, "{deadline}");
            assert_eq!(reason.consequences().ended.while_in(Connected), Ended::MissedDeadline, "{deadline}");
        }
    }

    #[test]
    fn req_e06_the_meaning_of_an_incompatibility_a_reject_or_a_close_by_us_does_not_depend_on_the_state() {
        for reason in [
            CloseReason::Wire(WireError::BadMagic { found: [0; 4], network: None }),
            CloseReason::Misbehaved(Misbehavior::TooManyHandshakeMessages),
            CloseReason::Incompatible(Incompatibility::Blockchain),
        ] {
            assert_eq!(ends(reason), [Ended::Incompatible; 3], "{reason}");
        }
        assert_eq!(ends(CloseReason::RejectedByPeer(0x11)), [Ended::TurnedAway; 3]);
        assert_eq!(ends(Disconnect::Done.into()), [Ended::ClosedByUs; 3]);
        for cause in [LocalCause::Shutdown, LocalCause::OverCapacity] {
            assert_eq!(ends(cause.into()), [Ended::ClosedByUs; 3], "{cause:?}");
        }
        for cause in [LocalCause::Banned, LocalCause::Duplicate] {
            assert_eq!(ends(cause.into()), [Ended::NotAllowed; 3], "{cause:?}");
        }
    }

    #[test]
    fn req_e51_exactly_failures_and_local_faults_are_transient_except_an_early_self_connection() {
        for reason in one_of_each() {
            for (ended, state) in ends(reason).into_iter().zip(LIVE) {
                let is_tried_again = ended.is_failure() || matches!(ended, Ended::Short(_) | Ended::NoNetwork);
                // This reason is not transient, but a self-connection is retried if it is found while connecting.
                let is_unreached = reason == LocalCause::SelfConnection.into() && state == Connecting;
                assert_eq!(reason.is_transient() || is_unreached, is_tried_again, "{reason} while {state}");
            }
        }
    }

    #[test]
    fn threat_p17_a_self_connection_is_a_failed_dial_until_the_connection_opens_and_then_identifies_our_own_address() {
        let ends = ends(LocalCause::SelfConnection.into());
        assert_eq!(ends, [Ended::Unreached, Ended::SelfConnection, Ended::SelfConnection]);
    }
}
