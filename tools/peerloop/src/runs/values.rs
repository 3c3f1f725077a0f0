//! The values of a run that are judged: two percentiles, the failed share and the achieved rate.
//!
//! A value that the generator may have changed is refused with the reason, each metric on its own. No value is
//! corrected.

use crate::model::{Document, Percentile, Trust};
use crate::units::{show_latency, show_rate};
use peerloop_measure::{Direction, Scale};
use serde::Serialize;
use std::time::Duration;

/// The difference of failed shares below which a change does not matter: one operation in a thousand.
const FAILED_MARGIN: f64 = 0.001;

/// The part of a run that the longest lags of a generator may be, if the rate is judged although the run is not
/// trusted. Replies may shift by as much beyond the end of the run, so it is below half of the margin.
const MAX_LAG_OF_RUN: f64 = 0.02;

/// The lags of the generator, each with a metric of the run's document.
const LAGS: [&str; 3] = ["send_lag", "loop_lag", "dial_lag"];

/// The unit of a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Nanoseconds,
    PerSecond,
    /// A part of all operations; changes are differences.
    Share,
}

/// A metric that may fail a build.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judged {
    /// A percentile of the main metric, from the planned time, with failed operations as infinitely slow.
    Percentile(&'static str, f64),
    /// The share of the planned operations that were not answered.
    Failed,
    /// The answered operations per second.
    Rate,
}

impl Judged {
    pub(crate) const ALL: [Self; 4] =
        [Self::Percentile("50", 50.0), Self::Percentile("99", 99.0), Self::Failed, Self::Rate];

    pub(crate) fn name(self, main: &str) -> String {
        match self {
            Self::Percentile(label, _) => format!("{main} p{label}"),
            Self::Failed => "failed".to_owned(),
            Self::Rate => "rate".to_owned(),
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Percentile(..) => Unit::Nanoseconds,
            Self::Failed => Unit::Share,
            Self::Rate => Unit::PerSecond,
        }
    }

    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Percentile(..) | Self::Failed => Direction::SmallerIsBetter,
            Self::Rate => Direction::LargerIsBetter,
        }
    }

    pub(crate) fn scale(self) -> Scale {
        match self {
            Self::Percentile(..) | Self::Rate => Scale::Ratio,
            Self::Failed => Scale::Difference,
        }
    }

    /// Returns the size below which a change does not matter, if it is `margin` for ratios.
    pub(crate) fn margin(self, margin: f64) -> f64 {
        match self {
            Self::Percentile(..) | Self::Rate => margin,
            Self::Failed => FAILED_MARGIN,
        }
    }

    /// Returns the value of a run; `None` if nothing was measured.
    pub(crate) fn value(self, document: &Document) -> Option<f64> {
        let work = document.counts.work;
        match self {
            Self::Percentile(_, percent) => match document.main_metric()?.first_view()?.percentile(percent) {
                Percentile::Measured(latency) => Some(latency.as_nanos() as f64),
                Percentile::Beyond(_) => Some(f64::INFINITY),
                Percentile::NoData => None,
            },
            Self::Failed => (work.planned > 0).then(|| work.failed() as f64 / work.planned as f64),
            Self::Rate => document.run.answered_per_s,
        }
    }

    /// Returns why the value of a run must not be relied on, in one line.
    ///
    /// If a generator that was late is the only reason to distrust a run, the plan was still carried out in full. A
    /// value then counts if the lateness cannot have changed it much, or by a known amount: a percentile, with its
    /// [`Judged::excess`], the failed share if hardly anything failed, although late operations are sent in bursts, and
    /// the rate if even the longest lag is a small part of the run.
    pub(crate) fn doubt(self, document: &Document) -> Option<String> {
        if let Some(doubt) = plan_doubt(document) {
            return Some(doubt);
        }
        let Some(value) = self.value(document) else {
            return Some("has no operations".to_owned());
        };
        if document.generator.verdict == Trust::Trusted {
            return None;
        }
        let longest = late(document, 100.0);
        let reason = match self {
            Self::Percentile(..) if value.is_finite() => return None,
            Self::Failed if value <= FAILED_MARGIN => return None,
            Self::Percentile(..) | Self::Failed => "was late, so some of its failures may be its own".to_owned(),
            Self::Rate if longest > document.run.scheduled_ns.0.as_nanos() as f64 * MAX_LAG_OF_RUN => {
                let longest = show_value(longest, Unit::Nanoseconds);
                format!("was late by {longest} (max), which shifts replies beyond the end")
            }
            Self::Rate => return None,
        };
        Some(format!("is not trusted: its generator {reason}"))
    }

    /// Returns how much the value of a run may exceed the true one, because its generator was late: of a percentile the
    /// generator's own lags at the same percentile. This is an estimate, because percentiles do not add up exactly.
    pub(crate) fn excess(self, document: &Document) -> f64 {
        match self {
            Self::Percentile(_, percent) if document.generator.verdict == Trust::NotTrusted => late(document, percent),
            Self::Percentile(..) | Self::Failed | Self::Rate => 0.0,
        }
    }

    /// Returns the interval within the run; a missing bound is infinite.
    pub(crate) fn interval(self, document: &Document) -> Option<[Option<f64>; 2]> {
        let Self::Percentile(label, percent) = self else { return None };
        let main = document.main_metric()?;
        let (view, _) = main.views().next()?;
        let is_wanted = |label: &str| label.parse::<f64>().is_ok_and(|known| known == percent);
        let found = document.estimates.iter().find(|one| {
            one.metric == main.name && one.view == view && (one.percentile == label || is_wanted(&one.percentile))
        })?;
        Some(found.bounds_ns?.map(|bound| bound.map(|bound| bound.0.as_nanos() as f64)))
    }
}

/// Returns why a run is in doubt, in one line. Whether a metric is still judged is decided by [`Judged::doubt`].
pub(crate) fn doubt(document: &Document) -> Option<String> {
    let trust = || match document.generator.verdict {
        Trust::NotTrusted => Some(distrust(document)),
        Trust::Trusted => None,
    };
    plan_doubt(document).or_else(trust).or_else(|| Judged::ALL.into_iter().find_map(|judged| judged.doubt(document)))
}

/// Returns why a run did not carry out its plan, so that none of its values counts.
fn plan_doubt(document: &Document) -> Option<String> {
    if document.run.partial {
        return Some("is partial: its results cover less than was planned".to_owned());
    }
    let doubts = &document.generator.doubts;
    let is_only_late = !doubts.is_empty() && doubts.iter().all(|doubt| LAGS.contains(&doubt.as_str()));
    let is_carried_out = document.generator.verdict == Trust::Trusted || is_only_late;
    (!is_carried_out).then(|| distrust(document))
}

fn distrust(document: &Document) -> String {
    format!("is not trusted: {}", document.generator.reasons.join("; "))
}

/// Returns the sum of the lags that a latency contains, at a percentile, in nanoseconds. Late dials are no part of an
/// operation's latency.
fn late(document: &Document, percent: f64) -> f64 {
    LAGS[..2].iter().filter_map(|name| lag(document, name, percent)).sum()
}

/// Returns a lag of the generator at a percentile, in nanoseconds.
fn lag(document: &Document, name: &str, percent: f64) -> Option<f64> {
    let metric = document.metrics.iter().find(|metric| metric.name == name)?;
    match metric.first_view()?.percentile(percent) {
        Percentile::Measured(lag) => Some(lag.as_nanos() as f64),
        Percentile::Beyond(_) => Some(f64::INFINITY),
        Percentile::NoData => None,
    }
}

/// Formats a value. An infinite one stands for failed operations.
pub(crate) fn show_value(value: f64, unit: Unit) -> String {
    match unit {
        _ if value.is_infinite() => "failed".to_owned(),
        Unit::Nanoseconds => show_latency(Duration::from_nanos(value as u64)),
        Unit::PerSecond => show_rate(value),
        Unit::Share => format!("{:.3} %", 100.0 * value),
    }
}
