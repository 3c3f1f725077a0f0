//! Who is not talked to: what is held against a peer, when it is enough, and the hosts that are banned for it.
//!
//! A [`Misconduct`] costs points, the connection or a ban at once; the score adds up the points of one connection, the
//! list keeps the [`Ban`]s of hosts, and the trusted networks are those that none of this is for. Nothing in here
//! closes a connection, asks a clock or writes to a disk, and no number of peers makes it grow beyond its limits.

pub(crate) mod list;
mod misconduct;
pub(crate) mod score;
pub(crate) mod trusted;

pub use misconduct::{Misconduct, Penalty};

use crate::address::Host;
use crate::error::{CloseReason, Incompatibility, Misbehaviour, WireError};
use crate::time::UnixTime;
use crate::wire::header::PayloadLimits;
use std::fmt;

/// A host that is not talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The host, with all its addresses and ports.
    pub host: Host,
    /// What it is banned for.
    pub reason: BanReason,
    /// When the ban began.
    pub since: UnixTime,
    /// When it ends; `None` for a ban for ever.
    pub until: Option<UnixTime>,
}

/// What a host is banned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BanReason {
    /// Its messages are those of another network.
    NetworkMismatch,
    /// Its user agent is that of another blockchain's node.
    BlockchainMismatch,
    /// Its user agent is banned by configuration.
    BannedUserAgent,
    /// It broke the protocol, at once badly or too often.
    Misbehaviour,
    /// The embedder asked for it.
    Manual,
}

impl BanReason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::NetworkMismatch, Self::BlockchainMismatch, Self::BannedUserAgent, Self::Misbehaviour, Self::Manual];

    /// A short name from a closed list, for counters, result files and the book.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NetworkMismatch => "network_mismatch",
            Self::BlockchainMismatch => "blockchain_mismatch",
            Self::BannedUserAgent => "banned_user_agent",
            Self::Misbehaviour => "misbehaviour",
            Self::Manual => "manual",
        }
    }

    /// What the host has to be banned for whose connection ended for this reason, with the payload limits that it had.
    ///
    /// Who is only slow, old, gone or malformed in its payload is not banned, as SV Node 1.2.2 does not. Nor is it for
    /// a message that is too large in a handshake alone, for that limit is our own.
    pub(crate) fn earned_by(reason: CloseReason, limits: &PayloadLimits) -> Option<Self> {
        match reason {
            // SV Node 1.2.2, net_processing.cpp ProcessMessages and net.cpp ReceiveMsgBytes: banned without a score
            CloseReason::Wire(WireError::BadMagic { network: Some(_), .. }) => Some(Self::NetworkMismatch),
            CloseReason::Wire(WireError::BadMagic { network: None, .. }) => Some(Self::Misbehaviour),
            CloseReason::Wire(WireError::OverLimit { command, len_bytes }) => {
                (!limits.allow(command, len_bytes)).then_some(Self::Misbehaviour)
            }
            CloseReason::Wire(
                WireError::Truncated { .. }
                | WireError::NonCanonicalSize { .. }
                | WireError::OverlongSize { .. }
                | WireError::TooLong { .. }
                | WireError::BadValue { .. }
                | WireError::BadChecksum { .. },
            ) => None,
            CloseReason::Misbehaved(Misbehaviour::BanScore) => Some(Self::Misbehaviour),
            CloseReason::Misbehaved(
                Misbehaviour::TooManyHandshakeMessages | Misbehaviour::SecondProtoconf | Misbehaviour::Intolerable,
            ) => None,
            CloseReason::Incompatible(Incompatibility::Network { .. }) => Some(Self::NetworkMismatch),
            CloseReason::Incompatible(Incompatibility::Blockchain) => Some(Self::BlockchainMismatch),
            CloseReason::Incompatible(Incompatibility::BannedUserAgent) => Some(Self::BannedUserAgent),
            CloseReason::Incompatible(Incompatibility::ProtocolVersion { .. }) => None,
            CloseReason::TimedOut(_)
            | CloseReason::Network(_)
            | CloseReason::ClosedByPeer
            | CloseReason::RejectedByPeer(_)
            | CloseReason::Local(_) => None,
        }
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkMismatch => "it is on another network",
            Self::BlockchainMismatch => "its user agent is that of another blockchain's node",
            Self::BannedUserAgent => "its user agent is banned",
            Self::Misbehaviour => "it misbehaved",
            Self::Manual => "by hand",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Deadline, IoStep, LocalCause, NetworkFailure};
    use crate::protocol::{CommandName, Network};
    use std::io;

    const COMMAND: CommandName = CommandName::HEADERS;

    fn earned(reason: impl Into<CloseReason>) -> Option<BanReason> {
        BanReason::earned_by(reason.into(), &PayloadLimits::default())
    }

    #[test]
    fn seed_e06_bytes_of_another_network_or_of_none_are_banned_at_once() {
        let foreign = WireError::BadMagic { found: [0xf9, 0xbe, 0xb4, 0xd9], network: Some(Network::Testnet) };
        assert_eq!(earned(foreign), Some(BanReason::NetworkMismatch));
        let garbage = WireError::BadMagic { found: *b"GET ", network: None };
        assert_eq!(earned(garbage), Some(BanReason::Misbehaviour));
    }

    #[test]
    fn a_claim_over_the_limit_of_its_command_is_banned_but_not_one_that_only_a_handshake_refuses() {
        let limit = crate::wire::header::payload_limit(COMMAND, &PayloadLimits::default());
        let claim = |len_bytes| WireError::OverLimit { command: COMMAND, len_bytes };
        assert_eq!(earned(claim(limit + 1)), Some(BanReason::Misbehaviour));
        assert_eq!(earned(claim(u64::MAX)), Some(BanReason::Misbehaviour));
        assert_eq!(earned(claim(limit)), None);
        assert_eq!(earned(claim(crate::limits::HANDSHAKE_PAYLOAD_MAX_BYTES + 1)), None);
    }

    #[test]
    fn seed_e38_who_is_not_for_us_is_banned_by_what_it_is_and_an_old_one_is_not() {
        assert_eq!(earned(Incompatibility::Network { found: Network::Stn }), Some(BanReason::NetworkMismatch));
        assert_eq!(earned(Incompatibility::Blockchain), Some(BanReason::BlockchainMismatch));
        assert_eq!(earned(Incompatibility::BannedUserAgent), Some(BanReason::BannedUserAgent));
        assert_eq!(earned(Incompatibility::ProtocolVersion { claimed: 209 }), None);
    }

    #[test]
    fn whoever_is_slow_gone_or_malformed_is_not_banned() {
        for reason in [
            WireError::Truncated { command: COMMAND }.into(),
            WireError::NonCanonicalSize { command: COMMAND }.into(),
            WireError::OverlongSize { command: COMMAND }.into(),
            WireError::TooLong { command: COMMAND }.into(),
            WireError::BadValue { command: COMMAND }.into(),
            WireError::BadChecksum { command: COMMAND }.into(),
            Misbehaviour::TooManyHandshakeMessages.into(),
            Misbehaviour::SecondProtoconf.into(),
            Deadline::Handshake.into(),
            Deadline::Pong.into(),
            CloseReason::Network(NetworkFailure::new(IoStep::Read, &io::ErrorKind::ConnectionReset.into())),
            CloseReason::ClosedByPeer,
            CloseReason::RejectedByPeer(0x11),
            LocalCause::Requested.into(),
            LocalCause::OverCapacity.into(),
        ] {
            assert_eq!(earned(reason), None, "{reason}");
        }
    }

    #[test]
    fn a_ban_that_was_asked_for_is_told_in_the_word_of_its_label() {
        assert_eq!((BanReason::Manual.label(), BanReason::Manual.to_string().as_str()), ("manual", "by hand"));
    }

    #[test]
    fn no_two_reasons_have_one_label() {
        let mut labels = BanReason::ALL.map(BanReason::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), BanReason::ALL.len());
    }
}
