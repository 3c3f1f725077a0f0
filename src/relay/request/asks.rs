//! The requests in flight, each in up to three lists: its peer's, its deadline class's, and that of hedges.
//!
//! All lists are linked through the requests themselves, so adding and removing one costs the same for any number of
//! them. A removed request's place is used again, and never found through an old link.

use crate::relay::inventory::{NONE, PeerIndex, Slot};
use crate::time::Instant;

/// The list of a peer's requests.
pub(super) const OF_PEER: usize = 0;
/// The list of requests with the same deadline class, in the order of their deadlines.
pub(super) const OF_DEADLINE: usize = 1;
/// The list of requests without a second announcer, in the order of their moments.
pub(super) const OF_HEDGE: usize = 2;

/// A request to one peer for one transaction.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) slot: Slot,
    pub(super) peer: PeerIndex,
    /// The moment at which it was sent last.
    pub(super) at: Instant,
    /// The moment at which it entered its deadline class.
    pub(super) since: Instant,
    /// The number of its deadline class.
    pub(super) class: u8,
    /// Whether it is in the list of hedges.
    pub(super) may_hedge: bool,
    /// Whether its deadline has passed, while there was no other announcer.
    pub(super) is_overdue: bool,
    /// Whether the transaction arrives in parts, as far as can be known before its end.
    pub(super) is_arriving: bool,
    /// Whether it has been repeated.
    pub(super) is_repeated: bool,
    /// The next request for the same transaction.
    pub(super) other: u32,
    /// The neighbours in each list.
    links: [[u32; 2]; 3],
}

/// The first and the last request of a list.
pub(super) type List = [u32; 2];

/// An empty list.
pub(super) const EMPTY: List = [NONE; 2];

/// All requests in flight.
#[derive(Debug, Default)]
pub(super) struct Asks {
    places: Vec<Ask>,
    free: Vec<u32>,
}

impl Asks {
    /// Adds a request that is in no list.
    pub(super) fn insert(&mut self, slot: Slot, peer: PeerIndex, at: Instant, class: u8) -> u32 {
        let ask = Ask {
            slot,
            peer,
            at,
            since: at,
            class,
            may_hedge: false,
            is_overdue: false,
            is_arriving: false,
            is_repeated: false,
            other: NONE,
            links: [[NONE; 2]; 3],
        };
        match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = ask;
                place
            }
            None => {
                self.places.push(ask);
                self.places.len() as u32 - 1
            }
        }
    }

    /// Frees the place of a request that is in no list.
    pub(super) fn remove(&mut self, ask: u32) {
        self.free.push(ask);
    }

    pub(super) fn get(&self, ask: u32) -> &Ask {
        &self.places[ask as usize]
    }

    pub(super) fn get_mut(&mut self, ask: u32) -> &mut Ask {
        &mut self.places[ask as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds a request to the end of a list of the kind `which`.
    pub(super) fn push(&mut self, ask: u32, which: usize, list: &mut List) {
        let last = list[1];
        self.places[ask as usize].links[which] = [last, NONE];
        match last {
            NONE => list[0] = ask,
            last => self.places[last as usize].links[which][1] = ask,
        }
        list[1] = ask;
    }

    /// Removes a request from a list of the kind `which`.
    pub(super) fn unlink(&mut self, ask: u32, which: usize, list: &mut List) {
        let [before, after] = self.places[ask as usize].links[which];
        match before {
            NONE => list[0] = after,
            before => self.places[before as usize].links[which][1] = after,
        }
        match after {
            NONE => list[1] = before,
            after => self.places[after as usize].links[which][0] = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_keep_their_order(steps in prop::collection::vec((0..3_usize, 0..20_usize), 0..200)) {
            let mut asks = Asks::default();
            let mut lists = [EMPTY; 3];
            let mut model: [Vec<u32>; 3] = Default::default();
            let all: Vec<u32> = (0..20).map(|slot| asks.insert(slot, 0, Instant::ZERO, 0)).collect();
            for (which, at) in steps {
                let ask = all[at];
                match model[which].iter().position(|&held| held == ask) {
                    Some(index) => {
                        model[which].remove(index);
                        asks.unlink(ask, which, &mut lists[which]);
                    }
                    None => {
                        model[which].push(ask);
                        asks.push(ask, which, &mut lists[which]);
                    }
                }
                for which in 0..3 {
                    let (mut forward, mut ask) = (Vec::new(), lists[which][0]);
                    while ask != NONE {
                        forward.push(ask);
                        ask = asks.get(ask).links[which][1];
                    }
                    prop_assert_eq!(&forward, &model[which]);
                    prop_assert_eq!(lists[which][1], model[which].last().copied().unwrap_or(NONE));
                }
            }
        }
    }
}
