//! Limits of subscriptions, of replies to other threads, and of the log.

use std::time::Duration;

/// Maximum number of items that each side of a subscription holds, about 100 bytes each. After a reported loss, the
/// subscriber's side may hold twice as many.
pub const MAX_SUBSCRIPTION_ITEMS: usize = 65_536;
/// Maximum number of payload bytes that each side of a subscription holds. After a reported loss, the subscriber's side
/// may hold twice as many. A payload may be part of a larger block of memory, and then keeps at most twice its own size
/// allocated. Including its items, an unread subscription uses up to 290 MB of memory, and up to 430 MB if its reader
/// stops reading after a reported loss.
pub const MAX_SUBSCRIPTION_BYTES: usize = 64 * 1024 * 1024;
/// Maximum number of control events for which the loop keeps memory between turns. After a turn with more, the memory
/// is freed.
pub const CONTROL_EVENTS_KEPT: usize = 1_024;
/// Maximum number of peers in one reply to a [`Handle`](crate::Handle). A full reply costs the loop about 0.3 ms, and
/// at most 512 bytes of memory for each peer.
pub const PEERS_PER_REPLY: usize = 1_024;
/// Maximum number of lines of one kind that are logged in a burst.
pub const LOG_BURST_LINES: u32 = 20;
/// Time after which another line of a kind may be logged once that kind's burst is used up. With lines of at most 768
/// bytes, each kind logs less than 3 MB per hour.
pub const LOG_REFILL: Duration = Duration::from_secs(1);
/// Minimum time between two log lines about pauses of the same listener, for example when descriptors run out.
pub const LOG_PAUSES_INTERVAL: Duration = Duration::from_secs(60);
/// Suggested capacity of a [`Channel`](crate::channel::Channel): the maximum number of control events that it holds,
/// and also its maximum number of messages.
pub const CHANNEL_ITEMS: usize = 1_024;
/// Maximum number of characters of one quoted string in a log line, counted after escaping and without the quotes.
pub const MAX_LOG_TEXT_CHARS: usize = 256;
