//! A managed world as plain data, drawn before the run begins.

use super::resident::Nature;
use crate::scripted_attacker::NETWORK;
use peerloop::config::{Config, DialMode, ManagerConfig};
use peerloop::error::Disconnect;
use peerloop::sim::{Chance, Tape};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The name of the DNS seed that returns the honest peers' addresses.
pub(super) const SEED_NAME: &str = "seed.example";
/// The port of each host's first listener; further listeners use the following ports.
pub(super) const PORT: u16 = 18_444;
const MAX_HOSTS: u32 = 12;

/// The numbers of the tape's streams from which a managed world is drawn.
pub(crate) mod stream {
    pub(crate) const MANAGED: u32 = 500;
    pub(crate) const SETTINGS: u32 = 501;
    pub(crate) const PAIRS: u32 = 502;
    pub(crate) const RESIDENT: u32 = 520;
    pub(crate) const FLOOD: u32 = 560;
}

/// A managed world.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(super) manager: ManagerConfig,
    /// The nature of each host's peers and the number of its ports, beginning with host 1.
    pub(super) residents: Vec<(Nature, u16)>,
    pub(super) floods: Vec<Flood>,
    pub(super) deeds: Vec<(Duration, Deed)>,
    pub(super) has_wild_names: bool,
    pub(super) has_wild_disk: bool,
    /// Whether there is a second managed loop. The two loops may dial each other.
    pub(super) has_twin: bool,
    /// Whether binding the loop's port may fail.
    pub(super) is_port_in_doubt: bool,
    /// The descriptor limit of the loop's host; `None` if there is no limit.
    pub(super) descriptors: Option<usize>,
    /// Duration for which the loop's host is cut off after the first phase; `None` if it is not cut off.
    pub(super) outage: Option<Duration>,
    pub(super) seed: u64,
}

/// Up to 60 connections to the loop, dialled at a fixed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flood {
    pub(super) nature: Nature,
    /// Whether every two connections are an honest peer's, and the second one asks to become its stream. The two have
    /// the same source address only with [`Spread::OneHost`].
    pub(super) is_paired: bool,
    pub(super) spread: Spread,
    pub(super) count: u32,
    pub(super) from: Duration,
    pub(super) every: Duration,
}

/// The source addresses of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    Hosts,
    OneHost,
    OneRange,
}

/// An event of a managed world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Deed {
    Ban {
        host: usize,
        length: Option<Duration>,
    },
    Unban {
        host: usize,
    },
    /// A user dials a host, which may have no listener.
    Dial {
        host: usize,
    },
    Close {
        pick: u32,
    },
    /// The handler penalises a peer.
    Penalize {
        pick: u32,
    },
    /// The handler closes a peer.
    Disconnect {
        pick: u32,
        disconnect: Disconnect,
    },
    Configure {
        target: usize,
        max: usize,
        evicts: bool,
        per_host: usize,
    },
    Retune {
        trusted: Option<(IpAddr, u8)>,
        learn_addresses: bool,
        /// Length of the fixed list, if there is one.
        fixed: Option<usize>,
    },
    /// The process is killed and restarted.
    Kill,
    Cut {
        host: usize,
        time: Duration,
    },
    Reset {
        pick: u32,
    },
}

impl Plan {
    /// Draws whether the world is managed, and if so its plan.
    pub(crate) fn draw(tape: &Tape, length: Duration) -> Option<Self> {
        let chance = tape.stream(stream::MANAGED);
        if !chance.one_in(8) {
            return None;
        }
        let natures = (0..1 + chance.below(MAX_HOSTS)).map(|index| draw_nature(index, &chance));
        let residents: Vec<(Nature, u16)> = natures.map(|nature| (nature, 1 + chance.below(3) as u16)).collect();
        let has_twin = chance.one_in(4);
        let mut plan = Self {
            manager: draw_manager(&chance),
            residents,
            floods: Vec::new(),
            deeds: Vec::new(),
            has_wild_names: chance.one_in(3),
            has_wild_disk: chance.one_in(3),
            has_twin,
            descriptors: chance.one_in(8).then(|| 4 + chance.below(20) as usize),
            is_port_in_doubt: chance.one_in(8),
            outage: None,
            seed: chance.range(0, u64::MAX),
        };
        let is_fixed = chance.one_in(3);
        plan.draw_floods(&chance, length);
        plan.draw_deeds(&chance, length);
        plan.draw_settings(&tape.stream(stream::SETTINGS), length);
        plan.draw_pairs(&tape.stream(stream::PAIRS), length);
        plan.deeds.sort_by_key(|(at, _)| *at);
        if is_fixed {
            plan.manager.mode = DialMode::Fixed(plan.addresses().collect());
        }
        Some(plan)
    }

    /// Returns the addresses of all residents, including those without a listener, and of the other loop.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let of_residents =
            self.residents.iter().enumerate().flat_map(|(index, (_, ports))| addresses_of(index + 1, *ports));
        of_residents.chain(self.twin())
    }

    /// Returns the addresses of honest listeners, including the other loop's.
    pub(super) fn honest(&self) -> impl Iterator<Item = SocketAddr> {
        let honest = self.residents.iter().enumerate().filter(|(_, (nature, _))| *nature == Nature::Honest);
        honest.flat_map(|(index, (_, ports))| addresses_of(index + 1, *ports)).chain(self.twin())
    }

    /// Returns the address of the other loop, if there is one.
    pub(super) fn twin(&self) -> Option<SocketAddr> {
        self.has_twin.then(|| SocketAddr::new(ip_of(self.residents.len() + 1), PORT))
    }

    pub(super) fn config(&self, base: &Config) -> Config {
        let mut config = base.clone();
        config.manager = Some(self.manager.clone());
        config.seed = Some(self.seed);
        config
    }

    fn draw_floods(&mut self, chance: &Chance, length: Duration) {
        for _ in 0..chance.below(4) {
            let nature = *chance.pick(&[Nature::Honest, Nature::Mute, Nature::Honest, Nature::Nasty, Nature::Replayer]);
            self.floods.push(Flood {
                nature,
                is_paired: false,
                spread: *chance.pick(&[Spread::Hosts, Spread::OneHost, Spread::OneRange, Spread::Hosts]),
                count: 1 + chance.below(60),
                from: Duration::from_millis(chance.range(0, length.as_millis() as u64 / 2)),
                every: Duration::from_millis(*chance.pick(&[1_000, 0, 10, 300, 4_000])),
            });
        }
    }

    fn draw_deeds(&mut self, chance: &Chance, length: Duration) {
        let hosts = self.residents.len() as u32 + 2;
        for _ in 0..chance.below(14) {
            let at = Duration::from_millis(chance.range(0, length.as_millis() as u64));
            let host = 1 + chance.below(hosts) as usize;
            let pick = chance.below(1 << 16);
            let deed = match chance.below(10) {
                0 | 1 => Deed::Ban { host, length: Some(Duration::from_secs(1 + u64::from(pick % 300))) },
                2 => Deed::Ban { host, length: None },
                3 => Deed::Unban { host },
                4 => Deed::Dial { host },
                5 => Deed::Close { pick },
                6 => {
                    let max = 1 + pick as usize % 40;
                    let target = 1 + pick as usize / 64 % max;
                    Deed::Configure { target, max, evicts: pick % 2 == 1, per_host: 1 + pick as usize / 128 % 8 }
                }
                7 => Deed::Kill,
                8 => Deed::Cut { host, time: Duration::from_secs(1 + u64::from(pick % 400)) },
                _ => Deed::Reset { pick },
            };
            self.deeds.push((at, deed));
        }
    }

    /// Draws the settings for trusted networks and gossip, and the peers that gossip. Also draws the outage and further
    /// events: the handler penalises or closes peers, and the settings change.
    fn draw_settings(&mut self, chance: &Chance, length: Duration) {
        self.manager.trusted = self.draw_trusted(chance).into_iter().collect();
        self.manager.learn_addresses = !chance.one_in(6);
        if chance.one_in(3) {
            let ports = 1 + chance.below(2) as u16;
            self.residents.push((Nature::Gossip, ports));
        }
        if chance.one_in(4) {
            let from = Duration::from_millis(chance.range(0, length.as_millis() as u64 / 2));
            let (count, every) = (1 + chance.below(20), Duration::from_secs(1));
            let (nature, spread) = (Nature::Gossip, Spread::OneRange);
            self.floods.push(Flood { nature, is_paired: false, spread, count, from, every });
        }
        for _ in 0..chance.below(5) {
            let at = Duration::from_millis(chance.range(0, length.as_millis() as u64));
            let pick = chance.below(1 << 16);
            let deed = match chance.below(4) {
                0 | 1 if pick.is_multiple_of(3) => Deed::Penalize { pick },
                0 => Deed::Disconnect { pick, disconnect: Disconnect::RetryLater },
                1 => Deed::Disconnect { pick, disconnect: Disconnect::Unsuitable },
                _ => Deed::Retune {
                    trusted: self.draw_trusted(chance),
                    learn_addresses: !chance.one_in(3),
                    fixed: chance.one_in(2).then(|| 1 + chance.below(MAX_HOSTS) as usize),
                },
            };
            self.deeds.push((at, deed));
        }
        // Long outages are rare: a simulated hour in which all dials fail needs as much computing time as a hundred
        // ordinary worlds.
        self.outage = chance.one_in(6).then(|| {
            let max_minutes = if chance.one_in(8) { 360 } else { 30 };
            Duration::from_secs(60 * u64::from(1 + chance.below(max_minutes)))
        });
    }

    /// Draws peers that dial the loop with two connections each.
    fn draw_pairs(&mut self, chance: &Chance, length: Duration) {
        if chance.one_in(3) {
            let spread = *chance.pick(&[Spread::OneHost, Spread::OneHost, Spread::Hosts, Spread::OneRange]);
            let count = 2 * (1 + chance.below(6));
            let from = Duration::from_millis(chance.range(0, length.as_millis() as u64 / 2));
            let every = Duration::from_millis(*chance.pick(&[1_000, 0, 300]));
            self.floods.push(Flood { nature: Nature::Honest, is_paired: true, spread, count, from, every });
        }
    }

    /// Draws a network to trust, or none. The network contains residents, or it is the source of a first flood with
    /// [`Spread::OneHost`] or [`Spread::OneRange`].
    fn draw_trusted(&self, chance: &Chance) -> Option<(IpAddr, u8)> {
        let host = 1 + chance.below(self.residents.len() as u32) as usize;
        let network = *chance.pick(&[
            (ip_of(host), 32),
            (ip_of(host), 30),
            (Ipv4Addr::new(60, 1, 1, 1).into(), 32),
            (Ipv4Addr::new(70, 7, 0, 0).into(), 16),
        ]);
        chance.one_in(3).then_some(network)
    }
}

pub(super) fn ip_of(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

pub(super) fn addresses_of(host: usize, ports: u16) -> impl Iterator<Item = SocketAddr> {
    (0..ports).map(move |port| SocketAddr::new(ip_of(host), PORT + port))
}

fn draw_nature(index: u32, chance: &Chance) -> Nature {
    if index == 0 || chance.one_in(2) {
        return Nature::Honest;
    }
    *chance.pick(&Nature::ALL)
}

fn draw_manager(chance: &Chance) -> ManagerConfig {
    let max_peers = *chance.pick(&[8, 1, 3, 20, 50]);
    ManagerConfig::new(NETWORK)
        .with_target_peers((1 + chance.below(8) as usize).min(max_peers))
        .with_max_peers(max_peers)
        .with_listen(vec![SocketAddr::new(ip_of(0), PORT)])
        .with_dns_seeds(vec![SEED_NAME.to_owned(), "other.example".to_owned()])
        .with_max_restarts(chance.below(4))
        .with_restart_window(Duration::from_secs(*chance.pick(&[3_600, 60, 600])))
        .with_initial_backoff(Duration::from_secs(*chance.pick(&[5, 1, 30])))
        .with_backoff_multiplier(*chance.pick(&[2.0, 1.5, 10.0]))
        .with_max_backoff(Duration::from_secs(*chance.pick(&[600, 30, 120])))
        .with_max_retries(1 + chance.below(10))
        .with_max_per_host(1 + chance.below(8) as usize)
        .with_max_per_group_percent(*chance.pick(&[100, 100, 20]))
        .with_accepts_per_host_per_second(*chance.pick(&[10, 1, 100]))
        .with_evict_inbound(chance.one_in(2))
        .with_ban_score(*chance.pick(&[100, 5]))
        .with_ban_duration(Duration::from_secs(*chance.pick(&[86_400, 20, 300])))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            manager,
            residents,
            floods,
            deeds,
            has_wild_names,
            has_wild_disk,
            has_twin,
            descriptors,
            is_port_in_doubt,
            outage,
            ..
        } = self;
        writeln!(f, "managed: {manager:?}")?;
        for (index, (nature, ports)) in residents.iter().enumerate() {
            writeln!(f, "host {}: {nature:?} on {ports} ports", index + 1)?;
        }
        for flood in floods {
            writeln!(f, "{flood:?}")?;
        }
        for (at, deed) in deeds {
            writeln!(f, "after {at:?}: {deed:?}")?;
        }
        write!(f, "wild names: {has_wild_names}, wild disk: {has_wild_disk}, twin: {has_twin}, ")?;
        write!(f, "descriptors: {descriptors:?}, port in doubt: {is_port_in_doubt}, outage: {outage:?}")
    }
}
