//! The journal: the loop's changes that are not durable yet.
//!
//! The loop [records](Journal::record) each change of its own store here, and the journal produces [`Batch`]es. A
//! batch is due at once if a ban changed, if the changes of peers fill a batch, or if the loop is about to stop.
//! Otherwise it is due when the oldest change has waited for [`BOOK_DELAY`]. One batch is written at a time. Later
//! changes wait, and the last change of a peer or host replaces earlier ones. In a batch, changes of bans precede
//! changes of peers. Within each of these two groups, removals precede other changes, and older changes precede newer
//! ones. Because removals are first, a store on disk that has reached its maximum still has room for every batch.
//! While the disk is slow or full, the journal keeps at most one change for each peer and ban that the loop or the
//! disk knows. That is at most twice [`MAX_BOOK_PEERS`](crate::limits::MAX_BOOK_PEERS) changes of peers and twice
//! [`MAX_BANS`](crate::limits::MAX_BANS) changes of bans.
//!
//! A batch without a result for [`MAX_BOOK_ANSWER`] counts as failing, because a disk that hangs reports nothing.
//!
//! The journal never touches a disk or a clock, and never loses a change.

use super::Change;
use super::writer::{Batch, ChangeKey, Persisted};
use crate::limits::{BOOK_DELAY, MAX_BOOK_ANSWER, MAX_BOOK_BATCH};
use crate::time::{Instant, Wait};
use std::collections::BTreeMap;

/// Collects changes into batches and reports when they are durable.
#[derive(Debug, Default)]
pub struct Journal {
    bans: Queue,
    peers: Queue,
    under_way: Option<UnderWay>,
    last_id: u64,
    is_hurried: bool,
    is_failing: bool,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    since: Instant,
    bans: Vec<Change>,
    /// The number of changes of peers in the batch.
    peer_changes: usize,
}

/// Changes by their subject, with the removals and the other changes each ordered by age.
#[derive(Debug, Default)]
struct Queue {
    by_key: BTreeMap<ChangeKey, Waiting>,
    removals: BTreeMap<u64, ChangeKey>,
    puts: BTreeMap<u64, ChangeKey>,
    last_age: u64,
}

#[derive(Debug)]
struct Waiting {
    change: Change,
    age: u64,
    since: Instant,
    /// Whether the disk will have the peer or ban once the batch that is being written is durable.
    is_on_disk: bool,
}

impl Journal {
    /// Creates a journal without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a change of the loop's own store, made at `now`. `was_known` is whether the peer or ban existed
    /// before.
    pub fn record(&mut self, change: Change, was_known: bool, now: Instant) {
        let queue = match change {
            Change::PutBan(_) | Change::RemoveBan(_) => &mut self.bans,
            Change::PutPeer(_) | Change::RemovePeer(_) => &mut self.peers,
        };
        queue.put(change, was_known, now);
    }

    /// Returns how long to wait until a batch is due or, while a batch is being written, until that batch is late. The
    /// result of the write may arrive sooner. Returns [`Wait::Forever`] if there is nothing to write, or if the batch
    /// that is being written already counts as failing.
    pub fn wait(&self) -> Wait {
        match &self.under_way {
            Some(_) if self.is_failing => Wait::Forever,
            Some(batch) => Wait::Until(batch.since.plus(MAX_BOOK_ANSWER)),
            None => self.wait_for_batch(),
        }
    }

    fn wait_for_batch(&self) -> Wait {
        if !self.bans.is_empty() || self.peers.len() >= MAX_BOOK_BATCH {
            return Wait::Zero;
        }
        match self.peers.oldest() {
            Some(_) if self.is_hurried => Wait::Zero,
            Some(since) => Wait::Until(since.plus(BOOK_DELAY)),
            None => Wait::Forever,
        }
    }

    /// Returns the next batch, at most [`MAX_BOOK_BATCH`] changes, if one is due and none is being written.
    pub fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        if self.under_way.is_some() {
            return None;
        }
        match self.wait_for_batch() {
            Wait::Zero => {}
            Wait::Until(due) if due <= now => {}
            Wait::Until(_) | Wait::Forever => return None,
        }
        let mut changes = self.bans.take(MAX_BOOK_BATCH);
        let bans = changes.clone();
        changes.append(&mut self.peers.take(MAX_BOOK_BATCH - changes.len()));
        self.last_id += 1;
        let peer_changes = changes.len() - bans.len();
        self.under_way = Some(UnderWay { id: self.last_id, since: now, bans, peer_changes });
        Some(Batch { id: self.last_id, changes })
    }

    /// Returns `true` once if the current batch is late and no attempt to write it has failed. The batch then counts as
    /// failing.
    pub fn note_late(&mut self, now: Instant) -> bool {
        let is_due = |batch: &UnderWay| batch.since.plus(MAX_BOOK_ANSWER) <= now;
        let is_late = !self.is_failing && self.under_way.as_ref().is_some_and(is_due);
        self.is_failing |= is_late;
        is_late
    }

    /// Handles the result of writing a batch. Returns the changes of bans that are now durable.
    pub fn persisted(&mut self, answer: &Persisted) -> Vec<Change> {
        self.is_failing = answer.result.is_err();
        if self.is_failing {
            return Vec::new();
        }
        self.under_way.take_if(|batch| batch.id <= answer.id).map_or_else(Vec::new, |batch| batch.bans)
    }

    /// Stops delaying changes, because the loop is about to stop.
    pub const fn write_at_once(&mut self) {
        self.is_hurried = true;
    }

    /// Returns whether everything recorded is durable.
    pub fn is_durable(&self) -> bool {
        self.bans.is_empty() && self.peers.is_empty() && self.under_way.is_none()
    }

    /// Returns the numbers of changes of bans and of peers that are not known to be durable.
    pub fn unwritten(&self) -> (usize, usize) {
        let under_way = self.under_way.as_ref().map_or((0, 0), |batch| (batch.bans.len(), batch.peer_changes));
        (self.bans.len() + under_way.0, self.peers.len() + under_way.1)
    }

    /// Returns whether the current batch is late, or the last attempt to write it failed.
    pub const fn is_failing(&self) -> bool {
        self.is_failing
    }
}

impl Queue {
    fn put(&mut self, change: Change, was_known: bool, now: Instant) {
        let key = ChangeKey::of(&change);
        let removes = change.removes();
        let waiting = match self.by_key.remove(&key) {
            Some(before) => {
                self.by_age(before.change.removes()).remove(&before.age);
                Waiting { change, ..before }
            }
            None => {
                self.last_age += 1;
                Waiting { change, age: self.last_age, since: now, is_on_disk: was_known }
            }
        };
        // A record that never reached the disk need not be removed there.
        if waiting.is_on_disk || !removes {
            self.by_age(removes).insert(waiting.age, key);
            self.by_key.insert(key, waiting);
        }
    }

    const fn by_age(&mut self, removes: bool) -> &mut BTreeMap<u64, ChangeKey> {
        if removes { &mut self.removals } else { &mut self.puts }
    }

    fn take(&mut self, max: usize) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.len().min(max));
        while changes.len() < max
            && let Some((_, key)) = self.removals.pop_first().or_else(|| self.puts.pop_first())
        {
            let waiting = self.by_key.remove(&key).expect("every age belongs to a waiting change");
            changes.push(waiting.change);
        }
        changes
    }

    fn oldest(&self) -> Option<Instant> {
        let first = [self.removals.first_key_value(), self.puts.first_key_value()].into_iter().flatten().min()?;
        Some(self.by_key[first.1].since)
    }

    fn len(&self) -> usize {
        self.by_key.len()
    }

    fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
