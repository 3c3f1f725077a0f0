//! Names, and two resolvers: one answers correctly at once, and the other may return anything.
//!
//! A reply never breaks the real resolver's limits; everything else about it may be absurd.

use crate::error::{ResolveCause, ResolveFailure};
use crate::limits::MAX_RESOLVES;
use crate::offload::Completion;
use crate::offload::resolver::host_and_port;
use crate::sim::tape::Chance;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Maximum delay of a prompt reply.
const MAX_PROMPT: Duration = Duration::from_millis(500);
/// Minimum and maximum delay of a late reply.
const LATE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Number of addresses in a large reply, before the excess ones are dropped.
const MANY: u32 = 1_000;

/// A host's resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// It knows the names set by [`World::set_name`](crate::sim::World::set_name). Its reply arrives at the next wait.
    #[default]
    Known,
    /// It draws each reply: the correct addresses, one random address, more random addresses than a reply can hold,
    /// one random address three times, absurd addresses, no address, or a failure. A reply arrives within 500 ms, but a
    /// correct one may also need 5 to 60 s or never arrive.
    Wild,
}

/// A host's pending queries, and the completions that it has not collected yet.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The number of times that all queries were dropped.
    pub(super) life: u32,
    /// The number of names whose replies have not been collected yet.
    names: usize,
    answers: VecDeque<Completion>,
}

/// A scheduled reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) host: usize,
    pub(super) life: u32,
    pub(super) answer: Completion,
}

impl Asked {
    /// Counts a query, or refuses it if too many are pending.
    pub(super) fn ask(&mut self, name: &str) -> Result<(), ResolveFailure> {
        if self.names >= MAX_RESOLVES {
            return Err(ResolveFailure { name: name.to_owned(), cause: ResolveCause::TooMany });
        }
        self.names += 1;
        Ok(())
    }

    /// Adds a completion to collect.
    pub(super) fn complete(&mut self, answer: Completion) {
        self.answers.push_back(answer);
    }

    pub(super) fn take_completion(&mut self) -> Option<Completion> {
        let answer = self.answers.pop_front()?;
        match answer {
            Completion::Resolved { .. } => self.names -= 1,
            Completion::Persisted(_) => {}
        }
        Some(answer)
    }

    /// Drops all queries.
    pub(super) fn drop_all(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }
}

/// Returns the addresses that `names` has for `name`. If `name` is itself an address, returns that address.
pub(super) fn known(names: &BTreeMap<String, Vec<IpAddr>>, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = host_and_port(name, port);
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let addresses = names.get(host).ok_or_else(|| io::Error::other("the name is unknown"))?;
    Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
}

/// Draws the wild resolver's reply to the host at `own`, and the reply's delay; `None` if the reply never arrives.
pub(super) fn draw_answer(
    chance: &Chance,
    own: IpAddr,
    port: u16,
    known: impl FnOnce() -> io::Result<Vec<SocketAddr>>,
) -> (io::Result<Vec<SocketAddr>>, Option<Duration>) {
    let (kind, prompt) = (chance.below(9), time_between(chance, (Duration::ZERO, MAX_PROMPT)));
    let found = match kind {
        2 => Ok(vec![public(chance, port)]),
        3 => Ok((0..MANY).map(|_| public(chance, port)).collect()),
        4 => Ok(vec![public(chance, port); 3]),
        5 => Ok((0..1 + chance.below(8)).map(|_| absurd(chance, own, port)).collect()),
        6 => Err(io::Error::other("the name server has failed")),
        7 => Ok(Vec::new()),
        _ => known(),
    };
    let after = match kind {
        1 => Some(time_between(chance, LATE)),
        8 => None,
        _ => Some(prompt),
    };
    (found, after)
}

pub(super) fn time_between(chance: &Chance, (least, most): (Duration, Duration)) -> Duration {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(chance.range(nanos(least), nanos(most)))
}

/// Returns a plausible peer address that no host of a world has.
fn public(chance: &Chance, port: u16) -> SocketAddr {
    SocketAddr::from(([52, 1 + chance.below(250) as u8, chance.below(256) as u8, 1 + chance.below(250) as u8], port))
}

/// Returns an address that no peer should have: one with port 0, the host's own, a special one or an IPv4-mapped one.
fn absurd(chance: &Chance, own: IpAddr, port: u16) -> SocketAddr {
    let ip = match chance.below(8) {
        0 => return SocketAddr::new(public(chance, port).ip(), 0),
        1 => own,
        2 => Ipv4Addr::LOCALHOST.into(),
        3 => Ipv4Addr::UNSPECIFIED.into(),
        4 => Ipv4Addr::BROADCAST.into(),
        5 => Ipv4Addr::new(192, 168, 1, 1).into(),
        6 => Ipv4Addr::new(224, 0, 0, 1).into(),
        _ => Ipv4Addr::new(52, 0, 0, 1).to_ipv6_mapped().into(),
    };
    SocketAddr::new(ip, port)
}
