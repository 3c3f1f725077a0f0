//! Any 24 bytes decode to a basic header, which encodes to the same bytes. An extended header's fields depend only on
//! its last twenty bytes. The checks of a command's name and of its payload limit agree with a naive model.

use crate::tape::Tape;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::header::payload_limit;
use peerloop::wire::{Header, PayloadLimits};
use peerloop_testkit::framing;

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let bytes: [u8; HEADER_LEN_BYTES] = tape.array();
    check_bytes(bytes);
    // Random bytes seldom spell a known command, so a copy of the header gets one.
    let mut known = bytes;
    known[4..16].copy_from_slice(&tape.pick(&CommandName::ALL).to_bytes());
    check_bytes(known);
    check_extended(bytes, tape.array());

    let max_block_bytes = tape.u64() >> (tape.u8() % 64);
    let max_message_bytes = u64::from(tape.u32());
    let limits = PayloadLimits { max_message_bytes, max_block_bytes };
    let rules = peerloop::internals::framer::FramerRules { limits, ..framing::rules() };
    for command in [Header::decode(&bytes).command, Header::decode(&known).command] {
        assert_eq!(payload_limit(command, &limits), framing::limit(command.to_bytes(), &rules));
    }
}

/// Checks that only the last twenty bytes of an extended header determine its fields.
fn check_extended(basic: [u8; HEADER_LEN_BYTES], extension: [u8; 20]) {
    let bytes: Vec<u8> = [&basic[..], &extension].concat();
    let bytes = bytes.first_chunk().expect("an extended header has 44 bytes");
    let header = Header::decode_extended(bytes);
    assert_eq!(header.command.to_bytes()[..], extension[..12]);
    assert_eq!(header.payload_len.to_le_bytes(), extension[12..]);
    assert!(header.is_extended());
    let written = header.encode_extended([1, 2, 3, 4]);
    assert_eq!(written[..4], [1, 2, 3, 4]);
    assert_eq!(written[24..], extension);
    assert_eq!(Header::decode_extended(&written), header);
    let basic = written.first_chunk().expect("an extended header is longer than a basic one");
    assert_eq!(Header::len_of(basic), written.len());
}

fn check_bytes(bytes: [u8; HEADER_LEN_BYTES]) {
    let header = Header::decode(&bytes);
    let [magic @ .., _, _, _, _] = *bytes.first_chunk::<8>().expect("a header has more than eight bytes");
    assert_eq!(header.encode(magic), bytes);
    assert_eq!(Header::decode(&header.encode([0; 4])), header, "the magic changes the decoded header");
    assert_eq!(header.command.to_bytes()[..], bytes[4..16]);
    assert_eq!(header.payload_len.to_le_bytes()[..4], bytes[16..20]);
    assert!(header.payload_len <= u64::from(u32::MAX));
    assert_eq!(header.checksum.expect("a basic header has a checksum")[..], bytes[20..]);
    assert_eq!(header.command.is_well_formed(), framing::is_well_formed(header.command.to_bytes()));
    let printed = header.command.to_string();
    assert!(printed.len() <= 4 * 12 && printed.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{printed:?}");
}
