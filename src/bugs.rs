//! Bugs that can be planted in the loop, and budgets that can be shrunk: how a simulator shows that it would find
//! something.
//!
//! A planted [`Bug`] changes one decision of the very code that is shipped; a simulation that still finds nothing is
//! broken itself. A shrunk [`Budget`] changes nothing but how often the loop has to go on where it stopped, so that the
//! rare paths behind a full budget become the common ones; whatever a run promises, it promises with every budget at
//! its smallest.
//!
//! The loop asks `is_planted` and `shrunk` and never knows who answers. Without the feature `sim-bugs` both are
//! constants that the compiler takes out, and nothing of this module is left. With it, and never in anything that is
//! shipped, the answers belong to the calling thread, and are given to it by guards that take them back.

#![cfg_attr(
    not(feature = "sim-bugs"),
    expect(unreachable_pub, reason = "`internals` exports all of it with the feature")
)]

#[cfg(feature = "sim-bugs")]
pub use saboteur::{Planted, Shrunk, plant, shrink};
#[cfg(feature = "sim-bugs")]
pub(crate) use saboteur::{is_planted, shrunk};

/// A bug that can be planted in the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An id, of an event or of a handler's note, reaches whoever now uses its slot, whatever its generation.
    NoGenerationCheck,
    /// A timer goes off up to one tick before its deadline.
    EarlyTimer,
    /// A read that fills its room is taken for the last.
    LostEdge,
    /// A slot is free, and is used again, while the end of its link is still being told.
    NoDeferredFree,
    /// A shortage at accept arms no timer: the listener waits for ever.
    NoAcceptRetry,
    /// A slot that is freed once is counted as freed twice.
    SlotReleasedTwice,
    /// A second `version` is taken like the first.
    SecondVersionAccepted,
    /// The limit of the send queue is not looked at.
    UnboundedQueue,
    /// A turn that brought events leaves the timers out.
    TimerStarvedByTraffic,
    /// While a ping is in flight, a pong with any nonce is told as its answer.
    StalePongAccepted,
    /// An address whose dial this machine had no descriptor or memory for is never dialled again.
    DialForgotten,
    /// An inaccessible address is never dialled again.
    InaccessibleForgotten,
    /// A ping that overtakes the replies that were gathered before it keeps its old position.
    PingPositionLost,
    /// Replies that left in one write are not followed by a call of `on_writable`.
    RepliesTellNobody,
}

/// A budget of the loop that can be shrunk. It is never larger than the loop's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Bytes that one read may fill.
    ReadBytes,
    /// Bytes of replies that are gathered for one write; more goes through the link's queue.
    ReplyBytes,
    /// Bytes of small frames that are copied together in the link's queue.
    SegmentBytes,
    /// Slices of one gathered write.
    WriteSlices,
    /// Slots of the timer wheel, a power of two; looked at when a loop is made.
    WheelSlots,
    /// Readiness events taken from the kernel per turn.
    Events,
    /// Commands per turn.
    Commands,
    /// Connections accepted per turn and listener.
    Accepts,
    /// Dials per turn.
    Dials,
    /// Timers fired per turn.
    Expiries,
    /// Ends of links taken a step further per turn.
    Closes,
}

/// Whether `bug` is planted: never, without the feature.
#[cfg(not(feature = "sim-bugs"))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}

/// What is left of `budget`, which is `full` by right: all of it, without the feature.
#[cfg(not(feature = "sim-bugs"))]
pub(crate) const fn shrunk(_budget: Budget, full: usize) -> usize {
    full
}

/// Shrinks no budget, without the feature.
#[cfg(all(feature = "sim", not(feature = "sim-bugs")))]
pub const fn shrink(_budgets: &[(Budget, usize)]) -> Shrunk {
    Shrunk
}

/// What would keep budgets shrunk.
#[cfg(all(feature = "sim", not(feature = "sim-bugs")))]
#[derive(Debug)]
#[must_use = "with the feature, the budgets are whole again without it"]
pub struct Shrunk;

#[cfg(feature = "sim-bugs")]
mod saboteur {
    use super::{Budget, Bug};
    use std::cell::Cell;
    use std::marker::PhantomData;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static MOST: [Cell<usize>; Budget::ALL.len()] = const { [const { Cell::new(usize::MAX) }; Budget::ALL.len()] };
    }

    impl Bug {
        /// Every bug.
        pub const ALL: [Self; 14] = [
            Self::NoGenerationCheck,
            Self::EarlyTimer,
            Self::LostEdge,
            Self::NoDeferredFree,
            Self::NoAcceptRetry,
            Self::SlotReleasedTwice,
            Self::SecondVersionAccepted,
            Self::UnboundedQueue,
            Self::TimerStarvedByTraffic,
            Self::StalePongAccepted,
            Self::DialForgotten,
            Self::InaccessibleForgotten,
            Self::PingPositionLost,
            Self::RepliesTellNobody,
        ];
    }

    impl Budget {
        /// Every budget.
        pub const ALL: [Self; 11] = [
            Self::ReadBytes,
            Self::ReplyBytes,
            Self::SegmentBytes,
            Self::WriteSlices,
            Self::WheelSlots,
            Self::Events,
            Self::Commands,
            Self::Accepts,
            Self::Dials,
            Self::Expiries,
            Self::Closes,
        ];

        /// The least that is worth trying.
        pub const fn smallest(self) -> usize {
            match self {
                Self::ReplyBytes | Self::SegmentBytes => 16,
                Self::WheelSlots => 8,
                Self::ReadBytes
                | Self::WriteSlices
                | Self::Events
                | Self::Commands
                | Self::Accepts
                | Self::Dials
                | Self::Expiries
                | Self::Closes => 1,
            }
        }
    }

    /// Keeps a bug planted in this thread until it is dropped.
    #[derive(Debug)]
    #[must_use = "the bug is gone with it"]
    pub struct Planted {
        before: Option<Bug>,
        _of_this_thread: PhantomData<*const ()>,
    }

    /// Plants `bug`, or none, in all loops of this thread, in place of what was planted.
    pub fn plant(bug: Option<Bug>) -> Planted {
        Planted { before: PLANTED.replace(bug), _of_this_thread: PhantomData }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(self.before);
        }
    }

    /// Keeps budgets shrunk in this thread until it is dropped.
    #[derive(Debug)]
    #[must_use = "the budgets are whole again without it"]
    pub struct Shrunk {
        before: [usize; Budget::ALL.len()],
        _of_this_thread: PhantomData<*const ()>,
    }

    /// Shrinks the budgets of all loops of this thread, each to at most its number, and leaves the others as they are.
    ///
    /// # Panics
    ///
    /// If a number is 0: a loop without a budget does nothing for ever.
    pub fn shrink(budgets: &[(Budget, usize)]) -> Shrunk {
        let before = MOST.with(|most| most.each_ref().map(Cell::get));
        for &(budget, size) in budgets {
            assert!(size > 0, "{budget:?} must leave something");
            MOST.with(|most| most[budget as usize].set(size));
        }
        Shrunk { before, _of_this_thread: PhantomData }
    }

    impl Drop for Shrunk {
        fn drop(&mut self) {
            MOST.with(|most| most.iter().zip(self.before).for_each(|(most, before)| most.set(before)));
        }
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    pub(crate) fn shrunk(budget: Budget, full: usize) -> usize {
        full.min(MOST.with(|most| most[budget as usize].get()))
    }
}
