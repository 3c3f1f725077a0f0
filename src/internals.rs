//! Parts of the library that are public only for the project's own tests, benchmarks and tools. They may change in any
//! release.
//!
//! Each module here is named after a library module; `limits`, `net` and `store` each re-export several modules. In
//! addition:
//!
//! - [`shrink`], [`Shrunk`] and [`Budget`]: some simulated tests run the loop with small budgets. Without the feature
//!   `sim-bugs`, no budget is shrunk.
//! - [`link_of`]: [`World::reset`](crate::sim::World::reset) needs a link's id, but handlers have only peer ids.
//! - `plant`, `Planted` and `Bug` (feature `sim-bugs`): tests plant a bug to show that they would find it.

#[cfg(feature = "sim")]
pub use crate::bugs::{Budget, Shrunk, shrink};
#[cfg(feature = "sim-bugs")]
pub use crate::bugs::{Bug, Planted, plant};

use crate::id::{LinkId, PeerId};

/// Declares public modules, each of which re-exports one or more of the library's modules.
macro_rules! modules {
    ($($(#[$doc:meta])* $name:ident = $($from:path),+;)+) => {
        $($(#[$doc])* pub mod $name {
            $(pub use $from::*;)+
        })+
    };
}

modules! {
    /// Memory blocks that links read into and write from.
    blocks = crate::link::blocks;
    /// Readers and writers of message fields.
    codec = crate::wire::codec;
    /// This system's error numbers.
    errno = crate::errno;
    /// Conversion of bytes to frames.
    framer = crate::link::framer;
    /// Ids of links, and poll tokens.
    id = crate::id;
    /// All bounds of the library.
    limits = crate::limits::link, crate::limits::manager, crate::limits::pipe, crate::limits::relay,
        crate::limits::responder, crate::limits::store, crate::limits::telemetry, crate::limits::turn,
        crate::limits::wire;
    /// The interface to the kernel.
    net = crate::clock, crate::net;
    /// Jobs that run off the loop's thread.
    offload = crate::offload;
    /// Each link's queue of outgoing bytes.
    send_queue = crate::link::send_queue;
    /// The hash function of short transaction ids.
    siphash = crate::wire::siphash;
    /// The address book between the loop and its file.
    store = crate::manager::store::journal, crate::manager::store::memory, crate::manager::store::writer;
    /// The subscribers' queues.
    subscribe = crate::subscribe;
    /// The timer wheel.
    wheel = crate::wheel;
}

/// Returns the id of `peer`'s link.
pub const fn link_of(peer: PeerId) -> LinkId {
    peer.link()
}
