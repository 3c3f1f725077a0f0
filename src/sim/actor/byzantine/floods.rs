//! Floods: every 10 ms, either a message with 1,000 items or at least 100 messages. The loop must keep the peer.

use super::attack::{Attack, Next, Scene, millis};

const STEPS: u32 = 20;

/// This module's attacks.
pub const ATTACKS: &[Attack] = &[
    Attack::new("P10", "a flood of inventories", |scene| flood(scene, "inv", 1_000, 36)),
    Attack::new("P11", "a flood of requests for random items", |scene| flood(scene, "getdata", 1_000, 36)),
    Attack::new("P11", "a flood of requests for headers, blocks, addresses and the mempool", requests),
    Attack::new("P12", "a flood of addresses", |scene| flood(scene, "addr", 1_000, 30)),
    Attack::new("P13", "a flood of pings", pings),
    Attack::new("P30", "a flood of unprintable rejects", rejects),
];

fn next(scene: &Scene<'_, '_>) -> Next {
    if scene.step < STEPS { Next::Wait(millis(10)) } else { Next::Prove }
}

/// Sends a list of `count` items of random bytes.
fn flood(scene: &mut Scene<'_, '_>, command: &str, count: u16, item_len_bytes: usize) -> Next {
    let [low, high] = count.to_le_bytes();
    let mut payload = vec![0xfd, low, high];
    payload.resize(3 + usize::from(count) * item_len_bytes, 0);
    scene.line.chance().fill(&mut payload[3..]);
    scene.send_frame(command, &payload);
    next(scene)
}

fn requests(scene: &mut Scene<'_, '_>) -> Next {
    let mut locator = vec![0; 69];
    locator[4] = 1;
    for _ in 0..100 {
        scene.send_frame("getheaders", &locator);
        scene.send_frame("getblocks", &locator);
        scene.send_frame("getaddr", &[]);
        scene.send_frame("mempool", &[]);
    }
    next(scene)
}

fn pings(scene: &mut Scene<'_, '_>) -> Next {
    for nonce in 0..1_000 {
        scene.send_ping(nonce);
    }
    next(scene)
}

fn rejects(scene: &mut Scene<'_, '_>) -> Next {
    for _ in 0..100 {
        scene.send_frame("reject", b"\x04ping\x01\x08\x1b[31m\n\0\xff");
    }
    next(scene)
}
