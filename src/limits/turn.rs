//! Bounds of one turn of the loop, and of the memory that the loop shares between all its connections.

use std::time::Duration;

/// Longest wait for events that does not count as a sleep. A poll that finds events at once lasts a few microseconds.
pub const MAX_POLL_TIME: Duration = Duration::from_micros(20);
/// Size of the block that receives the links' input. No read is larger, not even one into a message's own buffer.
/// Each link is read at most once per turn.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
/// Maximum number of read blocks that a loop waits to use again, because a handler keeps a part of each. A relay's
/// window of a block keeps 64 of them; the loop may hold 5 MiB of unused blocks until its next reads free them.
pub const MAX_LENT_BLOCKS: usize = 80;
/// Size of the block that collects replies while a link's input is parsed. Further replies use the link's queue.
pub const WRITE_BLOCK_BYTES: usize = 64 * 1024;
/// Time after which the read step ends; the other ready links wait for the next turn.
pub const MAX_READ_STEP: Duration = Duration::from_millis(2);
/// Time after which the flush step ends; the other dirty links wait for the next turn.
pub const MAX_FLUSH_STEP: Duration = Duration::from_millis(1);
/// Maximum number of peers whose free room is offered to the handler per turn, about as many as one flush step can
/// write to. The others wait for the next turn. The time that the handler spends on an offer is not bounded.
pub const PULLS_PER_TURN: usize = 256;
/// Maximum number of connections accepted per turn and listener, each about 15 us of system calls.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Maximum number of dials started per turn, each about 40 us of system calls.
pub const DIALS_PER_TURN: usize = 32;
/// Maximum number of closing links that are processed per turn. Each of them advances by one step of its close.
pub const CLOSES_PER_TURN: usize = 128;
/// Maximum number of requests received from the handle's queue per turn.
pub const REQUESTS_PER_TURN: usize = 1_024;
/// Time after which the step that receives requests ends; the remaining requests wait for the next turn. A request for
/// a list of peers costs 0.3 ms. The time for a handler's own requests is not bounded.
pub const MAX_REQUESTS_STEP: Duration = Duration::from_millis(2);
/// Maximum number of link timers, and of handler timers, fired per turn. If more are due, the next wait is zero. It
/// also limits how many slots per turn are rearmed after a change of the configuration.
pub const EXPIRIES_PER_TURN: usize = 4_096;
/// Maximum number of readiness events received from the kernel per turn. Each uses 16 bytes in the loop's list, and
/// an entry in the poller's own list.
pub const EVENTS_PER_TURN: usize = 1_024;
/// Maximum number of slices in one gathered write.
pub const SLICES_PER_WRITE: usize = 64;
/// Maximum number of writes from a link's queue per turn.
pub const WRITES_PER_TURN: usize = 16;
/// Maximum number of bytes written from a link's queue per turn: about 0.3 ms of copying to a loopback peer that reads
/// as fast as we write. The rest waits for the next turn.
pub const MAX_WRITTEN_PER_TURN_BYTES: usize = 512 * 1024;
/// Maximum number of connections that the kernel queues on a listener until they are accepted. mio's default of 128
/// overflows in bursts.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Initial pause of a listener after a failed accept, for example when descriptors or memory run out. It doubles up
/// to [`MAX_ACCEPT_RETRY`].
pub const ACCEPT_RETRY_FIRST: Duration = Duration::from_millis(100);
/// Maximum pause of a listener after failed accepts, and so the listener's maximum delay once descriptors are free
/// again.
pub const MAX_ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Pause before retrying a read or write that failed because the kernel had no memory.
pub const MEMORY_RETRY: Duration = Duration::from_millis(50);
/// Maximum number of connections over capacity that receive a `reject` at the same time; others are closed without
/// a `reject`.
pub const MAX_OVER_CAPACITY: usize = 64;
/// Maximum number of requests in the handle's queue; a full queue returns the request to its caller.
pub const MAX_HANDLE_QUEUE: usize = 1_024;
/// One tick of the timer wheel.
pub const TICK: Duration = Duration::from_millis(1);
/// Number of slots in the timer wheel, 4 bytes each. They span 65.536 s, so a two-minute timer is examined once before
/// it fires.
pub const WHEEL_SLOTS: usize = 65_536;
/// Maximum number of timers that the handlers of a loop may have set at one time. Each costs 110 bytes, so all of them
/// cost 7.2 MB, and 9.5 MB while the tables grow. The memory follows the peak number of timers and is kept for reuse.
/// The first timer also maps 264 KiB of address space for a wheel, whose pages cost memory only once they are used.
pub const MAX_TIMERS: usize = 65_536;
/// Duration of polling before an exact wake-up, if [`Config::spin`](crate::Config::spin) is on. The loop does not
/// sleep in this period, because the kernel rounds sleeps to a millisecond.
pub const EXACT_WAKE_SPIN: Duration = Duration::from_millis(1);
/// Maximum number of small buffers kept for reuse. Each has at most [`MAX_POOLED_BUFFER_BYTES`].
pub const MAX_POOLED_BUFFERS: usize = 1_024;
/// Size of the largest buffer that returns to the pool of small buffers. The pool keeps at most
/// [`MAX_POOLED_BUFFERS`], so it holds at most 4 MiB. Each link with an incomplete message uses one buffer of this
/// size, or a larger one. glibc may keep a burst's buffers in its heap: in the worst case `max_links` times this size.
pub const MAX_POOLED_BUFFER_BYTES: usize = 4_096;
/// Maximum time for which a stopping loop closes its peers gracefully. It then closes the remaining peers at once.
/// A program that must stop within five seconds has one second for everything else.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);
/// Maximum number of simultaneous name look-ups, each on its own thread and with up to [`MAX_RESOLVED_ADDRESSES`]
/// addresses: half a mebibyte in total, plus the threads' stacks.
pub const MAX_RESOLVES: usize = 64;
/// Maximum number of addresses kept per name, 32 bytes each.
pub const MAX_RESOLVED_ADDRESSES: usize = 256;
/// Maximum time for a name's look-up; a later reply is dropped.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of completions received from [`Offload`](crate::offload::Offload) per turn, each with up to
/// [`MAX_RESOLVED_ADDRESSES`] addresses.
pub const COMPLETIONS_PER_TURN: usize = 16;
/// Initial pause before retrying to bind a listener; it doubles up to [`MAX_LISTEN_RETRY`].
pub const LISTEN_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Maximum pause before retrying to bind a listener.
pub const MAX_LISTEN_RETRY: Duration = Duration::from_secs(60);
/// Maximum depth of handlers composed in pairs, so at most 16 handlers. With several handlers, each link costs 8 more
/// bytes, which record how each handler wants the incoming message delivered.
pub const MAX_HANDLER_DEPTH: u32 = 4;
