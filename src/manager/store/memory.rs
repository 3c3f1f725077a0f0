//! The book in memory, which the loop itself uses.
//!
//! The cost of a call does not depend on the number of peers, except for calls that list peers or bans. Each of the
//! [`MAX_BOOK_PEERS`] peers costs at most a row of 96 bytes, 74 bytes in the index by address, 16 bytes in the lists
//! by status, and 256 bytes of user agent. The book never touches a disk.
//!
//! When the book is full, a new peer displaces a peer of at most the same value: an inaccessible one if there is one,
//! else an unknown one, else a banned one (its host stays banned), and never a valid one.

use super::{Change, KnownPeer, PeerStatus, PeerStore, StoreError};
use crate::address::{Host, canonical};
use crate::limits::{MAX_BANS, MAX_BOOK_PEERS};
use crate::manager::ban::Ban;
use crate::manager::keyed::KeyedState;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

/// Peers and bans in memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    rows: Slab<Row>,
    by_address: HashMap<SocketAddr, u32, KeyedState>,
    /// The rows of each kind of status, in no particular order.
    by_status: [Vec<u32>; PeerStatus::KINDS],
    bans: BTreeMap<Host, Ban>,
    max_peers: usize,
}

#[derive(Clone, Debug)]
struct Row {
    peer: KnownPeer,
    /// The row's position in the list of its status.
    position: u32,
}

impl MemoryStore {
    /// Creates an empty book for up to [`MAX_BOOK_PEERS`] peers. Its hash key is drawn from `rng`.
    pub fn new(rng: &mut impl Rng) -> Self {
        Self::with_limit(MAX_BOOK_PEERS, rng)
    }

    /// Creates an empty book for up to `max_peers` peers. `max_peers` is lowered to [`MAX_BOOK_PEERS`] if it is higher.
    pub fn with_limit(max_peers: usize, rng: &mut impl Rng) -> Self {
        Self {
            rows: Slab::new(),
            by_address: HashMap::with_hasher(KeyedState::new(rng)),
            by_status: [const { Vec::new() }; PeerStatus::KINDS],
            bans: BTreeMap::new(),
            max_peers: max_peers.min(MAX_BOOK_PEERS),
        }
    }

    /// Returns the number of peers.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether no peer is known.
    #[cfg(feature = "internals")]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the number of peers with this status. All ban reasons count as one status.
    pub fn count(&self, status: PeerStatus) -> usize {
        self.by_status[status.index()].len()
    }

    /// Returns the record of the peer with this address.
    pub fn peer(&self, address: SocketAddr) -> Option<&KnownPeer> {
        let row = *self.by_address.get(&canonical(address))?;
        Some(&self.rows[row as usize].peer)
    }

    /// Returns the peers with this status, in no particular order. All ban reasons count as one status.
    pub fn peers(&self, status: PeerStatus) -> impl ExactSizeIterator<Item = &KnownPeer> {
        self.by_status[status.index()].iter().map(|&row| &self.rows[row as usize].peer)
    }

    /// Adds a new peer. Returns the peer that it displaced, if any.
    ///
    /// The displaced peer is one of the least valuable ones, chosen at random.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`] if the peer is already in the book; [`StoreError::Full`] if the book is full and
    /// every peer is valid or more valuable than the new one.
    pub fn admit(&mut self, peer: KnownPeer, rng: &mut impl Rng) -> Result<Option<KnownPeer>, StoreError> {
        if self.peer(peer.address()).is_some() {
            return Err(StoreError::Duplicate { address: peer.address() });
        }
        let displaced = if self.len() < self.max_peers { None } else { Some(self.least(&peer, rng)?) };
        let removed = displaced.and_then(|address| self.forget(address));
        self.put(peer);
        Ok(removed)
    }

    /// Replaces the record of a peer and returns the old one. A peer that is not in the book is not added.
    pub fn replace(&mut self, peer: KnownPeer) -> Option<KnownPeer> {
        self.peer(peer.address())?;
        self.put(peer)
    }

    /// Removes a peer and returns its record.
    pub fn forget(&mut self, address: SocketAddr) -> Option<KnownPeer> {
        let row = self.by_address.remove(&canonical(address))?;
        self.leave_list(row);
        Some(self.rows.remove(row as usize).peer)
    }

    /// Draws peers with this status at random until `accept` accepts one, and returns its address.
    ///
    /// At most `tries` peers are examined, or all if there are fewer. Returns `None` if `accept` accepts none of them.
    pub fn pick(
        &self,
        status: PeerStatus,
        rng: &mut impl Rng,
        mut accept: impl FnMut(&KnownPeer) -> bool,
        tries: usize,
    ) -> Option<SocketAddr> {
        let list = &self.by_status[status.index()];
        if list.is_empty() {
            return None;
        }
        let start = rng.random_range(0..list.len());
        for attempt in 0..tries.min(list.len()) {
            let at = if list.len() <= tries { (start + attempt) % list.len() } else { rng.random_range(0..list.len()) };
            let peer = &self.rows[list[at] as usize].peer;
            if accept(peer) {
                return Some(peer.address());
            }
        }
        None
    }

    /// Draws up to `count` different peers with these statuses, each with the same probability, in random order.
    pub fn sample(&self, statuses: &[PeerStatus], count: usize, rng: &mut impl Rng) -> Vec<&KnownPeer> {
        let lists: Vec<&[u32]> = statuses.iter().map(|status| self.by_status[status.index()].as_slice()).collect();
        let total: usize = lists.iter().map(|list| list.len()).sum();
        let count = count.min(total);
        // Floyd's algorithm: one draw per returned peer.
        let (mut drawn, mut order) = (BTreeSet::new(), Vec::with_capacity(count));
        for last in total - count..total {
            let index = rng.random_range(0..=last);
            let index = if drawn.insert(index) { index } else { last };
            drawn.insert(index);
            order.push(index);
        }
        order.shuffle(rng);
        let row_at = |mut index: usize| {
            let list = lists.iter().find(|list| {
                let is_in_list = index < list.len();
                index -= if is_in_list { 0 } else { list.len() };
                is_in_list
            });
            list.expect("the index is below the sum of the lengths")[index]
        };
        order.into_iter().map(|index| &self.rows[row_at(index) as usize].peer).collect()
    }

    /// Returns the address of one of the least valuable peers. Fails if that peer is valid, or more valuable than
    /// `newcomer`.
    fn least(&self, newcomer: &KnownPeer, rng: &mut impl Rng) -> Result<SocketAddr, StoreError> {
        let highest = newcomer.status.index().min(PeerStatus::Valid.index() - 1);
        let list = self.by_status[..=highest].iter().find(|list| !list.is_empty()).ok_or(StoreError::Full)?;
        Ok(self.rows[list[rng.random_range(0..list.len())] as usize].peer.address())
    }

    /// Adds or replaces a peer, regardless of the limit.
    fn put(&mut self, peer: KnownPeer) -> Option<KnownPeer> {
        let status = peer.status;
        let Some(&row) = self.by_address.get(&peer.address()) else {
            let address = peer.address();
            let row = self.rows.insert(Row { peer, position: 0 }) as u32;
            self.by_address.insert(address, row);
            self.join_list(row);
            return None;
        };
        let moves = !self.rows[row as usize].peer.status.is_like(status);
        if moves {
            self.leave_list(row);
        }
        let before = std::mem::replace(&mut self.rows[row as usize].peer, peer);
        if moves {
            self.join_list(row);
        }
        Some(before)
    }

    fn join_list(&mut self, row: u32) {
        let entry = &mut self.rows[row as usize];
        let list = &mut self.by_status[entry.peer.status.index()];
        entry.position = list.len() as u32;
        list.push(row);
    }

    fn leave_list(&mut self, row: u32) {
        let Row { peer, position } = &self.rows[row as usize];
        let (position, list) = (*position, &mut self.by_status[peer.status.index()]);
        list.swap_remove(position as usize);
        if let Some(&moved) = list.get(position as usize) {
            self.rows[moved as usize].position = position;
        }
    }

    /// Makes one change and returns its inverse.
    fn change(&mut self, change: &Change) -> Change {
        match change {
            Change::PutPeer(peer) => match self.put(peer.clone()) {
                Some(before) => Change::PutPeer(before),
                None => Change::RemovePeer(peer.address()),
            },
            Change::RemovePeer(address) => match self.forget(*address) {
                Some(before) => Change::PutPeer(before),
                None => Change::RemovePeer(*address),
            },
            Change::PutBan(ban) => match self.bans.insert(ban.host, *ban) {
                Some(before) => Change::PutBan(before),
                None => Change::RemoveBan(ban.host),
            },
            Change::RemoveBan(host) => match self.bans.remove(host) {
                Some(before) => Change::PutBan(before),
                None => Change::RemoveBan(*host),
            },
        }
    }
}

/// Only [`PeerStore::apply`] can fail, and only if the book or the list of bans would exceed its limit.
impl PeerStore for MemoryStore {
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        Ok(self.peer(address).cloned())
    }

    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        Ok(sorted(self.rows.iter().map(|(_, row)| &row.peer)))
    }

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        Ok(self.bans.values().copied().collect())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let undo: Vec<Change> = changes.iter().map(|change| self.change(change)).collect();
        if self.len() <= self.max_peers && self.bans.len() <= MAX_BANS {
            return Ok(());
        }
        for change in undo.iter().rev() {
            self.change(change);
        }
        Err(StoreError::Full)
    }

    fn find_by_status(&self, status: PeerStatus) -> Result<Vec<KnownPeer>, StoreError> {
        Ok(sorted(self.peers(status)))
    }

    fn count_by_status(&self, status: PeerStatus) -> Result<usize, StoreError> {
        Ok(self.count(status))
    }
}

fn sorted<'a>(peers: impl Iterator<Item = &'a KnownPeer>) -> Vec<KnownPeer> {
    let mut peers: Vec<KnownPeer> = peers.cloned().collect();
    peers.sort_unstable_by_key(KnownPeer::address);
    peers
}

const _: () = assert!(size_of::<Row>() <= 96, "a `Row` exceeds its documented size of 96 bytes");
