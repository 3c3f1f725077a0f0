//! A relay among random leaf peers, with an upstream that accepts, rejects, stalls and forgets at random. After each
//! step the following holds: no leaf receives a transaction that the upstream has not announced, none twice, and every
//! requested item is answered. At the end, every leaf that stayed has received every accepted transaction.

use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{RngExt, SeedableRng};
use peerloop::relay::{RelayStats, RequestCounts};
use std::collections::{BTreeMap, BTreeSet};

/// The number of different transactions.
const TRANSACTIONS: u32 = 30;
const STEPS: usize = 150;

struct Leaf {
    raw: RawPeer,
    /// The transactions that it has announced or sent, which it may have to serve.
    own: BTreeSet<u32>,
    received: BTreeSet<u32>,
    /// The number of accepted transactions when it connected.
    since: usize,
}

struct Run {
    scene: Scene,
    rng: StdRng,
    leaves: Vec<Leaf>,
    numbers: BTreeMap<Hash256, u32>,
    /// The transactions that the upstream has announced, in order.
    announced: Vec<u32>,
    rejected: BTreeSet<u32>,
    /// The transactions that the upstream has.
    pool: BTreeSet<u32>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let change = |config: RelayConfig| config.with_max_entries(1_000);
        let numbers = (0..TRANSACTIONS).map(|number| (Hash256::of(&transaction(number)), number)).collect();
        let (leaves, announced) = (Vec::new(), Vec::new());
        let config = config().with_seed(Some(seed)).with_ping_interval(Duration::ZERO);
        let scene = Scene::with(change, config, Conditions::default());
        let (rng, pool, rejected) = (StdRng::seed_from_u64(seed), BTreeSet::new(), BTreeSet::new());
        Self { scene, rng, leaves, numbers, announced, rejected, pool }
    }

    fn step(&mut self) {
        let number = self.rng.random_range(0..TRANSACTIONS);
        let (body, at) = (transaction(number), self.rng.random_range(0..self.leaves.len().max(1)));
        match self.rng.random_range(0..12) {
            0 | 1 if self.leaves.len() < 6 => {
                let raw = self.scene.leaf();
                let (own, received, since) = (BTreeSet::new(), BTreeSet::new(), self.announced.len());
                self.leaves.push(Leaf { raw, own, received, since });
            }
            2 if self.leaves.len() > 2 => {
                self.leaves.remove(at).raw.close();
            }
            3..=5 if !self.leaves.is_empty() => {
                self.leaves[at].own.insert(number);
                let push = self.rng.random_range(0..2) == 0;
                self.leaves[at].raw.send(&if push { tx(&body) } else { inv(&[&body]) });
            }
            6 if !self.leaves.is_empty() => self.leaves[at].raw.send(&getdata(&[&body, &transaction(number / 2)])),
            7 | 8 => self.announce_by_upstream(number),
            9 => {
                self.scene
                    .upstream
                    .send(SUBMITTING, &frame("inv", &[&[1, 2, 0, 0, 0][..], &[number as u8; 32]].concat()));
                // After a block, rejected transactions may be submitted again.
                self.rejected.clear();
            }
            _ => self.scene.run_for(Duration::from_millis(self.rng.random_range(0..400))),
        }
    }

    fn announce_by_upstream(&mut self, number: u32) {
        self.rejected.remove(&number);
        self.pool.insert(number);
        self.scene.upstream.send(LISTENING, &inv(&[&transaction(number)]));
        if !self.announced.contains(&number) {
            self.announced.push(number);
        }
    }

    /// Answers the relay's messages until it has no more.
    fn settle(&mut self, is_fair: bool) {
        loop {
            let mut was_quiet = true;
            for link in [SUBMITTING, LISTENING] {
                let messages = self.scene.heard(link);
                was_quiet &= messages.is_empty();
                for (command, payload) in messages {
                    self.answer_as_upstream(link, &command, &payload, is_fair);
                }
            }
            for at in 0..self.leaves.len() {
                let messages = self.scene.received(&mut self.leaves[at].raw);
                was_quiet &= messages.is_empty();
                for message in messages {
                    self.answer_as_leaf(at, message, is_fair);
                }
            }
            if was_quiet {
                return;
            }
        }
    }

    fn answer_as_upstream(&mut self, link: u64, command: &str, payload: &[u8], is_fair: bool) {
        let named: Vec<u32> = self.named(command, payload);
        match command {
            "getdata" => {
                for number in named {
                    match self.rng.random_range(0..4) {
                        0 if !is_fair => {}
                        1 if !is_fair => {
                            self.scene.upstream.send(link, &frame("notfound", &items(&[&transaction(number)])))
                        }
                        _ if self.pool.contains(&number) => self.scene.upstream.send(link, &tx(&transaction(number))),
                        _ => panic!("the upstream never announced {number}"),
                    }
                }
            }
            "inv" => {
                assert_eq!(link, SUBMITTING, "the relay announces on the listening link");
                let wanted: Vec<Vec<u8>> = named.iter().map(|&number| transaction(number)).collect();
                let wanted: Vec<&[u8]> = wanted.iter().map(|body| &body[..]).collect();
                self.scene.upstream.send(link, &getdata(&wanted));
            }
            "tx" => {
                let number = self.numbers[&Hash256::of(payload)];
                match self.rng.random_range(0..3) {
                    0 if !self.pool.contains(&number) => {
                        self.rejected.insert(number);
                        self.scene.upstream.send(link, &reject(payload, 0x40));
                    }
                    1 if !self.pool.contains(&number) => {}
                    _ => self.announce_by_upstream(number),
                }
            }
            "notfound" | "ping" | "getheaders" => {}
            other => panic!("unexpected {other}"),
        }
    }

    fn answer_as_leaf(&mut self, at: usize, (command, payload): (String, Vec<u8>), is_fair: bool) {
        let named: Vec<u32> = self.named(&command, &payload);
        let leaf = &mut self.leaves[at];
        match &command[..] {
            "inv" => {
                for number in named {
                    assert!(self.announced.contains(&number), "{number} was not announced by the upstream");
                    assert!(leaf.received.insert(number), "{number} was announced twice");
                }
            }
            "getdata" => {
                for number in named {
                    match self.rng.random_range(0..3) {
                        0 if !is_fair => {}
                        1 if !is_fair => leaf.raw.send(&frame("notfound", &items(&[&transaction(number)]))),
                        _ => leaf.raw.send(&tx(&transaction(number))),
                    }
                }
            }
            "tx" => assert!(self.announced.contains(&self.numbers[&Hash256::of(&payload)])),
            "notfound" | "ping" => {}
            other => panic!("unexpected {other}"),
        }
    }

    fn named(&self, command: &str, payload: &[u8]) -> Vec<u32> {
        match command {
            "inv" | "getdata" => {
                hashes(&[message(command, payload)], command).iter().map(|hash| self.numbers[hash]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Lets the relay fetch everything that is open, and checks the final state.
    fn finish(mut self) -> RelayStats {
        for _ in 0..30 {
            self.scene.run_for(Duration::from_secs(5));
            self.settle(true);
        }
        // Announcements whose sources have all failed are repeated by a node that reconnects.
        for number in self.announced.clone() {
            self.scene.upstream.send(LISTENING, &inv(&[&transaction(number)]));
        }
        self.settle(true);
        let counts = self.scene.counts();
        assert_eq!(counts.announcements_lost, 0);
        assert_eq!(counts.accepted, self.announced.len() as u64, "an announced transaction was not accepted");
        for leaf in &self.leaves {
            let later = self.announced[leaf.since..].iter();
            let missed: Vec<&u32> =
                later.filter(|number| !leaf.received.contains(number) && !leaf.own.contains(number)).collect();
            assert_eq!(missed, [] as [&u32; 0]);
        }
        let stats = self.scene.stats();
        assert_eq!(stats.in_flight, 0);
        stats
    }
}

#[test]
fn nothing_is_lost_repeated_or_leaked_in_random_runs() {
    let mut seen = [0; 7];
    for seed in 0..60 {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            run.settle(false);
        }
        let RelayStats { counts, requests, .. } = run.finish();
        let RequestCounts { hedged, moved, repeated, failed, .. } = requests;
        let of_run = [counts.seen_back, counts.rejected, counts.not_found, hedged, moved, repeated, failed];
        seen.iter_mut().zip(of_run).for_each(|(seen, of_run)| *seen += of_run);
    }
    println!("seen back, rejected, not found, hedged, moved, repeated, failed: {seen:?}");
    assert!(seen.iter().all(|&count| count >= 20), "the runs show too little: {seen:?}");
}
