//! The rules that every store obeys, checked for the store in memory and for the store in a file.

use crate::support::{Folder, address, ban, chance, host, peer, reason, rich_peer, status};
use peerloop::address::Host;
use peerloop::ban::BanReason;
use peerloop::internals::limits::{MAX_BANS, MAX_BOOK_PEERS};
use peerloop::internals::store::MemoryStore;
use peerloop::store::{Change, PeerStatus, PeerStore, RedbStore, StoreError};
use peerloop::time::UnixTime;
use rand::RngExt;
use std::net::{IpAddr, SocketAddr};

/// Runs `ask` on an empty store of each kind.
fn ask_both(ask: impl Fn(&mut dyn PeerStore)) {
    ask(&mut MemoryStore::new(&mut chance(1)));
    let folder = Folder::new();
    ask(&mut RedbStore::open(folder.book()).unwrap().0);
}

#[test]
fn req_e39_a_peer_is_created_once_and_read_by_address_and_by_ip_and_port() {
    ask_both(|store| {
        let peer = rich_peer(1, &mut chance(7));
        assert_eq!(store.read(peer.address()), Ok(None));
        store.create(peer.clone()).unwrap();
        assert_eq!(store.read(peer.address()), Ok(Some(peer.clone())));
        assert_eq!(store.find_by_ip_port(peer.address().ip(), peer.address().port()), Ok(Some(peer.clone())));
        assert_eq!(store.find_by_ip_port(peer.address().ip(), 1), Ok(None));
        let again = crate::support::peer(1);
        assert_eq!(store.create(again), Err(StoreError::Duplicate { address: peer.address() }));
        assert_eq!(store.list_all(), Ok(vec![peer]), "the refused call changed the store");
    });
}

#[test]
fn req_e39_only_a_known_peer_is_updated_or_deleted() {
    ask_both(|store| {
        let unknown = Err(StoreError::NoSuchPeer { address: address(1) });
        assert_eq!(store.update(peer(1)), unknown);
        assert_eq!(store.delete(address(1)), unknown);
        store.create(peer(1)).unwrap();
        let mut changed = peer(1);
        changed.status = PeerStatus::Valid;
        store.update(changed.clone()).unwrap();
        assert_eq!(store.list_all(), Ok(vec![changed]));
        store.delete(address(1)).unwrap();
        assert_eq!(store.delete(address(1)), unknown);
        assert_eq!(store.list_all(), Ok(Vec::new()));
    });
}

#[test]
fn req_e37_an_ipv4_address_in_any_form_is_one_peer() {
    ask_both(|store| {
        let plain: SocketAddr = "1.2.3.4:8333".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:8333".parse().unwrap();
        store.create(peerloop::store::KnownPeer::new(mapped, UnixTime::from_secs(1))).unwrap();
        assert_eq!(store.list_all().unwrap()[0].address(), plain);
        assert!(store.read(plain).unwrap().is_some() && store.read(mapped).unwrap().is_some());
        assert!(store.find_by_ip_port("::ffff:1.2.3.4".parse::<IpAddr>().unwrap(), 8_333).unwrap().is_some());
        store.apply(&[Change::RemovePeer(mapped)]).unwrap();
        assert_eq!(store.read(plain), Ok(None));
    });
}

#[test]
fn req_e39_all_ban_reasons_count_as_one_status() {
    ask_both(|store| {
        let changes: Vec<Change> = (0..16).map(|number| Change::PutPeer(with_status(number))).collect();
        store.apply(&changes).unwrap();
        let counts = [PeerStatus::Unknown, PeerStatus::Valid, PeerStatus::Inaccessible].map(|status| {
            assert!(store.find_by_status(status).unwrap().iter().all(|peer| peer.status == status));
            store.count_by_status(status).unwrap()
        });
        assert_eq!(counts, [2, 2, 2]);
        for number in 0..5 {
            let banned = PeerStatus::Banned(reason(number));
            assert_eq!(store.count_by_status(banned), Ok(10), "the count for {banned:?} is wrong");
            let found: Vec<_> = store.find_by_status(banned).unwrap().iter().map(|peer| peer.address()).collect();
            assert!(found.is_sorted() && found.len() == 10);
        }
    });
}

fn with_status(number: u32) -> peerloop::store::KnownPeer {
    let mut peer = peer(number);
    peer.status = status((number % 8) as u8);
    peer
}

#[test]
fn req_e38_a_host_has_only_its_last_ban() {
    ask_both(|store| {
        store.put_ban(ban(1)).unwrap();
        store.put_ban(ban(2)).unwrap();
        let mut other = ban(1);
        (other.reason, other.until) = (BanReason::Manual, None);
        store.put_ban(other).unwrap();
        assert_eq!(store.bans(), Ok(vec![ban(2), other]), "a replaced ban was kept, or the IPv4 ban is not first");
        store.remove_ban(host(1)).unwrap();
        store.remove_ban(host(1)).unwrap();
        assert_eq!(store.bans(), Ok(vec![ban(2)]));
        assert!(matches!(host(1), Host::V6(_)) && matches!(host(2), Host::V4(_)));
    });
}

#[test]
fn a_batch_beyond_the_limit_is_refused_as_a_whole() {
    ask_both(|store| {
        let fill: Vec<Change> = (0..MAX_BOOK_PEERS as u32).map(|number| Change::PutPeer(peer(number))).collect();
        store.apply(&fill).unwrap();
        let mut changed = peer(5);
        changed.failures = 9;
        let (gone, new) = (address(3), peer(MAX_BOOK_PEERS as u32));
        let too_many = [Change::PutPeer(changed.clone()), Change::RemoveBan(host(1)), Change::PutPeer(new.clone())];
        assert_eq!(store.apply(&too_many), Err(StoreError::Full));
        assert_eq!(store.read(address(5)), Ok(Some(peer(5))));
        assert_eq!(store.read(new.address()), Ok(None));
        // A batch may exceed the limit after some of its changes, if the book is within the limit after all of them.
        store.apply(&[Change::PutPeer(new), Change::RemovePeer(gone), Change::PutPeer(changed)]).unwrap();
        assert_eq!(store.read(address(5)).unwrap().unwrap().failures, 9);
        assert_eq!(store.read(gone), Ok(None));
        assert_eq!(store.list_all().unwrap().len(), MAX_BOOK_PEERS);

        let bans: Vec<Change> = (0..MAX_BANS as u32).map(|number| Change::PutBan(ban(number))).collect();
        store.apply(&bans).unwrap();
        assert_eq!(
            store.apply(&[Change::RemovePeer(address(7)), Change::PutBan(ban(MAX_BANS as u32))]),
            Err(StoreError::Full)
        );
        assert_eq!(store.bans().unwrap().len(), MAX_BANS);
        assert_eq!(store.read(address(7)), Ok(Some(peer(7))));
    });
}

#[test]
fn req_e39_both_stores_have_the_same_contents_after_the_same_changes() {
    let folder = Folder::new();
    let mut file = RedbStore::open(folder.book()).unwrap().0;
    let mut memory = MemoryStore::new(&mut chance(1));
    let mut rng = chance(3);
    for round in 0..12 {
        let changes: Vec<Change> = (0..rng.random_range(0..200))
            .map(|_| {
                let number = rng.random_range(0..80);
                match rng.random_range(0..6) {
                    0..3 => Change::PutPeer(rich_peer(number, &mut rng)),
                    3 => Change::RemovePeer(address(number)),
                    4 => Change::PutBan(ban(number)),
                    _ => Change::RemoveBan(host(number)),
                }
            })
            .collect();
        memory.apply(&changes).unwrap();
        file.apply(&changes).unwrap();
        if round % 3 == 0 {
            drop(file);
            file = RedbStore::open(folder.book()).unwrap().0;
        }
        assert_eq!(memory.list_all(), file.list_all());
        assert_eq!(memory.bans(), file.bans());
        for number in 0..8 {
            assert_eq!(memory.find_by_status(status(number)), file.find_by_status(status(number)));
        }
        // Applying the changes again changes nothing.
        file.apply(&changes).unwrap();
        assert_eq!(memory.list_all(), file.list_all());
        assert_eq!(memory.bans(), file.bans());
    }
}
