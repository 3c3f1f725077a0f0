//! Two loops complete the handshake and send each other ten pings. Wherever their streams are split, the outcome is the
//! same.

use peerloop::histogram::Counters;
use peerloop::sim::{Call, Conditions, Cut, Cuts, Driver, Entry, RunOutcome, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::commands;
use peerloop_testkit::simulated::{Journal, Node, Player, config, secs};
use std::time::Duration;

const ACCEPTOR: usize = 0;
const DIALLER: usize = 1;
const PINGS: usize = 10;
/// Distance between the split points that are tried in pairs.
const GRID_BYTES: usize = 37;

/// The results that must not depend on how the bytes are split.
#[derive(Debug, PartialEq)]
struct Outcome {
    acceptor: Journal,
    dialler: Journal,
    from_acceptor: Vec<u8>,
    from_dialler: Vec<u8>,
    counters: [Counters; 2],
}

/// Runs both loops from the connect to the last pong. The two sides ping at different moments.
fn run(conditions: Conditions) -> Outcome {
    let world = World::new(1, Instant::ZERO);
    world.keep_log();
    world.set_conditions(conditions);
    let first = |after| Instant::ZERO.plus(Duration::from_millis(after));
    let player = Player::default().pinging(first(1_000), secs(1), PINGS as u32);
    let mut acceptor = Node::new(&world, config(), player);
    let player = Player::dialling(acceptor.address).pinging(first(1_500), secs(1), PINGS as u32);
    let mut dialler = Node::new(&world, config().with_seed(Some(2)), player);
    let until = Instant::ZERO.plus(secs(12));
    let actors: &mut [&mut dyn peerloop::sim::Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
    assert_eq!(Driver::new(&world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    let trace = world.trace();
    assert_order_of_the_handshake(trace.log());
    let counters = [&acceptor, &dialler].map(|node| {
        let mut counters = node.reactor.stats().counters;
        counters.turns = 0;
        counters
    });
    // How often a queue drains depends on how the streams are split.
    let journal = |node: &Node| Journal { writable: 0, ..node.seen() };
    Outcome {
        acceptor: journal(&acceptor),
        dialler: journal(&dialler),
        from_acceptor: sent(trace.log(), ACCEPTOR),
        from_dialler: sent(trace.log(), DIALLER),
        counters,
    }
}

fn sent(log: &[Entry], host: usize) -> Vec<u8> {
    let writes = log.iter().filter(|entry| entry.host == host && matches!(entry.call, Call::Write { .. }));
    writes.flat_map(|entry| entry.bytes.iter().copied()).collect()
}

/// Asserts the order of the handshake. Each side sends `version`, `verack`, `protoconf` and `sendheaders`, in this
/// order. Until it has read the peer's `version`, the acceptor sends nothing, and the dialler only its `version`.
/// Neither side sends its `sendheaders` until it has read the peer's `verack`. The acceptor's first write offers its
/// first three messages together.
fn assert_order_of_the_handshake(log: &[Entry]) {
    let version_len = |host| {
        let stream = sent(log, host);
        24 + u32::from_le_bytes(stream[16..20].try_into().unwrap()) as usize
    };
    for (host, peer) in [(ACCEPTOR, DIALLER), (DIALLER, ACCEPTOR)] {
        let names = commands(&sent(log, host));
        assert_eq!(names[..4], ["version", "verack", "protoconf", "sendheaders"]);
        assert_eq!(names.iter().filter(|name| *name == "version" || *name == "verack").count(), 2);
        let before_verack_len = version_len(host) + 24 + 51;
        let (mut received, mut written) = (0, 0);
        for entry in log.iter().filter(|entry| entry.host == host) {
            match entry.call {
                Call::Read { .. } => received += entry.bytes.len(),
                Call::Write { offered_bytes, .. } => {
                    if received < version_len(peer) {
                        assert_eq!(host, DIALLER, "the acceptor wrote before it had read the dialler's version");
                        assert!(
                            written + offered_bytes <= version_len(host),
                            "more than the version was offered before the peer's version was read"
                        );
                    }
                    if received < version_len(peer) + 24 {
                        assert!(
                            written + offered_bytes <= before_verack_len,
                            "a fourth message was offered before the peer's verack was read"
                        );
                    }
                    written += entry.bytes.len();
                }
                _ => {}
            }
        }
    }
    let answer_len = version_len(ACCEPTOR) + 24 + 51;
    let first = log.iter().find(|entry| entry.host == ACCEPTOR && matches!(entry.call, Call::Write { .. })).unwrap();
    assert!(matches!(first.call, Call::Write { offered_bytes, .. } if offered_bytes == answer_len), "{first:?}");
}

fn assert_complete(outcome: &Outcome) {
    for (own, other) in [(&outcome.acceptor, &outcome.dialler), (&outcome.dialler, &outcome.acceptor)] {
        assert_eq!((own.opened, own.ready.len(), own.sendheaders), (1, 1, 1));
        assert_eq!(own.limits, [2_097_152]);
        assert_eq!(own.pings.len(), PINGS);
        assert_eq!(own.pings, own.pongs);
        assert_eq!(own.closed, []);
        assert!(own.pings.iter().all(|nonce| !other.pings.contains(nonce)), "both sides drew the same nonce");
    }
}

fn at(point: usize) -> Cut {
    Cut::At(vec![point as u64])
}

#[test]
fn the_uncut_run_is_complete() {
    assert_complete(&run(Conditions::default()));
}

#[test]
fn every_split_point_of_received_bytes_gives_the_same_outcome() {
    let uncut = run(Conditions::default());
    for point in 1..uncut.from_dialler.len() {
        let to_acceptor = Cuts { arrivals: at(point), writes: Cut::None };
        assert_eq!(run(Conditions { to_acceptor, ..Conditions::default() }), uncut, "split at {point}");
    }
    for point in 1..uncut.from_acceptor.len() {
        let to_dialler = Cuts { arrivals: at(point), writes: Cut::None };
        assert_eq!(run(Conditions { to_dialler, ..Conditions::default() }), uncut, "split at {point}");
    }
}

#[test]
fn every_split_point_of_sent_bytes_gives_the_same_outcome() {
    let uncut = run(Conditions::default());
    for point in 1..uncut.from_dialler.len() {
        let to_acceptor = Cuts { writes: at(point), arrivals: Cut::None };
        assert_eq!(run(Conditions { to_acceptor, ..Conditions::default() }), uncut, "split at {point}");
    }
    for point in 1..uncut.from_acceptor.len() {
        let to_dialler = Cuts { writes: at(point), arrivals: Cut::None };
        assert_eq!(run(Conditions { to_dialler, ..Conditions::default() }), uncut, "split at {point}");
    }
}

#[test]
fn pairs_of_split_points_in_both_directions_give_the_same_outcome() {
    let uncut = run(Conditions::default());
    for to_acceptor in (1..uncut.from_dialler.len()).step_by(GRID_BYTES) {
        for to_dialler in (1..uncut.from_acceptor.len()).step_by(GRID_BYTES) {
            let both = |point| Cuts { writes: at(point), arrivals: at(point) };
            let (to_acceptor, to_dialler) = (both(to_acceptor), both(to_dialler));
            let conditions = Conditions { to_acceptor, to_dialler, ..Conditions::default() };
            let what = format!("{conditions:?}");
            assert_eq!(run(conditions), uncut, "{what}");
        }
    }
}

#[test]
fn fault_e16_small_reads_and_writes_through_pipes_of_several_sizes_give_the_same_outcome() {
    let uncut = run(Conditions::default());
    for (capacity_bytes, most) in [(1, 1), (1, 100), (7, 1), (25, 3), (300, 7), (4_096, 1)] {
        let cuts = || Cuts { writes: Cut::AtMost(most), arrivals: Cut::AtMost(most) };
        let conditions = Conditions { capacity_bytes, to_acceptor: cuts(), to_dialler: cuts() };
        assert_eq!(run(conditions), uncut, "{capacity_bytes} bytes, {most} at a time");
    }
}
