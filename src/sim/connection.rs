//! One connection of the virtual kernel: two endpoints, and a pipe of bytes in each direction.
//!
//! Operations return the notifications that the endpoints must receive. This module never queues an event or reads a
//! clock. While the network between the two hosts is cut, each endpoint continues alone, and its output reaches the
//! other endpoint when the network is healed.
//!
//! A reset discards all unread bytes of both sides. This is the harshest behaviour that a kernel may have.

use super::pipe::{Cuts, Pipe, Pool};
use super::tape::Chance;
use crate::errno::{EAGAIN, ECONNREFUSED, ECONNRESET, EPIPE};
use crate::net::Endpoints;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;

/// A connection's capacity, and the cuts that split its streams into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Maximum number of bytes that wait in each direction, from 1 byte to 2 GiB. Default 256 KiB.
    pub capacity_bytes: usize,
    /// The cuts of the stream from the dialler to the acceptor.
    pub to_acceptor: Cuts,
    /// The cuts of the stream from the acceptor to the dialler.
    pub to_dialler: Cuts,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { capacity_bytes: 256 * 1024, to_acceptor: Cuts::default(), to_dialler: Cuts::default() }
    }
}

impl Conditions {
    const MAX_CAPACITY_BYTES: usize = 2 << 30;

    fn capacity_bytes(&self) -> usize {
        self.capacity_bytes.clamp(1, Self::MAX_CAPACITY_BYTES)
    }

    /// Returns the cuts of the bytes that `side` receives.
    fn incoming(&self, side: Side) -> &Cuts {
        match side {
            Side::Dialler => &self.to_dialler,
            Side::Acceptor => &self.to_acceptor,
        }
    }
}

/// One of a connection's two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// The id of an endpoint. An id is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) index: u32,
    pub(super) serial: u32,
    pub(super) side: Side,
}

/// Everything that a poller can report about an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) hung_up: bool,
}

/// A notification owed to an endpoint: something new to read, or room to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Edge {
    pub(super) const NONE: Self = Self { readable: false, writable: false };
    pub(super) const BOTH: Self = Self { readable: true, writable: true };

    fn readable_if(readable: bool) -> Self {
        Self { readable, writable: false }
    }

    fn writable_if(writable: bool) -> Self {
        Self { readable: false, writable }
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The notifications owed after an operation: `own` to the endpoint that the operation was called on, `other` to the
/// opposite one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) own: Edge,
    pub(super) other: Edge,
}

impl Edges {
    pub(super) const NONE: Self = Self { own: Edge::NONE, other: Edge::NONE };
    pub(super) const OWN: Self = Self { own: Edge::BOTH, other: Edge::NONE };
    pub(super) const OTHER: Self = Self { own: Edge::NONE, other: Edge::BOTH };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not established: no reply has arrived, the listener has no room for the connection, or the dial has failed.
    Opening,
    Established,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) serial: u32,
    /// The dialling host and the dialled host. If no host has the dialled address, both are the dialling host.
    pub(super) hosts: [u32; 2],
    pub(super) listener: SocketAddr,
    pub(super) dialled_from: SocketAddr,
    conditions: Rc<Conditions>,
    phase: Phase,
    /// While true, no bytes pass from one endpoint to the other.
    pub(super) is_cut: bool,
    was_reset: bool,
    finished_first: Option<Side>,
    dialler: End,
    acceptor: End,
    to_acceptor: Pipe,
    to_dialler: Pipe,
}

/// The receiver of an endpoint's events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) host: u32,
    pub(super) token: u64,
}

/// The state of one endpoint, and the notifications that the kernel owes it.
#[derive(Debug)]
pub(super) struct End {
    /// `None` before the endpoint is registered, and after it is closed.
    pub(super) owner: Option<Owner>,
    /// An error that the next call reports, once.
    error: Option<i32>,
    /// An event for this endpoint waits to be collected.
    pub(super) is_queued: bool,
    /// The readiness that the waiting event must report.
    pub(super) owed: Edge,
    /// The reader expects nothing more to read before the next event. A short or refused read sets this, and so does
    /// any call that an injected fault refuses. A readable event clears it.
    pub(super) is_drained: bool,
    /// An event has reported the end of the incoming stream, or an error.
    has_reported_end: bool,
    /// Nothing more can be sent or received.
    is_dead: bool,
    is_shut: bool,
    is_closed: bool,
    /// The cut network delays a reset of this endpoint.
    reset_waits: bool,
}

impl End {
    fn new() -> Self {
        Self {
            owner: None,
            error: None,
            is_queued: false,
            owed: Edge::NONE,
            is_drained: true,
            has_reported_end: false,
            is_dead: false,
            is_shut: false,
            is_closed: false,
            reset_waits: false,
        }
    }
}

impl Connection {
    pub(super) fn new(
        serial: u32,
        hosts: [u32; 2],
        listener: SocketAddr,
        dialled_from: SocketAddr,
        conditions: &Rc<Conditions>,
    ) -> Self {
        Self {
            serial,
            hosts,
            listener,
            dialled_from,
            conditions: Rc::clone(conditions),
            phase: Phase::Opening,
            is_cut: false,
            was_reset: false,
            finished_first: None,
            dialler: End::new(),
            acceptor: End::new(),
            to_acceptor: Pipe::default(),
            to_dialler: Pipe::default(),
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    pub(super) fn owner(&self, side: Side) -> Option<Owner> {
        match side {
            Side::Dialler => self.dialler.owner,
            Side::Acceptor => self.acceptor.owner,
        }
    }

    /// Returns the host that draws the connection's random cuts: of its two hosts, the one that was added later.
    pub(super) fn drawn_by(&self) -> usize {
        self.hosts[0].max(self.hosts[1]) as usize
    }

    fn incoming(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Dialler => &mut self.to_dialler,
            Side::Acceptor => &mut self.to_acceptor,
        }
    }

    fn outgoing(&mut self, side: Side) -> &mut Pipe {
        self.incoming(side.other())
    }

    pub(super) fn is_opening(&self) -> bool {
        self.phase == Phase::Opening
    }

    /// Returns whether the dial has neither succeeded nor failed yet.
    pub(super) fn is_undecided(&self) -> bool {
        self.is_opening() && !self.dialler.is_dead
    }

    pub(super) fn establish(&mut self) {
        self.phase = Phase::Established;
    }

    /// Fails the dial: the dialler's next call reports the error.
    pub(super) fn fail_to_open(&mut self, errno: i32) {
        self.acceptor.is_closed = true;
        self.dialler.error = Some(errno);
        self.dialler.is_dead = true;
    }

    /// Fails the dial because its address has no listener.
    pub(super) fn refuse(&mut self) {
        self.fail_to_open(ECONNREFUSED);
    }

    pub(super) fn is_over(&self) -> bool {
        self.dialler.is_closed && self.acceptor.is_closed
    }

    /// Returns whether the dialler's port stays in use for a while. It does if the dialler was the first to finish its
    /// stream and the connection was not reset.
    pub(super) fn keeps_port_in_use(&self) -> bool {
        self.finished_first == Some(Side::Dialler) && !self.was_reset
    }

    pub(super) fn mask(&mut self, side: Side) -> Mask {
        let is_broken = self.is_broken(side);
        let incoming = self.incoming(side);
        let has_ended = is_broken || incoming.shows_end();
        let has_data = incoming.arrived() > 0;
        Mask { readable: has_data || has_ended, writable: has_ended || self.decides_write(side), hung_up: has_ended }
    }

    /// Returns whether a write would accept bytes or fail. The end of the incoming stream alone does not make a write
    /// fail.
    pub(super) fn decides_write(&mut self, side: Side) -> bool {
        let is_established = self.phase == Phase::Established;
        let is_shut = self.end(side).is_shut;
        self.is_broken(side) || is_established && (is_shut || self.has_room(side))
    }

    /// Returns whether `side` can write. While the network is cut, a writer that waits for room does not learn that the
    /// other side reads, so it cannot write.
    fn has_room(&mut self, side: Side) -> bool {
        let (capacity_bytes, is_cut) = (self.conditions.capacity_bytes(), self.is_cut);
        let pipe = self.outgoing(side);
        pipe.has_room(capacity_bytes) && !(is_cut && pipe.writer_waits())
    }

    fn is_broken(&mut self, side: Side) -> bool {
        let end = self.end(side);
        end.is_dead || end.error.is_some()
    }

    /// Removes an endpoint's waiting event. Returns the readiness that the event reports, which `show` selects from the
    /// endpoint's state and the owed notifications.
    pub(super) fn notify(&mut self, side: Side, show: impl FnOnce(Mask, Edge) -> Mask) -> Mask {
        self.outgoing(side).writer_notified();
        let seen = self.mask(side);
        let end = self.end(side);
        end.is_queued = false;
        let shown = show(seen, std::mem::take(&mut end.owed));
        end.is_drained &= !shown.readable;
        end.has_reported_end |= shown.hung_up;
        shown
    }

    pub(super) fn connected(&mut self, side: Side) -> Result<Option<Endpoints>, i32> {
        if let Some(errno) = self.end(side).error.take() {
            return Err(errno);
        }
        let (dialler, listener) = (self.dialled_from, self.listener);
        Ok((self.phase == Phase::Established).then_some(match side {
            Side::Dialler => Endpoints { local: dialler, remote: listener },
            Side::Acceptor => Endpoints { local: listener, remote: dialler },
        }))
    }

    pub(super) fn read(
        &mut self,
        side: Side,
        block: &mut [u8],
        chance: &Chance,
        pool: &mut Pool,
    ) -> (Result<usize, i32>, Edges) {
        let end = self.end(side);
        if let Some(errno) = end.error.take() {
            return (Err(errno), Edges::NONE);
        }
        let (is_dead, has_reported_end, is_cut) = (end.is_dead, end.has_reported_end, self.is_cut);
        let conditions = Rc::clone(&self.conditions);
        let pipe = self.incoming(side);
        if pipe.arrived() == 0 {
            if is_dead || pipe.shows_end() {
                return (Ok(0), Edges::NONE);
            }
            self.end(side).is_drained = true;
            return (Err(EAGAIN), Edges::NONE);
        }
        let len = pipe.take(block, conditions.incoming(side), chance, is_cut, pool);
        // After a short read, a reader assumes that nothing more waits.
        let is_short = len < block.len();
        let has_more = pipe.arrived() > 0 || (pipe.shows_end() && !has_reported_end);
        let owes_room = !is_cut && pipe.owes_room(conditions.capacity_bytes());
        self.end(side).is_drained |= is_short;
        (Ok(len), Edges { own: Edge::readable_if(is_short && has_more), other: Edge::writable_if(owes_room) })
    }

    pub(super) fn write(
        &mut self,
        side: Side,
        slices: &[IoSlice<'_>],
        chance: &Chance,
        pool: &mut Pool,
    ) -> (Result<usize, i32>, Edges) {
        let (is_opening, is_cut) = (self.is_opening(), self.is_cut);
        let own = self.end(side);
        if let Some(errno) = own.error.take() {
            return (Err(errno), Edges::NONE);
        }
        if own.is_dead || own.is_shut {
            return (Err(EPIPE), Edges::NONE);
        }
        let other_is_closed = self.end(side.other()).is_closed;
        let conditions = Rc::clone(&self.conditions);
        let capacity_bytes = conditions.capacity_bytes();
        if is_opening || !self.has_room(side) {
            self.outgoing(side).refuse();
            return (Err(EAGAIN), Edges::NONE);
        }
        if other_is_closed && !is_cut {
            // The kernel accepts the bytes, and then learns that the other endpoint is closed.
            self.break_end(side, pool);
            return (Ok(slices.iter().map(|slice| slice.len()).sum()), Edges::OWN);
        }
        let (len, is_stalled) =
            self.outgoing(side).put(slices, capacity_bytes, conditions.incoming(side.other()), chance, is_cut, pool);
        let other = Edge::readable_if(len > 0 && !is_cut);
        (Ok(len), Edges { own: Edge::writable_if(is_stalled), other })
    }

    /// Records the refusal of a call by `side` that might have made progress. The kernel must then queue an event for
    /// the retry.
    pub(super) fn put_off(&mut self, side: Side, is_write: bool) {
        self.end(side).is_drained = true;
        if is_write {
            self.outgoing(side).refuse();
        }
    }

    /// Returns the last `len` bytes that `side` has written; `None` if the pipe no longer holds them.
    pub(super) fn last_written(&mut self, side: Side, len: usize) -> Option<&[u8]> {
        let pipe = self.outgoing(side);
        (pipe.len() >= len).then(|| pipe.last(len))
    }

    pub(super) fn shut_down_writing(&mut self, side: Side) -> Edges {
        let is_cut = self.is_cut;
        let end = self.end(side);
        if end.is_shut || end.is_dead {
            return Edges::NONE;
        }
        end.is_shut = true;
        self.finished_first.get_or_insert(side);
        let pipe = self.outgoing(side);
        pipe.finish(is_cut);
        Edges { own: Edge::NONE, other: Edge::readable_if(pipe.shows_end()) }
    }

    /// Closes an endpoint: with a reset if bytes remain unread, otherwise by finishing its stream.
    pub(super) fn close(&mut self, side: Side, pool: &mut Pool) -> Edges {
        let is_cut = self.is_cut;
        let incoming = self.incoming(side);
        // Bytes that the cut network delays reach the closed endpoint later, and cause a reset then.
        let leaves_unread = if is_cut { incoming.arrived() > 0 } else { incoming.len() > 0 };
        match leaves_unread {
            true => self.abort(side, pool),
            false => self.close_end(side, |connection| connection.shut_down_writing(side)),
        }
    }

    /// Closes an endpoint with a reset.
    pub(super) fn abort(&mut self, side: Side, pool: &mut Pool) -> Edges {
        self.close_end(side, |connection| connection.reset_end(side.other(), pool))
    }

    fn close_end(&mut self, side: Side, last_word: impl FnOnce(&mut Self) -> Edges) -> Edges {
        let end = self.end(side);
        if end.is_closed {
            return Edges::NONE;
        }
        end.is_closed = true;
        end.owner = None;
        if end.is_dead || self.end(side.other()).is_closed {
            return Edges::NONE;
        }
        last_word(self)
    }

    /// Sends a reset to `side`, the endpoint opposite to the one that resets. On a cut network, the reset waits.
    fn reset_end(&mut self, side: Side, pool: &mut Pool) -> Edges {
        if self.is_cut {
            self.end(side).reset_waits = true;
            return Edges::NONE;
        }
        self.break_end(side, pool);
        Edges::OTHER
    }

    /// Breaks the endpoint `side` as an arriving reset does: its next call fails, and the bytes of both directions
    /// are discarded.
    pub(super) fn break_end(&mut self, side: Side, pool: &mut Pool) {
        self.to_acceptor.clear(pool);
        self.to_dialler.clear(pool);
        self.was_reset = true;
        let end = self.end(side);
        end.error = Some(ECONNRESET);
        end.is_dead = true;
    }

    /// Breaks the endpoint `side`, whose call has failed and reported its error. Resets the opposite endpoint if the
    /// connection is established and that endpoint is not closed.
    pub(super) fn fail_end(&mut self, side: Side, pool: &mut Pool) -> Edges {
        self.break_end(side, pool);
        self.end(side).error = None;
        match self.is_opening() || self.end(side.other()).is_closed {
            true => Edges::NONE,
            false => self.reset_end(side.other(), pool),
        }
    }

    /// Resets each endpoint that is neither dead nor closed, as a middlebox may do.
    pub(super) fn reset_both(&mut self, pool: &mut Pool) -> Edges {
        for side in [Side::Dialler, Side::Acceptor] {
            if !self.end(side).is_dead && !self.end(side).is_closed {
                self.break_end(side, pool);
            }
        }
        Edges { own: Edge::BOTH, other: Edge::BOTH }
    }

    /// Delivers everything that the cut network delayed. In the result, `own` belongs to the dialler.
    pub(super) fn heal(&mut self, chance: &Chance, pool: &mut Pool) -> Edges {
        self.is_cut = false;
        let dialler = self.heal_end(Side::Dialler, chance, pool);
        let acceptor = self.heal_end(Side::Acceptor, chance, pool);
        Edges {
            own: Edge { readable: dialler.own.readable, writable: dialler.own.writable || acceptor.other.writable },
            other: Edge { readable: acceptor.own.readable, writable: acceptor.own.writable || dialler.other.writable },
        }
    }

    fn heal_end(&mut self, side: Side, chance: &Chance, pool: &mut Pool) -> Edges {
        let is_reset = std::mem::take(&mut self.end(side).reset_waits);
        let has_sent_to_nobody = self.end(side.other()).is_closed && self.outgoing(side).len() > 0;
        if is_reset || has_sent_to_nobody {
            self.break_end(side, pool);
            return Edges::OWN;
        }
        let conditions = Rc::clone(&self.conditions);
        let pipe = self.incoming(side);
        pipe.heal(conditions.incoming(side), chance);
        let readable = pipe.arrived() > 0 || pipe.shows_end();
        let owes_room = pipe.owes_room(conditions.capacity_bytes());
        Edges { own: Edge::readable_if(readable), other: Edge::writable_if(owes_room) }
    }
}
