//! The methods that treat a peer's links as one: membership, routes and pongs.
//!
//! A link without an association costs one comparison. No method sends, closes or reports anything.

use super::Links;
use crate::id::LinkId;
use crate::link::association::{Association, MAX_LINKS_OF_PEER, Membership, Uuid};
use crate::link::row::Link;
use crate::peer::{Answered, ConnectionState, LinkRole, PingInFlight};
use crate::protocol::CommandName;
use crate::time::Instant;
use crate::wire::StreamType;
use rand::Rng;

impl Links {
    /// Returns the first link of the peer to which `id` belongs; `id` itself if it is that link or has no row.
    #[inline]
    pub(crate) fn peer_of(&self, id: LinkId) -> LinkId {
        match self.table.get(id).map(|link| link.peer.role()) {
            Some(LinkRole::Stream | LinkRole::Opening) => self.general_of(id),
            Some(LinkRole::Single | LinkRole::General) | None => id,
        }
    }

    /// Returns the first link of the peer that receives a link's input, and whether that peer's handshake is complete.
    #[inline]
    pub(crate) fn receiver_of(&self, id: LinkId) -> (LinkId, bool) {
        let Some(link) = self.table.get(id) else { return (id, false) };
        match link.peer.role() {
            LinkRole::Single | LinkRole::General => (id, link.peer.state() == ConnectionState::Connected),
            LinkRole::Stream => {
                let peer = self.general_of(id);
                let general = self.table.get(peer);
                (peer, general.is_some_and(|link| link.peer.state() == ConnectionState::Connected))
            }
            LinkRole::Opening => (self.general_of(id), false),
        }
    }

    fn general_of(&self, id: LinkId) -> LinkId {
        match self.associations.get(id) {
            Some(Membership::Stream { general, .. }) => *general,
            Some(Membership::General(_)) | None => id,
        }
    }

    /// Returns the row of a peer's first link; `None` for the id of a further stream.
    #[inline]
    pub(crate) fn peer(&self, id: LinkId) -> Option<&Link> {
        self.table.get(id).filter(|link| link.is_peer())
    }

    /// Returns whether a peer's handshake is complete and the peer is not being closed.
    pub(crate) fn is_ready(&self, peer: LinkId) -> bool {
        self.table.get(peer).is_some_and(|link| link.peer.state() == ConnectionState::Connected && link.is_open())
    }

    /// Returns the association of a peer, by the peer's first link.
    #[inline]
    pub(crate) fn association(&self, peer: LinkId) -> Option<&Association> {
        let link = self.table.get(peer)?;
        match link.peer.role() {
            LinkRole::General => self.general(peer),
            LinkRole::Single | LinkRole::Stream | LinkRole::Opening => None,
        }
    }

    fn general(&self, peer: LinkId) -> Option<&Association> {
        match self.associations.get(peer) {
            Some(Membership::General(association)) => Some(association),
            Some(Membership::Stream { .. }) | None => None,
        }
    }

    pub(crate) fn association_mut(&mut self, peer: LinkId) -> Option<&mut Association> {
        self.table.get(peer)?;
        match self.associations.get_mut(peer) {
            Some(Membership::General(association)) => Some(association),
            Some(Membership::Stream { .. }) | None => None,
        }
    }

    /// Returns the stream that a link is or will be.
    pub(crate) fn stream_type(&self, id: LinkId) -> StreamType {
        match self.associations.get(id).filter(|_| self.table.get(id).is_some_and(|link| !link.is_peer())) {
            Some(Membership::Stream { stream_type, .. }) => *stream_type,
            Some(Membership::General(_)) | None => StreamType::General,
        }
    }

    /// Returns the number of links that are further streams, or are being set up as such. They are no peers.
    pub(crate) fn streams_len(&self) -> usize {
        self.associations.streams_len()
    }

    /// Returns the link of a peer's stream; the peer's first link if no further stream has the type.
    pub(crate) fn link_of(&self, peer: LinkId, stream_type: StreamType) -> LinkId {
        self.association(peer).and_then(|association| association.link_of(stream_type)).unwrap_or(peer)
    }

    /// Returns whether a link is being set up as a further stream.
    pub(crate) fn is_opening(&self, id: LinkId) -> bool {
        self.table.get(id).is_some_and(|link| link.peer.role() == LinkRole::Opening)
    }

    /// Settles the ping that a peer's pong answers, whichever streams they used. Returns `None` if no ping in flight
    /// has this nonce.
    pub(crate) fn settle_pong(&mut self, peer: LinkId, nonce: u64, now: Instant) -> Option<Answered> {
        let members = self.members(peer);
        members.into_iter().find_map(|member| {
            let answered = self.table.get_mut(member)?.peer.ping_pong_mut().settle(nonce, now).ok()?;
            if member != peer {
                // The peer's round trips are those of all its streams.
                self.table.get_mut(peer)?.peer.ping_pong_mut().note_round_trip(&answered);
            }
            Some(answered)
        })
    }

    /// Removes and returns a peer's sent pings that were due before `before`, on all its links.
    pub(crate) fn forget_pings(&mut self, peer: LinkId, before: Instant) -> Vec<PingInFlight> {
        let members = self.members(peer);
        let forget = |member| self.table.get_mut(member).map(|link| link.peer.ping_pong_mut().forget(before));
        members.filter_map(forget).flatten().collect()
    }

    /// Returns the links of the peer to which `id` belongs, the first link first; `id` alone if it is being set up as a
    /// stream.
    pub(crate) fn members(&self, id: LinkId) -> impl Iterator<Item = LinkId> + use<> {
        let general = self.peer_of(id);
        let first = if self.is_opening(id) || self.table.get(general).is_none() { id } else { general };
        let mut members = [None; MAX_LINKS_OF_PEER];
        members[0] = Some(first);
        let streams = self.association(first).into_iter().flat_map(Association::streams);
        members[1..].iter_mut().zip(streams).for_each(|(member, (_, link))| *member = Some(link));
        members.into_iter().flatten()
    }

    // --- Changes ----------------------------------------------------------------------------------------------------

    /// Gives a peer an association.
    pub(crate) fn associate(&mut self, peer: LinkId, association: Association) {
        if let Some(link) = self.table.get_mut(peer) {
            link.peer.set_role(LinkRole::General);
            self.associations.insert(peer, Membership::General(association));
        }
    }

    /// Ends a peer's association, which has no further stream yet.
    pub(crate) fn dissociate(&mut self, peer: LinkId) {
        if let Some(link) = self.table.get_mut(peer) {
            link.peer.set_role(LinkRole::Single);
            self.associations.remove(peer);
        }
    }

    /// Records the id of a peer that dialled us. Returns `false` if another peer has the id.
    pub(crate) fn claim_id(&mut self, peer: LinkId, id: Uuid, rng: &mut impl Rng) -> bool {
        self.associations.claim_id(peer, id, rng)
    }

    /// Returns the peer that dialled us with this association id.
    pub(crate) fn peer_with_id(&self, id: &Uuid) -> Option<LinkId> {
        self.associations.peer_with_id(id)
    }

    /// Records that a link is a further stream of a peer, or with `is_opening` that it is being set up as one.
    pub(crate) fn join(&mut self, link: LinkId, general: LinkId, stream_type: StreamType, is_opening: bool) {
        let role = if is_opening { LinkRole::Opening } else { LinkRole::Stream };
        if let Some(row) = self.table.get_mut(link) {
            row.peer.set_role(role);
            self.associations.insert(link, Membership::Stream { general, stream_type });
        }
        let Some(association) = self.association_mut(general) else { return };
        association.remove(link);
        match is_opening {
            true => association.opening = Some(link),
            false => drop(association.add(stream_type, link)),
        }
    }

    /// Removes a link from its association, because its row is about to be freed.
    pub(crate) fn remove_member(&mut self, id: LinkId) {
        let Some(link) = self.table.get(id) else { return };
        if link.peer.role() == LinkRole::Single {
            return;
        }
        if let Some(Membership::Stream { general, .. }) = self.associations.remove(id)
            && let Some(association) = self.association_mut(general)
        {
            association.remove(id);
        }
    }

    /// Returns the memory of all associations in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn associations_held_bytes(&self) -> usize {
        self.associations.held_bytes()
    }

    // --- Routes -----------------------------------------------------------------------------------------------------

    /// Returns the link for a message to a peer. `lists_blocks` states whether an `inv` or `getdata` lists blocks.
    #[inline]
    pub(crate) fn route(&self, peer: LinkId, command: CommandName, lists_blocks: impl FnOnce() -> bool) -> LinkId {
        let Some(association) = self.association(peer) else { return peer };
        let lists_blocks = matches!(command, CommandName::INV | CommandName::GETDATA) && lists_blocks();
        association.route(command, lists_blocks).filter(|link| self.is_open(*link)).unwrap_or(peer)
    }

    /// Returns the link for a pong to a peer. While a body is being fed on the stream of the policy, the pong uses the
    /// first link, where it need not wait for the body's end.
    pub(crate) fn pong_route(&self, peer: LinkId) -> LinkId {
        let link = self.route(peer, CommandName::PONG, || false);
        if self.table.get(link).is_some_and(|link| link.body.is_some()) { peer } else { link }
    }

    /// Returns the peer's link on which a body is being fed.
    pub(crate) fn body_link(&self, peer: LinkId) -> Option<LinkId> {
        self.members(peer).find(|member| self.table.get(*member).is_some_and(|link| link.body.is_some()))
    }

    /// Returns whether input of a peer's other stream must be read before that of its first link.
    pub(crate) fn has_input_before(&self, id: LinkId) -> bool {
        let streams = self.association(id).into_iter().flat_map(Association::streams);
        let is_listed = |link: LinkId| self.table.get(link).is_some_and(Link::is_listed_ready);
        streams.filter(|(stream_type, _)| *stream_type == StreamType::Data1).any(|(_, link)| is_listed(link))
    }
}
