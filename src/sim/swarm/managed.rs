//! A world whose loop finds, keeps and refuses its peers by itself: listeners of all kinds, floods, bans, kills, and a
//! second loop that dials at the same moment.
//!
//! Its three phases are those of every world: all that was drawn happens, then all is well and every place that is
//! wanted has to be filled with honest peers in half an hour, then the loop is stopped and nothing may be left.

mod plan;
mod resident;

pub(super) use plan::Plan;

use super::heckler::NETWORK;
use super::marks::{Mark, Marks};
use super::patience::Patience;
use super::scenario::{NODE, Scenario};
use super::trouble::FAILURES;
use super::{Outcome, Violation};
use crate::address::Host;
use crate::api::{ControlEvent, Ctx, Event, Handler};
use crate::config::{Config, DialMode};
use crate::id::PeerId;
use crate::limits::{CLOSE_GRACE, SHUTDOWN_GRACE};
use crate::peer::{ConnectionState, ConnectionType};
use crate::sim::actor::{self, Crowd, Journal, Role};
use crate::sim::driver::{Actor, Driver, RunOutcome};
use crate::sim::errno::{EADDRINUSE, EINTR};
use crate::sim::faults::Site;
use crate::sim::invariant::{Checked, EndingStep, Inspection, LinkReport};
use crate::sim::kernel::{Disk, Names, Route};
use crate::sim::net::SimNet;
use crate::sim::tape::Tape;
use crate::sim::world::World;
use crate::store::{KnownPeer, PeerStatus, PeerStore};
use crate::time::{Instant, UnixTime};
use plan::{Deed, Flood, PORT, SEED_NAME, Spread, ip_of, stream};
use resident::{Nature, Resident};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Time until all wanted places have to be filled when all is well.
const RECOVERY: Duration = Duration::from_secs(30 * 60);
const EVENTS_MAX: u64 = 60_000;
const ROUNDS_MAX: u64 = 4_000_000;

/// The handler: it watches, and dials when it is told to.
#[derive(Debug, Default)]
struct Warden {
    marks: Marks,
    peers: BTreeSet<PeerId>,
    /// The bans that were announced and are not over, and until when.
    banned: BTreeMap<Host, Option<UnixTime>>,
}

/// A managed world that runs.
struct Town {
    world: World,
    scenario: Scenario,
    plan: Plan,
    config: Config,
    node: Option<Checked<Warden>>,
    twin: Option<Checked<Warden>>,
    residents: Vec<(Nature, Crowd)>,
    floods: Vec<Crowd>,
    journal: Journal,
    patience: Patience,
    marks: Marks,
    violations: Vec<Violation>,
    banned: BTreeMap<Host, Option<UnixTime>>,
    /// Addresses that a user has closed, which are a fixed list's to keep closed.
    dismissed: BTreeSet<SocketAddr>,
    events: u64,
    began: Instant,
    goes_on: bool,
    is_given_up: bool,
}

pub(super) fn run(tape: &Tape, scenario: Scenario, plan: Plan, patience: &Patience) -> Option<Outcome> {
    let mut town = Town::new(tape, scenario, plan, patience.clone());
    town.run_safety();
    town.calm_down();
    town.run_liveness();
    town.run_shutdown();
    if town.is_given_up {
        return None;
    }
    town.bury();
    town.judge_journal();
    let twin = town.twin.take();
    twin.into_iter().for_each(|twin| town.gather(&twin));
    town.violations.sort_by_key(|violation| violation.at);
    let (trace_hash, calls) = (town.world.trace().hash(), town.world.trace().calls());
    Some(Outcome {
        events: town.events,
        calls,
        virtual_time: town.world.now().since(town.began),
        trace_hash,
        violations: town.violations,
        marks: town.marks,
        heard: Vec::new(),
        scenario: town.scenario,
    })
}

impl Town {
    fn new(tape: &Tape, scenario: Scenario, plan: Plan, patience: Patience) -> Self {
        let world = World::with_tape(tape.clone(), scenario.start);
        world.set_conditions(scenario.conditions.clone());
        let net = world.host();
        world.set_poller(NODE, scenario.poller);
        let base = Config {
            ping_interval: scenario.ping_interval,
            pong_timeout: scenario.pong_timeout,
            ..Config::new(NETWORK)
        };
        let journal = Journal::new();
        let kind = Rc::new(actor::Profile::new(NETWORK.magic(), &journal));
        let overheard: Rc<RefCell<Vec<u8>>> = Rc::default();
        let residents = residents_of(&world, tape, &plan, &kind, &overheard);
        let twin = plan.twin().map(|address| twin_of(&world, &plan, &base, address));
        let node = SocketAddr::new(ip_of(NODE), PORT);
        let mut floods = Vec::new();
        for (index, flood) in plan.floods.iter().enumerate() {
            let mut crowd = Crowd::new(world.host(), tape.stream(stream::FLOOD + index as u32));
            for number in 0..flood.count {
                let at = scenario.start.plus(flood.from).plus(flood.every * number);
                let role = Role::of(Resident::new(flood.nature, &kind, &overheard));
                crowd.dial_at(at, node, Some(source(flood, index as u8, number)), role);
            }
            floods.push(crowd);
        }
        let config = plan.config(&base);
        let began = world.now();
        let mut town = Self {
            world,
            scenario,
            plan,
            config,
            node: None,
            twin,
            residents,
            floods,
            journal,
            patience,
            marks: Marks::default(),
            violations: Vec::new(),
            banned: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            events: 0,
            began,
            goes_on: true,
            is_given_up: false,
        };
        town.set_trouble();
        town.start(net);
        town
    }

    fn set_trouble(&self) {
        let honest = self.plan.honest().filter(|address| address.port() == PORT).map(|address| address.ip()).collect();
        self.world.set_name(SEED_NAME, honest);
        self.world.set_names(NODE, if self.plan.has_wild_names { Names::Wild } else { Names::Known });
        self.world.set_disk(NODE, if self.plan.has_wild_disk { Disk::Wild } else { Disk::Sound });
        self.world.set_descriptor_limit(NODE, self.plan.descriptors.unwrap_or(usize::MAX));
        if self.plan.is_port_in_doubt {
            self.world.fail_sometimes(NODE, Site::Listen, EADDRINUSE, 2);
        }
        for (site, errno, one_in) in &self.scenario.faults {
            self.world.fail_sometimes(NODE, *site, *errno, *one_in);
        }
    }

    /// The loop begins, with what is on its disk and what it was told by hand.
    fn start(&mut self, net: SimNet) {
        let book = self.world.book(NODE);
        let (mut peers, bans) = (book.list_all().unwrap_or_default(), book.bans().unwrap_or_default());
        let unknown = self.plan.addresses().filter(|address| book.peer(*address).is_none());
        peers.extend(unknown.map(|address| KnownPeer::new(address, self.world.unix_time())));
        peers.sort_by_key(KnownPeer::address);
        let lost = self.banned.iter().filter(|(host, until)| {
            let is_over = until.is_some_and(|until| until <= self.world.unix_time());
            !is_over && bans.iter().all(|ban| ban.host != **host)
        });
        let lost: Vec<Host> = lost.map(|(host, _)| *host).collect();
        if !lost.is_empty() {
            self.found(30, format!("bans that were announced are gone: {lost:?}"));
        }
        let node = Checked::new(&self.world, net, self.config.clone(), Warden::default());
        let mut node = node.expect("the configuration is valid").with_calls_per_sweep(self.scenario.calls_per_sweep);
        node.remember(peers, bans);
        self.node = Some(node);
    }

    fn node(&self) -> &Checked<Warden> {
        self.node.as_ref().expect("it is only gone while it begins anew")
    }

    /// Hosts that there are.
    fn hosts(&self) -> usize {
        1 + self.plan.residents.len() + usize::from(self.plan.has_twin) + self.plan.floods.len()
    }

    fn events(&self) -> u64 {
        let of_loop = |checked: &Checked<Warden>| checked.socket_events();
        self.events + self.node.as_ref().map_or(0, of_loop) + self.twin.as_ref().map_or(0, of_loop)
    }

    fn found(&mut self, invariant: u8, text: String) {
        self.violations.push(Violation { invariant, at: self.world.now(), text });
    }

    fn run_until(&mut self, until: Instant) {
        if !self.goes_on {
            return;
        }
        let mut actors: Vec<&mut dyn Actor> = Vec::new();
        actors.extend(self.node.iter_mut().chain(&mut self.twin).map(|checked| checked as &mut dyn Actor));
        actors.extend(self.residents.iter_mut().map(|(_, crowd)| crowd as &mut dyn Actor));
        actors.extend(self.floods.iter_mut().map(|crowd| crowd as &mut dyn Actor));
        let driver = Driver::new(&self.world).with_rounds_per_moment(ROUNDS_MAX);
        let is_over = || !self.patience.lasts(self.world.trace().calls());
        match driver.run(until, &mut actors, is_over) {
            Ok(RunOutcome::TimeOver | RunOutcome::AllEnded) => {}
            Ok(RunOutcome::Done) => (self.is_given_up, self.goes_on) = (true, false),
            Err(error) => {
                self.found(9, error.to_string());
                self.goes_on = false;
            }
        }
    }

    // --- The phases -------------------------------------------------------------------------------------------------

    fn run_safety(&mut self) {
        let mut moments: Vec<(Instant, Option<Deed>)> =
            self.plan.deeds.iter().map(|(at, deed)| (self.began.plus(*at), Some(*deed))).collect();
        for second in (0..=self.scenario.length.as_secs()).step_by(10) {
            moments.push((self.began.plus(Duration::from_secs(second)), None));
        }
        moments.sort_by_key(|(at, _)| *at);
        let mut heals: Vec<(Instant, usize)> = Vec::new();
        for (at, deed) in moments {
            self.run_until(at);
            if !self.goes_on || self.events() > EVENTS_MAX {
                return;
            }
            for (_, host) in heals.extract_if(.., |(heal_at, _)| *heal_at <= at) {
                self.world.heal(host);
            }
            if let Some(deed) = deed {
                self.befall(deed, &mut heals);
            }
        }
    }

    fn befall(&mut self, deed: Deed, heals: &mut Vec<(Instant, usize)>) {
        let handle = self.node().handle();
        let pick = |pick: u32| {
            let peers = &self.node().handler().peers;
            peers.iter().nth(pick as usize % peers.len().max(1)).copied()
        };
        match deed {
            Deed::Ban { host, length } => drop(handle.ban(ip_of(host), length)),
            Deed::Unban { host } => drop(handle.unban(ip_of(host))),
            Deed::Dial { host } => drop(handle.command(SocketAddr::new(ip_of(host), PORT))),
            Deed::Close { pick: number } => {
                if let Some(peer) = pick(number) {
                    let links = self.node().inspect().links;
                    let link = links.iter().find(|link| link.id == peer.link());
                    self.dismissed.extend(link.map(|link| link.address));
                    let _ = handle.close(peer);
                }
            }
            Deed::Configure { target, max, evicts, per_host } => {
                let manager = self.config.manager.as_mut().expect("it is managed");
                (manager.target_peers, manager.max_peers) = (target, max);
                (manager.evicts_inbound, manager.per_host_max) = (evicts, per_host);
                drop(handle.update_config(self.config.clone()));
            }
            Deed::Kill => {
                self.bury();
                let net = self.world.restart(NODE);
                self.config.seed = self.config.seed.map(|seed| seed.wrapping_add(1));
                self.start(net);
            }
            Deed::Cut { host, time } if host < self.hosts() => {
                self.world.cut(host);
                heals.push((self.world.now().plus(time), host));
            }
            Deed::Cut { .. } => {}
            Deed::Reset { pick: number } => {
                if let Some(peer) = pick(number) {
                    self.world.reset(NODE, peer.link());
                }
            }
        }
    }

    /// Nothing fails any more, nobody is banned by hand, and the hostile ones are gone.
    fn calm_down(&mut self) {
        self.world.clear_faults();
        self.world.set_descriptor_limit(NODE, usize::MAX);
        self.world.set_names(NODE, Names::Known);
        self.world.set_disk(NODE, Disk::Sound);
        (0..self.hosts()).for_each(|host| self.world.heal(host));
        self.residents.retain(|(nature, _)| *nature == Nature::Honest);
        self.floods.clear();
        for host in 1..=self.plan.residents.len() + 2 {
            // The queue of commands may be full of what came meanwhile.
            drop(self.node().handle().unban(ip_of(host)));
        }
    }

    fn run_liveness(&mut self) {
        let calm = self.world.now();
        let mut pause = Duration::from_secs(2);
        let late: BTreeSet<SocketAddr> = self.late(calm.plus(RECOVERY));
        while self.goes_on {
            self.run_until(self.world.now().plus(pause));
            let Some(lacks) = self.lacks(&late) else { return };
            if self.world.now().since(calm) > RECOVERY {
                return self.found(39, lacks);
            }
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }

    /// Addresses that are rightly left alone for longer than a recovery takes.
    fn late(&self, until: Instant) -> BTreeSet<SocketAddr> {
        let waiting = self.node().inspect().manager.map_or_else(Vec::new, |manager| manager.waiting);
        waiting.iter().filter(|(due, _)| *due > until).map(|(_, address)| *address).collect()
    }

    /// What is missing although it could be there.
    fn lacks(&self, late: &BTreeSet<SocketAddr>) -> Option<String> {
        let Inspection { summary, links, manager, .. } = self.node().inspect();
        let summary = summary.manager.unwrap_or_default();
        let is_well = |link: &&LinkReport| {
            let has_place = link.connection_type != ConnectionType::OverCapacity;
            has_place && link.state == ConnectionState::Connected && link.ending == EndingStep::Open
        };
        let well = links.iter().filter(is_well).count();
        let settings = self.config.manager.as_deref().expect("it is managed");
        let book = self.world.book(NODE);
        let may_be_given_up = !self.is_gentle();
        let is_fixed = matches!(settings.mode, DialMode::Fixed(_));
        let mut by_host: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for address in self.plan.honest() {
            let is_given_up = book.peer(address).is_some_and(|peer| peer.status == PeerStatus::Inaccessible);
            let is_excused = late.contains(&address) || is_given_up && may_be_given_up;
            if !(is_excused || is_fixed && self.dismissed.contains(&address)) {
                *by_host.entry(address.ip()).or_default() += 1;
            }
        }
        let reachable: usize = by_host.values().map(|count| (*count).min(settings.per_host_max)).sum();
        let wanted = summary.target.min(reachable).min(settings.per_group_max());
        (well < wanted).then(|| {
            let statuses: Vec<_> =
                self.plan.honest().map(|address| (address, book.peer(address).map(|peer| peer.status))).collect();
            format!("{well} peers of {wanted} that are wanted; {summary:?}; {manager:?}; {links:?}; {statuses:?}")
        })
    }

    /// Whether nothing but the loop itself can have given up an honest peer.
    fn is_gentle(&self) -> bool {
        let is_soft = |(_, deed): &(Duration, Deed)| match deed {
            Deed::Ban { .. } | Deed::Unban { .. } | Deed::Dial { .. } | Deed::Configure { .. } => true,
            Deed::Close { .. } | Deed::Kill | Deed::Cut { .. } | Deed::Reset { .. } => false,
        };
        let is_quiet = self.scenario.faults.is_empty() && self.plan.descriptors.is_none();
        is_quiet && self.plan.twin().is_none() && self.plan.deeds.iter().all(is_soft)
    }

    fn run_shutdown(&mut self) {
        for checked in self.node.iter().chain(&self.twin) {
            let _ = checked.handle().stop();
        }
        self.run_until(self.world.now().plus(SHUTDOWN_GRACE + CLOSE_GRACE + Duration::from_secs(1)));
        if !self.goes_on {
            return;
        }
        let (has_ended, open) = (self.node().has_ended(), self.world.open_descriptors(NODE));
        if !has_ended || open != 2 {
            self.found(36, format!("has ended: {has_ended}, open descriptors: {open}"));
        }
    }

    // --- What came of it --------------------------------------------------------------------------------------------

    /// The loop is no more: what it has found is kept.
    fn bury(&mut self) {
        let Some(node) = self.node.take() else { return };
        self.gather(&node);
        for (index, (site, errno)) in failures().enumerate() {
            if node.has_failed(site, errno) || errno == EINTR && self.scenario.has_interrupted(site, errno) {
                self.marks.set(Mark::failure(index));
            }
        }
        self.banned.clone_from(&node.handler().banned);
    }

    fn gather(&mut self, checked: &Checked<Warden>) {
        self.events += checked.socket_events();
        self.violations.extend(checked.violations());
        self.marks.merge(&checked.handler().marks);
    }

    fn judge_journal(&mut self) {
        let complaints = self.journal.complaints();
        // Whoever is killed answers nobody.
        for complaint in complaints.iter().filter(|complaint| !complaint.what.is_silence()).take(4) {
            self.found(38, format!("an honest peer complains: {complaint:?}"));
        }
    }
}

fn failures() -> impl Iterator<Item = (Site, i32)> {
    FAILURES.iter().flat_map(|(site, errnos)| errnos.iter().map(move |errno| (*site, *errno)))
}

fn source(flood: &Flood, index: u8, number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    let address = match flood.spread {
        Spread::Hosts => Ipv4Addr::new(52 + index, low, high, 1),
        Spread::OneHost => Ipv4Addr::new(60 + index, 1, 1, 1),
        Spread::OneRange => Ipv4Addr::new(70 + index, 7, high, low),
    };
    address.into()
}

/// Those who listen, each kind at a host of its own.
fn residents_of(
    world: &World,
    tape: &Tape,
    plan: &Plan,
    kind: &Rc<actor::Profile>,
    overheard: &Rc<RefCell<Vec<u8>>>,
) -> Vec<(Nature, Crowd)> {
    let mut residents = Vec::new();
    for (index, &(nature, ports)) in plan.residents.iter().enumerate() {
        let net = world.host();
        if nature == Nature::Nobody {
            continue;
        }
        if nature == Nature::Silent {
            world.set_route(net.ip(), Route::Silent { least: Duration::from_millis(1), most: Duration::from_secs(9) });
        }
        let mut crowd = Crowd::new(net, tape.stream(stream::RESIDENT + index as u32));
        for port in 0..ports {
            let (kind, overheard) = (Rc::clone(kind), Rc::clone(overheard));
            let cast = move |_| Role::of(Resident::new(nature, &kind, &overheard));
            crowd.listen(PORT + port, cast).expect("nothing fails yet");
        }
        residents.push((nature, crowd));
    }
    residents
}

/// The other loop, which knows nobody but this one.
fn twin_of(world: &World, plan: &Plan, base: &Config, address: SocketAddr) -> Checked<Warden> {
    let net = world.host();
    debug_assert_eq!(net.ip(), address.ip());
    let mut config = plan.config(base);
    config.seed = Some(!plan.seed);
    if let Some(manager) = &mut config.manager {
        manager.mode = DialMode::Fixed(vec![SocketAddr::new(ip_of(NODE), PORT)]);
        manager.listen = vec![address];
    }
    Checked::new(world, net, config, Warden::default()).expect("the configuration is valid")
}

impl Handler for Warden {
    type Command = SocketAddr;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { .. } => drop(self.peers.insert(peer)),
            Event::Closed { reason, .. } => {
                self.peers.remove(&peer);
                self.marks.set(Mark::reason(&reason));
            }
            Event::VersionReceived
            | Event::Ready { .. }
            | Event::Pong { .. }
            | Event::LimitsAnnounced { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::StreamCut { .. } => {}
        }
    }

    fn on_command(&mut self, ctx: &mut Ctx<'_>, address: SocketAddr) {
        if let Err(error) = ctx.connect(address) {
            self.marks.set(Mark::refusal(error));
        }
    }

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        Mark::of_control(event).for_each(|mark| self.marks.set(mark));
        if let ControlEvent::PeerBanned { host, until, .. } = event {
            self.banned.insert(*host, *until);
        }
        if let ControlEvent::PeerUnbanned { host } = event {
            self.banned.remove(host);
        }
    }
}
