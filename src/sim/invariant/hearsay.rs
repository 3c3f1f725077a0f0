//! What a loop may believe of the addresses that its peers name, and what its book has of them.
//!
//! [`Hearsay`] follows the `addr` messages that the handler is given and grants each teller what it may bring: of a
//! peer that was dialled an answer at once and an address every ten seconds, of anybody else addresses of its own host.
//! It judges for as long as the handler takes every such message whole, because nobody else sees them, and remembers
//! [`MAX_TOLD`] addresses.

use super::sweep::SweepSight;
use super::turn::{TurnSight, ensure};
use crate::address::{NetGroup, canonical};
use crate::id::LinkId;
use crate::limits::{
    ADDRESS_TOKEN_INTERVAL, GOSSIP_BUCKET_SLOTS, GOSSIP_BUCKETS_PER_SOURCE, MAX_ADDRESSES_PER_MESSAGE,
};
use crate::manager::store::KnownPeer;
use crate::time::Instant;
use crate::wire::AddressesRef;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Addresses that are remembered as named; who hears of more judges no longer.
const MAX_TOLD: usize = 100_000;
/// Addresses that the peers of one range can have put into the book.
pub(super) const MAX_SHARE: usize = (GOSSIP_BUCKETS_PER_SOURCE * GOSSIP_BUCKET_SLOTS) as usize;

/// Who has named which address.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    /// The ranges of those that have named an address and may be believed, which may be none.
    told: BTreeMap<SocketAddr, BTreeSet<NetGroup>>,
    /// Addresses that the book may have whatever is said of them.
    known: BTreeSet<SocketAddr>,
    /// Hosts that have connected, which say themselves where they listen.
    guests: BTreeSet<IpAddr>,
    /// Addresses that a link was granted.
    granted: BTreeMap<LinkId, u64>,
    granted_in_all: u64,
    is_deaf: bool,
}

/// A peer that names addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teller {
    pub(super) link: LinkId,
    pub(super) address: SocketAddr,
    /// It was dialled, so it may have been asked.
    pub(super) is_dialled: bool,
    pub(super) opened: Instant,
}

impl Hearsay {
    /// The book may have this address: it was there before, a name led to it, or it was dialled with success.
    pub(super) fn knows(&mut self, address: SocketAddr) {
        self.known.insert(canonical(address));
    }

    /// Somebody has connected.
    pub(super) fn welcome(&mut self, address: SocketAddr) {
        self.guests.insert(address.ip().to_canonical());
    }

    /// A message was not shown as a whole, so nobody can say what it named.
    pub(super) fn missed(&mut self) {
        *self = Self { is_deaf: true, ..Self::default() };
    }

    pub(super) fn left(&mut self, link: LinkId) {
        self.granted.remove(&link);
    }

    /// A peer names addresses; `is_learning` says whether the loop believes anybody.
    pub(super) fn heard(&mut self, teller: Teller, addresses: AddressesRef<'_>, is_learning: bool, now: Instant) {
        if self.is_deaf {
            return;
        }
        let Teller { link, address, is_dialled, opened } = teller;
        let source = address.ip().to_canonical();
        let at_once = if is_dialled { MAX_ADDRESSES_PER_MESSAGE as u64 } else { 1 };
        // A part of an interval may have passed before the first was counted.
        let in_time = (now.since(opened).as_nanos() / ADDRESS_TOKEN_INTERVAL.as_nanos()) as u64 + 1;
        let granted = self.granted.entry(link).or_default();
        let is_believed = is_learning && addresses.len() <= MAX_ADDRESSES_PER_MESSAGE;
        for entry in addresses.iter().take(MAX_ADDRESSES_PER_MESSAGE) {
            let named = canonical(entry.address.to_socket());
            let by = self.told.entry(named).or_default();
            if is_believed && (is_dialled || named.ip() == source) && *granted < at_once + in_time {
                *granted += 1;
                self.granted_in_all += 1;
                by.insert(NetGroup::of(source));
            }
        }
        if self.told.len() > MAX_TOLD {
            self.missed();
        }
    }

    /// Addresses that the loop may have learned in all; none if nobody can say.
    pub(super) fn granted(&self) -> Option<u64> {
        (!self.is_deaf).then_some(self.granted_in_all)
    }

    /// The ranges by whose word alone an address can be in the book; none if it may be there anyhow, or was not named.
    fn tellers(&self, address: SocketAddr) -> Option<&BTreeSet<NetGroup>> {
        let is_known = self.known.contains(&address) || self.guests.contains(&address.ip());
        self.told.get(&address).filter(|_| !is_known)
    }
}

// --- After each turn ------------------------------------------------------------------------------------------------

pub(super) fn no_more_is_learned_than_was_granted(sight: &TurnSight<'_>) -> Result<(), String> {
    let learned = sight.after.counters.addresses_learned;
    ensure(sight.granted.is_none_or(|granted| learned <= granted), || {
        format!("{learned} addresses are learned, and {:?} were granted", sight.granted)
    })
}

// --- In a sweep -----------------------------------------------------------------------------------------------------

pub(super) fn nobody_is_believed_who_was_not_asked(sight: &SweepSight<'_>) -> Result<(), String> {
    let unasked = told(sight).find(|(_, tellers)| tellers.is_empty());
    ensure(unasked.is_none(), || format!("the book believes who was not asked: {unasked:?}"))
}

pub(super) fn no_source_fills_more_than_its_share(sight: &SweepSight<'_>) -> Result<(), String> {
    let mut by_source: BTreeMap<NetGroup, usize> = BTreeMap::new();
    for (_, tellers) in told(sight) {
        if let (Some(source), 1) = (tellers.first(), tellers.len()) {
            *by_source.entry(*source).or_default() += 1;
        }
    }
    let beyond = by_source.iter().find(|(_, count)| **count > MAX_SHARE);
    ensure(beyond.is_none(), || format!("{beyond:?} addresses by the word of one range"))
}

/// The addresses in the book that are there for what was told of them.
fn told<'a>(sight: &'a SweepSight<'_>) -> impl Iterator<Item = (SocketAddr, &'a BTreeSet<NetGroup>)> {
    let hearsay = &sight.ledger.managing.hearsay;
    let book = sight.inspection.manager.iter().flat_map(|manager| &manager.book).map(KnownPeer::address);
    book.filter_map(|address| Some((address, hearsay.tellers(address)?)))
}
