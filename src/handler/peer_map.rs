//! An embedder's own data for each peer.
//!
//! The map is a table indexed by slot, so a lookup and a removal have a constant cost, and so does an insertion that
//! does not enlarge the table. The map receives no events, so its user must remove the values of closed peers.

use crate::id::PeerId;
use std::fmt;

/// A map from peers to an embedder's own values.
///
/// A lookup costs one array access and one comparison. An id finds only its own peer's value, never that of a later
/// peer in the same slot. [Remove](Self::remove) a peer's value when its [`Event::Closed`](crate::Event::Closed)
/// arrives; the slot's next peer reuses the memory.
///
/// The map holds one `Option<(PeerId, T)>` for each slot up to the highest slot that has ever had a value. Each of them
/// uses `size_of::<T>()` plus about 12 bytes, rounded up to the alignment of `T`. There are at most as many of them as
/// the peak number of simultaneous connections.
///
/// ```
/// use peerloop::{Ctx, Event, Handler, PeerId, PeerMap};
///
/// /// Counts the pongs of each peer.
/// #[derive(Default)]
/// struct Pongs(PeerMap<u64>);
///
/// impl Handler for Pongs {
///     type Request = ();
///
///     fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
///         match event {
///             Event::Opened { .. } => drop(self.0.insert(peer, 0)),
///             Event::Pong { .. } => self.0.get_mut(peer).into_iter().for_each(|pongs| *pongs += 1),
///             Event::Closed { .. } => println!("{peer}: {} pongs", self.0.remove(peer).unwrap_or_default()),
///             _ => {}
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct PeerMap<T> {
    /// The values by slot, each with its peer.
    entries: Vec<Option<(PeerId, T)>>,
    len: usize,
}

impl<T> PeerMap<T> {
    /// Creates an empty map without allocating memory.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }

    /// Sets a peer's value, and returns its previous value. The value of an earlier peer in the slot is dropped. If a
    /// later peer has a value there, `value` is dropped instead.
    pub fn insert(&mut self, peer: PeerId, value: T) -> Option<T> {
        let slot = peer.slot();
        if self.entries.len() <= slot {
            self.entries.resize_with(slot + 1, || None);
        }
        let entry = &mut self.entries[slot];
        match entry {
            Some((owner, _)) if owner.link().generation() > peer.link().generation() => return None,
            Some(_) => {}
            None => self.len += 1,
        }
        entry.replace((peer, value)).filter(|(owner, _)| *owner == peer).map(|(_, before)| before)
    }

    /// Returns a peer's value.
    pub fn get(&self, peer: PeerId) -> Option<&T> {
        let (owner, value) = self.entries.get(peer.slot())?.as_ref()?;
        (*owner == peer).then_some(value)
    }

    /// Returns a mutable reference to a peer's value.
    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut T> {
        let (owner, value) = self.entries.get_mut(peer.slot())?.as_mut()?;
        (*owner == peer).then_some(value)
    }

    /// Removes and returns a peer's value.
    pub fn remove(&mut self, peer: PeerId) -> Option<T> {
        let (_, value) = self.entries.get_mut(peer.slot())?.take_if(|(owner, _)| *owner == peer)?;
        self.len -= 1;
        Some(value)
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Iterates over the peers and their values in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &T)> {
        self.entries.iter().flatten().map(|(peer, value)| (*peer, value))
    }

    /// Iterates over the peers and mutable references to their values, in the order of the slots.
    ///
    /// ```
    /// use peerloop::PeerMap;
    ///
    /// fn halve(scores: &mut PeerMap<u64>) {
    ///     scores.iter_mut().for_each(|(_peer, score)| *score /= 2);
    /// }
    /// ```
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut T)> {
        self.entries.iter_mut().flatten().map(|(peer, value)| (*peer, value))
    }
}

impl<T> Default for PeerMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for PeerMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(PeerId, u8),
        Change(PeerId, u8),
        Remove(PeerId),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let peer = (0..5_u32, 0..4_u32).prop_map(|(slot, generation)| PeerId::of(LinkId::new(slot, generation)));
        let step = (0..3, peer, any::<u8>()).prop_map(|(kind, peer, value)| match kind {
            0 => Step::Insert(peer, value),
            1 => Step::Change(peer, value),
            _ => Step::Remove(peer),
        });
        prop::collection::vec(step, 0..60)
    }

    /// Inserts into the model, which is keyed by the whole id and keeps only each slot's latest peer.
    fn insert(model: &mut BTreeMap<PeerId, u8>, peer: PeerId, value: u8) -> Option<u8> {
        let generation = peer.link().generation();
        let is_rival = |other: PeerId| other.slot() == peer.slot() && other != peer;
        if model.keys().any(|&other| is_rival(other) && other.link().generation() > generation) {
            return None;
        }
        model.retain(|&other, _| !is_rival(other));
        model.insert(peer, value)
    }

    proptest! {
        #[test]
        fn a_peer_map_keeps_the_latest_peer_of_each_slot(steps in steps()) {
            let (mut map, mut model) = (PeerMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(peer, value) => {
                        prop_assert_eq!(map.insert(peer, value), insert(&mut model, peer, value));
                    }
                    Step::Change(peer, value) => {
                        let (found, modelled) = (map.get_mut(peer), model.get_mut(&peer));
                        prop_assert_eq!(found.is_some(), modelled.is_some());
                        found.into_iter().chain(modelled).for_each(|entry| *entry = value);
                    }
                    Step::Remove(peer) => prop_assert_eq!(map.remove(peer), model.remove(&peer)),
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                for slot in 0..6 {
                    for generation in 0..4 {
                        let peer = PeerId::of(LinkId::new(slot, generation));
                        prop_assert_eq!(map.get(peer), model.get(&peer));
                    }
                }
                let listed: BTreeMap<PeerId, u8> = map.iter().map(|(peer, value)| (peer, *value)).collect();
                prop_assert_eq!(&listed, &model);
                prop_assert_eq!(map.iter_mut().count(), model.len());
            }
        }
    }

    #[test]
    fn the_memory_of_a_removed_peer_is_reused() {
        let mut map = PeerMap::new();
        for generation in 0..1_000 {
            let peer = PeerId::of(LinkId::new(3, generation));
            map.insert(peer, [0_u8; 32]);
            assert!(map.remove(peer).is_some());
        }
        assert_eq!((map.entries.len(), map.is_empty()), (4, true));
        assert!(size_of::<Option<(PeerId, u64)>>() <= 24);
    }
}
