//! One connection to a peer: its state, the legal transitions, and the negotiated values.
//!
//! A state changes only through the `transition_to_` methods. For a transition that is not in the
//! [module](crate::peer)'s table, they return an error and change nothing. A transition only records a fact: it
//! opens, sends and closes nothing.

use super::{HandshakeState, PingPongState, RestartTracking};
use crate::limits::MAX_LEGACY_PAYLOAD_BYTES;
use crate::time::Instant;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Not yet open, or closed.
    Disconnected,
    /// The TCP connection is being opened.
    Connecting,
    /// The TCP connection is open; versions and veracks are being exchanged.
    AwaitingHandshake,
    /// The handshake is complete.
    Connected,
    /// One side rejected the other.
    Rejected,
    /// The network failed, or the peer violated the protocol or missed a deadline.
    Failed,
}

/// The side that opened a connection, and whether a slot was free for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// This side dialled.
    Outbound,
    /// The peer dialled.
    Inbound,
    /// The peer dialled while no slot was free. The connection never becomes connected: once the handshake is
    /// complete, the peer receives a `reject`.
    OverCapacity,
}

/// The part of a connection in an association, which is a peer's set of TCP streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkRole {
    /// The peer's only connection, without an association.
    Single,
    /// The peer's first connection, with an association.
    General,
    /// A further stream of a peer.
    Stream,
    /// A connection that this side sets up as a further stream of a peer.
    Opening,
}

/// A rejected transition. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransitionError {
    /// A connection of this type has no such transition.
    Illegal {
        /// The connection's state, which is unchanged.
        from: ConnectionState,
        /// The requested state.
        to: ConnectionState,
        /// The connection's type.
        connection_type: ConnectionType,
    },
    /// A connection without a complete handshake cannot become connected.
    HandshakeIncomplete,
    /// An accepted connection cannot be reopened.
    AcceptedOnce,
}

/// A connection to a peer, in either direction.
///
/// Uses at most 200 bytes, plus heap memory for the peer's version, an outbound connection's restarts, and any pings
/// beyond the first.
// Fields are in order of access frequency, for the processor's caches.
#[derive(Debug)]
#[repr(C)]
pub struct PeerConnection {
    state: ConnectionState,
    connection_type: ConnectionType,
    was_opened: bool,
    send_headers_mode: bool,
    protoconf_received: bool,
    role: LinkRole,
    ping_pong: PingPongState,
    handshake: HandshakeState,
    since: Instant,
    address: SocketAddr,
    /// `None` for an accepted connection. Boxed, so that such a connection uses only a pointer here.
    restart: Option<Box<RestartTracking>>,
    max_recv_payload: u32,
}

const _: () = assert!(size_of::<PeerConnection>() <= 200, "a `PeerConnection` exceeds its documented size");

impl ConnectionState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Disconnected, Self::Connecting, Self::AwaitingHandshake, Self::Connected, Self::Rejected, Self::Failed];

    /// Returns whether a connection of type `connection_type` in this state may change to `target`.
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
    /// Returns the state's name in logs and reports.
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

    /// Returns the type's name in logs and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::OverCapacity => "over_capacity",
        }
    }

    /// Returns whether the peer dialled.
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
    /// Creates a connection that this side will open. `restarts` is the maximum number of restarts, and the window in
    /// which they are counted.
    pub fn new_outbound(peer: SocketAddr, restarts: (u32, Duration), ping_timeout: Duration) -> Self {
        let (max_restarts, restart_window) = restarts;
        let restart = RestartTracking::new(max_restarts, restart_window);
        Self::new(peer, ConnectionType::Outbound, Some(Box::new(restart)), ping_timeout)
    }

    /// Creates an accepted connection.
    pub const fn new_inbound(peer: SocketAddr, ping_timeout: Duration) -> Self {
        Self::new(peer, ConnectionType::Inbound, None, ping_timeout)
    }

    /// Creates a connection that was accepted over capacity, so that it can be rejected with a message.
    pub const fn new_over_capacity(peer: SocketAddr, ping_timeout: Duration) -> Self {
        Self::new(peer, ConnectionType::OverCapacity, None, ping_timeout)
    }

    /// Creates a connection that this side will open as a further stream of a peer. It is never restarted.
    pub(crate) const fn new_stream(peer: SocketAddr, ping_timeout: Duration) -> Self {
        Self::new(peer, ConnectionType::Outbound, None, ping_timeout)
    }

    /// Records that this side began to open the connection. Resets the handshake, the pings and the negotiated values
    /// of an earlier attempt.
    ///
    /// # Errors
    ///
    /// If the connection is not outbound, or is neither disconnected nor failed.
    pub fn transition_to_connecting(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Connecting, now)?;
        self.handshake = HandshakeState::new();
        self.ping_pong.clear();
        self.max_recv_payload = MAX_LEGACY_PAYLOAD_BYTES as u32;
        self.send_headers_mode = false;
        self.protoconf_received = false;
        Ok(())
    }

    /// Records that the TCP connection is open, and starts the handshake's clock.
    ///
    /// # Errors
    ///
    /// If the connection is neither newly accepted nor an outbound connection that is connecting.
    pub fn transition_to_awaiting_handshake(&mut self, now: Instant) -> Result<(), TransitionError> {
        if self.connection_type.is_inbound() && self.was_opened && self.state == ConnectionState::Disconnected {
            return Err(TransitionError::AcceptedOnce);
        }
        self.transition(ConnectionState::AwaitingHandshake, now)?;
        self.was_opened = true;
        self.handshake.start(now);
        Ok(())
    }

    /// Records that the handshake is complete.
    ///
    /// # Errors
    ///
    /// If the connection does not await its handshake, the handshake is incomplete, or the connection is over
    /// capacity.
    pub fn transition_to_connected(&mut self, now: Instant) -> Result<(), TransitionError> {
        let is_legal = self.state.may_become(ConnectionState::Connected, self.connection_type);
        if is_legal && !self.handshake.is_complete() {
            return Err(TransitionError::HandshakeIncomplete);
        }
        self.transition(ConnectionState::Connected, now)
    }

    /// Records that the connection is a further stream of a peer. Its own handshake never begins.
    pub(crate) fn become_stream(&mut self, now: Instant) {
        self.role = LinkRole::Stream;
        self.state = ConnectionState::Connected;
        self.since = now;
    }

    /// Records that one side rejected the other, because the peer is over capacity or incompatible, or because a
    /// `reject` arrived.
    ///
    /// # Errors
    ///
    /// If the connection neither awaits its handshake nor is connected.
    pub fn transition_to_rejected(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Rejected, now)
    }

    /// Records that the network failed, or that the peer violated the protocol or missed a deadline.
    ///
    /// # Errors
    ///
    /// If the connection is not connecting, awaiting its handshake or connected.
    pub fn transition_to_failed(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Failed, now)
    }

    /// Records that the connection was closed.
    ///
    /// # Errors
    ///
    /// If the connection is already disconnected.
    pub fn transition_to_disconnected(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.transition(ConnectionState::Disconnected, now)
    }

    /// Returns the connection's state.
    pub const fn state(&self) -> ConnectionState {
        self.state
    }

    /// Returns the start of the state's clock: the last transition, or a later restart of the clock. Returns
    /// [`Instant::ZERO`] if there was neither.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Restarts the state's clock, so that this side's own delay does not count.
    pub(crate) const fn restart_clock(&mut self, now: Instant) {
        self.since = now;
    }

    /// Returns the side that opened the connection, and whether a slot was free for it.
    pub const fn connection_type(&self) -> ConnectionType {
        self.connection_type
    }

    /// Returns whether the peer dialled.
    pub const fn is_inbound(&self) -> bool {
        self.connection_type.is_inbound()
    }

    /// Returns the connection's part in an association.
    pub(crate) const fn role(&self) -> LinkRole {
        self.role
    }

    pub(crate) const fn set_role(&mut self, role: LinkRole) {
        self.role = role;
    }

    /// Returns the peer's address. An accepted connection's port is not the port on which the peer listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the handshake, which is kept after its completion.
    pub const fn handshake(&self) -> &HandshakeState {
        &self.handshake
    }

    /// Returns a mutable reference to the handshake.
    pub const fn handshake_mut(&mut self) -> &mut HandshakeState {
        &mut self.handshake
    }

    /// Returns the pings in flight.
    pub const fn ping_pong(&self) -> &PingPongState {
        &self.ping_pong
    }

    /// Returns a mutable reference to the pings in flight.
    #[doc(hidden)]
    pub const fn ping_pong_mut(&mut self) -> &mut PingPongState {
        &mut self.ping_pong
    }

    /// Returns the restarts of an outbound connection, or `None` for an accepted one, which is never restarted.
    pub fn restart(&self) -> Option<&RestartTracking> {
        self.restart.as_deref()
    }

    /// Returns a mutable reference to the restarts of an outbound connection.
    #[doc(hidden)]
    pub fn restart_mut(&mut self) -> Option<&mut RestartTracking> {
        self.restart.as_deref_mut()
    }

    /// Returns whether the peer requested announcements of new blocks by `headers`.
    pub const fn send_headers_mode(&self) -> bool {
        self.send_headers_mode
    }

    /// Records that the peer sent `sendheaders`.
    #[doc(hidden)]
    pub const fn set_send_headers_mode(&mut self) {
        self.send_headers_mode = true;
    }

    /// Returns the largest payload in bytes that the peer accepts in an ordinary message. It is 1,048,576 until the
    /// peer's `protoconf` arrives.
    pub const fn max_recv_payload(&self) -> u32 {
        self.max_recv_payload
    }

    /// Returns whether the peer sent `protoconf`.
    pub const fn protoconf_received(&self) -> bool {
        self.protoconf_received
    }

    /// Records the peer's `protoconf`. Returns `false` for a second one, which changes nothing.
    #[doc(hidden)]
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
            max_recv_payload: MAX_LEGACY_PAYLOAD_BYTES as u32,
            state: ConnectionState::Disconnected,
            connection_type,
            was_opened: false,
            send_headers_mode: false,
            protoconf_received: false,
            role: LinkRole::Single,
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
            Self::AcceptedOnce => f.write_str("an accepted connection was closed and cannot be reopened"),
        }
    }
}

impl std::error::Error for TransitionError {}
