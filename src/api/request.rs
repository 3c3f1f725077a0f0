//! Requests from other threads to a loop.

use super::control::ControlEvent;
use super::info::PeerInfo;
use super::message::{CommandFilter, MessageEvent};
use super::pending::Reply;
use crate::config::{Config, ConfigChange, UpdateError};
use crate::error::{AddConnectionError, RequestError};
use crate::id::PeerId;
use crate::manager::ban::Ban;
use crate::stats::Stats;
use crate::stats::histogram::LatencyHistogram;
use crate::subscribe::Publisher;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// A request to a loop; sent with a [`Handle`](crate::Handle).
#[derive(Debug)]
#[non_exhaustive]
pub enum Request<C> {
    /// Open a connection.
    Connect {
        /// The address to connect to.
        address: SocketAddr,
        /// The local address; `None` lets the system choose.
        source: Option<IpAddr>,
        /// Receives the new peer's id.
        reply: Reply<Result<PeerId, RequestError>>,
    },
    /// Adopt a connection that the caller has opened.
    AddConnection {
        /// The established connection.
        connection: TcpStream,
        /// The side that dialled.
        direction: Direction,
        /// Receives the new peer's id.
        reply: Reply<Result<PeerId, AddConnectionError>>,
    },
    /// Close a peer gracefully.
    Close {
        /// The peer.
        peer: PeerId,
    },
    /// Send an encoded frame to a peer. The frame is dropped if [`Ctx::send_shared`](crate::Ctx::send_shared) would
    /// return an error.
    Send {
        /// The peer.
        peer: PeerId,
        /// Header and payload.
        frame: Bytes,
    },
    /// Send an encoded frame to a peer, and report whether its queue accepted it.
    SendMessage {
        /// The peer.
        peer: PeerId,
        /// Header and payload.
        frame: Bytes,
        /// Receives the result.
        reply: Reply<Result<(), RequestError>>,
    },
    /// Count the peers whose handshake is complete.
    ConnectionCount {
        /// Receives the number.
        reply: Reply<usize>,
    },
    /// List at most [`PEERS_PER_REPLY`](crate::limits::PEERS_PER_REPLY) peers in the order of their slots.
    Peers {
        /// Starts the list after this peer's slot; `None` starts it with the first slot.
        after: Option<PeerId>,
        /// Receives the list.
        reply: Reply<Vec<PeerInfo>>,
    },
    /// Send control events to a subscriber.
    SubscribeControl {
        /// The loop's end of the subscription.
        publisher: Publisher<ControlEvent>,
    },
    /// Send messages to a subscriber.
    SubscribeMessages {
        /// Selects the messages by their commands.
        commands: CommandFilter,
        /// The loop's end of the subscription.
        publisher: Publisher<MessageEvent>,
    },
    /// Ban a host.
    Ban {
        /// An address of the host.
        address: IpAddr,
        /// The ban's duration; `None` for a permanent ban.
        duration: Option<Duration>,
        /// Receives the result.
        reply: Reply<Result<(), RequestError>>,
    },
    /// Lift the ban of a host.
    Unban {
        /// An address of the host.
        address: IpAddr,
        /// Receives whether the host was banned.
        reply: Reply<Result<bool, RequestError>>,
    },
    /// List the bans.
    Bans {
        /// Receives the list.
        reply: Reply<Result<Vec<Ban>, RequestError>>,
    },
    /// Replace the configuration as a whole, or not at all.
    UpdateConfig {
        /// The complete configuration.
        config: Box<Config>,
        /// Whether to list the changes without making them.
        dry_run: bool,
        /// Receives the changes, or the error if the configuration is rejected.
        reply: Reply<Result<Vec<ConfigChange>, UpdateError>>,
    },
    /// Report the loop's gauges, counters and latencies.
    Stats {
        /// Receives the report.
        reply: Reply<Stats>,
    },
    /// Return a latency's histogram, and continue to record in `spare`.
    TakeLatencies {
        /// The kind of latency.
        latency: Latency,
        /// The histogram that replaces the returned one. Latencies that it already contains are kept.
        spare: LatencyHistogram,
        /// Receives the histogram.
        reply: Reply<LatencyHistogram>,
    },
    /// Report the configuration.
    Config {
        /// Receives the configuration in force.
        reply: Reply<Config>,
    },
    /// Close all peers gracefully and end the loop.
    Stop {
        /// Receives a reply once the loop has ended.
        reply: Reply<()>,
    },
    /// A request to the handler.
    Handler(C),
}

/// The side that dialled a connection. That side sends its `version` first.
///
/// ```
/// use peerloop::api::Direction;
/// use peerloop::load::Responder;
/// use peerloop::{Config, Network, Reactor};
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), Responder::default())?;
/// let address = reactor.add_listener(TcpListener::bind("127.0.0.1:0")?)?;
/// let connection = TcpStream::connect(address)?;
/// let peer = reactor.add_connection(connection, Direction::Outbound)?;
/// println!("{peer} begins its handshake in the next turn");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer dialled.
    Inbound,
    /// This side dialled.
    Outbound,
}

/// A kind of latency that a loop records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Latency {
    /// From the start of a dial to the established TCP connection.
    Connect,
    /// From the established TCP connection to the complete handshake.
    Handshake,
    /// From a ping's due moment to the arrival of its pong. A keepalive ping is measured from the moment at which it
    /// was sent.
    PingRtt,
    /// The duration of a turn's work.
    Turn,
    /// The delay of an exact wake-up.
    LoopLag,
    /// The delay of the timer that sends keepalive pings.
    KeepaliveLag,
}
