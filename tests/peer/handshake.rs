//! The handshake. It is complete once both versions and both veracks are exchanged, in any order. Repeated messages
//! only increase its counters.

use super::{at, version};
use peerloop::config::VersionRules;
use peerloop::error::Incompatibility;
use peerloop::internals::limits::MAX_HANDSHAKE_MESSAGES;
use peerloop::peer::{HandshakeState, PeerConnection, validate_version};
use peerloop::protocol::Network;
use peerloop::time::Instant;
use peerloop::wire::Version;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    VersionSent,
    VersionReceived,
    VerackSent,
    VerackReceived,
}

const MARKS: [Mark; 4] = [Mark::VersionSent, Mark::VersionReceived, Mark::VerackSent, Mark::VerackReceived];

fn apply(mark: Mark, handshake: &mut HandshakeState) {
    match mark {
        Mark::VersionSent => handshake.mark_version_sent(),
        Mark::VersionReceived => assert!(handshake.mark_version_received(version(None))),
        Mark::VerackSent => handshake.mark_verack_sent(),
        Mark::VerackReceived => assert!(handshake.mark_verack_received()),
    }
}

fn orders() -> Vec<Vec<Mark>> {
    let mut orders = vec![Vec::new()];
    for _ in MARKS {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<Mark>| {
                let open = MARKS.into_iter().filter(|mark| !order.contains(mark));
                open.map(|mark| order.iter().copied().chain([mark]).collect())
            })
            .collect();
    }
    orders
}

#[test]
fn a_default_handshake_has_not_started() {
    assert_eq!(HandshakeState::default().deadline(Duration::from_secs(1)), None);
}

#[test]
fn req_e01_complete_means_all_four_marks() {
    for taken in 0..16u8 {
        let mut handshake = HandshakeState::new();
        for (bit, mark) in MARKS.into_iter().enumerate() {
            if taken >> bit & 1 == 1 {
                apply(mark, &mut handshake);
            }
        }
        assert_eq!(handshake.is_complete(), taken == 0b1111, "marks {taken:04b}");
        assert_eq!(handshake.version_sent(), taken & 1 != 0);
        assert_eq!(handshake.version_received(), taken & 2 != 0);
        assert_eq!(handshake.verack_sent(), taken & 4 != 0);
        assert_eq!(handshake.verack_received(), taken & 8 != 0);
    }
}

#[test]
fn req_e02_all_twenty_four_orders_complete_with_the_last_mark() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut handshake = HandshakeState::new();
        for &mark in &order {
            assert!(!handshake.is_complete(), "{order:?}");
            apply(mark, &mut handshake);
        }
        assert!(handshake.is_complete(), "{order:?}");
        let place = |wanted| order.iter().position(|&mark| mark == wanted);
        let is_early = place(Mark::VerackReceived) < place(Mark::VersionReceived);
        assert_eq!(handshake.early_veracks(), u8::from(is_early), "{order:?}");
    }
}

#[test]
fn req_e03_the_peers_version_is_kept_after_the_handshake() {
    let mut handshake = HandshakeState::new();
    assert_eq!(handshake.peer_version(), None);
    assert!(handshake.mark_version_received(version(Some(b"/first/"))));
    handshake.mark_version_sent();
    handshake.mark_verack_sent();
    handshake.mark_verack_received();
    assert!(handshake.is_complete());
    assert_eq!(handshake.peer_version(), Some(&version(Some(b"/first/"))));
}

#[test]
fn req_e03_the_clock_starts_once_when_the_handshake_begins() {
    let mut conn = PeerConnection::new_outbound(super::address(), (0, TIMEOUT), TIMEOUT);
    conn.transition_to_connecting(at(1)).unwrap();
    assert_eq!(conn.handshake().deadline(TIMEOUT), None, "the handshake's clock started while connecting");
    conn.transition_to_awaiting_handshake(at(5)).unwrap();
    assert_eq!(conn.handshake().deadline(TIMEOUT), Some(at(15)));
    conn.handshake_mut().start(at(9));
    assert_eq!(conn.handshake().deadline(TIMEOUT), Some(at(15)));
}

#[test]
fn req_e04_a_silent_peer_is_timed_out_by_the_clock_alone() {
    let mut handshake = HandshakeState::new();
    assert!(!handshake.is_timed_out(Instant::MAX, TIMEOUT), "a handshake that had not begun timed out");
    handshake.start(at(5));
    assert!(!handshake.is_timed_out(at(15).minus(Duration::from_nanos(1)), TIMEOUT));
    assert!(handshake.is_timed_out(at(15), TIMEOUT), "the handshake has not timed out at its deadline");
    assert_eq!(handshake.deadline(TIMEOUT), Some(at(15)), "the deadline is not ten seconds after the start");
}

#[test]
fn req_e04_traffic_does_not_extend_the_deadline() {
    let mut handshake = HandshakeState::new();
    handshake.start(at(5));
    for _ in 0..300 {
        let _ = handshake.count_message();
        handshake.mark_version_received(version(None));
        handshake.mark_verack_received();
        handshake.start(at(12));
    }
    assert!(handshake.is_timed_out(at(15), TIMEOUT));
}

#[test]
fn a_complete_handshake_has_no_deadline() {
    let mut handshake = HandshakeState::new();
    handshake.start(at(5));
    MARKS.into_iter().for_each(|mark| apply(mark, &mut handshake));
    assert_eq!(handshake.deadline(TIMEOUT), None);
    assert!(!handshake.is_timed_out(Instant::MAX, TIMEOUT));
}

#[test]
fn a_second_version_changes_only_its_counter() {
    let mut handshake = HandshakeState::new();
    assert!(handshake.mark_version_received(version(Some(b"/first/"))));
    for round in 1..=300 {
        assert!(!handshake.mark_version_received(version(Some(b"/second/"))));
        assert_eq!(usize::from(handshake.duplicate_versions()), round.min(255));
    }
    assert_eq!(handshake.peer_version(), Some(&version(Some(b"/first/"))));
    assert_eq!((handshake.duplicate_veracks(), handshake.early_veracks()), (0, 0));
    assert!(!handshake.version_sent() && !handshake.verack_sent() && !handshake.verack_received());
}

#[test]
fn a_second_version_or_verack_does_not_undo_a_complete_handshake() {
    let mut handshake = HandshakeState::new();
    MARKS.into_iter().for_each(|mark| apply(mark, &mut handshake));
    assert!(!handshake.mark_version_received(version(Some(b"/second/"))));
    assert!(!handshake.mark_verack_received());
    assert!(handshake.is_complete());
    assert_eq!(handshake.peer_version(), Some(&version(None)));
}

#[test]
fn req_e02_a_verack_before_the_version_is_accepted_and_counted() {
    let mut handshake = HandshakeState::new();
    assert!(handshake.mark_verack_received());
    assert!(handshake.verack_received());
    assert_eq!((handshake.early_veracks(), handshake.duplicate_veracks()), (1, 0));
    assert!(!handshake.mark_verack_received(), "a repeated early verack counted as the first");
    assert_eq!((handshake.early_veracks(), handshake.duplicate_veracks()), (2, 1));
    handshake.mark_version_received(version(None));
    assert!(!handshake.mark_verack_received(), "a repeated verack after the version counted as the first");
    assert_eq!((handshake.early_veracks(), handshake.duplicate_veracks()), (2, 2));
}

#[test]
fn repeated_veracks_saturate_their_counters() {
    let mut handshake = HandshakeState::new();
    for _ in 0..1_000 {
        handshake.mark_verack_received();
    }
    assert_eq!((handshake.early_veracks(), handshake.duplicate_veracks()), (255, 255));
}

#[test]
fn messages_above_the_limit_are_refused_and_the_counter_saturates() {
    let mut handshake = HandshakeState::new();
    for _ in 0..MAX_HANDSHAKE_MESSAGES {
        assert!(handshake.count_message());
    }
    assert_eq!(handshake.messages_before_complete(), MAX_HANDSHAKE_MESSAGES);
    for _ in 0..300 {
        assert!(!handshake.count_message(), "a message above the limit was accepted");
    }
    assert_eq!(handshake.messages_before_complete(), u8::MAX);
}

#[test]
fn messages_after_the_handshake_are_not_counted() {
    let mut handshake = HandshakeState::new();
    assert!(handshake.count_message());
    MARKS.into_iter().for_each(|mark| apply(mark, &mut handshake));
    for _ in 0..300 {
        assert!(handshake.count_message());
    }
    assert_eq!(handshake.messages_before_complete(), 1);
}

#[test]
fn the_network_is_checked_by_the_magic_received() {
    let (version, rules) = (version(None), VersionRules::default());
    for expected in Network::ALL {
        assert_eq!(
            validate_version(&version, None, expected, &rules),
            Ok(()),
            "a version without a known magic was refused"
        );
        for found in Network::ALL {
            let verdict = if found == expected { Ok(()) } else { Err(Incompatibility::Network { found }) };
            assert_eq!(validate_version(&version, Some(found), expected, &rules), verdict);
        }
    }
}

#[test]
fn a_protocol_version_below_the_minimum_is_refused_and_reported() {
    let rules = VersionRules::default().with_min_protocol_version(70_015);
    for (protocol_version, verdict) in [
        (70_014, Err(Incompatibility::ProtocolVersion { claimed: 70_014 })),
        (70_015, Ok(())),
        (i32::MAX, Ok(())),
        (0, Err(Incompatibility::ProtocolVersion { claimed: 0 })),
        (-1, Err(Incompatibility::ProtocolVersion { claimed: 0 })),
        (i32::MIN, Err(Incompatibility::ProtocolVersion { claimed: 0 })),
    ] {
        let version = Version { protocol_version, ..version(None) };
        assert_eq!(validate_version(&version, None, Network::Mainnet, &rules), verdict, "{protocol_version}");
    }
}

#[test]
fn req_e06_the_network_is_checked_first_then_the_protocol_version_the_user_agent_and_the_blockchain() {
    let rules = VersionRules::default().with_banned_agents(vec!["satoshi".to_owned()]);
    let mut version = version(Some(b"/Satoshi:0.1/"));
    version.protocol_version = 1;
    let judge = |version: &Version, network, rules: &VersionRules| {
        validate_version(version, Some(network), Network::Mainnet, rules)
    };

    let wrong_network = Err(Incompatibility::Network { found: Network::Stn });
    assert_eq!(judge(&version, Network::Stn, &rules), wrong_network);
    let too_old = Err(Incompatibility::ProtocolVersion { claimed: 1 });
    assert_eq!(judge(&version, Network::Mainnet, &rules), too_old);
    version.protocol_version = 70_016;
    assert_eq!(judge(&version, Network::Mainnet, &rules), Err(Incompatibility::BannedUserAgent));
    let without_ban = VersionRules::default();
    assert_eq!(judge(&version, Network::Mainnet, &without_ban), Err(Incompatibility::Blockchain));
}
