//! A peer that dials the loop and asks for further streams, like SV Node 1.2.2 with its option `-multistreams`.

use super::super::journal::Wrong;
use super::super::line::Line;
use super::super::persona::{End, Persona};
use super::super::profile::Profile;
use super::super::reference::Message;
use super::super::role::Role;
use super::member::Member;
use super::{Association, DATA1, GENERAL, POLICY};
use crate::time::Instant;
use std::rc::Rc;
use std::time::Duration;

/// Time after which a peer gives up on an incomplete handshake (SV Node 1.2.2, net.cpp `-p2phandshaketimeout`).
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a further connection checks whether it may send its `createstrm` (SV Node 1.2.2, net.cpp: the
/// queue of pending streams is read every 100 ms).
const POLL: Duration = Duration::from_millis(100);
/// The time for which a peer that closes a stream keeps both streams open.
const CLOSES_AFTER: Duration = Duration::from_secs(5);

/// A peer's request for a second stream, and its later actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// It becomes the stream DATA1, and both stay open.
    Data1,
    /// It becomes the stream DATA1. After five seconds, the peer closes the first connection.
    ThenCloseGeneral,
    /// It becomes the stream DATA1. After five seconds, the peer closes this stream.
    ThenCloseData1,
    /// It asks for the type of the first connection, which is in use.
    TypeInUse,
    /// It names a policy that does not exist.
    UnknownPolicy,
}

impl Setup {
    /// All setups.
    pub const ALL: [Self; 5] =
        [Self::Data1, Self::ThenCloseGeneral, Self::ThenCloseData1, Self::TypeInUse, Self::UnknownPolicy];

    /// Returns whether the loop must refuse the second connection.
    pub const fn is_refused(self) -> bool {
        match self {
            Self::Data1 | Self::ThenCloseGeneral | Self::ThenCloseData1 => false,
            Self::TypeInUse | Self::UnknownPolicy => true,
        }
    }

    /// Returns whether the peer closes one of its streams.
    pub const fn closes(self) -> bool {
        match self {
            Self::ThenCloseGeneral | Self::ThenCloseData1 => true,
            Self::Data1 | Self::TypeInUse | Self::UnknownPolicy => false,
        }
    }

    fn request(self) -> (u8, &'static [u8]) {
        match self {
            Self::Data1 | Self::ThenCloseGeneral | Self::ThenCloseData1 => (DATA1, POLICY),
            Self::TypeInUse => (GENERAL, POLICY),
            Self::UnknownPolicy => (DATA1, b"NoSuchPolicy"),
        }
    }
}

/// The personas of a peer that dials the loop.
#[derive(Clone, Debug)]
pub struct AssociationDialler {
    association: Association,
    setup: Setup,
}

impl AssociationDialler {
    /// Returns a peer with this profile. `number` makes its association id unique among the peers of one loop.
    pub fn new(profile: &Rc<Profile>, setup: Setup, number: u64) -> Self {
        let mut uuid = [0x5a; 16];
        uuid[..8].copy_from_slice(&number.to_be_bytes());
        Self { association: Association::new(profile, uuid), setup }
    }

    /// Returns the record of the peer's streams.
    pub fn association(&self) -> &Association {
        &self.association
    }

    /// Returns the role of the peer's first connection.
    pub fn general(&self) -> Role {
        Role::of(self.general_persona())
    }

    /// Returns the persona of the peer's first connection, for another persona that contains it.
    pub fn general_persona(&self) -> impl Persona + use<> {
        General { member: Member::first(&self.association), setup: self.setup, closes_at: Instant::MAX }
    }

    /// Returns the role of a further connection. It sends `createstrm` when the handshake on the first connection is
    /// complete, and closes if the loop has not repeated the association id.
    pub fn further(&self) -> Role {
        Role::of(self.further_persona())
    }

    /// Returns the persona of a further connection, for another persona that contains it.
    pub fn further_persona(&self) -> impl Persona + use<> {
        let (member, setup) = (Member::further(&self.association), self.setup);
        Further { member, setup, stage: Stage::Waiting, gives_up_at: Instant::MAX, closes_at: Instant::MAX }
    }
}

/// The first connection.
#[derive(Debug)]
struct General {
    member: Member,
    setup: Setup,
    closes_at: Instant,
}

/// A further connection.
#[derive(Debug)]
struct Further {
    member: Member,
    setup: Setup,
    stage: Stage,
    /// The moment at which the connection stops waiting for the first one.
    gives_up_at: Instant,
    closes_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// For the handshake on the first connection.
    Waiting,
    /// `createstrm` was sent.
    Asked,
    Opened,
    Rejected,
}

impl Persona for General {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.member.count(|tally| tally.opened += 1);
        line.wake_at(line.now().plus(PATIENCE));
        self.member.send_version(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        self.member.read(line, bytes, |member, line, message| {
            member.handle(line, message);
            if message.command == *b"version\0\0\0\0\0" {
                let profile = Rc::clone(&member.association.profile);
                line.send(&profile.verack);
                line.send(&profile.after_verack);
            }
        });
        let outcome = self.member.association.outcome();
        if self.setup == Setup::ThenCloseGeneral && outcome.is_ready && self.closes_at == Instant::MAX {
            self.closes_at = line.now().plus(CLOSES_AFTER);
            line.wake_at(self.closes_at.min(line.wakes_at()));
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        if !self.member.association.outcome().is_ready {
            self.member.complain(line, Wrong::NoHandshake);
            self.member.association.update(|state| state.is_over = true);
            return line.close();
        }
        if self.closes_at <= line.now() {
            self.member.association.update(|state| state.is_over = true);
            return line.close();
        }
        self.member.ping(line);
        line.wake_at(self.closes_at.min(line.wakes_at()));
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.member.ended(how, at);
    }
}

impl Further {
    /// Sends `createstrm` as soon as the first connection is ready. Closes if there can be no further stream, or if the
    /// handshake on the first connection lasts too long.
    fn ask(&mut self, line: &mut Line<'_>) {
        let (uuid, outcome, is_over) =
            self.member.association.update(|state| (state.uuid, state.outcome, state.is_over));
        if is_over || outcome.is_ready && !outcome.is_agreed || line.now() >= self.gives_up_at {
            return line.close();
        }
        if !outcome.is_ready {
            return line.wake_at(line.now().plus(POLL));
        }
        let (stream_type, policy) = self.setup.request();
        let policy_len = u8::try_from(policy.len()).expect("the name is short");
        let payload = [&super::encode_id(uuid)[..], &[stream_type, policy_len], policy].concat();
        self.member.send_frame(line, "createstrm", &payload);
        self.stage = Stage::Asked;
    }

    /// Handles the reply to `createstrm`.
    fn answered(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        let expected = [&self.member.association.id()[..], &[DATA1]].concat();
        match &message.command {
            b"streamack\0\0\0" if !self.setup.is_refused() && message.payload == expected => {
                self.stage = Stage::Opened;
                self.member.association.update(|state| state.outcome.streams += 1);
                self.member.count(|tally| tally.streams += 1);
                self.member.begin_pings(line);
                if self.setup == Setup::ThenCloseData1 {
                    self.closes_at = line.now().plus(CLOSES_AFTER);
                    line.wake_at(self.closes_at.min(line.wakes_at()));
                }
            }
            b"reject\0\0\0\0\0\0" if message.payload.starts_with(b"\x0acreatestrm\x60") => {
                self.stage = Stage::Rejected;
                self.member.association.update(|state| state.outcome.rejects += 1);
                self.member.count(|tally| tally.rejects += 1);
            }
            _ => self.member.complain(line, Wrong::NoStreamAck),
        }
    }
}

impl Persona for Further {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.gives_up_at = line.now().plus(PATIENCE);
        self.ask(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let mut messages = Vec::new();
        self.member.read(line, bytes, |_, _, message| messages.push((message.command, message.frame.to_vec())));
        for (command, frame) in messages {
            let payload = frame.get(super::super::reference::HEAD..).unwrap_or_default();
            let message = Message { command, frame: &frame, payload };
            match self.stage {
                Stage::Opened => self.member.handle(line, &message),
                Stage::Asked => self.answered(line, &message),
                Stage::Waiting | Stage::Rejected => self.member.complain(line, Wrong::BeforeVersion),
            }
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        match self.stage {
            Stage::Waiting => self.ask(line),
            Stage::Opened if self.closes_at <= line.now() => line.close(),
            Stage::Opened => {
                self.member.ping(line);
                line.wake_at(self.closes_at.min(line.wakes_at()));
            }
            Stage::Asked | Stage::Rejected => {}
        }
    }

    fn ended(&mut self, how: End, at: Instant) {
        if self.stage == Stage::Opened {
            self.member.ended(how, at);
        }
    }
}
