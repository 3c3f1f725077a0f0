//! Helpers that the workspace's tests and benchmarks share; no shipped crate depends on it.
//!
//! - [`bytes`] and [`vectors`]: the protocol's bytes, by hand and as recorded from a node; [`greeting`]: the messages
//!   by which a bare socket becomes a peer.
//! - [`simulated`]: hosts of the virtual network.
//! - [`framing`] and [`wheel`]: naive models of the framer and the timer wheel.
//! - [`task`]: futures without a runtime.
//! - [`examples`]: the programs of the folder `examples`.
//! - [`Folder`]: a folder that is removed with the value.
//!
//! It replaces no allocator, so a benchmark may use it. Tests inside the library see another build of the library's
//! types than this crate does, so they can use [`bytes`] and [`Folder`] alone.

#![allow(missing_docs, reason = "a helper's name says what it does; its doc says what the name cannot")]
#![allow(missing_debug_implementations, reason = "a whole host is never printed")]
#![allow(clippy::new_without_default, reason = "a test says that it makes a new one")]
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

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
