//! The addresses of upstreams that were given as names.
//!
//! A name may have several addresses, of which the relay uses one at a time: two would be two upstreams. If two dials
//! of an address fail in succession, the name's next address is used. After all addresses have failed, none is
//! replaced until the name is resolved again, so that the pauses between the dials grow. Names are resolved again if
//! all their addresses have failed, and every few minutes. A resolver may block for long, so it has its own thread.

use super::node::own_address;
use crate::exit::Failure;
use crate::targets::{self, Family, Target};
use peerloop::relay::UpstreamStats;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The time after which working names are resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(180);

/// The minimum time between two resolutions of names that do not work.
const MIN_RESOLVE_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum number of failed dials after which an address is replaced. The end of a ready link counts as one.
const MIN_FAILED_DIALS: u32 = 2;

type Answers = Vec<Result<Target, Failure>>;

/// One upstream as typed.
#[derive(Clone, Debug)]
struct Upstream {
    target: Target,
    /// The position of the address in use.
    at: usize,
    /// Whether the dials of all addresses have failed since the last resolution.
    has_failed: bool,
    /// Whether the last resolution failed, which is reported once.
    is_unresolved: bool,
}

/// All upstreams, and the resolution in progress.
#[derive(Debug)]
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    family: Family,
    resolving: Option<Receiver<Answers>>,
    resolved_at: Instant,
}

/// The result of a second's work.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Whether other addresses are in use than before.
    pub(super) is_new: bool,
    /// All addresses, if they have changed.
    pub(super) resolved: Option<Vec<Target>>,
    /// Lines for the user.
    pub(super) lines: Vec<String>,
}

impl Upstream {
    fn new(target: &Target) -> Self {
        Self { target: target.clone(), at: 0, has_failed: false, is_unresolved: false }
    }

    fn address(&self) -> SocketAddr {
        self.target.addresses[self.at]
    }

    fn is_name(&self) -> bool {
        targets::split(&self.target.name).is_some_and(|(host, _)| host.parse::<std::net::IpAddr>().is_err())
    }

    /// Uses the next address if the current one has failed, and returns whether the address in use has changed.
    fn advance(&mut self, stats: &[UpstreamStats]) -> bool {
        let address = self.address();
        let Some(state) = stats.iter().find(|upstream| upstream.address == address) else { return false };
        self.has_failed &= state.ready_links == 0;
        if self.has_failed || state.ready_links > 0 || state.failed_dials < MIN_FAILED_DIALS {
            return false;
        }
        self.at = (self.at + 1) % self.target.addresses.len();
        self.has_failed = self.at == 0;
        self.address() != address
    }
}

impl Upstreams {
    /// Creates the upstreams from resolved targets.
    pub(super) fn new(targets: &[Target], family: Family) -> Self {
        let all = targets.iter().map(Upstream::new).collect();
        Self { all, family, resolving: None, resolved_at: Instant::now() }
    }

    /// Replaces the upstreams. Those that stay keep the address in use if they still have it.
    pub(super) fn replace(&mut self, targets: &[Target]) {
        let replaced = targets.iter().map(|target| {
            let mut new = Upstream::new(target);
            let old = self.all.iter().find(|old| old.target.name == target.name);
            let kept = old.and_then(|old| target.addresses.iter().position(|address| *address == old.address()));
            new.at = kept.unwrap_or(0);
            new
        });
        self.all = replaced.collect();
        // A reply about the former upstreams is dropped.
        self.resolving = None;
        self.resolved_at = Instant::now();
    }

    /// Returns the addresses in use, each once.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for upstream in &self.all {
            if !addresses.contains(&upstream.address()) {
                addresses.push(upstream.address());
            }
        }
        addresses
    }

    /// Changes the addresses of names whose dials have failed, and resolves names again when that is due.
    pub(super) fn tick(
        &mut self,
        stats: &[UpstreamStats],
        default_port: u16,
        listen: &[SocketAddr],
        now: Instant,
    ) -> Change {
        let mut change = Change::default();
        for upstream in &mut self.all {
            change.is_new |= upstream.advance(stats);
        }
        if let Some(answers) = self.answers() {
            self.resolved_at = now;
            self.use_answers(answers, listen, &mut change);
        }
        let age = now.saturating_duration_since(self.resolved_at);
        let names = self.all.iter().filter(|upstream| upstream.is_name());
        let interval = |upstream: &Upstream| if upstream.has_failed { MIN_RESOLVE_INTERVAL } else { RESOLVE_INTERVAL };
        let is_due = names.map(interval).min().is_some_and(|interval| age >= interval);
        if self.resolving.is_none() && is_due {
            self.resolve(default_port);
            self.resolved_at = now;
        }
        change
    }

    /// Starts a thread that resolves all names. If it cannot be started, the next attempt follows after a pause.
    fn resolve(&mut self, default_port: u16) {
        let names: Vec<String> = self.all.iter().map(|upstream| upstream.target.name.clone()).collect();
        let (family, (sender, receiver)) = (self.family, channel());
        let thread = Builder::new().name("resolver".to_owned()).spawn(move || {
            let answers = names.iter().map(|name| targets::resolve_at(name, default_port, family)).collect();
            // If the upstreams were replaced meanwhile, there is no receiver.
            let _ = sender.send(answers);
        });
        self.resolving = thread.ok().map(|_| receiver);
    }

    fn answers(&mut self) -> Option<Answers> {
        match self.resolving.as_ref()?.try_recv() {
            Ok(answers) => {
                self.resolving = None;
                Some(answers)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.resolving = None;
                None
            }
        }
    }

    /// Uses the resolved addresses. An upstream whose name has no usable address keeps those that it has.
    fn use_answers(&mut self, answers: Answers, listen: &[SocketAddr], change: &mut Change) {
        let mut is_changed = false;
        for (upstream, answer) in self.all.iter_mut().zip(answers) {
            upstream.has_failed = false;
            let name = &upstream.target.name;
            let new = answer.map_err(|failure| failure.message).and_then(|target| match own_address(&target, listen) {
                Some(own) => Err(format!("{name} has this relay's own address to listen on, {own}")),
                None => Ok(target),
            });
            match new {
                Err(why) if upstream.is_unresolved => drop(why),
                Err(why) => {
                    upstream.is_unresolved = true;
                    change.lines.push(format!("upstream {name}: {why}; its former addresses stay in use"));
                }
                Ok(target) => {
                    upstream.is_unresolved = false;
                    let address = upstream.address();
                    let mut sorted = [target.addresses.clone(), upstream.target.addresses.clone()];
                    sorted.iter_mut().for_each(|addresses| addresses.sort_unstable());
                    is_changed |= sorted[0] != sorted[1];
                    upstream.at = target.addresses.iter().position(|new| *new == address).unwrap_or(0);
                    upstream.target = target;
                    if upstream.address() != address {
                        let (name, new) = (&upstream.target.name, upstream.address());
                        change.lines.push(format!("upstream {name} has moved from {address} to {new}"));
                        change.is_new = true;
                    }
                }
            }
        }
        if is_changed {
            change.resolved = Some(self.all.iter().map(|upstream| upstream.target.clone()).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn target(name: &str, ports: &[u16]) -> Target {
        Target { name: name.to_owned(), addresses: ports.iter().copied().map(address).collect() }
    }

    /// Returns the state of an upstream whose dials have failed or led to a ready link.
    fn stats(port: u16, ready_links: usize, failed_dials: u32) -> UpstreamStats {
        UpstreamStats::new(address(port), 2, ready_links, failed_dials)
    }

    #[test]
    fn a_name_uses_one_address_until_its_dials_fail() {
        let mut upstreams = Upstreams::new(&[target("a", &[1, 2]), target("127.0.0.1:3", &[3])], Family::Any);
        assert_eq!(upstreams.addresses(), [address(1), address(3)]);
        let now = Instant::now();
        let change = upstreams.tick(&[stats(1, 0, 0), stats(3, 0, 4)], 1, &[], now);
        assert!(!change.is_new, "an address was replaced before its first dial ended");
        let change = upstreams.tick(&[stats(1, 1, 7), stats(3, 0, 4)], 1, &[], now);
        assert!(!change.is_new, "an address with a ready link was replaced");
        let change = upstreams.tick(&[stats(1, 0, 1), stats(3, 0, 4)], 1, &[], now);
        assert!(!change.is_new, "an address was replaced after the loss of a link that was ready");
        let change = upstreams.tick(&[stats(1, 0, 2), stats(3, 0, 4)], 1, &[], now);
        assert!(change.is_new);
        assert_eq!(upstreams.addresses(), [address(2), address(3)]);
        assert!(!upstreams.tick(&[stats(1, 0, 2), stats(3, 0, 4)], 1, &[], now).is_new, "a former address counted");
        assert!(upstreams.resolving.is_none());
        assert!(upstreams.tick(&[stats(2, 0, 2)], 1, &[], now + MIN_RESOLVE_INTERVAL).is_new);
        assert!(upstreams.resolving.is_some(), "a name whose addresses have all failed was not resolved again");
    }

    #[test]
    fn after_all_addresses_have_failed_none_is_replaced_until_the_next_resolution() {
        let mut upstreams = Upstreams::new(&[target("a", &[1, 2])], Family::Any);
        let now = Instant::now();
        let mut replaced = |stats| upstreams.tick(&[stats], 1, &[], now).is_new;
        assert!(replaced(stats(1, 0, 2)) && replaced(stats(2, 0, 2)));
        for failed_dials in 0..9 {
            assert!(!replaced(stats(1, 0, failed_dials)), "an address was replaced after {failed_dials} failed dials");
        }
        upstreams.use_answers(vec![Ok(target("a", &[1, 2]))], &[], &mut Change::default());
        assert!(upstreams.tick(&[stats(1, 0, 9)], 1, &[], now).is_new);
        assert_eq!(upstreams.addresses(), [address(2)]);
    }

    #[test]
    fn working_names_are_resolved_again_after_a_while_and_addresses_never() {
        let mut upstreams = Upstreams::new(&[target("[::1]:7", &[3])], Family::Any);
        let later = upstreams.resolved_at + RESOLVE_INTERVAL;
        upstreams.tick(&[stats(3, 0, 9)], 1, &[], later);
        assert!(upstreams.resolving.is_none(), "an address was resolved");
        let mut upstreams = Upstreams::new(&[target("localhost", &[3])], Family::Any);
        let later = upstreams.resolved_at + RESOLVE_INTERVAL;
        upstreams.tick(&[stats(3, 2, 0)], 1, &[], later - Duration::from_nanos(1));
        assert!(upstreams.resolving.is_none());
        upstreams.tick(&[stats(3, 2, 0)], 1, &[], later);
        assert!(upstreams.resolving.is_some());
    }

    #[test]
    fn resolved_addresses_replace_the_former_ones_and_a_failure_keeps_them() {
        let mut upstreams = Upstreams::new(&[target("a", &[1, 2]), target("b", &[5])], Family::Any);
        let mut change = Change::default();
        let failed = || Err(Failure::run("no such name"));
        upstreams.use_answers(vec![Ok(target("a", &[2, 1])), failed()], &[], &mut change);
        assert!(!change.is_new && change.resolved.is_none(), "another order counted as a change");
        assert_eq!(change.lines, ["upstream b: no such name; its former addresses stay in use"]);
        assert_eq!(upstreams.addresses(), [address(1), address(5)]);
        let mut change = Change::default();
        upstreams.use_answers(vec![Ok(target("a", &[8])), failed()], &[], &mut change);
        assert!(change.is_new);
        assert_eq!(change.lines, ["upstream a has moved from 127.0.0.1:1 to 127.0.0.1:8"]);
        assert_eq!(change.resolved, Some(vec![target("a", &[8]), target("b", &[5])]));
        let mut change = Change::default();
        upstreams.use_answers(vec![Ok(target("a", &[9])), Ok(target("b", &[5]))], &[address(9)], &mut change);
        assert!(!change.is_new);
        assert_eq!(upstreams.addresses(), [address(8), address(5)]);
    }

    #[test]
    fn a_replaced_list_keeps_the_address_in_use() {
        let mut upstreams = Upstreams::new(&[target("a", &[1, 2])], Family::Any);
        upstreams.tick(&[stats(1, 0, 2)], 1, &[], Instant::now());
        upstreams.replace(&[target("b", &[2]), target("c", &[4]), target("a", &[1, 2])]);
        assert_eq!(upstreams.addresses(), [address(2), address(4)]);
    }
}
