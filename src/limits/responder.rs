//! Bounds of the test node. None of them is on an engine's path: a loop without a responder uses no memory for them.

use std::time::Duration;

/// Default number of blocks after the genesis block. A request for all their headers is answered by one full message.
pub const RESPONDER_BLOCKS: u32 = 2_000;
/// Maximum number of blocks after the genesis block. Each costs 116 bytes, so all of them cost 12 MB. They are computed
/// at the first request for headers or blocks, in about 0.1 s.
pub const MAX_RESPONDER_BLOCKS: u32 = 100_000;
/// Default length of a block, in bytes.
pub const RESPONDER_BLOCK_BYTES: u64 = 1024 * 1024;
/// Length in bytes of the shortest block: a header, a count of one byte, and the shortest coinbase.
pub const MIN_RESPONDER_BLOCK_BYTES: u64 = 80 + 1 + MIN_RESPONDER_TX_BYTES as u64;
/// Maximum length of a block, in bytes. A block never is in memory as a whole.
pub const MAX_RESPONDER_BLOCK_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Length in bytes of the shortest transaction in a block, which has one input and one output.
pub const MIN_RESPONDER_TX_BYTES: usize = 62;
/// Length in bytes of a block's transactions other than the coinbase, unless the block has more than
/// [`RESPONDER_BLOCK_TXS`] of them.
pub const RESPONDER_TX_BYTES: u64 = 256;
/// Number of transactions above which a longer block has longer transactions instead of more. The Merkle tree over this
/// many transactions costs about 30 ms, once.
pub const RESPONDER_BLOCK_TXS: u64 = 65_536;
/// Least length in bytes of the memory from which the transactions of all blocks are sent. It has at most three
/// transactions or this length, whichever is longer, so at most 3 MiB.
pub const RESPONDER_TEMPLATE_BYTES: usize = 256 * 1024;
/// Number of bytes of a block that are hashed per turn to compute the checksum of its message, in at most 5 ms.
pub const RESPONDER_HASH_STEP_BYTES: u64 = 1024 * 1024;
/// Default maximum number of bytes that transactions for peers retain.
pub const RESPONDER_POOL_BYTES: usize = 64 * 1024 * 1024;
/// Number of bytes that such a transaction costs besides its frame: two entries of the index.
pub const RESPONDER_TX_COST_BYTES: usize = 160;
/// Number of bytes that a waiting reply counts besides the request's payload, if it retains one.
pub const RESPONDER_REPLY_BYTES: usize = 256;
/// Maximum number of bytes of one peer's waiting replies, enough for 16,384 pongs or for two of the longest requests.
/// Further replies to the peer are dropped and counted.
pub const MAX_RESPONDER_PEER_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of bytes of all waiting replies, enough for 262,144 pongs. Further replies are dropped and counted.
pub const MAX_RESPONDER_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Maximum number of waiting replies that are sent per wake-up, about 0.3 ms of work. Further ones that are due follow
/// in the next turn.
pub const RESPONDER_REPLIES_PER_WAKE: usize = 1_024;
/// Maximum time for which a reply waits for its turn under a maximum rate. A reply that would wait longer is dropped.
pub const RESPONDER_RATE_QUEUE: Duration = Duration::from_millis(100);
/// Maximum number of items in one `notfound` or announcement, 36 KB.
pub const RESPONDER_INVENTORY_ITEMS: usize = 1_000;
