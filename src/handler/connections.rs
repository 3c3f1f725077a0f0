//! Connections: how a handler opens and closes them, and charges and bans peers.

use super::Ctx;
use crate::error::{Disconnect, Misbehavior, RequestError};
use crate::id::PeerId;
use crate::peer::VersionFacts;
use crate::state::Dialling;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

impl Ctx<'_> {
    /// Opens a connection. An event of the peer reports the result: `Opened`, or `Closed` with the reason.
    ///
    /// # Errors
    ///
    /// [`RequestError::TableFull`], or [`RequestError::Stopped`] while the loop is stopping. With a peer manager also
    /// [`RequestError::Banned`], [`RequestError::AddressTaken`] or [`RequestError::MaxPeers`].
    pub fn connect(&mut self, address: SocketAddr) -> Result<PeerId, RequestError> {
        self.state.connect(address).map(PeerId::of)
    }

    /// Opens a connection from a local address of the caller's choice. Several local addresses multiply the available
    /// ports.
    ///
    /// # Errors
    ///
    /// As [`Ctx::connect`].
    pub fn connect_from(&mut self, source: IpAddr, address: SocketAddr) -> Result<PeerId, RequestError> {
        self.state.connect(Dialling { source: Some(source), ..address.into() }).map(PeerId::of)
    }

    /// Opens a connection like [`Ctx::connect`], even if the address has other connections.
    ///
    /// A peer manager counts the connection towards `max_peers`, and never dials its address again when it closes: the
    /// caller does that. Its end does not affect the address's other connections, nor the pauses between dials. The
    /// address is not added to the book. Our `version` names no listening port, so that a peer with a peer manager does
    /// not close the connection as a duplicate. Without a peer manager, this is [`Ctx::connect`].
    ///
    /// ```
    /// use peerloop::{Ctx, Event, Handler, PeerId};
    ///
    /// /// Holds two connections to each peer that it has dialled first.
    /// #[derive(Default)]
    /// struct Twice(std::collections::BTreeSet<std::net::SocketAddr>);
    ///
    /// impl Handler for Twice {
    ///     type Request = ();
    ///
    ///     fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
    ///         let Some(address) = ctx.peer(peer).map(|view| view.connection().address()) else { return };
    ///         if matches!(event, Event::Ready { .. }) && self.0.insert(address) {
    ///             let _ = ctx.connect_again(address);
    ///         }
    ///     }
    /// }
    /// # Twice::default();
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError::TableFull`], or [`RequestError::Stopped`] while the loop is stopping. With a peer manager also
    /// [`RequestError::Banned`] or [`RequestError::MaxPeers`].
    pub fn connect_again(&mut self, address: SocketAddr) -> Result<PeerId, RequestError> {
        self.state.connect(Dialling { is_further: true, ..address.into() }).map(PeerId::of)
    }

    /// Opens a connection like [`Ctx::connect`]. Our `version` on this connection states `facts` instead of the
    /// configuration's protocol version, services, user agent, height and relay flag. All other connections state the
    /// configuration's. The facts are dropped once the `version` is sent, or when the connection fails before that.
    ///
    /// # Errors
    ///
    /// As [`Ctx::connect`], and [`RequestError::UserAgentTooLong`].
    pub fn connect_as(&mut self, address: SocketAddr, facts: VersionFacts) -> Result<PeerId, RequestError> {
        self.state.connect(Dialling { facts: Some(facts), is_for_other: true, ..address.into() }).map(PeerId::of)
    }

    /// Opens a connection like [`Ctx::connect_again`], on which our `version` states `facts` as with
    /// [`Ctx::connect_as`]. The facts are those of this node, so that the peer may have further streams, which one of
    /// [`Ctx::connect_as`] never has.
    ///
    /// ```
    /// use peerloop::peer::VersionFacts;
    /// use peerloop::{Ctx, PeerId};
    /// use std::net::SocketAddr;
    ///
    /// /// Opens a further connection to a node, on which it shall announce no transactions.
    /// fn connect_silently(ctx: &mut Ctx<'_>, node: SocketAddr) -> Option<PeerId> {
    ///     let mut facts = VersionFacts::of_config(ctx.config());
    ///     facts.relay = false;
    ///     ctx.connect_again_as(node, facts).ok()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ctx::connect_again`], and [`RequestError::UserAgentTooLong`].
    pub fn connect_again_as(&mut self, address: SocketAddr, facts: VersionFacts) -> Result<PeerId, RequestError> {
        let dialling = Dialling { is_further: true, facts: Some(facts), ..address.into() };
        self.state.connect(dialling).map(PeerId::of)
    }

    /// Closes a peer after its queue is sent. A message that is being fed is cut after the bytes fed so far, and
    /// messages that wait after it are not sent. `disconnect` is reported in [`Event::Closed`](crate::Event::Closed)
    /// and decides whether and when a peer manager dials the address again. It never causes a ban.
    pub fn close(&mut self, peer: PeerId, disconnect: Disconnect) {
        if let Some(link) = self.link_of(peer) {
            self.state.links.close(link, disconnect.into(), self.state.clocks.now());
        }
    }

    /// Closes a peer at the end of this turn and drops its queue. `disconnect` is as for [`Ctx::close`].
    pub fn abort(&mut self, peer: PeerId, disconnect: Disconnect) {
        if let Some(link) = self.link_of(peer) {
            self.state.links.abort(link, disconnect.into());
        }
    }

    /// Charges a peer `points` for a `reason` of your choice; [`ControlEvent::PeerMisbehaved`] and the log report both.
    /// The peer manager adds the points to the peer's score. When the score reaches
    /// [`ban_score`](crate::config::ManagerConfig::ban_score), the manager closes the peer at once and bans the
    /// peer's host for [`ban_duration`](crate::config::ManagerConfig::ban_duration). A loopback address is never
    /// banned in this way. A charge of 0 points is only reported.
    ///
    /// The call does nothing without a peer manager, for a trusted host, or for a peer that is being closed.
    ///
    /// ```
    /// use peerloop::{Ctx, Frame, Handler, PeerId};
    ///
    /// struct Strict;
    ///
    /// impl Handler for Strict {
    ///     type Request = ();
    ///
    ///     fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
    ///         if frame.decode().is_err() {
    ///             ctx.penalize(peer, 25, "a payload that does not decode");
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// [`ControlEvent::PeerMisbehaved`]: crate::ControlEvent::PeerMisbehaved
    pub fn penalize(&mut self, peer: PeerId, points: u32, reason: &'static str) {
        self.penalize_for(peer, Misbehavior::Other { points, reason });
    }

    /// Charges a peer like [`Ctx::penalize`], with SV Node's points for a kind of misbehavior that only a handler can
    /// detect, such as an invalid block. The [manual](crate::manual::peer_manager) lists these kinds. The engine
    /// charges the other kinds itself, so a charge for one of them counts twice.
    pub fn penalize_for(&mut self, peer: PeerId, misbehavior: Misbehavior) {
        if let Some(link) = self.link_of(peer) {
            self.state.charge(link, misbehavior);
        }
    }

    /// Bans the host of `address` for `duration`, or permanently if `duration` is `None`. Starts to close the host's
    /// connections, except those with trusted addresses. A duration of zero has no effect. The ban applies at once,
    /// and is reported once it is durable.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoManager`] and [`RequestError::BansFull`].
    ///
    /// ```
    /// use peerloop::{Ctx, Event, Handler, PeerId};
    /// use std::time::Duration;
    ///
    /// struct NoGuests;
    ///
    /// impl Handler for NoGuests {
    ///     type Request = ();
    ///
    ///     fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
    ///         if let (Event::Rejected(_), Some(view)) = (event, ctx.peer(peer)) {
    ///             let host = view.address().ip();
    ///             let _ = ctx.ban(host, Some(Duration::from_secs(3_600)));
    ///         }
    ///     }
    /// }
    /// ```
    pub fn ban(&mut self, address: IpAddr, duration: Option<Duration>) -> Result<(), RequestError> {
        self.state.ban_by_request(address, duration)
    }

    /// Returns whether one of the [trusted networks](crate::config::ManagerConfig::trusted) contains `address`. Without
    /// a peer manager, none does.
    ///
    /// ```
    /// use peerloop::{Ctx, PeerId};
    ///
    /// /// Returns whether a peer may request as much as it wants.
    /// fn is_unlimited(ctx: &Ctx<'_>, peer: PeerId) -> bool {
    ///     ctx.peer(peer).is_some_and(|view| ctx.is_trusted(view.address().ip()))
    /// }
    /// ```
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.state.manager.as_ref().is_some_and(|manager| manager.is_trusted(address))
    }

    /// Unbans the host of `address`, and returns whether the host was banned.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoManager`].
    pub fn unban(&mut self, address: IpAddr) -> Result<bool, RequestError> {
        self.state.unban(address)
    }
}
