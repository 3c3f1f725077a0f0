//! A run as plain data, drawn before it begins. The file `description.rs` describes a run in words.
//!
//! As in swarm testing, each tape determines which features its world has, and how much of each. Most worlds lack
//! most features, and some have a lot of one feature. Related features share a stream. In each stream, a draw of 0 is
//! the simplest choice, for example no fault or no cut.

use super::judge::is_judged;
use super::managed::Plan;
use super::numbered_peer::Manner;
use super::scripted_attacker::{MESSAGES, Manners, ROWS, STATES};
use super::trouble::{draw_budgets, draw_faults};
use peerloop::config::Multistreams;
use peerloop::internals::Budget;
use peerloop::internals::errno;
use peerloop::sim::Conditions;
use peerloop::sim::Poller;
use peerloop::sim::Site;
use peerloop::sim::actor::{Reaction, Setup, byzantine};
use peerloop::sim::{Chance, Tape};
use peerloop::sim::{Cut, Cuts};
use peerloop::time::Instant;
use std::time::Duration;

/// The host of the loop under test.
pub(super) const NODE: usize = 0;
/// Number of a world's ordinary troops. Most of them are empty. One more troop concerns streams.
pub(super) const MAX_TROOPS: usize = 9;
/// Approximate number of socket events that a world should have.
const EVENTS_AIM: u64 = 8_000;
/// Maximum number of calls for filling a pipe on purpose. A pipe that needs more calls is not filled.
const MAX_CALLS_TO_FILL: usize = 20_000;

/// The streams of a tape that a swarm draws from; the virtual kernel's streams have higher numbers.
pub(super) mod stream {
    pub(crate) const WORLD: u32 = 0;
    pub(crate) const FAULTS: u32 = 1;
    pub(crate) const BUDGETS: u32 = 2;
    pub(crate) const DEEDS: u32 = 3;
    pub(crate) const LIMITS: u32 = 4;
    pub(crate) const INSIDE: u32 = 5;
    pub(crate) const OBSERVER: u32 = 6;
    pub(crate) const OBSERVER_WAKES: u32 = 7;
    pub(crate) const ASSOCIATIONS: u32 = 8;
    pub(crate) const STREAM_TROOP: u32 = 9;
    pub(crate) const TROOP: u32 = 100;
    pub(crate) const HABIT: u32 = 200;
    pub(crate) const CROWD: u32 = 300;
    pub(crate) const RIVAL: u32 = 400;
    pub(crate) const DEEDS_INSIDE: u32 = 500;
    pub(crate) const TIMERS: u32 = 600;
}

/// The kind of worlds to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// All features.
    #[default]
    Standard,
    /// The same worlds without their hostile peers.
    WithoutHostile,
    /// The same worlds with all of the loop's budgets at full size, as in a build that cannot shrink them.
    WholeBudgets,
}

/// The complete data of a run; its `Display` describes the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub(super) start: Instant,
    /// Maximum duration of the first phase, in which faults and drawn events happen.
    pub(super) length: Duration,
    pub(super) conditions: Conditions,
    /// Approximate number of bytes that one call moves.
    pub(super) grain: usize,
    pub(super) poller: Poller,
    pub(super) crowd_poller: Poller,
    pub(super) ping_interval: Duration,
    pub(super) pong_timeout: Duration,
    /// The setting of the loop under test, and that of the other loop, if there is one.
    pub(super) multistreams: [Multistreams; 2],
    /// Inbound slots in addition to those of the honest peers; `None` if there is no limit.
    pub(super) spare_inbound: Option<usize>,
    pub(super) is_short_of_memory: bool,
    /// Whether the second handler makes requests, and users send between two turns instead of through the handle.
    pub(super) is_observed: bool,
    pub(super) bulk_bytes: usize,
    pub(super) calls_per_sweep: u64,
    /// The troops, in the order of their hosts, beginning with host 1.
    pub(super) troops: Vec<Troop>,
    pub(super) faults: Vec<(Site, i32, u32)>,
    pub(super) budgets: Vec<(Budget, usize)>,
    pub(super) deeds: Vec<(Duration, Deed)>,
    /// Descriptors in addition to those that the honest peers need; `None` if there is no limit.
    pub(super) spare_descriptors: Option<usize>,
    pub(super) ports: Option<u16>,
    /// The plan of a managed world, whose peers replace the troops; `None` if the world is not managed.
    pub(super) managed: Option<Plan>,
}

/// Peers of one kind, on a host of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Troop {
    pub(super) kind: Kind,
    pub(super) count: u32,
    /// Whether the peers dial the loop; otherwise the loop dials the peers.
    pub(super) dials: bool,
    pub(super) from: Duration,
    pub(super) every: Duration,
    pub(super) manner: Manner,
    /// Pause between two pings of an honest peer.
    pub(super) pings_every: Option<Duration>,
    pub(super) habit: Habit,
}

/// The kind of a troop's peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nobody,
    Honest(Quirk),
    /// Another loop like the one under test.
    Rival,
    /// One of the attacks of [`byzantine`], by its index.
    Attacker(usize),
    /// One of the behaviours that no attack covers, by its index in [`ROWS`].
    Hostile(usize),
    /// One message, by its index in [`MESSAGES`], in one state of the handshake.
    Untimely(Manners, usize),
    /// An address at which no dial finds a listener.
    Nowhere(Nowhere),
    /// A peer that dials the loop with two connections.
    Dialler(Setup),
    /// A peer that the loop dials, and that may accept a second stream.
    Acceptor(Reaction),
}

/// How an honest peer differs from the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    Eager,
    NoProtoconf,
    ShortVersion(usize),
    OldVersion(i32),
    OddAgent,
}

/// Why a dial finds no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    NoListener,
    Silent,
    NoHost,
    NoNetwork,
}

/// The handler's treatment of a troop's peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habit {
    /// Pause between two actions of the handler; zero if it does not act.
    pub(super) acts_every: Duration,
    /// Whether the handler closes and aborts connections.
    pub(super) is_rough: bool,
    pub(super) pauses: bool,
    /// Whether the handler chooses the delivery of each message at random.
    pub(super) is_moody: bool,
    /// Whether the handler dials again in the callback for a close.
    pub(super) redials_at_once: bool,
    /// Whether the handler sends more than a peer that does not read can receive.
    pub(super) overwhelms: bool,
    /// Limit for the size, in bytes, of the whole messages that the handler's `act_inside` sends from inside
    /// callbacks. If it is 0, `act_inside` and `fill` send nothing.
    pub(super) max_inside_bytes: u32,
}

/// An event of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Cut { host: usize, time: Duration },
    Pause { host: usize, time: Duration },
    Reset { pick: u32 },
    UserDial { troop: usize },
    UserClose { pick: u32 },
    UserCloseGone { pick: u32 },
    UserSend { pick: u32 },
    UserFlood,
    UserStats,
    Stop,
}

impl Scenario {
    /// Draws a scenario from `tape`.
    pub fn draw(tape: &Tape, profile: Profile) -> Self {
        let chance = tape.stream(stream::WORLD);
        let start = draw_start(&chance);
        let length = Duration::from_secs(*chance.pick(&[60, 120, 240, 480, 900]));
        let conditions = draw_conditions(&chance);
        let poller = *chance.pick(&[Poller::Linux, Poller::Mean, Poller::Noisy, Poller::Tiny]);
        let crowd_poller = *chance.pick(&[Poller::Linux, Poller::Linux, Poller::Mean, Poller::Tiny]);
        let size = draw_size(&chance);
        let ping_interval = Duration::from_secs(*chance.pick(&[120, 20, 60, 7]));
        let pong_timeout = Duration::from_secs(*chance.pick(&[30, 5, 30]));
        let bulk_bytes = *chance.pick(&[1_000, 0, 30_000, 100_000]);
        let calls_per_sweep = *chance.pick(&[1_024, 256, 1_024, 2_048]);
        let budgets = draw_budgets(&tape.stream(stream::BUDGETS));
        let read =
            budgets.iter().find(|(budget, _)| *budget == Budget::ReadBytes).map_or(usize::MAX, |(_, size)| *size);
        let grain = grain_of(&conditions).min(read);
        let mut scenario = Self {
            start,
            length,
            poller,
            crowd_poller,
            ping_interval,
            pong_timeout,
            multistreams: draw_multistreams(&tape.stream(stream::ASSOCIATIONS)),
            spare_inbound: None,
            is_short_of_memory: false,
            bulk_bytes: bulk_bytes.min(grain * 200),
            calls_per_sweep,
            troops: Vec::new(),
            // A tape that was recorded before this draw existed yields 0.
            is_observed: tape.stream(stream::OBSERVER).below(4) == 3,
            faults: draw_faults(&tape.stream(stream::FAULTS)),
            budgets,
            deeds: Vec::new(),
            spare_descriptors: None,
            ports: None,
            managed: Plan::draw(tape, length),
            conditions,
            grain,
        };
        scenario.draw_troops(tape, size);
        scenario.draw_inside(&tape.stream(stream::INSIDE));
        scenario.draw_limits(&tape.stream(stream::LIMITS));
        scenario.draw_deeds(&tape.stream(stream::DEEDS));
        if scenario.is_comparable() {
            // Messages from inside callbacks would not be comparable: how often a peer becomes writable depends on
            // the turn's other work.
            scenario.troops.iter_mut().for_each(|troop| troop.habit.max_inside_bytes = 0);
        }
        if profile == Profile::WithoutHostile {
            for troop in scenario.troops.iter_mut().filter(|troop| troop.kind.is_hostile()) {
                troop.kind = Kind::Nobody;
            }
        }
        scenario
    }

    /// Returns whether the environment ends no connection: the world has no failing calls, no limits on slots,
    /// descriptors and ports, no cut networks, no paused hosts, no resets and no stop.
    pub fn is_quiet(&self) -> bool {
        let is_still = |(_, deed): &(Duration, Deed)| match deed {
            Deed::Cut { .. } | Deed::Pause { .. } | Deed::Reset { .. } | Deed::Stop => false,
            Deed::UserDial { .. }
            | Deed::UserClose { .. }
            | Deed::UserCloseGone { .. }
            | Deed::UserSend { .. }
            | Deed::UserFlood
            | Deed::UserStats => true,
        };
        let is_ample = self.spare_inbound.is_none() && self.spare_descriptors.is_none() && self.ports.is_none();
        self.faults.is_empty() && is_ample && self.deeds.iter().all(is_still)
    }

    /// Returns whether the honest peers must receive the same messages with and without the hostile peers.
    pub fn is_comparable(&self) -> bool {
        let is_ordered = matches!(self.poller, Poller::Linux | Poller::Mean)
            && matches!(self.crowd_poller, Poller::Linux | Poller::Mean);
        let is_alone = self.deeds.is_empty() && self.troops.iter().any(|troop| troop.kind.is_hostile());
        self.managed.is_none() && self.is_quiet() && is_ordered && is_alone && !self.is_short_of_memory
    }

    /// Returns whether the error is EINTR and signals may interrupt calls at this site. No layer above the virtual
    /// kernel sees such failures.
    pub(super) fn has_interrupted(&self, site: Site, errno: i32) -> bool {
        errno == errno::EINTR && self.faults.iter().any(|fault| (fault.0, fault.1) == (site, errno))
    }

    /// Returns the honest troops, each with its index. In the second phase, all their peers must be served unless the
    /// loop is stopped.
    pub(super) fn honest(&self) -> impl Iterator<Item = (usize, &Troop)> {
        self.troops.iter().enumerate().filter(|(_, troop)| troop.kind.is_honest())
    }

    fn draw_troops(&mut self, tape: &Tape, size: u32) {
        let grain = self.grain;
        let mut left = size;
        for index in 0..MAX_TROOPS {
            let chance = tape.stream(stream::TROOP + index as u32);
            let mut kind = draw_kind(index, &chance);
            if matches!(kind, Kind::Attacker(attack) if is_heavy(attack) && grain < 1_000) {
                kind = Kind::Nobody;
            }
            let most = match kind {
                Kind::Nobody => 0,
                Kind::Rival => 4.min(left),
                Kind::Honest(_) if index == 1 => left.div_ceil(2),
                Kind::Attacker(attack) if is_heavy(attack) => 3.min(left),
                Kind::Honest(_)
                | Kind::Attacker(_)
                | Kind::Hostile(_)
                | Kind::Untimely(..)
                | Kind::Nowhere(_)
                | Kind::Dialler(_)
                | Kind::Acceptor(_) => left.div_ceil(3),
            };
            let count = chance.range(u64::from(most.min(1)), u64::from(most)) as u32;
            left -= count.min(left);
            let dials = !chance.one_in(2) && !matches!(kind, Kind::Nowhere(_));
            let from = Duration::from_millis(chance.range(0, self.length.as_millis() as u64 / 2));
            let every = Duration::from_millis(chance.range(0, 2_000));
            let mut habit = draw_habit(&chance, kind);
            // Sending megabytes byte by byte costs more time than it is worth.
            let fills_soon = self.conditions.capacity_bytes / grain <= MAX_CALLS_TO_FILL;
            let reads_little = matches!(kind, Kind::Hostile(row) if ROWS[row].threat == "P8");
            habit.overwhelms &= grain >= 1_000 || reads_little && fills_soon;
            let manner = Manner { every: None, most_bytes: 0 };
            self.troops.push(Troop { kind, count, dials, from, every, manner, pings_every: None, habit });
        }
        self.draw_stream_troop(&tape.stream(stream::STREAM_TROOP));
        self.set_pace(tape);
    }

    /// Draws the troop that concerns streams.
    fn draw_stream_troop(&mut self, chance: &Chance) {
        let (kind, dials) = match chance.below(8) {
            0..=2 => (Kind::Nobody, false),
            3 | 4 => (Kind::Dialler(*chance.pick(&Setup::ALL)), true),
            5 | 6 => (Kind::Acceptor(*chance.pick(&Reaction::ALL)), false),
            _ => {
                let attack = FIRST_STREAM_ATTACK + chance.below(ATTACKS - FIRST_STREAM_ATTACK);
                (Kind::Attacker(attack as usize), !chance.one_in(2))
            }
        };
        let count = if kind == Kind::Nobody { 0 } else { 1 + chance.below(4) };
        let from = Duration::from_millis(chance.range(0, self.length.as_millis() as u64 / 2));
        let every = Duration::from_millis(chance.range(0, 2_000));
        let habit = draw_habit(chance, kind);
        let manner = Manner { every: None, most_bytes: 0 };
        self.troops.push(Troop { kind, count, dials, from, every, manner, pings_every: None, habit });
    }

    /// Sets how often and how much the honest peers send, so that a world has about [`EVENTS_AIM`] events.
    fn set_pace(&mut self, tape: &Tape) {
        let grain = self.grain;
        let honest: u32 = self.honest().map(|(_, troop)| troop.count).sum();
        let events_per_exchange = 5 + 4 * 40_u64.div_ceil(grain as u64);
        let exchanges = (EVENTS_AIM / events_per_exchange).max(1);
        let pace = self.length.mul_f64(f64::from(honest.max(1)) / exchanges as f64);
        let pace = pace.clamp(Duration::from_millis(40), Duration::from_secs(120));
        let most_bytes = *tape.stream(stream::WORLD).pick(&[100, 0, 2_000, 60_000, 200_000]);
        for troop in self.troops.iter_mut().filter(|troop| troop.kind.is_honest()) {
            troop.manner.most_bytes = most_bytes.min(grain as u32 * 60);
            troop.manner.every = Some(pace * 2).filter(|_| !troop.habit.redials_at_once || grain > 1);
            troop.pings_every = Some(pace * 3 / 2);
            troop.habit.acts_every = if troop.habit.acts_every.is_zero() { Duration::ZERO } else { pace * 2 };
        }
    }

    /// Draws each troop's `max_inside_bytes`. For a judged troop it stays 0.
    fn draw_inside(&mut self, chance: &Chance) {
        for troop in &mut self.troops {
            let max_inside_bytes = *chance.pick(&[0, 0, 20_000, 40_000]);
            if !is_judged(troop) {
                troop.habit.max_inside_bytes = max_inside_bytes.min(self.grain as u32 * 60);
            }
        }
    }

    fn draw_limits(&mut self, chance: &Chance) {
        if !chance.one_in(3) {
            return;
        }
        self.spare_inbound = chance.one_in(2).then(|| chance.below(4) as usize);
        self.spare_descriptors = chance.one_in(2).then(|| chance.below(6) as usize);
        self.ports = chance.one_in(3).then(|| 1 + chance.below(8) as u16);
        self.is_short_of_memory = chance.one_in(3);
    }

    fn draw_deeds(&mut self, chance: &Chance) {
        if !chance.one_in(2) {
            return;
        }
        let is_harsh = chance.one_in(2);
        for _ in 0..chance.below(12) {
            let at = Duration::from_millis(chance.range(0, self.length.as_millis() as u64));
            let host = chance.below(MAX_TROOPS as u32 + 1) as usize;
            let time = Duration::from_secs(*chance.pick(&[1, 10, 40, 200, 900]));
            let pick = chance.below(1 << 16);
            let kind = chance.below(if is_harsh { 12 } else { 6 });
            let deed = match kind {
                0 => Deed::UserStats,
                1 => Deed::UserSend { pick },
                2 => Deed::UserDial { troop: host.min(MAX_TROOPS - 1) },
                3 => Deed::UserClose { pick },
                4 => Deed::UserCloseGone { pick },
                5 => Deed::UserFlood,
                6 | 7 => Deed::Cut { host, time },
                8 | 9 => Deed::Pause { host, time },
                10 if pick.is_multiple_of(8) => Deed::Stop,
                _ => Deed::Reset { pick },
            };
            self.deeds.push((at, deed));
        }
        self.deeds.sort_by_key(|(at, _)| *at);
    }
}

impl Kind {
    pub(super) fn is_honest(self) -> bool {
        match self {
            Self::Honest(_) | Self::Rival => true,
            Self::Dialler(setup) => !setup.closes(),
            Self::Acceptor(reaction) => reaction != Reaction::NamesOtherId,
            Self::Nobody | Self::Attacker(_) | Self::Hostile(_) | Self::Untimely(..) | Self::Nowhere(_) => false,
        }
    }

    pub(super) fn is_hostile(self) -> bool {
        match self {
            Self::Attacker(_) | Self::Hostile(_) | Self::Untimely(..) => true,
            Self::Dialler(_) | Self::Acceptor(_) => !self.is_honest(),
            Self::Nobody | Self::Honest(_) | Self::Rival | Self::Nowhere(_) => false,
        }
    }
}

/// Draws both loops' settings. A tape that was recorded before this draw existed yields `Off`.
fn draw_multistreams(chance: &Chance) -> [Multistreams; 2] {
    [(); 2].map(|()| *chance.pick(&[Multistreams::Off, Multistreams::Accept, Multistreams::Open, Multistreams::Open]))
}

/// Draws the start time: zero, or up to 200 s before a moment at which a counter of milliseconds wraps.
fn draw_start(chance: &Chance) -> Instant {
    let before = Duration::from_secs(chance.range(0, 200));
    let wrap_ms = *chance.pick(&[0, 1_u64 << 16, 1 << 24, 1 << 31, 1 << 32, 1 << 40, 3 << 16]);
    Instant::ZERO.plus(Duration::from_millis(wrap_ms)).minus(if wrap_ms == 0 { Duration::ZERO } else { before })
}

fn draw_size(chance: &Chance) -> u32 {
    match chance.below(500) {
        0..=149 => 2,
        150..=399 => 16,
        400..=498 => 64,
        _ => 1_000,
    }
}

fn draw_conditions(chance: &Chance) -> Conditions {
    if !chance.one_in(2) {
        return Conditions::default();
    }
    let capacity_bytes = *chance.pick(&[65_536, 4_096, 1_000, 100, 7, 1, 4 << 20]);
    let cut = || match chance.below(4) {
        0 | 1 => Cut::None,
        2 => Cut::AtMost(*chance.pick(&[1_000, 100, 25, 3, 1])),
        _ => Cut::Drawn,
    };
    let to_acceptor = Cuts { writes: cut(), arrivals: cut() };
    let to_dialler = Cuts { writes: cut(), arrivals: cut() };
    Conditions { capacity_bytes, to_acceptor, to_dialler }
}

/// Returns the approximate number of bytes that one call moves.
fn grain_of(conditions: &Conditions) -> usize {
    let Conditions { capacity_bytes, to_acceptor, to_dialler } = conditions;
    let cuts = [&to_acceptor.writes, &to_acceptor.arrivals, &to_dialler.writes, &to_dialler.arrivals];
    let most = cuts.into_iter().map(|cut| match cut {
        Cut::None | Cut::At(_) => usize::MAX,
        Cut::AtMost(most) => *most,
        Cut::Drawn => 2_000,
    });
    most.min().unwrap_or(usize::MAX).min(*capacity_bytes)
}

fn draw_kind(index: usize, chance: &Chance) -> Kind {
    let choice = chance.below(16);
    match index {
        0 if choice < 14 => Kind::Nobody,
        0 => Kind::Rival,
        1 => Kind::Honest(draw_quirk(chance)),
        _ => match choice {
            0..=7 => Kind::Nobody,
            8..=10 => Kind::Honest(draw_quirk(chance)),
            11 => Kind::Nowhere(*chance.pick(&[
                Nowhere::NoListener,
                Nowhere::Silent,
                Nowhere::NoHost,
                Nowhere::NoNetwork,
            ])),
            12 => Kind::Untimely(*chance.pick(&STATES), chance.below(MESSAGES.len() as u32) as usize),
            13 => Kind::Hostile(chance.below(ROWS.len() as u32) as usize),
            _ => Kind::Attacker(chance.below(FIRST_STREAM_ATTACK) as usize),
        },
    }
}

/// The index of the first attack that concerns streams. All attacks from here on do.
const FIRST_STREAM_ATTACK: u32 = {
    use byzantine::{claims, floods, framing, handshake, resources};
    let others = claims::ATTACKS.len() + floods::ATTACKS.len() + resources::ATTACKS.len();
    (framing::ATTACKS.len() + handshake::ATTACKS.len() + others) as u32
};

/// The number of attacks.
pub(super) const ATTACKS: u32 = FIRST_STREAM_ATTACK + byzantine::streams::ATTACKS.len() as u32;

/// Returns the attack with this index.
///
/// # Panics
///
/// If `index` is not below [`ATTACKS`].
pub(super) fn attack_at(index: usize) -> &'static byzantine::Attack {
    byzantine::attacks().nth(index).expect("the index is in range")
}

/// Returns whether an attack needs many bytes, which should not be sent one by one.
fn is_heavy(attack: usize) -> bool {
    ["P5", "P8", "P10", "P11", "P12", "P13", "P20", "P28", "P30", "P31"].contains(&attack_at(attack).threat)
}

fn draw_quirk(chance: &Chance) -> Quirk {
    match chance.below(10) {
        0..=4 => Quirk::None,
        5 => Quirk::Eager,
        6 => Quirk::NoProtoconf,
        7 => Quirk::ShortVersion(chance.below(6) as usize),
        8 => Quirk::OldVersion(*chance.pick(&[70_015, 70_012, 70_001, 60_001, 60_000, 31_800])),
        _ => Quirk::OddAgent,
    }
}

fn draw_habit(chance: &Chance, kind: Kind) -> Habit {
    let may_act = chance.one_in(2);
    let acts_every = if may_act { Duration::from_secs(2) } else { Duration::ZERO };
    let habit = Habit {
        acts_every,
        is_rough: may_act && chance.one_in(2),
        pauses: may_act && chance.one_in(3),
        is_moody: chance.one_in(2),
        redials_at_once: chance.one_in(2),
        overwhelms: kind.is_hostile() && chance.one_in(4),
        max_inside_bytes: 0,
    };
    let teased = chance.one_in(3);
    match kind {
        _ if kind.is_hostile() && !teased => Habit { is_moody: habit.is_moody, ..Habit::default() },
        _ => habit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_tape_of_zeros_is_the_simplest_world() {
        let scenario = Scenario::draw(&Tape::of_draws(BTreeMap::new()), Profile::Standard);
        let there: Vec<&Troop> = scenario.troops.iter().filter(|troop| troop.kind != Kind::Nobody).collect();
        assert_eq!((there.len(), there[0].kind, there[0].count), (1, Kind::Honest(Quirk::None), 1));
        assert!(there[0].dials && there[0].habit == Habit::default());
        assert!(scenario.is_quiet() && scenario.deeds.is_empty() && scenario.budgets.is_empty());
        assert_eq!((scenario.start, &scenario.conditions), (Instant::ZERO, &Conditions::default()));
        assert_eq!((scenario.poller, scenario.crowd_poller), (Poller::Linux, Poller::Linux));
    }

    #[test]
    fn six_features_occur_in_their_intended_shares_of_worlds() {
        let drawn: Vec<Scenario> =
            (0..400).map(|seed| Scenario::draw(&Tape::from_seed(seed), Profile::Standard)).collect();
        let share = |has: fn(&Scenario) -> bool| drawn.iter().filter(|scenario| has(scenario)).count() * 100 / 400;
        assert!((40..60).contains(&share(|scenario| scenario.faults.is_empty())));
        assert!((30..70).contains(&share(|scenario| scenario.budgets.is_empty())));
        assert!((10..50).contains(&share(Scenario::is_quiet)));
        assert!((1..20).contains(&share(Scenario::is_comparable)));
        assert!((2..40).contains(&share(|scenario| scenario.grain == 1)));
        assert!((5..40).contains(&share(|scenario| scenario.troops[0].kind == Kind::Rival)));
    }

    #[test]
    fn removing_the_hostile_peers_does_not_change_the_other_troops() {
        for seed in 0..100 {
            let [with, without] = [Profile::Standard, Profile::WithoutHostile]
                .map(|profile| Scenario::draw(&Tape::from_seed(seed), profile));
            for (with, without) in with.troops.iter().zip(&without.troops) {
                assert!(!without.kind.is_hostile());
                assert!(with.kind.is_hostile() || with == without, "{with} became {without}");
            }
            assert_eq!((with.deeds, with.faults), (without.deeds, without.faults));
        }
    }
}
