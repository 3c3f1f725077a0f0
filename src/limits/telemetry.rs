//! Subscribers on other threads, and the log.

use std::time::Duration;

/// Items of one subscription that wait on either side of its lock, about 100 bytes each.
pub const SUBSCRIPTION_MAX_ITEMS: usize = 65_536;
/// Bytes of payload of one subscription that wait on either side of its lock; what is shared with a block of the loop
/// holds at most twice its size. With those of the items, a subscription that nobody reads costs 270 MB at the worst,
/// and one whose reader stops behind a loss 400 MB.
pub const SUBSCRIPTION_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Control events for whose next ones the loop keeps room between turns; a turn with more gives its room back.
pub const CONTROL_EVENTS_KEPT: usize = 1_024;
/// Peers of one answer to a [`Handle`](crate::Handle): about 0.3 ms of the loop, and 512 bytes each at the most.
pub const PEERS_PER_ANSWER: usize = 1_024;
/// Lines of one kind that are logged at once.
pub const LOG_BURST_LINES: u32 = 20;
/// Time after which another line of a kind may be logged once its burst is used up: with lines of 768 bytes at the
/// most, less than 3 MB of each kind per hour.
pub const LOG_REFILL: Duration = Duration::from_secs(1);
/// Least time between two lines of the log that say that a listener pauses, as it does for want of descriptors.
pub const LOG_PAUSES_INTERVAL: Duration = Duration::from_secs(60);
/// Control events and messages that a [`Channel`](crate::channel::Channel) holds of each, unless it is told otherwise.
pub const CHANNEL_ITEMS: usize = 1_024;
/// Characters of a text in a line of the log.
pub const LOG_TEXT_MAX_CHARS: usize = 256;
