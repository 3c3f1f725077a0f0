//! Files that were truncated or overwritten: opening one never panics and never invents content.

use crate::support::{Folder, ban, chance, is_long, peer, rich_peer};
use peerloop::store::{Change, PeerStore, RedbStore, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use std::fs;

/// Number of peers in the book after its second-to-last commit.
const BEFORE: usize = 150;
/// Number of peers in the book after its last commit, and number of bans after each of these two commits.
const AFTER: usize = 200;
/// Number of bytes at the start of a database file that identify it.
const MAGIC_BYTES: usize = 9;

/// Returns the bytes of a book's file after a crash and after an orderly close.
fn books() -> [Vec<u8>; 2] {
    let folder = Folder::new();
    let mut rng = chance(1);
    let (mut store, _) = RedbStore::open(folder.book()).unwrap();
    let bans = (0..AFTER as u32).map(|number| Change::PutBan(ban(number)));
    let mut changes: Vec<Change> =
        (0..BEFORE as u32).map(|number| Change::PutPeer(rich_peer(number, &mut rng))).collect();
    changes.extend(bans);
    store.apply(&changes).unwrap();
    let last: Vec<Change> = (BEFORE as u32..AFTER as u32).map(|number| Change::PutPeer(peer(number))).collect();
    store.apply(&last).unwrap();
    let crashed = fs::read(folder.book()).unwrap();
    drop(store);
    [crashed, fs::read(folder.book()).unwrap()]
}

fn spoil(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let len = bytes.len();
    match rng.random_range(0..5) {
        0 => bytes.truncate(rng.random_range(0..len)),
        1 => bytes[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
        // The first 400 bytes contain the file's header.
        2 => bytes[rng.random_range(0..400)] ^= 1 << rng.random_range(0..8),
        3 => {
            for _ in 0..rng.random_range(1..20) {
                bytes[rng.random_range(0..len)] = rng.random();
            }
        }
        _ => {
            let start = rng.random_range(0..len);
            let end = len.min(start + rng.random_range(1..8_192));
            rng.fill_bytes(&mut bytes[start..end]);
        }
    }
}

#[test]
fn fault_e10_a_spoilt_file_is_refused_or_set_aside_or_has_the_state_of_a_commit() {
    // Damage to the last commit looks like a commit that a crash cut short. The book then has the whole state after the
    // previous commit.
    let books = books();
    let (mut set_aside, mut kept, mut left_alone) = (0, 0, 0);
    for seed in 0..if is_long() { 5_000 } else { 200 } {
        let mut rng = chance(seed);
        let mut bytes = books[rng.random_range(0..2)].clone();
        spoil(&mut bytes, &mut rng);
        let folder = Folder::new();
        fs::write(folder.book(), &bytes).unwrap();
        // A file whose first bytes differ is not recognised as a book, and is not changed.
        if bytes.len() >= MAGIC_BYTES && bytes[..MAGIC_BYTES] != books[0][..MAGIC_BYTES] {
            assert!(matches!(RedbStore::open(folder.book()), Err(StoreError::Unfit { .. })), "seed {seed}");
            assert!(fs::read(folder.book()).unwrap() == bytes, "seed {seed}");
            left_alone += 1;
            continue;
        }
        let (mut store, opened) = RedbStore::open(folder.book()).unwrap();
        let (peers, bans) = (store.list_all().unwrap().len(), store.bans().unwrap().len());
        match opened.set_aside {
            Some(_) => assert_eq!((peers, bans), (0, 0), "seed {seed}"),
            None => assert!(
                matches!((peers, bans), (AFTER | BEFORE, AFTER) | (0, 0)),
                "seed {seed}: {peers} peers and {bans} bans"
            ),
        }
        if opened.set_aside.is_some() {
            set_aside += 1
        } else {
            kept += 1
        }
        store.apply(&[Change::PutPeer(peer(7)), Change::PutBan(ban(7))]).unwrap();
    }
    println!("{set_aside} set aside, {kept} kept and {left_alone} left alone");
    assert!(set_aside > 0 && kept > 0);
}
