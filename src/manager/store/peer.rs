//! What is known of one peer.

use crate::address::canonical;
use crate::limits::MAX_USER_AGENT_BYTES;
use crate::manager::ban::BanReason;
use crate::time::UnixTime;
use std::fmt;
use std::net::SocketAddr;

/// What the book says of one address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    address: SocketAddr,
    /// What it is good for.
    pub status: PeerStatus,
    /// Since when it has that status; of one that other peers have named and nobody has tried, when they say it was
    /// last seen. Only for people to read: no decision depends on it.
    pub status_since: UnixTime,
    /// When a handshake with it was last completed, if ever. Only for people to read.
    pub last_connected: Option<UnixTime>,
    /// The services that it was last said to have, by itself or by others.
    pub services: u64,
    /// The user agent that it last gave; empty if it never did.
    pub user_agent: UserAgent,
    /// Dials that have failed since the last one that did not.
    pub failures: u32,
}

/// What a peer is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeerStatus {
    /// Nobody has tried.
    #[default]
    Unknown,
    /// A handshake with it was completed.
    Valid,
    /// It failed too often or was not for us: it is dialled after all others, and rarely.
    Inaccessible,
    /// It is not to be talked to.
    Banned(BanReason),
}

/// A user agent that can be stored and shown: printable ASCII, at most 256 bytes. The default is the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent(Box<str>);

impl KnownPeer {
    /// A peer of which only the address is known, in its [`canonical`] form.
    pub fn new(address: SocketAddr, since: UnixTime) -> Self {
        Self {
            address: canonical(address),
            status: PeerStatus::Unknown,
            status_since: since,
            last_connected: None,
            services: 0,
            user_agent: UserAgent::default(),
            failures: 0,
        }
    }

    /// Where it listens; an IPv4 address is always written as one.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl PeerStatus {
    /// Whether both are the same but for the reason of a ban.
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        self.index() == other.index()
    }

    /// How many kinds there are.
    pub(super) const KINDS: usize = 4;

    /// The kind as an index; the higher, the more it is worth to keep such a peer.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Inaccessible => 0,
            Self::Unknown => 1,
            Self::Banned(_) => 2,
            Self::Valid => 3,
        }
    }
}

impl UserAgent {
    /// What of `text` can be stored: its printable ASCII, cut to 256 bytes.
    pub fn sanitised(text: &[u8]) -> Self {
        let printable = text.iter().filter(|byte| matches!(byte, b' '..=b'~'));
        Self(printable.take(MAX_USER_AGENT_BYTES).map(|&byte| char::from(byte)).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A ban in words has its reason in the [`BanReason`].
impl fmt::Display for PeerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Valid => "valid",
            Self::Inaccessible => "inaccessible",
            Self::Banned(_) => "banned",
        })
    }
}
