//! Connections that ask to become a peer's stream, in forms that the loop must refuse. Each uses one connection; peers
//! with several connections are in [`AssociationDialler`](super::super::AssociationDialler).

use super::attack::{Attack, Next, Scene, secs};
use super::handshake::REFUSED_WITHIN;
use crate::limits::HANDSHAKE_TIMEOUT;

/// An encoded association id that no peer has: its length, its type, and a UUID.
const UNKNOWN_ID: &[u8] = b"\x11\x00no such peer id.";
const DATA1: u8 = 2;

/// This module's attacks. On a connection that the loop dialled, `createstrm` and `streamack` are ordinary messages
/// before the handshake.
pub const ATTACKS: &[Attack] = &[
    refused("a stream of an unknown association", |scene| createstrm(scene, UNKNOWN_ID, DATA1, b"BlockPriority")),
    refused("a stream of no association", |scene| createstrm(scene, &[0], DATA1, b"BlockPriority")),
    refused("a stream of an association with an id of another type", |scene| {
        createstrm(scene, b"\x11\x01no such peer id.", DATA1, b"")
    }),
    refused("a stream with an unknown policy", |scene| createstrm(scene, UNKNOWN_ID, DATA1, b"NoSuchPolicy")),
    refused("a stream of type 6", |scene| createstrm(scene, UNKNOWN_ID, 6, b"")),
    refused("a stream of type 0", |scene| createstrm(scene, UNKNOWN_ID, 0, b"")),
    refused("a truncated createstrm", |scene| {
        scene.send_frame("createstrm", &UNKNOWN_ID[..9]);
        Next::Rest
    }),
    Attack::new("P16", "a streamack before the handshake", |scene| streamack(scene, 0))
        .at_once()
        .closed_by(&["handshake_timeout"], HANDSHAKE_TIMEOUT),
    Attack::new("P16", "a createstrm after the handshake", |scene| createstrm(scene, UNKNOWN_ID, DATA1, b""))
        .closed_by(&["intolerable"], REFUSED_WITHIN),
    Attack::new("P16", "a streamack after the handshake", |scene| streamack(scene, 0))
        .closed_by(&["intolerable"], REFUSED_WITHIN),
    Attack::new("P16", "a createstrm between version and verack", |scene| {
        scene.send_version();
        createstrm(scene, UNKNOWN_ID, DATA1, b"")
    })
    .at_once()
    .closed_by(&["intolerable"], REFUSED_WITHIN),
    Attack::new("P7", "a streamack every second", |scene| streamack(scene, 14))
        .at_once()
        .closed_by(&["handshake_timeout"], HANDSHAKE_TIMEOUT),
];

const fn refused(name: &'static str, act: fn(&mut Scene<'_, '_>) -> Next) -> Attack {
    Attack::new("P16", name, act)
        .at_once()
        .closed_by(&["stream_refused"], REFUSED_WITHIN)
        .if_dialled_closed_by(&["handshake_timeout"], HANDSHAKE_TIMEOUT)
}

fn createstrm(scene: &mut Scene<'_, '_>, id: &[u8], stream_type: u8, policy: &[u8]) -> Next {
    let policy_len = u8::try_from(policy.len()).expect("the name is short");
    scene.send_frame("createstrm", &[id, &[stream_type, policy_len], policy].concat());
    Next::Rest
}

/// Sends a `streamack` once, and then `times` more, one each second.
fn streamack(scene: &mut Scene<'_, '_>, times: u32) -> Next {
    scene.send_frame("streamack", &[UNKNOWN_ID, &[DATA1]].concat());
    if scene.step < times { Next::Wait(secs(1)) } else { Next::Rest }
}
