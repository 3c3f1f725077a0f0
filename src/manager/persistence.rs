//! What is kept for the next run, and what is not said before it is.
//!
//! The book in memory is what is decided by; each of its changes goes into the journal, and from there to whoever
//! writes it to a disk. A ban is in force at once and announced when the disk has it: whoever has heard of one can rely
//! on it after a crash. Where there is no disk, the network says at once that everything is on it.

use crate::address::Host;
use crate::manager::ban::Ban;
use crate::manager::dial::{Candidates, Standing};
use crate::manager::store::{Batch, Change, Journal, KnownPeer, MemoryStore, PeerStatus, Persisted};
use crate::time::{Instant, UnixTime, Wait};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

/// A ban that can be announced, and the connections that were closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) ban: Ban,
    pub(crate) peers_closed: usize,
}

/// What is kept for the next run: the book, its changes that are not on the disk, and the bans that wait for it.
#[derive(Debug)]
pub(crate) struct Persistence {
    pub(crate) book: MemoryStore,
    journal: Journal,
    /// Bans in force that are not announced, because they are not durable yet, with the connections closed for each.
    unannounced: BTreeMap<Host, (Ban, usize)>,
}

impl Persistence {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self { book: MemoryStore::new(rng), journal: Journal::new(), unannounced: BTreeMap::new() }
    }

    /// Changes what the book says of a peer that it knows.
    pub(super) fn update_book(
        &mut self,
        address: SocketAddr,
        unix: UnixTime,
        now: Instant,
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

    /// Takes a peer into the book that nobody has tried; returns whether it is new and there is room.
    pub(super) fn add_to_book(&mut self, peer: KnownPeer, now: Instant, rng: &mut StdRng) -> bool {
        let Ok(gone) = self.book.admit(peer.clone(), rng) else { return false };
        if let Some(gone) = gone {
            self.record(Change::RemovePeer(gone.address()), true, now);
        }
        self.record(Change::PutPeer(peer), false, now);
        true
    }

    /// Removes a peer from the book.
    pub(super) fn remove_from_book(&mut self, address: SocketAddr, now: Instant) {
        self.book.forget(address);
        self.record(Change::RemovePeer(address), true, now);
    }

    /// Removes a ban that has ended, and does not announce it any more.
    pub(super) fn remove_ban(&mut self, host: Host, now: Instant) {
        self.unannounced.remove(&host);
        self.record(Change::RemoveBan(host), true, now);
    }

    /// Counts the bans in force that are not announced yet.
    #[cfg(feature = "sim")]
    pub(super) fn unannounced_len(&self) -> usize {
        self.unannounced.len()
    }

    /// Notes a change for the disk.
    pub(super) fn record(&mut self, change: Change, was_known: bool, now: Instant) {
        self.journal.record(change, was_known, now);
    }

    /// When there is something to write, or the disk has not answered for too long.
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
    pub(crate) fn write_at_once(&mut self) {
        self.journal.write_at_once();
    }

    /// Whether all that was changed is durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }

    /// Counts the changes of bans and of peers that are not known to be durable.
    pub(crate) fn unwritten(&self) -> (usize, usize) {
        self.journal.unwritten()
    }

    /// A ban is in force, for which so many connections are closed; it is announced when it is durable, in place of
    /// one of the same host that is not yet.
    pub(crate) fn announce(&mut self, ban: Ban, peers_closed: usize) {
        let (announced, all_closed) = self.unannounced.entry(ban.host).or_insert((ban, 0));
        *announced = ban;
        *all_closed += peers_closed;
    }

    /// Whether the disk takes nothing at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        self.journal.is_failing()
    }

    /// Whether the disk has not answered for too long; said once, and failing it is from then on.
    pub(crate) fn note_late_disk(&mut self, now: Instant) -> bool {
        self.journal.note_late(now)
    }

    /// Changes are on the disk, or could not be written; returns the bans that can be announced now.
    pub(crate) fn persisted(&mut self, answer: &Persisted) -> Vec<Announced> {
        let bans = self.journal.persisted(answer).into_iter().filter_map(|change| match change {
            Change::PutBan(ban) => Some(ban),
            Change::RemoveBan(_) | Change::PutPeer(_) | Change::RemovePeer(_) => None,
        });
        let mut announced = Vec::new();
        for durable in bans {
            // Another ban of the host may be in force by now, which the disk has not.
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
        // A generator behind a pointer is one; what it points to has no size.
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
    use rand::SeedableRng;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    const MOMENT: (Instant, UnixTime) = (Instant::from_nanos(1), UnixTime::from_secs(1));

    fn manager() -> Manager {
        let mut rng = StdRng::seed_from_u64(1);
        Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng)
    }

    fn host(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0808_0000 + number).into()
    }

    /// Bans a host, closes one of its connections, and announces that as soon as it is durable.
    fn ban(manager: &mut Manager, address: IpAddr, reason: BanReason, length: Option<Duration>) -> Ban {
        let (ban, _) = manager.ban(address, reason, length, MOMENT).expect("it is in force");
        manager.persistence.announce(ban, 1);
        ban
    }

    fn durable(manager: &mut Manager, batch: &Batch) -> Vec<Announced> {
        manager.persistence.persisted(&Persisted { id: batch.id, result: Ok(()) })
    }

    #[test]
    fn a_ban_that_was_made_longer_is_announced_when_the_disk_has_the_longer_one() {
        let mut manager = manager();
        ban(&mut manager, host(0), BanReason::Misbehavior, Some(Duration::from_secs(60)));
        let first = manager.persistence.next_batch(MOMENT.0).expect("a ban is written at once");
        let for_ever = ban(&mut manager, host(0), BanReason::Manual, None);
        assert_eq!(durable(&mut manager, &first), [], "of what is in force the disk knows nothing yet");
        let second = manager.persistence.next_batch(MOMENT.0).expect("a ban is written at once");
        let announced = Announced { ban: for_ever, peers_closed: 2 };
        assert_eq!(durable(&mut manager, &second), [announced], "once, with all that was closed");
        assert!(manager.persistence.is_durable());
    }

    #[test]
    fn a_ban_that_has_to_go_before_it_was_announced_is_not_kept_in_mind() {
        let mut manager = manager();
        let hour = |number: u32| Some(Duration::from_secs(3_600 + u64::from(number)));
        for number in 0..MAX_BANS as u32 + 3 {
            ban(&mut manager, host(number), BanReason::Misbehavior, hour(number));
        }
        assert_eq!((manager.bans.len(), manager.persistence.unannounced.len()), (MAX_BANS, MAX_BANS));
        assert!(
            !manager.persistence.unannounced.contains_key(&Host::of(host(0))),
            "the one that would have ended first went"
        );
    }
    #[test]
    fn the_disk_forgets_a_ban_that_was_renewed_when_it_was_over_and_then_lifted() {
        let mut manager = manager();
        ban(&mut manager, host(0), BanReason::Misbehavior, Some(Duration::from_secs(60)));
        let first = manager.persistence.next_batch(MOMENT.0).expect("a ban is written at once");
        durable(&mut manager, &first);
        let later = (MOMENT.0.plus(Duration::from_secs(61)), UnixTime::from_secs(62));
        manager.ban(host(0), BanReason::Manual, None, later).expect("the first one is over");
        assert!(manager.unban(Host::of(host(0)), later.0, later.1));
        let batch = manager.persistence.next_batch(later.0).expect("the first one is on the disk");
        assert_eq!(batch.changes, [Change::RemoveBan(Host::of(host(0)))]);
    }
}
