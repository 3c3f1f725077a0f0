//! Every legal transition, every illegal one, and the values that a restart resets or keeps.

use super::{address, at, version};
use peerloop::peer::{ConnectionState, ConnectionType, PeerConnection, TransitionError};
use peerloop::time::Instant;
use std::time::Duration;

use ConnectionState::{AwaitingHandshake, Connected, Connecting, Disconnected, Failed, Rejected};
use ConnectionType::{Inbound, Outbound, OverCapacity};

const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// Every legal transition.
const LEGAL: [(ConnectionType, ConnectionState, ConnectionState); 30] = [
    (Outbound, Disconnected, Connecting),
    (Outbound, Connecting, AwaitingHandshake),
    (Outbound, Connecting, Failed),
    (Outbound, Connecting, Disconnected),
    (Outbound, AwaitingHandshake, Connected),
    (Outbound, AwaitingHandshake, Rejected),
    (Outbound, AwaitingHandshake, Failed),
    (Outbound, AwaitingHandshake, Disconnected),
    (Outbound, Connected, Rejected),
    (Outbound, Connected, Failed),
    (Outbound, Connected, Disconnected),
    (Outbound, Rejected, Disconnected),
    (Outbound, Failed, Disconnected),
    (Outbound, Failed, Connecting),
    (Inbound, Disconnected, AwaitingHandshake),
    (Inbound, AwaitingHandshake, Connected),
    (Inbound, AwaitingHandshake, Rejected),
    (Inbound, AwaitingHandshake, Failed),
    (Inbound, AwaitingHandshake, Disconnected),
    (Inbound, Connected, Rejected),
    (Inbound, Connected, Failed),
    (Inbound, Connected, Disconnected),
    (Inbound, Rejected, Disconnected),
    (Inbound, Failed, Disconnected),
    (OverCapacity, Disconnected, AwaitingHandshake),
    (OverCapacity, AwaitingHandshake, Rejected),
    (OverCapacity, AwaitingHandshake, Failed),
    (OverCapacity, AwaitingHandshake, Disconnected),
    (OverCapacity, Rejected, Disconnected),
    (OverCapacity, Failed, Disconnected),
];

fn new(connection_type: ConnectionType) -> PeerConnection {
    match connection_type {
        Outbound => PeerConnection::new_outbound(address(), (3, Duration::from_secs(60)), PING_TIMEOUT),
        Inbound => PeerConnection::new_inbound(address(), PING_TIMEOUT),
        OverCapacity => PeerConnection::new_over_capacity(address(), PING_TIMEOUT),
    }
}

fn transition(conn: &mut PeerConnection, to: ConnectionState, now: Instant) -> Result<(), TransitionError> {
    match to {
        Disconnected => conn.transition_to_disconnected(now),
        Connecting => conn.transition_to_connecting(now),
        AwaitingHandshake => conn.transition_to_awaiting_handshake(now),
        Connected => conn.transition_to_connected(now),
        Rejected => conn.transition_to_rejected(now),
        Failed => conn.transition_to_failed(now),
    }
}

fn complete_handshake(conn: &mut PeerConnection) {
    let handshake = conn.handshake_mut();
    handshake.mark_version_sent();
    handshake.mark_version_received(version(None));
    handshake.mark_verack_sent();
    handshake.mark_verack_received();
}

/// Returns a connection in `state`, or `None` if its type never reaches that state. If the connection has been in
/// `AwaitingHandshake`, its handshake is complete.
fn brought_to(state: ConnectionState, connection_type: ConnectionType) -> Option<PeerConnection> {
    let mut conn = new(connection_type);
    let path: &[ConnectionState] = match (state, connection_type) {
        (Disconnected, Outbound | Inbound | OverCapacity) => &[],
        (Connecting, Outbound) => &[Connecting],
        (AwaitingHandshake, Outbound) => &[Connecting, AwaitingHandshake],
        (Connected, Outbound) => &[Connecting, AwaitingHandshake, Connected],
        (Rejected, Outbound) => &[Connecting, AwaitingHandshake, Rejected],
        (Failed, Outbound) => &[Connecting, AwaitingHandshake, Failed],
        (AwaitingHandshake, Inbound | OverCapacity) => &[AwaitingHandshake],
        (Connected, Inbound) => &[AwaitingHandshake, Connected],
        (Rejected, Inbound | OverCapacity) => &[AwaitingHandshake, Rejected],
        (Failed, Inbound | OverCapacity) => &[AwaitingHandshake, Failed],
        (Connecting, Inbound | OverCapacity) | (Connected, OverCapacity) => return None,
    };
    for &step in path {
        transition(&mut conn, step, at(1)).expect("the path is legal");
        if step == AwaitingHandshake {
            complete_handshake(&mut conn);
        }
    }
    Some(conn)
}

#[test]
fn req_e15_exactly_the_listed_transitions_are_legal() {
    let mut cells = 0;
    for connection_type in ConnectionType::ALL {
        for from in ConnectionState::ALL {
            for to in ConnectionState::ALL {
                let cell = (connection_type, from, to);
                let is_legal = LEGAL.contains(&cell);
                let Some(mut conn) = brought_to(from, connection_type) else {
                    assert!(!is_legal, "{cell:?} is listed, but its first state cannot be reached");
                    continue;
                };
                assert_eq!(from.may_become(to, connection_type), is_legal, "{cell:?}");
                let (state, since) = (conn.state(), conn.since());
                assert_eq!(state, from);
                match transition(&mut conn, to, at(9)) {
                    Ok(()) => assert_eq!((is_legal, conn.state(), conn.since()), (true, to, at(9)), "{cell:?}"),
                    Err(error) => {
                        assert!(!is_legal, "{cell:?}");
                        assert_eq!(error, TransitionError::Illegal { from, to, connection_type });
                        assert_eq!(
                            (conn.state(), conn.since()),
                            (state, since),
                            "{cell:?} was refused, but changed the state or its time"
                        );
                    }
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, (6 + 5 + 4) * 6);
}

#[test]
fn req_e15_no_accepted_connection_is_connecting_none_over_capacity_is_connected_and_no_state_follows_itself() {
    for state in ConnectionState::ALL {
        assert!(!state.may_become(Connecting, Inbound) && !state.may_become(Connecting, OverCapacity));
        assert!(!Connecting.may_become(state, Inbound) && !Connecting.may_become(state, OverCapacity));
        assert!(!state.may_become(Connected, OverCapacity) && !Connected.may_become(state, OverCapacity));
        for connection_type in ConnectionType::ALL {
            assert!(!state.may_become(state, connection_type), "{state:?} may become itself");
        }
    }
}

#[test]
fn a_connection_with_an_incomplete_handshake_does_not_become_connected() {
    for missing in 0..4 {
        for connection_type in [Outbound, Inbound] {
            let mut conn = new(connection_type);
            if connection_type == Outbound {
                conn.transition_to_connecting(at(0)).unwrap();
            }
            conn.transition_to_awaiting_handshake(at(1)).unwrap();
            let handshake = conn.handshake_mut();
            if missing != 0 {
                handshake.mark_version_sent();
            }
            if missing != 1 {
                handshake.mark_version_received(version(None));
            }
            if missing != 2 {
                handshake.mark_verack_sent();
            }
            if missing != 3 {
                handshake.mark_verack_received();
            }
            assert_eq!(conn.transition_to_connected(at(2)), Err(TransitionError::HandshakeIncomplete));
            assert_eq!((conn.state(), conn.since()), (AwaitingHandshake, at(1)));
        }
    }
}

#[test]
fn the_transition_to_connected_is_illegal_over_capacity_even_after_the_handshake() {
    let mut conn = new(OverCapacity);
    conn.transition_to_awaiting_handshake(at(1)).unwrap();
    let illegal = TransitionError::Illegal { from: AwaitingHandshake, to: Connected, connection_type: OverCapacity };
    assert_eq!(conn.transition_to_connected(at(2)), Err(illegal));
    complete_handshake(&mut conn);
    assert_eq!(conn.transition_to_connected(at(2)), Err(illegal));
}

#[test]
fn req_e16_a_new_connection_has_the_type_and_direction_of_its_constructor() {
    for (connection_type, is_inbound) in [(Outbound, false), (Inbound, true), (OverCapacity, true)] {
        let conn = new(connection_type);
        assert_eq!((conn.connection_type(), conn.is_inbound()), (connection_type, is_inbound));
        assert_eq!((conn.state(), conn.since(), conn.address()), (Disconnected, Instant::ZERO, address()));
        assert_eq!(conn.restart().is_some(), !is_inbound);
        assert_eq!(conn.ping_pong().timeout(), PING_TIMEOUT);
        assert_eq!(conn.ping_pong().pending_count(), 0);
    }
}

#[test]
fn req_e17_an_accepted_connection_starts_with_its_handshake() {
    let mut conn = new(Inbound);
    conn.transition_to_awaiting_handshake(at(3)).unwrap();
    assert_eq!(conn.handshake().deadline(Duration::from_secs(10)), Some(at(13)));
    complete_handshake(&mut conn);
    conn.transition_to_connected(at(4)).unwrap();
    assert_eq!(conn.state(), Connected);
    assert!(conn.handshake().is_complete(), "the handshake's state was lost");
}

#[test]
fn an_accepted_connection_cannot_be_restarted() {
    for connection_type in [Inbound, OverCapacity] {
        let mut conn = new(connection_type);
        conn.transition_to_awaiting_handshake(at(1)).unwrap();
        conn.transition_to_disconnected(at(2)).unwrap();
        assert_eq!(conn.transition_to_awaiting_handshake(at(3)), Err(TransitionError::AcceptedOnce));
        assert_eq!((conn.state(), conn.since()), (Disconnected, at(2)));
    }
}

#[test]
fn a_restart_resets_the_peers_data_but_not_the_number_of_restarts() {
    let mut conn = brought_to(Connected, Outbound).unwrap();
    conn.ping_pong_mut().record_ping(1, at(1));
    conn.set_send_headers_mode();
    assert!(conn.apply_protoconf(2_097_152));
    assert!(conn.restart_mut().unwrap().try_restart(at(2)));
    conn.transition_to_failed(at(2)).unwrap();
    assert!(conn.handshake().is_complete() && conn.protoconf_received(), "a failed connection lost its data");

    conn.transition_to_connecting(at(3)).unwrap();
    assert_eq!(conn.handshake().deadline(PING_TIMEOUT), None);
    assert!(conn.handshake().peer_version().is_none() && !conn.handshake().is_complete());
    assert_eq!(conn.ping_pong().pending_count(), 0);
    assert!(!conn.send_headers_mode() && !conn.protoconf_received());
    assert_eq!(conn.max_recv_payload(), 1_048_576);
    assert_eq!(conn.restart().unwrap().restarts(), 1);

    conn.transition_to_awaiting_handshake(at(7)).unwrap();
    assert_eq!(conn.handshake().deadline(PING_TIMEOUT), Some(at(37)));
    assert_eq!(conn.transition_to_connected(at(8)), Err(TransitionError::HandshakeIncomplete));
}

#[test]
fn an_illegal_restart_keeps_the_handshake_and_pending_pings() {
    let mut conn = brought_to(Connected, Outbound).unwrap();
    conn.ping_pong_mut().record_ping(1, at(1));
    assert!(conn.transition_to_connecting(at(2)).is_err());
    assert!(conn.handshake().is_complete());
    assert_eq!(conn.ping_pong().pending_count(), 1);
}

#[test]
fn a_second_protoconf_changes_nothing() {
    let mut conn = new(Inbound);
    assert_eq!((conn.max_recv_payload(), conn.protoconf_received()), (1_048_576, false));
    assert!(conn.apply_protoconf(u32::MAX));
    assert!(!conn.apply_protoconf(1));
    assert_eq!((conn.max_recv_payload(), conn.protoconf_received()), (u32::MAX, true));
}

#[test]
fn req_e11_sendheaders_is_remembered() {
    let mut conn = new(Outbound);
    assert!(!conn.send_headers_mode());
    conn.set_send_headers_mode();
    assert!(conn.send_headers_mode());
}

#[test]
fn the_errors_of_illegal_and_early_transitions_state_the_reason() {
    let illegal = new(Inbound).transition_to_connecting(at(1)).unwrap_err();
    assert_eq!(illegal.to_string(), "a connection of type Inbound that is Disconnected cannot become Connecting");
    assert_eq!(TransitionError::HandshakeIncomplete.to_string(), "the handshake is not complete");
}
