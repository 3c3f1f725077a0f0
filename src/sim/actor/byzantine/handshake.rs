//! Handshakes that stall or fail, false claims in a `version`, false or missing pongs, and ways to close a connection.

use super::super::reference::frame;
use super::attack::{Attack, Manners, Next, Scene, millis, secs};
use crate::limits::{CLOSE_GRACE, HANDSHAKE_TIMEOUT, PING_INTERVAL, PONG_TIMEOUT};
use std::time::Duration;

/// Offsets of fields in a `version`'s payload.
const PROTOCOL_VERSION: usize = 0;
const SERVICES: usize = 4;
const TIME: usize = 12;
const USER_AGENT: usize = 81;
/// The height follows the user agent. This offset is valid for a user agent of 18 bytes.
const HEIGHT: usize = 99;

const HANDSHAKE_TIMED_OUT: &[&str] = &["handshake_timeout"];
/// Maximum time until the loop closes a refused peer. Before the close, the peer has time to read the loop's `reject`.
pub(super) const REFUSED_WITHIN: Duration = CLOSE_GRACE.saturating_add(secs(1));

/// This module's attacks.
pub const ATTACKS: &[Attack] = &[
    Attack::new("P7", "silence", rest).at_once().closed_by(HANDSHAKE_TIMED_OUT, HANDSHAKE_TIMEOUT),
    Attack::new("P7", "messages without a handshake", chatter)
        .at_once()
        .closed_by(&["handshake_flood"], secs(2))
        .when_quiet(),
    Attack::new("P7", "a few messages without a handshake", slow_chatter)
        .at_once()
        .closed_by(HANDSHAKE_TIMED_OUT, HANDSHAKE_TIMEOUT),
    Attack::new("P7", "a version and no verack", no_verack).at_once().closed_by(HANDSHAKE_TIMED_OUT, HANDSHAKE_TIMEOUT),
    Attack::new("P7", "a version sent at one byte a second", slow_version)
        .at_once()
        .closed_by(HANDSHAKE_TIMED_OUT, HANDSHAKE_TIMEOUT),
    Attack::new("P14", "unsolicited pongs", stray_pongs),
    Attack::new("P15", "two pongs for each ping, and pongs with guessed nonces", guessed_pongs)
        .with_manners(Manners::AnswersTwice),
    Attack::new("P16", "the verack before the version", verack_first).at_once(),
    Attack::new("P16", "repeated versions and veracks", repeated),
    Attack::new("P16", "protoconf, ping and inv before the verack", early_messages).at_once(),
    Attack::new("P16", "an obsolete protocol version", obsolete)
        .at_once()
        .closed_by(&["protocol_version"], REFUSED_WITHIN),
    Attack::new("P16", "a node of another blockchain", other_chain)
        .at_once()
        .closed_by(&["wrong_blockchain"], REFUSED_WITHIN),
    Attack::new("P22", "a peer that vanishes silently", half_open)
        .with_manners(Manners::Silent)
        .closed_by(&["pong_timeout"], PING_INTERVAL.saturating_add(PONG_TIMEOUT))
        .when_quiet(),
    Attack::new("P22", "a peer that answers no pings", rest)
        .with_manners(Manners::Silent)
        .closed_by(&["pong_timeout"], PING_INTERVAL.saturating_add(PONG_TIMEOUT))
        .when_quiet(),
    Attack::new("P23", "a reset at once", reset).at_once().closed_by(LEFT, Duration::ZERO),
    Attack::new("P23", "a reset inside a frame", late_reset).closed_by(LEFT, Duration::ZERO),
    Attack::new("P23", "a close at once", finish).at_once().closed_by(LEFT, Duration::ZERO),
    Attack::new("P23", "a reject and a close", reject_and_leave).closed_by(&["rejected_by_peer"], Duration::ZERO),
    Attack::new("P30", "an unprintable user agent", unprintable).at_once(),
    Attack::new("P36", "an absurd version, time, height and services", absurd_claims).at_once(),
];

/// The labels of the close reasons that apply when the peer closed or reset the connection.
const LEFT: &[&str] = &["reset", "closed_by_peer", "broken_pipe", "aborted"];

fn rest(_scene: &mut Scene<'_, '_>) -> Next {
    Next::Rest
}

fn chatter(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_ping(u64::from(scene.step));
    if scene.step < 16 { Next::Wait(millis(100)) } else { Next::Rest }
}

fn slow_chatter(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_frame("no such", b"nothing");
    if scene.step < 14 { Next::Wait(secs(1)) } else { Next::Rest }
}

fn no_verack(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_version();
    Next::Rest
}

fn slow_version(scene: &mut Scene<'_, '_>) -> Next {
    let version = frame(scene.magic(), "version", &scene.version());
    scene.send(&version[scene.step as usize..][..1]);
    if scene.step < 30 { Next::Wait(secs(1)) } else { Next::Rest }
}

fn stray_pongs(scene: &mut Scene<'_, '_>) -> Next {
    for len in [0, 1, 7, 8, 9, 64] {
        scene.send_frame("pong", &vec![0; len]);
        scene.send_frame("pong", &vec![0xff; len]);
    }
    Next::Prove
}

fn guessed_pongs(scene: &mut Scene<'_, '_>) -> Next {
    let mut nonce = [0; 8];
    scene.line.chance().fill(&mut nonce);
    scene.send_frame("pong", &nonce);
    if scene.step < 300 { Next::Wait(secs(1)) } else { Next::Prove }
}

fn verack_first(scene: &mut Scene<'_, '_>) -> Next {
    if scene.step == 0 {
        scene.send_verack();
        return Next::Wait(secs(1));
    }
    scene.send_version();
    Next::Prove
}

fn repeated(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_version_with(&[(PROTOCOL_VERSION, &[0; 4]), (HEIGHT, &[9; 4])]);
    scene.send_verack();
    if scene.step < 50 { Next::Wait(millis(10)) } else { Next::Prove }
}

fn early_messages(scene: &mut Scene<'_, '_>) -> Next {
    let protoconf: &[u8] = b"\x01\0\0\x10\0";
    scene.send_frame("protoconf", protoconf);
    scene.send_ping(1);
    scene.send_version();
    scene.send_frame("protoconf", protoconf);
    scene.send_frame("inv", &[0]);
    scene.send_verack();
    scene.send_frame("protoconf", protoconf);
    Next::Prove
}

fn obsolete(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_version_with(&[(PROTOCOL_VERSION, &31_799_i32.to_le_bytes())]);
    Next::Rest
}

fn other_chain(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_version_with(&[(USER_AGENT, b"/Bitcoin ABC:1.22/")]);
    Next::Rest
}

fn half_open(scene: &mut Scene<'_, '_>) -> Next {
    scene.line.stop_reading();
    Next::Rest
}

fn reset(scene: &mut Scene<'_, '_>) -> Next {
    scene.line.reset();
    Next::Rest
}

fn late_reset(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_header("block", 1_000_000);
    scene.line.reset();
    Next::Rest
}

fn finish(scene: &mut Scene<'_, '_>) -> Next {
    scene.line.finish();
    Next::Rest
}

fn reject_and_leave(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_frame("reject", b"\x07version\x44\x04full");
    scene.line.finish();
    Next::Rest
}

fn unprintable(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_version_with(&[(USER_AGENT, b"/\x1b[31m\r\n\0\xff\xfe\x07%s%n\xf0\x9f/")]);
    scene.send_verack();
    Next::Prove
}

fn absurd_claims(scene: &mut Scene<'_, '_>) -> Next {
    let chance = scene.line.chance();
    let time = *chance.pick(&[i64::MAX, i64::MIN, -1, 0]);
    let height = *chance.pick(&[i32::MAX, i32::MIN, -1]);
    let services = *chance.pick(&[u64::MAX, 0]);
    scene.send_version_with(&[
        (PROTOCOL_VERSION, &i32::MAX.to_le_bytes()),
        (SERVICES, &services.to_le_bytes()),
        (TIME, &time.to_le_bytes()),
        (HEIGHT, &height.to_le_bytes()),
    ]);
    scene.send_verack();
    Next::Prove
}
