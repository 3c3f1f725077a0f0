//! Gossip slots: a table of the addresses that gossip added to the book. Each source can fill only a small part of
//! it.
//!
//! A source is the [`NetGroup`] of the peers that send an address. For each source an address has one slot. A source
//! reaches at most [`GOSSIP_BUCKETS_PER_SOURCE`] buckets of the table. A source's routable addresses of one range
//! share one of these buckets. The assignment is keyed, so a peer cannot choose collisions. SV Node 1.2.2 stores its
//! addresses in the same way (addrman.cpp GetNewBucket), with 64 of 1,024 buckets per source. The table stores only
//! the current holder of each slot.

use crate::address::{Host, NetGroup, canonical};
use crate::limits::{GOSSIP_BUCKET_SLOTS, GOSSIP_BUCKETS, GOSSIP_BUCKETS_PER_SOURCE};
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

/// The holders of the slots.
#[derive(Debug)]
pub(super) struct Slots {
    keys: KeyedState,
    held: BTreeMap<Slot, Held>,
}

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

/// The holder of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) address: SocketAddr,
    pub(super) since: Instant,
}

const _: () = assert!(size_of::<(Slot, Held)>() <= 48, "a slot and its holder need more than 48 bytes");

impl Slots {
    pub(super) fn new(keys: KeyedState) -> Self {
        Self { keys, held: BTreeMap::new() }
    }

    /// Returns the slot of an `address` that the peer at `source` sends.
    pub(super) fn slot_of(&self, source: IpAddr, address: SocketAddr) -> Slot {
        let address = canonical(address);
        let (source, range) = (NetGroup::of(source), NetGroup::of(address.ip()));
        // Unroutable addresses have no range, so they are spread by host. Otherwise, all those of one source would
        // share one bucket.
        let host = (range == NetGroup::Unroutable).then(|| Host::of(address.ip()));
        let lane = self.draw((source, range, host), GOSSIP_BUCKETS_PER_SOURCE);
        let bucket = self.draw((source, lane), GOSSIP_BUCKETS);
        Slot(bucket * GOSSIP_BUCKET_SLOTS + self.draw((bucket, address), GOSSIP_BUCKET_SLOTS))
    }

    /// Returns the holder of `slot`, if any. Its address may no longer be in the book.
    pub(super) fn holder(&self, slot: Slot) -> Option<Held> {
        self.held.get(&slot).copied()
    }

    /// Stores `address` in `slot` in place of the current holder, if any.
    pub(super) fn hold(&mut self, slot: Slot, address: SocketAddr, now: Instant) {
        self.held.insert(slot, Held { address: canonical(address), since: now });
    }

    /// Returns a number below `end` that depends on `of` and the key.
    fn draw(&self, of: impl std::hash::Hash, end: u32) -> u32 {
        (self.keys.hash_one(of) % u64::from(end)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_BOOK_PEERS;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    fn slots(seed: u64) -> Slots {
        Slots::new(KeyedState::new(&mut StdRng::seed_from_u64(seed)))
    }

    fn v4(bits: u32) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::from_bits(bits).into(), 8_333)
    }

    #[test]
    fn a_million_addresses_of_one_source_fill_at_most_a_64th_of_the_slots() {
        let slots = slots(1);
        let address = |number: u32| v4(number.wrapping_mul(0x9e37_79b9));
        let sources = [Ipv4Addr::new(8, 8, 0, 1), Ipv4Addr::new(8, 8, 255, 254)];
        let reach: BTreeSet<Slot> =
            (0..1_000_000).map(|number| slots.slot_of(sources[number as usize % 2].into(), address(number))).collect();
        assert!(reach.len() <= MAX_BOOK_PEERS / 64, "{}", reach.len());
        assert!(reach.len() > MAX_BOOK_PEERS / 64 / 2, "an honest source reaches too few slots: {}", reach.len());
    }

    #[test]
    fn a_sources_addresses_of_one_range_share_one_bucket() {
        let slots = slots(2);
        let source = Ipv4Addr::new(8, 8, 0, 1).into();
        let reach: BTreeSet<Slot> = (0..65_536).map(|low| slots.slot_of(source, v4(0x0909_0000 | low))).collect();
        assert_eq!(reach.len(), GOSSIP_BUCKET_SLOTS as usize);
        let buckets: BTreeSet<u32> = reach.iter().map(|slot| slot.0 / GOSSIP_BUCKET_SLOTS).collect();
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn a_source_shares_on_average_less_than_an_eighth_of_its_slots_with_another_source() {
        let slots = slots(3);
        let reach = |source: Ipv4Addr| -> BTreeSet<Slot> {
            (0..20_000).map(|number: u32| slots.slot_of(source.into(), v4(number << 12 | 1))).collect()
        };
        let one = reach(Ipv4Addr::new(8, 8, 0, 1));
        let shared: usize = (20..40).map(|a| reach(Ipv4Addr::new(a, 8, 0, 1)).intersection(&one).count()).sum();
        assert!(shared < 20 * one.len() / 8, "{shared} of {} slots shared with 20 sources", one.len());
    }

    #[test]
    fn unroutable_addresses_of_one_source_fill_at_least_half_of_the_sources_slots() {
        let slots = slots(4);
        let source = Ipv4Addr::new(10, 0, 0, 1).into();
        let reach: BTreeSet<Slot> = (0..10_000).map(|low| slots.slot_of(source, v4(0x0a00_0000 | low))).collect();
        let most = (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize;
        assert!((most / 2..=most).contains(&reach.len()), "{}", reach.len());
    }

    proptest! {
        #[test]
        fn every_slot_is_in_the_table_and_the_same_for_both_notations_of_an_address(
            source in any::<[u8; 4]>(),
            addresses in prop::collection::vec((any::<[u8; 4]>(), 1..65_535_u16), 1..200),
        ) {
            let mut slots = slots(5);
            let mut model: BTreeMap<Slot, SocketAddr> = BTreeMap::new();
            for (address, port) in addresses {
                let address = SocketAddr::from((address, port));
                let slot = slots.slot_of(source.into(), address);
                prop_assert!((slot.0 as usize) < MAX_BOOK_PEERS);
                let IpAddr::V4(v4) = address.ip() else { unreachable!("the address is not IPv4") };
                let mapped = SocketAddr::new(v4.to_ipv6_mapped().into(), port);
                prop_assert_eq!(slots.slot_of(source.into(), mapped), slot, "the slot depends on the notation");
                slots.hold(slot, mapped, Instant::ZERO);
                model.insert(slot, address);
            }
            for (slot, address) in model {
                prop_assert_eq!(slots.holder(slot), Some(Held { address, since: Instant::ZERO }));
            }
        }
    }
}
