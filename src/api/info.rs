//! What can be kept of a peer, and told to other threads.

use crate::id::PeerId;
use crate::peer::{ConnectionState, ConnectionType};
use crate::stats::PeerCost;
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// A peer as it was at one moment; what it said of itself is a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub id: PeerId,
    /// The address that it was dialled at or that it connected from.
    pub address: SocketAddr,
    /// Who opened the connection, and whether there was room for it.
    pub connection_type: ConnectionType,
    /// How far the connection has come.
    pub state: ConnectionState,
    /// Since when it is in that state.
    pub since: Instant,
    /// Its protocol version; none before it has said it, as all that follows.
    pub protocol_version: Option<u32>,
    /// The services it offers.
    pub services: Option<u64>,
    /// The name of its software without what is not safe to print, at most 256 characters.
    pub user_agent: Option<String>,
    /// The height of its chain.
    pub height: Option<i32>,
    /// The time from the last ping that it answered to its pong.
    pub last_rtt: Option<Duration>,
    /// The shortest of all such times.
    pub least_rtt: Option<Duration>,
    /// Bytes that it was sent.
    pub sent_bytes: u64,
    /// Bytes that wait to be sent.
    pub waiting_bytes: usize,
    /// What it has cost so far; none unless [`Config::measures_peers`](crate::Config::measures_peers) is on.
    pub cost: Option<PeerCost>,
}
