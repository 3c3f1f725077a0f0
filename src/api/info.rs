//! A peer's description that other threads can keep.

use crate::id::PeerId;
use crate::peer::{ConnectionState, ConnectionType};
use crate::stats::PeerCost;
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// A snapshot of a peer. The data from its `version` is unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub id: PeerId,
    /// Its address: the dialled one, or the source of an accepted connection.
    pub address: SocketAddr,
    /// The side that opened the connection, and whether there was a slot for it.
    pub connection_type: ConnectionType,
    /// The state of the connection.
    pub state: ConnectionState,
    /// The moment at which it entered that state.
    pub since: Instant,
    /// Its protocol version. This and the next three fields are `None` until its `version` has arrived.
    pub protocol_version: Option<u32>,
    /// The services that it offers.
    pub services: Option<u64>,
    /// Its user agent without characters that are unsafe to print, at most 256 characters.
    pub user_agent: Option<String>,
    /// The height of its chain.
    pub height: Option<i32>,
    /// The round trip of the last answered ping.
    pub last_rtt: Option<Duration>,
    /// The shortest round trip.
    pub least_rtt: Option<Duration>,
    /// The number of bytes sent to it.
    pub sent_bytes: u64,
    /// The number of bytes that wait to be sent to it.
    pub waiting_bytes: usize,
    /// Its cost so far; `None` unless [`Config::measure_peers`](crate::Config::measure_peers) is on.
    pub cost: Option<PeerCost>,
}
