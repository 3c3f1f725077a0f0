//! Whether a peer may have several TCP streams.
//!
//! A [`Multistreams`] is a plain value. The streams themselves are the engine's.

use std::fmt;

/// Whether a peer may have several TCP connections, called streams (SV Node's option `-multistreams`). Each further
/// stream uses one descriptor and one row of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Multistreams {
    /// One stream for each peer. Our `version` has an empty association id, and every `createstrm` is rejected.
    Off,
    /// A peer that dialled us may open further streams. We open none.
    #[default]
    Accept,
    /// As `Accept`. In addition, we offer an association id to each peer that we dial. If the peer accepts it and both
    /// sides support the policy `BlockPriority`, we open a second stream.
    ///
    /// An SV Node bans a host that opens a stream for a peer with another address. Do not use this value behind an
    /// address translation that gives each connection an address of its own.
    Open,
}

impl Multistreams {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Off, Self::Accept, Self::Open];

    /// Returns the value's name in configuration files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Accept => "accept",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for Multistreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
