//! Persistence: the data stored for the next run, and the reports that wait until it is durable.
//!
//! Decisions are based on the book in memory. Each change to the book is added to the journal, and a writer stores
//! the journal's changes on disk. A ban is in force at once, but it is reported only when the disk has it. A
//! subscriber can therefore rely on a reported ban after a crash. Without a disk, every batch completes at once.

use crate::address::Host;
use crate::manager::ban::Ban;
use crate::manager::dial::{Candidates, Standing};
use crate::manager::store::{Batch, Change, Journal, KnownPeer, MemoryStore, PeerStatus, Persisted};
use crate::time::{Instant, Moment, Wait};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

/// A ban that can be reported, and the number of connections closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) ban: Ban,
    pub(crate) peers_closed: usize,
}

/// The data for the next run: the book, the changes that are not durable yet, and the bans that are reported when
/// they are durable.
#[derive(Debug)]
pub(crate) struct Persistence {
    pub(crate) book: MemoryStore,
    journal: Journal,
    /// Bans in force that have not been reported because they are not durable yet, with the number of connections
    /// closed for each.
    unannounced: BTreeMap<Host, (Ban, usize)>,
}

impl Persistence {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self { book: MemoryStore::new(rng), journal: Journal::new(), unannounced: BTreeMap::new() }
    }

    /// Changes the record of a peer. Does nothing if the peer is not in the book.
    pub(super) fn update_book(
        &mut self,
        address: SocketAddr,
        Moment { now, unix }: Moment,
        change: impl FnOnce(&mut KnownPeer),
    ) {
        let Some(known) = self.book.peer(address) else { return };
        let mut peer = known.clone();
        change(&mut peer);
        if peer == *known {
            return;
        }
        if peer.status != known.status {
            peer.status_since = unix;
        }
        self.book.replace(peer.clone());
        self.record(Change::PutPeer(peer), true, now);
    }

    /// Adds a new peer to the book. Returns `false` if the peer is already there or the book has no room.
    pub(super) fn add_to_book(&mut self, peer: KnownPeer, now: Instant, rng: &mut StdRng) -> bool {
        let Ok(displaced) = self.book.admit(peer.clone(), rng) else { return false };
        if let Some(displaced) = displaced {
            self.record(Change::RemovePeer(displaced.address()), true, now);
        }
        self.record(Change::PutPeer(peer), false, now);
        true
    }

    /// Removes a peer from the book.
    pub(super) fn remove_from_book(&mut self, address: SocketAddr, now: Instant) {
        self.book.forget(address);
        self.record(Change::RemovePeer(address), true, now);
    }

    /// Records the removal of a ban that is no longer in force, and cancels the ban's report.
    pub(super) fn remove_ban(&mut self, host: Host, now: Instant) {
        self.unannounced.remove(&host);
        self.record(Change::RemoveBan(host), true, now);
    }

    /// Returns the number of bans in force that have not been reported yet.
    #[cfg(feature = "sim")]
    pub(super) fn unannounced_len(&self) -> usize {
        self.unannounced.len()
    }

    pub(super) fn record(&mut self, change: Change, was_known: bool, now: Instant) {
        self.journal.record(change, was_known, now);
    }

    /// Returns the moment at which a batch must be written or, while the disk writes one, at which that write becomes
    /// late. Returns `None` if there is nothing to write, or if the current write already counts as failing.
    pub(crate) fn write_at(&self, now: Instant) -> Option<Instant> {
        match self.journal.wait() {
            Wait::Zero => Some(now),
            Wait::Until(moment) => Some(moment),
            Wait::Forever => None,
        }
    }

    /// Returns the next changes to write, if a batch is due.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        self.journal.next_batch(now)
    }

    /// Stops delaying writes, because the loop stops.
    pub(crate) fn write_at_once(&mut self) {
        self.journal.write_at_once();
    }

    /// Returns whether all changes are durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }

    /// Returns the numbers of changed bans and changed peers that are not known to be durable.
    pub(crate) fn unwritten(&self) -> (usize, usize) {
        self.journal.unwritten()
    }

    /// Schedules the report of a ban in force for which `peers_closed` connections were closed. The ban is reported
    /// when it is durable. If the host already has an unreported ban, the new ban replaces it, and the
    /// numbers of closed connections are added.
    pub(crate) fn announce(&mut self, ban: Ban, peers_closed: usize) {
        let (announced, all_closed) = self.unannounced.entry(ban.host).or_insert((ban, 0));
        *announced = ban;
        *all_closed += peers_closed;
    }

    /// Returns whether the last write failed or its result is late.
    pub(crate) fn is_failing(&self) -> bool {
        self.journal.is_failing()
    }

    /// Returns `true` once if the disk's result is late and no attempt at this write has failed. The disk then
    /// counts as failing.
    pub(crate) fn note_late_disk(&mut self, now: Instant) -> bool {
        self.journal.note_late(now)
    }

    /// Handles the result of a write. Returns the bans that can be reported now.
    pub(crate) fn persisted(&mut self, answer: &Persisted) -> Vec<Announced> {
        let bans = self.journal.persisted(answer).into_iter().filter_map(|change| match change {
            Change::PutBan(ban) => Some(ban),
            Change::RemoveBan(_) | Change::PutPeer(_) | Change::RemovePeer(_) => None,
        });
        let mut announced = Vec::new();
        for durable in bans {
            // The host may have a newer ban by now, and the disk does not have that one yet.
            if let Entry::Occupied(entry) = self.unannounced.entry(durable.host)
                && entry.get().0 == durable
            {
                let (ban, peers_closed) = entry.remove();
                announced.push(Announced { ban, peers_closed });
            }
        }
        announced
    }
}

impl Candidates for MemoryStore {
    fn is_empty(&self) -> bool {
        let drawn = [PeerStatus::Valid, PeerStatus::Unknown, PeerStatus::Inaccessible];
        drawn.into_iter().all(|status| self.count(status) == 0)
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
            Standing::Inaccessible => PeerStatus::Inaccessible,
        };
        // The inherent `pick` requires a `Sized` generator. A reference to the generator is `Sized`.
        let mut rng = rng;
        self.pick(status, &mut rng, |peer| accept(peer.address()), tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ManagerConfig;
    use crate::limits::MAX_BANS;
    use crate::manager::Manager;
    use crate::manager::ban::BanReason;
    use crate::protocol::Network;
    use crate::time::UnixTime;
    use rand::SeedableRng;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    const MOMENT: Moment = Moment { now: Instant::from_nanos(1), unix: UnixTime::from_secs(1) };

    fn manager() -> Manager {
        let mut rng = StdRng::seed_from_u64(1);
        Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng)
    }

    fn host(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0808_0000 + number).into()
    }

    /// Bans a host, and schedules the ban's report with one closed connection.
    fn ban(manager: &mut Manager, address: IpAddr, reason: BanReason, length: Option<Duration>) -> Ban {
        let (ban, _) = manager.ban(address, reason, length, MOMENT).expect("the ban is in force");
        manager.persistence.announce(ban, 1);
        ban
    }

    fn durable(manager: &mut Manager, batch: &Batch) -> Vec<Announced> {
        manager.persistence.persisted(&Persisted { id: batch.id, result: Ok(()) })
    }

    #[test]
    fn an_extended_ban_is_reported_when_the_disk_has_it() {
        let mut manager = manager();
        ban(&mut manager, host(0), BanReason::Misbehavior, Some(Duration::from_secs(60)));
        let first = manager.persistence.next_batch(MOMENT.now).expect("a ban is written at once");
        let for_ever = ban(&mut manager, host(0), BanReason::Manual, None);
        assert_eq!(durable(&mut manager, &first), [], "a ban was reported before the disk had the newer one");
        let second = manager.persistence.next_batch(MOMENT.now).expect("a ban is written at once");
        let announced = Announced { ban: for_ever, peers_closed: 2 };
        assert_eq!(
            durable(&mut manager, &second),
            [announced],
            "the ban was not reported once with all closed connections"
        );
        assert!(manager.persistence.is_durable());
    }

    #[test]
    fn a_ban_displaced_before_its_report_is_not_reported() {
        let mut manager = manager();
        let hour = |number: u32| Some(Duration::from_secs(3_600 + u64::from(number)));
        for number in 0..MAX_BANS as u32 + 3 {
            ban(&mut manager, host(number), BanReason::Misbehavior, hour(number));
        }
        assert_eq!((manager.bans.len(), manager.persistence.unannounced.len()), (MAX_BANS, MAX_BANS));
        assert!(
            !manager.persistence.unannounced.contains_key(&Host::of(host(0))),
            "the ban that would have ended first still waits for its report"
        );
    }

    #[test]
    fn a_renewed_ban_that_is_then_lifted_is_removed_from_the_disk() {
        let mut manager = manager();
        ban(&mut manager, host(0), BanReason::Misbehavior, Some(Duration::from_secs(60)));
        let first = manager.persistence.next_batch(MOMENT.now).expect("a ban is written at once");
        durable(&mut manager, &first);
        let later = Moment { now: MOMENT.now.plus(Duration::from_secs(61)), unix: UnixTime::from_secs(62) };
        manager.ban(host(0), BanReason::Manual, None, later).expect("the first ban is over");
        assert!(manager.unban(Host::of(host(0)), later));
        let batch = manager.persistence.next_batch(later.now).expect("the first ban is on the disk");
        assert_eq!(batch.changes, [Change::RemoveBan(Host::of(host(0)))]);
    }
}
