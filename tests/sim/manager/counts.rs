//! What a managed loop counts of itself: restarts, bans, and the book by status, against what really happened.

use super::support::{Claim, Stranger, Town, Watcher, known_as, manager};
use peerloop::ban::{Ban, BanReason};
use peerloop::config::ManagerConfig;
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

/// How often connections were restarted.
fn restarts(town: &Town) -> u64 {
    town.node.stats().counters.restarts
}

/// How often hosts were banned, and how many are.
fn bans(town: &Town) -> (u64, usize) {
    let Stats { counters, banned_hosts, .. } = town.node.stats();
    (counters.bans, banned_hosts)
}

/// The peers of the book that are unknown, valid, inaccessible and banned, which must be those that are listed.
fn book(town: &Town) -> [usize; 4] {
    let listed = town.report().book;
    let count = |is_it: fn(PeerStatus) -> bool| listed.iter().filter(|peer| is_it(peer.status)).count();
    let counted = [
        count(|status| status == PeerStatus::Unknown),
        count(|status| status == PeerStatus::Valid),
        count(|status| status == PeerStatus::Inaccessible),
        count(|status| matches!(status, PeerStatus::Banned(_))),
    ];
    let BookCounts { unknown, valid, inaccessible, banned, .. } = town.node.stats().book.expect("there is a manager");
    assert_eq!([unknown, valid, inaccessible, banned], counted);
    counted
}

fn ban(town: &mut Town, address: IpAddr, length: Option<Duration>) {
    drop(town.node.handle().ban(address, length).unwrap());
    town.settle();
}

#[test]
fn req_e47_only_what_is_dialled_again_at_once_is_a_restart() {
    let mut town = Town::new(ManagerConfig { target_peers: 1, max_restarts: 2, ..manager() });
    let (mut stranger, mut guest) = (Stranger::new(&town.world), Stranger::new(&town.world));
    // Nobody listens yet: a dial that fails is tried again later.
    town.remember(&[stranger.address()], PeerStatus::Unknown);
    town.run(secs(1));
    assert_eq!((town.count("connection_failed"), restarts(&town)), (1, 0));
    stranger.listen();
    town.run(secs(10));
    for (link, expected) in [(0, 1), (1, 2), (2, 2)] {
        assert!(stranger.accept(link), "it is dialled");
        stranger.send(link, &Claim::default().handshake());
        town.settle();
        assert_eq!(town.ready(), 1);
        stranger.reset(link);
        town.settle();
        assert_eq!(restarts(&town), expected, "two are allowed");
    }
    // Who came by himself is not restarted.
    town.welcome(&mut guest, 0, None);
    guest.reset(0);
    town.settle();
    assert_eq!((restarts(&town), town.count("connection_restarting")), (2, 2));
}

#[test]
fn req_e47_a_ban_counts_when_it_begins_anew_and_its_host_as_long_as_it_lasts() {
    let mut town = Town::new(manager());
    let mut stranger = Stranger::new(&town.world);
    assert_eq!(bans(&town), (0, 0));
    ban(&mut town, FOE, Some(secs(100)));
    assert_eq!(bans(&town), (1, 1));
    ban(&mut town, FOE, Some(secs(200)));
    assert_eq!(bans(&town), (2, 1), "one host");
    let villain = IpAddr::from([8, 8, 8, 8]);
    for link in 0..2 {
        stranger.dial_from(link, town.address, Some(villain));
        stranger.send(link, b"GET / HTTP/1.1\r\n");
    }
    town.settle();
    (0..2).for_each(|link| stranger.close(link));
    town.run(secs(1));
    assert_eq!(bans(&town), (3, 2), "both have earned it, and the second brings nothing new");
    let lifted = town.node.handle().unban(villain).unwrap();
    town.settle();
    assert_eq!((lifted.wait(), bans(&town)), (Ok(Ok(true)), (3, 1)));
    drop(town.node.handle().unban(villain).unwrap());
    town.run(secs(198));
    assert_eq!(bans(&town), (3, 1), "the longer one holds");
    town.run(secs(2));
    assert_eq!((bans(&town), town.count("peer_banned")), ((3, 0), 3));
}

#[test]
fn req_e47_a_ban_that_was_remembered_is_a_banned_host_and_no_new_ban() {
    let mut town = Town::new(manager());
    let until = |until| Ban {
        host: Host::of(if until < 0 { FOE } else { IpAddr::from([8, 8, 8, 8]) }),
        reason: BanReason::Misbehaviour,
        since: UnixTime::from_secs(1),
        until: Some(UnixTime::from_secs(town.world.unix_time().as_secs() + until)),
    };
    let remembered = vec![until(-1), until(100)];
    town.node.remember(Vec::new(), remembered);
    town.settle();
    assert_eq!(bans(&town), (0, 1), "one was over");
    town.run(secs(101));
    assert_eq!(bans(&town), (0, 0));
}

#[test]
fn req_e47_the_book_is_counted_by_status_through_all_that_happens_to_it() {
    let mut town = Town::at(
        World::new(1, Instant::ZERO),
        ManagerConfig { target_peers: 3, max_retries: 1, ..manager() },
        Watcher::default(),
    );
    assert_eq!(book(&town), [0; 4]);
    let addresses = town.add_targets(2);
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    town.remember(&addresses, PeerStatus::Unknown);
    town.remember(&[nobody], PeerStatus::Valid);
    town.remember(&[SocketAddr::from(([10, 9, 9, 8], 1))], PeerStatus::Inaccessible);
    assert_eq!(book(&town), [3, 1, 0, 0], "in a new run it is unknown");
    town.run(secs(3_600));
    assert_eq!((book(&town), town.ready()), ([0, 2, 2, 0], 2), "two were there, and one was not");

    let unix = town.world.unix_time();
    for (port, reason) in [(1, BanReason::Manual), (2, BanReason::NetworkMismatch)] {
        let address = SocketAddr::new(FOE, port);
        let banned = Ban { host: Host::of(FOE), reason, since: unix, until: None };
        town.node.remember(vec![known_as(address, PeerStatus::Banned(reason), unix)], vec![banned]);
    }
    assert_eq!(book(&town), [0, 2, 2, 2], "for whatever reason");
    ban(&mut town, addresses[0].ip(), None);
    town.run(secs(1));
    assert_eq!((book(&town), town.ready()), ([0, 1, 2, 3], 1));
    drop(town.node.handle().unban(FOE).unwrap());
    town.settle();
    let [unknown, valid, inaccessible, banned] = book(&town);
    assert_eq!(
        (unknown + inaccessible, valid, banned),
        (4, 1, 1),
        "nobody knows what they are, or it was tried already"
    );
    assert!(unknown > 0);
    town.stop();
}

#[test]
fn a_loop_without_a_manager_has_no_book_to_count() {
    let world = World::new(1, Instant::ZERO);
    let node = Checked::new(&world, world.host(), config(), Watcher::default()).unwrap();
    let Stats { book, banned_hosts, counters, .. } = node.stats();
    assert_eq!((book, banned_hosts, counters.bans, counters.restarts), (None, 0, 0, 0));
}
