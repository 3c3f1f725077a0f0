//! Probes, the facts that the pipe states to each node, limits, and the times at which the pipe dials.

use super::{Pair, other_version};
use peerloop::internals::limits::{PIPE_ALONE_TIMEOUT, PIPE_LIMITS_TIMEOUT};
use peerloop::relay::pipe::{PipeProblem, Side, SideState};
use peerloop::wire::Version;
use peerloop_testkit::bytes::{commands, frame, frames, verack, version};
use peerloop_testkit::simulated::{config, secs};
use std::net::SocketAddr;
use std::time::Duration;

/// A moment after the first pause and its jitter.
const AFTER_FIRST_PAUSE: Duration = Duration::from_millis(550);

#[test]
fn a_probe_states_no_services_and_each_node_is_then_told_the_other_nodes_facts() {
    let mut pair = Pair::new();
    assert_eq!(pair.states(), [SideState::Probing; 2]);
    let greeting = pair.greet(Side::A);
    let probe = Version::decode(&greeting[0].1).unwrap();
    assert_eq!((probe.services, probe.start_height), (0, Some(0)));
    pair.node(Side::A).close();
    pair.settle();
    // Nothing is dialled with facts before both nodes are known.
    assert_eq!(pair.states(), [SideState::Waiting, SideState::Probing]);
    pair.probe(Side::B);
    assert_eq!(pair.states(), [SideState::Connecting; 2]);

    for side in Side::BOTH {
        let (told, after) = pair.connect(side);
        let own = if side == Side::A { other_version() } else { version() };
        let expected = Version::decode(&own[24..]).unwrap();
        assert_eq!(
            (told.protocol_version, told.services, &told.user_agent, told.start_height, told.relay),
            (expected.protocol_version, expected.services, &expected.user_agent, expected.start_height, expected.relay)
        );
        assert_eq!(after, b"");
    }
    let report = pair.report();
    assert!(report.is_joined());
    assert_eq!(report.side(Side::B).user_agent.as_deref(), Some("/Bitcoin SV:9.9.9/"));
    assert_eq!((report.side(Side::A).connects, report.side(Side::A).problem), (1, None));
}

#[test]
fn a_node_with_a_smaller_limit_than_ours_is_refused_with_both_limits_and_tried_again() {
    let mut pair = Pair::new();
    pair.probe(Side::A);
    pair.node(Side::B).protoconf = frame("protoconf", &[1, 0, 0, 0x10, 0]);
    pair.greet(Side::B);
    let problem = PipeProblem::SmallLimit { accepts_bytes: 1_048_576, announced_bytes: 2_097_152 };
    assert_eq!(pair.report().side(Side::B).problem, Some(problem));
    assert_eq!(pair.states(), [SideState::Waiting; 2]);
    pair.node(Side::B).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    assert_eq!(pair.states(), [SideState::Waiting, SideState::Probing]);

    // A loop that announces 1 MiB accepts the same node.
    let mut pair = Pair::with(config().with_max_message_bytes(1_048_576));
    pair.node(Side::B).protoconf = frame("protoconf", &[1, 0, 0, 0x10, 0]);
    pair.probe(Side::A);
    pair.probe(Side::B);
    assert_eq!(pair.states(), [SideState::Connecting; 2]);
}

#[test]
fn a_probed_node_without_a_protoconf_counts_as_one_with_the_smallest_limit_after_two_seconds() {
    let mut pair = Pair::with(config().with_max_message_bytes(1_048_576));
    pair.probe(Side::A);
    pair.node(Side::B).protoconf = Vec::new();
    pair.greet(Side::B);
    pair.run_for(PIPE_LIMITS_TIMEOUT - Duration::from_nanos(1));
    assert_eq!(pair.states(), [SideState::Waiting, SideState::Probing]);
    pair.run_for(Duration::from_nanos(1));
    assert_eq!(pair.states(), [SideState::Connecting; 2]);
}

#[test]
fn an_unreachable_node_is_dialled_after_pauses_that_double_up_to_thirty_seconds() {
    let mut pair = Pair::new();
    pair.probe(Side::A);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        pair.node(Side::B).raw.accept();
        pair.node(Side::B).close();
        pair.settle();
        // The first node's facts grow old, and it is probed again; it accepts each time.
        let began = pair.world.now();
        while pair.states()[1] == SideState::Waiting {
            pair.run_for(Duration::from_millis(10));
            if pair.states()[0] == SideState::Probing {
                pair.probe(Side::A);
            }
        }
        pauses.push(pair.world.now().since(began));
    }
    let mut least = Duration::from_millis(500);
    for pause in pauses {
        let most = least + least / 10 + Duration::from_millis(20);
        assert!(pause >= least && pause <= most, "{pause:?} is not between {least:?} and {most:?}");
        least = (least * 2).min(secs(30));
    }
    // No connection with facts was ever opened.
    assert_eq!(pair.report().side(Side::A).connects, 0);
}

#[test]
fn a_node_that_is_ready_first_is_not_read_until_the_other_is_ready_and_loses_nothing() {
    let mut pair = Pair::new();
    Side::BOTH.into_iter().for_each(|side| pair.probe(side));
    pair.node(Side::A).raw.accept();
    pair.settle();
    let (sendcmpct, inv) = (frame("sendcmpct", &[1, 1, 0, 0, 0, 0, 0, 0, 0]), frame("inv", &[0]));
    let greeting = [&version()[..], &verack(), &pair.nodes[0].protoconf, &inv, &sendcmpct].concat();
    pair.send(Side::A, &greeting);
    assert_eq!(pair.states(), [SideState::Ready, SideState::Connecting]);
    let held = pair.report().side(Side::A).held_bytes;
    assert!(held > 0 && held < 400, "{held}");
    let (_, after) = pair.connect(Side::B);
    // The stateful message is sent first.
    assert_eq!(after, [sendcmpct, inv].concat());
    assert_eq!((pair.report().counts.replays, pair.report().side(Side::A).held_bytes), (1, 0));
}

#[test]
fn a_node_that_stays_alone_is_closed_after_ten_seconds_and_both_are_probed_again() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.settle();
    assert_eq!(pair.states(), [SideState::Ready, SideState::Waiting]);
    pair.run_for(PIPE_ALONE_TIMEOUT - Duration::from_nanos(1));
    assert!(pair.receive(Side::A).is_empty() && !pair.nodes[0].raw.has_seen_end);
    pair.run_for(Duration::from_nanos(1));
    pair.receive(Side::A);
    assert!(pair.nodes[0].raw.has_seen_end, "the node that was alone is still connected");
    let report = pair.report();
    assert_eq!((report.counts.closed_alone, report.side(Side::A).problem), (1, Some(PipeProblem::Alone)));
    pair.node(Side::A).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    assert_eq!(pair.states()[0], SideState::Probing);
}

#[test]
fn a_node_that_returns_before_the_other_one_is_not_closed_because_of_an_earlier_wait() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.run_for(secs(6));
    // The second node returns with other facts, so both are closed.
    pair.nodes[1].version = version();
    pair.greet(Side::B);
    Side::BOTH.into_iter().for_each(|side| pair.node(side).close());
    pair.run_for(secs(2));
    pair.probe(Side::B);
    pair.run_for(Duration::from_millis(1_900));
    pair.connect(Side::A);
    // The first node has now waited for 0.2 s. Its former connection would have waited for 10.1 s.
    pair.run_for(Duration::from_millis(200));
    pair.connect(Side::B);
    assert!(pair.report().is_joined(), "{:?}", pair.states());
    assert_eq!(pair.report().counts.closed_alone, 0);
}

#[test]
fn a_node_that_is_being_dialled_with_former_facts_of_the_other_is_dialled_again() {
    let mut pair = Pair::new();
    Side::BOTH.into_iter().for_each(|side| pair.probe(side));
    pair.node(Side::A).raw.accept();
    pair.node(Side::A).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    // The second node was dialled with the first node's facts, which change now.
    assert_eq!(pair.states(), [SideState::Probing, SideState::Connecting]);
    pair.nodes[0].version = other_version();
    pair.probe(Side::A);
    assert_eq!(pair.states(), [SideState::Connecting; 2]);
    pair.greet(Side::A);
    assert_eq!(pair.states(), [SideState::Waiting; 2]);
    assert_eq!(pair.report().side(Side::B).problem, Some(PipeProblem::FactsChanged));
}

#[test]
fn the_next_address_is_dialled_after_a_failure_and_the_last_dialled_one_is_reported() {
    let (mut refusing, mut accepting) = (None, None);
    let mut pair = Pair::dialling(config(), |address| {
        accepting = Some(address);
        let other = SocketAddr::new(address.ip(), 1);
        refusing = Some(other);
        vec![other, address]
    });
    let dialled = |pair: &Pair| Some(pair.report().side(Side::A).address);
    assert_eq!((pair.states()[0], dialled(&pair)), (SideState::Waiting, refusing));
    pair.run_for(AFTER_FIRST_PAUSE);
    assert_eq!((pair.states()[0], dialled(&pair)), (SideState::Probing, accepting));
    Side::BOTH.into_iter().for_each(|side| pair.probe(side));
    Side::BOTH.into_iter().for_each(|side| drop(pair.connect(side)));
    assert!(pair.report().is_joined());
    // The second address stays until its connection is lost, and the first one follows.
    pair.node(Side::A).close();
    pair.settle();
    assert_eq!((pair.states()[0], dialled(&pair)), (SideState::Waiting, accepting));
    pair.run_for(secs(2));
    assert_eq!((pair.states()[0], dialled(&pair)), (SideState::Waiting, refusing));
}

#[test]
fn a_node_that_returns_with_another_version_is_announced_anew_to_the_other_node() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    pair.nodes[1].version = version();
    let greeting = pair.greet(Side::B);
    assert_eq!(greeting[0].0, "version");
    assert_eq!(pair.states(), [SideState::Waiting; 2]);
    assert_eq!(pair.report().side(Side::A).problem, Some(PipeProblem::FactsChanged));
    pair.receive(Side::A);
    assert!(pair.nodes[0].raw.has_seen_end && pair.nodes[1].raw.has_seen_end);
}

#[test]
fn a_node_that_returns_with_another_height_is_joined_again() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    let mut higher = Version::decode(&other_version()[24..]).unwrap();
    higher.start_height = Some(778);
    let mut payload = Vec::new();
    higher.encode(&mut payload);
    pair.nodes[1].version = frame("version", &payload);
    pair.connect(Side::B);
    assert!(pair.report().is_joined());
    assert_eq!(pair.report().side(Side::B).connects, 2);
}

#[test]
fn the_engines_pings_are_answered_and_never_passed_on() {
    let mut pair = Pair::joined();
    pair.send(Side::A, &frame("ping", &[7; 8]));
    assert_eq!(frames(&pair.receive(Side::A)), [("pong".to_owned(), vec![7; 8])]);
    assert_eq!(commands(&pair.receive(Side::B)), [""; 0]);
}
