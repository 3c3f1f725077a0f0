//! Checks of the peer manager: its counts and announced bans after every turn, and in a sweep its view of links, disk
//! and book.
//!
//! They compare the loop with the [ledger](super::ledger)'s records, and change nothing.

use super::gossip::MAX_SHARE;
use super::sight::{SweepCheck, SweepSight, TurnSight, ensure, none_of};
use crate::address::{Host, NetGroup, canonical};
use crate::limits::{MAX_BANS, MAX_BOOK_PEERS};
use crate::manager::inspect::ManagerSummary;
use crate::manager::store::KnownPeer;
use crate::peer::ConnectionType;
use crate::reactor::inspect::{EndingStep, LinkReport, ManagerReport};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

// --- After each turn ------------------------------------------------------------------------------------------------

pub(super) fn slots_keep_their_maximum(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(after) = &sight.after.manager else { return Ok(()) };
    let before = sight.before.manager.as_ref().map_or(0, |before| before.slots_in_use);
    // An evicted peer closes soon, but its successor already has a slot.
    let most = after.max_slots.max(before) + sight.after.closing;
    ensure(after.slots_in_use <= most, || format!("{} slots are in use, more than {most}", after.slots_in_use))
}

pub(super) fn dials_keep_the_target(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { target, drawn, .. }) = &sight.after.manager else { return Ok(()) };
    let beyond = drawn.iter().find(|draw| draw.slots_in_use > *target);
    beyond.map_or(Ok(()), |draw| Err(format!("{draw:?} exceeds the target of {target}")))
}

pub(super) fn bans_keep_their_bound(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { bans, unannounced_bans, .. }) = sight.after.manager else { return Ok(()) };
    ensure(bans <= MAX_BANS && unannounced_bans <= bans, || {
        format!("{bans} bans (at most {MAX_BANS}), {unannounced_bans} unannounced ones (at most {bans})")
    })
}

pub(super) fn announced_bans_are_on_the_disk(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.undurable.is_empty(), || format!("announced bans are not on the disk: {:?}", sight.undurable))
}

pub(super) fn the_book_keeps_its_bound(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { book, .. }) = sight.after.manager else { return Ok(()) };
    ensure(book <= MAX_BOOK_PEERS, || format!("{book} addresses are in the book, more than {MAX_BOOK_PEERS}"))
}

pub(super) fn no_more_is_learned_than_was_granted(sight: &TurnSight<'_>) -> Result<(), String> {
    let learned = sight.after.counters.addresses_learned;
    ensure(sight.granted.is_none_or(|granted| learned <= granted), || {
        format!("{learned} addresses were learned, but {:?} were granted", sight.granted)
    })
}

// --- In a sweep -----------------------------------------------------------------------------------------------------

/// Checks of the manager's view of the links, the disk and the book, each with the number of its invariant.
pub(super) const CHECKS: [(u8, SweepCheck); 10] = [
    (24, each_peer_has_one_slot),
    (24, each_link_counts_once),
    (25, no_peer_is_banned),
    (27, no_address_is_dialled_twice),
    (27, each_link_has_its_address),
    (30, the_disk_matches_the_batches),
    (30, the_disk_matches_the_book),
    (31, the_book_has_no_invalid_address),
    (31, gossip_is_believed_only_from_asked_peers),
    (31, no_source_fills_more_than_its_share),
];

/// Returns the links that are peers. A further stream uses a row and a descriptor, but no slot, count or address.
fn peers<'a>(sight: &SweepSight<'a>) -> impl Iterator<Item = &'a LinkReport> + use<'a> {
    sight.inspection.links.iter().filter(|link| link.is_peer)
}

fn each_peer_has_one_slot(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.summary.manager else { return Ok(()) };
    let has_place = |link: &&LinkReport| link.is_peer && link.connection_type != ConnectionType::OverCapacity;
    let counted = sight.inspection.links.iter().filter(has_place).count();
    ensure(counted == manager.slots_in_use, || {
        format!("{counted} peers need a slot, but {} slots are in use", manager.slots_in_use)
    })
}

fn each_link_counts_once(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.manager else { return Ok(()) };
    let (mut hosts, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for link in peers(sight) {
        *hosts.entry(Host::of(link.address.ip())).or_insert(0) += 1;
        *groups.entry(NetGroup::of(link.address.ip())).or_insert(0) += 1;
    }
    let (believed, counted) = ((manager.hosts, manager.groups), (hosts.len(), groups.len()));
    ensure(believed == counted, || format!("{counted:?} hosts and ranges have links, but {believed:?} are counted"))?;
    none_of(peers(sight), |link| {
        let ip = link.address.ip();
        link.counted != (hosts[&Host::of(ip)], groups[&NetGroup::of(ip)])
    })
}

fn no_peer_is_banned(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.inspection.links.iter(), |link| link.is_banned && link.ending == EndingStep::Open)
}

/// Checks that no address has two outbound links. Without a manager, the embedder decides which addresses it dials.
fn no_address_is_dialled_twice(sight: &SweepSight<'_>) -> Result<(), String> {
    if sight.inspection.manager.is_none() {
        return Ok(());
    }
    let dialled = peers(sight).filter(|link| link.connection_type == ConnectionType::Outbound);
    let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
    let twice = dialled.map(|link| canonical(link.address)).find(|&address| !seen.insert(address));
    ensure(twice.is_none(), || format!("{twice:?} has two outbound links"))
}

fn each_link_has_its_address(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(ManagerReport { claims, .. }) = &sight.inspection.manager else { return Ok(()) };
    let links: BTreeSet<_> = sight.inspection.links.iter().map(|link| link.id).collect();
    let stray = claims.iter().find(|(_, link)| !links.contains(link));
    ensure(stray.is_none(), || format!("the claim {stray:?} has no link"))?;
    none_of(peers(sight), |link| claims.binary_search(&(canonical(link.address), link.id)).is_err())
}

/// Checks that the book's addresses can be dialled. Unroutable addresses pass, because some networks permit them.
fn the_book_has_no_invalid_address(sight: &SweepSight<'_>) -> Result<(), String> {
    let is_undialable = |address: SocketAddr| {
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast
    };
    let book = sight.inspection.manager.iter().flat_map(|manager| &manager.book);
    let invalid = book.map(KnownPeer::address).find(|address| is_undialable(*address));
    ensure(invalid.is_none(), || format!("{invalid:?} cannot be dialled"))
}

fn the_disk_matches_the_batches(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(disk) = sight.disk else { return Ok(()) };
    let saved = &sight.ledger.managing.saved;
    ensure(saved.may_be(disk), || format!("the disk has {disk:?} instead of {saved:?}"))
}

/// Checks that the disk has exactly the book's peers, and no more bans than the loop, if no write is pending. Peer
/// records, on the disk or in the book, that have not changed since the loop's start are exempt.
fn the_disk_matches_the_book(sight: &SweepSight<'_>) -> Result<(), String> {
    let (Some(disk), Some(manager)) = (sight.disk, &sight.inspection.manager) else { return Ok(()) };
    if !manager.is_durable {
        return Ok(());
    }
    let remembered = &sight.ledger.managing.saved.remembered;
    let is_unchanged = |peer: &KnownPeer| remembered.get(&peer.address()) == Some(peer);
    let book: BTreeMap<SocketAddr, &KnownPeer> = manager.book.iter().map(|peer| (peer.address(), peer)).collect();
    let unsaved = manager.book.iter().find(|peer| disk.peers.get(&peer.address()) != Some(peer) && !is_unchanged(peer));
    ensure(unsaved.is_none(), || format!("no write is pending, but the disk lacks {unsaved:?}"))?;
    let stale = disk.peers.values().find(|peer| book.get(&peer.address()) != Some(peer) && !is_unchanged(peer));
    ensure(stale.is_none(), || format!("no write is pending, but the disk still has {stale:?}"))?;
    let (saved, known) = (disk.bans.len(), sight.inspection.summary.manager.as_ref().map_or(0, |after| after.bans));
    ensure(saved <= known, || {
        format!("no write is pending, but the disk has {saved} bans, more than the loop's {known}")
    })
}

fn gossip_is_believed_only_from_asked_peers(sight: &SweepSight<'_>) -> Result<(), String> {
    let unasked = named(sight).find(|(_, senders)| senders.is_empty());
    ensure(unasked.is_none(), || format!("the book has an address that no peer was permitted to add: {unasked:?}"))
}

fn no_source_fills_more_than_its_share(sight: &SweepSight<'_>) -> Result<(), String> {
    let mut by_source: BTreeMap<NetGroup, usize> = BTreeMap::new();
    for (_, senders) in named(sight) {
        if let (Some(source), 1) = (senders.first(), senders.len()) {
            *by_source.entry(*source).or_default() += 1;
        }
    }
    let beyond = by_source.iter().find(|(_, count)| **count > MAX_SHARE);
    ensure(beyond.is_none(), || format!("gossip from one range filled more than its share: {beyond:?}"))
}

/// Returns the addresses that only gossip can have added to the book, each with the ranges of the peers that were
/// permitted to add it.
fn named<'a>(sight: &'a SweepSight<'_>) -> impl Iterator<Item = (SocketAddr, &'a BTreeSet<NetGroup>)> {
    let gossip = &sight.ledger.managing.gossip;
    let book = sight.inspection.manager.iter().flat_map(|manager| &manager.book).map(KnownPeer::address);
    book.filter_map(|address| Some((address, gossip.senders(address)?)))
}
