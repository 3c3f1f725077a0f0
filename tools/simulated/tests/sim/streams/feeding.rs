//! Feeding bodies: the limit on waiting bytes, refusals, and the header of a payload above 4 GiB - 1.

use super::{Room, Task, pattern};
use bytes::Bytes;
use peerloop::error::RequestError;
use peerloop::internals::limits::{BODY_REFILL_BYTES, MAX_BODY_WAITING_BYTES, MAX_SEND_QUEUE_BYTES};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, header, ping, pong, version};
use peerloop_testkit::simulated::{RawPeer, raw_link};

const FOUR_GIB: u64 = 1 << 32;

fn block(payload_len: u64, checksum: Option<[u8; 4]>) -> Header {
    Header { command: CommandName::BLOCK, payload_len, checksum }
}

fn begin(room: &mut Room, peer: PeerId, header: Header) -> Result<(), RequestError> {
    room.act(0, move |ctx| ctx.begin_body(peer, &header))
}

/// Feeds `part` and returns the number of its bytes that were not accepted.
fn feed(room: &mut Room, peer: PeerId, part: Bytes) -> Result<usize, RequestError> {
    room.act(0, move |ctx| {
        let waiting = |ctx: &Ctx<'_>| ctx.peer(peer).map_or(0, |view| view.waiting_bytes());
        let (before, mut rest) = (waiting(ctx), part.clone());
        let fed = ctx.feed_body(peer, &mut rest);
        let taken = part.len() - rest.len();
        assert_eq!(rest, part[taken..], "bytes were not consumed from the front");
        assert_eq!(waiting(ctx), before + taken);
        assert!(taken == 0 || before + taken <= MAX_BODY_WAITING_BYTES, "accepted {taken} bytes while {before} waited");
        assert!(fed.is_ok() || taken == 0, "a part was consumed although it was refused");
        fed.map(|()| rest.len())
    })
}

fn waiting(room: &mut Room, peer: PeerId) -> usize {
    room.act(0, move |ctx| ctx.peer(peer).unwrap().waiting_bytes())
}

fn left(room: &mut Room, peer: PeerId) -> Option<u64> {
    room.act(0, move |ctx| ctx.peer(peer).unwrap().body_left_bytes())
}

#[test]
fn at_most_a_mebibyte_may_wait_and_the_handler_is_called_when_a_quarter_remains() {
    for part_len in [1_000, 4_097, 100_000, MAX_BODY_WAITING_BYTES + 1, 3 << 20] {
        let mut room = Room::new(Conditions::default());
        let (mut raw, peer) = room.add_peer();
        begin(&mut room, peer, block(8 << 20, Some([7; 4]))).unwrap();
        let part = pattern(part_len);
        while feed(&mut room, peer, part.clone()) != Ok(part_len) {}
        assert_eq!(waiting(&mut room, peer), MAX_BODY_WAITING_BYTES);
        let left_bytes = left(&mut room, peer);
        assert_eq!(feed(&mut room, peer, part.clone()), Ok(part_len));
        assert_eq!(left(&mut room, peer), left_bytes, "bytes that were not accepted count as fed");
        let writable = room.streamer(0).writable;
        let mut block = vec![0; 10_000];
        while waiting(&mut room, peer) > BODY_REFILL_BYTES {
            assert_eq!(room.streamer(0).writable, writable, "the handler was called while more than a quarter waits");
            raw.net.read(raw_link(), &mut block).unwrap();
            room.settle();
        }
        assert_eq!(room.streamer(0).writable, writable + 1);
        let room_bytes = MAX_BODY_WAITING_BYTES - waiting(&mut room, peer);
        assert_eq!(feed(&mut room, peer, part.clone()), Ok(part_len.saturating_sub(room_bytes)));
    }
}

#[test]
fn messages_queued_before_a_body_reduce_its_room() {
    let conditions = Conditions::default();
    for ahead_bytes in [MAX_BODY_WAITING_BYTES - 1_000, MAX_BODY_WAITING_BYTES, MAX_SEND_QUEUE_BYTES - 100] {
        let mut room = Room::new(conditions.clone());
        let (mut raw, peer) = room.add_peer();
        let before = frame("block", &pattern(conditions.capacity_bytes + ahead_bytes - 24));
        let shared = Bytes::from(before.clone());
        room.act(0, move |ctx| ctx.send_shared(peer, &shared)).unwrap();
        let payload = pattern(MAX_BODY_WAITING_BYTES);
        begin(&mut room, peer, Header::of(CommandName::BLOCK, &payload)).unwrap();
        assert_eq!(waiting(&mut room, peer), ahead_bytes + 24);
        let room_bytes = MAX_BODY_WAITING_BYTES.saturating_sub(ahead_bytes + 24);
        assert_eq!(feed(&mut room, peer, payload.clone()), Ok(payload.len() - room_bytes));
        let mut received = room.drain(&mut raw);
        assert_eq!(feed(&mut room, peer, payload.slice(room_bytes..)), Ok(0));
        received.extend(room.drain(&mut raw));
        assert!(received == [before, frame("block", &payload)].concat(), "{} bytes", received.len());
    }
}

#[test]
fn a_part_that_cannot_be_fed_is_refused_with_its_error_and_changes_nothing() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    assert_eq!(feed(&mut room, peer, pattern(1)), Err(RequestError::NoBody));
    assert_eq!(begin(&mut room, peer, block(10, None)), Err(RequestError::ChecksumMissing));
    assert_eq!(begin(&mut room, peer, block(0, None)), Err(RequestError::ChecksumMissing));
    assert_eq!(begin(&mut room, peer, block(FOUR_GIB - 1, None)), Err(RequestError::ChecksumMissing));
    assert_eq!(room.drain(&mut raw), []);
    let payload = pattern(10);
    begin(&mut room, peer, Header::of(CommandName::BLOCK, &payload)).unwrap();
    assert_eq!(begin(&mut room, peer, Header::of(CommandName::BLOCK, b"")), Err(RequestError::BodyOpen));
    assert_eq!(feed(&mut room, peer, pattern(11)), Err(RequestError::BodyOverrun));
    assert_eq!(feed(&mut room, peer, Bytes::new()), Ok(0));
    assert_eq!(left(&mut room, peer), Some(10));
    assert_eq!(feed(&mut room, peer, payload.slice(..9)), Ok(0));
    assert_eq!(feed(&mut room, peer, pattern(2)), Err(RequestError::BodyOverrun));
    assert_eq!(feed(&mut room, peer, payload.slice(9..)), Ok(0));
    assert_eq!(left(&mut room, peer), None);
    assert_eq!(feed(&mut room, peer, pattern(1)), Err(RequestError::NoBody));
    assert_eq!(feed(&mut room, peer, Bytes::new()), Ok(0), "an empty part without a body was refused");
    assert_eq!(room.drain(&mut raw), frame("block", &payload));
}

#[test]
fn a_body_of_zero_bytes_can_be_fed() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    let empty = header("block", 0, &[0x5d, 0xf6, 0xe0, 0xe2]);
    begin(&mut room, peer, Header::of(CommandName::BLOCK, b"")).unwrap();
    assert_eq!(left(&mut room, peer), None, "the message was not complete with its header");
    assert_eq!(feed(&mut room, peer, Bytes::new()), Ok(0), "an empty part was refused");
    assert_eq!(feed(&mut room, peer, pattern(1)), Err(RequestError::NoBody));
    begin(&mut room, peer, Header::of(CommandName::BLOCK, b"")).unwrap();
    let payload = pattern(10);
    begin(&mut room, peer, Header::of(CommandName::BLOCK, &payload)).unwrap();
    assert_eq!(feed(&mut room, peer, payload.clone()), Ok(0), "an empty body delayed another body");
    assert_eq!(room.drain(&mut raw), [empty.clone(), empty, frame("block", &payload)].concat());
}

#[test]
fn a_body_of_zero_bytes_can_be_fed_inside_a_callback_of_its_own_peer() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    room.streamer(0).replies.push_back(Task(Box::new(move |ctx| {
        ctx.begin_body(peer, &Header::of(CommandName::BLOCK, b"")).unwrap();
        ctx.feed_body(peer, &mut Bytes::new()).unwrap();
    })));
    raw.send(&[frame("question", b""), ping()].concat());
    let empty = header("block", 0, &[0x5d, 0xf6, 0xe0, 0xe2]);
    assert_eq!(room.drain(&mut raw), [empty, pong()].concat());
}

#[test]
fn a_body_for_a_peer_before_its_handshake_or_after_its_close_is_refused() {
    let mut room = Room::new(Conditions::default());
    let mut raw = RawPeer::dialling(&room.world, room.address);
    room.settle();
    let peer = room.act(0, |ctx| ctx.peers().next().unwrap().id());
    assert_eq!(begin(&mut room, peer, block(1, Some([0; 4]))), Err(RequestError::NotReady));
    assert_eq!(feed(&mut room, peer, pattern(1)), Err(RequestError::NotReady));
    raw.close();
    room.settle();
    assert_eq!(begin(&mut room, peer, block(1, Some([0; 4]))), Err(RequestError::NoSuchPeer));
    assert_eq!(feed(&mut room, peer, pattern(1)), Err(RequestError::NoSuchPeer));
}

/// Builds the protocol's extended header by hand.
fn extended(command: &[u8; 12], len_bytes: u64) -> Vec<u8> {
    [&header("extmsg", u32::MAX, &[0; 4])[..], command, &len_bytes.to_le_bytes()].concat()
}

#[test]
fn a_payload_of_at_least_four_gibibytes_is_sent_with_an_extended_header() {
    for (len_bytes, checksum) in [(FOUR_GIB, None), (FOUR_GIB, Some([1; 4])), (6 << 30, None), (i64::MAX as u64, None)]
    {
        let mut room = Room::new(Conditions::default());
        let (mut raw, peer) = room.add_peer();
        begin(&mut room, peer, block(len_bytes, checksum)).unwrap();
        let expected = extended(b"block\0\0\0\0\0\0\0", len_bytes);
        assert_eq!(expected.len(), 44);
        assert_eq!(room.drain(&mut raw), expected);
        assert_eq!(feed(&mut room, peer, pattern(1_000)), Ok(0));
        assert_eq!(room.drain(&mut raw), pattern(1_000));
        assert_eq!(left(&mut room, peer), Some(len_bytes - 1_000));
    }
}

#[test]
fn one_byte_less_than_four_gibibytes_is_sent_with_a_basic_header() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    begin(&mut room, peer, block(FOUR_GIB - 1, Some([1, 2, 3, 4]))).unwrap();
    assert_eq!(room.drain(&mut raw), header("block", u32::MAX, &[1, 2, 3, 4]));
}

#[test]
fn a_peer_below_version_70016_is_sent_no_extended_header() {
    for (claimed, takes_it) in [(70_015_i32, false), (70_016, true), (70_017, true)] {
        let mut room = Room::new(Conditions::default());
        let mut payload = version().split_off(24);
        payload[..4].copy_from_slice(&claimed.to_le_bytes());
        let (mut raw, peer) = room.add_peer_with(&frame("version", &payload));
        let expected = if takes_it { Ok(()) } else { Err(RequestError::TooLargeForPeer) };
        assert_eq!(begin(&mut room, peer, block(FOUR_GIB, None)), expected, "{claimed}");
        assert_eq!(room.drain(&mut raw).len(), if takes_it { 44 } else { 0 });
        assert_eq!(left(&mut room, peer), takes_it.then_some(FOUR_GIB));
    }
}

#[test]
fn a_body_above_the_peers_limit_is_not_begun() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    for (command, most) in [("inv", 1_048_576), ("unheard", 1_048_576), ("tx", 1_000_000_000), ("protoconf", 1 << 20)] {
        let of = |payload_len| Header { command: CommandName::new(command), payload_len, checksum: Some([0; 4]) };
        assert_eq!(begin(&mut room, peer, of(most + 1)), Err(RequestError::TooLargeForPeer), "{command}");
        assert_eq!(begin(&mut room, peer, of(i64::MAX as u64)), Err(RequestError::TooLargeForPeer), "{command}");
    }
    assert_eq!(begin(&mut room, peer, block((1 << 63) + 1, None)), Err(RequestError::TooLargeForPeer));
    assert_eq!(room.drain(&mut raw), []);
    let header = Header { command: CommandName::new("inv"), payload_len: 1_048_576, checksum: Some([0; 4]) };
    begin(&mut room, peer, header).unwrap();
    assert_eq!(feed(&mut room, peer, Bytes::from(vec![0; 1_048_576])), Ok(0));
    assert_eq!(commands(&room.drain(&mut raw)), ["inv"]);
}
