//! The budgets of old blocks: a host causes no more fetches than it may, however often it connects.

use super::blocks::scene;
use super::*;
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::{Network, rand};
use peerloop_testkit::simulated::blocks::{Mined, chain, get_block, headers};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The bytes that must remain of a budget before a block of unknown length is requested.
const RESERVE: u64 = 32 << 20;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Returns a scene whose upstream has these blocks, and whose relay has these settings.
fn scene_with(blocks: &[Mined], config: Config, change: impl FnOnce(RelayConfig) -> RelayConfig) -> Scene {
    let mut scene = Scene::with(change, config.with_ping_interval(Duration::ZERO), Conditions::default());
    for part in blocks.chunks(100) {
        scene.upstream.send(SUBMITTING, &frame("headers", &headers(part)));
        scene.settle();
    }
    assert_eq!(scene.stats().tip_height, Some(blocks.len() as u32));
    scene.heard(SUBMITTING);
    scene
}

/// Sends the blocks that the relay has requested from its upstream, and returns the number of bytes.
fn serve(scene: &mut Scene, blocks: &[Mined]) -> u64 {
    let mut sent_bytes = 0;
    for link in [SUBMITTING, LISTENING] {
        for hash in hashes(&scene.heard(link), "getdata") {
            let block = blocks.iter().find(|block| block.hash() == hash).expect("a block of the chain is requested");
            scene.upstream.send(link, &frame("block", &block.payload));
            scene.settle();
            sent_bytes += block.payload.len() as u64;
        }
    }
    sent_bytes
}

fn commands(messages: &[(String, Vec<u8>)]) -> Vec<&str> {
    messages.iter().map(|(command, _)| command.as_str()).collect()
}

/// Requests a block, and returns the commands of the answer.
fn request(scene: &mut Scene, leaf: &mut RawPeer, blocks: &[Mined], at: usize) -> (Vec<String>, u64) {
    leaf.send(&get_block(blocks[at].hash()));
    scene.settle();
    let fetched_bytes = serve(scene, blocks);
    (scene.received(leaf).into_iter().map(|(command, _)| command).collect(), fetched_bytes)
}

#[test]
fn a_flood_of_getdata_for_10_000_old_blocks_fetches_no_more_than_its_budget() {
    const BUDGET: u64 = RESERVE + 40_000;
    let blocks = chain(&[250; 10_010]);
    let mut scene = scene_with(&blocks, config(), |settings| {
        settings.with_old_block_bytes_per_host(BUDGET).with_small_blocks_bytes(0)
    });
    let mut flooder = scene.leaf();
    let mut items = [&[0xfd][..], &10_000_u16.to_le_bytes()].concat();
    blocks[..10_000].iter().for_each(|block| items.extend([&[2, 0, 0, 0][..], block.hash().as_bytes()].concat()));
    let mut rest = frame("getdata", &items);
    let (mut fetched_bytes, mut answers) = (0, Vec::new());
    while !flooder.has_seen_end {
        if !rest.is_empty()
            && let Ok(written) = flooder.net.write(LinkId::from_u64(0), &rest)
        {
            rest.drain(..written);
        }
        scene.settle();
        fetched_bytes += serve(&mut scene, &blocks);
        answers.extend(scene.drain(&mut flooder));
        scene.run_for(Duration::from_millis(100));
    }
    let answers = frames(&answers);
    let served = answers.len() - 1;
    let expected: Vec<_> = blocks[..served].iter().map(|block| message("block", &block.payload)).collect();
    assert!(answers[..served] == expected, "the blocks were not answered in order");
    assert_eq!(answers[served].0, "reject");
    let len_bytes = blocks[0].payload.len() as u64;
    assert_eq!(fetched_bytes, served as u64 * len_bytes);
    assert_eq!(served as u64, 40_000 / len_bytes + 1, "the last block begins while the reserve is left");
    assert!(fetched_bytes <= BUDGET);
    let counts = scene.counts();
    assert_eq!((counts.blocks_over_budget, counts.old_block_bytes), (1, fetched_bytes));
    // A new connection of the host renews nothing, and another host has a budget of its own.
    scene.reconnect(&mut flooder);
    assert_eq!(request(&mut scene, &mut flooder, &blocks, 0), (vec!["reject".to_owned()], 0));
    let mut other = scene.leaf();
    assert_eq!(request(&mut scene, &mut other, &blocks, 0), (vec!["block".to_owned()], len_bytes));
    scene.run_for(DAY);
    scene.reconnect(&mut flooder);
    assert_eq!(request(&mut scene, &mut flooder, &blocks, 0), (vec!["block".to_owned()], len_bytes));
}

#[test]
fn a_host_that_requests_and_closes_pays_for_each_fetch() {
    let mut rng = StdRng::seed_from_u64(1);
    let blocks = chain(&[6_000; 40]);
    let budget = RESERVE + 60_000;
    for keeps in [0, 1 << 20] {
        let mut scene = scene_with(&blocks, config(), |settings| {
            settings.with_old_block_bytes_per_host(budget).with_small_blocks_bytes(keeps)
        });
        let (mut leaf, mut fetched_bytes) = (scene.leaf(), 0);
        for at in 0..30 {
            leaf.send(&get_block(blocks[at].hash()));
            scene.settle();
            // The peer closes before the block arrives, in the middle, or after it.
            match rng.random_range(0..3) {
                0 => leaf.close(),
                1 => _ = scene.drain(&mut leaf),
                _ => {}
            }
            scene.settle();
            fetched_bytes += serve(&mut scene, &blocks);
            scene.reconnect(&mut leaf);
        }
        let counts = scene.counts();
        assert_eq!(fetched_bytes, counts.old_block_bytes);
        let (len_bytes, fetched) = (blocks[0].payload.len() as u64, 60_000 / blocks[0].payload.len() as u64 + 1);
        assert_eq!(fetched_bytes, fetched * len_bytes, "blocks of {len_bytes} bytes");
        assert_eq!((counts.blocks_refused, counts.blocks_over_budget), (30 - fetched, 30 - fetched));
        assert_eq!(scene.stats().passing_blocks, 0);
    }
}

#[test]
fn a_block_beyond_the_budget_is_refused_and_its_transfer_ends() {
    let blocks = chain(&[1_000; 8]);
    let budget = RESERVE + 1_000_000;
    let header_of = |payload_len: u64| {
        let mut begin = frame("block", &blocks[0].payload)[..24 + 80].to_vec();
        begin[16..20].copy_from_slice(&(payload_len as u32).to_le_bytes());
        begin
    };
    // The second reader has another host, whose budget is as small.
    for closes in [false, true] {
        let mut scene = scene_with(&blocks, config(), |settings| settings.with_old_block_bytes_per_host(budget));
        let mut leaves = [scene.leaf(), scene.leaf()];
        for leaf in &mut leaves {
            leaf.send(&get_block(blocks[0].hash()));
            scene.settle();
        }
        if closes {
            leaves.iter_mut().for_each(RawPeer::close);
            scene.settle();
        }
        assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[0].hash()]);
        scene.upstream.send(SUBMITTING, &header_of(budget + 1));
        scene.settle();
        if !closes {
            for leaf in &mut leaves {
                assert_eq!(commands(&scene.received(leaf)), ["reject"]);
            }
        }
        scene.run_for(Duration::from_millis(1));
        assert_eq!((scene.stats().upstream_links, scene.stats().passing_blocks), (1, 0));
        let counts = scene.counts();
        let refused = if closes { 0 } else { 2 };
        assert_eq!((counts.blocks_over_budget, counts.old_block_bytes), (refused, budget + 1));
        // The budget of the first host has ended, and the second one's is unused.
        for (leaf, expected) in leaves.iter_mut().zip(["reject", "block"]) {
            scene.reconnect(leaf);
            assert_eq!(request(&mut scene, leaf, &blocks, 1).0, [expected]);
        }
    }
}

#[test]
fn a_recent_block_is_free_once_for_each_host() {
    let blocks = chain(&[500; 9]);
    for keeps in [0, 1 << 20] {
        let change = |settings: RelayConfig| settings.with_old_block_bytes_per_host(0).with_small_blocks_bytes(keeps);
        let mut scene = scene_with(&blocks[..8], config(), change);
        let mut leaf = scene.leaf();
        for at in (2..8).rev() {
            assert_eq!(request(&mut scene, &mut leaf, &blocks, at).0, ["block"], "{at}");
        }
        assert_eq!(request(&mut scene, &mut leaf, &blocks, 1).0, ["reject"]);
        scene.reconnect(&mut leaf);
        assert_eq!(request(&mut scene, &mut leaf, &blocks, 7).0, ["reject"]);
        scene.reconnect(&mut leaf);
        scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[8..])));
        scene.received(&mut leaf);
        assert_eq!(request(&mut scene, &mut leaf, &blocks, 8).0, ["block"]);
        assert_eq!(scene.counts().old_block_bytes, 0);
    }
}

#[test]
fn upstreams_and_trusted_networks_have_no_budget() {
    let blocks = chain(&[500; 9]);
    let manager = ManagerConfig::new(Network::Regtest)
        .with_mode(DialMode::Fixed(Vec::new()))
        .with_trusted(vec![([0, 0, 0, 0].into(), 0)]);
    let mut scene =
        scene_with(&blocks, config().with_manager(manager), |settings| settings.with_old_block_bytes_per_host(0));
    let mut trusted = scene.leaf();
    assert_eq!(request(&mut scene, &mut trusted, &blocks, 0).0, ["block"]);
    let mut scene = scene_with(&blocks, config(), |settings| settings.with_old_block_bytes_per_host(0));
    // The relay fetches the block from no link of the upstream that requests it.
    scene.ask_upstream(LISTENING, &get_block(blocks[0].hash()));
    assert_eq!(scene.counts().blocks_over_budget, 0);
}

#[test]
fn a_fetch_whose_length_stays_unknown_costs_the_reserve() {
    let blocks = chain(&[500; 9]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    leaf.send(&get_block(blocks[0].hash()));
    scene.settle();
    leaf.close();
    scene.run_for(Duration::from_secs(5));
    assert_eq!((scene.stats().passing_blocks, scene.counts().old_block_bytes), (1, 0));
    scene.run_for(Duration::from_secs(7));
    assert_eq!((scene.stats().passing_blocks, scene.counts().old_block_bytes), (0, RESERVE));
}
