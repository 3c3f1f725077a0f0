//! A query to a resolver, and the bit of its number that distinguishes seeds from fixed peers.
//!
//! Nothing here resolves a name; the loop passes the query to another thread.

/// The bit that is set in the numbers of queries for fixed peers and clear in those for seeds.
pub(super) const QUERY_BIT: u32 = 1 << 31;

/// A name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// The query's number. A number is reused only after all other numbers of its kind have been used.
    pub(crate) query: u32,
    pub(crate) name: String,
    /// The port to use if the name has none.
    pub(crate) port: u16,
}
