//! A running scenario: hosts, loops and crowds, and the order of its events.
//!
//! A scenario has three phases. In the first, all drawn events happen. In the second, without faults, every honest
//! peer must be served within half an hour. In the third, the loops are stopped and must release everything.

use super::course::{Course, MAX_EVENTS, RECOVERY};
use super::judge;
use super::marks::{Mark, Marks};
use super::numbered_peer::{NumberedPeer, Received};
use super::observer::Observer;
use super::patience::Patience;
use super::scenario::{Deed, Habit, Kind, NODE, Nowhere, Quirk, Scenario, Troop, attack_at, stream};
use super::scripted_attacker::{MESSAGES, NETWORK, ROWS, STATES, ScriptedAttacker, Step, cell};
use super::scripted_handler::{ScriptedHandler, Timekeeper, TroopState, Wish};
use bytes::Bytes;
use peerloop::PeerId;
use peerloop::config::Config;
use peerloop::handler::{Handler, PairRequest};
use peerloop::internals::errno::EINTR;
use peerloop::internals::limits::{CLOSE_GRACE, SHUTDOWN_GRACE};
use peerloop::internals::link_of;
use peerloop::protocol::CommandName;
use peerloop::sim::Actor;
use peerloop::sim::Poller;
use peerloop::sim::Route;
use peerloop::sim::SimNet;
use peerloop::sim::World;
use peerloop::sim::actor::byzantine::Attacker;
use peerloop::sim::actor::{
    self, Association, AssociationAcceptor, AssociationDialler, Crowd, Honest, Journal, Role, VersionTail,
};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Chance, Tape};
use peerloop::time::Instant;
use peerloop::wire::put_frame;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The port of every listener.
pub(super) const PORT: u16 = 18_444;
/// The index of the first troop's host.
pub(super) const FIRST_TROOP: usize = 1;

/// A running scenario.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) scenario: Scenario,
    pub(super) config: Config,
    pub(super) node: Checked<(ScriptedHandler, Observer)>,
    pub(super) rival: Option<Checked<ScriptedHandler>>,
    pub(super) cast: Vec<Cast>,
    pub(super) marks: Marks,
    pub(super) course: Course,
    /// The moment at which the last host pause ends.
    resumes: Instant,
    /// Whether a user has requested that the loop stop.
    is_stopping: bool,
}

/// A troop and the records of its peers.
pub(super) struct Cast {
    pub(super) troop: Troop,
    pub(super) crowd: Option<Crowd>,
    pub(super) journal: Journal,
    pub(super) received: Rc<RefCell<Received>>,
    pub(super) steps: Rc<[Step]>,
    character: Rc<actor::Profile>,
    /// The associations of the troop's peers, if they have two streams.
    associations: Rc<RefCell<Vec<Association>>>,
}

impl Stage {
    pub(super) fn new(tape: &Tape, scenario: Scenario, patience: Patience) -> Self {
        let world = World::with_tape(tape.clone(), scenario.start);
        world.set_conditions(scenario.conditions.clone());
        let net = world.host();
        let here = SocketAddr::new(net.ip(), PORT);
        world.set_poller(NODE, scenario.poller);
        let config = config_of(&scenario, tape);
        let mut cast: Vec<Cast> = Vec::new();
        let mut rival = None;
        let [_, of_rival] = scenario.multistreams;
        let rival_config = config.clone().with_multistreams(of_rival);
        for (index, troop) in scenario.troops.iter().enumerate() {
            let there = world.host();
            let host = there.host();
            world.set_poller(host, scenario.crowd_poller);
            let chance = tape.stream(stream::CROWD + host as u32);
            let mut member = Cast::new(*troop, &tape.stream(stream::CROWD + 50 + host as u32));
            match troop.kind {
                Kind::Rival => rival = Some(rival_of(&world, there, &rival_config, tape, troop, here)),
                Kind::Nowhere(nowhere) => set_route(&world, there.ip(), nowhere),
                Kind::Nobody => {}
                Kind::Honest(_)
                | Kind::Attacker(_)
                | Kind::Hostile(_)
                | Kind::Untimely(..)
                | Kind::Dialler(_)
                | Kind::Acceptor(_) => {
                    member.crowd = Some(member.crowd_on(there, chance, here, &scenario));
                }
            }
            debug_assert_eq!(host, FIRST_TROOP + index);
            cast.push(member);
        }
        let handler = scripted_handler_of(&scenario, tape, &cast);
        let chance = scenario.is_observed.then(|| tape.stream(stream::OBSERVER_WAKES));
        // In a world that is short of memory, the observer requests no messages: they could use the room that the
        // handler's messages need.
        let observer = Observer::new(chance, !scenario.is_short_of_memory);
        let mut node =
            Checked::new(&world, net, config.clone(), (handler, observer)).expect("the configuration is valid");
        node = node.with_calls_per_sweep(scenario.calls_per_sweep);
        node.listen(here).expect("no fault is active yet");
        let course = Course::new(&world, patience);
        let resumes = course.began;
        let mut stage = Self {
            world,
            scenario,
            config,
            node,
            rival,
            cast,
            marks: Marks::default(),
            course,
            resumes,
            is_stopping: false,
        };
        stage.set_limits();
        stage.note_circumstances();
        stage
    }

    /// Sets the world's local ports, the descriptor limit of the loop's host, and the failures of that host's calls.
    fn set_limits(&self) {
        let honest: u32 = self.scenario.honest().map(|(_, troop)| troop.count).sum();
        if let Some(spare) = self.scenario.spare_descriptors {
            self.world.set_descriptor_limit(NODE, 3 + honest as usize + spare);
        }
        if let Some(ports) = self.scenario.ports {
            self.world.set_ports(40_000..=40_000 + ports);
        }
        for (site, errno, one_in) in &self.scenario.faults {
            self.world.fail_sometimes(NODE, *site, *errno, *one_in);
        }
    }

    fn note_circumstances(&mut self) {
        let scenario = &self.scenario;
        let peers: u32 = scenario.troops.iter().map(|troop| troop.count).sum();
        for (is_so, begins) in [
            (scenario.spare_descriptors.is_some(), "E1 "),
            (scenario.ports.is_some(), "E4"),
            (scenario.faults.iter().any(|(_, errno, _)| *errno == EINTR), "E14"),
            (scenario.grain == 1, "E16"),
            (self.rival.is_some(), "a second loop"),
            (scenario.poller == Poller::Linux, "a poller like"),
            (scenario.poller == Poller::Mean, "a mean"),
            (scenario.poller == Poller::Noisy, "a noisy"),
            (scenario.poller == Poller::Tiny, "a tiny"),
            (scenario.spare_inbound.is_some(), "few inbound slots"),
            (scenario.is_short_of_memory, "short of"),
            (scenario.is_observed, "a second handler"),
            (peers > 500, "a thousand"),
            (!scenario.budgets.is_empty(), "shrunk"),
        ] {
            if is_so {
                self.marks.set(Mark::circumstance(begins));
            }
        }
        for troop in scenario.troops.iter().filter(|troop| troop.count > 0) {
            match troop.kind {
                Kind::Hostile(row) => self.marks.set(Mark::row(row, troop.dials)),
                Kind::Attacker(attack) => self.marks.set(Mark::attack(attack, troop.dials)),
                Kind::Untimely(state, message) => {
                    let state = STATES.iter().position(|known| *known == state).expect("the state is listed");
                    self.marks.set(Mark::cell(state, message, troop.dials));
                }
                Kind::Dialler(setup) => self.marks.set(Mark::setup(setup)),
                Kind::Acceptor(reaction) => self.marks.set(Mark::reaction(reaction)),
                Kind::Nobody | Kind::Honest(_) | Kind::Rival | Kind::Nowhere(_) => {}
            }
        }
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    pub(super) fn events(&self) -> u64 {
        self.node.socket_events() + self.rival.as_ref().map_or(0, Checked::socket_events)
    }

    fn run_until(&mut self, until: Instant) {
        let mut actors: Vec<&mut dyn Actor> = vec![&mut self.node];
        actors.extend(self.rival.iter_mut().map(|rival| rival as &mut dyn Actor));
        actors.extend(self.cast.iter_mut().filter_map(|cast| cast.crowd.as_mut().map(|crowd| crowd as &mut dyn Actor)));
        self.course.run_until(until, &mut actors);
    }

    // --- The phases -------------------------------------------------------------------------------------------------

    /// Runs the first phase, in which faults and drawn events happen.
    pub(super) fn run_safety(&mut self) {
        let until = self.course.began.plus(self.scenario.length);
        let deeds = self.scenario.deeds.clone();
        let mut moments: Vec<(Instant, Option<Deed>)> =
            deeds.into_iter().map(|(at, deed)| (self.course.began.plus(at), Some(deed))).collect();
        let pieces = (self.scenario.length.as_secs() / 30).max(1);
        moments.extend((1..=pieces).map(|piece| {
            let share = self.scenario.length.mul_f64(piece as f64 / pieces as f64);
            (self.course.began.plus(share).min(until), None)
        }));
        moments.sort_by_key(|(at, _)| *at);
        let mut heals: Vec<(Instant, usize)> = Vec::new();
        for (at, deed) in moments {
            heals.sort_unstable();
            while let Some(&(heal_at, host)) = heals.first()
                && heal_at <= at
            {
                heals.remove(0);
                self.run_until(heal_at);
                self.world.heal(host);
            }
            self.run_until(at);
            if !self.course.is_running || self.node.has_ended() || self.events() > MAX_EVENTS {
                break;
            }
            if let Some(deed) = deed {
                self.apply_deed(deed, &mut heals);
            }
        }
        self.course.is_running &= !self.node.has_ended();
    }

    fn apply_deed(&mut self, deed: Deed, heals: &mut Vec<(Instant, usize)>) {
        let handle = self.node.handle();
        let known: Vec<(PeerId, usize)> = self.handler().known().map(|known| (known.id, known.troop)).collect();
        // Like the handler, users do nothing to judged peers.
        let free: Vec<PeerId> = known
            .into_iter()
            .filter(|(_, troop)| self.cast.get(*troop).is_some_and(|cast| !judge::is_judged(&cast.troop)))
            .map(|(id, _)| id)
            .collect();
        let pick = |pick: u32| (!free.is_empty()).then(|| free[pick as usize % free.len()]);
        match deed {
            Deed::Cut { host, time } if host != NODE => {
                self.marks.set(Mark::circumstance("P17"));
                self.world.cut(host);
                heals.push((self.world.now().plus(time), host));
            }
            Deed::Cut { host, time } | Deed::Pause { host, time } => {
                self.marks.set(Mark::circumstance("E6"));
                self.resumes = self.resumes.max(self.world.now().plus(time));
                self.world.pause_host(host, time);
            }
            Deed::Reset { pick: number } => {
                self.marks.set(Mark::circumstance("a reset"));
                if let Some(peer) = pick(number) {
                    self.world.reset(NODE, link_of(peer));
                }
            }
            Deed::UserDial { troop } if !self.cast[troop].troop.dials && !judge::is_judged(&self.cast[troop].troop) => {
                let address = SocketAddr::new(self.world_ip(FIRST_TROOP + troop), PORT);
                let _ = handle.connect(address, None);
            }
            Deed::UserDial { .. } => {}
            Deed::UserClose { pick: number } => {
                if let Some(peer) = pick(number) {
                    self.node.handler_mut().0.is_asked_to_close(peer);
                    let _ = handle.close(peer);
                }
            }
            Deed::UserCloseGone { pick: number } => {
                let removed = &self.handler().removed;
                if !removed.is_empty() {
                    let _ = handle.close(removed[number as usize % removed.len()]);
                }
            }
            Deed::UserSend { pick: number } => {
                if let Some(peer) = pick(number) {
                    self.send_as_user(peer);
                }
            }
            Deed::UserFlood => {
                // More than the request queue holds.
                (0..2_000).for_each(|_| drop(handle.stats()));
            }
            Deed::UserStats => {
                drop(handle.stats());
                self.greet();
            }
            Deed::Stop => {
                self.marks.set(Mark::circumstance("E22"));
                self.is_stopping = true;
                let _ = handle.stop();
            }
        }
    }

    /// Sends a user's message: through a `Ctx` between two turns in an observed world, else through the handle.
    fn send_as_user(&mut self, peer: PeerId) {
        let mut frame = Vec::new();
        put_frame(NETWORK.magic(), CommandName::GETADDR, &[], &mut frame);
        let frame = Bytes::from(frame);
        if self.scenario.is_observed {
            let _ = self.node.act(|_, ctx| ctx.send_shared(peer, &frame));
        } else {
            let _ = self.node.handle().send(peer, frame);
        }
    }

    /// Makes the handler send a message to every peer that is not judged.
    fn greet(&mut self) {
        if self.scenario.is_observed {
            self.node.act(|(handler, _), ctx| handler.on_request(&mut ctx.first(), Wish::Greet));
        } else {
            let _ = self.node.handle().request(PairRequest::First(Wish::Greet));
        }
    }

    /// Returns the scripted handler.
    pub(super) fn handler(&self) -> &ScriptedHandler {
        &self.node.handler().0
    }

    fn world_ip(&self, host: usize) -> IpAddr {
        let [.., last] = (host as u32 + 1).to_be_bytes();
        IpAddr::from([10, 0, 0, last])
    }

    /// Ends all faults, removes the hostile peers, and waits until all pauses have ended.
    pub(super) fn calm_down(&mut self) {
        self.world.clear_faults();
        self.world.set_descriptor_limit(NODE, usize::MAX);
        self.world.set_ports(32_768..=60_999);
        for host in 0..=self.cast.len() {
            self.world.heal(host);
        }
        for cast in self.cast.iter_mut().filter(|cast| cast.troop.kind.is_hostile()) {
            cast.crowd = None;
        }
        self.run_until(self.world.now().max(self.resumes));
    }

    /// Checks that every honest peer is served in time, unless a user has already stopped the loop.
    pub(super) fn run_liveness(&mut self) {
        if self.is_stopping {
            return;
        }
        let began = self.world.now();
        let mut pause = Duration::from_secs(2);
        self.wish(Wish::Calm);
        loop {
            self.run_until(self.world.now().plus(pause));
            if !self.course.is_running {
                return;
            }
            let waits = judge::list_waiting(self);
            if waits.is_empty() {
                return;
            }
            if self.world.now().since(began) > RECOVERY {
                return self.course.found(39, waits.join("; "));
            }
            for cast in &mut self.cast {
                cast.fill_up(SocketAddr::new(IpAddr::from([10, 0, 0, 1]), PORT), self.world.now());
            }
            self.wish(Wish::Calm);
            self.wish(Wish::Check);
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }

    /// Sends a request to each loop. A paused loop's request queue may be full, so callers repeat the request.
    fn wish(&self, wish: Wish) {
        let _ = self.node.handle().request(PairRequest::First(wish));
        if let Some(rival) = &self.rival {
            let _ = rival.handle().request(wish);
        }
    }

    /// Stops the loops and checks that they release everything.
    pub(super) fn run_shutdown(&mut self) {
        // A stopped loop refuses the request.
        let stop = self.node.handle().stop().ok();
        let rival_stop = self.rival.as_ref().and_then(|rival| rival.handle().stop().ok());
        self.run_until(self.world.now().plus(SHUTDOWN_GRACE + CLOSE_GRACE + Duration::from_secs(1)));
        if !self.course.is_running {
            return;
        }
        for (host, stop) in [(NODE, stop), (FIRST_TROOP, rival_stop)] {
            let rival = || self.rival.as_ref().map(Checked::has_ended);
            let has_ended = if host == NODE { Some(self.node.has_ended()) } else { rival() };
            let Some(has_ended) = has_ended else { continue };
            let is_answered = stop.is_none_or(|stop| stop.try_take() == Ok(Some(())));
            self.course.check_stopped(host, has_ended, is_answered);
        }
        let left: usize = self.cast.iter().filter_map(|cast| cast.crowd.as_ref()).map(Crowd::len).sum();
        if left > 0 {
            self.course.found(36, format!("{left} peers are still connected to a stopped loop"));
        }
    }
}

impl Cast {
    fn new(troop: Troop, chance: &Chance) -> Self {
        let journal = Journal::new();
        let mut character = actor::Profile::new(NETWORK.magic(), &journal);
        let mut steps = Vec::new();
        match troop.kind {
            Kind::Honest(quirk) => {
                character = match quirk {
                    Quirk::None => character,
                    Quirk::Eager => character.eager(),
                    Quirk::NoProtoconf => character.without_protoconf(),
                    Quirk::ShortVersion(tail) => character.with_version_tail(VersionTail::ALL[tail]),
                    Quirk::OldVersion(version) => character.with_protocol_version(version),
                    Quirk::OddAgent => character.with_user_agent(b"/\x1b[2J\xff:0.0.0/"),
                };
                if let Some(every) = troop.pings_every {
                    let is_old = matches!(quirk, Quirk::OldVersion(version) if version <= 60_000);
                    character = if is_old { character } else { character.pinging(every) };
                }
            }
            Kind::Dialler(_) | Kind::Acceptor(_) => {
                if let Some(every) = troop.pings_every {
                    character = character.pinging(every);
                }
            }
            Kind::Hostile(row) => steps = (ROWS[row].steps)(chance),
            Kind::Untimely(_, message) => steps = cell(MESSAGES[message]),
            Kind::Nobody | Kind::Attacker(_) | Kind::Rival | Kind::Nowhere(_) => {}
        }
        let (character, received) = (Rc::new(character), Rc::default());
        Self { troop, crowd: None, journal, received, steps: steps.into(), character, associations: Rc::default() }
    }

    fn crowd_on(&self, net: SimNet, chance: Chance, node: SocketAddr, scenario: &Scenario) -> Crowd {
        let mut crowd = Crowd::new(net, chance);
        let mut role = self.role();
        if self.troop.dials {
            let from = scenario.start.plus(self.troop.from);
            crowd.dial_many(node, from, self.troop.every, self.connections(self.troop.count), move |_| role());
        } else {
            crowd.listen(PORT, move |_| role()).expect("no fault is active yet");
        }
        crowd
    }

    /// Returns a hash of the messages that each peer has received; none if the peers are not honest.
    pub(super) fn digests(&self) -> Vec<u64> {
        if self.troop.kind.is_honest() { self.received.borrow().digests.clone() } else { Vec::new() }
    }

    /// Returns the number of connections with which `peers` of the troop dial the loop.
    fn connections(&self, peers: u32) -> u64 {
        let of_peer = if let Kind::Dialler(_) = self.troop.kind { 2 } else { 1 };
        u64::from(peers) * of_peer
    }

    fn role(&self) -> Box<dyn FnMut() -> Role> {
        let Self { troop, character, received, steps, associations, .. } = self;
        let (troop, character, received, steps) = (*troop, Rc::clone(character), Rc::clone(received), Rc::clone(steps));
        match troop.kind {
            Kind::Dialler(setup) => {
                // Each peer's first connection is followed by its second one.
                let (mut current, associations) = (None, Rc::clone(associations));
                return Box::new(move || match current.take() {
                    Some(peer) => {
                        let further = AssociationDialler::further_persona(&peer);
                        Role::of(NumberedPeer::new(further, troop.manner, &received))
                    }
                    None => {
                        let mut associations = associations.borrow_mut();
                        let peer = AssociationDialler::new(&character, setup, associations.len() as u64);
                        associations.push(peer.association().clone());
                        let general = NumberedPeer::new(peer.general_persona(), troop.manner, &received);
                        current = Some(peer);
                        Role::of(general)
                    }
                });
            }
            Kind::Acceptor(reaction) => {
                let acceptor = AssociationAcceptor::new(&character, reaction);
                return Box::new(move || Role::of(NumberedPeer::new(acceptor.persona(), troop.manner, &received)));
            }
            Kind::Honest(_)
            | Kind::Nobody
            | Kind::Rival
            | Kind::Nowhere(_)
            | Kind::Attacker(_)
            | Kind::Hostile(_)
            | Kind::Untimely(..) => {}
        }
        Box::new(move || match troop.kind {
            Kind::Attacker(attack) => Role::of(Attacker::new(attack_at(attack), &character, &Rc::default())),
            Kind::Hostile(row) => Role::of(ScriptedAttacker::new(ROWS[row].manners, &steps)),
            Kind::Untimely(manners, _) => Role::of(ScriptedAttacker::new(manners, &steps)),
            Kind::Honest(_) | Kind::Nobody | Kind::Rival | Kind::Nowhere(_) | Kind::Dialler(_) | Kind::Acceptor(_) => {
                Role::of(NumberedPeer::new(Honest::new(&character), troop.manner, &received))
            }
        })
    }

    /// Makes the missing peers of an honest troop dial the loop, if the troop dials.
    fn fill_up(&mut self, node: SocketAddr, now: Instant) {
        let (mut role, connections_of_peer) = (self.role(), self.connections(1) as u32);
        let Some(crowd) = &mut self.crowd else { return };
        if !self.troop.kind.is_honest() || !self.troop.dials || crowd.dials_left() > 0 {
            return;
        }
        let peers = if let Kind::Dialler(_) = self.troop.kind {
            self.associations.borrow().iter().filter(|association| !association.is_over()).count()
        } else {
            crowd.len()
        };
        let missing = u64::from(self.troop.count.saturating_sub(peers as u32) * connections_of_peer);
        crowd.dial_many(node, now, Duration::from_millis(10), missing, move |_| role());
    }
}

fn config_of(scenario: &Scenario, tape: &Tape) -> Config {
    let inbound: u32 = scenario.honest().filter(|(_, troop)| troop.dials).map(|(_, troop)| troop.count).sum();
    let mut config = Config::new(NETWORK)
        .with_max_links(4_000)
        .with_max_inbound(scenario.spare_inbound.map_or(usize::MAX, |spare| inbound as usize + spare))
        .with_ping_interval(scenario.ping_interval)
        .with_pong_timeout(scenario.pong_timeout)
        .with_multistreams(scenario.multistreams[0])
        .with_seed(Some(tape.stream(stream::RIVAL).range(0, u64::MAX)));
    config.version_rules.banned_agents.push("/banned:*".into());
    if scenario.is_short_of_memory {
        config.max_buffered_total_bytes = 20_000;
        config.max_buffered_message_bytes = 10_000;
    }
    config
}

fn scripted_handler_of(scenario: &Scenario, tape: &Tape, cast: &[Cast]) -> ScriptedHandler {
    let troops = cast.iter().enumerate().map(|(index, cast)| {
        let troop = &cast.troop;
        let [.., last] = (FIRST_TROOP as u32 + index as u32 + 1).to_be_bytes();
        let there = SocketAddr::from(([10, 0, 0, last], PORT));
        let is_there = troop.kind != Kind::Nobody && !troop.dials && troop.count > 0;
        TroopState {
            habit: troop.habit,
            dials: is_there.then_some((there, troop.count)),
            chance: tape.stream(stream::HABIT + index as u32),
            chance_inside: tape.stream(stream::DEEDS_INSIDE + index as u32),
            timekeeper: Timekeeper::new(tape.stream(stream::TIMERS + index as u32)),
            is_honest: troop.kind.is_honest(),
            is_judged: judge::is_judged(troop),
            answers: troop.kind == Kind::Rival,
        }
    });
    ScriptedHandler::new(troops.collect(), FIRST_TROOP, scenario.bulk_bytes, scenario.is_short_of_memory)
}

/// Builds the other loop, which knows only the loop under test. Its configuration is `config` except for the seed and
/// the number of inbound peers, which is unlimited.
fn rival_of(
    world: &World,
    net: SimNet,
    config: &Config,
    tape: &Tape,
    troop: &Troop,
    node: SocketAddr,
) -> Checked<ScriptedHandler> {
    let there = SocketAddr::new(net.ip(), PORT);
    let node = TroopState {
        habit: Habit { is_rough: false, pauses: false, ..troop.habit },
        dials: troop.dials.then_some((node, troop.count)),
        chance: tape.stream(stream::RIVAL + 1),
        chance_inside: tape.stream(stream::RIVAL + 2),
        timekeeper: Timekeeper::new(tape.stream(stream::RIVAL + 3)),
        is_honest: true,
        is_judged: false,
        answers: true,
    };
    let config = config.clone().with_seed(config.seed.map(|seed| !seed)).with_max_inbound(usize::MAX);
    let handler = ScriptedHandler::new(vec![node], NODE, 1_000, true);
    let mut rival = Checked::new(world, net, config, handler).expect("the configuration is valid");
    rival.listen(there).expect("no fault is active yet");
    rival
}

fn set_route(world: &World, to: IpAddr, nowhere: Nowhere) {
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(9));
    let route = match nowhere {
        Nowhere::NoListener => Route::Open,
        Nowhere::Silent => Route::Silent { least, most },
        Nowhere::NoHost => Route::NoHost { least, most },
        Nowhere::NoNetwork => Route::NoNetwork,
    };
    world.set_route(to, route);
}
