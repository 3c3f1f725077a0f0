//! The fixed list, links to the same address, dials on request, and changed settings.

use super::*;
use crate::address::Host;
use crate::id::LinkId;

// --- The fixed list -------------------------------------------------------------------------------------------------

#[test]
fn req_e26_a_fixed_list_is_dialled_in_its_order_up_to_the_maximum_and_without_the_book() {
    let peers = private(30);
    let mut scene = Scene::fixed(&[&peers[..], &peers[..]].concat());
    scene.book = Book::of(&private(40), Standing::Valid);
    assert_eq!(scene.next_all(), peers[..20]);
    assert_eq!(scene.dialler.next_at(), None, "a dial is planned although no slot is free");
    let _ = scene.end(peers[3], Ended::Unreached);
    assert_eq!(scene.next_all(), [peers[20]]);
    for peer in &peers[4..=20] {
        let _ = scene.end(*peer, Ended::Unreached);
    }
    assert_eq!(scene.next_all(), peers[21..]);
    scene.pass(secs(7));
    let mut again = scene.next_all();
    again.sort();
    assert_eq!(again[0], peers[3], "the lowest address dialled after the backoff is not the one that failed first");
}

#[test]
fn req_e26_a_link_local_address_is_dialled_on_its_interface() {
    let (first, second) = (address("[fe80::1%2]:8333"), address("[fe80::1%3]:8333"));
    let mut scene = Scene::fixed(&[first]);
    assert_eq!(scene.next(), Some(first));
    scene.make_ready(first);
    assert_eq!(scene.end(first, Ended::Lost), Decision::Restart);
    assert_eq!(scene.next(), Some(first));
    assert!(scene.dialler.is_taken(first));
    let decision = scene.end(first, Ended::Unreached);
    scene.config.mode = DialMode::Fixed(vec![second]);
    scene.dialler.reconfigure(&scene.config);
    scene.assert_waits(decision, secs(5));
    assert_eq!(scene.next(), Some(second), "the address was not dialled on the new interface after its backoff");
}

#[test]
fn a_list_of_100_000_addresses_is_dialled_in_turn() {
    let peers = private(100_000);
    let mut scene = Scene::fixed(&peers);
    scene.config.max_peers = 1_000;
    scene.dialler.reconfigure(&scene.config);
    for round in peers.chunks(1_000) {
        let dialled = scene.next_all();
        assert_eq!(dialled, round);
        for peer in dialled {
            let _ = scene.end(peer, Ended::Unreached);
        }
    }
    assert_eq!(scene.next(), None, "an address in backoff was dialled");
    scene.pass(secs(7));
    let mut again = 0;
    for _ in 0..100 {
        let dialled = scene.next_all();
        again += dialled.len();
        for peer in dialled {
            let _ = scene.end(peer, Ended::Unreached);
        }
    }
    assert_eq!(again, 100_000, "some addresses were not dialled again, or some were repeated");
}

#[test]
fn req_e26_a_banned_address_is_not_dialled_and_is_checked_again_later() {
    let peers = private(2);
    let mut scene = Scene::fixed(&peers);
    scene.banned.push(peers[0]);
    assert_eq!(scene.next_all(), [peers[1]]);
    assert_eq!(scene.dialler.next_at(), Some(START.plus(BARRED_RECHECK)));
    scene.pass(BARRED_RECHECK);
    assert_eq!(scene.next(), None);
    scene.banned.clear();
    scene.pass(BARRED_RECHECK);
    assert_eq!(scene.next(), Some(peers[0]));

    let mut scene = Scene::normal(&peers);
    scene.banned.push(peers[0]);
    assert_eq!(scene.next_all(), [peers[1]]);
    assert_eq!(scene.end(peers[1], Ended::Lost), Decision::Restart);
    scene.banned.push(peers[1]);
    assert_eq!(scene.next(), None, "a banned address was restarted");
}

#[test]
fn req_e38_an_incompatible_peer_is_dialled_again_once_the_ban_of_its_host_is_lifted() {
    let peers = [address("10.0.0.1:8333"), address("10.0.0.1:8334"), address("10.0.0.2:8333")];
    let mut scene = Scene::fixed(&peers);
    assert_eq!(scene.next_all(), peers);
    for (peer, ended) in peers.into_iter().zip([Ended::Incompatible, Ended::ClosedByUs, Ended::Incompatible]) {
        let _ = scene.end(peer, ended);
    }
    assert_eq!(scene.next(), None, "an address was dialled again at once");
    scene.dialler.ban_lifted(Host::of(peers[0].ip()));
    assert_eq!(scene.next_all(), peers[..1], "the dials were not exactly one, to the host's incompatible address");
    assert!(matches!(scene.end(peers[0], Ended::Incompatible), Decision::WaitUntil(_)));
    assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
    let _ = scene.end(peers[0], Ended::ClosedByUs);
    scene.dialler.ban_lifted(Host::of(peers[0].ip()));
    assert_eq!(scene.next(), None, "an address was dialled although its latest connection was closed on request");
    scene.config.mode = DialMode::Fixed(peers[..2].to_vec());
    scene.dialler.reconfigure(&scene.config);
    scene.dialler.ban_lifted(Host::of(peers[2].ip()));
    assert_eq!(scene.next(), None, "an address was dialled although it is no longer in the list");
}

// --- One link per address -------------------------------------------------------------------------------------------

#[test]
fn req_e31_an_address_never_gets_a_second_link() {
    let peers = private(2);
    for mut scene in [Scene::normal(&peers[..1]), Scene::fixed(&peers[..1])] {
        assert_eq!(scene.next_all(), peers[..1]);
        let mapped = address("[::ffff:10.0.0.1]:8333");
        assert!(scene.dialler.is_taken(mapped) && !scene.dialler.is_taken(peers[1]));
        for step in 0..3 {
            assert_eq!(scene.dialler.try_manual(mapped, scene.now), Err(Taken::Address), "step {step}");
            match step {
                0 => scene.dialler.tcp_connected(mapped),
                _ => scene.dialler.ready(mapped, scene.now),
            }
        }
        assert_eq!((scene.next(), scene.dialler.slots.taken()), (None, 1));
    }
}

#[test]
fn req_e31_an_inbound_peer_is_not_dialled() {
    let peers = private(2);
    let link = LinkId::new(3, 0);
    for mut scene in [Scene::normal(&peers[..1]), Scene::fixed(&peers[..1])] {
        scene.dialler.live.enter(peers[0], link);
        assert_eq!((scene.next(), scene.dialler.slots.taken()), (None, 0));
        assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Err(Taken::Address));
        scene.dialler.live.release(peers[0], link);
        scene.pass(BARRED_RECHECK);
        assert_eq!(scene.next(), Some(peers[0]));
    }
}

#[test]
fn a_requested_dial_is_made_once_and_may_exceed_the_target_but_not_the_maximum() {
    let peers = private(30);
    let mut scene = Scene::normal(&[]);
    for ended in [Ended::Lost, Ended::Unreached, Ended::Short(Shortage::Memory), Ended::Incompatible, Ended::ClosedByUs]
    {
        assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
        assert_eq!(scene.end(peers[0], ended), Decision::Nothing);
        assert_eq!(scene.dialler.records.len(), 0);
    }
    for peer in &peers[..20] {
        assert_eq!(scene.dialler.try_manual(*peer, scene.now), Ok(()), "a dial up to the maximum was refused");
    }
    assert_eq!(scene.dialler.try_manual(peers[20], scene.now), Err(Taken::Slots));
    assert!(!scene.dialler.is_taken(peers[20]));
}

#[test]
fn an_address_in_backoff_or_queued_is_dialled_early_on_request() {
    let peers = private(1);
    for mut scene in [Scene::normal(&peers), Scene::fixed(&peers)] {
        assert_eq!(scene.next(), Some(peers[0]));
        assert!(matches!(scene.end(peers[0], Ended::Unreached), Decision::WaitUntil(_)));
        assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
        let decision = scene.end(peers[0], Ended::Unreached);
        scene.assert_waits(decision, secs(10));
        assert_eq!(scene.next(), Some(peers[0]));
        assert_eq!(scene.next(), None);
    }
    let mut scene = Scene::fixed(&peers);
    assert_eq!(
        scene.dialler.try_manual(peers[0], scene.now),
        Ok(()),
        "the queued address could not be dialled on request"
    );
    assert_eq!((scene.next(), scene.dialler.next_at()), (None, None));
}

#[test]
fn a_requested_dial_that_fails_for_a_local_reason_keeps_the_backoff() {
    let peers = private(1);
    for ended in [
        Ended::Short(Shortage::Descriptors),
        Ended::Short(Shortage::Memory),
        Ended::Short(Shortage::Ports),
        Ended::NoNetwork,
        Ended::NotAllowed,
    ] {
        for mut scene in [Scene::normal(&peers), Scene::fixed(&peers)] {
            scene.config.initial_backoff = secs(60);
            scene.dialler.reconfigure(&scene.config);
            assert_eq!(scene.next(), Some(peers[0]));
            let decision = scene.end(peers[0], Ended::Unreached);
            scene.assert_waits(decision, secs(60));
            assert_eq!(scene.next(), Some(peers[0]));
            let decision = scene.end(peers[0], Ended::Unreached);
            for _ in 0..2 {
                assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
                assert_eq!(scene.end(peers[0], ended), decision, "{ended:?}");
            }
            scene.assert_waits(decision, secs(120));
            assert_eq!(scene.next(), Some(peers[0]));
            let decision = scene.end(peers[0], Ended::Unreached);
            scene.assert_waits(decision, secs(240));
        }
    }
}

#[test]
fn a_requested_dial_that_gets_a_response_ends_the_backoff() {
    let peers = private(1);
    for mut scene in [Scene::normal(&peers), Scene::fixed(&peers)] {
        assert_eq!(scene.next(), Some(peers[0]));
        let _ = scene.end(peers[0], Ended::Unreached);
        assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
        scene.dialler.tcp_connected(peers[0]);
        assert!(matches!(scene.end(peers[0], Ended::Short(Shortage::Memory)), Decision::WaitUntil(_)));
        scene.pass(DIAL_PAUSE_FIRST);
        assert_eq!(scene.next(), Some(peers[0]));
    }
}

#[test]
fn an_address_of_the_loop_itself_is_not_dialled_for_a_day() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.config.max_retries = 1;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next_all().len(), 1);
    scene.dialler.tcp_connected(peers[0]);
    let decision = scene.end(peers[0], Ended::SelfConnection);
    assert_eq!(decision, Decision::WaitUntil(START.plus(SELF_BACKOFF)));
    scene.now = START.plus(SELF_BACKOFF - NANO);
    assert_eq!(scene.next(), None);
    scene.pass(NANO);
    assert_eq!(scene.next(), Some(peers[0]));
}

// --- Other settings -------------------------------------------------------------------------------------------------

#[test]
fn req_e28_a_lower_target_or_maximum_closes_no_peer() {
    let mut scene = Scene::normal(&private(30));
    let dialled = scene.next_all();
    assert_eq!(dialled.len(), 8);
    scene.config.target_peers = 1;
    scene.config.max_peers = 2;
    scene.dialler.reconfigure(&scene.config);
    assert!(dialled.iter().all(|&peer| scene.dialler.is_taken(peer)));
    assert_eq!((scene.next(), scene.dialler.next_at()), (None, None));
    for peer in &dialled[..7] {
        let _ = scene.end(*peer, Ended::Unreached);
    }
    assert_eq!(scene.next(), None);
    let _ = scene.end(dialled[7], Ended::Unreached);
    assert_eq!(scene.next_all().len(), 1);
    scene.config.target_peers = 10;
    scene.config.max_peers = 30;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next_all().len(), 9);
}

#[test]
fn changed_limits_apply_to_known_addresses() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.config.max_restarts = 1;
    scene.config.initial_backoff = secs(60);
    scene.config.max_retries = 2;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Restart);
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::Lost);
    scene.assert_waits(decision, secs(60));
    assert_eq!(scene.next(), Some(peers[0]));
    assert_eq!(scene.end(peers[0], Ended::Unreached), Decision::Inaccessible);
}

#[test]
fn a_new_fixed_list_drops_unlisted_records_and_keeps_listed_ones() {
    let peers = private(8);
    let mut scene = Scene::fixed(&peers[..6]);
    scene.config.max_peers = 4;
    scene.config.target_peers = 4;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next_all(), peers[..4]);
    scene.make_ready(peers[0]);
    scene.make_ready(peers[1]);
    let _ = scene.end(peers[2], Ended::Unreached);
    let _ = scene.end(peers[3], Ended::Unreached);
    // Addresses 0 and 1 are live, 2 and 3 are in backoff, 4 and 5 are queued.
    scene.config.mode = DialMode::Fixed([1, 3, 5, 6].map(|index| peers[index]).to_vec());
    scene.dialler.reconfigure(&scene.config);
    assert!(scene.dialler.is_taken(peers[0]), "the live peer's address was released");
    assert_eq!(scene.next_all(), [peers[5], peers[6]]);
    assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Nothing, "an unlisted address was restarted");
    assert_eq!(scene.end(peers[1], Ended::Lost), Decision::Restart);
    scene.pass(secs(7));
    assert_eq!(scene.next_all(), [peers[1], peers[3]]);
    let decision = scene.end(peers[3], Ended::Unreached);
    scene.assert_waits(decision, secs(10));
}

#[test]
fn the_mode_can_change_between_fixed_and_normal() {
    let peers: Vec<SocketAddr> = (1..=4).map(|group| ([8, group, 0, 1], 8_333).into()).collect();
    let sibling = address("8.1.0.2:8333");
    let mut scene = Scene::fixed(&peers[..3]);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    assert_eq!(scene.next(), Some(peers[1]));
    let _ = scene.end(peers[1], Ended::Unreached);
    scene.config.mode = DialMode::Normal;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next(), None, "an address of the earlier list was dialled");
    scene.book = Book::of(&[sibling, peers[1], peers[3]], Standing::Unknown);
    scene.dialler.book_changed();
    assert_eq!(
        scene.next_all(),
        [peers[3]],
        "the dials were not exactly one, to the address with a free range and no backoff"
    );
    let decision = scene.end(peers[3], Ended::Lost);
    assert_eq!(decision, Decision::Restart);
    scene.config.mode = DialMode::Fixed(peers[2..3].to_vec());
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next_all(), peers[2..3]);
    assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Nothing);
    scene.config.mode = DialMode::Normal;
    scene.dialler.reconfigure(&scene.config);
    scene.pass(secs(7));
    assert!(scene.next_all().contains(&sibling), "the sibling was not dialled although its range is free");
}
