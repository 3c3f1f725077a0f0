//! The part of the run document about a search, and its answer in words.

use super::driver::Found;
use super::terms::{Find, shown};
use super::trial::Measured;
use crate::model::Search;
use crate::model::search::{Answer, Bound, End, Purpose, Trial, Verdict, What};
use crate::output::json::Nanos;
use peerloop_measure::{self as measure, Reading, SearchSettings, Searched, TrialRow};

/// Builds the part of the document.
pub(crate) fn document(find: &Find, found: &Found) -> Search {
    let SearchSettings { searched, low, high, width, time, confirmations, .. } = find.settings;
    let (answer, limit, load, above) = match &found.outcome.answer {
        measure::Answer::Number { load, above, .. } => (Answer::Number, Some(Bound::Node), Some(*load), Some(*above)),
        measure::Answer::AtLeast { load, bound } => {
            let (limit, above) = match bound {
                measure::Bound::Generator { above, .. } => (Bound::Generator, Some(*above)),
                measure::Bound::Range => (Bound::Range, None),
                measure::Bound::Time => (Bound::Time, None),
            };
            (Answer::AtLeast, Some(limit), Some(*load), above)
        }
        measure::Answer::Nothing { reason: measure::Reason::Untrusted(_), fails, .. } => {
            (Answer::Nothing, Some(Bound::Generator), None, fails.as_ref().map(|(load, _)| *load))
        }
        measure::Answer::Nothing { .. } => (Answer::Nothing, None, None, None),
    };
    let mut search = Search {
        goal: find.condition.text.clone(),
        what: match searched {
            Searched::Rate => What::Rate,
            Searched::Peers => What::Peers,
        },
        low,
        high,
        width,
        time_ns: Nanos(time),
        answer,
        limit,
        load,
        above,
        reason: reason(find, found),
        end: match found.outcome.end {
            _ if found.is_cut => End::Stopped,
            measure::End::Narrow => End::Narrow,
            measure::End::Time => End::Time,
            measure::End::NotRecovered => End::NotRecovered,
        },
        confirmations: found.outcome.confirmations.into(),
        confirmations_required: confirmations.into(),
        spent_ns: Nanos(found.spent),
        knee: None,
        trials: found.trials.iter().map(|(row, measured)| trial(row, measured)).collect(),
    };
    search.knee = search.find_knee();
    search
}

/// Describes the answer in one line.
fn reason(find: &Find, found: &Found) -> String {
    let goal = &find.condition.text;
    let shown = |load| shown(find.settings.searched, load);
    match &found.outcome.answer {
        measure::Answer::Number { load, above, reason } if found.is_cut => {
            format!("at least {} and less than {}, at which {reason}", shown(*load), shown(*above))
        }
        measure::Answer::Number { load, above, reason } => {
            format!("{} is the most that meets {goal}; at {}, {reason}", shown(*load), shown(*above))
        }
        measure::Answer::AtLeast { load, bound } => match bound {
            measure::Bound::Generator { above, reason } => {
                format!("at least {} meets {goal}; at {}, {reason}", shown(*load), shown(*above))
            }
            measure::Bound::Range => {
                format!("at least {} meets {goal}; the search ends there, so raise --find-range", shown(*load))
            }
            measure::Bound::Time if found.is_cut => {
                format!("at least {} meets {goal}; no load was found that does not", shown(*load))
            }
            measure::Bound::Time => {
                format!("at least {} meets {goal}; there was no time for more, so raise --find-time", shown(*load))
            }
        },
        measure::Answer::Nothing { lowest: 0, .. } => format!("no load was tried for {goal}"),
        measure::Answer::Nothing { lowest, reason: reason @ measure::Reason::Untrusted(_), fails } => {
            let advice = "use a machine that is faster or does nothing else, or begin --find-range lower";
            let known = match fails {
                None => "nothing is known about the node".to_owned(),
                Some((load, why)) => format!("the most that meets {goal} is below {}, at which {why}", shown(*load)),
            };
            format!("{known}; at {}, {reason}; {advice}", shown(*lowest))
        }
        measure::Answer::Nothing { lowest, reason, .. } => {
            format!("no load that was tried meets {goal}; at {}, {reason}", shown(*lowest))
        }
    }
}

fn trial(row: &TrialRow, measured: &Measured) -> Trial {
    Trial {
        load: row.load,
        purpose: match row.purpose {
            measure::Purpose::Climb => Purpose::Climb,
            measure::Purpose::Descend => Purpose::Descend,
            measure::Purpose::Bisect => Purpose::Bisect,
            measure::Purpose::Decide => Purpose::Decide,
            measure::Purpose::Recheck => Purpose::Recheck,
            measure::Purpose::Confirm => Purpose::Confirm,
        },
        begin_ns: Nanos(measured.begin),
        duration_ns: Nanos(measured.length),
        planned: measured.planned,
        answered: measured.answered,
        failed: measured.failed,
        missing_peers: measured.missing_peers,
        p50_ns: measured.p50.and_then(Reading::finite),
        p99_ns: measured.p99.and_then(Reading::finite),
        verdict: match row.verdict {
            measure::TrialVerdict::Pass => Verdict::Pass,
            measure::TrialVerdict::Fail => Verdict::Fail,
            measure::TrialVerdict::RatherPass => Verdict::RatherPass,
            measure::TrialVerdict::RatherFail => Verdict::RatherFail,
            measure::TrialVerdict::Generator => Verdict::Generator,
        },
        reason: row.reason.to_string(),
        distrust: row.distrust.clone(),
    }
}
