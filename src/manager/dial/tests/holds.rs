//! The causes that hold back wanted dials, and how often they are reported.

use super::*;
use crate::limits::BARRED_RECHECK;

fn holds(scene: &mut Scene) -> Vec<DialHold> {
    std::iter::from_fn(|| scene.dialler.take_hold()).collect()
}

/// Asserts that no address is dialled while `cause` bars every address.
fn next_barred(scene: &mut Scene, cause: DialHold) {
    let next = scene.dialler.next(scene.now, &mut scene.rng, &scene.book, |_| Some(cause));
    assert_eq!(next, None);
}

#[test]
fn an_empty_book_is_reported_once_after_the_delay() {
    let mut scene = Scene::normal(&[]);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![]));
    assert_eq!(scene.dialler.next_at(), Some(START.plus(NO_CANDIDATES_DELAY)));
    scene.now = START.plus(NO_CANDIDATES_DELAY - NANO);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![]));
    scene.pass(NANO);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![DialHold::NoCandidates]));
    assert_eq!(scene.dialler.next_at(), None);
    scene.pass(10 * NO_CANDIDATES_DELAY);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![]));
}

#[test]
fn a_lack_of_candidates_is_reported_if_all_addresses_are_in_use_and_none_is_in_backoff() {
    let peers = private(2);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next_all().len(), 2);
    scene.end(peers[0], Ended::Unreached);
    assert_eq!(scene.next(), None);
    scene.dialler.book_changed();
    scene.pass(Duration::from_secs(4));
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![]));
    scene.pass(Duration::from_secs(3));
    assert_eq!((scene.next(), scene.next()), (Some(peers[0]), None));
    scene.pass(NO_CANDIDATES_DELAY);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![DialHold::NoCandidates]));
}

#[test]
fn a_cause_that_bars_all_fixed_peers_is_reported_only_once() {
    for cause in [DialHold::Banned, DialHold::OwnAddress, DialHold::HostFull, DialHold::GroupFull] {
        let mut scene = Scene::fixed(&private(3));
        next_barred(&mut scene, cause);
        assert_eq!(holds(&mut scene), [cause]);
        for _ in 0..5 {
            scene.pass(BARRED_RECHECK);
            next_barred(&mut scene, cause);
            assert_eq!(holds(&mut scene), []);
        }
    }
}

#[test]
fn a_book_of_barred_addresses_is_reported_by_cause_and_a_book_of_own_addresses_as_a_lack_of_candidates() {
    for cause in [DialHold::Banned, DialHold::HostFull, DialHold::GroupFull] {
        let mut scene = Scene::normal(&private(3));
        next_barred(&mut scene, cause);
        assert_eq!(holds(&mut scene), [cause]);
        scene.pass(NO_CANDIDATES_DELAY);
        next_barred(&mut scene, cause);
        assert_eq!(holds(&mut scene), []);
    }
    let mut scene = Scene::normal(&private(3));
    next_barred(&mut scene, DialHold::OwnAddress);
    assert_eq!(holds(&mut scene), []);
    scene.pass(NO_CANDIDATES_DELAY);
    next_barred(&mut scene, DialHold::OwnAddress);
    assert_eq!(holds(&mut scene), [DialHold::NoCandidates]);
}

#[test]
fn no_cause_is_reported_if_one_address_is_barred_and_another_is_dialled() {
    let peers = private(2);
    let mut scene = Scene::normal(&peers);
    scene.banned.push(peers[0]);
    assert_eq!((scene.next(), holds(&mut scene)), (Some(peers[1]), vec![]));
}

#[test]
fn a_range_with_a_dialled_peer_is_reported_and_one_that_only_pauses_after_a_dial_is_not() {
    let peers = [address("8.8.1.1:8333"), address("8.8.2.2:8333")];
    let mut scene = Scene::normal(&peers);
    let dialled = scene.next().expect("both addresses may be dialled");
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![DialHold::GroupTaken]));
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(dialled));
    scene.end(dialled, Ended::Unreached);
    assert_eq!((scene.next(), holds(&mut scene)), (None, vec![]));
}

#[test]
fn a_fixed_list_that_is_longer_than_max_peers_is_reported_once_and_keeps_its_order() {
    let peers = private(3);
    let mut scene = Scene::fixed(&peers);
    scene.config.max_peers = 2;
    scene.dialler.reconfigure(&scene.config);
    assert_eq!((scene.next_all(), holds(&mut scene)), (peers[..2].to_vec(), vec![DialHold::MaxPeers]));
    assert_eq!(scene.dialler.next_at(), None);
    scene.make_ready(peers[0]);
    scene.end(peers[1], Ended::Unreached);
    assert_eq!((scene.next_all(), holds(&mut scene)), (vec![peers[2]], vec![]));
}

#[test]
fn a_table_without_a_free_row_is_reported_if_a_dial_is_due() {
    let mut scene = Scene::fixed(&private(1));
    scene.dialler.lacks_row(scene.now);
    scene.dialler.lacks_row(scene.now);
    assert_eq!(holds(&mut scene), [DialHold::MaxLinks]);
    let mut scene = Scene::fixed(&private(1));
    assert_eq!(scene.next_all().len(), 1);
    scene.dialler.lacks_row(scene.now);
    assert_eq!(holds(&mut scene), []);
}

#[test]
fn a_cause_is_reported_again_after_the_wanted_peers_were_connected() {
    let peers = private(1);
    let mut scene = Scene::fixed(&peers);
    next_barred(&mut scene, DialHold::Banned);
    scene.pass(BARRED_RECHECK);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    scene.end(peers[0], Ended::Lost);
    next_barred(&mut scene, DialHold::Banned);
    assert_eq!(holds(&mut scene), [DialHold::Banned]);
    scene.pass(BARRED_RECHECK);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    scene.end(peers[0], Ended::Lost);
    next_barred(&mut scene, DialHold::Banned);
    assert_eq!(holds(&mut scene), [DialHold::Banned]);
}
