//! Relays and pipes, each in a loop on a thread of its own, and the lines that their tests print.

use crate::node::Node;
use crate::observer::config;
use crate::two_nodes::{TwoNodes, until};
use peerloop::api::Pending;
use peerloop::config::ManagerConfig;
use peerloop::relay::pipe::{Pipe, PipeReport, PipeRequest};
use peerloop::relay::{Relay, RelayPolicy, RelayRequest, RelayStats, SubmitReport};
use peerloop::{Config, Handle, Handler, MioNet, Network, Reactor};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The options with which a node whitelists all peers of this machine.
pub(crate) const WHITELISTING: [&str; 2] = ["-whitelist=127.0.0.1", "-whitelistforcerelay=0"];

/// A loop on a thread of its own. Dropping the value ends it.
pub(crate) struct Running<R> {
    handle: Handle<R>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) type RunningPipe = Running<PipeRequest>;
pub(crate) type RunningRelay = Running<RelayRequest>;

impl<R: Send + 'static> Running<R> {
    fn start<H: Handler<Request = R> + Send + 'static>(mut reactor: Reactor<MioNet, H>) -> Self {
        let handle = reactor.handle();
        let thread = thread::spawn(move || reactor.run().expect("the poller works"));
        Self { handle, thread: Some(thread) }
    }

    fn ask<T>(&self, request: impl FnOnce(peerloop::api::Reply<T>) -> R) -> T {
        let (reply, pending) = Pending::new();
        assert!(self.handle.request(request(reply)).is_ok(), "the loop refuses the request");
        pending.wait().expect("the loop replies")
    }
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        // The loop may have ended by a panic, which the thread's result reports.
        let _ = self.handle.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("the thread has not been joined before").expect("the loop did not panic");
        }
    }
}

impl RunningPipe {
    /// Starts a pipe, and waits until it has joined the nodes.
    pub(crate) fn between(nodes: [&Node; 2]) -> Self {
        let addresses = nodes.map(|node| vec![node.address()]);
        let pipe = Self::start(Reactor::new(config(), Pipe::new(addresses)).expect("the configuration is valid"));
        pipe.wait_until_joined();
        pipe
    }

    pub(crate) fn report(&self) -> Box<PipeReport> {
        self.ask(PipeRequest::Report)
    }

    pub(crate) fn wait_until_joined(&self) {
        until("both nodes to be joined", || self.report().is_joined());
    }

    /// Prints the hops after a title.
    pub(crate) fn say_hops(&self, title: &str) {
        for hop in &self.report().hops {
            say(&format!("{title}: relay_hop {}: read {:?}, arrived {:?}", hop.kind.label(), hop.read, hop.arrived));
        }
    }
}

impl RunningRelay {
    /// Starts a relay that listens on a free loopback port, and waits until `links` links to upstreams are ready.
    /// Returns the relay and its address.
    pub(crate) fn with<P: RelayPolicy + Send + 'static>(
        config: Config,
        relay: Relay<P>,
        links: usize,
    ) -> (Self, SocketAddr) {
        let mut reactor = Reactor::new(config, relay).expect("the configuration is valid");
        let address = reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free");
        let relay = Self::start(reactor);
        relay.wait_for_links(links);
        (relay, address)
    }

    pub(crate) fn stats(&self) -> RelayStats {
        self.ask(|reply| RelayRequest::Stats { reply })
    }

    /// Replaces the relay's upstreams.
    pub(crate) fn set_upstreams(&self, upstreams: Vec<SocketAddr>) {
        assert!(self.handle.request(RelayRequest::set_upstreams(upstreams)).is_ok(), "the loop refuses the request");
    }

    /// Submits a transaction, and waits for the report.
    pub(crate) fn submit(&self, transaction: Vec<u8>) -> SubmitReport {
        self.ask(|reply| RelayRequest::Submit { transaction, reply })
    }

    pub(crate) fn wait_for_links(&self, links: usize) {
        until("the links to the upstreams", || self.stats().upstream_links == links);
    }

    /// Prints the latencies after a title.
    pub(crate) fn say_hops(&self, title: &str) {
        let hops = self.stats().hops;
        say(&format!("{title}: relay_hop first {:?}, with lag {:?}", hops.hop_first, hops.hop_first_with_lag));
        say(&format!("{title}: relay_hop last {:?}, with lag {:?}", hops.hop_last, hops.hop_last_with_lag));
        say(&format!("{title}: tx_fetch {:?}, propagation {:?}", hops.tx_fetch, hops.propagation));
    }
}

/// Returns a configuration with a peer manager that dials nobody and allows many peers of one host.
pub(crate) fn managed_config() -> Config {
    let manager = ManagerConfig::new(Network::Regtest)
        .with_dns_seeds(vec![])
        .with_max_peers(100)
        .with_max_per_host(100)
        .with_accepts_per_host_per_second(1_000);
    config().with_manager(manager).with_ping_interval(Duration::ZERO)
}

/// Exchanges transactions between the nodes, prints the latencies, and checks that both mempools then hold all of the
/// transactions and nothing else.
pub(crate) fn exchange_all(nodes: &mut TwoNodes, count: usize, title: &str) {
    let (latencies, txids) = nodes.exchange(count);
    assert_eq!(txids.len(), 2 * count);
    for wallet in &mut nodes.wallets {
        assert_eq!(wallet.mempool(), txids);
    }
    for (direction, latencies) in ["A to B", "B to A"].into_iter().zip(&latencies) {
        say(&format!("{title}, {direction}: {}", latencies.line()));
    }
}

/// Returns whether the long runs are asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("PEERLOOP_LONG").is_some()
}

/// Prints a line, although the test passes.
pub(crate) fn say(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error is open");
}
