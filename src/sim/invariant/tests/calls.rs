//! Tests of the calls to the network and to the handler: each faulty case breaks one invariant, and the correct cases
//! break none.

use super::{ADDRESS, config};
use crate::api::{ControlEvent, Delivery, Event, NextDial};
use crate::config::{Config, ManagerConfig};
use crate::error::{CloseReason, Deadline};
use crate::id::{LinkId, PeerId};
use crate::limits::{
    ACCEPTS_PER_TURN, CLOSES_PER_TURN, DIALS_PER_TURN, MAX_SEND_QUEUE_BYTES, READ_BLOCK_BYTES, TICK, WRITES_PER_TURN,
};
use crate::peer::{ConnectionState, ConnectionType};
use crate::protocol::{CommandName, Network};
use crate::sim::invariant::bounds::Bounds;
use crate::sim::invariant::ledger::Ledger;
use crate::sim::invariant::managing::{SPARED, SPARED_BY_PING};
use crate::sim::invariant::{Draw, MARKED, ManagerSummary, StreamReport};
use crate::time::Instant;
use crate::wire::{Header, StreamType};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

const LINK: LinkId = LinkId::new(3, 1);
const GENERAL: (LinkId, StreamType) = (LINK, StreamType::General);
const NEXT: LinkId = LinkId::new(3, 2);
const LATE: Instant = Instant::from_nanos(1_000_000_000_000);
const INBOUND: ConnectionType = ConnectionType::Inbound;
const OPENED: Event<'static> = Event::Opened { connect: None };
const READY: Event<'static> = Event::Ready { handshake: Duration::ZERO };

fn closed(reason: CloseReason) -> Event<'static> {
    Event::Closed { reason, state: ConnectionState::Connected }
}

fn timed_out(ledger: &mut Ledger, deadline: Deadline, age: Duration) {
    ledger.event(LINK, &closed(CloseReason::TimedOut(deadline)), Instant::ZERO.plus(age), Some(true));
}

fn wrote(ledger: &mut Ledger, bytes: &[u8]) {
    ledger.wrote(LINK, &[IoSlice::new(bytes)], bytes.len());
}

fn frame(command: CommandName) -> Vec<u8> {
    Header::of(command, b"").encode(config().magic_bytes()).to_vec()
}

/// Builds four different frames of 24 bytes each.
fn talk() -> Vec<u8> {
    [CommandName::TX, CommandName::BLOCK, CommandName::INV, CommandName::ADDR].map(frame).concat()
}

fn nonce(command: CommandName) -> Vec<u8> {
    let mut bytes = Header::of(command, &[5; 8]).encode(config().magic_bytes()).to_vec();
    bytes.extend_from_slice(&[5; 8]);
    bytes
}

fn greet(ledger: &mut Ledger) {
    wrote(ledger, &[CommandName::VERSION, CommandName::VERACK].map(frame).concat());
}

fn block(len_bytes: u64) -> Header {
    Header { command: CommandName::BLOCK, payload_len: len_bytes, checksum: Some([1; 4]) }
}

/// Builds a ledger in its second turn, with one link whose socket is open and whose peer is ready.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(Bounds::of(&config()));
    ledger.waited(Instant::ZERO);
    ledger.opened_socket(LINK, false);
    ledger.event(LINK, &OPENED, Instant::ZERO, Some(false));
    ledger.event(LINK, &READY, Instant::ZERO, Some(true));
    ledger.waited(Instant::ZERO);
    ledger
}

fn established() -> ControlEvent {
    let (peer, address) = (PeerId::of(LINK), ADDRESS.parse().expect("the address is valid"));
    ControlEvent::ConnectionEstablished { peer, address, connection_type: INBOUND }
}

fn complete() -> ControlEvent {
    let (peer, address, connection_type) = (PeerId::of(LINK), ADDRESS.parse().expect("the address is valid"), INBOUND);
    ControlEvent::HandshakeComplete { peer, address, connection_type, handshake: Duration::ZERO }
}

fn lost(reason: CloseReason) -> ControlEvent {
    let (peer, address, connection_type) = (PeerId::of(LINK), ADDRESS.parse().expect("the address is valid"), INBOUND);
    ControlEvent::ConnectionLost { peer, address, connection_type, state: ConnectionState::Connected, reason }
}

pub(super) type Calls = (u8, fn(&mut Ledger));

pub(super) const CALLS: &[Calls] = &[
    (2, |ledger| ledger.opened_socket(NEXT, false)),
    (4, |ledger| ledger.read(NEXT, 1)),
    (4, |ledger| ledger.wrote(NEXT, &[], 0)),
    (4, |ledger| ledger.called(NEXT, "call")),
    (4, |ledger| ledger.closed_socket(NEXT)),
    (4, |ledger| {
        ledger.closed_socket(LINK);
        ledger.read(LINK, 1);
    }),
    (4, |ledger| ledger.record_callback(LINK, false)),
    (4, |ledger| ledger.event(LINK, &Event::SendHeaders, Instant::ZERO, None)),
    (5, |ledger| {
        ledger.closed_socket(LINK);
        ledger.opened_socket(NEXT, true);
    }),
    (6, |ledger| {
        ledger.closed_socket(LINK);
        ledger.waited(Instant::ZERO);
        ledger.opened_socket(LINK, false);
    }),
    (6, |ledger| ledger.event(LinkId::new(3, 0), &OPENED, Instant::ZERO, Some(false))),
    (11, |ledger| (0..=ACCEPTS_PER_TURN).for_each(|_| ledger.accepted(1))),
    (11, |ledger| (0..=DIALS_PER_TURN as u32).for_each(|slot| ledger.opened_socket(LinkId::new(9 + slot, 0), true))),
    (11, |ledger| (0..=CLOSES_PER_TURN as u32).for_each(|slot| ledger.closed_socket(LinkId::new(9 + slot, 0)))),
    (11, |ledger| (0..2).for_each(|_| ledger.read(LINK, 1))),
    (11, |ledger| ledger.read(LINK, READ_BLOCK_BYTES + 1)),
    (11, |ledger| (0..WRITES_PER_TURN + 2).for_each(|_| wrote(ledger, b""))),
    (16, |ledger| ledger.delivered(GENERAL, &block(5))),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Discard);
        ledger.delivered(GENERAL, &block(5));
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Buffer);
        ledger.delivered(GENERAL, &block(6));
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Buffer);
        ledger.streamed(GENERAL, &block(5), 0, 5, true);
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Chunks);
        ledger.streamed(GENERAL, &block(5), 1, 4, true);
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Chunks);
        ledger.streamed(GENERAL, &block(5), 0, 4, true);
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Chunks);
        ledger.admitted(GENERAL, &block(6), Delivery::Chunks);
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Chunks);
        ledger.streamed(GENERAL, &block(5), 0, 4, false);
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
    }),
    (16, |ledger| {
        ledger.admitted(GENERAL, &block(5), Delivery::Chunks);
        ledger.streamed(GENERAL, &block(5), 0, 4, false);
        let cut = Event::BodyCut {
            header: block(5),
            stream_type: StreamType::General,
            received: 3,
            reason: CloseReason::ClosedByPeer,
        };
        ledger.event(LINK, &cut, LATE, Some(true));
    }),
    (17, |ledger| wrote(ledger, b"no magic at the beginning of these bytes")),
    (17, |ledger| {
        greet(ledger);
        ledger.wrote(LINK, &[IoSlice::new(&talk())], 30);
        // The frame in progress continues, but then the next frame is skipped.
        ledger.wrote(LINK, &[IoSlice::new(&talk()[30..48]), IoSlice::new(&talk()[72..])], 18 + 24);
    }),
    (17, |ledger| {
        greet(ledger);
        ledger.wrote(LINK, &[IoSlice::new(&talk())], 0);
        let late = [talk(), nonce(CommandName::PONG)].concat();
        ledger.wrote(LINK, &[IoSlice::new(&late)], late.len());
    }),
    (18, |ledger| wrote(ledger, &frame(CommandName::PING))),
    (18, |ledger| ledger.record_message(LINK, false)),
    (18, |ledger| {
        ledger.event(LinkId::new(4, 0), &OPENED, Instant::ZERO, Some(false));
        ledger.record_message(LinkId::new(4, 0), true);
    }),
    (18, |ledger| {
        ledger.event(LinkId::new(4, 0), &OPENED, Instant::ZERO, Some(false));
        ledger.event(LinkId::new(4, 0), &READY, Instant::ZERO, Some(false));
    }),
    (22, |ledger| ledger.woken(LATE)),
    (22, |ledger| {
        ledger.wake_at = Some(LATE);
        ledger.woken(Instant::ZERO);
    }),
    (22, |ledger| timed_out(ledger, Deadline::Handshake, config().handshake_timeout - TICK)),
    (22, |ledger| timed_out(ledger, Deadline::Pong, config().pong_timeout - TICK)),
    (22, |ledger| timed_out(ledger, Deadline::Header, Duration::from_secs(19))),
    (22, |ledger| timed_out(ledger, Deadline::Body, Duration::from_secs(59))),
    (22, |ledger| timed_out(ledger, Deadline::Send, Duration::from_secs(59))),
    (22, |ledger| {
        let (link, reason) = (LinkId::new(5, 0), CloseReason::TimedOut(Deadline::Connect));
        ledger.opened_socket(link, true);
        ledger.event(link, &closed(reason), Instant::ZERO.plus(config().connect_timeout - TICK), Some(false));
    }),
    (23, |ledger| {
        let pong = Event::Pong { nonce: 1, planned: Instant::ZERO, sent: LATE, received: Instant::ZERO };
        ledger.event(LINK, &pong, Instant::ZERO, Some(true));
    }),
    (29, |ledger| ledger.event(LINK, &OPENED, Instant::ZERO, Some(true))),
    (29, |ledger| ledger.event(LINK, &READY, Instant::ZERO, Some(true))),
    (29, |ledger| ledger.record_callback(NEXT, true)),
    (29, |ledger| ledger.event(NEXT, &Event::SendHeaders, Instant::ZERO, Some(true))),
    (29, |ledger| (0..2).for_each(|_| ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true)))),
    (29, |ledger| {
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
        ledger.record_callback(LINK, true);
    }),
    (42, |ledger| ledger.offered(LINK, usize::MAX, None)),
    (42, |ledger| ledger.offered(LINK, usize::MAX, Some(MAX_SEND_QUEUE_BYTES))),
    (42, |ledger| ledger.offered(LINK, 1, Some(1))),
    (45, |ledger| ledger.event(LINK, &Event::Written { mark: 1, at: Instant::ZERO }, Instant::ZERO, Some(true))),
    (29, |ledger| ledger.control(&complete(), &config())),
    (29, |ledger| (0..2).for_each(|_| ledger.control(&established(), &config()))),
    (29, |ledger| {
        ledger.control(&established(), &config());
        ledger.control(&lost(CloseReason::ClosedByPeer), &config());
    }),
    (29, |ledger| {
        ledger.control(&established(), &config());
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
        ledger.control(&lost(CloseReason::RejectedByPeer(1)), &config());
    }),
    (29, |ledger| {
        ledger.control(&established(), &config());
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
        ledger.control(&lost(CloseReason::ClosedByPeer), &config());
        ledger.control(&complete(), &config());
    }),
    (29, |ledger| {
        let (peer, address) = (PeerId::of(LINK), ADDRESS.parse().expect("the address is valid"));
        ledger.control(&ControlEvent::PeerEvicted { peer, address }, &config());
    }),
    (26, |ledger| fail(ledger, 1, Duration::from_millis(4_999))),
    (26, |ledger| fail(ledger, 2, Duration::from_millis(12_501))),
    (26, |ledger| {
        fail(ledger, 1, Duration::from_secs(5));
        ledger.managing.settle(None, Instant::ZERO, &mut ledger.findings);
        ledger.managing.settle(Some(&drawn()), Instant::ZERO.plus(Duration::from_secs(4)), &mut ledger.findings);
    }),
    (26, |ledger| restart(ledger, 4)),
    (26, |ledger| restart(ledger, 0)),
    (26, |ledger| (0..2).for_each(|_| restart(ledger, 1))),
    (27, |ledger| {
        manage(ledger);
        ledger.control(&ControlEvent::ListenerBound { address: there() }, &config());
        (0..2).for_each(|_| ledger.managing.settle(Some(&drawn()), Instant::ZERO, &mut ledger.findings));
    }),
    (28, |ledger| evict(ledger, SPARED)),
    (28, |ledger| {
        let trusted = vec![(there().ip(), 16)];
        let manager = Some(ManagerConfig { trusted, ..ManagerConfig::new(Network::Regtest) });
        ledger.managing.trust(&Config { manager, ..config() });
        evict(ledger, SPARED + 1);
    }),
    (28, |ledger| {
        answer_pings(ledger, SPARED_BY_PING as u32 - 1);
        evict(ledger, SPARED + 1);
    }),
];

fn manage(ledger: &mut Ledger) {
    let manager = Some(ManagerConfig::new(Network::Regtest));
    ledger.bounds = Bounds::of(&Config { manager, ..config() });
}

fn there() -> SocketAddr {
    "192.0.2.7:18444".parse().expect("the address is valid")
}

fn drawn() -> ManagerSummary {
    let draw = Draw { address: there(), slots_in_use: 1 };
    ManagerSummary { slots_in_use: 1, max_slots: 1, target: 1, drawn: vec![draw], ..ManagerSummary::default() }
}

/// Records that a dial received no reply in time. The event reports `failures` consecutive failures and a next dial
/// after `pause`.
fn fail(ledger: &mut Ledger, failures: u32, pause: Duration) {
    manage(ledger);
    let (address, reason) = (there(), CloseReason::TimedOut(Deadline::Connect));
    let (peer, state, next) = (PeerId::of(LINK), ConnectionState::Connecting, NextDial::At(Instant::ZERO.plus(pause)));
    let event = ControlEvent::ConnectionFailed { peer, address, state, reason, failures, next };
    ledger.event(LINK, &closed(reason), LATE, Some(true));
    ledger.control(&event, &config());
}

fn restart(ledger: &mut Ledger, restarts: u32) {
    manage(ledger);
    ledger.control(&ControlEvent::ConnectionRestarting { address: there(), restarts }, &config());
}

/// Accepts this many peers, and evicts the youngest.
fn evict(ledger: &mut Ledger, count: usize) {
    manage(ledger);
    for slot in 10..10 + count as u32 {
        let (peer, address) = (PeerId::of(LinkId::new(slot, 0)), there());
        ledger.control(&ControlEvent::ConnectionEstablished { peer, address, connection_type: INBOUND }, &config());
        if slot as usize + 1 == 10 + count {
            ledger.control(&ControlEvent::PeerEvicted { peer, address }, &config());
        }
    }
}

/// Makes this many peers answer pings as fast as the youngest peer. All other peers answer no pings.
fn answer_pings(ledger: &mut Ledger, count: u32) {
    let last = 10 + SPARED as u32;
    for slot in (10..10 + count).chain([last]) {
        ledger.managing.ponged(PeerId::of(LinkId::new(slot, 0)), Duration::from_millis(1));
    }
}

#[test]
fn correct_pauses_restarts_evictions_and_draws_break_nothing() {
    let calls: [fn(&mut Ledger); 7] = [
        |ledger| fail(ledger, 1, Duration::from_secs(5)),
        |ledger| fail(ledger, 2, Duration::from_millis(12_500)),
        |ledger| {
            fail(ledger, 1, Duration::from_secs(5));
            ledger.managing.settle(Some(&drawn()), Instant::ZERO, &mut ledger.findings);
            ledger.managing.settle(Some(&drawn()), Instant::ZERO.plus(Duration::from_secs(5)), &mut ledger.findings);
        },
        |ledger| (1..=3).for_each(|restarts| restart(ledger, restarts)),
        |ledger| evict(ledger, SPARED + 1),
        |ledger| {
            answer_pings(ledger, SPARED_BY_PING as u32);
            evict(ledger, SPARED + 1);
        },
        |ledger| {
            manage(ledger);
            ledger.control(
                &ControlEvent::ListenerBound { address: ADDRESS.parse().expect("the address is valid") },
                &config(),
            );
            (0..2).for_each(|_| ledger.managing.settle(Some(&drawn()), Instant::ZERO, &mut ledger.findings));
        },
    ];
    for (index, call) in calls.into_iter().enumerate() {
        let mut ledger = ledger();
        call(&mut ledger);
        assert_eq!(ledger.findings.list(), [], "case {index}");
    }
}

#[test]
fn each_faulty_call_breaks_only_its_invariant() {
    assert_eq!(ledger().findings.list(), []);
    for (index, (number, call)) in CALLS.iter().enumerate() {
        let mut ledger = ledger();
        call(&mut ledger);
        let found: Vec<u8> = ledger.findings.list().iter().map(|violation| violation.invariant).collect();
        assert_eq!(found, [*number], "case {index}: {:?}", ledger.findings.list());
    }
}

#[test]
fn a_ping_written_in_pieces_counts_as_sent_with_its_last_byte() {
    let bytes = [frame(CommandName::VERSION), frame(CommandName::VERACK), nonce(CommandName::PING).repeat(2)].concat();
    for size in 1..=bytes.len() {
        let mut ledger = ledger();
        let mut written = 0;
        for piece in bytes.chunks(size) {
            wrote(&mut ledger, piece);
            written += piece.len();
            let expected = written.saturating_sub(48) / 32;
            let ping = (LINK, u64::from_le_bytes([5; 8]));
            assert_eq!(ledger.written_pings(), vec![ping; expected], "{written} bytes in pieces of {size}");
        }
        ledger.waited(Instant::ZERO);
        assert_eq!(ledger.written_pings(), []);
    }
}

#[test]
fn on_writable_must_follow_the_last_write_to_a_ready_peer() {
    let mut ledger = ledger();
    greet(&mut ledger);
    assert_eq!(ledger.missing_writable().collect::<Vec<_>>(), [LINK]);
    ledger.record_writable(LINK);
    assert_eq!(ledger.missing_writable().count(), 0);
    wrote(&mut ledger, &nonce(CommandName::PING));
    assert_eq!(ledger.missing_writable().collect::<BTreeSet<_>>(), BTreeSet::from([LINK]));
    ledger.waited(Instant::ZERO);
    ledger.wrote(LINK, &[IoSlice::new(&nonce(CommandName::PING))], 0);
    assert_eq!(ledger.missing_writable().count(), 0, "a write that moved no bytes required `on_writable`");
}

#[test]
fn a_write_on_any_stream_requires_a_call_of_on_writable_for_the_peer() {
    let stream = LinkId::new(4, 0);
    let report = StreamReport {
        link: stream,
        peer: LINK,
        is_opening: false,
        is_open: true,
        is_listed: false,
        is_peer_listed: false,
        has_body: false,
        awaits_streams: false,
    };
    let mut ledger = ledger();
    ledger.opened_socket(stream, true);
    ledger.settle_streams(vec![report]);
    ledger.waited(Instant::ZERO);
    ledger.wrote(stream, &[IoSlice::new(&frame(CommandName::CREATESTRM))], 24);
    assert_eq!(ledger.missing_writable().collect::<Vec<_>>(), [stream]);
    ledger.record_writable(LINK);
    assert_eq!(ledger.missing_writable().count(), 0);
    greet(&mut ledger);
    assert_eq!(ledger.missing_writable().collect::<Vec<_>>(), [LINK]);
}

fn marked(number: u64, len_bytes: usize) -> Vec<u8> {
    let mut payload = vec![9; len_bytes];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    [&Header::of(MARKED, &payload).encode(config().magic_bytes())[..], &payload].concat()
}

#[test]
fn a_marked_message_must_be_reported_exactly_once_when_its_last_byte_is_written() {
    let bytes = [marked(7, 8), frame(CommandName::TX), marked(8, 100)].concat();
    let (first, second) = (32, bytes.len());
    for size in [1, 3, 30, 32, 60, 500] {
        let mut ledger = ledger();
        greet(&mut ledger);
        let (mut written, mut due) = (0, 0);
        for piece in bytes.chunks(size) {
            ledger.waited(Instant::ZERO);
            wrote(&mut ledger, piece);
            written += piece.len();
            let now_due = usize::from(written >= first) + usize::from(written >= second);
            assert_eq!(ledger.missing_written().is_empty(), now_due == due, "{written} bytes in pieces of {size}");
            for mark in due..now_due {
                let event = Event::Written { mark: 7 + mark as u64, at: Instant::ZERO };
                ledger.event(LINK, &event, Instant::ZERO, Some(true));
            }
            due = now_due;
        }
        assert_eq!((due, ledger.findings.list()), (2, &[][..]));
        ledger.event(LINK, &Event::Written { mark: 8, at: Instant::ZERO }, Instant::ZERO, Some(true));
        assert_eq!(
            ledger.findings.list()[0].invariant,
            45,
            "the first violation for a mark reported twice is not one of invariant 45"
        );
    }
}

#[test]
fn a_correct_connection_breaks_nothing() {
    let mut ledger = ledger();
    (0..ACCEPTS_PER_TURN).for_each(|_| ledger.accepted(0));
    ledger.read(LINK, READ_BLOCK_BYTES);
    for command in [CommandName::VERSION, CommandName::VERACK, CommandName::PING] {
        wrote(&mut ledger, &frame(command));
    }
    ledger.wrote(LINK, &[IoSlice::new(&talk())], 30);
    let (said, rest) = (talk(), [nonce(CommandName::PONG), talk()[48..].to_vec()].concat());
    ledger.wrote(LINK, &[IoSlice::new(&said[30..48]), IoSlice::new(&rest)], 18 + rest.len());
    for (delivery, bytes) in [(Delivery::Buffer, 5), (Delivery::Discard, 6), (Delivery::Buffer, 7)] {
        ledger.record_message(LINK, true);
        ledger.admitted(GENERAL, &block(bytes), delivery);
    }
    ledger.delivered(GENERAL, &block(7));
    ledger.admitted(GENERAL, &block(9), Delivery::Chunks);
    ledger.streamed(GENERAL, &block(9), 0, 4, false);
    ledger.streamed(GENERAL, &block(9), 4, 5, true);
    ledger.admitted(GENERAL, &block(9), Delivery::Chunks);
    ledger.streamed(GENERAL, &block(9), 0, 4, false);
    let reason = CloseReason::TimedOut(Deadline::Body);
    ledger.event(
        LINK,
        &Event::BodyCut { header: block(9), stream_type: StreamType::General, received: 4, reason },
        LATE,
        Some(true),
    );
    ledger.event(LINK, &closed(reason), LATE, Some(true));
    ledger.closed_socket(LINK);
    ledger.waited(LATE);
    ledger.opened_socket(NEXT, true);
    ledger.wake_at = Some(LATE);
    ledger.woken(LATE);
    assert_eq!(ledger.findings.list(), []);
    assert_eq!((ledger.sockets, ledger.ready, ledger.closed), (1, 1, 1));
}
