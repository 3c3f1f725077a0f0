//! Gossip: the addresses that a loop may accept, and those in its address book.
//!
//! [`GossipRecord`] follows the `addr` messages that the handler receives, and grants each sender a number of
//! addresses. A dialled peer may add one full message at once, and one more address every ten seconds. Any other peer
//! may add only addresses of its own host: one at once, and one more every ten seconds. The record grants each peer one
//! address beyond these. It knows only the addresses in messages that the handler receives whole, so checking stops at
//! the first `addr` that the handler does not receive whole. Checking also stops once the record holds more than
//! [`MAX_NAMED`] addresses.

use crate::address::{NetGroup, canonical};
use crate::id::LinkId;
use crate::limits::{
    ADDRESS_TOKEN_INTERVAL, GOSSIP_BUCKET_SLOTS, GOSSIP_BUCKETS_PER_SOURCE, MAX_ADDRESSES_PER_MESSAGE,
};
use crate::time::Instant;
use crate::wire::AddressesRef;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Maximum number of named addresses that the record keeps. Beyond it, checking stops.
const MAX_NAMED: usize = 100_000;
/// Maximum number of addresses that the peers of one range can add to the book.
pub(super) const MAX_SHARE: usize = (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize;

/// The named addresses and their senders.
#[derive(Debug, Default)]
pub(super) struct GossipRecord {
    /// For each named address, the ranges of the senders from which the loop may accept it; may be empty.
    named: BTreeMap<SocketAddr, BTreeSet<NetGroup>>,
    /// Addresses that the book may contain regardless of gossip.
    known: BTreeSet<SocketAddr>,
    /// Hosts that have connected, and may name their own listeners.
    guests: BTreeSet<IpAddr>,
    /// The number of addresses granted to each link.
    granted: BTreeMap<LinkId, u64>,
    granted_in_all: u64,
    has_missed: bool,
}

/// A peer that names addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddrSender {
    pub(super) link: LinkId,
    pub(super) address: SocketAddr,
    /// Whether the loop dialled the peer, and so may have asked it for addresses.
    pub(super) is_dialled: bool,
    pub(super) opened: Instant,
}

impl GossipRecord {
    /// Permits an address in the book: it was there at the start, a name resolved to it, or an outbound handshake with
    /// it was completed.
    pub(super) fn allow_address(&mut self, address: SocketAddr) {
        self.known.insert(canonical(address));
    }

    /// Records a host that has connected.
    pub(super) fn add_host(&mut self, address: SocketAddr) {
        self.guests.insert(address.ip().to_canonical());
    }

    /// Stops checking, because some named addresses are unknown from now on.
    pub(super) fn missed(&mut self) {
        *self = Self { has_missed: true, ..Self::default() };
    }

    pub(super) fn link_removed(&mut self, link: LinkId) {
        self.granted.remove(&link);
    }

    /// Records addresses named by a peer; `is_learning` states whether the loop accepts any gossip.
    pub(super) fn record_named(
        &mut self,
        sender: AddrSender,
        addresses: AddressesRef<'_>,
        is_learning: bool,
        now: Instant,
    ) {
        if self.has_missed {
            return;
        }
        let AddrSender { link, address, is_dialled, opened } = sender;
        let source = address.ip().to_canonical();
        let at_once = if is_dialled { MAX_ADDRESSES_PER_MESSAGE as u64 } else { 1 };
        // One more address, because the loop's first interval may begin before `opened`.
        let in_time = (now.since(opened).as_nanos() / ADDRESS_TOKEN_INTERVAL.as_nanos()) as u64 + 1;
        let granted = self.granted.entry(link).or_default();
        let is_believed = is_learning && addresses.len() <= MAX_ADDRESSES_PER_MESSAGE;
        for entry in addresses.iter().take(MAX_ADDRESSES_PER_MESSAGE) {
            let named = canonical(entry.address.to_socket());
            let by = self.named.entry(named).or_default();
            if is_believed && (is_dialled || named.ip() == source) && *granted < at_once + in_time {
                *granted += 1;
                self.granted_in_all += 1;
                by.insert(NetGroup::of(source));
            }
        }
        if self.named.len() > MAX_NAMED {
            self.missed();
        }
    }

    /// Returns the total number of addresses that the loop may have learned; `None` if it is unknown.
    pub(super) fn granted(&self) -> Option<u64> {
        (!self.has_missed).then_some(self.granted_in_all)
    }

    /// Returns the ranges whose gossip explains an address in the book. Returns `None` if the address may be there for
    /// another reason, or was not named.
    pub(super) fn senders(&self, address: SocketAddr) -> Option<&BTreeSet<NetGroup>> {
        let is_known = self.known.contains(&address) || self.guests.contains(&address.ip());
        self.named.get(&address).filter(|_| !is_known)
    }
}
