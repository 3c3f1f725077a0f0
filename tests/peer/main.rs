//! The state of one peer: connection, handshake, pings, restarts and user agents, without any socket.

mod connection;
mod handshake;
mod ping_pong;
mod restart;
mod user_agent;

use peerloop::time::{Instant, UnixTime};
use peerloop::wire::{NetAddress, Version};
use std::net::SocketAddr;
use std::time::Duration;

/// Returns the moment `secs` seconds after [`Instant::ZERO`].
fn at(secs: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_secs(secs))
}

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 8333))
}

/// Returns a `version` that has this user agent and no other optional field.
fn version(user_agent: Option<&[u8]>) -> Version {
    Version {
        protocol_version: 70_016,
        services: 0x21,
        time: UnixTime::from_secs(1_700_000_000),
        receiver: NetAddress::UNSPECIFIED,
        sender: None,
        user_agent: user_agent.map(Box::from),
        start_height: None,
        relay: None,
        association_id: None,
    }
}
