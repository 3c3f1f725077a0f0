//! A local outage: no peer is ready, and dials to several network groups have failed within a minute.
//!
//! A dial that fails during an outage says nothing about its address. An outage lasts until a peer is ready, even if
//! later failures are more than a minute apart: the pauses between dials grow to minutes.

use crate::address::{Host, NetGroup};
use crate::limits::{MIN_OUTAGE_GROUPS, OUTAGE_WINDOW};
use crate::time::Instant;
use std::net::IpAddr;

/// Detects an outage from failed dials.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_on: bool,
    /// The latest failed dial of each group within [`OUTAGE_WINDOW`]. With [`MIN_OUTAGE_GROUPS`] entries an outage
    /// begins.
    recent: Vec<(Instant, Origin)>,
}

/// The network group of an address, or its host if the address cannot be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Group(NetGroup),
    Host(Host),
}

impl Outage {
    /// Records that a dial failed while no peer was ready. Returns whether there is an outage.
    pub(crate) fn note_failed_dial(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.is_on {
            return true;
        }
        let origin = match NetGroup::of(address) {
            NetGroup::Unroutable => Origin::Host(Host::of(address)),
            group @ (NetGroup::V4(_) | NetGroup::V6(_)) => Origin::Group(group),
        };
        self.recent.retain(|&(failed_at, other)| other != origin && now.since(failed_at) <= OUTAGE_WINDOW);
        self.recent.push((now, origin));
        self.is_on = self.recent.len() >= MIN_OUTAGE_GROUPS;
        self.is_on
    }

    /// Ends the outage, because a peer is ready.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Records a failed dial of each address at the given second. Returns whether there is an outage after each dial.
    fn verdicts(dials: &[(u64, &str)]) -> Vec<bool> {
        let mut outage = Outage::default();
        let note = |&(secs, address): &(u64, &str)| {
            let now = Instant::ZERO.plus(Duration::from_secs(secs));
            outage.note_failed_dial(address.parse().unwrap(), now)
        };
        dials.iter().map(note).collect()
    }

    #[test]
    fn req_e19_three_groups_failing_within_a_minute_are_an_outage() {
        assert_eq!(verdicts(&[(0, "8.8.8.8"), (30, "9.9.9.9"), (60, "2a00::1")]), [false, false, true]);
        assert_eq!(verdicts(&[(0, "8.8.8.8"), (30, "9.9.9.9"), (61, "2a00::1")]), [false; 3]);
        assert_eq!(verdicts(&[(0, "8.8.8.8"), (1, "8.8.1.1"), (2, "9.9.9.9"), (3, "8.8.2.2")]), [false; 4]);
        let later = [(0, "8.8.8.8"), (50, "8.8.1.1"), (60, "9.9.9.9"), (110, "2a00::1")];
        assert_eq!(
            verdicts(&later),
            [false, false, false, true],
            "a group's latest failure did not replace its earlier one"
        );
    }

    #[test]
    fn req_e19_each_unroutable_host_counts_as_its_own_group() {
        assert_eq!(
            verdicts(&[(0, "10.0.0.1"), (0, "10.0.0.1"), (0, "127.0.0.1"), (0, "10.0.0.2")])[2..],
            [false, true]
        );
    }

    #[test]
    fn req_e19_an_outage_lasts_until_a_peer_is_ready() {
        let mut outage = Outage::default();
        let note = |outage: &mut Outage, secs, address: &str| {
            outage.note_failed_dial(address.parse().unwrap(), Instant::ZERO.plus(Duration::from_secs(secs)))
        };
        for address in ["8.8.8.8", "9.9.9.9", "1.1.1.1"] {
            note(&mut outage, 0, address);
        }
        assert!(note(&mut outage, 100_000, "8.8.8.8"));
        outage.end();
        assert!(!note(&mut outage, 100_001, "8.8.8.8"));
    }
}
