//! Peers that break the protocol or abuse it, one for each way that is known, and what the loop has to do about each.
//!
//! An [`Attack`] is a script of a few steps; an [`Attacker`] plays it on one connection and records the outcome in its
//! [`Record`]. The deadlines that an attack declares are those of the default configuration; a loop that is held up
//! needs slack beside them. An attack says if it holds only on a quiet network.
//!
//! | threat | attacks |
//! |---|---|
//! | P1 garbage, P2 wrong network, P3 wrong checksums, P4 lengths over limits, P32 extended headers | [`framing`] |
//! | P7 handshakes without end, P14 and P15 false pongs, P16 versions and veracks out of order | [`handshake`] |
//! | P22 half-open peers, P23 resets, P30 names that do not print, P36 absurd claims | [`handshake`] |
//! | P19 sizes, P20 and P21 counts, P33 protoconf | [`claims`] |
//! | P5 bodies, P6 headers that drip, P8 slow readers, P28 pinned buffers, P31 timers | [`resources`] |
//! | P10 inv, P11 requests, P12 addr, P13 pings, P30 rejects | [`floods`] |
//! | P9 streams into a slow sink | [`Sink`](super::Sink), which is no attacker |
//!
//! Not here, for want of what they threaten: P17 connections to oneself and P18 double ones (a dialler that chooses
//! addresses), P24 to P26 floods of connections (limits per address and eviction), P27 amplification, P34 withheld
//! transactions and P35 foreign state (a relay), P29 ground hashes (a map with peer-chosen keys).

pub mod claims;
pub mod floods;
pub mod framing;
pub mod handshake;
pub mod resources;

use super::line::Line;
use super::persona::{End, Expectation, Persona};
use super::profile::Profile;
use super::reference::{self, Message, Reader, nonce_frame, nonce_of, pong_to};
use crate::time::Instant;
use std::cell::Cell;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

/// The nonce of the ping whose pong proves that the loop still listens.
const PROOF: u64 = 0x7072_6f6f_6621_2121;

/// One way to break the protocol or to abuse it.
#[derive(Debug)]
pub struct Attack {
    /// Its number among the known threats.
    pub threat: &'static str,
    /// What it does.
    pub name: &'static str,
    /// What the loop has to do about it.
    pub expects: Expectation,
    /// Whether that holds only where neither side's bytes are held up: no cut, paused or silenced hosts and no failing
    /// calls.
    pub needs_quiet: bool,
    begins: Begins,
    manners: Manners,
    act: fn(&mut Scene<'_, '_>) -> Next,
}

/// When the first step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// When the connection opens; what there is of a handshake is in the script.
    AtOnce,
    /// After a handshake without fault.
    WhenReady,
}

/// How the loop's pings are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    Answers,
    AnswersTwice,
    /// When the script is over.
    AnswersLate,
    Silent,
}

/// What follows a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next one, after a pause.
    Wait(Duration),
    /// A ping that the loop has to answer if it still listens, and nothing more.
    Prove,
    /// Nothing.
    Rest,
}

/// What one step of a script sees and acts through.
struct Scene<'a, 'l> {
    line: &'a mut Line<'l>,
    profile: &'a Profile,
    /// Steps that were taken before.
    step: u32,
}

/// What came of an attacker. Shared with whoever judges it.
#[derive(Debug, Default)]
pub struct Record {
    began: Cell<Option<Instant>>,
    has_proved: Cell<bool>,
    ended: Cell<Option<(Instant, End)>>,
}

/// Plays an [`Attack`].
#[derive(Debug)]
pub struct Attacker {
    attack: &'static Attack,
    profile: Rc<Profile>,
    record: Rc<Record>,
    reader: Reader,
    step: u32,
    is_over: bool,
    /// It understands nothing any more.
    is_deaf: bool,
    owed: Vec<u8>,
}

/// All attacks.
pub fn attacks() -> impl Iterator<Item = &'static Attack> + Clone {
    [framing::ATTACKS, handshake::ATTACKS, claims::ATTACKS, resources::ATTACKS, floods::ATTACKS].into_iter().flatten()
}

impl Attack {
    const fn new(threat: &'static str, name: &'static str, act: fn(&mut Scene<'_, '_>) -> Next) -> Self {
        let (begins, manners) = (Begins::WhenReady, Manners::Answers);
        Self { threat, name, expects: Expectation::Kept, needs_quiet: false, begins, manners, act }
    }

    const fn at_once(self) -> Self {
        Self { begins: Begins::AtOnce, ..self }
    }

    const fn with_manners(self, manners: Manners) -> Self {
        Self { manners, ..self }
    }

    const fn closed_by(self, reasons: &'static [&'static str], within: Duration) -> Self {
        Self { expects: Expectation::ClosedBy { reasons, within }, ..self }
    }

    /// What it expects depends on when its bytes are seen.
    const fn when_quiet(self) -> Self {
        Self { needs_quiet: true, ..self }
    }
}

impl Record {
    /// When the attacker first did what it is judged for.
    pub fn began(&self) -> Option<Instant> {
        self.began.get()
    }

    /// Whether the loop has answered it after all was done, which every attack that has to be kept and does not stop
    /// listening asks for.
    pub fn has_proved(&self) -> bool {
        self.has_proved.get()
    }

    /// How and when its connection ended, if the loop did that.
    pub fn ended(&self) -> Option<(Instant, End)> {
        self.ended.get()
    }
}

impl Attacker {
    /// An attacker that otherwise is like `profile`; the record is shared.
    pub fn new(attack: &'static Attack, profile: &Rc<Profile>, record: &Rc<Record>) -> Self {
        Self {
            attack,
            profile: Rc::clone(profile),
            record: Rc::clone(record),
            reader: Reader::default(),
            step: 0,
            is_over: false,
            is_deaf: false,
            owed: Vec::new(),
        }
    }

    fn act(&mut self, line: &mut Line<'_>) {
        if self.record.began.get().is_none() {
            self.record.began.set(Some(line.now()));
        }
        let next = (self.attack.act)(&mut Scene { line, profile: &self.profile, step: self.step });
        self.step += 1;
        match next {
            Next::Wait(pause) => return line.wake_at(line.now().plus(pause)),
            Next::Prove => {
                line.send(&mem::take(&mut self.owed));
                line.send(&nonce_frame(self.profile.magic, "ping", PROOF));
            }
            Next::Rest => {}
        }
        self.is_over = true;
    }

    fn hear(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        let shakes_hands = self.attack.begins == Begins::WhenReady;
        match &message.command {
            b"version\0\0\0\0\0" if shakes_hands => {
                if !line.is_dialled() {
                    line.send(&self.profile.version_frame(line.serial()));
                }
                line.send(&self.profile.verack);
            }
            b"verack\0\0\0\0\0\0" if shakes_hands && self.step == 0 => self.act(line),
            b"ping\0\0\0\0\0\0\0\0" => {
                let Some(pong) = pong_to(message.frame) else { return };
                let times = match self.attack.manners {
                    Manners::AnswersLate if !self.is_over => return self.owed.extend_from_slice(&pong),
                    Manners::Answers | Manners::AnswersLate => 1,
                    Manners::AnswersTwice => 2,
                    Manners::Silent => 0,
                };
                for _ in 0..times {
                    line.send(&pong);
                }
            }
            b"pong\0\0\0\0\0\0\0\0" if nonce_of(message.payload) == Some(PROOF) => self.record.has_proved.set(true),
            _ => {}
        }
    }
}

impl Persona for Attacker {
    fn opened(&mut self, line: &mut Line<'_>) {
        match self.attack.begins {
            Begins::AtOnce => self.act(line),
            Begins::WhenReady if line.is_dialled() => {
                line.send(&self.profile.version_frame(line.serial()));
            }
            Begins::WhenReady => {}
        }
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        let (profile, mut reader) = (Rc::clone(&self.profile), mem::take(&mut self.reader));
        let hear = |message: &Message<'_>| self.hear(line, message);
        self.is_deaf = reader.read(bytes, profile.magic, &profile.spares, |_, _| {}, hear).is_err();
        self.reader = reader;
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.act(line);
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.record.ended.set(Some((at, how)));
    }
}

impl Scene<'_, '_> {
    fn magic(&self) -> [u8; 4] {
        self.profile.magic
    }

    fn send(&mut self, bytes: &[u8]) {
        self.line.send(bytes);
    }

    fn send_frame(&mut self, command: &str, payload: &[u8]) {
        let frame = reference::frame(self.magic(), command, payload);
        self.send(&frame);
    }

    /// A header without the payload that it claims, and with a checksum that no payload has.
    fn send_header(&mut self, command: &str, len_bytes: u32) {
        let header = reference::header(self.magic(), command, len_bytes, [0; 4]);
        self.send(&header);
    }

    fn send_extended(&mut self, command: &str, len_bytes: u64, payload: &[u8]) {
        let head = reference::extended(self.magic(), command, len_bytes, [1, 2, 3, 4]);
        self.send(&[&head, payload].concat());
    }

    fn send_ping(&mut self, nonce: u64) {
        let ping = nonce_frame(self.magic(), "ping", nonce);
        self.send(&ping);
    }

    /// The payload of a good `version`.
    fn version(&self) -> Vec<u8> {
        self.profile.version_payload(self.line.serial())
    }

    fn send_version(&mut self) {
        let version = self.version();
        self.send_frame("version", &version);
    }

    /// A version with other bytes at some places.
    fn send_version_with(&mut self, changes: &[(usize, &[u8])]) {
        let mut version = self.version();
        for (at, bytes) in changes {
            version[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.send_frame("version", &version);
    }

    fn send_verack(&mut self) {
        self.send_frame("verack", &[]);
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
