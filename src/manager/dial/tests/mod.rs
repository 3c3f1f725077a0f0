//! The dialler, one rule at a time: backoff, missing resources, and the book.

mod holds;
mod lists;
mod orders;

use super::*;
use crate::limits::{DIAL_PAUSE_FIRST, GROUP_DIAL_PAUSE, MAX_DIAL_RECORDS, NO_CANDIDATES_DELAY};
use crate::protocol::Network;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const NANO: Duration = Duration::from_nanos(1);

/// A book whose draws follow the order of its addresses, starting at a random one.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) standings: BTreeMap<SocketAddr, Option<Standing>>,
    draws: Cell<usize>,
}

impl Book {
    pub(super) fn of(addresses: &[SocketAddr], standing: Standing) -> Self {
        let standings = addresses.iter().map(|&address| (address, Some(standing))).collect();
        Self { standings, draws: Cell::new(0) }
    }

    /// Applies a decision to the book.
    pub(super) fn note(&mut self, address: SocketAddr, decision: Decision) {
        if decision == Decision::Inaccessible {
            self.standings.insert(address, Some(Standing::Inaccessible));
        }
    }
}

impl Candidates for Book {
    fn is_empty(&self) -> bool {
        self.standings.values().all(Option::is_none)
    }

    fn pick(
        &self,
        standing: Standing,
        rng: &mut dyn Rng,
        accept: &mut dyn FnMut(SocketAddr) -> bool,
        tries: usize,
    ) -> Option<SocketAddr> {
        self.draws.set(self.draws.get() + 1);
        let standing = Some(standing);
        let of_standing: Vec<SocketAddr> =
            self.standings.iter().filter(|&(_, &other)| other == standing).map(|(&address, _)| address).collect();
        let skip = rng.next_u64() as usize % of_standing.len().max(1);
        of_standing.iter().cycle().skip(skip).take(of_standing.len().min(tries)).copied().find(|&found| accept(found))
    }
}

/// A dialler and its environment.
struct Scene {
    dialler: Dialler,
    config: ManagerConfig,
    book: Book,
    banned: Vec<SocketAddr>,
    rng: StdRng,
    now: Instant,
}

impl Scene {
    fn new(config: ManagerConfig, book: Book) -> Self {
        let dialler = Dialler::new(&config);
        Self { dialler, config, book, banned: Vec::new(), rng: StdRng::seed_from_u64(5), now: START }
    }

    fn normal(addresses: &[SocketAddr]) -> Self {
        Self::new(ManagerConfig::new(Network::Regtest), Book::of(addresses, Standing::Unknown))
    }

    fn fixed(addresses: &[SocketAddr]) -> Self {
        Self::new(ManagerConfig::fixed(Network::Regtest, addresses.to_vec()), Book::default())
    }

    fn next(&mut self) -> Option<SocketAddr> {
        self.dialler.next(self.now, &mut self.rng, &self.book, |address| {
            self.banned.contains(&address).then_some(DialHold::Banned)
        })
    }

    fn next_all(&mut self) -> Vec<SocketAddr> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn end(&mut self, address: SocketAddr, ended: Ended) -> Decision {
        let decision = self.dialler.ended(address, ended, self.now, &mut self.rng).decision;
        self.dialler.slots.give_back();
        self.book.note(address, decision);
        decision
    }

    fn make_ready(&mut self, address: SocketAddr) {
        self.dialler.connect_started(address);
        self.dialler.tcp_connected(address);
        self.dialler.ready(address, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Returns `decision`, or the pause of the first waiting address if `decision` is `Inaccessible`.
    fn waits(&self, decision: Decision) -> Decision {
        match decision {
            Decision::Inaccessible => Decision::WaitUntil(self.dialler.records.first_due().expect("the address waits")),
            decision => decision,
        }
    }

    /// Asserts that `decision` is a pause of `least` to 1.25 times `least`, and that nothing is dialled one
    /// nanosecond before its end. Then lets the pause pass.
    fn assert_waits(&mut self, decision: Decision, least: Duration) {
        let Decision::WaitUntil(until) = decision else { panic!("expected a pause of {least:?}, got {decision:?}") };
        let pause = until.since(self.now);
        assert!((least..=least * 5 / 4).contains(&pause), "the pause is {pause:?} instead of {least:?} plus jitter");
        self.now = until.minus(NANO);
        assert_eq!(self.next(), None, "the address was dialled too early");
        self.now = until;
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns private addresses, to which the rule of one peer per range does not apply.
fn private(count: u32) -> Vec<SocketAddr> {
    (1..=count).map(|host| SocketAddr::new(IpAddr::from((10 << 24 | host).to_be_bytes()), 8_333)).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

// --- Backoff and restart ---------------------------------------------------------------------------------------------

#[test]
fn req_e20_a_failed_dial_is_repeated_after_pauses_that_double_up_to_a_maximum_and_is_never_abandoned() {
    let peers = private(1);
    for ended in [Ended::Unreached, Ended::MissedDeadline, Ended::TurnedAway] {
        for mut scene in [Scene::normal(&peers), Scene::fixed(&peers)] {
            let is_fixed = scene.dialler.settings.is_fixed;
            for (failures, pause) in (1..=30).zip([5, 10, 20, 40, 80, 160, 320].into_iter().chain([600; 23])) {
                assert_eq!(scene.next(), Some(peers[0]));
                let decision = scene.end(peers[0], ended);
                assert_eq!(
                    decision == Decision::Inaccessible,
                    !is_fixed && failures >= 10,
                    "after {failures} failures"
                );
                scene.assert_waits(scene.waits(decision), secs(pause));
            }
            assert_eq!(scene.dialler.slots.taken(), 0);
        }
    }
}

#[test]
fn req_e20_an_inaccessible_address_is_dialled_last_and_occasionally_before_others() {
    let peers = private(2);
    let mut scene = Scene::normal(&peers);
    scene.config.max_retries = 1;
    scene.config.target_peers = 1;
    scene.dialler.reconfigure(&scene.config);
    scene.book = Book::of(&peers[..1], Standing::Inaccessible);
    assert_eq!(
        scene.next(),
        Some(peers[0]),
        "the inaccessible address was not dialled, although no other address remains"
    );
    assert!(scene.dialler.lacks_candidates() || scene.dialler.book_is_dry, "the book does not count as dry");
    assert_eq!(scene.end(peers[0], Ended::Unreached), Decision::Inaccessible);
    scene.book.standings.insert(peers[1], Some(Standing::Unknown));
    let dial = |scene: &mut Scene, time| {
        scene.pass(time);
        let peer = scene.next().expect("an address is due");
        let ended = if peer == peers[0] { Ended::Unreached } else { Ended::NoNetwork };
        let _ = scene.end(peer, ended);
        peer
    };
    for _ in 0..300 {
        assert_eq!(dial(&mut scene, secs(10)), peers[1], "the inaccessible address was dialled within its hour");
    }
    scene.pass(INACCESSIBLE_RECHECK);
    let times = (0..2_000).filter(|_| dial(&mut scene, secs(10)) == peers[0]).count();
    // These draws span 20,000 s. The inaccessible address is due at their start. Before each further dial it waits for
    // a pause of 10 s to 750 s, another hour, and a draw that prefers inaccessible addresses (one in 16).
    assert!((4..=6).contains(&times), "{times}");
}

#[test]
fn req_e19_a_failed_dial_in_an_outage_extends_the_pause_and_keeps_the_standing() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.config.max_retries = 2;
    scene.dialler.reconfigure(&scene.config);
    for pause in [5, 10, 20, 40, 80, 160, 320, 600, 600, 600] {
        assert_eq!(scene.next(), Some(peers[0]));
        let decision = scene.end(peers[0], Ended::Offline);
        scene.assert_waits(decision, secs(pause));
    }
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::Unreached);
    scene.assert_waits(decision, secs(600));
    assert_eq!(scene.next(), Some(peers[0]));
    assert_eq!(
        scene.end(peers[0], Ended::Unreached),
        Decision::Inaccessible,
        "the address did not become inaccessible at the second failure that counts"
    );
}

#[test]
fn req_e20_a_success_resets_the_count_of_failures() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    for pause in [5, 10, 20] {
        assert_eq!(scene.next(), Some(peers[0]));
        let decision = scene.end(peers[0], Ended::Unreached);
        scene.assert_waits(decision, secs(pause));
    }
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    let decision = scene.end(peers[0], Ended::MissedDeadline);
    scene.assert_waits(decision, secs(5));
}

#[test]
fn req_e18_a_lost_connection_is_reopened_at_once_three_times_per_window() {
    let peers = private(2);
    let mut scene = Scene::fixed(&peers[..1]);
    assert_eq!(scene.next(), Some(peers[0]));
    for _ in 0..2 {
        for _ in 0..3 {
            scene.make_ready(peers[0]);
            assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Restart);
            assert_eq!(scene.dialler.next_at().map(|at| at <= scene.now), Some(true));
            assert_eq!(scene.next(), Some(peers[0]));
        }
        assert_eq!(scene.dialler.restarts(peers[0]).map(|restarts| restarts.restarts()), Some(3));
        scene.make_ready(peers[0]);
        let decision = scene.end(peers[0], Ended::Lost);
        scene.assert_waits(decision, secs(5));
        assert_eq!(scene.next(), Some(peers[0]), "the address was not dialled after the pause");
        scene.pass(scene.config.restart_window);
    }
}

#[test]
fn req_e18_restarts_are_cleared_after_a_long_connection() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    for _ in 0..20 {
        scene.make_ready(peers[0]);
        scene.pass(RESTARTS_FORGOTTEN_AFTER);
        assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Restart);
        assert_eq!(scene.next(), Some(peers[0]));
    }
    for verdict_is_restart in [true, true, false] {
        scene.make_ready(peers[0]);
        scene.pass(secs(1));
        assert_eq!(scene.end(peers[0], Ended::Lost) == Decision::Restart, verdict_is_restart);
        if verdict_is_restart {
            assert_eq!(scene.next(), Some(peers[0]));
        }
    }
}

#[test]
fn req_e20_a_restart_that_fails_backs_off_like_any_dial() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    assert_eq!(scene.end(peers[0], Ended::Lost), Decision::Restart);
    for pause in [5, 10, 20] {
        assert_eq!(scene.next(), Some(peers[0]));
        let decision = scene.end(peers[0], Ended::Unreached);
        scene.assert_waits(decision, secs(pause));
    }
}

#[test]
fn a_reject_right_after_the_handshake_is_not_a_success() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    for pause in [5, 10, 20, 40] {
        assert_eq!(scene.next(), Some(peers[0]));
        scene.make_ready(peers[0]);
        let decision = scene.end(peers[0], Ended::TurnedAway);
        scene.assert_waits(decision, secs(pause));
    }
}

#[test]
fn req_e19_an_incompatible_peer_waits_an_hour_but_a_fixed_one_waits_for_the_longest_pause() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    assert_eq!(scene.end(peers[0], Ended::Incompatible), Decision::Inaccessible);
    scene.pass(INACCESSIBLE_RECHECK - NANO);
    assert_eq!(scene.next(), None);
    scene.pass(NANO);
    assert_eq!(scene.next(), Some(peers[0]));

    let mut scene = Scene::fixed(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::Incompatible);
    scene.assert_waits(decision, secs(600));
    assert_eq!(scene.next(), Some(peers[0]));
}

#[test]
fn req_e19_after_a_close_on_request_a_drawn_peer_waits_and_a_fixed_one_is_dialled_only_on_request() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    let decision = scene.end(peers[0], Ended::ClosedByUs);
    scene.assert_waits(decision, secs(600));
    assert_eq!(scene.next(), Some(peers[0]));

    let mut scene = Scene::fixed(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    assert_eq!(scene.end(peers[0], Ended::ClosedByUs), Decision::Nothing);
    scene.pass(secs(1_000_000));
    assert_eq!((scene.next(), scene.dialler.next_at()), (None, None));
    assert_eq!(scene.dialler.try_manual(peers[0], scene.now), Ok(()));
    let decision = scene.end(peers[0], Ended::Unreached);
    scene.assert_waits(decision, secs(5));
    assert_eq!(scene.next(), Some(peers[0]), "the requested address was not dialled again");
}

#[test]
fn an_address_that_is_no_longer_barred_is_dialled_again() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    scene.make_ready(peers[0]);
    assert_eq!(scene.end(peers[0], Ended::NotAllowed), Decision::Nothing);
    assert_eq!(scene.next(), Some(peers[0]), "the address was not dialled, although it is no longer barred");

    let mut scene = Scene::fixed(&peers);
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::NotAllowed);
    assert_eq!(decision, Decision::WaitUntil(scene.now.plus(BARRED_RECHECK)));
    scene.pass(BARRED_RECHECK - NANO);
    assert_eq!(scene.next(), None);
    scene.pass(NANO);
    assert_eq!(scene.next(), Some(peers[0]));
}

#[test]
fn only_remote_failures_are_counted() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.config.max_retries = 3;
    scene.dialler.reconfigure(&scene.config);
    let mut end = |ended| {
        scene.pass(secs(1_000));
        assert_eq!(scene.next(), Some(peers[0]));
        scene.dialler.slots.give_back();
        let departure = scene.dialler.ended(peers[0], ended, scene.now, &mut scene.rng);
        scene.dialler.book_changed();
        departure.failures
    };
    assert_eq!(end(Ended::NoNetwork), 0);
    assert_eq!(end(Ended::Short(Shortage::Ports)), 0);
    assert_eq!(end(Ended::Unreached), 1);
    assert_eq!(end(Ended::Short(Shortage::Descriptors)), 1);
    assert_eq!(end(Ended::Lost), 1, "the lost connection changed the number of failures");
    assert_eq!(end(Ended::Unreached), 2);
    assert_eq!(end(Ended::Unreached), 3);
    assert_eq!(end(Ended::Unreached), 4, "the inaccessible address's failure was not counted");
}

#[test]
fn reporting_the_end_of_an_unknown_connection_has_no_effect() {
    let peers = private(2);
    let mut scene = Scene::normal(&peers[..1]);
    assert_eq!(scene.next(), Some(peers[0]));
    let _ = scene.end(peers[0], Ended::Unreached);
    for peer in peers {
        let departure = scene.dialler.ended(peer, Ended::Unreached, scene.now, &mut scene.rng);
        assert_eq!(departure, Departure { decision: Decision::Nothing, failures: 0, restarts: 0 });
    }
}

// --- Resources that this machine lacks ------------------------------------------------------------------------------

#[test]
fn fault_e02_without_descriptors_all_dials_pause_and_the_address_stays_first_in_its_queue() {
    let peers = private(3);
    let mut scene = Scene::fixed(&peers);
    for pause_ms in [100, 200, 400, 800, 1_000, 1_000] {
        assert_eq!(scene.next(), Some(peers[0]));
        let resumes = scene.now.plus(Duration::from_millis(pause_ms));
        let decision = scene.end(peers[0], Ended::Short(Shortage::Descriptors));
        assert_eq!((decision, scene.dialler.next_at()), (Decision::WaitUntil(resumes), Some(resumes)));
        scene.now = resumes.minus(NANO);
        assert_eq!(scene.next(), None);
        scene.now = resumes;
    }
    assert_eq!(scene.next_all(), peers);
    let decision = scene.end(peers[0], Ended::Unreached);
    scene.assert_waits(decision, secs(5));
}

#[test]
fn running_out_of_descriptors_while_accepting_pauses_dials_too() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.dialler.short_of_descriptors(START);
    assert_eq!((scene.next(), scene.dialler.next_at()), (None, Some(START.plus(DIAL_PAUSE_FIRST))));
    assert!(!scene.dialler.lacks_candidates(), "the book counts as empty, although nothing was drawn from it");
    scene.pass(DIAL_PAUSE_FIRST);
    assert_eq!(scene.next(), Some(peers[0]));
}

#[test]
fn fault_e05_if_one_family_fails_the_other_continues_and_no_address_is_dropped() {
    let (v6, v4) = (address("[2001:4860::1]:8333"), private(3));
    for ended in [Ended::NoNetwork, Ended::Short(Shortage::Ports)] {
        let mut scene = Scene::fixed(&[v6, v4[0], v4[1], v4[2]]);
        let mut reached = Vec::new();
        for _ in 0..100 {
            while let Some(peer) = scene.next() {
                if peer == v6 {
                    assert!(matches!(scene.end(v6, ended), Decision::WaitUntil(_)));
                } else {
                    scene.make_ready(peer);
                    reached.push(peer);
                }
            }
            assert_eq!(reached, v4, "an IPv4 address was delayed, dialled again, or dialled out of order");
            scene.now = scene.dialler.next_at().expect("the address is retried for ever").max(scene.now);
        }
        assert!(scene.now.since(START) > secs(100), "the address was retried too often");
    }
}

// --- The book -------------------------------------------------------------------------------------------------------

#[test]
fn req_e25_valid_addresses_precede_unknown_ones_and_inaccessible_ones_are_last() {
    let peers = private(12);
    let mut book = Book::of(&peers[..4], Standing::Unknown);
    book.standings.extend(peers[4..7].iter().map(|&peer| (peer, Some(Standing::Valid))));
    book.standings.insert(peers[7], Some(Standing::Inaccessible));
    book.standings.extend(peers[8..].iter().map(|&peer| (peer, None)));
    let mut scene = Scene::new(ManagerConfig::new(Network::Regtest), book);
    let mut dialled = scene.next_all();
    assert_eq!(dialled.len(), 8);
    dialled[..3].sort();
    dialled[3..7].sort();
    assert_eq!((&dialled[..3], &dialled[3..7], dialled[7]), (&peers[4..7], &peers[..4], peers[7]));
}

#[test]
fn a_range_has_at_most_one_drawn_peer_and_waits_a_second_between_new_dials() {
    let peers: Vec<SocketAddr> = (0..20).map(|host| ([8, 8, 0, host], 8_333).into()).collect();
    let other = address("9.9.9.9:8333");
    let mut scene = Scene::normal(&[&peers[..], &[other]].concat());
    let dialled = scene.next_all();
    assert_eq!(dialled.len(), 2);
    assert!(dialled.contains(&other));
    let first = dialled.into_iter().find(|&peer| peer != other).unwrap();
    let _ = scene.end(first, Ended::Unreached);
    scene.pass(GROUP_DIAL_PAUSE - NANO);
    scene.dialler.book_changed();
    assert_eq!(scene.next(), None);
    scene.pass(NANO);
    scene.dialler.book_changed();
    let second = scene.next().expect("the range may be dialled again");
    scene.make_ready(second);
    scene.pass(secs(60));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.end(second, Ended::Lost), Decision::Restart);
    assert_eq!(scene.next(), Some(second), "the restart was delayed like a new dial");
    assert_eq!(scene.next(), None);
}

#[test]
fn req_e23_dials_stop_at_the_target_which_includes_inbound_peers() {
    let mut scene = Scene::normal(&private(100));
    for _ in 0..3 {
        assert!(scene.dialler.slots.try_take(), "no slot was free for an inbound peer");
    }
    assert_eq!(scene.next_all().len(), scene.config.target_peers - 3);
    assert_eq!(scene.dialler.next_at(), None);
    scene.dialler.slots.give_back();
    assert_eq!(scene.next_all().len(), 1);
}

#[test]
fn an_empty_book_counts_as_a_lack_of_candidates_and_is_not_drawn_from_until_it_changes() {
    let peers = private(1);
    let mut scene = Scene::normal(&[]);
    for _ in 0..100 {
        assert_eq!(scene.next(), None);
    }
    assert_eq!(scene.book.draws.get(), 0);
    assert!(scene.dialler.lacks_candidates());
    assert_eq!(
        scene.dialler.next_at(),
        Some(START.plus(NO_CANDIDATES_DELAY)),
        "no wake-up is planned to report the lack of candidates"
    );
    scene.book = Book::of(&peers, Standing::Unknown);
    assert_eq!(scene.next(), None);
    scene.dialler.book_changed();
    assert_eq!(scene.next(), Some(peers[0]));
    assert!(!scene.dialler.lacks_candidates());
}

#[test]
fn a_book_without_dialable_addresses_is_drawn_from_again_after_a_pause() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.banned = peers;
    assert_eq!((scene.next(), scene.dialler.next_at()), (None, Some(START.plus(BOOK_RETRY))));
}

#[test]
fn the_next_dial_is_due_when_the_only_pause_ends() {
    let peers = private(1);
    let mut scene = Scene::normal(&peers);
    scene.config.initial_backoff = Duration::from_millis(40);
    scene.dialler.reconfigure(&scene.config);
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::Unreached);
    assert_eq!(scene.next(), None);
    let next_at = scene.dialler.next_at().expect("a peer is wanted");
    assert_eq!(decision, Decision::WaitUntil(next_at));
    scene.now = next_at;
    assert_eq!(scene.next(), Some(peers[0]));
}

#[test]
fn records_of_failed_addresses_are_limited_in_number_and_expire() {
    let mut scene = Scene::normal(&[]);
    let count = 100_000;
    for peer in private(count) {
        scene.book = Book::of(&[peer], Standing::Unknown);
        assert_eq!(scene.next(), Some(peer));
        let decision = scene.end(peer, Ended::Unreached);
        let is_remembered = matches!(decision, Decision::WaitUntil(_));
        assert!(is_remembered || decision == Decision::Inaccessible);
        if !is_remembered {
            assert_eq!(scene.dialler.records.len(), MAX_DIAL_RECORDS);
        }
    }
    scene.pass(secs(7));
    let peers = private(1);
    scene.book = Book::of(&peers, Standing::Unknown);
    assert_eq!(scene.next(), Some(peers[0]));
    let decision = scene.end(peers[0], Ended::Unreached);
    scene.assert_waits(decision, secs(10));
    scene.book = Book::default();
    scene.pass(secs(10) + scene.config.restart_window);
    for _ in 0..=MAX_DIAL_RECORDS / CANDIDATE_TRIES {
        scene.dialler.book_changed();
        assert_eq!(scene.next(), None);
    }
    assert_eq!(scene.dialler.records.len(), 0, "expired records were kept");
}
