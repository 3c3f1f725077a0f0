//! Simulated peers with two streams: the honest ones keep both, and each deviation has exactly its consequence.

use crate::keen::{PORT, address_of, crowd, node, run};
use peerloop::ban::BanReason;
use peerloop::config::{ManagerConfig, Multistreams};
use peerloop::error::{CloseReason, Misbehavior};
use peerloop::sim::actor::{
    AssociationAcceptor, AssociationDialler, AssociationOutcome, End, Journal, Profile, Reaction, Setup, Tally,
};
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::store::PeerStore;
use peerloop::time::Instant;
use peerloop::{Config, Network};
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::rc::Rc;

/// The labels of the close reasons of a loop's peers, in order.
type Closed = Vec<&'static str>;

fn whole_and_split() -> [Conditions; 2] {
    let cut = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    [Conditions::default(), Conditions { capacity_bytes: 64, to_acceptor: cut.clone(), to_dialler: cut }]
}

/// Lets a peer with this setup dial a loop. Returns its outcome, the loop's close reasons, and the honest counts.
fn dial(setup: Setup, multistreams: Multistreams, conditions: Conditions) -> (AssociationOutcome, Closed, Tally) {
    let world = World::new(3, Instant::ZERO);
    world.set_conditions(conditions);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(7)));
    let mut node = node(&world, config().with_multistreams(multistreams).with_ping_interval(secs(5)), vec![]);
    let mut peers = crowd(&world);
    let dialler = AssociationDialler::new(&profile, setup, 1);
    // The further connection may be open first.
    peers.dial(address_of(&node), dialler.further());
    peers.dial(address_of(&node), dialler.general());
    run(&world, secs(60), &mut [&mut node, &mut peers]);
    assert_eq!(journal.complaints(), [], "{setup:?}");
    let closed = node.handler().ends.iter().map(CloseReason::label).collect();
    let outcome = dialler.association().outcome();
    let expected = if outcome.general_ended.is_some() || setup == Setup::ThenCloseGeneral { 0 } else { 1 };
    assert_eq!(node.stats().ready, expected, "{setup:?}");
    (outcome, closed, journal.tally())
}

#[test]
fn an_honest_peer_that_dials_keeps_two_streams_and_its_pongs_use_the_second_one() {
    for conditions in whole_and_split() {
        let (outcome, closed, tally) = dial(Setup::Data1, Multistreams::Accept, conditions);
        assert_eq!(closed, ["became_stream"]);
        assert!(outcome.is_ready && outcome.is_agreed);
        assert_eq!((outcome.streams, outcome.rejects, outcome.general_ended, outcome.stream_ended), (1, 0, None, None));
        let [on_general, on_stream] = outcome.pongs;
        assert!(on_general <= 1 && on_stream >= 14, "{outcome:?}");
        assert_eq!((tally.streams, tally.pings_answered >= 10), (1, true), "{tally:?}");
    }
}

#[test]
fn without_streams_a_peer_keeps_its_first_connection() {
    let (outcome, closed, tally) = dial(Setup::Data1, Multistreams::Off, Conditions::default());
    assert_eq!((outcome.is_agreed, outcome.streams, closed), (false, 0, vec!["closed_by_peer"]));
    assert!(outcome.pongs[0] >= 7 && tally.pings_answered >= 10, "{outcome:?}");
}

#[test]
fn a_refused_stream_leaves_its_peer_with_one_stream() {
    for (setup, conditions) in
        [Setup::TypeInUse, Setup::UnknownPolicy].into_iter().flat_map(|setup| whole_and_split().map(|of| (setup, of)))
    {
        let (outcome, closed, _) = dial(setup, Multistreams::Open, conditions);
        assert_eq!((outcome.streams, outcome.rejects, closed), (0, 1, vec!["stream_refused"]), "{setup:?}");
        assert_eq!(outcome.general_ended, None);
        assert!(outcome.pongs[0] >= 7, "{outcome:?}");
    }
}

#[test]
fn a_peer_that_closes_either_stream_loses_both() {
    for conditions in whole_and_split() {
        let (outcome, closed, _) = dial(Setup::ThenCloseGeneral, Multistreams::Accept, conditions.clone());
        assert_eq!(closed, ["became_stream", "closed_by_peer"]);
        assert!(matches!(outcome.stream_ended, Some((_, End::ByPeer))), "{outcome:?}");
        let (outcome, closed, _) = dial(Setup::ThenCloseData1, Multistreams::Accept, conditions);
        assert_eq!(closed, ["became_stream", "closed_by_peer"]);
        assert!(matches!(outcome.general_ended, Some((_, End::ByPeer))), "{outcome:?}");
    }
}

#[test]
fn a_second_connection_from_another_host_is_refused_and_its_host_banned() {
    let world = World::new(3, Instant::ZERO);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(7)));
    let config: Config = config().with_manager(ManagerConfig::new(Network::Regtest));
    let mut node = node(&world, config, vec![]);
    let mut peers = crowd(&world);
    let dialler = AssociationDialler::new(&profile, Setup::TypeInUse, 1);
    let [own, foreign] = ["8.8.8.8", "8.8.8.9"].map(|ip| ip.parse().unwrap());
    peers.dial_at(Instant::ZERO, address_of(&node), Some(own), dialler.general());
    peers.dial_at(Instant::ZERO, address_of(&node), Some(foreign), dialler.further());
    run(&world, secs(30), &mut [&mut node, &mut peers]);
    assert_eq!(journal.complaints(), []);
    let outcome = dialler.association().outcome();
    assert_eq!((outcome.rejects, outcome.general_ended, node.stats().ready), (1, None, 1));
    assert_eq!(node.handler().ends, [Misbehavior::StreamFromOtherHost.into()]);
    let bans = world.book(node.net().host()).bans().unwrap();
    assert_eq!(
        bans.iter().map(|ban| (ban.host, ban.reason)).collect::<Vec<_>>(),
        [(peerloop::address::Host::of(foreign), BanReason::Misbehavior)]
    );
}

/// Lets a loop that opens streams dial a peer. Returns the peer's outcome, the labels of the failed streams' reasons,
/// and those of the closed peers' reasons.
fn accept(
    reaction: Reaction,
    multistreams: Multistreams,
    conditions: Conditions,
) -> (AssociationOutcome, Closed, Closed) {
    let world = World::new(3, Instant::ZERO);
    world.set_conditions(conditions);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(7)));
    let acceptor = AssociationAcceptor::new(&profile, reaction);
    let cast = acceptor.clone();
    let mut peers = crowd(&world);
    let there = peers.listen(PORT, move |_| cast.role()).unwrap();
    let config = config().with_multistreams(multistreams).with_ping_interval(secs(5));
    let mut node = node(&world, config, vec![there]);
    run(&world, secs(90), &mut [&mut node, &mut peers]);
    assert_eq!(journal.complaints(), [], "{reaction:?}");
    let associations = acceptor.associations();
    assert_eq!(associations.len(), 1, "the loop did not dial exactly once");
    let closed = node.handler().ends.iter().map(CloseReason::label).collect();
    (associations[0].outcome(), node.handler().stream_failures.clone(), closed)
}

#[test]
fn a_loop_that_dials_opens_a_second_stream_with_an_honest_peer() {
    for conditions in whole_and_split() {
        let (outcome, failures, closed) = accept(Reaction::Acknowledges, Multistreams::Open, conditions);
        assert_eq!((outcome.streams, failures, closed), (1, vec![], vec![]));
        assert!(outcome.pongs[0] <= 1 && outcome.pongs[1] >= 20, "{outcome:?}");
    }
    let (outcome, failures, closed) = accept(Reaction::Acknowledges, Multistreams::Accept, Conditions::default());
    assert_eq!((outcome.is_agreed, outcome.streams, failures, closed), (false, 0, vec![], vec![]));
}

#[test]
fn each_way_to_refuse_a_stream_is_reported_and_leaves_the_peer_with_one_stream() {
    let refusing = Reaction::ALL.into_iter().filter(|reaction| reaction.failure().is_some());
    for (reaction, conditions) in refusing.flat_map(|reaction| whole_and_split().map(|of| (reaction, of))) {
        let (outcome, failures, closed) = accept(reaction, Multistreams::Open, conditions);
        assert_eq!(failures, [reaction.failure().unwrap()], "{reaction:?}");
        assert_eq!((outcome.is_ready, outcome.general_ended, closed), (true, None, vec![]), "{reaction:?}");
        assert!(outcome.pongs[0] >= 10, "{reaction:?}: {outcome:?}");
    }
}

#[test]
fn a_peer_without_a_common_policy_gets_no_second_stream_and_one_with_another_id_is_closed() {
    for conditions in whole_and_split() {
        let (outcome, failures, closed) = accept(Reaction::ListsOnlyDefault, Multistreams::Open, conditions.clone());
        assert_eq!((outcome.is_agreed, outcome.streams, failures, closed), (true, 0, vec![], vec![]));
        let (outcome, failures, closed) = accept(Reaction::NamesOtherId, Multistreams::Open, conditions);
        assert_eq!((outcome.is_ready, failures, closed), (false, vec![], vec!["bad_value"]));
    }
}
