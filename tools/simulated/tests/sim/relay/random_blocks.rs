//! Blocks through a relay whose upstream is lost, stalls, lies and lacks blocks at random, for readers of every speed.
//! No reader ever has a whole block that is wrong, or bytes that belong to no source. At the end every request is
//! answered, or its link is closed, and no block is passing.

use super::blocks::scene;
use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{RngExt, SeedableRng};
use peerloop::relay::RelayCounts;
use peerloop_testkit::simulated::blocks::{Mined, block_item, chain, get_block, headers};
use std::collections::{BTreeMap, VecDeque};

const STEPS: usize = 150;
/// The longest time until every request is answered: the wait for other blocks, and the silence of each source.
const LIMIT: Duration = Duration::from_secs(240);

/// A link of the upstream, and its answers.
#[derive(Default)]
struct Link {
    requested: VecDeque<usize>,
    /// The rest of the message that is being sent, and whether the link is lost at its end.
    sending: Option<(Vec<u8>, bool)>,
}

struct Reader {
    raw: RawPeer,
    /// Reads in one step of this many.
    pace: u32,
    requested: Vec<usize>,
    received: Vec<u8>,
    /// The blocks that it has whole.
    blocks: Vec<usize>,
    missing: usize,
}

struct Run {
    scene: Scene,
    rng: StdRng,
    blocks: Vec<Mined>,
    links: BTreeMap<u64, Link>,
    readers: Vec<Reader>,
    /// Whether the upstream is honest from now on.
    is_honest: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lens: Vec<usize> = (0..rng.random_range(1..5)).map(|_| rng.random_range(100..40_000)).collect();
        let blocks = chain(&lens);
        let capacity_bytes = 1 << rng.random_range(12..17);
        let scene = scene(&blocks, Conditions { capacity_bytes, ..Conditions::default() });
        let links = [SUBMITTING, LISTENING].map(|link| (link, Link::default())).into();
        Self { scene, rng, blocks, links, readers: Vec::new(), is_honest: false }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0 | 1 if self.readers.len() < 5 && !self.is_honest => self.add_reader(),
            2 if self.readers.len() > 2 && !self.is_honest => {
                let at = self.rng.random_range(0..self.readers.len());
                self.readers.remove(at).raw.close();
            }
            _ => {
                let pause = if self.rng.random_range(0..20) == 0 { 12_000 } else { self.rng.random_range(0..300) };
                self.scene.run_for(Duration::from_millis(pause));
            }
        }
        self.run_upstream();
        self.run_readers();
    }

    /// Adds a peer that requests some of the blocks.
    fn add_reader(&mut self) {
        let mut raw = self.scene.leaf();
        let first = self.rng.random_range(0..self.blocks.len());
        let requested: Vec<usize> = (first..self.blocks.len()).filter(|_| self.rng.random_range(0..3) > 0).collect();
        for &block in &requested {
            raw.send(&get_block(self.blocks[block].hash()));
        }
        let pace = [1, 1, 3, 20][self.rng.random_range(0..4)];
        self.readers.push(Reader { raw, pace, requested, received: Vec::new(), blocks: Vec::new(), missing: 0 });
    }

    fn run_upstream(&mut self) {
        let before = self.scene.upstream.links;
        self.scene.upstream.accept();
        (before..self.scene.upstream.links).for_each(|link| drop(self.links.insert(link, Link::default())));
        let links: Vec<u64> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.run_link(link));
    }

    fn run_link(&mut self, number: u64) {
        for (command, payload) in self.scene.heard(number) {
            match command.as_str() {
                "getheaders" => self.send(number, &frame("headers", &headers(&self.blocks))),
                "getdata" => {
                    let asked = |block: &Mined| payload[5..] == *block.hash().as_bytes();
                    let block = self.blocks.iter().position(asked).expect("a block of the chain is requested");
                    self.link(number).requested.push_back(block);
                }
                _ => {}
            }
        }
        if self.link(number).sending.is_none()
            && let Some(block) = self.link(number).requested.pop_front()
        {
            let answer = self.draw_answer(block);
            self.link(number).sending = answer;
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

    /// Sends a short message between two others; the link may be closed.
    fn send(&mut self, number: u64, bytes: &[u8]) {
        if self.link(number).sending.is_none() {
            let _ = self.scene.upstream.net.write(LinkId::from_u64(number), bytes);
        }
    }

    /// Draws the answer to a request: its bytes, and whether the link is lost after them. `None` is silence.
    fn draw_answer(&mut self, block: usize) -> Option<(Vec<u8>, bool)> {
        let payload = self.blocks[block].payload.clone();
        let whole = frame("block", &payload);
        let at = self.rng.random_range(0..payload.len());
        let draw = if self.is_honest { 9 } else { self.rng.random_range(0..14) };
        match draw {
            0 => None,
            1 => Some((frame("notfound", &block_item(self.blocks[block].hash())), false)),
            2 => Some((whole[..self.rng.random_range(0..whole.len())].to_vec(), true)),
            3 => {
                let mut wrong = payload;
                wrong[at] ^= 1;
                Some((frame("block", &wrong), false))
            }
            4 => {
                let mut wrong = whole;
                wrong[20] ^= 1;
                Some((wrong, false))
            }
            5 => Some((frame("block", &[&payload[..], &[0]].concat()), false)),
            6 => Some((frame("block", &payload[..at]), false)),
            _ => Some((whole, false)),
        }
    }

    fn run_readers(&mut self) {
        for reader in &mut self.readers {
            if self.is_honest || self.rng.random_range(0..reader.pace) == 0 {
                reader.received.extend(self.scene.drain(&mut reader.raw));
            }
            reader.take_messages(&self.blocks);
        }
    }

    fn finish(mut self) -> RelayCounts {
        self.is_honest = true;
        let until = self.scene.world.now().plus(LIMIT);
        while self.scene.world.now() < until {
            self.scene.run_for(Duration::from_millis(500));
            self.run_upstream();
            self.run_readers();
        }
        for reader in &self.readers {
            let answered = reader.blocks.len() + reader.missing;
            assert!(
                reader.raw.has_seen_end || answered == reader.requested.len(),
                "{answered} of {:?} are answered",
                reader.requested
            );
        }
        let stats = self.scene.stats();
        assert_eq!(stats.passing_blocks, 0);
        stats.counts
    }
}

impl Reader {
    /// Checks the messages that have arrived whole, and the beginning of the one that arrives.
    fn take_messages(&mut self, blocks: &[Mined]) {
        while self.received.len() >= 24 {
            let len_bytes = u32::from_le_bytes(self.received[16..20].try_into().unwrap()) as usize;
            if self.received.len() < 24 + len_bytes {
                return;
            }
            let message: Vec<u8> = self.received.drain(..24 + len_bytes).collect();
            let whole = |block: &&usize| frame("block", &blocks[**block].payload) == message;
            match &message[4..9] {
                b"block" => {
                    let block =
                        *self.requested.iter().find(whole).expect("a whole block is not one of those requested");
                    assert!(!self.blocks.contains(&block), "a block was sent twice");
                    self.blocks.push(block);
                }
                b"notfo" => self.missing += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn every_request_for_a_block_is_answered_with_the_right_bytes_or_a_close() {
    let seeds = if std::env::var_os("PEERLOOP_LONG").is_some() { 1_000 } else { 60 };
    let mut seen = [0; 6];
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        (0..STEPS).for_each(|_| run.step());
        let counts = run.finish();
        let cut = counts.block_readers_cut;
        let of_run = [
            counts.blocks_served,
            counts.blocks_relayed,
            counts.blocks_wrong,
            counts.block_fail_overs,
            cut,
            counts.blocks_refused,
        ];
        seen.iter_mut().zip(of_run).for_each(|(seen, of_run)| *seen += of_run);
    }
    println!("served, relayed, wrong, fail-overs, cut, refused: {seen:?}");
    assert!(seen[..5].iter().all(|&count| count >= seeds / 3), "the runs show too little: {seen:?}");
}
