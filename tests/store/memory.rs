//! The book in memory: random runs compared with a naive list, random picks, evictions from a full book, and user
//! agents.

use crate::support::{address, chance, peer, rich_peer, status};
use peerloop::internals::store::MemoryStore;
use peerloop::store::{KnownPeer, PeerStatus, PeerStore, StoreError, UserAgent};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Returns a peer's rank for eviction. A full book evicts a peer of its lowest rank, unless that peer is valid or has
/// a higher rank than the new one.
fn worth(peer: &KnownPeer) -> u8 {
    match peer.status {
        PeerStatus::Inaccessible => 0,
        PeerStatus::Unknown => 1,
        PeerStatus::Banned(_) => 2,
        PeerStatus::Valid => 3,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit(KnownPeer),
    Replace(KnownPeer),
    Forget(u32),
    Pick(u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let known = (0..24_u32, 0..8_u8, any::<u64>()).prop_map(|(number, kind, seed)| {
        let mut peer = rich_peer(number, &mut chance(seed));
        peer.status = status(kind);
        peer
    });
    prop_oneof![
        4 => known.clone().prop_map(Step::Admit),
        2 => known.prop_map(Step::Replace),
        1 => (0..24_u32).prop_map(Step::Forget),
        1 => (0..8_u8, 0..20_usize).prop_map(|(kind, tries)| Step::Pick(kind, tries)),
    ]
}

proptest! {
    #[test]
    fn req_e39_the_store_behaves_like_a_plain_list(steps in prop::collection::vec(step(), 0..120), seed: u64) {
        const MAX: usize = 9;
        let mut rng = chance(seed);
        let mut store = MemoryStore::with_limit(MAX, &mut rng);
        let mut model: Vec<KnownPeer> = Vec::new();
        for step in steps {
            match step {
                Step::Admit(peer) => admit(&mut store, &mut model, peer, MAX, &mut rng)?,
                Step::Replace(peer) => {
                    let place = model.iter().position(|known| known.address() == peer.address());
                    let before = place.map(|place| std::mem::replace(&mut model[place], peer.clone()));
                    prop_assert_eq!(store.replace(peer), before);
                }
                Step::Forget(number) => {
                    let place = model.iter().position(|known| known.address() == address(number));
                    prop_assert_eq!(store.forget(address(number)), place.map(|place| model.remove(place)));
                }
                Step::Pick(kind, tries) => pick(&store, &model, status(kind), tries, &mut rng)?,
            }
            model.sort_by_key(KnownPeer::address);
            prop_assert_eq!(store.list_all().unwrap(), model.clone());
            prop_assert_eq!(store.len(), model.len());
            for kind in 0..4 {
                let like: Vec<_> = model.iter().filter(|peer| peer.status.is_like(status(kind))).cloned().collect();
                prop_assert_eq!(store.count(status(kind)), like.len());
                prop_assert_eq!(store.find_by_status(status(kind)).unwrap(), like);
            }
        }
    }
}

fn admit(
    store: &mut MemoryStore,
    model: &mut Vec<KnownPeer>,
    peer: KnownPeer,
    max: usize,
    rng: &mut rand::rngs::StdRng,
) -> Result<(), TestCaseError> {
    let admitted = store.admit(peer.clone(), rng);
    let least = model.iter().map(worth).min();
    let has_room = model.len() < max;
    if model.iter().any(|known| known.address() == peer.address()) {
        prop_assert_eq!(admitted, Err(StoreError::Duplicate { address: peer.address() }));
    } else if has_room {
        prop_assert_eq!(admitted, Ok(None));
        model.push(peer);
    } else if least.is_some_and(|least| least <= worth(&peer) && least < 3) {
        let gone = admitted.unwrap().expect("a peer is evicted");
        prop_assert_eq!(Some(worth(&gone)), least);
        let place = model.iter().position(|known| *known == gone).expect("the evicted peer was in the book");
        model[place] = peer;
    } else {
        prop_assert_eq!(admitted, Err(StoreError::Full));
    }
    Ok(())
}

fn pick(
    store: &MemoryStore,
    model: &[KnownPeer],
    status: PeerStatus,
    tries: usize,
    rng: &mut rand::rngs::StdRng,
) -> Result<(), TestCaseError> {
    let accepts = |peer: &KnownPeer| peer.services.is_multiple_of(2);
    let mut looked_at = 0;
    let picked = store.pick(
        status,
        rng,
        |peer| {
            looked_at += 1;
            accepts(peer)
        },
        tries,
    );
    prop_assert!(looked_at <= tries);
    let like = || model.iter().filter(|peer| peer.status.is_like(status));
    match picked {
        Some(address) => prop_assert!(like().any(|peer| peer.address() == address && accepts(peer))),
        None => prop_assert!(like().count() > tries || !like().any(accepts), "a matching peer was missed"),
    }
    Ok(())
}

#[test]
fn each_peer_of_a_status_is_picked_with_the_same_probability() {
    let mut rng = chance(5);
    let mut store = MemoryStore::new(&mut rng);
    for number in 0..40 {
        store.admit(peer(number), &mut rng).unwrap();
    }
    for tries in [1, 64] {
        let mut drawn = BTreeMap::new();
        for _ in 0..40_000 {
            let address = store.pick(PeerStatus::Unknown, &mut rng, |_| true, tries).unwrap();
            *drawn.entry(address).or_insert(0_u32) += 1;
        }
        assert_eq!(drawn.len(), 40);
        // Each peer is expected to be picked 1,000 times, and 190 is about six standard deviations.
        assert!(drawn.values().all(|count| (810..1_190).contains(count)), "{drawn:?}");
    }
}

#[test]
fn a_flood_of_unknown_peers_evicts_no_valid_peer() {
    let mut rng = chance(6);
    let mut store = MemoryStore::with_limit(100, &mut rng);
    for number in 0..60 {
        let mut valid = peer(number);
        valid.status = PeerStatus::Valid;
        store.admit(valid, &mut rng).unwrap();
    }
    for number in 60..10_000 {
        store.admit(peer(number), &mut rng).unwrap();
    }
    assert_eq!((store.count(PeerStatus::Valid), store.count(PeerStatus::Unknown)), (60, 40));
}

#[test]
fn a_user_agent_is_stripped_to_printable_characters_and_truncated() {
    assert_eq!(UserAgent::sanitised(b"/a\x1b[31m\xff\n:1/ ~\x7f").as_str(), "/a[31m:1/ ~");
    assert_eq!(UserAgent::sanitised(&[b'a'; 1_000]).as_str().len(), 256);
}
