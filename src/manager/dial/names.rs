//! Fixed peers that are known by name: the choice among a name's addresses, and the name's next resolution.
//!
//! One address of each resolved name is in the dialler's fixed list. When its dial fails, the name's next address
//! replaces it at once. A round ends when the last address has failed. The name is then resolved again, after a pause
//! that grows like the pauses after failed dials. A lost connection is first restarted at the same address, up to the
//! dialler's limit on restarts. After a round with an incompatible peer, the pause has the maximum length. Nothing
//! here resolves a name or dials.

use super::backoff::Backoff;
use super::ended::{Decision, Ended};
use super::resolve::{QUERY_BIT, Resolve};
use crate::address::canonical;
use crate::config::{DialMode, ManagerConfig};
use crate::limits::{MAX_NAME_ADDRESSES, RESOLVE_TIMEOUT, RESTARTS_FORGOTTEN_AFTER};
use crate::time::Instant;
use rand::Rng;
use std::net::SocketAddr;
use std::sync::Arc;

/// The fixed peers that are known by name.
#[derive(Debug)]
pub(crate) struct FixedNames {
    names: Vec<Named>,
    next_query: u32,
    default_port: u16,
    backoff: Backoff,
}

#[derive(Debug)]
struct Named {
    name: String,
    state: State,
    /// The number of failed rounds and failed queries since the end of the last connection that lasted for
    /// [`RESTARTS_FORGOTTEN_AFTER`].
    failures: u32,
    /// The moment at which the connection to the current address became ready, if it did.
    ready_since: Option<Instant>,
    /// Whether an incompatible peer was found in this round.
    has_met_unfit: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The name is to be resolved at this moment.
    Due(Instant),
    Asked {
        query: u32,
        since: Instant,
    },
    /// The address at this index is dialled or connected; the addresses before it have failed.
    Trying {
        addresses: Vec<SocketAddr>,
        index: usize,
    },
}

impl FixedNames {
    /// Creates the names of `config`, all due for resolution at once. There are none in [`DialMode::Normal`].
    pub(crate) fn new(config: &ManagerConfig) -> Self {
        let mut names = Self { names: Vec::new(), next_query: 0, default_port: 0, backoff: Backoff::of(config) };
        names.reconfigure(config);
        names
    }

    /// Applies the names of `config`. New ones are due at once; known ones keep their state unless the default port
    /// changes.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig) {
        let listed: &[String] = match &config.mode {
            DialMode::Normal => &[],
            DialMode::Fixed(_) => &config.fixed_names,
        };
        let mut before = std::mem::take(&mut self.names);
        if self.default_port != config.default_port {
            before.clear();
        }
        for name in listed {
            let is_listed = |named: &Named| named.name == *name;
            if self.names.iter().any(is_listed) {
                continue;
            }
            self.names.push(match before.iter().position(is_listed) {
                Some(index) => before.swap_remove(index),
                None => Named {
                    name: name.clone(),
                    state: State::Due(Instant::ZERO),
                    failures: 0,
                    ready_since: None,
                    has_met_unfit: false,
                },
            });
        }
        self.default_port = config.default_port;
        self.backoff = Backoff::of(config);
    }

    /// Returns each name's current address, which must be in the dialler's list. A name that is not resolved has
    /// none.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.names.iter().filter_map(Named::address)
    }

    /// Returns the first moment at which a name is due or a query is abandoned.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.names.iter().filter_map(Named::next_at).min()
    }

    /// Returns the next name to resolve. Call until `None`.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Resolve> {
        let is_due = |named: &&mut Named| matches!(named.state, State::Due(moment) if moment <= now);
        let named = self.names.iter_mut().find(is_due)?;
        let query = self.next_query | QUERY_BIT;
        self.next_query = self.next_query.wrapping_add(1) & !QUERY_BIT;
        named.state = State::Asked { query, since: now };
        Some(Resolve { query, name: named.name.clone(), port: self.default_port })
    }

    /// Returns the name that a query resolves, or `None` if the query's reply is not awaited.
    pub(crate) fn name_of(&self, query: u32) -> Option<Arc<str>> {
        let named = self.names.iter().find(|named| named.is_asked(query))?;
        Some(named.name.as_str().into())
    }

    /// Abandons a query that was not answered in time, and returns its name. Call until `None`.
    pub(crate) fn give_up(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Arc<str>> {
        let is_late = |named: &&mut Named| named.given_up_at().is_some_and(|moment| moment <= now);
        let named = self.names.iter_mut().find(is_late)?;
        named.fail(self.backoff, now, rng);
        Some(named.name.as_str().into())
    }

    /// Stores `answer`, a query's reply, which is empty if the query failed. Returns the number of stored addresses,
    /// which is 0 if none is usable or the reply is not awaited. Unless it is 0, the caller must pass the new list to
    /// the dialler.
    pub(crate) fn resolved(
        &mut self,
        query: u32,
        answer: &[SocketAddr],
        is_ours: impl Fn(SocketAddr) -> bool,
        now: Instant,
        rng: &mut impl Rng,
    ) -> usize {
        let Some(named) = self.names.iter_mut().find(|named| named.is_asked(query)) else { return 0 };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for &address in answer {
            let is_usable = address.port() != 0 && !address.ip().is_unspecified() && !is_ours(address);
            if is_usable && !addresses.contains(&address) && addresses.len() < MAX_NAME_ADDRESSES {
                addresses.push(address);
            }
        }
        let count = addresses.len();
        match count {
            0 => named.fail(self.backoff, now, rng),
            _ => named.state = State::Trying { addresses, index: 0 },
        }
        count
    }

    /// Records that the handshake with `address` is complete.
    pub(crate) fn ready(&mut self, address: SocketAddr, now: Instant) {
        for named in self.names.iter_mut().filter(|named| named.is_at(address)) {
            named.ready_since = Some(now);
        }
    }

    /// Records that a dial of `address` failed or that a connection to it was closed. Returns whether the address's
    /// name now uses another address, or none until the name is resolved again. The caller must then pass the new list
    /// to the dialler.
    pub(crate) fn ended(
        &mut self,
        address: SocketAddr,
        ended: Ended,
        decision: Decision,
        now: Instant,
        rng: &mut impl Rng,
    ) -> bool {
        let mut is_changed = false;
        for named in self.names.iter_mut().filter(|named| named.is_at(address)) {
            let has_stayed = |since: Instant| now.since(since) >= RESTARTS_FORGOTTEN_AFTER;
            if named.ready_since.take().is_some_and(has_stayed) {
                named.failures = 0;
            }
            if decision == Decision::Restart || !is_of_address(ended) {
                continue;
            }
            named.has_met_unfit |= ended == Ended::Incompatible;
            named.advance(self.backoff, now, rng);
            is_changed = true;
        }
        is_changed
    }
}

impl Named {
    fn address(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Trying { addresses, index } => addresses.get(*index).copied(),
            State::Due(_) | State::Asked { .. } => None,
        }
    }

    fn is_at(&self, address: SocketAddr) -> bool {
        self.address().is_some_and(|own| canonical(own) == canonical(address))
    }

    fn is_asked(&self, query: u32) -> bool {
        matches!(self.state, State::Asked { query: asked, .. } if asked == query)
    }

    fn given_up_at(&self) -> Option<Instant> {
        match self.state {
            State::Asked { since, .. } => Some(since.plus(RESOLVE_TIMEOUT)),
            State::Due(_) | State::Trying { .. } => None,
        }
    }

    fn next_at(&self) -> Option<Instant> {
        match self.state {
            State::Due(moment) => Some(moment),
            State::Asked { .. } | State::Trying { .. } => self.given_up_at(),
        }
    }

    /// Moves to the next address, or to a pause before the name is resolved again.
    fn advance(&mut self, backoff: Backoff, now: Instant, rng: &mut impl Rng) {
        match &mut self.state {
            State::Trying { addresses, index } if *index + 1 < addresses.len() => *index += 1,
            State::Trying { .. } | State::Due(_) | State::Asked { .. } => self.fail(backoff, now, rng),
        }
    }

    fn fail(&mut self, backoff: Backoff, now: Instant, rng: &mut impl Rng) {
        self.failures = self.failures.saturating_add(1);
        // An incompatible node may ban us for a retry that is too early.
        let pause = match std::mem::take(&mut self.has_met_unfit) {
            true => backoff.longest(rng),
            false => backoff.pause(self.failures, rng),
        };
        self.state = State::Due(now.plus(pause));
    }
}

/// Returns whether another address should be tried. A close by this side, a ban, another connection to the same peer,
/// or a resource that this machine lacks says nothing about the address.
fn is_of_address(ended: Ended) -> bool {
    match ended {
        Ended::Unreached
        | Ended::Lost
        | Ended::TurnedAway
        | Ended::MissedDeadline
        | Ended::Offline
        | Ended::Incompatible
        | Ended::NoNetwork
        | Ended::SelfConnection => true,
        Ended::ClosedByUs | Ended::NotAllowed | Ended::Short(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Network;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::time::Duration;

    const START: Instant = Instant::from_nanos(7_000_000_000);

    fn config(names: &[&str]) -> ManagerConfig {
        let fixed_names = names.iter().map(|&name| name.to_owned()).collect();
        ManagerConfig { fixed_names, ..ManagerConfig::fixed(Network::Regtest, Vec::new()) }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    struct Stage {
        names: FixedNames,
        rng: StdRng,
    }

    impl Stage {
        fn new(names: &[&str]) -> Self {
            Self { names: FixedNames::new(&config(names)), rng: StdRng::seed_from_u64(1) }
        }

        /// Resolves the next name to these addresses. Returns the number of usable ones.
        fn resolve(&mut self, now: Instant, answer: &[&str]) -> usize {
            let query = self.names.next(now).expect("a name is due").query;
            self.names.resolved(query, &addresses(answer), |own| own.port() == 9, now, &mut self.rng)
        }

        fn ends(&mut self, address: &str, ended: Ended, decision: Decision, now: Instant) -> bool {
            self.names.ended(address.parse().unwrap(), ended, decision, now, &mut self.rng)
        }

        fn current(&self) -> Vec<String> {
            self.names.addresses().map(|address| address.to_string()).collect()
        }
    }

    #[test]
    fn each_failure_selects_the_next_address_and_the_last_failure_starts_a_pause() {
        let mut stage = Stage::new(&["node.example"]);
        let answer = ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:0", "0.0.0.0:1", "192.0.2.3:9"];
        assert_eq!(stage.resolve(START, &answer), 2, "the stored addresses are not exactly the two usable ones");
        assert_eq!(stage.current(), ["[2001:db8::1]:1"]);
        assert!(stage.ends("[2001:db8::1]:1", Ended::NoNetwork, Decision::Nothing, START));
        assert_eq!(stage.current(), ["192.0.2.1:1"]);
        assert!(
            !stage.ends("192.0.2.9:1", Ended::Unreached, Decision::Nothing, START),
            "an unknown address changed the state"
        );
        assert!(stage.ends("192.0.2.1:1", Ended::Unreached, Decision::Nothing, START));
        let again_at = stage.names.next_at().unwrap();
        let pause = again_at.since(START);
        assert!((Duration::from_secs(5)..=Duration::from_millis(6_250)).contains(&pause), "{pause:?}");
        assert_eq!(stage.current(), Vec::<String>::new());
        assert_eq!(stage.names.next(again_at.minus(Duration::from_nanos(1))), None);
        assert_eq!(stage.resolve(again_at, &answer), 2);
    }

    #[test]
    fn a_restart_or_a_close_that_says_nothing_about_the_address_does_not_replace_it() {
        let mut stage = Stage::new(&["node.example"]);
        stage.resolve(START, &["192.0.2.1:1", "192.0.2.2:1"]);
        for (ended, decision) in [
            (Ended::Lost, Decision::Restart),
            (Ended::ClosedByUs, Decision::Nothing),
            (Ended::NotAllowed, Decision::Nothing),
            (Ended::Short(crate::error::Shortage::Descriptors), Decision::Nothing),
        ] {
            assert!(!stage.ends("192.0.2.1:1", ended, decision, START), "{ended:?}");
            assert_eq!(stage.current(), ["192.0.2.1:1"]);
        }
        assert!(stage.ends("[::ffff:192.0.2.1]:1", Ended::Lost, Decision::Nothing, START));
        assert_eq!(stage.current(), ["192.0.2.2:1"]);
    }

    #[test]
    fn only_a_lasting_connection_resets_the_pauses() {
        let mut stage = Stage::new(&["node.example"]);
        let mut now = START;
        let mut pause_after = |stay: Duration| {
            stage.resolve(now, &["192.0.2.1:1"]);
            stage.names.ready("192.0.2.1:1".parse().unwrap(), now);
            now = now.plus(stay);
            assert!(stage.ends("192.0.2.1:1", Ended::Lost, Decision::Nothing, now));
            let again_at = stage.names.next_at().unwrap();
            let pause = again_at.since(now);
            now = again_at;
            pause.as_secs()
        };
        let short = Duration::from_secs(1);
        assert!(pause_after(short) < 7);
        assert!((10..13).contains(&pause_after(short)));
        assert!((20..26).contains(&pause_after(short)));
        assert!(pause_after(RESTARTS_FORGOTTEN_AFTER) < 7);
    }

    #[test]
    fn a_round_with_an_incompatible_peer_is_followed_by_the_longest_pause() {
        let mut stage = Stage::new(&["node.example"]);
        stage.resolve(START, &["192.0.2.1:1", "192.0.2.2:1"]);
        assert!(stage.ends("192.0.2.1:1", Ended::Incompatible, Decision::Nothing, START));
        assert_eq!(stage.current(), ["192.0.2.2:1"]);
        assert!(stage.ends("192.0.2.2:1", Ended::Unreached, Decision::Nothing, START));
        let again_at = stage.names.next_at().unwrap();
        assert!((600..=750).contains(&again_at.since(START).as_secs()));
        stage.resolve(again_at, &["192.0.2.2:1"]);
        assert!(stage.ends("192.0.2.2:1", Ended::Unreached, Decision::Nothing, again_at));
        let pause = stage.names.next_at().unwrap().since(again_at);
        assert!(
            (10..13).contains(&pause.as_secs()),
            "the second round's pause is not that of a second failure: {pause:?}"
        );
    }

    #[test]
    fn a_query_is_abandoned_after_the_timeout_and_a_late_reply_is_ignored() {
        let mut stage = Stage::new(&["node.example"]);
        let late = stage.names.next(START).unwrap();
        assert_eq!((late.name.as_str(), late.port, late.query & QUERY_BIT), ("node.example", 18_444, QUERY_BIT));
        assert_eq!(stage.names.name_of(late.query).as_deref(), Some("node.example"));
        let given_up_at = START.plus(RESOLVE_TIMEOUT);
        assert_eq!(stage.names.next_at(), Some(given_up_at));
        assert_eq!(stage.names.give_up(given_up_at, &mut stage.rng).as_deref(), Some("node.example"));
        assert_eq!(stage.names.give_up(given_up_at, &mut stage.rng), None);
        assert_eq!(stage.names.name_of(late.query), None);
        let found = addresses(&["192.0.2.1:1"]);
        let taken = stage.names.resolved(late.query, &found, |_| false, given_up_at, &mut stage.rng);
        assert_eq!((taken, stage.current()), (0, vec![]));
    }

    #[test]
    fn known_names_keep_their_address_when_others_change() {
        let mut stage = Stage::new(&["a.example", "b.example"]);
        stage.resolve(START, &["192.0.2.1:1"]);
        stage.resolve(START, &["192.0.2.2:1"]);
        stage.names.reconfigure(&config(&["b.example", "c.example", "c.example"]));
        assert_eq!(stage.current(), ["192.0.2.2:1"]);
        assert_eq!(stage.names.next(START).unwrap().name, "c.example");
        assert_eq!(stage.names.next(START), None);
        let normal = ManagerConfig { mode: DialMode::Normal, ..config(&["b.example"]) };
        stage.names.reconfigure(&normal);
        assert_eq!((stage.current(), stage.names.next_at()), (vec![], None));
    }
}
