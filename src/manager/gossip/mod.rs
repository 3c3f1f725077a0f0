//! Gossip: addresses that peers send, the limits on storing them, and the replies to peers that request addresses.
//!
//! Every dialled peer is sent one `getaddr`. A dialled peer may add as many addresses as one reply holds, and then
//! one more every ten seconds. From any other peer, only the peer's own IP address is accepted. An accepted address
//! is stored in the book as unknown if its [slot](slots) is free or the slot's holder may be displaced. The peers of
//! one address range therefore fill at most 1/64 of the book, however often they send or reconnect, and no number of
//! addresses from gossip displaces a valid peer. These limits hold only within one run of the loop, because the book on
//! disk does not store the sources. The cost is 70 bytes for each address from gossip, at most 5 MB in all, and 50
//! bytes for each connected peer with gossip in either direction.
//!
//! An inbound peer gets one reply: at most 1,000 addresses and at most 23 % of the book (rounded up), drawn at random
//! from those worth dialling. The drawn addresses serve all requesters of a network group for a day. A request has 24
//! bytes and its reply up to 30,027. A connection gets at most one reply, and none before its handshake, so a reply
//! cannot be directed at a third party. The manager relays no announcements, and does not announce the loop's own
//! address: dialled peers see the loop's port in the loop's `version`. In [`DialMode::Fixed`], or if
//! `learn_addresses` is off, the manager neither requests nor accepts addresses, nor replies to requests.

mod addr_replies;
mod slots;
mod state;

pub(super) use state::Gossip;
pub(crate) use state::GossipPeer;

use super::{Manager, is_own};
use crate::address::canonical;
use crate::config::DialMode;
use crate::id::LinkId;
use crate::limits::{
    ADDRESSES_PER_ANSWER_PERCENT, MAX_ADDRESS_GATHERED_BYTES, MAX_ADDRESSES_PER_MESSAGE, MAX_EMPTY_GATHERED_BYTES,
    MAX_GOSSIP_UNTRIED,
};
use crate::manager::persistence::Persistence;
use crate::manager::store::{KnownPeer, PeerStatus};
use crate::protocol::{CommandName, SERVICE_NETWORK};
use crate::time::{Instant, Moment, UnixTime};
use crate::wire::{AddressEntry, Addresses, AddressesRef, NetAddress};
use rand::rngs::StdRng;
use std::net::{IpAddr, SocketAddr};

impl Manager {
    /// Returns whether the manager requests addresses from peers, accepts theirs, and replies to their requests.
    pub(crate) fn gossips(&self) -> bool {
        self.config.learn_addresses && self.config.mode == DialMode::Normal
    }

    /// Returns whether a message is read even if the handler declines it.
    pub(crate) fn wants(&self, command: CommandName, len_bytes: u64) -> bool {
        match command {
            CommandName::ADDR => len_bytes <= MAX_ADDRESS_GATHERED_BYTES && self.gossips(),
            CommandName::GETADDR => len_bytes <= MAX_EMPTY_GATHERED_BYTES && self.gossips(),
            _ => false,
        }
    }

    /// Records that a dialled peer is asked for addresses and may send one reply. Returns `false` if gossip is off or
    /// the peer was asked before.
    pub(crate) fn asks(&mut self, id: LinkId, now: Instant) -> bool {
        if !self.gossips() {
            return false;
        }
        let state = self.gossip.state_of(id, now);
        let is_first = !std::mem::replace(&mut state.is_asked, true);
        if is_first {
            state.tokens = MAX_ADDRESSES_PER_MESSAGE as u32;
        }
        is_first
    }

    /// Handles the addresses that a peer has sent. Returns the number of addresses that are new in the book.
    pub(crate) fn on_addr(
        &mut self,
        sender: GossipPeer,
        addresses: AddressesRef<'_>,
        moment: Moment,
        rng: &mut StdRng,
    ) -> usize {
        if !self.gossips() {
            return 0;
        }
        let source = sender.address.ip().to_canonical();
        let is_asked = self.gossip.state_of(sender.id, moment.now).is_asked;
        let mut new = 0;
        for entry in addresses.iter().take(MAX_ADDRESSES_PER_MESSAGE) {
            let address = entry.address.to_socket();
            if !is_asked && address.ip() != source {
                continue;
            }
            if !self.gossip.state_of(sender.id, moment.now).take(moment.now) {
                break;
            }
            let has_blocks = entry.address.services & SERVICE_NETWORK != 0;
            if !has_blocks || !self.may_be_shared(address) || self.is_barred(address, moment) {
                continue;
            }
            let mut peer = KnownPeer::new(address, believed_time(entry.time, moment.unix));
            peer.services = entry.address.services;
            new += usize::from(self.learn_address(source, peer, moment, rng));
        }
        new
    }

    /// Adds a peer claimed by `source` to the book. Adds nothing if the peer is known, the holder of its slot cannot
    /// be displaced, or the book has no room. Returns whether the peer was added. A known inaccessible peer becomes
    /// unknown, and keeps its pause.
    pub(super) fn learn_address(&mut self, source: IpAddr, peer: KnownPeer, moment: Moment, rng: &mut StdRng) -> bool {
        let address = peer.address();
        if self.persistence.book.peer(address).is_some() {
            self.make_unknown(address, moment);
            return false;
        }
        let slot = self.gossip.slots.slot_of(source, address);
        if let Some(held) = self.gossip.slots.holder(slot)
            && let Some(known) = self.persistence.book.peer(held.address)
        {
            let gives_way = match known.status {
                PeerStatus::Inaccessible => true,
                PeerStatus::Unknown => moment.now >= held.since.plus(MAX_GOSSIP_UNTRIED),
                PeerStatus::Valid | PeerStatus::Banned(_) => false,
            };
            if !gives_way {
                return false;
            }
            self.persistence.remove_from_book(held.address, moment.now);
        }
        let is_new = self.add_to_book(peer, moment.now, rng);
        if is_new {
            self.gossip.slots.hold(slot, address, moment.now);
        }
        is_new
    }

    /// Builds the reply to an inbound peer that requests addresses; `None` if gossip is off, the peer has sent a
    /// request before, or no address is worth sending. All requesters of a network group share the drawn addresses
    /// until these expire.
    pub(crate) fn build_addr_reply(
        &mut self,
        asker: GossipPeer,
        moment: Moment,
        rng: &mut StdRng,
    ) -> Option<Addresses> {
        if !self.gossips() || std::mem::replace(&mut self.gossip.state_of(asker.id, moment.now).is_answered, true) {
            return None;
        }
        let share = (self.persistence.book.len() * ADDRESSES_PER_ANSWER_PERCENT).div_ceil(100);
        let count = share.min(MAX_ADDRESSES_PER_MESSAGE);
        let own = self.duplicates.said_listening(asker.id);
        let Self { gossip, persistence: Persistence { book, .. }, seeds, listening, .. } = self;
        let is_worth_sending = |peer: &&KnownPeer| {
            let is_listed = matches!(peer.status, PeerStatus::Valid | PeerStatus::Unknown);
            let address = peer.address();
            let may_be_shared = seeds.may_be_peer(address) && !is_own(listening, address);
            is_listed && may_be_shared && peer.services & SERVICE_NETWORK != 0
        };
        let draw = || {
            // Twice as many are drawn as are sent, because some may not be worth sending.
            let drawn = book.sample(&[PeerStatus::Valid, PeerStatus::Unknown], 2 * count, rng);
            drawn.into_iter().filter(is_worth_sending).take(count).map(KnownPeer::address).collect()
        };
        let addresses = gossip.replies.of(asker.address.ip(), moment.now, draw).iter();
        let known = addresses.filter(|&&address| Some(address) != own).filter_map(|&address| book.peer(address));
        let entries: Vec<AddressEntry> =
            known.filter(is_worth_sending).map(|peer| entry_of(peer, moment.unix)).collect();
        (!entries.is_empty()).then(|| Addresses::from_entries(entries))
    }

    /// Returns whether `address` may be exchanged with peers: a peer of this network can have it, and it is not our
    /// own.
    fn may_be_shared(&self, address: SocketAddr) -> bool {
        self.seeds.may_be_peer(canonical(address)) && !is_own(&self.listening, address)
    }
}

/// Returns the time at which a peer was last seen: `claimed`, or five days before `unix` if `claimed` is impossible.
/// In both cases two hours are subtracted (SV Node 1.2.2, net_processing.cpp ProcessAddrMessage).
fn believed_time(claimed: u32, unix: UnixTime) -> UnixTime {
    const FIRST_SECS: i64 = 100_000_000;
    const FUTURE_SECS: i64 = 10 * 60;
    const INSTEAD_SECS: i64 = 5 * 24 * 3_600;
    const PENALTY_SECS: i64 = 2 * 3_600;
    let (claimed, now) = (i64::from(claimed), unix.as_secs());
    let is_absurd = claimed <= FIRST_SECS || claimed > now.saturating_add(FUTURE_SECS);
    let seen = if is_absurd { now.saturating_sub(INSTEAD_SECS) } else { claimed };
    UnixTime::from_secs(seen.saturating_sub(PENALTY_SECS))
}

/// Returns a peer's entry for a reply. The entry's time is that of the peer's last connection or, without one, of its
/// last change of status. The entry's time is never in the future.
fn entry_of(peer: &KnownPeer, unix: UnixTime) -> AddressEntry {
    let seen = peer.last_connected.unwrap_or(peer.status_since).as_secs().min(unix.as_secs());
    let time = u32::try_from(seen.max(0)).unwrap_or(u32::MAX);
    AddressEntry { time, address: NetAddress::from_socket(peer.services, peer.address()) }
}

#[cfg(test)]
mod tests;
