//! A naive reader of a whole stream, and a driver that feeds the same stream to a framer in pieces.

use crate::bytes::sha256_twice;
use peerloop::error::WireError;
use peerloop::internals::framer::{
    ChecksumVerdict, Delivery, DropCause, FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer, Payload,
};
use peerloop::internals::limits::{
    BUFFER_GROWTH_BYTES, MAX_BUFFERED_MESSAGE_BYTES, MAX_BUFFERED_TOTAL_BYTES, MIN_BODY_BYTES_PER_SECOND,
};
use peerloop::protocol::{CommandName, Network};
use peerloop::time::Instant;
use peerloop::wire::{Header, PayloadLimits};

pub const MAGIC: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];

pub fn rules() -> FramerRules {
    FramerRules {
        magic: MAGIC,
        limits: PayloadLimits::default(),
        frame_limits: FrameLimits::uniform(MAX_BUFFERED_MESSAGE_BYTES),
        min_body_bytes_per_second: MIN_BODY_BYTES_PER_SECOND,
    }
}

pub fn memory() -> FramerMemory {
    FramerMemory::new(MAX_BUFFERED_TOTAL_BYTES)
}

/// The decision of a framer's caller about a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Deliver(Delivery),
    Refuse,
}

impl Choice {
    pub const BUFFER: Self = Self::Deliver(Delivery::Buffer);
    pub const STREAM: Self = Self::Deliver(Delivery::Chunks);
    pub const UNCHECKED: Self = Self::Deliver(Delivery::UncheckedChunks);
    pub const DISCARD: Self = Self::Deliver(Delivery::Discard);

    pub fn decide(self, header: &Header) -> Result<Delivery, WireError> {
        match self {
            Self::Deliver(delivery) => Ok(delivery),
            Self::Refuse => Err(WireError::BadValue { command: header.command }),
        }
    }
}

/// The outcome of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Frame { command: [u8; 12], payload: Vec<u8> },
    Streamed { command: [u8; 12], payload: Vec<u8>, verdict: ChecksumVerdict },
    Dropped { command: [u8; 12], payload_len: u64, cause: DropCause },
}

/// The outcome of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamResults {
    pub outcomes: Vec<Outcome>,
    /// The delivered bytes of a streamed frame that did not arrive completely.
    pub unfinished: Vec<u8>,
    pub error: Option<WireError>,
    /// Number of headers for which the caller's decision was requested.
    pub asked: usize,
}

pub fn command(text: &[u8]) -> [u8; 12] {
    let mut command = [0; 12];
    command[..text.len()].copy_from_slice(text);
    command
}

pub fn head(command: [u8; 12], len_bytes: u32, checksum: [u8; 4]) -> Vec<u8> {
    [&MAGIC[..], &command, &len_bytes.to_le_bytes(), &checksum].concat()
}

pub fn frame(name: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(command(name.as_bytes()), payload.len() as u32, sha256_twice(payload));
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a frame with an extended header. The header's outer length and checksum are arbitrary, because readers
/// ignore them.
pub fn extended(outer: &[u8], inner: &[u8], len: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(command(outer), 7, [9; 4]);
    bytes.extend_from_slice(&command(inner));
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a payload that changes if any of its bytes are shifted or repeated.
pub fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8).collect()
}

/// Returns the maximum payload length of a command, in bytes, according to the specification.
pub fn limit(command: [u8; 12], rules: &FramerRules) -> u64 {
    let name = command.iter().copied().take_while(|&byte| byte != 0).collect::<Vec<u8>>();
    if command[name.len()..].iter().any(|&byte| byte != 0) {
        return rules.limits.max_message_bytes;
    }
    match &name[..] {
        b"protoconf" => 1_048_576,
        b"tx" | b"datareftx" => 1_000_000_000,
        b"block" | b"cmpctblock" | b"blocktxn" | b"hdrsen" => rules.limits.max_block_bytes,
        b"getblocktxn" => {
            let indexes = rules.limits.max_block_bytes / 215 * 6;
            indexes + if indexes > 0xffff_ffff { 44 } else { 24 }
        }
        _ => rules.limits.max_message_bytes,
    }
}

pub fn is_well_formed(command: [u8; 12]) -> bool {
    let mut name_has_ended = false;
    command.iter().all(|&byte| {
        name_has_ended |= byte == 0;
        if name_has_ended { byte == 0 } else { (b' '..=b'~').contains(&byte) }
    })
}

/// Returns the error for a magic whose first wrong byte is at index `wrong`. In the error, the bytes after the wrong
/// byte are zero.
fn bad_magic(found: &[u8], wrong: usize) -> WireError {
    let mut decided = [0; 4];
    decided[..=wrong].copy_from_slice(&found[..=wrong]);
    WireError::BadMagic { found: decided, network: None }
}

/// Removes the data that depends on how much had arrived: the bytes after a wrong magic's first wrong byte, and the
/// magic's network. Returns other errors unchanged.
pub fn decided(error: WireError) -> WireError {
    match error {
        WireError::BadMagic { found, network } => {
            assert!(network.is_none() || network == Network::from_magic(found));
            bad_magic(&found, (0..4).find(|&at| found[at] != MAGIC[at]).expect("one of the four bytes is wrong"))
        }
        other => other,
    }
}

/// Reads the whole stream. The n-th decision about a header is the n-th choice, cyclically.
pub fn read_whole(stream: &[u8], rules: &FramerRules, choices: &[Choice]) -> StreamResults {
    let mut results = StreamResults::default();
    let mut rest = stream;
    loop {
        if let Some(wrong) = rest.iter().zip(&MAGIC).position(|(found, expected)| found != expected) {
            results.error = Some(bad_magic(rest, wrong));
            return results;
        }
        if rest.len() < 24 {
            return results;
        }
        let outer: [u8; 12] = rest[4..16].try_into().expect("the range has this length");
        let is_extended = outer[..6] == *b"extmsg";
        let head_len = if is_extended { 44 } else { 24 };
        if rest.len() < head_len {
            return results;
        }
        let (command, payload_len, checksum) = if is_extended {
            let len = u64::from_le_bytes(rest[36..44].try_into().expect("the range has this length"));
            (rest[24..36].try_into().expect("the range has this length"), len, None)
        } else {
            let len = u32::from_le_bytes(rest[16..20].try_into().expect("the range has this length"));
            (outer, u64::from(len), Some(rest[20..24].try_into().expect("the range has this length")))
        };
        let header = Header { command: CommandName::from_bytes(command), payload_len, checksum };
        if header.payload_len > limit(command, rules) {
            results.error = Some(WireError::OverLimit { command: header.command, len_bytes: header.payload_len });
            return results;
        }
        let mut delivery = None;
        if is_well_formed(command) && is_well_formed(outer) {
            match choices[results.asked % choices.len()].decide(&header) {
                Ok(chosen) => delivery = Some(chosen),
                Err(error) => results.error = Some(error),
            }
            results.asked += 1;
        }
        if results.error.is_some() {
            return results;
        }
        let Some(payload) = rest[head_len..].get(..payload_len as usize) else {
            if delivery.is_some_and(Delivery::is_chunks) {
                results.unfinished = rest[head_len..].to_vec();
            }
            return results;
        };
        rest = &rest[head_len + payload.len()..];
        results.outcomes.push(outcome(&header, payload, delivery, rules));
    }
}

fn outcome(header: &Header, payload: &[u8], delivery: Option<Delivery>, rules: &FramerRules) -> Outcome {
    let command = header.command.to_bytes();
    let is_correct = header.checksum.is_none_or(|checksum| checksum == sha256_twice(payload));
    let dropped = |cause| Outcome::Dropped { command, payload_len: payload.len() as u64, cause };
    match delivery {
        None => dropped(DropCause::MalformedCommand),
        Some(Delivery::Discard) => dropped(DropCause::Discarded),
        Some(Delivery::Chunks) => {
            let verdict = match header.checksum {
                None => ChecksumVerdict::Absent,
                Some(_) if is_correct => ChecksumVerdict::Correct,
                Some(_) => ChecksumVerdict::Wrong,
            };
            Outcome::Streamed { command, payload: payload.to_vec(), verdict }
        }
        Some(Delivery::UncheckedChunks) => {
            Outcome::Streamed { command, payload: payload.to_vec(), verdict: ChecksumVerdict::Unchecked }
        }
        Some(Delivery::Buffer) if payload.len() as u64 > rules.frame_limits.limit(header.command) => {
            dropped(DropCause::OverBufferLimit)
        }
        Some(Delivery::Buffer) if is_correct => Outcome::Frame { command, payload: payload.to_vec() },
        Some(Delivery::Buffer) => dropped(DropCause::BadChecksum),
    }
}

/// How the next bytes arrive.
#[derive(Clone, Copy, Debug)]
pub enum Arrival {
    /// At most this many bytes in a block.
    Block(usize),
    /// At most this many bytes directly into the framer's room, or in a block if the framer offers no room.
    Direct(usize),
}

/// One link: a framer and its results so far.
pub struct Link<'a> {
    pub framer: MessageFramer,
    pub results: StreamResults,
    rules: &'a FramerRules,
    choices: &'a [Choice],
    fed_bytes: u64,
    /// Number of bytes in all completed frames.
    finished_bytes: u64,
    /// The payload length that the last header claims.
    payload_len: u64,
    /// The last header's own length.
    head_len: u64,
    /// Number of times that the framer offered room into which bytes could arrive directly.
    pub rooms_offered: usize,
}

impl<'a> Link<'a> {
    pub fn new(rules: &'a FramerRules, choices: &'a [Choice]) -> Self {
        Self {
            framer: MessageFramer::default(),
            results: StreamResults::default(),
            rules,
            choices,
            fed_bytes: 0,
            finished_bytes: 0,
            payload_len: 0,
            head_len: 0,
            rooms_offered: 0,
        }
    }

    /// Delivers bytes from the beginning of `rest` and returns their number.
    pub fn arrive(&mut self, rest: &[u8], arrival: Arrival, memory: &mut FramerMemory) -> usize {
        let taken = match arrival {
            Arrival::Direct(most) => self.arrive_directly(&rest[..most.min(rest.len())], memory),
            Arrival::Block(_) => None,
        };
        if let Some(taken) = taken {
            self.parse(&[], memory);
            return taken;
        }
        let (Arrival::Block(most) | Arrival::Direct(most)) = arrival;
        let block = &rest[..most.min(rest.len())];
        self.fed_bytes += block.len() as u64;
        self.parse(block, memory);
        block.len()
    }

    fn arrive_directly(&mut self, bytes: &[u8], memory: &mut FramerMemory) -> Option<usize> {
        let within = self.fed_bytes - self.finished_bytes;
        let room = self.framer.direct_room(memory)?;
        self.rooms_offered += 1;
        assert!(!room.is_empty() && room.len() <= BUFFER_GROWTH_BYTES);
        assert!(within >= self.head_len, "room was offered before the header was complete");
        assert!(within + room.len() as u64 <= self.head_len + self.payload_len, "the room exceeds the frame");
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.framer.received_directly(taken, Instant::ZERO);
        self.fed_bytes += taken as u64;
        Some(taken)
    }

    fn parse(&mut self, block: &[u8], memory: &mut FramerMemory) {
        let mut input = Input::new(block);
        while self.results.error.is_none() {
            let (asked, choices) = (&mut self.results.asked, self.choices);
            let (payload_len, head_len) = (&mut self.payload_len, &mut self.head_len);
            let next = self.framer.next(&mut input, Instant::ZERO, self.rules, memory, |header| {
                *asked += 1;
                *payload_len = header.payload_len;
                *head_len = header.len_bytes() as u64;
                choices[(*asked - 1) % choices.len()].decide(header)
            });
            match next {
                Ok(Some(framed)) => self.note(framed, memory),
                Ok(None) => break,
                Err(error) => self.fail(error, memory),
            }
        }
        if self.results.error.is_none() {
            assert!(input.rest().is_empty(), "a part of the input was not consumed");
            assert_eq!(self.framer.is_within_frame(), self.fed_bytes > self.finished_bytes);
            assert_eq!(self.framer.deadline().is_some(), self.framer.is_within_frame());
        }
    }

    fn note(&mut self, framed: Framed<'_>, memory: &mut FramerMemory) {
        let (header, outcome) = match framed {
            Framed::Frame { header, payload } => {
                let command = header.command.to_bytes();
                let outcome = Outcome::Frame { command, payload: payload.as_slice().to_vec() };
                match payload {
                    Payload::InPlace(_) => {}
                    Payload::Gathered(payload) => memory.recycle(payload),
                }
                (header, outcome)
            }
            Framed::Chunk { header, offset, bytes, last } => {
                assert_eq!(offset, self.results.unfinished.len() as u64, "a chunk does not follow the one before");
                assert!(!bytes.is_empty() || header.payload_len == 0, "a chunk of a non-empty payload is empty");
                self.results.unfinished.extend_from_slice(bytes);
                let is_whole = self.results.unfinished.len() as u64 == header.payload_len;
                assert_eq!(
                    last.is_some(),
                    is_whole,
                    "a chunk other than the last has the verdict, or the last has none"
                );
                let Some(verdict) = last else { return };
                let payload = std::mem::take(&mut self.results.unfinished);
                (header, Outcome::Streamed { command: header.command.to_bytes(), payload, verdict })
            }
            Framed::Dropped { header, cause } => {
                let command = header.command.to_bytes();
                (header, Outcome::Dropped { command, payload_len: header.payload_len, cause })
            }
        };
        self.finished_bytes += header.len_bytes() as u64 + header.payload_len;
        assert!(self.finished_bytes <= self.fed_bytes, "the finished frames are larger than the input");
        self.results.outcomes.push(outcome);
    }

    /// Records the error, and checks that later calls to the framer return only this error.
    fn fail(&mut self, error: WireError, memory: &mut FramerMemory) {
        self.results.error = Some(decided(error));
        let good = frame("verack", b"");
        for block in [&good[..], &good[..1], &[]] {
            let mut input = Input::new(block);
            let next = self.framer.next(&mut input, Instant::ZERO, self.rules, memory, |_| {
                panic!("the framer read a header after an error")
            });
            assert_eq!(next, Err(error));
            assert_eq!(input.rest(), block, "input was consumed after an error");
        }
        assert!(!self.framer.is_within_frame());
        assert!(self.framer.direct_room(memory).is_none());
        assert_eq!(self.framer.deadline(), None);
        assert_eq!(self.framer.overdue(Instant::MAX, self.rules), None);
    }
}

/// Reads the stream through a framer. The arrivals are repeated cyclically; at least one of them must not be empty.
pub fn read_arriving(stream: &[u8], arrivals: &[Arrival], rules: &FramerRules, choices: &[Choice]) -> StreamResults {
    let mut memory = memory();
    let mut link = Link::new(rules, choices);
    let mut rest = stream;
    for arrival in arrivals.iter().cycle() {
        if rest.is_empty() || link.results.error.is_some() {
            break;
        }
        rest = &rest[link.arrive(rest, *arrival, &mut memory)..];
        let within = link.fed_bytes - link.finished_bytes;
        assert!(
            memory.gathered_bytes() <= within + BUFFER_GROWTH_BYTES as u64,
            "the memory exceeds the unfinished frame's received bytes by more than one growth step"
        );
        if !link.framer.is_within_frame() {
            assert_eq!(memory.gathered_bytes(), 0, "memory was in use between frames");
        }
    }
    link.framer.reset(&mut memory);
    assert_eq!(memory.gathered_bytes(), 0, "the reset did not return all memory");
    link.results
}
