//! Tests of the inventory against a naive model, and of its bounds.

use super::*;
use crate::limits::{MAX_RELAY_SPILLS, RELAY_LOG_LEN};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const KEY: SipKey = SipKey { k0: 7, k1: 11 };

fn inventory(capacity: usize) -> Inventory {
    Inventory::new(KEY, capacity, 1_000)
}

fn hash(number: u32) -> Hash256 {
    Hash256::of(&number.to_le_bytes())
}

/// Adds a transaction, and drops the entry whose slot it needs.
fn add(inventory: &mut Inventory, number: u32) -> Slot {
    if let Some(victim) = inventory.victim() {
        inventory.remove(victim);
    }
    let id = inventory.id(hash(number));
    inventory.insert(id)
}

fn find(inventory: &Inventory, number: u32) -> Option<Slot> {
    inventory.find(inventory.id(hash(number)))
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Announce(u32, PeerIndex),
    Accept(u32),
    Remove(u32),
    Close(PeerIndex),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40_u32).prop_map(Step::Add),
        (0..40_u32, 0..12_u32).prop_map(|(number, peer)| Step::Announce(number, peer)),
        (0..40_u32).prop_map(Step::Accept),
        (0..40_u32).prop_map(Step::Remove),
        (0..12_u32).prop_map(Step::Close),
    ]
}

/// The naive model: each live transaction with its announcers and its acceptance.
#[derive(Debug, Default)]
struct Model {
    live: BTreeMap<u32, (BTreeSet<PeerIndex>, bool)>,
    order: Vec<u32>,
    accepted: Vec<u32>,
}

/// Checks the inventory's entries and its log against the model.
fn check(inventory: &Inventory, model: &Model) -> Result<(), TestCaseError> {
    for number in 0..40 {
        let slot = find(inventory, number);
        prop_assert_eq!(slot.is_some(), model.live.contains_key(&number), "{}", number);
        let Some((slot, (peers, accepted))) = slot.zip(model.live.get(&number)) else { continue };
        let mut announcers = BTreeSet::new();
        inventory.for_each_announcer(slot, |peer| {
            announcers.insert(peer);
        });
        prop_assert_eq!(&announcers, peers);
        let entry = inventory.get(slot).expect("the entry was found");
        prop_assert!((0..12).all(|peer| inventory.is_announced_by(entry, peer) == peers.contains(&peer)));
        prop_assert_eq!(entry.state == State::Accepted, *accepted);
    }
    for (position, number) in model.accepted.iter().enumerate() {
        let record = inventory.log().get(position as u64);
        match record {
            Record::Accepted(slot) => {
                prop_assert_eq!(inventory.get(slot).map(|entry| entry.hash), Some(hash(*number)));
            }
            other => prop_assert_eq!(other, Record::Lost),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn entries_announcers_and_order_match_the_model(steps in prop::collection::vec(step(), 0..300)) {
        const CAPACITY: usize = 16;
        let (mut inventory, mut model) = (inventory(CAPACITY), Model::default());
        for step in steps {
            match step {
                Step::Add(number) if !model.live.contains_key(&number) => {
                    if model.order.len() >= CAPACITY {
                        let oldest = model.order[model.order.len() - CAPACITY];
                        // The slot may have been freed, and the transaction added again to another slot.
                        let is_latest = model.order.iter().rposition(|&added| added == oldest)
                            == Some(model.order.len() - CAPACITY);
                        if is_latest {
                            model.live.remove(&oldest);
                        }
                    }
                    add(&mut inventory, number);
                    model.order.push(number);
                    model.live.insert(number, Default::default());
                }
                Step::Announce(number, peer) => {
                    if let (Some(slot), Some((peers, _))) = (find(&inventory, number), model.live.get_mut(&number)) {
                        let added = inventory.add_announcer(slot, peer, |peer| Some(peer < 2));
                        prop_assert_eq!(added == Added::Known, !peers.insert(peer));
                        prop_assert!(added != Added::Dropped);
                    }
                }
                Step::Accept(number) => {
                    if let (Some(slot), Some((_, accepted @ false))) =
                        (find(&inventory, number), model.live.get_mut(&number))
                    {
                        inventory.accept(slot, Instant::ZERO, Duration::ZERO);
                        *accepted = true;
                        model.accepted.push(number);
                    }
                }
                Step::Remove(number) => {
                    if let Some(slot) = find(&inventory, number) {
                        prop_assert_eq!(inventory.remove(slot).map(|entry| entry.hash), Some(hash(number)));
                        model.live.remove(&number);
                    }
                }
                Step::Close(peer) => {
                    let end = inventory.sweep_end();
                    while inventory.swept() < end {
                        inventory.sweep(&PeerSet::from_iter([peer]));
                    }
                    model.live.values_mut().for_each(|(peers, _)| {
 let _ = peers.remove(&peer);
});
                }
                Step::Add(_) => {}
            }
            prop_assert_eq!(inventory.len(), model.live.len());
            check(&inventory, &model)?;
        }
    }
}

#[test]
fn a_dropped_announcement_is_lost_in_the_log_and_remembered_by_its_fingerprint() {
    let mut inventory = inventory(4);
    let slot = add(&mut inventory, 0);
    let position = inventory.accept(slot, Instant::ZERO, Duration::ZERO);
    add(&mut inventory, 1);
    (2..6).for_each(|number| {
        let _ = add(&mut inventory, number);
    });
    assert_eq!(inventory.log().get(position), Record::Lost);
    assert!(inventory.was_seen(inventory.id(hash(0))));
    assert!(!inventory.was_seen(inventory.id(hash(1))), "an entry that was never announced was remembered");
    assert_eq!(inventory.len(), 4);
}

#[test]
fn a_preferred_announcer_is_held_although_the_entry_is_full() {
    let mut inventory = inventory(4);
    let slot = add(&mut inventory, 0);
    let is_preferred = |peer| Some(peer >= 100);
    for peer in 0..RELAY_ANNOUNCERS as u32 {
        assert_eq!(inventory.add_announcer(slot, peer, is_preferred), Added::Held);
    }
    inventory.get_mut(slot).expect("the entry exists").note_asked(0);
    assert_eq!(inventory.add_announcer(slot, 5, is_preferred), Added::Spilled);
    assert_eq!(inventory.add_announcer(slot, 5, is_preferred), Added::Known);
    assert_eq!(inventory.add_announcer(slot, 100, is_preferred), Added::Held);
    let entry = inventory.get(slot).expect("the entry exists");
    assert!(entry.unasked().any(|peer| peer == 100), "a replaced announcer's flag remained");
    assert!([0, 5, 100].into_iter().all(|peer| inventory.is_announced_by(entry, peer)));
}

#[test]
fn a_closed_announcer_enters_no_set_that_was_swept_before() {
    let mut inventory = inventory(3 * RELAY_SWEEP_STEP);
    let is_preferred = |peer| (peer != 0).then_some(peer >= 100);
    let [slot, other] = [0, 1].map(|number| add(&mut inventory, number));
    for (slot, peers) in [(slot, 0..5), (other, 10..15)] {
        for peer in peers {
            assert_eq!(inventory.add_announcer(slot, peer, |_| Some(false)), Added::Held);
        }
    }
    // The sweep passes all entries, and stops before the sets.
    (0..3).for_each(|_| inventory.sweep(&PeerSet::default()));
    assert_eq!(inventory.add_announcer(other, 15, is_preferred), Added::Spilled);
    assert_eq!(inventory.add_announcer(slot, 20, is_preferred), Added::Spilled);
    // Peer 0 closes. Its sweep begins with the sets, and then an upstream replaces it in its entry.
    let end = inventory.sweep_end();
    inventory.sweep(&PeerSet::from_iter([0]));
    assert_eq!(inventory.add_announcer(slot, 100, is_preferred), Added::Held);
    while inventory.swept() < end {
        inventory.sweep(&PeerSet::from_iter([0]));
    }
    let entry = inventory.get(slot).expect("the entry exists");
    assert!(!inventory.is_announced_by(entry, 0), "a trace of the closed peer outlived its sweep");
    assert!([1, 20, 100].into_iter().all(|peer| inventory.is_announced_by(entry, peer)));
}

#[test]
fn held_transactions_are_passed_and_keep_their_slots() {
    let mut inventory = inventory(4);
    let slots = [0, 1, 2, 3].map(|number| add(&mut inventory, number));
    for slot in [0, 2, 3].map(|at: usize| slots[at]) {
        inventory.get_mut(slot).expect("the entry exists").state = State::Held;
    }
    assert!(inventory.pass_held());
    assert_eq!(add(&mut inventory, 4), slots[1], "a slot was passed that is not held");
    inventory.get_mut(slots[1]).expect("the entry exists").state = State::Held;
    assert!(!inventory.pass_held(), "all are held");
    assert_eq!(inventory.len(), 4);
    inventory.remove(slots[3]);
    assert!(inventory.pass_held());
    assert_eq!(add(&mut inventory, 5), slots[3]);
    assert!([0, 2, 4, 5].iter().all(|&number| find(&inventory, number).is_some()));
}

#[test]
fn at_most_a_bounded_number_of_held_transactions_is_passed_at_a_time() {
    let mut inventory = inventory(RELAY_HELD_STEPS + 10);
    for number in 0..RELAY_HELD_STEPS as u32 + 10 {
        let slot = add(&mut inventory, number);
        let is_last = number == RELAY_HELD_STEPS as u32 + 9;
        inventory.get_mut(slot).expect("the entry exists").state = if is_last { State::Wanted } else { State::Held };
    }
    assert_eq!([inventory.pass_held(), inventory.pass_held()], [false, true]);
    assert_eq!(inventory.victim(), Some(RELAY_HELD_STEPS as u32 + 9));
}

#[test]
fn spill_sets_are_freed_once_all_peers_have_passed() {
    let mut inventory = inventory(MAX_RELAY_SPILLS + 10);
    for number in 0..MAX_RELAY_SPILLS as u32 + 1 {
        let slot = add(&mut inventory, number);
        let added: Vec<Added> = (0..6).map(|peer| inventory.add_announcer(slot, peer, |_| Some(false))).collect();
        let is_last = number == MAX_RELAY_SPILLS as u32;
        assert_eq!(added[5], if is_last { Added::Dropped } else { Added::Spilled });
        if number % 2 == 0 {
            inventory.accept(slot, Instant::ZERO, Duration::ZERO);
        }
    }
    assert_eq!(inventory.spills_used(), MAX_RELAY_SPILLS);
    inventory.pass(100);
    assert_eq!(inventory.spills_used(), MAX_RELAY_SPILLS - 100);
    inventory.pass(u64::MAX);
    assert_eq!(inventory.spills_used(), MAX_RELAY_SPILLS / 2);
    let slot = find(&inventory, 0).expect("the entry exists");
    inventory.add_announcer(slot, 7, |_| Some(false));
    assert_eq!(inventory.spills_used(), MAX_RELAY_SPILLS / 2 + 1);
    inventory.pass(u64::MAX);
    assert_eq!(inventory.spills_used(), MAX_RELAY_SPILLS / 2);
}

#[test]
fn a_refusal_counts_until_the_next_tip() {
    let mut inventory = inventory(4);
    let slot = add(&mut inventory, 0);
    for (refusal, is_final) in [(Refusal::Rejected, false), (Refusal::Dropped, true)] {
        inventory.refuse(slot, refusal);
        let is_refused = |inventory: &Inventory| {
            let entry = inventory.get(slot).expect("the entry exists");
            [false, true].map(|is_upstream| inventory.is_refused(entry, is_upstream))
        };
        assert_eq!(is_refused(&inventory), [true, is_final]);
        inventory.clear_refusals();
        assert_eq!(is_refused(&inventory), [false, false]);
    }
    inventory.remove(slot);
    assert!(!inventory.was_seen(inventory.id(hash(0))));
}

#[test]
fn an_entry_that_outlives_the_log_keeps_no_position_in_it() {
    let mut inventory = inventory(RELAY_LOG_LEN + 10);
    let first = add(&mut inventory, 0);
    inventory.accept(first, Instant::ZERO, Duration::ZERO);
    for number in 1..=RELAY_LOG_LEN as u32 {
        let slot = add(&mut inventory, number);
        inventory.accept(slot, Instant::ZERO, Duration::ZERO);
    }
    inventory.remove(first);
    assert!((1..=RELAY_LOG_LEN as u64).all(|at| inventory.log().get(at) == Record::Accepted(at as u32)));
}
