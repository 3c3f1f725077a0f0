//! Each kind of misbehavior as it arrives on the wire, or as a handler charges it, compared with the manual's table.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, manager};
use peerloop::ControlEvent;
use peerloop::error::{CloseReason, Misbehavior, Penalty};
use peerloop::protocol::CommandName;
use peerloop::sim::World;
use peerloop::time::Instant;
use peerloop::wire::Services;
use peerloop_testkit::bytes::{frame, frames, version};
use peerloop_testkit::simulated::{config, secs};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const THEIRS: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
const MANUAL: &str = include_str!("../../../../../src/manual/peer_manager.md");
/// 2^32 as a CompactSize: one more than the largest valid count.
const OVERLONG: [u8; 9] = [0xff, 0, 0, 0, 0, 1, 0, 0, 0];

/// A row of the manual's table of misbehavior.
struct Row {
    label: &'static str,
    costs: &'static str,
    is_engine: bool,
}

fn rows() -> Vec<Row> {
    let (_, table) =
        MANUAL.split_once("| kind | costs | charged by |\n|---|---|---|\n").expect("the manual has the table");
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [label, costs, by] = cells[..] else { panic!("{line}") };
        let is_uncharged = by.starts_with("engine, without a charge");
        let is_engine = by.starts_with("engine") && !is_uncharged;
        assert!(is_engine || is_uncharged || by == "handler", "{line}");
        Row { label: label.trim_matches('`'), costs, is_engine }
    };
    table.lines().take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Returns each charge: its kind, its points and the score after it.
fn charged(managed: &ManagedWorld) -> Vec<(Misbehavior, u32, u32)> {
    let charge = |event| match event {
        ControlEvent::PeerMisbehaved { misbehavior, points, score, .. } => Some((misbehavior, points, score)),
        _ => None,
    };
    managed.events().into_iter().filter_map(charge).collect()
}

fn reject(message: &str, code: u8, reason: &str) -> Vec<u8> {
    let text = |text: &str| {
        [&[u8::try_from(text.len()).expect("the text is shorter than 256 bytes")][..], text.as_bytes()].concat()
    };
    [text(message), vec![code], text(reason)].concat()
}

/// Returns a `version` followed by `rest`.
fn after_version(rest: &[u8]) -> Vec<u8> {
    [&Claim::default().version(), rest].concat()
}

/// Returns a complete handshake followed by `rest`.
fn after_handshake(rest: &[u8]) -> Vec<u8> {
    [&Claim::default().handshake(), rest].concat()
}

fn bad_checksums() -> Vec<u8> {
    let mut wrong = frame("ping", &[1; 8]);
    wrong[20] ^= 1;
    wrong.repeat(102)
}

/// A misbehavior, the bytes for which the engine charges it once, and the payload of the `reject` that answers these
/// bytes, if any.
type Case = (Misbehavior, Vec<u8>, Option<Vec<u8>>);

fn cases() -> Vec<Case> {
    let parsing = |command| Some(reject(command, 0x01, "error parsing message"));
    let createstrm = Some(reject("createstrm", 0x40, "Invalid createstream scenario"));
    let streamack = Some(reject("streamack", 0x40, "Invalid streamack"));
    let duplicate = Some(reject("version", 0x12, "Duplicate version message"));
    let twice = |command| after_handshake(&frame(command, &[]).repeat(2));
    let ready = |command, payload: &[u8]| after_handshake(&frame(command, payload));
    let addresses = [&[0xfd, 0xe9, 0x03][..], &[0; 1_001 * 30]].concat();
    let headers = [&[0xfd, 0xd1, 0x07][..], &[0; 2_001 * 81]].concat();
    vec![
        (Misbehavior::SecondVersion, after_handshake(&version()), duplicate),
        (Misbehavior::MessageBeforeVersion, frame("getaddr", &[]), None),
        (Misbehavior::MessageBeforeVersion, frame("streamack", &[]), None),
        (Misbehavior::MessageBeforeVerack, after_version(&frame("getaddr", &[])), None),
        (Misbehavior::SecondSendHeaders, twice("sendheaders"), None),
        (Misbehavior::SecondSendHeaders, twice("sendhdrsen"), None),
        (Misbehavior::OverlongSize, ready("addr", &OVERLONG), parsing("addr")),
        (Misbehavior::OverlongSize, ready("headers", &OVERLONG), parsing("headers")),
        (Misbehavior::BadChecksums, after_handshake(&bad_checksums()), None),
        (Misbehavior::TooManyAddresses, ready("addr", &addresses), None),
        (Misbehavior::TooManyHeaders, ready("headers", &headers), None),
        (Misbehavior::TooManyHeaders, ready("headers", &headers[..3]), None),
        (Misbehavior::UnwantedBloomFilter, ready("filterload", &[0; 10]), None),
        (Misbehavior::UnwantedBloomFilter, ready("filteradd", &[1, 0]), None),
        (Misbehavior::UnwantedMempoolRequest, ready("mempool", &[]), None),
        (Misbehavior::LateStreamSetup, ready("createstrm", &[]), createstrm.clone()),
        (Misbehavior::LateStreamSetup, after_version(&frame("createstrm", &[])), createstrm),
        (Misbehavior::LateStreamSetup, ready("streamack", &[]), streamack),
    ]
}

/// Lets a peer send `bytes` to the managed loop and then close the connection. Returns the payloads of the `reject`s
/// that the peer received.
fn say(managed: &mut ManagedWorld, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut stranger = Stranger::new(&managed.world);
    stranger.dial_from(0, managed.address, Some(THEIRS));
    for piece in bytes.chunks(16 * 1024) {
        stranger.send(0, piece);
        managed.settle();
    }
    let rejects = frames(&stranger.receive(0).0).into_iter().filter(|(command, _)| command == "reject");
    let rejects = rejects.map(|(_, payload)| payload).collect();
    stranger.close(0);
    managed.run(secs(5));
    rejects
}

/// Returns a new managed world in which a peer has sent `bytes`, and the payloads of the `reject`s that the peer
/// received.
fn said_to(watcher: Watcher, bytes: &[u8]) -> (ManagedWorld, Vec<Vec<u8>>) {
    let mut managed = ManagedWorld::with(manager(), watcher);
    let rejects = say(&mut managed, bytes);
    (managed, rejects)
}

/// Asserts that `misbehavior` was charged once. Also asserts that the loop closed the connection if and only if the
/// penalty is [`Penalty::Disconnect`] or 100 points, and banned the host if and only if the penalty is 100 points.
fn assert_charged(managed: &ManagedWorld, misbehavior: Misbehavior) {
    let (points, end) = match misbehavior.penalty() {
        Penalty::Points(100) => (100, CloseReason::Misbehaved(misbehavior)),
        Penalty::Points(points) => (points, CloseReason::ClosedByPeer),
        Penalty::Disconnect => (0, CloseReason::Misbehaved(misbehavior)),
        other => panic!("{other:?}"),
    };
    assert_eq!(charged(managed), [(misbehavior, points, points)], "{misbehavior}");
    assert_eq!(managed.ends(), [end], "{misbehavior}");
    assert_eq!(managed.count("peer_banned"), usize::from(points == 100), "{misbehavior}");
}

/// Asserts that nothing was charged and that the peer itself closed the connection.
fn assert_uncharged(managed: &ManagedWorld) {
    assert_eq!((charged(managed), managed.ends()), (vec![], vec![CloseReason::ClosedByPeer]));
}

#[test]
fn the_manual_lists_every_kind_with_its_cost_and_each_kind_that_the_engine_charges_has_a_case_here() {
    let listed: Vec<(&str, String)> = rows().iter().map(|row| (row.label, row.costs.to_owned())).collect();
    let cost = |kind: &Misbehavior| match kind.penalty() {
        Penalty::Points(points) => (kind.label(), points.to_string()),
        Penalty::Disconnect => (kind.label(), "closed".to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed, Misbehavior::ALL.iter().map(cost).collect::<Vec<_>>());
    let by_engine: BTreeSet<&str> = rows().iter().filter(|row| row.is_engine).map(|row| row.label).collect();
    // This kind needs two peers; a test of associations has the case.
    let elsewhere = [Misbehavior::StreamFromOtherHost.label()];
    let shown: BTreeSet<&str> = cases().iter().map(|(kind, ..)| kind.label()).chain(elsewhere).collect();
    assert_eq!(shown, by_engine);
}

#[test]
fn each_kind_that_the_engine_charges_is_charged_once_and_answered_as_sv_node_does() {
    for (misbehavior, bytes, answer) in cases() {
        let (managed, rejects) = said_to(Watcher::default(), &bytes);
        assert_charged(&managed, misbehavior);
        assert_eq!(rejects, Vec::from_iter(answer), "{misbehavior}");
    }
}

#[test]
fn each_kind_can_be_charged_by_a_handler() {
    for misbehavior in Misbehavior::ALL {
        let mut managed = ManagedWorld::with(manager(), Watcher { charges: Some(misbehavior), ..Watcher::default() });
        let mut stranger = Stranger::new(&managed.world);
        managed.welcome(&mut stranger, 0, Some(THEIRS));
        managed.node.handle().request(()).unwrap();
        managed.settle();
        stranger.receive(0);
        stranger.close(0);
        managed.run(secs(5));
        assert_charged(&managed, misbehavior);
    }
}

#[test]
fn messages_that_sv_node_tolerates_are_not_charged() {
    let mut wrong = frame("headers", &[0xfd, 0xd1, 0x07]);
    wrong[20] ^= 1;
    for bytes in [
        [frame("sendheaders", &[]), frame("sendhdrsen", &[])].concat(),
        wrong,
        frame("headers", &[&[0xfd, 0xd0, 0x07][..], &[0; 2_000 * 81]].concat()),
        frame("headers", &[]),
        frame("filterclear", &[]),
        frame("hdrsen", &[0xfd, 0xd1, 0x07]),
        frame("notfound", &OVERLONG),
        frame("getblocktxn", &[&[7; 32][..], &[1, 9]].concat()),
    ] {
        let (managed, rejects) = said_to(Watcher::default(), &after_handshake(&bytes));
        assert_uncharged(&managed);
        assert_eq!(rejects, Vec::<Vec<u8>>::new());
    }
}

#[test]
fn a_handler_that_wants_messages_receives_filterload_which_is_charged_and_mempool_which_is_not() {
    let wanting = || Watcher { wants_messages: true, ..Watcher::default() };
    let (managed, _) = said_to(wanting(), &after_handshake(&frame("filterload", &[0; 10])));
    assert_charged(&managed, Misbehavior::UnwantedBloomFilter);
    assert_eq!(managed.node.handler().messages, [CommandName::FILTERLOAD]);
    let (managed, _) = said_to(wanting(), &after_handshake(&frame("mempool", &[])));
    assert_uncharged(&managed);
    assert_eq!(managed.node.handler().messages, [CommandName::MEMPOOL]);
}

#[test]
fn a_loop_that_offers_bloom_filters_does_not_charge_for_them() {
    let config = config().with_services(Services::BLOOM.0).with_manager(manager()).with_ping_interval(Duration::ZERO);
    let mut managed = ManagedWorld::of(World::new(1, Instant::ZERO), config, Watcher::default());
    let both = [frame("filterload", &[0; 10]), frame("filteradd", &[1, 0])].concat();
    say(&mut managed, &after_handshake(&both));
    assert_uncharged(&managed);
}

#[test]
fn a_trusted_peer_is_never_charged_but_a_late_stream_setup_closes_it() {
    let trusting = || ManagedWorld::new(manager().with_trusted(vec![(THEIRS, 32)]));
    let mut managed = trusting();
    say(&mut managed, &after_handshake(&frame("filterload", &[0; 10])));
    assert_uncharged(&managed);
    let mut managed = trusting();
    let rejects = say(&mut managed, &after_handshake(&frame("streamack", &[])));
    assert_eq!(rejects, [reject("streamack", 0x40, "Invalid streamack")]);
    assert_eq!((charged(&managed), managed.ends()), (vec![], vec![Misbehavior::LateStreamSetup.into()]));
}

#[test]
fn a_handler_cannot_charge_without_a_peer_manager() {
    let config = config().with_ping_interval(Duration::ZERO);
    let watcher = Watcher { charges: Some(Misbehavior::InvalidBlock), ..Watcher::default() };
    let mut managed = ManagedWorld::of(World::new(1, Instant::ZERO), config, watcher);
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, Some(THEIRS));
    managed.node.handle().request(()).unwrap();
    managed.run(secs(5));
    assert_eq!((charged(&managed), managed.ends(), managed.ready()), (vec![], vec![], 1));
}
