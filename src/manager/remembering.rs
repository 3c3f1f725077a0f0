//! What is kept for the next run, and what is not said before it is.
//!
//! The book in memory is what is decided by; each of its changes goes into the journal, and from there to whoever
//! writes it to a disk. A ban is in force at once and announced when the disk has it: whoever has heard of one can rely
//! on it after a crash. Where there is no disk, the network says at once that everything is on it.

use super::Manager;
use crate::address::Host;
use crate::ban::Ban;
use crate::ban::list::Outcome;
use crate::dial::{Candidates, Standing};
use crate::store::{Batch, Change, KnownPeer, MemoryStore, PeerStatus, Persisted};
use crate::time::{Instant, UnixTime, Wait};
use rand::Rng;
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// A ban that can be announced, and the connections that were closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) ban: Ban,
    pub(crate) peers_closed: usize,
}

impl Manager {
    /// Takes up what an earlier run has remembered.
    pub(crate) fn remember(
        &mut self,
        peers: Vec<KnownPeer>,
        bans: Vec<Ban>,
        (now, unix): (Instant, UnixTime),
        rng: &mut StdRng,
    ) {
        for peer in peers {
            // A book that is fuller than it may be loses what is worth the least.
            let _ = self.book.admit(peer, rng);
        }
        for ban in bans {
            match self.bans.load(ban, now, unix) {
                // Its stamps may have been mended, and would have to be at every start.
                Outcome::Entered { ban: mended, .. } if mended != ban => self.record(Change::PutBan(mended), true, now),
                Outcome::Entered { .. } | Outcome::Outlasted(_) | Outcome::Full => {}
                Outcome::Over => self.record(Change::RemoveBan(ban.host), true, now),
            }
        }
        self.pardon(now, unix);
        self.dialler.book_changed();
    }

    /// Notes a change for the disk.
    pub(super) fn record(&mut self, change: Change, was_known: bool, now: Instant) {
        self.journal.record(change, was_known, now);
    }

    /// When there is something to write.
    pub(crate) fn write_at(&self, now: Instant) -> Option<Instant> {
        match self.journal.wait() {
            Wait::Zero => Some(now),
            Wait::Until(moment) => Some(moment),
            Wait::Forever => None,
        }
    }

    /// The next changes to write, if it is time.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        self.journal.next_batch(now)
    }

    /// The loop stops: nothing waits for others to be written with it any more.
    pub(crate) fn hurry(&mut self) {
        self.journal.hurry();
    }

    /// Whether all that was changed is durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }

    /// A ban is in force, for which so many connections are closed; it is announced when it is durable.
    pub(crate) fn announce(&mut self, ban: Ban, peers_closed: usize) {
        self.unannounced.insert(ban.host, (ban, peers_closed));
    }

    /// Whether the disk takes nothing at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        self.journal.is_failing()
    }

    /// Changes are on the disk, or could not be written; returns the bans that can be announced now.
    pub(crate) fn persisted(&mut self, answer: &Persisted) -> Vec<Announced> {
        let durable = self.journal.persisted(answer);
        let hosts = durable.into_iter().filter_map(|change| match change {
            Change::PutBan(ban) => Some(ban.host),
            Change::RemoveBan(_) | Change::PutPeer(_) | Change::RemovePeer(_) => None,
        });
        let unannounced = &mut self.unannounced;
        let announced = |host: Host| unannounced.remove(&host);
        hosts.filter_map(announced).map(|(ban, peers_closed)| Announced { ban, peers_closed }).collect()
    }
}

impl Candidates for MemoryStore {
    fn is_empty(&self) -> bool {
        self.count(PeerStatus::Valid) + self.count(PeerStatus::Unknown) == 0
    }

    fn pick(
        &self,
        standing: Standing,
        rng: &mut dyn Rng,
        accept: &mut dyn FnMut(SocketAddr) -> bool,
        tries: usize,
    ) -> Option<SocketAddr> {
        let status = match standing {
            Standing::Valid => PeerStatus::Valid,
            Standing::Unknown => PeerStatus::Unknown,
        };
        // A generator behind a pointer is one; what it points to has no size.
        let mut rng = rng;
        self.pick(status, &mut rng, |peer| accept(peer.address()), tries)
    }
}
