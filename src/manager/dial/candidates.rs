//! The dialler's view of the book.

use rand::Rng;
use std::net::SocketAddr;

/// An address's standing in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A dial of the address led to a completed handshake, and the standing has not changed since.
    Valid,
    /// No dial of the address has led to a handshake, or the address's earlier standing no longer
    /// applies.
    Unknown,
    /// The address failed too often, or its peer is incompatible.
    Inaccessible,
}

/// A book from which addresses can be drawn.
pub(crate) trait Candidates {
    /// Returns whether the book has no address that can be drawn.
    fn is_empty(&self) -> bool;

    /// Draws addresses of `standing` at random, at most `tries` of them, until `accept` accepts one. Returns the
    /// accepted address, or `None` if there is none.
    ///
    /// Banned addresses are never drawn. The cost of a draw does not depend on the number of addresses.
    fn pick(
        &self,
        standing: Standing,
        rng: &mut dyn Rng,
        accept: &mut dyn FnMut(SocketAddr) -> bool,
        tries: usize,
    ) -> Option<SocketAddr>;
}
