//! Statistics of a loop: gauges, counters, latencies, and the cost of each peer.
//!
//! Values are updated as events occur, so a report costs the same for any number of peers. Close reasons, dial
//! holds and commands are counted in fixed tables, each with one entry per item of a closed list, so peers cannot make
//! a table grow. Only the [cost of each peer](PeerCost) uses memory per peer, and only if its measurement is enabled.

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

/// A loop's counters and current state.
///
/// ```
/// use peerloop::api::Stats;
/// use peerloop::peer::{ConnectionState, ConnectionType};
///
/// fn summary(stats: &Stats) -> String {
///     let accepted = stats.connections.of_type(ConnectionType::Inbound);
///     let connected = stats.connections.in_state(ConnectionState::Connected);
///     format!("{accepted} accepted, {connected} connected, {} messages received", stats.received.total().messages)
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The number of links in the table.
    pub links: usize,
    /// The number of links that are further streams of peers, or are being set up as such. They are no peers.
    pub streams: usize,
    /// The number of peers whose handshake is complete.
    pub ready: usize,
    /// The links by state and by type.
    pub connections: Census,
    /// The number of peers in the address book, by status; `None` without a manager.
    pub book: Option<BookCounts>,
    /// The number of banned hosts; 0 without a manager.
    pub banned_hosts: usize,
    /// The number of non-empty send queues: one for each peer that reads more slowly than we send, and a second one if
    /// other messages wait for the end of a message sent in parts.
    pub send_queues: usize,
    /// The number of bytes waiting in all send queues.
    pub waiting_bytes: u64,
    /// The memory, in bytes, held for incomplete large frames.
    pub gathered_bytes: u64,
    /// Time since the loop began.
    pub uptime: Duration,
    /// Time spent working, not waiting.
    pub busy: Duration,
    /// Time spent polling instead of sleeping, to meet exact wake-ups. The CPU is in use, but no work is done.
    pub spinning: Duration,
    /// All counters.
    pub counters: Counters,
    /// The number of closed connections, by reason.
    pub closes: CloseCounts,
    /// The number of reports that peers were wanted but not dialled, by cause.
    pub dial_holds: DialHoldCounts,
    /// The number of frames received, delivered or not, by command.
    pub received: MessageCounts,
    /// The number of frames queued for sending, by command. A queued frame is never sent if its peer disconnects
    /// first.
    pub sent: MessageCounts,
    /// Time from a dial to its TCP connection. Like all latencies here, it covers the period since the loop started or
    /// since [`Handle::take_latencies`](crate::Handle::take_latencies) last cleared its histogram.
    pub connect: LatencySummary,
    /// Time from the TCP connection to the end of the handshake.
    pub handshake: LatencySummary,
    /// Time from a ping to its pong. A keepalive is timed from the moment at which it is sent. A handler's ping is
    /// timed from the moment at which it is due, so its round trip includes the delay of a late loop.
    pub ping_rtt: LatencySummary,
    /// Duration of each turn's work.
    pub turn: LatencySummary,
    /// Delay of the exact wake-ups.
    pub loop_lag: LatencySummary,
    /// Delay of the timer that sends keepalive pings.
    pub keepalive_lag: LatencySummary,
}

/// The number of peers in the address book, by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookCounts {
    /// Peers with which no dial has completed a handshake, or whose earlier status no longer applies.
    pub unknown: usize,
    /// Peers with which a dial has completed a handshake.
    pub valid: usize,
    /// Peers that failed too often or are incompatible.
    pub inaccessible: usize,
    /// Banned peers.
    pub banned: usize,
}

impl Stats {
    /// Lists all of [`CloseReason::LABELS`](crate::CloseReason::LABELS) in their order, each with its number of
    /// closed connections.
    pub fn closed_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.closes.iter()
    }
}
