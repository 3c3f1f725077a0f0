//! Bounds of the pipe, which joins two nodes.

use std::time::Duration;

/// Maximum number of unanswered items of `getdata` and `getblocktxn` that a pipe remembers for each of its two nodes.
/// Each item costs 36 bytes, and about 50 with its share of the tree: 3.3 MB for each node. An SV Node requests at most
/// 58,254 items in one message. Items beyond the limit are not remembered. The node is then closed instead of answered
/// with `notfound` if the other node is lost.
pub const MAX_PIPE_OPEN_REQUESTS: usize = 65_536;
/// Number of bytes that a pipe holds in each direction before it closes both nodes. The source is paused while anything
/// is held. So at most one buffered message, the rest of one read block, and the `notfound` messages for
/// [`MAX_PIPE_OPEN_REQUESTS`] items (2.4 MB) accumulate, and only a bug reaches this limit. The held parts of large
/// messages may pin twice their size. Both directions together cost at most 32 MiB and two buffered messages.
pub const MAX_PIPE_HELD_BYTES: usize = 8 * 1024 * 1024;
/// Cost of a held message beside its bytes, which counts towards [`MAX_PIPE_HELD_BYTES`].
pub const PIPE_ITEM_COST_BYTES: usize = 96;
/// Time for which a pipe keeps one node paused while the other is not ready. After that, the node is closed, and both
/// nodes are probed again. A node that asked a peer with NODE_NETWORK for headers may wait for the reply for this long.
pub const PIPE_ALONE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a probed node has for its `protoconf` after the handshake. An SV Node sends it right behind its `verack`.
/// A node that sends none accepts payloads of 1 MiB.
pub const PIPE_LIMITS_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum age of a node's facts when both nodes are dialled with each other's facts.
pub const MAX_PIPE_FACTS_AGE: Duration = Duration::from_secs(10);
/// The pause before the first dial after a failure or a loss. It doubles with each further one.
pub const INITIAL_PIPE_BACKOFF: Duration = Duration::from_millis(500);
/// Maximum pause before a dial, without the jitter of up to [`PIPE_BACKOFF_JITTER_PERCENT`].
pub const MAX_PIPE_BACKOFF: Duration = Duration::from_secs(30);
/// Maximum share by which a pause is extended at random, in percent, so that several pipes do not dial together.
pub const PIPE_BACKOFF_JITTER_PERCENT: u64 = 10;
/// Time for which a node must have been ready before its loss counts as a first failure again.
pub const PIPE_STABLE_TIME: Duration = Duration::from_secs(30);
