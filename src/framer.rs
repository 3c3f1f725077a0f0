//! Bytes to frames, resumable at every byte.
//!
//! A [`MessageFramer`] is the receiving half of one link. Each call of [`MessageFramer::next`] takes the next thing
//! out of the input: a whole frame, a chunk of a streamed one, or the news that one was dropped. It promises that
//!
//! - the first byte that cannot belong to the network's magic ends the link, and a length above the command's limit
//!   does so as soon as the header is complete, before any payload is looked at; after an error nothing more comes
//!   out;
//! - what comes out does not depend on how the bytes were cut;
//! - a frame that lies whole in the input is handed out in place, and only one that does not is gathered in memory of
//!   the link's own, which grows with the bytes received and never with the bytes claimed, and is bounded per message
//!   and for all links together ([`FramerMemory`]); beyond either bound the payload is discarded and counted;
//! - between frames it owns nothing.
//!
//! It never interprets a payload, never reads a clock and never asks anyone but its caller what to do with a frame.

use crate::buffer::BufferPool;
use crate::error::{Deadline, WireError};
use crate::limits::{
    BODY_WINDOW, BODY_WINDOW_LEAST_BYTES, BUFFER_GROWTH_BYTES, HEADER_LEN_BYTES, HEADER_TIMEOUT,
    POOLED_BUFFER_MAX_BYTES, POOLED_BUFFERS_MAX,
};
use crate::protocol::Network;
use crate::time::Instant;
use crate::wire::header::{Header, PayloadLimits, checksum, finish_checksum, payload_limit};
use sha2::{Digest, Sha256};
use std::mem;
use std::time::Duration;

/// Least part of a payload that is received straight into the link's own buffer.
const DIRECT_READ_MIN_BYTES: u64 = 16 * 1024;

/// What becomes of a payload, chosen when its header is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is delivered whole, if the configured bounds allow it.
    Buffer,
    /// It is delivered in chunks as they arrive, in constant memory.
    Stream,
    /// It is skipped, unchecked.
    Discard,
}

/// Whether a streamed payload had the checksum of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumVerdict {
    /// It had.
    Correct,
    /// It had not: what was delivered must not be believed.
    Wrong,
}

/// Why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// Its checksum is wrong.
    BadChecksum,
    /// Its command is not a legal name.
    MalformedCommand,
    /// It was to be discarded.
    Discarded,
    /// It is larger than what is gathered for one message.
    OverBufferLimit,
    /// All links together gather as much as they may.
    NoBufferRoom,
}

/// A whole payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// It lies in the input.
    InPlace(&'a [u8]),
    /// It was gathered from several inputs; hand it back with [`FramerMemory::recycle`].
    Gathered(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::InPlace(bytes) => bytes,
            Self::Gathered(bytes) => bytes,
        }
    }
}

/// What [`MessageFramer::next`] takes out of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A whole frame with a correct checksum.
    Frame {
        /// Its header.
        header: Header,
        /// Its payload.
        payload: Payload<'a>,
    },
    /// A part of a streamed frame.
    Chunk {
        /// The frame's header.
        header: Header,
        /// Where in the payload the part lies.
        offset: u64,
        /// The part; empty only for a frame without payload.
        bytes: &'a [u8],
        /// Set on the last part.
        last: Option<ChecksumVerdict>,
    },
    /// A frame that is not delivered.
    Dropped {
        /// Its header.
        header: Header,
        /// Why.
        cause: DropCause,
    },
}

/// Received bytes and how far they are parsed.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Nothing parsed yet.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not parsed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

/// What frames must be like.
#[derive(Clone, Copy, Debug)]
pub struct FramerRules {
    /// The bytes that begin every frame.
    pub magic: [u8; 4],
    /// The most that each command may claim.
    pub limits: PayloadLimits,
    /// The most that is gathered for one message.
    pub buffered_message_max_bytes: u64,
}

/// Memory shared by the framers of one loop: pooled buffers, and the account of what they all gather.
#[derive(Debug)]
pub struct FramerMemory {
    buffers: BufferPool,
    /// Records that wait to be used again; boxed because a link's row has room for a pointer only.
    #[expect(clippy::vec_box, reason = "the boxes go back into rows as they are")]
    partials: Vec<Box<Partial>>,
    gathered_bytes: u64,
    gathered_max_bytes: u64,
}

impl FramerMemory {
    /// Memory in which at most `gathered_max_bytes` of large frames are gathered at once. Frames up to
    /// [`POOLED_BUFFER_MAX_BYTES`] are not counted, so that nobody's large frames can push out another's small ones.
    pub fn new(gathered_max_bytes: u64) -> Self {
        Self { buffers: BufferPool::default(), partials: Vec::new(), gathered_bytes: 0, gathered_max_bytes }
    }

    /// Bytes held for large frames that are being gathered.
    pub fn gathered_bytes(&self) -> u64 {
        self.gathered_bytes
    }

    /// The pool of small buffers.
    pub fn buffers(&mut self) -> &mut BufferPool {
        &mut self.buffers
    }

    /// Takes a gathered payload back.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        self.buffers.put(payload);
    }

    /// Makes room for `more` bytes after the `received` ones in `gathered`; `false` if the bound does not allow it.
    fn reserve(&mut self, gathered: &mut Vec<u8>, received: u64, more: usize, payload_len: u64) -> bool {
        if gathered.capacity() as u64 - received >= more as u64 {
            return true;
        }
        if payload_len <= POOLED_BUFFER_MAX_BYTES as u64 {
            // Every pooled buffer has the same room, so that one kind of frame never has to enlarge another's.
            gathered.reserve_exact(POOLED_BUFFER_MAX_BYTES - gathered.len());
            return true;
        }
        let left = payload_len - received;
        let target = received + left.min(more.max(BUFFER_GROWTH_BYTES) as u64);
        let charge = target - charged(gathered);
        if self.gathered_bytes + charge > self.gathered_max_bytes {
            return false;
        }
        self.gathered_bytes -= charged(gathered);
        gathered.reserve_exact(target as usize - gathered.len());
        self.gathered_bytes += charged(gathered);
        true
    }

    fn release(&mut self, gathered: &Vec<u8>) {
        self.gathered_bytes -= charged(gathered);
    }

    /// Takes back a buffer whose payload is given up.
    fn abandon(&mut self, gathered: &mut Vec<u8>) {
        self.release(gathered);
        self.buffers.put(mem::take(gathered));
    }
}

/// What a buffer counts in the account: nothing while it is small enough for the pool.
fn charged(gathered: &Vec<u8>) -> u64 {
    let capacity = gathered.capacity();
    if capacity > POOLED_BUFFER_MAX_BYTES { capacity as u64 } else { 0 }
}

/// The receiving half of a link.
#[derive(Debug, Default)]
pub struct MessageFramer {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    BetweenFrames,
    Within(Box<Partial>),
    Failed(Box<WireError>),
}

/// A frame of which only a part has arrived.
#[derive(Debug, Default)]
struct Partial {
    head: [u8; HEADER_LEN_BYTES],
    head_len: usize,
    body: Option<Body>,
    /// What was received of the payload, and behind it room that is zeroed once and may be received into.
    gathered: Vec<u8>,
    /// What a streamed payload has hashed to so far; fresh otherwise.
    hasher: Sha256,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    header: Header,
    fate: Fate,
    received: u64,
}

/// What becomes of a body after all bounds are considered.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Gather,
    Stream,
    Drop(DropCause),
}

#[derive(Debug, Default)]
struct Progress {
    began: Instant,
    last_received: Instant,
    window_began: Instant,
    window_bytes: u64,
}

impl MessageFramer {
    /// Takes the next frame, chunk or drop out of `input`, or `None` when all of it is taken in.
    ///
    /// `admit` is asked once for each frame, when its header is complete and within its limit.
    ///
    /// # Errors
    ///
    /// The bytes cannot be right, or `admit` refuses the header. The same error comes from every later call.
    pub fn next<'a>(
        &mut self,
        input: &mut Input<'a>,
        now: Instant,
        rules: &FramerRules,
        memory: &mut FramerMemory,
        admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
    ) -> Result<Option<Framed<'a>>, WireError> {
        let result = match &self.state {
            State::BetweenFrames => self.begin(input, now, rules, memory, admit),
            State::Within(_) => self.resume(input, now, rules, memory, admit),
            State::Failed(error) => Err(**error),
        };
        if let Err(error) = result
            && !matches!(self.state, State::Failed(_))
        {
            self.reset(memory);
            self.state = State::Failed(Box::new(error));
        }
        result
    }

    /// The room to receive the body of a large frame into, if one is being gathered; follow with
    /// [`MessageFramer::received_directly`]. It never reaches beyond the frame.
    pub fn direct_room(&mut self, memory: &mut FramerMemory) -> Option<&mut [u8]> {
        let State::Within(partial) = &mut self.state else { return None };
        let Partial { body: Some(body), gathered, .. } = &mut **partial else { return None };
        let left = body.header.payload_len - body.received;
        if !matches!(body.fate, Fate::Gather) || left < DIRECT_READ_MIN_BYTES {
            return None;
        }
        let most = left.min(BUFFER_GROWTH_BYTES as u64);
        let spare = gathered.capacity() as u64 - body.received;
        let room = if spare < DIRECT_READ_MIN_BYTES { most } else { most.min(spare) } as usize;
        if !memory.reserve(gathered, body.received, room, body.header.payload_len) {
            body.fate = Fate::Drop(DropCause::NoBufferRoom);
            memory.abandon(gathered);
            return None;
        }
        let start = body.received as usize;
        if gathered.len() < start + room {
            gathered.resize(start + room, 0);
        }
        Some(&mut gathered[start..start + room])
    }

    /// Says how much of [`MessageFramer::direct_room`] was filled: 0 if nothing came. A frame that this completes
    /// comes out of the next call of [`MessageFramer::next`].
    ///
    /// # Panics
    ///
    /// If more is said to be filled than there was room, which no kernel does.
    pub fn received_directly(&mut self, len: usize, now: Instant) {
        let State::Within(partial) = &mut self.state else { return };
        let Some(body) = &mut partial.body else { return };
        let room = (partial.gathered.len() as u64).saturating_sub(body.received);
        assert!(len as u64 <= room, "no more is filled than there was room");
        body.received += len as u64;
        partial.progress.note(len, now);
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_within_frame(&self) -> bool {
        matches!(self.state, State::Within(_))
    }

    /// The moment at which [`MessageFramer::overdue`] has to be asked.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Within(partial) => Some(partial.deadline()),
            State::BetweenFrames | State::Failed(_) => None,
        }
    }

    /// Whether the frame that has begun is too slow: a header that takes longer than [`HEADER_TIMEOUT`], or a body that
    /// stands still or falls below its least rate for [`BODY_WINDOW`]. A body that moves may take any time.
    pub fn overdue(&mut self, now: Instant) -> Option<Deadline> {
        match &mut self.state {
            State::Within(partial) => partial.overdue(now),
            State::BetweenFrames | State::Failed(_) => None,
        }
    }

    /// Moves the deadlines by the time for which this side did not read.
    pub fn excuse(&mut self, pause: Duration) {
        if let State::Within(partial) = &mut self.state {
            let Progress { began, last_received, window_began, window_bytes: _ } = &mut partial.progress;
            for moment in [began, last_received, window_began] {
                *moment = moment.plus(pause);
            }
        }
    }

    /// Gives up whatever has begun, or the error, and returns the memory: due before a framer is dropped.
    pub fn reset(&mut self, memory: &mut FramerMemory) {
        if let State::Within(partial) = mem::take(&mut self.state) {
            memory.retire(partial);
        }
    }

    fn begin<'a>(
        &mut self,
        input: &mut Input<'a>,
        now: Instant,
        rules: &FramerRules,
        memory: &mut FramerMemory,
        admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
    ) -> Result<Option<Framed<'a>>, WireError> {
        let Some((head, _)) = input.rest.split_first_chunk::<HEADER_LEN_BYTES>() else {
            check_magic(input.rest, rules.magic)?;
            if !input.rest.is_empty() {
                let mut partial = memory.partial(now);
                partial.take_head(input);
                self.state = State::Within(partial);
            }
            return Ok(None);
        };
        check_magic(head, rules.magic)?;
        let header = Header::decode(head);
        let fate = judge(&header, rules, admit)?;
        input.take(HEADER_LEN_BYTES);
        if let Some(payload) = input.rest.get(..header.payload_len as usize) {
            input.take(payload.len());
            return Ok(Some(finish_in_place(header, fate, payload)));
        }
        let mut partial = memory.partial(now);
        partial.body = Some(Body { header, fate, received: 0 });
        self.state = State::Within(partial);
        self.resume_body(input, now, memory)
    }

    fn resume<'a>(
        &mut self,
        input: &mut Input<'a>,
        now: Instant,
        rules: &FramerRules,
        memory: &mut FramerMemory,
        admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
    ) -> Result<Option<Framed<'a>>, WireError> {
        let State::Within(partial) = &mut self.state else { return Ok(None) };
        if partial.body.is_some() {
            return self.resume_body(input, now, memory);
        }
        partial.take_head(input);
        check_magic(&partial.head[..partial.head_len], rules.magic)?;
        if partial.head_len < HEADER_LEN_BYTES {
            return Ok(None);
        }
        let header = Header::decode(&partial.head);
        let fate = judge(&header, rules, admit)?;
        if let Some(payload) = input.rest.get(..header.payload_len as usize) {
            input.take(payload.len());
            self.reset(memory);
            return Ok(Some(finish_in_place(header, fate, payload)));
        }
        partial.body = Some(Body { header, fate, received: 0 });
        partial.progress = Progress::new(now);
        self.resume_body(input, now, memory)
    }

    fn resume_body<'a>(
        &mut self,
        input: &mut Input<'a>,
        now: Instant,
        memory: &mut FramerMemory,
    ) -> Result<Option<Framed<'a>>, WireError> {
        let State::Within(partial) = &mut self.state else { return Ok(None) };
        let Partial { body: Some(body), gathered, hasher, progress, .. } = &mut **partial else { return Ok(None) };
        let header = body.header;
        let left = header.payload_len - body.received;
        let bytes = input.take(left.min(input.rest.len() as u64) as usize);
        let offset = body.received;
        body.received += bytes.len() as u64;
        progress.note(bytes.len(), now);
        let complete = body.received == header.payload_len;
        match body.fate {
            Fate::Gather => {
                if memory.reserve(gathered, offset, bytes.len(), header.payload_len) {
                    gathered.truncate(offset as usize);
                    gathered.extend_from_slice(bytes);
                } else {
                    memory.abandon(gathered);
                    body.fate = Fate::Drop(DropCause::NoBufferRoom);
                }
            }
            Fate::Stream => {
                if bytes.is_empty() {
                    return Ok(None);
                }
                hasher.update(bytes);
                if !complete {
                    return Ok(Some(Framed::Chunk { header, offset, bytes, last: None }));
                }
            }
            Fate::Drop(_) => {}
        }
        if !complete {
            return Ok(None);
        }
        Ok(self.finish(offset, bytes, memory))
    }

    /// Hands out the frame whose last byte is in.
    fn finish<'a>(&mut self, offset: u64, bytes: &'a [u8], memory: &mut FramerMemory) -> Option<Framed<'a>> {
        let State::Within(mut partial) = mem::take(&mut self.state) else { return None };
        let Body { header, fate, .. } = partial.body.take()?;
        let framed = match fate {
            Fate::Gather => {
                let payload = mem::take(&mut partial.gathered);
                memory.release(&payload);
                if checksum(&payload) == header.checksum {
                    Framed::Frame { header, payload: Payload::Gathered(payload) }
                } else {
                    memory.recycle(payload);
                    Framed::Dropped { header, cause: DropCause::BadChecksum }
                }
            }
            Fate::Stream => {
                let last = Some(verdict(finish_checksum(mem::take(&mut partial.hasher)), &header));
                Framed::Chunk { header, offset, bytes, last }
            }
            Fate::Drop(cause) => Framed::Dropped { header, cause },
        };
        memory.retire(partial);
        Some(framed)
    }
}

impl FramerMemory {
    fn partial(&mut self, now: Instant) -> Box<Partial> {
        let mut partial = self.partials.pop().unwrap_or_default();
        partial.progress = Progress::new(now);
        partial.gathered = self.buffers.take();
        partial
    }

    fn retire(&mut self, mut partial: Box<Partial>) {
        self.abandon(&mut partial.gathered);
        partial.head_len = 0;
        if let Some(Body { fate: Fate::Stream, .. }) = partial.body.take() {
            partial.hasher = Sha256::new();
        }
        if self.partials.len() < POOLED_BUFFERS_MAX {
            self.partials.push(partial);
        }
    }
}

impl Partial {
    fn take_head(&mut self, input: &mut Input<'_>) {
        let wanted = (HEADER_LEN_BYTES - self.head_len).min(input.rest.len());
        self.head[self.head_len..self.head_len + wanted].copy_from_slice(input.take(wanted));
        self.head_len += wanted;
    }

    fn deadline(&self) -> Instant {
        let Progress { began, last_received, window_began, window_bytes: _ } = self.progress;
        match self.body {
            None => began.plus(HEADER_TIMEOUT),
            Some(_) => window_began.min(last_received).plus(BODY_WINDOW),
        }
    }

    fn overdue(&mut self, now: Instant) -> Option<Deadline> {
        if now < self.deadline() {
            return None;
        }
        if self.body.is_none() {
            return Some(Deadline::Header);
        }
        let stands_still = now >= self.progress.last_received.plus(BODY_WINDOW);
        if stands_still || self.progress.window_bytes < BODY_WINDOW_LEAST_BYTES {
            return Some(Deadline::Body);
        }
        self.progress.window_began = now;
        self.progress.window_bytes = 0;
        None
    }
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self { began: now, last_received: now, window_began: now, window_bytes: 0 }
    }

    fn note(&mut self, len: usize, now: Instant) {
        if len > 0 {
            self.last_received = now;
            self.window_bytes += len as u64;
        }
    }
}

/// Compares as much of the magic as is there, so that garbage is recognised by its first byte.
fn check_magic(bytes: &[u8], magic: [u8; 4]) -> Result<(), WireError> {
    let len = bytes.len().min(magic.len());
    if bytes[..len] == magic[..len] {
        return Ok(());
    }
    let mut found = [0; 4];
    found[..len].copy_from_slice(&bytes[..len]);
    Err(WireError::BadMagic { found, network: Network::from_magic(found) })
}

fn judge(
    header: &Header,
    rules: &FramerRules,
    admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
) -> Result<Fate, WireError> {
    let Header { command, payload_len, .. } = *header;
    if payload_len > payload_limit(command, &rules.limits) {
        return Err(WireError::OverLimit { command, len_bytes: payload_len });
    }
    if !command.is_well_formed() {
        return Ok(Fate::Drop(DropCause::MalformedCommand));
    }
    Ok(match admit(header)? {
        Delivery::Buffer if payload_len > rules.buffered_message_max_bytes => Fate::Drop(DropCause::OverBufferLimit),
        Delivery::Buffer => Fate::Gather,
        Delivery::Stream => Fate::Stream,
        Delivery::Discard => Fate::Drop(DropCause::Discarded),
    })
}

fn finish_in_place(header: Header, fate: Fate, payload: &[u8]) -> Framed<'_> {
    match fate {
        Fate::Gather if checksum(payload) == header.checksum => {
            Framed::Frame { header, payload: Payload::InPlace(payload) }
        }
        Fate::Gather => Framed::Dropped { header, cause: DropCause::BadChecksum },
        Fate::Stream => {
            Framed::Chunk { header, offset: 0, bytes: payload, last: Some(verdict(checksum(payload), &header)) }
        }
        Fate::Drop(cause) => Framed::Dropped { header, cause },
    }
}

fn verdict(checksum: [u8; 4], header: &Header) -> ChecksumVerdict {
    if checksum == header.checksum { ChecksumVerdict::Correct } else { ChecksumVerdict::Wrong }
}
