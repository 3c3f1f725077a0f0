//! The budgets of old blocks: the bytes that each host, and all hosts together, may request per day.
//!
//! The accounts belong to hosts, so that a new connection renews nothing. A day begins with the first charge after the
//! last one's end, and all accounts are renewed together. The number of accounts is bounded: when they are all in use,
//! the further hosts share one, so that no host can displace another one's account. Nothing here sends or knows a peer.

use crate::address::Host;
use crate::limits::{MAX_RELAY_BUDGETS, RELAY_BUDGET_TIME, RELAY_RECENT_BLOCKS};
use crate::time::Instant;
use std::collections::BTreeMap;

/// The use of one host's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// The bytes that were charged.
    used: u64,
    /// The highest recent block that was free.
    top: u32,
    /// Bit `n` is set if the recent block `n` below the highest one was free.
    free: u32,
}

/// All budgets of one day.
#[derive(Debug)]
pub(in crate::relay) struct Budgets {
    per_host: u64,
    per_day: u64,
    /// The bytes that were charged to all hosts.
    used: u64,
    /// The end of the day.
    end: Instant,
    accounts: BTreeMap<Host, Account>,
    /// The account of the hosts for which there is no room.
    others: Account,
}

impl Budgets {
    pub(super) fn new(per_host: u64, per_day: u64) -> Self {
        Self { per_host, per_day, used: 0, end: Instant::ZERO, accounts: BTreeMap::new(), others: Account::default() }
    }

    /// Returns the maximum memory, in bytes. The nodes of a tree are at least half full.
    pub(in crate::relay) const fn memory_bytes() -> usize {
        2 * MAX_RELAY_BUDGETS * size_of::<(Host, Account)>()
    }

    /// Returns the number of bytes that may still be charged to a host.
    pub(super) fn left(&mut self, host: Host, now: Instant) -> u64 {
        self.renew(now);
        let used = self.accounts.get(&host).map_or_else(|| self.of_others().used, |account| account.used);
        self.per_host.saturating_sub(used).min(self.per_day.saturating_sub(self.used))
    }

    /// Charges a host, whether its budget suffices or not.
    pub(super) fn charge(&mut self, host: Host, bytes: u64, now: Instant) {
        self.renew(now);
        self.used = self.used.saturating_add(bytes);
        let account = self.account(host);
        account.used = account.used.saturating_add(bytes);
    }

    /// Returns whether the recent block at a height is free for a host: each is free once.
    pub(super) fn is_free(&mut self, host: Host, height: u32, now: Instant) -> bool {
        self.renew(now);
        self.accounts.get(&host).copied().unwrap_or_else(|| self.of_others()).is_free(height)
    }

    /// Notes that a host has requested the recent block at a height.
    pub(super) fn use_free(&mut self, host: Host, height: u32, now: Instant) {
        self.renew(now);
        self.account(host).use_free(height);
    }

    fn account(&mut self, host: Host) -> &mut Account {
        if self.accounts.len() == MAX_RELAY_BUDGETS && !self.accounts.contains_key(&host) {
            return &mut self.others;
        }
        self.accounts.entry(host).or_default()
    }

    /// Returns the account of a host without one of its own.
    fn of_others(&self) -> Account {
        if self.accounts.len() == MAX_RELAY_BUDGETS { self.others } else { Account::default() }
    }

    /// Begins a new day if the last one is over.
    fn renew(&mut self, now: Instant) {
        if now >= self.end {
            self.end = now.plus(RELAY_BUDGET_TIME);
            (self.used, self.others) = (0, Account::default());
            self.accounts.clear();
        }
    }
}

impl Account {
    fn is_free(&self, height: u32) -> bool {
        match self.top.checked_sub(height) {
            Some(below) => below < RELAY_RECENT_BLOCKS && self.free >> below & 1 == 0,
            None => true,
        }
    }

    fn use_free(&mut self, height: u32) {
        if let Some(above) = height.checked_sub(self.top) {
            (self.top, self.free) = (height, self.free.checked_shl(above).unwrap_or(0));
        }
        self.free |= 1_u32.checked_shl(self.top - height).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn host(number: u32) -> Host {
        Host::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_day_renews_all_budgets() {
        let mut budgets = Budgets::new(1_000, 1_500);
        let (start, day) = (Instant::ZERO.plus(Duration::from_secs(7)), RELAY_BUDGET_TIME);
        budgets.charge(host(1), 600, start);
        assert_eq!((budgets.left(host(1), start), budgets.left(host(2), start)), (400, 900));
        let last = start.plus(day).minus(Duration::from_nanos(1));
        budgets.charge(host(2), 2_000, last);
        assert_eq!((budgets.left(host(1), last), budgets.left(host(3), last)), (0, 0));
        let next = start.plus(day);
        assert_eq!([1, 2, 3].map(|number| budgets.left(host(number), next)), [1_000; 3]);
    }

    #[test]
    fn without_room_for_an_account_further_hosts_share_one() {
        let mut budgets = Budgets::new(1_000, u64::MAX);
        (0..MAX_RELAY_BUDGETS as u32).for_each(|number| budgets.charge(host(number), 1, Instant::ZERO));
        budgets.charge(host(u32::MAX), 400, Instant::ZERO);
        budgets.charge(host(u32::MAX - 1), 300, Instant::ZERO);
        budgets.use_free(host(u32::MAX), 50, Instant::ZERO);
        assert_eq!((budgets.left(host(5), Instant::ZERO), budgets.left(host(u32::MAX - 2), Instant::ZERO)), (999, 300));
        assert!(!budgets.is_free(host(u32::MAX - 2), 50, Instant::ZERO) && budgets.is_free(host(5), 50, Instant::ZERO));
        assert_eq!(budgets.accounts.len(), MAX_RELAY_BUDGETS);
    }

    proptest! {
        /// A naive model keeps every charge and every free block, and sums those of the day.
        #[test]
        fn budgets_are_those_of_a_naive_model(
            steps in prop::collection::vec((0..4_u32, 0..500_u64, 0..40_u32, 0..40_000_u64), 1..200),
        ) {
            let mut budgets = Budgets::new(2_000, 5_000);
            let (mut now, mut begin) = (Instant::ZERO, None);
            let (mut charges, mut free) = (Vec::new(), BTreeSet::new());
            let mut tip = 0;
            for (number, bytes, height, secs) in steps {
                now = now.plus(Duration::from_secs(secs));
                if now >= begin.get_or_insert(now).plus(RELAY_BUDGET_TIME) {
                    begin = Some(now);
                    charges.clear();
                    free.clear();
                }
                let all: u64 = charges.iter().map(|&(_, bytes)| bytes).sum();
                let own: u64 = charges.iter().filter(|&&(of, _)| of == number).map(|&(_, bytes)| bytes).sum();
                let left = 2_000_u64.saturating_sub(own).min(5_000_u64.saturating_sub(all));
                prop_assert_eq!(budgets.left(host(number), now), left);
                if bytes <= left {
                    budgets.charge(host(number), bytes, now);
                    charges.push((number, bytes));
                }
                // The tip never falls, and only the blocks just below it are recent.
                tip = tip.max(height);
                let recent = tip - height.min(RELAY_RECENT_BLOCKS - 1).min(tip);
                let is_free = free.insert((number, recent));
                prop_assert_eq!(budgets.is_free(host(number), recent, now), is_free);
                budgets.use_free(host(number), recent, now);
            }
        }
    }
}
