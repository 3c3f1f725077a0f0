//! Tests of the engine with a manager and without a network. They run turns at the moments that the engine requests.

mod further;
mod steps;

use crate::address::Host;
use crate::api::ControlEvent;
use crate::channel::NoHandler;
use crate::config::{Config, DialMode, ManagerConfig};
use crate::engine::managing::{self, Managing};
use crate::engine::{Engine, Intake};
use crate::error::{DialHold, Disconnect, IoStep, RequestError, ResolveCause, ResolveFailure};
use crate::id::LinkId;
use crate::limits::{
    BARRED_RECHECK, BOOK_DELAY, BOOK_RETRY, DIAL_PAUSE_FIRST, EVICTIONS_PER_TURN, EXPIRIES_PER_TURN, MAX_BANS,
    MAX_BOOK_ANSWER, MAX_HANDSHAKE_PAYLOAD_BYTES, MIN_SEED_INTERVAL, NO_CANDIDATES_DELAY, SEED_INTERVAL, TICK,
};
use crate::manager::ban::BanReason;
use crate::manager::store::{KnownPeer, PeerStatus, Persisted, StoreError};
use crate::offload::Completion;
use crate::peer::ConnectionType;
use crate::protocol::Network;
use crate::time::{Instant, UnixTime, Wait};
use crate::wheel::tick_of;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const SEED: &str = "seed.example";
/// Maximum number of turns at one moment. If the loop is still awake after this many turns, the tests assume that it
/// never sleeps.
const MAX_TURNS: usize = 100;

/// The outcome of each dial that the loop starts.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Connected,
    Undecided,
    Failed(ErrorKind),
    NoDescriptors,
}

/// A loop under test, and the ids of the batches and queries that the loop has started.
struct Stage {
    engine: Engine,
    fate: Fate,
    batches: Vec<u64>,
    questions: Vec<u32>,
    turns: usize,
}

impl Stage {
    fn new(manager: ManagerConfig) -> Self {
        let config = Config { manager: Some(manager), ..Config::new(Network::Regtest) };
        let mut engine = Engine::new(config, StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        engine.state.clocks.set_unix(UnixTime::from_secs(1_000_000));
        Self { engine, fate: Fate::Undecided, batches: Vec::new(), questions: Vec::new(), turns: 0 }
    }

    fn remember(&mut self, addresses: &[SocketAddr], status: PeerStatus) {
        let peer = |address: &SocketAddr| {
            let mut peer = KnownPeer::new(*address, self.engine.state.clocks.unix());
            peer.status = status;
            peer
        };
        let peers = addresses.iter().map(peer).collect();
        managing(&mut self.engine).remember(peers, Vec::new());
    }

    /// Runs the steps of a turn that involve a manager. The network accepts each write in full.
    fn turn(&mut self) {
        let engine = &mut self.engine;
        self.turns += 1;
        engine.run_manager();
        self.batches.extend(std::iter::from_fn(|| managing(engine).next_batch()).map(|batch| batch.id));
        self.questions.extend(std::iter::from_fn(|| managing(engine).next_query()).map(|question| question.query));
        while let Some(dial) = engine.state.links.table.pop_dial() {
            if engine.state.links.is_open(dial.link) {
                engine.connect_starting(dial.link);
                dial_ends(engine, dial.link, self.fate);
            }
        }
        while engine.state.links.table.pop_ready().is_some() {}
        let mut due = Vec::new();
        engine.state.links.wheel.expire(tick_of(engine.state.clocks.now()), EXPIRIES_PER_TURN, &mut due);
        due.into_iter().for_each(|slot| engine.timer_due(slot));
        while let Some(id) = engine.state.links.table.pop_dirty() {
            let (now, waiting) =
                (engine.state.clocks.now(), engine.state.links.table.get(id).map(|link| link.queue.waiting_bytes()));
            let waiting = waiting.unwrap_or(0);
            engine.wrote_queued(id, waiting, waiting, now, &mut NoHandler);
        }
        for _ in 0..engine.state.links.table.closing_len() {
            let id = engine.state.links.table.pop_closing().expect("the closing list is not empty");
            engine.closing(id).step(&mut NoHandler);
        }
        engine.dispatch_control_events(&mut NoHandler);
    }

    /// Runs turns until the loop would sleep, and returns its wait.
    fn settle(&mut self) -> Wait {
        for _ in 0..MAX_TURNS {
            self.turn();
            match self.engine.wait() {
                Wait::Zero => {}
                Wait::Until(moment) if moment <= self.engine.state.clocks.now() => {}
                wait @ (Wait::Until(_) | Wait::Forever) => return wait,
            }
        }
        panic!(
            "the loop does not sleep: its wait is {:?}, the manager's {:?}",
            self.engine.wait(),
            managing::wait(&self.engine.state)
        );
    }

    fn pass(&mut self, time: Duration) {
        let clocks = &mut self.engine.state.clocks;
        let now = clocks.now().plus(time);
        clocks.advance(now);
        clocks.set_unix(UnixTime::from_secs(1_000_000 + now.since(Instant::ZERO).as_secs() as i64));
        clocks.input_seen_until = now;
    }

    /// Returns the time until the manager's next step; `None` if none is planned.
    fn sleep(&self) -> Option<Duration> {
        match managing::wait(&self.engine.state) {
            Wait::Zero => Some(Duration::ZERO),
            Wait::Until(moment) => Some(moment.since(self.engine.state.clocks.now())),
            Wait::Forever => None,
        }
    }

    /// Advances the clock by `time`, and runs turns at the end and whenever the manager's next step is due.
    fn sleep_for(&mut self, time: Duration) {
        let until = self.engine.state.clocks.now().plus(time);
        while self.engine.state.clocks.now() < until {
            let left = until.since(self.engine.state.clocks.now());
            self.pass(self.sleep().map_or(left, |sleep| sleep.min(left)));
            self.settle();
        }
    }

    fn answer_seed(&mut self, query: u32, addresses: &[SocketAddr]) {
        let outcome = match addresses {
            [] => Err(ResolveFailure { name: SEED.to_owned(), cause: ResolveCause::NoAddress }),
            found => Ok(found.to_vec()),
        };
        self.engine.job_completed(Completion::Resolved { query, outcome });
    }

    fn answer_batch(&mut self, id: u64, result: Result<(), StoreError>) {
        self.engine.job_completed(Completion::Persisted(Persisted { id, result }));
    }

    fn stop(&mut self) {
        self.engine.state.stopping = true;
        managing(&mut self.engine).manager.persistence.write_at_once();
        self.engine.close_all();
    }

    fn is_durable(&self) -> bool {
        self.engine.manager().expect("the loop has a manager").persistence.is_durable()
    }

    fn links(&self) -> Vec<LinkId> {
        self.engine.state.links.table.iter().map(|(id, _)| id).collect()
    }

    /// Checks that the manager's slots and claims match the links.
    fn assert_accounts(&self) {
        let table = &self.engine.state.links.table;
        let manager = self.engine.state.manager.as_deref().expect("the loop has a manager");
        let has_slot = |connection_type| connection_type != ConnectionType::OverCapacity;
        let peers = table.iter().filter(|(_, link)| has_slot(link.peer.connection_type())).count();
        assert_eq!(manager.dialler.slots.taken(), peers);
        let claims: BTreeSet<_> = manager.dialler.live.iter().collect();
        let links: BTreeSet<_> = table.iter().map(|(id, link)| (link.peer.address(), id)).collect();
        assert_eq!(claims, links);
    }
}

fn managing(engine: &mut Engine) -> Managing<'_> {
    engine.managing().expect("the loop has a manager")
}

fn dial_ends(engine: &mut Engine, id: LinkId, fate: Fate) {
    match fate {
        Fate::Connected => {
            engine.connect_started(id);
            engine.handshake(id).tcp_connected(&mut NoHandler);
        }
        Fate::Undecided => engine.connect_started(id),
        Fate::Failed(kind) => engine.failed(id, IoStep::Connect, &kind.into()),
        Fate::NoDescriptors => engine.failed(id, IoStep::Connect, &io::Error::from_raw_os_error(24)),
    }
}

fn host(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 18_444))
}

/// Returns a manager's configuration with high limits per host and without seeds.
fn manager() -> ManagerConfig {
    ManagerConfig {
        max_per_host: 1_000,
        accepts_per_host_per_second: 1_000_000,
        dns_seeds: Vec::new(),
        ..ManagerConfig::new(Network::Regtest)
    }
}

/// Returns the configuration of a manager that wants no peers.
fn idle() -> ManagerConfig {
    ManagerConfig { mode: DialMode::Fixed(Vec::new()), ..manager() }
}

fn asking() -> ManagerConfig {
    ManagerConfig { dns_seeds: vec![SEED.to_owned()], ..manager() }
}

fn trusting(address: SocketAddr) -> ManagerConfig {
    ManagerConfig { trusted: vec![(address.ip(), 32)], ..manager() }
}

// --- Bans -----------------------------------------------------------------------------------------------------------

#[test]
fn during_the_handshake_only_a_length_above_the_commands_limit_causes_a_ban() {
    for (len_bytes, bans) in [(MAX_HANDSHAKE_PAYLOAD_BYTES as u32 + 1, 0), (u32::MAX, 1)] {
        let mut stage = Stage::new(idle());
        let id = stage.engine.accept(host(1)).expect("there is room");
        stage.engine.handshake(id).tcp_connected(&mut NoHandler);
        let magic = stage.engine.state.magic;
        let header = [&magic[..], b"headers\0\0\0\0\0", &len_bytes.to_le_bytes(), &[0; 4]].concat();
        Intake::open(id, &mut stage.engine, &mut NoHandler).received(&header.clone().into(), header.len());
        assert!(!stage.engine.state.links.is_open(id));
        assert_eq!(stage.engine.stats().banned_hosts, bans, "{len_bytes} bytes");
    }
}

// --- Sleeping -------------------------------------------------------------------------------------------------------

#[test]
fn an_empty_book_is_reported_and_the_loop_then_sleeps_until_it_learns_an_address() {
    let mut stage = Stage::new(manager());
    assert_eq!(stage.sleep(), Some(Duration::ZERO));
    stage.settle();
    assert_eq!(stage.sleep(), Some(NO_CANDIDATES_DELAY));
    stage.pass(NO_CANDIDATES_DELAY);
    stage.engine.run_manager();
    let held_back = ControlEvent::DialsHeldBack { cause: DialHold::NoCandidates };
    assert_eq!(stage.engine.state.outbox.take_events(), [held_back]);
    assert_eq!(stage.engine.stats().dial_holds.count(DialHold::NoCandidates), 1);
    assert_eq!(stage.settle(), Wait::Forever);
    stage.remember(&[host(1)], PeerStatus::Inaccessible);
    assert_eq!(stage.sleep(), Some(Duration::ZERO), "the inaccessible address was not due at once in a new run");
    stage.settle();
    assert_eq!(stage.links().len(), 1);
}

#[test]
fn while_all_addresses_are_being_dialled_the_loop_sleeps() {
    let mut stage = Stage::new(manager());
    stage.remember(&[host(1), host(2)], PeerStatus::Valid);
    stage.settle();
    assert_eq!((stage.links().len(), stage.sleep()), (2, Some(NO_CANDIDATES_DELAY)));
    stage.pass(NO_CANDIDATES_DELAY);
    stage.engine.run_manager();
    assert_eq!((stage.links().len(), stage.sleep()), (2, None), "a link changed, or a wake-up is due after the report");
}

#[test]
fn an_address_that_may_not_be_dialled_is_checked_twice_a_second() {
    let mut stage = Stage::new(manager());
    let own = host(3);
    stage.engine.state.manager.as_mut().unwrap().listens_on(own);
    stage.remember(&[host(1), host(2), own], PeerStatus::Valid);
    stage.settle();
    assert_eq!((stage.links().len(), stage.sleep()), (2, Some(BOOK_RETRY)));
    for _ in 0..8 {
        stage.pass(BOOK_RETRY);
        let turns = stage.turns;
        stage.settle();
        assert_eq!((stage.turns - turns, stage.sleep()), (1, Some(BOOK_RETRY)));
    }
}

#[test]
fn a_seed_is_queried_on_schedule_after_any_earlier_outcome() {
    let mut stage = Stage::new(asking());
    stage.settle();
    assert_eq!(stage.questions.len(), 1);
    stage.sleep_for(MIN_SEED_INTERVAL - TICK);
    assert_eq!(stage.questions.len(), 1, "the seed was queried again too early");
    stage.sleep_for(TICK);
    assert_eq!(stage.questions.len(), 2, "the unanswered query was not repeated");
    stage.answer_seed(stage.questions[1], &[]);
    stage.sleep_for(MIN_SEED_INTERVAL - TICK);
    assert_eq!(stage.questions.len(), 2, "the seed was queried again too early after a failure");
    stage.sleep_for(TICK);
    let asked_at = stage.engine.state.clocks.now();
    let peers: Vec<SocketAddr> = (0..20).map(host).collect();
    stage.answer_seed(stage.questions[2], &peers);
    stage.settle();
    assert_eq!(
        (stage.links().len(), stage.sleep()),
        (8, Some(BOOK_DELAY)),
        "the loop did not dial 8 peers, or the write of the addresses is due at another time"
    );
    stage.pass(BOOK_DELAY);
    stage.settle();
    stage.answer_batch(1, Ok(()));
    assert_eq!(
        managing::wait(&stage.engine.state),
        Wait::Until(asked_at.plus(SEED_INTERVAL)),
        "the loop does not sleep until the next scheduled query, although no more peers are wanted"
    );
    assert!(stage.turns < 40, "{} turns in two minutes", stage.turns);
}

#[test]
fn a_slow_or_failing_disk_gets_one_batch_at_a_time() {
    let mut stage = Stage::new(idle());
    stage.engine.state.ban_by_request(host(1).ip(), None).unwrap();
    assert_eq!(stage.sleep(), Some(Duration::ZERO), "the ban was not due to be written at once");
    stage.settle();
    stage.engine.state.ban_by_request(host(2).ip(), None).unwrap();
    stage.settle();
    let late = Some(MAX_BOOK_ANSWER);
    assert_eq!(
        (&stage.batches[..], stage.sleep()),
        (&[1][..], late),
        "a second batch was sent, or the loop does not wait for the first"
    );
    stage.answer_batch(1, Err(StoreError::Full));
    stage.settle();
    assert_eq!(
        (stage.batches.len(), stage.sleep()),
        (1, None),
        "a batch was sent or a wake-up is due, although the writer is retrying"
    );
    stage.answer_batch(1, Ok(()));
    assert_eq!(stage.sleep(), Some(Duration::ZERO));
    stage.settle();
    assert_eq!((&stage.batches[..], stage.sleep()), (&[1, 2][..], late));
}

#[test]
fn fault_e09_a_hanging_disk_and_its_recovery_are_each_reported_once() {
    for stops in [false, true] {
        let mut stage = Stage::new(idle());
        stage.engine.state.ban_by_request(host(1).ip(), None).unwrap();
        stage.settle();
        if stops {
            stage.stop();
        }
        assert_eq!(stage.settle(), Wait::Until(stage.engine.state.clocks.now().plus(MAX_BOOK_ANSWER)));
        stage.pass(MAX_BOOK_ANSWER);
        stage.engine.run_manager();
        let failing = ControlEvent::BookFailing { error: Arc::new(StoreError::NoAnswer) };
        assert_eq!(stage.engine.state.outbox.take_events(), [failing]);
        assert_eq!(stage.settle(), Wait::Forever, "a wake-up is due before the result");
        stage.sleep_for(3 * MAX_BOOK_ANSWER);
        assert_eq!(stage.engine.state.telemetry.counters.persist_failures, 1, "the hang was not counted exactly once");
        stage.answer_batch(1, Ok(()));
        assert_eq!(stage.engine.state.outbox.take_events().last(), Some(&ControlEvent::BookRecovered));
    }
}

#[test]
fn our_own_address_in_the_fixed_list_is_reported_once() {
    let own = host(3);
    let mut stage = Stage::new(ManagerConfig { mode: DialMode::Fixed(vec![own]), ..manager() });
    stage.engine.state.manager.as_mut().unwrap().listens_on(own);
    stage.engine.run_manager();
    let held_back = ControlEvent::DialsHeldBack { cause: DialHold::OwnAddress };
    assert_eq!(stage.engine.state.outbox.take_events(), [held_back]);
    stage.pass(BARRED_RECHECK);
    stage.engine.run_manager();
    assert_eq!(stage.engine.state.outbox.take_events(), []);
}

#[test]
fn an_expiring_ban_wakes_the_loop() {
    let mut stage = Stage::new(idle());
    let minute = Duration::from_secs(60);
    stage.engine.state.ban_by_request(host(1).ip(), Some(minute)).unwrap();
    stage.settle();
    stage.answer_batch(1, Ok(()));
    assert_eq!(stage.sleep(), Some(minute));
    stage.pass(minute);
    assert_eq!(stage.engine.state.bans(), Ok(Vec::new()));
    stage.settle();
    stage.answer_batch(2, Ok(()));
    assert_eq!(stage.sleep(), None);
}

#[test]
fn a_stopping_loop_only_writes_the_book() {
    let mut stage = Stage::new(asking());
    stage.remember(&[host(1)], PeerStatus::Valid);
    stage.engine.state.ban_by_request(host(2).ip(), Some(Duration::from_secs(1))).unwrap();
    stage.stop();
    stage.settle();
    assert_eq!((stage.links(), stage.questions.len(), stage.batches.len()), (vec![], 0, 1));
    assert_eq!(stage.sleep(), Some(MAX_BOOK_ANSWER));
    stage.pass(Duration::from_secs(7_200));
    assert_eq!((stage.settle(), stage.is_durable()), (Wait::Forever, false));
    stage.answer_batch(1, Ok(()));
    assert_eq!((stage.settle(), stage.is_durable()), (Wait::Forever, true));
}

#[test]
fn without_a_free_row_the_loop_sleeps_until_one_is_free() {
    let mut stage = Stage::new(manager());
    stage.engine.state.config.max_links = 2;
    stage.engine.state.config.max_inbound = 0;
    let visitors = [host(1), host(2)].map(|visitor| stage.engine.accept(visitor).expect("there is a row"));
    visitors.iter().for_each(|id| stage.engine.handshake(*id).tcp_connected(&mut NoHandler));
    stage.remember(&[host(3)], PeerStatus::Valid);
    stage.settle();
    assert_eq!(
        (stage.links(), stage.sleep()),
        (visitors.to_vec(), None),
        "a link was opened or closed, or a wake-up is planned, although no row is free"
    );
    stage.engine.state.links.abort(visitors[0], Disconnect::Done.into());
    stage.settle();
    assert_eq!(stage.links().len(), 2, "no peer was dialled, although a row is free");
    stage.assert_accounts();
}

#[test]
fn each_evicted_peer_frees_exactly_one_slot() {
    const PEERS: u8 = 30;
    let mut stage =
        Stage::new(ManagerConfig { target_peers: 1, max_peers: PEERS.into(), evict_inbound: true, ..manager() });
    let visit = |stage: &mut Stage, numbers: std::ops::Range<u8>| {
        for number in numbers {
            let id = stage.engine.accept(host(number)).expect("a peer can be evicted");
            stage.engine.handshake(id).tcp_connected(&mut NoHandler);
        }
    };
    visit(&mut stage, 0..PEERS);
    stage.settle();
    visit(&mut stage, PEERS..PEERS + 4);
    let slots_in_use = |stage: &Stage| stage.engine.state.manager.as_ref().map(|manager| manager.dialler.slots.taken());
    assert_eq!(
        slots_in_use(&stage),
        Some(usize::from(PEERS) + 4),
        "before the turn's end, an evicted or a new peer has no slot"
    );
    stage.settle();
    assert_eq!((stage.links().len(), stage.engine.state.telemetry.counters.refused), (PEERS.into(), 0));
    stage.assert_accounts();
}

#[test]
fn evictions_are_limited_per_turn() {
    const PEERS: u8 = 60;
    const EVICTED: u8 = EVICTIONS_PER_TURN as u8;
    let mut stage =
        Stage::new(ManagerConfig { target_peers: 1, max_peers: PEERS.into(), evict_inbound: true, ..manager() });
    let visit = |stage: &mut Stage, numbers: std::ops::Range<u8>| {
        for number in numbers {
            let id = stage.engine.accept(host(number)).expect("there are rows");
            stage.engine.handshake(id).tcp_connected(&mut NoHandler);
        }
        let census = &stage.engine.state.telemetry.census;
        let counted = census.of_type(ConnectionType::OverCapacity);
        stage.settle();
        counted
    };
    assert_eq!(visit(&mut stage, 0..PEERS), 0);
    assert_eq!(visit(&mut stage, PEERS..PEERS + EVICTED + 3), 3, "too few or too many arrivals are over capacity");
    let second = PEERS + EVICTED + 3;
    assert_eq!(
        visit(&mut stage, second..second + EVICTED),
        3,
        "the number of peers over capacity changed in the second visit"
    );
    stage.assert_accounts();
}

// --- A changed configuration ----------------------------------------------------------------------------------------

impl Stage {
    fn reconfigure(&mut self, manager: ManagerConfig) {
        let config = Config { manager: Some(manager), ..self.engine.state.config.clone() };
        self.engine.update_config(config, false).unwrap();
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.engine.state.links.table.iter().map(|(_, link)| link.peer.address()).collect()
    }
}

fn fixed(numbers: std::ops::Range<u8>) -> ManagerConfig {
    ManagerConfig { mode: DialMode::Fixed(numbers.map(host).collect()), ..manager() }
}

#[test]
fn after_a_pause_only_the_addresses_left_in_a_shortened_fixed_list_are_dialled() {
    let mut stage = Stage::new(fixed(0..6));
    stage.fate = Fate::NoDescriptors;
    stage.settle();
    assert_eq!((stage.links(), stage.sleep()), (vec![], Some(DIAL_PAUSE_FIRST)));
    stage.reconfigure(fixed(4..5));
    stage.settle();
    assert_eq!((stage.links(), stage.sleep()), (vec![], Some(DIAL_PAUSE_FIRST)), "the new list changed the pause");
    stage.pass(DIAL_PAUSE_FIRST);
    stage.fate = Fate::Undecided;
    stage.settle();
    assert_eq!((stage.addresses(), stage.sleep()), (vec![host(4)], None));
}

#[test]
fn a_running_dial_continues_when_its_address_is_removed_from_the_fixed_list() {
    let mut stage = Stage::new(fixed(0..4));
    stage.settle();
    assert_eq!(stage.links().len(), 4);
    stage.reconfigure(fixed(0..1));
    stage.settle();
    assert_eq!(stage.links().len(), 4, "the shorter list ended a running dial");
    stage.pass(stage.engine.state.config.connect_timeout);
    stage.settle();
    assert_eq!(stage.links(), []);
    stage.assert_accounts();
    for _ in 0..30 {
        stage.pass(stage.sleep().expect("the remaining address is dialled again"));
        stage.settle();
        assert!(stage.addresses().iter().all(|address| *address == host(0)));
        stage.pass(stage.engine.state.config.connect_timeout + TICK);
        stage.settle();
    }
}

#[test]
fn a_banned_peer_that_is_no_longer_trusted_is_closed() {
    let mut stage = Stage::new(trusting(host(1)));
    let links = [host(1), host(2)].map(|address| stage.engine.accept(address).expect("there is a slot"));
    links.iter().for_each(|id| stage.engine.handshake(*id).tcp_connected(&mut NoHandler));
    stage.engine.state.ban_by_request(host(1).ip(), None).unwrap();
    stage.reconfigure(ManagerConfig { target_peers: 5, ..trusting(host(1)) });
    stage.settle();
    assert!(links.iter().all(|id| stage.engine.state.links.is_open(*id)), "a trusted host's ban closed a link");
    stage.reconfigure(manager());
    assert_eq!(links.map(|id| stage.engine.state.links.is_open(id)), [false, true]);
    stage.settle();
    stage.assert_accounts();
}

#[test]
fn a_banned_address_that_becomes_trusted_is_dialled() {
    let mut stage = Stage::new(manager());
    stage.engine.state.ban_by_request(host(1).ip(), None).unwrap();
    stage.remember(&[host(1)], PeerStatus::Banned(BanReason::Manual));
    stage.settle();
    assert_eq!(stage.links(), []);
    stage.reconfigure(trusting(host(1)));
    stage.settle();
    assert_eq!(stage.addresses(), [host(1)]);
}

// --- A full list of bans --------------------------------------------------------------------------------------------

#[test]
fn a_ban_without_room_is_refused_and_a_displaced_ban_is_reported() {
    let mut stage = Stage::new(manager());
    let number = |number: usize| IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + number as u32));
    let minute = Some(Duration::from_secs(60));
    stage.engine.state.ban_by_request(number(0), minute).unwrap();
    (1..MAX_BANS).for_each(|host| stage.engine.state.ban_by_request(number(host), None).unwrap());
    assert_eq!(
        stage.engine.state.ban_by_request(number(MAX_BANS), None),
        Ok(()),
        "the permanent ban was refused, although it ranks above the one-minute ban"
    );
    let unbanned = ControlEvent::PeerUnbanned { host: Host::of(number(0)) };
    assert_eq!(stage.engine.state.outbox.take_events(), [unbanned]);
    assert_eq!(stage.engine.state.ban_by_request(number(0), None), Err(RequestError::BansFull));
    assert_eq!(
        stage.engine.state.ban_by_request(number(0), Some(Duration::ZERO)),
        Ok(()),
        "the ban of zero length was refused, although it needs no room"
    );
    assert_eq!(stage.engine.state.bans().map(|bans| bans.len()), Ok(MAX_BANS));
}
