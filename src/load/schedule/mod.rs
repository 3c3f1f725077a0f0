//! The schedule: the moments of a phase's operations, in order.
//!
//! The stages of a phase follow each other. The operations of each stage arrive as if the stage began a schedule of its
//! own, so the number of operations of a stage depends on nothing else. Operations have one index over all stages. The
//! schedule of a segment has the indices and moments that the whole load has, and lists only its own.

mod arrival;
mod curve;
mod share;
mod wide;

pub use arrival::Arrival;
pub(super) use curve::nanos;
pub use share::Segment;
pub(super) use share::Share;

use super::rate::Rate;
use super::stage::Stage;
use arrival::Axis;
use curve::Curve;
use std::num::NonZeroU32;
use std::ops::Range;

/// An operation of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) index: u64,
    /// The planned moment in nanoseconds, from the begin of the schedule.
    pub(super) planned_ns: u64,
}

/// The remaining operations of a phase.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    arrival: Arrival,
    share: Share,
    /// The number of operations after which the schedule ends.
    max_operations: u64,
    /// The current piece, earlier and later ones.
    pieces: Vec<Piece>,
    /// The number of the next stream of random moments.
    stream: u64,
    /// The position of this process's next operation.
    position: Position,
    /// The position right after this process's last operation.
    mark: Position,
    /// The next operation of this process.
    due: Option<Due>,
    /// The moment of the first operation beyond `max_operations`, once it is known.
    max_reached_ns: Option<u64>,
}

/// A position between two operations.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The index of the current piece.
    piece: usize,
    /// The index of the current piece's first operation.
    base: u64,
    /// The number of the current piece's operations before the position.
    next: u64,
    /// The current piece's next operation, if operations arrive at random.
    axis: Option<Axis>,
}

impl Position {
    fn index(&self) -> u64 {
        self.base.saturating_add(self.next)
    }
}

/// A stage, or the part of it before or after a change of the rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    stage: usize,
    begin_ns: u64,
    length_ns: u64,
    curve: Curve,
    /// The number of operations, unless they arrive at random.
    total: u64,
    stream: u64,
}

impl Piece {
    fn end_ns(&self) -> u64 {
        self.begin_ns.saturating_add(self.length_ns)
    }

    /// Counts the operations due before `time_ns`, measured from the begin of the piece, unless they arrive at random.
    fn count_before(&self, time_ns: u64, burst: u64) -> u64 {
        let even = self.curve.count(time_ns.min(self.length_ns));
        even.div_ceil(burst).saturating_mul(burst).min(self.total)
    }

    /// Returns the moment of the next operation at a position in the piece, measured from the begin of the piece; the
    /// largest number if there is none.
    fn moment(&self, position: &Position, burst: u64) -> u64 {
        let moment = match &position.axis {
            Some(axis) => self.curve.moment_at(axis.position()),
            None if position.next >= self.total => u64::MAX,
            None => self.curve.moment(position.next - position.next % burst),
        };
        if moment < self.length_ns { moment } else { u64::MAX }
    }
}

impl Schedule {
    /// Returns the schedule of these stages. Schedules with different values of `stream` have different random moments.
    pub(super) fn new(stages: &[Stage], arrival: Arrival, share: Share, max_operations: u64, stream: u64) -> Self {
        let position = Position { piece: 0, base: 0, next: 0, axis: None };
        let mut schedule = Self {
            arrival,
            share,
            max_operations,
            pieces: Vec::new(),
            stream,
            position,
            mark: position,
            due: None,
            max_reached_ns: None,
        };
        let mut begin_ns = 0_u64;
        for (stage, of) in stages.iter().enumerate() {
            let piece = schedule.piece(stage, begin_ns, nanos(of.time), Curve::of(of));
            begin_ns = piece.end_ns();
            schedule.pieces.push(piece);
        }
        schedule.begin_piece();
        schedule.mark = schedule.position;
        schedule.settle();
        schedule
    }

    /// Returns the next operation of this process.
    pub(super) fn due(&self) -> Option<Due> {
        self.due
    }

    /// Returns the index of this process's next operation. If there is none, returns the number of the whole load's
    /// operations or less.
    pub(super) fn position(&self) -> u64 {
        self.position.index().min(self.max_operations)
    }

    /// Returns the moment of the first operation beyond the maximum number, once all own operations before it are over.
    /// If an earlier operation may have the same moment, returns the next nanosecond.
    pub(super) fn max_reached_ns(&self) -> Option<u64> {
        self.max_reached_ns
    }

    /// Returns the total rate at `time_ns`, which is not before the last operation.
    pub(super) fn rate_at(&self, time_ns: u64) -> Rate {
        let piece = self.pieces.iter().find(|piece| time_ns < piece.end_ns()).or_else(|| self.pieces.last());
        piece.map_or(Rate::ZERO, |piece| piece.curve.rate_at(time_ns.saturating_sub(piece.begin_ns)))
    }

    /// Proceeds to the next operation.
    pub(super) fn advance(&mut self) {
        self.skip(1);
        self.mark = self.position;
        self.settle();
    }

    /// Proceeds to this process's first operation that is due at `time_ns` or later. Returns its index. If there is no
    /// such operation, returns an index beyond all earlier ones.
    pub(super) fn seek(&mut self, time_ns: u64) -> u64 {
        let burst = self.burst();
        // The position of the next operation may be in a later piece than `time_ns`.
        self.position = self.mark;
        while let Some(piece) = self.pieces.get(self.position.piece).copied() {
            let remaining = self.max_operations.saturating_sub(self.position.base);
            let within = time_ns.saturating_sub(piece.begin_ns);
            match self.position.axis {
                Some(_) => {
                    while self.position.next < remaining && piece.moment(&self.position, burst) < within {
                        self.skip(1);
                    }
                }
                None => {
                    let count = piece.count_before(within, burst).min(remaining);
                    self.position.next = self.position.next.max(count);
                }
            }
            if time_ns < piece.end_ns() || self.position.next >= remaining {
                break;
            }
            self.end_piece(&piece);
        }
        self.mark = self.position;
        self.settle();
        self.position()
    }

    /// Proceeds as [`Schedule::seek`] does, and returns the number of this process's operations before `time_ns`.
    pub(super) fn count_before(&mut self, time_ns: u64) -> u64 {
        let index = self.seek(time_ns);
        self.share.count_before(index)
    }

    /// Lists this process's operations from the next one up to `time_ns`, by stage. A range also has the indices of
    /// other processes' operations.
    pub(super) fn rest(&self, time_ns: u64) -> Vec<(usize, Range<u64>)> {
        let mut walker = self.clone();
        let mut rest: Vec<(usize, Range<u64>)> = Vec::new();
        let mut begin = self.position();
        for piece in &self.pieces {
            let end = walker.seek(piece.end_ns().min(time_ns)).max(begin);
            match rest.last_mut() {
                Some((stage, range)) if *stage == piece.stage => range.end = end,
                Some(_) | None => rest.push((piece.stage, begin..end)),
            }
            begin = end;
        }
        rest
    }

    /// Returns the end of the schedule: `time_ns`, or the moment of the first operation beyond the maximum number if
    /// that is earlier.
    pub(super) fn end_before(&self, time_ns: u64) -> u64 {
        let mut walker = self.clone();
        walker.seek(time_ns);
        walker.max_reached_ns.map_or(time_ns, |reached_ns| reached_ns.min(time_ns))
    }

    /// Multiplies the rate by a ratio from `at_ns` on. Operations that are due before keep their moments.
    pub(super) fn scale(&mut self, at_ns: u64, numerator: u32, denominator: NonZeroU32) {
        self.change(at_ns, |curve, begin_ns, end_ns| curve.rest(begin_ns, end_ns, numerator, denominator));
    }

    /// Sets the rate from `at_ns` on, for all stages. Operations that are due before keep their moments.
    pub(super) fn set_rate(&mut self, at_ns: u64, rate: Rate) {
        self.change(at_ns, |_, _, _| Curve::Constant(rate));
    }

    /// Replaces the curves from `at_ns` on by `changed`, which receives a curve and the part of it that remains. The
    /// last operation must be due before `at_ns`.
    fn change(&mut self, at_ns: u64, changed: impl Fn(&Curve, u64, u64) -> Curve) {
        self.position = self.mark;
        // Earlier pieces are not needed any more, so that any number of changes needs constant memory.
        self.pieces.drain(..self.position.piece.min(self.pieces.len()));
        self.position.piece = 0;
        let stream_before = self.pieces.first().map(|piece| piece.stream);
        for piece in std::mem::take(&mut self.pieces) {
            if piece.end_ns() <= at_ns {
                self.pieces.push(piece);
                continue;
            }
            let within = at_ns.saturating_sub(piece.begin_ns);
            if within > 0 {
                let total = piece.count_before(within, self.burst());
                self.pieces.push(Piece { length_ns: within, total, ..piece });
            }
            let curve = changed(&piece.curve, within, piece.length_ns);
            let rest = self.piece(piece.stage, piece.begin_ns + within, piece.length_ns - within, curve);
            self.pieces.push(rest);
        }
        if self.pieces.first().map(|piece| piece.stream) != stream_before {
            self.position.next = 0;
            self.begin_piece();
        }
        self.mark = self.position;
        self.settle();
    }

    fn piece(&mut self, stage: usize, begin_ns: u64, length_ns: u64, curve: Curve) -> Piece {
        self.stream += 1;
        Piece { stage, begin_ns, length_ns, curve, total: curve.count(length_ns), stream: self.stream }
    }

    fn burst(&self) -> u64 {
        match self.arrival {
            Arrival::Even | Arrival::Poisson { .. } => 1,
            Arrival::Burst { size } => size.max(1),
        }
    }

    fn begin_piece(&mut self) {
        self.position.axis = match (self.arrival, self.pieces.get(self.position.piece)) {
            (Arrival::Poisson { seed }, Some(piece)) => Some(Axis::new(seed, piece.stream)),
            (Arrival::Poisson { .. }, None) | (Arrival::Even | Arrival::Burst { .. }, _) => None,
        };
    }

    /// Proceeds to the next piece. Operations that were skipped beyond the piece are skipped there.
    fn end_piece(&mut self, piece: &Piece) {
        let position = &mut self.position;
        let count = if position.axis.is_some() { position.next } else { piece.total };
        position.base = position.base.saturating_add(count);
        position.next -= count.min(position.next);
        position.piece += 1;
        self.begin_piece();
    }

    /// Skips operations. At random arrival, this stops at the end of the piece.
    fn skip(&mut self, count: u64) {
        let piece = self.pieces.get(self.position.piece);
        let position = &mut self.position;
        match (&mut position.axis, piece) {
            (Some(axis), Some(piece)) => {
                for _ in 0..count {
                    if piece.curve.moment_at(axis.position()) >= piece.length_ns {
                        return;
                    }
                    axis.advance();
                    position.next += 1;
                }
            }
            (Some(_) | None, _) => position.next = position.next.saturating_add(count),
        }
    }

    /// Finds the next operation of this process, from the current position on.
    fn settle(&mut self) {
        self.due = None;
        let burst = self.burst();
        while let Some(piece) = self.pieces.get(self.position.piece).copied() {
            let moment = piece.moment(&self.position, burst);
            if moment == u64::MAX {
                self.end_piece(&piece);
                continue;
            }
            let index = self.position.index();
            let Some(own) = self.share.first_from(index) else { return };
            let wanted = own.min(self.max_operations);
            if index < wanted {
                self.skip(wanted - index);
                continue;
            }
            let planned_ns = piece.begin_ns + moment;
            match index < self.max_operations {
                true => self.due = Some(Due { index, planned_ns }),
                false => {
                    // The last operation may have the same moment: in a burst or, rarely, at random.
                    let is_tied = self.position.axis.is_some() || !self.position.next.is_multiple_of(burst);
                    let after_ns = planned_ns.saturating_add(u64::from(is_tied));
                    self.max_reached_ns = self.max_reached_ns.or(Some(after_ns));
                }
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests;
