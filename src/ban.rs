//! Who is banned and why, and what a peer did to get there.
//!
//! All are facts, free of text and numbers of the peer's choice. Nothing in here remembers anything.

use crate::address::Host;
use crate::time::UnixTime;
use std::fmt;

/// A ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub host: Host,
    /// Why.
    pub reason: BanReason,
    /// Since when.
    pub since: UnixTime,
    /// Until when; none for ever.
    pub until: Option<UnixTime>,
}

/// Why a host is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BanReason {
    /// It is on another network.
    NetworkMismatch,
    /// It follows another blockchain.
    BlockchainMismatch,
    /// Its user agent is banned by configuration.
    BannedUserAgent,
    /// Its misbehaviour reached the score of a ban.
    Misbehaviour,
    /// The embedder asked for it.
    Manual,
}

/// Something that a correct peer does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Misconduct {
    /// A second `version`.
    SecondVersion,
    /// One more wrong checksum in a quick row of more than a hundred.
    BadChecksum,
}

impl BanReason {
    /// A short name from a closed list.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NetworkMismatch => "network_mismatch",
            Self::BlockchainMismatch => "blockchain_mismatch",
            Self::BannedUserAgent => "banned_user_agent",
            Self::Misbehaviour => "misbehaviour",
            Self::Manual => "manual",
        }
    }
}

impl Misconduct {
    /// A short name from a closed list.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SecondVersion => "second_version",
            Self::BadChecksum => "bad_checksum",
        }
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkMismatch => "it is on another network",
            Self::BlockchainMismatch => "it follows another blockchain",
            Self::BannedUserAgent => "its user agent is banned",
            Self::Misbehaviour => "it misbehaved",
            Self::Manual => "as asked",
        })
    }
}

impl fmt::Display for Misconduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecondVersion => "a second version",
            Self::BadChecksum => "wrong checksums in a quick row",
        })
    }
}
