//! Thresholds as lines in the pictures of latencies.

use super::svg::Plot;
use crate::model::Document;
use peerloop_measure::{Function, Threshold, View};

/// Maximum number of lines in a picture; the labels of more would overlap.
const MAX_LIMITS: usize = 4;

/// The distance between the begins of two labels.
const LABEL_WIDTH: f64 = 160.0;

/// A limit for a latency of the main metric in the whole run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LatencyLimit {
    pub(super) nanos: f64,
    /// The percentile that the limit is for; 100 for the maximum.
    pub(super) percent: f64,
    /// The threshold as typed.
    expr: String,
}

impl LatencyLimit {
    /// Returns the text of the limit's mark.
    pub(super) fn label(&self) -> String {
        format!("limit {}", self.expr)
    }
}

/// Lists the limits for percentiles of a metric from the planned time. Thresholds of stages and of other views are only
/// in the table.
pub(super) fn of(document: &Document, main: &str) -> Vec<LatencyLimit> {
    let limit = |expr: &String| {
        let threshold: Threshold = expr.parse().ok()?;
        let is_shown = threshold.metric == main
            && threshold.stage.is_none()
            && threshold.view.is_none_or(|view| view == View::Planned);
        let percent = match threshold.function {
            Function::Percentile(percent) => percent,
            Function::Max => 100.0,
            Function::Mean | Function::Count | Function::Rate | Function::Failed => return None,
        };
        is_shown.then(|| LatencyLimit { nanos: threshold.limit, percent, expr: expr.clone() })
    };
    let all = document.thresholds.iter().filter_map(|threshold| limit(&threshold.expr));
    all.take(MAX_LIMITS).collect()
}

/// Draws the limits.
pub(super) fn draw(plot: &mut Plot, limits: &[LatencyLimit]) {
    for (index, limit) in limits.iter().enumerate() {
        plot.horizontal("limit", limit.nanos, &limit.expr, 6.0 + index as f64 * LABEL_WIDTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn only_latencies_of_the_main_metric_in_the_whole_run_are_lines() {
        let mut document = model::parse(include_str!("../../bench/golden/measured.json")).unwrap();
        let exprs = [
            "ping_rtt:p99<20ms",
            "ping_rtt{view=sent}:p99<20ms",
            "ping_rtt{stage=1}:p99<20ms",
            "ping_rtt:failed<1%",
            "connect:p99<20ms",
            "ping_rtt{view=planned}:max<=1s over 10s",
            "no threshold",
        ];
        let threshold = |expr: &str| model::Threshold {
            expr: expr.to_owned(),
            result: model::Outcome::Pass,
            value: None,
            reason: String::new(),
        };
        document.thresholds = exprs.map(threshold).into();
        let limits = of(&document, "ping_rtt");
        let limits: Vec<(f64, f64)> = limits.iter().map(|limit| (limit.percent, limit.nanos)).collect();
        assert_eq!(limits, [(99.0, 20e6), (100.0, 1e9)]);
    }
}
