//! The reasons for a ban.
//!
//! They are plain values with labels from a closed list. Nothing here decides whether to ban a host.

use std::fmt;

/// The reason for a host's ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BanReason {
    /// The host's messages belong to another network.
    NetworkMismatch,
    /// The host's user agent belongs to another blockchain's node.
    BlockchainMismatch,
    /// The host's user agent is banned by configuration.
    BannedUserAgent,
    /// The host misbehaved: one severe violation, or too many points.
    Misbehavior,
    /// The embedder requested the ban.
    Manual,
}

impl BanReason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::NetworkMismatch, Self::BlockchainMismatch, Self::BannedUserAgent, Self::Misbehavior, Self::Manual];

    /// Returns a short name from a closed list, for counters, result files and the book.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NetworkMismatch => "network_mismatch",
            Self::BlockchainMismatch => "blockchain_mismatch",
            Self::BannedUserAgent => "banned_user_agent",
            Self::Misbehavior => "misbehaviour",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkMismatch => "it is on another network",
            Self::BlockchainMismatch => "its user agent belongs to another blockchain's node",
            Self::BannedUserAgent => "its user agent is banned",
            Self::Misbehavior => "it misbehaved",
            Self::Manual => "by hand",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_ban_has_the_label_manual_and_the_text_by_hand() {
        assert_eq!((BanReason::Manual.label(), BanReason::Manual.to_string().as_str()), ("manual", "by hand"));
    }

    #[test]
    fn every_reason_has_a_unique_label() {
        let mut labels = BanReason::ALL.map(BanReason::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), BanReason::ALL.len());
    }
}
