//! Streams of gigabytes in constant memory: a source that generates them, and a sink that knows every byte in advance.
//!
//! The bytes of a [`Cargo`] repeat with a prime period, and only one period is stored. If bytes are lost or repeated,
//! the bytes after them are wrong, unless the number of lost or repeated bytes is a multiple of the period. In that
//! case, only the length is wrong.

use super::line::Line;
use super::persona::{End, Persona};
use super::profile::Profile;
use super::reference::{self, Message, Reader, pong_to};
use crate::time::Instant;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

/// Number of bytes after which a cargo repeats. It is a prime, so that no usual buffer size is a multiple of it.
const PERIOD: usize = 65_521;
const COMMAND: &str = "block";

/// The payload of a `block` message of any length. Every byte is known in advance. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Cargo {
    period: Rc<[u8]>,
    len_bytes: u64,
    /// The payload's checksum; `None` if the payload needs an extended header, which has no checksum.
    checksum: Option<[u8; 4]>,
}

/// The speed at which one side sends or reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the other side allows.
    AsItCan,
    /// One portion at a time, at regular intervals.
    Portions {
        /// The maximum length of one portion, in bytes.
        len_bytes: u32,
        /// The time from one portion to the next.
        every: Duration,
    },
}

/// One side's progress with a payload, shared with the test.
#[derive(Debug, Default)]
pub struct Flow {
    moved: Cell<u64>,
    is_ready: Cell<bool>,
    is_complete: Cell<bool>,
    wrong_at: Cell<Option<u64>>,
    ended: Cell<Option<(Instant, End)>>,
}

/// An actor that sends one cargo after the handshake. It answers pings, but while it sends, its pongs wait for the
/// cargo's end.
#[derive(Debug)]
pub struct Source {
    session: Session,
    cargo: Cargo,
    pace: Pace,
    /// The number of bytes that may be sent before the next portion is due.
    portion: u64,
    /// Pongs owed for pings that arrived while the payload was being sent.
    owed: Vec<u8>,
}

/// An actor that receives one cargo after the handshake and checks it byte by byte. It also answers pings.
#[derive(Debug)]
pub struct Sink {
    session: Session,
    cargo: Cargo,
    pace: Pace,
}

/// A correct handshake, and the state that a source or a sink needs after it.
#[derive(Debug)]
struct Session {
    profile: Rc<Profile>,
    reader: Reader,
    flow: Rc<Flow>,
}

impl Cargo {
    /// Creates a payload of `len_bytes` from a seed. A payload below 4 GiB is hashed, because its header has a
    /// checksum.
    pub fn new(seed: u64, len_bytes: u64) -> Self {
        let mut state = seed;
        let period: Rc<[u8]> = (0..PERIOD)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let mut cargo = Self { period, len_bytes, checksum: None };
        if len_bytes <= u64::from(u32::MAX) {
            cargo.checksum = Some(cargo.hash());
        }
        cargo
    }

    /// Returns the payload's length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the bytes from `offset` to the end of the period or of the payload, whichever is earlier. Returns no
    /// bytes if `offset` is at or after the payload's end.
    pub fn at(&self, offset: u64) -> &[u8] {
        let left = self.len_bytes.saturating_sub(offset);
        let rest = &self.period[(offset % PERIOD as u64) as usize..];
        &rest[..left.min(rest.len() as u64) as usize]
    }

    /// Compares `bytes` with the payload from `offset` on. Returns the first wrong byte's offset in the payload;
    /// `None` if all are correct. Bytes beyond the payload's end are wrong.
    pub fn first_wrong(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut at = 0;
        while at < bytes.len() {
            let expected = self.at(offset + at as u64);
            let len = expected.len().min(bytes.len() - at);
            let found = &bytes[at..at + len];
            if len == 0 || found != &expected[..len] {
                let right = found.iter().zip(expected).take_while(|(one, two)| one == two).count();
                return Some(offset + (at + right) as u64);
            }
            at += len;
        }
        None
    }

    fn hash(&self) -> [u8; 4] {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < self.len_bytes {
            let piece = self.at(offset);
            hasher.update(piece);
            offset += piece.len() as u64;
        }
        reference::twice(hasher)
    }

    fn send_header(&self, line: &mut Line<'_>, magic: [u8; 4]) {
        match self.checksum {
            Some(checksum) => line.send(&reference::header(magic, COMMAND, self.len_bytes as u32, checksum)),
            None => line.send(&reference::extended(magic, COMMAND, self.len_bytes, [0; 4])),
        };
    }
}

impl Flow {
    /// Returns the number of payload bytes sent or received.
    pub fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Returns whether the whole payload was sent, or received with every byte correct and, if its header has a
    /// checksum, a correct checksum.
    pub fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// Returns the first wrong byte's offset in the payload, if any. If the stream is not valid, returns the number of
    /// payload bytes moved before the fault.
    pub fn wrong_at(&self) -> Option<u64> {
        self.wrong_at.get()
    }

    /// Returns when and how the connection ended; `None` if it is open or this side closed it.
    pub fn ended(&self) -> Option<(Instant, End)> {
        self.ended.get()
    }
}

impl Source {
    /// Returns a source that sends `cargo`, uses `profile` for the handshake, and records its progress in `flow`.
    pub fn new(cargo: Cargo, pace: Pace, profile: &Rc<Profile>, flow: &Rc<Flow>) -> Self {
        Self { session: Session::new(profile, flow), cargo, pace, portion: 0, owed: Vec::new() }
    }

    fn refill(&mut self, line: &mut Line<'_>) {
        match self.pace {
            Pace::AsItCan => self.portion = u64::MAX,
            Pace::Portions { len_bytes, every } => {
                self.portion = len_bytes.into();
                line.wake_at(line.now().plus(every));
            }
        }
    }

    /// Sends the bytes of the cargo that the pace and the kernel allow now.
    fn feed(&mut self, line: &mut Line<'_>) {
        let flow = Rc::clone(&self.session.flow);
        loop {
            let moved = flow.moved.get();
            let piece = self.cargo.at(moved);
            if piece.is_empty() {
                break;
            }
            let piece = &piece[..self.portion.min(piece.len() as u64) as usize];
            let taken = line.offer(piece);
            self.portion -= taken as u64;
            flow.moved.set(moved + taken as u64);
            if taken < piece.len() || self.portion == 0 {
                return;
            }
        }
        if !flow.is_complete.replace(true) {
            line.wake_at(Instant::MAX);
            line.send(&mem::take(&mut self.owed));
        }
    }
}

impl Persona for Source {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.session.opened(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let was_ready = self.session.flow.is_ready.get();
        let mut pongs = Vec::new();
        self.session.received(
            line,
            bytes,
            |_, _| {},
            |message| pongs.extend(pong_to(message.frame).into_iter().flatten()),
        );
        if !was_ready && self.session.flow.is_ready.get() {
            self.cargo.send_header(line, self.session.profile.magic);
            self.refill(line);
            self.feed(line);
        }
        match self.session.flow.is_complete.get() || !self.session.flow.is_ready.get() {
            true => drop(line.send(&pongs)),
            false => self.owed.append(&mut pongs),
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.refill(line);
        self.feed(line);
    }

    fn writable(&mut self, line: &mut Line<'_>) {
        if self.session.flow.is_ready.get() {
            self.feed(line);
        }
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.session.flow.ended.set(Some((at, how)));
    }
}

impl Sink {
    /// Returns a sink that expects `cargo`, uses `profile` for the handshake, and records its progress in `flow`.
    pub fn new(cargo: Cargo, pace: Pace, profile: &Rc<Profile>, flow: &Rc<Flow>) -> Self {
        Self { session: Session::new(profile, flow), cargo, pace }
    }

    fn take_portion(&self, line: &mut Line<'_>) {
        if let Pace::Portions { len_bytes, every } = self.pace {
            line.read_only(len_bytes);
            line.wake_at(line.now().plus(every));
        }
    }

    fn check(cargo: &Cargo, flow: &Flow, offset: u64, bytes: &[u8]) {
        flow.moved.set(flow.moved.get() + bytes.len() as u64);
        if flow.wrong_at.get().is_none() {
            flow.wrong_at.set(cargo.first_wrong(offset, bytes));
        }
    }
}

impl Persona for Sink {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.session.opened(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let (cargo, flow) = (&self.cargo, Rc::clone(&self.session.flow));
        let was_ready = flow.is_ready.get();
        let mut pongs = Vec::new();
        let large = |offset, bytes: &[u8]| Self::check(cargo, &flow, offset, bytes);
        self.session.received(line, bytes, large, |message| {
            if message.command != *b"block\0\0\0\0\0\0\0" {
                return pongs.extend(pong_to(message.frame).into_iter().flatten());
            }
            Self::check(cargo, &flow, 0, message.payload);
            flow.is_complete.set(flow.wrong_at.get().is_none() && flow.moved.get() == cargo.len_bytes);
        });
        line.send(&pongs);
        if !was_ready && flow.is_ready.get() {
            self.take_portion(line);
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.take_portion(line);
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.session.flow.ended.set(Some((at, how)));
    }
}

impl Session {
    fn new(profile: &Rc<Profile>, flow: &Rc<Flow>) -> Self {
        Self { profile: Rc::clone(profile), reader: Reader::default(), flow: Rc::clone(flow) }
    }

    fn opened(&self, line: &mut Line<'_>) {
        if line.is_dialled() {
            line.send(&self.profile.version_frame(line.serial()));
        }
    }

    /// Performs the handshake. Passes pieces of large payloads to `large`, and pings and blocks to `other`.
    fn received(
        &mut self,
        line: &mut Line<'_>,
        bytes: &[u8],
        large: impl Fn(u64, &[u8]),
        mut other: impl FnMut(&Message<'_>),
    ) {
        let Self { profile, reader, flow } = self;
        let on_frame = |message: &Message<'_>| match &message.command {
            b"version\0\0\0\0\0" => {
                if !line.is_dialled() {
                    line.send(&profile.version_frame(line.serial()));
                }
                line.send(&profile.verack);
                line.send(&profile.after_verack);
            }
            b"verack\0\0\0\0\0\0" => flow.is_ready.set(true),
            b"ping\0\0\0\0\0\0\0\0" | b"block\0\0\0\0\0\0\0" => other(message),
            _ => {}
        };
        if reader.read(bytes, profile.magic, &profile.spares, large, on_frame).is_err() {
            flow.wrong_at.set(Some(flow.moved.get()));
            line.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_cargo_form_a_payload_that_matches_its_checksum() {
        let cargo = Cargo::new(3, 200_000);
        let mut whole = Vec::new();
        while whole.len() < 200_000 {
            whole.extend_from_slice(cargo.at(whole.len() as u64));
        }
        assert_eq!(whole.len(), 200_000);
        assert!(cargo.at(200_000).is_empty());
        assert_eq!(cargo.checksum, Some(reference::checksum(&whole)));
        assert_ne!(Cargo::new(4, 200_000).checksum, cargo.checksum);
        assert_eq!(
            Cargo::new(3, 1 << 32).checksum,
            None,
            "a checksum was computed for a payload with an extended header"
        );
    }

    #[test]
    fn the_first_wrong_byte_is_found_at_any_offset() {
        let cargo = Cargo::new(3, 150_000);
        let whole: Vec<u8> = (0..150_000).map(|offset| cargo.at(offset)[0]).collect();
        assert_eq!(cargo.first_wrong(0, &whole), None);
        assert_eq!(cargo.first_wrong(60_000, &whole[60_000..140_000]), None);
        for place in [0, 1, 65_520, 65_521, 131_042, 149_999] {
            let mut wrong = whole.clone();
            wrong[place] ^= 0x80;
            assert_eq!(cargo.first_wrong(0, &wrong), Some(place as u64));
        }
        assert!(cargo.first_wrong(149_999, &whole[149_998..]).is_some());
        assert_eq!(cargo.first_wrong(150_000, &[0]), Some(150_000), "a byte beyond the end was accepted");
        for lost in [1, 4_096, 65_536, 65_520] {
            assert!(cargo.first_wrong(0, &whole[lost..lost + 50_000]).is_some(), "{lost} lost bytes were not detected");
        }
    }
}
