//! The relay's peers, by dense indexes.
//!
//! An index is one number in an entry and one bit in a set. It is used again only after the sweep has removed every
//! trace of its former peer. Until then a peer that connects gets another index, so the number of indexes is at most
//! the number of peers at a time plus the number of those that closed during one cycle of the sweep.

use super::bits::PeerSet;
use super::inventory::{NONE, PeerIndex};
use super::large::Reading;
use super::percentile::Percentile95;
use super::serve::Serving;
use crate::bugs::canary;
use crate::handler::PeerMap;
use crate::id::PeerId;
use crate::limits::RELAY_FIRST_HEDGE;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The time after which an idle peer's share of new transactions grows no more.
const MAX_CREDIT: Duration = Duration::from_secs(10);

/// The part that a peer plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A peer whose announcements are not believed.
    Leaf,
    /// A link to an upstream, by the upstream's number. A listening link never sends an `inv` or a `tx`, because an SV
    /// Node announces nothing back on a link on which it got it (SV Node 1.2.2, net_processing.cpp AddInventoryKnown).
    Upstream {
        /// The number of the upstream in the configuration.
        number: u16,
        /// Whether this side only listens on the link.
        is_listening: bool,
    },
}

/// The reasons for which nothing is announced to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mute {
    /// The peer's `version` has the relay flag off, and no `filterclear` has followed.
    pub(super) no_relay: bool,
    /// The peer's fee filter is so high that it wants no transaction.
    pub(super) high_fee: bool,
    /// The link is for listening.
    pub(super) listening: bool,
    /// The upstream's listening link is not ready, so an acceptance would not be seen.
    pub(super) unobserved: bool,
}

/// One ready peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) role: Role,
    pub(super) mute: Mute,
    /// Whether announcements wait until the peer's queue is empty.
    pub(super) is_behind: bool,
    /// Whether this side dialled the peer.
    pub(super) is_outbound: bool,
    /// The position of the next announcement.
    pub(super) cursor: u64,
    /// The number of requests in flight.
    pub(super) in_flight: u32,
    /// The number of announced transactions that have not arrived.
    pub(super) live: u32,
    /// The list of its requests: the first and the last.
    pub(super) asks: [u32; 2],
    /// The estimated time from a request to the transaction.
    pub(super) fetch: Percentile95,
    /// The mean size of its transactions in bytes.
    pub(super) mean_bytes: u32,
    /// The time whose share of new transactions the peer has not used yet, and the moment of this count.
    credit: (Duration, Instant),
    /// The peer's position in the list of those that receive announcements.
    pub(super) member: u32,
    /// The slots that could not be requested yet, and the items that could not be served yet.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// The work that waits for a peer. Few peers have any.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The slots of transactions to be requested.
    pub(super) wanted: VecDeque<u32>,
    /// The items to be served.
    pub(super) serving: Serving,
    /// The large transaction that is being sent.
    pub(super) reading: Option<Reading>,
}

impl Peer {
    pub(super) fn new(id: PeerId, role: Role, is_outbound: bool, cursor: u64, now: Instant) -> Self {
        Self {
            id,
            role,
            mute: Mute::default(),
            is_behind: false,
            is_outbound,
            cursor,
            in_flight: 0,
            live: 0,
            asks: [NONE; 2],
            fetch: Percentile95::starting_at(RELAY_FIRST_HEDGE),
            mean_bytes: 500,
            credit: (MAX_CREDIT, now),
            member: NONE,
            backlog: None,
        }
    }

    /// Returns whether the peer is believed.
    pub(super) const fn is_upstream(&self) -> bool {
        matches!(self.role, Role::Upstream { .. })
    }

    /// Returns whether transactions are announced to the peer.
    pub(super) fn is_announced_to(&self) -> bool {
        self.mute == Mute::default()
    }

    /// Uses the share of one transaction at `rate` per second, and returns whether there was one. A rate of zero allows
    /// none.
    pub(super) fn use_credit(&mut self, rate: u32, now: Instant) -> bool {
        let (credit, price) = self.credit_and_price(rate, now);
        let is_paid = credit >= price;
        self.credit = (if is_paid { credit - price } else { credit }, now);
        is_paid
    }

    /// Returns whether [`Peer::use_credit`] would return `true`.
    pub(super) fn has_credit(&self, rate: u32, now: Instant) -> bool {
        let (credit, price) = self.credit_and_price(rate, now);
        credit >= price
    }

    fn credit_and_price(&self, rate: u32, now: Instant) -> (Duration, Duration) {
        let (credit, at) = self.credit;
        let price = Duration::from_secs(1).checked_div(rate).unwrap_or(Duration::MAX);
        ((credit + now.since(at)).min(MAX_CREDIT), price)
    }

    pub(super) fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }
}

/// All ready peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_index: Vec<Option<Peer>>,
    by_id: PeerMap<PeerIndex>,
    free: Vec<PeerIndex>,
    /// The indexes of closed peers, each with the end of the sweep that removes its traces.
    quarantined: VecDeque<(PeerIndex, u64)>,
    /// The quarantined indexes.
    closed: PeerSet,
    len: usize,
    /// The number of links to upstreams.
    upstreams: usize,
}

impl Peers {
    /// Returns the maximum number of bytes for `peers` peers, without their backlogs.
    pub(super) const fn memory_bytes(peers: usize) -> usize {
        // The tables double, so they may be twice as large as their content.
        2 * peers * (size_of::<Option<Peer>>() + size_of::<Option<(PeerId, PeerIndex)>>() + 4 * size_of::<u64>())
    }

    /// Adds a peer under an index of which no trace exists.
    pub(super) fn insert(&mut self, peer: Peer) -> PeerIndex {
        let index = self.free.pop().unwrap_or_else(|| {
            self.by_index.push(None);
            self.by_index.len() as PeerIndex - 1
        });
        self.by_id.insert(peer.id, index);
        self.upstreams += usize::from(peer.is_upstream());
        self.by_index[index as usize] = Some(peer);
        self.len += 1;
        index
    }

    /// Removes a peer. `swept_at` is the end of a cycle of the sweep that begins now.
    pub(super) fn remove(&mut self, index: PeerIndex, swept_at: u64) -> Option<Peer> {
        let peer = self.by_index.get_mut(index as usize)?.take()?;
        self.by_id.remove(peer.id);
        self.upstreams -= usize::from(peer.is_upstream());
        self.len -= 1;
        self.closed.insert(index);
        let swept_at = if canary!(IndexReusedEarly) { 0 } else { swept_at };
        self.quarantined.push_back((index, swept_at));
        Some(peer)
    }

    /// Frees the indexes whose traces a sweep up to the place `swept` has removed.
    pub(super) fn release(&mut self, swept: u64) {
        while let Some(&(index, _)) = self.quarantined.front().filter(|(_, swept_at)| *swept_at <= swept) {
            self.quarantined.pop_front();
            self.closed.remove(index);
            self.free.push(index);
        }
    }

    /// Returns the indexes whose traces remain to be removed; `None` if there are none.
    pub(super) fn unswept(&self) -> Option<&PeerSet> {
        (!self.quarantined.is_empty()).then_some(&self.closed)
    }

    pub(super) fn index(&self, id: PeerId) -> Option<PeerIndex> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, index: PeerIndex) -> Option<&Peer> {
        self.by_index.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Peer> {
        self.by_index.get_mut(index as usize)?.as_mut()
    }

    /// Returns whether both peers are links to the same upstream.
    pub(super) fn are_one_upstream(&self, one: PeerIndex, other: PeerIndex) -> bool {
        let number = |index| match self.get(index)?.role {
            Role::Upstream { number, .. } => Some(number),
            Role::Leaf => None,
        };
        number(one).is_some() && number(one) == number(other)
    }

    /// Returns the number of links to upstreams.
    pub(super) fn upstreams(&self) -> usize {
        self.upstreams
    }

    /// Returns the peers in the order of their indexes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        self.by_index.iter().enumerate().filter_map(|(index, peer)| Some((index as PeerIndex, peer.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    /// Returns the number of indexes that were ever used.
    pub(super) fn indexes(&self) -> usize {
        self.by_index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;

    fn peer(slot: u32, generation: u32) -> Peer {
        Peer::new(PeerId::of(LinkId::new(slot, generation)), Role::Leaf, false, 0, Instant::ZERO)
    }

    #[test]
    fn an_index_is_used_again_only_after_its_sweep() {
        let mut peers = Peers::default();
        let indexes = [0, 1, 2].map(|slot| peers.insert(peer(slot, 0)));
        assert_eq!(indexes, [0, 1, 2]);
        peers.remove(1, 100).expect("the peer exists");
        let unswept = |peers: &Peers| peers.unswept().map(|closed| closed.iter().collect::<Vec<_>>());
        peers.release(99);
        assert_eq!(unswept(&peers), Some(vec![1]));
        assert_eq!(peers.insert(peer(1, 1)), 3);
        peers.remove(0, 150).expect("the peer exists");
        peers.release(100);
        assert_eq!(unswept(&peers), Some(vec![0]));
        assert_eq!([peers.insert(peer(5, 0)), peers.insert(peer(6, 0))], [1, 4]);
        peers.release(150);
        assert_eq!(unswept(&peers), None);
        assert_eq!(peers.insert(peer(7, 0)), 0);
        assert_eq!((peers.len(), peers.indexes()), (5, 5));
    }

    #[test]
    fn a_peer_is_found_by_its_id_until_it_is_removed() {
        let mut peers = Peers::default();
        let (old, new) = (peer(4, 0).id, peer(4, 1).id);
        let index = peers.insert(peer(4, 0));
        assert_eq!((peers.index(old), peers.index(new)), (Some(index), None));
        peers.remove(index, 0);
        assert_eq!(peers.index(old), None);
        assert!(peers.get(index).is_none() && peers.remove(index, 0).is_none());
    }

    #[test]
    fn a_peer_has_its_rate_and_a_burst_of_ten_seconds() {
        let (mut peer, start) = (peer(0, 0), Instant::ZERO);
        let used = |peer: &mut Peer, now| (0..10_000).take_while(|_| peer.use_credit(100, now)).count();
        assert_eq!(used(&mut peer, start), 1_000);
        assert_eq!(used(&mut peer, start.plus(Duration::from_millis(500))), 50);
        assert!(!peer.has_credit(100, start.plus(Duration::from_millis(509))));
        assert!(peer.has_credit(100, start.plus(Duration::from_millis(510))));
        assert_eq!(used(&mut peer, start.plus(Duration::from_secs(1_000))), 1_000);
        assert!(!peer.use_credit(0, Instant::MAX));
    }

    #[test]
    fn a_row_has_at_most_two_cache_lines() {
        assert!(size_of::<Option<Peer>>() <= 128, "{} bytes", size_of::<Option<Peer>>());
    }
}
