//! Generational ids of links and peers, the poll tokens that contain them, and the lanes of composed handlers.
//!
//! A slot of the table is reused, but an id never is, because the slot's generation rises each time the slot is freed.
//! An event or a timer that outlived its link is therefore recognised as stale and does not reach the slot's new user.

use crate::limits::MAX_HANDLER_DEPTH;
use std::fmt;

/// The unique id of a TCP connection: a slot of the table, and the slot's generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    slot: u32,
    generation: u32,
}

impl LinkId {
    /// The highest generation of a slot. A slot is retired when its link of this generation is removed. The only higher
    /// value marks the tokens of listeners and of the waker.
    pub(crate) const MAX_GENERATION: u32 = u32::MAX - 1;

    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Returns the slot: a dense index that is soon reused.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Returns the number of times that the slot was used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Returns the generation and the slot as one number.
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// Returns the id that [`LinkId::to_u64`] packed.
    pub const fn from_u64(packed: u64) -> Self {
        Self { slot: packed as u32, generation: (packed >> 32) as u32 }
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// The unique id of a peer: the id of its connection.
///
/// A peer that reconnects gets a new id. An id has eight bytes and is `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(LinkId);

impl PeerId {
    pub(crate) const fn of(link: LinkId) -> Self {
        Self(link)
    }

    pub(crate) const fn link(self) -> LinkId {
        self.0
    }

    /// Returns a dense index, below the peak number of rows in use, for an embedder's own table. The index is reused
    /// after the peer is closed, so store the `PeerId` with it.
    ///
    /// ```
    /// use peerloop::PeerId;
    ///
    /// /// The peers that have sent a transaction.
    /// #[derive(Default)]
    /// struct Senders(Vec<Option<PeerId>>);
    ///
    /// impl Senders {
    ///     fn insert(&mut self, peer: PeerId) {
    ///         let slots = self.0.len().max(peer.slot() + 1);
    ///         self.0.resize(slots, None);
    ///         self.0[peer.slot()] = Some(peer);
    ///     }
    ///
    ///     fn contains(&self, peer: PeerId) -> bool {
    ///         self.0.get(peer.slot()) == Some(&Some(peer))
    ///     }
    /// }
    /// ```
    pub const fn slot(self) -> usize {
        self.0.slot()
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {:?}", self.0)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The source of a readiness event, packed into 64 bits for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A connection.
    Link(LinkId),
    /// The listener with this index.
    Listener(u32),
    /// The waker: a request or a completion waits for the loop.
    Waker,
}

impl Token {
    const WAKER: u32 = u32::MAX;

    /// Returns the token as one number.
    pub const fn to_u64(self) -> u64 {
        match self {
            Self::Link(id) => id.to_u64(),
            Self::Listener(index) => LinkId::new(index, u32::MAX).to_u64(),
            Self::Waker => LinkId::new(Self::WAKER, u32::MAX).to_u64(),
        }
    }

    /// Returns the token that [`Token::to_u64`] packed.
    pub const fn from_u64(packed: u64) -> Self {
        let id = LinkId::from_u64(packed);
        match (id.generation, id.slot) {
            (u32::MAX, Self::WAKER) => Self::Waker,
            (u32::MAX, index) => Self::Listener(index),
            _ => Self::Link(id),
        }
    }
}

/// A handler's position among the handlers composed on one loop. A callback that a handler requested is routed to
/// the handler by this lane.
///
/// The loop's own handler has [`Lane::ROOT`]. The parts of a pair have the pair's lane with one bit appended, so a
/// lane encodes the path to its handler after a leading 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane(u8);

impl Lane {
    pub(crate) const ROOT: Self = Self(1);
    /// One more than the highest [`Lane::index`].
    pub(crate) const COUNT: usize = 2 << MAX_HANDLER_DEPTH;

    /// Returns the lane with this [`Lane::index`].
    pub(crate) fn at(index: u8) -> Self {
        Self(index)
    }

    /// Returns the lane of a pair's first or second part.
    ///
    /// # Panics
    ///
    /// If handlers are nested deeper than [`MAX_HANDLER_DEPTH`].
    pub(crate) fn part(self, is_second: bool) -> Self {
        assert!(self.depth() < MAX_HANDLER_DEPTH, "handlers are composed more than {MAX_HANDLER_DEPTH} levels deep");
        Self(self.0 << 1 | u8::from(is_second))
    }

    /// Returns whether `target` is this lane or lies below it.
    pub(crate) fn leads_to(self, target: Self) -> bool {
        target.depth().checked_sub(self.depth()).is_some_and(|levels| target.0 >> levels == self.0)
    }

    /// Returns the lane as a dense index.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    fn depth(self) -> u32 {
        self.0.ilog2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_leads_to_itself_and_to_lanes_below_it_and_to_no_other() {
        let [first, second] = [false, true].map(|is_second| Lane::ROOT.part(is_second));
        let deep = second.part(false).part(true).part(true);
        for above in [Lane::ROOT, second, second.part(false), deep] {
            assert!(above.leads_to(deep));
        }
        for beside in [first, second.part(true), second.part(false).part(false), deep] {
            assert!(!beside.leads_to(second.part(false)));
        }
        assert!(deep.index() < Lane::COUNT);
    }

    #[test]
    #[should_panic(expected = "handlers are composed more than 4 levels deep")]
    fn nesting_depth_is_bounded() {
        let _ = (0..=MAX_HANDLER_DEPTH).fold(Lane::ROOT, |lane, _| lane.part(true));
    }

    #[test]
    fn a_packed_token_is_unpacked_unchanged() {
        let tokens = [
            Token::Link(LinkId::new(0, 0)),
            Token::Link(LinkId::new(u32::MAX, LinkId::MAX_GENERATION)),
            Token::Link(LinkId::new(7, 3)),
            Token::Listener(0),
            Token::Listener(u32::MAX - 1),
            Token::Waker,
        ];
        for token in tokens {
            assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }

    #[test]
    fn the_generation_is_packed_above_the_slot() {
        assert_eq!(LinkId::new(0x1122_3344, 0x5566_7788).to_u64(), 0x5566_7788_1122_3344);
    }
}
