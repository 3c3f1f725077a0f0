//! One direction of a connection: a bounded queue of bytes between a writer and a reader.
//!
//! A pipe accepts and shows its bytes in the pieces that its [`Cut`]s require. It records whether its writer waits
//! for room, but never notifies an endpoint itself. While the network is cut, a pipe accepts the bytes that fit and
//! shows nothing new. An empty pipe owns no memory, because its buffer returns to the pool.

use super::tape::Chance;
use std::io::IoSlice;

/// Maximum number of buffers that the pool keeps, each of at most [`MAX_POOLED_BYTES`].
const MAX_POOLED: usize = 64;
const MAX_POOLED_BYTES: usize = 64 * 1024;

/// The offsets at which a byte stream is cut into pieces. A call moves bytes of one piece only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// No cuts.
    #[default]
    None,
    /// No fixed offsets: each call moves at most this many bytes. 0 counts as 1.
    AtMost(usize),
    /// These offsets from the beginning of the stream.
    At(Vec<u64>),
    /// Random offsets. Of the connection's two hosts, the one that was added later draws them.
    Drawn,
}

/// The cuts of one direction of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// The cuts of writes. The kernel accepts one piece per write, and reports room for the next piece at the next
    /// wait.
    pub writes: Cut,
    /// The cuts of arrivals. A read returns bytes of one piece only, even if more were written.
    pub arrivals: Cut,
}

impl Cut {
    /// Returns how many of `len` bytes at `offset` are moved at once: at least one, unless `len` is 0.
    fn piece(&self, offset: u64, len: usize, chance: &Chance) -> usize {
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
            Self::Drawn => len - chance.range(0, len as u64 - 1) as usize,
        }
    }
}

/// Buffers of emptied pipes, for reuse.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

impl Pool {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < MAX_POOLED && buffer.capacity() <= MAX_POOLED_BYTES {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The waiting bytes begin at `taken`.
    buffer: Vec<u8>,
    taken: u32,
    /// The number of waiting bytes that the reader can see.
    arrived: u32,
    /// The number of bytes written since the connection began.
    written: u64,
    /// The end of the stream follows the last byte.
    is_finished: bool,
    /// The cut network delays the end of the stream.
    finish_waits: bool,
    /// The pipe had room for none or only a part of the last write, so the writer must be notified when there is room.
    writer_waits: bool,
    /// A write was cut short by its [`Cut`]: nothing more is accepted before the writer is notified.
    writer_stalled: bool,
}

impl Pipe {
    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.taken as usize
    }

    pub(super) fn arrived(&self) -> usize {
        self.arrived as usize
    }

    pub(super) fn has_room(&self, capacity_bytes: usize) -> bool {
        !self.writer_stalled && self.len() < capacity_bytes
    }

    /// Returns whether the end of the stream has arrived. It arrives together with the stream's last byte.
    pub(super) fn shows_end(&self) -> bool {
        self.is_finished && self.arrived() == self.len()
    }

    pub(super) fn finish(&mut self, is_cut: bool) {
        match is_cut {
            true => self.finish_waits = true,
            false => self.is_finished = true,
        }
    }

    /// Ends a cut of the network: the next piece arrives, and a delayed end of the stream arrives with the last byte.
    pub(super) fn heal(&mut self, cuts: &Cuts, chance: &Chance) {
        self.is_finished |= self.finish_waits;
        self.finish_waits = false;
        self.arrive(cuts, chance);
    }

    /// Lets the next piece arrive. With drawn cuts, it arrives only after the previous piece was read completely.
    fn arrive(&mut self, cuts: &Cuts, chance: &Chance) {
        if self.arrived > 0 && cuts.arrivals == Cut::Drawn {
            return;
        }
        let len = self.len();
        let piece = cuts.arrivals.piece(self.written - len as u64, len, chance);
        self.arrived = u32::try_from(piece).expect("a pipe holds less than 4 GiB");
    }

    /// Moves the arrived bytes that fit into `block`, and returns their number.
    pub(super) fn take(
        &mut self,
        block: &mut [u8],
        cuts: &Cuts,
        chance: &Chance,
        is_cut: bool,
        pool: &mut Pool,
    ) -> usize {
        let len = self.arrived().min(block.len());
        let from = self.taken as usize;
        block[..len].copy_from_slice(&self.buffer[from..from + len]);
        self.taken += len as u32;
        self.arrived -= len as u32;
        if self.len() == 0 {
            self.clear(pool);
        } else if !is_cut {
            self.arrive(cuts, chance);
        }
        len
    }

    /// Accepts the bytes that fit, up to the next cut. Returns their number, and whether a [`Cut`] has reduced it.
    pub(super) fn put(
        &mut self,
        slices: &[IoSlice<'_>],
        capacity_bytes: usize,
        cuts: &Cuts,
        chance: &Chance,
        is_cut: bool,
        pool: &mut Pool,
    ) -> (usize, bool) {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let fits = offered.min(capacity_bytes - self.len());
        let len = cuts.writes.piece(self.written, fits, chance);
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        } else if self.taken as usize > self.buffer.len() / 2 {
            self.buffer.drain(..self.taken as usize);
            self.taken = 0;
        }
        let mut left = len;
        for slice in slices {
            let part = slice.len().min(left);
            self.buffer.extend_from_slice(&slice[..part]);
            left -= part;
        }
        self.written += len as u64;
        self.writer_stalled = len < fits;
        self.writer_waits = len < offered && !self.writer_stalled;
        if !is_cut {
            self.arrive(cuts, chance);
        }
        (len, self.writer_stalled)
    }

    /// Returns the last `len` bytes that were put into the pipe.
    pub(super) fn last(&self, len: usize) -> &[u8] {
        &self.buffer[self.buffer.len() - len..]
    }

    pub(super) fn writer_waits(&self) -> bool {
        self.writer_waits
    }

    pub(super) fn refuse(&mut self) {
        self.writer_waits = true;
    }

    /// Records that the writer was notified.
    pub(super) fn writer_notified(&mut self) {
        self.writer_stalled = false;
    }

    /// Returns whether the writer must be notified of room. Returns `true` at most once for each write
    /// that found too little room.
    pub(super) fn owes_room(&mut self, capacity_bytes: usize) -> bool {
        let owes = self.writer_waits && self.has_room(capacity_bytes);
        self.writer_waits &= !owes;
        owes
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        pool.recycle(std::mem::take(&mut self.buffer));
        self.taken = 0;
        self.arrived = 0;
    }
}
