//! The time that a pipe adds to a message: from its last byte in to its last byte out.
//!
//! "In" is the moment at which the loop read the message's last byte, and "out" the moment of the write in which the
//! kernel accepted it on the other side. While the loop is busy with earlier work, the message already lies in the
//! kernel, and the first view hides that time. The second view adds the loop's work since it last asked the kernel for
//! input: the last turn unless the loop slept after it, and this turn so far. The message cannot have lain there for
//! longer. A paused source's messages lie in the kernel as well, so the time since the pause is added until the
//! source's backlog is read. Of several pauses, the last one counts.

use super::side::Side;
use crate::handler::Ctx;
use crate::protocol::CommandName;
use crate::stats::MessageCounts;
use crate::stats::histogram::{LatencyHistogram, LatencySummary};
use crate::time::Instant;
use std::time::Duration;

/// The kinds of messages whose hops are recorded apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HopKind {
    /// `inv`.
    Inv,
    /// `getdata`.
    GetData,
    /// `tx`.
    Tx,
    /// `block`, `cmpctblock`, `blocktxn` and `headers`.
    Block,
    /// All other commands.
    Other,
}

impl HopKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Inv, Self::GetData, Self::Tx, Self::Block, Self::Other];

    /// Returns the kind of a command's messages.
    pub const fn of(command: CommandName) -> Self {
        match command {
            CommandName::INV => Self::Inv,
            CommandName::GETDATA => Self::GetData,
            CommandName::TX => Self::Tx,
            CommandName::BLOCK | CommandName::CMPCTBLOCK | CommandName::BLOCKTXN | CommandName::HEADERS => Self::Block,
            _ => Self::Other,
        }
    }

    /// Returns the kind's label: the command, `block` or `other`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inv => "inv",
            Self::GetData => "getdata",
            Self::Tx => "tx",
            Self::Block => "block",
            Self::Other => "other",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Inv => 0,
            Self::GetData => 1,
            Self::Tx => 2,
            Self::Block => 3,
            Self::Other => 4,
        }
    }
}

/// The hops of one kind of messages, in both directions together.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HopSummary {
    /// The kind of the messages.
    pub kind: HopKind,
    /// From the moment at which the last byte was read.
    pub read: LatencySummary,
    /// The same, with the time for which the message may have lain in the kernel.
    pub arrived: LatencySummary,
    /// Forwarded messages without a hop, which are often the slowest. If
    /// [`MAX_MARKS_PER_PEER`](crate::limits::MAX_MARKS_PER_PEER) measured ones wait for a node, further ones are not
    /// measured. A large message is not measured if the next one follows before its node's queue was empty.
    pub unmeasured: u64,
}

/// The arrival of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The moment at which the last byte was read.
    read: Instant,
    /// The longest time for which the message can have lain in the kernel before.
    lag: Duration,
}

#[cfg(test)]
impl Arrival {
    /// An arrival for tests of other parts.
    pub(super) const NONE: Self = Self { read: Instant::ZERO, lag: Duration::ZERO };
}

/// The histograms: two views of each kind. Each has 352 KiB of address space, of which it uses some tens of KiB.
#[derive(Debug, Default)]
pub(super) struct Hops {
    read: [LatencyHistogram; HopKind::ALL.len()],
    arrived: [LatencyHistogram; HopKind::ALL.len()],
}

impl Hops {
    /// Records the hop of a message that was written at `written`.
    pub(super) fn record(&mut self, command: CommandName, arrival: Arrival, written: Instant) {
        let kind = HopKind::of(command).index();
        let hop = written.since(arrival.read);
        self.read[kind].record(hop);
        self.arrived[kind].record(hop.saturating_add(arrival.lag));
    }

    /// Returns the summaries of the kinds of which messages were forwarded. `unmeasured` has the messages without a
    /// hop in each direction.
    pub(super) fn summaries(&self, unmeasured: [&MessageCounts; 2]) -> Vec<HopSummary> {
        let mut missing = [0; HopKind::ALL.len()];
        for (command, count) in unmeasured.into_iter().flat_map(MessageCounts::iter) {
            missing[command.map_or(HopKind::Other, HopKind::of).index()] += count.messages;
        }
        let summary = |kind: HopKind| HopSummary {
            kind,
            read: self.read[kind.index()].summary(),
            arrived: self.arrived[kind.index()].summary(),
            unmeasured: missing[kind.index()],
        };
        let kinds = HopKind::ALL.into_iter();
        kinds.map(summary).filter(|summary| summary.read.count + summary.unmeasured > 0).collect()
    }
}

/// The pauses of each side's node.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    sources: [Source; 2],
}

/// A source's pause, and the backlog of the last one in the kernel.
#[derive(Debug, Default)]
struct Source {
    /// The beginning of the present pause.
    paused: Option<Instant>,
    backlog: Option<Backlog>,
}

#[derive(Debug)]
struct Backlog {
    /// The beginning of the pause.
    paused: Instant,
    /// The turn in which the pause ended.
    resumed: u64,
    /// The last turn in which the backlog was read.
    last: u64,
}

impl Source {
    fn resume(&mut self, turn: u64) {
        if let Some(paused) = self.paused.take() {
            self.backlog = Some(Backlog { paused, resumed: turn, last: turn });
        }
    }

    /// Returns the time since the pause if a message that is read now may belong to the backlog. The loop reads the
    /// source in each turn after the pause until the kernel has nothing more, and sleeps only after that.
    fn lag(&mut self, turn: u64, has_slept: bool, now: Instant) -> Duration {
        let is_behind = |backlog: &mut Backlog| {
            let is_next = turn <= backlog.last + 1;
            backlog.last = turn;
            is_next && (turn <= backlog.resumed + 1 || !has_slept)
        };
        self.backlog = self.backlog.take().and_then(|mut backlog| is_behind(&mut backlog).then_some(backlog));
        self.backlog.as_ref().map_or(Duration::ZERO, |backlog| now.since(backlog.paused))
    }
}

impl Pauses {
    /// Notes that a side's node is paused at this moment, unless it already was.
    pub(super) fn paused(&mut self, ctx: &Ctx<'_>, side: Side) {
        self.sources[side.index()].paused.get_or_insert_with(|| ctx.now());
    }

    /// Notes that a side's node is read again, if it was paused.
    pub(super) fn resumed(&mut self, ctx: &Ctx<'_>, side: Side) {
        self.sources[side.index()].resume(ctx.counters().turns);
    }

    /// Forgets the pauses of a connection that has ended.
    pub(super) fn forget(&mut self, side: Side) {
        self.sources[side.index()] = Source::default();
    }

    /// Returns the arrival of a message of a side's node whose last byte was read at this moment.
    pub(super) fn arrival(&mut self, ctx: &Ctx<'_>, from: Side) -> Arrival {
        let (turns, now) = (ctx.counters().turns, ctx.now());
        let paused = self.sources[from.index()].lag(turns, ctx.max_input_age().is_zero(), now);
        Arrival { read: now, lag: ctx.max_input_wait().saturating_add(paused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_of_a_hop_are_recorded_under_its_command() {
        let mut hops = Hops::default();
        let arrival = Arrival { read: Instant::from_nanos(1_000), lag: Duration::from_nanos(500) };
        hops.record(CommandName::TX, arrival, Instant::from_nanos(1_200));
        hops.record(CommandName::new("unheard-of"), arrival, Instant::from_nanos(1_001));
        let mut unmeasured = [MessageCounts::default(); 2];
        unmeasured[0].add(CommandName::TX, 5);
        unmeasured.iter_mut().for_each(|counts| counts.add(CommandName::BLOCKTXN, 5));
        let summaries = hops.summaries(unmeasured.each_ref());
        let found: Vec<_> =
            summaries.iter().map(|hop| (hop.kind, hop.read.max, hop.arrived.max, hop.unmeasured)).collect();
        let nanos = |nanos| Some(Duration::from_nanos(nanos));
        let expected = [
            (HopKind::Tx, nanos(200), nanos(700), 1),
            (HopKind::Block, None, None, 2),
            (HopKind::Other, nanos(1), nanos(501), 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_backlog_ends_with_a_sleep_or_with_a_turn_without_messages() {
        let at = |nanos| Instant::from_nanos(nanos);
        let lags = |turns: &[(u64, bool)]| -> Vec<u128> {
            let mut source = Source { paused: Some(at(100)), backlog: None };
            source.resume(7);
            turns.iter().map(|&(turn, has_slept)| source.lag(turn, has_slept, at(turn * 100)).as_nanos()).collect()
        };
        assert_eq!(lags(&[(8, true), (8, true), (9, false), (10, false), (10, false)]), [700, 700, 800, 900, 900]);
        assert_eq!(lags(&[(8, false), (9, true), (10, false)]), [700, 0, 0]);
        assert_eq!(lags(&[(8, false), (10, false), (11, false)]), [700, 0, 0]);
        assert_eq!(lags(&[(9, false)]), [0]);
    }

    #[test]
    fn a_message_that_is_read_while_its_source_is_paused_belongs_to_the_former_backlog() {
        let at = |nanos| Instant::from_nanos(nanos);
        let mut source = Source { paused: Some(at(100)), backlog: None };
        assert_eq!(source.lag(1, false, at(150)), Duration::ZERO);
        source.resume(3);
        source.paused = Some(at(400));
        assert_eq!(source.lag(4, false, at(500)), Duration::from_nanos(400));
        source.resume(5);
        assert_eq!(source.lag(6, false, at(700)), Duration::from_nanos(300));
    }

    #[test]
    fn every_kind_has_its_own_histogram_and_label() {
        for (index, kind) in HopKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert!(HopKind::ALL[..index].iter().all(|other| other.label() != kind.label()));
        }
        let block = CommandName::new("block");
        assert_eq!((HopKind::of(block), HopKind::of(CommandName::ADDR)), (HopKind::Block, HopKind::Other));
    }
}
