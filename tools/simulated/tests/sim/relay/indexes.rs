//! Peers that connect and close all the time: no new peer inherits anything from a closed one.

use super::*;

#[test]
fn a_new_peer_inherits_no_announcement_from_a_closed_one() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut rest: Vec<RawPeer> = (0..3).map(|_| scene.leaf()).collect();
    for number in 0..60 {
        let wanted = transaction(number);
        let mut early = scene.leaf();
        early.send(&inv(&[&wanted]));
        scene.upstream.send(LISTENING, &inv(&[&wanted]));
        scene.settle();
        early.close();
        scene.run_for(Duration::from_millis(u64::from(number % 7)));
        let mut late = scene.leaf();
        scene.upstream.send(LISTENING, &tx(&wanted));
        assert_eq!(scene.received(&mut late), [message("inv", &items(&[&wanted]))], "{number}");
        for leaf in &mut rest {
            assert_eq!(hashes(&scene.received(leaf), "inv"), [Hash256::of(&wanted)]);
        }
        late.close();
        scene.heard(LISTENING);
    }
    scene.run_for(Duration::from_secs(1));
    assert_eq!((scene.stats().in_flight, scene.stats().leaf_peers), (0, 3));
}

#[test]
fn peers_that_close_with_open_requests_lose_no_transaction() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut rest = scene.leaf();
    for number in 0..40 {
        let wanted = transaction(number);
        let mut early: Vec<RawPeer> = (0..7).map(|_| scene.leaf()).collect();
        early.iter_mut().for_each(|leaf| leaf.send(&inv(&[&wanted])));
        scene.settle();
        scene.upstream.send(LISTENING, &inv(&[&wanted]));
        scene.settle();
        early.iter_mut().for_each(RawPeer::close);
        let asked = scene.heard(LISTENING);
        assert_eq!(hashes(&asked, "getdata"), [Hash256::of(&wanted)], "{number}");
        scene.upstream.send(LISTENING, &tx(&wanted));
        assert_eq!(hashes(&scene.received(&mut rest), "inv"), [Hash256::of(&wanted)]);
    }
    assert_eq!(scene.counts().accepted, 40);
}
