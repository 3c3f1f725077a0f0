//! Bytes that no correct peer sends, and correct messages at the wrong time. An honest peer is unaffected.

use peerloop::error::{CloseReason, Incompatibility, Misbehavior, WireError};
use peerloop::internals::framer::Delivery;
use peerloop::internals::limits::{
    MAX_EMPTY_GATHERED_BYTES, MAX_HANDSHAKE_PAYLOAD_BYTES, MAX_LEGACY_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES,
    MAX_PING_GATHERED_BYTES, MAX_PONG_GATHERED_BYTES, MAX_POOLED_BUFFER_BYTES, MAX_REJECT_GATHERED_BYTES,
    REJECT_READ_TIME,
};
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::{Ctx, Network, PeerId};
use peerloop_testkit::bytes::{REGTEST, commands, frame, frames, header, ping, pong, protoconf, verack, version};
use peerloop_testkit::simulated::{Player, Stage, config};

/// Offsets of the fields in the payload of [`version`].
const PROTOCOL_VERSION: usize = 0;
const SERVICES: usize = 4;
const TIME: usize = 12;
const USER_AGENT: usize = 81;
const HEIGHT: usize = 100;

/// Returns [`version`] with the bytes at these offsets replaced.
fn version_with(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut payload = version().split_off(24);
    for (at, bytes) in changes {
        payload[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    frame("version", &payload)
}

#[test]
fn the_first_wrong_byte_of_the_magic_closes_the_connection() {
    for right in 0..4 {
        for is_ready in [false, true] {
            let mut stage = Stage::new();
            let mut peer = if is_ready { stage.ready_peer() } else { stage.peer() };
            peer.send(&REGTEST[..right]);
            stage.settle();
            assert_eq!(stage.node.seen().closed, []);
            peer.send(&[0x00]);
            stage.settle();
            let mut found = [0; 4];
            found[..right].copy_from_slice(&REGTEST[..right]);
            let closed = stage.closed();
            assert_eq!(closed.reason, CloseReason::Wire(WireError::BadMagic { found, network: None }));
            assert_eq!(closed.at, stage.world.now());
            peer.receive();
            assert!(peer.has_seen_end);
        }
    }
}

#[test]
fn garbage_after_a_valid_frame_closes_the_connection_and_the_frame_is_processed() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let mut bytes = ping();
    bytes.extend_from_slice(b"garbage");
    peer.send(&bytes);
    stage.settle();
    assert!(matches!(stage.closed().reason, CloseReason::Wire(WireError::BadMagic { .. })));
    assert_eq!(stage.node.reactor.stats().counters.pings_answered, 1);
}

#[test]
fn the_magic_of_another_network_is_reported_with_its_network() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    let found = [0xe3, 0xe1, 0xf3, 0xe8];
    peer.send(&[&found[..], &version()[4..]].concat());
    stage.settle();
    let network = Some(Network::Mainnet);
    assert_eq!(stage.closed().reason, CloseReason::Wire(WireError::BadMagic { found, network }));
}

#[test]
fn a_message_with_a_wrong_checksum_is_dropped_and_counted_and_the_peer_stays() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    for round in 1..=200 {
        let mut bad = ping();
        bad[20] ^= 1;
        peer.send(&bad);
        stage.settle();
        assert_eq!(peer.receive(), []);
        assert_eq!(stage.node.reactor.stats().counters.bad_checksums, round);
    }
    peer.send(&ping());
    stage.settle();
    assert_eq!(peer.receive(), pong());
    assert_eq!(stage.node.seen().closed, []);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_version_with_a_wrong_checksum_is_ignored() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    let mut bad = version();
    bad[20] ^= 1;
    peer.send(&bad);
    stage.settle();
    assert_eq!(peer.receive(), []);
    peer.send(&version());
    stage.settle();
    assert_eq!(commands(&peer.receive())[0], "version");
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_length_above_the_limit_closes_the_connection_at_the_header() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let bytes = header("addr", 2_097_153, &[0; 4]);
    peer.send(&bytes[..23]);
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    peer.send(&bytes[23..]);
    stage.settle();
    let command = CommandName::from_bytes(*b"addr\0\0\0\0\0\0\0\0");
    assert_eq!(stage.closed().reason, CloseReason::Wire(WireError::OverLimit { command, len_bytes: 2_097_153 }));
    assert_eq!(stage.node.seen().messages, []);
}

#[test]
fn a_command_with_its_own_buffering_limit_is_buffered_up_to_that_limit() {
    let max_buffered_command_bytes = vec![(CommandName::new("larger"), 9_000), (CommandName::new("smaller"), 3_000)];
    let config =
        config().with_max_buffered_message_bytes(5_000).with_max_buffered_command_bytes(max_buffered_command_bytes);
    let mut stage = Stage::with(config, Player::default());
    let mut peer = stage.ready_peer();
    for (command, max_bytes) in [("larger", 9_000), ("smaller", 3_000), ("other", 5_000)] {
        peer.send(&frame(command, &vec![1; max_bytes]));
        peer.send(&frame(command, &vec![1; max_bytes + 1]));
    }
    stage.settle();
    let lens: Vec<usize> = stage.node.seen().messages.iter().map(|&(_, _, len)| len).collect();
    assert_eq!(lens, [9_000, 3_000, 5_000]);
    assert_eq!(stage.node.reactor.stats().counters.over_buffer_limit, 3);
}

#[test]
fn messages_for_the_engine_itself_are_buffered_up_to_their_own_limits() {
    let limits = [
        ("ping", MAX_PING_GATHERED_BYTES),
        ("pong", MAX_PONG_GATHERED_BYTES),
        ("version", MAX_HANDSHAKE_PAYLOAD_BYTES),
        ("verack", MAX_EMPTY_GATHERED_BYTES),
        ("sendheaders", MAX_EMPTY_GATHERED_BYTES),
        ("reject", MAX_REJECT_GATHERED_BYTES),
    ];
    let discards = |_: &mut Ctx<'_>, _: PeerId| Delivery::Discard;
    for (command, max_bytes) in limits {
        for (len, counted) in [(max_bytes, 0), (max_bytes + 1, 1), (MAX_PAYLOAD_BYTES, 1)] {
            let mut stage = Stage::with(config(), Player { on_header: Some(discards), ..Player::default() });
            let mut peer = stage.ready_peer();
            let bytes = frame(command, &vec![7; len as usize]);
            let (begin, end) = bytes.split_at(24 + len as usize / 2);
            for part in begin.chunks(32 * 1_024) {
                peer.send(part);
                stage.settle();
            }
            let held_bytes = stage.node.reactor.inspect().links[1].gathering_bytes;
            assert!(
                held_bytes <= MAX_POOLED_BUFFER_BYTES,
                "{held_bytes} bytes, more than a pooled buffer, are held for a {command}"
            );
            for part in end.chunks(32 * 1_024) {
                peer.send(part);
                stage.settle();
            }
            let counters = stage.node.reactor.stats().counters;
            assert_eq!((counters.over_buffer_limit, counters.discarded), (counted, 0), "{command} of {len}");
            let answer = match command {
                "ping" if counted == 0 => frame("pong", &[7; 8]),
                "version" if counted == 0 => frame("reject", b"\x07version\x12\x19Duplicate version message"),
                _ => vec![],
            };
            assert_eq!(peer.receive(), answer, "{command} of {len}");
            peer.send(&ping());
            stage.settle();
            assert_eq!(peer.receive(), pong(), "the peer got no pong after a {command} of {len}");
            assert_eq!(stage.node.seen().sendheaders, usize::from(command == "sendheaders" && counted == 0) + 1);
            stage.assert_honest_peer_is_unaffected();
        }
    }
}

#[test]
fn the_longest_reject_and_the_longest_protoconf_are_accepted() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    // The longest name and reason, first alone and then with 32 bytes after them. These bytes are ignored, because only
    // the rejects of blocks and transactions have a hash.
    let longest = [&[12][..], b"twelve_bytes", &[0x10, 111], &[b'x'; 111]].concat();
    peer.send(&frame("reject", &longest));
    peer.send(&frame("reject", &[&longest[..], &[0; 32]].concat()));
    // A `protoconf` may have fields that the node does not know.
    let mut most = vec![0; MAX_LEGACY_PAYLOAD_BYTES as usize];
    most[..5].copy_from_slice(&[9, 0, 0, 0x20, 0]);
    for part in frame("protoconf", &most).chunks(32 * 1_024) {
        peer.send(part);
        stage.settle();
    }
    let seen = stage.node.seen();
    assert_eq!((seen.rejects, seen.closed), (vec![(0x10, vec![b'x'; 111]); 2], vec![]));
    assert_eq!(seen.limits.last(), Some(&0x0020_0000));
    assert_eq!(stage.node.reactor.stats().counters.over_buffer_limit, 0);
    peer.send(&header("protoconf", MAX_LEGACY_PAYLOAD_BYTES as u32 + 1, &[0; 4]));
    stage.settle();
    assert!(matches!(stage.closed().reason, CloseReason::Wire(WireError::OverLimit { .. })));
}

#[test]
fn a_second_version_is_rejected_and_a_second_verack_is_ignored() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    for bytes in [version(), version_with(&[(HEIGHT, &[9, 9, 9, 9])]), verack(), verack(), version(), verack()] {
        peer.send(&bytes);
        stage.settle();
    }
    let said = commands(&peer.receive());
    assert_eq!(said, ["version", "verack", "protoconf", "reject", "sendheaders", "reject"]);
    let seen = stage.node.seen();
    assert_eq!((seen.ready.len(), seen.closed), (2, vec![]));
    assert_eq!(stage.node.reactor.stats().counters.duplicate_handshakes, 4);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_verack_may_arrive_first() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&verack());
    stage.settle();
    assert_eq!((peer.receive(), stage.node.seen().ready.len()), (vec![], 1));
    peer.send(&version());
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf", "sendheaders"]);
    assert_eq!(stage.node.seen().ready.len(), 2);
    assert_eq!(stage.node.reactor.stats().counters.early_veracks, 1);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_second_protoconf_closes_the_connection() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&protoconf());
    stage.settle();
    assert_eq!(stage.node.seen().limits.len(), 2, "the number of accepted protoconfs is not 2");
    assert_eq!(stage.node.seen().closed, []);
    peer.send(&protoconf());
    stage.settle();
    assert_eq!(stage.closed().reason, CloseReason::Misbehaved(Misbehavior::SecondProtoconf));
    assert_eq!(stage.node.seen().limits.len(), 2);
}

#[test]
fn an_empty_or_too_small_protoconf_closes_the_connection() {
    let (empty, none, small) = (&[][..], &[0][..], [&[1][..], &1_048_575_u32.to_le_bytes()].concat());
    for payload in [empty, none, &small] {
        let mut stage = Stage::new();
        let mut peer = stage.ready_peer();
        peer.send(&frame("protoconf", payload));
        stage.settle();
        assert!(matches!(stage.closed().reason, CloseReason::Wire(_)), "{payload:?}: {:?}", stage.closed());
        assert_eq!(stage.node.seen().limits.len(), 1, "the number of accepted protoconfs is not 1");
    }
}

#[test]
fn the_smallest_and_the_largest_limit_in_a_protoconf_are_accepted() {
    for limit in [1_048_576_u32, u32::MAX] {
        let mut stage = Stage::new();
        let mut peer = stage.ready_peer();
        peer.send(&frame("protoconf", &[&[1][..], &limit.to_le_bytes()].concat()));
        stage.settle();
        assert_eq!(stage.node.seen().limits.last(), Some(&limit));
        stage.assert_honest_peer_is_unaffected();
    }
}

#[test]
fn any_time_height_and_services_in_a_version_are_accepted() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        for height in [i32::MIN, -1, i32::MAX] {
            for services in [0, u64::MAX] {
                let mut stage = Stage::new();
                let mut peer = stage.peer();
                peer.send(&version_with(&[
                    (TIME, &time.to_le_bytes()),
                    (HEIGHT, &height.to_le_bytes()),
                    (SERVICES, &services.to_le_bytes()),
                ]));
                peer.send(&verack());
                peer.send(&ping());
                stage.settle();
                let answer = frames(&peer.receive());
                assert_eq!(answer.last().map(|(command, _)| command.as_str()), Some("pong"), "{time} {height}");
                assert_eq!(stage.node.seen().ready.len(), 2);
                stage.assert_honest_peer_is_unaffected();
            }
        }
    }
}

#[test]
fn an_obsolete_peer_gets_a_reject_and_is_closed() {
    for claimed in [31_799_i32, 0, -1, i32::MIN] {
        let mut stage = Stage::new();
        let mut peer = stage.peer();
        peer.send(&version_with(&[(PROTOCOL_VERSION, &claimed.to_le_bytes())]));
        stage.run_for(REJECT_READ_TIME);
        let answer = frames(&peer.receive());
        assert!(peer.has_seen_end, "writing was not shut down after the reject");
        let (command, payload) = &answer[answer.len() - 1];
        assert_eq!((command.as_str(), &payload[..9]), ("reject", &b"\x07version\x11"[..]), "{claimed}");
        assert!(!answer.iter().any(|(command, _)| command == "verack"), "the loop accepted the version");
        peer.close();
        stage.settle();
        let closed = stage.closed();
        assert!(matches!(closed.reason, CloseReason::Incompatible(Incompatibility::ProtocolVersion { .. })));
        assert_eq!(closed.state, ConnectionState::AwaitingHandshake);
    }
}

#[test]
fn req_e06_a_node_of_another_chain_is_closed_silently_and_never_ready() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&version_with(&[(USER_AGENT, b"/Bitcoin ABC:0.1.3/")]));
    peer.send(&verack());
    stage.settle();
    assert_eq!(peer.receive(), [], "the loop sent something");
    assert!(peer.has_seen_end);
    peer.close();
    stage.settle();
    let closed = stage.closed();
    assert_eq!(closed.reason, CloseReason::Incompatible(Incompatibility::Blockchain));
    assert!(!closed.reason.is_transient(), "the close reason is transient");
    assert_eq!(stage.node.seen().ready.len(), 1, "the number of ready peers is not 1");
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_close_reason_contains_the_code_of_the_peers_reject() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&frame("reject", b"\x07version\x44\x04full"));
    peer.close();
    stage.settle();
    assert_eq!(stage.closed().reason, CloseReason::RejectedByPeer(0x44));
    assert_eq!(stage.node.seen().rejects, [(0x44, b"full".to_vec())]);
}

#[test]
fn messages_of_unusual_lengths_cause_no_panic_and_do_not_affect_an_honest_peer() {
    let commands = ["version", "verack", "ping", "pong", "protoconf", "sendheaders", "reject"];
    for command in commands {
        for len in [0, 1, 7, 8, 9, 50, 300] {
            for is_ready in [false, true] {
                let mut stage = Stage::new();
                let mut peer = if is_ready { stage.ready_peer() } else { stage.peer() };
                peer.send(&frame(command, &vec![0xff; len]));
                stage.settle();
                stage.assert_honest_peer_is_unaffected();
            }
        }
    }
}
