//! What the dialler asks of the book.

use rand::Rng;
use std::net::SocketAddr;

/// Which addresses of the book are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Those that a connection to has been ready once, and that were not given up since.
    Valid,
    /// Those that nobody has tried, or nobody has succeeded with.
    Unknown,
    /// Those that failed too often, or were not for us.
    Inaccessible,
}

/// A book of addresses that can be drawn from.
pub(crate) trait Candidates {
    /// Whether there is nobody to draw, of any standing.
    fn is_empty(&self) -> bool;

    /// Draws addresses of `standing` at random, at most `tries` of them, until `accept` takes one.
    ///
    /// Banned addresses are never drawn. A draw costs no more however many addresses there are.
    fn pick(
        &self,
        standing: Standing,
        rng: &mut dyn Rng,
        accept: &mut dyn FnMut(SocketAddr) -> bool,
        tries: usize,
    ) -> Option<SocketAddr>;
}
