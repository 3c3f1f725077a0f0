//! The intake of large messages, compared with a bare loop that receives and hashes the same bytes.
//!
//! One sender writes `block` messages of 64 MiB over loopback; the receiver is either a reactor whose handler receives
//! them in parts, or a bare loop of `read` and SHA-256 whose buffer has the size of the reactor's read block. Both
//! compare the checksum with the payload's double SHA-256. The two receivers alternate message by message. Each has its
//! own connection, and the same thread sends to both, so that both run under the same conditions. The benchmark prints
//! both median durations and their ratio.
//!
//! `cargo bench --bench intake -- --messages 1000` measures more messages.

#![allow(clippy::disallowed_methods, reason = "the benchmark reads the clock and sends from a thread")]

use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::{HEADER_LEN_BYTES, READ_BLOCK_BYTES};
use peerloop::protocol::CommandName;
use peerloop::wire::Header;
use peerloop::{Chunk, Config, Ctx, Delivery, Event, Handler, Network, PeerId, Reactor};
use peerloop_testkit::greeting::{MAGIC, greeting};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 64 << 20;
/// Maximum number of bytes that the sender passes to one write.
const WRITE_BYTES: usize = 1 << 20;
/// Default number of measured messages to each receiver. With only 20 messages the ratio varied between 0.80 and 1.09.
const MESSAGES: usize = 200;
/// The goal: the bare loop's median duration divided by the reactor's is at least this.
const MIN_RATIO: f64 = 0.90;

/// Receives blocks in parts and counts them.
#[derive(Default)]
struct Counter {
    is_ready: bool,
    bytes: u64,
    blocks: usize,
}

impl Handler for Counter {
    type Request = ();

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        self.is_ready |= matches!(event, Event::Ready { .. });
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        Delivery::Chunks
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        self.bytes += chunk.bytes().len() as u64;
        if let Some(verdict) = chunk.last() {
            assert_eq!(verdict, ChecksumVerdict::Correct);
            self.blocks += 1;
        }
    }
}

/// Runs the sender's thread: writes the frame to each socket that it receives from `asked`.
fn send_when_asked(asked: &mpsc::Receiver<TcpStream>, frame: &[u8]) {
    while let Ok(mut socket) = asked.recv() {
        for part in frame.chunks(WRITE_BYTES) {
            socket.write_all(part).expect("the receiver reads");
        }
    }
}

/// Receives one message with the least possible work: reads the payload in pieces into `block`, hashes the pieces, and
/// compares the checksum.
fn receive_bare(socket: &mut TcpStream, block: &mut [u8]) {
    let mut header = [0; HEADER_LEN_BYTES];
    socket.read_exact(&mut header).expect("a message arrives");
    let header = Header::decode(&header);
    let mut hasher = Sha256::new();
    let mut left = header.payload_len as usize;
    while left > 0 {
        let room = left.min(block.len());
        let len = socket.read(&mut block[..room]).expect("the sender writes");
        assert_ne!(len, 0, "the sender has disconnected");
        hasher.update(&block[..len]);
        left -= len;
    }
    let twice = Sha256::digest(hasher.finalize());
    assert_eq!(header.checksum.as_ref().map(|sum| &sum[..]), Some(&twice[..4]));
}

fn receive_with(reactor: &mut Reactor<peerloop::MioNet, Counter>) {
    let blocks = reactor.handler().blocks;
    while reactor.handler().blocks == blocks {
        reactor.poll_once(Duration::from_secs(1)).expect("the poller works");
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Connects to the reactor and completes the handshake.
fn connect(reactor: &mut Reactor<peerloop::MioNet, Counter>, address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the reactor listens");
    socket.write_all(&greeting()).expect("a greeting fits the socket's buffer");
    while !reactor.handler().is_ready {
        reactor.poll_once(Duration::from_secs(1)).expect("the poller works");
    }
    socket
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--messages").skip(1);
    let messages = arguments.next().map_or(MESSAGES, |count| count.parse().expect("--messages needs a number"));
    let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let payload: Vec<u8> = (0..PAYLOAD_BYTES as u64).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let mut frame = Header::of(CommandName::BLOCK, &payload).encode(MAGIC).to_vec();
    frame.extend_from_slice(&payload);

    let mut reactor =
        Reactor::new(Config::new(Network::Regtest), Counter::default()).expect("the kernel provides a poller");
    let address = reactor.listen(any_port).expect("a loopback port is free");
    let to_reactor = connect(&mut reactor, address);
    let listener = TcpListener::bind(any_port).expect("a loopback port is free");
    let to_bare =
        TcpStream::connect(listener.local_addr().expect("the listener is bound")).expect("the listener is open");
    let (mut bare, _) = listener.accept().expect("one connection waits");
    let mut block = vec![0; READ_BLOCK_BYTES];

    let (ask, asked) = mpsc::channel();
    let sender = thread::spawn(move || send_when_asked(&asked, &frame));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=messages {
        let mut took = |index: usize, socket: &TcpStream, receive: &mut dyn FnMut()| {
            let began = Instant::now();
            ask.send(socket.try_clone().expect("a descriptor is free")).expect("the sender waits");
            receive();
            // The first round is the warm-up.
            if round > 0 {
                times[index].push(began.elapsed());
            }
        };
        took(0, &to_bare, &mut || receive_bare(&mut bare, &mut block));
        took(1, &to_reactor, &mut || receive_with(&mut reactor));
    }
    drop(ask);
    sender.join().expect("the sender did not panic");
    let total = PAYLOAD_BYTES as u64 * (messages as u64 + 1);
    assert_eq!(reactor.handler().bytes, total, "not every byte was delivered");
    let [bare, loop_] = times.each_mut().map(|times| median(times));
    let rate = |time: Duration| (PAYLOAD_BYTES >> 20) as f64 / time.as_secs_f64();
    let ratio = bare.as_secs_f64() / loop_.as_secs_f64();
    println!("{messages} blocks of 64 MiB each, with their checksums");
    println!("bare loop  {:>7.1} ms  {:>6.0} MiB/s", bare.as_secs_f64() * 1e3, rate(bare));
    println!("peerloop   {:>7.1} ms  {:>6.0} MiB/s", loop_.as_secs_f64() * 1e3, rate(loop_));
    println!("ratio      {ratio:.3}, the goal is at least {MIN_RATIO}");
}
