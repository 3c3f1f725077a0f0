//! Reasons why the peer manager dials no address.

use std::fmt;

/// The reason why the peer manager dials no address although it wants a peer.
///
/// Pauses that end by themselves are not included: a backoff, a range's pause after a dial, and the slower pace while
/// descriptors, ports or a network are missing. A failed dial that causes such a pause is reported as an event of its
/// own. A cause about a host or a range concerns an address that would otherwise be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DialHold {
    /// The book has no further address that may be dialled, now or after a backoff.
    NoCandidates,
    /// The host is banned.
    Banned,
    /// The fixed list has an address on which this loop listens.
    OwnAddress,
    /// The host has reached its maximum number of connections.
    HostFull,
    /// The range of addresses has reached its maximum number of connections.
    GroupFull,
    /// The range of addresses already has a dialled peer, and only one per range is dialled from the book.
    GroupTaken,
    /// The maximum number of peers is reached before all fixed peers are connected.
    MaxPeers,
    /// The maximum number of connections is reached, including those being closed or rejected.
    MaxLinks,
}

impl DialHold {
    /// All causes, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::NoCandidates,
        Self::Banned,
        Self::OwnAddress,
        Self::HostFull,
        Self::GroupFull,
        Self::GroupTaken,
        Self::MaxPeers,
        Self::MaxLinks,
    ];

    /// Returns the cause's short name, from a closed list.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoCandidates => "no_candidates",
            Self::Banned => "banned",
            Self::OwnAddress => "own_address",
            Self::HostFull => "host_full",
            Self::GroupFull => "group_full",
            Self::GroupTaken => "group_taken",
            Self::MaxPeers => "max_peers",
            Self::MaxLinks => "max_links",
        }
    }
}

impl fmt::Display for DialHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCandidates => "the book has no other address to dial; check the network and dns_seeds",
            Self::Banned => "the host is banned; lift the ban or trust the host",
            Self::OwnAddress => "this loop listens on an address in the fixed list; remove it from the list",
            Self::HostFull => "the host has reached its maximum number of connections; raise max_per_host",
            Self::GroupFull => {
                "the address range has reached its maximum number of connections; raise max_per_group_percent"
            }
            Self::GroupTaken => "every remaining address range in the book already has its one dialled peer",
            Self::MaxPeers => "max_peers is reached before all fixed peers are connected; raise max_peers",
            Self::MaxLinks => "max_links is reached; raise max_links",
        })
    }
}
