//! The framer, which splits received bytes into frames and can resume at every byte.
//!
//! A [`MessageFramer`] is the receiving half of one link. Each call to [`MessageFramer::next`] returns the next item
//! of the input: a whole frame, a chunk of a streamed frame, or a dropped frame. The framer guarantees:
//!
//! - The first byte that differs from the network's magic is an error. A length above the command's limit is an error
//!   as soon as the header is complete, before any payload is consumed. After an error, every call to
//!   [`MessageFramer::next`] returns the same error until [`MessageFramer::reset`].
//! - The way in which reads split the stream affects only the boundaries of chunks, whether a payload is returned in
//!   place and, if the memory of all links is used up, the choice of dropped payloads.
//! - A payload that is complete in the input is returned in place. Any other buffered payload is collected in the
//!   link's own memory, which grows with the bytes received, not with the bytes claimed. That memory is bounded per
//!   message and, for large messages, for all links together ([`FramerMemory`]). A payload beyond either bound is
//!   skipped and returned as dropped.
//! - Between frames the framer owns no memory.
//!
//! The framer never interprets a payload and never reads a clock.

mod framed;
mod memory;
mod partial;

pub use framed::{ChecksumVerdict, Delivery, DropCause, FrameLimits, Framed, FramerRules, Input, Payload};
pub use memory::FramerMemory;

use crate::error::{Deadline, WireError};
use crate::limits::{BUFFER_GROWTH_BYTES, HEADER_LEN_BYTES};
use crate::protocol::Network;
use crate::time::Instant;
use crate::wire::header::{Header, checksum, finish_checksum};
use partial::{Body, Fate, Partial, Progress};
use sha2::Digest;
use std::mem;
use std::time::Duration;

/// A buffered payload can be received directly into the link's own buffer while at least this many of its bytes are
/// missing.
const MIN_DIRECT_READ_BYTES: u64 = 16 * 1024;
/// Largest payload that counts as small. At the default minimum rate of a body, such a payload arrives within four
/// seconds.
const MAX_SMALL_PAYLOAD_BYTES: u64 = 4 * 1024;

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

impl MessageFramer {
    /// Returns the next frame, chunk or dropped frame in `input`, or `None` once the whole input is consumed.
    ///
    /// `admit` chooses a payload's delivery. It is called once for each frame whose header is complete, unless the
    /// claimed length exceeds the command's limit or the command name is malformed.
    ///
    /// # Errors
    ///
    /// The bytes are invalid, or `admit` rejects the header. Until a reset, every later call returns the same error.
    #[inline]
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
            State::Failed(error) => return Err(**error),
        };
        if let Err(error) = result {
            self.fail(error, memory);
        }
        result
    }

    /// Returns a buffer into which to receive more of the payload that is being collected. Returns `None` if no
    /// payload is being collected, if less than 16 KiB of it is missing, or if there is no memory for it. After the
    /// receive, call [`MessageFramer::received_directly`]. The buffer never extends beyond the frame.
    pub fn direct_room(&mut self, memory: &mut FramerMemory) -> Option<&mut [u8]> {
        let State::Within(partial) = &mut self.state else { return None };
        let Partial { body: Some(body), gathered, .. } = &mut **partial else { return None };
        let left = body.header.payload_len - body.received;
        if !matches!(body.fate, Fate::Gather) || left < MIN_DIRECT_READ_BYTES {
            return None;
        }
        // The buffer is zeroed, so it costs memory even if nothing arrives. Above the minimum, its size is therefore
        // limited to the number of bytes that have already arrived.
        let most = left.min(body.received.clamp(MIN_DIRECT_READ_BYTES, BUFFER_GROWTH_BYTES as u64));
        let spare = gathered.capacity() as u64 - body.received;
        let room = if spare < MIN_DIRECT_READ_BYTES { most } else { most.min(spare) } as usize;
        if !memory.reserve(gathered, body.received, room, body.header.payload_len) {
            body.fate = Fate::Drop(DropCause::NoBufferRoom);
            memory.abandon(gathered, body.header.payload_len);
            return None;
        }
        let start = body.received as usize;
        if gathered.len() < start + room {
            gathered.resize(start + room, 0);
        }
        Some(&mut gathered[start..start + room])
    }

    /// Records the number of bytes of [`MessageFramer::direct_room`] that were filled, 0 if nothing arrived. If this
    /// completes a frame, the next call to [`MessageFramer::next`] returns it.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the buffer's size. No kernel reports such a length.
    pub fn received_directly(&mut self, len: usize, now: Instant) {
        let State::Within(partial) = &mut self.state else { return };
        let Some(body) = &mut partial.body else { return };
        let room = (partial.gathered.len() as u64).saturating_sub(body.received);
        assert!(len as u64 <= room, "the kernel filled more than the buffer");
        body.received += len as u64;
        partial.progress.note(len, now);
    }

    /// Returns whether a frame has begun and is incomplete.
    pub fn is_within_frame(&self) -> bool {
        matches!(self.state, State::Within(_))
    }

    /// Returns whether a large payload is arriving. The peer's next message may then arrive much later.
    pub fn is_within_large_payload(&self) -> bool {
        match &self.state {
            State::Within(partial) => {
                partial.body.is_some_and(|body| body.header.payload_len > MAX_SMALL_PAYLOAD_BYTES)
            }
            State::BetweenFrames | State::Failed(_) => false,
        }
    }

    /// Returns the header of the frame being streamed, and the number of its payload bytes returned so far.
    pub fn streaming(&self) -> Option<(Header, u64)> {
        match &self.state {
            State::Within(partial) => partial
                .body
                .filter(|body| matches!(body.fate, Fate::Chunks | Fate::UncheckedChunks))
                .map(|body| (body.header, body.received)),
            State::BetweenFrames | State::Failed(_) => None,
        }
    }

    /// Returns the number of bytes received of the incomplete header or payload, and the buffer's size. During a
    /// payload, the size is the one that [`FramerMemory`] charges for the buffer.
    #[cfg(feature = "sim")]
    pub(crate) fn gathering(&self) -> (u64, usize) {
        match &self.state {
            State::Within(partial) => {
                let capacity = partial.gathered.capacity();
                match partial.body {
                    None => (partial.head_len as u64, capacity),
                    Some(body) => (body.received, memory::charged(&partial.gathered, body.header.payload_len) as usize),
                }
            }
            State::BetweenFrames | State::Failed(_) => (0, 0),
        }
    }

    /// Returns the number of bytes that the framer holds besides its own size.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.state {
            State::BetweenFrames => 0,
            State::Within(partial) => size_of::<Partial>() + partial.gathered.capacity(),
            State::Failed(_) => size_of::<WireError>(),
        }
    }

    /// Returns the moment at which to call [`MessageFramer::overdue`]; `None` if no frame is incomplete.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Within(partial) => Some(partial.deadline()),
            State::BetweenFrames | State::Failed(_) => None,
        }
    }

    /// Returns the deadline that the incomplete frame has missed, if any: its header is still incomplete after
    /// [`HEADER_TIMEOUT`](crate::limits::HEADER_TIMEOUT), or its body stalls or stays below the minimum rate for
    /// [`BODY_WINDOW`](crate::limits::BODY_WINDOW). A body above the minimum rate may last any length of time.
    pub fn overdue(&mut self, now: Instant, rules: &FramerRules) -> Option<Deadline> {
        match &mut self.state {
            State::Within(partial) => partial.overdue(now, rules),
            State::BetweenFrames | State::Failed(_) => None,
        }
    }

    /// Extends the deadlines by `pause`, during which this side did not read.
    pub fn extend_deadlines(&mut self, pause: Duration) {
        if let State::Within(partial) = &mut self.state {
            let Progress { began, last_received, window_began, window_bytes: _ } = &mut partial.progress;
            for moment in [began, last_received, window_began] {
                *moment = moment.plus(pause);
            }
        }
    }

    /// Drops the incomplete frame or the error, and releases its memory. Call this before dropping a framer.
    pub fn reset(&mut self, memory: &mut FramerMemory) {
        if let State::Within(partial) = mem::take(&mut self.state) {
            memory.retire(partial);
        }
    }

    #[cold]
    fn fail(&mut self, error: WireError, memory: &mut FramerMemory) {
        self.reset(memory);
        self.state = State::Failed(Box::new(error));
    }

    #[inline]
    fn begin<'a>(
        &mut self,
        input: &mut Input<'a>,
        now: Instant,
        rules: &FramerRules,
        memory: &mut FramerMemory,
        admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
    ) -> Result<Option<Framed<'a>>, WireError> {
        check_magic(input.rest, rules.magic)?;
        let Some((header, is_well_formed)) = read_head(input.rest) else {
            if !input.rest.is_empty() {
                let mut partial = memory.partial(now);
                partial.take_head(input);
                self.state = State::Within(partial);
            }
            return Ok(None);
        };
        let fate = judge(&header, is_well_formed, rules, admit)?;
        input.take(header.len_bytes());
        if let Some(payload) = input.take_whole(header.payload_len) {
            return Ok(Some(finish_in_place(header, fate, payload, memory)));
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
        let Some((header, is_well_formed)) = read_head(&partial.head[..partial.head_len]) else { return Ok(None) };
        let fate = judge(&header, is_well_formed, rules, admit)?;
        if let Some(payload) = input.take_whole(header.payload_len) {
            self.reset(memory);
            return Ok(Some(finish_in_place(header, fate, payload, memory)));
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
            // Bytes received directly are already in the buffer.
            Fate::Gather if bytes.is_empty() => {}
            Fate::Gather => {
                if memory.reserve(gathered, offset, bytes.len(), header.payload_len) {
                    gathered.truncate(offset as usize);
                    gathered.extend_from_slice(bytes);
                } else {
                    memory.abandon(gathered, header.payload_len);
                    body.fate = Fate::Drop(DropCause::NoBufferRoom);
                }
            }
            Fate::Chunks | Fate::UncheckedChunks => {
                if bytes.is_empty() {
                    return Ok(None);
                }
                if matches!(body.fate, Fate::Chunks) && !header.is_extended() {
                    hasher.update(bytes);
                }
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

    /// Ends the current frame, whose last byte has arrived, and returns its last item.
    fn finish<'a>(&mut self, offset: u64, bytes: &'a [u8], memory: &mut FramerMemory) -> Option<Framed<'a>> {
        let State::Within(mut partial) = mem::take(&mut self.state) else { return None };
        let Body { header, fate, .. } = partial.body.take()?;
        let framed = match fate {
            Fate::Gather => {
                let payload = mem::take(&mut partial.gathered);
                memory.release(&payload, header.payload_len);
                if verdict(&header, || memory.checksum(&payload)) != ChecksumVerdict::Wrong {
                    Framed::Frame { header, payload: Payload::Gathered(payload) }
                } else {
                    memory.recycle(payload);
                    Framed::Dropped { header, cause: DropCause::BadChecksum }
                }
            }
            Fate::Chunks => {
                let last = Some(verdict(&header, || finish_checksum(mem::take(&mut partial.hasher))));
                Framed::Chunk { header, offset, bytes, last }
            }
            Fate::UncheckedChunks => Framed::Chunk { header, offset, bytes, last: Some(ChecksumVerdict::Unchecked) },
            Fate::Drop(cause) => Framed::Dropped { header, cause },
        };
        memory.retire(partial);
        Some(framed)
    }
}

/// Compares the arrived bytes of the magic, so that the first wrong byte is detected at once.
#[inline]
fn check_magic(bytes: &[u8], magic: [u8; 4]) -> Result<(), WireError> {
    if bytes.first_chunk() == Some(&magic) {
        return Ok(());
    }
    let len = bytes.len().min(magic.len());
    if bytes[..len] == magic[..len] {
        return Ok(());
    }
    let mut found = [0; 4];
    found[..len].copy_from_slice(&bytes[..len]);
    Err(WireError::BadMagic { found, network: Network::from_magic(found) })
}

/// Returns the header at the start of `bytes`, if it is complete, and whether its command names are well formed.
#[inline]
fn read_head(bytes: &[u8]) -> Option<(Header, bool)> {
    let head = bytes.first_chunk()?;
    let basic = Header::decode(head);
    let is_well_formed = basic.command.is_well_formed();
    if Header::len_of(head) == HEADER_LEN_BYTES {
        return Some((basic, is_well_formed));
    }
    let extended = Header::decode_extended(bytes.first_chunk()?);
    Some((extended, is_well_formed && extended.command.is_well_formed()))
}

/// Decides the delivery of a payload.
#[inline]
fn judge(
    header: &Header,
    is_well_formed: bool,
    rules: &FramerRules,
    admit: impl FnOnce(&Header) -> Result<Delivery, WireError>,
) -> Result<Fate, WireError> {
    let &Header { command, payload_len, .. } = header;
    if !rules.limits.allow(command, payload_len) {
        return Err(WireError::OverLimit { command, len_bytes: payload_len });
    }
    if !is_well_formed {
        return Ok(Fate::Drop(DropCause::MalformedCommand));
    }
    Ok(match admit(header)? {
        Delivery::Buffer if !rules.frame_limits.allow(command, payload_len) => Fate::Drop(DropCause::OverBufferLimit),
        Delivery::Buffer => Fate::Gather,
        Delivery::Chunks => Fate::Chunks,
        Delivery::UncheckedChunks => Fate::UncheckedChunks,
        Delivery::Discard => Fate::Drop(DropCause::Discarded),
    })
}

#[inline]
fn finish_in_place<'a>(header: Header, fate: Fate, payload: &'a [u8], memory: &mut FramerMemory) -> Framed<'a> {
    match fate {
        Fate::Gather if verdict(&header, || memory.checksum(payload)) != ChecksumVerdict::Wrong => {
            Framed::Frame { header, payload: Payload::InPlace(payload) }
        }
        Fate::Gather => Framed::Dropped { header, cause: DropCause::BadChecksum },
        Fate::Chunks => {
            let last = Some(verdict(&header, || checksum(payload)));
            Framed::Chunk { header, offset: 0, bytes: payload, last }
        }
        Fate::UncheckedChunks => {
            Framed::Chunk { header, offset: 0, bytes: payload, last: Some(ChecksumVerdict::Unchecked) }
        }
        Fate::Drop(cause) => Framed::Dropped { header, cause },
    }
}

#[inline]
fn verdict(header: &Header, actual: impl FnOnce() -> [u8; 4]) -> ChecksumVerdict {
    match header.checksum {
        None => ChecksumVerdict::Absent,
        Some(claimed) if claimed == actual() => ChecksumVerdict::Correct,
        Some(_) => ChecksumVerdict::Wrong,
    }
}
