//! Limits the dialler to one peer per range of addresses, so that an attacker with a range cannot occupy all our
//! slots or make us scan the range.
//!
//! Only addresses drawn from the book count. Unroutable addresses are exempt: they are independent of each other,
//! although [`NetGroup`] assigns all of them to one range. There is one entry for each range that is in use or was
//! dialled within [`GROUP_DIAL_PAUSE`].

use crate::address::NetGroup;
use crate::limits::GROUP_DIAL_PAUSE;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// The peers' ranges, and the recently dialled ranges.
#[derive(Debug, Default)]
pub(super) struct Groups {
    uses: BTreeMap<NetGroup, GroupUse>,
    /// The recent dials, in order.
    dials: VecDeque<(Instant, NetGroup)>,
}

#[derive(Debug, Default)]
struct GroupUse {
    peers: usize,
    dials: usize,
}

impl Groups {
    /// Returns whether no address of `group` is a peer or is being dialled.
    pub(super) fn is_free(&self, group: NetGroup) -> bool {
        self.uses.get(&group).is_none_or(|group| group.peers == 0)
    }

    /// Returns whether a new address of `group` may be dialled, as of the last [`Groups::tidy`].
    pub(super) fn is_rested(&self, group: NetGroup) -> bool {
        self.uses.get(&group).is_none_or(|group| group.peers == 0 && group.dials == 0)
    }

    /// Records that an address of `group` is dialled. Also calls [`Groups::join`].
    pub(super) fn dial(&mut self, group: NetGroup, now: Instant) {
        self.join(group);
        if let Some(uses) = self.uses.get_mut(&group) {
            uses.dials += 1;
            self.dials.push_back((now, group));
        }
    }

    /// Records that an address of `group` is a peer or is being dialled.
    pub(super) fn join(&mut self, group: NetGroup) {
        if group != NetGroup::Unroutable {
            self.uses.entry(group).or_default().peers += 1;
        }
    }

    /// Records that an address of `group` is neither a peer nor being dialled any more.
    pub(super) fn leave(&mut self, group: NetGroup) {
        self.change(group, |uses| uses.peers -= 1);
    }

    /// Drops the dials that are at least [`GROUP_DIAL_PAUSE`] old.
    pub(super) fn tidy(&mut self, now: Instant) {
        while let Some(&(dialled_at, group)) = self.dials.front()
            && dialled_at.plus(GROUP_DIAL_PAUSE) <= now
        {
            self.dials.pop_front();
            self.change(group, |uses| uses.dials -= 1);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }

    /// Checks the counts of dials, and returns the number of peers in each range that has peers.
    #[cfg(test)]
    pub(super) fn peers(&self) -> BTreeMap<NetGroup, usize> {
        for (group, uses) in &self.uses {
            let dials = self.dials.iter().filter(|(_, other)| other == group).count();
            assert_eq!(uses.dials, dials, "{group:?}");
            assert!(uses.peers + uses.dials > 0, "{group:?} has an entry without peers or dials");
        }
        self.uses.iter().map(|(&group, uses)| (group, uses.peers)).filter(|&(_, peers)| peers > 0).collect()
    }

    fn change(&mut self, group: NetGroup, change: impl FnOnce(&mut GroupUse)) {
        let Some(uses) = self.uses.get_mut(&group) else { return };
        change(uses);
        if uses.peers == 0 && uses.dials == 0 {
            self.uses.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const GROUP: NetGroup = NetGroup::V4([8, 8]);

    #[test]
    fn a_range_is_free_again_when_its_last_peer_is_removed() {
        let mut groups = Groups::default();
        groups.join(GROUP);
        groups.join(GROUP);
        groups.leave(GROUP);
        assert!(!groups.is_free(GROUP) && !groups.is_rested(GROUP));
        assert!(groups.is_rested(NetGroup::V4([8, 9])));
        groups.leave(GROUP);
        assert!(groups.is_rested(GROUP));
        assert_eq!(groups.len(), 0);
    }

    #[test]
    fn a_dialled_range_rests_for_a_second() {
        let mut groups = Groups::default();
        let dialled_at = Instant::from_nanos(5);
        groups.dial(GROUP, dialled_at);
        groups.leave(GROUP);
        let rested_at = dialled_at.plus(GROUP_DIAL_PAUSE);
        groups.tidy(rested_at.minus(Duration::from_nanos(1)));
        assert!(groups.is_free(GROUP) && !groups.is_rested(GROUP));
        groups.tidy(rested_at);
        assert!(groups.is_rested(GROUP));
        assert_eq!((groups.len(), groups.dials.len()), (0, 0));
    }

    #[test]
    fn unroutable_addresses_never_occupy_their_range() {
        let mut groups = Groups::default();
        groups.dial(NetGroup::Unroutable, Instant::ZERO);
        groups.join(NetGroup::Unroutable);
        assert!(groups.is_free(NetGroup::Unroutable) && groups.is_rested(NetGroup::Unroutable));
        groups.leave(NetGroup::Unroutable);
        assert_eq!((groups.len(), groups.dials.len()), (0, 0));
    }
}
