//! The `reject` that answers a refused `version`, with the codes and texts that SV Node 1.0.13 was observed to send.

use peerloop::error::{CloseReason, WireError};
use peerloop::protocol::CommandName;
use peerloop_testkit::bytes::{commands, frame, verack, version};
use peerloop_testkit::simulated;
use peerloop_testkit::simulated::Stage;

const COMMAND: CommandName = CommandName::VERSION;

/// Returns the payload of a `version` up to the end of its nonce, followed by `rest`.
fn payload(rest: &[&[u8]]) -> Vec<u8> {
    let mut payload = 70_016_i32.to_le_bytes().to_vec();
    payload.resize(4 + 8 + 8 + 26 + 26, 0);
    payload.extend([1; 8]);
    payload.extend(rest.concat());
    payload
}

/// Returns the payload of a `version` with the encoded association id `id`, which begins with its length.
fn with_association(id: &[u8]) -> Vec<u8> {
    payload(&[b"\x05/a:1/", &[0; 4], &[1], id])
}

fn reject(code: u8, reason: &[u8]) -> Vec<u8> {
    frame("reject", &[&b"\x07version"[..], &[code, reason.len() as u8], reason].concat())
}

#[test]
fn a_version_that_does_not_decode_is_rejected_with_sv_nodes_text_and_closes_the_connection() {
    let truncated = WireError::Truncated { command: COMMAND };
    let too_long = WireError::TooLong { command: COMMAND };
    let bad_value = WireError::BadValue { command: COMMAND };
    let long_agent = payload(&[b"\xfd\x01\x01", &[b'a'; 257], &[0; 5]]);
    let cases: [(Vec<u8>, &[u8], WireError); 10] = [
        (vec![], b"CDataStream::read(): end of data", truncated),
        (payload(&[])[..50].to_vec(), b"CDataStream::read(): end of data", truncated),
        (payload(&[b"\x05/a:"]), b"CDataStream::read(): end of data", truncated),
        (long_agent, b"Array length limit exceeded", too_long),
        (
            payload(&[b"\xfd\x05\x00/a:1/", &[0; 5]]),
            b"non-canonical ReadCompactSize()",
            WireError::NonCanonicalSize { command: COMMAND },
        ),
        (payload(&[&[0xff; 9]]), b"ReadCompactSize(): size too large", WireError::OverlongSize { command: COMMAND }),
        (
            with_association(&[&[0x11, 1][..], &[0; 16]].concat()),
            b"Badly formatted association ID: Unsupported association ID type \x01",
            bad_value,
        ),
        (
            with_association(&[3, 0, 1, 2]),
            b"Badly formatted association ID: Wrong number of bytes in UUID (2 != 16)",
            bad_value,
        ),
        (with_association(&[130; 131]), b"Badly formatted association ID: Array length limit exceeded", too_long),
        (
            with_association(&[0x11, 0, 1]),
            b"Badly formatted association ID: CDataStream::read(): end of data",
            truncated,
        ),
    ];
    for (said, words, error) in cases {
        let mut stage = Stage::new();
        let mut peer = stage.peer();
        peer.send(&frame("version", &said));
        stage.settle();
        assert_eq!(peer.receive(), reject(0x60, words), "{}", String::from_utf8_lossy(words));
        peer.close();
        stage.run_for(simulated::secs(10));
        assert_eq!(stage.closed().reason, CloseReason::Wire(error));
    }
}

#[test]
fn a_second_version_is_rejected_as_a_duplicate_and_the_connection_stays_open() {
    let duplicate = reject(0x12, b"Duplicate version message");
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&version());
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf"]);
    for second in [version(), frame("version", &[])] {
        peer.send(&second);
        stage.settle();
        assert_eq!(peer.receive(), duplicate, "the second `version` was decoded, or its `reject` is missing or wrong");
    }
    peer.send(&[verack(), version()].concat());
    stage.settle();
    assert_eq!(peer.receive(), [frame("sendheaders", &[]), duplicate].concat());
    assert_eq!((stage.node.seen().ready.len(), stage.node.seen().closed), (2, vec![]));
    assert_eq!(stage.node.reactor.stats().counters.duplicate_handshakes, 3);
    stage.assert_honest_peer_is_unaffected();
}
