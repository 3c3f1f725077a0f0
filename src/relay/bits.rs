//! A set of peer indexes, with one bit each.
//!
//! Its memory grows with the highest index that was ever added, and never shrinks.

const WORD_BITS: u32 = u64::BITS;

/// A set of peer indexes.
#[derive(Debug, Default)]
pub(super) struct PeerSet(Vec<u64>);

impl PeerSet {
    /// Adds a peer, and returns whether it was not in the set.
    pub(super) fn insert(&mut self, peer: u32) -> bool {
        let (word, bit) = place(peer);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Removes a peer.
    pub(super) fn remove(&mut self, peer: u32) {
        let (word, bit) = place(peer);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    pub(super) fn contains(&self, peer: u32) -> bool {
        let (word, bit) = place(peer);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds all peers of another set.
    pub(super) fn add_all(&mut self, others: &Self) {
        if self.0.len() < others.0.len() {
            self.0.resize(others.0.len(), 0);
        }
        self.0.iter_mut().zip(&others.0).for_each(|(word, others)| *word |= others);
    }

    /// Removes all peers of another set.
    pub(super) fn remove_all(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, others)| *word &= !others);
    }

    /// Removes all peers, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Returns the peers in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0..).flat_map(|(&bits, word)| {
            (0..WORD_BITS).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * WORD_BITS + bit)
        })
    }
}

#[cfg(test)]
impl FromIterator<u32> for PeerSet {
    fn from_iter<I: IntoIterator<Item = u32>>(peers: I) -> Self {
        let mut set = Self::default();
        peers.into_iter().for_each(|peer| _ = set.insert(peer));
        set
    }
}

const fn place(peer: u32) -> (usize, u64) {
    ((peer / WORD_BITS) as usize, 1 << (peer % WORD_BITS))
}
