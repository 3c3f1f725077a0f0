//! The misbehavior of one connection so far.
//!
//! As in SV Node 1.2.2, the points of a connection only rise, and are dropped with the connection. The caller knows
//! which peers are trusted and therefore exempt.

use crate::error::{Misbehavior, Penalty};
use crate::time::Instant;
use std::time::Duration;

/// The points of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score(u32);

/// The consequence of a misbehavior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The connection continues.
    Tolerated,
    /// The connection is closed.
    Disconnect,
    /// The connection is closed, and its host is banned.
    Ban,
}

impl Score {
    /// Charges `misbehavior`. The decision is a ban if `misbehavior` has points and the sum is then at least
    /// `ban_score`.
    #[must_use]
    pub(crate) fn charge(&mut self, misbehavior: Misbehavior, ban_score: u32) -> Decision {
        match misbehavior.penalty() {
            Penalty::Points(points) => {
                self.0 = self.0.saturating_add(points);
                if self.0 >= ban_score { Decision::Ban } else { Decision::Tolerated }
            }
            Penalty::Disconnect => Decision::Disconnect,
        }
    }

    pub(crate) const fn points(self) -> u32 {
        self.0
    }
}

/// A connection's bad checksums in quick succession, which a poor network is unlikely to cause (SV Node 1.2.2,
/// net_processing.cpp ProcessMessages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChecksumRun {
    last: Instant,
    /// The number of successive bad checksums, each of which followed the previous one too soon.
    hasty: u32,
}

impl ChecksumRun {
    /// Pause after which a bad checksum resets the count (SV Node 1.2.2, `-invalidcsinterval`).
    const PAUSE: Duration = Duration::from_millis(500);
    /// Tolerated number of successive bad checksums that each followed the previous one too soon (SV Node 1.2.2,
    /// `-invalidcsfreq`).
    const TOLERATED: u32 = 100;

    /// Starts the count with a connection's first bad checksum, at `now`.
    pub(crate) const fn begun(now: Instant) -> Self {
        Self { last: now, hasty: 0 }
    }

    /// Counts another bad checksum. Returns the misbehavior to charge, if any.
    #[must_use]
    pub(crate) fn another(&mut self, now: Instant) -> Option<Misbehavior> {
        self.hasty = if now.since(self.last) < Self::PAUSE { self.hasty.saturating_add(1) } else { 0 };
        self.last = now;
        (self.hasty > Self::TOLERATED).then_some(Misbehavior::BadChecksums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BAN_SCORE: u32 = 100;

    #[test]
    fn points_add_up_to_a_ban_at_the_limit_and_above() {
        let mut score = Score::default();
        for points in 1..100 {
            assert_eq!(score.charge(Misbehavior::SecondVersion, BAN_SCORE), Decision::Tolerated);
            assert_eq!(score.points(), points);
        }
        assert_eq!(score.charge(Misbehavior::SecondVersion, BAN_SCORE), Decision::Ban);
        assert_eq!(score.charge(Misbehavior::SecondVersion, BAN_SCORE), Decision::Ban);
    }

    #[test]
    fn a_misbehavior_without_points_closes_the_connection_and_keeps_the_score() {
        let mut score = Score::default();
        assert_eq!(score.charge(Misbehavior::LateStreamSetup, 1), Decision::Disconnect);
        assert_eq!(score.points(), 0);
    }

    #[test]
    fn the_score_does_not_wrap() {
        let mut score = Score(u32::MAX - 1);
        assert_eq!(score.charge(Misbehavior::InvalidBlock, u32::MAX), Decision::Ban);
        assert_eq!(score.points(), u32::MAX);
    }

    #[test]
    fn a_lower_limit_applies_to_the_points_so_far() {
        let mut score = Score::default();
        assert_eq!(score.charge(Misbehavior::BadProofOfWork, 1_000), Decision::Tolerated);
        assert_eq!(score.charge(Misbehavior::SecondVersion, 40), Decision::Ban);
    }

    proptest! {
        #[test]
        fn the_score_is_the_sum_of_the_points(
            kinds in prop::collection::vec(0..Misbehavior::ALL.len(), 0..40),
            ban_score in 1..2_000_u32,
        ) {
            let mut score = Score::default();
            let mut sum = 0;
            for kind in kinds.into_iter().map(|at| Misbehavior::ALL[at]) {
                let decision = score.charge(kind, ban_score);
                let expected = match kind.penalty() {
                    Penalty::Points(points) => {
                        sum += points;
                        if sum < ban_score { Decision::Tolerated } else { Decision::Ban }
                    }
                    Penalty::Disconnect => Decision::Disconnect,
                };
                prop_assert_eq!((decision, score.points()), (expected, sum));
            }
        }
    }

    #[test]
    fn a_hundred_rapid_bad_checksums_are_tolerated_and_each_further_one_is_charged() {
        let step = Duration::from_millis(499);
        let mut now = Instant::ZERO;
        let mut run = ChecksumRun::begun(now);
        for _ in 0..100 {
            now = now.plus(step);
            assert_eq!(run.another(now), None);
        }
        for _ in 0..3 {
            now = now.plus(step);
            assert_eq!(run.another(now), Some(Misbehavior::BadChecksums));
        }
    }

    #[test]
    fn a_pause_resets_the_count() {
        let mut run = ChecksumRun { last: Instant::ZERO, hasty: u32::MAX };
        assert_eq!(run.another(Instant::ZERO.plus(ChecksumRun::PAUSE)), None);
        assert_eq!(run, ChecksumRun::begun(Instant::ZERO.plus(ChecksumRun::PAUSE)));
    }

    #[test]
    fn bad_checksums_count_as_rapid_while_the_clock_stalls_or_is_set_back() {
        let mut run = ChecksumRun { last: Instant::MAX, hasty: u32::MAX };
        assert_eq!(run.another(Instant::ZERO), Some(Misbehavior::BadChecksums));
        assert_eq!(run.another(Instant::ZERO), Some(Misbehavior::BadChecksums));
    }
}
