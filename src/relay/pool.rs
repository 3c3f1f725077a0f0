//! The bodies of transactions, as they were received, for any number of receivers: one frame each, or the parts of a
//! large one.
//!
//! A body is kept until two minutes after all peers have passed its announcement, or for 20 minutes if it was never
//! announced to all. The pool never retains more than its maximum: it then drops the first bodies, which are the oldest
//! except for held ones, and counts them. A frame that shares a read block counts with the whole block. The large
//! bodies that arrive count, too, as far as they have arrived.

use super::body::Body;
use super::inventory::Id;
use super::window::{Window, shared_bytes};
use crate::limits::{RELAY_BODY_BYTES, RELAY_HELD_TIME, RELAY_POOL_CHAINS, RELAY_POOL_TIME};
use crate::time::Instant;
use crate::wire::Hash256;
use bytes::Bytes;
use std::collections::VecDeque;

/// The end of a chain. Record numbers start at 1, and a number of 0 is never reached within the life of a body.
const END: u32 = 0;
/// The number of records that one call of [`Pool::expire`] drops or keeps at most.
const EXPIRE_STEP: usize = 16_384;

/// The position of a body that was not announced to all.
const HELD: u64 = u64::MAX;

#[derive(Debug)]
struct Record {
    hash: Hash256,
    key: u64,
    /// `None` after the body was removed.
    body: Option<Body>,
    /// The position of its announcement, or [`HELD`].
    position: u64,
    added: Instant,
    /// The number of the next record in the chain.
    next: u32,
}

impl Record {
    /// Returns the number of bytes that a body in this record retains.
    fn retained_bytes(&self) -> usize {
        retained(self.body.as_ref().map_or(0, Body::len))
    }
}

const _: () = assert!(size_of::<Record>() <= RELAY_BODY_BYTES, "a body costs more than its bound states");

/// All bodies, in the order of their arrival. A held body moves to the end when it is the first and may still be kept.
#[derive(Debug)]
pub(super) struct Pool {
    records: VecDeque<Record>,
    /// The number of the first record.
    first: u32,
    chains: Vec<u32>,
    max_bytes: usize,
    /// The bytes that all bodies retain, and those of held bodies.
    retained_bytes: usize,
    held_bytes: usize,
    /// The bytes among them that belong to large bodies that still arrive.
    arriving_bytes: usize,
    len: usize,
    evicted: u64,
    /// Positions that all peers had passed, with the moments at which this was noticed.
    passed: VecDeque<(Instant, u64)>,
    /// All peers had passed this position two minutes ago.
    expired: u64,
}

impl Pool {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            records: VecDeque::new(),
            first: 1,
            chains: vec![END; RELAY_POOL_CHAINS],
            max_bytes,
            retained_bytes: 0,
            held_bytes: 0,
            arriving_bytes: 0,
            len: 0,
            evicted: 0,
            passed: VecDeque::new(),
            expired: 0,
        }
    }

    /// Returns the maximum number of bytes that a pool uses besides the bodies.
    pub(super) const fn index_bytes() -> usize {
        RELAY_POOL_CHAINS * size_of::<u32>() + 4_096
    }

    /// Returns the body of a transaction.
    pub(super) fn get(&self, id: Id) -> Option<&Body> {
        self.records[self.find(id)?].body.as_ref()
    }

    /// Returns the body of a transaction for a peer. A held one is only for upstreams.
    pub(super) fn get_for(&self, id: Id, is_upstream: bool) -> Option<&Body> {
        let record = &self.records[self.find(id)?];
        record.body.as_ref().filter(|_| is_upstream || record.position != HELD)
    }

    /// Returns the parts of a large transaction.
    pub(super) fn parts(&self, id: Id) -> Option<&Window> {
        match self.get(id)? {
            Body::Frame(_) => None,
            Body::Parts(window) => Some(window),
        }
    }

    pub(super) fn contains(&self, id: Id) -> bool {
        self.find(id).is_some()
    }

    /// Returns whether a held body of this length may be added: held bodies use at most a quarter of the pool, so that
    /// leaf peers cannot displace the bodies that the upstreams have announced.
    pub(super) fn may_hold(&self, len_bytes: usize) -> bool {
        self.held_bytes + retained(len_bytes) <= self.max_bytes / 4
    }

    /// Returns whether the pool can contain a body of this length.
    pub(super) fn fits(&self, len_bytes: usize) -> bool {
        retained(len_bytes) <= self.max_bytes - self.arriving_bytes
    }

    /// Returns whether this many further bytes of a large body may arrive: all such bodies use at most half of the
    /// pool, and those of leaf peers count as held.
    pub(super) fn may_arrive(&self, bytes: usize, is_from_leaf: bool) -> bool {
        self.arriving_bytes.saturating_add(bytes) <= self.max_arriving_bytes()
            && (!is_from_leaf || self.held_bytes.saturating_add(bytes) <= self.max_bytes / 4)
    }

    /// Returns the number of bytes of large bodies that may arrive at a time.
    pub(super) fn max_arriving_bytes(&self) -> usize {
        self.max_bytes / 2
    }

    /// Counts further bytes of a large body that arrives, and drops the first bodies if the pool is full. Returns
    /// `false`, and counts none, if no more may arrive.
    pub(super) fn reserve(&mut self, bytes: usize, is_from_leaf: bool) -> bool {
        if !self.may_arrive(bytes, is_from_leaf) {
            return false;
        }
        self.make_room(bytes);
        self.retained_bytes += bytes;
        self.arriving_bytes += bytes;
        self.held_bytes += if is_from_leaf { bytes } else { 0 };
        true
    }

    /// Ends the count of a large body that has arrived, or that was dropped.
    pub(super) fn release(&mut self, bytes: usize, is_from_leaf: bool) {
        self.retained_bytes -= bytes;
        self.arriving_bytes -= bytes;
        self.held_bytes -= if is_from_leaf { bytes } else { 0 };
    }

    /// Drops the first bodies until this many further bytes can be retained.
    fn make_room(&mut self, bytes: usize) {
        while self.retained_bytes + bytes > self.max_bytes && !self.records.is_empty() {
            self.evicted += u64::from(self.pop_front());
        }
    }

    /// Adds a body, without a position, or replaces it. Drops the first bodies if the pool is full. A body that does
    /// not fit is not added.
    pub(super) fn insert(&mut self, id: Id, body: Body, now: Instant) {
        self.remove(id);
        let bytes = retained(body.len());
        if !self.fits(body.len()) || body.len() == 0 {
            self.evicted += 1;
            return;
        }
        self.make_room(bytes);
        self.retained_bytes += bytes;
        self.held_bytes += bytes;
        self.len += 1;
        self.push_back(Record { hash: id.hash, key: id.key, body: Some(body), position: HELD, added: now, next: END });
    }

    /// Records the position of a body's announcement.
    pub(super) fn accept(&mut self, id: Id, position: u64) {
        if let Some(at) = self.find(id) {
            let record = &mut self.records[at];
            if record.position == HELD {
                self.held_bytes -= record.retained_bytes();
            }
            record.position = position;
        }
    }

    /// Removes a body.
    pub(super) fn remove(&mut self, id: Id) {
        if let Some(at) = self.find(id) {
            self.unchain(at);
            self.forget(at);
        }
    }

    /// Records that all peers have passed the positions below `floor`, and drops bodies whose time is over.
    pub(super) fn expire(&mut self, floor: u64, now: Instant) {
        if self.passed.back().is_none_or(|&(_, passed)| passed < floor) {
            self.passed.push_back((now, floor));
        }
        while let Some(&(_, floor)) = self.passed.front().filter(|(at, _)| at.plus(RELAY_POOL_TIME) <= now) {
            self.expired = floor;
            self.passed.pop_front();
        }
        for _ in 0..EXPIRE_STEP.min(self.records.len()) {
            let Some(front) = self.records.front() else { return };
            let is_held = front.position == HELD && front.body.is_some();
            if is_held && front.added.plus(RELAY_HELD_TIME) > now {
                self.rotate();
            } else if is_held || front.body.is_none() || front.position < self.expired {
                self.pop_front();
            } else {
                return;
            }
        }
    }

    /// Returns the ids of the announced bodies that arrived at `before` or earlier, in the order of acceptance.
    pub(super) fn accepted(&self, before: Instant) -> Vec<Hash256> {
        let is_accepted = |record: &&Record| record.position != HELD && record.body.is_some();
        let records = self.records.iter().filter(is_accepted).filter(|record| record.added <= before);
        let mut accepted: Vec<_> = records.map(|record| (record.position, record.hash)).collect();
        accepted.sort_unstable();
        accepted.into_iter().map(|(_, hash)| hash).collect()
    }

    /// Returns the number of the first record.
    pub(super) fn first_number(&self) -> u32 {
        self.first
    }

    /// Returns the number of the record that will be added next.
    pub(super) fn next_number(&self) -> u32 {
        self.first.wrapping_add(self.records.len() as u32)
    }

    /// Lists the frames in the next `max` records from this number on, with the number after these records. The number
    /// of a dropped record counts as that of the first one. A body that moves to the end is listed again.
    pub(super) fn frames_from<'a>(
        &'a self,
        number: u32,
        max: usize,
    ) -> (impl Iterator<Item = (Hash256, &'a Bytes)>, u32) {
        let at = Some(self.index_of(number)).filter(|&at| at <= self.records.len()).unwrap_or(0);
        let end = self.records.len().min(at.saturating_add(max));
        let frame = |record: &'a Record| Some((record.hash, record.body.as_ref()?.frame()?));
        (self.records.range(at..end).filter_map(frame), self.first.wrapping_add(end as u32))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// Returns the number of bodies that were dropped because the pool was full.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    // --- Records ----------------------------------------------------------------------------------------------------

    /// Returns the index of a body's record.
    fn find(&self, id: Id) -> Option<usize> {
        let mut number = self.chains[chain_of(id.key)];
        while number != END {
            let at = self.index_of(number);
            let record = self.records.get(at)?;
            if record.hash == id.hash {
                return Some(at);
            }
            number = record.next;
        }
        None
    }

    fn index_of(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    fn push_back(&mut self, mut record: Record) {
        let mut number = self.first.wrapping_add(self.records.len() as u32);
        if number == END {
            // The number 0 marks the end of a chain, so an empty record uses it up.
            let (hash, added) = (Hash256::ZERO, record.added);
            self.records.push_back(Record { hash, key: 0, body: None, position: HELD, added, next: END });
            number = 1;
        }
        let chain = &mut self.chains[chain_of(record.key)];
        record.next = std::mem::replace(chain, number);
        self.records.push_back(record);
    }

    /// Removes the first record, and returns whether it had a body.
    fn pop_front(&mut self) -> bool {
        let Some(front) = self.records.front() else { return false };
        let had_body = front.body.is_some();
        if had_body {
            self.unchain(0);
            self.forget(0);
        }
        self.records.pop_front();
        self.first = self.first.wrapping_add(1);
        had_body
    }

    /// Moves the first record to the end.
    fn rotate(&mut self) {
        self.unchain(0);
        if let Some(front) = self.records.pop_front() {
            self.first = self.first.wrapping_add(1);
            self.push_back(front);
        }
    }

    /// Removes the record at an index from its chain.
    fn unchain(&mut self, at: usize) {
        let number = self.first.wrapping_add(at as u32);
        let (key, next) = (self.records[at].key, self.records[at].next);
        let chain = &mut self.chains[chain_of(key)];
        if *chain == number {
            *chain = next;
            return;
        }
        let mut before = *chain;
        while before != END {
            let index = self.index_of(before);
            if self.records[index].next == number {
                self.records[index].next = next;
                return;
            }
            before = self.records[index].next;
        }
    }

    /// Drops the body of a record that is in no chain.
    fn forget(&mut self, at: usize) {
        let record = &mut self.records[at];
        let bytes = record.retained_bytes();
        if record.position == HELD {
            self.held_bytes -= bytes;
        }
        self.retained_bytes -= bytes;
        self.len -= 1;
        record.body = None;
    }
}

fn chain_of(key: u64) -> usize {
    key as usize % RELAY_POOL_CHAINS
}

/// Returns the number of bytes that a body of this length retains.
const fn retained(len_bytes: usize) -> usize {
    RELAY_BODY_BYTES + shared_bytes(len_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::READ_BLOCK_BYTES;
    use proptest::prelude::*;

    /// Returns an id whose chain is shared by every fourth one.
    fn id(number: u32) -> Id {
        Id { hash: Hash256::of(&number.to_le_bytes()), key: u64::from(number % 4) }
    }

    fn body(len_bytes: usize) -> Body {
        Body::Frame(vec![1; len_bytes].into())
    }

    /// Returns the parts of a large body, each of one read block.
    fn parts(blocks: usize) -> Body {
        let mut window = Window::new((blocks * READ_BLOCK_BYTES) as u64);
        (0..blocks).for_each(|_| window.push(vec![1; READ_BLOCK_BYTES].into()));
        window.release();
        Body::Parts(Box::new(window))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, usize),
        Accept(u32),
        Remove(u32),
        Expire(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = 0..20_u32;
        prop_oneof![
            3 => (number.clone(), 1..3_000_usize).prop_map(|(number, len)| Step::Insert(number, len)),
            2 => number.clone().prop_map(Step::Accept),
            1 => number.prop_map(Step::Remove),
            1 => (0..200_u64, 0..20_u64).prop_map(|(secs, passed)| Step::Expire(secs, passed)),
        ]
    }

    #[test]
    fn all_bodies_are_listed_from_each_number_on() {
        let mut pool = Pool::new(1 << 20);
        // The number 0 is not used.
        pool.first = u32::MAX - 3;
        let begin = pool.first_number();
        (0..8).for_each(|number| pool.insert(id(number), body(10), at(0)));
        pool.remove(id(2));
        let mut listed = Vec::new();
        let mut number = begin;
        while number != pool.next_number() {
            let (bodies, next) = pool.frames_from(number, 3);
            listed.extend(bodies.map(|(hash, _)| hash));
            number = next;
        }
        assert_eq!(listed, [0, 1, 3, 4, 5, 6, 7].map(|number| id(number).hash));
        // Later bodies follow, and a number of a dropped record is that of the first one.
        pool.insert(id(9), body(10), at(0));
        assert_eq!(pool.frames_from(number, 3).0.map(|(hash, _)| hash).collect::<Vec<_>>(), [id(9).hash]);
        assert!(pool.pop_front());
        assert_eq!(pool.frames_from(begin, 1).0.map(|(hash, _)| hash).collect::<Vec<_>>(), [id(1).hash]);
    }

    proptest! {
        #[test]
        fn the_pool_matches_a_list(steps in prop::collection::vec(step(), 0..200), start in prop::bool::ANY) {
            const MAX_BYTES: usize = 20_000;
            let mut pool = Pool::new(MAX_BYTES);
            if start {
                pool.first = u32::MAX - 20;
            }
            // Number, length, position, moment.
            let mut model: Vec<(u32, usize, u64, u64)> = Vec::new();
            let (mut now, mut next, mut floor, mut passed) = (0, 0, 0, Vec::new());
            for step in steps {
                match step {
                    Step::Insert(number, len) => {
                        model.retain(|&(held, ..)| held != number);
                        pool.insert(id(number), body(len), at(now));
                        let bytes = |model: &[(u32, usize, u64, u64)]| -> usize {
                            model.iter().map(|(_, len, ..)| len + RELAY_BODY_BYTES).sum()
                        };
                        while bytes(&model) + len + RELAY_BODY_BYTES > MAX_BYTES {
                            model.remove(0);
                        }
                        model.push((number, len, HELD, now));
                    }
                    Step::Accept(number) => {
                        pool.accept(id(number), next);
                        if let Some(found) = model.iter_mut().find(|(held, ..)| *held == number) {
                            found.2 = next;
                            next += 1;
                        }
                    }
                    Step::Remove(number) => {
                        pool.remove(id(number));
                        model.retain(|&(held, ..)| held != number);
                    }
                    Step::Expire(secs, more) => {
                        now += secs;
                        floor = (floor + more).min(next);
                        passed.push((now, floor));
                        pool.expire(floor, at(now));
                        let expired = passed.iter().filter(|(at, _)| at + 120 <= now).map(|(_, floor)| *floor);
                        let expired = expired.max().unwrap_or(0);
                        // The records in front of the first one that stays are examined; held ones move to the end.
                        let mut kept = Vec::new();
                        for _ in 0..model.len() {
                            let (number, len, position, added) = model[0];
                            if position == HELD && added + 1_200 > now {
                                kept.push(model.remove(0));
                            } else if position == HELD || position < expired {
                                model.remove(0);
                            } else {
                                break;
                            }
                            let _ = (number, len);
                        }
                        model.extend(kept);
                    }
                }
                let mut accepted: Vec<_> = model.iter().filter(|(_, _, position, _)| *position != HELD).collect();
                accepted.sort_by_key(|(_, _, position, _)| *position);
                let accepted: Vec<_> = accepted.into_iter().map(|(number, ..)| id(*number).hash).collect();
                prop_assert_eq!(pool.accepted(Instant::MAX), accepted);
                for number in 0..20 {
                    let held = model.iter().find(|(held, ..)| *held == number);
                    prop_assert_eq!(pool.get(id(number)).map(Body::len), held.map(|(_, len, ..)| *len), "{}", number);
                }
                let bytes: usize = model.iter().map(|(_, len, ..)| len + RELAY_BODY_BYTES).sum();
                let held: usize = model.iter().filter(|(_, _, position, _)| *position == HELD)
                    .map(|(_, len, ..)| len + RELAY_BODY_BYTES).sum();
                prop_assert_eq!((pool.retained_bytes, pool.held_bytes, pool.len), (bytes, held, model.len()));
            }
        }
    }

    #[test]
    fn a_body_is_kept_for_two_minutes_after_all_peers_have_passed_it() {
        let mut pool = Pool::new(1_000_000);
        pool.insert(id(1), body(10), at(0));
        pool.accept(id(1), 0);
        pool.expire(0, at(500));
        pool.expire(1, at(600));
        pool.expire(1, at(719));
        assert!(pool.contains(id(1)));
        pool.expire(1, at(720));
        assert!(!pool.contains(id(1)));
        assert_eq!((pool.retained_bytes(), pool.len(), pool.evicted()), (0, 0, 0));
    }

    #[test]
    fn held_bodies_use_at_most_a_quarter_and_expire_after_20_minutes() {
        let mut pool = Pool::new(4 * (1_000 + RELAY_BODY_BYTES));
        assert!(pool.may_hold(1_000) && !pool.may_hold(1_001));
        pool.insert(id(1), body(1_000), at(0));
        assert!(!pool.may_hold(1));
        pool.expire(100, at(1_199));
        assert!(pool.contains(id(1)));
        pool.expire(100, at(1_200));
        assert!(!pool.contains(id(1)) && pool.may_hold(1_000));
    }

    #[test]
    fn a_frame_that_may_share_a_block_counts_with_the_block() {
        for (len_bytes, bytes) in [(100, 100), (32_767, 32_767), (32_768, 65_536), (65_535, 65_536), (90_000, 90_000)] {
            assert_eq!(retained(len_bytes), bytes + RELAY_BODY_BYTES);
        }
    }

    #[test]
    fn a_body_above_the_maximum_is_not_kept_and_displaces_nothing() {
        let mut pool = Pool::new(10_000);
        pool.insert(id(1), body(100), at(0));
        pool.insert(id(2), body(10_000), at(0));
        assert!(pool.contains(id(1)) && !pool.contains(id(2)));
        assert_eq!(pool.evicted(), 1);
    }

    #[test]
    fn a_large_body_counts_while_it_arrives_and_afterwards() {
        let (mut pool, max_bytes) = (Pool::new(1_000_000), 1_000_000);
        assert!(pool.may_arrive(500_000, false) && !pool.may_arrive(500_001, false));
        assert!(pool.may_arrive(250_000, true) && !pool.may_arrive(250_001, true));
        assert!(pool.reserve(250_000, true) && !pool.reserve(1, true) && !pool.may_hold(1));
        assert!(pool.reserve(250_000, false) && !pool.reserve(1, false));
        assert!(pool.fits(max_bytes / 2 - RELAY_BODY_BYTES) && !pool.fits(max_bytes / 2));
        pool.insert(id(1), body(400_000), at(0));
        pool.insert(id(2), body(400_000), at(0));
        assert!(!pool.contains(id(1)) && pool.contains(id(2)), "the arriving bodies were not counted");
        assert_eq!(pool.retained_bytes(), 900_000 + RELAY_BODY_BYTES);
        pool.release(250_000, true);
        pool.release(250_000, false);
        pool.insert(id(3), parts(4), at(0));
        let len_bytes = pool.parts(id(3)).expect("the body is held").retained_bytes();
        assert!(len_bytes > 4 * READ_BLOCK_BYTES && pool.parts(id(2)).is_none());
        assert_eq!(pool.retained_bytes(), 400_000 + len_bytes + 2 * RELAY_BODY_BYTES);
        assert_eq!(pool.frames_from(pool.first_number(), 9).0.count(), 1, "a compact block needs whole frames");
        pool.remove(id(2));
        pool.remove(id(3));
        assert_eq!((pool.retained_bytes(), pool.held_bytes, pool.arriving_bytes, pool.len()), (0, 0, 0, 0));
    }
}
