//! The dialler compared with a naive model, under arbitrary events.
//!
//! The model stores only plain facts about each address: it has no queue, ordering or index. After each step, the model
//! and the dialler must agree on the live addresses and the number of used slots. The facts must allow each dial and
//! each decision. At the end all bans are lifted and each dial succeeds, and then there must be as many peers as are
//! wanted and possible.

use super::records::State;
use super::tests::Book;
use super::*;
use crate::address::{Host, NetGroup};
use crate::protocol::Network;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Dial(usize),
    /// Advances a live connection from dialling to open, or from open to ready.
    Advance(usize),
    /// Closes a live connection.
    End(usize, Ended),
    Pass(Duration),
    PassToNext,
    /// Connects or disconnects an inbound peer.
    Inbound(bool),
    Request(usize),
    Ban(usize, bool),
    /// Notifies the dialler that a host's ban was lifted.
    Unban(usize),
    Resize(usize, usize),
}

#[derive(Clone, Debug, Default)]
struct Facts {
    is_in_hand: bool,
    is_open: bool,
    live_since: Option<Instant>,
    ready_since: Option<Instant>,
    failures: u32,
    /// The number of failures that count against the address.
    strikes: u32,
    restarts: Vec<Instant>,
    next: Next,
}

impl Facts {
    /// Clears the facts that a completed handshake or the passage of time has made obsolete.
    fn forget(&mut self, ready_since: Option<Instant>, ended: Ended, now: Instant, restart_window: Duration) {
        if let Some(since) = ready_since {
            if now.since(since) >= RESTARTS_FORGOTTEN_AFTER {
                self.restarts.clear();
            }
            if ended != Ended::TurnedAway {
                (self.failures, self.strikes) = (0, 0);
            }
        }
        if self.restarts.first().is_some_and(|&first| now.since(first) >= restart_window) {
            self.restarts.clear();
        }
    }

    /// If the address was requested during a pause and its connection never opened, returns when that pause ends. A
    /// close that says nothing about the address keeps that pause.
    fn paused_until(&self, was_open: bool, now: Instant) -> Option<Instant> {
        match self.next {
            Next::NotBefore(until) | Next::NotBeforeUnbanOr(until) if !was_open && until > now => Some(until),
            Next::NotBefore(_) | Next::NotBeforeUnbanOr(_) | Next::Free | Next::Never => None,
        }
    }
}

/// The moment from which an address may be dialled, according to the decisions so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Next {
    #[default]
    Free,
    NotBefore(Instant),
    /// Not before this moment, unless a ban of the host ends.
    NotBeforeUnbanOr(Instant),
    Never,
}

struct World {
    dialler: Dialler,
    config: ManagerConfig,
    book: Book,
    facts: BTreeMap<SocketAddr, Facts>,
    listed: Vec<SocketAddr>,
    banned: Vec<SocketAddr>,
    inbound: usize,
    rng: StdRng,
    now: Instant,
}

impl World {
    fn new(is_fixed: bool, seed: u64) -> Self {
        let listed: Vec<SocketAddr> = addresses().collect();
        let mode = if is_fixed { DialMode::Fixed(listed.clone()) } else { DialMode::Normal };
        let config = ManagerConfig { mode, target_peers: 4, max_peers: 6, ..ManagerConfig::new(Network::Regtest) };
        let (unknown, valid) = listed.split_at(7);
        let mut book = Book::of(unknown, Standing::Unknown);
        book.standings.extend(valid.iter().map(|&peer| (peer, Some(Standing::Valid))));
        Self {
            dialler: Dialler::new(&config),
            config,
            book,
            facts: listed.iter().map(|&peer| (peer, Facts::default())).collect(),
            listed,
            banned: Vec::new(),
            inbound: 0,
            rng: StdRng::seed_from_u64(seed),
            now: Instant::from_nanos(1_000_000_000_000),
        }
    }

    fn is_fixed(&self) -> bool {
        self.config.mode != DialMode::Normal
    }

    fn live(&self) -> Vec<SocketAddr> {
        self.facts.iter().filter(|(_, facts)| facts.live_since.is_some()).map(|(&peer, _)| peer).collect()
    }

    fn wanted(&self) -> usize {
        if self.is_fixed() { self.config.max_peers } else { self.config.target_peers }
    }

    fn step(&mut self, step: Step) {
        let live = self.live();
        let chosen = |index: usize| live.get(index % live.len().max(1)).copied();
        match step {
            Step::Dial(count) => {
                for _ in 0..count {
                    self.dial();
                }
            }
            Step::Advance(index) => {
                if let Some(peer) = chosen(index) {
                    self.advance(peer);
                }
            }
            Step::End(index, ended) => {
                if let Some(peer) = chosen(index) {
                    self.end(peer, ended);
                }
            }
            Step::Pass(time) => self.now = self.now.plus(time),
            Step::PassToNext => self.now = self.dialler.next_at().map_or(self.now, |at| at.max(self.now)),
            Step::Inbound(true) => self.inbound += usize::from(self.dialler.slots.try_take()),
            Step::Inbound(false) if self.inbound > 0 => {
                self.inbound -= 1;
                self.dialler.slots.give_back();
            }
            Step::Inbound(false) => {}
            Step::Request(index) => self.request(self.listed[index % self.listed.len()]),
            Step::Ban(index, true) => self.banned.push(self.listed[index % self.listed.len()]),
            Step::Ban(index, false) => {
                let peer = self.listed[index % self.listed.len()];
                self.banned.retain(|&banned| banned != peer);
            }
            Step::Unban(index) => {
                let host = Host::of(self.listed[index % self.listed.len()].ip());
                self.dialler.ban_lifted(host);
                for (_, facts) in self.facts.iter_mut().filter(|(peer, _)| Host::of(peer.ip()) == host) {
                    let is_released = facts.live_since.is_none() && matches!(facts.next, Next::NotBeforeUnbanOr(_));
                    facts.next = if is_released { Next::Free } else { facts.next };
                }
            }
            Step::Resize(target, max) => {
                self.config.target_peers = target.min(max);
                self.config.max_peers = max;
                self.dialler.reconfigure(&self.config);
            }
        }
        assert_eq!(self.dialler.slots.taken(), self.live().len() + self.inbound);
        for (&peer, facts) in &self.facts {
            assert_eq!(self.dialler.is_taken(peer), facts.live_since.is_some(), "{peer}");
        }
    }

    fn dial(&mut self) -> bool {
        let taken = self.dialler.slots.taken();
        let is_queued = |peer: &SocketAddr| {
            self.dialler.records.get(*peer).is_some_and(|record| matches!(record.state(), State::Queued))
        };
        let queued: Vec<_> = self.listed.iter().copied().filter(is_queued).collect();
        let banned = &self.banned;
        let next = self
            .dialler
            .next(self.now, &mut self.rng, &self.book, |address| banned.contains(&address).then_some(DialHold::Banned));
        let Some(peer) = next else { return false };
        assert!(
            taken < self.wanted().min(self.config.max_peers),
            "a dial exceeds the wanted or the maximum number of peers"
        );
        assert!(!self.banned.contains(&peer), "{peer} is banned but is dialled");
        if !self.is_fixed() {
            assert!(self.book.standings[&peer].is_some(), "{peer} was given up but is dialled");
            let group = NetGroup::of(peer.ip());
            let is_neighbour = |other: &SocketAddr| self.facts[other].is_in_hand && NetGroup::of(other.ip()) == group;
            let neighbours: Vec<_> = self.live().into_iter().filter(is_neighbour).collect();
            assert!(group == NetGroup::Unroutable || neighbours.is_empty(), "{peer} and {neighbours:?} share a range");
        }
        let facts = self.facts.get_mut(&peer).expect("all addresses are listed");
        assert_eq!(facts.live_since, None, "{peer} has a link but is dialled again");
        match facts.next {
            Next::Free => {}
            Next::NotBefore(until) | Next::NotBeforeUnbanOr(until) => {
                assert!(self.now >= until, "{peer} is dialled {:?} early", until.since(self.now))
            }
            Next::Never => panic!("{peer} is dialled although it must not be"),
        }
        facts.is_in_hand = true;
        facts.live_since = Some(self.now);
        // A restart is not drawn from the book, so the address's standing in the book does not matter.
        let is_drawn = !self.is_fixed() && !queued.contains(&peer);
        if is_drawn && self.book.standings[&peer] == Some(Standing::Inaccessible) {
            let facts = self.facts.get_mut(&peer).expect("all addresses are listed");
            facts.failures = facts.failures.max(self.config.max_retries);
            facts.strikes = facts.strikes.max(self.config.max_retries);
        }
        true
    }

    fn request(&mut self, peer: SocketAddr) {
        let has_slot = self.dialler.slots.taken() < self.config.max_peers;
        let is_fixed = self.is_fixed();
        let facts = self.facts.get_mut(&peer).expect("all addresses are listed");
        let expected = match facts.live_since {
            Some(_) => Err(Taken::Address),
            None if has_slot => Ok(()),
            None => Err(Taken::Slots),
        };
        // The model does not know whether the dialler still has the record of a dialable address.
        let is_in_hand = self.dialler.records.get(peer).is_some();
        assert_eq!(self.dialler.try_manual(peer, self.now), expected);
        if expected.is_ok() {
            assert!(is_in_hand || !is_fixed);
            facts.is_in_hand = is_in_hand;
            facts.live_since = Some(self.now);
        }
    }

    fn advance(&mut self, peer: SocketAddr) {
        let facts = self.facts.get_mut(&peer).expect("all addresses are listed");
        if facts.is_open {
            self.dialler.ready(peer, self.now);
            facts.ready_since.get_or_insert(self.now);
            if self.book.standings[&peer].is_some() {
                self.book.standings.insert(peer, Some(Standing::Valid));
            }
        } else {
            self.dialler.connect_started(peer);
            self.dialler.tcp_connected(peer);
            facts.is_open = true;
        }
    }

    fn end(&mut self, peer: SocketAddr, ended: Ended) {
        let is_fixed = self.is_fixed();
        let knew = self.dialler.records.get(peer).map(|record| record.failures);
        let Departure { decision, failures, .. } = self.dialler.ended(peer, ended, self.now, &mut self.rng);
        self.dialler.slots.give_back();
        self.book.note(peer, decision);
        let config = &self.config;
        let now = self.now;
        let facts = self.facts.get_mut(&peer).expect("all addresses are listed");
        let ready_since = facts.ready_since.take();
        let was_open = std::mem::take(&mut facts.is_open);
        facts.live_since = None;
        if !facts.is_in_hand {
            assert_eq!(decision, Decision::Nothing);
            return;
        }
        if knew == Some(0) {
            // The dialler may have dropped the record since the last close, and its failures with it.
            (facts.failures, facts.strikes) = (0, 0);
        }
        facts.forget(ready_since, ended, now, config.restart_window);
        let is_restarted = ended == Ended::Lost && facts.restarts.len() < config.max_restarts as usize;
        let is_counted = matches!(ended, Ended::Unreached | Ended::Lost | Ended::TurnedAway | Ended::MissedDeadline);
        let is_failure = is_counted || ended == Ended::Offline;
        let least_pause = |failures: u32| Duration::from_secs(5 << (failures - 1).min(10)).min(config.max_backoff);
        let paused_until = facts.paused_until(was_open, now);
        facts.next = match decision {
            Decision::Restart => {
                assert!(is_restarted);
                facts.restarts.push(now);
                Next::Free
            }
            Decision::WaitUntil(until) if is_failure => {
                assert!(!is_restarted);
                facts.failures += 1;
                facts.strikes += u32::from(is_counted);
                assert!(is_fixed || ended == Ended::Offline || facts.strikes < config.max_retries);
                assert_eq!(failures, facts.failures);
                let least = least_pause(facts.failures);
                let pause = until.since(now);
                assert!((least..=least * 5 / 4).contains(&pause), "{pause:?} after {} failures", facts.failures);
                Next::NotBefore(until)
            }
            Decision::WaitUntil(until) => after_no_failure(ended, until, paused_until, is_fixed),
            Decision::Inaccessible if ended == Ended::Incompatible => {
                assert!(!is_fixed);
                Next::NotBeforeUnbanOr(now.plus(INACCESSIBLE_RECHECK))
            }
            Decision::Inaccessible => {
                facts.failures += 1;
                facts.strikes += 1;
                assert!(!is_fixed && is_counted && facts.strikes >= config.max_retries);
                Next::NotBefore(now.plus(least_pause(facts.failures)))
            }
            Decision::Nothing if ended == Ended::NotAllowed => {
                assert!(!is_fixed && paused_until.is_none());
                (facts.failures, facts.strikes, facts.restarts) = (0, 0, Vec::new());
                Next::Free
            }
            Decision::Nothing | Decision::NextAddress => {
                assert!(decision == Decision::Nothing && ended == Ended::ClosedByUs && is_fixed);
                Next::Never
            }
        };
    }

    /// Lifts all bans, and lets each dial succeed. Asserts that as many slots as are wanted and possible are then used
    /// within 25 hours. An address of our own needs that long, because it is paused for a day.
    fn settle(&mut self) {
        self.banned.clear();
        self.dialler.book_changed();
        let least = self.possible_peers().min(self.wanted());
        let (soon, late) = (self.now.plus(Duration::from_secs(1_800)), self.now.plus(Duration::from_secs(25 * 3_600)));
        while self.dialler.slots.taken() < least && self.now < late {
            while self.dial() {}
            for peer in self.live() {
                self.advance(peer);
                self.advance(peer);
            }
            if let Some(at) = self.dialler.next_at() {
                self.now = self.now.max(at);
            }
            if self.now > soon {
                self.now = self.now.plus(Duration::from_secs(600));
            }
        }
        assert!(self.dialler.slots.taken() >= least, "only {} of {least} peers", self.dialler.slots.taken());
    }

    /// Returns the number of peers that could be connected if no address were banned.
    fn possible_peers(&self) -> usize {
        let may_be_dialled = |(peer, facts): &(&SocketAddr, &Facts)| {
            let is_given_up = !self.is_fixed() && self.book.standings[*peer].is_none();
            facts.live_since.is_some() || facts.next != Next::Never && !is_given_up
        };
        let possible = self.facts.iter().filter(may_be_dialled).map(|(peer, _)| NetGroup::of(peer.ip()));
        if self.is_fixed() {
            return possible.count();
        }
        let (unroutable, routable): (Vec<_>, Vec<_>) = possible.partition(|&group| group == NetGroup::Unroutable);
        unroutable.len() + routable.into_iter().collect::<BTreeSet<_>>().len()
    }

    fn close_all(&mut self) {
        for peer in self.live() {
            self.end(peer, Ended::ClosedByUs);
        }
        while self.inbound > 0 {
            self.step(Step::Inbound(false));
        }
        assert_eq!(self.dialler.slots.taken(), 0);
    }
}

/// Returns when an address may be dialled again after a close that was not a failure.
fn after_no_failure(ended: Ended, until: Instant, paused_until: Option<Instant>, is_fixed: bool) -> Next {
    let is_local = matches!(ended, Ended::Short(_) | Ended::NoNetwork);
    let is_kept =
        if is_fixed { matches!(ended, Ended::NotAllowed | Ended::Incompatible) } else { ended == Ended::ClosedByUs };
    assert!(is_local || is_kept || ended == Ended::SelfConnection || paused_until.is_some());
    let is_long = paused_until.is_none_or(|paused_until| paused_until <= until);
    assert!(is_long || ended == Ended::Incompatible, "the pause is shorter than before");
    let may_end_sooner = matches!(ended, Ended::Short(Shortage::Descriptors | Shortage::Memory));
    match ended {
        Ended::Incompatible => Next::NotBeforeUnbanOr(until),
        _ if may_end_sooner && paused_until.is_none() => Next::Free,
        _ => Next::NotBefore(until),
    }
}

/// Returns three addresses in one IPv4 range, one in another, two in an IPv6 range, and four unroutable ones.
fn addresses() -> impl Iterator<Item = SocketAddr> {
    [
        "8.8.0.1:8333",
        "8.8.0.2:8333",
        "8.8.0.2:8334",
        "9.9.9.9:8333",
        "[2001:4860::1]:8333",
        "[2001:4860::2]:8333",
        "10.0.0.1:8333",
        "10.0.0.2:8333",
        "10.0.0.3:8333",
        "[fc00::1]:8333",
    ]
    .into_iter()
    .map(|text| text.parse().unwrap())
}

pub(super) fn any_end() -> impl Strategy<Value = Ended> {
    prop_oneof![
        6 => Just(Ended::Unreached),
        6 => Just(Ended::Lost),
        2 => Just(Ended::TurnedAway),
        2 => Just(Ended::MissedDeadline),
        2 => Just(Ended::Offline),
        1 => Just(Ended::Incompatible),
        1 => Just(Ended::SelfConnection),
        1 => Just(Ended::ClosedByUs),
        1 => Just(Ended::NotAllowed),
        1 => Just(Ended::Short(Shortage::Descriptors)),
        1 => Just(Ended::Short(Shortage::Memory)),
        1 => Just(Ended::Short(Shortage::Ports)),
        1 => Just(Ended::NoNetwork),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..8).prop_map(Step::Dial),
        6 => any::<usize>().prop_map(Step::Advance),
        6 => (any::<usize>(), any_end()).prop_map(|(index, ended)| Step::End(index, ended)),
        3 => (0_u64..20_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        1 => (0_u64..7_200).prop_map(|secs| Step::Pass(Duration::from_secs(secs))),
        4 => Just(Step::PassToNext),
        1 => any::<bool>().prop_map(Step::Inbound),
        1 => any::<usize>().prop_map(Step::Request),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(index, is_ban)| Step::Ban(index, is_ban)),
        1 => any::<usize>().prop_map(Step::Unban),
        1 => (1_usize..8, 1_usize..12).prop_map(|(target, max)| Step::Resize(target, max)),
    ]
}

proptest! {
    #[test]
    fn req_e27_the_facts_allow_every_dial_and_every_decision(
        is_fixed: bool,
        seed: u64,
        steps in proptest::collection::vec(any_step(), 1..200),
    ) {
        let mut world = World::new(is_fixed, seed);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.close_all();
    }
}
