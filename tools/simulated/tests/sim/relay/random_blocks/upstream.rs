//! The upstream of a run: it announces blocks, and answers, lies, stalls and breaks as it is drawn.

use super::readers::next_message;
use super::*;
use peerloop::Network;
use peerloop::wire::{BlockTxn, GetBlockTxnRef};
use peerloop_testkit::simulated::blocks::{block_item, blocktxn, compact, headers, sendcmpct, transactions};
use std::collections::VecDeque;

/// A link of the upstream, and its answers.
#[derive(Default)]
pub(super) struct Link {
    received: Vec<u8>,
    /// Whether the relay wants compact blocks as announcements.
    wants_compact: bool,
    /// Short messages are sent before blocks that have not begun.
    jobs: VecDeque<Job>,
    /// The rest of the message that is being sent, and whether the link is lost at its end.
    sending: Option<(Vec<u8>, bool)>,
}

/// A message that is to be sent.
enum Job {
    Block(usize),
    Transactions(usize, Vec<u32>),
    Other(Vec<u8>),
}

impl Link {
    /// Begins with a link that is ready, on which the upstream states that it supports compact blocks.
    pub(super) fn new(scene: &mut Scene, number: u64) -> Self {
        let received = scene.upstream.receive(number);
        Self { received, jobs: [Job::Other(sendcmpct(false))].into(), ..Self::default() }
    }
}

/// Returns whether a block has transactions at all these indexes.
pub(super) fn has_indexes(block: &Mined, indexes: &[u32]) -> bool {
    indexes.iter().all(|&index| (index as usize) < transactions(block).len())
}

/// Changes one byte of a payload, at `from` or later.
fn corrupt(rng: &mut StdRng, mut payload: Vec<u8>, from: usize) -> Vec<u8> {
    let at = rng.random_range(from.min(payload.len() - 1)..payload.len());
    payload[at] ^= 1;
    payload
}

impl Run {
    pub(super) fn run_upstream(&mut self) {
        let before = self.scene.upstream.links;
        self.scene.upstream.accept();
        for link in before..self.scene.upstream.links {
            let new = Link::new(&mut self.scene, link);
            self.links.insert(link, new);
        }
        let links: Vec<u64> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.run_link(link));
    }

    fn run_link(&mut self, number: u64) {
        self.scene.settle();
        let received = self.scene.upstream.receive(number);
        self.link(number).received.extend(received);
        while let Some((command, payload)) = next_message(&mut self.link(number).received) {
            self.on_message(number, &command, &payload);
        }
        if self.link(number).sending.is_none()
            && let Some(job) = self.link(number).jobs.pop_front()
        {
            let message = match job {
                Job::Block(block) => self.draw_block(block),
                Job::Transactions(block, indexes) => self.draw_transactions(block, &indexes),
                Job::Other(message) => Some((message, false)),
            };
            self.link(number).sending = message;
        }
        let Some((mut rest, ends)) = self.link(number).sending.take() else { return };
        let len_bytes = self.rng.random_range(1..20_000).min(rest.len());
        // The relay may have closed the link, or not read it.
        match self.scene.upstream.net.write(LinkId::from_u64(number), &rest[..len_bytes]) {
            Ok(written) => drop(rest.drain(..written)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return drop(self.links.remove(&number)),
        }
        match (rest.is_empty(), ends) {
            (true, true) => {
                self.scene.upstream.close(number);
                self.links.remove(&number);
            }
            (true, false) => {}
            (false, _) => self.link(number).sending = Some((rest, ends)),
        }
    }

    fn link(&mut self, number: u64) -> &mut Link {
        self.links.entry(number).or_default()
    }

    /// Queues the answer to a message of the relay.
    fn on_message(&mut self, number: u64, command: &str, payload: &[u8]) {
        let of_hash = |blocks: &[Mined], hash: Hash256| blocks.iter().position(|block| block.hash() == hash);
        match command {
            "getheaders" => {
                let known = headers(&self.blocks[..self.mined]);
                self.link(number).jobs.push_front(Job::Other(frame("headers", &known)));
            }
            "getdata" => {
                for hash in hashes(&[message(command, payload)], command) {
                    let body = self.bodies.iter().flatten().find(|body| Hash256::of(body) == hash);
                    let job = match body {
                        Some(body) => Job::Other(tx(body)),
                        None => Job::Block(of_hash(&self.blocks, hash).expect("a block of the chain is requested")),
                    };
                    match job {
                        Job::Other(_) => self.link(number).jobs.push_front(job),
                        Job::Block(_) | Job::Transactions(..) => self.link(number).jobs.push_back(job),
                    }
                }
            }
            "getblocktxn" => {
                let request = GetBlockTxnRef::decode(payload).expect("the relay's request is right");
                let block = of_hash(&self.blocks, request.block_hash).expect("a block of the chain is requested");
                let job = Job::Transactions(block, request.indexes().collect());
                self.link(number).jobs.push_front(job);
            }
            "sendcmpct" => self.link(number).wants_compact |= payload[0] == 1,
            _ => {}
        }
    }

    /// Draws the answer to a request for a block: its bytes, and whether the link is lost after them. `None` is
    /// silence.
    fn draw_block(&mut self, block: usize) -> Option<(Vec<u8>, bool)> {
        let payload = self.blocks[block].payload.clone();
        let whole = frame("block", &payload);
        let at = self.rng.random_range(0..payload.len());
        let draw = if self.is_honest { 9 } else { self.rng.random_range(0..18) };
        match draw {
            0 => None,
            1 => Some((frame("notfound", &block_item(self.blocks[block].hash())), false)),
            2 | 14 | 15 => Some((whole[..self.rng.random_range(0..whole.len())].to_vec(), true)),
            3 => Some((frame("block", &corrupt(&mut self.rng, payload, at)), false)),
            4 => {
                let mut wrong = whole;
                wrong[20] ^= 1;
                Some((wrong, false))
            }
            5 => Some((frame("block", &[&payload[..], &[0]].concat()), false)),
            6 => Some((frame("block", &payload[..at]), false)),
            16 | 17 => Some((whole[..24 + payload.len() * 2 / 5].to_vec(), true)),
            _ => Some((whole, false)),
        }
    }

    /// Draws the answer to a request for transactions of a block.
    fn draw_transactions(&mut self, block: usize, indexes: &[u32]) -> Option<(Vec<u8>, bool)> {
        // A request for a compact block that was a lie may have indexes that do not exist.
        let block = Some(&self.blocks[block]).filter(|block| has_indexes(block, indexes))?;
        let right = blocktxn(block, indexes);
        let whole = frame("blocktxn", &right);
        let draw = if self.is_honest { 9 } else { self.rng.random_range(0..14) };
        match draw {
            0 => None,
            1 => Some((whole[..self.rng.random_range(0..whole.len())].to_vec(), true)),
            2 => {
                let other = Tx::from_parts(1, &[], &[], 0xffff);
                let others = indexes.iter().map(|_| other.as_ref());
                let mut payload = Vec::new();
                BlockTxn::from_transactions(block.hash(), others).as_ref().encode(&mut payload);
                Some((frame("blocktxn", &payload), false))
            }
            3 => Some((frame("blocktxn", &corrupt(&mut self.rng, right, 0)), false)),
            4 => Some((frame("blocktxn", &blocktxn(block, &indexes[1..])), false)),
            _ => Some((whole, false)),
        }
    }

    /// Relays transactions of the next block, or else announces it.
    pub(super) fn mine(&mut self) {
        let links: Vec<u64> = self.links.keys().copied().collect();
        if links.is_empty() {
            return;
        }
        let link = links[self.rng.random_range(0..links.len())];
        if self.relayed > self.mined {
            return self.announce(link);
        }
        let is_whole = self.rng.random_range(0..3) > 0;
        let bodies: Vec<&[u8]> = self.bodies[self.mined].iter().map(Vec::as_slice).collect();
        let known: Vec<&[u8]> = bodies.into_iter().filter(|_| is_whole || self.rng.random_range(0..3) > 0).collect();
        let message = inv(&known);
        self.relayed += 1;
        self.link(link).jobs.push_front(Job::Other(message));
    }

    /// Announces the next block, as a compact one if the relay wants that.
    fn announce(&mut self, link: u64) {
        let block = &self.blocks[self.mined];
        let wanted = self.links.iter().find(|(_, link)| link.wants_compact).map(|(&number, _)| number);
        let right = compact(block, self.rng.random());
        let draw = if wanted.is_some() { self.rng.random_range(0..16) } else { 0 };
        let (command, payload) = match draw {
            0 => ("headers", headers(std::slice::from_ref(block))),
            // Short ids, counts and prefilled transactions begin after the header and the nonce.
            1 => ("cmpctblock", corrupt(&mut self.rng, right, 88)),
            2 => {
                let prefilled = right.len() - 20;
                ("cmpctblock", corrupt(&mut self.rng, right, prefilled))
            }
            3 => {
                let mut header = block.header;
                while header.check_proof_of_work(Network::Regtest).is_ok() {
                    header.nonce += 1;
                }
                ("cmpctblock", compact(&Mined { header, payload: block.payload.clone() }, 1))
            }
            4 => {
                let other = self.blocks[self.rng.random_range(0..self.mined)].payload.clone();
                ("cmpctblock", compact(&Mined { header: block.header, payload: other }, 1))
            }
            5 => ("cmpctblock", right[..self.rng.random_range(0..right.len())].to_vec()),
            _ => ("cmpctblock", right),
        };
        // The block itself is announced after the header without proof of work.
        self.mined += usize::from(draw != 3);
        self.link(wanted.unwrap_or(link)).jobs.push_front(Job::Other(frame(command, &payload)));
    }
}
