//! Requests from other threads to a generator, and its progress.

use super::counts::PeerCounts;
use super::interval::Interval;
use super::phase::Phase;
use super::rate::Rate;
use super::report::Report;
use crate::api::Reply;
use std::ops::Range;
use std::time::Duration;

/// A request from another thread to a generator.
///
/// ```no_run
/// use peerloop::api::Pending;
/// use peerloop::load::{Generator, GeneratorRequest, Plan, Progress, Rate};
/// use peerloop::{Config, Network, Reactor};
/// use std::time::Duration;
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse()?], 100, Rate::per_second(100))
///     .with_rate(Rate::per_second(1_000), Duration::from_secs(60));
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), Generator::new(plan))?;
/// let handle = reactor.handle();
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_secs(10));
///     // From now on 1,100 operations a second, and after ten more seconds 500.
///     let _ = handle.request(GeneratorRequest::ScaleRate { percent: 110 });
///     std::thread::sleep(Duration::from_secs(10));
///     let _ = handle.request(GeneratorRequest::SetRate(Rate::per_second(500)));
///     let (reply, pending) = Pending::new();
///     let _ = handle.request(GeneratorRequest::Progress(reply));
///     if let Ok(Progress { rate: Some(rate), .. }) = pending.wait() {
///         println!("{} operations a second", rate.as_per_second());
///     }
/// });
/// reactor.run()?;
/// let report = reactor.into_handler().into_report();
/// assert_eq!(report.rate_changes.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum GeneratorRequest {
    /// Report the progress.
    Progress(Reply<Progress>),
    /// Change the rate to this percentage of itself, from now on and for all later stages. The report lists the change.
    /// Without effect at the pace [`Pace::Max`](super::Pace::Max), and after the run.
    ScaleRate {
        /// The percentage: 110 raises the rate by a tenth, and 0 pauses the load.
        percent: u32,
    },
    /// Set the rate from now on, for all later stages too. The report lists the change. Without effect at the pace
    /// [`Pace::Max`](super::Pace::Max), and after the run.
    SetRate(Rate),
    /// Keep this number of this process's peers: open further ones and lost ones, at the plan's connect rate, or close
    /// some, which do not count as lost. The first connections of the plan are kept. Only during a run with
    /// [variable peers](super::Plan::with_variable_peers), else without effect.
    SetPeers(usize),
    /// Report how many operations of the run are unanswered, were due this long ago and were sent with this lag.
    Unanswered {
        /// The ages of the operations.
        ages: Range<Duration>,
        /// The times from the moments at which the operations were due to those at which they were sent. Of those that
        /// still wait in a send queue, a ping counts as sent now, and another operation as sent when it was started.
        lags: Range<Duration>,
        /// The number.
        reply: Reply<u64>,
    },
    /// Give up the operations of the run that are unanswered and were due at least this long ago, and report their
    /// number. They count as timed out, their replies are ignored, and their peers stay. Without effect if each
    /// operation opens a connection.
    GiveUp {
        /// The least age of the operations.
        older_than: Duration,
        /// The number.
        reply: Reply<u64>,
    },
    /// Start no further operation, wait for the run's last replies, and end the load.
    Finish,
    /// Start no further operation, report the results so far and end the load, without waiting. Missing replies count
    /// as timed out.
    Report(Reply<Box<Report>>),
}

/// The progress of a generator.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// The time since the phase began.
    pub phase_elapsed: Duration,
    /// The connections so far.
    pub peers: PeerCounts,
    /// The total rate of the operations planned for this moment; `None` without a schedule or outside the warm-up and
    /// the run.
    pub rate: Option<Rate>,
    /// Operations that were due so far, in the counted part of the run.
    pub planned: u64,
    /// Operations sent so far, in the counted part of the run.
    pub sent: u64,
    /// Operations answered so far, in the counted part of the run.
    pub answered: u64,
    /// The time for which the loop's thread was busy since it began.
    pub busy: Duration,
    /// The last whole interval of the counted part of the run; `None` before the end of the first interval.
    pub interval: Option<Interval>,
}
