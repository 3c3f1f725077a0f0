//! Who is not to be talked to, and why.

use crate::address::Host;
use crate::time::UnixTime;

/// Why a host is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanReason {
    /// It is on another network.
    NetworkMismatch,
    /// It is on another blockchain.
    BlockchainMismatch,
    /// Its user agent is banned by configuration.
    BannedUserAgent,
    /// It misbehaved.
    Misbehaviour,
    /// Somebody asked for it.
    Manual,
}

/// A host that is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub host: Host,
    /// Why.
    pub reason: BanReason,
    /// Since when.
    pub since: UnixTime,
    /// Until when; `None` is for ever.
    pub until: Option<UnixTime>,
}
