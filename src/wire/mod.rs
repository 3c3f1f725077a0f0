//! The wire format: conversion between bytes and messages, identical to the reference node's.
//!
//! A [`MessageRef`] borrows from its payload, and a [`Message`] owns its data. [`MessageRef::into_owned`] and
//! [`Message::as_ref`] convert one into the other. Lists and transactions, which can be long, are never expanded in
//! memory. The borrowed form is a slice that is read item by item, the owned form is a copy of that slice, and
//! sending copies it again.
//!
//! # Messages
//!
//! Directions are from SV Node's point of view: it sends a message marked `from`, and acts on a message marked `to`.
//!
//! | command | direction | limit | payload | decoded as |
//! |---|---|---|---|---|
//! | `version` | both | message | the peer's description: 46 bytes or more, the tail is optional | [`Version`] |
//! | `verack` | both | message | empty | [`MessageRef::Verack`] |
//! | `protoconf` | both | 1 MiB | field count, largest payload, stream policies | [`ProtoconfRef`] |
//! | `authch` | both | message | version 1, length 32, challenge | [`AuthChallenge`] |
//! | `authresp` | both | message | public key, nonce, signature | [`AuthResponseRef`] |
//! | `createstrm` | both | message | association id, stream type, stream policy | [`CreateStreamRef`] |
//! | `streamack` | both | message | association id, stream type | [`StreamAck`] |
//! | `sendheaders` | both | message | empty | [`MessageRef::SendHeaders`] |
//! | `sendhdrsen` | to | message | empty | [`MessageRef::SendHdrsEn`] |
//! | `sendcmpct` | both | message | whether to announce, version 1 | [`SendCmpct`] |
//! | `feefilter` | both | message | satoshis per 1,000 bytes | [`FeeFilter`] |
//! | `ping` | both | message | nonce of 8 bytes | [`MessageRef::Ping`] |
//! | `pong` | both | message | the nonce of the `ping` | [`MessageRef::Pong`] |
//! | `getaddr` | both | message | empty | [`MessageRef::GetAddr`] |
//! | `addr` | both | message | list of times and addresses, at most 1,000 | [`AddressesRef`] |
//! | `inv` | both | message | list of types and hashes | [`InventoryRef`] |
//! | `getdata` | both | message | as `inv` | [`InventoryRef`] |
//! | `notfound` | from | message | as `inv` | [`InventoryRef`] |
//! | `getblocks` | to | message | version, list of hashes, last hash; for at most 500 blocks | [`LocatorRef`] |
//! | `getheaders` | both | message | as `getblocks`; for at most 2,000 headers | [`LocatorRef`] |
//! | `headers` | both | message | list of headers, at most 2,000 | [`HeadersRef`] |
//! | `gethdrsen` | to | message | as `getblocks`; for at most 2,000 headers | [`LocatorRef`] |
//! | `hdrsen` | from | block | list of headers with coinbase and proof | [`EnrichedHeadersRef`] |
//! | `tx` | both | 1 GB | version, inputs, outputs, lock time | [`TxRef`] |
//! | `block` | both | block | header, list of transactions | [`BlockRef`] |
//! | `merkleblock` | from | message | header, transaction count, hashes, bits of a partial tree | [`MerkleBlockRef`] |
//! | `cmpctblock` | both | block | header, nonce, short ids, some transactions | [`CompactBlockRef`] |
//! | `getblocktxn` | both | indexes | block hash, indexes of transactions | [`GetBlockTxnRef`] |
//! | `blocktxn` | both | block | block hash, list of transactions | [`BlockTxnRef`] |
//! | `mempool` | both | message | empty, or an age | [`Mempool`] |
//! | `filterload` | to | message | filter, number of hash functions, tweak, flags | [`FilterLoadRef`] |
//! | `filteradd` | to | message | the element to add | [`FilterAddRef`] |
//! | `filterclear` | to | message | empty | [`MessageRef::FilterClear`] |
//! | `reject` | both | message | command, [`RejectCode`], reason, for `tx` and `block` a hash | [`RejectRef`] |
//! | `dsdetected` | both | message | version 1, list of forks: headers, transaction and proof | [`DoubleSpendRef`] |
//! | `revokemid` | both | message | version 0, three keys, two signatures | [`RevokeMidRef`] |
//! | `datareftx` | from | 1 GB | transaction, proof | [`ProvenTxRef`] |
//! | `extmsg` | both | message | none: it is a form of the header, before the real command | [`EXTMSG`] |
//!
//! [`payload_limit`](header::payload_limit) returns a command's limit. `message` is
//! [`PayloadLimits::max_message_bytes`], by default 2 MiB, and `block` is [`PayloadLimits::max_block_bytes`];
//! `indexes` is 6 bytes for every 215 bytes of the largest block, plus a header's length (24 bytes, or 44 from 4 GiB
//! on). Any other command has the limit `message` and is [`MessageRef::Opaque`]: it can be received, inspected, sent
//! and passed on, but its payload is not decoded.
//!
//! A peer answers `ping` if its version is above [`PONG_ABOVE_VERSION`](crate::protocol::PONG_ABOVE_VERSION). A peer
//! knows `sendheaders` from [`SENDHEADERS_VERSION`](crate::protocol::SENDHEADERS_VERSION) on, and the extended header
//! from [`EXTENDED_PAYLOAD_VERSION`](crate::protocol::EXTENDED_PAYLOAD_VERSION) on.
//!
//! # Guarantees
//!
//! Decoding never panics, and allocates only for a user agent. A count is rejected if the bytes after it are too few
//! for that many items. Like the node, the decoder ignores bytes after a message's last known field; the encoder
//! never writes such bytes. Encoding truncates a string that is too long for its field, so that no field can corrupt
//! the next one.
//!
//! # Example
//!
//! Most messages have two forms. The borrowed form decodes and encodes. The owned form's `as_ref` returns the
//! borrowed form:
//!
//! ```
//! use peerloop::protocol::CommandName;
//! use peerloop::wire::{Hash256, Inventory, InventoryItem, InventoryRef, Message, MessageRef};
//!
//! let owned = Inventory::from_items([InventoryItem::tx(Hash256::ZERO)]);
//! let mut payload = Vec::new();
//! owned.as_ref().encode(&mut payload);
//!
//! let borrowed = InventoryRef::decode(CommandName::INV, &payload)?;
//! assert_eq!(borrowed.iter().collect::<Vec<_>>(), [InventoryItem::tx(Hash256::ZERO)]);
//! assert_eq!(borrowed.into_owned(), owned);
//! assert_eq!(Message::Inv(owned).as_ref(), MessageRef::Inv(borrowed));
//! # Ok::<(), peerloop::error::WireError>(())
//! ```
//!
//! [`EXTMSG`]: crate::protocol::CommandName::EXTMSG

pub mod address;
pub mod auth;
pub mod block;
pub mod block_stream;
pub(crate) mod codec;
pub mod compact;
pub mod createstrm;
pub mod double_spend;
pub mod filter;
pub mod hash;
pub mod hdrsen;
pub mod header;
pub mod headers;
pub mod inventory;
mod list;
pub mod locator;
pub mod mempool;
pub mod merkle;
pub mod merkle_block;
pub mod message;
pub mod preferences;
pub mod protoconf;
pub mod proven_tx;
pub mod reject;
pub mod revokemid;
pub mod services;
pub(crate) mod siphash;
pub mod transaction;
pub mod version;
mod work;

pub use address::{AddressEntry, Addresses, AddressesRef};
pub use auth::{AuthChallenge, AuthResponse, AuthResponseRef};
pub use block::{Block, BlockRef};
pub use block_stream::{BlockStreamEvent, BlockStreamParser, StreamedBlock, StreamedTx, TxStreamParser};
pub use compact::{
    BlockTxn, BlockTxnRef, CompactBlock, CompactBlockRef, GetBlockTxn, GetBlockTxnRef, PrefilledTx, ShortIds,
};
pub use createstrm::{CreateStream, CreateStreamRef, StreamAck, StreamType};
pub use double_spend::{DoubleSpend, DoubleSpendFault, DoubleSpendRef, ForkRef};
pub use filter::{BloomFilter, FilterAdd, FilterAddRef, FilterLoadRef};
pub use hash::{Hash256, InvalidHash};
pub use hdrsen::{EnrichedHeaderRef, EnrichedHeaders, EnrichedHeadersRef};
pub use header::{Header, PayloadLimits};
pub use headers::{BlockHeader, Headers, HeadersRef, ListedHeader};
pub use inventory::{Inventory, InventoryItem, InventoryKind, InventoryRef};
pub use list::{Items, List, ListRef};
pub use locator::{Locator, LocatorRef, locator_heights};
pub use mempool::Mempool;
pub use merkle::{MerkleFrontier, MerkleProof, MerkleProofRef, MerkleVerdict, ProofSubject, ProofTarget};
pub use merkle_block::{MerkleBlock, MerkleBlockRef, MerkleMatch};
pub(crate) use message::put_pong;
pub use message::{Message, MessageRef, put_frame};
pub use preferences::{FeeFilter, SendCmpct};
pub use protoconf::{Protoconf, ProtoconfRef};
pub use proven_tx::{ProvenTx, ProvenTxRef};
pub use reject::{Reject, RejectCode, RejectRef};
pub use revokemid::{RevokeMid, RevokeMidRef};
pub use services::Services;
pub use transaction::{Tx, TxInRef, TxListRef, TxOutRef, TxRef};
pub use version::{AssociationId, NetAddress, Sender, Version};
pub use work::{ProofOfWorkError, Target, Work};
