//! A query to a resolver, and the numbers that distinguish queries of seeds from queries of fixed peers.
//!
//! Nothing here resolves a name; the loop passes the query on to its jobs.

/// The bit that is set in queries of fixed peers' names and clear in queries of seeds.
pub(super) const QUERY_BIT: u32 = 1 << 31;

/// A name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// The number of the query. It is reused only after all others.
    pub(crate) query: u32,
    pub(crate) name: String,
    /// The port of an address without one.
    pub(crate) port: u16,
}
