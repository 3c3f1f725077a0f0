//! A peer's description that other threads can keep.

use crate::id::PeerId;
use crate::peer::{ConnectionState, ConnectionType, StreamPolicy};
use crate::stats::PeerCost;
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// A snapshot of a peer. The data from its `version` is unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The peer's id.
    pub id: PeerId,
    /// The peer's address: the dialled one, or the source of an accepted connection.
    pub address: SocketAddr,
    /// The side that opened the connection, and whether a slot was free for it.
    pub connection_type: ConnectionType,
    /// The state of the connection.
    pub state: ConnectionState,
    /// The moment from which the time in that state is counted: the start of the state or, if this side later caused a
    /// delay, the end of the delay.
    pub since: Instant,
    /// The protocol version that the peer claims. This and the next three fields are `None` until the peer's
    /// `version` has arrived.
    pub protocol_version: Option<u32>,
    /// The services that the peer offers.
    pub services: Option<u64>,
    /// The peer's user agent without characters that are unsafe to print, at most 256 characters.
    pub user_agent: Option<String>,
    /// The height of the peer's chain; `None` also if the `version` ends before this field.
    pub height: Option<i32>,
    /// The round-trip time of the last answered ping; `None` before the first pong.
    pub last_rtt: Option<Duration>,
    /// The shortest round-trip time; `None` before the first pong.
    pub least_rtt: Option<Duration>,
    /// The number of the peer's open TCP streams, at least 1.
    pub streams: usize,
    /// The policy that assigns messages to these streams; `None` unless both sides have named the same association id.
    pub stream_policy: Option<StreamPolicy>,
    /// The number of bytes sent to the peer.
    pub sent_bytes: u64,
    /// The number of bytes that wait to be sent to the peer.
    pub waiting_bytes: usize,
    /// The peer's cost so far; `None` unless [`Config::measure_peers`](crate::Config::measure_peers) is on.
    pub cost: Option<PeerCost>,
}
