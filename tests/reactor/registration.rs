//! A kernel that accepts connections but refuses to register them, for example when it is out of memory.

use crate::probe::{ANY_PORT, Probe, Seen, regtest};
use mio::net::TcpStream;
use peerloop::MioNet;
use peerloop::Reactor;
use peerloop::error::{CloseReason, IoStep};
use peerloop::internals::id::LinkId;
use peerloop::peer::ConnectionState;
use peerloop::sim::Layer;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The real kernel, except that it refuses registrations.
struct Stingy(MioNet);

impl Layer for Stingy {
    type Below = MioNet;

    fn below(&self) -> &MioNet {
        &self.0
    }
    fn below_mut(&mut self) -> &mut MioNet {
        &mut self.0
    }
    fn attach(&mut self, _: LinkId, _: TcpStream) -> io::Result<()> {
        Err(ErrorKind::OutOfMemory.into())
    }
}

#[test]
fn a_connection_that_cannot_be_registered_is_closed_and_frees_its_row() {
    let net = Stingy(MioNet::new().expect("the kernel provides a poller"));
    let mut reactor = Reactor::with_net(regtest(), net, Probe::default()).expect("the configuration is valid");
    let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
    let _socket = std::net::TcpStream::connect(address).expect("the node listens");
    while reactor.stats().counters.closed == 0 {
        assert!(reactor.poll_once(Duration::from_millis(1)).expect("the poller works"));
    }
    assert_eq!(reactor.stats().links, 0);
    let [(_, Seen::Closed(CloseReason::Network(failure), ConnectionState::Disconnected))] = reactor.handler().seen[..]
    else {
        panic!("{:?}", reactor.handler().seen)
    };
    assert_eq!((failure.step, failure.kind), (IoStep::Register, ErrorKind::OutOfMemory));
}
