//! What misbehaviour costs: points, the connection, or a ban of the host.

use super::Manager;
use crate::address::Host;
use crate::id::LinkId;
use crate::limits::BANS_ENDED_PER_TURN;
use crate::manager::ban::list::Outcome;
use crate::manager::ban::score::{ChecksumRun, Verdict};
use crate::manager::ban::{Ban, BanReason, Misconduct, Penalty};
use crate::manager::store::{Change, KnownPeer, PeerStatus};
use crate::time::{Instant, UnixTime};
use std::collections::btree_map::Entry;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a misconduct has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Punishment {
    pub(crate) verdict: Verdict,
    pub(crate) points: u32,
    /// The peer's points with them.
    pub(crate) score: u32,
}

impl Manager {
    /// Charges a peer with a misconduct; one that is trusted is never charged.
    pub(crate) fn charge(&mut self, id: LinkId, address: IpAddr, misconduct: Misconduct) -> Option<Punishment> {
        if self.is_trusted(address) {
            return None;
        }
        let score = self.scores.entry(id).or_default();
        let verdict = score.charge(misconduct, self.config.ban_score);
        let points = match misconduct.penalty() {
            Penalty::Points(points) => points,
            Penalty::Disconnect => 0,
        };
        Some(Punishment { verdict, points, score: score.points() })
    }

    /// Counts a wrong checksum, and returns what it is to be charged as, if it is one of too many in a quick row.
    pub(crate) fn count_bad_checksum(&mut self, id: LinkId, now: Instant) -> Option<Misconduct> {
        match self.bad_checksums.entry(id) {
            Entry::Occupied(run) => run.into_mut().another(now),
            Entry::Vacant(first) => {
                first.insert(ChecksumRun::begun(now));
                None
            }
        }
    }

    /// Returns whether no misconduct bans the host at `address`: it is trusted or on this machine.
    ///
    /// A host on this machine is never banned by itself, as SV Node 1.2.2 has it (net_processing.cpp
    /// SendRejectsAndCheckIfBanned): everybody here shares its address.
    pub(crate) fn spares(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.is_trusted(address)
    }

    /// Bans the host at `address` for `length`, for ever if there is none; returns the ban, and that of another host
    /// which had to go for it. There is none if the host is banned for longer already, or if all that there is room for
    /// are worth more.
    pub(crate) fn ban(
        &mut self,
        address: IpAddr,
        reason: BanReason,
        length: Option<Duration>,
        (now, unix): (Instant, UnixTime),
    ) -> Option<(Ban, Option<Ban>)> {
        let was_known = self.bans.has_entry(address);
        match self.bans.ban(Host::of(address), reason, length, now, unix) {
            Outcome::Entered { ban, displaced } => {
                self.record(Change::PutBan(ban), was_known, now);
                if let Some(displaced) = displaced {
                    // Its peers in the book are pardoned with the next: each look at all of them is long.
                    self.lift_ban(displaced.host, now);
                }
                Some((ban, displaced))
            }
            Outcome::Outlasted(_) | Outcome::Over | Outcome::Full => None,
        }
    }

    /// Says of an address in the book that it is banned, if it is.
    pub(crate) fn record_ban_status(&mut self, address: SocketAddr, now: Instant, unix: UnixTime) {
        if let Some(ban) = self.bans.find(address.ip(), now, unix).filter(|_| !self.is_trusted(address.ip())) {
            self.update_book(address, unix, now, |peer| peer.status = PeerStatus::Banned(ban.reason));
        }
    }

    /// Ends the ban of a host; returns whether there was one.
    pub(crate) fn unban(&mut self, host: Host, now: Instant, unix: UnixTime) -> bool {
        let ended = self.bans.unban(host);
        self.bans_ended(ended.as_slice(), now, unix);
        ended.is_some()
    }

    /// Ends bans whose time is over, as many as one turn may, and returns them.
    pub(crate) fn end_bans(&mut self, now: Instant, unix: UnixTime) -> Vec<Ban> {
        let over = iter::from_fn(|| self.bans.pop_expired(now, unix));
        let ended: Vec<Ban> = over.take(BANS_ENDED_PER_TURN).collect();
        self.bans_ended(&ended, now, unix);
        ended
    }

    /// Bans are over: the disk forgets them, and the book says of nobody any more that he is banned who is not.
    fn bans_ended(&mut self, ended: &[Ban], now: Instant, unix: UnixTime) {
        if ended.is_empty() {
            return;
        }
        for ban in ended {
            self.lift_ban(ban.host, now);
        }
        self.refresh_ban_status(now, unix);
        self.dialler.book_changed();
    }

    /// A host is not banned any more: the disk forgets it, and that it was banned is not announced.
    fn lift_ban(&mut self, host: Host, now: Instant) {
        self.unannounced.remove(&host);
        self.dialler.ban_lifted(host);
        self.record(Change::RemoveBan(host), true, now);
    }

    /// Says of those in the book whose hosts are not banned any more, or are trusted now, that nobody knows what they
    /// are.
    pub(super) fn refresh_ban_status(&mut self, now: Instant, unix: UnixTime) {
        let listed = self.book.peers(PeerStatus::Banned(BanReason::Manual)).map(KnownPeer::address);
        let free: Vec<SocketAddr> = listed.filter(|peer| !self.is_barred(*peer, now, unix)).collect();
        for address in free {
            self.update_book(address, unix, now, |peer| peer.status = PeerStatus::Unknown);
        }
    }
}
