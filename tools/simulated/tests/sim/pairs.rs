//! Handlers composed on one loop: each receives the events that concern it, and messages in the form that it requested.

use peerloop::api::{Chunk, Delivery, Event, Frame};
use peerloop::handler::{Handler, PairRequest};
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{Config, Ctx, PeerId};
use peerloop_testkit::bytes::{frame, verack, version};
use peerloop_testkit::simulated::{RawPeer, config, secs};
use std::time::Duration;

/// A handler that requests every message in one form, requests wake-ups, and records its callbacks.
#[derive(Debug)]
struct Part {
    wish: Delivery,
    wakes: Vec<Duration>,
    /// At the start, the handler sets a timer that expires at this second.
    timer: Option<u64>,
    seen: Vec<String>,
    /// Whether the handler aborts the connection of each peer that sends a message.
    is_harsh: bool,
    /// On a request, the handler asks this many times, one after another, for the first peer's free room.
    pulls: usize,
    /// On a request, the handler sends a message with this mark to the first peer.
    mark: Option<u64>,
}

impl Part {
    fn new(wish: Delivery, wakes: &[u64]) -> Self {
        let wakes = wakes.iter().map(|&at| secs(at)).collect();
        Self { wish, wakes, timer: None, seen: Vec::new(), is_harsh: false, pulls: 0, mark: None }
    }

    /// Returns the handler's observations since the last call.
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }
}

impl Handler for Part {
    type Request = u32;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.seen.push("start".into());
        self.wakes.iter().for_each(|wake| ctx.wake_at(Instant::ZERO.plus(*wake)));
        if let Some(at) = self.timer {
            ctx.set_timer(7, Instant::ZERO.plus(secs(at))).unwrap();
        }
    }

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        self.seen.push(match event {
            Event::Ready { .. } => "ready".into(),
            Event::Closed { .. } => "closed".into(),
            Event::BodyCut { received, .. } => format!("cut after {received}"),
            Event::Written { mark, .. } => format!("written {mark}"),
            _ => return,
        });
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        self.seen.push(format!("header of {}", header.payload_len));
        self.wish
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.seen.push(format!("whole {}", frame.payload().len()));
        if self.is_harsh {
            ctx.abort(peer, peerloop::Disconnect::Done);
        }
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        let last =
            chunk.last().map_or("", |verdict| if verdict == ChecksumVerdict::Correct { " last" } else { " bad" });
        self.seen.push(format!("{}+{}{last}", chunk.offset(), chunk.bytes().len()));
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        self.seen.push(format!("timer {key} at {}", ctx.now().as_nanos() / 1_000_000_000));
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.seen.push(format!("woken at {}", ctx.now().as_nanos() / 1_000_000_000));
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _free_bytes: usize) {
        self.seen.push("room".into());
        self.pulls -= 1;
        if self.pulls > 0 {
            ctx.pull(peer).unwrap();
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: u32) {
        self.seen.push(format!("request {request}"));
        if let Some(mark) = self.mark {
            let (peer, marked) = (ctx.peers().next().unwrap().id(), frame("marked", &mark.to_le_bytes()));
            ctx.send_marked(peer, &marked.into(), mark).unwrap();
        }
        let ready: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).take(self.pulls).collect();
        ready.into_iter().for_each(|peer| ctx.pull(peer).unwrap());
    }
}

type Trio = (Part, (Part, Part));

/// A loop with three handlers and one ready peer.
struct Scene {
    world: World,
    node: Checked<Trio>,
    peer: RawPeer,
}

impl Scene {
    fn new(config: Config, handlers: Trio) -> Self {
        let world = World::new(1, Instant::ZERO);
        let mut node = Checked::new(&world, world.host(), config, handlers).unwrap();
        let address = node.listen((node.net().ip(), 18_444).into()).unwrap();
        let mut peer = RawPeer::dialling(&world, address);
        peer.send(&version());
        peer.send(&verack());
        let mut scene = Self { world, node, peer };
        scene.run_for(0);
        scene
    }

    fn run_for(&mut self, time: u64) {
        let until = self.world.now().plus(secs(time));
        let outcome = Driver::new(&self.world).run_until(until, &mut [&mut self.node]).unwrap();
        assert_eq!(outcome, RunOutcome::TimeOver);
        assert_eq!(self.node.violations(), []);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.peer.send(bytes);
        self.run_for(0);
    }

    /// Returns each handler's observations since the last call.
    fn take(&mut self) -> [Vec<String>; 3] {
        let (first, (second, third)) = self.node.handler_mut();
        [first.take(), second.take(), third.take()]
    }
}

fn trio(wishes: [Delivery; 3]) -> Trio {
    let [first, second, third] = wishes.map(|wish| Part::new(wish, &[]));
    (first, (second, third))
}

#[test]
fn each_handler_is_woken_at_the_earliest_moment_that_it_requested() {
    let part = |wakes| Part::new(Delivery::Discard, wakes);
    let mut scene = Scene::new(config(), (part(&[7, 3]), (part(&[3]), part(&[5, 9]))));
    assert_eq!(scene.take(), [["start", "ready"]; 3]);
    scene.run_for(20);
    assert_eq!(scene.take(), [["woken at 3"], ["woken at 3"], ["woken at 5"]]);
}

#[test]
fn handlers_may_use_the_same_timer_key() {
    let part = |at| Part { timer: Some(at), ..Part::new(Delivery::Discard, &[]) };
    let mut scene = Scene::new(config(), (part(3), (part(5), part(4))));
    assert_eq!(scene.take(), [["start", "ready"]; 3]);
    scene.run_for(20);
    assert_eq!(scene.take(), [["timer 7 at 3"], ["timer 7 at 5"], ["timer 7 at 4"]]);
}

#[test]
fn a_request_reaches_the_handler_that_it_names() {
    let mut scene = Scene::new(config(), trio([Delivery::Discard; 3]));
    scene.take();
    let handle = scene.node.handle();
    for request in
        [PairRequest::First(1), PairRequest::Second(PairRequest::First(2)), PairRequest::Second(PairRequest::Second(3))]
    {
        handle.request(request).unwrap();
    }
    scene.run_for(0);
    assert_eq!(scene.take(), [["request 1"], ["request 2"], ["request 3"]]);
}

#[test]
fn each_handler_gets_a_message_in_the_form_that_it_asked_for() {
    use Delivery::{Buffer, Chunks, Discard};
    let mut scene = Scene::new(config(), trio([Buffer, Chunks, Discard]));
    scene.take();
    scene.send(&frame("tx", &[7; 100]));
    let [first, second, third] = scene.take();
    assert_eq!(first, ["header of 100", "whole 100"]);
    assert_eq!(second, ["header of 100", "0+100 last"]);
    assert_eq!(third, ["header of 100"]);

    let mut scene = Scene::new(config(), trio([Discard, Discard, Chunks]));
    scene.take();
    let long = frame("tx", &[7; 100]);
    scene.send(&long[..84]);
    scene.send(&long[84..]);
    let [first, second, third] = scene.take();
    assert_eq!([first, second], [["header of 100"]; 2]);
    assert_eq!(third, ["header of 100", "0+60", "60+40 last"]);

    let mut scene = Scene::new(config(), trio([Discard; 3]));
    scene.send(&long);
    assert_eq!(scene.node.stats().counters.discarded, 1);
}

#[test]
fn a_message_too_large_to_be_buffered_reaches_the_handler_that_accepts_chunks() {
    use Delivery::{Buffer, Chunks, Discard};
    let small = config().with_max_buffered_message_bytes(2_048);
    let mut scene = Scene::new(small, trio([Buffer, Discard, Chunks]));
    scene.take();
    scene.send(&frame("tx", &[7; 2_049]));
    let [first, second, third] = scene.take();
    assert_eq!([first, second], [["header of 2049"]; 2]);
    assert_eq!(third, ["header of 2049", "0+2049 last"]);
}

#[test]
fn a_cut_message_is_reported_to_the_handler_that_received_its_chunks() {
    use Delivery::{Chunks, Discard};
    let mut scene = Scene::new(config(), trio([Discard, Chunks, Discard]));
    scene.take();
    scene.send(&frame("tx", &[7; 100])[..84]);
    scene.peer.close();
    scene.run_for(0);
    let [first, second, third] = scene.take();
    assert_eq!([first, third], [["header of 100", "closed"]; 2]);
    assert_eq!(second, ["header of 100", "0+60", "cut after 60", "closed"]);
}

#[test]
fn every_handler_receives_a_message_even_if_another_handler_aborts_its_sender() {
    let mut handlers = trio([Delivery::Buffer; 3]);
    handlers.0.is_harsh = true;
    let mut scene = Scene::new(config(), handlers);
    scene.take();
    scene.send(&frame("tx", &[7; 10]));
    assert_eq!(scene.take(), [["header of 10", "whole 10", "closed"]; 3]);
}

#[test]
fn free_room_is_offered_to_each_handler_as_often_as_it_asked() {
    let mut handlers = trio([Delivery::Discard; 3]);
    (handlers.0.pulls, handlers.1.1.pulls) = (3, 2);
    let mut scene = Scene::new(config(), handlers);
    scene.take();
    let handle = scene.node.handle();
    handle.request(PairRequest::First(1)).unwrap();
    handle.request(PairRequest::Second(PairRequest::Second(2))).unwrap();
    scene.run_for(0);
    let [first, second, third] = scene.take();
    assert_eq!(first, ["request 1", "room", "room", "room"]);
    assert!(second.is_empty());
    assert_eq!(third, ["request 2", "room", "room"]);
}

#[test]
fn a_mark_is_reported_to_the_handler_that_set_it() {
    let mut handlers = trio([Delivery::Discard; 3]);
    (handlers.0.mark, handlers.1.0.mark, handlers.1.1.mark) = (Some(5), Some(6), Some(7));
    let mut scene = Scene::new(config(), handlers);
    scene.take();
    let handle = scene.node.handle();
    handle.request(PairRequest::First(1)).unwrap();
    handle.request(PairRequest::Second(PairRequest::Second(2))).unwrap();
    handle.request(PairRequest::Second(PairRequest::First(3))).unwrap();
    scene.run_for(0);
    let [first, second, third] = scene.take();
    assert_eq!(first, ["request 1", "written 5"]);
    assert_eq!(second, ["request 3", "written 6"]);
    assert_eq!(third, ["request 2", "written 7"]);
}

#[test]
fn a_wake_up_requested_between_turns_for_one_handler_wakes_only_that_one() {
    let mut scene = Scene::new(config(), trio([Delivery::Discard; 3]));
    scene.take();
    scene.node.act(|(_, (_, third)), ctx| {
        third.seen.push("act".into());
        let moment = ctx.now().plus(secs(2));
        ctx.second().second().wake_at(moment);
        assert_eq!(ctx.ready_count(), 1);
    });
    scene.run_for(5);
    assert_eq!(scene.take(), [vec![], vec![], vec!["act", "woken at 2"]]);
}
