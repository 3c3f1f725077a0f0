//! What a loop knows of itself: gauges, counters and latencies, and what each peer costs it.
//!
//! Everything is kept up to date where it happens, at the cost of an addition, so that a report costs the same however
//! many peers there are. What has a cause or a name is counted in a fixed table with a place for each of a closed
//! list: nothing that a peer says makes a table grow. Only the [cost of each peer](PeerCost) takes memory per peer, and
//! only when it is asked for.

mod census;
mod closes;
mod costs;
pub mod histogram;
mod holds;
mod messages;

pub use census::Census;
pub use closes::CloseCounts;
pub use costs::PeerCost;
pub(crate) use costs::{Costs, Mark};
pub use holds::DialHoldCounts;
pub use messages::{MessageCount, MessageCounts};

use crate::stats::histogram::{Counters, LatencySummary};
use std::time::Duration;

/// What a loop has done so far, and what it is at.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Links in the table.
    pub links: usize,
    /// Peers whose handshake is complete.
    pub ready: usize,
    /// The links by state and by type.
    pub connections: Census,
    /// The peers of the book; none without a manager.
    pub book: Option<BookCounts>,
    /// Hosts that are banned; 0 without a manager.
    pub banned_hosts: usize,
    /// Send queues that hold something: one for a link that takes less than it is sent, and a second one while a
    /// message is fed to it and others wait behind that.
    pub send_queues: usize,
    /// Bytes that wait in all send queues.
    pub waiting_bytes: u64,
    /// Bytes held for large frames that are being gathered.
    pub gathered_bytes: u64,
    /// Time since the loop began.
    pub uptime: Duration,
    /// Time spent working, not waiting.
    pub busy: Duration,
    /// Time spent polling instead of sleeping, to meet exact wake-ups: the CPU is in use, and nothing is done.
    pub spinning: Duration,
    /// All counters.
    pub counters: Counters,
    /// Connections that ended, by reason.
    pub closes: CloseCounts,
    /// Reports that wanted peers are not dialled, by cause.
    pub dial_holds: DialHoldCounts,
    /// Frames received, delivered or not, by command.
    pub received: MessageCounts,
    /// Frames queued for sending, by command; those whose peer ends before are never sent.
    pub sent: MessageCounts,
    /// How long dials took until the TCP connection was there. As all latencies since the loop began, or since its
    /// histogram was [taken](crate::Handle::take_latencies) the last time.
    pub connect: LatencySummary,
    /// How long handshakes took, from the TCP connection on.
    pub handshake: LatencySummary,
    /// How long the pongs to our pings took: from the sending of a keepalive, which nobody planned, and from when a
    /// ping of the handler's was due, so that a loop that is late with it shows here what that cost.
    pub ping_rtt: LatencySummary,
    /// How long each turn's work took.
    pub turn: LatencySummary,
    /// How late the exact wake-ups were.
    pub loop_lag: LatencySummary,
    /// How late the timer was that sends keepalive pings.
    pub keepalive_lag: LatencySummary,
}

/// How many peers the book has of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookCounts {
    /// Nobody has tried them.
    pub unknown: usize,
    /// They were connected.
    pub valid: usize,
    /// They could not be connected.
    pub inaccessible: usize,
    /// They are banned.
    pub banned: usize,
}

impl Stats {
    /// Connections that ended, by the labels of [`CloseReason::LABELS`](crate::CloseReason::LABELS), all of them in
    /// their order.
    pub fn closed_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.closes.iter()
    }
}
