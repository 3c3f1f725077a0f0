//! The wire: bytes to messages and back, byte for byte as the reference node has them.

pub mod codec;
pub mod header;
pub mod version;

pub use header::{Header, PayloadLimits};
pub use version::{AssociationId, NetAddress, Sender, Version};
