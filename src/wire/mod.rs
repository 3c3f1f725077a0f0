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

pub mod block;
pub mod block_stream;
pub mod codec;
pub mod compact;
pub mod double_spend;
pub mod enriched;
pub mod filter;
pub mod hash;
pub mod header;
pub mod headers;
pub mod merkle;
pub mod merkle_block;
pub mod message;
pub mod protoconf;
pub mod proven_tx;
pub mod reject;
pub mod siphash;
pub mod transaction;
pub mod version;

pub use block::{Block, BlockRef};
pub use block_stream::{BlockStreamEvent, BlockStreamParser, StreamedBlock, StreamedTx, TxStreamParser};
pub use compact::{
    BlockTxn, BlockTxnRef, CompactBlock, CompactBlockRef, GetBlockTxn, GetBlockTxnRef, PrefilledTx, ShortIds,
};
pub use double_spend::{DoubleSpend, DoubleSpendFault, DoubleSpendRef, ForkRef};
pub use enriched::{EnrichedHeaderRef, EnrichedHeaders, EnrichedHeadersRef};
pub use filter::{BloomFilter, FilterAdd, FilterAddRef, FilterLoadRef};
pub use hash::{Hash256, InvalidHash};
pub use header::{Header, PayloadLimits};
pub use headers::{BlockHeader, Headers, HeadersIter, HeadersRef, ListedHeader};
pub use merkle::{MerkleFrontier, MerkleProof, MerkleProofRef, MerkleVerdict, ProofSubject, ProofTarget};
pub use merkle_block::{MerkleBlock, MerkleBlockRef, MerkleMatch};
pub use message::{Message, MessageRef, put_frame, put_pong};
pub use protoconf::{Protoconf, ProtoconfRef};
pub use proven_tx::{ProvenTx, ProvenTxRef};
pub use reject::{Reject, RejectCode, RejectRef};
pub use siphash::SipKey;
pub use transaction::{Tx, TxInRef, TxListRef, TxOutRef, TxRef};
pub use version::{AssociationId, NetAddress, Sender, Version};
