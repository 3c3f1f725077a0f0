//! The state of one peer: its connection, its handshake, its pings in flight and its restarts.
//!
//! The loop runs on these types. They store facts and decide which changes are legal. They use no socket, no clock
//! and no timer: every moment is an argument, every deadline a result. No input of a peer makes them panic or grow
//! beyond [`limits`](crate::limits), and a connected idle peer uses one [`PeerConnection`] and its boxed version.
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
//! | `AwaitingHandshake` | `Connected`, with all four marks of the handshake | all but over capacity |
//! | `AwaitingHandshake` | `Rejected`, `Failed`, `Disconnected` | all |
//! | `Connected` | `Rejected`, `Failed`, `Disconnected` | all but over capacity |
//! | `Rejected` | `Disconnected` | all |
//! | `Failed` | `Disconnected` | all |
//! | `Failed` | `Connecting`, a restart | outbound |
//!
//! Everything else is a [`TransitionError`], a state's transition to itself included.
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

mod connection;
mod handshake;
mod ping_pong;
mod restart;
mod user_agent;

pub use connection::{ConnectionState, ConnectionType, PeerConnection, TransitionError};
pub use handshake::{HandshakeState, validate_version};
pub use ping_pong::{Answered, PingInFlight, PingPongState, PongError, create_pong_nonce};
pub use restart::RestartTracking;
