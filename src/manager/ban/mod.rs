//! Bans: the misbehavior scores of peers, and the banned hosts.
//!
//! A [`Misbehavior`](crate::error::Misbehavior) costs points, or requires an immediate close. The score adds up the
//! points of one connection, the list stores the [`Ban`]s of hosts, and trusted networks are exempt from scores and
//! bans. Nothing here closes a connection, reads a clock or writes to a disk, and memory stays within its limits for
//! any number of peers.

pub(crate) mod list;
pub(crate) mod score;
pub(crate) mod trusted;

pub use crate::error::ban_reason::BanReason;

use crate::address::Host;
use crate::time::UnixTime;

/// A banned host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The host, with all its addresses and ports.
    pub host: Host,
    /// The reason for the ban.
    pub reason: BanReason,
    /// The start of the ban.
    pub since: UnixTime,
    /// The end of the ban; `None` for a permanent ban.
    pub until: Option<UnixTime>,
}
