//! Bans: what counts against a peer, when it is enough, and the banned hosts.
//!
//! A [`Misbehavior`](crate::error::Misbehavior) costs points or the connection at once. The score adds up the points of
//! one connection, the list keeps the [`Ban`]s of hosts, and trusted networks are exempt from all of this. Nothing in
//! here closes a connection, reads a clock or writes to a disk, and no number of peers makes it grow beyond its limits.

pub(crate) mod list;
pub(crate) mod score;
pub(crate) mod trusted;

pub use crate::error::ban_reason::BanReason;

use crate::address::Host;
use crate::time::UnixTime;

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
