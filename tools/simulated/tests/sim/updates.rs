//! A new configuration for a loop with live peers: each field has the effect that the update reports, a lower
//! connection limit closes no peer, and a refused or trial update changes nothing.

use peerloop::api::Event;
use peerloop::config::{Effect, Field, UpdateError, VersionRules};
use peerloop::error::{CloseReason, Deadline, Incompatibility, WireError};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::{Driver, World};
use peerloop::time::Instant;
use peerloop::wire::Version;
use peerloop::{Config, Network};
use peerloop_testkit::bytes::{commands, frame, frames, header, ping, pong, ready_bytes, verack, version};
use peerloop_testkit::simulated::{Node, Player, RawPeer, Stage, config, raw_link, secs};
use proptest::prelude::*;
use std::time::Duration;

const INSTANT_BEFORE: Duration = Duration::from_nanos(1);

fn at(time: Duration) -> Instant {
    Instant::ZERO.plus(time)
}

/// Returns the version that the node sends to a peer that connects now.
fn version_of(stage: &mut Stage) -> Version {
    let mut peer = stage.peer();
    peer.send(&version());
    stage.settle();
    let said = frames(&peer.receive());
    assert_eq!(said[0].0, "version");
    Version::decode(&said[0].1).unwrap()
}

/// Returns a peer with this user agent. The peer has sent all messages of its handshake.
fn peer_with_agent(stage: &mut Stage, agent: &str) -> RawPeer {
    let mut said = Version::decode(&version()[24..]).unwrap();
    said.user_agent = Some(agent.as_bytes().into());
    let mut payload = Vec::new();
    said.encode(&mut payload);
    let mut peer = stage.peer();
    peer.send(&frame("version", &payload));
    peer.send(&verack());
    stage.settle();
    peer
}

#[test]
fn req_e45_an_update_reports_its_changes() {
    let mut stage = Stage::new();
    let changes = stage.update(|config| {
        config.ping_interval = secs(30);
        config.max_inbound = 3;
    });
    let reported: Vec<_> = changes.iter().map(|change| (change.field, change.new.as_str(), change.effect)).collect();
    assert_eq!(changes[0].old, "no limit");
    assert_eq!(reported, [(Field::MaxInbound, "3", Effect::NewConnections), (Field::PingInterval, "30s", Effect::Now)]);
    assert_eq!(stage.update(|_| {}), [], "an update without changes reported a change");
}

#[test]
fn req_e45_a_refused_or_trial_update_changes_nothing() {
    let mut stage = Stage::new();
    let _peer = stage.ready_peer();
    let before = (stage.node.reactor.reactor().config().clone(), stage.node.reactor.inspect().links);
    let sooner = |config: &mut Config| {
        config.ping_interval = secs(1);
        config.max_inbound = 1;
    };
    assert_eq!(stage.try_update(sooner, true).map(|changes| changes.len()), Ok(2));
    let invalid = |config: &mut Config| {
        sooner(config);
        config.pong_timeout = Duration::ZERO;
    };
    assert!(matches!(stage.try_update(invalid, false), Err(UpdateError::Invalid(_))));
    let fixed = |config: &mut Config| {
        sooner(config);
        config.network = Network::Mainnet;
        config.seed = None;
    };
    let fields = vec![Field::Network, Field::Seed];
    assert_eq!(stage.try_update(fixed, true), Err(UpdateError::Fixed { fields: fields.clone() }));
    assert_eq!(stage.try_update(fixed, false), Err(UpdateError::Fixed { fields }));
    assert!(before == (stage.node.reactor.reactor().config().clone(), stage.node.reactor.inspect().links));
}

// --- Deadlines ------------------------------------------------------------------------------------------------------

#[test]
fn req_e44_a_live_peer_is_pinged_at_the_new_interval() {
    for (changed_at, interval, pinged_at) in [(50, 60, 60), (119, 120, 120), (100, 300, 300), (50, 51, 51)] {
        let mut stage = Stage::new();
        let mut peer = stage.ready_peer();
        stage.run_to(secs(changed_at));
        stage.update(|config| config.ping_interval = secs(interval));
        stage.run_to(secs(pinged_at) - INSTANT_BEFORE);
        assert_eq!(peer.receive(), [], "an interval of {interval} s from {changed_at} s on");
        stage.run_to(secs(pinged_at));
        let pings = frames(&peer.receive());
        assert_eq!(pings.len(), 1, "an interval of {interval} s from {changed_at} s on");
        peer.send(&frame("pong", &pings[0].1));
        stage.run_to(secs(pinged_at + interval) - INSTANT_BEFORE);
        assert_eq!(peer.receive(), [], "the next ping was sent early");
        stage.run_to(secs(pinged_at + interval));
        assert_eq!(commands(&peer.receive()), ["ping"]);
    }
}

#[test]
fn a_ping_that_the_new_interval_makes_overdue_counts_as_due_at_the_change() {
    let player = Player {
        on_event: Some(|ctx, _, event| {
            if let Event::Pong { planned, received, .. } = event {
                assert_eq!((planned, received), (at(secs(50)), ctx.now()));
            }
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.ready_peer();
    stage.run_to(secs(50));
    stage.update(|config| config.ping_interval = secs(20));
    let pings = frames(&peer.receive());
    assert_eq!(pings.len(), 1, "not exactly one ping was sent at once");
    peer.send(&frame("pong", &pings[0].1));
    stage.settle();
    assert_eq!(stage.node.seen().pongs.len(), 2, "the number of reported pongs is not two, one for each peer");
}

#[test]
fn pings_can_be_switched_off_and_on() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_to(secs(100));
    stage.update(|config| config.ping_interval = Duration::ZERO);
    stage.run_to(secs(1_000));
    assert_eq!(peer.receive(), []);
    stage.update(|config| config.ping_interval = secs(1_050));
    stage.run_to(secs(1_050));
    assert_eq!(commands(&peer.receive()), ["ping"], "the interval was not counted from the handshake");
}

#[test]
fn req_e44_a_ping_in_flight_gets_the_new_timeout() {
    for (changed_at, timeout, closed_at) in [(130, 60, 180), (149, 31, 151), (122, 10, 130), (140, 5, 140)] {
        let mut stage = Stage::new();
        let _peer = stage.ready_peer();
        stage.run_to(secs(changed_at));
        stage.update(|config| config.pong_timeout = secs(timeout));
        match closed_at == changed_at {
            true => {
                assert_eq!(stage.closed().at, at(secs(closed_at)), "a timeout of {timeout} s from {changed_at} s on")
            }
            false => stage.assert_closed_at(secs(closed_at), Deadline::Pong),
        }
    }
}

#[test]
fn a_new_pong_timeout_applies_to_every_peer() {
    let mut stage = Stage::with(
        config(),
        Player {
            on_request: Some(|ctx| {
                for peer in ctx.peers() {
                    assert_eq!(peer.connection().ping_pong().timeout(), ctx.config().pong_timeout);
                }
            }),
            ..Player::default()
        },
    );
    let _peer = stage.ready_peer();
    for timeout in [90, 3] {
        stage.update(|config| config.pong_timeout = secs(timeout));
        stage.node.reactor.handle().request(()).unwrap();
        stage.settle();
    }
}

#[test]
fn req_e44_a_handshake_under_way_gets_the_new_timeout() {
    for (changed_at, timeout) in [(3, 5), (9, 20), (9, 10)] {
        let mut stage = Stage::new();
        let _peer = stage.peer();
        stage.run_to(secs(changed_at));
        stage.update(|config| config.handshake_timeout = secs(timeout));
        stage.assert_closed_at(secs(timeout), Deadline::Handshake);
    }
}

#[test]
fn a_dial_under_way_gets_the_new_timeout() {
    for (changed_at, timeout) in [(1, 2), (4, 8)] {
        let world = World::new(1, Instant::ZERO);
        world.set_backlog(0);
        let mut raw = RawPeer::new(&world);
        let mut node = Node::new(&world, config(), Player::dialling(raw.listen()));
        let driver = Driver::new(&world);
        driver.run_until(at(secs(changed_at)), &mut [&mut node.reactor]).unwrap();
        let new = config().with_connect_timeout(secs(timeout));
        node.reactor.handle().update_config(new).unwrap();
        driver.run_until(at(secs(timeout) - INSTANT_BEFORE), &mut [&mut node.reactor]).unwrap();
        assert_eq!(node.seen().closed, []);
        driver.run_until(at(secs(timeout)), &mut [&mut node.reactor]).unwrap();
        assert_eq!(node.closed().reason, CloseReason::TimedOut(Deadline::Connect));
    }
}

#[test]
fn a_body_under_way_is_held_to_the_new_rate() {
    for (least, is_closed) in [(0, false), (1_024, true)] {
        let mut stage = Stage::with(config().with_min_body_bytes_per_second(512), Player::default());
        let mut peer = stage.ready_peer();
        peer.send(&header("addr", 100_000, &[0; 4]));
        stage.settle();
        for second in 0..60 {
            peer.send(&[0; 600]);
            if second == 30 {
                stage.update(|config| config.min_body_bytes_per_second = least);
            }
            stage.run_for(secs(1));
        }
        assert_eq!(stage.node.seen().closed.len(), usize::from(is_closed), "{least}");
    }
}

// --- Connection limits ----------------------------------------------------------------------------------------------

#[test]
fn req_e28_a_lower_maximum_closes_no_peer_and_rejects_newcomers() {
    let mut stage = Stage::new();
    let mut live: Vec<RawPeer> = (0..4).map(|_| stage.ready_peer()).collect();
    stage.update(|config| config.max_inbound = 2);
    stage.run_for(secs(60));
    assert_eq!((stage.node.seen().closed, stage.node.reactor.stats().ready), (vec![], 5));
    let mut newcomer = stage.peer();
    newcomer.send(&ready_bytes());
    stage.settle();
    assert_eq!(commands(&newcomer.receive()), ["version", "verack", "reject"]);
    for peer in &mut live[..3] {
        peer.close();
    }
    stage.run_for(secs(5));
    let full = stage.peer();
    stage.update(|config| config.max_inbound = 3);
    assert_eq!(full.net.open_connections(), 1, "the earlier connection did not stay open over capacity");
    stage.ready_peer();
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn req_e28_the_maximum_number_of_rows_follows_the_configuration() {
    let mut stage = Stage::new();
    let _live: Vec<RawPeer> = (0..4).map(|_| stage.ready_peer()).collect();
    stage.update(|config| config.max_links = 3);
    let mut refused = stage.peer();
    refused.receive();
    assert!(refused.has_seen_end, "the connection was not closed although the table has no free row");
    assert_eq!((stage.node.seen().closed, stage.node.reactor.stats().ready), (vec![], 5));
    stage.update(|config| config.max_links = 6);
    stage.ready_peer();
    assert_eq!(stage.node.reactor.stats().counters.refused, 1);
    stage.assert_honest_peer_is_unaffected();
}

// --- Handshakes -----------------------------------------------------------------------------------------------------

#[test]
fn req_e45_a_list_of_banned_agents_applies_to_later_handshakes() {
    let mut stage = Stage::new();
    let mut live = peer_with_agent(&mut stage, "/old:1/");
    let mut under_way = stage.peer();
    assert_eq!(commands(&live.receive()), ["version", "verack", "protoconf", "sendheaders"]);
    let agents = |agents: &[&str]| agents.iter().map(|agent| (*agent).to_owned()).collect::<Vec<String>>();
    stage.update(|config| config.version_rules = VersionRules::default().with_banned_agents(agents(&["old"])));
    under_way.send(&ready_bytes());
    stage.settle();
    assert_eq!(stage.node.reactor.stats().ready, 3, "the peer with an unlisted agent did not become ready");
    peer_with_agent(&mut stage, "/old:1/");
    stage.run_for(secs(5));
    assert_eq!(stage.closed().reason, CloseReason::Incompatible(Incompatibility::BannedUserAgent));
    live.send(&ping());
    stage.settle();
    assert_eq!(live.receive(), pong(), "a ready peer's ping was not answered");
    stage.update(|config| config.version_rules.banned_agents.clear());
    peer_with_agent(&mut stage, "/old:1/");
    assert_eq!(stage.node.reactor.stats().ready, 4);
}

#[test]
fn a_new_minimum_version_applies_to_later_handshakes() {
    let mut stage = Stage::new();
    let _live = stage.ready_peer();
    stage.update(|config| config.version_rules.min_protocol_version = 70_017);
    let mut peer = stage.peer();
    peer.send(&version());
    stage.run_for(secs(5));
    let rejects = frames(&peer.receive());
    assert!(rejects[0].1.ends_with(b"\x11\x20Version must be 70017 or greater"), "{rejects:?}");
    assert_eq!(stage.closed().reason, CloseReason::Incompatible(Incompatibility::ProtocolVersion { claimed: 70_016 }));
}

#[test]
fn the_next_version_contains_the_new_configuration() {
    let mut stage = Stage::new();
    let before = version_of(&mut stage);
    stage.update(|config| {
        config.protocol_version = 70_015;
        config.services = 0x24;
        config.user_agent = "/other:2/".to_owned();
        config.start_height = 800_000;
        config.relay = false;
    });
    let after = version_of(&mut stage);
    let facts = |version: &Version| {
        let agent = version.printable_user_agent();
        (version.protocol_version, version.services, agent, version.start_height, version.relay)
    };
    assert_eq!(facts(&after), (70_015, 0x24, "/other:2/".to_owned(), Some(800_000), Some(false)));
    assert_eq!((before.protocol_version, before.start_height), (70_016, Some(0)));
}

#[test]
fn a_sent_version_stays_in_force() {
    // The lower of the node's sent version and the peer's version applies. If it is 60000 or lower, the node sends no
    // pings.
    for (said, configured, pings) in [(70_016, 60_000, 1), (60_000, 70_016, 0)] {
        let world = World::new(1, Instant::ZERO);
        let mut raw = RawPeer::new(&world);
        let first = config().with_protocol_version(said);
        let mut node = Node::new(&world, first.clone(), Player::dialling(raw.listen()));
        let driver = Driver::new(&world);
        driver.run_until(Instant::ZERO, &mut [&mut node.reactor]).unwrap();
        raw.accept();
        assert_eq!(raw.receive()[24..28], said.to_le_bytes());
        node.reactor.handle().update_config(first.with_protocol_version(configured)).unwrap();
        driver.run_until(Instant::ZERO, &mut [&mut node.reactor]).unwrap();
        raw.send(&ready_bytes());
        driver.run_until(at(secs(120)), &mut [&mut node.reactor]).unwrap();
        let sent = commands(&raw.receive());
        assert_eq!(sent.iter().filter(|command| *command == "ping").count(), pings, "{said} was sent: {sent:?}");
    }
}

// --- Messages -------------------------------------------------------------------------------------------------------

#[test]
fn a_new_message_limit_is_announced_to_newcomers_and_the_highest_announced_limit_is_enforced() {
    let announced = |stage: &mut Stage| {
        let mut peer = stage.peer();
        peer.send(&ready_bytes());
        stage.settle();
        let said = frames(&peer.receive());
        assert_eq!(said[2].0, "protoconf");
        (peer, u32::from_le_bytes(said[2].1[1..5].try_into().unwrap()))
    };
    let mut stage = Stage::new();
    stage.update(|config| config.max_message_bytes = 5_000_000);
    let (mut told_of_more, limit) = announced(&mut stage);
    assert_eq!(limit, 5_000_000);
    stage.update(|config| config.max_message_bytes = 1_048_576);
    let (_told_of_less, limit) = announced(&mut stage);
    assert_eq!(limit, 1_048_576);
    told_of_more.send(&header("inv", 5_000_000, &[0; 4]));
    stage.settle();
    assert_eq!(stage.node.seen().closed, [], "a peer was closed for a message within its announced limit");
    told_of_more.close();
    stage.settle();
    let mut peer = stage.ready_peer();
    peer.send(&header("inv", 5_000_001, &[0; 4]));
    stage.settle();
    let over = WireError::OverLimit { command: CommandName::INV, len_bytes: 5_000_001 };
    assert_eq!(stage.node.seen().closed.last().map(|closed| closed.reason), Some(CloseReason::Wire(over)));
}

#[test]
fn a_lower_block_limit_applies_to_the_next_block() {
    let mut stage = Stage::new();
    let mut under_way = stage.ready_peer();
    let mut next = stage.ready_peer();
    under_way.send(&header("block", 9_000_000, &[0; 4]));
    stage.settle();
    stage.update(|config| config.max_block_bytes = 8_000_000);
    next.send(&header("block", 9_000_000, &[0; 4]));
    stage.settle();
    let over = WireError::OverLimit { command: CommandName::BLOCK, len_bytes: 9_000_000 };
    assert_eq!(stage.closed().reason, CloseReason::Wire(over));
    under_way.send(&[0; 100]);
    stage.settle();
    assert_eq!(stage.node.seen().closed.len(), 1, "a peer was closed although its body was admitted before the update");
}

#[test]
fn buffering_limits_apply_to_the_next_message() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let mut send = |stage: &mut Stage, command: &str| {
        peer.send(&frame(command, &[7; 3_000]));
        stage.settle();
        (stage.node.seen().messages.len(), stage.node.reactor.stats().counters.over_buffer_limit)
    };
    assert_eq!(send(&mut stage, "addr"), (1, 0));
    stage.update(|config| config.max_buffered_message_bytes = 2_999);
    assert_eq!(send(&mut stage, "addr"), (1, 1));
    stage.update(|config| config.max_buffered_command_bytes = vec![(CommandName::INV, 3_000)]);
    assert_eq!(send(&mut stage, "inv"), (2, 1));
    assert_eq!(send(&mut stage, "addr"), (2, 2));
}

#[test]
fn fault_e21_a_message_above_a_lowered_total_limit_is_kept_until_its_buffer_grows() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let message = frame("addr", &[7; 400_000]);
    peer.send(&message[..200_000]);
    stage.settle();
    let gathered = stage.node.reactor.stats().gathered_bytes;
    assert!(gathered >= 190_000, "{gathered}");
    stage.update(|config| {
        config.max_buffered_message_bytes = 100_000;
        config.max_buffered_total_bytes = 100_000;
    });
    assert_eq!(stage.node.reactor.stats().gathered_bytes, gathered, "the update changed the number of buffered bytes");
    peer.send(&message[200_000..]);
    stage.settle();
    let stats = stage.node.reactor.stats();
    assert_eq!(
        (stats.gathered_bytes, stats.counters.no_buffer_room),
        (0, 1),
        "the message was not dropped when its buffer had to grow"
    );
    assert_eq!((stage.node.seen().closed, stage.node.seen().messages), (vec![], vec![]));
}

// --- During traffic -------------------------------------------------------------------------------------------------

/// One step of a run with traffic.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Update { field: u8, value: u64 },
    Join,
    Talk { peer: usize, len_bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..40_000_u64).prop_map(Step::Wait),
        (0..9_u8, 1..200_u64).prop_map(|(field, value)| Step::Update { field, value }),
        Just(Step::Join),
        (0..8_usize, 0..9_000_usize).prop_map(|(peer, len_bytes)| Step::Talk { peer, len_bytes }),
    ];
    prop::collection::vec(step, 1..40)
}

fn change(config: &mut Config, field: u8, value: u64) {
    match field {
        0 => config.ping_interval = secs(value - 1),
        1 => config.pong_timeout = secs(value),
        2 => config.handshake_timeout = secs(value),
        3 => config.connect_timeout = secs(value),
        4 => config.max_inbound = value as usize % 8,
        5 => config.max_links = 1 + value as usize % 8,
        6 => config.max_message_bytes = 1_048_576 + value,
        7 => config.max_buffered_message_bytes = 2_048 + value * 40,
        _ => config.min_body_bytes_per_second = value,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 5))]

    /// Asserts every invariant after every turn, and that the honest peer stays connected.
    #[test]
    fn req_e45_updates_during_traffic_break_no_invariant(steps in steps()) {
        let mut stage = Stage::new();
        let mut peers: Vec<RawPeer> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => stage.run_for(Duration::from_millis(millis)),
                Step::Update { field, value } => {
                    stage.update(|config| change(config, field, value));
                }
                Step::Join => {
                    let mut peer = stage.peer();
                    let _ = peer.net.write(raw_link(), &ready_bytes());
                    peers.push(peer);
                }
                Step::Talk { peer, len_bytes } if !peers.is_empty() => {
                    let at = peer % peers.len();
                    let message = [frame("addr", &vec![1; len_bytes]), ping()].concat();
                    let _ = peers[at].net.write(raw_link(), &message);
                    peers[at].receive();
                }
                Step::Talk { .. } => {}
            }
            stage.settle();
        }
        stage.assert_honest_peer_is_unaffected();
    }
}
