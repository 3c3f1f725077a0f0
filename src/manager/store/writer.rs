//! What happens to a batch on its way to the disk, without the thread: keep it, write it, try again, tell.
//!
//! A [`Writer`] owns the store. It keeps what it was given until it is durable; while the store refuses, the later
//! change of a peer or a host replaces the earlier one, and attempts become rarer. It answers when everything is
//! durable, and once when it begins to fail: an error is news, and so is its end, but not each attempt. It knows no
//! clock: whoever drives it waits for as long as it says.

use super::{Change, PeerStore, StoreError};
use crate::address::{Host, canonical};
use crate::limits::{BOOK_RETRY_FIRST, MAX_BOOK_BATCH, MAX_BOOK_RETRY};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Changes that are to be made durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rises from batch to batch.
    pub id: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// An answer to batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// The last batch that the answer is about.
    pub id: u64,
    /// `Ok`: this batch and all before it are durable. An error: not all of it is yet. It is kept and tried again
    /// until it is, and no further answer comes before that.
    pub result: Result<(), StoreError>,
}

/// Writes batches to a store until they are durable.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    /// The last change of each peer and host.
    kept: BTreeMap<ChangeKey, Change>,
    /// The last batch taken, unless all are durable.
    unwritten: Option<u64>,
    failures: u32,
    failure: Option<StoreError>,
}

/// What a change is about; bans come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChangeKey {
    Ban(Host),
    Peer(SocketAddr),
}

impl<S: PeerStore> Writer<S> {
    /// A writer that has nothing to do.
    pub fn new(store: S) -> Self {
        Self { store, kept: BTreeMap::new(), unwritten: None, failures: 0, failure: None }
    }

    /// Takes a batch; it is not written before [`Writer::attempt`].
    pub fn take(&mut self, batch: Batch) {
        self.unwritten = Some(batch.id);
        self.kept.extend(batch.changes.into_iter().map(|change| (ChangeKey::of(&change), change)));
    }

    /// Writes what is kept. The answer is `None` if there was nothing, or if it failed not for the first time.
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

    /// A store writes aside what it changes, so the more at once, the larger its file: no more than a batch. What goes
    /// comes before what needs its room.
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

    /// How long to wait before the next attempt: `None` if nothing is kept, zero if nothing has failed.
    pub fn pause(&self) -> Option<Duration> {
        self.unwritten?;
        Some(match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => BOOK_RETRY_FIRST.saturating_mul(1 << doublings.min(16)).min(MAX_BOOK_RETRY),
        })
    }

    /// What the last attempt failed with, if it failed.
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
