//! Peers that occupy memory and timers, for example with messages that they send slowly or never finish, or with
//! replies that they do not read.

use super::super::reference::nonce_frame;
use super::attack::{Attack, Manners, Next, Scene, millis, secs};
use crate::limits::{BODY_WINDOW, HEADER_TIMEOUT, SEND_STALL_TIMEOUT};

/// Number of bytes sent per second, slightly above the tolerated minimum of 1,024.
const STEADY_BYTES: usize = 1_100;
const STEADY_SECS: u32 = 300;

/// This module's attacks.
pub const ATTACKS: &[Attack] = &[
    Attack::new("P5", "a body that stops after 100 bytes", no_body)
        .with_manners(Manners::Silent)
        .closed_by(&["body_timeout"], BODY_WINDOW)
        .when_quiet(),
    Attack::new("P5", "a body that is too slow", slow_body)
        .with_manners(Manners::Silent)
        .closed_by(&["body_timeout"], BODY_WINDOW)
        .when_quiet(),
    Attack::new("P5", "a body that is just fast enough", steady_body).with_manners(Manners::AnswersLate).when_quiet(),
    Attack::new("P6", "a header sent at one byte a second", slow_header)
        .with_manners(Manners::Silent)
        .closed_by(&["header_timeout"], HEADER_TIMEOUT)
        .when_quiet(),
    Attack::new("P8", "a peer that sends pings and does not read", deaf_asker)
        .with_manners(Manners::Silent)
        .closed_by(&["send_stalled"], SEND_STALL_TIMEOUT.saturating_add(secs(1)))
        .when_quiet(),
    Attack::new("P8", "a peer that sends pings and reads a byte at a time", sipper)
        .with_manners(Manners::Silent)
        .closed_by(&["send_stalled"], SEND_STALL_TIMEOUT.saturating_add(secs(1)))
        .when_quiet(),
    Attack::new("P28", "small messages between large ones", pinner),
    Attack::new("P31", "a thousand frames in two parts each", halves).with_manners(Manners::AnswersLate),
];

fn no_body(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_header("inv", 2_000_000);
    scene.send(&[0; 100]);
    Next::Rest
}

fn slow_body(scene: &mut Scene<'_, '_>) -> Next {
    if scene.step == 0 {
        scene.send_header("tx", 100_000_000);
    }
    scene.send(&[0; 512]);
    if scene.step < 120 { Next::Wait(secs(1)) } else { Next::Rest }
}

fn steady_body(scene: &mut Scene<'_, '_>) -> Next {
    if scene.step == 0 {
        scene.send_header("tx", STEADY_SECS * STEADY_BYTES as u32);
    }
    scene.send(&[0; STEADY_BYTES]);
    if scene.step + 1 < STEADY_SECS { Next::Wait(secs(1)) } else { Next::Prove }
}

fn slow_header(scene: &mut Scene<'_, '_>) -> Next {
    let ping = nonce_frame(scene.magic(), "ping", 1);
    scene.send(&ping[scene.step as usize..][..1]);
    if scene.step < 22 { Next::Wait(secs(1)) } else { Next::Rest }
}

/// Sends 2,000 pings and returns `true`, or returns `false` if the loop has stopped reading.
fn send_unread_pings(scene: &mut Scene<'_, '_>) -> bool {
    if scene.line.is_blocked() {
        return false;
    }
    for nonce in 0..2_000 {
        scene.send_ping(nonce);
    }
    true
}

fn deaf_asker(scene: &mut Scene<'_, '_>) -> Next {
    scene.line.stop_reading();
    if send_unread_pings(scene) { Next::Wait(millis(1)) } else { Next::Rest }
}

/// Sends pings until the loop stops reading. Then reads one byte every 30 s, too slowly to count as progress.
fn sipper(scene: &mut Scene<'_, '_>) -> Next {
    scene.line.stop_reading();
    if send_unread_pings(scene) {
        return Next::Wait(millis(1));
    }
    scene.line.read_only(1);
    Next::Wait(secs(30))
}

fn pinner(scene: &mut Scene<'_, '_>) -> Next {
    scene.send_frame("tx", &[0]);
    scene.send_frame("no such", &[0; 60_000]);
    if scene.step < 100 { Next::Wait(millis(10)) } else { Next::Prove }
}

fn halves(scene: &mut Scene<'_, '_>) -> Next {
    let ping = nonce_frame(scene.magic(), "ping", 1);
    let (first, second) = ping.split_at(1 + scene.step as usize / 2 % 31);
    let is_first = scene.step.is_multiple_of(2);
    scene.send(if is_first { first } else { second });
    if scene.step < 1_999 { Next::Wait(millis(1)) } else { Next::Prove }
}
