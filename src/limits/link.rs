//! Bounds of one connection: its memory and its deadlines.

use super::wire::{MAX_REJECT_MESSAGE_BYTES, MAX_REJECT_REASON_BYTES};
use std::time::Duration;

/// Maximum size of one link's row in the table, asserted at compile time. An idle peer costs its row, and a box for its
/// `version` message.
pub const MAX_ROW_BYTES: usize = 272;
/// Size of one slot in the table of peers' costs, which exists only while
/// [`Config::measure_peers`](crate::Config::measure_peers) is on.
pub const PEER_COST_BYTES: usize = 64;
/// Maximum number of messages that a peer may send before its handshake is complete, including `version` and `verack`.
pub const MAX_HANDSHAKE_MESSAGES: u8 = 16;
/// Largest payload before the handshake is complete. The longest `version` within all field limits has 474 bytes.
pub const MAX_HANDSHAKE_PAYLOAD_BYTES: u64 = 2_048;
/// Maximum number of our pings in flight per peer: one is inline in the row, the rest (32 bytes each) are in a box.
pub const MAX_PINGS_OUTSTANDING: usize = 256;
/// Maximum number of marked messages to one peer that are not yet written. Each mark costs 24 bytes. A peer with the
/// maximum number of marks costs 6 KiB, plus up to 88 bytes in a tree; 10,000 such peers cost 62 MB. A peer without
/// marks costs nothing.
pub const MAX_MARKS_PER_PEER: usize = 256;
/// Default maximum size of a payload that is buffered for a handler. A link buffers one payload at a time.
pub const MAX_BUFFERED_MESSAGE_BYTES: u64 = 2 * 1024 * 1024;
/// Maximum number of commands with their own limit instead of [`MAX_BUFFERED_MESSAGE_BYTES`], 24 bytes each. The
/// protocol has fewer commands.
pub const MAX_BUFFERED_COMMANDS: usize = 64;
/// Largest payload of a `ping` that is buffered. A node answers a ping of any length with its first 8 bytes (SV Node
/// 1.2.2, net_processing.cpp ProcessPingMessage).
pub const MAX_PING_GATHERED_BYTES: u64 = 2_048;
/// Largest payload of a `pong` that is buffered. Only its first 8 bytes matter.
pub const MAX_PONG_GATHERED_BYTES: u64 = 2_048;
/// Largest buffered payload of a message whose payload is ignored, such as `verack`, `sendheaders` or `getaddr`.
pub const MAX_EMPTY_GATHERED_BYTES: u64 = 2_048;
/// Largest payload of a `reject` that is buffered: a code, two lengths of one byte each, and the longest name, reason
/// and hash. A node ignores a `reject` with longer fields (SV Node 1.2.2, net_processing.cpp ProcessRejectMessage).
pub const MAX_REJECT_GATHERED_BYTES: u64 = (3 + MAX_REJECT_MESSAGE_BYTES + MAX_REJECT_REASON_BYTES + 32) as u64;
/// Default maximum total length of the payloads that a loop buffers at once. Payloads that fit a pooled buffer are not
/// counted. Each link has at most one pooled buffer, so these add at most `max_links` times 4 KiB.
pub const MAX_BUFFERED_TOTAL_BYTES: u64 = 256 * 1024 * 1024;
/// Minimum size, and growth step, of the buffer for a payload that is too large for a pooled buffer. If the allocator
/// gives a large buffer its own mapping, as glibc does from its `M_MMAP_THRESHOLD` on, only the buffer's written pages
/// cost memory, and they return to the system when the message ends. The memory then exceeds the received bytes by at
/// most this size. An embedder on glibc should set that threshold to this size (mallopt, or
/// `MALLOC_MMAP_THRESHOLD_=65536`), as the `peerloop` program does. Otherwise the heap may remain as large as a burst
/// has made it.
pub const BUFFER_GROWTH_BYTES: usize = 64 * 1024;
/// Maximum number of buffers of [`BUFFER_GROWTH_BYTES`] kept for reuse, 1 MiB in total. A loop that never buffers
/// a message above 64 KiB, nor more than this many messages at once, allocates at most this many of these buffers.
pub const MAX_LARGE_BUFFERS: usize = 16;
/// If a link's waiting pings and pongs exceed this number of bytes, the link is not read until at most half this number
/// wait. A peer that does not read our replies thus causes no further replies. Including the replies to the last read
/// block, a peer's pongs stay below 570 KB. The pongs of all peers stay below `max_links` times 570 KB. The pause does
/// not count towards the peer's deadlines for input. If all messages that wait for the peer together exceed this number
/// of bytes, a `reject` that does not close the connection is dropped. The embedder's messages have their own limit and
/// do not stop the reading; otherwise two loops that send each other long queues would both stop reading.
pub const UNREAD_REPLIES_PAUSE_BYTES: usize = 500_000;
/// Length in bytes up to which a send queue accepts the embedder's messages. An empty queue accepts a message of any
/// size. The engine's replies add at most [`UNREAD_REPLIES_PAUSE_BYTES`] and the replies to one read block. A queue
/// without a message above this limit thus stays below 2.7 MB.
pub const MAX_SEND_QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// The handler is offered a peer's free room only while at most this many bytes of whole messages wait for the peer.
/// The free room is then at least 1.8 MB.
pub const PULL_WAITING_BYTES: usize = 250_000;
/// Length in bytes up to which a send queue accepts parts of a streamed message, including everything queued before the
/// message. A fed part is accepted only as far as it fits.
pub const MAX_BODY_WAITING_BYTES: usize = 1024 * 1024;
/// While a message is being streamed, the handler is asked to feed more of it whenever at most this many bytes wait.
pub const BODY_REFILL_BYTES: usize = 256 * 1024;
/// Default maximum time until a TCP connection is established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default maximum time for the handshake, from entering the state `AwaitingHandshake`. No traffic extends it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for the `streamack` of a further stream that we open, as in SV Node 1.2.2. The stream is not tried
/// again.
pub const STREAM_ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// Default pause between two pings to a peer.
pub const PING_INTERVAL: Duration = Duration::from_secs(120);
/// Default maximum time for a pong.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time for a header to arrive, from its first byte. No traffic extends it.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum pause in the arrival of a body, and the window over which a body's minimum rate is measured.
pub const BODY_WINDOW: Duration = Duration::from_secs(60);
/// Default minimum rate of a body, in bytes per second over a [`BODY_WINDOW`].
pub const MIN_BODY_BYTES_PER_SECOND: u64 = 1_024;
/// Period within which a peer must read [`MIN_SEND_STALL_BYTES`] of its queue, or the whole queue if it was shorter
/// when the period began. The period restarts once the peer has done so.
pub const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Minimum number of bytes of a long queue that a peer must read per [`SEND_STALL_TIMEOUT`], 1 KiB/s. A slower peer's
/// connection is closed, and its queue is dropped.
pub const MIN_SEND_STALL_BYTES: usize = 60 * 1024;
/// Maximum extension of any deadline above while the loop has not yet processed the peer's input, or the send space
/// that the peer has freed. The loop is late after the process was suspended, or when it serves many other peers
/// first. A flooding peer gains no more than this.
pub const UNREAD_INPUT_GRACE: Duration = Duration::from_secs(30);
/// Time for which a gracefully closed link discards the peer's input after our last byte, so that a reset does not
/// discard our last bytes. Also the maximum time for which the peer of such a link may read nothing of the remaining
/// queue.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Delay between sending a last `reject` and shutting down writing, so that the peer can read the `reject`.
pub const REJECT_READ_TIME: Duration = Duration::from_millis(500);
/// Time for which the kernel may keep our bytes unacknowledged or wait for a zero window to open. The kernel counts
/// both alike. While our own queue is empty, a peer may therefore read nothing for this long; otherwise
/// [`SEND_STALL_TIMEOUT`] applies. This equals SV Node's inactivity timeout (1.2.2, net.h TIMEOUT_INTERVAL). A
/// vanished peer is noticed much earlier, by its missing pong.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20 * 60);
