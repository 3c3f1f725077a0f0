//! Tests the choice of the peer to close, against a naive implementation and under floods of new peers.

use super::*;
use crate::id::LinkId;
use proptest::prelude::*;
use proptest::sample::Index;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, BTreeSet};

fn state(seed: u64) -> KeyedState {
    KeyedState::new(&mut StdRng::seed_from_u64(seed))
}

fn peer(slot: usize) -> PeerId {
    PeerId::of(LinkId::new(slot as u32, 0))
}

fn at(secs: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_secs(secs))
}

/// Returns an inbound peer without any favourable quality, connected at second `slot`.
fn idler(slot: usize, group: u8) -> Candidate {
    Candidate {
        peer: peer(slot),
        connection_type: ConnectionType::Inbound,
        is_trusted: false,
        group: NetGroup::V4([1, group]),
        connected_at: at(slot as u64),
        shortest_ping: None,
        last_transaction: None,
        last_block: None,
        relays_transactions: false,
        has_needed_services: false,
    }
}

/// Chooses without any optimisation: returns the spared peers and the peer to close.
fn naive(candidates: &[Candidate], state: KeyedState) -> (BTreeSet<PeerId>, Option<PeerId>) {
    let is_fixed = |peer: &Candidate| peer.connection_type != ConnectionType::Inbound || peer.is_trusted;
    let mut spared: BTreeSet<PeerId> = candidates.iter().filter(|peer| is_fixed(peer)).map(|peer| peer.peer).collect();
    let mut left: Vec<Candidate> = candidates.iter().filter(|peer| !is_fixed(peer)).copied().collect();
    let mut spare_first = |left: &mut Vec<Candidate>, count: usize| {
        let count = count.min(left.len());
        spared.extend(left.drain(..count).map(|peer| peer.peer));
    };
    let oldest_first = |left: &mut Vec<Candidate>| left.sort_by_key(|peer| (peer.connected_at, peer.peer));
    oldest_first(&mut left);
    left.sort_by_key(|peer| state.hash_one(peer.group));
    spare_first(&mut left, 4);
    oldest_first(&mut left);
    left.sort_by_key(|peer| (peer.shortest_ping.is_none(), peer.shortest_ping));
    spare_first(&mut left, 8);
    oldest_first(&mut left);
    left.sort_by_key(|peer| !peer.relays_transactions);
    left.sort_by_key(|peer| peer.last_transaction.map_or(u64::MAX, |at| u64::MAX - 1 - at.as_nanos()));
    spare_first(&mut left, 4);
    oldest_first(&mut left);
    left.sort_by_key(|peer| !peer.has_needed_services);
    left.sort_by_key(|peer| peer.last_block.map_or(u64::MAX, |at| u64::MAX - 1 - at.as_nanos()));
    spare_first(&mut left, 4);
    oldest_first(&mut left);
    let half = left.len() / 2;
    spare_first(&mut left, half);
    let mut groups: BTreeMap<NetGroup, Vec<Candidate>> = BTreeMap::new();
    for peer in left {
        groups.entry(peer.group).or_default().push(peer);
    }
    let youngest = |group: &Vec<Candidate>| group.iter().map(|peer| (peer.connected_at, peer.peer)).max();
    let largest = groups.values().max_by_key(|group| (group.len(), youngest(group)));
    (spared, largest.and_then(youngest).map(|(_, peer)| peer))
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let moment = || prop::option::of((0..6_u64).prop_map(at));
    let connection_type = prop_oneof![
        8 => Just(ConnectionType::Inbound),
        1 => Just(ConnectionType::Outbound),
        1 => Just(ConnectionType::OverCapacity),
    ];
    let qualities = (moment(), moment(), any::<bool>(), any::<bool>());
    let ping = prop::option::of((1..20_u64).prop_map(Duration::from_millis));
    (connection_type, prop::bool::weighted(0.1), 0..8_u8, 0..9_u64, ping, qualities).prop_map(
        |(connection_type, is_trusted, group, connected_at, shortest_ping, qualities)| Candidate {
            connection_type,
            is_trusted,
            connected_at: at(connected_at),
            shortest_ping,
            last_transaction: qualities.0,
            last_block: qualities.1,
            relays_transactions: qualities.2,
            has_needed_services: qualities.3,
            ..idler(0, group)
        },
    )
}

proptest! {
    #[test]
    fn the_choice_matches_the_naive_one_in_any_order(
        candidates in prop::collection::vec(candidate(), 0..120),
        seed in any::<u64>(),
    ) {
        let mut candidates = candidates;
        for (slot, candidate) in candidates.iter_mut().enumerate() {
            candidate.peer = peer(slot);
        }
        let (spared, expected) = naive(&candidates, state(seed));
        let chosen = choose(candidates.iter().copied(), state(seed));
        prop_assert_eq!(chosen, expected);
        prop_assert_eq!(chosen.is_none(), spared.len() == candidates.len());
        prop_assert!(chosen.is_none_or(|peer| !spared.contains(&peer)));
        candidates.shuffle(&mut StdRng::seed_from_u64(seed));
        prop_assert_eq!(choose(candidates.into_iter(), state(seed)), expected);
    }

    #[test]
    fn no_row_is_repeated_and_small_tables_are_covered_completely(len in 0..9_000_usize, seed in any::<u64>()) {
        let seen: Vec<usize> = rows(len, &mut StdRng::seed_from_u64(seed)).collect();
        prop_assert_eq!(seen.len(), len.min(MAX_EVICTION_ROWS));
        prop_assert!(seen.iter().all(|&row| row < len));
        prop_assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    }

    #[test]
    fn one_good_quality_spares_a_peer(
        honest in any::<Index>(),
        quality in 0..4_usize,
        groups in prop::collection::vec(0..20_u8, 60..300),
    ) {
        let mut peers: Vec<Candidate> = groups.iter().enumerate().map(|(slot, &group)| idler(slot, group)).collect();
        let honest = honest.index(peers.len());
        match quality {
            0 => peers[honest].shortest_ping = Some(Duration::from_millis(1)),
            1 => peers[honest].last_transaction = Some(at(1)),
            2 => peers[honest].last_block = Some(at(1)),
            _ => peers[honest].connected_at = Instant::ZERO,
        }
        let chosen = choose(peers.into_iter(), state(3));
        prop_assert!(chosen.is_some() && chosen != Some(peer(honest)));
    }
}

#[test]
fn twenty_peers_are_all_spared_and_one_of_twenty_one_is_closed() {
    let idlers = |count| (0..count).map(|slot| idler(slot, slot as u8));
    for count in 0..=20 {
        assert_eq!(choose(idlers(count), state(1)), None, "{count} peers");
    }
    assert!(choose(idlers(21), state(1)).is_some());
}

#[test]
fn dialled_trusted_and_over_capacity_peers_are_never_chosen() {
    let ours = |slot| Candidate { connection_type: ConnectionType::Outbound, ..idler(slot, 1) };
    let trusted = |slot| Candidate { is_trusted: true, ..idler(slot, 1) };
    let beyond = |slot| Candidate { connection_type: ConnectionType::OverCapacity, ..idler(slot, 1) };
    let fixed = || (100..400).map(|slot| [ours(slot), trusted(slot), beyond(slot)][slot % 3]);
    assert_eq!(choose(fixed(), state(1)), None);
    assert_eq!(choose(fixed().chain((0..20).map(|slot| idler(slot, 1))), state(1)), None);
    let chosen = choose(fixed().chain((0..60).map(|slot| idler(slot, 1))), state(1));
    assert_eq!(chosen, Some(peer(59)));
}

#[test]
fn a_flood_from_one_range_displaces_only_its_own_peers() {
    let mut peers: Vec<Candidate> = (0..60).map(|slot| idler(slot, slot as u8)).collect();
    for slot in 60..400 {
        let attacker = Candidate { shortest_ping: Some(Duration::from_micros(1)), ..idler(slot, 200) };
        if peers.len() >= 125 {
            let closed = choose(peers.iter().copied(), state(2)).expect("of 125 peers one is closed");
            assert!(closed.slot() >= 60, "{closed}, an honest peer, was closed");
            peers.retain(|peer| peer.peer != closed);
        }
        peers.push(attacker);
    }
    assert_eq!(peers.len(), 125);
}

#[test]
fn the_youngest_of_many_idle_peers_from_different_ranges_is_closed() {
    let idlers = (0..125_usize).map(|slot| idler(slot, slot as u8));
    assert_eq!(choose(idlers, state(5)), Some(peer(124)));
}

#[test]
fn the_number_of_candidates_is_limited_for_any_number_of_peers() {
    let mut asked = 0;
    let endless = (0..).map(|slot| {
        asked += 1;
        idler(slot, 1)
    });
    assert_eq!(choose(endless, state(1)), Some(peer(MAX_EVICTION_CANDIDATES - 1)));
    assert_eq!(asked, MAX_EVICTION_CANDIDATES);
}

#[test]
fn the_spared_ranges_change_with_the_key() {
    let chosen = |seed| choose((0..21).map(|slot| idler(slot, slot as u8)), state(seed));
    let all: BTreeSet<_> = (0..64).map(chosen).collect();
    // The youngest peer that the key does not favour is closed: usually the very last, sometimes one of the four
    // before it.
    assert!((3..=5).contains(&all.len()), "{all:?}");
    assert!(all.iter().all(|closed| closed.is_some_and(|peer| peer.slot() >= 16)));
}

#[test]
fn every_row_is_equally_likely() {
    const LEN: usize = 20_000;
    let mut seen = vec![0_u32; LEN];
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..500 {
        rows(LEN, &mut rng).for_each(|row| seen[row] += 1);
    }
    // 500 draws of 2,048 rows each: every row is drawn 51 times on average, with a standard deviation of 7.
    assert!(seen.iter().all(|&count| (15..100).contains(&count)), "{:?} {:?}", seen.iter().min(), seen.iter().max());
}
