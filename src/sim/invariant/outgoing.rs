//! A loop's writes on one link, followed frame by frame. This module reads the payloads of pings and marked messages,
//! and never those of other messages.

use super::MARKED;
use super::promised::Promised;
use crate::limits::{EXTENDED_HEADER_LEN_BYTES, HEADER_LEN_BYTES};
use crate::protocol::CommandName;
use crate::wire::Header;
use std::io::IoSlice;

/// A link's position in its outgoing frames.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    walk: Walk,
    promised: Promised,
    said_version: bool,
    said_verack: bool,
    /// The written part of a ping's payload, from the end of the ping's header until its payload is complete.
    ping: Option<Vec<u8>>,
    /// The nonces of the pings that were written whole, until they are collected.
    pub(super) pings: Vec<u64>,
    /// Whether the header of a pong was written, until this is collected.
    pub(super) has_pong: bool,
    /// The written part of a marked message's mark, and the number of payload bytes still to be written, from the end
    /// of the message's header until its payload is complete.
    marking: Option<(Vec<u8>, u64)>,
    /// The marks of the messages that were written whole, until they are collected.
    pub(super) marked: Vec<u64>,
}

/// A fault in written bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No frame begins where the last one ended.
    Torn,
    /// A frame is sent out of order.
    OutOfTurn(CommandName),
    /// A frame is sent before its stage of the handshake.
    TooEarly(CommandName),
}

/// The position in a stream of frames.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// The number of missing payload bytes.
    left: u64,
    /// The written part of an incomplete header.
    head: Vec<u8>,
    /// Whether the position is lost, because no frame began where one had to.
    is_lost: bool,
}

impl Outgoing {
    /// Records a write: the kernel was offered `slices` and accepted `taken` bytes of them. Returns a fault if there is
    /// one, and [`Fault::OutOfTurn`] only if there is no other.
    pub(super) fn wrote(&mut self, slices: &[IoSlice<'_>], taken: usize, magic: [u8; 4]) -> Result<(), Fault> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let kept = match taken == offered && self.promised.is_empty() {
            true => Ok(()),
            false => self.promised.follow(&self.walk.frames_of(slices, magic), taken),
        };
        let mut left = taken;
        for slice in slices {
            let len = left.min(slice.len());
            left -= len;
            self.follow(&slice[..len], magic)?;
        }
        kept.map_err(Fault::OutOfTurn)
    }

    /// Follows `bytes`, which the kernel has accepted, and returns the first fault.
    fn follow(&mut self, mut bytes: &[u8], magic: [u8; 4]) -> Result<(), Fault> {
        loop {
            self.note_ping(bytes);
            self.note_marked(bytes);
            let Some(header) = self.walk.next(&mut bytes, magic)? else { return Ok(()) };
            self.ping = (header.command == CommandName::PING && header.payload_len == 8).then(Vec::new);
            self.has_pong |= header.command == CommandName::PONG;
            self.marking = (header.command == MARKED).then_some((Vec::new(), header.payload_len));
            self.admit(header.command)?;
        }
    }

    /// Adds `bytes` to the payload of a partly written ping. Records the ping's nonce once its payload is complete.
    fn note_ping(&mut self, bytes: &[u8]) {
        let Some(payload) = &mut self.ping else { return };
        payload.extend(bytes.iter().take(8 - payload.len()));
        if let Some(nonce) = payload.first_chunk() {
            self.pings.push(u64::from_le_bytes(*nonce));
            self.ping = None;
        }
    }

    /// Adds `bytes` to the payload of a partly written marked message. Records its mark once the payload is complete.
    fn note_marked(&mut self, bytes: &[u8]) {
        let Some((number, left)) = &mut self.marking else { return };
        number.extend(bytes.iter().take(8 - number.len()));
        *left -= bytes.len().min(*left as usize) as u64;
        if *left == 0 {
            self.marked.extend(number.first_chunk().map(|number| u64::from_le_bytes(*number)));
            self.marking = None;
        }
    }

    /// Records a `version` or a `verack`. Returns an error if the handshake does not permit `command` yet.
    fn admit(&mut self, command: CommandName) -> Result<(), Fault> {
        let may_come = match command {
            CommandName::VERSION | CommandName::REJECT => true,
            // The first message of a further stream. Its peer's handshake took place on another link.
            CommandName::CREATESTRM | CommandName::STREAMACK => {
                let is_first = !self.said_version;
                (self.said_version, self.said_verack) = (true, true);
                is_first
            }
            CommandName::VERACK => self.said_version,
            _ => self.said_verack,
        };
        self.said_version |= command == CommandName::VERSION;
        self.said_verack |= command == CommandName::VERACK;
        if may_come { Ok(()) } else { Err(Fault::TooEarly(command)) }
    }
}

impl Walk {
    /// Consumes bytes up to the end of the next header and returns the header. Returns `None` if `bytes` end before
    /// the header's end, or if the position is lost.
    fn next(&mut self, bytes: &mut &[u8], magic: [u8; 4]) -> Result<Option<Header>, Fault> {
        if self.is_lost {
            return Ok(None);
        }
        let len = self.left.min(bytes.len() as u64);
        self.left -= len;
        *bytes = &bytes[len as usize..];
        if bytes.is_empty() {
            return Ok(None);
        }
        let header = match bytes.first_chunk::<HEADER_LEN_BYTES>() {
            Some(basic) if self.head.is_empty() && Header::len_of(basic) == HEADER_LEN_BYTES => {
                *bytes = &bytes[HEADER_LEN_BYTES..];
                if !has_magic(basic, magic) {
                    return self.lose();
                }
                Some(Header::decode(basic))
            }
            Some(_) | None => self.collect_header(bytes, magic)?,
        };
        self.left = header.map_or(0, |header| header.payload_len);
        Ok(header)
    }

    /// Returns all headers that begin and end in `slices`, each with the position at which it begins.
    fn frames_of(&self, slices: &[IoSlice<'_>], magic: [u8; 4]) -> Vec<(usize, Header)> {
        let (mut walk, mut frames, mut before) = (self.clone(), Vec::new(), 0);
        for slice in slices {
            let mut rest = &slice[..];
            while let Ok(Some(header)) = walk.next(&mut rest, magic) {
                let end = before + slice.len() - rest.len();
                frames.extend(end.checked_sub(header.len_bytes()).map(|begin| (begin, header)));
            }
            before += slice.len();
        }
        frames
    }

    /// Consumes the available bytes of a header, and returns the header once it is complete.
    fn collect_header(&mut self, bytes: &mut &[u8], magic: [u8; 4]) -> Result<Option<Header>, Fault> {
        loop {
            let wanted = self.head.first_chunk().map_or(HEADER_LEN_BYTES, Header::len_of);
            if self.head.len() == wanted {
                break;
            }
            let len = (wanted - self.head.len()).min(bytes.len());
            if len == 0 {
                return Ok(None);
            }
            self.head.extend_from_slice(&bytes[..len]);
            *bytes = &bytes[len..];
            if !has_magic(&self.head, magic) {
                return self.lose();
            }
        }
        let header = match self.head.first_chunk::<EXTENDED_HEADER_LEN_BYTES>() {
            Some(extended) => Header::decode_extended(extended),
            None => Header::decode(self.head.first_chunk().expect("a header has its basic part")),
        };
        self.head.clear();
        Ok(Some(header))
    }

    fn lose<T>(&mut self) -> Result<T, Fault> {
        self.is_lost = true;
        Err(Fault::Torn)
    }
}

/// Returns whether a header, or the beginning of one, has the network's magic.
fn has_magic(head: &[u8], magic: [u8; 4]) -> bool {
    let len = head.len().min(magic.len());
    head[..len] == magic[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"MAGI";

    fn frame(command: CommandName, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Header::of(command, payload).encode(MAGIC).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn dialogue() -> Vec<u8> {
        let large = Header { command: CommandName::BLOCK, payload_len: 1 << 33, checksum: None };
        let parts = [
            frame(CommandName::REJECT, b"no"),
            frame(CommandName::VERSION, &[7; 100]),
            frame(CommandName::VERACK, b""),
            frame(CommandName::PING, &[1; 8]),
            large.encode_extended(MAGIC).to_vec(),
            vec![0; 50],
        ];
        parts.concat()
    }

    #[test]
    fn correct_frames_pass_in_pieces_of_any_size() {
        let bytes = dialogue();
        for size in 1..=bytes.len() {
            let mut outgoing = Outgoing::default();
            for piece in bytes.chunks(size) {
                assert_eq!(outgoing.follow(piece, MAGIC), Ok(()), "pieces of {size}");
            }
            assert_eq!(outgoing.walk.left, (1 << 33) - 50, "pieces of {size}");
        }
    }

    #[test]
    fn a_missing_last_byte_is_reported_once_when_the_next_frame_begins() {
        let mut bytes = frame(CommandName::VERSION, &[7; 100]);
        bytes.pop();
        for size in 1..=bytes.len() {
            let mut outgoing = Outgoing::default();
            for piece in bytes.chunks(size) {
                assert_eq!(outgoing.follow(piece, MAGIC), Ok(()));
            }
            let next = frame(CommandName::VERACK, b"");
            let wrong: Vec<_> = next.chunks(size).filter_map(|piece| outgoing.follow(piece, MAGIC).err()).collect();
            assert_eq!(wrong, [Fault::Torn], "the fault was not reported exactly once, in pieces of {size}");
        }
    }

    #[test]
    fn a_message_before_its_stage_is_reported() {
        let early = |first: &[CommandName], then: CommandName| {
            let mut outgoing = Outgoing::default();
            for command in first {
                outgoing.follow(&frame(*command, b""), MAGIC).expect("these messages may be sent");
            }
            outgoing.follow(&frame(then, b""), MAGIC)
        };
        assert_eq!(early(&[], CommandName::VERACK), Err(Fault::TooEarly(CommandName::VERACK)));
        assert_eq!(early(&[], CommandName::PING), Err(Fault::TooEarly(CommandName::PING)));
        let version = CommandName::VERSION;
        assert_eq!(early(&[version], CommandName::PONG), Err(Fault::TooEarly(CommandName::PONG)));
        assert_eq!(early(&[version, CommandName::VERACK], CommandName::PONG), Ok(()));
    }
}
