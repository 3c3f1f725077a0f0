//! Associations: the TCP streams of each peer that may have several.
//!
//! A peer's first link is its stream GENERAL. Its [`Association`] names the links of the further streams, and the link
//! that is being set up as one. A row names its part with one byte. The details are in [`Associations`], by slot, so a
//! loop whose peers have one link each holds nothing. Positions of outgoing bytes belong to one link, so each link has
//! its own queue, framer and pings. Nothing here sends a byte or changes a row.

use crate::id::LinkId;
use crate::manager::keyed::KeyedState;
use crate::peer::StreamPolicy;
use crate::protocol::CommandName;
use crate::wire::StreamType;
use rand::Rng;
use std::collections::HashMap;
use std::net::IpAddr;

/// The id by which both sides know an association: the bytes of a UUID.
pub(crate) type Uuid = [u8; 16];

/// The further streams of a peer: DATA1 to DATA4.
const FURTHER: [StreamType; 4] = [StreamType::Data1, StreamType::Data2, StreamType::Data3, StreamType::Data4];

/// Maximum number of links of one peer.
pub(crate) const MAX_LINKS_OF_PEER: usize = 1 + FURTHER.len();

/// The part of a link in an association. The row has its [`LinkRole`](crate::peer::LinkRole) without these details.
#[derive(Debug)]
pub(crate) enum Membership {
    /// The peer's first link.
    General(Association),
    /// A further stream, or a link that is being set up as one. `general` is the peer's first link.
    Stream { general: LinkId, stream_type: StreamType },
}

/// The state of a peer's association.
#[derive(Debug)]
pub(crate) struct Association {
    /// The id; `None` on a dialled link before our `version` is sent.
    pub(crate) id: Option<Uuid>,
    /// Whether both sides have named the id.
    pub(crate) is_agreed: bool,
    /// The local address that the embedder chose for the peer's first link.
    pub(crate) source: Option<IpAddr>,
    pub(crate) policy: StreamPolicy,
    /// The link that waits for a `streamack`. At most one link is set up for each peer, once.
    pub(crate) opening: Option<LinkId>,
    streams: [Option<LinkId>; FURTHER.len()],
}

impl Association {
    /// Returns the association of a peer that this side dials from `source`.
    pub(crate) fn of_dial(source: Option<IpAddr>) -> Self {
        let (id, policy, opening, streams) = (None, StreamPolicy::Default, None, [None; FURTHER.len()]);
        Self { id, is_agreed: false, source, policy, opening, streams }
    }

    /// Returns the association of a peer that dialled us and named `id`.
    pub(crate) fn of_accepted(id: Uuid) -> Self {
        Self { id: Some(id), is_agreed: true, ..Self::of_dial(None) }
    }

    /// Returns the link for a message under the policy; `None` for the peer's first link. `lists_blocks` is as in
    /// [`StreamPolicy::stream_of`].
    pub(crate) fn route(&self, command: CommandName, lists_blocks: bool) -> Option<LinkId> {
        self.link_of(self.policy.stream_of(command, lists_blocks))
    }

    /// Returns the link of a further stream, if the stream is open.
    pub(crate) fn link_of(&self, stream_type: StreamType) -> Option<LinkId> {
        index_of(stream_type).and_then(|index| self.streams[index])
    }

    /// Adds an open stream. Returns `false` if the type is that of an open stream or no further stream has it.
    pub(crate) fn add(&mut self, stream_type: StreamType, link: LinkId) -> bool {
        match index_of(stream_type).map(|index| &mut self.streams[index]) {
            Some(free @ None) => {
                *free = Some(link);
                true
            }
            Some(Some(_)) | None => false,
        }
    }

    /// Removes a link that is open as a stream or is being set up.
    pub(crate) fn remove(&mut self, link: LinkId) {
        let streams = self.streams.iter_mut();
        streams.chain([&mut self.opening]).filter(|known| **known == Some(link)).for_each(|known| *known = None);
    }

    /// Returns whether a stream of this type can be added.
    pub(crate) fn is_free(&self, stream_type: StreamType) -> bool {
        index_of(stream_type).is_some_and(|index| self.streams[index].is_none())
    }

    /// Returns whether the peer that dialled us has named the id, but has opened no further stream yet.
    pub(crate) fn awaits_stream(&self) -> bool {
        self.is_agreed && self.opening.is_none() && self.streams.iter().all(Option::is_none)
    }

    /// Returns the open further streams and their types.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (StreamType, LinkId)> {
        FURTHER.into_iter().zip(self.streams).filter_map(|(stream_type, link)| Some((stream_type, link?)))
    }
}

/// The parts of a loop's links in associations, and the accepted associations by id.
#[derive(Debug, Default)]
pub(crate) struct Associations {
    by_slot: Vec<Option<Box<Membership>>>,
    /// The first links of the peers that dialled us, by the ids that the peers named.
    accepted: Option<HashMap<Uuid, LinkId, KeyedState>>,
    /// The number of links that are further streams, or are being set up as such.
    streams: usize,
}

impl Associations {
    /// Returns a link's part. The caller has checked that the id is that of the slot's link, and that the link has one.
    pub(crate) fn get(&self, id: LinkId) -> Option<&Membership> {
        self.by_slot.get(id.slot())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Membership> {
        self.by_slot.get_mut(id.slot())?.as_deref_mut()
    }

    /// Sets a link's part.
    pub(crate) fn insert(&mut self, id: LinkId, membership: Membership) {
        self.streams += usize::from(membership.is_stream());
        if self.by_slot.len() <= id.slot() {
            self.by_slot.resize_with(id.slot() + 1, || None);
        }
        let before = self.by_slot[id.slot()].replace(Box::new(membership));
        self.streams -= usize::from(before.is_some_and(|before| before.is_stream()));
    }

    /// Removes a link's part, and the id of its association.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Membership> {
        let membership = *self.by_slot.get_mut(id.slot())?.take()?;
        self.streams -= usize::from(membership.is_stream());
        if let (Membership::General(Association { id: Some(uuid), .. }), Some(accepted)) =
            (&membership, &mut self.accepted)
            && accepted.get(uuid) == Some(&id)
        {
            accepted.remove(uuid);
        }
        Some(membership)
    }

    /// Records the id of a peer that dialled us. Returns `false` if another peer has the id. When the first id is
    /// recorded, `rng` draws the hash map's key.
    pub(crate) fn claim_id(&mut self, peer: LinkId, id: Uuid, rng: &mut impl Rng) -> bool {
        let accepted = self.accepted.get_or_insert_with(|| HashMap::with_hasher(KeyedState::new(rng)));
        *accepted.entry(id).or_insert(peer) == peer
    }

    /// Returns the peer that dialled us with this association id.
    pub(crate) fn peer_with_id(&self, id: &Uuid) -> Option<LinkId> {
        self.accepted.as_ref()?.get(id).copied()
    }

    /// Returns the number of links that are further streams, or are being set up as such.
    pub(crate) fn streams_len(&self) -> usize {
        self.streams
    }

    /// Returns the memory in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let boxes = self.by_slot.iter().flatten().count() * size_of::<Membership>();
        // At most seven eighths of a hash map's buckets are used, and each bucket has one byte more.
        let buckets = self.accepted.as_ref().map_or(0, |accepted| (accepted.capacity() * 8 / 7).next_power_of_two());
        let entries = buckets * (size_of::<(Uuid, LinkId)>() + 1);
        self.by_slot.capacity() * size_of::<Option<Box<Membership>>>() + boxes + entries
    }
}

impl Membership {
    fn is_stream(&self) -> bool {
        match self {
            Self::General(_) => false,
            Self::Stream { .. } => true,
        }
    }
}

fn index_of(stream_type: StreamType) -> Option<usize> {
    FURTHER.iter().position(|further| *further == stream_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_to_the_stream_of_the_policy_if_it_is_open_and_else_to_the_first_link() {
        let [data1, data2] = [1, 2].map(|slot| LinkId::new(slot, 0));
        let mut association = Association::of_accepted([7; 16]);
        association.policy = StreamPolicy::BlockPriority;
        assert_eq!(association.route(CommandName::BLOCK, false), None);
        assert!(association.add(StreamType::Data2, data2) && association.add(StreamType::Data1, data1));
        assert_eq!(association.route(CommandName::BLOCK, false), Some(data1));
        assert_eq!(association.route(CommandName::TX, false), None);
        assert_eq!(
            (association.route(CommandName::INV, true), association.route(CommandName::INV, false)),
            (Some(data1), None)
        );
        association.policy = StreamPolicy::Default;
        assert_eq!(association.route(CommandName::BLOCK, false), None);
        assert_eq!(association.streams().map(|(_, link)| link).collect::<Vec<_>>(), [data1, data2]);
        association.remove(data1);
        assert_eq!(association.link_of(StreamType::Data1), None);
        assert!(association.is_free(StreamType::Data1) && !association.is_free(StreamType::Data2));
    }

    #[test]
    fn an_open_stream_is_never_replaced_and_general_and_unknown_are_no_further_streams() {
        let mut association = Association::of_dial(None);
        assert!(association.add(StreamType::Data4, LinkId::new(1, 0)));
        for stream_type in [StreamType::Data4, StreamType::General, StreamType::Unknown] {
            assert!(!association.is_free(stream_type) && !association.add(stream_type, LinkId::new(2, 0)));
        }
        assert_eq!(association.link_of(StreamType::Data4), Some(LinkId::new(1, 0)));
    }
}
