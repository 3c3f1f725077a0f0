//! What is on the disk: at each instant the last state that it has confirmed or one that it was given since, and all
//! that the loop knows when nothing waits to be written.
//!
//! [`Saved`] follows the batches that go to the network and the answers that come back, and so knows what must be
//! there without looking at how it is written.

use super::sweep::SweepSight;
use super::turn::ensure;
use crate::address::Host;
use crate::manager::ban::Ban;
use crate::manager::store::{Batch, Change, KnownPeer, MemoryStore, PeerStore, Persisted};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::SocketAddr;

/// What a disk has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Disk {
    pub(super) peers: BTreeMap<SocketAddr, KnownPeer>,
    pub(super) bans: BTreeMap<Host, Ban>,
}

/// What a disk must have.
#[derive(Debug, Default)]
pub(super) struct Saved {
    confirmed: Disk,
    /// The batches that are not confirmed, in order.
    given: VecDeque<Batch>,
    /// What the loop was told when it began, which may have come from elsewhere.
    remembered: BTreeMap<SocketAddr, KnownPeer>,
    /// Something was given or confirmed since anybody looked.
    has_news: bool,
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
    /// The loop begins with a disk like this.
    pub(super) fn begin(&mut self, disk: Disk) {
        (self.confirmed, self.has_news) = (disk, true);
    }

    /// The loop is told of peers.
    pub(super) fn remember(&mut self, peers: &[KnownPeer]) {
        self.remembered.extend(peers.iter().map(|peer| (peer.address(), peer.clone())));
    }

    /// The network has taken a batch.
    pub(super) fn gave(&mut self, batch: Batch) {
        self.given.push_back(batch);
        self.has_news = true;
    }

    /// The network has answered.
    pub(super) fn answered(&mut self, answer: &Persisted) {
        if answer.result.is_err() {
            return;
        }
        self.has_news = true;
        while self.given.front().is_some_and(|batch| batch.id <= answer.id) {
            self.given.pop_front().iter().for_each(|batch| self.confirmed.apply(batch));
        }
    }

    /// Whether it is worth a look at the disk, which it is not again before something has happened.
    pub(super) fn take_news(&mut self) -> bool {
        mem::take(&mut self.has_news)
    }

    /// Whether `disk` is what was confirmed, or that with some of what was given since.
    fn may_be(&self, disk: &Disk) -> bool {
        let mut state = self.confirmed.clone();
        *disk == state
            || self.given.iter().any(|batch| {
                state.apply(batch);
                *disk == state
            })
    }
}

pub(super) fn the_disk_has_what_it_was_given(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(disk) = sight.disk else { return Ok(()) };
    let saved = &sight.ledger.managing.saved;
    ensure(saved.may_be(disk), || format!("the disk has {disk:?} and not {saved:?}"))
}

/// A peer may differ for as long as it is as the loop was told in the beginning.
pub(super) fn the_disk_has_what_is_known(sight: &SweepSight<'_>) -> Result<(), String> {
    let (Some(disk), Some(manager)) = (sight.disk, &sight.inspection.manager) else { return Ok(()) };
    if !manager.is_durable {
        return Ok(());
    }
    let remembered = &sight.ledger.managing.saved.remembered;
    let is_as_told = |peer: &KnownPeer| remembered.get(&peer.address()) == Some(peer);
    let book: BTreeMap<SocketAddr, &KnownPeer> = manager.book.iter().map(|peer| (peer.address(), peer)).collect();
    let unsaved = manager.book.iter().find(|peer| disk.peers.get(&peer.address()) != Some(peer) && !is_as_told(peer));
    ensure(unsaved.is_none(), || format!("nothing waits to be written, and the disk has no {unsaved:?}"))?;
    let stale = disk.peers.values().find(|peer| book.get(&peer.address()) != Some(peer) && !is_as_told(peer));
    ensure(stale.is_none(), || format!("nothing waits to be written, and the disk still has {stale:?}"))?;
    let (saved, known) = (disk.bans.len(), sight.inspection.summary.manager.as_ref().map_or(0, |after| after.bans));
    ensure(saved <= known, || format!("nothing waits to be written, and the disk has {saved} bans of {known}"))
}
