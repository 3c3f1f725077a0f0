//! One connection to a peer: its state, what may follow it, and what was agreed.
//!
//! A state changes only through the `transition_to_` methods, which refuse what the table of the
//! [module](crate::peer) does not have and then change nothing. A transition is a fact that is recorded: it opens,
//! sends and closes nothing.

use super::{HandshakeState, PingPongState, RestartTracking};
use crate::limits::LEGACY_PAYLOAD_MAX_BYTES;
use crate::time::Instant;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Not begun, or over in an orderly way.
    Disconnected,
    /// The TCP connection is being opened.
    Connecting,
    /// The TCP connection is open; versions and veracks are being exchanged.
    AwaitingHandshake,
    /// The handshake is complete.
    Connected,
    /// One side refused the other.
    Rejected,
    /// The network failed, or the peer broke the protocol or missed a deadline.
    Failed,
}

/// Who opened a connection, and whether there is room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// This side dialled.
    Outbound,
    /// The peer dialled.
    Inbound,
    /// The peer dialled and the maximum was reached: it gets a handshake and a `reject`, and is never connected.
    OverCapacity,
}

/// A transition that was refused. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionError {
    /// The state does not lead there for a connection of this type.
    Illegal {
        /// The state that the connection is in, and stays in.
        from: ConnectionState,
        /// The state asked for.
        to: ConnectionState,
        /// The type of the connection.
        connection_type: ConnectionType,
    },
    /// A connection without a complete handshake cannot be connected.
    HandshakeIncomplete,
    /// An accepted connection has one life only.
    AcceptedOnce,
}

/// A connection to a peer, in either direction.
///
/// At most 200 bytes, plus the peer's boxed version and whatever pings beyond the first need.
// In the order of how often they are touched, for the sake of the processor's caches.
#[derive(Debug)]
#[repr(C)]
pub struct PeerConnection {
    state: ConnectionState,
    connection_type: ConnectionType,
    was_opened: bool,
    send_headers_mode: bool,
    protoconf_received: bool,
    ping_pong: PingPongState,
    handshake: HandshakeState,
    since: Instant,
    address: SocketAddr,
    /// Boxed, because accepted connections have none.
    restart: Option<Box<RestartTracking>>,
    max_recv_payload: u32,
}

const _: () = assert!(size_of::<PeerConnection>() <= 200, "every idle peer costs this much");

impl ConnectionState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Disconnected, Self::Connecting, Self::AwaitingHandshake, Self::Connected, Self::Rejected, Self::Failed];

    /// Whether a connection of type `connection_type` in this state may go to `target`.
    pub const fn may_become(self, target: Self, connection_type: ConnectionType) -> bool {
        use ConnectionState::{AwaitingHandshake, Connected, Connecting, Disconnected, Failed, Rejected};
        match (self, target) {
            (Disconnected | Failed, Connecting) => !connection_type.is_inbound(),
            (Disconnected, AwaitingHandshake) => connection_type.is_inbound(),
            (Connecting, AwaitingHandshake | Failed | Disconnected) => !connection_type.is_inbound(),
            (AwaitingHandshake, Connected) => !connection_type.is_over_capacity(),
            (AwaitingHandshake, Rejected | Failed | Disconnected) => true,
            (Connected, Rejected | Failed | Disconnected) => !connection_type.is_over_capacity(),
            (Rejected | Failed, Disconnected) => true,
            (Disconnected, Disconnected | Connected | Rejected | Failed)
            | (Connecting, Connecting | Connected | Rejected)
            | (AwaitingHandshake, Connecting | AwaitingHandshake)
            | (Connected, Connecting | AwaitingHandshake | Connected)
            | (Rejected, Connecting | AwaitingHandshake | Connected | Rejected | Failed)
            | (Failed, AwaitingHandshake | Connected | Rejected | Failed) => false,
        }
    }
}

impl ConnectionState {
    /// Its name, as logs and reports have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::AwaitingHandshake => "awaiting_handshake",
            Self::Connected => "connected",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

impl ConnectionType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Outbound, Self::Inbound, Self::OverCapacity];

    /// Its name, as logs and reports have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::OverCapacity => "over_capacity",
        }
    }

    /// Whether the peer dialled.
    pub const fn is_inbound(self) -> bool {
        match self {
            Self::Outbound => false,
            Self::Inbound | Self::OverCapacity => true,
        }
    }

    const fn is_over_capacity(self) -> bool {
        match self {
            Self::Outbound | Self::Inbound => false,
            Self::OverCapacity => true,
        }
    }
}

impl PeerConnection {
    /// A connection that this side is going to open, with its restarts as number and window.
    pub fn new_outbound(peer: SocketAddr, restarts: (u32, Duration), ping_timeout: Duration) -> Self {
        let (max_restarts, restart_window) = restarts;
        let restart = RestartTracking::new(max_restarts, restart_window);
        Self::new(peer, ConnectionType::Outbound, Some(Box::new(restart)), ping_timeout)
    }

    /// A connection that was accepted.
    pub const fn new_inbound(peer: SocketAddr, ping_timeout: Duration) -> Self {
        Self::new(peer, ConnectionType::Inbound, None, ping_timeout)
    }

    /// A connection that was accepted although the maximum is reached, to be rejected in good manners.
    pub const fn new_over_capacity(peer: SocketAddr, ping_timeout: Duration) -> Self {
        Self::new(peer, ConnectionType::OverCapacity, None, ping_timeout)
    }

    /// This side began to open the connection; whatever an earlier life has left is forgotten.
    ///
    /// # Errors
    ///
    /// Unless the connection is outbound, and disconnected or failed.
    pub fn transition_to_connecting(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Connecting, now)?;
        self.handshake = HandshakeState::new();
        self.ping_pong.clear();
        self.max_recv_payload = LEGACY_PAYLOAD_MAX_BYTES as u32;
        self.send_headers_mode = false;
        self.protoconf_received = false;
        Ok(())
    }

    /// The TCP connection is open, which starts the clock of the handshake.
    ///
    /// # Errors
    ///
    /// Unless the connection is outbound and connecting, or was just accepted.
    pub fn transition_to_awaiting_handshake(&mut self, now: Instant) -> Result<(), TransitionError> {
        if self.connection_type.is_inbound() && self.was_opened && self.state == ConnectionState::Disconnected {
            return Err(TransitionError::AcceptedOnce);
        }
        self.transition(ConnectionState::AwaitingHandshake, now)?;
        self.was_opened = true;
        self.handshake.start(now);
        Ok(())
    }

    /// The handshake is complete.
    ///
    /// # Errors
    ///
    /// Unless the connection awaits its handshake, the handshake is complete and the maximum was not reached.
    pub fn transition_to_connected(&mut self, now: Instant) -> Result<(), TransitionError> {
        let is_legal = self.state.may_become(ConnectionState::Connected, self.connection_type);
        if is_legal && !self.handshake.is_complete() {
            return Err(TransitionError::HandshakeIncomplete);
        }
        self.transition(ConnectionState::Connected, now)
    }

    /// One side refused the other: over the maximum, incompatible, banned, or by a `reject`.
    ///
    /// # Errors
    ///
    /// Unless the connection awaits its handshake or is connected.
    pub fn transition_to_rejected(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Rejected, now)
    }

    /// The network failed, or the peer broke the protocol or missed a deadline.
    ///
    /// # Errors
    ///
    /// Unless the connection is connecting, awaits its handshake or is connected.
    pub fn transition_to_failed(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Failed, now)
    }

    /// The connection is over.
    ///
    /// # Errors
    ///
    /// If it is disconnected already.
    pub fn transition_to_disconnected(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Disconnected, now)
    }

    /// Where the connection is in its life.
    pub const fn state(&self) -> ConnectionState {
        self.state
    }

    /// When it got there; [`Instant::ZERO`] before the first transition.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// The state begins now: what came before was this side's own delay.
    pub(crate) const fn restart_clock(&mut self, now: Instant) {
        self.since = now;
    }

    /// Who opened it, and whether there is room for it.
    pub const fn connection_type(&self) -> ConnectionType {
        self.connection_type
    }

    /// Whether the peer dialled.
    pub const fn is_inbound(&self) -> bool {
        self.connection_type.is_inbound()
    }

    /// The peer's address; the port of an accepted connection is not one that the peer listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handshake, which stays to be asked after it is complete.
    pub const fn handshake(&self) -> &HandshakeState {
        &self.handshake
    }

    /// The handshake, to be marked.
    pub const fn handshake_mut(&mut self) -> &mut HandshakeState {
        &mut self.handshake
    }

    /// The pings in flight.
    pub const fn ping_pong(&self) -> &PingPongState {
        &self.ping_pong
    }

    /// The pings in flight, to be changed.
    pub const fn ping_pong_mut(&mut self) -> &mut PingPongState {
        &mut self.ping_pong
    }

    /// The restarts of an outbound connection; none for an accepted one, which is never restarted.
    pub fn restart(&self) -> Option<&RestartTracking> {
        self.restart.as_deref()
    }

    /// The restarts of an outbound connection, to be taken or reset.
    pub fn restart_mut(&mut self) -> Option<&mut RestartTracking> {
        self.restart.as_deref_mut()
    }

    /// Whether the peer asked to hear of new blocks by `headers`.
    pub const fn send_headers_mode(&self) -> bool {
        self.send_headers_mode
    }

    /// The peer sent `sendheaders`.
    pub const fn set_send_headers_mode(&mut self) {
        self.send_headers_mode = true;
    }

    /// Largest payload in bytes that the peer takes in an ordinary message; 1,048,576 until it says otherwise.
    pub const fn max_recv_payload(&self) -> u32 {
        self.max_recv_payload
    }

    /// Whether the peer said what it takes.
    pub const fn protoconf_received(&self) -> bool {
        self.protoconf_received
    }

    /// The peer sent `protoconf`; returns `false` for a second one, which changes nothing.
    pub const fn apply_protoconf(&mut self, max_recv_payload: u32) -> bool {
        if self.protoconf_received {
            return false;
        }
        self.protoconf_received = true;
        self.max_recv_payload = max_recv_payload;
        true
    }

    const fn new(
        address: SocketAddr,
        connection_type: ConnectionType,
        restart: Option<Box<RestartTracking>>,
        ping_timeout: Duration,
    ) -> Self {
        Self {
            address,
            since: Instant::ZERO,
            handshake: HandshakeState::new(),
            ping_pong: PingPongState::new(ping_timeout),
            restart,
            max_recv_payload: LEGACY_PAYLOAD_MAX_BYTES as u32,
            state: ConnectionState::Disconnected,
            connection_type,
            was_opened: false,
            send_headers_mode: false,
            protoconf_received: false,
        }
    }

    fn transition(&mut self, to: ConnectionState, now: Instant) -> Result<(), TransitionError> {
        let (from, connection_type) = (self.state, self.connection_type);
        if !from.may_become(to, connection_type) {
            return Err(TransitionError::Illegal { from, to, connection_type });
        }
        self.state = to;
        self.since = now;
        Ok(())
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for TransitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Illegal { from, to, connection_type } => {
                write!(f, "a connection of type {connection_type:?} that is {from:?} cannot become {to:?}")
            }
            Self::HandshakeIncomplete => f.write_str("the handshake is not complete"),
            Self::AcceptedOnce => f.write_str("an accepted connection is over and cannot be opened again"),
        }
    }
}

impl std::error::Error for TransitionError {}
