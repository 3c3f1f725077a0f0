//! Who plays a connection, and what the loop owes to it.

use super::line::Line;
use crate::error::CloseReason;
use crate::time::Instant;
use std::io;
use std::time::Duration;

/// One side of one connection, without any input or output of its own: it is told what happens and acts through its
/// [`Line`].
pub trait Persona {
    /// The connection is established.
    fn opened(&mut self, line: &mut Line<'_>);

    /// Bytes came; where they are cut means nothing.
    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]);

    /// The moment of [`Line::wake_at`] has come.
    fn due(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// All that waited to be sent was taken by the kernel.
    fn writable(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// The connection is over, and not by this persona's own wish.
    fn ended(&mut self, how: End, at: Instant) {
        let _ = (how, at);
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side has closed it in an orderly way.
    ByPeer,
    /// It failed, or was never established.
    Failed(io::ErrorKind),
}

/// What the loop has to do about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Not close it for anything that it does.
    Kept,
    /// Close it.
    ClosedBy {
        /// The labels of the reasons that are right, as [`CloseReason::label`] gives them.
        reasons: &'static [&'static str],
        /// The most time after the peer's first deed.
        within: Duration,
    },
}

/// Whether an [`Expectation`] was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was, or it may still be.
    Right,
    /// The loop closed a peer that it had to keep.
    NotKept(CloseReason),
    /// The loop closed it for another reason.
    WrongReason(CloseReason),
    /// The loop closed it too late, or not at all.
    Late,
}

impl Expectation {
    /// Judges a peer whose first deed was at `since`, and which the loop has `closed` for a reason or not yet. `slack`
    /// is what a deadline may be missed by, for a loop that rounds to ticks or was held up.
    pub fn judge(
        &self,
        since: Instant,
        closed: Option<(Instant, CloseReason)>,
        now: Instant,
        slack: Duration,
    ) -> Judgement {
        match (*self, closed) {
            (Self::Kept, None) => Judgement::Right,
            (Self::Kept, Some((_, reason))) => Judgement::NotKept(reason),
            (Self::ClosedBy { reasons, .. }, Some((_, reason))) if !reasons.contains(&reason.label()) => {
                Judgement::WrongReason(reason)
            }
            (Self::ClosedBy { within, .. }, closed) => {
                let at = closed.map_or(now, |(at, _)| at);
                if at > since.plus(within).plus(slack) { Judgement::Late } else { Judgement::Right }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Deadline, Misbehaviour};

    #[test]
    fn expectations_are_judged_by_reason_and_time() {
        let secs = |secs| Instant::ZERO.plus(Duration::from_secs(secs));
        let slack = Duration::from_secs(1);
        let slow = CloseReason::TimedOut(Deadline::Header);
        let other = CloseReason::Misbehaved(Misbehaviour::SecondProtoconf);
        let judge = |expectation: Expectation, closed, now| expectation.judge(secs(10), closed, secs(now), slack);

        assert_eq!(judge(Expectation::Kept, None, 99), Judgement::Right);
        assert_eq!(judge(Expectation::Kept, Some((secs(11), slow)), 99), Judgement::NotKept(slow));

        let closed = Expectation::ClosedBy { reasons: &["header_timeout"], within: Duration::from_secs(20) };
        assert_eq!(judge(closed, None, 31), Judgement::Right, "there is time left");
        assert_eq!(judge(closed, None, 32), Judgement::Late);
        assert_eq!(judge(closed, Some((secs(31), slow)), 99), Judgement::Right);
        assert_eq!(judge(closed, Some((secs(32), slow)), 99), Judgement::Late);
        assert_eq!(judge(closed, Some((secs(12), other)), 99), Judgement::WrongReason(other));
    }
}
