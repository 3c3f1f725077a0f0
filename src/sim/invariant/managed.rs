//! What holds between the loop and its peer manager, which believes to know who is there.

use super::sweep::{Check, SweepSight, none_of};
use super::turn::ensure;
use crate::address::{Host, NetGroup, canonical};
use crate::peer::ConnectionType;
use crate::reactor::inspect::{EndingStep, LinkReport, ManagerReport};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Each check with the number of its invariant.
pub(super) const CHECKS: [(u8, Check); 5] = [
    (24, each_peer_has_one_place),
    (24, each_link_counts_once),
    (25, nobody_banned_is_a_peer),
    (27, no_address_is_dialled_twice),
    (27, each_link_has_its_address),
];

fn each_peer_has_one_place(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.manager else { return Ok(()) };
    let has_place = |link: &&LinkReport| link.connection_type != ConnectionType::OverCapacity;
    let counted = sight.inspection.links.iter().filter(has_place).count();
    ensure(counted == manager.places_taken, || format!("{} places are taken by {counted}", manager.places_taken))
}

fn each_link_counts_once(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.manager else { return Ok(()) };
    let (mut hosts, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for link in &sight.inspection.links {
        *hosts.entry(Host::of(link.address.ip())).or_insert(0) += 1;
        *groups.entry(NetGroup::of(link.address.ip())).or_insert(0) += 1;
    }
    let (believed, counted) = ((manager.hosts, manager.groups), (hosts.len(), groups.len()));
    ensure(believed == counted, || format!("links of {counted:?} hosts and ranges, believed are {believed:?}"))?;
    none_of(sight.inspection.links.iter(), |link| {
        let ip = link.address.ip();
        link.counted != (hosts[&Host::of(ip)], groups[&NetGroup::of(ip)])
    })
}

fn nobody_banned_is_a_peer(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.inspection.links.iter(), |link| link.is_banned && link.ending == EndingStep::Open)
}

/// Without a manager it is the embedder's affair whom it dials, and how often.
fn no_address_is_dialled_twice(sight: &SweepSight<'_>) -> Result<(), String> {
    if sight.inspection.manager.is_none() {
        return Ok(());
    }
    let dialled = sight.inspection.links.iter().filter(|link| link.connection_type == ConnectionType::Outbound);
    let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
    let twice = dialled.map(|link| canonical(link.address)).find(|&address| !seen.insert(address));
    ensure(twice.is_none(), || format!("{twice:?} is dialled twice"))
}

fn each_link_has_its_address(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(ManagerReport { claims, .. }) = &sight.inspection.manager else { return Ok(()) };
    let links: BTreeSet<_> = sight.inspection.links.iter().map(|link| link.id).collect();
    let stray = claims.iter().find(|(_, link)| !links.contains(link));
    ensure(stray.is_none(), || format!("{stray:?} has no link"))?;
    none_of(sight.inspection.links.iter(), |link| claims.binary_search(&(canonical(link.address), link.id)).is_err())
}
