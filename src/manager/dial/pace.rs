//! The pace of automatic dials while this machine lacks a resource. The lack counts against no address, and a
//! requested dial does not wait.
//!
//! If descriptors or memory run out, all dials pause. If one address family lacks a network, its dials pause; if it
//! lacks local ports, its dials slow down. The other family continues: on a machine without IPv6, every dial of an IPv6
//! address fails, but IPv4 works.

use crate::error::Shortage;
use crate::limits::{DIAL_PAUSE_FIRST, MAX_DIAL_PAUSE, MAX_PORT_SPACING, PORT_SPACING_FIRST};
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// The moments from which dials are allowed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    shortage: Pause,
    families: [FamilyPace; 2],
}

#[derive(Debug, Default)]
struct FamilyPace {
    no_network: Pause,
    /// Minimum time between two dials; zero unless ports have recently run out.
    spacing: Duration,
    next_dial: Instant,
    /// The moment at which the spacing was last extended. Failures within one spacing after this moment do not extend
    /// the spacing again.
    slowed_at: Instant,
}

/// A pause of dials. A failure after its end starts a longer pause, up to [`MAX_DIAL_PAUSE`].
#[derive(Debug, Default)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(super) const fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl Pace {
    /// Returns the moment from which an address of `family` may be dialled without a request.
    pub(super) fn ready_at(&self, family: Family) -> Instant {
        let FamilyPace { no_network, next_dial, .. } = &self.families[family.index()];
        self.shortage.until.max(no_network.until).max(*next_dial)
    }

    pub(super) fn is_ready(&self, family: Family, now: Instant) -> bool {
        self.ready_at(family) <= now
    }

    /// Records that a dial starts.
    pub(super) fn connect_starting(&mut self, family: Family, now: Instant) {
        let pace = &mut self.families[family.index()];
        pace.next_dial = now.plus(pace.spacing);
    }

    /// Records that the kernel has started to connect, so descriptors, memory and a port were available.
    pub(super) fn connect_started(&mut self, family: Family) {
        self.shortage = Pause::default();
        let pace = &mut self.families[family.index()];
        pace.spacing -= pace.spacing / 16;
        if pace.spacing < PORT_SPACING_FIRST {
            pace.spacing = Duration::ZERO;
        }
    }

    /// Records that an address responded, so there is a network.
    pub(super) fn answered(&mut self, family: Family) {
        self.families[family.index()].no_network = Pause::default();
    }

    pub(super) fn short_of(&mut self, shortage: Shortage, family: Family, now: Instant) {
        match shortage {
            Shortage::Descriptors | Shortage::Memory => self.shortage.prolong(now),
            Shortage::Ports => self.families[family.index()].slow_down(now),
            // A dial from a source address that this machine does not have fails at any pace.
            Shortage::SourceAddress => {}
        }
    }

    pub(super) fn no_network(&mut self, family: Family, now: Instant) {
        self.families[family.index()].no_network.prolong(now);
    }
}

impl FamilyPace {
    fn slow_down(&mut self, now: Instant) {
        if now < self.slowed_at.plus(self.spacing) {
            return;
        }
        self.spacing = (self.spacing * 2).clamp(PORT_SPACING_FIRST, MAX_PORT_SPACING);
        self.slowed_at = now;
        self.next_dial = now.plus(self.spacing);
    }
}

impl Pause {
    /// Starts a pause twice as long as the last one, but at least [`DIAL_PAUSE_FIRST`] and at most [`MAX_DIAL_PAUSE`].
    /// A failure during a pause is ignored: its dial started before the pause, or was requested.
    fn prolong(&mut self, now: Instant) {
        if now < self.until {
            return;
        }
        self.length = (self.length * 2).clamp(DIAL_PAUSE_FIRST, MAX_DIAL_PAUSE);
        self.until = now.plus(self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn pauses(mut fail: impl FnMut(&mut Pace, Instant), pace: &mut Pace, count: usize) -> Vec<u128> {
        let mut now = START.max(pace.ready_at(Family::V4));
        let mut pauses = Vec::new();
        for _ in 0..count {
            pace.connect_starting(Family::V4, now);
            fail(pace, now);
            let ready_at = pace.ready_at(Family::V4);
            pauses.push(ready_at.since(now).as_millis());
            now = ready_at;
        }
        pauses
    }

    #[test]
    fn a_lack_of_descriptors_or_memory_pauses_all_dials_and_a_started_connect_ends_the_pause() {
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            let mut pace = Pace::default();
            let fail = |pace: &mut Pace, now| pace.short_of(shortage, Family::V4, now);
            assert_eq!(pauses(fail, &mut pace, 6), [100, 200, 400, 800, 1_000, 1_000]);
            assert_eq!(pace.ready_at(Family::V6), pace.ready_at(Family::V4));
            let now = pace.ready_at(Family::V4);
            fail(&mut pace, now);
            assert!(!pace.is_ready(Family::V4, now));
            pace.connect_started(Family::V6);
            assert!(pace.is_ready(Family::V4, now) && pace.is_ready(Family::V6, now));
            assert_eq!(pauses(fail, &mut pace, 1), [100]);
        }
    }

    #[test]
    fn fault_e05_without_a_network_one_family_pauses_until_an_address_responds() {
        let mut pace = Pace::default();
        let fail = |pace: &mut Pace, now| pace.no_network(Family::V4, now);
        assert_eq!(pauses(fail, &mut pace, 6), [100, 200, 400, 800, 1_000, 1_000]);
        assert!(pace.is_ready(Family::V6, START));
        let now = pace.ready_at(Family::V4);
        fail(&mut pace, now);
        pace.connect_started(Family::V4);
        assert!(!pace.is_ready(Family::V4, now), "a started connect ended the pause, although it proves no network");
        pace.answered(Family::V4);
        assert!(pace.is_ready(Family::V4, now));
    }

    #[test]
    fn many_simultaneous_failures_count_as_one() {
        let mut pace = Pace::default();
        for _ in 0..32 {
            pace.short_of(Shortage::Descriptors, Family::V4, START);
            pace.short_of(Shortage::Ports, Family::V4, START);
            pace.no_network(Family::V6, START);
        }
        assert_eq!(pace.ready_at(Family::V4), START.plus(DIAL_PAUSE_FIRST));
        assert_eq!(pace.ready_at(Family::V6), START.plus(DIAL_PAUSE_FIRST));
        pace.connect_started(Family::V6);
        assert_eq!(pace.ready_at(Family::V4), START.plus(PORT_SPACING_FIRST));
    }

    #[test]
    fn fault_e04_without_ports_the_rate_halves_down_to_one_per_second_and_recovers() {
        let mut pace = Pace::default();
        let fail = |pace: &mut Pace, now| pace.short_of(Shortage::Ports, Family::V4, now);
        assert_eq!(pauses(fail, &mut pace, 12), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 1_000]);
        assert!(pace.is_ready(Family::V6, START));
        let mut now = pace.ready_at(Family::V4);
        let mut dials = 0;
        while pace.families[0].spacing > Duration::ZERO {
            pace.connect_starting(Family::V4, now);
            pace.connect_started(Family::V4);
            now = pace.ready_at(Family::V4);
            dials += 1;
        }
        assert!((50..200).contains(&dials), "{dials}");
    }
}
