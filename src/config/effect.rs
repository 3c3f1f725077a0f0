//! The effect of a changed setting: the connections to which its new value applies, and when.
//!
//! The [table](super::table) of settings lists the effect of each field that can change while a loop runs.

use std::fmt;

/// The effect of a changed field: the connections to which its new value applies, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Applies at once and everywhere; running deadlines are recomputed.
    Now,
    /// Applies to connections that are accepted or requested from now on; no open connection is closed.
    NewConnections,
    /// Applies to handshake steps from now on; messages already sent and versions already accepted are not affected.
    NextHandshakes,
    /// Applies to messages whose header is completed from now on.
    NextMessages,
    /// Applies to the manager's next dials and name look-ups; no open connection is closed.
    NextDials,
    /// Applies to misbehavior and bans from now on; existing scores and bans do not change.
    NextBans,
    /// Applies to the configured listeners: those of removed addresses are closed, and those of added addresses are
    /// opened. Accepted connections stay open.
    Listeners,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "at once",
            Self::NewConnections => "for new connections",
            Self::NextHandshakes => "for the next handshakes",
            Self::NextMessages => "for the next messages",
            Self::NextDials => "for the next dials",
            Self::NextBans => "for the next bans",
            Self::Listeners => "for the listeners",
        })
    }
}
