//! For any messages that a peer sends or omits, the loop's handshake follows the [`Model`], whether the loop dials or
//! accepts. The loop sends and accepts nothing too early, and the handshake completes or fails in time.

use crate::tape::Tape;
use peerloop::internals::limits::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKE_MESSAGES};
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes;
use peerloop_testkit::bytes::{commands, frame};
use peerloop_testkit::simulated;
use peerloop_testkit::simulated::{Node, Player, RawPeer};
use std::time::Duration;

const PROTOCOL_VERSIONS: [i32; 10] = [70_016, 70_015, 70_012, 70_011, 60_001, 60_000, 31_800, 31_799, 0, -1];
const AGENTS: [Option<&[u8]>; 5] =
    [None, Some(b""), Some(b"/Bitcoin SV:1.0.13/"), Some(b"/Satoshi:0.1/"), Some(&[b'a'; 253])];
const MAX_STEPS: usize = 40;

/// A step that the peer performs.
#[derive(Clone, Debug)]
enum Step {
    Version(Spoken),
    BrokenVersion(usize),
    Verack,
    Ping,
    /// A message that is valid only after the handshake, or never.
    Early(&'static str),
    BadChecksum,
    Wait(Duration),
}

/// The fields of the peer's `version` that vary.
#[derive(Clone, Copy, Debug)]
struct Spoken {
    protocol_version: i32,
    agent: Option<&'static [u8]>,
}

/// The state of the handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    Awaited,
    Ready,
    Closed(&'static str),
}

/// The expected course of the handshake.
#[derive(Debug)]
struct Model {
    began: Instant,
    stand: Stand,
    version: Option<Spoken>,
    has_verack: bool,
    messages: u8,
    has_protoconf: bool,
    was_ready: bool,
    is_dialler: bool,
    said: Vec<&'static str>,
}

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let is_dialler = tape.u8() % 2 == 1;
    let world = World::new(1, Instant::ZERO);
    let mut peer = RawPeer::new(&world);
    let config = simulated::config().with_ping_interval(Duration::ZERO);
    let player = if is_dialler { Player::dialling(peer.listen()) } else { Player::default() };
    let mut node = Node::new(&world, config, player);
    if !is_dialler {
        peer.dial(node.address);
    }
    run(&world, &mut node, Duration::ZERO);
    if is_dialler {
        peer.accept();
    }
    let mut model = Model::new(world.now(), is_dialler);
    let mut received = Vec::new();
    for _ in 0..MAX_STEPS {
        if tape.is_empty() || !matches!(model.stand, Stand::Awaited | Stand::Ready) {
            break;
        }
        let step = step(&mut tape);
        play(&step, &mut peer);
        run(&world, &mut node, if let Step::Wait(time) = step { time } else { Duration::ZERO });
        model.apply(&step, world.now());
        received.extend(peer.receive());
        assert_eq!(commands(&received), model.said, "{step:?}");
        assert_eq!(node.seen().ready.len(), usize::from(model.was_ready), "{step:?}");
    }
    // The peer is silent from now on, so an incomplete handshake must time out.
    run(&world, &mut node, HANDSHAKE_TIMEOUT + Duration::from_secs(5));
    model.apply(&Step::Wait(HANDSHAKE_TIMEOUT), world.now());
    compare_end(&node, &model);
}

fn compare_end(node: &Node, model: &Model) {
    let seen = node.seen();
    match model.stand {
        Stand::Awaited => unreachable!("an incomplete handshake has not timed out"),
        Stand::Ready => assert_eq!(seen.closed, [], "a ready peer was closed"),
        Stand::Closed(reason) => {
            let closed = node.closed();
            assert_eq!(closed.reason.label(), reason);
            if reason == "handshake_timeout" {
                let late = closed.at.since(model.began.plus(HANDSHAKE_TIMEOUT));
                assert!(late <= simulated::TICK && closed.at >= model.began.plus(HANDSHAKE_TIMEOUT), "{closed:?}");
            }
        }
    }
}

fn run(world: &World, node: &mut Node, time: Duration) {
    let actors: &mut [&mut dyn Actor] = &mut [&mut node.reactor];
    Driver::new(world).run_until(world.now().plus(time), actors).expect("the loop keeps running");
}

fn step(tape: &mut Tape<'_>) -> Step {
    match tape.u8() {
        0x00..=0x3f => {
            Step::Version(Spoken { protocol_version: tape.pick(&PROTOCOL_VERSIONS), agent: tape.pick(&AGENTS) })
        }
        0x40..=0x4f => Step::BrokenVersion(usize::from(tape.u8())),
        0x50..=0x8f => Step::Verack,
        0x90..=0xaf => Step::Ping,
        0xb0..=0xcf => Step::Early(tape.pick(&["inv", "protoconf", "sendheaders", "", "no such", "pong", "getdata"])),
        0xd0..=0xdf => Step::BadChecksum,
        0xe0..=0xff => Step::Wait(Duration::from_millis(u64::from(tape.u16() % 6_000))),
    }
}

fn play(step: &Step, peer: &mut RawPeer) {
    match *step {
        Step::Version(spoken) => peer.send(&frame("version", &spoken.payload())),
        Step::BrokenVersion(len) => peer.send(&frame("version", &broken_version(len))),
        Step::Verack => peer.send(&bytes::verack()),
        Step::Ping => peer.send(&bytes::ping()),
        // The loop decodes a `protoconf` once the handshake is complete, so its payload is valid.
        Step::Early("protoconf") => peer.send(&bytes::protoconf()),
        Step::Early(command @ ("inv" | "getdata")) => peer.send(&frame(command, &[0])),
        Step::Early(command) => peer.send(&frame(command, &[])),
        Step::BadChecksum => peer.send(&bytes::header("verack", 0, &[0; 4])),
        Step::Wait(_) => {}
    }
}

/// Returns the payload of a `version` that ends within its first four fields or within its user agent.
fn broken_version(len: usize) -> Vec<u8> {
    let spoken = Spoken { protocol_version: 70_016, agent: Some(b"/Bitcoin SV:1.0.13/") };
    let mut payload = spoken.payload();
    payload.truncate(if len < 46 { len } else { 81 + len % 19 });
    payload
}

impl Spoken {
    fn payload(&self) -> Vec<u8> {
        let mut payload = self.protocol_version.to_le_bytes().to_vec();
        payload.resize(4 + 8 + 8 + 26, 0);
        let Some(agent) = self.agent else { return payload };
        payload.resize(payload.len() + 26 + 8, 0);
        match agent.len() {
            len @ 0..=0xfc => payload.push(len as u8),
            len => payload.extend_from_slice(&[0xfd, len as u8, (len >> 8) as u8]),
        }
        payload.extend_from_slice(agent);
        payload.extend_from_slice(&[0; 5]);
        payload
    }

    /// Returns the label of the reason to refuse the peer, or `None` if the peer is compatible.
    fn refusal(&self) -> Option<&'static str> {
        if self.protocol_version < 31_800 {
            return Some("protocol_version");
        }
        (self.agent == Some(b"/Satoshi:0.1/")).then_some("wrong_blockchain")
    }
}

impl Model {
    fn new(began: Instant, is_dialler: bool) -> Self {
        let said = if is_dialler { vec!["version"] } else { Vec::new() };
        Self {
            began,
            stand: Stand::Awaited,
            version: None,
            has_verack: false,
            messages: 0,
            has_protoconf: false,
            was_ready: false,
            is_dialler,
            said,
        }
    }

    fn apply(&mut self, step: &Step, now: Instant) {
        if self.stand == Stand::Awaited {
            self.apply_awaited(step, now);
        } else if self.stand == Stand::Ready {
            self.apply_ready(step);
        }
    }

    fn apply_awaited(&mut self, step: &Step, now: Instant) {
        if let Step::Wait(_) = step {
            if now >= self.began.plus(HANDSHAKE_TIMEOUT) {
                self.stand = Stand::Closed("handshake_timeout");
            }
            return;
        }
        self.messages += 1;
        if self.messages > MAX_HANDSHAKE_MESSAGES {
            self.stand = Stand::Closed("handshake_flood");
            return;
        }
        match step {
            Step::Version(spoken) if self.version.is_none() => self.handle(*spoken),
            Step::BrokenVersion(_) if self.version.is_none() => {
                self.said.push("reject");
                self.stand = Stand::Closed("truncated_message");
            }
            Step::Version(_) | Step::BrokenVersion(_) => self.said.push("reject"),
            Step::Verack => self.has_verack = true,
            Step::Ping | Step::Early(_) | Step::BadChecksum => {}
            Step::Wait(_) => {}
        }
        if self.stand == Stand::Awaited && self.version.is_some() && self.has_verack {
            self.stand = Stand::Ready;
            self.was_ready = true;
            if self.version.is_some_and(|spoken| spoken.protocol_version >= 70_012) {
                self.said.push("sendheaders");
            }
        }
    }

    fn handle(&mut self, spoken: Spoken) {
        self.version = Some(spoken);
        if let Some(refusal) = spoken.refusal() {
            self.stand = Stand::Closed(refusal);
            if refusal == "protocol_version" {
                self.said.push("reject");
            }
            return;
        }
        if !self.is_dialler {
            self.said.push("version");
        }
        self.said.extend(["verack", "protoconf"]);
    }

    fn apply_ready(&mut self, step: &Step) {
        let answers = self.version.is_some_and(|spoken| spoken.protocol_version > 60_000);
        match step {
            Step::Ping if answers => self.said.push("pong"),
            Step::Early("protoconf") if self.has_protoconf => self.stand = Stand::Closed("second_protoconf"),
            Step::Early("protoconf") => self.has_protoconf = true,
            Step::Version(_) | Step::BrokenVersion(_) => self.said.push("reject"),
            Step::Ping | Step::Verack | Step::Early(_) => {}
            Step::BadChecksum | Step::Wait(_) => {}
        }
    }
}
