//! The journal: when batches go out, what is in them, and when a ban is durable.

use crate::support::{address, ban, chance, host, peer, rich_peer};
use peerloop::limits::{BOOK_BATCH_MAX, BOOK_DELAY};
use peerloop::store::{Batch, Change, Journal, MemoryStore, PeerStore, Persisted, StoreError};
use peerloop::time::{Instant, Wait};
use proptest::prelude::*;
use rand::RngExt;
use std::time::Duration;

fn at(millis: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_millis(millis))
}

fn done(batch: &Batch) -> Persisted {
    Persisted { id: batch.id, result: Ok(()) }
}

#[test]
fn seed_e40_a_change_waits_for_others_and_then_goes_out_with_them() {
    let mut journal = Journal::new();
    assert_eq!((journal.wait(), journal.next_batch(at(0))), (Wait::Forever, None));
    journal.record(Change::PutPeer(peer(1)), false, at(10));
    journal.record(Change::PutPeer(peer(2)), false, at(400));
    let due = at(10).plus(BOOK_DELAY);
    assert_eq!(journal.wait(), Wait::Until(due));
    assert_eq!(journal.next_batch(due.minus(Duration::from_nanos(1))), None);
    let batch = journal.next_batch(due).unwrap();
    assert_eq!(batch.changes, [Change::PutPeer(peer(1)), Change::PutPeer(peer(2))]);
    assert!(BOOK_DELAY < Duration::from_secs(1), "there is time left to write it within a second");
    assert!(!journal.is_durable());
    assert_eq!(journal.persisted(&done(&batch)), []);
    assert!(journal.is_durable());
}

#[test]
fn seed_e38_a_ban_goes_out_at_once_and_is_durable_with_the_answer() {
    let mut journal = Journal::new();
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    journal.record(Change::PutBan(ban(1)), false, at(1));
    assert_eq!(journal.wait(), Wait::Zero);
    let first = journal.next_batch(at(1)).unwrap();
    assert_eq!(first.changes, [Change::PutBan(ban(1)), Change::PutPeer(peer(1))], "bans first");

    journal.record(Change::RemoveBan(host(2)), true, at(2));
    assert_eq!((journal.wait(), journal.next_batch(at(9_000))), (Wait::Forever, None), "one at a time");
    assert_eq!(journal.persisted(&done(&first)), [Change::PutBan(ban(1))]);
    assert_eq!(journal.persisted(&done(&first)), [], "an answer counts once");
    let second = journal.next_batch(at(9_000)).unwrap();
    assert_eq!(journal.persisted(&done(&second)), [Change::RemoveBan(host(2))]);
}

#[test]
fn no_ban_is_durable_by_an_error_or_by_the_answer_to_an_earlier_batch() {
    let mut journal = Journal::new();
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    let failed = Persisted { id: batch.id, result: Err(StoreError::Full) };
    assert_eq!(journal.persisted(&failed), []);
    assert!(journal.is_failing() && !journal.is_durable());
    assert_eq!(journal.next_batch(at(9_000)), None, "it is kept by whoever writes it");
    assert_eq!(journal.persisted(&Persisted { id: batch.id - 1, result: Ok(()) }), []);
    assert_eq!(journal.persisted(&done(&batch)), [Change::PutBan(ban(1))]);
    assert!(!journal.is_failing() && journal.is_durable());
}

#[test]
fn the_last_change_of_a_peer_takes_the_place_and_the_age_of_those_before() {
    let mut journal = Journal::new();
    let mut changed = peer(1);
    changed.failures = 3;
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    journal.record(Change::PutPeer(peer(2)), true, at(1));
    journal.record(Change::PutPeer(changed.clone()), true, at(300));
    journal.record(Change::RemovePeer(address(2)), true, at(301));
    assert_eq!(journal.wait(), Wait::Until(at(0).plus(BOOK_DELAY)));
    let batch = journal.next_batch(at(500)).unwrap();
    assert_eq!(batch.changes, [Change::PutPeer(changed), Change::RemovePeer(address(2))]);
}

#[test]
fn what_comes_and_goes_before_it_was_written_leaves_nothing() {
    let mut journal = Journal::new();
    for number in 0..100_000 {
        journal.record(Change::PutPeer(peer(number)), false, at(0));
        journal.record(Change::RemovePeer(address(number)), true, at(0));
        journal.record(Change::PutBan(ban(number)), false, at(0));
        journal.record(Change::RemoveBan(host(number)), true, at(0));
    }
    assert!(journal.is_durable());
    assert_eq!(journal.wait(), Wait::Forever);
    // But what may be on the disk is removed there, also if it came back meanwhile.
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    journal.record(Change::RemoveBan(host(1)), true, at(1));
    journal.record(Change::PutBan(ban(1)), false, at(2));
    journal.record(Change::RemoveBan(host(1)), true, at(3));
    journal.persisted(&done(&batch));
    assert_eq!(journal.next_batch(at(4)).unwrap().changes, [Change::RemoveBan(host(1))]);
}

#[test]
fn a_batch_has_a_most_and_the_oldest_changes_come_first() {
    let mut journal = Journal::new();
    let count = 2 * BOOK_BATCH_MAX as u32 + 10;
    for number in (0..count).rev() {
        journal.record(Change::PutPeer(peer(number)), false, at(0));
    }
    assert_eq!(journal.wait(), Wait::Zero, "a full batch waits for nothing");
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    assert_eq!(batch.changes.len(), BOOK_BATCH_MAX);
    assert_eq!(batch.changes[0], Change::PutBan(ban(1)));
    assert_eq!(batch.changes[1], Change::PutPeer(peer(count - 1)));
    journal.persisted(&done(&batch));
    assert_eq!(journal.next_batch(at(0)).unwrap().changes[0], Change::PutPeer(peer(count - BOOK_BATCH_MAX as u32)));
}

#[test]
fn a_loop_that_stops_waits_for_nothing() {
    let mut journal = Journal::new();
    journal.hurry();
    assert_eq!(journal.wait(), Wait::Forever);
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    assert_eq!(journal.wait(), Wait::Zero);
    assert!(journal.next_batch(at(0)).is_some());
}

proptest! {
    /// Whatever happens in whatever order, the disk holds in the end what the loop does, and never more than a batch
    /// behind what it was told.
    #[test]
    fn the_disk_follows_the_loop(steps in prop::collection::vec((0..8_u8, 0..12_u32), 0..200), seed: u64) {
        let mut rng = chance(seed);
        let mut memory = MemoryStore::new(&mut rng);
        let mut disk = MemoryStore::new(&mut rng);
        let mut journal = Journal::new();
        let mut under_way: Option<Batch> = None;
        let mut millis = 0;
        for (kind, number) in steps {
            millis += rng.random_range(0..200);
            let change = match kind {
                0..3 => Change::PutPeer(rich_peer(number, &mut rng)),
                3 => Change::RemovePeer(address(number)),
                4 => Change::PutBan(ban(number)),
                5 => Change::RemoveBan(host(number)),
                _ => {
                    under_way = under_way.or_else(|| journal.next_batch(at(millis)));
                    if kind == 7 && let Some(batch) = under_way.take() {
                        disk.apply(&batch.changes).unwrap();
                        journal.persisted(&done(&batch));
                    }
                    continue;
                }
            };
            let was_known = match &change {
                Change::PutPeer(peer) => memory.peer(peer.address()).is_some(),
                Change::RemovePeer(address) => memory.peer(*address).is_some(),
                Change::PutBan(ban) => memory.bans().unwrap().iter().any(|known| known.host == ban.host),
                Change::RemoveBan(host) => memory.bans().unwrap().iter().any(|known| known.host == *host),
            };
            memory.apply(std::slice::from_ref(&change)).unwrap();
            journal.record(change, was_known, at(millis));
        }
        journal.hurry();
        while let Some(batch) = under_way.take().or_else(|| journal.next_batch(at(millis))) {
            disk.apply(&batch.changes).unwrap();
            journal.persisted(&done(&batch));
        }
        prop_assert!(journal.is_durable());
        prop_assert_eq!(memory.list_all(), disk.list_all());
        prop_assert_eq!(memory.bans(), disk.bans());
    }
}
