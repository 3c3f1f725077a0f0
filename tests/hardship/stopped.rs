//! A process that is stopped for longer than the pong timeout: honest peers are still connected afterwards.

use crate::client::{Client, ping_all};
use crate::node::{Node, PATIENCE};
use peerloop::{Config, Handler, Network, Reactor};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const HONEST: usize = 50;
const SILENT: usize = 5;

/// A handler that does nothing; the engine answers pings.
struct Answers;

impl Handler for Answers {
    type Request = ();
}

/// Peers on a loop and a thread of their own. They send no pings, so they do not disconnect from a stopped node.
struct HonestPeers {
    handle: peerloop::Handle<()>,
    thread: Option<JoinHandle<()>>,
}

impl HonestPeers {
    fn dial(address: SocketAddr, count: usize) -> Self {
        let config = Config::new(Network::Regtest).with_ping_interval(Duration::ZERO).with_seed(Some(3));
        let mut reactor = Reactor::new(config, Answers).expect("the kernel provides a poller");
        let handle = reactor.handle();
        for _ in 0..count {
            handle.connect(address, None).expect("the queue has room");
        }
        let thread = thread::spawn(move || reactor.run().expect("the poller works"));
        Self { handle, thread: Some(thread) }
    }
}

impl Drop for HonestPeers {
    fn drop(&mut self) {
        let _ = self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn fault_e06_stopping_the_process_closes_no_honest_peer() {
    let test = "stopped::fault_e06_stopping_the_process_closes_no_honest_peer";
    let mut node = Node::start(test, |config| {
        config.ping_interval = Duration::from_millis(100);
        config.pong_timeout = Duration::from_millis(1_000);
    });
    let stop_secs = if std::env::var_os("PEERLOOP_LONG").is_some() { 60 } else { 3 };
    let _honest = HonestPeers::dial(node.address, HONEST);
    node.until("the honest peers are ready", |account| account.of("ready") == HONEST as u64);
    // These peers never answer a ping. Their closes show that deadlines still apply.
    let mut silent: Vec<Client> = (0..SILENT).map(|_| Client::connect(node.address)).collect();
    silent.iter_mut().for_each(Client::greet);
    node.until("the silent peers are ready", |account| account.of("handshakes") == (HONEST + SILENT) as u64);

    node.signal("STOP");
    // These peers connect and greet while the process is stopped.
    let mut late: Vec<Client> = (0..SILENT).map(|_| Client::connect(node.address)).collect();
    late.iter_mut().for_each(Client::greet);
    thread::sleep(Duration::from_secs(stop_secs));
    node.signal("CONT");
    late.iter_mut().for_each(|client| client.await_ready().expect("a peer that connected during the stop is served"));
    ping_all(&mut late, 1);
    drop(late);
    let gone = 2 * SILENT as u64;
    let account = node.until("the silent and the late peers are closed", |account| account.of("closed") == gone);
    assert_eq!(account.of("end:pong_timeout"), SILENT as u64, "{account:?}");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        let account = node.account();
        assert_eq!((account.of("ready"), account.of("closed")), (HONEST as u64, gone), "{account:?}");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() < PATIENCE);
}
