//! The reference peer, which acts like SV Node and checks the loop's behaviour.
//!
//! It completes the handshake from either side, answers pings, and sends pings of its own if its profile says so. The
//! peer never misbehaves, so a loop that closes its connection must have another reason.
//!
//! The peer reports faults to its [`Journal`](super::Journal). It checks that:
//!
//! - all frames are whole and have correct checksums;
//! - apart from rejects, the version is the first message and the verack the second;
//! - the version, the verack and the protoconf are not repeated;
//! - the payloads of these messages and of pings are valid;
//! - each pong answers the ping in flight;
//! - the handshake and the pongs are in time.

use super::journal::{Tally, Wrong};
use super::line::Line;
use super::persona::{End, Persona};
use super::profile::{Profile, nonce_of};
use super::reference::{Message, Reader, nonce_frame, pong_to};
use crate::time::Instant;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

/// Time after which an honest peer gives up on an incomplete handshake (SV Node 1.2.2, net.cpp
/// `-p2phandshaketimeout`).
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(60);

/// One honest peer. It occupies 32 bytes.
#[derive(Debug)]
pub struct Honest {
    profile: Rc<Profile>,
    reader: Reader,
    /// The nonce of the ping in flight; 0 if no ping is in flight.
    awaited: u64,
    pings: u32,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    version: bool,
    verack: bool,
    protoconf: bool,
}

impl Honest {
    /// Returns a peer with this profile, for a dialled or an accepted connection.
    pub fn new(profile: &Rc<Profile>) -> Self {
        let profile = Rc::clone(profile);
        Self { profile, reader: Reader::default(), awaited: 0, pings: 0, seen: Seen::default() }
    }

    fn complain(&self, line: &Line<'_>, what: Wrong) {
        self.profile.journal.complain(line.now(), line.serial(), what);
    }

    fn count(&self, count: impl FnOnce(&mut Tally)) {
        self.profile.journal.count(count);
    }

    fn say_version(&self, line: &mut Line<'_>) {
        line.send(&self.profile.version_frame(line.serial()));
    }

    fn handle(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        self.count(|tally| tally.messages += 1);
        match &message.command {
            b"version\0\0\0\0\0" => self.handle_version(line, message.payload),
            b"reject\0\0\0\0\0\0" => self.count(|tally| tally.rejects += 1),
            _ if !self.seen.version => self.complain(line, Wrong::BeforeVersion),
            b"verack\0\0\0\0\0\0" => self.handle_verack(line, message.payload),
            _ if !self.seen.verack => self.complain(line, Wrong::BeforeVerack),
            b"ping\0\0\0\0\0\0\0\0" => match pong_to(message.frame) {
                Some(pong) => {
                    line.send(&pong);
                    self.count(|tally| tally.pings_answered += 1);
                }
                None => self.complain(line, Wrong::Malformed),
            },
            b"pong\0\0\0\0\0\0\0\0" => self.handle_pong(line, message.payload),
            b"protoconf\0\0\0" => {
                let least: &[u8] = b"\x01\0\0\x10\0";
                if message.payload.len() < least.len() {
                    self.complain(line, Wrong::Malformed);
                }
                if mem::replace(&mut self.seen.protoconf, true) {
                    self.complain(line, Wrong::Repeated);
                }
            }
            _ => {}
        }
    }

    fn handle_version(&mut self, line: &mut Line<'_>, payload: &[u8]) {
        if payload.len() < 46 {
            self.complain(line, Wrong::Malformed);
        }
        if mem::replace(&mut self.seen.version, true) {
            return self.complain(line, Wrong::Repeated);
        }
        if self.profile.is_eager {
            return;
        }
        if !line.is_dialled() {
            self.say_version(line);
        }
        line.send(&self.profile.verack);
        line.send(&self.profile.after_verack);
    }

    fn handle_verack(&mut self, line: &mut Line<'_>, payload: &[u8]) {
        if !payload.is_empty() {
            self.complain(line, Wrong::Malformed);
        }
        if mem::replace(&mut self.seen.verack, true) {
            return self.complain(line, Wrong::Repeated);
        }
        self.count(|tally| tally.ready += 1);
        line.send(&self.profile.when_ready);
        let next = match self.profile.ping_every {
            // The pings of many peers are spread over the interval.
            Some(every) => line.now().plus(every.mul_f64(f64::from(line.serial() % 1_024) / 1_024.0)),
            None => Instant::MAX,
        };
        line.wake_at(next);
    }

    fn handle_pong(&mut self, line: &Line<'_>, payload: &[u8]) {
        if self.awaited != 0 && payload == self.awaited.to_le_bytes() {
            self.awaited = 0;
            self.count(|tally| tally.pongs += 1);
        } else {
            self.complain(line, Wrong::StrayPong);
        }
    }
}

impl Persona for Honest {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.count(|tally| tally.opened += 1);
        line.wake_at(line.now().plus(HANDSHAKE_PATIENCE));
        if line.is_dialled() || self.profile.is_eager {
            self.say_version(line);
        }
        if self.profile.is_eager {
            line.send(&self.profile.verack);
            line.send(&self.profile.after_verack);
        }
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let (profile, mut reader) = (Rc::clone(&self.profile), mem::take(&mut self.reader));
        let on_frame = |message: &Message<'_>| self.handle(line, message);
        if let Err(wrong) = reader.read(bytes, profile.magic, &profile.spares, |_, _| {}, on_frame) {
            self.complain(line, wrong);
            line.close();
        }
        self.reader = reader;
    }

    fn due(&mut self, line: &mut Line<'_>) {
        if !self.seen.verack {
            self.complain(line, Wrong::NoHandshake);
            return line.close();
        }
        let Some(every) = self.profile.ping_every else { return };
        line.wake_at(line.now().plus(every));
        if self.awaited != 0 {
            return self.complain(line, Wrong::NoPong);
        }
        self.pings += 1;
        self.awaited = nonce_of(line.serial(), self.pings);
        line.send(&nonce_frame(self.profile.magic, "ping", self.awaited));
        self.count(|tally| tally.pings_sent += 1);
    }

    fn ended(&mut self, how: End, _at: Instant) {
        let is_torn = self.reader.is_within_frame();
        self.count(|tally| match how {
            End::ByPeer => {
                tally.closed += 1;
                tally.torn += u64::from(is_torn);
            }
            End::Failed(_) => tally.failed += 1,
        });
    }
}
