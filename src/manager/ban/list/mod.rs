//! The list of bans, by host.
//!
//! A lookup has a constant cost, and a ban expires by itself. A ban's length is measured on the monotonic
//! clock and on the wall clock, and the earlier end applies. A wall clock that is set back cannot extend a ban. A wall
//! clock that is set forward ends a ban early. That does little harm, because a peer that keeps misbehaving is banned
//! again. A loaded ban lasts at most its original length, regardless of the wall clock.
//!
//! There are at most [`MAX_BANS`] bans. In a full list, a new ban displaces an expired ban, or else the lowest-ranking
//! one. If no ban ranks below the new one, the new one is not added. Every requested ban ranks above every automatic
//! ban; within each kind, a ban that ends sooner ranks lower. An automatic ban can therefore never displace another
//! host's requested ban in force. Nothing here writes to the book: each call returns the changes, and the caller writes
//! them.

use super::{Ban, BanReason};
use crate::address::Host;
use crate::limits::MAX_BANS;
use crate::manager::keyed::KeyedState;
use crate::time::{Instant, Moment, UnixTime};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// The banned hosts.
#[derive(Debug)]
pub(crate) struct BanList {
    entries: HashMap<Host, Entry, KeyedState>,
    /// The hosts whose bans were not requested, ordered by their bans' ends on the monotonic clock. A permanent
    /// ban ends at [`Instant::MAX`].
    earned: BTreeSet<(Instant, Host)>,
    /// The hosts with requested bans, in the same order.
    asked_for: BTreeSet<(Instant, Host)>,
    /// The hosts whose bans are not permanent, ordered by their bans' ends on the wall clock.
    by_wall_clock: BTreeSet<(UnixTime, Host)>,
    max: usize,
}

/// The result of adding a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The ban is in force and replaces any other ban of the same host.
    Entered {
        /// The ban with its corrected timestamps.
        ban: Ban,
        /// The ban of another host that was removed to make room.
        displaced: Option<Ban>,
    },
    /// The host already has this ban, which lasts at least as long as the new one.
    Outlasted(Ban),
    /// The ban has expired, or its length is zero.
    Over,
    /// The list is full of bans that rank at least as high.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    reason: BanReason,
    since: UnixTime,
    until: Option<UnixTime>,
    /// The end on the monotonic clock.
    ends: Instant,
}

impl BanList {
    pub(crate) fn new(state: KeyedState) -> Self {
        Self::with_room_for(MAX_BANS, state)
    }

    fn with_room_for(max: usize, state: KeyedState) -> Self {
        Self {
            entries: HashMap::with_hasher(state),
            earned: BTreeSet::new(),
            asked_for: BTreeSet::new(),
            by_wall_clock: BTreeSet::new(),
            max,
        }
    }

    /// Bans `host` for `length`, or permanently if `length` is `None`. Only a [`BanReason::Manual`] ban can shorten one
    /// in force.
    #[must_use]
    pub(crate) fn ban(&mut self, host: Host, reason: BanReason, length: Option<Duration>, moment: Moment) -> Outcome {
        let entry = Entry::lasting(length, reason, moment.unix, moment);
        self.enter(host, entry, reason == BanReason::Manual, moment)
    }

    /// Restores a ban of an earlier run. If its start is in the future, it starts now.
    #[must_use]
    pub(crate) fn load(&mut self, ban: Ban, moment: Moment) -> Outcome {
        let unix = moment.unix;
        let left = ban.until.map(|until| between(ban.since, until).min(between(unix, until)));
        let entry = Entry::lasting(left, ban.reason, ban.since.min(unix), moment);
        self.enter(ban.host, entry, false, moment)
    }

    /// Lifts the ban of `host` and returns it.
    pub(crate) fn unban(&mut self, host: Host) -> Option<Ban> {
        let entry = self.entries.remove(&host)?;
        self.order(entry.reason).remove(&(entry.ends, host));
        if let Some(until) = entry.until {
            self.by_wall_clock.remove(&(until, host));
        }
        Some(entry.ban(host))
    }

    /// Returns the ban that applies to `address`.
    pub(crate) fn find(&self, address: IpAddr, moment: Moment) -> Option<Ban> {
        let host = Host::of(address);
        let entry = self.entries.get(&host).filter(|entry| !entry.is_over(moment))?;
        Some(entry.ban(host))
    }

    /// Returns whether `address` is banned.
    pub(crate) fn is_banned(&self, address: IpAddr, moment: Moment) -> bool {
        self.find(address, moment).is_some()
    }

    /// Returns whether the host of `address` has an entry. An expired ban keeps its entry until it is removed.
    pub(crate) fn has_entry(&self, address: IpAddr) -> bool {
        self.entries.contains_key(&Host::of(address))
    }

    /// Removes and returns one expired ban, which no longer applies but still uses memory.
    pub(crate) fn pop_expired(&mut self, Moment { now, unix }: Moment) -> Option<Ban> {
        let by_wall_clock = self.by_wall_clock.first().filter(|&&(until, _)| until <= unix);
        let host = match by_wall_clock {
            Some(&(_, host)) => host,
            None => self.soonest().filter(|&(ends, _)| ends <= now && ends != Instant::MAX)?.1,
        };
        self.unban(host)
    }

    /// Returns the first moment at which a ban can be [removed](BanList::pop_expired), provided that the wall clock is
    /// not adjusted until then. Returns `None` if there are no bans or only permanent ones.
    pub(crate) fn next_expiry(&self, Moment { now, unix }: Moment) -> Option<Instant> {
        let by_wall_clock = self.by_wall_clock.first().map(|&(until, _)| now.plus(between(unix, until)));
        let soonest = self.soonest().map(|(ends, _)| ends).filter(|&ends| ends != Instant::MAX);
        by_wall_clock.into_iter().chain(soonest).min()
    }

    /// Returns all bans in force, in the order of their hosts. The call lasts milliseconds if the list is full.
    pub(crate) fn list(&self, moment: Moment) -> Vec<Ban> {
        let mut hosts: Vec<Host> = self.earned.iter().chain(&self.asked_for).map(|&(_, host)| host).collect();
        hosts.sort_unstable();
        let in_force = |host| {
            let entry = self.entries.get(&host).filter(|entry| !entry.is_over(moment))?;
            Some(entry.ban(host))
        };
        hosts.into_iter().filter_map(in_force).collect()
    }

    /// Returns the number of bans, including expired ones that have not been removed yet.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn enter(&mut self, host: Host, entry: Entry, overrides: bool, moment: Moment) -> Outcome {
        if entry.is_over(moment) {
            return Outcome::Over;
        }
        if let Some(standing) = self.entries.get(&host)
            && !overrides
            && standing.left(moment) >= entry.left(moment)
        {
            return Outcome::Outlasted(standing.ban(host));
        }
        self.unban(host);
        let mut displaced = None;
        if self.entries.len() >= self.max {
            displaced = self.pop_expired(moment).or_else(|| self.displace(&entry));
            if displaced.is_none() {
                return Outcome::Full;
            }
        }
        self.order(entry.reason).insert((entry.ends, host));
        if let Some(until) = entry.until {
            self.by_wall_clock.insert((until, host));
        }
        self.entries.insert(host, entry);
        Outcome::Entered { ban: entry.ban(host), displaced }
    }

    /// Removes and returns the lowest-ranking ban, if it ranks below `entry`.
    fn displace(&mut self, entry: &Entry) -> Option<Ban> {
        let (first, host) = match (self.earned.first(), self.asked_for.first()) {
            (Some(&(ends, host)), _) => ((false, ends), host),
            (None, Some(&(ends, host))) => ((true, ends), host),
            (None, None) => return None,
        };
        let is_asked_for = entry.reason == BanReason::Manual;
        if first < (is_asked_for, entry.ends) { self.unban(host) } else { None }
    }

    /// Returns the earliest end of a ban on the monotonic clock, and the banned host.
    fn soonest(&self) -> Option<(Instant, Host)> {
        self.earned.first().into_iter().chain(self.asked_for.first()).min().copied()
    }

    fn order(&mut self, reason: BanReason) -> &mut BTreeSet<(Instant, Host)> {
        match reason {
            BanReason::Manual => &mut self.asked_for,
            BanReason::NetworkMismatch
            | BanReason::BlockchainMismatch
            | BanReason::BannedUserAgent
            | BanReason::Misbehavior => &mut self.earned,
        }
    }
}

impl Entry {
    /// Returns a ban that lasts for `left` from now on, or permanently if `left` is `None`.
    fn lasting(left: Option<Duration>, reason: BanReason, since: UnixTime, Moment { now, unix }: Moment) -> Self {
        Self {
            reason,
            since,
            until: left.map(|left| later(unix, left)),
            ends: left.map_or(Instant::MAX, |left| now.plus(left)),
        }
    }

    fn is_over(&self, moment: Moment) -> bool {
        self.left(moment).is_zero()
    }

    /// Returns the remaining time by the clock on which it is shorter.
    fn left(&self, Moment { now, unix }: Moment) -> Duration {
        let Some(until) = self.until else { return Duration::MAX };
        let by_monotonic_clock = if self.ends == Instant::MAX { Duration::MAX } else { self.ends.since(now) };
        by_monotonic_clock.min(between(unix, until))
    }

    fn ban(&self, host: Host) -> Ban {
        Ban { host, reason: self.reason, since: self.since, until: self.until }
    }
}

/// Returns the time from `from` to `to`, or zero if `to` is earlier.
fn between(from: UnixTime, to: UnixTime) -> Duration {
    Duration::from_secs(u64::try_from(to.as_secs().saturating_sub(from.as_secs())).unwrap_or(0))
}

/// Returns the first whole second that is at least `after` later than `time`.
fn later(time: UnixTime, after: Duration) -> UnixTime {
    let secs = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    UnixTime::from_secs(time.as_secs().saturating_add_unsigned(secs))
}

#[cfg(test)]
mod tests;
