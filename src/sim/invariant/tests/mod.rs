//! Tests that give every check a state that breaks its invariant and no other. They fail if a check finds nothing.

mod book;
mod calls;

use super::bounds::Bounds;
use super::ledger::Ledger;
use super::saved::Disk;
use super::sight::{Memory, SweepSight, TurnSight};
use super::turn::{self, MAX_UNREAD_TURNS};
use super::{
    Checked, Draw, EndingStep, INVARIANTS, Inspection, LinkReport, ManagerReport, ManagerSummary, Summary, When,
    checked, manager_checks, outside, sweep,
};
use crate::address::Host;
use crate::config::{Config, ManagerConfig, Multistreams};
use crate::handler::{Ctx, Handler};
use crate::id::LinkId;
use crate::limits::{
    BUFFER_GROWTH_BYTES, EXPIRIES_PER_TURN, MAX_BANS, MAX_BOOK_PEERS, MAX_OVER_CAPACITY, MAX_PINGS_OUTSTANDING,
    MAX_SEND_QUEUE_BYTES, READ_BLOCK_BYTES, TICK, UNREAD_INPUT_GRACE, UNREAD_REPLIES_PAUSE_BYTES,
};
use crate::peer::{ConnectionState, ConnectionType};
use crate::protocol::Network;
use crate::sim::kernel::{EndView, HostView};
use crate::sim::{Driver, World};
use crate::stats::Census;
use crate::time::{Instant, Wait};
use crate::wheel::tick_at_or_after;
use crate::wire::StreamType;
use std::collections::BTreeSet;
use std::net::SocketAddr;

const ADDRESS: &str = "10.0.0.1:18444";

/// A handler that dials this many times when its loop starts.
struct Dialler(usize);

impl Handler for Dialler {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..self.0 {
            ctx.connect(ADDRESS.parse().expect("the address is valid")).expect("the table has room");
        }
    }
}

fn config() -> Config {
    Config { seed: Some(1), ..Config::new(Network::Regtest) }
}

fn managed() -> Config {
    Config { manager: Some(ManagerConfig::new(Network::Regtest)), ..config() }
}

fn host(world: &World, config: Config, dials: usize) -> Checked<Dialler> {
    Checked::new(world, world.host(), config, Dialler(dials)).expect("the configuration is valid")
}

/// An acceptor with two ready peers and nothing to do, as a sweep sees it.
struct Scene {
    inspection: Inspection,
    ledger: Ledger,
    host: HostView,
    open_sockets: usize,
    settled: Instant,
    memory: Memory,
    disk: Disk,
}

impl Scene {
    fn new() -> Self {
        Self::of(config(), 2)
    }

    /// Returns an acceptor with one ready peer that has two streams.
    fn with_streams() -> Self {
        Self::of(config().with_multistreams(Multistreams::Open), 1)
    }

    /// Returns an acceptor whose two links are `dials` peers of a dialler with this configuration.
    fn of(dialler: Config, dials: usize) -> Self {
        let world = World::new(1, Instant::ZERO);
        let (mut acceptor, mut dialler) = (host(&world, managed(), 0), host(&world, dialler, dials));
        acceptor.listen(ADDRESS.parse::<SocketAddr>().expect("the address is valid")).expect("the address is free");
        Driver::new(&world)
            .run_until(Instant::from_nanos(1), &mut [&mut acceptor, &mut dialler])
            .expect("the loops become idle");
        acceptor.sweep();
        assert_eq!(acceptor.violations(), []);
        let inspection = acceptor.inspect();
        assert_eq!((inspection.summary.ready_count, inspection.links.len()), (dials, 2));
        let mut ledger = Ledger::new(Bounds::of(&config()));
        for link in &inspection.links {
            ledger.opened_socket(link.id, false);
        }
        ledger.turn = 100;
        Self {
            host: world.view_of(0),
            open_sockets: acceptor.net().open_connections(),
            settled: inspection.summary.now,
            memory: Memory::default(),
            disk: Disk::default(),
            inspection,
            ledger,
        }
    }

    fn link(&mut self) -> &mut LinkReport {
        &mut self.inspection.links[0]
    }

    /// Returns the second link of a peer with two streams.
    fn stream(&mut self) -> &mut LinkReport {
        self.inspection.links.iter_mut().find(|link| !link.is_peer).expect("the peer has two streams")
    }

    fn manager(&mut self) -> &mut ManagerReport {
        self.inspection.manager.as_mut().expect("the acceptor has a manager")
    }

    /// Makes both peers look dialled, at these two addresses.
    fn dial(&mut self, addresses: [&str; 2]) {
        let summary = &mut self.inspection.summary;
        (summary.inbound, summary.connections) = (0, Census::default());
        (0..2).for_each(|_| summary.connections.add(ConnectionType::Outbound, ConnectionState::Connected));
        let addresses = addresses.map(|address| address.parse::<SocketAddr>().expect("the address is valid"));
        let links = &mut self.inspection.links;
        for (link, address) in links.iter_mut().zip(addresses) {
            (link.address, link.connection_type) = (address, ConnectionType::Outbound);
        }
        let mut claims: Vec<_> = links.iter().map(|link| (link.address, link.id)).collect();
        claims.sort_unstable();
        let mut connections = Census::default();
        links.iter().for_each(|link| connections.add(link.connection_type, link.state));
        self.inspection.summary.connections = connections;
        self.manager().claims = claims;
    }

    fn end(&mut self) -> &mut EndView {
        let id = self.inspection.links[0].id;
        self.host.ends.iter_mut().find(|end| end.link == id).expect("the link is registered")
    }

    /// Fills the first link's queue with this many bytes, for which the kernel has no room.
    fn queue(&mut self, bytes: usize) {
        self.end().is_writable = false;
        let link = self.link();
        link.is_writable = false;
        (link.outgoing.waiting_bytes, link.outgoing.recounted_bytes) = (bytes, bytes);
        (self.inspection.summary.send_queues, self.inspection.summary.waiting_bytes) = (1, bytes as u64);
    }

    /// Changes the first link's state, and the counts of links by state.
    fn put(&mut self, state: ConnectionState) {
        let LinkReport { connection_type, state: before, .. } = *self.link();
        let summary = &mut self.inspection.summary;
        summary.connections.moved(connection_type, before, state);
        summary.ready_count = summary.connections.in_state(ConnectionState::Connected);
        self.link().state = state;
    }

    /// Returns the invariant's number and the check's index for each check that fails.
    fn broken(&self) -> Vec<(u8, usize)> {
        let sight = SweepSight {
            inspection: &self.inspection,
            ledger: &self.ledger,
            host: &self.host,
            open_sockets: self.open_sockets,
            settled: self.settled,
            memory: &self.memory,
            disk: Some(&self.disk),
        };
        let checks = sweep::CHECKS.iter().chain(&outside::CHECKS).chain(&manager_checks::CHECKS).enumerate();
        checks.filter(|(_, (_, check))| check(&sight).is_err()).map(|(at, (number, _))| (*number, at)).collect()
    }
}

type Doctored = (u8, fn(&mut Scene));

const SWEEPS: &[Doctored] = &[
    (1, |scene| scene.inspection.summary.links += 1),
    (1, |scene| scene.inspection.summary.connections.add(ConnectionType::Inbound, ConnectionState::Connected)),
    (1, |scene| scene.inspection.summary.inbound -= 1),
    (1, |scene| scene.inspection.summary.over_capacity += 1),
    (1, |scene| scene.inspection.summary.ready_count += 1),
    (1, |scene| scene.inspection.occupied_slots += 1),
    (1, |scene| scene.inspection.retired_slots += 1),
    (1, |scene| scene.inspection.slots = 1),
    (2, |scene| scene.end().link = LinkId::new(9, 0)),
    (2, |scene| scene.ledger.opened_socket(LinkId::new(0, 1), false)),
    (2, |scene| {
        let id = LinkId::new(0, 1);
        let before = std::mem::replace(&mut scene.link().id, id);
        scene.manager().claims.iter_mut().filter(|(_, link)| *link == before).for_each(|(_, link)| *link = id);
    }),
    (3, |scene| scene.open_sockets += 1),
    (3, |scene| scene.host.listeners.clear()),
    (3, |scene| scene.host.sockets += 1),
    (7, |scene| scene.link().is_readable = true),
    (7, |scene| scene.end().is_readable = true),
    (7, |scene| (scene.end().is_readable, scene.end().will_be_writable) = (true, true)),
    (8, |scene| {
        scene.queue(1);
        scene.link().is_writable = true;
    }),
    (8, |scene| {
        scene.queue(1);
        scene.end().is_writable = true;
    }),
    (9, |scene| scene.link().is_ready = true),
    (9, |scene| scene.link().is_dirty = true),
    (9, |scene| scene.link().is_closing = true),
    (9, |scene| scene.link().is_pull = true),
    (9, |scene| scene.inspection.closing = vec![scene.inspection.links[0].id]),
    (9, |scene| {
        scene.link().is_ready = true;
        scene.inspection.ready = vec![scene.inspection.links[0].id; 2];
    }),
    (10, |scene| {
        scene.inspection.listeners[0].is_ready = false;
        scene.host.listeners[0].waiting = 1;
    }),
    (12, |scene| skipped(scene, 0)),
    (13, |scene| {
        scene.link().gathering_bytes = BUFFER_GROWTH_BYTES + 1;
        scene.inspection.summary.gathered_bytes = BUFFER_GROWTH_BYTES as u64 + 1;
    }),
    (13, |scene| scene.inspection.summary.gathered_bytes = 1),
    (14, |scene| {
        scene.queue(1);
        scene.link().outgoing.recounted_bytes = 2;
        scene.inspection.summary.waiting_bytes = 2;
    }),
    (14, |scene| scene.inspection.summary.send_queues = 1),
    (14, |scene| scene.inspection.summary.waiting_bytes = 1),
    (14, |scene| scene.queue(MAX_SEND_QUEUE_BYTES + UNREAD_REPLIES_PAUSE_BYTES + READ_BLOCK_BYTES + 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.services += 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.protocol_version -= 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.max_recv_payload_bytes += 1)),
    (19, |scene| {
        agreed_before(scene, |_| {});
        scene.link().agreed.protoconf_received = false;
    }),
    (20, |scene| scene.settled = scene.inspection.links[0].ping_due.plus(TICK)),
    (20, |scene| {
        scene.put(ConnectionState::AwaitingHandshake);
        scene.settled = Instant::ZERO.plus(UNREAD_INPUT_GRACE).plus(TICK);
        let link = scene.link();
        link.handshake_deadline = Some(Instant::ZERO);
    }),
    (21, |scene| scene.inspection.summary.timers += 1),
    (21, |scene| {
        scene.link().armed_tick = None;
        scene.inspection.summary.timers -= 1;
    }),
    (21, |scene| {
        let link = scene.link();
        link.armed_tick = Some(tick_at_or_after(link.deadline) + 1);
    }),
    (21, |scene| {
        scene.settled = Instant::ZERO.plus(UNREAD_INPUT_GRACE).plus(TICK);
        let link = scene.link();
        (link.deadline, link.armed_tick) = (Instant::ZERO, Some(0));
    }),
    (23, |scene| scene.link().pings = MAX_PINGS_OUTSTANDING + 1),
    (42, |scene| scene.link().is_pull_due = true),
    (24, |scene| scene.inspection.summary.manager.as_mut().expect("the acceptor has a manager").slots_in_use -= 1),
    (24, |scene| scene.manager().hosts += 1),
    (24, |scene| scene.manager().groups += 1),
    (24, |scene| scene.link().counted.0 = 1),
    (24, |scene| scene.link().counted.1 = 3),
    (25, |scene| scene.link().is_banned = true),
    (27, |scene| scene.dial(["10.0.0.2:1"; 2])),
    (27, |scene| scene.manager().claims.clear()),
    (27, |scene| {
        let address = scene.link().address;
        scene.manager().claims.push((address, LinkId::new(9, 0)));
    }),
];

/// Faults of a peer with two streams.
const STREAM_SWEEPS: &[Doctored] = &[
    (46, |scene| scene.stream().peer = LinkId::new(9, 0)),
    (46, |scene| scene.stream().ending = EndingStep::Draining),
    (46, |scene| scene.link().ending = EndingStep::Lingering),
    (46, |scene| {
        scene.link().ending = EndingStep::Lingering;
        scene.stream().is_opening = true;
    }),
    (46, |scene| scene.stream().stream_type = StreamType::General),
];

/// Correct states of a peer with two streams.
const HARMLESS_STREAM_SWEEPS: &[fn(&mut Scene)] = &[
    |_| {},
    |scene| {
        scene.link().ending = EndingStep::Draining;
        scene.stream().ending = EndingStep::AwaitingStreams;
    },
    |scene| {
        scene.stream().is_opening = true;
        scene.stream().ending = EndingStep::Lingering;
    },
    |scene| {
        scene.stream().is_opening = true;
        scene.stream().stream_type = StreamType::General;
    },
];

/// Correct states that resemble faults.
const HARMLESS_SWEEPS: &[fn(&mut Scene)] = &[
    |scene| (scene.link().is_readable, scene.link().is_held) = (true, true),
    |scene| (scene.end().is_readable, scene.end().will_be_readable) = (true, true),
    |scene| scene.queue(MAX_SEND_QUEUE_BYTES + UNREAD_REPLIES_PAUSE_BYTES + READ_BLOCK_BYTES),
    |scene| {
        scene.queue(1);
        (scene.end().is_writable, scene.end().will_be_writable) = (true, true);
    },
    |scene| scene.inspection.ready = vec![LinkId::new(0, 77)],
    |scene| (scene.host.listeners[0].waiting, scene.host.listeners[0].has_edge) = (1, true),
    |scene| {
        scene.inspection.listeners[0].is_ready = false;
        scene.inspection.listeners[0].retry_at = Some(Instant::ZERO);
        scene.host.listeners[0].waiting = 1;
    },
    |scene| scene.dial(["10.0.0.2:1", "10.0.0.2:2"]),
    |scene| skipped(scene, 100),
    |scene| {
        skipped(scene, 0);
        scene.ledger.read(scene.inspection.links[0].id, 1);
    },
    |scene| {
        skipped(scene, 0);
        scene.memory.at = Instant::from_nanos(5);
        scene.link().held_since = Instant::from_nanos(5);
    },
    |scene| {
        agreed_before(scene, |before| {
            before.agreed.protoconf_received = false;
            before.agreed.max_recv_payload_bytes += 1;
        });
    },
    |scene| {
        scene.queue(2 * MAX_SEND_QUEUE_BYTES);
        scene.link().outgoing.largest_bytes = MAX_SEND_QUEUE_BYTES;
    },
];

/// Puts the first link at `position` of the last sweep's read list, and keeps the link unread since then. The link has
/// waited too long only if `position` is 0.
fn skipped(scene: &mut Scene, position: usize) {
    let id = scene.inspection.links[0].id;
    scene.memory.ready = vec![LinkId::new(50, 0); position];
    scene.memory.ready.push(id);
    scene.memory.turn = scene.ledger.turn - MAX_UNREAD_TURNS - 1;
    scene.link().is_ready = true;
    scene.inspection.ready = vec![id];
}

fn agreed_before(scene: &mut Scene, change: fn(&mut LinkReport)) {
    let mut before = scene.inspection.clone();
    change(&mut before.links[0]);
    scene.memory = Memory::default().of(&before, 1);
}

#[test]
fn a_sweep_names_only_the_invariant_that_is_broken() {
    assert_eq!(Scene::new().broken(), []);
    let mut hit = BTreeSet::new();
    let of_one_stream = SWEEPS.iter().chain(book::SWEEPS).map(|case| (Scene::new as fn() -> Scene, case));
    let of_streams = STREAM_SWEEPS.iter().map(|case| (Scene::with_streams as fn() -> Scene, case));
    for (index, (build, (number, doctor))) in of_one_stream.chain(of_streams).enumerate() {
        let mut scene = build();
        doctor(&mut scene);
        let broken = scene.broken();
        assert_eq!(broken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [*number], "case {index}");
        hit.extend(broken.iter().map(|(_, at)| *at));
    }
    let checks = sweep::CHECKS.len() + outside::CHECKS.len() + manager_checks::CHECKS.len();
    assert_eq!(hit.len(), checks, "only these checks failed: {hit:?}");
}

#[test]
fn a_sweep_finds_nothing_in_correct_states() {
    for (index, doctor) in HARMLESS_SWEEPS.iter().chain(book::HARMLESS_SWEEPS).enumerate() {
        let mut scene = Scene::new();
        doctor(&mut scene);
        assert_eq!(scene.broken(), [], "case {index}");
    }
    for (index, doctor) in HARMLESS_STREAM_SWEEPS.iter().enumerate() {
        let mut scene = Scene::with_streams();
        doctor(&mut scene);
        assert_eq!(scene.broken(), [], "case {index} with streams");
    }
}

#[test]
fn a_connect_that_has_ended_without_an_event_is_reported() {
    let mut scene = Scene::new();
    scene.put(ConnectionState::Connecting);
    assert_eq!(scene.broken().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8]);
    scene.end().will_be_writable = true;
    assert_eq!(scene.broken(), []);
}

/// A turn without events.
struct Turn {
    before: Summary,
    after: Summary,
    bounds: Bounds,
    reported_ready: u64,
    reported_closed: u64,
    next_unread_turns: u64,
    undurable: Vec<Host>,
    misdated_pings: Vec<(LinkId, Option<Instant>)>,
    missing_writable: Vec<LinkId>,
    missing_written: Vec<LinkId>,
    survivors: Vec<LinkId>,
    granted: Option<u64>,
}

impl Turn {
    fn new() -> Self {
        let summary = Scene::new().inspection.summary;
        Self {
            reported_ready: summary.counters.handshakes,
            reported_closed: summary.counters.closed,
            before: summary.clone(),
            after: summary,
            bounds: Bounds::of(&config()),
            next_unread_turns: MAX_UNREAD_TURNS,
            undurable: Vec::new(),
            misdated_pings: Vec::new(),
            missing_writable: Vec::new(),
            missing_written: Vec::new(),
            survivors: Vec::new(),
            granted: Some(0),
        }
    }

    fn broken(&self) -> Vec<(u8, usize)> {
        let Self { ref before, ref after, ref bounds, reported_ready, reported_closed, next_unread_turns, .. } = *self;
        let Self { ref undurable, ref misdated_pings, ref missing_writable, ref missing_written, .. } = *self;
        let Self { ref survivors, granted, .. } = *self;
        let sight = TurnSight {
            before,
            after,
            bounds,
            reported_ready,
            reported_closed,
            next_unread_turns,
            undurable,
            misdated_pings,
            missing_writable,
            missing_written,
            survivors,
            granted,
        };
        let checks = turn::CHECKS.iter().enumerate();
        checks.filter(|(_, (_, check))| check(&sight).is_err()).map(|(at, (number, _))| (*number, at)).collect()
    }
}

type DoctoredTurn = (u8, fn(&mut Turn));

const TURNS: &[DoctoredTurn] = &[
    (1, |turn| turn.after.links += 1),
    (1, |turn| turn.after.ready_count += 1),
    (1, |turn| turn.after.over_capacity += 1),
    (1, |turn| turn.bounds.max_links = 1),
    (9, |turn| turn.after.wait = Wait::Zero),
    (9, |turn| turn.after.ready = 1),
    (9, |turn| turn.after.dirty = 1),
    (9, |turn| turn.after.closing = 1),
    (9, |turn| turn.after.pulls = 1),
    (9, |turn| turn.after.dials = 1),
    (9, |turn| turn.after.has_more = true),
    (11, |turn| turn.after.counters.timeouts += EXPIRIES_PER_TURN as u64 + 1),
    (11, |turn| turn.after.counters.timers_rearmed += EXPIRIES_PER_TURN as u64 + 1),
    (11, |turn| turn.after.counters.bytes_received += 2 * READ_BLOCK_BYTES as u64 + 1),
    (11, |turn| turn.after.counters.frames_received += 3),
    (12, |turn| turn.next_unread_turns += 1),
    (13, |turn| turn.after.gathered_bytes = turn.bounds.max_gathered_bytes + 1),
    (21, |turn| turn.after.timers = turn.after.links + 1),
    (22, |turn| {
        let due = Some(Instant::ZERO);
        (turn.before.handler_timer_at, turn.after.handler_timer_at) = (due, due);
        turn.after.wait = Wait::Until(Instant::ZERO);
    }),
    (22, |turn| turn.after.handler_timer_at = Some(Instant::ZERO)),
    (22, |turn| (turn.before.wake_at, turn.after.wake_at) = (Some(Instant::ZERO), Some(Instant::ZERO))),
    (23, |turn| turn.after.counters.pongs_received = turn.after.counters.pings_sent + 1),
    (24, |turn| turn.bounds.max_inbound = 1),
    (24, |turn| {
        turn.after.over_capacity = MAX_OVER_CAPACITY + 1;
        turn.after.links += MAX_OVER_CAPACITY;
        turn.after.counters.accepted += MAX_OVER_CAPACITY as u64;
        turn.after.inbound = 0;
    }),
    (29, |turn| turn.reported_ready += 1),
    (24, |turn| manages(turn, |after| after.slots_in_use = 4)),
    (24, |turn| {
        manages(turn, |after| {
            after.drawn = vec![Draw { address: ADDRESS.parse().expect("the address is valid"), slots_in_use: 3 }];
        });
    }),
    (25, |turn| manages(turn, |after| after.bans = MAX_BANS + 1)),
    (25, |turn| manages(turn, |after| after.unannounced_bans = 1)),
    (29, |turn| turn.reported_closed += 1),
    (30, |turn| turn.undurable = vec![Host::of("192.0.2.1".parse().expect("the address is valid"))]),
    (31, |turn| manages(turn, |after| after.book = MAX_BOOK_PEERS + 1)),
    (31, |turn| turn.after.counters.addresses_learned = 1),
    (40, |turn| turn.misdated_pings = vec![(LinkId::new(0, 0), None)]),
    (41, |turn| turn.missing_writable = vec![LinkId::new(0, 0)]),
    (45, |turn| turn.missing_written = vec![LinkId::new(0, 0)]),
    (46, |turn| turn.survivors = vec![LinkId::new(0, 0)]),
];

/// Gives the loop a manager, all of whose slots are in use before the turn. `doctor` sets the manager's state after
/// the turn.
fn manages(turn: &mut Turn, doctor: fn(&mut ManagerSummary)) {
    let mut summary = ManagerSummary { slots_in_use: 3, max_slots: 3, target: 2, ..ManagerSummary::default() };
    turn.before.manager = Some(summary.clone());
    doctor(&mut summary);
    turn.after.manager = Some(summary);
}

#[test]
fn the_checks_of_a_turn_name_only_the_invariant_that_is_broken() {
    assert_eq!(Turn::new().broken(), []);
    let mut hit = BTreeSet::new();
    for (index, (number, doctor)) in TURNS.iter().enumerate() {
        let mut turn = Turn::new();
        doctor(&mut turn);
        let broken = turn.broken();
        assert_eq!(broken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [*number], "case {index}");
        hit.extend(broken.iter().map(|(_, at)| *at));
    }
    assert_eq!(hit.len(), turn::CHECKS.len(), "only these checks failed: {hit:?}");
}

#[test]
fn a_stopped_loop_that_has_not_released_everything_is_reported() {
    let mut nothing = Scene::new().inspection;
    assert!(checked::end(&nothing).is_err());
    nothing.links.clear();
    nothing.listeners.clear();
    (nothing.summary.timers, nothing.summary.ready_count, nothing.summary.inbound) = (0, 0, 0);
    nothing.summary.connections = Census::default();
    nothing.summary.manager = Some(ManagerSummary::default());
    nothing.manager.as_mut().expect("the acceptor has a manager").claims.clear();
    assert_eq!(checked::end(&nothing), Ok(()));
    let left: [fn(&mut Inspection); 13] = [
        |left| left.links = Scene::new().inspection.links,
        |left| left.listeners = Scene::new().inspection.listeners,
        |left| left.dials.push(LinkId::new(0, 0)),
        |left| left.manager = Scene::new().inspection.manager,
        |left| left.summary.manager = Scene::new().inspection.summary.manager,
        |left| left.summary.timers = 1,
        |left| left.summary.ready_count = 1,
        |left| left.summary.over_capacity = 1,
        |left| left.summary.gathered_bytes = 1,
        |left| left.summary.connections.add(ConnectionType::Outbound, ConnectionState::Connecting),
        |left| left.summary.waiting_bytes = 1,
        |left| left.summary.marked_links = 1,
        |left| left.summary.links_with_facts = 1,
    ];
    for doctor in left {
        let mut left = nothing.clone();
        doctor(&mut left);
        assert!(checked::end(&left).is_err(), "{left:?}");
    }
}

#[test]
fn the_table_equals_its_documentation() {
    let page = include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows: Vec<&str> = page.filter(|row| row.starts_with(|first: char| first.is_ascii_digit())).collect();
    let table = INVARIANTS.map(|invariant| {
        let checked: Vec<String> = invariant.checked.iter().map(ToString::to_string).collect();
        format!("{} | {} | {} |", invariant.number, invariant.holds, checked.join(", "))
    });
    assert_eq!(rows, table);
    assert_eq!(INVARIANTS.map(|invariant| invariant.number).to_vec(), (1..=46).collect::<Vec<u8>>());
}

#[test]
fn the_table_lists_when_each_invariant_is_checked() {
    let of_table = |when: When| -> BTreeSet<u8> {
        INVARIANTS.iter().filter(|invariant| invariant.checked.contains(&when)).map(|found| found.number).collect()
    };
    let numbers = |cases: &mut dyn Iterator<Item = u8>| -> BTreeSet<u8> { cases.collect() };
    assert_eq!(of_table(When::Call), numbers(&mut calls::CALLS.iter().map(|(number, _)| *number)));
    assert_eq!(of_table(When::Turn), numbers(&mut turn::CHECKS.iter().map(|(number, _)| *number)));
    let sweeps = sweep::CHECKS.iter().chain(&outside::CHECKS).chain(&manager_checks::CHECKS);
    assert_eq!(of_table(When::Sweep), numbers(&mut sweeps.map(|(number, _)| *number)));
    assert_eq!(of_table(When::End), BTreeSet::from([36]));
}
