//! Blocks and compact blocks through a relay whose upstream is lost, stalls, lies and lacks blocks at random, for
//! readers of every speed. No reader ever has a whole block that is wrong, or transactions that are not those of the
//! block. At the end every request is answered, or its link is closed, no block is passing, and every compact block is
//! reported.

mod readers;
mod upstream;

use super::blocks::scene_with;
use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{RngExt, SeedableRng};
use peerloop::relay::{BlockForm, BlockRelayed, RelayStats};
use peerloop::wire::{Tx, TxRef};
use peerloop_testkit::simulated::blocks::{Mined, chain, mine_with};
use readers::Reader;
use std::collections::BTreeMap;
use upstream::Link;

const STEPS: usize = 150;
/// The longest time until every request is answered: the wait for other blocks, and the silence of each source.
const LIMIT: Duration = Duration::from_secs(240);
/// Maximum number of blocks that pass at a time.
const PASSING_BLOCKS: usize = 2;
/// Maximum number of bytes of the readers' requests that wait.
const PENDING_BYTES: usize = 64 * 1024;
/// Maximum number of blocks that are mined while the relay runs.
const TIPS: u32 = 7;

struct Run {
    scene: Scene,
    rng: StdRng,
    /// All blocks, with those that are not mined yet.
    blocks: Vec<Mined>,
    /// The number of blocks that the upstream has announced.
    mined: usize,
    /// The transactions of each block that may be relayed before it.
    bodies: Vec<Vec<Vec<u8>>>,
    /// The number of blocks whose transactions were relayed.
    relayed: usize,
    links: BTreeMap<u64, Link>,
    readers: Vec<Reader>,
    small_blocks_bytes: usize,
    /// Whether the upstream is honest from now on.
    is_honest: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lens: Vec<usize> = (0..rng.random_range(1..5)).map(|_| rng.random_range(100..40_000)).collect();
        let mut blocks = chain(&lens);
        let mined = blocks.len();
        let mut bodies = vec![Vec::new(); mined];
        for tip in 0..rng.random_range(1..=TIPS) {
            let relayed: Vec<Vec<u8>> =
                (0..rng.random_range(0..9)).map(|number| transaction(100 * tip + number)).collect();
            let first = Tx::from_parts(1, &[], &[], tip);
            let others = relayed.iter().map(|body| TxRef::decode(body).unwrap().into_owned());
            let txs: Vec<Tx> = [first].into_iter().chain(others).collect();
            blocks.push(mine_with(&blocks.last().unwrap().header, &txs));
            bodies.push(relayed);
        }
        let small_blocks_bytes = [0, 100_000, 128 << 20, 128 << 20][rng.random_range(0..4)];
        let conditions = Conditions { capacity_bytes: 1 << rng.random_range(12..17), ..Conditions::default() };
        let change = |settings: RelayConfig| settings.with_small_blocks_bytes(small_blocks_bytes);
        let mut scene = scene_with(&blocks[..mined], conditions, change);
        let links = [SUBMITTING, LISTENING].map(|link| (link, Link::new(&mut scene, link))).into();
        Self {
            scene,
            rng,
            blocks,
            mined,
            bodies,
            relayed: mined,
            links,
            readers: Vec::new(),
            small_blocks_bytes,
            is_honest: false,
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..16) {
            0 | 1 if self.readers.len() < 5 => {
                let reader = Reader::new(&mut self.scene, &mut self.rng);
                self.readers.push(reader);
                let at = self.readers.len() - 1;
                (0..2).for_each(|_| self.request(at));
            }
            2 if self.readers.len() > 2 => {
                let at = self.rng.random_range(0..self.readers.len());
                self.readers.remove(at).close();
            }
            3 | 6 if !self.readers.is_empty() => {
                let at = self.rng.random_range(0..self.readers.len());
                self.request(at);
            }
            4 | 5 if self.mined < self.blocks.len() => self.mine(),
            _ => {
                let pause = if self.rng.random_range(0..20) == 0 { 12_000 } else { self.rng.random_range(0..300) };
                self.scene.run_for(Duration::from_millis(pause));
            }
        }
        self.run_upstream();
        self.run_readers();
    }

    /// Lets a reader request one of the announced blocks.
    fn request(&mut self, reader: usize) {
        let block = self.rng.random_range(0..self.mined);
        self.readers[reader].request(block, &self.blocks[block]);
    }

    fn run_readers(&mut self) {
        for reader in &mut self.readers {
            if self.is_honest || self.rng.random_range(0..reader.pace) == 0 {
                reader.read(&mut self.scene, &self.blocks, &mut self.rng);
            }
        }
    }

    fn check_bounds(&self) -> RelayStats {
        let stats = self.scene.stats();
        assert!(stats.kept_block_bytes <= self.small_blocks_bytes);
        assert!(stats.passing_blocks <= PASSING_BLOCKS && stats.pending_bytes <= PENDING_BYTES);
        stats
    }

    /// Waits until all requests are answered, and returns the counts of the run.
    fn finish(mut self) -> [u64; FIGURES.len()] {
        self.is_honest = true;
        let until = self.scene.world.now().plus(LIMIT);
        while self.scene.world.now() < until {
            self.scene.run_for(Duration::from_millis(500));
            self.run_upstream();
            self.run_readers();
        }
        self.readers.iter().for_each(Reader::check_end);
        let stats = self.check_bounds();
        assert_eq!((stats.passing_blocks, stats.pending_bytes, stats.in_flight), (0, 0, 0));
        let counts = stats.counts;
        let reports = &self.scene.relay.handler().policy().blocks;
        let (whole, compact): (Vec<&BlockRelayed>, Vec<&BlockRelayed>) =
            reports.iter().partition(|report| report.form == BlockForm::Whole);
        let complete: Vec<&&BlockRelayed> = whole.iter().filter(|report| report.is_complete).collect();
        assert_eq!(
            (complete.len() as u64, compact.len() as u64),
            (counts.blocks_relayed, counts.compact_blocks_received)
        );
        let continued = complete.iter().filter(|report| report.longest_gap.is_some()).count();
        [
            counts.blocks_served,
            counts.blocks_relayed,
            counts.blocks_wrong,
            counts.block_fail_overs,
            continued as u64,
            counts.block_readers_cut,
            compact.len() as u64,
            counts.compact_blocks_sent,
            counts.compact_blocks_rebuilt,
            counts.compact_blocks_completed,
            counts.compact_blocks_wrong,
            counts.blocktxn_served,
            counts.blocktxn_relayed,
            counts.blocks_refused,
        ]
    }
}

/// The figures of a run. The last one may be small.
const FIGURES: [&str; 14] = [
    "served",
    "relayed",
    "wrong",
    "fail-overs",
    "continued in the middle",
    "cut",
    "compact received",
    "compact sent",
    "rebuilt",
    "rebuilt with requested transactions",
    "compact wrong",
    "transactions served",
    "transactions relayed",
    "refused",
];

#[test]
fn every_request_for_a_block_is_answered_with_the_right_bytes_or_a_close() {
    let seeds = if std::env::var_os("PEERLOOP_LONG").is_some() { 1_000 } else { 60 };
    let mut seen = [0; FIGURES.len()];
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            run.check_bounds();
        }
        seen.iter_mut().zip(run.finish()).for_each(|(seen, of_run)| *seen += of_run);
    }
    FIGURES.iter().zip(seen).for_each(|(name, count)| println!("{name}: {count}"));
    let (_, required) = seen.split_last().unwrap();
    assert!(required.iter().all(|&count| count >= seeds / 20), "the runs show too little: {seen:?}");
}
