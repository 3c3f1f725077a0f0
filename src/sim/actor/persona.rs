//! Personas, each of which plays one side of a connection, and the loop's required reactions to them.

use super::line::Line;
use crate::error::CloseReason;
use crate::time::Instant;
use std::io;
use std::time::Duration;

/// The behaviour of one side of one connection. The crowd calls a persona for each event, and the persona acts only
/// through its [`Line`].
pub trait Persona {
    /// Handles the connection's establishment.
    fn opened(&mut self, line: &mut Line<'_>);

    /// Handles received bytes. A message may be split between calls at any offset.
    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]);

    /// Handles a wake-up that was requested with [`Line::wake_at`].
    fn due(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// Handles an empty send queue: the kernel has accepted all bytes that waited.
    fn writable(&mut self, line: &mut Line<'_>) {
        let _ = line;
    }

    /// Handles the connection's end. This is not called if the persona itself closed or reset the connection.
    fn ended(&mut self, how: End, at: Instant) {
        let _ = (how, at);
    }
}

impl Persona for Box<dyn Persona> {
    fn opened(&mut self, line: &mut Line<'_>) {
        (**self).opened(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        (**self).received(line, bytes);
    }

    fn due(&mut self, line: &mut Line<'_>) {
        (**self).due(line);
    }

    fn writable(&mut self, line: &mut Line<'_>) {
        (**self).writable(line);
    }

    fn ended(&mut self, how: End, at: Instant) {
        (**self).ended(how, at);
    }
}

/// The way in which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side closed the connection without an error.
    ByPeer,
    /// The connection failed, or was never established.
    Failed(io::ErrorKind),
}

/// The loop's required reaction to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The loop never closes the peer.
    Kept,
    /// The loop closes the peer.
    ClosedBy {
        /// The labels of the correct reasons, as [`CloseReason::label`] returns them.
        reasons: &'static [&'static str],
        /// The maximum time from the peer's first attack step to the close.
        within: Duration,
    },
}

/// Whether an [`Expectation`] was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The expectation was met, or may still be met.
    Right,
    /// The loop closed a peer that it had to keep, for this reason.
    NotKept(CloseReason),
    /// The loop closed the peer for this reason, which is not an expected one.
    WrongReason(CloseReason),
    /// The loop closed the peer too late, or has not closed it by the deadline.
    Late,
}

impl Expectation {
    /// Judges the loop's reaction to a peer whose first attack step was at `since`. `closed` states when and why the
    /// loop closed the peer; `None` if the peer is still connected. `slack` is added to the deadline, because a loop
    /// rounds its deadlines to ticks and may be delayed.
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
    use crate::error::{Deadline, Misbehavior};

    #[test]
    fn expectations_are_judged_by_reason_and_time() {
        let secs = |secs| Instant::ZERO.plus(Duration::from_secs(secs));
        let slack = Duration::from_secs(1);
        let slow = CloseReason::TimedOut(Deadline::Header);
        let other = CloseReason::Misbehaved(Misbehavior::SecondProtoconf);
        let judge = |expectation: Expectation, closed, now| expectation.judge(secs(10), closed, secs(now), slack);

        assert_eq!(judge(Expectation::Kept, None, 99), Judgement::Right);
        assert_eq!(judge(Expectation::Kept, Some((secs(11), slow)), 99), Judgement::NotKept(slow));

        let closed = Expectation::ClosedBy { reasons: &["header_timeout"], within: Duration::from_secs(20) };
        assert_eq!(
            judge(closed, None, 31),
            Judgement::Right,
            "the reaction was judged late although the deadline has not passed"
        );
        assert_eq!(judge(closed, None, 32), Judgement::Late);
        assert_eq!(judge(closed, Some((secs(31), slow)), 99), Judgement::Right);
        assert_eq!(judge(closed, Some((secs(32), slow)), 99), Judgement::Late);
        assert_eq!(judge(closed, Some((secs(12), other)), 99), Judgement::WrongReason(other));
    }
}
