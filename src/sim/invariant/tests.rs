//! Every check is given something that breaks its invariant, and nothing else, so that none can pass for want of
//! looking.

use super::ledger::Ledger;
use super::sweep::{self, Memory, SweepSight};
use super::turn::{self, TurnSight, UNREAD_TURNS_MAX};
use super::{Bounds, Checked, INVARIANTS, Inspection, LinkReport, Summary, When, checked, outside};
use crate::api::{Ctx, Delivery, Event, Handler};
use crate::config::Config;
use crate::error::{CloseReason, Deadline};
use crate::id::LinkId;
use crate::limits::{
    ACCEPTS_PER_TURN, BUFFER_GROWTH_BYTES, CLOSES_PER_TURN, DIALS_PER_TURN, EXPIRIES_PER_TURN, OVER_CAPACITY_MAX,
    PINGS_OUTSTANDING_MAX, READ_BLOCK_BYTES, SEND_QUEUE_MAX_BYTES, TICK, UNHEARD_GRACE, WRITES_PER_TURN,
};
use crate::peer::ConnectionState;
use crate::protocol::{CommandName, Network};
use crate::sim::kernel::{EndView, HostView};
use crate::sim::{Driver, World};
use crate::time::{Instant, Wait};
use crate::wheel::tick_at_or_after;
use crate::wire::Header;
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

const ADDRESS: &str = "10.0.0.1:18444";

/// Dials as often as it is told.
struct Dialler(usize);

impl Handler for Dialler {
    type Command = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..self.0 {
            ctx.connect(ADDRESS.parse().expect("an address")).expect("there is room");
        }
    }
}

fn config() -> Config {
    Config { seed: Some(1), ..Config::new(Network::Regtest) }
}

fn host(world: &World, dials: usize) -> Checked<Dialler> {
    Checked::new(world, world.host(), config(), Dialler(dials)).expect("the configuration is valid")
}

/// An acceptor with two ready peers and nothing to do, as a sweep sees it.
struct Scene {
    inspection: Inspection,
    ledger: Ledger,
    host: HostView,
    open_sockets: usize,
    settled: Instant,
    memory: Memory,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(1, Instant::ZERO);
        let (mut acceptor, mut dialler) = (host(&world, 0), host(&world, 2));
        acceptor.listen(ADDRESS.parse::<SocketAddr>().expect("an address")).expect("the address is free");
        Driver::new(&world)
            .run_until(Instant::from_nanos(1), &mut [&mut acceptor, &mut dialler])
            .expect("the loops come to rest");
        acceptor.sweep();
        assert_eq!(acceptor.violations(), []);
        let inspection = acceptor.inspect();
        assert_eq!(inspection.summary.ready_peers, 2);
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
            inspection,
            ledger,
        }
    }

    fn link(&mut self) -> &mut LinkReport {
        &mut self.inspection.links[0]
    }

    fn end(&mut self) -> &mut EndView {
        let id = self.inspection.links[0].id;
        self.host.ends.iter_mut().find(|end| end.link == id).expect("the link is registered")
    }

    /// A queue with `bytes`, for which the kernel has no room.
    fn queue(&mut self, bytes: usize) {
        self.end().is_writable = false;
        let link = self.link();
        link.is_writable = false;
        (link.outgoing.waiting_bytes, link.outgoing.recounted_bytes) = (bytes, bytes);
    }

    /// The checks that fail, by their number and their place.
    fn broken(&self) -> Vec<(u8, usize)> {
        let sight = SweepSight {
            inspection: &self.inspection,
            ledger: &self.ledger,
            host: &self.host,
            open_sockets: self.open_sockets,
            settled: self.settled,
            memory: &self.memory,
        };
        let checks = sweep::CHECKS.iter().chain(&outside::CHECKS).enumerate();
        checks.filter(|(_, (_, check))| check(&sight).is_err()).map(|(at, (number, _))| (*number, at)).collect()
    }
}

type Doctored = (u8, fn(&mut Scene));

const SWEEPS: &[Doctored] = &[
    (1, |scene| scene.inspection.summary.links += 1),
    (1, |scene| scene.inspection.summary.inbound -= 1),
    (1, |scene| scene.inspection.summary.over_capacity += 1),
    (1, |scene| scene.inspection.summary.ready_peers += 1),
    (1, |scene| scene.inspection.occupied_slots += 1),
    (1, |scene| scene.inspection.retired_slots += 1),
    (1, |scene| scene.inspection.slots = 1),
    (2, |scene| scene.end().link = LinkId::new(9, 0)),
    (2, |scene| scene.ledger.opened_socket(LinkId::new(0, 1), false)),
    (2, |scene| scene.link().id = LinkId::new(0, 1)),
    (3, |scene| scene.open_sockets += 1),
    (3, |scene| scene.host.listeners.clear()),
    (7, |scene| scene.link().is_readable = true),
    (7, |scene| scene.end().is_readable = true),
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
    (9, |scene| scene.inspection.closing = vec![scene.inspection.links[0].id]),
    (9, |scene| {
        scene.link().is_ready = true;
        scene.inspection.ready = vec![scene.inspection.links[0].id; 2];
    }),
    (10, |scene| {
        scene.inspection.listeners[0].is_ready = false;
        scene.host.listeners[0].waiting = 1;
    }),
    (12, |scene| passed_over(scene, 0)),
    (13, |scene| {
        scene.link().gathering_bytes = BUFFER_GROWTH_BYTES + 1;
        scene.inspection.summary.gathered_bytes = BUFFER_GROWTH_BYTES as u64 + 1;
    }),
    (13, |scene| scene.inspection.summary.gathered_bytes = 1),
    (14, |scene| {
        scene.queue(1);
        scene.link().outgoing.recounted_bytes = 2;
    }),
    (14, |scene| scene.queue(SEND_QUEUE_MAX_BYTES + READ_BLOCK_BYTES + 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.services += 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.protocol_version -= 1)),
    (19, |scene| agreed_before(scene, |before| before.agreed.max_recv_payload_bytes += 1)),
    (19, |scene| {
        agreed_before(scene, |_| {});
        scene.link().agreed.protoconf_received = false;
    }),
    (20, |scene| scene.settled = scene.inspection.links[0].ping_due.plus(TICK)),
    (20, |scene| {
        scene.inspection.summary.ready_peers -= 1;
        scene.settled = Instant::ZERO.plus(UNHEARD_GRACE).plus(TICK);
        let link = scene.link();
        link.state = ConnectionState::AwaitingHandshake;
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
        scene.settled = Instant::ZERO.plus(UNHEARD_GRACE).plus(TICK);
        let link = scene.link();
        (link.deadline, link.armed_tick) = (Instant::ZERO, Some(0));
    }),
    (23, |scene| scene.link().pings = PINGS_OUTSTANDING_MAX + 1),
];

/// What looks alike and is right.
const HARMLESS_SWEEPS: &[fn(&mut Scene)] = &[
    |scene| (scene.link().is_readable, scene.link().is_held) = (true, true),
    |scene| (scene.end().is_readable, scene.end().has_edge) = (true, true),
    |scene| scene.queue(SEND_QUEUE_MAX_BYTES),
    |scene| {
        scene.queue(1);
        (scene.end().is_writable, scene.end().has_edge) = (true, true);
    },
    |scene| scene.inspection.ready = vec![LinkId::new(0, 77)],
    |scene| (scene.host.listeners[0].waiting, scene.host.listeners[0].has_edge) = (1, true),
    |scene| {
        scene.inspection.listeners[0].is_ready = false;
        scene.inspection.listeners[0].retry_at = Some(Instant::ZERO);
        scene.host.listeners[0].waiting = 1;
    },
    |scene| passed_over(scene, 100),
    |scene| {
        passed_over(scene, 0);
        scene.ledger.read(scene.inspection.links[0].id, 1);
    },
    |scene| {
        passed_over(scene, 0);
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
        scene.queue(2 * SEND_QUEUE_MAX_BYTES);
        scene.link().outgoing.largest_bytes = SEND_QUEUE_MAX_BYTES;
    },
];

/// The first link stood at `position` of the list and is still there, many turns later.
fn passed_over(scene: &mut Scene, position: usize) {
    let id = scene.inspection.links[0].id;
    scene.memory.ready = vec![LinkId::new(50, 0); position];
    scene.memory.ready.push(id);
    scene.memory.turn = scene.ledger.turn - UNREAD_TURNS_MAX - 1;
    scene.link().is_ready = true;
    scene.inspection.ready = vec![id];
}

fn agreed_before(scene: &mut Scene, change: fn(&mut LinkReport)) {
    let mut before = scene.inspection.clone();
    change(&mut before.links[0]);
    scene.memory = Memory::default().of(&before, 1);
}

#[test]
fn a_sweep_names_the_invariant_that_is_broken_and_no_other() {
    assert_eq!(Scene::new().broken(), []);
    let mut hit = BTreeSet::new();
    for (index, (number, doctor)) in SWEEPS.iter().enumerate() {
        let mut scene = Scene::new();
        doctor(&mut scene);
        let broken = scene.broken();
        assert_eq!(broken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [*number], "case {index}");
        hit.extend(broken.iter().map(|(_, at)| *at));
    }
    assert_eq!(hit.len(), sweep::CHECKS.len() + outside::CHECKS.len(), "each check has failed once: {hit:?}");
}

#[test]
fn a_sweep_finds_nothing_in_what_is_right() {
    for (index, doctor) in HARMLESS_SWEEPS.iter().enumerate() {
        let mut scene = Scene::new();
        doctor(&mut scene);
        assert_eq!(scene.broken(), [], "case {index}");
    }
}

#[test]
fn a_decided_connect_is_announced() {
    let mut scene = Scene::new();
    scene.inspection.summary.ready_peers -= 1;
    scene.link().state = ConnectionState::Connecting;
    assert_eq!(scene.broken().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8]);
    scene.end().has_edge = true;
    assert_eq!(scene.broken(), []);
}

/// A turn in which nothing happened.
struct Turn {
    before: Summary,
    after: Summary,
    bounds: Bounds,
    told_ready: u64,
    told_closed: u64,
    next_unread_turns: u64,
}

impl Turn {
    fn new() -> Self {
        let summary = Scene::new().inspection.summary;
        Self {
            told_ready: summary.counters.handshakes,
            told_closed: summary.counters.closed,
            before: summary.clone(),
            after: summary,
            bounds: Bounds::of(&config()),
            next_unread_turns: UNREAD_TURNS_MAX,
        }
    }

    fn broken(&self) -> Vec<(u8, usize)> {
        let Self { ref before, ref after, ref bounds, told_ready, told_closed, next_unread_turns } = *self;
        let sight = TurnSight { before, after, bounds, told_ready, told_closed, next_unread_turns };
        let checks = turn::CHECKS.iter().enumerate();
        checks.filter(|(_, (_, check))| check(&sight).is_err()).map(|(at, (number, _))| (*number, at)).collect()
    }
}

const TURNS: &[(u8, fn(&mut Turn))] = &[
    (1, |turn| turn.after.links += 1),
    (1, |turn| turn.after.ready_peers += 1),
    (1, |turn| turn.after.over_capacity += 1),
    (1, |turn| turn.bounds.max_links = 1),
    (9, |turn| turn.after.wait = Wait::Zero),
    (9, |turn| turn.after.ready = 1),
    (9, |turn| turn.after.dirty = 1),
    (9, |turn| turn.after.closing = 1),
    (9, |turn| turn.after.dials = 1),
    (9, |turn| turn.after.has_more = true),
    (11, |turn| turn.after.counters.timeouts += EXPIRIES_PER_TURN as u64 + 1),
    (11, |turn| turn.after.counters.timers_rearmed += EXPIRIES_PER_TURN as u64 + 1),
    (11, |turn| turn.after.counters.bytes_received += 2 * READ_BLOCK_BYTES as u64 + 1),
    (11, |turn| turn.after.counters.frames_received += 3),
    (12, |turn| turn.next_unread_turns += 1),
    (13, |turn| turn.after.gathered_bytes = turn.bounds.gathered_max_bytes + 1),
    (21, |turn| turn.after.timers = turn.after.links + 1),
    (22, |turn| (turn.before.wake_at, turn.after.wake_at) = (Some(Instant::ZERO), Some(Instant::ZERO))),
    (23, |turn| turn.after.counters.pongs_received = turn.after.counters.pings_sent + 1),
    (24, |turn| turn.bounds.max_inbound = 1),
    (24, |turn| {
        turn.after.over_capacity = OVER_CAPACITY_MAX + 1;
        turn.after.links += OVER_CAPACITY_MAX;
        turn.after.counters.accepted += OVER_CAPACITY_MAX as u64;
        turn.after.inbound = 0;
    }),
    (29, |turn| turn.told_ready += 1),
    (29, |turn| turn.told_closed += 1),
];

#[test]
fn a_turn_names_the_invariant_that_is_broken_and_no_other() {
    assert_eq!(Turn::new().broken(), []);
    let mut hit = BTreeSet::new();
    for (index, (number, doctor)) in TURNS.iter().enumerate() {
        let mut turn = Turn::new();
        doctor(&mut turn);
        let broken = turn.broken();
        assert_eq!(broken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [*number], "case {index}");
        hit.extend(broken.iter().map(|(_, at)| *at));
    }
    assert_eq!(hit.len(), turn::CHECKS.len(), "each check has failed once: {hit:?}");
}

const LINK: LinkId = LinkId::new(3, 1);
const NEXT: LinkId = LinkId::new(3, 2);
const LATE: Instant = Instant::from_nanos(1_000_000_000_000);
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

fn block(len_bytes: u64) -> Header {
    Header { command: CommandName::BLOCK, payload_len: len_bytes, checksum: Some([1; 4]) }
}

/// A ledger in its second turn with one link that is open on both sides, and ready.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(Bounds::of(&config()));
    ledger.waited(Instant::ZERO);
    ledger.opened_socket(LINK, false);
    ledger.event(LINK, &OPENED, Instant::ZERO, Some(false));
    ledger.event(LINK, &READY, Instant::ZERO, Some(true));
    ledger.waited(Instant::ZERO);
    ledger
}

type Calls = (u8, fn(&mut Ledger));

const CALLS: &[Calls] = &[
    (2, |ledger| ledger.opened_socket(NEXT, false)),
    (4, |ledger| ledger.read(NEXT, 1)),
    (4, |ledger| ledger.wrote(NEXT, &[], 0)),
    (4, |ledger| ledger.called(NEXT, "call")),
    (4, |ledger| ledger.closed_socket(NEXT)),
    (4, |ledger| {
        ledger.closed_socket(LINK);
        ledger.read(LINK, 1);
    }),
    (4, |ledger| ledger.told(LINK, false)),
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
    (16, |ledger| ledger.delivered(LINK, &block(5))),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Discard);
        ledger.delivered(LINK, &block(5));
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Buffer);
        ledger.delivered(LINK, &block(6));
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Buffer);
        ledger.streamed(LINK, &block(5), 0, 5, true);
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Stream);
        ledger.streamed(LINK, &block(5), 1, 4, true);
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Stream);
        ledger.streamed(LINK, &block(5), 0, 4, true);
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Stream);
        ledger.admitted(LINK, &block(6), Delivery::Stream);
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Stream);
        ledger.streamed(LINK, &block(5), 0, 4, false);
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
    }),
    (16, |ledger| {
        ledger.admitted(LINK, &block(5), Delivery::Stream);
        ledger.streamed(LINK, &block(5), 0, 4, false);
        let cut = Event::StreamCut { header: block(5), received: 3, reason: CloseReason::ClosedByPeer };
        ledger.event(LINK, &cut, LATE, Some(true));
    }),
    (17, |ledger| wrote(ledger, b"no magic at the beginning of these bytes")),
    (18, |ledger| wrote(ledger, &frame(CommandName::PING))),
    (18, |ledger| ledger.told_of_message(LINK, false)),
    (18, |ledger| {
        ledger.event(LinkId::new(4, 0), &OPENED, Instant::ZERO, Some(false));
        ledger.told_of_message(LinkId::new(4, 0), true);
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
    (29, |ledger| ledger.told(NEXT, true)),
    (29, |ledger| ledger.event(NEXT, &Event::SendHeaders, Instant::ZERO, Some(true))),
    (29, |ledger| (0..2).for_each(|_| ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true)))),
    (29, |ledger| {
        ledger.event(LINK, &closed(CloseReason::ClosedByPeer), LATE, Some(true));
        ledger.told(LINK, true);
    }),
];

#[test]
fn a_call_names_the_invariant_that_it_breaks_and_no_other() {
    assert_eq!(ledger().findings.list(), []);
    for (index, (number, call)) in CALLS.iter().enumerate() {
        let mut ledger = ledger();
        call(&mut ledger);
        let found: Vec<u8> = ledger.findings.list().iter().map(|violation| violation.invariant).collect();
        assert_eq!(found, [*number], "case {index}: {:?}", ledger.findings.list());
    }
}

#[test]
fn a_life_as_it_should_be_breaks_nothing() {
    let mut ledger = ledger();
    (0..ACCEPTS_PER_TURN).for_each(|_| ledger.accepted(0));
    ledger.read(LINK, READ_BLOCK_BYTES);
    for command in [CommandName::VERSION, CommandName::VERACK, CommandName::PING] {
        wrote(&mut ledger, &frame(command));
    }
    for (delivery, bytes) in [(Delivery::Buffer, 5), (Delivery::Discard, 6), (Delivery::Buffer, 7)] {
        ledger.told_of_message(LINK, true);
        ledger.admitted(LINK, &block(bytes), delivery);
    }
    ledger.delivered(LINK, &block(7));
    ledger.admitted(LINK, &block(9), Delivery::Stream);
    ledger.streamed(LINK, &block(9), 0, 4, false);
    ledger.streamed(LINK, &block(9), 4, 5, true);
    ledger.admitted(LINK, &block(9), Delivery::Stream);
    ledger.streamed(LINK, &block(9), 0, 4, false);
    let reason = CloseReason::TimedOut(Deadline::Body);
    ledger.event(LINK, &Event::StreamCut { header: block(9), received: 4, reason }, LATE, Some(true));
    ledger.event(LINK, &closed(reason), LATE, Some(true));
    ledger.closed_socket(LINK);
    ledger.waited(LATE);
    ledger.opened_socket(NEXT, true);
    ledger.wake_at = Some(LATE);
    ledger.woken(LATE);
    assert_eq!(ledger.findings.list(), []);
    assert_eq!((ledger.sockets, ledger.ready, ledger.closed), (1, 1, 1));
}

#[test]
fn the_end_leaves_nothing() {
    let mut nothing = Scene::new().inspection;
    assert!(checked::end(&nothing).is_err());
    nothing.links.clear();
    nothing.listeners.clear();
    (nothing.summary.timers, nothing.summary.ready_peers, nothing.summary.inbound) = (0, 0, 0);
    assert_eq!(checked::end(&nothing), Ok(()));
    let left: [fn(&mut Inspection); 7] = [
        |left| left.links = Scene::new().inspection.links,
        |left| left.listeners = Scene::new().inspection.listeners,
        |left| left.dials.push(LINK),
        |left| left.summary.timers = 1,
        |left| left.summary.ready_peers = 1,
        |left| left.summary.over_capacity = 1,
        |left| left.summary.gathered_bytes = 1,
    ];
    for doctor in left {
        let mut left = nothing.clone();
        doctor(&mut left);
        assert!(checked::end(&left).is_err(), "{left:?}");
    }
}

#[test]
fn the_table_and_its_documentation_say_the_same() {
    let page = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows: Vec<&str> = page.filter(|row| row.starts_with(|first: char| first.is_ascii_digit())).collect();
    let table = INVARIANTS.map(|invariant| {
        let checked: Vec<String> = invariant.checked.iter().map(ToString::to_string).collect();
        format!("{} | {} | {} |", invariant.number, invariant.holds, checked.join(", "))
    });
    assert_eq!(rows, table);
    assert_eq!(INVARIANTS.map(|invariant| invariant.number).to_vec(), (1..=37).collect::<Vec<u8>>());
}

#[test]
fn the_table_says_when_each_invariant_is_checked() {
    let of_table = |when: When| -> BTreeSet<u8> {
        INVARIANTS.iter().filter(|invariant| invariant.checked.contains(&when)).map(|found| found.number).collect()
    };
    let numbers = |cases: &mut dyn Iterator<Item = u8>| -> BTreeSet<u8> { cases.collect() };
    assert_eq!(of_table(When::Call), numbers(&mut CALLS.iter().map(|(number, _)| *number)));
    assert_eq!(of_table(When::Turn), numbers(&mut turn::CHECKS.iter().map(|(number, _)| *number)));
    let sweeps = sweep::CHECKS.iter().chain(&outside::CHECKS);
    assert_eq!(of_table(When::Sweep), numbers(&mut sweeps.map(|(number, _)| *number)));
    assert_eq!(of_table(When::End), BTreeSet::from([36]));
}
