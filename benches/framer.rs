//! The cost of framing in addition to the checksum that every message needs anyway.
//!
//! In each of the first three groups, all benchmarks read the same bytes: `framer` reads frames, and `checksum` only
//! hashes their payloads, whose boundaries are known beforehand. The difference is the framer's own cost. The first
//! group reads a block full of pings (many headers, few bytes), the second a block full of inventories, and the third
//! a message of 1 MiB that arrives in pieces of 64 KiB. This message is buffered through the read block, received
//! directly into its buffer, or streamed. The last group compares two ways to compute a 1 MiB transaction's id.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerloop::Network;
use peerloop::internals::framer::{
    Delivery, FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer, Payload,
};
use peerloop::internals::limits::{
    HEADER_LEN_BYTES, MAX_BUFFERED_MESSAGE_BYTES, MAX_BUFFERED_TOTAL_BYTES, MIN_BODY_BYTES_PER_SECOND, READ_BLOCK_BYTES,
};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::header::checksum;
use peerloop::wire::{Hash256, Header, PayloadLimits};
use std::hint::black_box;

const MAGIC: [u8; 4] = Network::Mainnet.magic();
const RULES: FramerRules = FramerRules {
    magic: MAGIC,
    limits: PayloadLimits { max_message_bytes: 2 << 20, max_block_bytes: u64::MAX },
    frame_limits: FrameLimits::uniform(MAX_BUFFERED_MESSAGE_BYTES),
    min_body_bytes_per_second: MIN_BODY_BYTES_PER_SECOND,
};

fn frame(command: CommandName, payload_len: usize) -> Vec<u8> {
    let payload = vec![0x5a; payload_len];
    [&Header::of(command, &payload).encode(MAGIC)[..], &payload].concat()
}

struct Link {
    framer: MessageFramer,
    memory: FramerMemory,
}

impl Link {
    fn new() -> Self {
        Self { framer: MessageFramer::default(), memory: FramerMemory::new(MAX_BUFFERED_TOTAL_BYTES) }
    }

    /// Parses one read block and returns the number of completed frames.
    fn parse(&mut self, block: &[u8], delivery: Delivery) -> usize {
        let (mut input, mut frames) = (Input::new(block), 0);
        let admit = |_: &Header| Ok(delivery);
        while let Some(framed) =
            self.framer.next(&mut input, Instant::ZERO, &RULES, &mut self.memory, admit).expect("the frames are valid")
        {
            match framed {
                Framed::Chunk { last: None, bytes, .. } => {
                    black_box(bytes);
                    continue;
                }
                Framed::Frame { payload: Payload::Gathered(payload), .. } => self.memory.recycle(black_box(payload)),
                framed @ (Framed::Frame { .. } | Framed::Chunk { .. } | Framed::Dropped { .. }) => {
                    black_box(framed);
                }
            }
            frames += 1;
        }
        frames
    }

    /// Receives as the loop does: first into the read block, then directly into the frame's buffer where that has room.
    /// Returns the number of completed frames.
    fn receive_directly(&mut self, stream: &[u8]) -> usize {
        let (block, mut rest) = stream.split_at(READ_BLOCK_BYTES);
        let mut frames = self.parse(block, Delivery::Buffer);
        while !rest.is_empty() {
            let block;
            match self.framer.direct_room(&mut self.memory) {
                Some(room) => {
                    let len = room.len().min(rest.len());
                    room.copy_from_slice(&rest[..len]);
                    self.framer.received_directly(len, Instant::ZERO);
                    rest = &rest[len..];
                    block = &rest[..0];
                }
                None => (block, rest) = rest.split_at(rest.len().min(READ_BLOCK_BYTES)),
            }
            frames += self.parse(block, Delivery::Buffer);
        }
        frames
    }
}

/// Measures read blocks of whole frames.
fn whole_frames(c: &mut Criterion) {
    for (name, command, payload_len) in
        [("pings", CommandName::PING, 8), ("inventories", CommandName::new("inv"), 3 + 500 * 36)]
    {
        let frame = frame(command, payload_len);
        let block = frame.repeat(READ_BLOCK_BYTES / frame.len());
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements((block.len() / frame.len()) as u64));
        let mut link = Link::new();
        group.bench_function("framer", |b| b.iter(|| link.parse(black_box(&block), Delivery::Buffer)));
        group.bench_function("checksum", |b| {
            b.iter(|| {
                for frame in black_box(&block).chunks_exact(frame.len()) {
                    black_box(checksum(&frame[HEADER_LEN_BYTES..]));
                }
            });
        });
        group.finish();
    }
}

/// Measures a message that is larger than the read block.
fn large_message(c: &mut Criterion) {
    let stream = frame(CommandName::TX, 1 << 20);
    let mut group = c.benchmark_group("1 MiB message");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for (name, delivery) in [("framer, buffered", Delivery::Buffer), ("framer, streamed", Delivery::Chunks)] {
        let mut link = Link::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                let blocks = black_box(&stream).chunks(READ_BLOCK_BYTES);
                assert_eq!(blocks.map(|block| link.parse(block, delivery)).sum::<usize>(), 1);
            });
        });
    }
    let mut link = Link::new();
    group.bench_function("framer, received directly", |b| {
        b.iter(|| assert_eq!(link.receive_directly(black_box(&stream)), 1));
    });
    group.bench_function("checksum", |b| b.iter(|| checksum(black_box(&stream[HEADER_LEN_BYTES..]))));
    group.finish();
}

/// Measures two ways to compute a transaction's id: reusing the framer's hash, and hashing the payload again.
fn transaction_id(c: &mut Criterion) {
    let payload = &frame(CommandName::TX, 1 << 20)[HEADER_LEN_BYTES..];
    let (stream, header) = (frame(CommandName::TX, 1 << 20), Header::of(CommandName::TX, payload));
    let mut group = c.benchmark_group("1 MiB transaction and its id");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    let mut link = Link::new();
    group.bench_function("from the framer", |b| {
        b.iter(|| {
            assert_eq!(link.receive_directly(black_box(&stream)), 1);
            black_box(link.memory.hash_of_last(&header).expect("the hash was computed"))
        });
    });
    group.bench_function("hashed again", |b| {
        b.iter(|| {
            assert_eq!(link.receive_directly(black_box(&stream)), 1);
            black_box(Hash256::of(black_box(payload)))
        });
    });
    group.finish();
}

criterion_group!(benches, whole_frames, large_message, transaction_id);
criterion_main!(benches);
