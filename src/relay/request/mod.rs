//! Requests for announced transactions: which announcer is asked, and when the next one is.
//!
//! A transaction is requested from one announcer, and from a second one if the first is slow. The next announcer is
//! asked at once after a `notfound`, a close or a passed deadline. No announcer is asked twice, except the
//! last one, whose request stays for 30 s and is then repeated once. If all have failed, the transaction is forgotten.
//! The module sends nothing: it returns the requests that are to be sent.

mod asks;

use super::inventory::{Inventory, NONE, PeerIndex, Slot, State};
use super::peers::{Peer, Peers};
use super::percentile::Percentile95;
use crate::bugs::canary;
use crate::limits::{
    MAX_RELAY_ASKS, MAX_RELAY_LEAF_ASKS, RELAY_DEADLINE_CLASSES, RELAY_FIRST_DEADLINE, RELAY_FIRST_HEDGE,
    RELAY_IN_FLIGHT, RELAY_LARGE_TX_TIME, RELAY_LAST_DEADLINE, RELAY_LEAST_DEADLINE, RELAY_LEAST_HEDGE,
    RELAY_LEAST_RATE, RELAY_LIVE_ANNOUNCEMENTS, RELAY_MAX_HEDGE,
};
use crate::time::Instant;
use crate::wire::Hash256;
use asks::{Asks, EMPTY, List, OF_DEADLINE, OF_HEDGE, OF_PEER};
use std::time::Duration;

/// The number of the class of last requests.
const LAST: u8 = RELAY_DEADLINE_CLASSES as u8;

/// The counts of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests to a second announcer because the first was slow.
    pub hedged: u64,
    /// Requests that moved to the next announcer.
    pub moved: u64,
    /// Requests whose deadline passed.
    pub overdue: u64,
    /// Requests that were repeated to a transaction's last announcer.
    pub repeated: u64,
    /// Transactions that were forgotten because all announcers had failed.
    pub failed: u64,
    /// Transactions that arrived without a request, or after its deadline.
    pub unrequested: u64,
    /// Announcements that were dropped because a limit was reached.
    pub dropped: u64,
}

/// A request to be sent.
pub(super) type ToSend = (PeerIndex, Hash256);

/// The requests in flight.
#[derive(Debug)]
pub(super) struct Requests {
    asks: Asks,
    /// One list for each deadline class, and one for last requests.
    deadlines: [List; RELAY_DEADLINE_CLASSES + 1],
    hedges: List,
    /// The number of requests in flight to leaf peers.
    leaf_asks: usize,
    /// The estimated time from a request to the transaction, over the upstreams, or over all peers if there are none.
    fetch: Percentile95,
    /// The requests that were decided and not sent yet.
    to_send: Vec<ToSend>,
    /// Transactions whose announcers have all failed.
    failed: Vec<Slot>,
    /// Peers with waiting transactions, half of whose limit has become free.
    relieved: Vec<PeerIndex>,
    pub(super) counts: RequestCounts,
    /// The key of the random order of announcers.
    order_key: u64,
}

impl Requests {
    pub(super) fn new(order_key: u64) -> Self {
        Self {
            asks: Asks::default(),
            deadlines: [EMPTY; RELAY_DEADLINE_CLASSES + 1],
            hedges: EMPTY,
            leaf_asks: 0,
            fetch: Percentile95::starting_at(RELAY_FIRST_HEDGE),
            to_send: Vec::new(),
            failed: Vec::new(),
            relieved: Vec::new(),
            counts: RequestCounts::default(),
            order_key,
        }
    }

    /// Returns the maximum number of bytes that all requests use.
    pub(super) const fn memory_bytes() -> usize {
        2 * MAX_RELAY_ASKS * (size_of::<asks::Ask>() + size_of::<u32>())
    }

    /// Returns the number of requests in flight.
    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// Removes and returns the requests that are to be sent, in order.
    pub(super) fn take_to_send(&mut self) -> Vec<ToSend> {
        std::mem::take(&mut self.to_send)
    }

    /// Accepts the emptied list of [`Requests::take_to_send`], whose memory is used again.
    pub(super) fn give_back(&mut self, mut sent: Vec<ToSend>) {
        sent.clear();
        if self.to_send.is_empty() && sent.capacity() <= 4_096 {
            self.to_send = sent;
        }
    }

    /// Removes and returns a transaction whose announcers have all failed. Remove its entry.
    pub(super) fn next_failed(&mut self) -> Option<Slot> {
        self.failed.pop()
    }

    // --- Events -----------------------------------------------------------------------------------------------------

    /// Handles an announcement by a peer that was added to the entry's announcers.
    pub(super) fn announced(
        &mut self,
        inventory: &mut Inventory,
        peers: &mut Peers,
        slot: Slot,
        peer: PeerIndex,
        now: Instant,
    ) {
        let Some(entry) = inventory.get(slot) else { return };
        match entry.state {
            State::Wanted => {
                // If another announcer can be asked, the transaction waits for that one.
                if !self.ask_or_wait(inventory, peers, slot, peer, now)
                    && inventory.get(slot).is_some_and(|entry| entry.unasked().next().is_none())
                {
                    self.failed.push(slot);
                }
            }
            State::Asked => {
                let (first, hedge_after) = (entry.link, self.hedge_delay());
                let ask = self.asks.get(first);
                let has_second = ask.other != NONE;
                let is_slow = now.since(ask.at) >= hedge_after && !ask.may_hedge && !ask.is_arriving;
                if ask.is_overdue && !has_second {
                    self.counts.moved += 1;
                    self.ask_or_wait(inventory, peers, slot, peer, now);
                } else if is_slow && !has_second && !peers.are_one_upstream(ask.peer, peer) {
                    self.counts.hedged += 1;
                    self.ask_or_wait(inventory, peers, slot, peer, now);
                }
            }
            State::Held | State::Accepted | State::Rejected | State::Dropped | State::Oversized => {}
        }
    }

    /// Handles a transaction that has arrived from `peer`. Ends all requests for it. Returns the time since it was
    /// requested from that peer, if it was.
    pub(super) fn arrived(
        &mut self,
        inventory: &mut Inventory,
        peers: &mut Peers,
        slot: Slot,
        peer: PeerIndex,
        len_bytes: usize,
        now: Instant,
    ) -> Option<Duration> {
        let (mut took, mut is_large) = (None, false);
        let mut ask = self.first_ask(inventory, slot);
        while ask != NONE {
            let Self { asks, .. } = self;
            let (asked, at, other) = (asks.get(ask).peer, asks.get(ask).at, asks.get(ask).other);
            if asked == peer {
                took = Some(now.since(at));
                is_large = asks.get(ask).is_arriving;
            }
            self.remove_ask(peers, ask);
            ask = other;
        }
        if let Some(entry) = inventory.get_mut(slot) {
            entry.link = NONE;
        }
        match took {
            // The time of a large transaction says nothing about other ones.
            Some(_) if is_large => {}
            Some(took) => {
                let has_upstream = peers.upstreams() > 0;
                if let Some(peer) = peers.get_mut(peer) {
                    // A slow leaf delays no other request.
                    if peer.is_upstream() || !has_upstream {
                        self.fetch.add(took);
                    }
                    peer.fetch.add(took);
                    let len_bytes = u32::try_from(len_bytes).unwrap_or(u32::MAX);
                    peer.mean_bytes = peer.mean_bytes - peer.mean_bytes / 16 + len_bytes / 16;
                }
            }
            None => self.counts.unrequested += 1,
        }
        took
    }

    /// Handles the beginning of a large transaction. Its id is not known yet, so it counts as the answer to the peer's
    /// oldest request, because an SV Node answers in order. While it arrives, nobody else is asked for it, for at most
    /// [`RELAY_LARGE_TX_TIME`].
    pub(super) fn begins(&mut self, peers: &Peers, peer: PeerIndex) {
        self.set_arriving(peers, peer, true);
    }

    /// Handles the end of a large transaction, after [`Requests::arrived`] if it is right.
    pub(super) fn ends(&mut self, peers: &Peers, peer: PeerIndex) {
        self.set_arriving(peers, peer, false);
    }

    fn set_arriving(&mut self, peers: &Peers, peer: PeerIndex, is_arriving: bool) {
        if let Some(ask) = peers.get(peer).map(|row| row.asks[0]).filter(|&ask| ask != NONE) {
            self.asks.get_mut(ask).is_arriving = is_arriving;
        }
    }

    /// Handles a `notfound` by a peer that was asked, and asks the next announcer.
    pub(super) fn refused(
        &mut self,
        inventory: &mut Inventory,
        peers: &mut Peers,
        slot: Slot,
        peer: PeerIndex,
        now: Instant,
    ) {
        let mut ask = self.first_ask(inventory, slot);
        while ask != NONE && self.asks.get(ask).peer != peer {
            ask = self.asks.get(ask).other;
        }
        if ask != NONE {
            self.drop_ask(inventory, peers, ask);
            if !canary!(RequestNotMoved) {
                self.ask_next(inventory, peers, slot, now);
            }
        }
    }

    /// Handles the close of a peer: moves its requests to other announcers. The peer is still in the table.
    pub(super) fn closed(&mut self, inventory: &mut Inventory, peers: &mut Peers, peer: PeerIndex, now: Instant) {
        while let Some(ask) = peers.get(peer).map(|peer| peer.asks[0]).filter(|&ask| ask != NONE) {
            let slot = self.asks.get(ask).slot;
            self.drop_ask(inventory, peers, ask);
            self.ask_next_but(inventory, peers, slot, Some(peer), now);
        }
        let waiting = peers.get_mut(peer).and_then(|peer| peer.backlog.as_mut());
        let waiting = waiting.map(|backlog| std::mem::take(&mut backlog.wanted)).unwrap_or_default();
        for slot in waiting {
            if inventory.get(slot).is_some_and(|entry| entry.state == State::Wanted) {
                self.ask_next_but(inventory, peers, slot, Some(peer), now);
            }
        }
    }

    /// Ends all requests for a transaction whose entry is about to be removed or rejected.
    pub(super) fn cancel(&mut self, inventory: &mut Inventory, peers: &mut Peers, slot: Slot) {
        let mut ask = self.first_ask(inventory, slot);
        while ask != NONE {
            let other = self.asks.get(ask).other;
            self.remove_ask(peers, ask);
            ask = other;
        }
        if let Some(entry) = inventory.get_mut(slot).filter(|entry| entry.state == State::Asked) {
            (entry.state, entry.link) = (State::Wanted, NONE);
        }
    }

    /// Requests the transactions that wait for peers, half of whose limits have become free since the last call. It
    /// does not matter whose answers have ended their requests.
    pub(super) fn ask_relieved(&mut self, inventory: &mut Inventory, peers: &mut Peers, now: Instant) {
        for at in 0..self.relieved.len() {
            self.ask_waiting(inventory, peers, self.relieved[at], now);
        }
        self.relieved.clear();
    }

    /// Requests the transactions that wait for any peer, as far as the limits allow. A limit for all peers becomes free
    /// without a trace at those that wait for it, so call it about once a second; it examines all peers.
    pub(super) fn ask_all_waiting(&mut self, inventory: &mut Inventory, peers: &mut Peers, now: Instant) {
        let has_waiting = |row: &Peer| row.backlog.as_ref().is_some_and(|backlog| !backlog.wanted.is_empty());
        self.relieved.clear();
        self.relieved.extend(peers.iter().filter(|(_, row)| has_waiting(row)).map(|(peer, _)| peer));
        self.ask_relieved(inventory, peers, now);
    }

    /// Requests transactions that wait for a peer up to its limit, once half of the limit is free. The requests are
    /// therefore sent in large messages.
    fn ask_waiting(&mut self, inventory: &mut Inventory, peers: &mut Peers, peer: PeerIndex, now: Instant) {
        if peers.get(peer).is_none_or(|row| row.in_flight > RELAY_IN_FLIGHT / 2) {
            return;
        }
        loop {
            let Some(row) = peers.get_mut(peer).filter(|row| !self.is_full(row)) else { return };
            let Some(backlog) = &mut row.backlog else { return };
            let Some(slot) = backlog.wanted.pop_front() else { return };
            let is_wanted = inventory.get(slot).is_some_and(|entry| {
                entry.state == State::Wanted && entry.unasked().any(|announcer| announcer == peer)
            });
            if is_wanted {
                self.ask(inventory, peers, slot, peer, now);
            }
        }
    }

    // --- Deadlines --------------------------------------------------------------------------------------------------

    /// Returns the next moment at which [`Requests::expire`] has work.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |list: &List| (list[0] != NONE).then(|| self.asks.get(list[0]));
        let deadlines = self.deadlines.iter().zip(0..);
        let deadlines = deadlines.filter_map(|(list, class)| Some(first(list)?.since.plus(time_of(class))));
        deadlines.chain(first(&self.hedges).map(|ask| ask.at.plus(self.hedge_delay()))).min()
    }

    /// Handles the requests whose deadlines have passed, and asks second announcers.
    pub(super) fn expire(&mut self, inventory: &mut Inventory, peers: &mut Peers, now: Instant) {
        let hedge_after = self.hedge_delay();
        while self.hedges[0] != NONE && self.asks.get(self.hedges[0]).at.plus(hedge_after) <= now {
            let ask = self.hedges[0];
            self.stop_hedging(ask);
            let (slot, asked) = (self.asks.get(ask).slot, self.asks.get(ask).peer);
            if self.asks.get(ask).is_arriving {
                continue;
            }
            // The other link of a slow upstream leads to the same node, which would only have more work.
            let is_other = |peer| !peers.are_one_upstream(asked, peer);
            if let Some(next) = self.best_announcer(inventory, peers, slot, is_other)
                && peers.get(next).is_some_and(|row| !self.is_full(row))
                && self.asks.get(ask).other == NONE
                && self.first_ask(inventory, slot) == ask
            {
                self.counts.hedged += 1;
                self.ask(inventory, peers, slot, next, now);
            }
        }
        for class in 0..=LAST {
            loop {
                let first = self.deadlines[usize::from(class)][0];
                if first == NONE || self.asks.get(first).since.plus(time_of(class)) > now {
                    break;
                }
                self.overdue(inventory, peers, first, now);
            }
        }
        self.ask_relieved(inventory, peers, now);
    }

    /// Handles one request whose deadline has passed.
    fn overdue(&mut self, inventory: &mut Inventory, peers: &mut Peers, ask: u32, now: Instant) {
        if self.asks.get(ask).is_arriving && now.since(self.asks.get(ask).at) < RELAY_LARGE_TX_TIME {
            return self.move_to_class(ask, self.asks.get(ask).class, now);
        }
        let slot = self.asks.get(ask).slot;
        let is_alone = self.first_ask(inventory, slot) == ask && self.asks.get(ask).other == NONE;
        let has_next = self.best_announcer(inventory, peers, slot, |_| true).is_some();
        if !is_alone || has_next {
            self.counts.overdue += 1;
            self.drop_ask(inventory, peers, ask);
            return self.ask_next(inventory, peers, slot, now);
        }
        if self.asks.get(ask).class != LAST {
            self.counts.overdue += 1;
            self.asks.get_mut(ask).is_overdue = true;
            return self.move_to_class(ask, LAST, now);
        }
        if self.asks.get(ask).is_repeated {
            self.drop_ask(inventory, peers, ask);
            return self.ask_next(inventory, peers, slot, now);
        }
        self.counts.repeated += 1;
        self.counts.sent += 1;
        let repeated = self.asks.get_mut(ask);
        (repeated.at, repeated.is_repeated) = (now, true);
        let peer = repeated.peer;
        self.move_to_class(ask, LAST, now);
        if let Some(entry) = inventory.get(slot) {
            self.to_send.push((peer, entry.hash));
        }
    }

    /// Moves a request to the end of a deadline class.
    fn move_to_class(&mut self, ask: u32, to: u8, now: Instant) {
        let from = std::mem::replace(&mut self.asks.get_mut(ask).class, to);
        self.asks.get_mut(ask).since = now;
        self.asks.unlink(ask, OF_DEADLINE, &mut self.deadlines[usize::from(from)]);
        self.asks.push(ask, OF_DEADLINE, &mut self.deadlines[usize::from(to)]);
    }

    fn hedge_delay(&self) -> Duration {
        self.fetch.get().clamp(RELAY_LEAST_HEDGE, RELAY_MAX_HEDGE)
    }

    // --- Asking -----------------------------------------------------------------------------------------------------

    /// Asks a peer, or lets the transaction wait for it if a limit is reached. Returns `false` if it cannot wait: the
    /// announcement is then dropped, and the peer is not asked any more.
    fn ask_or_wait(
        &mut self,
        inventory: &mut Inventory,
        peers: &mut Peers,
        slot: Slot,
        peer: PeerIndex,
        now: Instant,
    ) -> bool {
        let Some(row) = peers.get_mut(peer) else { return false };
        if !self.is_full(row) {
            self.ask(inventory, peers, slot, peer, now);
            return true;
        }
        let may_wait = row.is_upstream() || self.leaf_asks < MAX_RELAY_LEAF_ASKS;
        if may_wait && row.backlog().wanted.len() < RELAY_LIVE_ANNOUNCEMENTS as usize {
            row.backlog().wanted.push_back(slot);
            return true;
        }
        self.counts.dropped += 1;
        if let Some(entry) = inventory.get_mut(slot) {
            entry.note_asked(peer);
        }
        false
    }

    /// Returns whether a limit allows no further request to a peer.
    fn is_full(&self, row: &Peer) -> bool {
        let is_share_used = !row.is_upstream() && self.leaf_asks >= MAX_RELAY_LEAF_ASKS;
        row.in_flight >= RELAY_IN_FLIGHT || is_share_used || self.asks.len() >= MAX_RELAY_ASKS
    }

    fn ask(&mut self, inventory: &mut Inventory, peers: &mut Peers, slot: Slot, peer: PeerIndex, now: Instant) {
        let (Some(entry), Some(row)) = (inventory.get_mut(slot), peers.get_mut(peer)) else { return };
        let class = class_of(row);
        let ask = self.asks.insert(slot, peer, now, class);
        self.asks.push(ask, OF_PEER, &mut row.asks);
        self.asks.push(ask, OF_DEADLINE, &mut self.deadlines[usize::from(class)]);
        row.in_flight += 1;
        self.leaf_asks += usize::from(!row.is_upstream());
        entry.note_asked(peer);
        let first = entry.link;
        entry.link = ask;
        if entry.state == State::Asked {
            self.asks.get_mut(ask).other = first;
        } else {
            entry.state = State::Asked;
            self.asks.get_mut(ask).may_hedge = true;
            self.asks.push(ask, OF_HEDGE, &mut self.hedges);
        }
        self.counts.sent += 1;
        self.to_send.push((peer, entry.hash));
    }

    fn ask_next(&mut self, inventory: &mut Inventory, peers: &mut Peers, slot: Slot, now: Instant) {
        self.ask_next_but(inventory, peers, slot, None, now);
    }

    /// Asks the next announcer except `but`, unless another request for the transaction is in flight.
    fn ask_next_but(
        &mut self,
        inventory: &mut Inventory,
        peers: &mut Peers,
        slot: Slot,
        but: Option<PeerIndex>,
        now: Instant,
    ) {
        while let Some(next) = self.best_announcer(inventory, peers, slot, |peer| Some(peer) != but) {
            if self.ask_or_wait(inventory, peers, slot, next, now) {
                self.counts.moved += 1;
                return;
            }
        }
        if self.first_ask(inventory, slot) == NONE {
            self.counts.failed += 1;
            self.failed.push(slot);
        }
    }

    /// Returns the announcer that is to be asked next, among those that `may_be_asked` accepts: an upstream, a dialled
    /// peer, or any other. Peers at their limit rank last. Within a rank the order is random and differs for each
    /// transaction.
    fn best_announcer(
        &self,
        inventory: &Inventory,
        peers: &Peers,
        slot: Slot,
        may_be_asked: impl Fn(PeerIndex) -> bool,
    ) -> Option<PeerIndex> {
        let entry = inventory.get(slot)?;
        let candidates = entry.unasked().filter(|&peer| may_be_asked(peer));
        candidates.filter_map(|peer| Some((self.rank(peers.get(peer)?, slot, peer), peer))).min().map(|(_, peer)| peer)
    }

    fn rank(&self, row: &Peer, slot: Slot, peer: PeerIndex) -> (bool, u8, u64) {
        let class = if row.is_upstream() { 0 } else { 2 - u8::from(row.is_outbound) };
        let mixed = (self.order_key ^ u64::from(peer) << 32 ^ u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (self.is_full(row), class, mixed ^ mixed >> 29)
    }

    // --- Removal ----------------------------------------------------------------------------------------------------

    /// Returns the first request for a transaction, or [`NONE`].
    fn first_ask(&self, inventory: &Inventory, slot: Slot) -> u32 {
        inventory.get(slot).filter(|entry| entry.state == State::Asked).map_or(NONE, |entry| entry.link)
    }

    /// Removes a request from its entry and from all lists. The entry becomes `Wanted` if it has no other request.
    fn drop_ask(&mut self, inventory: &mut Inventory, peers: &mut Peers, ask: u32) {
        let (slot, other) = (self.asks.get(ask).slot, self.asks.get(ask).other);
        if let Some(entry) = inventory.get_mut(slot) {
            if entry.link == ask {
                entry.link = other;
            } else {
                let first = self.asks.get_mut(entry.link);
                debug_assert_eq!(first.other, ask, "a transaction has more than two requests");
                first.other = other;
            }
            if entry.link == NONE {
                entry.state = State::Wanted;
            }
        }
        self.remove_ask(peers, ask);
    }

    /// Removes a request from all lists.
    fn remove_ask(&mut self, peers: &mut Peers, ask: u32) {
        self.stop_hedging(ask);
        let (peer, class) = (self.asks.get(ask).peer, self.asks.get(ask).class);
        self.asks.unlink(ask, OF_DEADLINE, &mut self.deadlines[usize::from(class)]);
        if let Some(row) = peers.get_mut(peer) {
            self.asks.unlink(ask, OF_PEER, &mut row.asks);
            row.in_flight -= 1;
            self.leaf_asks -= usize::from(!row.is_upstream());
            let has_waiting = row.backlog.as_ref().is_some_and(|backlog| !backlog.wanted.is_empty());
            if has_waiting && row.in_flight == RELAY_IN_FLIGHT / 2 {
                self.relieved.push(peer);
            }
        }
        self.asks.remove(ask);
    }

    fn stop_hedging(&mut self, ask: u32) {
        if std::mem::take(&mut self.asks.get_mut(ask).may_hedge) {
            self.asks.unlink(ask, OF_HEDGE, &mut self.hedges);
        }
    }
}

/// Returns the deadline class of a new request to a peer: the first that covers four times the peer's usual delay and
/// the transfer of all transactions in flight.
fn class_of(row: &Peer) -> u8 {
    let in_flight_bytes = u64::from(row.in_flight + 1) * u64::from(row.mean_bytes);
    let transfer = Duration::from_micros(in_flight_bytes.saturating_mul(1_000_000) / RELAY_LEAST_RATE);
    let wanted = (4 * row.fetch.get() + transfer).max(RELAY_LEAST_DEADLINE);
    (0..LAST - 1).find(|&class| time_of(class) >= wanted).unwrap_or(LAST - 1)
}

fn time_of(class: u8) -> Duration {
    if class == LAST { RELAY_LAST_DEADLINE } else { RELAY_FIRST_DEADLINE * (1 << class) }
}

#[cfg(test)]
mod tests;
