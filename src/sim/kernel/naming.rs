//! Names and resolvers: one that answers correctly after a time, and one that returns anything.
//!
//! A reply is bounded like the real resolver's; everything else about it may be absurd.

use super::{Coming, Draw, Kernel};
use crate::error::{ResolveCause, ResolveFailure};
use crate::limits::MAX_RESOLVES;
use crate::net::Wake;
use crate::offload::Completion;
use crate::offload::resolver::{host_and_port, outcome_of};
use crate::sim::tape::Chance;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Maximum delay of a prompt reply.
const MAX_PROMPT: Duration = Duration::from_millis(500);
/// Minimum and maximum delay of a late reply.
const LATE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Number of addresses of a name that has many.
const MANY: u32 = 1_000;

/// A host's resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// It knows the names of [`World::set_name`](crate::sim::World::set_name), and answers at once, by the next wait.
    #[default]
    Known,
    /// It draws its behaviour: it answers correctly, promptly or too late, or with one address, a thousand, the same
    /// twice or absurd ones, or with a failure, or never.
    Wild,
}

/// A host's pending queries, and the completions that it has not collected yet.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// How often all queries were dropped.
    pub(super) life: u32,
    /// Names whose replies were not collected.
    names: usize,
    answers: VecDeque<Completion>,
}

/// A scheduled reply.
#[derive(Debug)]
pub(super) struct Reply {
    host: usize,
    life: u32,
    answer: Completion,
}

impl Kernel {
    pub(in crate::sim) fn set_names(&mut self, host: usize, names: Names) {
        self.hosts[host].names = names;
    }

    pub(in crate::sim) fn resolve(
        &mut self,
        host: usize,
        query: u32,
        name: &str,
        port: u16,
    ) -> Result<(), ResolveFailure> {
        if self.hosts[host].asked.names >= MAX_RESOLVES {
            return Err(ResolveFailure { name: name.to_owned(), cause: ResolveCause::TooMany });
        }
        self.hosts[host].asked.names += 1;
        let (found, after) = match self.hosts[host].names {
            Names::Known => (self.known(name, port), Some(Duration::ZERO)),
            Names::Wild => self.draw_answer(host, name, port),
        };
        let outcome = outcome_of(name.to_owned(), found);
        let reply = self.reply(host, Completion::Resolved { query, outcome });
        match after {
            Some(Duration::ZERO) => self.answer(reply),
            Some(after) => self.happen_later(after, Coming::Answer(reply)),
            None => {}
        }
        Ok(())
    }

    fn known(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = host_and_port(name, port);
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let addresses = self.names.get(host).ok_or_else(|| io::Error::other("the name is unknown"))?;
        Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }

    fn draw_answer(&self, host: usize, name: &str, port: u16) -> (io::Result<Vec<SocketAddr>>, Option<Duration>) {
        let chance = &self.hosts[host].chances[Draw::Names as usize];
        let (kind, prompt) = (chance.below(9), time_between(chance, (Duration::ZERO, MAX_PROMPT)));
        let found = match kind {
            2 => Ok(vec![public(chance, port)]),
            3 => Ok((0..MANY).map(|_| public(chance, port)).collect()),
            4 => Ok(vec![public(chance, port); 3]),
            5 => Ok((0..1 + chance.below(8)).map(|_| absurd(chance, self.ip(host), port)).collect()),
            6 => Err(io::Error::other("the name server has failed")),
            7 => Ok(Vec::new()),
            _ => self.known(name, port),
        };
        let after = match kind {
            1 => Some(time_between(chance, LATE)),
            8 => None,
            _ => Some(prompt),
        };
        (found, after)
    }

    pub(super) fn reply(&self, host: usize, answer: Completion) -> Reply {
        Reply { host, life: self.hosts[host].asked.life, answer }
    }

    /// Delivers a completion to a host, unless it was restarted since its query.
    pub(super) fn answer(&mut self, reply: Reply) {
        let host = &mut self.hosts[reply.host];
        if host.asked.life == reply.life {
            host.asked.answers.push_back(reply.answer);
            host.woken.wake();
        }
    }

    pub(in crate::sim) fn take_completion(&mut self, host: usize) -> Option<Completion> {
        let asked = &mut self.hosts[host].asked;
        let answer = asked.answers.pop_front()?;
        match answer {
            Completion::Resolved { .. } => asked.names -= 1,
            Completion::Persisted(_) => {}
        }
        Some(answer)
    }

    /// Drops all queries of a host.
    pub(in crate::sim) fn forget_questions(&mut self, host: usize) {
        let asked = &mut self.hosts[host].asked;
        *asked = Asked { life: asked.life + 1, ..Asked::default() };
    }
}

pub(super) fn time_between(chance: &Chance, (least, most): (Duration, Duration)) -> Duration {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(chance.range(nanos(least), nanos(most)))
}

/// Returns an address that might be a peer's: no host in a world has it.
fn public(chance: &Chance, port: u16) -> SocketAddr {
    SocketAddr::from(([52, 1 + chance.below(250) as u8, chance.below(256) as u8, 1 + chance.below(250) as u8], port))
}

/// Returns an address that must not be dialled.
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
