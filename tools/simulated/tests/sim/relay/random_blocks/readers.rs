//! Peers that request blocks, compact blocks and their transactions, and check everything that they receive.

use super::super::blocks::getheaders;
use super::*;
use peerloop::Network;
use peerloop::wire::{BlockHeader, CompactBlockRef};
use peerloop_testkit::simulated::blocks::{blocktxn, compact_item, get_block, getblocktxn, sendcmpct};

/// The form in which a reader receives new blocks.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Whole,
    /// As compact blocks that it requests.
    Requested,
    /// As compact blocks that are announced.
    Announced,
}

/// A request that is not answered.
#[derive(Debug, PartialEq)]
enum Request {
    Block(usize),
    Compact(usize),
    Transactions(usize, Vec<u32>),
}

impl Request {
    fn block(&self) -> usize {
        let (Self::Block(block) | Self::Compact(block) | Self::Transactions(block, _)) = self;
        *block
    }
}

pub(super) struct Reader {
    raw: RawPeer,
    /// Reads in one step of this many.
    pub(super) pace: u32,
    form: Form,
    pending: Vec<Request>,
    received: Vec<u8>,
}

/// Removes and returns the first message if it is whole.
pub(super) fn next_message(received: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let len_bytes = u32::from_le_bytes(*received.get(16..)?.first_chunk()?) as usize;
    if received.len() < 24 + len_bytes {
        return None;
    }
    let message: Vec<u8> = received.drain(..24 + len_bytes).collect();
    frames(&message).pop()
}

impl Reader {
    pub(super) fn new(scene: &mut Scene, rng: &mut StdRng) -> Self {
        let mut raw = scene.leaf();
        let form = [Form::Whole, Form::Requested, Form::Announced, Form::Announced][rng.random_range(0..4)];
        if form != Form::Whole {
            let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
            raw.try_send(&[getheaders(&[genesis]), sendcmpct(form == Form::Announced)].concat());
        }
        let pace = [1, 1, 3, 20][rng.random_range(0..4)];
        Self { raw, pace, form, pending: Vec::new(), received: Vec::new() }
    }

    pub(super) fn close(mut self) {
        self.raw.close();
    }

    /// Requests a block in the reader's form.
    pub(super) fn request(&mut self, number: usize, block: &Mined) {
        let hash = block.hash();
        let (request, message) = match self.form {
            Form::Whole | Form::Announced => (Request::Block(number), get_block(hash)),
            Form::Requested => (Request::Compact(number), frame("getdata", &compact_item(hash))),
        };
        self.ask(request, &message);
    }

    /// Sends a request, unless an answer could belong to another one, too.
    fn ask(&mut self, request: Request, message: &[u8]) {
        let is_other = |pending: &Request| {
            let is_partial = matches!(request, Request::Transactions(..));
            pending.block() == request.block() && (is_partial || *pending != request)
        };
        if !self.pending.iter().any(is_other) && self.raw.try_send(message) {
            self.pending.push(request);
        }
    }

    /// Reads and checks what has arrived, and requests transactions of compact blocks.
    pub(super) fn read(&mut self, scene: &mut Scene, blocks: &[Mined], rng: &mut StdRng) {
        self.received.extend(scene.drain(&mut self.raw));
        while let Some((command, payload)) = next_message(&mut self.received) {
            match command.as_str() {
                "block" => self.on_block(blocks, &payload),
                "cmpctblock" => self.on_compact(blocks, &payload, rng),
                "blocktxn" => self.on_transactions(blocks, &payload),
                "notfound" => self.on_not_found(blocks, &payload),
                _ => {}
            }
        }
    }

    fn on_block(&mut self, blocks: &[Mined], payload: &[u8]) {
        let block = blocks.iter().position(|block| block.payload == payload).expect("a whole block is wrong");
        let at = self.pending.iter().position(|request| request.block() == block).expect("the block was requested");
        self.pending.remove(at);
    }

    /// Requests transactions of a compact block: the right ones, all, others, or none.
    fn on_compact(&mut self, blocks: &[Mined], payload: &[u8], rng: &mut StdRng) {
        let compact = CompactBlockRef::decode(payload).expect("a malformed compact block passed");
        let (hash, count) = (compact.header.hash(), compact.tx_count() as u32);
        let block = blocks.iter().position(|block| block.hash() == hash).expect("the header is of no block");
        match self.pending.iter().position(|request| *request == Request::Compact(block)) {
            Some(at) => drop(self.pending.remove(at)),
            None => assert!(self.form == Form::Announced, "a compact block was not requested"),
        }
        let indexes: Vec<u32> = match rng.random_range(0..12) {
            0 => return,
            1 => return self.ask(Request::Block(block), &get_block(hash)),
            2 => vec![count],
            3 => (0..count).collect(),
            _ => {
                let last = rng.random_range(0..count);
                (0..=last).filter(|&index| index == last || rng.random_range(0..3) == 0).collect()
            }
        };
        let message = frame("getblocktxn", &getblocktxn(hash, &indexes));
        self.ask(Request::Transactions(block, indexes), &message);
    }

    fn on_transactions(&mut self, blocks: &[Mined], payload: &[u8]) {
        let is_answered = |request: &Request| match request {
            Request::Transactions(block, indexes) => {
                upstream::has_indexes(&blocks[*block], indexes) && blocktxn(&blocks[*block], indexes) == payload
            }
            Request::Block(_) | Request::Compact(_) => false,
        };
        let at = self.pending.iter().position(is_answered).expect("the transactions are wrong or were not requested");
        self.pending.remove(at);
    }

    fn on_not_found(&mut self, blocks: &[Mined], payload: &[u8]) {
        let count = usize::from(payload[0]);
        for item in payload[1..].chunks(36).take(count) {
            let is_asked = |request: &Request| match request {
                Request::Block(block) => blocks[*block].hash().as_bytes()[..] == item[4..] && item[0] == 2,
                Request::Compact(block) => blocks[*block].hash().as_bytes()[..] == item[4..] && item[0] == 4,
                Request::Transactions(..) => false,
            };
            let at = self.pending.iter().position(is_asked).expect("the item was requested");
            self.pending.remove(at);
        }
    }

    /// Checks that every request is answered, unless the relay has closed the link.
    pub(super) fn check_end(&self) {
        assert!(self.raw.has_seen_end || self.pending.is_empty(), "{:?} are not answered", self.pending);
    }
}
