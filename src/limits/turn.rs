//! Bounds of one turn of the loop, and of the memory that it keeps for all its connections.

use std::time::Duration;

/// The one block that all links are read into: the most that is read from a link per turn.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
/// The one block that gathers replies while a link's input is parsed. More replies use the link's queue.
pub const WRITE_BLOCK_BYTES: usize = 64 * 1024;
/// Time after which the read step ends; the other ready links wait for the next turn.
pub const MAX_READ_STEP: Duration = Duration::from_millis(2);
/// Time after which the flush step ends; the other dirty links wait for the next turn.
pub const MAX_FLUSH_STEP: Duration = Duration::from_millis(1);
/// Peers whose free room is offered to the handler per turn, about as many as one flush step can write to; the others
/// that asked wait for the next turn. The cost of what a handler does with the room is not bounded.
pub const PULLS_PER_TURN: usize = 256;
/// Connections accepted per turn and listener, each about 15 us of system calls.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Dials started per turn, each about 40 us of system calls.
pub const DIALS_PER_TURN: usize = 32;
/// Closing links advanced by one step per turn.
pub const CLOSES_PER_TURN: usize = 128;
/// Commands received from the handle's queue per turn.
pub const REQUESTS_PER_TURN: usize = 1_024;
/// Time after which the step that receives commands ends; the rest waits for the next turn. A list of peers costs
/// 0.3 ms. The cost of a handler's own commands is not bounded.
pub const MAX_REQUESTS_STEP: Duration = Duration::from_millis(2);
/// Timers fired per turn: of links, and as many again of the handler's own. If more are due, the next wait is zero.
pub const EXPIRIES_PER_TURN: usize = 4_096;
/// Readiness events received from the kernel per turn (16 bytes each).
pub const EVENTS_PER_TURN: usize = 1_024;
/// Slices of one gathered write.
pub const SLICES_PER_WRITE: usize = 64;
/// Gathered writes per link and turn.
pub const WRITES_PER_TURN: usize = 16;
/// Bytes written per link and turn: about 0.3 ms of copying to a peer on loopback that reads as fast as we write. The
/// rest waits for the next turn.
pub const MAX_WRITTEN_PER_TURN_BYTES: usize = 512 * 1024;
/// Connections that wait in the kernel to be accepted; mio's own default of 128 loses bursts.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// First pause of a listener whose accept fails, as when descriptors or memory are short; it doubles up to
/// [`MAX_ACCEPT_RETRY`].
pub const ACCEPT_RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause of a listener, and so the longest wait once descriptors are free again.
pub const MAX_ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Pause of a connection for whose reads or writes the kernel had no memory.
pub const MEMORY_RETRY: Duration = Duration::from_millis(50);
/// Accepted connections above the maximum that get a `reject` at once; more are closed without one.
pub const MAX_OVER_CAPACITY: usize = 64;
/// Commands that wait in the handle's queue; a full queue returns the command.
pub const MAX_HANDLE_QUEUE: usize = 1_024;
/// One tick of the timer wheel.
pub const TICK: Duration = Duration::from_millis(1);
/// Slots of the timer wheel (4 bytes each): 65.536 s, so that a two-minute timer is examined twice.
pub const WHEEL_SLOTS: usize = 65_536;
/// Timers that the handlers of a loop may have set at one time. Each costs 110 bytes, so all of them 7.2 MB, and 9.5 MB
/// while the tables grow. Their memory follows the most timers that were set at one time, and stays for reuse. The
/// first timer also maps 264 KiB for a wheel, whose pages the kernel provides as they are used.
pub const MAX_TIMERS: usize = 65_536;
/// Time before an exact wake-up at which the loop stops sleeping and polls: the kernel rounds sleeps to a
/// millisecond.
pub const EXACT_WAKE_SPIN: Duration = Duration::from_millis(1);
/// Buffers kept for reuse; each keeps at most [`MAX_POOLED_BUFFER_BYTES`].
pub const MAX_POOLED_BUFFERS: usize = 1_024;
/// Largest buffer that returns to the pool, so the pool holds 4 MiB at the most. Each link with an unfinished message
/// has one. glibc may keep those of a burst in its heap: at the worst `max_links` times this.
pub const MAX_POOLED_BUFFER_BYTES: usize = 4_096;
/// Time in which a stopping loop closes its peers gracefully; then it closes them at once. A program that has five
/// seconds to end keeps one of them for everything else.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);
/// Names looked up at once, each on a thread of its own and with up to [`MAX_RESOLVED_ADDRESSES`] addresses: half a
/// megabyte, and the stacks.
pub const MAX_RESOLVES: usize = 64;
/// Addresses kept of one name, 32 bytes each.
pub const MAX_RESOLVED_ADDRESSES: usize = 256;
/// Time for a name to be looked up; a later answer is dropped.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Completions received from [`Offload`](crate::offload::Offload) per turn, each with up to
/// [`MAX_RESOLVED_ADDRESSES`] addresses.
pub const COMPLETIONS_PER_TURN: usize = 16;
/// First pause before a failed listener is tried again; it doubles up to [`MAX_LISTEN_RETRY`].
pub const LISTEN_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a failed listener is tried again.
pub const MAX_LISTEN_RETRY: Duration = Duration::from_secs(60);
/// Levels of handlers that are composed in pairs, so 16 handlers at the most. Each link of a loop with several handlers
/// costs 8 bytes more: the delivery that each wants of the message that arrives.
pub const MAX_HANDLER_DEPTH: u32 = 4;
