//! Pings and pongs overtake queued frames: they follow the frame in progress. Frames of the handshake are never
//! overtaken.

use bytes::Bytes;
use peerloop::error::Disconnect;
use peerloop::internals::limits::{UNREAD_REPLIES_PAUSE_BYTES, WRITE_BLOCK_BYTES};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, MessageRef};
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, frames, ping, pong, verack, version};
use peerloop_testkit::simulated::{Player, RawPeer, Stage, config, raw_link, secs};
use std::io::ErrorKind;

const BULK_BYTES: usize = 100_000;
const FEW: usize = 4;
/// Number of large frames whose total size is about 1.5 MB.
const MANY: usize = 15;
const GREETING: [&str; 4] = ["version", "verack", "protoconf", "sendheaders"];

/// Returns the newest peer, which is the peer under test.
fn latest(ctx: &Ctx<'_>) -> PeerId {
    ctx.peers().last().expect("the peer is connected").id()
}

fn bulk(number: usize) -> Vec<u8> {
    frame("bulk", &vec![number as u8; BULK_BYTES])
}

/// Sends `count` large frames to the peer under test. Every second frame is sent with `send_shared`.
fn send_bulks(ctx: &mut Ctx<'_>, count: usize) {
    let peer = latest(ctx);
    for number in 0..count {
        if number % 2 == 0 {
            let command = CommandName::new("bulk");
            ctx.send(peer, &MessageRef::Opaque { command, payload: &[number as u8; BULK_BYTES] }).unwrap();
        } else {
            ctx.send_shared(peer, &Bytes::from(bulk(number))).unwrap();
        }
    }
}

fn stage(on_request: fn(&mut Ctx<'_>)) -> (Stage, RawPeer) {
    let mut stage = Stage::with(config(), Player { on_request: Some(on_request), ..Player::default() });
    stage.world.set_conditions(Conditions { capacity_bytes: 65_536, ..Conditions::default() });
    let peer = stage.ready_peer();
    (stage, peer)
}

fn command(stage: &mut Stage) {
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
}

/// Reads `len` bytes, as they arrive.
fn take(stage: &mut Stage, peer: &mut RawPeer, len: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < len {
        let mut room = vec![0; len - taken.len()];
        let count = peer.net.read(raw_link(), &mut room).unwrap();
        taken.extend_from_slice(&room[..count]);
        stage.settle();
    }
    taken
}

/// Returns the number of bytes that the loop has written since its counter was `before`.
fn written(stage: &Stage, before: u64) -> usize {
    (stage.node.reactor.stats().counters.bytes_sent - before) as usize
}

#[test]
fn a_slow_reader_gets_its_pong_after_the_frame_in_progress() {
    let whole = FEW * (24 + BULK_BYTES);
    for count in [FEW, MANY] {
        for taken in [0, 1, 23, 36_000, 100_024 - 65_536, 100_023, 100_024, 134_511, 134_512, 134_513, 300_000, whole] {
            let send = if count == FEW {
                |ctx: &mut Ctx<'_>| send_bulks(ctx, FEW)
            } else {
                |ctx: &mut Ctx<'_>| send_bulks(ctx, MANY)
            };
            let (mut stage, mut peer) = stage(send);
            let before = stage.node.reactor.stats().counters.bytes_sent;
            command(&mut stage);
            let mut received = take(&mut stage, &mut peer, taken);
            let in_kernel = written(&stage, before);
            peer.send(&[ping(), ping()].concat());
            stage.settle();
            received.extend(stage.receive_all(&mut peer));
            let begun = in_kernel.div_ceil(24 + BULK_BYTES);
            let bulks = |numbers: std::ops::Range<usize>| numbers.map(bulk).collect::<Vec<_>>().concat();
            let expected = [bulks(0..begun), pong(), pong(), bulks(begun..count)].concat();
            assert!(received == expected, "{taken} bytes read: {:?}", commands(&received));
            stage.assert_honest_peer_is_unaffected();
        }
    }
}

#[test]
fn our_own_ping_does_not_wait_for_our_queue() {
    let (mut stage, mut peer) = stage(|ctx| send_bulks(ctx, MANY));
    stage.run_for(secs(119));
    command(&mut stage);
    stage.run_for(secs(1));
    let received = stage.receive_all(&mut peer);
    let said = commands(&received);
    assert_eq!(
        said.iter().position(|command| command == "ping"),
        Some(1),
        "the ping does not follow the frame in progress"
    );
    assert_eq!(said.len(), 1 + MANY);
    peer.send(&frame("pong", &frames(&received)[1].1));
    stage.settle();
    assert_eq!(stage.node.seen().pongs.len(), 2, "the honest peer and this peer did not each answer one ping");
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn nothing_overtakes_the_handshake_of_a_slow_reader() {
    let greeting = 126 + 24 + 51 + 24;
    for capacity_bytes in 1..=greeting + 32 {
        let mut stage = Stage::new();
        let mut peer = stage.peer();
        stage.world.set_conditions(Conditions { capacity_bytes, ..Conditions::default() });
        let mut peer_too = stage.peer();
        stage.world.set_conditions(Conditions::default());
        for peer in [&mut peer, &mut peer_too] {
            let bytes = [version(), verack(), ping()].concat();
            let mut sent = 0;
            let mut received = Vec::new();
            while sent < bytes.len() || commands_so_far(&received) < 5 {
                match peer.net.write(raw_link(), &bytes[sent..]) {
                    Ok(len) => sent += len,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                stage.settle();
                received.extend(peer.receive());
                stage.settle();
            }
            assert_eq!(
                commands(&received),
                [&GREETING[..], &["pong"]].concat(),
                "wrong messages or order with a capacity of {capacity_bytes} bytes"
            );
        }
    }
}

/// Counts the whole frames in a stream that may end within a frame.
fn commands_so_far(mut stream: &[u8]) -> usize {
    let mut count = 0;
    while let Some(len) = stream.get(16..20) {
        let len = 24 + u32::from_le_bytes(len.try_into().unwrap()) as usize;
        let Some(rest) = stream.get(len..) else { break };
        (stream, count) = (rest, count + 1);
    }
    count
}

#[test]
fn a_ping_is_sent_between_the_messages_of_a_long_inventory() {
    let (mut stage, mut peer) = stage(|ctx| {
        let peer = latest(ctx);
        if ctx.peer(peer).unwrap().waiting_bytes() > 0 {
            ctx.ping(peer, ctx.now()).unwrap();
            return;
        }
        let item = InventoryItem::tx(Hash256::from_bytes([7; 32]));
        let inventory = Inventory::from_items((0..60_000).map(|_| item));
        ctx.send(peer, &MessageRef::Inv(inventory.as_ref())).unwrap();
    });
    command(&mut stage);
    command(&mut stage);
    let received = stage.receive_all(&mut peer);
    assert_eq!(commands(&received), ["inv", "ping", "inv", "inv"]);
}

#[test]
fn unread_pongs_pause_reading_even_if_a_message_in_parts_waits_behind_them() {
    let (mut stage, mut peer) = stage(|ctx| {
        let peer = latest(ctx);
        match ctx.peer(peer).unwrap().body_left_bytes() {
            None => {
                ctx.send_shared(peer, &Bytes::from(bulk(0))).unwrap();
                let payload = vec![9; 200_000];
                ctx.begin_body(peer, &Header::of(CommandName::BLOCK, &payload)).unwrap();
                ctx.feed_body(peer, &mut payload[1..].to_vec().into()).unwrap();
            }
            Some(left) => ctx.feed_body(peer, &mut vec![9; left as usize].into()).unwrap(),
        }
    });
    command(&mut stage);
    let (pings, mut sent) = (ping().repeat(1_000), 0);
    loop {
        match peer.net.write(raw_link(), &pings[sent % 32..]) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 4 << 20, "the node did not stop reading");
        stage.settle();
    }
    let answered = stage.node.reactor.stats().counters.pings_answered as usize * 32;
    assert!(
        (UNREAD_REPLIES_PAUSE_BYTES..UNREAD_REPLIES_PAUSE_BYTES + 2 * WRITE_BLOCK_BYTES).contains(&answered),
        "reading paused after {answered} bytes of answered pings"
    );
    command(&mut stage);
    let received = stage.receive_all(&mut peer);
    let said = commands(&received);
    let block = said.iter().position(|command| command == "block").unwrap();
    assert!(
        said[0] == "bulk" && block > answered / 32,
        "the block did not follow the bulk message and all earlier pongs"
    );
    let pongs = sent / 32;
    assert_eq!(said.len(), pongs + 2, "the number of pongs differs from the number of pings");
    assert!(frames(&received)[block].1 == vec![9; 200_000]);
    stage.run_for(secs(60));
    assert_eq!(stage.node.seen().closed, []);
}

#[test]
fn a_graceful_close_sends_the_overtaking_pong_and_the_overtaken_frames() {
    let (mut stage, mut peer) = stage(|ctx| {
        let peer = latest(ctx);
        match ctx.peer(peer).unwrap().waiting_bytes() {
            0 => send_bulks(ctx, FEW),
            _ => ctx.close(peer, Disconnect::Done),
        }
    });
    command(&mut stage);
    peer.send(&ping());
    stage.settle();
    command(&mut stage);
    let received = stage.receive_all(&mut peer);
    let expected: Vec<u8> = [bulk(0), pong()].into_iter().chain((1..FEW).map(bulk)).flatten().collect();
    assert!(received == expected, "{:?}", commands(&received));
    assert!(peer.has_seen_end);
}

#[test]
fn a_shared_reply_is_overtaken_by_the_pong_of_the_same_input_and_an_encoded_reply_is_not() {
    for is_shared in [true, false] {
        let answer: fn(&mut Ctx<'_>, PeerId) = match is_shared {
            true => |ctx, peer| ctx.send_shared(peer, &frame("answer", b"42").into()).unwrap(),
            false => |ctx, peer| {
                let command = CommandName::new("answer");
                ctx.send(peer, &MessageRef::Opaque { command, payload: b"42" }).unwrap();
            },
        };
        let mut stage = Stage::with(config(), Player { on_message: Some(answer), ..Player::default() });
        let mut peer = stage.ready_peer();
        peer.send(&[frame("question", b""), ping()].concat());
        stage.settle();
        let expected = if is_shared { [pong(), frame("answer", b"42")] } else { [frame("answer", b"42"), pong()] };
        assert_eq!(peer.receive(), expected.concat());
    }
}
