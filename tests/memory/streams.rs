//! Memory used for a large block in transit, and for payloads that a handler keeps. One test sends a block from one
//! loop to another on loopback: the block's bytes are generated and hashed part by part. The other tests use a handler
//! that keeps every payload.

use allocation_counter::measure;
use bytes::Bytes;
use peerloop::MioNet;
use peerloop::internals::limits::{EXTENDED_HEADER_LEN_BYTES, READ_BLOCK_BYTES};
use peerloop::protocol::CommandName;
use peerloop::wire::Header;
use peerloop::{Chunk, Config, Ctx, Delivery, Event, Frame, Handler, MessageRef, Network, PeerId, Reactor};
use peerloop_testkit::greeting::{frame, greeting};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(600);
/// Maximum growth of either endpoint's heap.
const MAX_GROWTH_BYTES: u64 = 8 << 20;
const PART_BYTES: u64 = 64 << 10;

/// The number of bytes that an endpoint has generated or received, and their hash.
#[derive(Debug, Default)]
struct Rolling {
    bytes: u64,
    hash: u64,
}

impl Rolling {
    fn part(seed: u64, len: usize) -> Bytes {
        let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut part = Vec::with_capacity(len + 8);
        while part.len() < len {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            part.extend_from_slice(&word.to_le_bytes());
        }
        part.truncate(len);
        part.into()
    }

    /// Adds the next bytes. The hash does not depend on how the payload is split.
    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.bytes += bytes.len() as u64;
    }
}

/// A handler that sends one block of a given length to its peer, or receives one.
#[derive(Debug, Default)]
struct End {
    dials: Option<std::net::SocketAddr>,
    sends_bytes: u64,
    /// The rest of a part: the bytes that the send queue has not accepted yet.
    kept: Option<Bytes>,
    rolling: Rolling,
    peer: Option<PeerId>,
    header: Option<Header>,
    is_done: bool,
}

impl End {
    fn feed(&mut self, ctx: &mut Ctx<'_>) {
        let Some(peer) = self.peer else { return };
        while let Some(left) = ctx.peer(peer).and_then(|view| view.body_left_bytes()) {
            let mut part = self.kept.take().unwrap_or_else(|| {
                let part = Rolling::part(self.rolling.bytes, left.min(PART_BYTES) as usize);
                self.rolling.update(&part);
                part
            });
            ctx.feed_body(peer, &mut part).expect("the body is being fed");
            if !part.is_empty() {
                self.kept = Some(part);
                return;
            }
        }
        self.is_done |= ctx.peer(peer).is_some_and(|view| view.waiting_bytes() == 0) && self.rolling.bytes > 0;
    }
}

impl Handler for End {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(address) = self.dials {
            ctx.connect(address).expect("the table has room");
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } if self.sends_bytes > 0 => {
                self.peer = Some(peer);
                let is_basic = u32::try_from(self.sends_bytes).is_ok();
                let checksum = is_basic.then_some([0; 4]);
                let header = Header { command: CommandName::BLOCK, payload_len: self.sends_bytes, checksum };
                ctx.begin_body(peer, &header).expect("the peer is ready");
                self.feed(ctx);
            }
            Event::BodyCut { received, reason, .. } => panic!("the block was cut after {received} bytes: {reason}"),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        self.header = Some(*header);
        Delivery::Chunks
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        assert_eq!(chunk.offset(), self.rolling.bytes);
        self.rolling.update(chunk.bytes());
        self.is_done |= chunk.last().is_some();
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId) {
        self.feed(ctx);
    }
}

fn end(handler: End) -> Reactor<MioNet, End> {
    Reactor::new(Config::new(Network::Regtest).with_seed(Some(7)), handler).expect("the kernel provides a poller")
}

/// Runs turns until the whole block is sent or received. Returns the largest growth of this thread's heap in bytes.
fn run(reactor: &mut Reactor<MioNet, End>) -> u64 {
    let began = std::time::Instant::now();
    let info = measure(|| {
        while !reactor.handler().is_done {
            assert!(began.elapsed() < PATIENCE, "{:?}", reactor.handler());
            reactor.poll_once(Duration::from_millis(10)).expect("the poller works");
        }
    });
    info.bytes_max
}

#[test]
fn a_large_block_sent_between_two_loops_grows_each_heap_by_at_most_eight_mebibytes() {
    let is_long = std::env::var_os("PEERLOOP_LONG").is_some();
    let len_bytes = if is_long { 6 << 30 } else { 64 << 20 };
    let mut receiver = end(End::default());
    let address = receiver.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let began = std::time::Instant::now();
    let (report, received) = channel();
    let sending = thread::spawn(move || {
        let mut sender = end(End { dials: Some(address), sends_bytes: len_bytes, ..End::default() });
        let growth = run(&mut sender);
        // Ending now would close the connection, so wait until the receiver has everything.
        received.recv().expect("the receiver is done");
        (growth, sender.into_handler().rolling)
    });
    let growth = run(&mut receiver);
    let took = began.elapsed();
    report.send(()).expect("the sender waits");
    let (sender_growth, sent) = sending.join().expect("the sender did not panic");
    let End { rolling, header, .. } = receiver.into_handler();
    println!(
        "{len_bytes} bytes in {:.1} s, {:.0} MiB/s; the sender's heap grew by {sender_growth} bytes, the \
         receiver's by {growth}",
        took.as_secs_f64(),
        (len_bytes >> 20) as f64 / took.as_secs_f64()
    );
    assert_eq!((rolling.bytes, rolling.hash), (len_bytes, sent.hash));
    let header = header.expect("a header arrived");
    assert_eq!((header.payload_len, header.len_bytes() == EXTENDED_HEADER_LEN_BYTES), (len_bytes, is_long));
    assert!(growth <= MAX_GROWTH_BYTES && sender_growth <= MAX_GROWTH_BYTES);
}

/// A handler that keeps the payload of every message.
#[derive(Debug, Default)]
struct Keeper {
    kept: Vec<Bytes>,
    logical_bytes: usize,
}

impl Handler for Keeper {
    type Request = ();

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::BLOCK { Delivery::Chunks } else { Delivery::Buffer }
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
        let kept = frame.to_bytes();
        self.logical_bytes += kept.len();
        self.kept.push(kept);
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        let kept = chunk.to_bytes();
        self.logical_bytes += kept.len();
        self.kept.push(kept);
    }
}

/// Sends `frames` to a [`Keeper`] `rounds` times. Returns the growth of the heap in bytes, and the number of payload
/// bytes that the handler kept.
fn kept(frames: &[u8], rounds: usize) -> (i64, usize) {
    use std::io::Write;
    const SLOTS: usize = 1 << 16;
    let keeper = Keeper { kept: Vec::with_capacity(SLOTS), logical_bytes: 0 };
    let config = Config::new(Network::Regtest).with_seed(Some(7));
    let mut reactor = Reactor::new(config, keeper).expect("the kernel provides a poller");
    let address = reactor.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let mut socket = std::net::TcpStream::connect(address).expect("the node listens");
    socket.write_all(&greeting()).expect("the kernel accepts the bytes");
    while reactor.stats().ready == 0 {
        reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
    }
    let info = measure(|| {
        for _ in 0..rounds {
            let target = reactor.stats().counters.bytes_received + frames.len() as u64;
            socket.write_all(frames).expect("the kernel accepts the bytes");
            while reactor.stats().counters.bytes_received < target {
                reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
            }
        }
    });
    assert!(reactor.handler().kept.len() < SLOTS && reactor.handler().kept.len() >= rounds);
    (info.bytes_current, reactor.handler().logical_bytes)
}

/// Asserts that the heap grows by at most twice the kept bytes plus one read block of the loop.
fn assert_retained(frames: &[u8], rounds: usize, what: &str) {
    let (retained, logical) = kept(frames, rounds);
    // A slice is shared only if it is at least half of its memory block, and copied otherwise.
    println!("{what}: {logical} kept bytes use {retained} bytes");
    assert!(
        retained <= 2 * logical as i64 + READ_BLOCK_BYTES as i64,
        "{what}: {logical} kept bytes use too many bytes: {retained}"
    );
}

#[test]
fn kept_slices_of_read_blocks_pin_at_most_twice_their_own_size() {
    let (inv, discarded) = (CommandName::new("inv"), CommandName::PONG);
    for kept_bytes in [64, 1_000, 16_384, 20_000, 32_767, 32_768] {
        let frames = [
            frame(&MessageRef::Opaque { command: inv, payload: &vec![1; kept_bytes] }),
            frame(&MessageRef::Opaque { command: discarded, payload: &vec![2; 30_000] }),
        ]
        .concat();
        assert_retained(&frames, 200, &format!("one payload of {kept_bytes} bytes in each read block"));
    }
}

#[test]
fn kept_chunks_of_messages_pin_at_most_twice_their_own_size() {
    for kept_bytes in [64, 10_000, 16_384, 32_768, 60_000] {
        let frames = frame(&MessageRef::Opaque { command: CommandName::BLOCK, payload: &vec![1; kept_bytes] });
        assert_retained(&frames, 200, &format!("a payload of {kept_bytes} bytes in chunks"));
    }
}
