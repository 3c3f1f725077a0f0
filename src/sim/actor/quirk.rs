//! Honest peers that differ from the reference peer in their protocol version, messages or pace.
//!
//! The loop must treat each of them like the reference peer. They report to the same journal, and never misbehave.

use super::honest::Honest;
use super::line::Line;
use super::persona::{End, Persona};
use super::profile::{Profile, VersionTail};
use super::role::Role;
use crate::time::Instant;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The pause between two bytes of a peer with [`Quirk::OneByteAtATime`]. At this pace, a handshake lasts about four
/// seconds.
const PAUSE: Duration = Duration::from_millis(20);

/// An honest peer's deviation from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The peer claims this older protocol version.
    OldVersion(i32),
    /// The peer's `version` ends early.
    ShortVersion(VersionTail),
    /// The peer sends no `protoconf`.
    NoProtoconf,
    /// The peer sends its `version`, `verack` and `protoconf` in one segment when the connection opens.
    OneSegment,
    /// The peer sends each byte separately.
    OneByteAtATime,
}

/// A kind of peer that has a quirk.
#[derive(Clone, Debug)]
pub struct Odd {
    quirk: Quirk,
    profile: Rc<Profile>,
}

impl Quirk {
    /// All quirks. Each old version is the first with a protocol change, or the last before one.
    pub const ALL: [Self; 14] = [
        Self::OldVersion(31_800),
        Self::OldVersion(60_000),
        Self::OldVersion(60_001),
        Self::OldVersion(70_011),
        Self::OldVersion(70_012),
        Self::OldVersion(70_015),
        Self::ShortVersion(VersionTail::Relay),
        Self::ShortVersion(VersionTail::Height),
        Self::ShortVersion(VersionTail::UserAgent),
        Self::ShortVersion(VersionTail::Nonce),
        Self::ShortVersion(VersionTail::Receiver),
        Self::NoProtoconf,
        Self::OneSegment,
        Self::OneByteAtATime,
    ];
}

impl Odd {
    /// Returns the kind of peer that behaves like `profile` except for the quirk.
    pub fn new(quirk: Quirk, profile: Profile) -> Self {
        let profile = match quirk {
            Quirk::OldVersion(version) => profile.with_protocol_version(version),
            Quirk::ShortVersion(tail) => profile.with_version_tail(tail),
            Quirk::NoProtoconf => profile.without_protoconf(),
            Quirk::OneSegment => profile.eager(),
            Quirk::OneByteAtATime => profile,
        };
        Self { quirk, profile: Rc::new(profile) }
    }

    /// Returns the role of one such peer.
    pub fn role(&self) -> Role {
        let honest = Honest::new(&self.profile);
        match self.quirk {
            Quirk::OneByteAtATime => Role::of(Dripping::new(honest)),
            Quirk::OldVersion(_) | Quirk::ShortVersion(_) | Quirk::NoProtoconf | Quirk::OneSegment => honest.into(),
        }
    }
}

/// An honest peer that sends every byte separately.
#[derive(Debug)]
struct Dripping {
    honest: Honest,
    waiting: VecDeque<u8>,
    honest_due: Instant,
    next_byte_at: Instant,
}

impl Dripping {
    fn new(honest: Honest) -> Self {
        Self { honest, waiting: VecDeque::new(), honest_due: Instant::MAX, next_byte_at: Instant::MAX }
    }

    /// Lets the honest peer act, and queues its output.
    fn act(&mut self, line: &mut Line<'_>, act: impl FnOnce(&mut Honest, &mut Line<'_>)) {
        line.wake_at(self.honest_due);
        act(&mut self.honest, line);
        self.honest_due = line.wakes_at();
        line.take_back(&mut self.waiting);
        if !self.waiting.is_empty() && self.next_byte_at == Instant::MAX {
            self.next_byte_at = line.now();
        }
        line.wake_at(self.honest_due.min(self.next_byte_at));
    }
}

impl Persona for Dripping {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.act(line, Honest::opened);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        self.act(line, |honest, line| honest.received(line, bytes));
    }

    fn due(&mut self, line: &mut Line<'_>) {
        if line.now() >= self.honest_due {
            self.honest_due = Instant::MAX;
            self.act(line, Honest::due);
        }
        if line.now() >= self.next_byte_at
            && let Some(byte) = self.waiting.pop_front()
        {
            line.send(&[byte]);
            self.next_byte_at = if self.waiting.is_empty() { Instant::MAX } else { line.now().plus(PAUSE) };
        }
        line.wake_at(self.honest_due.min(self.next_byte_at));
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.honest.ended(how, at);
    }
}
