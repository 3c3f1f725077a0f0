//! The speed of reading and building messages, compared with the crates `bitcoin` and `chain-gang` on the same bytes.
//!
//! Reading begins with the frames and ends with a sum over every item in them: each hash, each input and output, each
//! header. Building begins with the message in the crate's own form and ends with the frame, including its checksum.
//! Criterion times each crate separately. For the table at the end, the crates alternate for 101 rounds. The table
//! shows each crate's median time with and without checksums, and two ratios. The first ratio is the shorter of the
//! other two crates' times, divided by `peerloop`'s time. The second ratio is the same without checksums: the checksums
//! of the same payloads are timed separately and subtracted. For `chain-gang`, `peerloop`'s checksum function is timed.
//! Set `WIRE_TABLE=1` to print only the table.
//!
//! `bitcoin` computes and stores the checksum when a message is wrapped in a `RawNetworkMessage`. Building with
//! `bitcoin` is therefore measured as the encoding of wrapped messages plus the computation of their checksums.

use bitcoin::consensus::encode::{Decodable, Encodable};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use chain_gang::messages::Message as GangMessage;
use criterion::Criterion;
use peerloop::api::Delivery;
use peerloop::internals::framer::{FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer};
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::time::{Instant, UnixTime};
use peerloop::wire::header::checksum;
use peerloop::wire::{
    Block, BlockHeader, Hash256, Headers, Inventory, InventoryItem, Message, MessageRef, NetAddress, PayloadLimits,
    Sender, Tx, TxInRef, TxOutRef, TxRef, Version,
};
use std::env;
use std::hint::black_box;
use std::time::Duration;

const MAGIC: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];
const ROUNDS: usize = 101;
/// Approximate minimum duration of one measurement of a whole task for the table. It is far above the clock's
/// resolution, but so short that other work on the machine interrupts few measurements.
const MIN_TURN: Duration = Duration::from_micros(200);

/// A family of messages: as frames, as payloads, and in each crate's own form.
struct Family {
    name: &'static str,
    frames: Vec<u8>,
    payloads: Vec<Vec<u8>>,
    ours: Vec<Message>,
    bitcoin: Vec<RawNetworkMessage>,
    gang: Vec<GangMessage>,
}

/// A function to time.
type Pass<'a> = Box<dyn FnMut() -> u64 + 'a>;

/// One crate's functions for one task: the whole task, and only its checksums.
struct Contender<'a> {
    name: &'static str,
    whole: Pass<'a>,
    checksum: Pass<'a>,
}

fn main() {
    let families = families();
    for family in &families {
        family.check();
    }
    if env::var_os("WIRE_TABLE").is_none() {
        let mut criterion =
            Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
        criterion = criterion.configure_from_args();
        for family in &families {
            for (task, contenders) in [("read", family.readers()), ("build", family.builders())] {
                let mut group = criterion.benchmark_group(format!("{task} {}", family.name));
                for Contender { name, mut whole, .. } in contenders {
                    group.bench_function(name, |bencher| bencher.iter(&mut whole));
                }
                group.finish();
            }
        }
        criterion.final_summary();
    }
    print_table(&families);
}

fn families() -> Vec<Family> {
    let pings = (0..1_000).map(|nonce| Message::Ping { nonce: nonce * 0x9e37_79b9 }).collect();
    let items = (0..500).map(|seed| InventoryItem::tx(hash(seed)));
    let headers = Headers::from_headers((0..2_000).map(header));
    let transactions: Vec<Tx> = (0..10_000).map(tx).collect();
    let block = Block::from_parts(header(1), transactions.iter().map(Tx::as_ref));
    vec![
        Family::new("ping stream", pings),
        Family::new("inv of 500", vec![Message::Inv(Inventory::from_items(items))]),
        Family::new("headers 2,000", vec![Message::Headers(headers)]),
        Family::new("tx", vec![Message::Tx(tx(7))]),
        Family::new("block of 10,000", vec![Message::Block(block)]),
        Family::new("version", vec![Message::Version(Box::new(version()))]),
    ]
}

fn hash(seed: u64) -> Hash256 {
    Hash256::of(&seed.to_le_bytes())
}

fn header(seed: u64) -> BlockHeader {
    BlockHeader {
        version: 0x2000_0000,
        prev_hash: hash(seed),
        merkle_root: hash(seed + 1),
        time: 1_700_000_000,
        bits: 0x1800_ffff,
        nonce: seed as u32,
    }
}

/// Returns a transaction of the most common size. Its input's script is as long as a signature with a public key, and
/// the scripts of its two outputs are as long as a payment to a key's hash.
fn tx(seed: u64) -> Tx {
    let script = [seed as u8; 107];
    let input = TxInRef { prev_txid: hash(seed), prev_index: 1, script: &script, sequence: u32::MAX };
    let output = TxOutRef { value: 5_000 + seed as i64, script: &[0x76; 25] };
    Tx::from_parts(1, &[input], &[output, output], 0)
}

fn version() -> Version {
    let address = NetAddress::from_socket(0x21, ([192, 0, 2, 7], 8_333).into());
    Version {
        protocol_version: 70_016,
        services: 0x21,
        time: UnixTime::from_secs(1_700_000_000),
        receiver: address,
        sender: Some(Sender { address, nonce: 7 }),
        user_agent: Some(b"/Bitcoin SV:1.2.2/".as_slice().into()),
        start_height: Some(800_000),
        relay: Some(true),
        association_id: None,
    }
}

impl Family {
    fn new(name: &'static str, ours: Vec<Message>) -> Self {
        let mut frames = Vec::new();
        ours.iter().for_each(|message| message.as_ref().encode_frame(MAGIC, &mut frames));
        let payloads = ours.iter().map(|message| {
            let mut payload = Vec::new();
            message.as_ref().encode_payload(&mut payload);
            payload
        });
        let payloads = payloads.collect();
        let (mut of_bitcoin, mut of_gang) = (&frames[..], &frames[..]);
        let bitcoin = ours.iter().map(|_| read_bitcoin(&mut of_bitcoin)).collect();
        let gang = ours.iter().map(|_| read_gang(&mut of_gang)).collect();
        Self { name, frames, payloads, ours, bitcoin, gang }
    }

    /// Asserts that all three crates read the same sums and build the same bytes.
    fn check(&self) {
        let sums: Vec<u64> = self.readers().iter_mut().map(|reader| (reader.whole)()).collect();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the crates read different sums from {}: {sums:?}", self.name);
        let (mut ours, mut bitcoin, mut gang) = (Vec::new(), Vec::new(), Vec::new());
        self.build_ours(&mut ours);
        self.build_bitcoin(&mut bitcoin);
        self.build_gang(&mut gang);
        assert!(
            ours == self.frames && bitcoin == self.frames && gang == self.frames,
            "a crate does not build the expected frames of {}",
            self.name
        );
    }

    fn readers(&self) -> Vec<Contender<'_>> {
        let mut framer = Framing::new();
        let ours = move || framer.sum(&self.frames);
        let bitcoin = || sum_frames(&self.frames, |rest| sum_bitcoin(read_bitcoin(rest).payload()));
        let gang = || sum_frames(&self.frames, |rest| sum_gang(&read_gang(rest)));
        self.contenders([Box::new(ours), Box::new(bitcoin), Box::new(gang)])
    }

    fn builders(&self) -> Vec<Contender<'_>> {
        let with_buffer = |build: fn(&Self, &mut Vec<u8>)| -> Pass<'_> {
            let mut out = Vec::with_capacity(self.frames.len());
            Box::new(move || {
                out.clear();
                build(self, &mut out);
                out.len() as u64
            })
        };
        let bitcoin = |family: &Self, out: &mut Vec<u8>| {
            family.build_bitcoin(out);
            black_box(family.sum_bitcoin_checksums());
        };
        self.contenders([with_buffer(Self::build_ours), with_buffer(bitcoin), with_buffer(Self::build_gang)])
    }

    fn contenders<'a>(&'a self, [ours, bitcoin, gang]: [Pass<'a>; 3]) -> Vec<Contender<'a>> {
        let sum = || self.payloads.iter().map(|payload| u64::from(checksum(payload)[0])).sum();
        vec![
            Contender { name: "peerloop", whole: ours, checksum: Box::new(sum) },
            Contender { name: "bitcoin", whole: bitcoin, checksum: Box::new(|| self.sum_bitcoin_checksums()) },
            Contender { name: "chain-gang", whole: gang, checksum: Box::new(sum) },
        ]
    }

    fn sum_bitcoin_checksums(&self) -> u64 {
        self.payloads.iter().map(|payload| u64::from(sha256d::Hash::hash(payload).to_byte_array()[0])).sum()
    }

    fn build_ours(&self, out: &mut Vec<u8>) {
        self.ours.iter().for_each(|message| message.as_ref().encode_frame(MAGIC, out));
    }

    fn build_bitcoin(&self, out: &mut Vec<u8>) {
        for message in &self.bitcoin {
            message.consensus_encode(out).expect("writing to memory cannot fail");
        }
    }

    fn build_gang(&self, out: &mut Vec<u8>) {
        self.gang.iter().for_each(|message| message.write(out, MAGIC).expect("writing to memory cannot fail"));
    }
}

/// A link's receiving half, as in the loop.
struct Framing {
    framer: MessageFramer,
    memory: FramerMemory,
    rules: FramerRules,
}

impl Framing {
    fn new() -> Self {
        let rules = FramerRules {
            magic: MAGIC,
            limits: PayloadLimits::default(),
            frame_limits: FrameLimits::uniform(u64::MAX),
            min_body_bytes_per_second: 0,
        };
        Self { framer: MessageFramer::default(), memory: FramerMemory::new(u64::MAX), rules }
    }

    fn sum(&mut self, frames: &[u8]) -> u64 {
        let Self { framer, memory, rules } = self;
        let mut input = Input::new(frames);
        let mut sum = 0_u64;
        while let Some(Framed::Frame { header, payload }) = framer
            .next(&mut input, Instant::ZERO, rules, memory, |_| Ok(Delivery::Buffer))
            .expect("the frames are valid")
        {
            let message = MessageRef::decode(header.command, payload.as_slice()).expect("the payloads are valid");
            sum = sum.wrapping_add(sum_ours(&message));
        }
        sum
    }
}

/// Returns the sum of `read` over all frames.
fn sum_frames(frames: &[u8], read: impl Fn(&mut &[u8]) -> u64) -> u64 {
    let mut rest = frames;
    let mut sum = 0_u64;
    while rest.len() >= HEADER_LEN_BYTES {
        sum = sum.wrapping_add(read(&mut rest));
    }
    sum
}

fn read_bitcoin(rest: &mut &[u8]) -> RawNetworkMessage {
    RawNetworkMessage::consensus_decode_from_finite_reader(rest).expect("the frames are valid")
}

fn read_gang(rest: &mut &[u8]) -> GangMessage {
    GangMessage::read(rest, MAGIC).expect("the frames are valid")
}

/// Returns the first eight bytes of a hash as a number.
fn word(hash: &[u8; 32]) -> u64 {
    u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

fn sum_all(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, u64::wrapping_add)
}

fn sum_ours(message: &MessageRef<'_>) -> u64 {
    match message {
        MessageRef::Ping { nonce } => *nonce,
        MessageRef::Inv(list) => sum_all(list.iter().map(|item| word(item.hash.as_bytes()) ^ u64::from(item.kind.0))),
        MessageRef::Headers(list) => sum_all(list.iter().map(|item| sum_our_header(&item.header))),
        MessageRef::Tx(tx) => sum_our_tx(tx),
        MessageRef::Block(block) => {
            let transactions = block.transactions.iter().map(|tx| sum_our_tx(&tx.expect("the transaction is valid")));
            sum_our_header(&block.header).wrapping_add(sum_all(transactions))
        }
        MessageRef::Version(version) => {
            let sender = version.sender.expect("the version has a sender");
            let agent = version.user_agent.as_deref().map_or(0, <[u8]>::len);
            version.services ^ sender.nonce ^ agent as u64 ^ u64::from(sender.address.port)
        }
        other => panic!("a family has the unexpected message {other:?}"),
    }
}

fn sum_our_header(header: &BlockHeader) -> u64 {
    word(header.prev_hash.as_bytes()) ^ word(header.merkle_root.as_bytes()) ^ u64::from(header.nonce)
}

fn sum_our_tx(tx: &TxRef<'_>) -> u64 {
    let input =
        |input: TxInRef<'_>| word(input.prev_txid.as_bytes()) ^ u64::from(input.prev_index) ^ sum_script(input.script);
    let output = |output: TxOutRef<'_>| output.value as u64 ^ sum_script(output.script);
    sum_all(tx.inputs().map(input).chain(tx.outputs().map(output)))
}

fn sum_script(script: &[u8]) -> u64 {
    script.len() as u64 ^ u64::from(script.last().copied().unwrap_or(0))
}

fn sum_bitcoin(message: &NetworkMessage) -> u64 {
    match message {
        NetworkMessage::Ping(nonce) => *nonce,
        NetworkMessage::Inv(list) => {
            // `bitcoin` stores an item's kind as an enum variant. All items here are transactions, whose kind is 1.
            sum_all(list.iter().map(|item| word(&item.network_hash().expect("every listed item has a hash")) ^ 1))
        }
        NetworkMessage::Headers(list) => sum_all(list.iter().map(sum_bitcoin_header)),
        NetworkMessage::Tx(tx) => sum_bitcoin_tx(tx),
        NetworkMessage::Block(block) => {
            sum_bitcoin_header(&block.header).wrapping_add(sum_all(block.txdata.iter().map(sum_bitcoin_tx)))
        }
        NetworkMessage::Version(version) => {
            let (services, agent) = (version.services.to_u64(), version.user_agent.len() as u64);
            services ^ version.nonce ^ agent ^ u64::from(version.sender.port)
        }
        other => panic!("a family has the unexpected message {other:?}"),
    }
}

fn sum_bitcoin_header(header: &bitcoin::block::Header) -> u64 {
    let (prev, root): (&[u8; 32], &[u8; 32]) = (header.prev_blockhash.as_ref(), header.merkle_root.as_ref());
    word(prev) ^ word(root) ^ u64::from(header.nonce)
}

fn sum_bitcoin_tx(tx: &bitcoin::Transaction) -> u64 {
    let inputs = tx.input.iter().map(|input| {
        let txid: &[u8; 32] = input.previous_output.txid.as_ref();
        word(txid) ^ u64::from(input.previous_output.vout) ^ sum_script(input.script_sig.as_bytes())
    });
    let outputs = tx.output.iter().map(|output| output.value.to_sat() ^ sum_script(output.script_pubkey.as_bytes()));
    sum_all(inputs.chain(outputs))
}

fn sum_gang(message: &GangMessage) -> u64 {
    match message {
        GangMessage::Ping(ping) => ping.nonce,
        GangMessage::Inv(list) => {
            sum_all(list.objects.iter().map(|item| word(&item.hash.0) ^ u64::from(item.obj_type)))
        }
        GangMessage::Headers(list) => sum_all(list.headers.iter().map(sum_gang_header)),
        GangMessage::Tx(tx) => sum_gang_tx(tx),
        GangMessage::Block(block) => {
            sum_gang_header(&block.header).wrapping_add(sum_all(block.txns.iter().map(sum_gang_tx)))
        }
        GangMessage::Version(version) => {
            version.services ^ version.nonce ^ version.user_agent.len() as u64 ^ u64::from(version.tx_addr.port)
        }
        other => panic!("a family has the unexpected message {other:?}"),
    }
}

fn sum_gang_header(header: &chain_gang::messages::BlockHeader) -> u64 {
    word(&header.prev_hash.0) ^ word(&header.merkle_root.0) ^ u64::from(header.nonce)
}

fn sum_gang_tx(tx: &chain_gang::messages::Tx) -> u64 {
    let inputs = tx.inputs.iter().map(|input| {
        let script = sum_script(&input.unlock_script.0);
        word(&input.prev_output.hash.0) ^ u64::from(input.prev_output.index) ^ script
    });
    let outputs = tx.outputs.iter().map(|output| output.satoshis as u64 ^ sum_script(&output.lock_script.0));
    sum_all(inputs.chain(outputs))
}

/// Median times of a pass and of its checksums, in microseconds.
#[derive(Clone, Copy)]
struct Medians {
    whole: f64,
    checksum: f64,
}

fn print_table(families: &[Family]) {
    println!("\nmicroseconds: median of {ROUNDS} rounds, and in parentheses without the checksum");
    println!("{:<24} {:>19} {:>19} {:>19} {:>8} {:>10}", "", "peerloop", "bitcoin", "chain-gang", "ratio", "without");
    for family in families {
        for (task, mut contenders) in [("read", family.readers()), ("build", family.builders())] {
            let medians = compete(&mut contenders);
            let bare = |medians: Medians| medians.whole - medians.checksum;
            let cells: Vec<String> =
                medians.iter().map(|median| format!("{:.2} ({:.2})", median.whole, bare(*median))).collect();
            let [ours, others @ ..] = &medians[..] else { unreachable!("no crate was timed") };
            let best = |cost: fn(Medians) -> f64| others.iter().map(|other| cost(*other)).fold(f64::MAX, f64::min);
            println!(
                "{:<24} {:>19} {:>19} {:>19} {:>8.2} {:>10.2}",
                format!("{task} {}", family.name),
                cells[0],
                cells[1],
                cells[2],
                best(|median| median.whole) / ours.whole,
                best(|median| median.whole - median.checksum) / bare(*ours),
            );
        }
    }
}

/// Times the crates in alternation, so that a temporary slowdown of the machine affects all of them.
fn compete(contenders: &mut [Contender<'_>]) -> Vec<Medians> {
    let mut rounds: Vec<(Vec<f64>, Vec<f64>)> = contenders.iter().map(|_| (Vec::new(), Vec::new())).collect();
    let passes: Vec<u32> = contenders.iter_mut().map(|contender| passes_needed(&mut contender.whole)).collect();
    for _ in 0..ROUNDS {
        for ((contender, times), passes) in contenders.iter_mut().zip(&mut rounds).zip(&passes) {
            times.0.push(micros(&mut contender.whole, *passes));
            times.1.push(micros(&mut contender.checksum, *passes));
        }
    }
    rounds.into_iter().map(|(whole, checksum)| Medians { whole: median(whole), checksum: median(checksum) }).collect()
}

fn passes_needed(pass: &mut Pass<'_>) -> u32 {
    let once = micros(pass, 3);
    (MIN_TURN.as_secs_f64() * 1e6 / once).ceil().clamp(1.0, 100_000.0) as u32
}

#[expect(clippy::disallowed_methods, reason = "the benchmark measures wall time")]
fn micros(pass: &mut Pass<'_>, passes: u32) -> f64 {
    let began = std::time::Instant::now();
    for _ in 0..passes {
        black_box(pass());
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(passes)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
