//! The actors' wire format: a second codec, written from the protocol's test vectors.
//!
//! It never uses the codec of the loop under test, so that a mistake in one is not hidden by the same mistake in the
//! other. A [`Reader`] extracts frames from a stream that arrives in pieces of any size. It collects small payloads,
//! hashes large ones as they arrive, and owns no memory between frames.

use super::journal::Wrong;
use sha2::{Digest, Sha256};
use std::cell::RefCell;

/// Lengths of the basic header and of the extended one, in bytes.
pub(super) const HEAD: usize = 24;
const EXTENDED_HEAD: usize = 44;
/// Maximum length, in bytes, of a payload that is collected. A longer payload is passed on in pieces, unless one input
/// contains the whole frame.
const MAX_KEPT: u64 = 64 * 1024;
/// Maximum payload length of an ordinary message, in bytes, as the actors announce it.
const MAX_ANNOUNCED: u64 = 2 * 1024 * 1024;
/// Maximum number of frame buffers kept for reuse, and the maximum capacity of each in bytes.
const MAX_SPARES: usize = 64;
const MAX_SPARE_ROOM: usize = 4 * 1024;

/// A frame of which all bytes have arrived. Its checksum is correct, unless its header is extended and has none.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) command: [u8; 12],
    /// The whole frame; only its header if the payload was passed on in pieces.
    pub(super) frame: &'a [u8],
    /// The whole payload; empty if it was passed on in pieces.
    pub(super) payload: &'a [u8],
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// The number of payload bytes received.
    received: u64,
    hasher: Sha256,
    is_whole: bool,
}

/// Frame buffers for reuse, shared by many readers.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the boxes are reused")]
pub(super) struct Spares(RefCell<Vec<Box<Partial>>>);

#[derive(Clone, Copy, Debug)]
struct Head {
    len: usize,
    command: [u8; 12],
    payload_len: u64,
    checksum: Option<[u8; 4]>,
}

impl Head {
    /// Reads the header at the beginning of `bytes`, if it is complete.
    fn read(bytes: &[u8], magic: [u8; 4]) -> Result<Option<Self>, Wrong> {
        let seen = bytes.len().min(4);
        if bytes[..seen] != magic[..seen] {
            return Err(Wrong::Magic);
        }
        let Some(basic) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        if basic[4..11] == *b"extmsg\0" {
            let Some(extended) = bytes.first_chunk::<EXTENDED_HEAD>() else { return Ok(None) };
            let payload_len = u64::from_le_bytes(array(&extended[36..]));
            return Ok(Some(Self { len: EXTENDED_HEAD, command: array(&extended[24..]), payload_len, checksum: None }));
        }
        let command = array(&basic[4..]);
        let payload_len = u64::from(u32::from_le_bytes(array(&basic[16..])));
        if payload_len > MAX_ANNOUNCED && !may_be_large(command) {
            return Err(Wrong::TooLong);
        }
        Ok(Some(Self { len: HEAD, command, payload_len, checksum: Some(array(&basic[20..])) }))
    }

    fn check(&self, checksum: impl FnOnce() -> [u8; 4]) -> Result<(), Wrong> {
        match self.checksum {
            Some(claimed) if claimed != checksum() => Err(Wrong::Checksum),
            Some(_) | None => Ok(()),
        }
    }
}

impl Reader {
    /// Reads `input`, the next bytes of the stream, and calls `on_frame` for every frame that they complete.
    ///
    /// The pieces of a payload that is too large to be collected are passed to `large`, each with its offset.
    pub(super) fn read(
        &mut self,
        mut input: &[u8],
        magic: [u8; 4],
        spares: &Spares,
        large: impl Fn(u64, &[u8]),
        mut on_frame: impl FnMut(&Message<'_>),
    ) -> Result<(), Wrong> {
        while let Some(message) = self.next(&mut input, magic, spares, &large)? {
            on_frame(&message);
        }
        Ok(())
    }

    /// Returns the next whole frame; `None` if `input` ends before the frame's end.
    fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
        magic: [u8; 4],
        spares: &Spares,
        large: impl FnOnce(u64, &[u8]),
    ) -> Result<Option<Message<'a>>, Wrong> {
        if self.partial.as_ref().is_some_and(|partial| partial.is_whole) {
            spares.put(self.partial.take());
        }
        if self.partial.is_none() {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some(head) = Head::read(input, magic)?
                && (input.len() - head.len) as u64 >= head.payload_len
            {
                let (frame, rest) = input.split_at(head.len + head.payload_len as usize);
                *input = rest;
                let payload = &frame[head.len..];
                head.check(|| checksum(payload))?;
                return Ok(Some(Message { command: head.command, frame, payload }));
            }
        }
        let partial = self.partial.get_or_insert_with(|| spares.take());
        partial.fill(input, magic, large)
    }

    /// Returns whether a frame is only partly received.
    pub(super) fn is_within_frame(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| !partial.is_whole)
    }
}

impl Partial {
    fn fill(
        &mut self,
        input: &mut &[u8],
        magic: [u8; 4],
        large: impl FnOnce(u64, &[u8]),
    ) -> Result<Option<Message<'_>>, Wrong> {
        let head = loop {
            match Head::read(&self.bytes, magic)? {
                Some(head) => break head,
                None if input.is_empty() => return Ok(None),
                None => self.keep(input, 1),
            }
        };
        let left = (head.payload_len - self.received).min(input.len() as u64) as usize;
        let offset = self.received;
        self.received += left as u64;
        if head.payload_len <= MAX_KEPT {
            self.keep(input, left);
        } else {
            large(offset, &input[..left]);
            if head.checksum.is_some() {
                self.hasher.update(&input[..left]);
            }
            *input = &input[left..];
        }
        if self.received < head.payload_len {
            return Ok(None);
        }
        self.is_whole = true;
        let Self { bytes, hasher, .. } = self;
        let payload = &bytes[head.len..];
        match head.payload_len <= MAX_KEPT {
            true => head.check(|| checksum(payload))?,
            false => head.check(|| twice(std::mem::take(hasher)))?,
        }
        Ok(Some(Message { command: head.command, frame: bytes, payload }))
    }

    fn keep(&mut self, input: &mut &[u8], len: usize) {
        self.bytes.extend_from_slice(&input[..len]);
        *input = &input[len..];
    }
}

impl Spares {
    fn take(&self) -> Box<Partial> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn put(&self, partial: Option<Box<Partial>>) {
        let mut spares = self.0.borrow_mut();
        if let Some(mut partial) = partial
            && spares.len() < MAX_SPARES
            && partial.bytes.capacity() <= MAX_SPARE_ROOM
        {
            let mut bytes = std::mem::take(&mut partial.bytes);
            bytes.clear();
            *partial = Partial { bytes, ..Partial::default() };
            spares.push(partial);
        }
    }
}

/// Returns the first four bytes of the payload's double hash.
pub(super) fn checksum(payload: &[u8]) -> [u8; 4] {
    twice(Sha256::new_with_prefix(payload))
}

pub(super) fn twice(hasher: Sha256) -> [u8; 4] {
    array(&Sha256::digest(hasher.finalize()))
}

/// Builds a header from these fields, which need not be correct.
pub(super) fn header(magic: [u8; 4], command: &str, len_bytes: u32, checksum: [u8; 4]) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..4].copy_from_slice(&magic);
    bytes[4..4 + command.len()].copy_from_slice(command.as_bytes());
    bytes[16..20].copy_from_slice(&len_bytes.to_le_bytes());
    bytes[20..].copy_from_slice(&checksum);
    bytes
}

/// Builds an extended header. `checksum` is the checksum field of its basic part.
pub(super) fn extended(magic: [u8; 4], command: &str, len_bytes: u64, checksum: [u8; 4]) -> [u8; EXTENDED_HEAD] {
    let mut bytes = [0; EXTENDED_HEAD];
    bytes[..HEAD].copy_from_slice(&header(magic, "extmsg", u32::MAX, checksum));
    bytes[HEAD..HEAD + command.len()].copy_from_slice(command.as_bytes());
    bytes[36..].copy_from_slice(&len_bytes.to_le_bytes());
    bytes
}

/// Builds a correct frame.
pub(super) fn frame(magic: [u8; 4], command: &str, payload: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(payload.len()).expect("the payload is below 4 GiB");
    [&header(magic, command, len_bytes, checksum(payload)), payload].concat()
}

/// Builds a `ping` or `pong`, without any allocation.
pub(super) fn nonce_frame(magic: [u8; 4], command: &str, nonce: u64) -> [u8; HEAD + 8] {
    let nonce = nonce.to_le_bytes();
    let mut bytes = [0; HEAD + 8];
    bytes[..HEAD].copy_from_slice(&header(magic, command, 8, checksum(&nonce)));
    bytes[HEAD..].copy_from_slice(&nonce);
    bytes
}

/// Builds the pong for a `ping`: the same frame with one letter changed. Returns `None` unless the frame
/// has exactly 32 bytes.
pub(super) fn pong_to(ping: &[u8]) -> Option<[u8; HEAD + 8]> {
    let mut pong: [u8; HEAD + 8] = ping.try_into().ok()?;
    pong[5] = b'o';
    Some(pong)
}

/// Reads the nonce of a `ping` or `pong`; `None` unless the payload has exactly eight bytes.
pub(super) fn nonce_of(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_le_bytes)
}

fn may_be_large(command: [u8; 12]) -> bool {
    let large: [&[u8]; 6] = [b"tx", b"datareftx", b"block", b"cmpctblock", b"blocktxn", b"hdrsen"];
    let len = command.iter().position(|byte| *byte == 0).unwrap_or(command.len());
    large.contains(&&command[..len])
}

fn array<const LEN: usize>(bytes: &[u8]) -> [u8; LEN] {
    *bytes.first_chunk().expect("the bytes contain the field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const MAIN: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn frames_match_the_protocol() {
        let ping = hex("e3e1f3e870696e670000000000000000080000002502fa940102030405060708");
        let pong = hex("e3e1f3e8706f6e670000000000000000080000002502fa940102030405060708");
        let nonce = u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(frame(MAIN, "ping", &ping[24..]), ping);
        assert_eq!(nonce_frame(MAIN, "ping", nonce)[..], ping);
        assert_eq!(pong_to(&ping).unwrap()[..], pong);
        assert_eq!(frame(MAIN, "verack", &[]), hex("e3e1f3e876657261636b000000000000000000005df6e0e2"));
        let block = hex("e3e1f3e86578746d7367000000000000ffffffff00000000626c6f636b000000000000000000000001000000");
        assert_eq!(extended(MAIN, "block", 1 << 32, [0; 4])[..], block);
    }

    #[test]
    fn frames_are_the_same_for_all_piece_sizes() {
        let large = vec![7; 100_000];
        let mut stream = frame(MAIN, "version", &[1; 100]);
        stream.extend(frame(MAIN, "verack", &[]));
        stream.extend(frame(MAIN, "inv", &large));
        stream.extend(extended(MAIN, "ping", 8, [0; 4]));
        stream.extend([9; 8]);
        stream.extend(nonce_frame(MAIN, "pong", 5));
        for piece in [1, 2, 7, 23, 24, 25, 44, 131, 5_000, stream.len()] {
            let (mut reader, spares) = (Reader::default(), Spares::default());
            let (mut seen, shown) = (Vec::new(), Cell::new(0));
            for input in stream.chunks(piece) {
                let large = |offset, bytes: &[u8]| assert_eq!(offset, shown.replace(offset + bytes.len() as u64));
                let on_frame = |message: &Message<'_>| {
                    seen.push((message.command[..4].to_vec(), message.payload.len(), message.frame.len()));
                };
                reader.read(input, MAIN, &spares, large, on_frame).unwrap();
            }
            // The large payload is passed on in pieces, unless one input contains the whole frame.
            let kept = if piece == stream.len() { 100_000 } else { 0 };
            let expected: Vec<(Vec<u8>, usize, usize)> = vec![
                (b"vers".to_vec(), 100, 124),
                (b"vera".to_vec(), 0, 24),
                (b"inv\0".to_vec(), kept, 24 + kept),
                (b"ping".to_vec(), 8, 52),
                (b"pong".to_vec(), 8, 32),
            ];
            assert_eq!((seen, shown.get()), (expected, 100_000 - kept as u64), "pieces of {piece}");
            assert!(!reader.is_within_frame() && reader.partial.is_none());
        }
    }

    #[test]
    fn a_wrong_checksum_magic_or_length_is_reported_as_such() {
        let read = |bytes: &[u8]| {
            Reader::default().read(bytes, MAIN, &Spares::default(), |_, _| {}, |message| panic!("{message:?}"))
        };
        let mut bad = frame(MAIN, "ping", &[0; 8]);
        bad[30] ^= 1;
        assert_eq!(read(&bad), Err(Wrong::Checksum));
        assert_eq!(read(&[0xe3, 0]), Err(Wrong::Magic));
        assert_eq!(read(&header(MAIN, "addr", 2_097_153, [0; 4])), Err(Wrong::TooLong));
        assert_eq!(read(&header(MAIN, "block", 2_097_153, [0; 4])), Ok(()));
    }
}
