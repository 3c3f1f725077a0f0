//! The writer of batches, without its thread: it keeps, writes and retries batches, and reports the results.
//!
//! A [`Writer`] owns the store, and keeps each batch until the batch is durable. While the store refuses writes, a
//! later change to a peer or a ban replaces the earlier one, and the pause between attempts grows. The writer reports
//! when everything is durable, and once when it starts to fail, but not each failed attempt. The writer uses no clock:
//! its caller waits for the duration that [`Writer::pause`] returns.

use super::{Change, PeerStore, StoreError};
use crate::address::{Host, canonical};
use crate::limits::{BOOK_RETRY_FIRST, MAX_BOOK_BATCH, MAX_BOOK_RETRY};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Changes that are to be made durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// A number that increases from batch to batch.
    pub id: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// The result of writing batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// The id of the last batch that the result covers.
    pub id: u64,
    /// `Ok`: this batch and all before it are durable. An error: some changes are not durable yet. They are kept and
    /// retried until they are durable, and no further result is returned before that.
    pub result: Result<(), StoreError>,
}

/// Writes batches to a store until they are durable.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    /// The last change to each peer and to each host's ban, if that change is not durable yet.
    kept: BTreeMap<ChangeKey, Change>,
    /// The last accepted batch's id; `None` if all batches are durable.
    unwritten: Option<u64>,
    failures: u32,
    failure: Option<StoreError>,
}

/// The subject of a change. Bans sort first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChangeKey {
    Ban(Host),
    Peer(SocketAddr),
}

impl<S: PeerStore> Writer<S> {
    /// Creates a writer without batches.
    pub fn new(store: S) -> Self {
        Self { store, kept: BTreeMap::new(), unwritten: None, failures: 0, failure: None }
    }

    /// Accepts a batch, which the next [`Writer::attempt`] tries to write.
    pub fn take(&mut self, batch: Batch) {
        self.unwritten = Some(batch.id);
        self.kept.extend(batch.changes.into_iter().map(|change| (ChangeKey::of(&change), change)));
    }

    /// Writes the kept changes and returns the result. Returns `None` if all batches are durable already, or if both
    /// this attempt and the previous one failed.
    pub fn attempt(&mut self) -> Option<Persisted> {
        let id = self.unwritten?;
        let result = self.write();
        match &result {
            Ok(()) => {
                self.unwritten = None;
                self.failures = 0;
            }
            Err(_) => self.failures = self.failures.saturating_add(1),
        }
        self.failure = result.as_ref().err().cloned();
        (self.failures <= 1).then_some(Persisted { id, result })
    }

    /// Writes the kept changes in parts of at most [`MAX_BOOK_BATCH`] changes. A store needs free pages for the
    /// changes of one transaction, so larger transactions make a larger file. Removals are written before the
    /// additions that need the freed room.
    fn write(&mut self) -> Result<(), StoreError> {
        let mut order: Vec<(bool, ChangeKey)> =
            self.kept.iter().map(|(key, change)| (!change.removes(), *key)).collect();
        order.sort_unstable();
        for keys in order.chunks(MAX_BOOK_BATCH) {
            let part: Vec<Change> = keys.iter().map(|(_, key)| self.kept[key].clone()).collect();
            self.store.apply(&part)?;
            for (_, key) in keys {
                self.kept.remove(key);
            }
        }
        Ok(())
    }

    /// Returns how long to wait before the next attempt: `None` if all batches are durable, zero if no attempt has
    /// failed since the last success.
    pub fn pause(&self) -> Option<Duration> {
        self.unwritten?;
        Some(match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => BOOK_RETRY_FIRST.saturating_mul(1 << doublings.min(16)).min(MAX_BOOK_RETRY),
        })
    }

    /// Returns the error of the last attempt, if it failed.
    pub const fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }
}

impl ChangeKey {
    pub(super) fn of(change: &Change) -> Self {
        match change {
            Change::PutPeer(peer) => Self::Peer(peer.address()),
            Change::RemovePeer(address) => Self::Peer(canonical(*address)),
            Change::PutBan(ban) => Self::Ban(ban.host),
            Change::RemoveBan(host) => Self::Ban(*host),
        }
    }
}
