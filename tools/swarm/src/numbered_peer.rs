//! An honest peer that exchanges numbered messages with the loop.
//!
//! It extends another honest peer, usually the reference peer. It follows the loop's stream message by message, so it
//! notices a missing, repeated or reordered numbered message. It also hashes the command, the length and any number of
//! each message except pings and pongs, so that two runs can be compared.

use super::scripted_handler::{FAST_TALK, TALK, talk};
use peerloop::internals::limits::{EXTENDED_HEADER_LEN_BYTES, HEADER_LEN_BYTES};
use peerloop::protocol::CommandName;
use peerloop::sim::actor::{End, Line, Persona};
use peerloop::time::Instant;
use peerloop::wire::Header;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A record of the messages that an honest troop has received. All peers of the troop share it.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// A hash of each peer's messages, in the order in which the peers connected.
    pub(super) digests: Vec<u64>,
    /// Number of numbered messages whose number did not follow the previous message's number.
    pub(super) out_of_order: u64,
    pub(super) messages: u64,
}

/// The rate and size of an honest troop's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Interval between a peer's messages; `None` if the troop only receives.
    pub(super) every: Option<Duration>,
    pub(super) most_bytes: u32,
}

/// One peer of a troop.
pub(super) struct NumberedPeer {
    honest: Box<dyn Persona>,
    manner: Manner,
    received: Rc<RefCell<Received>>,
    follower: MessageFollower,
    said: u64,
    honest_due: Instant,
    talk_due: Instant,
}

/// A reader of a stream of frames. Of a payload, it stores only the message's number.
#[derive(Debug, Default)]
struct MessageFollower {
    head: Vec<u8>,
    command: Option<CommandName>,
    /// Number of payload bytes still missing.
    left: u64,
    number: Vec<u8>,
    /// The numbers of the next messages [`TALK`] and [`FAST_TALK`].
    next_numbers: [u64; 2],
    is_met: bool,
}

impl NumberedPeer {
    pub(super) fn new(honest: impl Persona + 'static, manner: Manner, received: &Rc<RefCell<Received>>) -> Self {
        Self {
            honest: Box::new(honest),
            manner,
            received: Rc::clone(received),
            follower: MessageFollower::default(),
            said: 0,
            honest_due: Instant::MAX,
            talk_due: Instant::MAX,
        }
    }

    /// Lets the honest peer act, and keeps its timer apart from the timer for numbered messages.
    fn act(&mut self, line: &mut Line<'_>, act: impl FnOnce(&mut dyn Persona, &mut Line<'_>)) {
        line.wake_at(self.honest_due);
        act(&mut *self.honest, line);
        self.honest_due = line.wakes_at();
        line.wake_at(self.honest_due.min(self.talk_due));
    }
}

impl Persona for NumberedPeer {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.act(line, |honest, line| honest.opened(line));
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let was_met = self.follower.is_met;
        {
            let mut received = self.received.borrow_mut();
            let serial = line.serial() as usize;
            if received.digests.len() <= serial {
                received.digests.resize(serial + 1, 0);
            }
            self.follower.follow(bytes, &mut received, serial);
        }
        self.act(line, |honest, line| honest.received(line, bytes));
        if let Some(every) = self.manner.every
            && self.follower.is_met
            && !was_met
        {
            self.talk_due = line.now().plus(every.mul_f64(f64::from(1 + line.serial() % 16) / 16.0));
            line.wake_at(self.honest_due.min(self.talk_due));
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        if self.talk_due <= line.now() {
            let every = self.manner.every.expect("a peer that only receives has no timer for numbered messages");
            self.talk_due = line.now().plus(every);
            let chance = line.chance();
            let longest = if chance.one_in(16) { self.manner.most_bytes } else { self.manner.most_bytes.min(100) };
            let message = talk(self.said, chance.below(longest + 1) as usize);
            if line.send(&message) {
                self.said += 1;
            }
        }
        if self.honest_due <= line.now() {
            self.honest_due = Instant::MAX;
            self.act(line, |honest, line| honest.due(line));
        }
        line.wake_at(self.honest_due.min(self.talk_due));
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.honest.ended(how, at);
    }
}

impl MessageFollower {
    fn follow(&mut self, mut bytes: &[u8], received: &mut Received, serial: usize) {
        while !bytes.is_empty() {
            let Some(command) = self.command else {
                let wanted = self.head.first_chunk().map_or(HEADER_LEN_BYTES, Header::len_of);
                let len = (wanted - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..len]);
                bytes = &bytes[len..];
                self.begin(received, serial);
                continue;
            };
            let len = self.left.min(bytes.len() as u64) as usize;
            if [TALK, FAST_TALK].contains(&command) && self.number.len() < 8 {
                let missing = (8 - self.number.len()).min(len);
                self.number.extend_from_slice(&bytes[..missing]);
            }
            self.left -= len as u64;
            bytes = &bytes[len..];
            self.end(received, serial);
        }
    }

    /// Begins a message if its header is complete.
    fn begin(&mut self, received: &mut Received, serial: usize) {
        let Some(basic) = self.head.first_chunk::<HEADER_LEN_BYTES>() else { return };
        let header = match self.head.first_chunk::<EXTENDED_HEADER_LEN_BYTES>() {
            Some(extended) => Header::decode_extended(extended),
            None if Header::len_of(basic) == HEADER_LEN_BYTES => Header::decode(basic),
            None => return,
        };
        self.head.clear();
        self.number.clear();
        self.command = Some(header.command);
        self.left = header.payload_len;
        self.is_met |= header.command == CommandName::VERACK;
        received.messages += 1;
        if ![CommandName::PING, CommandName::PONG].contains(&header.command) {
            mix(&mut received.digests[serial], word(header.command) ^ header.payload_len);
        }
        self.end(received, serial);
    }

    fn end(&mut self, received: &mut Received, serial: usize) {
        if self.left > 0 {
            return;
        }
        let Some(command) = self.command.take().filter(|command| [TALK, FAST_TALK].contains(command)) else { return };
        let number = self.number.first_chunk().map_or(u64::MAX, |number| u64::from_le_bytes(*number));
        let next = &mut self.next_numbers[usize::from(command == FAST_TALK)];
        received.out_of_order += u64::from(number != *next);
        *next = number.wrapping_add(1);
        mix(&mut received.digests[serial], number);
    }
}

fn word(command: CommandName) -> u64 {
    let bytes = command.to_bytes();
    u64::from_le_bytes(*bytes.first_chunk().expect("a command has twelve bytes"))
}

fn mix(digest: &mut u64, word: u64) {
    *digest = (*digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
}
