//! An address book that a separate thread writes.

use crate::probe::PATIENCE;
use peerloop::MioNet;
use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::internals::net::Net;
use peerloop::internals::offload::{Completion, Offload};
use peerloop::internals::store::{Batch, MemoryStore, Persisted};
use peerloop::store::{Change, KnownPeer, PeerStore, StoreError};
use peerloop::time::{UnixTime, Wait};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// A store that a test can read while another thread owns it.
#[derive(Clone)]
struct Shared(Arc<Mutex<MemoryStore>>);

impl PeerStore for Shared {
    fn read(&self, address: SocketAddr) -> Result<Option<KnownPeer>, StoreError> {
        self.0.lock().expect("no thread panics").read(address)
    }
    fn list_all(&self) -> Result<Vec<KnownPeer>, StoreError> {
        self.0.lock().expect("no thread panics").list_all()
    }
    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        self.0.lock().expect("no thread panics").bans()
    }
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.lock().expect("no thread panics").apply(changes)
    }
}

fn batch(id: u64) -> Batch {
    let host = Host::of(IpAddr::from([203, 0, 113, u8::try_from(id).expect("the test has few batches")]));
    let ban = Ban { host, reason: BanReason::Manual, since: UnixTime::from_secs(1), until: None };
    Batch { id, changes: vec![Change::PutBan(ban)] }
}

/// Waits until the network reports the batch as durable.
fn persisted(net: &mut MioNet, batch_id: u64) {
    let until = net.now().plus(PATIENCE);
    while net.now() < until {
        net.wait(Wait::Until(until), &mut Vec::new()).expect("the poller works");
        while let Some(answer) = net.take_completion() {
            match answer {
                Completion::Persisted(Persisted { id, result: Ok(()) }) if id >= batch_id => return,
                Completion::Persisted(Persisted { result: Ok(()), .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("batch {batch_id} was not confirmed in time");
}

#[test]
fn req_e29_a_confirmed_batch_is_durable_and_dropping_the_network_makes_the_rest_durable() {
    let shared = Shared(Arc::new(Mutex::new(MemoryStore::new(&mut StdRng::seed_from_u64(1)))));
    let net = MioNet::new().expect("the kernel provides a poller");
    let mut net = net.with_store(shared.clone()).expect("the system provides a thread");
    net.persist(batch(1)).expect("no batch is pending yet");
    persisted(&mut net, 1);
    assert_eq!(shared.bans().expect("the store can be read").len(), 1);
    net.persist(batch(2)).expect("no batch is pending any more");
    drop(net);
    assert_eq!(shared.bans().expect("the store can be read").len(), 2);
}

#[test]
fn a_network_without_a_store_confirms_every_batch_at_once() {
    let mut net = MioNet::new().expect("the kernel provides a poller");
    for id in 1..100 {
        net.persist(batch(id)).expect("the batch is accepted");
    }
    persisted(&mut net, 99);
    assert_eq!(net.take_completion(), None);
}
