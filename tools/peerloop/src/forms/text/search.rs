//! The report of a search for the highest load: its answer, its trials, and latency over load.

use crate::model::search::{End, Search, Trial, Verdict, What};
use crate::output::page::Page;
use crate::units::{counted, show_latency, show_rate, show_seconds, show_share};
use std::time::Duration;

/// Length of the longest bar in characters.
const MAX_BAR_CHARS: f64 = 36.0;

/// The indentation of a trial's reason.
const BELOW: &str = "             ";

/// Writes the answer, the table of trials and the curve.
pub(super) fn write(page: &mut Page, search: &Search) {
    page.wrapped("Found      ", &search.reason);
    let end = match search.end {
        End::Narrow => None,
        End::Time => Some("there was no time to narrow the gap or to confirm the load; raise --find-time"),
        End::NotRecovered => Some("the target did not recover from the last overload, so the search ended"),
        End::Stopped => Some("the search was stopped before its end"),
    };
    let Search { confirmations, confirmations_required: required, .. } = search;
    let mut parts = vec![format!("confirmed by {confirmations} of {required} trials")];
    parts.push(format!("{} in {}", counted(search.trials.len() as u64, "trial"), show_seconds(search.spent_ns.0)));
    page.parts("           ", "   ", parts);
    match search.late_trials() {
        0 => {}
        late => {
            let late = counted(late as u64, "trial");
            page.wrapped(
                "           ",
                &format!("the generator was late in {late}, by too little for another verdict"),
            );
        }
    }
    if let Some(end) = end {
        page.wrapped("           ", end);
    }
    if search.trials.is_empty() {
        return;
    }
    page.line(format_args!(""));
    page.line(format_args!(
        "{:<8}{:>12}{:>7}{:>10}{:>9}{:>9}{:>9}  verdict",
        "Trials", "load", "time", "achieved", "p50", "p99", "failed"
    ));
    search.trials.iter().for_each(|trial| row(page, search.what, trial));
    page.line(format_args!(""));
    curve(page, search);
}

/// Lists the parts of a search: its goal, its range and its time.
pub(super) fn parts(search: &Search) -> [String; 3] {
    let [low, high] = [search.low, search.high].map(|load| shown(search.what, load));
    [search.goal.clone(), format!("from {low} to {high}"), format!("within {}", show_seconds(search.time_ns.0))]
}

fn row(page: &mut Page, what: What, trial: &Trial) {
    page.line(format_args!(
        "{:>20}{:>7}{:>10}{:>9}{:>9}{:>9}  {}",
        shown(what, trial.load),
        show_seconds(trial.duration_ns.0),
        show_rate(trial.achieved_per_s().round()),
        latency(trial.p50_ns, trial.planned),
        latency(trial.p99_ns, trial.planned),
        show_share(trial.failed, trial.planned),
        trial.verdict.words(),
    ));
    if trial.verdict != Verdict::Pass {
        page.wrapped(BELOW, &trial.reason);
    }
}

/// Writes latency over load, one line for each load. The lengths of the bars are logarithmic.
fn curve(page: &mut Page, search: &Search) {
    let curve = search.curve();
    let measured: Vec<f64> = curve.iter().filter_map(|trial| trial.p99_ns).map(|nanos| nanos.max(1) as f64).collect();
    let least = measured.iter().copied().fold(f64::INFINITY, f64::min);
    let most = measured.iter().copied().fold(0.0, f64::max);
    if curve.len() < 2 || measured.is_empty() {
        return;
    }
    page.line(format_args!("{:<8}{:>12}{:>10}", "Curve", "load", "p99"));
    for trial in curve {
        let share = match trial.p99_ns {
            Some(nanos) if most > least => (nanos.max(1) as f64 / least).ln() / (most / least).ln(),
            Some(_) => 0.0,
            None => 1.0,
        };
        let bar = "#".repeat(1 + (share * (MAX_BAR_CHARS - 1.0)).round() as usize);
        let mark = match () {
            () if Some(trial.load) == search.load => "  <- the answer",
            () if Some(trial.load) == search.knee => "  <- the knee",
            () => "",
        };
        let p99 = latency(trial.p99_ns, trial.planned);
        page.line(format_args!("{:>20}{p99:>10}  {bar}{mark}", shown(search.what, trial.load)));
    }
    if let Some(knee) = search.knee {
        let knee = shown(search.what, knee);
        page.wrapped("", &format!("latencies grow fast above the knee at {knee}; bars are logarithmic"));
    }
    page.line(format_args!(""));
}

fn latency(nanos: Option<u64>, planned: u64) -> String {
    match nanos {
        Some(nanos) => show_latency(Duration::from_nanos(nanos)),
        None if planned == 0 => "-".to_owned(),
        None => "failed".to_owned(),
    }
}

/// Formats a load: `1500/s`, `116 peers`.
fn shown(what: What, load: u64) -> String {
    match what {
        What::Rate => show_rate(load as f64),
        What::Peers => counted(load, "peer"),
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::RatherPass => "rather a pass",
            Self::RatherFail => "rather a fail",
            Self::Generator => "not trusted",
        }
    }
}
