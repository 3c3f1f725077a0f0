//! Who has to go when all places are taken and somebody new has come.
//!
//! The rules are those of SV Node 1.2.2, net.cpp AttemptToEvictConnection. Some peers are spared for each quality that
//! is hard to fake: a range of addresses that the key of this run happens to favour, a short ping, useful transactions,
//! useful blocks, a long life. Among the rest the range with most peers loses its youngest. So whoever floods us from a
//! few ranges drives out its own peers, and 20 at least always stay.
//!
//! Peers that this side has opened never have to go, and neither have trusted ones. The choice depends on the peers and
//! the key alone, not on their order, and takes bounded work however many there are.

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

/// Peers spared for their range of addresses.
const SPARED_BY_GROUP: usize = 4;
/// Peers spared for their shortest ping.
const SPARED_BY_PING: usize = 8;
/// Peers spared for the latest useful transaction.
const SPARED_BY_TRANSACTION: usize = 4;
/// Peers spared for the latest useful block.
const SPARED_BY_BLOCK: usize = 4;

/// A peer, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    pub(crate) connection_type: ConnectionType,
    pub(crate) is_trusted: bool,
    pub(crate) group: NetGroup,
    pub(crate) connected_at: Instant,
    /// The shortest ping of its life; `None` before the first pong.
    pub(crate) shortest_ping: Option<Duration>,
    /// When it last sent a transaction that was new to us.
    pub(crate) last_transaction: Option<Instant>,
    /// When it last sent a block that was new to us.
    pub(crate) last_block: Option<Instant>,
    /// Whether it wants transactions; breaks ties.
    pub(crate) relays_transactions: bool,
    /// Whether it offers the services that we need; breaks ties.
    pub(crate) has_needed_services: bool,
}

impl Candidate {
    fn may_go(&self) -> bool {
        match self.connection_type {
            ConnectionType::Inbound => !self.is_trusted,
            ConnectionType::Outbound | ConnectionType::OverCapacity => false,
        }
    }

    /// Orders by age, oldest first, and tells any two peers apart.
    fn age(&self) -> (Instant, PeerId) {
        (self.connected_at, self.peer)
    }
}

/// The peer that has to go, if any.
///
/// Peers that are being closed are no candidates. Of more than [`MAX_EVICTION_CANDIDATES`] that may go the first are
/// taken, so they have to come in an order that nobody can foretell, as that of [`rows`].
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

/// The rows to look for candidates in, of a table that has `len`: each once at the most, [`MAX_EVICTION_ROWS`] of them,
/// and in an order that nobody can foretell.
pub(crate) fn rows<R: Rng>(len: usize, rng: &mut R) -> impl Iterator<Item = usize> + use<R> {
    let (first, mut step) = match len {
        0 => (0, 1),
        _ => (rng.random_range(0..len), rng.random_range(1..=len)),
    };
    // A step without a common divisor comes to every row before it comes to one again.
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

/// Takes out the `count` candidates that stand first by `key`.
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
