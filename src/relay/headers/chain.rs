//! The tree of headers and its best chain.
//!
//! The best chain has the most work; of two with the same work, the one whose last header was accepted first.
//! [`HeaderChain::accept`] changes nothing if it fails. The memory is bounded by a number of headers that is fixed at
//! the start. A branch that begins far below the tip is refused, so that nobody fills the memory with easy blocks of
//! long ago. Nothing is ever removed.

use super::anchor::{HeaderAnchor, needed_headers};
use super::difficulty::{DAY_BLOCKS, MEDIAN_BLOCKS, Mark, applies_from, required_bits};
use crate::protocol::Network;
use crate::relay::index::Index;
use crate::wire::siphash::SipKey;
use crate::wire::{BlockHeader, Hash256, ProofOfWorkError, Work};
use std::fmt;
use std::iter::successors;

/// Maximum distance in blocks between the tip and the parent of a new header. A reorganisation as deep as this has
/// never happened on the networks of Bitcoin SV.
pub(in crate::relay) const MAX_BRANCH_DEPTH: u32 = 1_000;

/// Maximum time by which a header may be ahead of this machine's clock, in seconds (SV Node 1.2.2,
/// consensus/consensus.h MAX_FUTURE_BLOCK_TIME).
const MAX_FUTURE_S: u32 = 2 * 60 * 60;

/// Number of entries that are allocated at once: 640 KB.
const BLOCK_ENTRIES: usize = 4_096;

/// The lowest version of a block above every anchor (SV Node 1.2.2, validation.cpp ContextualCheckBlockHeader).
const MIN_VERSION: i32 = 4;

/// The parent of the first header of the anchor.
const NONE: u32 = u32::MAX;

/// A header and its place in the tree.
#[derive(Clone, Copy, Debug)]
struct Entry {
    header: BlockHeader,
    hash: Hash256,
    /// The work of the chain from the anchor to this block, with it.
    work: Work,
    height: u32,
    parent: u32,
}

const _: () = assert!(size_of::<Entry>() <= 160, "an entry is larger than the documented 160 bytes");

/// The tree of all headers, with at least those of its anchor.
#[derive(Debug)]
pub(in crate::relay) struct HeaderChain {
    network: Network,
    key: SipKey,
    capacity: usize,
    /// The number of headers of the anchor, which are the first entries.
    anchor_len: usize,
    /// The entries, in blocks of [`BLOCK_ENTRIES`], so that the table grows without a copy.
    entries: Vec<Vec<Entry>>,
    len: usize,
    index: Index,
    /// The entries of the best chain, by height from the anchor's first header on.
    best: Vec<u32>,
}

/// A block of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Block {
    pub(in crate::relay) hash: Hash256,
    pub(in crate::relay) height: u32,
}

/// The effect of a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum TipChange {
    /// The header was known.
    Known,
    /// The header is on a branch with less work than the best chain, or with the same.
    Branch,
    /// The header is the new tip. The blocks of the best chain above `fork_height` are new.
    Tip {
        /// The height of the last block that the old and the new best chain share.
        fork_height: u32,
    },
}

/// The reason why a header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum HeaderError {
    /// Its parent is unknown.
    Orphan,
    /// Its parent is too far below the tip, or too near to the first header to be checked.
    TooDeep { height: u32 },
    /// Its version is one that the network no longer accepts.
    OldVersion { version: i32 },
    /// Its difficulty is not the one that the rule requires.
    WrongBits { bits: u32, required: u32 },
    /// Its hash does not meet its target.
    ProofOfWork(ProofOfWorkError),
    /// Its time does not exceed the median of the blocks before it.
    TooOld { time: u32, median: u32 },
    /// Its time is more than two hours ahead of this machine's clock. It may become valid later.
    TooNew { time: u32 },
    /// The tree has the maximum number of headers.
    Full { capacity: usize },
}

impl HeaderError {
    /// Returns whether no honest node sends such a header, on any chain and with any clock.
    pub(in crate::relay) const fn is_misbehaviour(self) -> bool {
        match self {
            Self::WrongBits { .. } | Self::ProofOfWork(_) => true,
            Self::Orphan
            | Self::TooDeep { .. }
            | Self::OldVersion { .. }
            | Self::TooOld { .. }
            | Self::TooNew { .. }
            | Self::Full { .. } => false,
        }
    }
}

impl HeaderChain {
    /// Returns the chain of an anchor, for at most `capacity` headers or those of the anchor, if these are more.
    pub(in crate::relay) fn new(anchor: &HeaderAnchor, capacity: usize, key: SipKey) -> Self {
        let capacity = capacity.max(anchor.headers().len()).min(NONE as usize);
        let mut chain = Self {
            network: anchor.network(),
            key,
            capacity,
            anchor_len: anchor.headers().len(),
            entries: Vec::new(),
            len: 0,
            index: Index::new(capacity),
            best: Vec::new(),
        };
        for (height, header) in (anchor.first_height()..).zip(anchor.headers()) {
            let parent = chain.best.last().copied().unwrap_or(NONE);
            chain.add(header, header.hash(), height, parent);
        }
        chain
    }

    /// Returns the maximum number of bytes that a chain with this capacity uses.
    pub(in crate::relay) const fn memory_bytes(capacity: usize) -> usize {
        let blocks = capacity.div_ceil(BLOCK_ENTRIES);
        // The list of the best chain doubles, and is copied then.
        let entries = blocks * (BLOCK_ENTRIES * size_of::<Entry>() + size_of::<Vec<Entry>>());
        entries + 4 * capacity * size_of::<u32>() + Index::memory_bytes(capacity)
    }

    /// Replaces the key of the index.
    pub(in crate::relay) fn set_key(&mut self, key: SipKey) {
        self.key = key;
        self.index = Index::new(self.capacity);
        for slot in 0..self.len as u32 {
            self.index.insert(key.hash(self.entry(slot).hash.as_bytes()), slot);
        }
    }

    pub(in crate::relay) fn network(&self) -> Network {
        self.network
    }

    /// Returns the anchor's headers, and the height of the first one.
    pub(in crate::relay) fn anchor(&self) -> (u32, Vec<BlockHeader>) {
        (self.first_height(), (0..self.anchor_len as u32).map(|slot| self.entry(slot).header).collect())
    }

    /// Returns headers above the anchor in the order in which they were accepted, from a position on.
    pub(in crate::relay) fn accepted(&self, from: usize, max: usize) -> Vec<BlockHeader> {
        let begin = self.anchor_len.saturating_add(from);
        let end = self.len.min(begin.saturating_add(max));
        (begin..end).map(|slot| self.entry(slot as u32).header).collect()
    }

    /// Checks a header, and stores it. `now_s` is this machine's clock, in Unix seconds.
    pub(in crate::relay) fn accept(&mut self, header: &BlockHeader, now_s: u32) -> Result<TipChange, HeaderError> {
        let hash = header.hash();
        if self.find(hash).is_some() {
            return Ok(TipChange::Known);
        }
        let parent = self.find(header.prev_hash).ok_or(HeaderError::Orphan)?;
        let height = self.entry(parent).height + 1;
        if height + MAX_BRANCH_DEPTH <= self.tip().height || height < self.first_checked_height() {
            return Err(HeaderError::TooDeep { height });
        }
        if self.network != Network::Regtest && header.version < MIN_VERSION {
            return Err(HeaderError::OldVersion { version: header.version });
        }
        let required = self.required_bits(parent, header.time);
        if header.bits != required {
            return Err(HeaderError::WrongBits { bits: header.bits, required });
        }
        header.check_proof_of_work(self.network).map_err(HeaderError::ProofOfWork)?;
        let median = self.median_time(parent);
        if header.time <= median {
            return Err(HeaderError::TooOld { time: header.time, median });
        }
        if header.time > now_s.saturating_add(MAX_FUTURE_S) {
            return Err(HeaderError::TooNew { time: header.time });
        }
        if self.len == self.capacity {
            return Err(HeaderError::Full { capacity: self.capacity });
        }
        Ok(self.add(header, hash, height, parent))
    }

    /// Returns the last block of the best chain.
    pub(in crate::relay) fn tip(&self) -> Block {
        self.block(self.best[self.best.len() - 1])
    }

    /// Returns the number of headers, on all branches.
    pub(in crate::relay) fn len(&self) -> usize {
        self.len
    }

    /// Returns the height of the first header.
    pub(in crate::relay) fn first_height(&self) -> u32 {
        self.entry(0).height
    }

    /// Returns a block by its hash, on any branch.
    pub(in crate::relay) fn get(&self, hash: Hash256) -> Option<Block> {
        self.find(hash).map(|slot| self.block(slot))
    }

    /// Returns the header of a block, on any branch.
    pub(in crate::relay) fn header(&self, hash: Hash256) -> Option<&BlockHeader> {
        self.find(hash).map(|slot| &self.entry(slot).header)
    }

    /// Returns whether a block is on the best chain.
    pub(in crate::relay) fn is_best(&self, hash: Hash256) -> bool {
        self.find(hash).is_some_and(|slot| self.is_best_slot(slot))
    }

    /// Returns the header of the best chain at a height.
    pub(in crate::relay) fn at(&self, height: u32) -> Option<&BlockHeader> {
        let offset = height.checked_sub(self.first_height())?;
        self.best.get(offset as usize).map(|&slot| &self.entry(slot).header)
    }

    /// Returns the block of the best chain at a height.
    pub(in crate::relay) fn block_at(&self, height: u32) -> Option<Block> {
        let offset = height.checked_sub(self.first_height())?;
        self.best.get(offset as usize).map(|&slot| self.block(slot))
    }

    fn add(&mut self, header: &BlockHeader, hash: Hash256, height: u32, parent: u32) -> TipChange {
        let before = if parent == NONE { Work::ZERO } else { self.entry(parent).work };
        let slot = self.len as u32;
        if self.len.is_multiple_of(BLOCK_ENTRIES) {
            self.entries.push(Vec::with_capacity(BLOCK_ENTRIES));
        }
        let entry = Entry { header: *header, hash, work: before + header.work(), height, parent };
        self.entries[slot as usize / BLOCK_ENTRIES].push(entry);
        self.len += 1;
        self.index.insert(self.key.hash(hash.as_bytes()), slot);
        let most = self.best.last().map_or(Work::ZERO, |&tip| self.entry(tip).work);
        match self.entry(slot).work > most {
            true => TipChange::Tip { fork_height: self.make_best(slot) },
            false => TipChange::Branch,
        }
    }

    /// Makes a block the tip. Returns the height of the last block that was on the best chain before.
    fn make_best(&mut self, tip: u32) -> u32 {
        let first_height = self.first_height();
        let mut branch: Vec<u32> = self.line(tip).take_while(|&slot| !self.is_best_slot(slot)).collect();
        let begin = branch.last().map_or(first_height, |&lowest| self.entry(lowest).height);
        self.best.truncate((begin - first_height) as usize);
        branch.reverse();
        self.best.extend(branch);
        begin.saturating_sub(1)
    }

    /// Returns the lowest height at which all blocks that the rules need are in the chain.
    fn first_checked_height(&self) -> u32 {
        self.first_height() + needed_headers(self.network, self.first_height()) as u32
    }

    /// Returns the bits of a child of this block.
    fn required_bits(&self, parent: u32, time: u32) -> u32 {
        let entry = self.entry(parent);
        match applies_from(self.network) {
            Some(height) if entry.height >= height => {
                let day_before = self.ancestor(parent, DAY_BLOCKS);
                required_bits(self.network, time, self.marks(day_before), self.marks(parent))
            }
            // On regtest, the difficulty never changes. An anchor is above the height of the rule.
            Some(_) | None => entry.header.bits,
        }
    }

    /// Returns the facts of a block and of the two before it, the oldest first.
    fn marks(&self, slot: u32) -> [Mark; 3] {
        [2, 1, 0].map(|distance| {
            let entry = self.entry(self.ancestor(slot, distance));
            Mark { time: entry.header.time, work: entry.work }
        })
    }

    /// Returns the median of the times of a block and of those before it.
    fn median_time(&self, slot: u32) -> u32 {
        let mut times: Vec<u32> =
            self.line(slot).take(MEDIAN_BLOCKS).map(|slot| self.entry(slot).header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Returns the block this far before another one; the first one if there are fewer.
    fn ancestor(&self, slot: u32, distance: u32) -> u32 {
        let height = self.entry(slot).height.saturating_sub(distance).max(self.first_height());
        let mut at = slot;
        // A branch is short. From the best chain on, one step is enough.
        while self.entry(at).height > height && !self.is_best_slot(at) {
            at = self.entry(at).parent;
        }
        match self.entry(at).height > height {
            true => self.best[(height - self.first_height()) as usize],
            false => at,
        }
    }

    /// Lists a block and all blocks before it.
    fn line(&self, slot: u32) -> impl Iterator<Item = u32> {
        successors(Some(slot), |&slot| Some(self.entry(slot).parent).filter(|&parent| parent != NONE))
    }

    fn is_best_slot(&self, slot: u32) -> bool {
        let offset = self.entry(slot).height - self.first_height();
        self.best.get(offset as usize) == Some(&slot)
    }

    fn find(&self, hash: Hash256) -> Option<u32> {
        self.index.find(self.key.hash(hash.as_bytes()), |slot| self.entry(slot).hash == hash)
    }

    fn block(&self, slot: u32) -> Block {
        let Entry { hash, height, .. } = *self.entry(slot);
        Block { hash, height }
    }

    fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize / BLOCK_ENTRIES][slot as usize % BLOCK_ENTRIES]
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan => write!(f, "its parent is unknown"),
            Self::TooDeep { height } => {
                write!(
                    f,
                    "its height {height} is {MAX_BRANCH_DEPTH} blocks or more below the tip, or too low to be checked"
                )
            }
            Self::OldVersion { version } => write!(f, "its version {version} is below {MIN_VERSION}"),
            Self::WrongBits { bits, required } => {
                write!(f, "its bits are {bits:#010x}, and the difficulty rule requires {required:#010x}")
            }
            Self::ProofOfWork(error) => write!(f, "{error}"),
            Self::TooOld { time, median } => {
                write!(f, "its time {time} is not above {median}, the median of the blocks before it")
            }
            Self::TooNew { time } => write!(f, "its time {time} is more than two hours ahead of this machine's clock"),
            Self::Full { capacity } => write!(f, "the chain has the maximum of {capacity} headers"),
        }
    }
}
