//! A tape reads decisions and streams of frames from bytes.

use peerloop::protocol::CommandName;
use peerloop_testkit::bytes::sha256_twice;
use peerloop_testkit::framing::{self, Arrival, Choice};

/// Bytes from which decisions are read one after another. After the last byte, numbers and arrays are filled with
/// zeros, and `take` returns fewer bytes.
#[derive(Clone, Debug)]
pub(crate) struct Tape<'a> {
    unread: &'a [u8],
}

impl<'a> Tape<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { unread: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, unread) = self.unread.split_at(len.min(self.unread.len()));
        self.unread = unread;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// Returns one of `choices`, which must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Returns one to eight arrivals, each of at least one byte.
    pub(crate) fn arrivals(&mut self) -> Vec<Arrival> {
        let count = 1 + self.u8() % 8;
        let arrival = |tape: &mut Self| match tape.u8() {
            0x00..=0x5f => Arrival::Block(1 + usize::from(tape.u8() % 32)),
            0x60..=0x9f => Arrival::Block(1 + usize::from(tape.u16())),
            0xa0..=0xff => Arrival::Direct(256 + usize::from(tape.u16())),
        };
        (0..count).map(|_| arrival(self)).collect()
    }

    /// Builds a stream of frames from the remaining bytes. Multiplies the length of each block arrival if the stream is
    /// long, because a long stream read byte by byte tests no more than a short one.
    pub(crate) fn arriving_stream(&mut self, arrivals: &mut [Arrival]) -> Vec<u8> {
        const ARRIVALS_OF_ONE_BYTE: usize = 256;
        let stream = self.stream();
        let factor = 1 + stream.len() / ARRIVALS_OF_ONE_BYTE;
        for arrival in arrivals {
            if let Arrival::Block(len) = arrival {
                *len = len.saturating_mul(factor);
            }
        }
        stream
    }

    /// Returns one to four of the choices in `among`; a choice may occur several times.
    pub(crate) fn choices(&mut self, among: &[Choice]) -> Vec<Choice> {
        let count = 1 + self.u8() % 4;
        (0..count).map(|_| self.pick(among)).collect()
    }

    /// Builds a stream of valid and broken frames from the remaining bytes. Once the stream has 32 KiB, it gets no
    /// further frame.
    fn stream(&mut self) -> Vec<u8> {
        const MAX_STREAM_BYTES: usize = 32 * 1024;
        let mut stream = Vec::new();
        while !self.is_empty() && stream.len() < MAX_STREAM_BYTES {
            self.put_piece(&mut stream);
        }
        stream
    }

    fn put_piece(&mut self, stream: &mut Vec<u8>) {
        let kind = self.u8();
        let command = match kind >> 4 {
            0 => self.array(),
            _ => self.pick(&CommandName::ALL).to_bytes(),
        };
        let len = usize::from(self.u8());
        match kind % 16 {
            0..=5 => put_frame(command, self.take(len), [0; 4], stream),
            6 | 7 => put_frame(command, self.take(len), self.array(), stream),
            // Lengths near a pooled buffer's capacity, and lengths large enough to be received directly.
            8 => put_frame(command, &framing::payload(4_096 - 8 + len % 16), [0; 4], stream),
            9 if len >= 0xf0 => put_frame(command, &framing::payload((len - 0xef) * 1_237), [0; 4], stream),
            9 => put_frame(command, &framing::payload(len), [0; 4], stream),
            // A header that claims a payload, without the payload.
            10 | 11 => stream.extend_from_slice(&framing::head(command, self.u32(), self.array())),
            _ => stream.extend_from_slice(self.take(len)),
        }
    }
}

/// Appends a frame. Its checksum is the correct one with the bits in `off` inverted.
fn put_frame(command: [u8; 12], payload: &[u8], off: [u8; 4], stream: &mut Vec<u8>) {
    let mut checksum = sha256_twice(payload);
    checksum.iter_mut().zip(off).for_each(|(byte, off)| *byte ^= off);
    stream.extend_from_slice(&framing::head(command, payload.len() as u32, checksum));
    stream.extend_from_slice(payload);
}
