//! The consequences of a close reason.
//!
//! Only this module maps a reason to the address's treatment, the ban, the connection's final state and the log
//! level.
//!
//! It considers only the reason, never the connection. The caller adds how far the connection had progressed and
//! whether the host is trusted.

use super::ban_reason::BanReason;
use super::{
    CloseReason, Deadline, Disconnect, Incompatibility, LocalCause, NetworkFailure, Penalty, Shortage, WireError,
};
use log::Level;
use std::io::ErrorKind;

/// The consequences of a close reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consequences {
    /// The dialler's treatment of the address, if this side dialled it. [`Ended::while_in`] adapts the treatment to the
    /// state in which the connection was closed.
    pub(crate) ended: Ended,
    /// The reason for a ban, if the host has earned one.
    pub(crate) ban: Option<BanReason>,
    pub(crate) end_state: EndState,
    pub(crate) level: Level,
}

/// A dialled connection's end, in the detail that the dialler needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No peer answered at the address.
    Unreached,
    /// The peer closed an open connection, or the network lost it. An immediate restart may well succeed.
    Lost,
    /// The peer rejected the connection with a `reject`, for example because all its slots are in use.
    TurnedAway,
    /// The peer missed a deadline after its connection had opened, or the embedder requested a later retry.
    MissedDeadline,
    /// The dial failed during a local outage, so its failure says nothing about the address.
    Offline,
    /// The peer is incompatible, violated the protocol, or is unsuitable for the embedder.
    Incompatible,
    /// The address is this loop's own.
    SelfConnection,
    /// This side closed the connection: the embedder was done with it, the loop shut down, or the peer was evicted or
    /// exceeded the capacity.
    ClosedByUs,
    /// The address must not be dialled at present: its host is banned, or its peer has another connection.
    NotAllowed,
    /// This machine lacked a resource that a connection needs.
    Short(Shortage),
    /// This machine has no network, or no route to the address.
    NoNetwork,
}

/// A connection's final state. A connection that was still connecting ends as failed instead of rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    Disconnected,
    Rejected,
    Failed,
}

impl CloseReason {
    /// Returns whether a later connection to the same address may succeed.
    ///
    /// After a close for such a reason, the peer manager dials the address again, either at once or after the usual
    /// pauses. It also retries after the pauses if a [`LocalCause::SelfConnection`] occurred while
    /// [`Connecting`](crate::peer::ConnectionState::Connecting).
    pub const fn is_transient(&self) -> bool {
        match self.consequences().ended {
            Ended::Unreached
            | Ended::Lost
            | Ended::TurnedAway
            | Ended::MissedDeadline
            | Ended::Offline
            | Ended::Short(_)
            | Ended::NoNetwork => true,
            Ended::Incompatible | Ended::SelfConnection | Ended::ClosedByUs | Ended::NotAllowed => false,
        }
    }

    /// Returns the reason's consequences.
    ///
    /// There is no ban for a slow, outdated or lost peer, nor for a malformed payload (SV Node 1.2.2).
    pub(crate) const fn consequences(&self) -> Consequences {
        use EndState::{Disconnected, Failed, Rejected};
        use Level::{Info, Warn};
        let (ended, end_state, level) = match self {
            Self::Wire(_) | Self::Misbehaved(_) => (Ended::Incompatible, Failed, Warn),
            Self::Incompatible(_) => (Ended::Incompatible, Rejected, Warn),
            Self::TimedOut(Deadline::Connect) => (Ended::Unreached, Failed, Warn),
            Self::TimedOut(
                Deadline::Handshake | Deadline::Pong | Deadline::Header | Deadline::Body | Deadline::Send,
            ) => (Ended::MissedDeadline, Failed, Warn),
            Self::Network(failure) => (Ended::of_failure(failure), Failed, Warn),
            Self::ClosedByPeer => (Ended::Lost, Disconnected, Info),
            Self::RejectedByPeer(_) => (Ended::TurnedAway, Rejected, Warn),
            Self::Requested(Disconnect::RetryLater | Disconnect::TooSlow { .. }) => {
                (Ended::MissedDeadline, Disconnected, Info)
            }
            Self::Requested(Disconnect::Unsuitable) => (Ended::Incompatible, Disconnected, Info),
            Self::Local(LocalCause::SelfConnection) => (Ended::SelfConnection, Disconnected, Info),
            Self::Local(LocalCause::Banned | LocalCause::Duplicate) => (Ended::NotAllowed, Disconnected, Info),
            Self::Local(LocalCause::OverCapacity | LocalCause::StreamRefused) => (Ended::ClosedByUs, Rejected, Info),
            Self::Requested(Disconnect::Done) | Self::Local(LocalCause::Shutdown | LocalCause::Evicted) => {
                (Ended::ClosedByUs, Disconnected, Info)
            }
            Self::Local(LocalCause::BecameStream) => (Ended::ClosedByUs, Disconnected, Level::Debug),
        };
        let ban = match self {
            // SV Node 1.2.2, net_processing.cpp ProcessMessages and net.cpp ReceiveMsgBytes: a ban without points
            Self::Wire(WireError::BadMagic { network: None, .. } | WireError::OverLimit { .. }) => {
                Some(BanReason::Misbehavior)
            }
            Self::Misbehaved(misbehavior) => match misbehavior.penalty() {
                Penalty::Points(_) => Some(BanReason::Misbehavior),
                Penalty::Disconnect => None,
            },
            Self::Wire(WireError::BadMagic { network: Some(_), .. })
            | Self::Incompatible(Incompatibility::Network { .. }) => Some(BanReason::NetworkMismatch),
            Self::Incompatible(Incompatibility::Blockchain) => Some(BanReason::BlockchainMismatch),
            Self::Incompatible(Incompatibility::BannedUserAgent) => Some(BanReason::BannedUserAgent),
            Self::Wire(
                WireError::Truncated { .. }
                | WireError::NonCanonicalSize { .. }
                | WireError::OverlongSize { .. }
                | WireError::TooLong { .. }
                | WireError::BadValue { .. }
                | WireError::BadChecksum { .. },
            )
            | Self::Incompatible(Incompatibility::ProtocolVersion { .. })
            | Self::TimedOut(_)
            | Self::Network(_)
            | Self::ClosedByPeer
            | Self::RejectedByPeer(_)
            | Self::Requested(_)
            | Self::Local(_) => None,
        };
        Consequences { ended, ban, end_state, level }
    }
}

impl Consequences {
    /// Returns the same consequences without the ban.
    pub(crate) const fn without_ban(self) -> Self {
        Self { ban: None, ..self }
    }
}

impl Ended {
    const fn of_failure(failure: &NetworkFailure) -> Self {
        match (failure.shortage(), failure.kind) {
            (Some(shortage), _) => Self::Short(shortage),
            (None, ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown) => Self::NoNetwork,
            (None, _) => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{IoStep, one_of_each};
    use crate::protocol::Network;

    /// One line per reason, in the order of [`CloseReason::LABELS`]: its label, the address's treatment, the ban, the
    /// final state and the log level.
    const TABLE: &str = "
        bad_magic              Incompatible          misbehaviour         Failed       WARN
        over_limit             Incompatible          misbehaviour         Failed       WARN
        truncated_message      Incompatible          -                    Failed       WARN
        non_canonical_size     Incompatible          -                    Failed       WARN
        overlong_size          Incompatible          -                    Failed       WARN
        field_too_long         Incompatible          -                    Failed       WARN
        bad_value              Incompatible          -                    Failed       WARN
        bad_checksum           Incompatible          -                    Failed       WARN
        handshake_flood        Incompatible          -                    Failed       WARN
        second_protoconf       Incompatible          -                    Failed       WARN
        intolerable            Incompatible          -                    Failed       WARN
        ban_score              Incompatible          misbehaviour         Failed       WARN
        protocol_version       Incompatible          -                    Rejected     WARN
        wrong_network          Incompatible          network_mismatch     Rejected     WARN
        wrong_blockchain       Incompatible          blockchain_mismatch  Rejected     WARN
        banned_user_agent      Incompatible          banned_user_agent    Rejected     WARN
        connect_timeout        Unreached             -                    Failed       WARN
        handshake_timeout      MissedDeadline        -                    Failed       WARN
        pong_timeout           MissedDeadline        -                    Failed       WARN
        header_timeout         MissedDeadline        -                    Failed       WARN
        body_timeout           MissedDeadline        -                    Failed       WARN
        send_stalled           MissedDeadline        -                    Failed       WARN
        local_emfile           Short(Descriptors)    -                    Failed       WARN
        local_eaddrnotavail    Short(Ports)          -                    Failed       WARN
        local_source_address   Short(SourceAddress)  -                    Failed       WARN
        local_enobufs          Short(Memory)         -                    Failed       WARN
        refused                Lost                  -                    Failed       WARN
        reset                  Lost                  -                    Failed       WARN
        aborted                Lost                  -                    Failed       WARN
        broken_pipe            Lost                  -                    Failed       WARN
        network_timeout        Lost                  -                    Failed       WARN
        host_unreachable       Lost                  -                    Failed       WARN
        network_unreachable    NoNetwork             -                    Failed       WARN
        io_error               Lost                  -                    Failed       WARN
        closed_by_peer         Lost                  -                    Disconnected INFO
        rejected_by_peer       TurnedAway            -                    Rejected     WARN
        requested              ClosedByUs            -                    Disconnected INFO
        retry_later            MissedDeadline        -                    Disconnected INFO
        unsuitable             Incompatible          -                    Disconnected INFO
        too_slow               MissedDeadline        -                    Disconnected INFO
        shutdown               ClosedByUs            -                    Disconnected INFO
        over_capacity          ClosedByUs            -                    Rejected     INFO
        banned                 NotAllowed            -                    Disconnected INFO
        evicted                ClosedByUs            -                    Disconnected INFO
        duplicate              NotAllowed            -                    Disconnected INFO
        self_connection        SelfConnection        -                    Disconnected INFO
        became_stream          ClosedByUs            -                    Disconnected DEBUG
        stream_refused         ClosedByUs            -                    Rejected     INFO
    ";

    #[test]
    fn every_reason_matches_its_line_in_the_table() {
        let expected: Vec<Vec<&str>> =
            TABLE.trim().lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        let reasons = one_of_each();
        assert_eq!(reasons.len(), expected.len());
        for (reason, expected) in reasons.iter().zip(expected) {
            let Consequences { ended, ban, end_state, level } = reason.consequences();
            let ban = ban.map_or("-", BanReason::label);
            let found = [reason.label(), &format!("{ended:?}"), ban, &format!("{end_state:?}"), level.as_str()];
            assert_eq!(found, *expected);
        }
    }

    #[test]
    fn disconnect_reasons_never_ban_and_differ_in_the_treatment_of_the_address() {
        let consequences = Disconnect::ALL.map(|disconnect| CloseReason::Requested(disconnect).consequences());
        assert!(consequences.iter().all(|found| found.ban.is_none() && found.end_state == EndState::Disconnected));
        let ended = consequences.map(|found| found.ended);
        assert_eq!(ended, [Ended::ClosedByUs, Ended::MissedDeadline, Ended::Incompatible, Ended::MissedDeadline]);
    }

    #[test]
    fn req_e06_another_networks_magic_causes_a_ban_for_a_network_mismatch() {
        let foreign = WireError::BadMagic { found: [0xf9, 0xbe, 0xb4, 0xd9], network: Some(Network::Testnet) };
        assert_eq!(CloseReason::Wire(foreign).consequences().ban, Some(BanReason::NetworkMismatch));
    }

    #[test]
    fn network_down_counts_as_no_network_when_connecting_reading_and_writing() {
        for step in [IoStep::Connect, IoStep::Read, IoStep::Write] {
            let reason = CloseReason::Network(NetworkFailure::new(step, &ErrorKind::NetworkDown.into()));
            assert_eq!(reason.consequences().ended, Ended::NoNetwork);
        }
    }
}
