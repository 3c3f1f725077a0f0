//! The writer without its thread: the batches that it keeps, its retries and its completions.

use crate::support::{Faulty, address, ban, peer};
use peerloop::internals::limits::{BOOK_RETRY_FIRST, MAX_BOOK_BATCH, MAX_BOOK_PEERS, MAX_BOOK_RETRY};
use peerloop::internals::store::{Batch, Persisted, Writer};
use peerloop::store::{Change, PeerStore, StoreError};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn batch(id: u64, changes: impl Into<Vec<Change>>) -> Batch {
    Batch { id, changes: changes.into() }
}

#[test]
fn a_batch_is_written_and_completed() {
    let (store, _, content) = Faulty::new();
    let mut writer = Writer::new(store);
    assert_eq!((writer.pause(), writer.attempt()), (None, None));
    writer.take(batch(1, [Change::PutBan(ban(1))]));
    assert_eq!(writer.pause(), Some(Duration::ZERO));
    assert_eq!(writer.attempt(), Some(Persisted { id: 1, result: Ok(()) }));
    assert_eq!((writer.pause(), writer.attempt()), (None, None));
    assert_eq!(content.lock().unwrap().bans(), Ok(vec![ban(1)]));
}

#[test]
fn a_fault_and_its_end_are_reported_once_each_and_nothing_is_lost() {
    let (store, is_broken, content) = Faulty::new();
    let mut writer = Writer::new(store);
    is_broken.store(true, Ordering::Relaxed);
    let mut pause = BOOK_RETRY_FIRST;
    for attempt in 1..40_u64 {
        writer.take(batch(attempt, [Change::PutPeer(peer(attempt as u32))]));
        let completion = writer.attempt();
        assert_eq!(completion, (attempt == 1).then_some(Persisted { id: 1, result: Err(StoreError::WriterEnded) }));
        assert_eq!(writer.failure(), Some(&StoreError::WriterEnded));
        assert_eq!(writer.pause(), Some(pause));
        pause = (pause * 2).min(MAX_BOOK_RETRY);
    }
    is_broken.store(false, Ordering::Relaxed);
    assert_eq!(writer.attempt(), Some(Persisted { id: 39, result: Ok(()) }));
    assert_eq!((writer.pause(), writer.failure()), (None, None));
    assert_eq!(content.lock().unwrap().list_all().unwrap().len(), 39);

    is_broken.store(true, Ordering::Relaxed);
    writer.take(batch(40, [Change::PutBan(ban(1))]));
    assert!(matches!(writer.attempt(), Some(Persisted { id: 40, result: Err(_) })), "the new fault was not reported");
    assert_eq!(writer.pause(), Some(BOOK_RETRY_FIRST));
}

#[test]
fn many_batches_are_written_in_parts_of_bounded_size() {
    let (store, is_broken, content) = Faulty::new();
    let mut writer = Writer::new(store);
    is_broken.store(true, Ordering::Relaxed);
    let count = 3 * MAX_BOOK_BATCH as u32;
    for number in 0..count {
        writer.take(batch(u64::from(number), [Change::PutPeer(peer(number)), Change::PutBan(ban(number))]));
    }
    writer.attempt();
    is_broken.store(false, Ordering::Relaxed);
    assert!(matches!(writer.attempt(), Some(Persisted { result: Ok(()), .. })));
    let content = content.lock().unwrap();
    assert_eq!((content.len(), content.bans().unwrap().len()), (count as usize, count as usize));
}

#[test]
fn in_a_full_store_removals_make_room_for_new_peers() {
    let (store, _, content) = Faulty::new();
    // The removed peers have IPv6 addresses, the added ones IPv4 addresses.
    let known: Vec<Change> = (0..MAX_BOOK_PEERS as u32).map(|number| Change::PutPeer(peer(2 * number + 1))).collect();
    content.lock().unwrap().apply(&known).unwrap();
    let mut writer = Writer::new(store);
    let count = MAX_BOOK_BATCH as u32 + 1;
    writer.take(batch(1, (0..count).map(|number| Change::PutPeer(peer(2 * number))).collect::<Vec<_>>()));
    writer.take(batch(2, (0..count).map(|number| Change::RemovePeer(address(2 * number + 1))).collect::<Vec<_>>()));
    assert_eq!(writer.attempt(), Some(Persisted { id: 2, result: Ok(()) }));
    let content = content.lock().unwrap();
    assert_eq!((content.len(), content.peer(address(2 * count - 2)).is_some()), (MAX_BOOK_PEERS, true));
}

#[test]
fn the_last_pending_change_of_each_peer_prevails() {
    let (store, is_broken, content) = Faulty::new();
    let mut writer = Writer::new(store);
    is_broken.store(true, Ordering::Relaxed);
    let mut changed = peer(1);
    changed.failures = 7;
    writer.take(batch(1, [Change::PutPeer(peer(1)), Change::PutPeer(peer(2))]));
    writer.attempt();
    writer.take(batch(2, [Change::PutPeer(changed.clone()), Change::RemovePeer(address(2))]));
    is_broken.store(false, Ordering::Relaxed);
    writer.attempt();
    assert_eq!(content.lock().unwrap().list_all(), Ok(vec![changed]));
}
