//! Latencies together with the operations that never came to one: those are slower than every latency.

use super::Stage;
use crate::units::show_latency;
use peerloop::histogram::{LatencyHistogram, percentile_rank};
use peerloop::load::{Report, TargetReport};
use std::time::Duration;

/// The measurements of one kind of operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    /// The latencies of those that were completed.
    pub(crate) latencies: &'a LatencyHistogram,
    /// How many others there are.
    pub(crate) failed: u64,
    /// The shortest time that one of the others was waited for, if they were waited for.
    pub(crate) shortest_wait: Option<Duration>,
}

/// A percentile of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Percentile {
    Measured(Duration),
    /// Longer than every latency, and than the shortest wait.
    Beyond(Option<Duration>),
    NoData,
}

impl<'a> Sample<'a> {
    /// Latencies of operations that cannot fail.
    pub(crate) fn of(latencies: &'a LatencyHistogram) -> Self {
        Self { latencies, failed: 0, shortest_wait: None }
    }

    /// Connects, from the planned moment of the dial.
    pub(crate) fn connect_planned(report: &'a Report) -> Self {
        Self { failed: failed_in(report, Stage::Connecting), ..Self::of(&report.connect_planned) }
    }

    /// Connects, from the dial.
    pub(crate) fn connect_dialled(report: &'a Report) -> Self {
        Self { failed: failed_in(report, Stage::Connecting), ..Self::of(&report.connect_dialled) }
    }

    pub(crate) fn handshake(report: &'a Report) -> Self {
        Self { failed: failed_in(report, Stage::Handshake), ..Self::of(&report.handshake) }
    }

    /// Pings, from their planned moment.
    pub(crate) fn ping_rtt_planned(report: &'a Report) -> Self {
        Self {
            latencies: &report.ping_rtt_planned,
            failed: report.work.timed_out + report.work.unsent,
            shortest_wait: report.unanswered_waits.planned,
        }
    }

    /// Pings, from the moment they were given to the kernel.
    pub(crate) fn ping_rtt_sent(report: &'a Report) -> Self {
        Self {
            latencies: &report.ping_rtt_sent,
            failed: report.work.timed_out,
            shortest_wait: report.unanswered_waits.sent,
        }
    }

    /// Pings of one target, from their planned moment; none if the target has no histogram of its own.
    pub(crate) fn of_target(target: &'a TargetReport) -> Option<Self> {
        Some(Self {
            latencies: target.ping_rtt_planned.as_ref()?,
            failed: target.work.timed_out + target.work.unsent,
            shortest_wait: target.unanswered_waits.planned,
        })
    }

    /// Counts the operations, completed or not.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.count() + self.failed
    }

    /// Returns the percentile of all operations, of which those that failed took longer than every other.
    pub(crate) fn percentile(&self, percent: f64) -> Percentile {
        match self.latencies.at_rank(percentile_rank(percent, self.count())) {
            Some(latency) => Percentile::Measured(latency),
            None if self.failed == 0 => Percentile::NoData,
            None => Percentile::Beyond(self.shortest_wait),
        }
    }
}

impl Percentile {
    /// Returns the latency, if it was measured.
    pub(crate) fn measured(self) -> Option<Duration> {
        match self {
            Self::Measured(latency) => Some(latency),
            Self::Beyond(_) | Self::NoData => None,
        }
    }

    /// Formats it: `93 us`, `> 2.01 s`, `failed` where nobody waited, `-` without data.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Measured(latency) => show_latency(latency),
            Self::Beyond(Some(wait)) => format!("> {}", show_latency(wait)),
            Self::Beyond(None) => "failed".to_owned(),
            Self::NoData => "-".to_owned(),
        }
    }
}

/// Formats a share that is neither nothing nor all as such: `44 %`, `0.2 %`, `< 0.1 %`, `> 99.9 %`.
pub(crate) fn show_share(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    match percent {
        _ if part > 0 && percent < 0.1 => "< 0.1 %".to_owned(),
        _ if part < whole && percent > 99.9 => "> 99.9 %".to_owned(),
        _ if percent.fract() == 0.0 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// Counts the connections that failed in one stage.
fn failed_in(report: &Report, wanted: Stage) -> u64 {
    let failures = report.failures.iter().filter(|failure| Stage::of(failure.state) == wanted);
    failures.map(|failure| failure.count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to(count: u64) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        (1..=count).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn a_percentile_among_the_unanswered_is_longer_than_their_shortest_wait() {
        let latencies = one_to(560);
        let shortest_wait = Some(Duration::from_millis(2_010));
        let sample = Sample { latencies: &latencies, failed: 440, shortest_wait };
        let shown = [50.0, 56.0, 56.1, 99.0, 100.0].map(|percent| sample.percentile(percent).shown());
        assert_eq!(shown, ["500 ns", "560 ns", "> 2.01 s", "> 2.01 s", "> 2.01 s"]);
        assert_eq!(sample.percentile(56.1).measured(), None);
        let unsent = Sample { shortest_wait: None, ..sample };
        assert_eq!(unsent.percentile(99.0).shown(), "failed");
        let empty = LatencyHistogram::new();
        assert_eq!(Sample::of(&empty).percentile(50.0), Percentile::NoData);
        assert_eq!(Sample { failed: 1, ..Sample::of(&empty) }.percentile(1.0), Percentile::Beyond(None));
    }

    #[test]
    fn a_share_is_not_rounded_to_nothing_or_to_all() {
        let shown = [(0, 10), (440, 1_000), (1, 3), (1, 10_000), (9_999, 10_000), (5, 5), (0, 0)]
            .map(|(part, whole)| show_share(part, whole));
        assert_eq!(shown, ["0 %", "44 %", "33.3 %", "< 0.1 %", "> 99.9 %", "100 %", "0 %"]);
    }
}
