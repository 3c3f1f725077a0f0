//! What one turn of the loop may do, and what the loop keeps for all its connections.

use std::time::Duration;

/// The one block that all links are read into: the most that a link may be served per turn.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
/// The one block that replies are gathered in while a link's input is parsed; more goes through the link's queue.
pub const WRITE_BLOCK_BYTES: usize = 64 * 1024;
/// Time after which the read step ends and leaves the rest of the ready links to the next turn.
pub const READ_STEP_MAX: Duration = Duration::from_millis(2);
/// Time after which the flush step ends and leaves the rest of the dirty links to the next turn.
pub const FLUSH_STEP_MAX: Duration = Duration::from_millis(1);
/// Connections accepted per turn and listener, each about 15 us of system calls.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Dials started per turn, each about 40 us of system calls.
pub const DIALS_PER_TURN: usize = 32;
/// Ends of links taken a step further per turn.
pub const CLOSES_PER_TURN: usize = 128;
/// Commands taken from the handle's queue per turn.
pub const COMMANDS_PER_TURN: usize = 1_024;
/// Time after which the step that takes commands ends and leaves the rest to the next turn: a list of peers takes
/// 0.3 ms, and a handler's own commands take what they take.
pub const COMMANDS_STEP_MAX: Duration = Duration::from_millis(2);
/// Timers fired per turn; the rest makes the next wait zero.
pub const EXPIRIES_PER_TURN: usize = 4_096;
/// Readiness events taken from the kernel per turn (16 bytes each).
pub const EVENTS_PER_TURN: usize = 1_024;
/// Slices of one gathered write.
pub const SLICES_PER_WRITE: usize = 64;
/// Gathered writes per link and turn.
pub const WRITES_PER_TURN: usize = 16;
/// Bytes written per link and turn, about 0.3 ms of copying to a peer on loopback that reads as fast as we write; what
/// else waits is left to the next turn.
pub const WRITTEN_PER_TURN_MAX_BYTES: usize = 512 * 1024;
/// Connections that wait in the kernel for us to accept them; mio's own default of 128 loses bursts.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// First pause of a listener whose accept fails, as for want of descriptors or memory; it doubles up to
/// [`ACCEPT_RETRY_MAX`].
pub const ACCEPT_RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause of a listener, and so the longest wait after descriptors are free again.
pub const ACCEPT_RETRY_MAX: Duration = Duration::from_secs(1);
/// Pause of a connection that the kernel had no memory to read or write for.
pub const MEMORY_RETRY: Duration = Duration::from_millis(50);
/// Accepted connections above the maximum that are told so politely at once; more are closed without a word.
pub const OVER_CAPACITY_MAX: usize = 64;
/// Commands that wait in the handle's queue; a full queue gives the command back.
pub const HANDLE_QUEUE_MAX: usize = 1_024;
/// One tick of the timer wheel.
pub const TICK: Duration = Duration::from_millis(1);
/// Slots of the timer wheel (4 bytes each): 65.536 s, so that a two-minute timer is looked at twice.
pub const WHEEL_SLOTS: usize = 65_536;
/// How long before an exact wake-up the loop stops sleeping and polls: the kernel rounds sleeps to a millisecond.
pub const EXACT_WAKE_SPIN: Duration = Duration::from_millis(1);
/// Buffers kept for reuse; each keeps at most [`POOLED_BUFFER_MAX_BYTES`].
pub const POOLED_BUFFERS_MAX: usize = 1_024;
/// Largest buffer that goes back to the pool, so the pool holds 4 MiB at the most. Each link that is within a message
/// has one; glibc may keep those of a burst in its heap, at the worst `max_links` times this.
pub const POOLED_BUFFER_MAX_BYTES: usize = 4_096;
/// Time in which a stopping loop closes its peers gracefully; after it they are closed as they are. A program that has
/// five seconds to end has one of them left for all else.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);
/// Names that are being looked up at once, each on a thread of its own and with up to [`RESOLVED_ADDRESSES_MAX`]
/// addresses: half a megabyte, and the stacks.
pub const RESOLVES_MAX: usize = 64;
/// Addresses of one name that are kept, 32 bytes each.
pub const RESOLVED_ADDRESSES_MAX: usize = 256;
/// Time for a name to be looked up; an answer that comes later is dropped.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers taken from the network per turn, each of which may bring [`RESOLVED_ADDRESSES_MAX`] addresses.
pub const ANSWERS_PER_TURN: usize = 16;
/// First pause before an address that could not be listened at is tried again; it doubles up to [`LISTEN_RETRY_MAX`].
pub const LISTEN_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before an address that could not be listened at is tried again.
pub const LISTEN_RETRY_MAX: Duration = Duration::from_secs(60);
