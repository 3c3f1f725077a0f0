//! Adds up the metrics of runs by their names.

use super::counts::add_work;
use crate::model::{Metric, View};

/// Adds each of the other metrics. The error names the metric and the view whose histograms do not fit.
pub(crate) fn add_all(sum: &mut Vec<Metric>, others: Vec<Metric>) -> Result<(), String> {
    for other in others {
        match sum.iter_mut().find(|metric| metric.name == other.name) {
            Some(known) => add(known, other)?,
            None => sum.push(other),
        }
    }
    Ok(())
}

fn add(sum: &mut Metric, other: Metric) -> Result<(), String> {
    match (&mut sum.work, other.work) {
        (Some(work), Some(other)) => add_work(work, other),
        (work, other) => *work = work.or(other),
    }
    let Metric { name, planned, sent, measured, .. } = sum;
    add_view(planned, other.planned).map_err(|error| format!("`{name}.planned`: {error}"))?;
    add_view(sent, other.sent).map_err(|error| format!("`{name}.sent`: {error}"))?;
    add_view(measured, other.measured).map_err(|error| format!("`{name}.measured`: {error}"))
}

/// Adds a view. The sum of a view and a missing one, as of a stage in a page, would be that of one run alone, so it is
/// missing too.
fn add_view(sum: &mut Option<View>, other: Option<View>) -> Result<(), String> {
    match (&mut *sum, other) {
        (Some(sum), Some(other)) => sum.add(&other),
        (Some(_), None) | (None, _) => {
            *sum = None;
            Ok(())
        }
    }
}
