//! The verdict on a load's numbers, with its reasons, and the cause that limited the load.

use std::fmt;
use std::time::Duration;

/// A reason to distrust the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Doubt {
    /// Operations were sent later than planned.
    SendLag {
        /// The lag at the 99th percentile.
        p99: Duration,
    },
    /// The loop woke up later than requested.
    LoopLag {
        /// The lag at the 99th percentile.
        p99: Duration,
    },
    /// The generator's thread was at its limit.
    Busy {
        /// The share of the run in which the thread was busy, from 0 to 1.
        share: f64,
    },
    /// Connections were dialled later than planned.
    DialLag {
        /// The lag at the 99th percentile.
        p99: Duration,
    },
    /// Operations were due but not sent.
    Unsent {
        /// The number of unsent operations.
        count: u64,
        /// The number of unsent operations that could not be sent.
        absent: u64,
    },
    /// Nothing was measured: no operation was answered or, if none was planned, no peer became ready.
    NothingMeasured,
}

/// Whether the latencies measure the target and not the generator's own delays.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The generator kept its schedule.
    Trusted,
    /// The generator did not keep its schedule, or nothing was measured.
    NotTrusted(Vec<Doubt>),
}

/// The cause, if any, that kept a load from being carried out as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Neither the target nor the generator limited the load.
    None,
    /// The target: connections to it failed or were lost, it did not answer operations, or it fell behind.
    Node,
    /// The generator: it was late, was at its limit, or did not send operations. Its numbers about the target are in
    /// doubt.
    Generator,
}

impl Limit {
    /// Returns the name: `none`, `node` or `generator`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Node => "node",
            Self::Generator => "generator",
        }
    }
}

impl Doubt {
    /// Returns the name: `send_lag`, `loop_lag`, `busy`, `dial_lag`, `unsent` or `nothing_measured`. A lag has the name
    /// of the histogram that holds it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SendLag { .. } => "send_lag",
            Self::LoopLag { .. } => "loop_lag",
            Self::Busy { .. } => "busy",
            Self::DialLag { .. } => "dial_lag",
            Self::Unsent { .. } => "unsent",
            Self::NothingMeasured => "nothing_measured",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendLag { p99 } => write!(
                f,
                "operations were sent up to {} later than planned (p99); lower the rate or free a CPU for the \
                 generator",
                shown(*p99)
            ),
            Self::LoopLag { p99 } => write!(
                f,
                "the loop woke {} late (p99); this machine is busy with something else, or spinning is off",
                shown(*p99)
            ),
            Self::Busy { share } => write!(
                f,
                "the generator's thread was busy {:.0} % of the time; lower the rate or split the load",
                share * 100.0
            ),
            Self::DialLag { p99 } => write!(
                f,
                "connections were dialled up to {} later than planned (p99); lower --connect-rate",
                shown(*p99)
            ),
            Self::Unsent { count, absent } if absent == count => {
                write!(
                    f,
                    "{count} operations could not be sent, because their peers were lost or had too many unanswered \
                     ones; see the failures"
                )
            }
            Self::Unsent { count, absent: 0 } => {
                write!(f, "{count} operations were due and not sent; lower the rate or free a CPU for the generator")
            }
            Self::Unsent { count, absent } => write!(
                f,
                "{count} operations were due and not sent, {absent} of them because their peers were lost or had too \
                 many unanswered ones; see the failures, and lower the rate"
            ),
            Self::NothingMeasured => f.write_str(
                "nothing was measured: no operation was answered or, without operations, no peer became ready",
            ),
        }
    }
}

/// Formats a lag: `1.05 ms`, `12.3 ms`, `109 ms`, `1.50 s`.
fn shown(lag: Duration) -> String {
    let millis = lag.as_secs_f64() * 1e3;
    match lag.as_nanos() {
        0..9_995_000 => format!("{millis:.2} ms"),
        9_995_000..99_950_000 => format!("{millis:.1} ms"),
        99_950_000..999_500_000 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}
