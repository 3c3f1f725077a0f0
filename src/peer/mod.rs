//! The state of one peer: its connection, its handshake, its pings in flight and its restarts.
//!
//! The loop uses these types. They store facts and decide which changes are legal. They use no socket, no clock and
//! no timer: each moment is an argument, and each deadline is a result. No input from a peer makes them panic or grow
//! beyond [`limits`](crate::limits). A connected idle peer uses one [`PeerConnection`], with the peer's version in a
//! box.
//!
//! # States
//!
//! ```text
//!                  outbound
//! Disconnected ---> Connecting ---> AwaitingHandshake ---> Connected
//!       |                             ^       |                |
//!       '-----------------------------'       |                |
//!                  accepted                   v                v
//!                                        Rejected, Failed, Disconnected
//! ```
//!
//! | from | to | connection types |
//! |---|---|---|
//! | `Disconnected` | `Connecting` | outbound |
//! | `Disconnected` | `AwaitingHandshake` | accepted, once |
//! | `Connecting` | `AwaitingHandshake`, `Failed`, `Disconnected` | outbound |
//! | `AwaitingHandshake` | `Connected`, after both versions and both veracks | all but over capacity |
//! | `AwaitingHandshake` | `Rejected`, `Failed`, `Disconnected` | all |
//! | `Connected` | `Rejected`, `Failed`, `Disconnected` | all but over capacity |
//! | `Rejected` | `Disconnected` | all |
//! | `Failed` | `Disconnected` | all |
//! | `Failed` | `Connecting`, a restart | outbound |
//!
//! Every other transition is a [`TransitionError`], including a state's transition to itself.
//!
//! # Examples
//!
//! ```
//! # use peerloop::peer::{HandshakeState, PeerConnection, PingPongState, create_pong_nonce};
//! # use peerloop::time::{Instant, UnixTime};
//! # use peerloop::wire::{NetAddress, Version};
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use std::net::SocketAddr;
//! # use std::time::Duration;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = Instant::ZERO;
//! # let later = now.plus(Duration::from_millis(3));
//! # let mut rng = StdRng::seed_from_u64(1);
//! # let peer: SocketAddr = "127.0.0.1:8333".parse()?;
//! # let peer_version = Version {
//! #     protocol_version: 70016, services: 0x21, time: UnixTime::from_secs(0), receiver: NetAddress::UNSPECIFIED,
//! #     sender: None, user_agent: None, start_height: None, relay: None, association_id: None,
//! # };
//! let mut handshake = HandshakeState::new();
//! handshake.start(now);
//! handshake.mark_version_sent();
//! handshake.mark_version_received(peer_version);
//! handshake.mark_verack_sent();
//! handshake.mark_verack_received();
//! assert!(handshake.is_complete());
//!
//! let mut ping_pong = PingPongState::new(Duration::from_secs(30));
//! let nonce = PingPongState::generate_nonce(&mut rng);
//! ping_pong.record_ping(nonce, now);
//! let rtt = ping_pong.validate_pong(nonce, later).unwrap();
//! # assert_eq!(rtt, Duration::from_millis(3));
//! # assert_eq!(create_pong_nonce(nonce), nonce);
//!
//! let mut conn = PeerConnection::new_outbound(peer, (3, Duration::from_secs(60)), Duration::from_secs(30));
//! conn.transition_to_connecting(now)?;
//! conn.transition_to_awaiting_handshake(now)?;
//! // ... complete the handshake ...
//! # *conn.handshake_mut() = handshake;
//! conn.transition_to_connected(now)?;
//! # Ok(())
//! # }
//! ```
//!
//! A handler reads a peer's state through a [`PeerView`](crate::handler::PeerView):
//!
//! ```
//! use peerloop::handler::PeerView;
//!
//! fn describe(peer: PeerView<'_>) -> String {
//!     let connection = peer.connection();
//!     let (handshake, pings) = (connection.handshake(), connection.ping_pong());
//!     let mut text = format!("{:?} since {:?}", connection.connection_type(), connection.since());
//!     if let Some(version) = handshake.peer_version() {
//!         text += &format!(", {:?}", version.printable_user_agent());
//!     }
//!     let (last, least, waiting) = (pings.last_rtt(), pings.least_rtt(), pings.pending_count());
//!     text += &format!(", round trips {last:?} and {least:?}, {waiting} pings without a pong");
//!     let odd = handshake.duplicate_versions() + handshake.duplicate_veracks() + handshake.messages_before_complete();
//!     text += &format!(", {odd} odd messages, wants headers: {}", connection.send_headers_mode());
//!     if connection.protoconf_received() {
//!         text += &format!(", accepts {} bytes", connection.max_recv_payload());
//!     }
//!     if let Some(restarts) = connection.restart() {
//!         text += &format!(", {} restarts in {:?}", restarts.restarts(), restarts.window());
//!     }
//!     if let (true, Some(cost)) = (peer.is_ready(), peer.cost()) {
//!         text += &format!(", {:?} busy, body left {:?}", cost.busy, peer.body_left_bytes());
//!     }
//!     text
//! }
//! ```
//!
//! Every moment is an argument, so each type can be used without a loop:
//!
//! ```
//! use peerloop::peer::{
//!     ConnectionState, ConnectionType, HandshakeState, PeerConnection, PingPongState, RestartTracking,
//! };
//! use peerloop::time::Instant;
//! use std::time::Duration;
//!
//! let (start, timeout) = (Instant::ZERO, Duration::from_secs(10));
//! let late = start.plus(timeout);
//! let address = "127.0.0.1:8333".parse()?;
//!
//! let mut accepted = PeerConnection::new_inbound(address, timeout);
//! accepted.transition_to_awaiting_handshake(start)?;
//! assert!(accepted.is_inbound() && accepted.connection_type().is_inbound());
//! assert!(accepted.state().may_become(ConnectionState::Failed, ConnectionType::Inbound));
//! accepted.transition_to_failed(late)?;
//! accepted.transition_to_disconnected(late)?;
//!
//! let mut refused = PeerConnection::new_over_capacity(address, timeout);
//! refused.transition_to_awaiting_handshake(start)?;
//! refused.transition_to_rejected(late)?;
//!
//! let mut handshake = HandshakeState::new();
//! handshake.start(start);
//! assert_eq!(handshake.deadline(timeout), Some(late));
//! assert!(handshake.is_timed_out(late, timeout) && !handshake.version_sent() && !handshake.verack_sent());
//! assert!(!handshake.version_received() && !handshake.verack_received());
//!
//! let mut pings = PingPongState::new(timeout);
//! pings.record_ping(7, start);
//! assert_eq!(pings.in_flight().count(), 1);
//! assert_eq!(pings.check_timeouts(late).collect::<Vec<_>>(), [7]);
//! assert_eq!((pings.remove_timed_out(late), pings.pending_count()), (1, 0));
//!
//! let mut restarts = RestartTracking::new(1, Duration::from_secs(60));
//! assert!(restarts.try_restart(start) && !restarts.try_restart(late));
//! restarts.reset();
//! assert!(restarts.try_restart(late));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod facts;
mod handshake;
mod ping_pong;
mod restart;
mod stream_policy;
mod user_agent;

pub(crate) use connection::LinkRole;
pub use connection::{ConnectionState, ConnectionType, PeerConnection, TransitionError};
pub use facts::VersionFacts;
pub use handshake::{HandshakeState, validate_version};
pub use ping_pong::{Answered, PingInFlight, PingPongState, PongError, create_pong_nonce};
pub use restart::RestartTracking;
pub use stream_policy::StreamPolicy;
