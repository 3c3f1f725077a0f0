//! Attacks with false sizes and counts, with a truncated `version`, and with invalid or unusual `protoconf`s.
//!
//! A false size or count is not in its shortest form, or is larger than its payload allows.

use super::attack::{Attack, Next, Scene};
use super::handshake::REFUSED_WITHIN;
use std::time::Duration;

/// Offset of the user agent's length in a version.
const USER_AGENT_LEN: usize = 80;
/// The encoding of the highest possible count.
const BOMB: &[u8] = &[0xff; 9];

/// This module's attacks.
pub const ATTACKS: &[Attack] = &[
    Attack::new("P19", "a size that is not in its shortest form", long_size)
        .at_once()
        .closed_by(&["non_canonical_size"], REFUSED_WITHIN),
    Attack::new("P19", "a version that ends inside a field", cut_version)
        .at_once()
        .closed_by(&["truncated_message"], REFUSED_WITHIN),
    Attack::new("P20", "a user agent with a false length", endless_agent)
        .at_once()
        .closed_by(&["overlong_size"], REFUSED_WITHIN),
    Attack::new("P20", "false counts", count_bombs),
    Attack::new("P21", "false lengths and counts inside transactions", nested_bombs),
    Attack::new("P33", "an empty protoconf", |scene| protoconf(scene, &[]))
        .closed_by(&["truncated_message"], Duration::ZERO),
    Attack::new("P33", "a protoconf without fields", |scene| protoconf(scene, &[0]))
        .closed_by(&["bad_value"], Duration::ZERO),
    Attack::new("P33", "a protoconf with a limit below the minimum", |scene| protoconf(scene, b"\x01\xff\xff\x0f\0"))
        .closed_by(&["bad_value"], Duration::ZERO),
    Attack::new("P33", "a protoconf without its second field", |scene| protoconf(scene, b"\x02\0\0\x20\0"))
        .closed_by(&["truncated_message"], Duration::ZERO),
    Attack::new("P33", "a protoconf with an overlong policy list", long_protoconf)
        .closed_by(&["field_too_long"], Duration::ZERO),
    Attack::new("P33", "a protoconf with a non-canonical size", |scene| protoconf(scene, b"\xfd\x01\0\0\0\x20\0"))
        .closed_by(&["non_canonical_size"], Duration::ZERO),
    Attack::new("P33", "two protoconfs", two_protoconfs).closed_by(&["second_protoconf"], Duration::ZERO),
    Attack::new("P33", "a protoconf of a later protocol, with the largest limit", late_protoconf),
];

fn long_size(scene: &mut Scene<'_, '_>) -> Next {
    let mut version = scene.version();
    let len = version[USER_AGENT_LEN];
    version.splice(USER_AGENT_LEN..=USER_AGENT_LEN, [0xfd, len, 0]);
    scene.send_frame("version", &version);
    Next::Rest
}

fn cut_version(scene: &mut Scene<'_, '_>) -> Next {
    let version = scene.version();
    scene.send_frame("version", &version[..50]);
    Next::Rest
}

fn endless_agent(scene: &mut Scene<'_, '_>) -> Next {
    let mut version = scene.version();
    version.splice(USER_AGENT_LEN..=USER_AGENT_LEN, BOMB.iter().copied());
    scene.send_frame("version", &version);
    Next::Rest
}

fn count_bombs(scene: &mut Scene<'_, '_>) -> Next {
    for command in ["inv", "getdata", "notfound", "addr", "headers", "hdrsen"] {
        for count in [BOMB, b"\xfe\xff\xff\xff\xff", b"\xfd\xff\xff", b"\xfc"] {
            scene.send_frame(command, count);
        }
    }
    // The count follows a version field of four bytes.
    for command in ["tx", "getblocks", "getheaders"] {
        scene.send_frame(command, &[&[1, 0, 0, 0], BOMB].concat());
    }
    for command in ["block", "cmpctblock", "merkleblock", "blocktxn", "getblocktxn"] {
        for prefix in [32, 80, 84, 88] {
            scene.send_frame(command, &[&vec![0; prefix], BOMB].concat());
        }
    }
    Next::Prove
}

fn nested_bombs(scene: &mut Scene<'_, '_>) -> Next {
    let outpoint = [0; 36];
    let with_endless_script = [&[1, 0, 0, 0, 1], &outpoint[..], BOMB].concat();
    scene.send_frame("tx", &with_endless_script);
    scene.send_frame("block", &[&[0; 80], &[1][..], &with_endless_script].concat());
    let endless_outputs = [&[1, 0, 0, 0, 1], &outpoint[..], &[0, 0, 0, 0, 0], BOMB].concat();
    scene.send_frame("tx", &endless_outputs);
    scene.send_frame("cmpctblock", &[&[0; 88], &[0, 1, 0][..], &endless_outputs].concat());
    Next::Prove
}

fn protoconf(scene: &mut Scene<'_, '_>, payload: &[u8]) -> Next {
    scene.send_frame("protoconf", payload);
    Next::Rest
}

fn long_protoconf(scene: &mut Scene<'_, '_>) -> Next {
    protoconf(scene, &[b"\x02\0\0\x20\0\xfd\x8b\x02", &[b'x'; 651][..]].concat())
}

fn two_protoconfs(scene: &mut Scene<'_, '_>) -> Next {
    protoconf(scene, b"\x01\0\0\x10\0");
    protoconf(scene, b"\x01\0\0\x10\0")
}

fn late_protoconf(scene: &mut Scene<'_, '_>) -> Next {
    protoconf(scene, b"\x04\xff\xff\xff\xff\x07Default\x01\x02\x03");
    Next::Prove
}
