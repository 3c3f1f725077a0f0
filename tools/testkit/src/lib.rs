//! Helpers that the workspace's tests and benchmarks share; no shipped crate depends on them.
//!
//! - [`bytes`] and [`vectors`]: the protocol's bytes, built by hand and recorded from a node; [`greeting`]: the
//!   messages with which a bare socket becomes a peer.
//! - [`simulated`]: hosts of the virtual network.
//! - [`framing`] and [`wheel`]: naive models of the framer and the timer wheel.
//! - [`task`]: futures without a runtime.
//! - [`examples`]: the programs of the folder `examples`.
//! - [`Folder`]: a folder that is removed with the value.
//!
//! The crate replaces no allocator, so a benchmark may use it. For tests inside the library, this crate's types of
//! the library are foreign, so they can use only [`bytes`] and [`Folder`].

#![allow(missing_docs, reason = "a helper's name says what it does; its doc says what the name cannot")]
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
