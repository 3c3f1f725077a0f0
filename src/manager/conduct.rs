//! The misbehavior of a loop's peers so far: each peer's points and bad checksums.
//!
//! Only a peer with misbehavior or bad checksums has an entry, which is removed with the link. Nothing here closes a
//! connection or bans a host: the engine does.

use crate::error::{Misbehavior, Penalty};
use crate::id::LinkId;
use crate::manager::ban::score::{ChecksumRun, Decision, Score};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The consequence of a misbehavior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Punishment {
    pub(crate) decision: Decision,
    pub(crate) points: u32,
    /// The peer's points after this misbehavior.
    pub(crate) score: u32,
}

/// The misbehavior and the bad checksums of connected peers. A peer without either has no entry.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    scores: BTreeMap<LinkId, Score>,
    bad_checksums: BTreeMap<LinkId, ChecksumRun>,
}

impl Conduct {
    /// Charges a peer with a misbehavior. The decision is a ban if `misbehavior` has points and the peer then has at
    /// least `ban_score` points.
    pub(super) fn charge(&mut self, id: LinkId, misbehavior: Misbehavior, ban_score: u32) -> Punishment {
        let score = self.scores.entry(id).or_default();
        let decision = score.charge(misbehavior, ban_score);
        let points = match misbehavior.penalty() {
            Penalty::Points(points) => points,
            Penalty::Disconnect => 0,
        };
        Punishment { decision, points, score: score.points() }
    }

    /// Counts a wrong checksum. Returns the misbehavior to charge if too many wrong checksums arrived in succession,
    /// each less than half a second after the previous one.
    pub(crate) fn count_bad_checksum(&mut self, id: LinkId, now: Instant) -> Option<Misbehavior> {
        match self.bad_checksums.entry(id) {
            Entry::Occupied(run) => run.into_mut().another(now),
            Entry::Vacant(first) => {
                first.insert(ChecksumRun::begun(now));
                None
            }
        }
    }

    /// Removes a link's points and its count of bad checksums.
    pub(super) fn link_removed(&mut self, id: LinkId) {
        self.scores.remove(&id);
        self.bad_checksums.remove(&id);
    }
}
