//! A kernel that gives connections but takes no registration, as one does that has run out of memory for it.

use crate::probe::{ANY_PORT, Probe, Seen, regtest};
use mio::net::TcpStream;
use peerloop::Reactor;
use peerloop::error::{CloseReason, IoStep};
use peerloop::id::LinkId;
use peerloop::net::mio::MioNet;
use peerloop::net::{Net, Readiness, Wake};
use peerloop::peer::ConnectionState;
use peerloop::time::{Instant, UnixTime, Wait};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The real kernel, but for registrations.
struct Stingy(MioNet);

impl Net for Stingy {
    type Socket = TcpStream;

    fn now(&self) -> Instant {
        self.0.now()
    }
    fn unix_time(&self) -> UnixTime {
        self.0.unix_time()
    }
    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.0.wait(wait, ready)
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.0.waker()
    }
    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        self.0.listen(index, address)
    }
    fn accept(&mut self, index: u32) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept(index)
    }
    fn close_listener(&mut self, index: u32) {
        self.0.close_listener(index);
    }
    fn attach(&mut self, _: LinkId, _: TcpStream) -> io::Result<()> {
        Err(ErrorKind::OutOfMemory.into())
    }
    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.0.connect(link, address, source)
    }
    fn connected(&mut self, link: LinkId) -> io::Result<bool> {
        self.0.connected(link)
    }
    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        self.0.read(link, block)
    }
    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(link, bytes)
    }
    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_gathered(link, slices)
    }
    fn shut_down_writing(&mut self, link: LinkId) {
        self.0.shut_down_writing(link);
    }
    fn close(&mut self, link: LinkId) {
        self.0.close(link);
    }
}

#[test]
fn a_connection_that_cannot_be_registered_ends_and_frees_its_row() {
    let net = Stingy(MioNet::new().expect("the kernel gives a poller"));
    let mut reactor = Reactor::with_net(regtest(), net, Probe::default()).expect("the configuration is valid");
    let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
    let _socket = std::net::TcpStream::connect(address).expect("it listens");
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
