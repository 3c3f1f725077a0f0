//! The pipe's record of the node on one side: its connection, its facts, its stateful messages and its open requests.

use super::problem::PipeProblem;
use super::report::SideState;
use super::requests::OpenRequests;
use super::states::States;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{
    INITIAL_PIPE_BACKOFF, MAX_PIPE_BACKOFF, MAX_PIPE_FACTS_AGE, PIPE_BACKOFF_JITTER_PERCENT, PIPE_STABLE_TIME,
};
use crate::peer::VersionFacts;
use crate::stats::MessageCounts;
use crate::time::Instant;
use rand::RngExt;
use std::net::SocketAddr;
use std::time::Duration;

/// The state of a node's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No connection is open, and a dial is allowed as soon as the facts are there.
    Idle,
    /// No connection is open, and the pause after a failure is not over.
    Paused,
    /// The node's facts are being learned.
    Probing(PeerId),
    /// The node is being dialled with the opposite node's facts.
    Connecting(PeerId),
    /// The node has been ready since a moment.
    Ready(PeerId, Instant),
}

/// A node and its connection.
#[derive(Debug)]
pub(super) struct Node {
    /// The node's addresses, at least one. After a failure, the next one is dialled.
    addresses: Vec<SocketAddr>,
    /// The index of the address that was dialled last.
    address_index: usize,
    next_address_index: usize,
    pub(super) stage: Stage,
    /// The facts of the node's last `version`, and the moment at which they were learned.
    facts: Option<(VersionFacts, Instant)>,
    /// The opposite node's facts that were stated on the open connection; `None` on a probe.
    pub(super) stated: Option<VersionFacts>,
    /// The number of failures and losses in a row.
    failures: u32,
    pub(super) states: States,
    /// The items that the node requested and has not received.
    pub(super) open_requests: OpenRequests,
    /// Whether the node has received a `sendhdrsen` on this connection. A second one costs a point (SV Node 1.2.2,
    /// net_processing.cpp ProcessSendHdrsEnMessage).
    pub(super) has_sendhdrsen: bool,
    pub(super) user_agent: Option<String>,
    pub(super) problem: Option<PipeProblem>,
    pub(super) connects: u64,
    pub(super) withheld: MessageCounts,
}

impl Node {
    /// # Panics
    ///
    /// If there is no address.
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        assert!(!addresses.is_empty(), "a side of the pipe has no address");
        Self {
            addresses,
            address_index: 0,
            next_address_index: 0,
            stage: Stage::Idle,
            facts: None,
            stated: None,
            failures: 0,
            states: States::default(),
            open_requests: OpenRequests::default(),
            has_sendhdrsen: false,
            user_agent: None,
            problem: None,
            connects: 0,
            withheld: MessageCounts::default(),
        }
    }

    /// Returns the address that was dialled last, or the first one.
    pub(super) fn address(&self) -> SocketAddr {
        self.addresses[self.address_index]
    }

    /// Returns the address to dial, which is then the last dialled one.
    pub(super) fn dialled_address(&mut self) -> SocketAddr {
        self.address_index = self.next_address_index;
        self.address()
    }

    /// Returns the peer of any open connection.
    pub(super) fn peer(&self) -> Option<PeerId> {
        match self.stage {
            Stage::Idle | Stage::Paused => None,
            Stage::Probing(peer) | Stage::Connecting(peer) | Stage::Ready(peer, _) => Some(peer),
        }
    }

    /// Returns the node's peer if messages can be sent to it.
    pub(super) fn ready_peer(&self, ctx: &Ctx<'_>) -> Option<PeerId> {
        let Stage::Ready(peer, _) = self.stage else { return None };
        ctx.peer(peer).is_some_and(|view| view.is_ready()).then_some(peer)
    }

    pub(super) fn state(&self) -> SideState {
        match self.stage {
            Stage::Idle | Stage::Paused => SideState::Waiting,
            Stage::Probing(_) => SideState::Probing,
            Stage::Connecting(_) => SideState::Connecting,
            Stage::Ready(..) => SideState::Ready,
        }
    }

    pub(super) fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.stage {
            Stage::Ready(_, since) => Some(now.since(since)),
            Stage::Idle | Stage::Paused | Stage::Probing(_) | Stage::Connecting(_) => None,
        }
    }

    pub(super) fn facts(&self) -> Option<&VersionFacts> {
        self.facts.as_ref().map(|(facts, _)| facts)
    }

    pub(super) fn set_facts(&mut self, facts: VersionFacts, now: Instant) {
        self.facts = Some((facts, now));
    }

    /// Returns whether the facts that were stated on the open connection differ from `facts` in more than the height.
    pub(super) fn has_stated_other(&self, facts: &VersionFacts) -> bool {
        let differs =
            |stated: &VersionFacts| *facts != VersionFacts { start_height: facts.start_height, ..stated.clone() };
        self.stated.as_ref().is_some_and(differs)
    }

    pub(super) fn forget_facts(&mut self) {
        self.facts = None;
    }

    /// Forgets the facts if they are too old to be stated to another node.
    pub(super) fn forget_old_facts(&mut self, now: Instant) {
        self.facts.take_if(|(_, learned)| now.since(*learned) > MAX_PIPE_FACTS_AGE);
    }

    /// Records a failure or a loss. The next address is dialled after the returned pause.
    pub(super) fn pause_after(&mut self, problem: PipeProblem, ctx: &mut Ctx<'_>) -> Duration {
        let was_stable = self.ready_for(ctx.now()).is_some_and(|time| time >= PIPE_STABLE_TIME);
        self.failures = if was_stable { 1 } else { self.failures.saturating_add(1) };
        self.problem = Some(problem);
        self.stage = Stage::Paused;
        self.stated = None;
        self.next_address_index = (self.address_index + 1) % self.addresses.len();
        let doublings = (self.failures - 1).min(16);
        let least = (INITIAL_PIPE_BACKOFF * (1 << doublings)).min(MAX_PIPE_BACKOFF);
        let nanos = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(ctx.rng().random_range(0..=nanos / 100 * PIPE_BACKOFF_JITTER_PERCENT))
    }

    /// Forgets the state that belonged to the lost connection.
    pub(super) fn connection_lost(&mut self) {
        let _ = self.open_requests.take();
        self.has_sendhdrsen = false;
    }
}
