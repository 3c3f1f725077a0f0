//! The disk's required contents: the last confirmed state, with any prefix of the unconfirmed batches applied.
//!
//! [`Saved`] derives the required contents from the batches that the loop sends and the completions that it receives.
//! It never observes how the batches are written.

use crate::address::Host;
use crate::manager::ban::Ban;
use crate::manager::store::{Batch, Change, KnownPeer, MemoryStore, PeerStore, Persisted};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::SocketAddr;

/// A disk's contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Disk {
    pub(super) peers: BTreeMap<SocketAddr, KnownPeer>,
    pub(super) bans: BTreeMap<Host, Ban>,
}

/// A disk's required contents.
#[derive(Debug, Default)]
pub(super) struct Saved {
    confirmed: Disk,
    /// The unconfirmed batches, in order.
    given: VecDeque<Batch>,
    /// The peers that the loop remembered at its start. The disk may lack them.
    pub(super) remembered: BTreeMap<SocketAddr, KnownPeer>,
    /// Whether the required contents may have changed since the last check.
    has_changed: bool,
}

impl Disk {
    pub(super) fn of(book: &MemoryStore) -> Self {
        let peers = book.list_all().unwrap_or_default();
        let bans = book.bans().unwrap_or_default();
        Self {
            peers: peers.into_iter().map(|peer| (peer.address(), peer)).collect(),
            bans: bans.into_iter().map(|ban| (ban.host, ban)).collect(),
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::PutPeer(peer) => drop(self.peers.insert(peer.address(), peer.clone())),
                Change::RemovePeer(address) => drop(self.peers.remove(address)),
                Change::PutBan(ban) => drop(self.bans.insert(ban.host, *ban)),
                Change::RemoveBan(host) => drop(self.bans.remove(host)),
            }
        }
    }
}

impl Saved {
    /// Sets the confirmed state to a disk's contents.
    pub(super) fn begin(&mut self, disk: Disk) {
        (self.confirmed, self.has_changed) = (disk, true);
    }

    /// Records the peers that the loop remembers.
    pub(super) fn remember(&mut self, peers: &[KnownPeer]) {
        self.remembered.extend(peers.iter().map(|peer| (peer.address(), peer.clone())));
    }

    /// Records a batch that the loop sent and that was accepted for writing.
    pub(super) fn add_batch(&mut self, batch: Batch) {
        self.given.push_back(batch);
        self.has_changed = true;
    }

    /// Records the result of a write. Only a success changes the confirmed state.
    pub(super) fn answered(&mut self, answer: &Persisted) {
        if answer.result.is_err() {
            return;
        }
        self.has_changed = true;
        while self.given.front().is_some_and(|batch| batch.id <= answer.id) {
            self.given.pop_front().iter().for_each(|batch| self.confirmed.apply(batch));
        }
    }

    /// Returns whether the required contents may have changed since the last call.
    pub(super) fn take_change(&mut self) -> bool {
        mem::take(&mut self.has_changed)
    }

    /// Returns whether `disk` equals the confirmed state with the first n unconfirmed batches applied in order, for
    /// some n from zero to the number of these batches.
    pub(super) fn may_be(&self, disk: &Disk) -> bool {
        let mut state = self.confirmed.clone();
        *disk == state
            || self.given.iter().any(|batch| {
                state.apply(batch);
                *disk == state
            })
    }
}
