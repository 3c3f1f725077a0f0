//! Readers that may hold the source of a block: few, listed, and only while they read fast enough.

use super::*;
use peerloop_testkit::simulated::blocks::{Mined, chain, get_block, headers, offer};

/// Returns a scene whose upstream has this block, whose links hold 8 KiB, and whose relay keeps no block. All its peers
/// are listed as tethered if `is_tethered` is set. This many of them have requested the block.
fn scene<const READERS: usize>(block: &[Mined], is_tethered: bool) -> (Scene, [RawPeer; READERS]) {
    let conditions = Conditions { capacity_bytes: 8_192, ..Conditions::default() };
    let everybody = if is_tethered { vec![([0, 0, 0, 0].into(), 0)] } else { Vec::new() };
    let change = |settings: RelayConfig| settings.with_small_blocks_bytes(0).with_tethered(everybody);
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), conditions);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(block)));
    scene.settle();
    let readers = std::array::from_fn(|_| {
        let mut reader = scene.leaf();
        reader.send(&get_block(block[0].hash()));
        scene.settle();
        reader
    });
    (scene, readers)
}

/// Passes a block in steps of 4 ms, and returns the time. After each step, `read` lets the peers read.
fn pass(scene: &mut Scene, block: &Mined, mut read: impl FnMut(&mut Scene)) -> Duration {
    let (begin, mut rest) = (scene.world.now(), frame("block", &block.payload));
    while !rest.is_empty() {
        let mut before = 0;
        while before != rest.len() {
            before = rest.len();
            offer(scene, &mut rest);
            read(scene);
        }
        let bytes = scene.stats().passing_block_bytes;
        assert!(bytes <= (4 << 20) + 65_536, "{bytes} bytes are retained");
        scene.run_for(Duration::from_millis(4));
    }
    scene.world.now().since(begin)
}

#[test]
fn a_tethered_reader_holds_the_source_while_it_reads_fast_enough() {
    let block = chain(&[24_000_000]);
    let (mut scene, [mut fast, mut slow]) = scene::<2>(&block, true);
    let (mut received, mut slowly, mut last) = (Vec::new(), Vec::new(), Instant::ZERO);
    let time = pass(&mut scene, &block[0], |scene| {
        received.extend(scene.drain(&mut fast));
        // The slow one reads 8 KiB per step: 2 MB/s.
        if scene.world.now() > last {
            last = scene.world.now();
            slowly.extend(slow.receive());
        }
    });
    received.extend(scene.drain(&mut fast));
    slowly.extend(scene.drain(&mut slow));
    let whole = frame("block", &block[0].payload);
    assert!(received == whole && slowly == whole, "{} and {} bytes", received.len(), slowly.len());
    assert!((8..13).contains(&time.as_secs()), "the block has passed in {time:?}");
    assert_eq!((scene.counts().block_readers_cut, scene.counts().blocks_served), (0, 2));
}

#[test]
fn a_tethered_reader_that_stops_is_closed_after_five_seconds() {
    let block = chain(&[12_000_000]);
    let (mut scene, [mut fast, _stuck]) = scene::<2>(&block, true);
    let mut received = Vec::new();
    let time = pass(&mut scene, &block[0], |scene| received.extend(scene.drain(&mut fast)));
    received.extend(scene.drain(&mut fast));
    assert!(received == frame("block", &block[0].payload));
    assert!((4_900..5_600).contains(&time.as_millis()), "the block has passed in {time:?}");
    assert_eq!((scene.counts().block_readers_cut, scene.counts().blocks_served), (1, 1));
}

#[test]
fn a_fifth_reader_is_not_tethered() {
    let block = chain(&[12_000_000]);
    let (mut scene, mut readers) = scene::<5>(&block, true);
    let time = pass(&mut scene, &block[0], |scene| {
        readers[..4].iter_mut().for_each(|reader| drop(scene.drain(reader)));
    });
    assert!((200..400).contains(&time.as_millis()), "the block has passed in {time:?}");
    assert_eq!((scene.counts().block_readers_cut, scene.counts().blocks_served), (1, 4));
}

#[test]
fn readers_that_stop_one_after_the_other_hold_the_source_for_one_second() {
    let block = chain(&[48_000_000]);
    let (mut scene, mut readers) = scene::<8>(&block, false);
    let mut received = [0; 8];
    let time = pass(&mut scene, &block[0], |scene| {
        for (at, (reader, received)) in readers.iter_mut().zip(&mut received).enumerate() {
            // Each but the first reads no more after its share of the block.
            if at == 0 || *received < at * 5_500_000 {
                *received += scene.drain(reader).len();
            }
        }
    });
    let (counts, whole) = (scene.counts(), frame("block", &block[0].payload).len());
    received[0] += scene.drain(&mut readers[0]).len();
    assert_eq!((received[0], counts.block_readers_cut, scene.counts().blocks_served), (whole, 7, 1));
    assert!((950..1_400).contains(&time.as_millis()), "the block has passed in {time:?}");
}
