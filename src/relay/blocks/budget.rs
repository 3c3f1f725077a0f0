//! The budgets of old blocks: the bytes that each host, and all hosts together, may request per day.
//!
//! The accounts belong to hosts, so that a new connection renews nothing. A day begins with the first charge after the
//! last one's end, and all accounts are renewed together. The number of accounts is bounded: when all are charged, the
//! further hosts share one, so that no host can displace another one's charges.
//!
//! Free blocks are noted apart, because they cost nothing, and an IPv6 /48 has 65,536 hosts. A further host displaces
//! the oldest note, and the displaced host may request its free blocks again. Nothing here sends or knows a peer.

use crate::address::Host;
use crate::limits::{MAX_RELAY_BUDGETS, RELAY_BUDGET_TIME, RELAY_RECENT_BLOCKS};
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// The recent blocks that were free for one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Free {
    /// The height of the highest one.
    top: u32,
    /// Bit `n` is set if the recent block `n` below the highest one was free.
    below: u32,
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
    /// The maximum numbers of accounts and of hosts with free blocks.
    max_hosts: usize,
    /// The bytes that were charged to each host.
    accounts: BTreeMap<Host, u64>,
    /// The bytes that were charged to the hosts for which there is no room.
    others: u64,
    free: BTreeMap<Host, Free>,
    /// The hosts with free blocks, the oldest first.
    order: VecDeque<Host>,
}

impl Budgets {
    pub(super) fn new(per_host: u64, per_day: u64) -> Self {
        Self {
            per_host,
            per_day,
            used: 0,
            end: Instant::ZERO,
            max_hosts: MAX_RELAY_BUDGETS,
            accounts: BTreeMap::new(),
            others: 0,
            free: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Returns the maximum memory, in bytes. The nodes of a tree are at least half full.
    pub(in crate::relay) const fn memory_bytes() -> usize {
        2 * MAX_RELAY_BUDGETS * (size_of::<(Host, u64)>() + size_of::<(Host, Free)>() + size_of::<Host>())
    }

    /// Returns the number of bytes that may still be charged to a host.
    pub(super) fn left(&mut self, host: Host, now: Instant) -> u64 {
        self.renew(now);
        let others = if self.accounts.len() == self.max_hosts { self.others } else { 0 };
        let used = self.accounts.get(&host).copied().unwrap_or(others);
        self.per_host.saturating_sub(used).min(self.per_day.saturating_sub(self.used))
    }

    /// Charges a host, whether its budget suffices or not.
    pub(super) fn charge(&mut self, host: Host, bytes: u64, now: Instant) {
        self.renew(now);
        self.used = self.used.saturating_add(bytes);
        let has_room = self.accounts.len() < self.max_hosts || self.accounts.contains_key(&host);
        let account = if has_room { self.accounts.entry(host).or_default() } else { &mut self.others };
        *account = account.saturating_add(bytes);
    }

    /// Returns whether the recent block at a height is free for a host: each is free once.
    pub(super) fn is_free(&mut self, host: Host, height: u32, now: Instant) -> bool {
        self.renew(now);
        self.free.get(&host).is_none_or(|free| free.has(height))
    }

    /// Notes that a host has requested the recent block at a height.
    pub(super) fn use_free(&mut self, host: Host, height: u32, now: Instant) {
        self.renew(now);
        if !self.free.contains_key(&host) {
            if self.free.len() == self.max_hosts
                && let Some(oldest) = self.order.pop_front()
            {
                self.free.remove(&oldest);
            }
            self.order.push_back(host);
        }
        self.free.entry(host).or_default().use_up(height);
    }

    /// Begins a new day if the last one is over.
    fn renew(&mut self, now: Instant) {
        if now >= self.end {
            self.end = now.plus(RELAY_BUDGET_TIME);
            (self.used, self.others) = (0, 0);
            self.accounts.clear();
            self.free.clear();
            self.order.clear();
        }
    }
}

impl Free {
    /// Returns whether the block at a height is still free.
    fn has(&self, height: u32) -> bool {
        match self.top.checked_sub(height) {
            Some(below) => below < RELAY_RECENT_BLOCKS && self.below >> below & 1 == 0,
            None => true,
        }
    }

    fn use_up(&mut self, height: u32) {
        if let Some(above) = height.checked_sub(self.top) {
            (self.top, self.below) = (height, self.below.checked_shl(above).unwrap_or(0));
        }
        self.below |= 1_u32.checked_shl(self.top - height).unwrap_or(0);
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
        assert_eq!((budgets.left(host(5), Instant::ZERO), budgets.left(host(u32::MAX - 2), Instant::ZERO)), (999, 300));
        assert_eq!(budgets.accounts.len(), MAX_RELAY_BUDGETS);
    }

    #[test]
    fn free_blocks_for_all_hosts_of_a_range_use_up_no_budget_and_no_free_block_of_others() {
        let mut budgets = Budgets::new(1_000, u64::MAX);
        let now = Instant::ZERO;
        (0..MAX_RELAY_BUDGETS as u64).for_each(|number| budgets.use_free(Host::V6(number), 50, now));
        let others = [host(1), host(2)];
        assert_eq!(others.map(|other| budgets.is_free(other, 50, now)), [true; 2]);
        others.into_iter().for_each(|other| budgets.charge(other, 600, now));
        assert_eq!(others.map(|other| budgets.left(other, now)), [400; 2]);
        others.into_iter().for_each(|other| budgets.use_free(other, 50, now));
        assert_eq!(others.map(|other| budgets.is_free(other, 50, now)), [false; 2]);
        // They have displaced the two oldest ones.
        assert_eq!([0, 1, 2].map(|number| budgets.is_free(Host::V6(number), 50, now)), [true, true, false]);
        assert_eq!((budgets.free.len(), budgets.order.len()), (MAX_RELAY_BUDGETS, MAX_RELAY_BUDGETS));
    }

    proptest! {
        /// A naive model lists every charge and every free block of the day. There is room for few hosts.
        #[test]
        fn budgets_are_those_of_a_naive_model(
            max_hosts in 1..7_usize,
            steps in prop::collection::vec((0..6_u32, 0..500_u64, 0..40_u32, 0..40_000_u64), 1..200),
        ) {
            let mut budgets = Budgets { max_hosts, ..Budgets::new(2_000, 5_000) };
            let (mut now, mut begin) = (Instant::ZERO, None);
            let mut charges: Vec<(u32, u64)> = Vec::new();
            let mut free: Vec<(u32, BTreeSet<u32>)> = Vec::new();
            let mut tip = 0;
            for (number, bytes, height, secs) in steps {
                now = now.plus(Duration::from_secs(secs));
                if now >= begin.get_or_insert(now).plus(RELAY_BUDGET_TIME) {
                    begin = Some(now);
                    charges.clear();
                    free.clear();
                }
                // The first hosts have accounts of their own, and all others share one.
                let mut own: Vec<u32> = Vec::new();
                for &(of, _) in &charges {
                    if own.len() < max_hosts && !own.contains(&of) {
                        own.push(of);
                    }
                }
                let shares = own.len() == max_hosts && !own.contains(&number);
                let is_charged = |of| if shares { !own.contains(&of) } else { of == number };
                let all: u64 = charges.iter().map(|&(_, bytes)| bytes).sum();
                let used: u64 = charges.iter().filter(|&&(of, _)| is_charged(of)).map(|&(_, bytes)| bytes).sum();
                let left = 2_000_u64.saturating_sub(used).min(5_000_u64.saturating_sub(all));
                prop_assert_eq!(budgets.left(host(number), now), left);
                if bytes <= left {
                    budgets.charge(host(number), bytes, now);
                    charges.push((number, bytes));
                }
                // The tip never falls, and only the blocks just below it are recent.
                tip = tip.max(height);
                let recent = tip - height.min(RELAY_RECENT_BLOCKS - 1).min(tip);
                let has_used = free.iter().any(|(of, used)| *of == number && used.contains(&recent));
                prop_assert_eq!(budgets.is_free(host(number), recent, now), !has_used);
                budgets.use_free(host(number), recent, now);
                if free.iter().all(|(of, _)| *of != number) {
                    if free.len() == max_hosts {
                        free.remove(0);
                    }
                    free.push((number, BTreeSet::new()));
                }
                free.iter_mut().filter(|(of, _)| *of == number).for_each(|(_, used)| _ = used.insert(recent));
                prop_assert!(budgets.free.len() == free.len() && budgets.order.len() == free.len());
            }
        }
    }
}
