//! Per-target results, in addition to the totals.

use super::counts::{PeerCounts, WorkCounts};
use super::unanswered::UnansweredWaits;
use crate::stats::histogram::LatencyHistogram;
use std::net::SocketAddr;
use std::time::Duration;

/// Maximum number of targets with a histogram of their own. A histogram uses 352 KiB, so 64 of them use 22 MiB.
const MAX_HISTOGRAMS: usize = 64;

/// One target's results.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetReport {
    /// The target's address.
    pub address: SocketAddr,
    /// The target's connections.
    pub peers: PeerCounts,
    /// The target's operations.
    pub work: WorkCounts,
    /// The latencies of the operations, each by its main metric, from the planned moments; `None` for a target after
    /// the first 64.
    pub planned: Option<LatencyHistogram>,
    /// The shortest waits of unanswered operations: one counted from the planned moment, one from the write.
    pub unanswered_waits: UnansweredWaits,
}

/// All targets' results; connection i belongs to target `i mod targets`.
#[derive(Debug)]
pub(super) struct Targets {
    accounts: Vec<TargetReport>,
}

impl Targets {
    /// Returns the results of targets that have these connections of this process.
    pub(super) fn new(addresses: &[SocketAddr], connections: impl Iterator<Item = usize>) -> Self {
        let targets = addresses.len();
        let account = |(index, &address): (usize, &SocketAddr)| TargetReport {
            address,
            peers: PeerCounts::default(),
            work: WorkCounts::default(),
            unanswered_waits: UnansweredWaits::default(),
            // A single target uses the totals instead of a histogram of its own.
            planned: (targets > 1 && index < MAX_HISTOGRAMS).then(LatencyHistogram::new),
        };
        let mut this = Self { accounts: addresses.iter().enumerate().map(account).collect() };
        connections.for_each(|connection| this.of(connection).peers.asked += 1);
        this
    }

    /// Returns the index of a connection's target.
    pub(super) fn index_of(&self, connection: usize) -> usize {
        connection % self.accounts.len()
    }

    /// Returns the results of a connection's target.
    pub(super) fn of(&mut self, connection: usize) -> &mut TargetReport {
        let index = self.index_of(connection);
        &mut self.accounts[index]
    }

    pub(super) fn note_answered(&mut self, connection: usize, latency: Duration) {
        let target = self.of(connection);
        target.work.answered += 1;
        if let Some(histogram) = &mut target.planned {
            histogram.record(latency);
        }
    }

    /// Returns the reports with finished counts; `all` is the histogram over all targets.
    pub(super) fn reports(&self, all: &LatencyHistogram) -> Vec<TargetReport> {
        let mut reports = self.accounts.clone();
        if let [target] = &mut reports[..] {
            target.planned = Some(all.clone());
        }
        for target in &mut reports {
            target.work.end();
        }
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_assigned_to_the_targets_in_turn() {
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let mut targets = Targets::new(&addresses, 0..5);
        assert_eq!([0, 1, 2, 3, 4].map(|connection| targets.of(connection).address.port()), [1, 2, 3, 1, 2]);
        let asked: Vec<usize> = targets.accounts.iter().map(|target| target.peers.asked).collect();
        assert_eq!(asked, [2, 2, 1]);
    }
}
