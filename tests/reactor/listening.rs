//! Listeners: set by the configuration, on an occupied port, and with connections of an unknown address family.

use crate::probe::{ANY_PORT, BareSocket, PATIENCE, Probe, regtest};
use mio::net::TcpStream;
use peerloop::MioNet;
use peerloop::config::ManagerConfig;
use peerloop::internals::net::Net;
use peerloop::internals::offload::Offload;
use peerloop::sim::Layer;
use peerloop::{Config, Network, Reactor};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

fn listening_on(listen: Vec<SocketAddr>) -> Config {
    let manager = ManagerConfig::new(Network::Regtest).with_listen(listen);
    regtest().with_manager(manager)
}

fn until<N: Net + Offload>(reactor: &mut Reactor<N, Probe>, what: &str, done: impl Fn(&Reactor<N, Probe>) -> bool) {
    let began = Instant::now();
    while !done(reactor) {
        assert!(began.elapsed() < PATIENCE, "timed out before {what}: {:?}", reactor.stats());
        assert!(reactor.poll_once(Duration::from_millis(10)).expect("the poller works"));
    }
}

#[test]
fn req_e32_a_loop_binds_only_the_configured_listeners_and_not_before_its_first_turn() {
    let mut quiet = Reactor::new(regtest(), Probe::default()).expect("the configuration is valid");
    quiet.poll_once(Duration::ZERO).expect("the poller works");
    assert_eq!(quiet.listening_on().count(), 0);
    let both = vec![ANY_PORT, "[::1]:0".parse().expect("the text is an address")];
    let mut reactor = Reactor::new(listening_on(both), Probe::default()).expect("the configuration is valid");
    assert_eq!(reactor.listening_on().count(), 0, "a port was bound before the first turn");
    reactor.poll_once(Duration::ZERO).expect("the poller works");
    let addresses: Vec<SocketAddr> = reactor.listening_on().collect();
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() != 0), "{addresses:?}");
    // A machine may have no IPv6.
    assert_eq!(addresses.len() as u64 + reactor.stats().counters.listen_failures, 2);
    let _sockets: Vec<BareSocket> = addresses.iter().map(|address| BareSocket::connect(*address)).collect();
    until(&mut reactor, "all connections are accepted", |reactor| {
        reactor.stats().counters.accepted == addresses.len() as u64
    });
}

#[test]
fn fault_e17_an_occupied_port_is_not_fatal_and_is_bound_once_it_is_free() {
    let occupant = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let taken = occupant.local_addr().expect("the listener is bound");
    let mut reactor =
        Reactor::new(listening_on(vec![taken, ANY_PORT]), Probe::default()).expect("the configuration is valid");
    reactor.poll_once(Duration::ZERO).expect("the poller works");
    assert_eq!((reactor.stats().counters.listen_failures, reactor.listening_on().count()), (1, 1));
    drop(occupant);
    until(&mut reactor, "the port is bound", |reactor| reactor.listening_on().any(|address| address == taken));
    let _socket = BareSocket::connect(taken);
    until(&mut reactor, "the loop accepts a connection", |reactor| reactor.stats().counters.accepted == 1);
}

/// The real kernel, except that it cannot report the addresses of the next `left` connections, as if their address
/// family were unknown.
struct Nameless {
    net: MioNet,
    left: u32,
}

impl Layer for Nameless {
    type Below = MioNet;

    fn below(&self) -> &MioNet {
        &self.net
    }
    fn below_mut(&mut self) -> &mut MioNet {
        &mut self.net
    }
    fn accept(&mut self, index: u32) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.net.accept(index)?;
        match self.left.checked_sub(1) {
            None => Ok(accepted),
            Some(left) => {
                self.left = left;
                Err(ErrorKind::InvalidInput.into())
            }
        }
    }
}

#[test]
fn fault_e18_connections_of_an_unknown_address_family_are_counted_and_closed_without_delaying_others() {
    let net = Nameless { net: MioNet::new().expect("the kernel provides a poller"), left: 2 };
    let mut reactor = Reactor::with_net(regtest(), net, Probe::default()).expect("the configuration is valid");
    let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
    let mut sockets: Vec<BareSocket> = (0..3).map(|_| BareSocket::connect(address)).collect();
    until(&mut reactor, "a connection is accepted", |reactor| reactor.stats().counters.accepted == 1);
    let counters = reactor.stats().counters;
    assert_eq!((counters.accept_failures, counters.accept_pauses, reactor.stats().links), (2, 0, 1));
    assert!(sockets[0].is_at_end() && sockets[1].is_at_end());
}
