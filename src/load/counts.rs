//! Counts of connections and of operations, for one target or for all.
//!
//! These types only count; shares and rates are computed where they are shown.

/// The outcomes of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCounts {
    /// Planned connections; the dials so far, if each operation opens a connection of its own.
    pub asked: usize,
    /// TCP connections established.
    pub opened: usize,
    /// Handshakes completed.
    pub ready: usize,
    /// Connections closed after their handshake, before the load ended.
    pub lost: usize,
    /// Dials that failed, and connections closed before their handshake was complete. Planned connections that were
    /// never dialled are not counted.
    pub failed: usize,
}

impl PeerCounts {
    /// Returns the number of connections that became ready and were not lost.
    pub fn left(&self) -> usize {
        self.ready.saturating_sub(self.lost)
    }

    /// Returns whether every connection has become ready or has failed.
    #[doc(hidden)]
    pub fn is_decided(&self) -> bool {
        self.ready + self.failed >= self.asked
    }
}

/// The outcomes of the operations in the counted part of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkCounts {
    /// Operations due by the schedule: `sent + unsent`.
    ///
    /// At the pace [`Pace::Scheduled`](super::Pace::Scheduled), the schedule covers all planned connections until the
    /// planned end: peers that were never ready or were lost keep their share. Only the plan's maximum number of
    /// operations, [`GeneratorRequest::Finish`](super::GeneratorRequest::Finish) and
    /// [`GeneratorRequest::Report`](super::GeneratorRequest::Report) end the schedule sooner. At the other paces, only
    /// operations of ready peers are planned.
    pub planned: u64,
    /// Operations sent, with those that their workload [held](super::Started::Held): `answered + timed_out` in every
    /// report.
    pub sent: u64,
    /// Planned operations that were not sent.
    pub unsent: u64,
    /// The unsent operations that could not be sent, for example because their peer was never ready, was lost, or had
    /// too many unanswered operations.
    pub absent: u64,
    /// Operations answered before the drain ended.
    pub answered: u64,
    /// Operations sent but not answered before the drain ended or the report was requested, including those of lost
    /// peers and the refused ones.
    pub timed_out: u64,
    /// Operations that were sent and failed before the end, for example because the peer refused them. They also count
    /// as timed out.
    pub refused: u64,
}

impl WorkCounts {
    /// Counts `count` planned operations that have the same outcome.
    pub(super) fn note_planned(&mut self, count: u64, fate: Fate) {
        self.planned += count;
        match fate {
            Fate::Sent => self.sent += count,
            Fate::Absent => (self.unsent, self.absent) = (self.unsent + count, self.absent + count),
            Fate::Unsent => self.unsent += count,
        }
    }

    /// Adds the counts of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.absent += other.absent;
        self.answered += other.answered;
        self.timed_out += other.timed_out;
        self.refused += other.refused;
    }

    /// Counts the unanswered operations as timed out.
    pub(super) fn end(&mut self) {
        self.timed_out = self.sent.saturating_sub(self.answered);
    }

    /// Returns the number of operations that were sent, and neither answered nor refused yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.answered + self.refused)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.answered + self.refused >= self.sent
    }
}

/// The outcome of a planned operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    /// It could not be sent.
    Absent,
    /// The peer was ready, but the run ended before the operation was sent.
    Unsent,
}
