//! Two upstreams that send the newest block at the same time: the bytes of the one that is ahead pass.

use super::blocks::{requesting, scene_with};
use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{RngExt, SeedableRng};
use peerloop_testkit::simulated::blocks::{Mined, chain, headers};
use peerloop_testkit::simulated::relay::Upstream;

/// A source of the block: the rest of its message, and its mistakes.
struct Source {
    rest: Vec<u8>,
    sent: usize,
    /// The offset at which it closes.
    dies_at: Option<usize>,
    lies: bool,
}

impl Source {
    fn honest(block: &Mined) -> Self {
        Self { rest: frame("block", &block.payload), sent: 0, dies_at: None, lies: false }
    }

    /// Sends bytes on a link of an upstream, as many as the relay reads.
    fn send(&mut self, upstream: &mut Upstream, link: u64, len_bytes: usize) {
        let until_death = self.dies_at.map_or(usize::MAX, |at| at - self.sent);
        let len_bytes = len_bytes.min(self.rest.len()).min(until_death);
        if let Ok(written) = upstream.net.write(LinkId::from_u64(link), &self.rest[..len_bytes]) {
            self.rest.drain(..written);
            self.sent += written;
        }
    }

    /// Closes the link at the drawn offset.
    fn die(&mut self, upstream: &mut Upstream, link: u64) {
        if self.dies_at == Some(self.sent) {
            upstream.close(link);
            self.rest.clear();
        }
    }
}

/// Returns a scene with two upstreams, of which only the first one has announced these blocks.
fn racing(blocks: &[Mined], conditions: Conditions) -> (Scene, Upstream) {
    let one_link = |settings: RelayConfig| settings.with_trust(TrustMode::Trusted).with_race(true);
    let mut scene = scene_with(blocks, conditions, one_link);
    let second = scene.second_upstream();
    scene.heard(SUBMITTING);
    (scene, second)
}

fn asked(scene: &mut Scene, second: &mut Upstream) -> [Vec<Hash256>; 2] {
    [hashes(&scene.heard(SUBMITTING), "getdata"), hashes(&frames(&second.receive(0)), "getdata")]
}

#[test]
fn the_tip_is_requested_from_a_second_upstream_once_that_has_it() {
    let blocks = chain(&[5_000, 6_000]);
    let (mut scene, mut second) = racing(&blocks, Conditions::default());
    let [mut leaf] = requesting(&mut scene, [&blocks[1]]);
    assert_eq!(asked(&mut scene, &mut second), [vec![blocks[1].hash()], vec![]]);
    second.send(0, &frame("headers", &headers(&blocks)));
    scene.settle();
    assert_eq!(asked(&mut scene, &mut second), [vec![], vec![blocks[1].hash()]]);
    assert_eq!(scene.counts().blocks_raced, 1);
    // The second one is faster. The first one's bytes are ignored afterwards.
    second.send(0, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[1].payload)]);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[1].payload));
    scene.settle();
    // Another block is no race, because it is old.
    let [mut old] = requesting(&mut scene, [&blocks[0]]);
    let [first, other] = asked(&mut scene, &mut second);
    assert_eq!([first.clone(), other].concat(), [blocks[0].hash()]);
    if first.is_empty() {
        second.send(0, &frame("block", &blocks[0].payload));
    } else {
        scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
    }
    assert_eq!(scene.received(&mut old), [message("block", &blocks[0].payload)]);
    let counts = scene.counts();
    assert_eq!((counts.blocks_raced, counts.blocks_wrong, counts.block_fail_overs), (1, 0, 0));
}

#[test]
fn a_source_that_is_as_fast_continues_without_a_gap() {
    let blocks = chain(&[40_000]);
    let (mut scene, mut second) = racing(&blocks, Conditions::default());
    second.send(0, &frame("headers", &headers(&blocks)));
    let [mut leaf] = requesting(&mut scene, [&blocks[0]]);
    let whole = frame("block", &blocks[0].payload);
    let mut received = Vec::new();
    for part in whole[..16_000].chunks(8_000) {
        scene.upstream.send(SUBMITTING, part);
        received.extend(scene.drain(&mut leaf));
        second.send(0, part);
        received.extend(scene.drain(&mut leaf));
    }
    scene.upstream.close(SUBMITTING);
    for part in whole[16_000..].chunks(8_000) {
        scene.run_for(Duration::from_millis(1));
        second.send(0, part);
        received.extend(scene.drain(&mut leaf));
    }
    assert!(received == whole, "{} bytes", received.len());
    let [block] = scene.relay.handler().policy().blocks[..] else { panic!("the block is reported once") };
    assert_eq!((block.is_complete, block.sources, block.fail_overs), (true, 2, 1));
    assert_eq!(block.longest_gap, Some(Duration::from_millis(1)));
}

/// Passes a block from two drawn sources, and returns the scene, the reader's bytes, and whether a source has lied.
fn race(rng: &mut StdRng, block: &Mined, mistakes: u32) -> (Scene, Vec<u8>, [Source; 2]) {
    // With room for the whole block, each step shows all bytes that pass.
    let capacity_bytes = if mistakes < 2 { 1 << 17 } else { 1 << rng.random_range(12..17) };
    let conditions = Conditions { capacity_bytes, ..Conditions::default() };
    let (mut scene, mut second) = racing(std::slice::from_ref(block), conditions);
    second.send(0, &frame("headers", &headers(std::slice::from_ref(block))));
    let [mut leaf] = requesting(&mut scene, [block]);
    let mut sources = [Source::honest(block), Source::honest(block)];
    let len_bytes = 24 + block.payload.len();
    for source in &mut sources {
        match rng.random_range(0..4_u32) {
            0 if mistakes > 0 => source.dies_at = Some(rng.random_range(1..len_bytes)),
            1 if mistakes > 1 => {
                // The block's header is right.
                source.rest[rng.random_range(104..len_bytes)] ^= 1;
                source.lies = true;
            }
            _ => {}
        }
    }
    let (mut received, mut rounds) = (Vec::new(), 0);
    while sources.iter().any(|source| !source.rest.is_empty()) && rounds < 10_000 {
        rounds += 1;
        let len_bytes = rng.random_range(1..9_000);
        if rng.random() {
            sources[0].send(&mut scene.upstream, SUBMITTING, len_bytes);
        } else {
            sources[1].send(&mut second, 0, len_bytes);
        }
        received.extend(scene.drain(&mut leaf));
        let ahead = sources.iter().map(|source| source.sent).max().unwrap_or(0);
        if mistakes < 2 && ahead > 104 && ahead < 24 + block.payload.len() && received.len() != ahead {
            panic!("{} of {ahead} bytes have passed", received.len());
        }
        sources[0].die(&mut scene.upstream, SUBMITTING);
        sources[1].die(&mut second, 0);
    }
    scene.run_for(Duration::from_secs(1));
    received.extend(scene.drain(&mut leaf));
    (scene, received, sources)
}

#[test]
fn the_bytes_of_the_source_that_is_ahead_pass_and_a_lost_one_is_replaced() {
    let mut fail_overs = 0;
    for seed in 0..150 {
        let mut rng = StdRng::seed_from_u64(seed);
        let block = chain(&[rng.random_range(200..60_000)]).remove(0);
        let (scene, received, sources) = race(&mut rng, &block, 1);
        let whole = frame("block", &block.payload);
        if sources.iter().any(|source| source.sent == whole.len()) {
            assert!(received == whole, "seed {seed}: {} of {} bytes", received.len(), whole.len());
        }
        assert_eq!((scene.counts().blocks_raced, scene.counts().blocks_wrong), (1, 0), "seed {seed}");
        fail_overs += scene.counts().block_fail_overs;
    }
    assert!(fail_overs > 30, "{fail_overs}");
}

#[test]
fn a_source_that_lies_never_completes_a_wrong_block() {
    let (mut wrong, mut right) = (0, 0);
    for seed in 0..150 {
        let mut rng = StdRng::seed_from_u64(seed);
        let block = chain(&[rng.random_range(300..30_000)]).remove(0);
        let (scene, received, sources) = race(&mut rng, &block, 2);
        let whole = frame("block", &block.payload);
        assert!(received.len() < whole.len() || received == whole, "seed {seed}: a wrong block is complete");
        let is_sent = |source: &Source| !source.lies && source.sent == whole.len();
        if sources.iter().all(|source| !source.lies) && sources.iter().any(is_sent) {
            assert!(received == whole, "seed {seed}");
        }
        wrong += u64::from(scene.counts().blocks_wrong > 0);
        right += u64::from(received == whole);
    }
    assert!(wrong > 30 && right > 30, "{wrong} and {right}");
}
