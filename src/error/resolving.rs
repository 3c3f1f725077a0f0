//! Reasons why a name could not be resolved.

use std::fmt;
use std::io;

/// A name that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolveFailure {
    /// The name as requested.
    pub name: String,
    /// The reason.
    pub cause: ResolveCause,
}

/// The reason why a name could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveCause {
    /// The operating system's resolver failed with this message. A name that does not exist is reported this way.
    System(String),
    /// The name exists but has no addresses.
    NoAddress,
    /// [`MAX_RESOLVES`](crate::limits::MAX_RESOLVES) look-ups are running or have uncollected results.
    TooMany,
    /// No thread could be started for the look-up.
    NoThread(io::ErrorKind),
    /// No answer arrived within [`RESOLVE_TIMEOUT`](crate::limits::RESOLVE_TIMEOUT).
    TimedOut,
}

impl fmt::Display for ResolveFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not resolve {:?}: {}", self.name, self.cause)
    }
}

impl fmt::Display for ResolveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(words) => f.write_str(words),
            Self::NoAddress => f.write_str("the name exists but has no addresses"),
            Self::TooMany => f.write_str("too many names are being looked up; try again later"),
            Self::NoThread(kind) => write!(f, "no thread could be started for the look-up ({kind})"),
            Self::TimedOut => f.write_str("the resolver did not answer in time"),
        }
    }
}

impl std::error::Error for ResolveFailure {}
