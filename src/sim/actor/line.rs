//! The interface through which a persona acts: its connection, its timer, and its crowd's random numbers.
//!
//! The bytes that a persona sends in one call are collected and passed to the kernel in few writes. [`Line::send`]
//! keeps the bytes that the kernel does not accept, up to [`MAX_UNSENT_BYTES`]. No method of [`Line`] blocks.

use super::super::net::SimNet;
use super::super::tape::Chance;
use crate::id::LinkId;
use crate::net::Net;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;

/// Maximum number of bytes per connection that wait for the kernel.
pub const MAX_UNSENT_BYTES: usize = 4 * 1024 * 1024;

/// Number of collected bytes that triggers a write to the kernel, even if the persona's call has not ended.
const MAX_GATHERED_BYTES: usize = 64 * 1024;

/// A persona's connection, for the duration of one call.
#[derive(Debug)]
pub struct Line<'a> {
    pub(super) net: &'a mut SimNet,
    pub(super) wire: &'a mut Wire,
    pub(super) timers: &'a mut Timers,
    /// Bytes sent in the persona's current call and not yet written to the kernel.
    pub(super) out: &'a mut Vec<u8>,
    pub(super) chance: &'a Chance,
    pub(super) id: LinkId,
    pub(super) now: Instant,
}

/// The crowd's state for one connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) generation: u32,
    /// The number of bytes that the persona still wants to read; `u32::MAX` means that the persona reads everything.
    pub(super) appetite: u32,
    /// The moment at which the persona wants to be called.
    pub(super) due: Instant,
    /// The moment of the connection's earliest timer; never later than `due`.
    pub(super) armed: Instant,
    pub(super) unsent: Option<Box<Unsent>>,
    pub(super) wish: Wish,
    pub(super) is_dialled: bool,
    pub(super) is_opening: bool,
    pub(super) is_readable: bool,
    pub(super) is_hung_up: bool,
    /// Whether the connection is in the crowd's list of connections to read.
    pub(super) is_listed: bool,
    /// Whether the kernel accepted nothing or only a part of the last write. The kernel reports when there is room.
    pub(super) is_blocked: bool,
}

/// The next step for a connection, set by its persona or by a failed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Stay,
    /// Shut down sending when everything is sent.
    Finish,
    Finished,
    Close,
    Reset,
    /// A write failed, so the connection is broken.
    Broken(ErrorKind),
}

#[derive(Debug)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

/// A crowd's timers, each with its moment and its link.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, LinkId)>>);

impl Line<'_> {
    /// Returns the moment at which the persona was called.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns a number that no other connection of the crowd has had.
    pub fn serial(&self) -> u32 {
        self.wire.generation
    }

    /// Returns whether this side opened the connection.
    pub fn is_dialled(&self) -> bool {
        self.wire.is_dialled
    }

    /// Returns the crowd's own source of random numbers.
    pub fn chance(&self) -> &Chance {
        self.chance
    }

    /// Sends all of `bytes`, now or when there is room, and returns `true`. Sends nothing and returns `false` if the
    /// connection can no longer send, or if `bytes` and the bytes already waiting would together exceed
    /// [`MAX_UNSENT_BYTES`].
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        if self.wire.wish != Wish::Stay || self.unsent_bytes() + bytes.len() > MAX_UNSENT_BYTES {
            return false;
        }
        self.out.extend_from_slice(bytes);
        if self.out.len() >= MAX_GATHERED_BYTES {
            self.hand_over();
        }
        true
    }

    /// Sends the part of `bytes` that the kernel accepts at once, and does not keep the rest. Returns the number of
    /// bytes sent. If this is not all and the connection can still send,
    /// [`Persona::writable`](super::Persona::writable) is called once there is room.
    pub fn offer(&mut self, bytes: &[u8]) -> usize {
        self.hand_over();
        if self.wire.wish != Wish::Stay || self.wire.is_blocked || self.wire.unsent.is_some() {
            return 0;
        }
        self.wire.write(self.net, self.id, bytes)
    }

    /// Returns the number of bytes that wait to be sent.
    pub fn unsent_bytes(&self) -> usize {
        self.out.len() + self.wire.unsent.as_ref().map_or(0, |unsent| unsent.bytes.len() - unsent.sent)
    }

    /// Returns whether the kernel has accepted less than it was offered, and has not yet reported enough room.
    pub fn is_blocked(&self) -> bool {
        self.wire.is_blocked || self.wire.unsent.is_some()
    }

    /// Shuts down sending when everything is sent.
    pub fn finish(&mut self) {
        self.hand_over();
        if self.wire.wish == Wish::Stay {
            self.wire.wish = Wish::Finish;
        }
    }

    /// Closes the connection when the persona's current call ends. Bytes that the kernel has not accepted by then are
    /// dropped.
    pub fn close(&mut self) {
        self.hand_over();
        self.wire.wish = Wish::Close;
    }

    /// Resets the connection when the persona's current call ends.
    pub fn reset(&mut self) {
        self.hand_over();
        self.wire.wish = Wish::Reset;
    }

    /// Requests a call of [`Persona::due`](super::Persona::due) at `moment`, in place of any earlier request.
    /// [`Instant::MAX`] means never.
    pub fn wake_at(&mut self, moment: Instant) {
        self.wire.due = moment;
        if moment < self.wire.armed {
            self.wire.armed = moment;
            self.timers.push(moment, self.id);
        }
    }

    /// Returns the moment of the pending request of [`Line::wake_at`]; [`Instant::MAX`] means that there is none.
    pub fn wakes_at(&self) -> Instant {
        self.wire.due
    }

    /// Reads nothing from now on. The persona therefore notices only by a failed write that the other side has closed
    /// the connection.
    pub fn stop_reading(&mut self) {
        self.wire.appetite = 0;
    }

    /// Reads everything that arrives.
    pub fn start_reading(&mut self) {
        self.wire.appetite = u32::MAX;
    }

    /// Reads `len_bytes` more bytes and then nothing.
    pub fn read_only(&mut self, len_bytes: u32) {
        self.wire.appetite = len_bytes.min(u32::MAX - 1);
    }

    /// Moves the bytes collected in the persona's current call to `into`, so that they are not sent.
    pub(super) fn take_back(&mut self, into: &mut impl Extend<u8>) {
        into.extend(self.out.drain(..));
    }

    /// Writes the collected bytes to the kernel, and keeps those that it does not accept.
    pub(super) fn hand_over(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut taken = 0;
        if !self.wire.is_blocked && self.wire.unsent.is_none() {
            taken = self.wire.write(self.net, self.id, self.out);
        }
        if taken < self.out.len() && !matches!(self.wire.wish, Wish::Broken(_)) {
            let new = || Box::new(Unsent { bytes: Vec::new(), sent: 0 });
            self.wire.unsent.get_or_insert_with(new).bytes.extend_from_slice(&self.out[taken..]);
        }
        self.out.clear();
    }
}

impl Wire {
    pub(super) fn new(generation: u32, is_dialled: bool) -> Self {
        Self {
            generation,
            appetite: u32::MAX,
            due: Instant::MAX,
            armed: Instant::MAX,
            unsent: None,
            wish: Wish::Stay,
            is_dialled,
            is_opening: is_dialled,
            is_readable: false,
            is_hung_up: false,
            is_listed: false,
            is_blocked: false,
        }
    }

    /// Sends the waiting bytes that the kernel accepts now.
    pub(super) fn flush(&mut self, net: &mut SimNet, id: LinkId) {
        let Some(mut unsent) = self.unsent.take() else { return };
        unsent.sent += self.write(net, id, &unsent.bytes[unsent.sent..]);
        if unsent.sent < unsent.bytes.len() {
            self.unsent = Some(unsent);
        }
    }

    fn write(&mut self, net: &mut SimNet, id: LinkId, bytes: &[u8]) -> usize {
        match net.write(id, bytes) {
            Ok(len) => {
                self.is_blocked = len < bytes.len();
                len
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_blocked = true;
                0
            }
            Err(error) => {
                self.wish = Wish::Broken(error.kind());
                0
            }
        }
    }
}

impl Timers {
    pub(super) fn push(&mut self, at: Instant, id: LinkId) {
        self.0.push(Reverse((at, id)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, LinkId)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(timer)| timer)
    }
}
