//! The reasons why a bench failed or ended early, one line each.

use super::recorder::Recorded;
use super::setup::Setup;
use crate::causes::{Stage, cause_at, hint, is_closed_by_peer};
use crate::exit::{Exit, Stops};
use crate::model::search::{Answer, Bound, End};
use crate::model::{Search, Threshold};
use crate::units::show_seconds;
use peerloop::error::RequestError;
use peerloop::load::{self, EarlyEnd, EndCause, Phase, Report, TargetReport, Verdict};
use std::time::Duration;

/// One reason for an exit code other than 0.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) exit: Exit,
    /// Whether the reason explains missing results.
    pub(super) is_partial: bool,
    pub(super) reason: String,
}

/// Lists every reason for an exit code other than 0 but the thresholds that are not met, in the order in which the
/// codes apply.
pub(super) fn all(setup: &Setup, stops: Stops, report: &Report, recorded: &Recorded) -> Vec<Ending> {
    let stopped = stops.exit().map(|(exit, reason)| Ending { exit, is_partial: true, reason });
    let unwritten = recorded.events.as_ref().and_then(|events| events.failure.clone());
    let unwritten = unwritten.map(|reason| Ending { exit: Exit::RunFailed, is_partial: false, reason });
    let aborted = recorded.aborted.clone().map(|reason| Ending { exit: Exit::Missed, is_partial: true, reason });
    let failed = [early(setup, report), too_few_peers(setup, report), nothing_opened(setup, report), unwritten];
    [stopped].into_iter().chain(failed).chain([aborted, untrusted(setup, report)]).flatten().collect()
}

/// Describes a threshold that is not met.
pub(super) fn of_threshold(threshold: &Threshold) -> Option<Ending> {
    let reason = threshold.complaint()?;
    Some(Ending { exit: Exit::Missed, is_partial: false, reason })
}

/// Describes a search without an answer, and one that the generator limits.
pub(super) fn of_search(search: &Search) -> Option<Ending> {
    let exit = match (search.answer, search.limit) {
        _ if search.end == End::Stopped => return None,
        (Answer::AtLeast | Answer::Nothing, Some(Bound::Generator)) => Exit::Untrusted,
        (Answer::Nothing, _) => Exit::RunFailed,
        (Answer::Number | Answer::AtLeast, _) => return None,
    };
    Some(Ending { exit, is_partial: false, reason: search.reason.clone() })
}

/// Describes the early end of a run for lack of peers.
fn early(setup: &Setup, report: &Report) -> Option<Ending> {
    let EarlyEnd { cause, phase, elapsed, .. } = report.early_end.filter(lacks_peers)?;
    if let Some(reason) = setup.failed_ahead.clone() {
        return Some(Ending { exit: Exit::RunFailed, is_partial: true, reason });
    }
    let what = match cause {
        EndCause::NoneReady => "no peer became ready".to_owned(),
        EndCause::FirstDialsFailed { dials } => format!("the first {dials} dials all failed for the same reason"),
        EndCause::AllLost => match report.peers.ready {
            1 => "the only peer was lost".to_owned(),
            ready => format!("all {ready} peers were lost"),
        },
        _ => "no peer remained".to_owned(),
    };
    let when = match (cause, phase) {
        (EndCause::NoneReady, _) => String::new(),
        (_, Phase::Ramp) => format!("ended early after {} of the ramp: ", seconds(elapsed)),
        (_, Phase::Warmup) => format!("ended early after {} of the warm-up: ", seconds(elapsed)),
        (_, Phase::Run | Phase::Drain | Phase::Done) => {
            format!("ended early after {} of {}: ", seconds(elapsed), show_seconds(setup.shape.duration()))
        }
    };
    let reason = format!("{when}{what}; {}", first_cause(report));
    Some(Ending { exit: Exit::RunFailed, is_partial: true, reason })
}

/// Returns whether a load ended early because it had no peers, rather than on request.
fn lacks_peers(end: &EarlyEnd) -> bool {
    end.cause != EndCause::Asked
}

/// Describes the lack of peers if fewer than `--min-peers` became ready or remained at the end of the run.
fn too_few_peers(setup: &Setup, report: &Report) -> Option<Ending> {
    if setup.find.is_some() {
        // Each trial of a search is judged by its own peers.
        return None;
    }
    let min_peers = setup.needed_peers();
    let (peers, asked) = (report.peers, report.peers.asked);
    let is_cut_short = report.early_end.is_some_and(|end| !lacks_peers(&end));
    if is_cut_short && report.ramp.time.is_none() {
        // The signal during the ramp explains the missing peers.
        return None;
    }
    let have = match () {
        () if peers.ready < min_peers => format!("{} of {asked} peers became ready", peers.ready),
        () if peers.left() < min_peers => format!("{} of {asked} peers remained at the end", peers.left()),
        () => return None,
    };
    let demanded = match setup.min_peers.to_string() {
        given if given == min_peers.to_string() => given,
        given => format!("{given}, that is {min_peers}"),
    };
    // The reason for an early end already names the cause.
    let is_said = report.early_end.as_ref().is_some_and(lacks_peers);
    let cause = if is_said { String::new() } else { format!("; {}", first_cause(report)) };
    let reason = format!("{have}, fewer than --min-peers {demanded}{cause}");
    Some(Ending { exit: Exit::RunFailed, is_partial: false, reason })
}

/// Describes the failure of all connections, if each operation opens one.
fn nothing_opened(setup: &Setup, report: &Report) -> Option<Ending> {
    let is_failed = setup.workload.opens_connections() && report.work.sent > 0 && report.work.answered == 0;
    let reason = || format!("none of {} connections succeeded; {}", report.work.sent, first_cause(report));
    is_failed.then(|| Ending { exit: Exit::RunFailed, is_partial: false, reason: reason() })
}

/// Describes why the numbers cannot be trusted, if `--strict` is set.
fn untrusted(setup: &Setup, report: &Report) -> Option<Ending> {
    let Verdict::NotTrusted(doubts) = &report.verdict else { return None };
    let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
    let reason = format!("the results are not trusted, which --strict treats as a failure: {}", doubts.join("; "));
    setup.strict.then_some(Ending { exit: Exit::Untrusted, is_partial: false, reason })
}

/// Describes a failure in full: the stage that the connections had reached, the cause, and advice if there is any.
pub(crate) fn explain(failure: &load::Failure, targets: &[TargetReport]) -> String {
    let stage = Stage::of(failure.state);
    let at = match stage {
        Stage::Ready => "after the handshake: ",
        Stage::Handshake => "in the handshake: ",
        Stage::Connecting => "",
    };
    let cause = match failure.example {
        Some(reason) => cause_at(reason, stage),
        None if failure.label == RequestError::TableFull.label() => "the connection table was full".to_owned(),
        None => format!("the loop refused the dial: {}", failure.label),
    };
    match node_gone(failure, targets).or_else(|| hint(failure.example?, stage)) {
        Some(hint) => format!("{at}{cause}; {hint}"),
        None => format!("{at}{cause}"),
    }
}

/// Suggests that the node has stopped, if the failure is a close by the peer after the handshake and a target has lost
/// all its ready peers. A node at capacity would keep most of its peers.
fn node_gone(failure: &load::Failure, targets: &[TargetReport]) -> Option<&'static str> {
    let is_gone = |target: &TargetReport| target.peers.ready > 0 && target.peers.left() == 0;
    let is_closed = failure.example.is_some_and(is_closed_by_peer) && Stage::of(failure.state) == Stage::Ready;
    (is_closed && targets.iter().any(is_gone)).then_some("did the node stop? all its peers were lost")
}

/// Describes the most frequent cause of failed connections, with the number of connections that failed for it.
fn first_cause(report: &Report) -> String {
    match report.failures.first() {
        Some(failure) => {
            format!("{} of {} failed: {}", failure.count, report.peers.asked, explain(failure, &report.targets))
        }
        None => format!("none of {} connections failed", report.peers.asked),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::error::Side;
    use peerloop::peer::ConnectionState;

    #[test]
    fn a_dial_that_the_loop_refused_is_explained_by_its_cause() {
        let explained =
            |label| explain(&load::Failure::new(label, Side::Local, ConnectionState::Disconnected, None), &[]);
        assert_eq!(explained("table_full"), "the connection table was full");
        assert_eq!(explained("address_taken"), "the loop refused the dial: address_taken");
    }
}
