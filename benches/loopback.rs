//! The cost of a ping through the whole loop, compared with its cost in a minimal readiness loop.
//!
//! The same client drives two servers in turn, over 64 connections on loopback: `peerloop` is a reactor whose peers
//! have completed the handshake, and `bare mio` reads all readable bytes and writes them back, without framing,
//! checksums, timers or counters. Each iteration writes one ping to every connection and then reads every reply, so
//! the servers see readiness in batches. Both times include the client's own cost. Their difference is the additional
//! cost of the loop for 64 pings.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use peerloop::internals::limits::{HEADER_LEN_BYTES, READ_BLOCK_BYTES};
use peerloop::protocol::CommandName;
use peerloop::wire::{Header, MessageRef};
use peerloop::{Config, Handler, Network, Reactor};
use peerloop_testkit::greeting::{frame, greeting};
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender as Report, channel};
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 64;
const PING_LEN_BYTES: usize = HEADER_LEN_BYTES + 8;
const ANY_PORT: SocketAddr = SocketAddr::new(net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A handler that does nothing. The engine answers pings by itself.
struct Silent;

impl Handler for Silent {
    type Request = ();
}

fn run_peerloop(started: &Report<(SocketAddr, Option<peerloop::Handle<()>>)>) {
    let mut reactor = Reactor::new(Config::new(Network::Regtest), Silent).expect("the kernel provides a poller");
    let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
    started.send((address, Some(reactor.handle()))).expect("the client waits for the address");
    reactor.run().expect("the poller works");
}

/// Runs the bare server until all of its connections are closed.
fn run_bare_mio(started: &Report<(SocketAddr, Option<peerloop::Handle<()>>)>) {
    let mut poll = Poll::new().expect("the kernel provides a poller");
    let mut listener = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let listening = Token(usize::MAX);
    poll.registry().register(&mut listener, listening, Interest::READABLE).expect("the socket can be polled");
    started
        .send((listener.local_addr().expect("the listener is bound"), None))
        .expect("the client waits for the address");
    let mut events = Events::with_capacity(1_024);
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut block = vec![0; READ_BLOCK_BYTES];
    let mut ended = 0;
    while ended < CONNECTIONS {
        poll.poll(&mut events, None).expect("the poller works");
        for event in &events {
            if event.token() == listening {
                while let Ok((mut socket, _)) = listener.accept() {
                    let token = Token(sockets.len());
                    socket.set_nodelay(true).expect("the socket is connected");
                    poll.registry()
                        .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
                        .expect("the socket can be polled");
                    sockets.push(socket);
                }
            } else if event.is_readable() {
                let socket = &mut sockets[event.token().0];
                match socket.read(&mut block) {
                    Ok(0) => ended += 1,
                    Ok(len) => socket.write_all(&block[..len]).expect("the socket's send buffer has room"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
    }
}

/// The client of both servers, with blocking sockets. In a round, it writes one ping to each socket, and then reads one
/// reply from each.
struct Client {
    sockets: Vec<net::TcpStream>,
    ping: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let connect = |_| {
            let socket = net::TcpStream::connect(address).expect("the server listens");
            socket.set_nodelay(true).expect("the socket is connected");
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("the timeout is not zero");
            socket
        };
        Self { sockets: (0..CONNECTIONS).map(connect).collect(), ping: frame(&MessageRef::Ping { nonce: 7 }) }
    }

    fn complete_handshakes(&mut self) {
        let greeting = greeting();
        for socket in &mut self.sockets {
            socket.write_all(&greeting).expect("the socket is connected");
            loop {
                let mut header = [0; HEADER_LEN_BYTES];
                socket.read_exact(&mut header).expect("the server sends its handshake");
                let header = Header::decode(&header);
                socket.read_exact(&mut vec![0; header.payload_len as usize]).expect("the server sends its handshake");
                if header.command == CommandName::SENDHEADERS {
                    break;
                }
            }
        }
    }

    fn round(&mut self) {
        for socket in &mut self.sockets {
            socket.write_all(&self.ping).expect("the socket is connected");
        }
        let mut answer = [0; PING_LEN_BYTES];
        for socket in &mut self.sockets {
            socket.read_exact(&mut answer).expect("each ping is answered");
        }
        assert_eq!(answer[HEADER_LEN_BYTES..], self.ping[HEADER_LEN_BYTES..]);
    }
}

fn pings(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 pings answered");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.measurement_time(Duration::from_secs(8)).noise_threshold(0.1);
    for (name, run, speaks) in [("bare mio", run_bare_mio as fn(&_), false), ("peerloop", run_peerloop, true)] {
        let (started, server) = channel();
        let thread = thread::spawn(move || run(&started));
        let (address, handle) = server.recv().expect("the server starts");
        let mut client = Client::connect(address);
        if speaks {
            client.complete_handshakes();
        }
        group.bench_function(name, |b| b.iter(|| client.round()));
        drop(client);
        if let Some(handle) = handle {
            handle.stop().expect("the server is running");
        }
        thread.join().expect("the server does not panic");
    }
    group.finish();
}

criterion_group!(benches, pings);
criterion_main!(benches);
