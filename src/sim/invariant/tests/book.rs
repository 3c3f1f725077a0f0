//! Faulty address books and disks, and correct ones that resemble them.

use super::{Doctored, Scene};
use crate::address::Host;
use crate::id::LinkId;
use crate::manager::ban::{Ban, BanReason};
use crate::manager::store::{Batch, Change, KnownPeer, Persisted};
use crate::sim::invariant::gossip::{AddrSender, MAX_SHARE};
use crate::time::{Instant, UnixTime};
use crate::wire::{AddressEntry, Addresses, NetAddress};

pub(super) const SWEEPS: &[Doctored] = &[
    // Invariant 30: the disk has entries that were never written, lacks known ones, or has outdated or dropped ones.
    (30, |scene| {
        scene.manager().is_durable = false;
        scene.disk.peers.extend([("192.0.2.1:1".parse().expect("the address is valid"), peer_at("192.0.2.1:1"))]);
    }),
    (30, |scene| {
        scene.manager().is_durable = false;
        save(scene, peer_at("192.0.2.1:1"));
        scene.disk.peers.clear();
    }),
    (30, |scene| scene.manager().book.push(peer_at("192.0.2.1:1"))),
    (30, |scene| {
        save(scene, peer_at("192.0.2.1:1"));
        let mut peer = peer_at("192.0.2.1:1");
        peer.failures = 1;
        scene.manager().book.push(peer);
    }),
    (30, |scene| save(scene, peer_at("192.0.2.1:1"))),
    (30, |scene| {
        let until = Some(UnixTime::from_secs(9));
        let (host, since) = (Host::of("192.0.2.1".parse().expect("the address is valid")), UnixTime::from_secs(0));
        let ban = Ban { host, reason: BanReason::Manual, since, until };
        scene.disk.bans.insert(host, ban);
        scene.ledger.managing.saved.add_batch(Batch { id: 1, changes: vec![Change::PutBan(ban)] });
    }),
    (31, |scene| know(scene, ["192.0.2.1:0"])),
    (31, |scene| know(scene, ["224.0.0.1:1"])),
    (31, |scene| know(scene, ["255.255.255.255:1"])),
    (31, |scene| {
        name(scene, false, ["192.0.2.1:1"]);
        know(scene, ["192.0.2.1:1"]);
    }),
    (31, |scene| {
        (0..2).for_each(|half| name(scene, true, strangers(half)));
        know(scene, strangers(0));
        know(scene, strangers(1));
    }),
];

pub(super) const HARMLESS_SWEEPS: &[fn(&mut Scene)] = &[
    |scene| {
        // The change is written but not confirmed.
        scene.disk.peers.extend([("192.0.2.1:1".parse().expect("the address is valid"), peer_at("192.0.2.1:1"))]);
        let changes = vec![Change::PutPeer(peer_at("192.0.2.1:1"))];
        scene.ledger.managing.saved.add_batch(Batch { id: 1, changes });
        scene.manager().is_durable = false;
    },
    |scene| {
        scene.manager().book.push(peer_at("192.0.2.1:1"));
        scene.ledger.managing.remember(&[peer_at("192.0.2.1:1")]);
    },
    |scene| {
        save(scene, peer_at("192.0.2.1:1"));
        scene.manager().book.push(peer_at("192.0.2.1:1"));
    },
    // Any peer may name its own host. A dialled peer may also name other hosts, up to its range's share of the book.
    |scene| {
        name(scene, false, ["198.51.100.1:7"]);
        know(scene, ["198.51.100.1:7"]);
    },
    |scene| {
        name(scene, true, strangers(0));
        know(scene, strangers(0));
    },
    |scene| {
        (0..2).for_each(|half| name(scene, true, strangers(half)));
        know(scene, strangers(0));
    },
    |scene| {
        name(scene, false, ["192.0.2.1:1"]);
        scene.ledger.managing.gossip.allow_address("192.0.2.1:1".parse().expect("the address is valid"));
        know(scene, ["192.0.2.1:1"]);
    },
    |scene| {
        name(scene, false, ["192.0.2.1:1"]);
        scene.ledger.managing.gossip.missed();
        know(scene, ["192.0.2.1:1"]);
    },
];

fn peer_at(address: &str) -> KnownPeer {
    KnownPeer::new(address.parse().expect("the address is valid"), UnixTime::from_secs(0))
}

/// Writes a peer to the disk, and confirms the batch.
fn save(scene: &mut Scene, peer: KnownPeer) {
    scene.disk.peers.insert(peer.address(), peer.clone());
    let saved = &mut scene.ledger.managing.saved;
    saved.add_batch(Batch { id: 1, changes: vec![Change::PutPeer(peer)] });
    saved.answered(&Persisted { id: 1, result: Ok(()) });
}

/// Adds these addresses to the book, where they wait to be written.
fn know<'a>(scene: &mut Scene, addresses: impl IntoIterator<Item = impl AsRef<str> + 'a>) {
    scene.manager().is_durable = false;
    let peers = addresses.into_iter().map(|address| peer_at(address.as_ref()));
    scene.manager().book.extend(peers);
}

/// Records that a new peer at 198.51.100.1, dialled or accepted, has sent these addresses.
fn name<'a>(scene: &mut Scene, is_dialled: bool, addresses: impl IntoIterator<Item = impl AsRef<str> + 'a>) {
    let entries = addresses.into_iter().map(|address| AddressEntry {
        time: 0,
        address: NetAddress::from_socket(1, address.as_ref().parse().expect("the address is valid")),
    });
    let gossip = &mut scene.ledger.managing.gossip;
    let link = LinkId::new(gossip.granted().expect("no message was missed") as u32, 0);
    let (address, opened) = ("198.51.100.1:1".parse().expect("the address is valid"), Instant::ZERO);
    let sender = AddrSender { link, address, is_dialled, opened };
    gossip.record_named(sender, Addresses::from_entries(entries).as_ref(), true, Instant::ZERO);
}

/// Returns `MAX_SHARE / 2 + 1` addresses, so that two such lists together exceed one range's share of the book.
fn strangers(half: usize) -> Vec<String> {
    (0..=MAX_SHARE / 2).map(|number| format!("20.{half}.{}.{}:1", number / 256, number % 256)).collect()
}
