//! The wire: bytes to messages and back, byte for byte as the reference node has them.

pub mod header;

pub use header::{Header, PayloadLimits};
