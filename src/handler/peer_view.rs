//! A handler's view of a peer, valid for one call.
//!
//! The view reads the peer's row and changes nothing.

use crate::api::PeerInfo;
use crate::id::PeerId;
use crate::link::association::Association;
use crate::link::row::Link;
use crate::peer::{ConnectionState, PeerConnection, PingInFlight, StreamPolicy};
use crate::state::{Links, LoopState};
use crate::stats::PeerCost;
use crate::wire::{StreamType, Version};
use std::iter;
use std::net::SocketAddr;

/// A view of a peer's current state.
#[derive(Clone, Copy, Debug)]
pub struct PeerView<'a> {
    id: PeerId,
    link: &'a Link,
    links: &'a Links,
    cost: Option<PeerCost>,
}

impl<'a> PeerView<'a> {
    /// Returns the view of a peer; `None` if it has no row, or if the row is another peer's stream.
    pub(crate) fn of(id: PeerId, state: &'a LoopState) -> Option<Self> {
        let (links, now) = (&state.links, state.clocks.now());
        let link = links.peer(id.link())?;
        let cost_of = |link| state.telemetry.cost_of(link, now);
        let cost = cost_of(id.link())
            .map(|cost| links.members(id.link()).skip(1).filter_map(cost_of).fold(cost, PeerCost::plus));
        Some(Self { id, link, links, cost })
    }

    /// Returns a snapshot of the peer's state.
    pub fn info(&self) -> PeerInfo {
        let version = self.version();
        PeerInfo {
            id: self.id,
            address: self.address(),
            connection_type: self.link.peer.connection_type(),
            state: self.link.peer.state(),
            since: self.link.peer.since(),
            protocol_version: version.map(Version::claimed_version),
            services: version.map(|version| version.services),
            user_agent: version.map(Version::printable_user_agent),
            height: version.and_then(|version| version.start_height),
            last_rtt: self.link.peer.ping_pong().last_rtt(),
            least_rtt: self.link.peer.ping_pong().least_rtt(),
            streams: self.streams().count(),
            stream_policy: self.stream_policy(),
            sent_bytes: self.links().map(|link| link.bytes_written).sum(),
            waiting_bytes: self.waiting_bytes(),
            cost: self.cost,
        }
    }

    /// Returns the peer's id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Returns the peer's full connection state.
    pub fn connection(&self) -> &'a PeerConnection {
        &self.link.peer
    }

    /// Returns the peer's address: the dialled one, or the source of an accepted connection.
    pub fn address(&self) -> SocketAddr {
        self.link.peer.address()
    }

    /// Returns whether the peer's handshake is complete and the peer is not being closed.
    pub fn is_ready(&self) -> bool {
        self.link.peer.state() == ConnectionState::Connected && self.link.is_open()
    }

    /// Returns the peer's `version`, once it has arrived.
    pub fn version(&self) -> Option<&'a Version> {
        self.link.peer.handshake().peer_version()
    }

    /// Returns the peer's cost so far, if [`Config::measure_peers`](crate::Config::measure_peers) is on.
    pub fn cost(&self) -> Option<PeerCost> {
        self.cost
    }

    /// Returns the number of payload bytes that are still to be fed to the peer; `None` if no message is being fed.
    pub fn body_left_bytes(&self) -> Option<u64> {
        self.links().find_map(|link| link.body.as_ref()).map(|body| body.left)
    }

    /// Returns the size, in bytes, of the largest frame that [`Ctx::send_shared`](super::Ctx::send_shared) accepts
    /// for the peer now. This is [`MAX_SEND_QUEUE_BYTES`](crate::limits::MAX_SEND_QUEUE_BYTES) minus the waiting
    /// bytes. An empty queue accepts one frame of any size that the peer accepts, so the result is then
    /// [`usize::MAX`]. A message that is being fed, and the bytes that wait before it, use no room.
    ///
    /// A peer with several streams has a queue for each. The result is that of the fullest queue.
    pub fn free_bytes(&self) -> usize {
        self.links.free_bytes(self.id.link())
    }

    /// Returns the pings in flight on all of the peer's streams, including queued ones, in no particular order.
    ///
    /// ```
    /// use peerloop::{Ctx, PeerId};
    ///
    /// /// Returns whether the peer has a ping of ours to answer.
    /// fn owes_pong(ctx: &Ctx<'_>, peer: PeerId) -> bool {
    ///     ctx.peer(peer).is_some_and(|view| view.pings_in_flight().next().is_some())
    /// }
    /// ```
    pub fn pings_in_flight(&self) -> impl Iterator<Item = PingInFlight> + use<'a> {
        self.links().flat_map(|link| link.peer.ping_pong().in_flight())
    }

    /// Returns the peer's open TCP streams, the first connection first. Most peers have only that one.
    pub fn streams(&self) -> impl Iterator<Item = StreamType> + use<'a> {
        let further = self.links.association(self.id.link()).into_iter().flat_map(Association::streams);
        iter::once(StreamType::General).chain(further.map(|(stream_type, _)| stream_type))
    }

    /// Returns the policy that assigns messages to the peer's streams; `None` unless both sides have named the same
    /// association id.
    pub fn stream_policy(&self) -> Option<StreamPolicy> {
        let association = self.links.association(self.id.link())?;
        association.is_agreed.then_some(association.policy)
    }

    /// Returns the number of bytes that wait to be sent to the peer, including those that wait after a message that is
    /// being fed.
    pub fn waiting_bytes(&self) -> usize {
        let behind_bytes = |link: &Link| link.body.as_ref().map_or(0, |body| body.behind.waiting_bytes());
        self.links().map(|link| link.queue.waiting_bytes() + behind_bytes(link)).sum()
    }

    /// Returns the rows of the peer's streams.
    fn links(&self) -> impl Iterator<Item = &'a Link> + use<'a> {
        let links = self.links;
        links.members(self.id.link()).filter_map(|member| links.table.get(member))
    }
}
