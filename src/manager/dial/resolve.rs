//! A question to a resolver, and the numbers that distinguish the queries of seeds from those of fixed peers.
//!
//! It resolves nothing; the loop passes the question on to its jobs.

/// Queries of fixed peers' names have this bit, those of seeds do not.
pub(super) const QUERY_BIT: u32 = 1 << 31;

/// A name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// Names the question; not used twice before all others are.
    pub(crate) query: u32,
    pub(crate) name: String,
    /// The port of an address that comes without one.
    pub(crate) port: u16,
}
