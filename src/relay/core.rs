//! The tables of a relay, and the steps that several callbacks share.
//!
//! The core knows no policy. It sends through the [`Ctx`] that each call receives, and keeps none.

use super::batch::Batch;
use super::blocks::Blocks;
use super::config::RelayConfig;
use super::fanout::Fanout;
use super::headers::HeaderChain;
use super::hops::{Hops, Marks};
use super::inventory::{Id, Inventory, NONE, PeerIndex, Refusal, Slot, State};
use super::large::Arrivals;
use super::link::UpstreamLink;
use super::peers::{Mute, Peer, Peers, Role};
use super::pool::Pool;
use super::request::Requests;
use super::stats::{RelayCounts, RelayStats};
use super::submissions::Submissions;
use super::upstreams::Upstreams;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{RELAY_ALERTS, RELAY_PENDING_ITEMS, TICK};
use crate::time::Instant;
use crate::wire::siphash::SipKey;
use crate::wire::{Hash256, Inventory as InventoryMessage, InventoryItem, MessageRef};
use rand::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// The pause between two rounds of housekeeping.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// The place of an upstream's submitting link, which is no part of the rotation.
const SUBMITTING: u32 = NONE - 1;

/// The handler's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Timer {
    /// Expiry, submissions and the position that all peers have passed.
    Housekeeping,
    /// The requests' deadlines.
    Deadlines,
    /// The next step of the sweep.
    Sweep,
    /// The next dial of an upstream.
    Dial,
    /// The next slice of a spread rotation.
    Pace,
    /// The next silence that counts as acceptance.
    Silence,
}

impl Timer {
    const ALL: [Self; 6] = [Self::Housekeeping, Self::Deadlines, Self::Sweep, Self::Dial, Self::Pace, Self::Silence];

    /// Returns the timer with a key.
    pub(super) fn of(key: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|timer| *timer as u64 == key)
    }

    /// Sets the timer. It cannot fail for lack of room unless the embedder's own handlers use all timers. Every step
    /// except housekeeping itself then waits for the next round of housekeeping.
    pub(super) fn set(self, ctx: &mut Ctx<'_>, at: Instant) {
        let _ = ctx.set_timer(self as u64, at);
    }
}

/// The hashes of the last alerts of one kind.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    known: BTreeSet<Hash256>,
    order: VecDeque<Hash256>,
}

impl Alerts {
    /// Adds an alert, and returns whether it was new.
    pub(super) fn insert(&mut self, hash: Hash256) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        if self.order.len() == RELAY_ALERTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

/// A relay without its policy.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: RelayConfig,
    pub(super) inventory: Inventory,
    pub(super) peers: Peers,
    pub(super) requests: Requests,
    pub(super) pool: Pool,
    pub(super) arrivals: Arrivals,
    pub(super) fanout: Fanout,
    /// The submitting links, which receive announcements before all leaf peers.
    pub(super) submitting: Vec<PeerIndex>,
    pub(super) submissions: Submissions,
    pub(super) upstreams: Upstreams,
    pub(super) blocks: Blocks,
    pub(super) hops: Hops,
    pub(super) marks: Marks,
    pub(super) counts: RelayCounts,
    /// The seen `dsdetected` and `revokemid` messages.
    pub(super) alerts: [Alerts; 2],
    /// The hash of the last block that an upstream has announced.
    pub(super) tip: Option<Hash256>,
    /// The bytes of all unanswered `getdata` messages.
    pub(super) pending_bytes: usize,
    /// The last announcement that was encoded for several peers.
    pub(super) batch: Option<Batch>,
    /// At least one peer has received all accepted positions below this one.
    pub(super) first_accepted: u64,
    /// At least one upstream has received all submitted positions below this one.
    pub(super) first_submitted: u64,
    /// The last peer has received all positions below this one.
    pub(super) last_passed: u64,
    /// The number of peers whose announcements wait for an empty queue.
    pub(super) behind: usize,
    /// The moment for which the timer of deadlines is set.
    armed: Option<Instant>,
}

impl Core {
    pub(super) fn new(config: RelayConfig) -> Self {
        let config = config.in_range();
        // The keys are drawn when the loop starts, before the first peer.
        let key = SipKey { k0: 0, k1: 0 };
        Self {
            inventory: Inventory::new(key, config.max_entries, config.max_seen),
            peers: Peers::default(),
            requests: Requests::new(0),
            pool: Pool::new(config.tx_pool_bytes),
            arrivals: Arrivals::default(),
            fanout: Fanout::new(),
            submitting: Vec::new(),
            submissions: Submissions::default(),
            upstreams: Upstreams::default(),
            blocks: Blocks::new(&config),
            hops: Hops::default(),
            marks: Marks::default(),
            counts: RelayCounts::default(),
            alerts: Default::default(),
            tip: None,
            pending_bytes: 0,
            batch: None,
            first_accepted: 0,
            first_submitted: 0,
            last_passed: 0,
            behind: 0,
            armed: None,
            config,
        }
    }

    pub(super) fn start(&mut self, ctx: &mut Ctx<'_>) {
        let network = ctx.config().network;
        let rng = ctx.rng();
        self.inventory.set_key(SipKey { k0: rng.next_u64(), k1: rng.next_u64() });
        let key = SipKey { k0: rng.next_u64(), k1: rng.next_u64() };
        self.blocks.start(network, &self.config.anchor, self.config.max_headers, key);
        self.requests = Requests::new(rng.next_u64());
        Timer::Housekeeping.set(ctx, ctx.now().plus(HOUSEKEEPING));
        self.upstreams.set(&self.config.upstreams, self.config.upstream_links, ctx.now());
        self.dial(ctx);
    }

    pub(super) fn stats(&self) -> RelayStats {
        let upstream_links = self.peers.upstreams();
        let counts =
            RelayCounts { pool_evicted: self.pool.evicted(), seen_evicted: self.inventory.seen_early(), ..self.counts };
        RelayStats {
            leaf_peers: self.peers.len() - upstream_links,
            upstream_links,
            entries: self.inventory.len(),
            seen: self.inventory.seen_len(),
            bodies: self.pool.len(),
            pool_bytes: self.pool.retained_bytes(),
            in_flight: self.requests.len(),
            following: self.submissions.len(),
            pending_bytes: self.pending_bytes,
            tip_height: self.blocks.chain().map(|chain| chain.tip().height),
            headers: self.blocks.chain().map_or(0, HeaderChain::len),
            passing_blocks: self.blocks.passing_len(),
            passing_block_bytes: self.blocks.passing_bytes(),
            kept_blocks: self.blocks.kept().len(),
            kept_block_bytes: self.blocks.kept().bytes(),
            counts,
            requests: self.requests.counts,
            hops: self.hops.summary(),
            upstreams: self.upstreams.stats(),
        }
    }

    /// Returns the upstream's link with this index; `None` for a leaf.
    pub(super) fn link(&self, index: PeerIndex) -> Option<UpstreamLink> {
        let peer = self.peers.get(index)?;
        match peer.role {
            Role::Leaf => None,
            Role::Upstream { number, is_listening } => {
                Some(UpstreamLink { address: self.upstreams.address(number)?, peer: peer.id, is_listening })
            }
        }
    }

    pub(super) fn is_upstream(&self, peer: PeerId) -> bool {
        self.peers.index(peer).and_then(|index| self.peers.get(index)).is_some_and(Peer::is_upstream)
    }

    /// Returns whether a peer is not read, because it has too many unanswered requests.
    pub(super) fn is_paused_for_requests(&self, peer: PeerId) -> bool {
        let peer = self.peers.index(peer).and_then(|index| self.peers.get(index));
        let backlog = peer.and_then(|peer| peer.backlog.as_ref());
        backlog.is_some_and(|backlog| backlog.serving.len() > RELAY_PENDING_ITEMS)
    }

    // --- Entries ----------------------------------------------------------------------------------------------------

    /// Adds an entry, and drops the one whose slot it needs.
    pub(super) fn create(&mut self, id: Id) -> Slot {
        if let Some(victim) = self.inventory.victim() {
            self.forget(victim);
        }
        self.inventory.insert(id)
    }

    /// Removes an entry and everything that depends on it.
    pub(super) fn forget(&mut self, slot: Slot) {
        let Some(entry) = self.inventory.get(slot) else { return };
        let (hash, state, is_submitted) = (entry.hash, entry.state, entry.is_submitted);
        match state {
            State::Wanted | State::Asked => {
                self.resolve(slot);
                self.requests.cancel(&mut self.inventory, &mut self.peers, slot);
            }
            State::Held => self.pool.remove(self.inventory.id(hash)),
            State::Accepted | State::Rejected | State::Dropped | State::Oversized => {}
        }
        if is_submitted {
            if let Some(submission) = self.submissions.get(&hash) {
                self.inventory.withdraw(submission.position);
            }
            self.submissions.forget(hash);
        }
        self.inventory.remove(slot);
    }

    /// Ends the announcers' claims on an entry whose body has arrived or is no longer wanted.
    pub(super) fn resolve(&mut self, slot: Slot) {
        let Self { inventory, peers, .. } = self;
        inventory.for_each_announcer(slot, |announcer| {
            if let Some(peer) = peers.get_mut(announcer) {
                peer.live = peer.live.saturating_sub(1);
            }
        });
    }

    /// Marks an entry as rejected or dropped, and drops its body and its announcement.
    pub(super) fn refuse(&mut self, slot: Slot, refusal: Refusal) {
        let Some(entry) = self.inventory.get(slot) else { return };
        let (hash, is_submitted) = (entry.hash, entry.is_submitted);
        self.pool.remove(self.inventory.id(hash));
        if is_submitted && let Some(submission) = self.submissions.get(&hash) {
            self.inventory.withdraw(submission.position);
        }
        self.inventory.refuse(slot, refusal);
    }

    /// Announces an entry to all peers. Its body is in the pool.
    pub(super) fn accept(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(entry) = self.inventory.get(slot) else { return };
        let id = self.inventory.id(entry.hash);
        let position = self.inventory.accept(slot, ctx.now(), ctx.max_input_wait());
        self.pool.accept(id, position);
        self.counts.accepted += 1;
        self.spread(ctx);
    }

    /// Announces an entry to the upstreams, and returns the position of this announcement.
    pub(super) fn submit(&mut self, ctx: &mut Ctx<'_>, slot: Slot) -> u64 {
        let position = self.inventory.submit(slot, ctx.now(), ctx.max_input_wait());
        self.spread(ctx);
        position
    }

    /// Requests the rotation that announces the latest positions, in this turn.
    fn spread(&mut self, ctx: &mut Ctx<'_>) {
        self.fanout.accepted(self.inventory.log().head());
        ctx.wake_at(ctx.now());
    }

    // --- Requests ---------------------------------------------------------------------------------------------------

    /// Sends the requests that were decided, and forgets the transactions whose announcers have all failed.
    pub(super) fn send_requests(&mut self, ctx: &mut Ctx<'_>) {
        let to_send = self.requests.take_to_send();
        for group in to_send.chunk_by(|(first, _), (second, _)| first == second) {
            let Some(peer) = self.peers.get(group[0].0) else { continue };
            let items = InventoryMessage::from_items(group.iter().map(|&(_, hash)| InventoryItem::tx(hash)));
            // A request that does not fit into the queue counts as sent: its deadline moves it to the next announcer.
            let _ = ctx.send(peer.id, &MessageRef::GetData(items.as_ref()));
        }
        self.requests.give_back(to_send);
        while let Some(slot) = self.requests.next_failed() {
            if self.inventory.get(slot).is_some_and(|entry| entry.state == State::Wanted) {
                self.forget(slot);
            }
        }
        let next = self.requests.next_deadline();
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            Timer::Deadlines.set(ctx, next);
        }
    }

    /// Handles the requests whose deadlines have passed.
    pub(super) fn expire_requests(&mut self, ctx: &mut Ctx<'_>) {
        self.armed = None;
        self.requests.expire(&mut self.inventory, &mut self.peers, ctx.now());
        self.send_requests(ctx);
    }

    // --- Peers ------------------------------------------------------------------------------------------------------

    /// Adds or removes a peer among those that receive announcements, after `change` has changed its mute reasons. A
    /// peer that is added receives only later announcements, and an upstream also the submissions without an outcome.
    pub(super) fn change_mute(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, change: impl FnOnce(&mut Mute)) {
        let head = self.inventory.log().head();
        let Some(peer) = self.peers.get_mut(index) else { return };
        change(&mut peer.mute);
        let is_wanted = peer.is_announced_to();
        if is_wanted && peer.member == NONE {
            peer.cursor = head;
            peer.member = match peer.is_upstream() {
                true => {
                    self.submitting.push(index);
                    SUBMITTING
                }
                false => self.fanout.add(index),
            };
            if self.peers.get(index).is_some_and(Peer::is_upstream) {
                self.announce_open(ctx, index);
            }
        } else if !is_wanted && peer.member != NONE {
            self.leave_fanout(index);
        }
    }

    /// Removes a peer from those that receive announcements.
    pub(super) fn leave_fanout(&mut self, index: PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let place = std::mem::replace(&mut peer.member, NONE);
        if std::mem::take(&mut peer.is_behind) {
            self.behind -= 1;
        }
        if place == NONE {
            return;
        }
        if place == SUBMITTING {
            return self.submitting.retain(|&link| link != index);
        }
        if let Some(moved) = self.fanout.remove(place)
            && let Some(moved) = self.peers.get_mut(moved)
        {
            moved.member = place;
        }
    }

    /// Removes the traces of closed peers step by step.
    pub(super) fn sweep(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(closed) = self.peers.unswept() {
            self.inventory.sweep(closed);
            self.peers.release(self.inventory.swept());
        }
        if self.peers.unswept().is_some() {
            Timer::Sweep.set(ctx, ctx.now().plus(TICK));
        }
    }

    // --- Upstreams --------------------------------------------------------------------------------------------------

    /// Dials the upstreams that are due.
    pub(super) fn dial(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(dial) = self.upstreams.due(ctx.now()) {
            let facts = self.blocks.facts(ctx.config());
            match ctx.connect_again_as(dial.address, facts) {
                Ok(peer) => self.upstreams.dialled(dial, peer),
                Err(_) => {
                    self.counts.dials_refused += 1;
                    let now = ctx.now();
                    self.upstreams.ended(dial.number, dial.is_listening, now, ctx.rng());
                }
            }
        }
        if let Some(next) = self.upstreams.next_due() {
            Timer::Dial.set(ctx, next);
        }
    }

    /// Mutes or unmutes the submitting link of an upstream whose listening link has changed. A transaction that is
    /// submitted while nobody listens could be accepted unseen, and would never be announced to leaf peers. The open
    /// submissions are announced once the upstream is observed.
    pub(super) fn observe(&mut self, ctx: &mut Ctx<'_>, number: u16) {
        let link = self.upstreams.submitting_link(number).and_then(|peer| self.peers.index(peer));
        let Some(index) = link else { return };
        let is_observed = self.upstreams.is_observed(number);
        self.change_mute(ctx, index, |mute| mute.unobserved = !is_observed);
    }

    /// Announces the submissions whose outcome is not known to an upstream that may have missed them.
    fn announce_open(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex) {
        let Some(link) = self.link(index) else { return };
        let is_held = |hash: &Hash256| self.pool.get(self.inventory.id(*hash)).is_some();
        let open: Vec<Hash256> = self.submissions.open().filter(is_held).collect();
        let items = InventoryMessage::from_items(open.iter().copied().map(InventoryItem::tx));
        if !open.is_empty() && ctx.send(link.peer, &MessageRef::Inv(items.as_ref())).is_ok() {
            self.counts.resubmitted += open.len() as u64;
            self.counts.invs_sent += 1;
            self.counts.inv_items_sent += open.len() as u64;
            open.into_iter().for_each(|hash| self.submissions.announced(hash, link));
        }
    }

    /// Returns whether this side only listens on a link.
    pub(super) fn is_listening_link(&self, peer: PeerId) -> bool {
        self.peers
            .index(peer)
            .and_then(|index| self.peers.get(index))
            .is_some_and(|peer| matches!(peer.role, Role::Upstream { is_listening: true, .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_alerts_are_remembered() {
        let mut alerts = Alerts::default();
        let hash = |number: usize| Hash256::of(&number.to_le_bytes());
        assert!((0..RELAY_ALERTS).all(|number| alerts.insert(hash(number))));
        assert!((0..RELAY_ALERTS).all(|number| !alerts.insert(hash(number))));
        assert!(alerts.insert(hash(RELAY_ALERTS)));
        assert!(alerts.insert(hash(0)) && !alerts.insert(hash(2)));
        assert_eq!((alerts.known.len(), alerts.order.len()), (RELAY_ALERTS, RELAY_ALERTS));
    }

    #[test]
    fn a_timer_is_found_by_its_key() {
        for (key, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(Timer::of(key as u64), Some(timer));
        }
        assert_eq!(Timer::of(6), None);
    }
}
