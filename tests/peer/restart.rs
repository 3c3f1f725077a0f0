//! The number of restarts within a time window is limited. Only connections that this side dialled have restarts.

use super::{address, at};
use peerloop::CloseReason;
use peerloop::error::{
    Deadline, Disconnect, Incompatibility, IoStep, LocalCause, Misbehavior, NetworkFailure, Shortage, Side, WireError,
};
use peerloop::peer::{ConnectionState, PeerConnection, RestartTracking};
use peerloop::time::Instant;
use proptest::prelude::*;
use std::io::ErrorKind;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn req_e18_three_restarts_are_allowed_in_the_hour_that_begins_with_the_first() {
    let mut restarts = RestartTracking::new(3, HOUR);
    assert!(restarts.try_restart(at(100)));
    assert!(restarts.try_restart(at(200)));
    assert!(restarts.try_restart(at(3_000)));
    assert!(!restarts.try_restart(at(3_001)), "a fourth restart in one window was granted");
    assert!(
        !restarts.try_restart(at(100 + 3_600).minus(Duration::from_nanos(1))),
        "a restart was granted before the end of the window"
    );
    assert_eq!(restarts.restarts(), 3, "the refusals changed the count");
    assert!(restarts.try_restart(at(100 + 3_600)), "a restart was refused after the end of the window");
    assert_eq!(restarts.restarts(), 1);
}

#[test]
fn req_e18_a_reset_clears_the_count_and_the_window() {
    let mut restarts = RestartTracking::new(2, HOUR);
    assert!(restarts.try_restart(at(0)) && restarts.try_restart(at(1)) && !restarts.try_restart(at(2)));
    restarts.reset();
    assert_eq!(restarts.restarts(), 0);
    assert!(restarts.try_restart(at(3_000)) && restarts.try_restart(at(3_001)));
    assert!(!restarts.try_restart(at(3_700)), "a third restart was granted in the window that began after the reset");
}

#[test]
fn req_e18_an_accepted_connection_has_no_restarts() {
    let ping_timeout = Duration::from_secs(30);
    for mut conn in [
        PeerConnection::new_inbound(address(), ping_timeout),
        PeerConnection::new_over_capacity(address(), ping_timeout),
    ] {
        assert!(conn.restart().is_none() && conn.restart_mut().is_none());
    }
}

#[test]
fn req_e19_a_failed_connection_can_be_restarted_at_once() {
    let mut conn = PeerConnection::new_outbound(address(), (1, HOUR), Duration::from_secs(30));
    conn.transition_to_connecting(at(1)).unwrap();
    conn.transition_to_failed(at(2)).unwrap();
    assert!(conn.restart_mut().unwrap().try_restart(at(2)));
    conn.transition_to_connecting(at(2)).unwrap();
    assert_eq!((conn.state(), conn.since()), (ConnectionState::Connecting, at(2)));
    assert_eq!(conn.restart().unwrap().restarts(), 1, "the granted restart was not counted exactly once");
    conn.transition_to_failed(at(3)).unwrap();
    assert!(!conn.restart_mut().unwrap().try_restart(at(3)));
}

#[test]
fn req_e51_close_reasons_have_the_expected_side_and_transience() {
    let failure = |kind: ErrorKind| CloseReason::Network(NetworkFailure::new(IoStep::Connect, &kind.into()));
    let no_descriptors = NetworkFailure::new(IoStep::Connect, &std::io::Error::from_raw_os_error(24));
    assert_eq!(no_descriptors.shortage(), Some(Shortage::Descriptors));
    for (reason, side, is_transient) in [
        (failure(ErrorKind::ConnectionRefused), Side::Remote, true),
        (failure(ErrorKind::ConnectionReset), Side::Remote, true),
        (CloseReason::Network(no_descriptors), Side::Local, true),
        (CloseReason::TimedOut(Deadline::Connect), Side::Remote, true),
        (CloseReason::TimedOut(Deadline::Pong), Side::Remote, true),
        (CloseReason::ClosedByPeer, Side::Remote, true),
        (CloseReason::TimedOut(Deadline::Handshake), Side::Remote, true),
        (CloseReason::RejectedByPeer(0x10), Side::Remote, true),
        (CloseReason::Wire(WireError::BadMagic { found: [0; 4], network: None }), Side::Remote, false),
        (CloseReason::Misbehaved(Misbehavior::InvalidBlock), Side::Remote, false),
        (CloseReason::Incompatible(Incompatibility::Blockchain), Side::Remote, false),
        (CloseReason::Requested(Disconnect::Done), Side::Local, false),
        (CloseReason::Local(LocalCause::Banned), Side::Local, false),
    ] {
        assert_eq!((reason.side(), reason.is_transient()), (side, is_transient), "{reason}");
    }
}

#[test]
fn no_restarts_are_granted_when_none_are_allowed() {
    let mut restarts = RestartTracking::new(0, HOUR);
    assert!(!restarts.try_restart(Instant::ZERO) && !restarts.try_restart(Instant::MAX));
}

#[test]
fn a_stalled_or_reversed_clock_ends_no_window() {
    let mut restarts = RestartTracking::new(1, HOUR);
    assert!(restarts.try_restart(at(9_000)));
    assert!(!restarts.try_restart(at(9_000)) && !restarts.try_restart(at(0)));
}

proptest! {
    /// The model is a list of all granted restarts. Each step computes all windows from that list.
    #[test]
    fn restarts_are_granted_as_in_a_model_that_lists_all_grants(
        max_restarts in 0u32..4,
        window_secs in 1u64..20,
        pauses in prop::collection::vec(0u64..8, 0..60),
    ) {
        let mut restarts = RestartTracking::new(max_restarts, Duration::from_secs(window_secs));
        let mut granted: Vec<u64> = Vec::new();
        let mut now = 0;
        for pause in pauses {
            now += pause;
            let mut window: Vec<u64> = Vec::new();
            for &grant in &granted {
                match window.first() {
                    Some(start) if grant < start + window_secs => window.push(grant),
                    Some(_) | None => window = vec![grant],
                }
            }
            let is_over = window.first().is_none_or(|start| now >= start + window_secs);
            let expected = max_restarts > 0 && (is_over || window.len() < max_restarts as usize);
            prop_assert_eq!(restarts.try_restart(at(now)), expected);
            granted.extend(expected.then_some(now));
        }
    }
}
