//! Thousands of Bitcoin SV peers on one thread, each measured to the microsecond.
//!
//! peerloop is a peer-to-peer engine for the Bitcoin SV network. A hand-written readiness loop dials, accepts,
//! completes handshakes, answers pings, extracts and checks every message, and enforces every peer's deadlines,
//! without a thread, a task or a lock per peer. An idle peer costs a row of at most 272 bytes, its `version` and a
//! timer. No input from a peer can panic the loop, make it grow beyond a named limit, or keep it from serving the
//! other peers.
//!
//! ```text
//!   other threads ── Handle ──► bounded queue ─┐
//!                                              ▼
//!   kernel ─► Net ─► Reactor: wait · clock · requests · accept · read · timers · flush · close
//!                        │ bytes, moments, failures                    ▲ lists and queues
//!                        ▼                                             │
//!                      Engine: Table of links · timer wheel · MessageFramer · PeerConnection
//!                        │ events, headers, messages                   ▲ send, ping, close, connect
//!                        ▼                                             │
//!                      your Handler ───────────────────────────────── Ctx
//! ```
//!
//! # Start here
//!
//! - You implement [`Handler`], which acts through [`Ctx`]. [`Reactor`] runs it, and other threads reach it through a
//!   [`Handle`]. [`Config`] has all settings.
//! - [`channel`] is for programs without a handler: [`ControlEvent`]s and messages through bounded queues.
//! - [`relay`] is a relay of transactions, written as a plain handler.
//! - [`load`] is a load generator and a responder, written as plain handlers.
//! - [`wire`] has the protocol's messages, and [`peer`] has its state machines. Neither uses a socket or a clock, and
//!   each can be used on its own.
//! - [`manual`] describes the architecture, the turn of the loop and the tests.
//! - [`bytes`], [`hdrhistogram`] and [`rand`] are the only other crates whose types appear in public signatures. They
//!   are re-exported in the versions that peerloop uses, so a program needs no dependency on them.
//!
//! # Types that may grow
//!
//! Types that may gain fields or variants are `#[non_exhaustive]`: build them with their functions, and match them with
//! `..` or a wildcard arm. Types that are complete are exhaustive: [`Network`], [`address::Host`],
//! [`address::NetGroup`], [`time::Wait`], [`Received`], [`error::Side`], [`Delivery`], [`load::Verdict`],
//! [`load::Phase`], [`api::Direction`], [`ban::Ban`], [`store::Change`], [`store::PeerStatus`],
//! [`handler::PairRequest`], [`stats::MessageCount`], [`ConnectionState`], [`ConnectionType`], [`peer::PingInFlight`],
//! and the messages of [`wire`], which the protocol fixes.
//!
//! # A peer's states
//!
//! The loop itself uses these public types:
//!
//! ```
//! # use peerloop::peer::{HandshakeState, PeerConnection, PingPongState};
//! # use peerloop::time::Instant;
//! # use peerloop::wire::Version;
//! # use rand::SeedableRng;
//! # use std::time::Duration;
//! # let mut rng = rand::rngs::StdRng::seed_from_u64(7);
//! # let now = Instant::from_nanos(1_000);
//! # let later = now.plus(Duration::from_millis(3));
//! # let peer: std::net::SocketAddr = "127.0.0.1:8333".parse()?;
//! # let mut payload = vec![0; 46];
//! # payload[..4].copy_from_slice(&70_016_i32.to_le_bytes());
//! # let peer_version = Version::decode(&payload)?;
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
//!
//! let mut conn = PeerConnection::new_outbound(peer, (3, Duration::from_secs(60)), Duration::from_secs(30));
//! conn.transition_to_connecting(now)?;
//! conn.transition_to_awaiting_handshake(now)?;
//! // ... complete the handshake ...
//! # let handshake = conn.handshake_mut();
//! # handshake.mark_version_sent();
//! # handshake.mark_version_received(Version::decode(&payload)?);
//! # handshake.mark_verack_sent();
//! # handshake.mark_verack_received();
//! conn.transition_to_connected(now)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
// The lint `unreachable_pub` is on only in builds with the feature `internals`. Without the feature, items that only
// `internals` exports are unreachable.
#![cfg_attr(not(feature = "internals"), allow(unreachable_pub, reason = "only the internals export them"))]
// Readers copy an example with its hidden lines, so an unused import in them is an error too.
#![doc(test(attr(deny(unused_imports))))]

pub mod address;
pub mod api;
mod bugs;
pub mod channel;
mod clock;
pub mod config;
mod engine;
#[cfg_attr(not(feature = "internals"), allow(dead_code, reason = "only the simulator uses most numbers"))]
mod errno;
pub mod error;
pub mod handle;
pub mod handler;
mod id;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod limits;
mod link;
pub mod load;
mod manager;
pub mod manual;
mod net;
mod offload;
pub mod peer;
pub mod protocol;
pub mod reactor;
pub mod relay;
#[cfg(feature = "sim")]
pub mod sim;
mod state;
pub mod stats;
mod subscribe;
mod text;
pub mod time;
mod wheel;
pub mod wire;

#[doc(no_inline)]
pub use {bytes, hdrhistogram, rand};

pub use api::{Chunk, ControlEvent, Delivery, Event, Frame};
pub use config::Config;
pub use error::{CloseReason, Disconnect};
pub use handle::Handle;
pub use handler::{Ctx, Handler, PeerMap};
pub use id::PeerId;
pub use manager::{ban, store};
pub use net::mio::{MioNet, refused_options};
pub use peer::{
    ConnectionState, ConnectionType, HandshakeState, PeerConnection, PingPongState, RestartTracking, validate_version,
};
pub use protocol::Network;
pub use reactor::Reactor;
pub use stats::histogram;
pub use subscribe::{Queued, Received, Subscription};
pub use wire::{Message, MessageRef};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
