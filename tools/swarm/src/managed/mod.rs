//! A managed world: the loop's peer manager finds, keeps and refuses peers. The world may have listeners of all kinds,
//! floods, bans, kills, and a second loop that dials the first while the first dials the second.
//!
//! A managed world has the three phases of every world. First, all drawn events happen. Then the faults end, and
//! every wanted slot must be filled with an honest peer within half an hour, or a quarter of an hour after an outage.
//! Finally, the loop is stopped and must release everything.

mod plan;
mod resident;

pub(super) use plan::Plan;

use super::Outcome;
use super::course::{Course, MAX_EVENTS, RECOVERY, RECOVERY_FROM_OUTAGE};
use super::marks::{Mark, Marks};
use super::patience::Patience;
use super::scenario::{NODE, Scenario};
use super::scripted_attacker::NETWORK;
use peerloop::PeerId;
use peerloop::address::Host;
use peerloop::api::{ControlEvent, Delivery, Event};
use peerloop::config::{Config, DialMode};
use peerloop::error::{CloseReason, Disconnect, Misbehavior};
use peerloop::handler::{Ctx, Handler};
use peerloop::internals::errno::EADDRINUSE;
use peerloop::internals::limits::{CLOSE_GRACE, SHUTDOWN_GRACE};
use peerloop::internals::link_of;
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::protocol::CommandName;
use peerloop::sim::Actor;
use peerloop::sim::SimNet;
use peerloop::sim::Site;
use peerloop::sim::Tape;
use peerloop::sim::World;
use peerloop::sim::actor::{self, AssociationDialler, Crowd, Journal, Role, Setup};
use peerloop::sim::invariant::{Checked, EndingStep, Inspection, LinkReport, StreamCase};
use peerloop::sim::{Disk, Names, Route};
use peerloop::store::{KnownPeer, PeerStore};
use peerloop::time::{Instant, UnixTime};
use peerloop::wire::Header;
use plan::{Deed, Flood, PORT, SEED_NAME, Spread, ip_of, stream};
use resident::{Nature, Resident};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// A handler that records events, asks for whole `addr` messages so that they can be checked, and acts on request.
#[derive(Debug, Default)]
struct WatchingHandler {
    marks: Marks,
    peers: BTreeSet<PeerId>,
    /// The reported bans whose end was not reported, each with its planned end; `None` for a permanent ban.
    banned: BTreeMap<Host, Option<UnixTime>>,
}

/// A request to the handler.
#[derive(Debug)]
enum Order {
    Dial(SocketAddr),
    Disconnect(PeerId, Disconnect),
    Penalize(PeerId, u32),
    Ban(IpAddr, Option<Duration>),
    Unban(IpAddr),
}

/// A running managed world.
struct ManagedWorld {
    world: World,
    scenario: Scenario,
    plan: Plan,
    config: Config,
    node: Option<Checked<WatchingHandler>>,
    twin: Option<Checked<WatchingHandler>>,
    residents: Vec<(Nature, Crowd)>,
    floods: Vec<Crowd>,
    journal: Journal,
    course: Course,
    marks: Marks,
    banned: BTreeMap<Host, Option<UnixTime>>,
    /// Addresses of peers that were closed or penalised on request. Even if a fixed list has such an address, the loop
    /// need not dial it again.
    dismissed: BTreeSet<SocketAddr>,
    events: u64,
}

pub(super) fn run(tape: &Tape, scenario: Scenario, plan: Plan, patience: &Patience) -> Option<Outcome> {
    let mut managed = ManagedWorld::new(tape, scenario, plan, patience.clone());
    managed.run_safety();
    managed.run_outage();
    managed.calm_down();
    managed.run_liveness();
    managed.run_shutdown();
    if managed.course.is_given_up {
        return None;
    }
    managed.drop_loop();
    managed.judge_journal();
    let twin = managed.twin.take();
    twin.into_iter().for_each(|twin| managed.collect_findings(&twin));
    managed.course.violations.sort_by_key(|violation| violation.at);
    let (trace_hash, calls) = (managed.world.trace().hash(), managed.world.trace().calls());
    Some(Outcome {
        events: managed.events,
        calls,
        virtual_time: managed.course.virtual_time(),
        trace_hash,
        violations: managed.course.violations,
        marks: managed.marks,
        received: Vec::new(),
        scenario: managed.scenario,
    })
}

impl ManagedWorld {
    fn new(tape: &Tape, scenario: Scenario, plan: Plan, patience: Patience) -> Self {
        let world = World::with_tape(tape.clone(), scenario.start);
        world.set_conditions(scenario.conditions.clone());
        let net = world.host();
        world.set_poller(NODE, scenario.poller);
        let base =
            Config::new(NETWORK).with_ping_interval(scenario.ping_interval).with_pong_timeout(scenario.pong_timeout);
        let journal = Journal::new();
        let kind = Rc::new(actor::Profile::new(NETWORK.magic(), &journal));
        let overheard: Rc<RefCell<Vec<u8>>> = Rc::default();
        let residents = residents_of(&world, tape, &plan, &kind, &overheard);
        let [ours, of_twin] = scenario.multistreams;
        let twin_base = base.clone().with_multistreams(of_twin);
        let twin = plan.twin().map(|address| twin_of(&world, &plan, &twin_base, address));
        let node = SocketAddr::new(ip_of(NODE), PORT);
        let mut floods = Vec::new();
        for (index, flood) in plan.floods.iter().enumerate() {
            let mut crowd = Crowd::new(world.host(), tape.stream(stream::FLOOD + index as u32));
            let mut pair: Option<AssociationDialler> = None;
            for number in 0..flood.count {
                let at = scenario.start.plus(flood.from).plus(flood.every * number);
                let role = match pair.take() {
                    Some(peer) => AssociationDialler::further(&peer),
                    None if flood.is_paired => {
                        let id = u64::from(number) << 8 | index as u64;
                        pair.insert(AssociationDialler::new(&kind, Setup::Data1, id)).general()
                    }
                    None => Role::of(Resident::new(flood.nature, &kind, &overheard)),
                };
                crowd.dial_at(at, node, Some(source(flood, index as u8, number)), role);
            }
            floods.push(crowd);
        }
        let config = plan.config(&base.with_multistreams(ours));
        let course = Course::new(&world, patience);
        let mut managed = Self {
            world,
            scenario,
            plan,
            config,
            node: None,
            twin,
            residents,
            floods,
            journal,
            course,
            marks: Marks::default(),
            banned: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            events: 0,
        };
        managed.set_trouble();
        managed.note_circumstances();
        managed.start(net);
        managed
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

    fn note_circumstances(&mut self) {
        let manager = &self.plan.manager;
        for (is_so, begins) in
            [(!manager.learn_addresses, "gossip is ignored"), (!manager.trusted.is_empty(), "a network is trusted")]
        {
            if is_so {
                self.marks.set(Mark::circumstance(begins));
            }
        }
    }

    /// Starts the loop with the records on its disk and the plan's addresses. Checks that the disk has all reported
    /// bans that have not expired.
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
            self.course.found(30, format!("reported bans are missing from the disk: {lost:?}"));
        }
        let node = Checked::new(&self.world, net, self.config.clone(), WatchingHandler::default());
        let mut node = node.expect("the configuration is valid").with_calls_per_sweep(self.scenario.calls_per_sweep);
        node.remember(peers, bans);
        self.node = Some(node);
    }

    fn node(&self) -> &Checked<WatchingHandler> {
        self.node.as_ref().expect("the loop is absent only during a restart and after the run")
    }

    /// Returns the number of hosts.
    fn hosts(&self) -> usize {
        1 + self.plan.residents.len() + usize::from(self.plan.has_twin) + self.plan.floods.len()
    }

    fn events(&self) -> u64 {
        let of_loop = |checked: &Checked<WatchingHandler>| checked.socket_events();
        self.events + self.node.as_ref().map_or(0, of_loop) + self.twin.as_ref().map_or(0, of_loop)
    }

    fn run_until(&mut self, until: Instant) {
        let mut actors: Vec<&mut dyn Actor> = Vec::new();
        actors.extend(self.node.iter_mut().chain(&mut self.twin).map(|checked| checked as &mut dyn Actor));
        actors.extend(self.residents.iter_mut().map(|(_, crowd)| crowd as &mut dyn Actor));
        actors.extend(self.floods.iter_mut().map(|crowd| crowd as &mut dyn Actor));
        self.course.run_until(until, &mut actors);
    }

    // --- The phases -------------------------------------------------------------------------------------------------

    fn run_safety(&mut self) {
        let mut moments: Vec<(Instant, Option<Deed>)> =
            self.plan.deeds.iter().map(|(at, deed)| (self.course.began.plus(*at), Some(*deed))).collect();
        for second in (0..=self.scenario.length.as_secs()).step_by(10) {
            moments.push((self.course.began.plus(Duration::from_secs(second)), None));
        }
        moments.sort_by_key(|(at, _)| *at);
        let mut heals: Vec<(Instant, usize)> = Vec::new();
        for (at, deed) in moments {
            self.run_until(at);
            if !self.course.is_running || self.events() > MAX_EVENTS {
                return;
            }
            for (_, host) in heals.extract_if(.., |(heal_at, _)| *heal_at <= at) {
                self.world.heal(host);
            }
            if let Some(deed) = deed {
                self.apply_deed(deed, &mut heals);
            }
        }
    }

    fn apply_deed(&mut self, deed: Deed, heals: &mut Vec<(Instant, usize)>) {
        let handle = self.node().handle();
        let pick = |pick: u32| {
            let peers = &self.node().handler().peers;
            peers.iter().nth(pick as usize % peers.len().max(1)).copied()
        };
        match deed {
            Deed::Ban { host, length } if host.is_multiple_of(2) => drop(handle.ban(ip_of(host), length)),
            Deed::Ban { host, length } => drop(handle.request(Order::Ban(ip_of(host), length))),
            Deed::Unban { host } if host.is_multiple_of(2) => drop(handle.unban(ip_of(host))),
            Deed::Unban { host } => drop(handle.request(Order::Unban(ip_of(host)))),
            Deed::Dial { host } => drop(handle.request(Order::Dial(SocketAddr::new(ip_of(host), PORT)))),
            Deed::Close { pick: number } => {
                if let Some(peer) = pick(number) {
                    self.dismiss(peer);
                    let _ = handle.close(peer);
                }
            }
            Deed::Disconnect { pick: number, disconnect } => {
                if let Some(peer) = pick(number) {
                    self.dismiss(peer);
                    drop(handle.request(Order::Disconnect(peer, disconnect)));
                }
            }
            Deed::Penalize { pick: number } => {
                if let Some(peer) = pick(number) {
                    self.dismiss(peer);
                    drop(handle.request(Order::Penalize(peer, number % 130)));
                }
            }
            Deed::Retune { trusted, learn_addresses, fixed } => self.retune(trusted, learn_addresses, fixed),
            Deed::Configure { target, max, evicts, per_host } => {
                let manager = self.config.manager.as_mut().expect("the loop is managed");
                (manager.target_peers, manager.max_peers) = (target, max);
                (manager.evict_inbound, manager.max_per_host) = (evicts, per_host);
                drop(handle.update_config(self.config.clone()));
            }
            Deed::Kill => {
                self.drop_loop();
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
                    self.world.reset(NODE, link_of(peer));
                }
            }
        }
    }

    /// Records that the dialler need not dial this peer's address again.
    fn dismiss(&mut self, peer: PeerId) {
        let links = self.node().inspect().links;
        let link = links.iter().find(|link| link.id == link_of(peer));
        self.dismissed.extend(link.map(|link| link.address));
    }

    /// Changes the trusted networks, whether gossip is accepted, and the dial mode: a fixed list of `fixed`
    /// addresses, or the normal mode if `fixed` is `None`.
    fn retune(&mut self, trusted: Option<(IpAddr, u8)>, learn_addresses: bool, fixed: Option<usize>) {
        let listed: Option<Vec<SocketAddr>> = fixed.map(|count| self.plan.addresses().take(count).collect());
        let manager = self.config.manager.as_mut().expect("the loop is managed");
        let was_fixed = matches!(manager.mode, DialMode::Fixed(_));
        (manager.trusted, manager.learn_addresses) = (trusted.into_iter().collect(), learn_addresses);
        manager.mode = listed.map_or(DialMode::Normal, DialMode::Fixed);
        match (was_fixed, fixed.is_some()) {
            (false, true) => self.marks.set(Mark::circumstance("a new fixed list")),
            (true, false) => self.marks.set(Mark::circumstance("a dropped fixed list")),
            (true, true) | (false, false) => {}
        }
        drop(self.node().handle().update_config(self.config.clone()));
    }

    /// Cuts off the loop's host for the duration of the planned outage, if any. All connections are lost and all dials
    /// fail.
    fn run_outage(&mut self) {
        let Some(outage) = self.plan.outage.filter(|_| self.course.is_running) else { return };
        self.marks.set(Mark::circumstance("an outage"));
        self.world.cut(NODE);
        self.run_until(self.world.now().plus(outage));
    }

    /// Ends all faults, asks the loop to unban the residents and the twin, and removes the floods and all residents
    /// that are not honest.
    fn calm_down(&mut self) {
        self.world.clear_faults();
        self.world.set_descriptor_limit(NODE, usize::MAX);
        self.world.set_names(NODE, Names::Known);
        self.world.set_disk(NODE, Disk::Sound);
        (0..self.hosts()).for_each(|host| self.world.heal(host));
        self.residents.retain(|(nature, _)| *nature == Nature::Honest);
        self.floods.clear();
        for host in 1..=self.plan.residents.len() + 2 {
            // The request may be refused, because the queue may be full of earlier requests.
            drop(self.node().handle().unban(ip_of(host)));
        }
    }

    fn run_liveness(&mut self) {
        let calm = self.world.now();
        let mut pause = Duration::from_secs(2);
        let recovery = if self.plan.outage.is_some() { RECOVERY_FROM_OUTAGE } else { RECOVERY };
        let late: BTreeSet<SocketAddr> = self.late(calm.plus(recovery));
        while self.course.is_running {
            self.run_until(self.world.now().plus(pause));
            let Some(lacks) = self.lacks(&late) else { return };
            if self.world.now().since(calm) > recovery {
                return self.course.found(39, lacks);
            }
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }

    /// Returns the addresses whose next dial is due after `until`.
    fn late(&self, until: Instant) -> BTreeSet<SocketAddr> {
        let waiting = self.node().inspect().manager.map_or_else(Vec::new, |manager| manager.waiting);
        waiting.iter().filter(|(due, _)| *due > until).map(|(_, address)| *address).collect()
    }

    /// Describes the shortage if the loop has fewer peers than it wants and can reach. Otherwise returns `None`.
    fn lacks(&self, late: &BTreeSet<SocketAddr>) -> Option<String> {
        let Inspection { summary, links, manager, .. } = self.node().inspect();
        let summary = summary.manager.unwrap_or_default();
        let is_well = |link: &&LinkReport| {
            let has_place = link.connection_type != ConnectionType::OverCapacity;
            link.is_peer && has_place && link.state == ConnectionState::Connected && link.ending == EndingStep::Open
        };
        let well = links.iter().filter(is_well).count();
        let settings = self.config.manager.as_ref().expect("the loop is managed");
        let book = self.world.book(NODE);
        let listed = match &settings.mode {
            DialMode::Fixed(listed) => Some(listed),
            _ => None,
        };
        let is_dialled = |address: &SocketAddr| {
            listed.is_none_or(|listed| listed.contains(address) && !self.dismissed.contains(address))
        };
        let mut by_host: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for address in self.plan.honest().filter(is_dialled) {
            if !late.contains(&address) {
                *by_host.entry(address.ip()).or_default() += 1;
            }
        }
        let reachable: usize = by_host.values().map(|count| (*count).min(settings.max_per_host)).sum();
        let wanted = summary.target.min(reachable).min(settings.max_per_group());
        (well < wanted).then(|| {
            let statuses: Vec<_> =
                self.plan.honest().map(|address| (address, book.peer(address).map(|peer| peer.status))).collect();
            format!("{well} of {wanted} wanted peers; {summary:?}; {manager:?}; {links:?}; {statuses:?}")
        })
    }

    fn run_shutdown(&mut self) {
        // A stopped loop refuses the request.
        let stops: Vec<_> = self.node.iter().chain(&self.twin).map(|checked| checked.handle().stop().ok()).collect();
        self.run_until(self.world.now().plus(SHUTDOWN_GRACE + CLOSE_GRACE + Duration::from_secs(1)));
        if !self.course.is_running {
            return;
        }
        let has_ended = self.node().has_ended();
        let is_answered = stops[0].as_ref().is_none_or(|stop| stop.try_take() == Ok(Some(())));
        self.course.check_stopped(NODE, has_ended, is_answered);
    }

    // --- Outcome ----------------------------------------------------------------------------------------------------

    /// Drops the loop, and stores its findings.
    fn drop_loop(&mut self) {
        let Some(node) = self.node.take() else { return };
        self.collect_findings(&node);
        let scenario = &self.scenario;
        self.marks.set_failures(|site, errno| node.has_failed(site, errno) || scenario.has_interrupted(site, errno));
        if node.stats().counters.addresses_learned > 0 {
            self.marks.set(Mark::circumstance("P12"));
        }
        self.banned.clone_from(&node.handler().banned);
    }

    fn collect_findings(&mut self, checked: &Checked<WatchingHandler>) {
        self.events += checked.socket_events();
        self.course.violations.extend(checked.violations());
        StreamCase::ALL
            .into_iter()
            .filter(|case| checked.has_seen(*case))
            .for_each(|case| self.marks.set(Mark::of_case(case)));
        self.marks.merge(&checked.handler().marks);
    }

    fn judge_journal(&mut self) {
        let complaints = self.journal.complaints();
        // Silence is no fault here: a killed loop does not reply.
        for complaint in complaints.iter().filter(|complaint| !complaint.what.is_silence()).take(4) {
            self.course.found(38, format!("an honest peer complains: {complaint:?}"));
        }
    }
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

/// Builds the crowds that listen, each on its own host.
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
            crowd.listen(PORT + port, cast).expect("no fault is active yet");
        }
        residents.push((nature, crowd));
    }
    residents
}

/// Builds the other loop, which knows only the loop under test.
fn twin_of(world: &World, plan: &Plan, base: &Config, address: SocketAddr) -> Checked<WatchingHandler> {
    let net = world.host();
    debug_assert_eq!(net.ip(), address.ip());
    let mut config = plan.config(base);
    config.seed = Some(!plan.seed);
    if let Some(manager) = &mut config.manager {
        manager.mode = DialMode::Fixed(vec![SocketAddr::new(ip_of(NODE), PORT)]);
        manager.listen = vec![address];
    }
    Checked::new(world, net, config, WatchingHandler::default()).expect("the configuration is valid")
}

impl Handler for WatchingHandler {
    type Request = Order;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { .. } => drop(self.peers.insert(peer)),
            Event::Closed { reason, .. } => {
                self.peers.remove(&peer);
                self.marks.set(Mark::reason(&reason));
                if reason == CloseReason::Misbehaved(Misbehavior::StreamFromOtherHost) {
                    self.marks.set(Mark::circumstance("a stream from another"));
                }
            }
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::ADDR { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, order: Order) {
        match order {
            Order::Dial(address) => {
                if let Err(error) = ctx.connect(address) {
                    self.marks.set(Mark::refusal(error));
                }
            }
            Order::Disconnect(peer, disconnect) => ctx.close(peer, disconnect),
            Order::Penalize(peer, points) => ctx.penalize(peer, points, "a whim"),
            Order::Ban(ip, length) => drop(ctx.ban(ip, length)),
            Order::Unban(ip) => drop(ctx.unban(ip)),
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
