//! A virtual disk: confirmed batches survive a kill of the process, and failed writes are retried.

use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::internals::errno::{EIO, ENOSPC};
use peerloop::internals::id::Token;
use peerloop::internals::limits::{BOOK_RETRY_FIRST, MAX_BOOK_QUEUE};
use peerloop::internals::net::{Net, Readiness};
use peerloop::internals::offload::{Completion, Offload};
use peerloop::internals::store::{Batch, Persisted};
use peerloop::sim::{Disk, SimNet, World};
use peerloop::store::{Change, PeerStore, StoreError};
use peerloop::time::{Instant, UnixTime, Wait};
use peerloop_testkit::simulated::secs;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Builds a batch that bans one host. Each id has a host of its own.
fn batch(id: u64) -> Batch {
    let ban = Ban { host: host(id), reason: BanReason::Manual, since: UnixTime::from_secs(1), until: None };
    Batch { id, changes: vec![Change::PutBan(ban)] }
}

fn host(id: u64) -> Host {
    let [.., high, low] = id.to_be_bytes();
    Host::of(IpAddr::from([203, 0, high, low]))
}

/// Returns the ids from 1 to `ids` whose batches are on the disk.
fn on_disk(world: &World, net: usize, ids: u64) -> Vec<u64> {
    let bans: BTreeSet<Host> = world.book(net).bans().unwrap().into_iter().map(|ban| ban.host).collect();
    (1..=ids).filter(|id| bans.contains(&host(*id))).collect()
}

fn answer(net: &mut SimNet) -> Option<Persisted> {
    net.take_completion().map(|answer| match answer {
        Completion::Persisted(persisted) => persisted,
        other @ Completion::Resolved { .. } => panic!("unexpected {other:?}"),
    })
}

#[test]
fn a_sound_disk_stores_a_batch_and_wakes_the_loop() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    net.persist(batch(1)).unwrap();
    let mut ready = Vec::new();
    net.wait(Wait::Zero, &mut ready).unwrap();
    let woken = Readiness { token: Token::Waker.to_u64(), readable: true, writable: false, hung_up: false };
    assert_eq!(ready, [woken]);
    assert_eq!((answer(&mut net), answer(&mut net)), (Some(Persisted { id: 1, result: Ok(()) }), None));
    assert_eq!(on_disk(&world, net.host(), 2), [1]);
}

#[test]
fn fault_e09_a_write_to_a_full_disk_is_reported_once_and_retried_until_there_is_room() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    let disk = net.host();
    world.set_disk(disk, Disk::Failing(ENOSPC));
    net.persist(batch(1)).unwrap();
    let Some(Persisted { id: 1, result: Err(StoreError::File { code: ENOSPC, .. }) }) = answer(&mut net) else {
        panic!("the failed write was not reported with ENOSPC")
    };
    net.persist(batch(2)).unwrap();
    world.advance(secs(100));
    assert_eq!((answer(&mut net), on_disk(&world, disk, 2).len()), (None, 0));
    world.set_disk(disk, Disk::Sound);
    world.advance(secs(100));
    assert_eq!(answer(&mut net), Some(Persisted { id: 2, result: Ok(()) }));
    assert_eq!(on_disk(&world, disk, 2), [1, 2]);
}

#[test]
fn batches_beyond_the_queues_limit_are_returned() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    world.set_disk(net.host(), Disk::Failing(EIO));
    let count = MAX_BOOK_QUEUE as u64;
    for id in 1..=count {
        net.persist(batch(id)).unwrap();
    }
    assert_eq!(net.persist(batch(count + 1)), Err(batch(count + 1)));
    world.set_disk(net.host(), Disk::Sound);
    world.advance(secs(100));
    net.persist(batch(count + 1)).unwrap();
    assert_eq!(on_disk(&world, net.host(), count + 1).len() as u64, count + 1);
}

#[test]
fn a_failed_write_is_not_retried_before_its_pause_is_over() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    world.set_disk(net.host(), Disk::Failing(EIO));
    net.persist(batch(1)).unwrap();
    world.set_disk(net.host(), Disk::Sound);
    world.advance(BOOK_RETRY_FIRST - Duration::from_nanos(1));
    assert_eq!(on_disk(&world, net.host(), 1), []);
    world.advance(Duration::from_nanos(1));
    assert_eq!(on_disk(&world, net.host(), 1), [1]);
}

/// Counts of batches when their process was killed: confirmed, written but not confirmed, and lost.
#[derive(Default)]
struct Losses {
    confirmed: usize,
    written_unconfirmed: usize,
    lost: usize,
}

/// Writes batches to an unreliable disk, kills the process at a random moment and checks the disk, four times in all.
/// Returns the hash of the trace.
fn killed_at_any_instant(seed: u64, losses: &mut Losses) -> u64 {
    let world = World::new(seed, Instant::ZERO);
    let chance = world.chance(1);
    let mut net = world.host();
    let disk = net.host();
    world.set_disk(disk, Disk::Wild);
    let (mut given, mut last, mut gone) = (Vec::new(), 0, BTreeSet::new());
    for _life in 0..4 {
        let mut confirmed = last;
        for _ in 0..chance.below(20) {
            if net.persist(batch(last + 1)).is_ok() {
                last += 1;
                given.push(last);
            }
            world.advance(Duration::from_millis(chance.range(0, 2_000)));
            while let Some(Persisted { id, result }) = answer(&mut net) {
                confirmed = if result.is_ok() { id } else { confirmed };
            }
        }
        drop(net);
        net = world.restart(disk);
        let left: BTreeSet<u64> = on_disk(&world, disk, last).into_iter().collect();
        for id in given.drain(..) {
            match (id <= confirmed, left.contains(&id)) {
                (true, true) => losses.confirmed += 1,
                (true, false) => panic!("seed {seed}: batch {id} was confirmed but is missing"),
                (false, true) => losses.written_unconfirmed += 1,
                (false, false) => {
                    losses.lost += 1;
                    gone.insert(id);
                }
            }
        }
        assert!(left.is_disjoint(&gone), "seed {seed}: a lost batch has returned");
    }
    world.trace().hash()
}

#[test]
fn fault_e11_confirmed_batches_survive_a_kill_at_any_instant() {
    let mut losses = Losses::default();
    let hashes: Vec<u64> = (0..200).map(|seed| killed_at_any_instant(seed, &mut losses)).collect();
    let Losses { confirmed, written_unconfirmed, lost } = losses;
    assert!(
        confirmed > 1_000 && written_unconfirmed > 100 && lost > 100,
        "too few cases: {confirmed} {written_unconfirmed} {lost}"
    );
    assert_eq!(killed_at_any_instant(7, &mut Losses::default()), hashes[7], "the same seed gave a different trace");
}
