//! The admission of readers to large blocks: as many as the upload carries at the block's rate.

use super::*;
use peerloop_testkit::simulated::blocks::{Mined, chain, get_block, headers, offer};

/// Just above the length of the largest small block.
const LARGE_BYTES: usize = 34_000_000;
/// The time between two parts of 8,000 bytes: 100 MB/s.
const STEP: Duration = Duration::from_micros(80);
/// The upload carries two readers at that rate, but not three.
const UPLOAD: u64 = 250_000_000;

/// Returns a scene with an upload, and whose upstream has these blocks.
fn scene(blocks: &[Mined], upload: Option<u64>) -> Scene {
    let change = |settings: RelayConfig| settings.with_live_upload(upload);
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), Conditions::default());
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(blocks)));
    scene.settle();
    scene
}

/// Passes a block to readers that read all of it, and lets a further one request it after 2 MB. Returns the bytes of
/// each reader, the further one's last.
fn pass(scene: &mut Scene, block: &Mined, readers: usize) -> Vec<Vec<u8>> {
    let mut readers: Vec<RawPeer> = (0..readers).map(|_| scene.leaf()).collect();
    for reader in &mut readers {
        reader.send(&get_block(block.hash()));
        scene.settle();
    }
    let (mut rest, mut received) = (frame("block", &block.payload), vec![Vec::new(); readers.len() + 1]);
    let late_at = rest.len().saturating_sub(2_000_000);
    while !rest.is_empty() {
        offer(scene, &mut rest);
        if rest.len() < late_at && readers.len() < received.len() {
            let mut late = scene.leaf();
            late.send(&get_block(block.hash()));
            scene.settle();
            readers.push(late);
        }
        scene.run_for(STEP);
        for (reader, received) in readers.iter_mut().zip(&mut received) {
            received.extend(scene.drain(reader));
        }
    }
    scene.run_for(Duration::from_secs(2));
    for (reader, received) in readers.iter_mut().zip(&mut received) {
        received.extend(scene.drain(reader));
    }
    received
}

/// Checks which readers have the whole block. The others have a `reject` of the code 0x44 and nothing else.
fn check(received: &[Vec<u8>], block: &Mined, are_served: &[bool]) {
    let whole = frame("block", &block.payload);
    for (at, (received, &is_served)) in received.iter().zip(are_served).enumerate() {
        if is_served {
            assert!(*received == whole, "reader {at} has {} bytes", received.len());
        } else {
            let [(command, payload)] = &frames(received)[..] else {
                panic!("reader {at} has {} bytes", received.len())
            };
            assert_eq!((command.as_str(), payload[8]), ("reject", 0x44), "reader {at}");
        }
    }
}

#[test]
fn further_readers_than_the_upload_carries_are_refused_while_a_large_block_passes() {
    let blocks = chain(&[LARGE_BYTES, LARGE_BYTES, 1_000_000]);
    let mut scene = scene(&blocks, Some(UPLOAD));
    // No rate is known before the first block, so only the late reader is refused.
    check(&pass(&mut scene, &blocks[0], 3), &blocks[0], &[true, true, true, false]);
    assert_eq!(scene.counts().blocks_refused, 1);
    check(&pass(&mut scene, &blocks[1], 3), &blocks[1], &[true, true, false, false]);
    assert_eq!(scene.counts().blocks_refused, 3);
    // The readers of a small block wait for nobody.
    let readers = pass(&mut scene, &blocks[2], 4);
    check(&readers[..4], &blocks[2], &[true; 4]);
    assert_eq!((scene.counts().blocks_refused, scene.counts().block_readers_cut), (3, 0));
}

#[test]
fn the_first_reader_is_served_by_the_smallest_upload() {
    let blocks = chain(&[LARGE_BYTES, LARGE_BYTES]);
    let mut scene = scene(&blocks, Some(1));
    check(&pass(&mut scene, &blocks[0], 1), &blocks[0], &[true, false]);
    check(&pass(&mut scene, &blocks[1], 2), &blocks[1], &[true, false, false]);
}
