//! Announcements, transactions and rejections that arrive, and their effect on the tables.
//!
//! An announcement by an upstream validates a transaction; one by a leaf only names a source of its body. A body is
//! authentic from any peer, because its hash is the transaction's id.

use super::blocks;
use super::body::Body;
use super::core::{Core, Timer};
use super::event::{Rejection, printable};
use super::inventory::{Added, Id, NONE, PeerIndex, Refusal, Slot, State};
use super::large;
use super::policy::TrustMode;
use crate::api::Reply;
use crate::bugs::canary;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{MAX_RELAY_INV_ITEMS, RELAY_LIVE_ANNOUNCEMENTS};
use crate::relay::event::SubmitReport;
use crate::time::Instant;
use crate::wire::{Hash256, InventoryKind, InventoryRef, RejectCode, RejectRef, TxRef};

/// A transaction that has arrived and is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) slot: Slot,
    pub(super) id: Id,
    /// The peer that has sent it; `None` if a request has submitted it.
    pub(super) origin: Option<PeerId>,
    pub(super) is_from_upstream: bool,
}

impl Core {
    // --- Announcements ----------------------------------------------------------------------------------------------

    /// Handles the items of an `inv`.
    pub(super) fn on_inv(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, items: InventoryRef<'_>) {
        let Some(peer) = self.peers.get(index) else { return };
        let (id, is_upstream) = (peer.id, peer.is_upstream());
        let count = items.len().min(MAX_RELAY_INV_ITEMS);
        self.counts.inv_items_received += count as u64;
        self.counts.over_limit += (items.len() - count) as u64;
        for item in items.iter().take(count) {
            match item.kind {
                InventoryKind::TX => self.on_announced(ctx, index, item.hash, is_upstream),
                InventoryKind::BLOCK if is_upstream => {
                    self.on_tip(item.hash);
                    blocks::on_block_announced(self, ctx, id, item.hash);
                }
                InventoryKind::BLOCK => blocks::on_has(self, id, item.hash),
                _ => {}
            }
        }
        blocks::race_for_tip(self, ctx);
        self.send_requests(ctx);
    }

    /// Handles the announcement of a block by an upstream.
    pub(super) fn on_tip(&mut self, hash: Hash256) {
        if self.tip.replace(hash) != Some(hash) {
            self.inventory.clear_refusals();
        }
    }

    fn on_announced(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, hash: Hash256, is_upstream: bool) {
        let id = self.inventory.id(hash);
        let Some(slot) = self.inventory.find(id) else {
            return match self.inventory.was_seen(id) {
                true => self.counts.seen_again += 1,
                false => self.on_new(ctx.now(), index, id, is_upstream),
            };
        };
        let Some(entry) = self.inventory.get(slot) else { return };
        match entry.state {
            State::Accepted => self.on_accepted_again(ctx, index, slot, hash, is_upstream),
            State::Wanted | State::Asked => self.add_source(ctx.now(), index, slot, is_upstream),
            State::Held => {
                self.add_announcer(index, slot);
                if is_upstream {
                    self.on_held_announced(ctx, index, slot, id);
                }
            }
            State::Rejected | State::Dropped if !self.inventory.is_refused(entry, is_upstream) => {
                self.note_seen_back(index, hash);
                self.forget(slot);
                self.on_new(ctx.now(), index, id, is_upstream);
            }
            State::Rejected | State::Dropped | State::Oversized => {}
        }
    }

    /// Handles the announcement of a transaction that was accepted before.
    fn on_accepted_again(&mut self, ctx: &Ctx<'_>, index: PeerIndex, slot: Slot, hash: Hash256, is_upstream: bool) {
        let (Some(entry), Some(peer)) = (self.inventory.get(slot), self.peers.get(index)) else { return };
        let (position, is_submitted) = (self.inventory.position(entry), entry.is_submitted);
        let is_ahead = position.is_some_and(|position| peer.cursor <= position);
        if is_ahead && (peer.member != NONE || is_upstream) {
            self.add_announcer(index, slot);
        }
        if is_upstream {
            if let Some((age, _)) = position.and_then(|position| self.inventory.log().age(position, ctx.now())) {
                self.hops.propagation.record(age);
            }
            if is_submitted {
                self.note_seen_back(index, hash);
            }
        }
    }

    /// Handles an upstream's announcement of a held transaction.
    fn on_held_announced(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, slot: Slot, id: Id) {
        self.note_seen_back(index, id.hash);
        if let Some(entry) = self.inventory.get_mut(slot) {
            entry.is_validated = true;
        }
        if self.pool.contains(id) {
            return self.accept(ctx, slot);
        }
        // The body was evicted. The upstream has it.
        if let Some(entry) = self.inventory.get_mut(slot) {
            (entry.state, entry.link) = (State::Wanted, NONE);
        }
        self.claim(slot);
        self.requests.announced(&mut self.inventory, &mut self.peers, slot, index, ctx.now());
    }

    fn note_seen_back(&mut self, index: PeerIndex, hash: Hash256) {
        if let Some(link) = self.link(index) {
            self.counts.seen_back += u64::from(self.submissions.seen_back(hash, link));
        }
    }

    /// Notes the upstreams that have announced a transaction before it was submitted.
    fn note_earlier_announcements(&mut self, slot: Slot, hash: Hash256) {
        let announcers: Vec<PeerIndex> =
            self.inventory.get(slot).into_iter().flat_map(|entry| entry.announcers()).collect();
        announcers.into_iter().for_each(|index| self.note_seen_back(index, hash));
    }

    fn add_announcer(&mut self, index: PeerIndex, slot: Slot) -> Added {
        let Self { inventory, peers, .. } = self;
        let added = inventory.add_announcer(slot, index, |peer| peers.get(peer).map(|peer| peer.is_upstream()));
        self.counts.announcers_dropped += u64::from(matches!(added, Added::Dropped | Added::HeldInstead(_)));
        added
    }

    /// Begins the announcers' claims on an entry whose body is wanted again. [`Core::resolve`] ends them.
    fn claim(&mut self, slot: Slot) {
        let Self { inventory, peers, .. } = self;
        inventory.for_each_announcer(slot, |announcer| {
            if let Some(peer) = peers.get_mut(announcer) {
                peer.live += 1;
            }
        });
    }

    /// Handles the announcement of a transaction that is not known.
    fn on_new(&mut self, now: Instant, index: PeerIndex, id: Id, is_upstream: bool) {
        let rate = self.config.leaf_tx_per_second;
        let Some(peer) = self.peers.get_mut(index) else { return };
        if peer.live >= RELAY_LIVE_ANNOUNCEMENTS {
            self.counts.over_limit += 1;
            return;
        }
        if !is_upstream && !peer.use_credit(rate, now) {
            self.counts.over_rate += 1;
            return;
        }
        if let Some(slot) = self.create_from(id, is_upstream) {
            self.add_source(now, index, slot, is_upstream);
        }
    }

    /// Adds an entry. One that only a leaf has announced displaces no held transaction.
    fn create_from(&mut self, id: Id, is_upstream: bool) -> Option<Slot> {
        if !is_upstream && !self.inventory.pass_held() {
            self.counts.over_limit += 1;
            return None;
        }
        Some(self.create(id))
    }

    /// Adds an announcer of a transaction whose body has not arrived, and requests the body if nobody was asked.
    fn add_source(&mut self, now: Instant, index: PeerIndex, slot: Slot, is_upstream: bool) {
        let Some(peer) = self.peers.get(index) else { return };
        if peer.live >= RELAY_LIVE_ANNOUNCEMENTS {
            self.counts.over_limit += 1;
            return;
        }
        if is_upstream && let Some(entry) = self.inventory.get_mut(slot) {
            entry.is_validated = true;
        }
        let added = self.add_announcer(index, slot);
        if let Added::HeldInstead(lost) = added
            && let Some(lost) = self.peers.get_mut(lost)
        {
            lost.live = lost.live.saturating_sub(1);
        }
        if !matches!(added, Added::Known | Added::Dropped)
            && let Some(peer) = self.peers.get_mut(index)
        {
            peer.live += 1;
        }
        if matches!(added, Added::Held | Added::HeldInstead(_)) {
            self.requests.announced(&mut self.inventory, &mut self.peers, slot, index, now);
        }
    }

    /// Handles the items of a `notfound`.
    pub(super) fn on_notfound(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, items: InventoryRef<'_>) {
        for item in items.iter().take(MAX_RELAY_INV_ITEMS).filter(|item| item.kind == InventoryKind::TX) {
            if let Some(slot) = self.inventory.find(self.inventory.id(item.hash)) {
                self.requests.refused(&mut self.inventory, &mut self.peers, slot, index, ctx.now());
            }
        }
        self.requests.ask_relieved(&mut self.inventory, &mut self.peers, ctx.now());
        self.send_requests(ctx);
    }

    // --- Transactions -----------------------------------------------------------------------------------------------

    /// Returns whether a transaction that a peer begins to send can be of use. A leaf from which nothing was requested
    /// sends transactions within its rate, and none that is too large. Others are not even hashed.
    pub(super) fn expects_tx(&mut self, ctx: &Ctx<'_>, peer: PeerId, is_buffered: bool) -> bool {
        let row = self.peers.index(peer).and_then(|index| self.peers.get(index));
        let Some(row) = row else { return false };
        if row.is_upstream() || row.in_flight > 0 {
            return true;
        }
        if !is_buffered {
            self.counts.oversized += 1;
            return false;
        }
        let has_credit = row.has_credit(self.config.leaf_tx_per_second, ctx.now());
        self.counts.over_rate += u64::from(!has_credit);
        has_credit
    }

    /// Handles a transaction's arrival. Returns it if it is wanted; then the policy decides. `is_whole` returns whether
    /// its payload is one transaction and nothing else.
    pub(super) fn on_tx(
        &mut self,
        ctx: &mut Ctx<'_>,
        index: PeerIndex,
        txid: Hash256,
        len_bytes: usize,
        is_whole: impl FnOnce() -> bool,
    ) -> Option<Arrival> {
        let peer = self.peers.get(index)?;
        let (is_from_upstream, origin) = (peer.is_upstream(), Some(peer.id));
        let id = self.inventory.id(txid);
        let slot = self.slot_for_body(ctx, index, id, is_from_upstream)?;
        if self.inventory.get(slot).is_some_and(|entry| entry.state.is_open()) {
            self.resolve(slot);
        }
        let (inventory, peers) = (&mut self.inventory, &mut self.peers);
        if let Some(took) = self.requests.arrived(inventory, peers, slot, index, len_bytes, ctx.now()) {
            self.hops.tx_fetch.record(took);
        }
        self.requests.ask_relieved(&mut self.inventory, &mut self.peers, ctx.now());
        self.send_requests(ctx);
        if let Some(entry) = self.inventory.get_mut(slot) {
            (entry.state, entry.link) = (State::Held, NONE);
            entry.is_validated |= is_from_upstream;
        }
        if !is_from_upstream && !is_whole() {
            self.counts.malformed += 1;
            self.refuse(slot, Refusal::Rejected);
            return None;
        }
        Some(Arrival { slot, id, origin, is_from_upstream })
    }

    /// Adds an entry for a body that has arrived without an announcement, so that its sender has no claim.
    fn create_for_body(&mut self, index: PeerIndex, id: Id, is_upstream: bool) -> Option<Slot> {
        let slot = self.create_from(id, is_upstream)?;
        self.add_announcer(index, slot);
        self.inventory.get_mut(slot)?.state = State::Held;
        Some(slot)
    }

    /// Returns the entry of a transaction whose body has arrived and is wanted, and adds one if there is none.
    fn slot_for_body(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, id: Id, is_upstream: bool) -> Option<Slot> {
        let Some(slot) = self.inventory.find(id) else {
            if self.inventory.was_seen(id) {
                self.counts.seen_again += 1;
                return None;
            }
            let rate = self.config.leaf_tx_per_second;
            let peer = self.peers.get_mut(index)?;
            if !is_upstream && !peer.use_credit(rate, ctx.now()) {
                self.counts.over_rate += 1;
                return None;
            }
            return self.create_for_body(index, id, is_upstream);
        };
        let entry = self.inventory.get(slot)?;
        match entry.state {
            State::Wanted | State::Asked => Some(slot),
            State::Held => {
                if is_upstream {
                    self.add_announcer(index, slot);
                    self.on_held_announced(ctx, index, slot, id);
                }
                // If the body was evicted, this one replaces it.
                self.inventory.get(slot).filter(|entry| entry.state != State::Accepted && !self.pool.contains(id))?;
                Some(slot)
            }
            State::Rejected | State::Dropped if !self.inventory.is_refused(entry, is_upstream) => {
                self.note_seen_back(index, id.hash);
                self.forget(slot);
                self.create_for_body(index, id, is_upstream)
            }
            State::Accepted | State::Rejected | State::Dropped | State::Oversized => None,
        }
    }

    /// Handles a transaction that the policy lets pass.
    pub(super) fn relay(
        &mut self,
        ctx: &mut Ctx<'_>,
        arrival: Arrival,
        body: Body,
        reply: Option<Reply<SubmitReport>>,
    ) {
        let Arrival { slot, id, origin, is_from_upstream } = arrival;
        let Some(entry) = self.inventory.get(slot) else { return };
        let is_validated = entry.is_validated;
        if is_validated && !self.pool.fits(body.len()) {
            self.counts.oversized += 1;
            return self.inventory.set_oversized(slot);
        }
        if !is_validated && !self.pool.may_hold(body.len()) {
            self.counts.held_dropped += 1;
            return self.forget(slot);
        }
        self.pool.insert(id, body, ctx.now());
        let is_followed = self.submissions.get(&id.hash).is_some();
        if is_followed && !is_validated {
            // The pool had dropped its body.
            self.announce_again(ctx, id.hash);
        } else if !is_followed && !is_from_upstream && (!is_validated || reply.is_some()) {
            let position = self.submit(ctx, slot);
            self.counts.submitted += 1;
            let silent_after = self.config.accept_on_silence;
            let dropped = self.submissions.add(id.hash, origin, reply, position, silent_after, ctx.now());
            self.counts.submissions_dropped += u64::from(dropped.is_some());
            dropped.into_iter().for_each(|hash| self.forget_held(hash));
            self.note_earlier_announcements(slot, id.hash);
        }
        if is_validated || self.config.trust == TrustMode::Open || canary!(UntrustedAnnounced) {
            self.accept(ctx, slot);
        }
    }

    /// Keeps a transaction that the policy neither relays nor drops.
    pub(super) fn hold(&mut self, ctx: &Ctx<'_>, arrival: Arrival, body: Body) {
        if self.pool.may_hold(body.len()) {
            self.pool.insert(arrival.id, body, ctx.now());
        } else {
            self.counts.held_dropped += 1;
            self.forget(arrival.slot);
        }
    }

    /// Handles a transaction that is too large to be relayed, once its hash is known.
    pub(super) fn on_oversized(&mut self, ctx: &mut Ctx<'_>, txid: Hash256) {
        self.counts.oversized += 1;
        let id = self.inventory.id(txid);
        let Some(slot) = self.inventory.find(id) else { return };
        if self.inventory.get(slot).is_some_and(|entry| entry.state.is_open()) {
            self.resolve(slot);
            self.requests.cancel(&mut self.inventory, &mut self.peers, slot);
            self.inventory.set_oversized(slot);
            self.send_requests(ctx);
        }
    }

    // --- Outcomes ---------------------------------------------------------------------------------------------------

    /// Handles the rejection of a transaction by an upstream.
    pub(super) fn on_reject(&mut self, ctx: &mut Ctx<'_>, index: PeerIndex, reject: RejectRef<'_>) {
        let (Some(by), Some(hash)) = (self.link(index), reject.hash) else { return };
        // A duplicate is no rejection of the transaction: the node has it, or one that spends the same output.
        if reject.message != b"tx" || reject.code == RejectCode::DUPLICATE {
            return;
        }
        let hash = Hash256::from_bytes(hash);
        let Some(slot) = self.inventory.find(self.inventory.id(hash)) else { return };
        let is_held = self.inventory.get(slot).is_some_and(|entry| entry.state == State::Held);
        let origin = self.submissions.get(&hash).and_then(|submission| submission.origin);
        if let Some(leaf) = origin.filter(|_| reject.code == RejectCode::INVALID) {
            ctx.penalize(leaf, 100, "a transaction that an upstream rejected as invalid");
        }
        self.counts.rejected += u64::from(is_held);
        if is_held {
            self.refuse(slot, Refusal::Rejected);
        }
        let reason = printable(reject.reason);
        self.submissions.rejected(hash, Rejection { by, code: reject.code.0, reason });
    }

    /// Begins the silences of the transactions that were announced to an upstream in this call.
    pub(super) fn begin_silences(&mut self, ctx: &mut Ctx<'_>) {
        if self.submissions.begin_silences(ctx.now())
            && let Some(at) = self.submissions.next_silence()
        {
            Timer::Silence.set(ctx, at);
        }
    }

    /// Accepts the transactions whose silence counts as acceptance.
    pub(super) fn accept_silent(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(hash) = self.submissions.silent(ctx.now()) {
            let has_body = self.pool.contains(self.inventory.id(hash));
            if let Some(slot) = self.held_slot(hash).filter(|_| has_body) {
                self.counts.accepted_on_silence += 1;
                self.accept(ctx, slot);
            }
        }
        if let Some(at) = self.submissions.next_silence() {
            Timer::Silence.set(ctx, at);
        }
    }

    /// Returns the slot of a transaction that waits for an upstream's announcement.
    fn held_slot(&self, hash: Hash256) -> Option<Slot> {
        let slot = self.inventory.find(self.inventory.id(hash))?;
        self.inventory.get(slot).is_some_and(|entry| entry.state == State::Held).then_some(slot)
    }

    /// Forgets a transaction that is no longer followed, if no upstream has announced it.
    fn forget_held(&mut self, hash: Hash256) {
        if let Some(slot) = self.held_slot(hash) {
            self.forget(slot);
        }
    }

    /// Does the work of each second.
    pub(super) fn keep_house(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        self.inventory.advance(now);
        let (head, tail) = (self.inventory.log().head(), self.inventory.log().tail());
        let members = self.peers.iter().filter(|(_, peer)| peer.member != NONE);
        let floor = members.map(|(_, peer)| peer.cursor.max(tail)).min().unwrap_or(head);
        self.inventory.pass(floor);
        self.pool.expire(floor, now);
        let due = self.submissions.advance(now);
        for hash in due.announce {
            self.announce_again(ctx, hash);
        }
        due.forgotten.into_iter().for_each(|hash| self.forget_held(hash));
        large::expire(self, now);
        self.sweep(ctx);
        self.dial(ctx);
        self.accept_silent(ctx);
        ctx.wake_at(now);
        self.requests.ask_all_waiting(&mut self.inventory, &mut self.peers, now);
        self.expire_requests(ctx);
        blocks::keep_up(self, ctx);
        blocks::ask_again(self, ctx);
        blocks::choose_sources(self, ctx);
        blocks::expire_asks(self, ctx);
        blocks::proxy::expire(self, ctx);
        Timer::Housekeeping.set(ctx, now.plus(super::core::HOUSEKEEPING));
    }

    /// Announces a submitted transaction to the upstreams again.
    fn announce_again(&mut self, ctx: &mut Ctx<'_>, hash: Hash256) {
        let id = self.inventory.id(hash);
        let Some(slot) = self.inventory.find(id).filter(|_| self.pool.get(id).is_some()) else { return };
        let earlier = self.submissions.get(&hash).map(|submission| submission.position);
        if let Some(earlier) = earlier {
            self.inventory.withdraw(earlier);
        }
        let position = self.submit(ctx, slot);
        if let Some(submission) = self.submissions.get_mut(&hash) {
            submission.position = position;
        }
        self.counts.resubmitted += 1;
    }
}

/// Returns whether a payload is one transaction and nothing else.
pub(super) fn is_whole_transaction(payload: &[u8]) -> bool {
    TxRef::split_first(payload).is_ok_and(|(_, rest)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::limits::{MAX_RELAY_SPILLS, RELAY_ANNOUNCERS};
    use crate::relay::RelayConfig;
    use crate::relay::peers::{Peer, Role};

    const UPSTREAM: Role = Role::Upstream { number: 0, is_listening: true };

    /// A core and its moment, without a loop.
    fn core(leaves: u32, upstreams: u32) -> Core {
        let mut core = Core::new(RelayConfig::new(Vec::new()).with_leaf_tx_per_second(1_000_000));
        for slot in 0..leaves + upstreams {
            let role = if slot < leaves { Role::Leaf } else { UPSTREAM };
            core.peers.insert(Peer::new(PeerId::of(LinkId::new(slot, 0)), role, false, 0, Instant::ZERO));
        }
        core
    }

    fn announce(core: &mut Core, number: u32, peer: PeerIndex) {
        let id = core.inventory.id(Hash256::of(&number.to_le_bytes()));
        let is_upstream = core.peers.get(peer).is_some_and(|peer| peer.is_upstream());
        match core.inventory.find(id) {
            Some(slot) => core.add_source(Instant::ZERO, peer, slot, is_upstream),
            None => core.on_new(Instant::ZERO, peer, id, is_upstream),
        }
    }

    /// Checks that each peer's number of open announcements is that of the entries that name it.
    fn assert_live(core: &Core) {
        let mut counted = vec![0; core.peers.indexes()];
        for (slot, _) in core.inventory.entries() {
            core.inventory.for_each_announcer(slot, |peer| counted[peer as usize] += 1);
        }
        let live: Vec<u32> = core.peers.iter().map(|(_, peer)| peer.live).collect();
        assert_eq!(live, counted);
    }

    #[test]
    fn a_replaced_announcer_without_room_is_counted_and_keeps_no_claim() {
        let (leaves, spills) = (RELAY_ANNOUNCERS as u32 + 2, MAX_RELAY_SPILLS as u32);
        let mut core = core(leaves, 1);
        // One announcer more than an entry holds uses a set.
        for number in 0..spills {
            (0..=RELAY_ANNOUNCERS as u32).for_each(|peer| announce(&mut core, number, peer));
        }
        (0..RELAY_ANNOUNCERS as u32).for_each(|peer| announce(&mut core, spills, peer));
        assert_eq!(core.counts.announcers_dropped, 0);
        announce(&mut core, spills, leaves);
        assert_eq!(core.counts.announcers_dropped, 1, "an upstream has replaced a leaf");
        announce(&mut core, spills, leaves - 1);
        assert_eq!(core.counts.announcers_dropped, 2, "a leaf has found no room");
        // An upstream replaces a leaf, which enters the set.
        announce(&mut core, 0, leaves);
        announce(&mut core, 0, 0);
        assert_eq!(core.counts.announcers_dropped, 2);
        assert_live(&core);
        let slots: Vec<Slot> = core.inventory.entries().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| core.forget(slot));
        assert!(core.peers.iter().all(|(_, peer)| peer.live == 0));
    }
}
