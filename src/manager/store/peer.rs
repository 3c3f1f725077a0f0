//! The record of one peer.

use crate::address::canonical;
use crate::limits::MAX_USER_AGENT_BYTES;
use crate::manager::ban::BanReason;
use crate::time::UnixTime;
use std::fmt;
use std::net::SocketAddr;

/// The book's record of one address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownPeer {
    address: SocketAddr,
    /// The peer's status.
    pub status: PeerStatus,
    /// The time since which the peer has had this status. For an unknown peer from gossip, the sender's claimed
    /// last-seen time minus two hours; an impossible claim counts as five days ago. The loop uses this field only as
    /// the peer's time in `addr` replies, if `last_connected` is `None`.
    pub status_since: UnixTime,
    /// The time of the last completed handshake of a dial of the peer, if any. The loop uses this field only as the
    /// peer's time in `addr` replies.
    pub last_connected: Option<UnixTime>,
    /// The services last claimed for the peer, by itself or by others.
    pub services: u64,
    /// The user agent of the peer's last `version`; empty if there was none.
    pub user_agent: UserAgent,
    /// The number of failures since the last successful dial: failed dials, and lost connections that were not
    /// restarted.
    pub failures: u32,
}

/// The status of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeerStatus {
    /// No dial of the peer has led to a handshake, or its earlier status no longer applies.
    #[default]
    Unknown,
    /// A dial of the peer led to a completed handshake.
    Valid,
    /// The peer failed too often or is incompatible. It is dialled rarely, and usually after all others.
    Inaccessible,
    /// The peer's host is banned.
    Banned(BanReason),
}

/// A user agent that can be stored and shown: printable ASCII, at most 256 bytes. The default is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent(Box<str>);

impl KnownPeer {
    /// Creates the record of a peer whose status has been unknown since `since`. Converts the address to [`canonical`]
    /// form.
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

    /// Returns the address on which the peer listens. An IPv4 address is always in IPv4 form.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl PeerStatus {
    /// Returns whether both statuses are equal apart from a ban's reason.
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        self.index() == other.index()
    }

    /// The number of kinds of status. All banned statuses are one kind.
    pub(super) const KINDS: usize = 4;

    /// Returns the kind of status as an index. A peer whose status has a higher index is more valuable.
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
    /// Returns the part of `text` that can be stored: its printable ASCII, truncated to 256 bytes.
    pub fn sanitised(text: &[u8]) -> Self {
        let printable = text.iter().filter(|byte| matches!(byte, b' '..=b'~'));
        Self(printable.take(MAX_USER_AGENT_BYTES).map(|&byte| char::from(byte)).collect())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Omits the reason of a ban.
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
