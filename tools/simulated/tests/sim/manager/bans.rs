//! Bans that a peer earns or an embedder requests. They are enforced at once in both directions, and end on time.

use super::support::{Claim, ManagedWorld, Moment, Stranger, Watcher, known_as, manager};
use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::config::DialMode;
use peerloop::error::{CloseReason, Disconnect, LocalCause, Misbehavior, Refusal, RequestError};
use peerloop::internals::limits::INACCESSIBLE_RECHECK;
use peerloop::sim::World;
use peerloop::sim::invariant::Checked;
use peerloop::store::PeerStatus;
use peerloop::time::{Instant, UnixTime};
use peerloop::{Config, ControlEvent, Ctx, Network, PeerId};
use peerloop_testkit::bytes::{frame, version};
use peerloop_testkit::simulated::{config, secs};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const THEIRS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8));
const OTHERS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 9));

/// Returns each reported ban: its host, its reason, and the reported number of peers that the ban closed.
fn banned(managed: &ManagedWorld) -> Vec<(Host, BanReason, usize)> {
    let ban = |event| match event {
        ControlEvent::PeerBanned { host, reason, peers_closed, .. } => Some((host, reason, peers_closed)),
        _ => None,
    };
    managed.events().into_iter().filter_map(ban).collect()
}

#[test]
fn a_ban_applies_to_a_trusted_host_once_it_is_no_longer_trusted() {
    let mut managed = ManagedWorld::new(manager().with_trusted(vec![(THEIRS, 32)]));
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    managed.welcome(&mut stranger, 1, Some(OTHERS));
    managed.node.handle().ban(THEIRS, None).unwrap();
    managed.settle();
    assert_eq!((managed.ready(), banned(&managed)), (2, vec![(Host::of(THEIRS), BanReason::Manual, 0)]));
    let config = managed.node.reactor().config().clone().with_manager(manager());
    drop(managed.node.handle().update_config(config).unwrap());
    managed.settle();
    assert!(stranger.receive(0).1, "the connection was not closed");
    stranger.close(0);
    managed.settle();
    assert_eq!((managed.ready(), managed.ends()), (1, vec![LocalCause::Banned.into()]));
}

#[test]
fn a_close_by_the_handler_bans_nobody_and_decides_when_the_address_is_dialled_again() {
    const LONGEST: Duration = Duration::from_secs(600);
    // Each case: the reason, whether the address is in a fixed list, a time after the close until which the address is
    // not dialled, and a time after the close by which it is dialled (`None`: not at all).
    let cases = [
        (Disconnect::Done, false, secs(599), Some(secs(760))),
        (Disconnect::Done, true, LONGEST * 24, None),
        (Disconnect::RetryLater, false, secs(4), Some(secs(7))),
        (Disconnect::RetryLater, true, secs(4), Some(secs(7))),
        (Disconnect::Unsuitable, false, INACCESSIBLE_RECHECK - secs(1), Some(INACCESSIBLE_RECHECK + secs(60))),
        (Disconnect::Unsuitable, true, secs(599), Some(secs(760))),
    ];
    for (disconnect, is_fixed, alone, by) in cases {
        let watcher = Watcher { closes_at: Some(Moment::Ready), disconnect: Some(disconnect), ..Watcher::default() };
        let world = World::new(1, Instant::ZERO);
        let mut stranger = Stranger::new(&world);
        let theirs = stranger.listen();
        let mode = if is_fixed { DialMode::Fixed(vec![theirs]) } else { DialMode::Normal };
        let mut managed = ManagedWorld::at(world, manager().with_mode(mode).with_target_peers(1), watcher);
        if !is_fixed {
            managed.remember(&[theirs], PeerStatus::Valid);
        }
        managed.settle();
        assert!(stranger.accept(0), "the address was not dialled");
        stranger.send(0, &Claim::default().handshake());
        managed.settle();
        stranger.close(0);
        managed.run(alone);
        assert_eq!((managed.ends(), banned(&managed)), (vec![disconnect.into()], vec![]));
        assert!(!stranger.accept(1), "{disconnect:?}: the address was dialled too early");
        managed.run(by.map_or(LONGEST, |by| by - alone));
        assert_eq!(stranger.accept(1), by.is_some(), "{disconnect:?}: the second dial is missing or unexpected");
        assert_eq!((managed.node.stats().banned_hosts, managed.node.violations()), (0, vec![]));
    }
}

#[test]
fn req_e38_an_earned_ban_closes_all_links_of_the_host_and_keeps_it_out() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    (0..3).for_each(|link| managed.welcome(&mut stranger, link, Some(THEIRS)));
    managed.welcome(&mut stranger, 3, Some(OTHERS));
    stranger.send(0, b"GET / HTTP/1.1\r\n");
    managed.settle();
    assert_eq!(banned(&managed), [(Host::of(THEIRS), BanReason::Misbehavior, 2)]);
    (0..3).for_each(|link| {
        assert!(stranger.receive(link).1, "link {link} was not closed");
        stranger.close(link);
    });
    managed.run(secs(5));
    assert_eq!(managed.ends()[1..], [CloseReason::Local(LocalCause::Banned); 2]);
    assert_eq!(managed.ready(), 1, "the neighbouring host is not the only ready peer");
    stranger.dial_from(4, managed.address, Some(THEIRS));
    managed.settle();
    assert_eq!(managed.refusals(), [Refusal::Banned]);
    let answer = managed.node.handle().connect(SocketAddr::new(THEIRS, 8_333), None).unwrap();
    managed.settle();
    assert_eq!(answer.wait(), Ok(Err(RequestError::Banned)));
    managed.stop();
}

#[test]
fn req_e38_each_kind_of_mismatch_has_its_own_ban_reason() {
    let foreign = [&[0xe3, 0xe1, 0xf3, 0xe8][..], &[0; 20]].concat();
    for (bytes, reason) in [
        (foreign, BanReason::NetworkMismatch),
        (Claim { user_agent: "/Bitcoin ABC:0.20.0/", ..Claim::default() }.version(), BanReason::BlockchainMismatch),
    ] {
        let mut managed = ManagedWorld::new(manager());
        let mut stranger = Stranger::new(&managed.world);
        stranger.dial_from(0, managed.address, Some(THEIRS));
        stranger.send(0, &bytes);
        managed.settle();
        stranger.close(0);
        managed.run(secs(5));
        assert_eq!(banned(&managed), [(Host::of(THEIRS), reason, 0)]);
    }
}

#[test]
fn req_e38_a_ban_for_a_wrong_user_agent_begins_before_the_connection_is_closed() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..2 {
        stranger.dial_from(link, managed.address, None);
    }
    stranger.send(0, &Claim { user_agent: "/Bitcoin ABC:0.20.0/", ..Claim::default() }.version());
    managed.settle();
    assert_eq!(managed.summary().bans, 1, "the ban did not begin before the connection was closed");
    assert_eq!(managed.ends(), []);
    for link in 2..9 {
        stranger.dial_from(link, managed.address, None);
        managed.run(Duration::from_millis(200));
    }
    assert_eq!(managed.refusals(), [Refusal::Banned; 7]);
    managed.run(secs(5));
    let bans = managed.events().into_iter().filter(|event| event.label() == "peer_banned").count();
    assert_eq!(bans, 1);
}

#[test]
fn req_e38_the_book_holds_an_earned_bans_reason_and_the_host_is_dialled_again_only_after_the_ban_ends() {
    let mut managed = ManagedWorld::new(manager().with_ban_duration(secs(3_600)));
    let mut stranger = Stranger::new(&managed.world);
    let theirs = stranger.listen();
    let sibling = SocketAddr::new(theirs.ip(), 7);
    managed.remember(&[theirs], PeerStatus::Valid);
    managed.settle();
    assert!(stranger.accept(0));
    stranger.send(0, b"GET / HTTP/1.1\r\n");
    managed.settle();
    assert_eq!(managed.known(theirs).status, PeerStatus::Banned(BanReason::Misbehavior));
    stranger.close(0);
    managed.remember(&[sibling], PeerStatus::Valid);
    managed.run(secs(3_590));
    assert_eq!(managed.node.stats().counters.dialled, 1, "a port of the banned host was dialled");
    managed.run(secs(11));
    assert_eq!(managed.count("peer_unbanned"), 1);
    assert_eq!(
        managed.known(theirs).status,
        PeerStatus::Unknown,
        "the end of the ban did not reset the address's status"
    );
    assert!(stranger.accept(1), "the address was not dialled again");
}

#[test]
fn req_e38_a_fixed_peer_is_dialled_again_when_its_ban_ends_or_is_lifted() {
    let world = World::new(1, Instant::ZERO);
    let mut stranger = Stranger::new(&world);
    let theirs = stranger.listen();
    let mode = DialMode::Fixed(vec![theirs]);
    let watcher = Watcher::default();
    let mut managed = ManagedWorld::at(world, manager().with_mode(mode).with_ban_duration(secs(3_600)), watcher);
    managed.settle();
    for (link, is_lifted) in [(0, false), (1, true), (2, true)] {
        assert!(stranger.accept(link));
        stranger.send(link, b"GET / HTTP/1.1\r\n");
        managed.run(secs(3_590));
        stranger.close(link);
        assert_eq!(managed.node.stats().counters.dialled, link + 1, "a banned peer was dialled");
        if is_lifted {
            drop(managed.node.handle().unban(theirs.ip()).unwrap());
        }
        managed.run(if is_lifted { secs(1) } else { secs(11) });
    }
    assert_eq!(managed.count("peer_unbanned"), 3);
    assert!(stranger.accept(3));
}

#[test]
fn req_e38_a_requested_ban_closes_a_dialled_peer_which_is_dialled_again_when_the_ban_is_lifted() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1));
    let addresses = managed.add_targets(1);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(1));
    let handle = managed.node.handle();
    let done = handle.ban(addresses[0].ip(), None).unwrap();
    managed.run(secs(3_600));
    assert_eq!(done.wait(), Ok(Ok(())));
    assert_eq!((managed.ready(), managed.slots_in_use()), (0, 0));
    assert_eq!(banned(&managed), [(Host::of(addresses[0].ip()), BanReason::Manual, 1)]);
    assert_eq!(managed.known(addresses[0]).status, PeerStatus::Banned(BanReason::Manual));
    let bans = handle.bans().unwrap();
    let lifted = handle.unban(addresses[0].ip()).unwrap();
    let nobody = handle.unban(addresses[0].ip()).unwrap();
    managed.run(secs(1));
    assert_eq!(bans.wait().unwrap().map(|bans| bans.len()), Ok(1));
    assert_eq!((lifted.wait(), nobody.wait()), (Ok(Ok(true)), Ok(Ok(false))));
    assert_eq!((managed.ready(), managed.count("peer_unbanned")), (1, 1));
}

#[test]
fn req_e38_a_ban_ends_on_time_and_the_host_is_accepted_again() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    drop(managed.node.handle().ban(THEIRS, Some(secs(100))).unwrap());
    managed.run(secs(99));
    stranger.dial_from(0, managed.address, Some(THEIRS));
    managed.settle();
    assert_eq!((managed.refusals(), managed.summary().bans), (vec![Refusal::Banned], 1));
    managed.run(secs(2));
    assert_eq!((managed.count("peer_unbanned"), managed.summary().bans), (1, 0));
    managed.welcome(&mut stranger, 1, Some(THEIRS));
    assert_eq!(managed.ready(), 1);
}

#[test]
fn hosts_on_this_machine_are_banned_on_request_only() {
    let here = IpAddr::from([127, 0, 0, 1]);
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    stranger.dial_from(0, managed.address, Some(here));
    stranger.send(0, b"GET / HTTP/1.1\r\n");
    managed.settle();
    assert_eq!((banned(&managed), managed.ends().len()), (vec![], 1));
    managed.welcome(&mut stranger, 1, Some(here));
    assert_eq!(managed.ready(), 1);
    drop(managed.node.handle().ban(here, None).unwrap());
    managed.settle();
    assert_eq!(banned(&managed), [(Host::of(here), BanReason::Manual, 1)]);
}

#[test]
fn a_hundred_points_ban_the_host_and_each_charge_is_reported() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    managed.clear_log();
    for _ in 0..99 {
        stranger.send(0, &version());
    }
    managed.settle();
    assert_eq!((managed.ready(), managed.count("peer_misbehaved")), (1, 99));
    stranger.send(0, &version());
    managed.settle();
    let Some(ControlEvent::PeerMisbehaved { misbehavior, points, score, .. }) = managed.events().get(99).cloned()
    else {
        panic!("{:?}", managed.labels())
    };
    assert_eq!((misbehavior, points, score), (Misbehavior::SecondVersion, 1, 100));
    assert_eq!(managed.ends(), [CloseReason::Misbehaved(Misbehavior::SecondVersion)]);
    assert_eq!(banned(&managed), [(Host::of(THEIRS), BanReason::Misbehavior, 0)]);
}

#[test]
fn points_are_dropped_when_the_connection_closes() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..2 {
        managed.welcome(&mut stranger, link, Some(THEIRS));
        (0..60).for_each(|_| stranger.send(link, &version()));
        managed.settle();
        stranger.close(link);
        managed.settle();
    }
    assert_eq!((banned(&managed), managed.count("peer_misbehaved")), (vec![], 120));
}

#[test]
fn many_wrong_checksums_in_quick_succession_are_charged() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    let mut wrong = frame("ping", &[1; 8]);
    wrong[20] ^= 1;
    for _ in 0..201 {
        stranger.send(0, &wrong);
    }
    managed.settle();
    assert_eq!((banned(&managed).len(), managed.count("peer_misbehaved")), (1, 100));
}

#[test]
fn trusted_peers_are_never_charged_and_are_accepted_even_from_a_banned_host() {
    let trusted = vec![(THEIRS, 32)];
    let mut managed = ManagedWorld::new(manager().with_trusted(trusted));
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    (0..200).for_each(|_| stranger.send(0, &version()));
    managed.settle();
    assert_eq!((managed.ready(), managed.count("peer_misbehaved")), (1, 0));
    drop(managed.node.handle().ban(THEIRS, None).unwrap());
    managed.welcome(&mut stranger, 1, Some(THEIRS));
    assert_eq!(managed.ready(), 2);
}

#[test]
fn req_e38_a_stored_ban_holds_and_an_expired_one_is_dropped() {
    let world = World::new(1, Instant::ZERO);
    let mut managed = ManagedWorld::at(world, manager().with_target_peers(2), Watcher::default());
    let addresses = managed.add_targets(2);
    let unix = managed.world.unix_time();
    let ban = |address: SocketAddr, until: Option<i64>| Ban {
        host: Host::of(address.ip()),
        reason: BanReason::Misbehavior,
        since: UnixTime::from_secs(1_600_000_000),
        until: until.map(UnixTime::from_secs),
    };
    let status = PeerStatus::Banned(BanReason::Misbehavior);
    let known = |address: &SocketAddr| known_as(*address, status, unix);
    let bans = vec![ban(addresses[0], None), ban(addresses[1], Some(1_650_000_000))];
    managed.node.remember(addresses.iter().map(known).collect(), bans);
    managed.run(secs(60));
    assert_eq!((managed.established(), managed.summary().bans), (addresses[1..].to_vec(), 1));
}

#[test]
fn the_ends_of_three_thousand_simultaneous_bans_are_all_reported() {
    let mut managed = ManagedWorld::new(manager());
    for host in 0..3_000_u16 {
        let [high, low] = host.to_be_bytes();
        let address = IpAddr::from([8, 8, high, low]);
        while managed.node.handle().ban(address, Some(secs(100))).is_err() {
            managed.settle();
        }
    }
    managed.run(secs(50));
    assert_eq!(managed.summary().bans, 3_000);
    managed.run(secs(51));
    assert_eq!((managed.summary().bans, managed.count("peer_unbanned")), (0, 3_000));
}

#[test]
fn a_loop_without_a_manager_refuses_all_requests_about_bans() {
    let world = World::new(1, Instant::ZERO);
    let config = Config::new(Network::Regtest).with_seed(Some(1));
    let mut node = Checked::new(&world, world.host(), config, Watcher::default()).unwrap();
    let (ban, unban, bans) = (node.handle().ban(THEIRS, None), node.handle().unban(THEIRS), node.handle().bans());
    node.poll_once(Duration::ZERO).unwrap();
    assert_eq!(ban.unwrap().wait(), Ok(Err(RequestError::NoManager)));
    assert_eq!(unban.unwrap().wait(), Ok(Err(RequestError::NoManager)));
    assert_eq!(bans.unwrap().wait(), Ok(Err(RequestError::NoManager)));
}

#[test]
fn a_handler_can_ban_and_unban_inside_its_callbacks_for_events() {
    for moment in [Moment::Opened, Moment::VersionReceived, Moment::Ready, Moment::Closed, Moment::Control] {
        let does: fn(&mut Ctx<'_>, PeerId) = |ctx, _| {
            let innocent = IpAddr::from([9, 9, 9, 9]);
            assert_eq!((ctx.ban(innocent, None), ctx.unban(innocent)), (Ok(()), Ok(true)));
            assert_eq!((ctx.ban(innocent, Some(Duration::ZERO)), ctx.unban(innocent)), (Ok(()), Ok(false)));
            assert_eq!(ctx.ban(THEIRS, Some(secs(50))), Ok(()));
        };
        let mut managed =
            ManagedWorld::with(manager(), Watcher { closes_at: Some(moment), does: Some(does), ..Watcher::default() });
        let mut stranger = Stranger::new(&managed.world);
        managed.welcome(&mut stranger, 0, Some(THEIRS));
        stranger.close(0);
        managed.run(secs(30));
        assert_eq!(managed.node.stats().banned_hosts, 1, "{moment:?}");
        assert_eq!(managed.ends().len(), 1, "{moment:?}");
        assert!(moment == Moment::Closed || managed.ends() == [LocalCause::Banned.into()], "{moment:?}");
        managed.run(secs(30));
        assert_eq!((managed.node.stats().banned_hosts, managed.node.violations()), (0, vec![]), "{moment:?}");
    }
}

#[test]
fn without_a_peer_manager_a_handler_can_neither_ban_nor_unban_nor_charge() {
    let does: fn(&mut Ctx<'_>, PeerId) = |ctx, peer| {
        assert_eq!(ctx.ban(THEIRS, None), Err(RequestError::NoManager));
        assert_eq!(ctx.unban(THEIRS), Err(RequestError::NoManager));
        ctx.penalize(peer, u32::MAX, "nothing");
    };
    let watcher = Watcher { closes_at: Some(Moment::Ready), does: Some(does), ..Watcher::default() };
    let mut managed = ManagedWorld::of(World::new(1, Instant::ZERO), config(), watcher);
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    assert_eq!((managed.ready(), managed.ends()), (1, vec![]));
}

#[test]
fn points_for_a_handlers_own_reason_count_like_all_others() {
    let does: fn(&mut Ctx<'_>, PeerId) = |ctx, peer| {
        ctx.penalize(peer, 0, "a trifle");
        ctx.penalize(peer, 60, "spam");
        ctx.penalize_for(peer, Misbehavior::SecondVersion);
        assert!(ctx.peer(peer).is_some_and(|view| view.is_ready()), "a peer with 61 points was closed");
        ctx.penalize(peer, u32::MAX, "more spam");
        ctx.penalize(peer, 1, "too late");
    };
    let watcher = || Watcher { closes_at: Some(Moment::Ready), does: Some(does), ..Watcher::default() };
    let mut managed = ManagedWorld::with(manager(), watcher());
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    managed.settle();
    let charge = |event| match event {
        ControlEvent::PeerMisbehaved { misbehavior, points, score, .. } => {
            Some((misbehavior.to_string(), misbehavior.label(), points, score))
        }
        _ => None,
    };
    let charged: Vec<_> = managed.events().into_iter().filter_map(charge).collect();
    let expected = [
        ("a trifle", "other", 0, 0),
        ("spam", "other", 60, 60),
        ("a second version", "second_version", 1, 61),
        ("more spam", "other", u32::MAX, u32::MAX),
    ];
    assert_eq!(charged, expected.map(|(text, label, points, score)| (text.to_owned(), label, points, score)));
    let end = CloseReason::Misbehaved(Misbehavior::Other { points: u32::MAX, reason: "more spam" });
    assert_eq!((managed.ends(), end.label()), (vec![end], "ban_score"));
    assert_eq!(banned(&managed), [(Host::of(THEIRS), BanReason::Misbehavior, 0)]);

    let mut trusting = ManagedWorld::with(
        manager().with_trusted(vec![(THEIRS, 32)]),
        Watcher { does: Some(|ctx, peer| ctx.penalize(peer, 1_000, "spam")), ..watcher() },
    );
    let mut stranger = Stranger::new(&trusting.world);
    trusting.welcome(&mut stranger, 0, Some(THEIRS));
    assert_eq!((trusting.ready(), trusting.count("peer_misbehaved")), (1, 0));
}
