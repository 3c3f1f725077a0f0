//! The choice of the peer to close when all slots are in use and a new peer has connected.
//!
//! The rules match SV Node 1.2.2, net.cpp AttemptToEvictConnection. Some peers are spared for each quality that is
//! hard to fake: a range of addresses that this run's key favours at random, a short ping, useful transactions,
//! useful blocks, a long connection. Of the rest, the range with the most peers loses its youngest peer. An attacker
//! that floods us from a few ranges therefore displaces its own peers. If 20 or fewer peers are considered, none is
//! chosen.
//!
//! Peers that this side dialled, peers over capacity and trusted peers are never chosen. The choice depends only on
//! the key and the considered peers, not on the peers' order. At most [`MAX_EVICTION_CANDIDATES`] peers are
//! considered, so the work is bounded.

use crate::address::NetGroup;
use crate::id::PeerId;
use crate::limits::{MAX_EVICTION_CANDIDATES, MAX_EVICTION_ROWS};
use crate::manager::keyed::KeyedState;
use crate::peer::ConnectionType;
use crate::time::Instant;
use rand::{Rng, RngExt};
use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::iter;
use std::time::Duration;

/// Number of peers spared for their range of addresses.
const SPARED_BY_GROUP: usize = 4;
/// Number of peers spared for their shortest ping.
const SPARED_BY_PING: usize = 8;
/// Number of peers spared for their latest useful transaction.
const SPARED_BY_TRANSACTION: usize = 4;
/// Number of peers spared for their latest useful block.
const SPARED_BY_BLOCK: usize = 4;

/// A peer's qualities that the choice uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    pub(crate) connection_type: ConnectionType,
    pub(crate) is_trusted: bool,
    pub(crate) group: NetGroup,
    pub(crate) connected_at: Instant,
    /// The shortest ping of the connection; `None` before the first pong.
    pub(crate) shortest_ping: Option<Duration>,
    /// The moment at which the peer last sent a transaction that was new to us.
    pub(crate) last_transaction: Option<Instant>,
    /// The moment at which the peer last sent a block that was new to us.
    pub(crate) last_block: Option<Instant>,
    /// Whether the peer requests transactions. It breaks ties between peers with equal `last_transaction`.
    pub(crate) relays_transactions: bool,
    /// Whether the peer offers the services that we need. It breaks ties between peers with equal `last_block`.
    pub(crate) has_needed_services: bool,
}

impl Candidate {
    fn may_go(&self) -> bool {
        match self.connection_type {
            ConnectionType::Inbound => !self.is_trusted,
            ConnectionType::Outbound | ConnectionType::OverCapacity => false,
        }
    }

    /// Returns a key that orders peers by age, oldest first, and is unique for each peer.
    fn age(&self) -> (Instant, PeerId) {
        (self.connected_at, self.peer)
    }
}

/// Returns the peer to close, if there is one.
///
/// `candidates` must not contain peers that are closing. Only the first [`MAX_EVICTION_CANDIDATES`] eligible peers
/// are considered. The candidates' order must therefore be unpredictable, like the order of [`rows`].
pub(crate) fn choose(candidates: impl Iterator<Item = Candidate>, state: KeyedState) -> Option<PeerId> {
    let may_go = candidates.filter(Candidate::may_go).take(MAX_EVICTION_CANDIDATES);
    let mut left: Vec<(u64, Candidate)> = may_go.map(|peer| (state.hash_one(peer.group), peer)).collect();
    spare(&mut left, SPARED_BY_GROUP, |(hash, peer)| (*hash, peer.age()));
    spare(&mut left, SPARED_BY_PING, |(_, peer)| (peer.shortest_ping.unwrap_or(Duration::MAX), peer.age()));
    spare(&mut left, SPARED_BY_TRANSACTION, |(_, peer)| {
        (Reverse(peer.last_transaction), !peer.relays_transactions, peer.age())
    });
    spare(&mut left, SPARED_BY_BLOCK, |(_, peer)| (Reverse(peer.last_block), !peer.has_needed_services, peer.age()));
    let older_half = left.len() / 2;
    spare(&mut left, older_half, |(_, peer)| peer.age());
    left.sort_unstable_by_key(|(_, peer)| (peer.group, Reverse(peer.age())));
    let groups = left.chunk_by(|(_, one), (_, other)| one.group == other.group);
    let youngest_of_largest = groups.map(|group| (group.len(), group[0].1.age())).max();
    youngest_of_largest.map(|(_, (_, peer))| peer)
}

/// Returns the rows to search for candidates in a table of `len` rows: at most [`MAX_EVICTION_ROWS`] different rows, in
/// an unpredictable order.
pub(crate) fn rows<R: Rng>(len: usize, rng: &mut R) -> impl Iterator<Item = usize> + use<R> {
    let (first, mut step) = match len {
        0 => (0, 1),
        _ => (rng.random_range(0..len), rng.random_range(1..=len)),
    };
    // A step that is coprime with `len` reaches every row before it repeats one.
    while greatest_common_divisor(step, len) > 1 {
        step = step % len + 1;
    }
    let next = move |&row: &usize| Some((row + step) % len);
    iter::successors((len > 0).then_some(first), next).take(len.min(MAX_EVICTION_ROWS))
}

const fn greatest_common_divisor(mut one: usize, mut other: usize) -> usize {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Removes the `count` candidates with the lowest keys, so that none of them can be chosen.
fn spare<K: Ord>(left: &mut Vec<(u64, Candidate)>, count: usize, key: impl FnMut(&(u64, Candidate)) -> K) {
    if count >= left.len() {
        left.clear();
    } else if count > 0 {
        left.select_nth_unstable_by_key(count, key);
        left.drain(..count);
    }
}

#[cfg(test)]
mod tests;
