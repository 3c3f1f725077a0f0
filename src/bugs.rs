//! Bugs that tests plant in the loop to show that a simulation finds errors, and budgets that tests shrink.
//!
//! A planted [`Bug`] changes one decision of the shipped code. Each planted bug must make a simulation fail; otherwise
//! the simulations themselves are broken. A shrunk [`Budget`] only makes the loop pause and resume more often, so that
//! the rare paths after an exhausted budget become common. All guarantees hold with every budget at its smallest.
//!
//! In the loop a bug is `canary!(NAME)`, and a budget `budget!(NAME, FULL)`. Without the feature `sim-bugs` these are
//! the constants `false` and `FULL`, and the compiler removes the code that depends on them. With the feature, which is
//! never shipped, each thread has its own values: `plant` and `shrink` set them, and return guards that restore the
//! previous values when dropped.

#![cfg_attr(
    not(feature = "sim-bugs"),
    expect(unreachable_pub, reason = "with the feature, `internals` exports this file's items")
)]

#[cfg(feature = "sim-bugs")]
pub use planting::{Planted, Shrunk, plant, shrink};
#[cfg(feature = "sim-bugs")]
pub(crate) use planting::{is_planted, shrunk};

/// Returns whether a test has planted this [`Bug`]. In shipped builds, this is the constant `false`.
macro_rules! canary {
    ($bug:ident) => {
        $crate::bugs::is_planted($crate::bugs::Bug::$bug)
    };
}

/// Returns this [`Budget`]'s size: `$full`, or less if a test has shrunk it. In shipped builds, it is always `$full`.
macro_rules! budget {
    ($budget:ident, $full:expr) => {
        $crate::bugs::shrunk($crate::bugs::Budget::$budget, $full)
    };
}

pub(crate) use {budget, canary};

/// A bug that can be planted in the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An event, or a call with a peer's id, reaches the current link in the slot, even if the id's generation is old.
    NoGenerationCheck,
    /// A link's timer fires up to one tick before its deadline.
    EarlyTimer,
    /// A read that fills its buffer is treated as if no more data waited.
    LostEdge,
    /// A slot can be used again while its link's close is still being reported.
    NoDeferredFree,
    /// A failed accept arms no timer, so the listener never accepts again. Failures of a single connection are exempt.
    NoAcceptRetry,
    /// A slot that is freed once is counted as freed twice.
    SlotReleasedTwice,
    /// A second `version` is accepted like the first.
    SecondVersionAccepted,
    /// The send queue's limit is ignored.
    UnboundedQueue,
    /// A turn with events skips the timers.
    TimerStarvedByTraffic,
    /// While a ping is in flight, a pong with any nonce is reported as the reply.
    StalePongAccepted,
    /// An address whose dial failed because descriptors or memory ran out is never dialled again.
    DialForgotten,
    /// An inaccessible address is never dialled again.
    InaccessibleForgotten,
    /// When a ping overtakes the replies collected before it, the ping's recorded position is not updated.
    PingPositionLost,
    /// Replies sent in one write are not followed by a call to `on_writable`.
    RepliesTellNobody,
    /// If a handler requests a call to `on_pull` while a peer's queue has no room, the call is never made.
    PullForgotten,
    /// A cancelled timer of the handler fires nevertheless.
    CancelledTimerFires,
    /// When a ping or pong overtakes a marked message, the mark's recorded position is not updated.
    MarkLeftBehind,
    /// The last of several transactions that are announced together is omitted.
    AnnouncementLost,
    /// A peer's cursor is not moved past the last announced transaction.
    AnnouncementRepeated,
    /// A leaf's transaction is announced to other leaf peers although no upstream has announced it.
    UntrustedAnnounced,
    /// After a `notfound`, the next announcer is not asked.
    RequestNotMoved,
    /// A closed peer's index is used again before its traces were removed.
    IndexReusedEarly,
    /// A block is sent whole although its transactions do not match its Merkle root.
    WrongBlockSent,
    /// After the loss of a block's source, the next one continues one byte too early.
    ContinuedEarly,
    /// A slow reader may hold the source of a block for any time.
    SourceHeld,
    /// A block is rebuilt from its compact form although its transactions do not match its Merkle root.
    WrongBlockRebuilt,
    /// The end of a further stream does not end its peer.
    StreamOutlivesPeer,
    /// A connection that becomes a stream still counts as an accepted peer.
    StreamKeepsSlot,
}

/// A budget of the loop that can be shrunk, but never enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Maximum bytes per read.
    ReadBytes,
    /// Maximum bytes of replies collected for one write; further replies use the link's queue.
    ReplyBytes,
    /// Maximum bytes of small frames that are copied into one segment of a link's queue.
    SegmentBytes,
    /// Maximum slices per vectored write.
    WriteSlices,
    /// Number of slots of each timer wheel, a power of two; read when the wheel is created.
    WheelSlots,
    /// Maximum readiness events read from the kernel per turn.
    Events,
    /// Maximum requests per turn.
    Requests,
    /// Maximum connections accepted per listener and turn.
    Accepts,
    /// Maximum dials per turn.
    Dials,
    /// Maximum link timers fired per turn. The same maximum applies to the handler's timers, and to the rows that are
    /// examined for rearming after a change of the configuration.
    Expiries,
    /// Maximum closing links processed per turn, each by one step.
    Closes,
    /// Maximum peers whose free room is offered per turn.
    Pulls,
}

/// Returns `false`: without the feature no bug can be planted.
#[cfg(not(feature = "sim-bugs"))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}

/// Returns `full`: without the feature no budget can be shrunk.
#[cfg(not(feature = "sim-bugs"))]
pub(crate) const fn shrunk(_budget: Budget, full: usize) -> usize {
    full
}

/// Does nothing: without the feature no budget can be shrunk.
#[cfg(all(feature = "sim", not(feature = "sim-bugs")))]
pub const fn shrink(_budgets: &[(Budget, usize)]) -> Shrunk {
    Shrunk
}

/// A guard for shrunk budgets, which does nothing without the feature.
#[cfg(all(feature = "sim", not(feature = "sim-bugs")))]
#[derive(Debug)]
#[must_use = "with the feature, dropping it restores the budgets"]
pub struct Shrunk;

#[cfg(feature = "sim-bugs")]
mod planting {
    use super::{Budget, Bug};
    use std::cell::Cell;
    use std::marker::PhantomData;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static MOST: [Cell<usize>; Budget::ALL.len()] = const { [const { Cell::new(usize::MAX) }; Budget::ALL.len()] };
    }

    impl Bug {
        /// The relay's bugs.
        pub const RELAY: [Self; 9] = [
            Self::AnnouncementLost,
            Self::AnnouncementRepeated,
            Self::UntrustedAnnounced,
            Self::RequestNotMoved,
            Self::IndexReusedEarly,
            Self::WrongBlockSent,
            Self::ContinuedEarly,
            Self::SourceHeld,
            Self::WrongBlockRebuilt,
        ];

        /// The loop's bugs.
        pub const ALL: [Self; 19] = [
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
            Self::PullForgotten,
            Self::CancelledTimerFires,
            Self::MarkLeftBehind,
            Self::StreamOutlivesPeer,
            Self::StreamKeepsSlot,
        ];
    }

    impl Budget {
        /// All budgets.
        pub const ALL: [Self; 12] = [
            Self::ReadBytes,
            Self::ReplyBytes,
            Self::SegmentBytes,
            Self::WriteSlices,
            Self::WheelSlots,
            Self::Events,
            Self::Requests,
            Self::Accepts,
            Self::Dials,
            Self::Expiries,
            Self::Closes,
            Self::Pulls,
        ];

        /// Returns the smallest size worth trying.
        pub const fn smallest(self) -> usize {
            match self {
                Self::ReplyBytes | Self::SegmentBytes => 16,
                Self::WheelSlots => 8,
                Self::ReadBytes
                | Self::WriteSlices
                | Self::Events
                | Self::Requests
                | Self::Accepts
                | Self::Dials
                | Self::Expiries
                | Self::Closes
                | Self::Pulls => 1,
            }
        }
    }

    /// A guard that keeps a bug planted in this thread until the guard is dropped.
    #[derive(Debug)]
    #[must_use = "dropping it removes the bug"]
    pub struct Planted {
        before: Option<Bug>,
        _of_this_thread: PhantomData<*const ()>,
    }

    /// Plants `bug` in all loops of this thread, in place of the bug planted before. `None` only removes that bug.
    pub fn plant(bug: Option<Bug>) -> Planted {
        Planted { before: PLANTED.replace(bug), _of_this_thread: PhantomData }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(self.before);
        }
    }

    /// A guard that keeps budgets shrunk in this thread until the guard is dropped.
    #[derive(Debug)]
    #[must_use = "dropping it restores the budgets"]
    pub struct Shrunk {
        before: [usize; Budget::ALL.len()],
        _of_this_thread: PhantomData<*const ()>,
    }

    /// Shrinks the budgets of all loops of this thread, each to at most the given size. Other budgets keep their
    /// sizes.
    ///
    /// # Panics
    ///
    /// If a size is 0, because a loop with such a budget would never progress.
    pub fn shrink(budgets: &[(Budget, usize)]) -> Shrunk {
        let before = MOST.with(|most| most.each_ref().map(Cell::get));
        for &(budget, size) in budgets {
            assert!(size > 0, "{budget:?} was set to 0");
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
