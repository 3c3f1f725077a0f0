//! Helpers that the workspace's tests and benchmarks share; no shipped crate depends on them.
//!
//! - [`bytes`]: frames and checksums, built without the library's codec.
//! - [`vectors`]: frames that were computed, or recorded from a node.
//! - [`greeting`]: the messages with which a bare socket becomes a peer.
//! - [`simulated`]: hosts of the virtual network.
//! - [`framing`] and [`wheel`]: naive models of the framer and the timer wheel.
//! - [`task`]: futures without a runtime.
//! - [`examples`]: the programs in the folder `examples`, and the command-line program.
//! - [`Folder`]: a folder that is removed when its value is dropped.
//!
//! The crate does not replace the global allocator, so benchmarks can use the crate. Tests inside the library can use
//! only [`bytes`] and [`Folder`]: this crate is built with another copy of the library, whose types differ from
//! those of the tested copy.

#![allow(missing_docs, reason = "a helper has documentation only if its name does not say enough")]
#![allow(missing_debug_implementations, reason = "a whole host is never printed")]
#![allow(clippy::new_without_default, reason = "`new` is clearer than `default` in a test")]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

pub mod bytes;
pub mod examples;
mod folder;
pub mod framing;
pub mod greeting;
pub mod simulated;
pub mod task;
pub mod vectors;
pub mod wheel;

pub use folder::Folder;
