//! A managed loop's counts of restarts, bans and known addresses by status, compared with its events and its book.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, known_as, manager};
use peerloop::ban::{Ban, BanReason};
use peerloop::sim::World;
use peerloop::sim::invariant::Checked;
use peerloop::stats::BookCounts;
use peerloop::store::PeerStatus;
use peerloop::time::{Instant, UnixTime};
use peerloop::{address::Host, stats::Stats};
use peerloop_testkit::simulated::{config, secs};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const FOE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4));

/// Returns the number of restarts so far.
fn restarts(managed: &ManagedWorld) -> u64 {
    managed.node.stats().counters.restarts
}

/// Returns the number of bans so far, and the number of hosts banned now.
fn bans(managed: &ManagedWorld) -> (u64, usize) {
    let Stats { counters, banned_hosts, .. } = managed.node.stats();
    (counters.bans, banned_hosts)
}

/// Returns the numbers of unknown, valid, inaccessible and banned addresses in the book. Asserts that the statistics
/// contain the same numbers.
fn book(managed: &ManagedWorld) -> [usize; 4] {
    let listed = managed.report().book;
    let count = |is_it: fn(PeerStatus) -> bool| listed.iter().filter(|peer| is_it(peer.status)).count();
    let counted = [
        count(|status| status == PeerStatus::Unknown),
        count(|status| status == PeerStatus::Valid),
        count(|status| status == PeerStatus::Inaccessible),
        count(|status| matches!(status, PeerStatus::Banned(_))),
    ];
    let BookCounts { unknown, valid, inaccessible, banned, .. } =
        managed.node.stats().book.expect("the loop has a manager");
    assert_eq!([unknown, valid, inaccessible, banned], counted);
    counted
}

fn ban(managed: &mut ManagedWorld, address: IpAddr, length: Option<Duration>) {
    drop(managed.node.handle().ban(address, length).unwrap());
    managed.settle();
}

#[test]
fn req_e47_only_an_immediate_new_dial_is_a_restart() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_restarts(2));
    let (mut stranger, mut guest) = (Stranger::new(&managed.world), Stranger::new(&managed.world));
    // There is no listener yet. The dial fails and is retried later.
    managed.remember(&[stranger.address()], PeerStatus::Unknown);
    managed.run(secs(1));
    assert_eq!((managed.count("connection_failed"), restarts(&managed)), (1, 0));
    stranger.listen();
    managed.run(secs(10));
    for (link, expected) in [(0, 1), (1, 2), (2, 2)] {
        assert!(stranger.accept(link), "the address was not dialled");
        stranger.send(link, &Claim::default().handshake());
        managed.settle();
        assert_eq!(managed.ready(), 1);
        stranger.reset(link);
        managed.settle();
        assert_eq!(restarts(&managed), expected, "the number of restarts is wrong");
    }
    // An inbound connection is not restarted.
    managed.welcome(&mut guest, 0, None);
    guest.reset(0);
    managed.settle();
    assert_eq!((restarts(&managed), managed.count("connection_restarting")), (2, 2));
}

#[test]
fn req_e47_a_ban_is_counted_when_it_begins_and_its_host_is_counted_while_the_ban_lasts() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    assert_eq!(bans(&managed), (0, 0));
    ban(&mut managed, FOE, Some(secs(100)));
    assert_eq!(bans(&managed), (1, 1));
    ban(&mut managed, FOE, Some(secs(200)));
    assert_eq!(bans(&managed), (2, 1), "the longer ban was not counted, or its host was counted twice");
    let attacker = IpAddr::from([8, 8, 8, 8]);
    for link in 0..2 {
        stranger.dial_from(link, managed.address, Some(attacker));
        stranger.send(link, b"GET / HTTP/1.1\r\n");
    }
    managed.settle();
    (0..2).for_each(|link| stranger.close(link));
    managed.run(secs(1));
    assert_eq!(bans(&managed), (3, 2), "the two peers did not cause exactly one ban of one host");
    let lifted = managed.node.handle().unban(attacker).unwrap();
    managed.settle();
    assert_eq!((lifted.wait(), bans(&managed)), (Ok(Ok(true)), (3, 1)));
    drop(managed.node.handle().unban(attacker).unwrap());
    managed.run(secs(198));
    assert_eq!(bans(&managed), (3, 1), "the longer ban ended early, or a ban was counted again");
    managed.run(secs(2));
    assert_eq!((bans(&managed), managed.count("peer_banned")), ((3, 0), 3));
}

#[test]
fn req_e47_a_stored_ban_counts_as_a_banned_host_and_not_as_a_new_ban() {
    let mut managed = ManagedWorld::new(manager());
    let until = |until| Ban {
        host: Host::of(if until < 0 { FOE } else { IpAddr::from([8, 8, 8, 8]) }),
        reason: BanReason::Misbehavior,
        since: UnixTime::from_secs(1),
        until: Some(UnixTime::from_secs(managed.world.unix_time().as_secs() + until)),
    };
    let remembered = vec![until(-1), until(100)];
    managed.node.remember(Vec::new(), remembered);
    managed.settle();
    assert_eq!(bans(&managed), (0, 1), "the number of banned hosts is not 1, or a stored ban was counted as new");
    managed.run(secs(101));
    assert_eq!(bans(&managed), (0, 0));
}

#[test]
fn req_e47_the_books_addresses_are_counted_by_status_through_all_changes() {
    let mut managed = ManagedWorld::at(
        World::new(1, Instant::ZERO),
        manager().with_target_peers(3).with_max_retries(1),
        Watcher::default(),
    );
    assert_eq!(book(&managed), [0; 4]);
    let addresses = managed.add_targets(2);
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.remember(&[nobody], PeerStatus::Valid);
    managed.remember(&[SocketAddr::from(([10, 9, 9, 8], 1))], PeerStatus::Inaccessible);
    assert_eq!(book(&managed), [3, 1, 0, 0], "the inaccessible address did not become unknown in the new run");
    managed.run(secs(3_600));
    assert_eq!(
        (book(&managed), managed.ready()),
        ([0, 2, 2, 0], 2),
        "the book does not hold exactly two valid and two inaccessible addresses, or the number of ready peers is not 2"
    );

    let unix = managed.world.unix_time();
    for (port, reason) in [(1, BanReason::Manual), (2, BanReason::NetworkMismatch)] {
        let address = SocketAddr::new(FOE, port);
        let banned = Ban { host: Host::of(FOE), reason, since: unix, until: None };
        managed.node.remember(vec![known_as(address, PeerStatus::Banned(reason), unix)], vec![banned]);
    }
    assert_eq!(book(&managed), [0, 2, 2, 2], "the two banned addresses were not counted");
    ban(&mut managed, addresses[0].ip(), None);
    managed.run(secs(1));
    assert_eq!((book(&managed), managed.ready()), ([0, 1, 2, 3], 1));
    drop(managed.node.handle().unban(FOE).unwrap());
    managed.settle();
    let [unknown, valid, inaccessible, banned] = book(&managed);
    assert_eq!(
        (unknown + inaccessible, valid, banned),
        (4, 1, 1),
        "an unbanned address is neither unknown nor inaccessible, or another count changed"
    );
    assert!(unknown > 0);
    managed.stop();
}

#[test]
fn a_loop_without_a_manager_has_no_book_to_count() {
    let world = World::new(1, Instant::ZERO);
    let node = Checked::new(&world, world.host(), config(), Watcher::default()).unwrap();
    let Stats { book, banned_hosts, counters, .. } = node.stats();
    assert_eq!((book, banned_hosts, counters.bans, counters.restarts), (None, 0, 0, 0));
}
