//! A handler's view of a peer, valid for one call.
//!
//! It reads the peer's row and changes nothing.

use crate::api::PeerInfo;
use crate::id::{LinkId, PeerId};
use crate::link::row::Link;
use crate::peer::{ConnectionState, PeerConnection};
use crate::stats::PeerCost;
use crate::wire::Version;
use std::net::SocketAddr;

/// A peer as it is now.
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

    /// Returns a copy of all facts about the peer.
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

    /// Its id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Its state, in full.
    pub fn connection(&self) -> &'a PeerConnection {
        &self.link.peer
    }

    /// The address that it was dialled at or that it connected from.
    pub fn address(&self) -> SocketAddr {
        self.link.peer.address()
    }

    /// Whether its handshake is complete and it is not being closed.
    pub fn is_ready(&self) -> bool {
        self.link.peer.state() == ConnectionState::Connected && self.link.is_open()
    }

    /// What it said of itself, once it has.
    pub fn version(&self) -> Option<&'a Version> {
        self.link.peer.handshake().peer_version()
    }

    /// What it has cost, if [`Config::measure_peers`](crate::Config::measure_peers) is on.
    pub fn cost(&self) -> Option<PeerCost> {
        self.cost
    }

    /// Bytes of the message that is being fed to it which are still to be fed; none if there is no such message.
    pub fn body_left_bytes(&self) -> Option<u64> {
        self.link.stream.as_ref().map(|stream| stream.left)
    }

    /// Bytes of the largest frame that [`Ctx::send_shared`](super::Ctx::send_shared) accepts for it now:
    /// [`MAX_SEND_QUEUE_BYTES`](crate::limits::MAX_SEND_QUEUE_BYTES) less what waits, or [`usize::MAX`] if nothing
    /// waits, for an empty queue accepts one frame of any size that the peer accepts. A message that is being fed, and
    /// what waits before it, takes no room.
    pub fn free_bytes(&self) -> usize {
        self.link.free_bytes()
    }

    /// Bytes that wait to be sent to it, those behind a message that is being fed among them.
    pub fn waiting_bytes(&self) -> usize {
        let behind_bytes = self.link.stream.as_ref().map_or(0, |stream| stream.behind.waiting_bytes());
        self.link.queue.waiting_bytes() + behind_bytes
    }
}
