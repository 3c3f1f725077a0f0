//! The workload that only observes: it measures when each peer announces what another peer announced first.
//!
//! Its operations are expected announcements. The first announcement of a hash begins one for each other ready peer,
//! and that peer's own announcement of the hash answers it. All moments are of one clock, that of the loop.

use crate::api::{Delivery, Event, Frame};
use crate::handler::{Ctx, PeerMap};
use crate::id::PeerId;
use crate::limits::MAX_PROPAGATION_HASHES;
use crate::load::workload::{Expected, Miss, Operation, Operations, Started, Workload};
use crate::protocol::CommandName;
use crate::time::Instant;
use crate::wire::{Hash256, Header, InventoryKind, MessageRef};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

/// The cause of an announcement that a peer did not make in time.
const NOT_ANNOUNCED: &str = "not_announced";

/// The cause of an announcement whose hash was dropped for a newer one.
const TOO_MANY_HASHES: &str = "too_many_hashes";

/// The key of the timer that ends the wait for announcements.
const TIMER: u64 = 0;

/// The indices of the metrics.
const TX: usize = 0;
const BLOCK: usize = 1;

/// Observes how transactions and blocks reach the peers, and sends nothing. The metrics `tx_propagation` and
/// `block_propagation` are the times from the first announcement of a hash by any peer to the announcement of the same
/// hash by each other peer, with `inv`, `headers` or `cmpctblock`.
///
/// Each peer that was ready at the first announcement is expected to announce the hash too. One that does not do so
/// within a time limit is a failed operation with the cause `not_announced`. Only hashes whose first announcement is in
/// the counted run count. Hashes are remembered until the time limit, so that a repeated announcement is not a first
/// one, and at most [`MAX_PROPAGATION_HASHES`] of them: then the oldest is dropped, and its missing announcements fail
/// with the cause `too_many_hashes`.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Propagation};
/// use std::time::Duration;
///
/// let nodes = ["127.0.0.1:18444", "127.0.0.1:18445"].map(|node| node.parse().unwrap());
/// // Ten peers of each node for a minute. No operation is planned, so the rate is zero.
/// let plan = Plan::new(nodes.into(), 20, Rate::per_second(10)).with_rate(Rate::ZERO, Duration::from_secs(60));
/// let propagation = Propagation::new(Duration::from_secs(30));
/// let generator = Generator::new(plan).with_workload(Box::new(propagation));
/// ```
#[derive(Debug)]
pub struct Propagation {
    /// The time within which the other peers are expected to announce a hash.
    limit: Duration,
    /// The place of each ready peer in the sets of peers.
    places: PeerMap<usize>,
    /// The peers by place; a closed peer's place stays empty.
    peers: Vec<Option<PeerId>>,
    sights: BTreeMap<Hash256, Sight>,
    /// The remembered hashes, the oldest first.
    order: VecDeque<Hash256>,
    /// The index of the next expected announcement.
    next_index: u64,
    has_timer: bool,
}

/// The first announcement of a hash.
#[derive(Debug)]
struct Sight {
    at: Instant,
    metric: usize,
    /// The index of the announcement that the peer in the first place is expected to make.
    first_index: u64,
    awaited: Places,
}

impl Sight {
    fn expected(&self, place: usize) -> Expected {
        Expected { index: self.first_index + place as u64, metric: self.metric, since: self.at }
    }
}

impl Propagation {
    /// Returns the workload that expects each announcement within `limit` of the first one.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            places: PeerMap::new(),
            peers: Vec::new(),
            sights: BTreeMap::new(),
            order: VecDeque::new(),
            next_index: 0,
            has_timer: false,
        }
    }

    fn note(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, metric: usize, hash: Hash256) {
        let Some(&place) = self.places.get(peer) else { return };
        match self.sights.get_mut(&hash) {
            Some(sight) => {
                if sight.awaited.remove(place) {
                    operations.observed(peer, sight.expected(place), ctx.now());
                }
            }
            None => self.begin(ctx, operations, place, metric, hash),
        }
    }

    /// Remembers a hash that the peer in this place announced first.
    fn begin(
        &mut self,
        ctx: &mut Ctx<'_>,
        operations: &mut Operations<'_>,
        first: usize,
        metric: usize,
        hash: Hash256,
    ) {
        if self.order.len() >= MAX_PROPAGATION_HASHES {
            self.forget_oldest(ctx, operations, TOO_MANY_HASHES);
        }
        let first_index = self.next_index;
        self.next_index += self.peers.len() as u64;
        let mut sight = Sight { at: ctx.now(), metric, first_index, awaited: Places::default() };
        for (place, peer) in self.peers.iter().enumerate() {
            if let Some(peer) = peer.filter(|_| place != first)
                && operations.expect(peer, sight.expected(place))
            {
                sight.awaited.insert(place);
            }
        }
        self.sights.insert(hash, sight);
        self.order.push_back(hash);
        self.arm(ctx);
    }

    fn forget_oldest(&mut self, ctx: &Ctx<'_>, operations: &mut Operations<'_>, cause: &'static str) {
        let oldest = self.order.pop_front().and_then(|hash| self.sights.remove(&hash));
        if let Some(sight) = oldest {
            fail(&self.peers, operations, &sight, Miss::Failed(cause), ctx.now());
        }
    }

    /// Sets the timer for the oldest hash, unless it is set.
    fn arm(&mut self, ctx: &mut Ctx<'_>) {
        let oldest = self.order.front().and_then(|hash| self.sights.get(hash));
        if let Some(sight) = oldest.filter(|_| !self.has_timer) {
            // This loop has few timers, so there is always room for one more.
            self.has_timer = ctx.set_timer(TIMER, sight.at.plus(self.limit)).is_ok();
        }
    }

    fn note_closed(&mut self, ctx: &Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId) {
        let Some(place) = self.places.remove(peer) else { return };
        self.peers[place] = None;
        for sight in self.sights.values_mut() {
            if sight.awaited.remove(place) {
                operations.missed(peer, sight.expected(place), Miss::Lost, ctx.now());
            }
        }
    }
}

/// Ends the operations of the peers whose announcement is missing.
fn fail(peers: &[Option<PeerId>], operations: &mut Operations<'_>, sight: &Sight, miss: Miss, now: Instant) {
    for place in sight.awaited.iter() {
        if let Some(peer) = peers[place] {
            operations.missed(peer, sight.expected(place), miss, now);
        }
    }
}

impl Workload for Propagation {
    fn name(&self) -> &'static str {
        "propagation"
    }

    fn metrics(&self) -> &[&'static str] {
        &["tx_propagation", "block_propagation"]
    }

    fn main_metrics(&self) -> &[usize] {
        &[TX, BLOCK]
    }

    fn is_passive(&self) -> bool {
        true
    }

    fn start(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _operation: Operation) -> Started {
        Started::NotSent { cause: "passive" }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        match event {
            Event::Ready { .. } => {
                self.places.insert(peer, self.peers.len());
                self.peers.push(Some(peer));
            }
            Event::Closed { .. } => self.note_closed(ctx, operations, peer),
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Pong { .. }
            | Event::Written { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match [CommandName::INV, CommandName::HEADERS, CommandName::CMPCTBLOCK].contains(&header.command) {
            true => Delivery::Buffer,
            false => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Inv(items)) => {
                for item in items.iter() {
                    match item.kind {
                        InventoryKind::TX => self.note(ctx, operations, peer, TX, item.hash),
                        InventoryKind::BLOCK => self.note(ctx, operations, peer, BLOCK, item.hash),
                        _ => {}
                    }
                }
            }
            Ok(MessageRef::Headers(headers)) => {
                for entry in headers.iter() {
                    self.note(ctx, operations, peer, BLOCK, entry.header.hash());
                }
            }
            Ok(MessageRef::CmpctBlock(block)) => self.note(ctx, operations, peer, BLOCK, block.header.hash()),
            // A message that cannot be decoded announces nothing.
            Ok(_) | Err(_) => {}
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, _key: u64) {
        self.has_timer = false;
        let is_over = |sight: &Sight| sight.at.plus(self.limit) <= ctx.now();
        let over = self.order.iter().take_while(|hash| self.sights.get(hash).is_some_and(is_over)).count();
        for _ in 0..over {
            self.forget_oldest(ctx, operations, NOT_ANNOUNCED);
        }
        self.arm(ctx);
    }

    fn on_end(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>) {
        for sight in mem::take(&mut self.sights).values() {
            fail(&self.peers, operations, sight, Miss::TimedOut, ctx.now());
        }
        self.order.clear();
    }
}

/// A set of places, in one bit for each.
#[derive(Debug, Default)]
struct Places {
    words: Vec<u64>,
}

impl Places {
    fn insert(&mut self, place: usize) {
        let word = place / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (place % 64);
    }

    /// Removes a place, and returns whether it was in the set. The last one's removal frees the memory.
    fn remove(&mut self, place: usize) -> bool {
        let (word, bit) = (place / 64, 1 << (place % 64));
        let has_place = self.words.get(word).is_some_and(|bits| bits & bit != 0);
        if has_place {
            self.words[word] &= !bit;
            if self.words.iter().all(|&bits| bits == 0) {
                self.words = Vec::new();
            }
        }
        has_place
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let of_word = |(word, &bits): (usize, &u64)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        };
        self.words.iter().enumerate().flat_map(of_word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn places_are_a_set(steps in proptest::collection::vec((any::<bool>(), 0..200_usize), 0..300)) {
            let (mut places, mut model) = (Places::default(), BTreeSet::new());
            for (inserts, place) in steps {
                if inserts {
                    places.insert(place);
                    model.insert(place);
                } else {
                    prop_assert_eq!(places.remove(place), model.remove(&place));
                }
                prop_assert!(places.iter().eq(model.iter().copied()));
            }
        }
    }
}
