//! The delivery that each of several composed handlers wants for an arriving message.
//!
//! A pair of handlers passes an arriving header to both of its parts, and needs their wishes again when the message is
//! delivered. Wishes are not stored in the links' rows, because a loop with one handler has no wishes.

use crate::api::Delivery;
use crate::id::{Lane, LinkId};

const BITS: usize = 2;
const _: () = assert!(Lane::COUNT * BITS <= u64::BITS as usize, "a link's wishes do not fit in a u64");

/// The wishes of each link's lanes, indexed by the link's slot, with [`BITS`] bits per lane.
///
/// The wish of a slot's former link is never read, because each message's header sets the wishes again.
#[derive(Debug, Default)]
pub(crate) struct Wishes(Vec<u64>);

impl Wishes {
    /// Stores the wish of a lane.
    pub(crate) fn set(&mut self, link: LinkId, lane: Lane, wish: Delivery) {
        if self.0.len() <= link.slot() {
            self.0.resize(link.slot() + 1, 0);
        }
        let bits: u64 = match wish {
            Delivery::Discard => 0,
            Delivery::Buffer => 1,
            Delivery::Chunks => 2,
            Delivery::UncheckedChunks => 3,
        };
        let shift = lane.index() * BITS;
        let wishes = &mut self.0[link.slot()];
        *wishes = *wishes & !(3 << shift) | bits << shift;
    }

    /// Returns the wish of a lane.
    pub(crate) fn get(&self, link: LinkId, lane: Lane) -> Delivery {
        let wishes = self.0.get(link.slot()).copied().unwrap_or_default();
        match wishes >> (lane.index() * BITS) & 3 {
            1 => Delivery::Buffer,
            2 => Delivery::Chunks,
            3 => Delivery::UncheckedChunks,
            _ => Delivery::Discard,
        }
    }

    /// Returns the allocated memory in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_of_each_link_has_its_own_wish() {
        let mut wishes = Wishes::default();
        let [first, second] = [false, true].map(|is_second| Lane::ROOT.part(is_second));
        let last = second.part(true).part(true).part(true);
        let [near, far] = [LinkId::new(0, 0), LinkId::new(9, 4)];
        let set =
            [(far, first, Delivery::Chunks), (far, last, Delivery::Chunks), (near, second, Delivery::UncheckedChunks)];
        set.into_iter().for_each(|(link, lane, wish)| wishes.set(link, lane, wish));
        set.into_iter().for_each(|(link, lane, wish)| assert_eq!(wishes.get(link, lane), wish));
        for (link, lane) in [(far, second), (near, first), (near, last), (LinkId::new(10, 0), first)] {
            assert_eq!(wishes.get(link, lane), Delivery::Discard);
        }
        wishes.set(far, last, Delivery::Buffer);
        assert_eq!((wishes.get(far, last), wishes.get(far, first)), (Delivery::Buffer, Delivery::Chunks));
    }
}
