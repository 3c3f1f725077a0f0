//! A handler's view of a peer, valid for one call.
//!
//! The view reads the peer's row and changes nothing.

use crate::api::PeerInfo;
use crate::id::{LinkId, PeerId};
use crate::link::row::Link;
use crate::peer::{ConnectionState, PeerConnection};
use crate::stats::PeerCost;
use crate::wire::Version;
use std::net::SocketAddr;

/// A view of a peer's current state.
#[derive(Clone, Copy, Debug)]
pub struct PeerView<'a> {
    id: PeerId,
    link: &'a Link,
    cost: Option<PeerCost>,
}

impl<'a> PeerView<'a> {
    pub(crate) fn new(id: LinkId, link: &'a Link, cost: Option<PeerCost>) -> Self {
        Self { id: PeerId::of(id), link, cost }
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
            sent_bytes: self.link.bytes_written,
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
        self.link.stream.as_ref().map(|stream| stream.left)
    }

    /// Returns the size, in bytes, of the largest frame that [`Ctx::send_shared`](super::Ctx::send_shared) accepts
    /// for the peer now. This is [`MAX_SEND_QUEUE_BYTES`](crate::limits::MAX_SEND_QUEUE_BYTES) minus the waiting
    /// bytes. An empty queue accepts one frame of any size that the peer accepts, so the result is then
    /// [`usize::MAX`]. A message that is being fed, and the bytes that wait before it, use no room.
    pub fn free_bytes(&self) -> usize {
        self.link.free_bytes()
    }

    /// Returns the number of bytes that wait to be sent to the peer, including those that wait after a message that is
    /// being fed.
    pub fn waiting_bytes(&self) -> usize {
        let behind_bytes = self.link.stream.as_ref().map_or(0, |stream| stream.behind.waiting_bytes());
        self.link.queue.waiting_bytes() + behind_bytes
    }
}
