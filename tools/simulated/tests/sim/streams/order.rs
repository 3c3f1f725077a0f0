//! Messages that are sent while a body is being fed follow right after the body: first pings and pongs, then all others
//! whole and in order. Splitting the bytes changes nothing.

use super::{Room, Seen, feed_whole, opaque, pattern, ping_nonces};
use bytes::Bytes;
use peerloop::error::RequestError;
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, Cut, Cuts};
use peerloop::wire::Header;
use peerloop_testkit::bytes::{frame, ping, pong};
use peerloop_testkit::simulated::TICK;
use proptest::prelude::*;

fn block(payload: &[u8]) -> Header {
    Header::of(CommandName::BLOCK, payload)
}

/// Sends a body in parts and an empty body, among pings, a pong, and messages passed to `send` and `send_shared`.
/// Returns the bytes that the peer received.
fn run(conditions: Conditions) -> Vec<u8> {
    let mut room = Room::new(conditions);
    let (mut raw, peer) = room.add_peer();
    let payload = pattern(300);
    let mut received = Vec::new();
    let began = room.world.now();
    let first = room.act(0, move |ctx| ctx.ping(peer, ctx.now()).unwrap());
    let header = block(&payload);
    let part = payload.slice(..100);
    room.act(0, move |ctx| {
        ctx.send(peer, &opaque("before", &[1; 40])).unwrap();
        ctx.begin_body(peer, &header).unwrap();
        feed_whole(ctx, peer, &part).unwrap();
    });
    received.extend(room.drain(&mut raw));
    room.run_for(TICK);
    let second = room.act(0, move |ctx| {
        let nonce = ctx.ping(peer, ctx.now()).unwrap();
        ctx.send_shared(peer, &frame("shared", &[2; 50]).into()).unwrap();
        nonce
    });
    raw.send(&ping());
    received.extend(room.drain(&mut raw));
    assert_eq!(received.len(), 32 + 64 + 24 + 100, "a message overtook the block, or bytes are missing");
    room.run_for(TICK);
    let part = payload.slice(100..250);
    room.act(0, move |ctx| {
        feed_whole(ctx, peer, &part).unwrap();
        ctx.send(peer, &opaque("within", &[3; 60])).unwrap();
    });
    received.extend(room.drain(&mut raw));
    room.run_for(TICK);
    let part = payload.slice(250..);
    let third = room.act(0, move |ctx| {
        feed_whole(ctx, peer, &part).unwrap();
        ctx.send(peer, &opaque("behind", &[4; 70])).unwrap();
        ctx.begin_body(peer, &block(b"")).unwrap();
        ctx.ping(peer, ctx.now()).unwrap()
    });
    received.extend(room.drain(&mut raw));
    let ping_of = |nonce: u64| frame("ping", &nonce.to_le_bytes());
    let expected = [
        ping_of(first),
        frame("before", &[1; 40]),
        frame("block", &payload),
        ping_of(second),
        pong(),
        ping_of(third),
        frame("shared", &[2; 50]),
        frame("within", &[3; 60]),
        frame("behind", &[4; 70]),
        frame("block", b""),
    ];
    assert_eq!(received, expected.concat());
    room.run_for(TICK);
    for nonce in [first, second, third] {
        raw.send(&frame("pong", &nonce.to_le_bytes()));
    }
    room.settle();
    let at = |ticks: u32| began.plus(TICK * ticks);
    let pong = |nonce, planned, sent| Seen::Pong { nonce, planned, sent };
    let expected = [pong(first, at(0), at(0)), pong(second, at(1), at(3)), pong(third, at(3), at(3))];
    assert_eq!(room.seen(0), expected, "a pong is missing, or the planned or sent moment of a ping is wrong");
    received
}

#[test]
fn messages_wait_for_the_block_and_are_sent_in_order_wherever_the_stream_is_split() {
    let len = run(Conditions::default()).len();
    let greeting = 126 + 24 + 51 + 24;
    for point in greeting..greeting + len {
        let at = || Cut::At(vec![point as u64]);
        let conditions = [
            Cuts { writes: at(), arrivals: Cut::None },
            Cuts { writes: Cut::None, arrivals: at() },
            Cuts { writes: at(), arrivals: at() },
        ];
        for to_dialler in conditions {
            run(Conditions { to_dialler, ..Conditions::default() });
        }
    }
}

#[test]
fn messages_wait_for_the_block_through_pipes_of_several_sizes() {
    for (capacity_bytes, most) in [(200, 1), (200, 7), (201, 1_000), (333, 24), (4_096, 1)] {
        let to_dialler = Cuts { writes: Cut::AtMost(most), arrivals: Cut::None };
        run(Conditions { capacity_bytes, to_dialler, to_acceptor: Cuts::default() });
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Share(usize),
    Ping,
    /// The peer sends a ping.
    Pinged,
    Begin(usize),
    Feed(usize),
    /// After a tick, the peer reads all arrived bytes.
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![0..40usize, 0..9_000usize];
    let step = prop_oneof![
        2 => len().prop_map(Step::Send),
        2 => len().prop_map(Step::Share),
        2 => Just(Step::Ping),
        2 => Just(Step::Pinged),
        2 => len().prop_map(Step::Begin),
        6 => len().prop_map(Step::Feed),
        2 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 1..60)
}

/// The frames in sending order. A frame's flag is true for a ping or a pong, which overtakes all unflagged frames
/// that have not begun. While a body is only partly fed, the list already contains its whole frame.
#[derive(Default)]
struct Model {
    frames: Vec<(Vec<u8>, bool)>,
    /// The payload that is being fed, and the number of its bytes that have been fed.
    left: Option<(Bytes, usize)>,
    /// Number of bytes after the greeting that the kernel had accepted before the step.
    taken: usize,
}

impl Model {
    fn push(&mut self, frame: Vec<u8>) {
        self.frames.push((frame, false));
    }

    fn push_ahead(&mut self, frame: Vec<u8>) {
        let mut begin = 0;
        let may_be_overtaken = |(other, is_ahead): &(Vec<u8>, bool)| {
            let has_begun = begin < self.taken;
            begin += other.len();
            !has_begun && !is_ahead
        };
        let index = self.frames.iter().position(may_be_overtaken).unwrap_or(self.frames.len());
        self.frames.insert(index, (frame, true));
    }

    fn begin(&mut self, payload: &Bytes) -> Result<(), RequestError> {
        if self.left.is_some() {
            return Err(RequestError::BodyOpen);
        }
        self.push(frame("block", payload));
        self.left = Some((payload.clone(), 0)).filter(|_| !payload.is_empty());
        Ok(())
    }

    /// Returns the part to feed and the expected result. If enough of the payload remains, the part is the
    /// payload's next slice.
    fn feed(&mut self, len: usize) -> (Bytes, Result<(), RequestError>) {
        let Some((payload, fed)) = &mut self.left else {
            return (pattern(len), if len == 0 { Ok(()) } else { Err(RequestError::NoBody) });
        };
        if len > payload.len() - *fed {
            return (pattern(len), Err(RequestError::BodyOverrun));
        }
        let part = payload.slice(*fed..*fed + len);
        *fed += len;
        if *fed == payload.len() {
            self.left = None;
        }
        (part, Ok(()))
    }
}

fn step(room: &mut Room, peer: peerloop::PeerId, model: &mut Model, step: Step) {
    match step {
        Step::Send(len) => {
            model.push(frame("sent", &pattern(len)));
            room.act(0, move |ctx| ctx.send(peer, &opaque("sent", &pattern(len)))).unwrap();
        }
        Step::Share(len) => {
            let shared = Bytes::from(frame("shared", &pattern(len)));
            model.push(shared.to_vec());
            room.act(0, move |ctx| ctx.send_shared(peer, &shared)).unwrap();
        }
        Step::Ping => {
            let nonce = room.act(0, move |ctx| ctx.ping(peer, ctx.now())).unwrap();
            model.push_ahead(frame("ping", &nonce.to_le_bytes()));
        }
        Step::Begin(len) => {
            let payload = pattern(len);
            let header = block(&payload);
            let begun = room.act(0, move |ctx| ctx.begin_body(peer, &header));
            assert_eq!(begun, model.begin(&payload));
        }
        Step::Feed(len) => {
            let (part, expected) = model.feed(len);
            let fed = room.act(0, move |ctx| feed_whole(ctx, peer, &part));
            assert_eq!(fed, expected);
        }
        Step::Pinged | Step::Drain => unreachable!("a step of the peer was passed to the node"),
    }
    let left = room.act(0, move |ctx| ctx.peer(peer).unwrap().body_left_bytes());
    assert_eq!(left, model.left.as_ref().map(|(payload, fed)| (payload.len() - fed) as u64));
}

proptest! {
    #[test]
    fn any_order_of_calls_gives_the_bytes_of_the_model(
        steps in steps(),
        capacity_bytes in 250..20_000usize,
        is_cut in any::<bool>(),
    ) {
        let writes = if is_cut { Cut::Drawn } else { Cut::None };
        let to_dialler = Cuts { writes, arrivals: Cut::None };
        let mut room = Room::new(Conditions { capacity_bytes, to_dialler, to_acceptor: Cuts::default() });
        let (mut raw, peer) = room.add_peer();
        let (mut model, mut received) = (Model::default(), Vec::new());
        let greeting = room.nodes[0].stats().counters.bytes_sent;
        for each in steps {
            model.taken = (room.nodes[0].stats().counters.bytes_sent - greeting) as usize;
            match each {
                Step::Drain => {
                    room.run_for(TICK);
                    received.extend(room.drain(&mut raw));
                }
                Step::Pinged => {
                    raw.send(&ping());
                    room.settle();
                    model.push_ahead(pong());
                }
                Step::Send(_) | Step::Share(_) | Step::Ping | Step::Begin(_) | Step::Feed(_) => {
                    step(&mut room, peer, &mut model, each);
                }
            }
        }
        if let Some((payload, fed)) = model.left.clone() {
            step(&mut room, peer, &mut model, Step::Feed(payload.len() - fed));
        }
        received.extend(room.drain(&mut raw));
        let expected: Vec<u8> = model.frames.iter().flat_map(|(frame, _)| frame.iter().copied()).collect();
        prop_assert!(received == expected, "{} bytes differ from the model's {}", received.len(), expected.len());
        for nonce in ping_nonces(&received) {
            raw.send(&frame("pong", &nonce.to_le_bytes()));
            room.settle();
            let last = room.streamer(0).seen.pop();
            let Some(Seen::Pong { nonce: of, planned, sent }) = last else { panic!("{last:?}") };
            prop_assert!(of == nonce && planned <= sent);
        }
        prop_assert_eq!(room.seen(0), &[]);
    }
}
