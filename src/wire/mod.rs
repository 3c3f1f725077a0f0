//! The wire: bytes to messages and back, byte for byte as the reference node has them.
//!
//! A message that is not in this table is [`MessageRef::Opaque`]: it can be received, looked at, sent and passed on,
//! but its payload is not taken apart.
//!
//! | command | decoded as | payload |
//! |---|---|---|
//! | `version` | [`Version`] | 46 bytes or more, the tail is optional |
//! | `verack` | [`MessageRef::Verack`] | empty |
//! | `ping` | [`MessageRef::Ping`] | a nonce of 8 bytes |
//! | `pong` | [`MessageRef::Pong`] | the nonce of the `ping` |
//! | `protoconf` | [`ProtoconfRef`] | field count, largest payload, stream policies |
//! | `sendheaders` | [`MessageRef::SendHeaders`] | empty |
//! | `reject` | [`RejectRef`] | command, [`RejectCode`], reason, for `tx` and `block` a hash |
//!
//! Bytes behind the last known field of a message are ignored, as the node does. Whatever the bytes, decoding never
//! panics and allocates nothing but a user agent. A text too long for its field is cut when it is encoded, so that no
//! field can break the one behind it.

pub mod address;
pub mod auth;
pub mod codec;
pub mod hash;
pub mod header;
pub mod headers;
pub mod inventory;
pub mod locator;
pub mod message;
pub mod miner;
pub mod protoconf;
pub mod reject;
pub mod services;
pub mod settings;
pub mod streams;
pub mod version;

pub use address::{AddressEntry, Addresses, AddressesRef};
pub use auth::{AuthChallenge, AuthResponse, AuthResponseRef};
pub use hash::{Hash256, InvalidHash};
pub use header::{Header, PayloadLimits};
pub use headers::{BlockHeader, Headers, HeadersIter, HeadersRef, ListedHeader};
pub use inventory::{Inventory, InventoryItem, InventoryKind, InventoryRef};
pub use locator::{Locator, LocatorRef, locator_heights};
pub use message::{Message, MessageRef, put_frame, put_pong};
pub use miner::{RevokeMid, RevokeMidRef};
pub use protoconf::{Protoconf, ProtoconfRef};
pub use reject::{Reject, RejectCode, RejectRef};
pub use services::Services;
pub use settings::{FeeFilter, Mempool, SendCmpct};
pub use streams::{CreateStream, CreateStreamRef, StreamAck, StreamType};
pub use version::{AssociationId, NetAddress, Sender, Version};
