//! The order of the frames that the loop offered to the kernel and that the kernel did not accept.
//!
//! The loop must offer these promised frames again. Two kinds of them must be first, in the order in which they were
//! offered: all pings and pongs with a payload of 8 bytes, and the handshake frames that follow nothing except
//! handshake frames and such pings and pongs. New pings and pongs follow. The other promised frames are next, in the
//! order in which they were offered before, and all other new frames are last. A write may end after any of these
//! frames. This module never reads a payload: a frame is identified by its header, which contains the checksum.

use crate::protocol::CommandName;
use crate::wire::Header;
use std::collections::VecDeque;
use std::mem;

/// The offered frames whose first byte the kernel has not accepted.
#[derive(Debug, Default)]
pub(super) struct Promised {
    frames: VecDeque<Header>,
}

impl Promised {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Records that frames were offered, each with its position, and that the kernel accepted `taken` bytes. The error
    /// is the command of the first frame out of order.
    pub(super) fn follow(&mut self, offered: &[(usize, Header)], taken: usize) -> Result<(), CommandName> {
        let mut verdict = Ok(());
        let mut expected = mem::take(&mut self.frames);
        if !expected.is_empty() {
            (expected, verdict) = judge(expected, offered);
        }
        self.frames.extend(offered.iter().filter(|(begin, _)| *begin >= taken).map(|(_, header)| *header));
        self.frames.append(&mut expected);
        verdict
    }
}

/// Compares the offered frames with the promised ones. Returns the promised frames that are not offered; the error is
/// the command of the first frame out of order.
fn judge(promised: VecDeque<Header>, offered: &[(usize, Header)]) -> (VecDeque<Header>, Result<(), CommandName>) {
    let mut is_handshake = true;
    let (mut ahead, mut behind): (VecDeque<_>, VecDeque<_>) = promised.into_iter().partition(|header| {
        is_handshake &= overtakes(header) || is_of_handshake(header.command);
        is_handshake || overtakes(header)
    });
    let mut may_overtake = true;
    for (_, header) in offered {
        if ahead.front() == Some(header) {
            ahead.pop_front();
        } else if ahead.is_empty() && may_overtake && overtakes(header) {
            continue;
        } else if ahead.is_empty() && !overtakes(header) && behind.front().is_none_or(|next| next == header) {
            // Pings and pongs may follow a new handshake frame if only handshake frames, pings and pongs precede it.
            is_handshake &= is_of_handshake(header.command);
            may_overtake &= is_handshake;
            behind.pop_front();
        } else {
            return (VecDeque::new(), Err(header.command));
        }
    }
    ahead.append(&mut behind);
    (ahead, Ok(()))
}

/// Returns whether a frame may overtake others.
fn overtakes(header: &Header) -> bool {
    matches!(header.command, CommandName::PING | CommandName::PONG) && header.payload_len == 8
}

fn is_of_handshake(command: CommandName) -> bool {
    matches!(
        command,
        CommandName::VERSION
            | CommandName::VERACK
            | CommandName::PROTOCONF
            | CommandName::SENDHEADERS
            | CommandName::CREATESTRM
            | CommandName::STREAMACK
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: CommandName, number: u8) -> Header {
        Header { command, payload_len: 8, checksum: Some([number; 4]) }
    }

    /// Builds one frame from each letter: `p` is a ping, `q` a pong, `v` a verack, `h` a sendheaders, and a capital
    /// letter a tx.
    fn frames(letters: &str) -> Vec<(usize, Header)> {
        let command = |letter| match letter {
            'p' => CommandName::PING,
            'q' => CommandName::PONG,
            'v' => CommandName::VERACK,
            'h' => CommandName::SENDHEADERS,
            _ => CommandName::TX,
        };
        letters.bytes().enumerate().map(|(at, letter)| (at, header(command(char::from(letter)), letter))).collect()
    }

    /// Offers frames of one byte each, accepts `taken` of them, and then offers others.
    fn offer(first: &str, taken: usize, second: &str) -> Result<(), CommandName> {
        let mut promised = Promised::default();
        promised.follow(&frames(first), taken).expect("nothing was promised before");
        promised.follow(&frames(second), 0)
    }

    #[test]
    fn promised_frames_keep_their_order() {
        assert_eq!(offer("ABC", 0, "ABC"), Ok(()));
        assert_eq!(offer("ABC", 1, "BCD"), Ok(()));
        assert_eq!(offer("ABC", 3, "DE"), Ok(()));
        assert_eq!(offer("ABC", 0, "AB"), Ok(()), "a write that offered fewer frames was refused");
        for wrong in ["BC", "BA", "ACB", "D", "CBA"] {
            assert_eq!(offer("ABC", 0, wrong), Err(CommandName::TX), "{wrong}");
        }
    }

    #[test]
    fn frames_omitted_from_a_write_are_still_promised() {
        let mut promised = Promised::default();
        for (offered, taken, expected) in [("ABC", 0, Ok(())), ("AB", 1, Ok(())), ("BD", 0, Err(CommandName::TX))] {
            assert_eq!(promised.follow(&frames(offered), taken), expected, "{offered}");
        }
    }

    #[test]
    fn pings_and_pongs_overtake_other_frames_but_not_each_other() {
        for right in ["AB", "pAB", "qpqAB", "qABC"] {
            assert_eq!(offer("AB", 0, right), Ok(()), "{right}");
        }
        for right in ["pqAB", "pqqpABC"] {
            assert_eq!(offer("pqAB", 0, right), Ok(()), "{right}");
        }
        for (first, wrong) in
            [("AB", "AqB"), ("AB", "ABq"), ("AB", "qAqB"), ("pqAB", "qpAB"), ("pA", "qpA"), ("pA", "A")]
        {
            assert!(offer(first, 0, wrong).is_err(), "{first} and then {wrong}");
        }
    }

    #[test]
    fn unaccepted_pings_and_pongs_are_first_when_frames_are_offered_again() {
        assert_eq!(offer("ApBq", 0, "pqAB"), Ok(()));
        assert_eq!(offer("ApBq", 1, "pqBC"), Ok(()));
        assert!(offer("ApBq", 0, "ApBq").is_err());
    }

    #[test]
    fn the_handshake_is_not_overtaken() {
        assert_eq!(offer("vhA", 0, "vhpA"), Ok(()));
        assert!(offer("vhA", 0, "pvhA").is_err());
        assert!(offer("vhA", 0, "vphA").is_err());
        assert_eq!(
            offer("Ah", 0, "pAh"),
            Ok(()),
            "a ping was not allowed to overtake a `sendheaders` that follows a tx"
        );
        assert_eq!(offer("v", 0, "vhpA"), Ok(()), "a ping after a continued handshake was refused");
        for (first, wrong) in [("v", "vAp"), ("A", "Ahp"), ("vA", "vAhp")] {
            assert!(offer(first, 0, wrong).is_err(), "{first} and then {wrong}");
        }
    }
}
