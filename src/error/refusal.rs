//! Why a connection that came was not let in.

use super::NetworkFailure;
use crate::text::Counted;
use std::fmt;

/// Why an accepted connection got no row, or no place among the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its host is banned.
    Banned,
    /// Its host has as many connections as one may have.
    HostFull {
        /// How many.
        count: usize,
    },
    /// Its range of addresses has as many connections as one may have.
    GroupFull {
        /// How many.
        count: usize,
    },
    /// Its host connects more often than one may.
    TooFast {
        /// How often it may, per second.
        per_second: u32,
    },
    /// The table, or the room for those who are told politely that there is none, is full.
    TableFull {
        /// Connections there are.
        links: usize,
    },
    /// The loop is stopping.
    Stopping,
    /// The operating system let its registration fail.
    Failed(NetworkFailure),
}

impl Refusal {
    /// A short name of the cause, from a closed list.
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
                write!(f, "the loop has {}; raise max_links or max_inbound", Counted(*links, "connection"))
            }
            Self::Stopping => f.write_str("shutting down"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}
