//! A query to a resolver, and the numbers that distinguish the queries of seeds from those of fixed peers.
//!
//! It resolves nothing; the loop passes the query on to its jobs.

/// Queries of fixed peers' names have this bit, those of seeds do not.
pub(super) const QUERY_BIT: u32 = 1 << 31;

/// A name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// The number of the query; reused only after all others.
    pub(crate) query: u32,
    pub(crate) name: String,
    /// The port of an address without one.
    pub(crate) port: u16,
}
