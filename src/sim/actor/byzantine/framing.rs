//! Attacks on framing: garbage instead of a frame, wrong checksums, and headers with forbidden or unusual fields.

use super::super::reference::{extended, frame, nonce_frame};
use super::attack::{Attack, Next, Scene, millis, secs};
use crate::limits::HANDSHAKE_TIMEOUT;
use std::time::Duration;

const MAINNET: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];
const TESTNET: [u8; 4] = [0xf4, 0xe5, 0xf3, 0xf4];

/// Commands, each with a length one byte above its limit.
const OVER_LIMIT: [(&str, u32); 4] =
    [("addr", 2_097_153), ("protoconf", 1_048_577), ("tx", 1_000_000_001), ("no such", 2_097_153)];

/// This module's attacks.
pub const ATTACKS: &[Attack] = &[
    Attack::new("P1", "garbage at once", garbage).at_once().closed_by(&["bad_magic"], Duration::ZERO),
    Attack::new("P1", "garbage after a good frame", late_garbage).closed_by(&["bad_magic"], Duration::ZERO),
    Attack::new("P1", "a magic that is wrong in its last byte", slow_garbage).closed_by(&["bad_magic"], secs(3)),
    Attack::new("P2", "a version for another network", other_network)
        .at_once()
        .closed_by(&["bad_magic"], Duration::ZERO),
    Attack::new("P3", "two hundred wrong checksums", wrong_checksums),
    Attack::new("P3", "a version with a wrong checksum", wrong_version)
        .at_once()
        .closed_by(&["handshake_timeout"], HANDSHAKE_TIMEOUT),
    Attack::new("P3", "invalid and empty command names", wrong_names),
    Attack::new("P4", "a length over the limit", over_limit).closed_by(&["over_limit"], Duration::ZERO),
    Attack::new("P4", "a large message before the handshake", early_giant)
        .at_once()
        .closed_by(&["over_limit"], Duration::ZERO),
    Attack::new("P32", "an extended length over every limit", endless).closed_by(&["over_limit"], Duration::ZERO),
    Attack::new("P32", "an extended message before the handshake", early_extended)
        .at_once()
        .closed_by(&["over_limit"], Duration::ZERO),
    Attack::new("P32", "an extended message inside another", nested),
    Attack::new("P32", "small extended messages with a checksum", small_extended),
    Attack::new("P32", "a handshake of extended messages", extended_handshake).at_once(),
];

fn garbage(scene: &mut Scene<'_, '_>) -> Next {
    let mut bytes = [0; 64];
    scene.line.chance().fill(&mut bytes);
    bytes[0] = !scene.magic()[0];
    scene.send(&bytes);
    Next::Rest
}

fn late_garbage(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_ping(1);
    scene.send(b"garbage");
    Next::Rest
}

fn slow_garbage(scene: &mut Scene<'_, '_>) -> Next {
    let right = scene.magic()[scene.step as usize];
    if scene.step < 3 {
        scene.send(&[right]);
        return Next::Wait(secs(1));
    }
    scene.send(&[!right]);
    Next::Rest
}

fn other_network(scene: &mut Scene<'_, '_>) -> Next {
    let magic = if scene.magic() == MAINNET { TESTNET } else { MAINNET };
    let version = frame(magic, "version", &scene.version());
    scene.send(&version);
    Next::Rest
}

fn wrong_checksums(scene: &mut Scene<'_, '_>) -> Next {
    let mut ping = nonce_frame(scene.magic(), "ping", u64::from(scene.step));
    ping[20] ^= 1;
    scene.send(&ping);
    if scene.step < 199 { Next::Wait(millis(10)) } else { Next::Prove }
}

fn wrong_version(scene: &mut Scene<'_, '_>) -> Next {
    let mut version = frame(scene.magic(), "version", &scene.version());
    version[23] ^= 1;
    scene.send(&version);
    Next::Rest
}

fn wrong_names(scene: &mut Scene<'_, '_>) -> Next {
    for name in [b"ping\0x\0\0\0\0\0\0", b"pi\x1bng\0\0\0\0\0\0\0", &[0xff; 12], &[0; 12]] {
        let mut bytes = frame(scene.magic(), "", &[7; 8]);
        bytes[4..16].copy_from_slice(name);
        scene.send(&bytes);
    }
    Next::Prove
}

fn over_limit(scene: &mut Scene<'_, '_>) -> Next {
    let (command, len_bytes) = *scene.line.chance().pick(&OVER_LIMIT);
    scene.send_header(command, len_bytes);
    Next::Rest
}

fn early_giant(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_header("version", 2_049);
    Next::Rest
}

fn endless(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_extended("block", 1 << 63, &[]);
    Next::Rest
}

fn early_extended(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_extended("block", 1 << 33, &[]);
    Next::Rest
}

fn nested(scene: &mut Scene<'_, '_>) -> Next {
    let inner = extended(scene.magic(), "block", u64::MAX, [0; 4]);
    scene.send_extended("extmsg", inner.len() as u64, &inner);
    Next::Prove
}

fn small_extended(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_extended("ping", 8, &[9; 8]);
    scene.send_extended("verack", 0, &[]);
    scene.send_extended("inv", 1, &[0]);
    Next::Prove
}

fn extended_handshake(scene: &mut Scene<'_, '_>) -> Next {
    let version = scene.version();
    scene.send_extended("version", version.len() as u64, &version);
    scene.send_extended("verack", 0, &[]);
    Next::Prove
}
