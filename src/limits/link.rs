//! What one connection may cost, in memory and in time.

use super::wire::{REJECT_MESSAGE_MAX_BYTES, REJECT_REASON_MAX_BYTES};
use std::time::Duration;

/// Bytes of one link's row in the table, asserted at compile time: what an idle peer costs, beside its boxed version.
pub const ROW_MAX_BYTES: usize = 272;
/// Bytes of each slot in the table of what peers cost, which there is only while
/// [`Config::measures_peers`](crate::Config::measures_peers) is on.
pub const PEER_COST_BYTES: usize = 64;
/// Messages a peer may send before its handshake is complete, `version` and `verack` among them.
pub const HANDSHAKE_MESSAGES_MAX: u8 = 16;
/// Largest payload before the handshake is complete; the longest `version` that every field limit allows has 474 bytes.
pub const HANDSHAKE_PAYLOAD_MAX_BYTES: u64 = 2_048;
/// Pings in flight per peer, all of our own making: one inline in the row, the rest (32 bytes each) spilled to a box.
pub const PINGS_OUTSTANDING_MAX: usize = 256;
/// Largest payload that is gathered in memory for a handler, per message and so per link.
pub const BUFFERED_MESSAGE_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// Commands with a limit of their own in place of [`BUFFERED_MESSAGE_MAX_BYTES`], 24 bytes each: more than the protocol
/// has.
pub const BUFFERED_COMMANDS_MAX: usize = 64;
/// Largest payload of a `ping` that is gathered. A node answers one of any length with its first 8 bytes (SV Node
/// 1.2.2, net_processing.cpp ProcessPingMessage).
pub const PING_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `pong` that is gathered, of which the first 8 bytes matter.
pub const PONG_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `verack` or `sendheaders` that is gathered. They have none, and a node ignores what is there.
pub const EMPTY_GATHERED_MAX_BYTES: u64 = 2_048;
/// Largest payload of a `reject` that is gathered: a code and two lengths of a byte each, and name, reason and hash at
/// their longest. A node ignores what is longer (SV Node 1.2.2, net_processing.cpp ProcessRejectMessage).
pub const REJECT_GATHERED_MAX_BYTES: u64 = (3 + REJECT_MESSAGE_MAX_BYTES + REJECT_REASON_MAX_BYTES + 32) as u64;
/// Largest sum of all payloads that are being gathered, for the whole loop. Those that fit a
/// [pooled buffer](super::POOLED_BUFFER_MAX_BYTES) are not counted: one per link, so `max_links` times 4 KiB beside
/// this at the worst.
pub const BUFFERED_TOTAL_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Least size of the buffer in which a payload above that of a [pooled buffer](super::POOLED_BUFFER_MAX_BYTES) is
/// gathered, and step in which it grows. It is address space: of what an allocator maps by itself, as glibc does from
/// its `M_MMAP_THRESHOLD` on, only pages that are written to cost memory, and all of it returns to the system when the
/// message ends. So memory is never more than this beyond what was received. An embedder on glibc sets that threshold
/// to this size (mallopt, or `MALLOC_MMAP_THRESHOLD_=65536`), as the program does; else the heap may stay as large as
/// a burst has made it.
pub const BUFFER_GROWTH_BYTES: usize = 64 * 1024;
/// Large buffers of [`BUFFER_GROWTH_BYTES`] kept for reuse: a megabyte at the most. A loop that gathers no more
/// messages of 4 to 64 KiB than these at once asks the allocator for none.
pub const LARGE_BUFFERS_MAX: usize = 16;
/// A queue longer than this stops the reading of its link: who does not take our replies gets no more of them. With the
/// replies to the block that went beyond it, a peer can make us hold less than 570 KB, and all peers together
/// `max_links` times that. Neither its pings nor its pongs are read then, until it has taken down to half of this; that
/// time counts against no deadline for what it has to say.
pub const SEND_QUEUE_PAUSE_BYTES: usize = 500_000;
/// A queue that would grow beyond this refuses the message. One that is empty takes a message of any size. Only what
/// the embedder sends goes beyond [`SEND_QUEUE_PAUSE_BYTES`] this far; the engine's own replies are never refused, for
/// they are those to one more block at the most.
pub const SEND_QUEUE_MAX_BYTES: usize = 2 * 1024 * 1024;
/// What may wait of a streamed message, together with what leaves before it, until the kernel takes it; no more is
/// taken of a part that is fed.
pub const STREAM_WAITING_MAX_BYTES: usize = 1024 * 1024;
/// At this much of a streamed message waiting, the handler is told to feed more.
pub const STREAM_REFILL_BYTES: usize = 256 * 1024;
/// Default time for a TCP connection to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time for the handshake, from entering `AwaitingHandshake`; no traffic extends it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default pause between two pings of a peer.
pub const PING_INTERVAL: Duration = Duration::from_secs(120);
/// Default time for a pong.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a header from its first byte, whatever else happens.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which a body may stand still, and window over which it must have moved at its least rate.
pub const BODY_WINDOW: Duration = Duration::from_secs(60);
/// Default least rate of a body, in bytes per second over a [`BODY_WINDOW`].
pub const BODY_MIN_BYTES_PER_SECOND: u64 = 1_024;
/// Time in which a peer must take [`SEND_STALL_MIN_BYTES`] of what waits for it, or all that waited when that began to
/// count. It counts anew from the moment at which it has done so.
pub const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What a peer must take of a long queue per [`SEND_STALL_TIMEOUT`], 1 KiB/s: who sips keeps neither its link nor the
/// memory that waits for it.
pub const SEND_STALL_MIN_BYTES: usize = 60 * 1024;
/// Most time by which any of the peer's deadlines above is put off because what it has sent, or has made room for, was
/// not looked at yet: after a stop of the process, or behind many others. Who floods us gains no more than this.
pub const UNHEARD_GRACE: Duration = Duration::from_secs(30);
/// Time for which a gracefully closed link drops the peer's input, so that our last bytes are not lost to a reset.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Time for which the end of a connection waits after a `reject`, so that the peer reads it.
pub const REJECT_READ_TIME: Duration = Duration::from_millis(500);
/// Time for which the kernel may keep our bytes without an acknowledgement, or before a shut window. The kernel counts
/// both alike, so this is what a peer may take to read on while nothing waits in our own queue: as long as an SV Node
/// waits for one (1.2.2, net.h TIMEOUT_INTERVAL). A peer that vanishes is noticed by its missing pong long before.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20 * 60);
