//! One connection of the virtual kernel: two ends, and a pipe of bytes in each direction.
//!
//! A pipe holds a bounded number of bytes, takes and shows them in the pieces that its [`Cuts`] demand, and remembers
//! what it owes to whom: room to a writer that was cut short, the next piece to a reader that took the last one whole.
//! Each operation says which end has to be told of it; nothing here knows hosts, tokens or time.
//!
//! A reset discards what either side has not read, the harshest that a kernel may do.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;

/// Where a stream of bytes is cut into the pieces that one call moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    #[default]
    None,
    /// After at most this many bytes per call, at least one.
    AtMost(usize),
    /// At these offsets from the beginning of the stream; no call moves bytes from both sides of one.
    At(Vec<u64>),
    /// At places drawn from the world's seed.
    Drawn,
}

/// How one direction of a connection is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// What the kernel takes of a write; it says that there is room again at the next wait.
    pub writes: Cut,
    /// What the reader sees at once; the next piece arrives when it has read this one.
    pub arrivals: Cut,
}

/// What a connection is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Bytes that a direction holds between writer and reader, at least one. Default 256 KiB.
    pub capacity_bytes: usize,
    /// The direction from the dialler to the acceptor.
    pub to_acceptor: Cuts,
    /// The direction from the acceptor to the dialler.
    pub to_dialler: Cuts,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { capacity_bytes: 256 * 1024, to_acceptor: Cuts::default(), to_dialler: Cuts::default() }
    }
}

impl Cut {
    /// How many of `len` bytes from `offset` on are moved at once: at least one, if there is any.
    fn piece(&self, offset: u64, len: usize, rng: &mut StdRng) -> usize {
        if len == 0 {
            return 0;
        }
        match self {
            Self::None => len,
            Self::AtMost(most) => len.min((*most).max(1)),
            Self::At(points) => {
                let next = points.iter().filter(|&&point| point > offset).min();
                next.map_or(len, |point| usize::try_from(point - offset).map_or(len, |left| left.min(len)))
            }
            Self::Drawn => rng.random_range(1..=len),
        }
    }
}

/// One of the two ends of a connection.
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

/// What an end sees without calling anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) hung_up: bool,
}

/// Which ends have something new to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) own: bool,
    pub(super) other: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The listener has no room for it yet.
    Opening,
    Established,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) serial: u64,
    pub(super) listener: SocketAddr,
    pub(super) dialled_from: SocketAddr,
    phase: Phase,
    dialler: End,
    acceptor: End,
    to_acceptor: Pipe,
    to_dialler: Pipe,
}

/// What one side knows of the connection, and how the kernel tells it more.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The host and the token that its events go to, once it is registered.
    pub(super) owner: Option<(usize, u64)>,
    /// An event waits to be collected.
    pub(super) is_queued: bool,
    /// Reported by the next call, once.
    error: Option<ErrorKind>,
    /// Nothing more can be sent or received.
    is_dead: bool,
    is_shut: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// How many of them the reader can see.
    arrived: usize,
    written: u64,
    capacity_bytes: usize,
    cuts: Cuts,
    /// The writer has said that nothing more will come.
    is_finished: bool,
    /// The writer took a refusal or was cut short, and is told when there is room.
    writer_waits: bool,
    /// A write was cut short by its [`Cut`]: nothing more is taken before the writer was told.
    writer_stalled: bool,
}

impl Connection {
    pub(super) fn new(serial: u64, listener: SocketAddr, dialled_from: SocketAddr, conditions: Conditions) -> Self {
        let Conditions { capacity_bytes, to_acceptor, to_dialler } = conditions;
        Self {
            serial,
            listener,
            dialled_from,
            phase: Phase::Opening,
            dialler: End::default(),
            acceptor: End::default(),
            to_acceptor: Pipe::new(capacity_bytes, to_acceptor),
            to_dialler: Pipe::new(capacity_bytes, to_dialler),
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    fn ends(&mut self, side: Side) -> (&mut End, &mut End) {
        match side {
            Side::Dialler => (&mut self.dialler, &mut self.acceptor),
            Side::Acceptor => (&mut self.acceptor, &mut self.dialler),
        }
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

    pub(super) fn establish(&mut self) {
        self.phase = Phase::Established;
    }

    /// Nobody listens: the dialler is told by its next call.
    pub(super) fn refuse(&mut self) {
        self.acceptor.is_closed = true;
        self.dialler.error = Some(ErrorKind::ConnectionRefused);
        self.dialler.is_dead = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.dialler.is_closed && self.acceptor.is_closed
    }

    pub(super) fn mask(&mut self, side: Side) -> Mask {
        let is_established = self.phase == Phase::Established;
        let (own, _) = self.ends(side);
        let (is_broken, is_shut) = (own.is_dead || own.error.is_some(), own.is_shut);
        let incoming = self.incoming(side);
        let has_ended = is_broken || incoming.shows_end();
        let has_data = incoming.arrived > 0;
        let has_room = is_established && (is_shut || self.outgoing(side).has_room());
        Mask { readable: has_data || has_ended, writable: has_room || has_ended, hung_up: has_ended }
    }

    pub(super) fn connected(&mut self, side: Side) -> Result<bool, ErrorKind> {
        match self.end(side).error.take() {
            Some(error) => Err(error),
            None => Ok(self.phase == Phase::Established),
        }
    }

    pub(super) fn read(&mut self, side: Side, block: &mut [u8], rng: &mut StdRng) -> (Result<usize, ErrorKind>, Edges) {
        let end = self.end(side);
        if let Some(error) = end.error.take() {
            return (Err(error), Edges::default());
        }
        let is_dead = end.is_dead;
        let pipe = self.incoming(side);
        if pipe.arrived == 0 {
            let is_over = is_dead || pipe.shows_end();
            return (if is_over { Ok(0) } else { Err(ErrorKind::WouldBlock) }, Edges::default());
        }
        let len = pipe.take(block, rng);
        // Who gets less than it has room for believes that there is no more.
        let own = len < block.len() && pipe.arrived > 0;
        let other = pipe.owes_room();
        (Ok(len), Edges { own, other })
    }

    pub(super) fn write(
        &mut self,
        side: Side,
        slices: &[IoSlice<'_>],
        rng: &mut StdRng,
    ) -> (Result<usize, ErrorKind>, Edges) {
        let is_opening = self.is_opening();
        let (own, other) = self.ends(side);
        if let Some(error) = own.error.take() {
            return (Err(error), Edges::default());
        }
        if own.is_dead || own.is_shut {
            return (Err(ErrorKind::BrokenPipe), Edges::default());
        }
        let other_is_closed = other.is_closed;
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let pipe = self.outgoing(side);
        if is_opening || !pipe.has_room() {
            pipe.writer_waits = true;
            return (Err(ErrorKind::WouldBlock), Edges::default());
        }
        if other_is_closed {
            // The kernel takes it, and then hears that there is nobody any more.
            self.break_end(side);
            return (Ok(offered), Edges { own: true, other: false });
        }
        let (len, is_cut) = pipe.put(slices, offered, rng);
        (Ok(len), Edges { own: is_cut, other: len > 0 })
    }

    pub(super) fn shut_down_writing(&mut self, side: Side) -> Edges {
        let end = self.end(side);
        if end.is_shut || end.is_dead {
            return Edges::default();
        }
        end.is_shut = true;
        let pipe = self.outgoing(side);
        pipe.is_finished = true;
        Edges { own: false, other: pipe.shows_end() }
    }

    /// Closes one end: with a reset if it leaves something unread, else in an orderly way.
    pub(super) fn close(&mut self, side: Side) -> Edges {
        let end = self.end(side);
        if end.is_closed {
            return Edges::default();
        }
        end.is_closed = true;
        end.owner = None;
        let is_dead = end.is_dead;
        if is_dead || self.end(side.other()).is_closed {
            return Edges::default();
        }
        if self.incoming(side).bytes.is_empty() {
            return self.shut_down_writing(side);
        }
        self.break_end(side.other());
        Edges { own: false, other: true }
    }

    /// A reset has reached this end.
    pub(super) fn break_end(&mut self, side: Side) {
        self.incoming(side).clear();
        self.outgoing(side).clear();
        let end = self.end(side);
        end.error = Some(ErrorKind::ConnectionReset);
        end.is_dead = true;
    }

    /// The end has been told what [`Connection::mask`] says.
    pub(super) fn told(&mut self, side: Side) {
        self.end(side).is_queued = false;
        self.outgoing(side).writer_stalled = false;
    }
}

impl Pipe {
    fn new(capacity_bytes: usize, cuts: Cuts) -> Self {
        Self {
            bytes: VecDeque::new(),
            arrived: 0,
            written: 0,
            capacity_bytes: capacity_bytes.max(1),
            cuts,
            is_finished: false,
            writer_waits: false,
            writer_stalled: false,
        }
    }

    fn has_room(&self) -> bool {
        !self.writer_stalled && self.bytes.len() < self.capacity_bytes
    }

    /// Whether the end of the stream has arrived, which it does with the last byte before it.
    fn shows_end(&self) -> bool {
        self.is_finished && self.arrived == self.bytes.len()
    }

    /// Lets the next piece arrive; one that was drawn first has to be read to its end.
    fn arrive(&mut self, rng: &mut StdRng) {
        if self.arrived > 0 && self.cuts.arrivals == Cut::Drawn {
            return;
        }
        let offset = self.written - self.bytes.len() as u64;
        self.arrived = self.cuts.arrivals.piece(offset, self.bytes.len(), rng);
    }

    fn take(&mut self, block: &mut [u8], rng: &mut StdRng) -> usize {
        let len = self.arrived.min(block.len());
        for (to, from) in block.iter_mut().zip(self.bytes.drain(..len)) {
            *to = from;
        }
        self.arrived -= len;
        self.arrive(rng);
        len
    }

    fn put(&mut self, slices: &[IoSlice<'_>], offered: usize, rng: &mut StdRng) -> (usize, bool) {
        let fits = offered.min(self.capacity_bytes - self.bytes.len());
        let len = self.cuts.writes.piece(self.written, fits, rng);
        self.bytes.extend(slices.iter().flat_map(|slice| slice.iter()).take(len));
        self.written += len as u64;
        self.writer_stalled = len < fits;
        self.writer_waits = len < offered && !self.writer_stalled;
        self.arrive(rng);
        (len, self.writer_stalled)
    }

    /// Whether the writer has to be told that there is room, which is done once.
    fn owes_room(&mut self) -> bool {
        let owes = self.writer_waits && self.has_room();
        self.writer_waits &= !owes;
        owes
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.arrived = 0;
    }
}
