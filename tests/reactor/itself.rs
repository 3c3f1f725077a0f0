//! A loop that connects to itself. The dial counts as failed, with and without a peer manager.

use crate::probe::{ANY_PORT, Node, PATIENCE, Probe, Seen, regtest, until};
use peerloop::MioNet;
use peerloop::api::NextDial;
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, LocalCause};
use peerloop::internals::id::LinkId;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::internals::net::Net;
use peerloop::internals::offload::Offload;
use peerloop::peer::ConnectionState;
use peerloop::sim::Layer;
use peerloop::wire::Header;
use peerloop::{Config, ControlEvent, Network, Reactor};
use peerloop_testkit::greeting::MAGIC;
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const TO_ITSELF: CloseReason = CloseReason::Local(LocalCause::SelfConnection);

/// The real kernel, except that a dialling socket is bound to the address that it dials. TCP then connects the socket
/// to itself.
struct SamePort(MioNet);

impl Layer for SamePort {
    type Below = MioNet;

    fn below(&self) -> &MioNet {
        &self.0
    }
    fn below_mut(&mut self) -> &mut MioNet {
        &mut self.0
    }
    fn connect(&mut self, link: LinkId, address: SocketAddr, _: Option<IpAddr>) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&address.into())?;
        socket.connect(&address.into())?;
        assert_eq!(
            socket.local_addr()?.as_socket(),
            socket.peer_addr()?.as_socket(),
            "the socket is not connected to itself"
        );
        socket.set_nonblocking(true)?;
        self.0.attach(link, mio::net::TcpStream::from_std(socket.into()))
    }
}

/// Returns an address with this IP address and a port without a listener.
fn deserted(ip: impl Into<IpAddr>) -> SocketAddr {
    let listener = TcpListener::bind((ip.into(), 0)).expect("a loopback port is free");
    listener.local_addr().expect("the listener is bound")
}

fn fixed(peer: SocketAddr) -> Config {
    let manager = ManagerConfig::fixed(Network::Regtest, vec![peer]);
    regtest().with_manager(manager)
}

fn on_one_port(config: Config) -> Reactor<SamePort, Probe> {
    let net = SamePort(MioNet::new().expect("the kernel provides a poller"));
    Reactor::with_net(config, net, Probe::default()).expect("the configuration is valid")
}

fn turn_until_closed<N: Net + Offload>(reactor: &mut Reactor<N, Probe>) {
    let began = std::time::Instant::now();
    while reactor.stats().counters.closed == 0 {
        assert!(began.elapsed() < PATIENCE, "the connection is not closed: {:?}", reactor.handler().seen);
        reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
    }
}

#[test]
fn a_dial_fails_if_the_kernel_connects_the_socket_to_itself() {
    for address in [deserted(Ipv4Addr::LOCALHOST), deserted(std::net::Ipv6Addr::LOCALHOST)] {
        let mut reactor = on_one_port(regtest());
        let dial = reactor.handle().connect(address, None).expect("the queue has room");
        turn_until_closed(&mut reactor);
        let peer =
            dial.try_take().expect("the loop runs").expect("the request has completed").expect("the table has room");
        let end = Seen::Closed(TO_ITSELF, ConnectionState::Connecting);
        assert_eq!(reactor.handler().seen, [(peer, end)], "the events are not exactly this close");
        let stats = reactor.stats();
        assert_eq!((stats.links, stats.connect.count, stats.counters.handshakes), (0, 0, 0));
    }
}

#[test]
fn a_retry_of_a_fixed_peer_is_planned_after_the_kernel_connected_a_socket_to_itself() {
    let address = deserted(Ipv4Addr::LOCALHOST);
    let mut reactor = on_one_port(fixed(address));
    turn_until_closed(&mut reactor);
    let [ControlEvent::ConnectionFailed { address: of, reason, failures, next: NextDial::At(at), .. }] =
        reactor.handler().control[..]
    else {
        panic!("{:?}", reactor.handler().control)
    };
    assert_eq!((of, reason, failures), (address, TO_ITSELF, 1));
    let longest = ManagerConfig::new(Network::Regtest).initial_backoff * 2;
    let moment = Net::now(reactor.net());
    assert!(at.since(moment) <= longest, "the retry is due only after {:?}", at.since(moment));
}

#[test]
fn threat_p17_a_dial_to_a_peer_that_echoes_our_version_fails() {
    for is_managed in [false, true] {
        let echo = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
        let address = echo.local_addr().expect("the listener is bound");
        let mut node = Node::with(if is_managed { fixed(address) } else { regtest() });
        if !is_managed {
            node.dial(address);
        }
        until([&mut node], "the loop dials", |[node]| node.count(|seen| *seen == Seen::Opened) == 1);
        let (mut socket, _) = echo.accept().expect("the loop dials");
        let version = read_bytes_of_frame(&mut socket);
        // If the loop accepted its own `version`, it would send a `verack`. A peer that repeats all its input would
        // then complete the handshake.
        socket.write_all(&version).expect("the node reads");
        until([&mut node], "the connection is closed", |[node]| {
            node.count(|seen| matches!(seen, Seen::Closed(..))) == 1
        });
        let end = Seen::Closed(TO_ITSELF, ConnectionState::AwaitingHandshake);
        assert_eq!(node.seen().last().map(|(_, seen)| seen), Some(&end));
        assert_eq!((node.ready(), node.reactor.stats().counters.handshakes), (vec![], 0));
    }
}

#[test]
fn threat_p17_a_loop_that_dials_its_own_listener_closes_both_links() {
    let mut node = Node::new();
    node.dial(node.address);
    let ends = |seen: &Seen| *seen == Seen::Closed(TO_ITSELF, ConnectionState::AwaitingHandshake);
    until([&mut node], "both links are closed", |[node]| node.count(ends) == 2);
    assert_eq!((node.ready(), node.reactor.stats().links), (vec![], 0));
}

/// Reads the next frame and returns its bytes: header and payload.
fn read_bytes_of_frame(socket: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; HEADER_LEN_BYTES];
    socket.read_exact(&mut frame).expect("a header arrives");
    assert_eq!(frame[..4], MAGIC);
    let header = Header::decode(frame.first_chunk().expect("the frame contains a header"));
    frame.resize(HEADER_LEN_BYTES + header.payload_len as usize, 0);
    socket.read_exact(&mut frame[HEADER_LEN_BYTES..]).expect("a payload arrives");
    frame
}
