//! The journal: the times and contents of its batches, and the durability of bans.

use crate::support::{Faulty, address, ban, chance, host, peer, rich_peer};
use peerloop::address::Host;
use peerloop::ban::Ban;
use peerloop::internals::limits::{BOOK_DELAY, MAX_BOOK_ANSWER, MAX_BOOK_BATCH};
use peerloop::internals::store::{Batch, Journal, MemoryStore, Persisted, Writer};
use peerloop::store::{Change, KnownPeer, PeerStore, StoreError};
use peerloop::time::{Instant, Wait};
use proptest::prelude::*;
use rand::RngExt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn at(millis: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_millis(millis))
}

fn done(batch: &Batch) -> Persisted {
    Persisted { id: batch.id, result: Ok(()) }
}

#[test]
fn req_e40_a_change_waits_for_others_and_is_written_with_them() {
    let mut journal = Journal::new();
    assert_eq!((journal.wait(), journal.next_batch(at(0))), (Wait::Forever, None));
    journal.record(Change::PutPeer(peer(1)), false, at(10));
    journal.record(Change::PutPeer(peer(2)), false, at(400));
    let due = at(10).plus(BOOK_DELAY);
    assert_eq!(journal.wait(), Wait::Until(due));
    assert_eq!(journal.next_batch(due.minus(Duration::from_nanos(1))), None);
    let batch = journal.next_batch(due).unwrap();
    assert_eq!(batch.changes, [Change::PutPeer(peer(1)), Change::PutPeer(peer(2))]);
    assert!(BOOK_DELAY < Duration::from_secs(1), "no time remains to write the change within a second");
    assert!(!journal.is_durable());
    assert_eq!(journal.persisted(&done(&batch)), []);
    assert!(journal.is_durable());
}

#[test]
fn req_e38_a_ban_is_written_at_once_and_is_durable_when_its_batch_completes() {
    let mut journal = Journal::new();
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    journal.record(Change::PutBan(ban(1)), false, at(1));
    assert_eq!(journal.wait(), Wait::Zero);
    let first = journal.next_batch(at(1)).unwrap();
    assert_eq!(
        first.changes,
        [Change::PutBan(ban(1)), Change::PutPeer(peer(1))],
        "the batch is not the ban followed by the peer"
    );

    journal.record(Change::RemoveBan(host(2)), true, at(2));
    assert_eq!(
        (journal.wait(), journal.next_batch(at(9_000))),
        (Wait::Until(at(1).plus(MAX_BOOK_ANSWER)), None),
        "a second batch was returned, or the deadline is not the first batch's"
    );
    assert_eq!(journal.persisted(&done(&first)), [Change::PutBan(ban(1))]);
    assert_eq!(journal.persisted(&done(&first)), [], "a repeated completion reported the ban as durable again");
    let second = journal.next_batch(at(9_000)).unwrap();
    assert_eq!(journal.persisted(&done(&second)), [Change::RemoveBan(host(2))]);
}

#[test]
fn neither_an_error_nor_an_earlier_batchs_completion_makes_a_ban_durable() {
    let mut journal = Journal::new();
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    let failed = Persisted { id: batch.id, result: Err(StoreError::Full) };
    assert_eq!(journal.persisted(&failed), []);
    assert!(journal.is_failing() && !journal.is_durable());
    assert_eq!(journal.next_batch(at(9_000)), None, "a batch was returned while the writer still had one");
    assert_eq!(journal.persisted(&Persisted { id: batch.id - 1, result: Ok(()) }), []);
    assert_eq!(journal.persisted(&done(&batch)), [Change::PutBan(ban(1))]);
    assert!(!journal.is_failing() && journal.is_durable());
}

#[test]
fn fault_e09_an_overdue_batch_is_reported_as_late_once_and_counts_as_failing_until_it_is_durable() {
    let mut journal = Journal::new();
    assert!(!journal.note_late(at(1_000_000)), "lateness was reported although no batch was being written");
    journal.record(Change::PutBan(ban(1)), false, at(0));
    assert!(!journal.note_late(at(1_000_000)), "lateness was reported before the batch was returned");
    let batch = journal.next_batch(at(7)).unwrap();
    let due = at(7).plus(MAX_BOOK_ANSWER);
    assert_eq!((journal.wait(), journal.note_late(due.minus(Duration::from_nanos(1)))), (Wait::Until(due), false));
    assert!(!journal.is_failing());
    assert!(journal.note_late(due) && journal.is_failing());
    assert_eq!(
        (journal.wait(), journal.note_late(Instant::MAX)),
        (Wait::Forever, false),
        "lateness was reported again, or another report is due"
    );
    journal.record(Change::PutBan(ban(2)), false, at(8));
    assert_eq!(
        (journal.wait(), journal.next_batch(Instant::MAX)),
        (Wait::Forever, None),
        "a second batch was due or returned while the first was being written"
    );
    assert_eq!(journal.persisted(&done(&batch)), [Change::PutBan(ban(1))]);
    assert!(!journal.is_failing());
    let batch = journal.next_batch(due).unwrap();
    journal.persisted(&Persisted { id: batch.id, result: Err(StoreError::Full) });
    assert_eq!(
        (journal.wait(), journal.note_late(Instant::MAX)),
        (Wait::Forever, false),
        "a failed batch was also reported as late, or such a report is due"
    );
}

#[test]
fn a_peers_changes_are_merged_and_due_with_the_first_and_removals_are_written_first() {
    let mut journal = Journal::new();
    let mut changed = peer(1);
    changed.failures = 3;
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    journal.record(Change::PutPeer(peer(2)), true, at(1));
    journal.record(Change::PutPeer(changed.clone()), true, at(300));
    journal.record(Change::RemovePeer(address(2)), true, at(301));
    assert_eq!(journal.wait(), Wait::Until(at(0).plus(BOOK_DELAY)));
    let batch = journal.next_batch(at(500)).unwrap();
    assert_eq!(batch.changes, [Change::RemovePeer(address(2)), Change::PutPeer(changed)]);
}

#[test]
fn a_change_undone_before_it_was_written_is_not_written() {
    let mut journal = Journal::new();
    for number in 0..100_000 {
        journal.record(Change::PutPeer(peer(number)), false, at(0));
        journal.record(Change::RemovePeer(address(number)), true, at(0));
        journal.record(Change::PutBan(ban(number)), false, at(0));
        journal.record(Change::RemoveBan(host(number)), true, at(0));
    }
    assert!(journal.is_durable());
    assert_eq!(journal.wait(), Wait::Forever);
    // A ban that may already be on disk must be removed there, although the last two changes alone cancel each other.
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    journal.record(Change::RemoveBan(host(1)), true, at(1));
    journal.record(Change::PutBan(ban(1)), false, at(2));
    journal.record(Change::RemoveBan(host(1)), true, at(3));
    journal.persisted(&done(&batch));
    assert_eq!(journal.next_batch(at(4)).unwrap().changes, [Change::RemoveBan(host(1))]);
}

#[test]
fn a_batch_is_bounded_and_lists_bans_before_the_oldest_changes_of_peers() {
    let mut journal = Journal::new();
    let count = 2 * MAX_BOOK_BATCH as u32 + 10;
    for number in (0..count).rev() {
        journal.record(Change::PutPeer(peer(number)), false, at(0));
    }
    assert_eq!(journal.wait(), Wait::Zero, "a full batch waits");
    journal.record(Change::PutBan(ban(1)), false, at(0));
    let batch = journal.next_batch(at(0)).unwrap();
    assert_eq!(batch.changes.len(), MAX_BOOK_BATCH);
    assert_eq!(batch.changes[0], Change::PutBan(ban(1)));
    assert_eq!(batch.changes[1], Change::PutPeer(peer(count - 1)));
    journal.persisted(&done(&batch));
    assert_eq!(journal.next_batch(at(0)).unwrap().changes[0], Change::PutPeer(peer(count - MAX_BOOK_BATCH as u32)));
}

#[test]
fn a_stopping_loops_journal_returns_a_batch_without_delay() {
    let mut journal = Journal::new();
    journal.write_at_once();
    assert_eq!(journal.wait(), Wait::Forever);
    journal.record(Change::PutPeer(peer(1)), false, at(0));
    assert_eq!(journal.wait(), Wait::Zero);
    assert!(journal.next_batch(at(0)).is_some());
}

/// A loop's own book, kept in plain maps, and its journal.
#[derive(Default)]
struct Loop {
    peers: BTreeMap<SocketAddr, KnownPeer>,
    bans: BTreeMap<Host, Ban>,
    journal: Journal,
    millis: u64,
}

impl Loop {
    /// Returns a loop whose book has the same peers as a disk that [`fill`] filled with `count` peers.
    fn with_peers(count: usize) -> Self {
        let peers = (0..count as u32).map(|number| (address(number), peer(number))).collect();
        Self { peers, ..Self::default() }
    }

    fn change(&mut self, change: Change) {
        let was_known = match &change {
            Change::PutPeer(peer) => self.peers.insert(peer.address(), peer.clone()).is_some(),
            Change::RemovePeer(address) => self.peers.remove(address).is_some(),
            Change::PutBan(ban) => self.bans.insert(ban.host, *ban).is_some(),
            Change::RemoveBan(host) => self.bans.remove(host).is_some(),
        };
        self.journal.record(change, was_known, at(self.millis));
    }

    /// Replaces `victim` with `newcomer`. `newcomer_first` sets the order of the two changes.
    fn exchange(&mut self, victim: SocketAddr, newcomer: KnownPeer, newcomer_first: bool) {
        let mut changes = [Change::RemovePeer(victim), Change::PutPeer(newcomer)];
        if newcomer_first {
            changes.reverse();
        }
        changes.into_iter().for_each(|change| self.change(change));
    }

    fn is_as(&self, disk: &MemoryStore) -> bool {
        disk.list_all().unwrap().iter().eq(self.peers.values()) && disk.bans().unwrap().iter().eq(self.bans.values())
    }
}

fn fill(disk: &mut MemoryStore, count: usize) {
    let all: Vec<Change> = (0..count as u32).map(|number| Change::PutPeer(peer(number))).collect();
    disk.apply(&all).unwrap();
}

#[test]
fn a_disk_with_the_loops_capacity_has_room_for_every_batch() {
    const COUNT: u32 = MAX_BOOK_BATCH as u32 + 100;
    let mut disk = MemoryStore::with_limit(COUNT as usize, &mut chance(1));
    fill(&mut disk, COUNT as usize);
    let mut book = Loop::with_peers(COUNT as usize);
    // The oldest change concerns peer 0, which is removed here and added again below. The oldest change therefore
    // frees no room.
    book.exchange(address(0), peer(COUNT), false);
    (1..MAX_BOOK_BATCH as u32 - 1).for_each(|number| book.change(Change::PutPeer(peer(number))));
    book.exchange(address(COUNT), peer(COUNT + 1), false);
    book.exchange(address(COUNT - 1), peer(0), false);
    book.journal.write_at_once();
    while let Some(batch) = book.journal.next_batch(at(0)) {
        assert_eq!(disk.apply(&batch.changes), Ok(()));
        book.journal.persisted(&done(&batch));
    }
    assert!(book.is_as(&disk));
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        number: u32,
        newcomer_first: bool,
    },
    Remove(u32),
    Ban(u32),
    Unban(u32),
    /// Changes every peer. In a full book, these are more changes than fit in a batch.
    Touch,
    HandOut,
    Write {
        fails: bool,
    },
}

/// Number of peers in a full book of the random test: a few more than fit in a batch.
const FEW_MORE: usize = MAX_BOOK_BATCH + 8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || prop_oneof![0..8_u32, FEW_MORE as u32 - 8..FEW_MORE as u32 + 8];
    let step = prop_oneof![
        8 => (number(), any::<bool>()).prop_map(|(number, newcomer_first)| Step::Put { number, newcomer_first }),
        3 => number().prop_map(Step::Remove),
        3 => (0..6_u32).prop_map(Step::Ban),
        2 => (0..6_u32).prop_map(Step::Unban),
        1 => Just(Step::Touch),
        4 => Just(Step::HandOut),
        4 => any::<bool>().prop_map(|fails| Step::Write { fails }),
    ];
    prop::collection::vec(step, 0..60)
}

/// The journal's writer, the batch that it is writing, and a disk that may fail.
struct Path {
    writer: Writer<Faulty>,
    is_broken: Arc<AtomicBool>,
    disk: Arc<Mutex<MemoryStore>>,
    under_way: Option<Batch>,
}

impl Path {
    fn hand_out(&mut self, book: &mut Loop) -> Result<(), TestCaseError> {
        let Some(batch) = book.journal.next_batch(at(book.millis)) else { return Ok(()) };
        prop_assert!(self.under_way.is_none() && (1..=MAX_BOOK_BATCH).contains(&batch.changes.len()));
        let rank = |change: &Change| match change {
            Change::RemoveBan(_) => 0,
            Change::PutBan(_) => 1,
            Change::RemovePeer(_) => 2,
            Change::PutPeer(_) => 3,
        };
        prop_assert!(batch.changes.iter().map(rank).is_sorted());
        self.under_way = Some(batch.clone());
        self.writer.take(batch);
        Ok(())
    }

    fn write(&mut self, book: &mut Loop, fails: bool) -> Result<(), TestCaseError> {
        self.is_broken.store(fails, Ordering::Relaxed);
        let before = fails.then(|| self.disk.lock().unwrap().list_all());
        let Some(answer) = self.writer.attempt() else { return Ok(()) };
        let durable = book.journal.persisted(&answer);
        let disk = self.disk.lock().unwrap();
        if fails {
            prop_assert!(answer.result.is_err() && durable.is_empty() && book.journal.is_failing());
            prop_assert!(!book.journal.is_durable() && before == Some(disk.list_all()));
            return Ok(());
        }
        prop_assert_eq!(&answer.result, &Ok(()), "the write failed although the disk has room");
        let batch = self.under_way.take().expect("a batch was written");
        let bans = batch.changes.iter().filter(|change| matches!(change, Change::PutBan(_) | Change::RemoveBan(_)));
        prop_assert!(durable.iter().eq(bans), "the durable changes are not exactly the batch's bans");
        for change in &batch.changes {
            let is_on_disk = match change {
                Change::PutPeer(peer) => disk.peer(peer.address()) == Some(peer),
                Change::RemovePeer(address) => disk.peer(*address).is_none(),
                Change::PutBan(ban) => disk.bans().unwrap().contains(ban),
                Change::RemoveBan(host) => disk.bans().unwrap().iter().all(|ban| ban.host != *host),
            };
            prop_assert!(is_on_disk);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    /// In any order of events, and however often writes fail, the disk has the contents of the loop's book in the end.
    #[test]
    fn the_disk_equals_the_loops_book_whenever_the_journal_is_durable(steps in steps(), seed: u64) {
        let mut rng = chance(seed);
        let (store, is_broken, disk) = Faulty::with_limit(FEW_MORE);
        fill(&mut disk.lock().unwrap(), FEW_MORE);
        let mut book = Loop::with_peers(FEW_MORE);
        let mut path = Path { writer: Writer::new(store), is_broken, disk, under_way: None };
        for step in steps {
            book.millis += rng.random_range(0..200);
            match step {
                Step::Put { number, newcomer_first } => {
                    let newcomer = rich_peer(number, &mut rng);
                    let is_full = book.peers.len() == FEW_MORE && !book.peers.contains_key(&newcomer.address());
                    match book.peers.keys().nth(rng.random_range(0..FEW_MORE)) {
                        Some(&victim) if is_full => book.exchange(victim, newcomer, newcomer_first),
                        Some(_) | None if is_full => {}
                        Some(_) | None => book.change(Change::PutPeer(newcomer)),
                    }
                }
                Step::Remove(number) => book.change(Change::RemovePeer(address(number))),
                Step::Ban(number) => book.change(Change::PutBan(ban(number))),
                Step::Unban(number) => book.change(Change::RemoveBan(host(number))),
                Step::Touch => {
                    let known: Vec<KnownPeer> = book.peers.values().cloned().collect();
                    for mut peer in known {
                        peer.services = rng.random();
                        book.change(Change::PutPeer(peer));
                    }
                }
                Step::HandOut => path.hand_out(&mut book)?,
                Step::Write { fails } => path.write(&mut book, fails)?,
            }
            prop_assert!(!book.journal.is_durable() || book.is_as(&path.disk.lock().unwrap()));
        }
        book.journal.write_at_once();
        while !book.journal.is_durable() {
            path.hand_out(&mut book)?;
            path.write(&mut book, false)?;
        }
        prop_assert!(book.is_as(&path.disk.lock().unwrap()), "the disk differs from the loop's book");
        prop_assert_eq!(book.journal.wait(), Wait::Forever);
    }
}
