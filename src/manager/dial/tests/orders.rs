//! Checks that each address is in the one collection that its record's state requires: its family's queue, the set of
//! waiting addresses, or none. The events, fixed lists and modes are arbitrary.

use super::*;
use crate::address::Host;
use crate::manager::dial::model::any_end;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Dial,
    Request(usize),
    Open(usize),
    Ready(usize),
    End(usize, Ended),
    Pass(u64),
    /// Bars an address or, if it is barred, allows it again.
    Ban(usize),
    LiftBan(usize),
    List(Vec<usize>),
    Normal,
    Resize(usize),
}

/// Returns addresses of both families. Some share a range, two share a host, and some cannot be routed.
fn peers() -> Vec<SocketAddr> {
    let texts = ["8.8.0.1:1", "8.8.0.2:1", "8.8.0.2:2", "9.9.9.9:1", "10.0.0.1:1", "10.0.0.2:1", "[2001:4860::1]:1"];
    texts.map(address).to_vec()
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = || 0..7_usize;
    prop_oneof![
        6 => Just(Step::Dial),
        2 => which().prop_map(Step::Request),
        3 => which().prop_map(Step::Open),
        3 => which().prop_map(Step::Ready),
        6 => (which(), any_end()).prop_map(|(which, ended)| Step::End(which, ended)),
        4 => (0..30_u64).prop_map(Step::Pass),
        1 => Just(Step::Pass(4_000)),
        1 => which().prop_map(Step::Ban),
        1 => which().prop_map(Step::LiftBan),
        2 => proptest::collection::vec(which(), 1..6).prop_map(Step::List),
        1 => Just(Step::Normal),
        1 => (1..9_usize).prop_map(Step::Resize),
    ]
}

/// Performs a step. `live` lists the addresses that are connected or being dialled.
fn take(scene: &mut Scene, step: Step, live: &mut Vec<SocketAddr>) {
    let peers = peers();
    let chosen = |live: &[SocketAddr], which: usize| live.get(which % live.len().max(1)).copied();
    match step {
        Step::Dial => live.extend(scene.next_all()),
        Step::Request(which) => {
            let expected = match live.contains(&peers[which]) {
                true => Err(Taken::Address),
                false if live.len() >= scene.config.max_peers => Err(Taken::Slots),
                false => Ok(()),
            };
            assert_eq!(scene.dialler.try_manual(peers[which], scene.now), expected);
            live.extend(expected.is_ok().then_some(peers[which]));
        }
        Step::Open(which) => {
            if let Some(peer) = chosen(live, which) {
                scene.dialler.connect_started(peer);
                scene.dialler.tcp_connected(peer);
            }
        }
        Step::Ready(which) => {
            if let Some(peer) = chosen(live, which) {
                scene.dialler.ready(peer, scene.now);
            }
        }
        Step::End(which, ended) => {
            if let Some(peer) = chosen(live, which) {
                live.retain(|other| *other != peer);
                let _ = scene.end(peer, ended);
            }
        }
        Step::Pass(time) => scene.pass(secs(time)),
        Step::Ban(which) if scene.banned.contains(&peers[which]) => scene.banned.retain(|peer| *peer != peers[which]),
        Step::Ban(which) => scene.banned.push(peers[which]),
        Step::LiftBan(which) => scene.dialler.ban_lifted(Host::of(peers[which].ip())),
        Step::List(which) => {
            scene.config.mode = DialMode::Fixed(which.into_iter().map(|which| peers[which]).collect());
            scene.dialler.reconfigure(&scene.config);
        }
        Step::Normal => {
            scene.config.mode = DialMode::Normal;
            scene.dialler.reconfigure(&scene.config);
        }
        Step::Resize(max_peers) => {
            scene.config = ManagerConfig { max_peers, target_peers: max_peers, ..scene.config.clone() };
            scene.dialler.reconfigure(&scene.config);
        }
    }
}

proptest! {
    #[test]
    fn each_address_is_in_the_collection_of_its_state_after_any_event(
        steps in proptest::collection::vec(any_step(), 1..150),
    ) {
        let mut scene = Scene::normal(&peers());
        scene.config.max_retries = 2;
        scene.dialler.reconfigure(&scene.config);
        let mut live = Vec::new();
        for step in steps {
            take(&mut scene, step, &mut live);
            scene.dialler.records.assert_in_order();
            prop_assert_eq!(scene.dialler.slots.taken(), live.len());
            for peer in peers() {
                let links = live.iter().filter(|other| **other == peer).count();
                prop_assert_eq!(links, usize::from(scene.dialler.is_taken(peer)));
            }
        }
        while !live.is_empty() {
            take(&mut scene, Step::End(0, Ended::ClosedByUs), &mut live);
        }
        scene.dialler.records.assert_in_order();
        prop_assert_eq!(scene.dialler.slots.taken(), 0);
    }
}
