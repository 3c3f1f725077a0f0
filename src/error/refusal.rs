//! Reasons why an accepted connection is refused.

use super::NetworkFailure;
use crate::text::Counted;
use std::fmt;

/// The reason why an accepted connection was refused and closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its host is banned.
    Banned,
    /// Its host already has the maximum number of connections.
    HostFull {
        /// The number of the host's connections.
        count: usize,
    },
    /// Its address range already has the maximum number of connections.
    GroupFull {
        /// The number of the range's connections.
        count: usize,
    },
    /// Its host connects too often.
    TooFast {
        /// The number of connections allowed per second.
        per_second: u32,
    },
    /// The table is full, or no slot is free. In the second case, the maximum number of connections over capacity,
    /// which receive a `reject`, is also reached.
    TableFull {
        /// The number of connections in the loop.
        links: usize,
    },
    /// The loop is stopping.
    Stopping,
    /// The operating system failed to register its socket.
    Failed(NetworkFailure),
}

impl Refusal {
    /// Returns the reason's short name, from a closed list.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::HostFull { .. } => "host_full",
            Self::GroupFull { .. } => "group_full",
            Self::TooFast { .. } => "too_fast",
            Self::TableFull { .. } => "table_full",
            Self::Stopping => "stopping",
            Self::Failed(failure) => failure.label().name(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned => f.write_str("its host is banned"),
            Self::HostFull { count } => write!(f, "its host has {}", Counted(*count, "connection")),
            Self::GroupFull { count } => write!(f, "its range of addresses has {}", Counted(*count, "connection")),
            Self::TooFast { per_second } => write!(f, "its host connects more often than {per_second} times a second"),
            Self::TableFull { links } => {
                write!(f, "the loop has {}; raise max_links, max_inbound or max_peers", Counted(*links, "connection"))
            }
            Self::Stopping => f.write_str("shutting down"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}
