//! An attack as a script, and the attacker that plays it.
//!
//! A script names its threat and the loop's required reaction. It is written in the protocol's bytes, never with
//! the loop's codec.

use super::super::line::Line;
use super::super::persona::{End, Expectation, Persona};
use super::super::profile::Profile;
use super::super::reference::{self, Message, Reader, nonce_frame, nonce_of, pong_to};
use crate::time::Instant;
use std::cell::Cell;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

/// The nonce of an attacker's last ping. Its pong proves that the loop still reads the connection.
const PROOF: u64 = 0x7072_6f6f_6621_2121;

/// One way to break the protocol or to abuse it.
#[derive(Debug)]
pub struct Attack {
    /// The threat's number in the threat model, such as `P19`.
    pub threat: &'static str,
    /// A description of the attack.
    pub name: &'static str,
    /// The loop's required reaction if the attacker has dialled the loop.
    expects: Expectation,
    /// The required reaction if the loop has dialled the attacker; `None` if it is the same.
    expects_if_dialled: Option<Expectation>,
    /// Whether the reaction is required only if nothing delays bytes: no stream is cut into pieces, no host is cut off
    /// or paused, and no call fails.
    pub needs_quiet: bool,
    begins: Begins,
    manners: Manners,
    act: fn(&mut Scene<'_, '_>) -> Next,
}

/// The moment of the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// When the connection opens. A handshake, if any, is part of the script.
    AtOnce,
    /// After a correct handshake.
    WhenReady,
}

/// The way in which an attacker answers the loop's pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    Answers,
    AnswersTwice,
    /// The attacker holds back its pongs until it sends its last ping ([`Next::Prove`]). After that it answers at once.
    AnswersLate,
    Silent,
}

/// An attacker's action after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Do the next step after a pause.
    Wait(Duration),
    /// Send a last ping, which the loop answers if it still reads this connection.
    Prove,
    /// Perform no further step.
    Rest,
}

/// The state that one step of a script uses: the connection, the profile and the step's number.
pub(super) struct Scene<'a, 'l> {
    pub(super) line: &'a mut Line<'l>,
    pub(super) profile: &'a Profile,
    /// The number of earlier steps.
    pub(super) step: u32,
}

/// An attack's outcome, shared by its attacker and the test that judges it.
#[derive(Debug, Default)]
pub struct Record {
    began: Cell<Option<Instant>>,
    has_proved: Cell<bool>,
    ended: Cell<Option<(Instant, End)>>,
}

/// An actor that plays an [`Attack`].
#[derive(Debug)]
pub struct Attacker {
    attack: &'static Attack,
    profile: Rc<Profile>,
    record: Rc<Record>,
    reader: Reader,
    step: u32,
    is_over: bool,
    /// Whether the loop's stream is invalid, so that the attacker ignores the rest.
    is_deaf: bool,
    owed: Vec<u8>,
}

impl Attack {
    pub(super) const fn new(threat: &'static str, name: &'static str, act: fn(&mut Scene<'_, '_>) -> Next) -> Self {
        let (begins, manners) = (Begins::WhenReady, Manners::Answers);
        let (expects, expects_if_dialled) = (Expectation::Kept, None);
        Self { threat, name, expects, expects_if_dialled, needs_quiet: false, begins, manners, act }
    }

    pub(super) const fn at_once(self) -> Self {
        Self { begins: Begins::AtOnce, ..self }
    }

    pub(super) const fn with_manners(self, manners: Manners) -> Self {
        Self { manners, ..self }
    }

    pub(super) const fn closed_by(self, reasons: &'static [&'static str], within: Duration) -> Self {
        Self { expects: Expectation::ClosedBy { reasons, within }, ..self }
    }

    pub(super) const fn if_dialled_closed_by(self, reasons: &'static [&'static str], within: Duration) -> Self {
        Self { expects_if_dialled: Some(Expectation::ClosedBy { reasons, within }), ..self }
    }

    /// Returns the loop's required reaction. `dials` states whether the attacker has dialled the loop; otherwise the
    /// loop has dialled the attacker.
    pub fn expects(&self, dials: bool) -> Expectation {
        self.expects_if_dialled.filter(|_| !dials).unwrap_or(self.expects)
    }

    /// Requires the reaction only if nothing delays bytes.
    pub(super) const fn when_quiet(self) -> Self {
        Self { needs_quiet: true, ..self }
    }
}

impl Record {
    /// Returns the moment of the attacker's first step.
    pub fn began(&self) -> Option<Instant> {
        self.began.get()
    }

    /// Returns whether the loop answered the attacker's last ping. If the loop must keep the connection open, the
    /// script ends with such a ping.
    pub fn has_proved(&self) -> bool {
        self.has_proved.get()
    }

    /// Returns when and how the connection ended; `None` if it is open or the attacker itself reset it.
    pub fn ended(&self) -> Option<(Instant, End)> {
        self.ended.get()
    }
}

impl Attacker {
    /// Returns an attacker that plays `attack`, uses `profile` for everything else, and writes its outcome to `record`.
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

    fn handle(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
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
        let on_frame = |message: &Message<'_>| self.handle(line, message);
        self.is_deaf = reader.read(bytes, profile.magic, &profile.spares, |_, _| {}, on_frame).is_err();
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
    pub(super) fn magic(&self) -> [u8; 4] {
        self.profile.magic
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.line.send(bytes);
    }

    pub(super) fn send_frame(&mut self, command: &str, payload: &[u8]) {
        let frame = reference::frame(self.magic(), command, payload);
        self.send(&frame);
    }

    /// Sends a header without its payload. The checksum is zero.
    pub(super) fn send_header(&mut self, command: &str, len_bytes: u32) {
        let header = reference::header(self.magic(), command, len_bytes, [0; 4]);
        self.send(&header);
    }

    pub(super) fn send_extended(&mut self, command: &str, len_bytes: u64, payload: &[u8]) {
        let head = reference::extended(self.magic(), command, len_bytes, [1, 2, 3, 4]);
        self.send(&[&head, payload].concat());
    }

    pub(super) fn send_ping(&mut self, nonce: u64) {
        let ping = nonce_frame(self.magic(), "ping", nonce);
        self.send(&ping);
    }

    /// Returns the payload of a correct `version`.
    pub(super) fn version(&self) -> Vec<u8> {
        self.profile.version_payload(self.line.serial())
    }

    pub(super) fn send_version(&mut self) {
        let version = self.version();
        self.send_frame("version", &version);
    }

    /// Sends a `version` that is correct except for `changes`: offsets in the payload, each with the bytes that replace
    /// the correct ones.
    pub(super) fn send_version_with(&mut self, changes: &[(usize, &[u8])]) {
        let mut version = self.version();
        for (at, bytes) in changes {
            version[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.send_frame("version", &version);
    }

    pub(super) fn send_verack(&mut self) {
        self.send_frame("verack", &[]);
    }
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
