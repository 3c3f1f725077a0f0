//! Parts of the library that only the project's own tools use. They may change in any release.
//!
//! - [`shrink`], [`Shrunk`] and [`Budget`]: the swarm runs worlds in which a turn's budgets are small. Without the
//!   feature `sim-bugs` nothing is shrunk.
//! - [`link_of`]: [`World::reset`](crate::sim::World::reset) resets a link, and a handler knows peers.
//! - `plant`, `Planted` and `Bug` (feature `sim-bugs`): tests plant a bug to show that they would find it.

pub use crate::bugs::{Budget, Shrunk, shrink};
#[cfg(feature = "sim-bugs")]
pub use crate::bugs::{Bug, Planted, plant};

use crate::id::{LinkId, PeerId};

/// Returns the link of `peer`.
pub const fn link_of(peer: PeerId) -> LinkId {
    peer.link()
}
