//! Bounds of one connection: its memory and its deadlines.

use super::wire::{MAX_REJECT_MESSAGE_BYTES, MAX_REJECT_REASON_BYTES};
use std::time::Duration;

/// Bytes of one link's row in the table, asserted at compile time: the cost of an idle peer, beside its boxed
/// version.
pub const MAX_ROW_BYTES: usize = 272;
/// Bytes of one slot in the table of peers' costs, which exists only while
/// [`Config::measure_peers`](crate::Config::measure_peers) is on.
pub const PEER_COST_BYTES: usize = 64;
/// Messages a peer may send before its handshake is complete, `version` and `verack` among them.
pub const MAX_HANDSHAKE_MESSAGES: u8 = 16;
/// Largest payload before the handshake is complete; the longest `version` that every field limit allows has 474 bytes.
pub const MAX_HANDSHAKE_PAYLOAD_BYTES: u64 = 2_048;
/// Pings in flight per peer, all sent by us: one inline in the row, the rest (32 bytes each) in a box.
pub const MAX_PINGS_OUTSTANDING: usize = 256;
/// Largest payload that is gathered in memory for a handler, per message and so per link.
pub const MAX_BUFFERED_MESSAGE_BYTES: u64 = 2 * 1024 * 1024;
/// Commands that may have a limit of their own in place of [`MAX_BUFFERED_MESSAGE_BYTES`], 24 bytes each. The
/// protocol has fewer.
pub const MAX_BUFFERED_COMMANDS: usize = 64;
/// Largest payload of a `ping` that is gathered. A node answers one of any length with its first 8 bytes (SV Node
/// 1.2.2, net_processing.cpp ProcessPingMessage).
pub const MAX_PING_GATHERED_BYTES: u64 = 2_048;
/// Largest payload of a `pong` that is gathered, of which the first 8 bytes matter.
pub const MAX_PONG_GATHERED_BYTES: u64 = 2_048;
/// Largest payload of a `verack` or `sendheaders` that is gathered. They have no payload, and a node ignores one.
pub const MAX_EMPTY_GATHERED_BYTES: u64 = 2_048;
/// Largest payload of a `reject` that is gathered: a code, two lengths of one byte each, and the longest name, reason
/// and hash. A node ignores longer ones (SV Node 1.2.2, net_processing.cpp ProcessRejectMessage).
pub const MAX_REJECT_GATHERED_BYTES: u64 = (3 + MAX_REJECT_MESSAGE_BYTES + MAX_REJECT_REASON_BYTES + 32) as u64;
/// Largest sum of all payloads that are being gathered, for the whole loop. Payloads that fit a pooled buffer are not
/// counted: there is one per link, so they add at most `max_links` times 4 KiB.
pub const MAX_BUFFERED_TOTAL_BYTES: u64 = 256 * 1024 * 1024;
/// Least size, and growth step, of the buffer that gathers a payload too large for a pooled buffer. The size is address
/// space. Where the allocator maps memory by itself, as glibc does from its `M_MMAP_THRESHOLD` on, only written pages
/// cost memory, and all of it returns to the system when the message ends. Memory then exceeds the received bytes by at
/// most this. An embedder on glibc sets that threshold to this size (mallopt, or `MALLOC_MMAP_THRESHOLD_=65536`), as
/// the program does; otherwise the heap may stay as large as a burst has made it.
pub const BUFFER_GROWTH_BYTES: usize = 64 * 1024;
/// Large buffers of [`BUFFER_GROWTH_BYTES`] kept for reuse: 1 MiB at the most. A loop that gathers no more messages
/// of 4 to 64 KiB at once than this asks the allocator for none.
pub const MAX_LARGE_BUFFERS: usize = 16;
/// Length of a send queue above which its link is not read: a peer that does not read our replies gets no more of
/// them. With the replies to the block that exceeded it, one peer can make us hold less than 570 KB, and all peers
/// together `max_links` times that. The peer's pings and pongs are not read either until the queue has drained to
/// half of this. That time counts against none of the peer's deadlines for input.
pub const SEND_QUEUE_PAUSE_BYTES: usize = 500_000;
/// Length of a send queue beyond which a message is refused. An empty queue accepts a message of any size. Only the
/// embedder's messages use the room above [`SEND_QUEUE_PAUSE_BYTES`]. The engine's own replies are never refused:
/// they exceed the pause by those to one block at the most.
pub const MAX_SEND_QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of whole messages that may still wait for a peer when its handler is offered the free room: as few as let a
/// peer be read again that was not read because of its queue. What is offered is then at least 1.8 MB.
pub const PULL_WAITING_BYTES: usize = SEND_QUEUE_PAUSE_BYTES / 2;
/// Bytes of a streamed message, with all that is queued before it, that may wait for the kernel. A part that is fed
/// is accepted only up to this.
pub const MAX_BODY_WAITING_BYTES: usize = 1024 * 1024;
/// Bytes of a streamed message still waiting at which the handler is asked to feed more.
pub const BODY_REFILL_BYTES: usize = 256 * 1024;
/// Default time for a TCP connection to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time for the handshake, from entering `AwaitingHandshake`; no traffic extends it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default pause between two pings of a peer.
pub const PING_INTERVAL: Duration = Duration::from_secs(120);
/// Default time for a pong.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a header from its first byte, which nothing extends.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which a body may stand still, and the window over which its least rate is measured.
pub const BODY_WINDOW: Duration = Duration::from_secs(60);
/// Default least rate of a body, in bytes per second over a [`BODY_WINDOW`].
pub const MIN_BODY_BYTES_PER_SECOND: u64 = 1_024;
/// Time in which a peer must read [`MIN_SEND_STALL_BYTES`] of its queue, or all that was queued when the time began.
/// The time begins anew once the peer has done so.
pub const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a long queue that a peer must read per [`SEND_STALL_TIMEOUT`], 1 KiB/s. A slow reader loses its
/// connection and its queue.
pub const MIN_SEND_STALL_BYTES: usize = 60 * 1024;
/// Longest extension of any of the deadlines above because the loop has not yet looked at the peer's input, or at the
/// room that the peer made: after the process was stopped, or behind many other peers. A peer that floods us gains no
/// more than this.
pub const UNREAD_INPUT_GRACE: Duration = Duration::from_secs(30);
/// Time for which a gracefully closed link drops the peer's input, so that a reset does not discard our last bytes.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Time for which a connection's end waits after a `reject`, so that the peer reads it.
pub const REJECT_READ_TIME: Duration = Duration::from_millis(500);
/// Time for which the kernel may keep our bytes unacknowledged, or wait at a closed window. The kernel counts both
/// alike, so a peer may also read nothing for this long while our own queue is empty: as long as an SV Node waits for
/// a peer (1.2.2, net.h TIMEOUT_INTERVAL). A vanished peer is noticed by its missing pong long before.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20 * 60);
