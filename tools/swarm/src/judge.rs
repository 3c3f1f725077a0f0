//! Checks of a run in addition to the loop's invariants: the loop has reacted to each peer as required, and the
//! records of the honest peers contain no complaint.
//!
//! Under harsh conditions, a connection may also be closed because of the environment. An honest peer may never be
//! closed because of its messages.

use super::course::Course;
use super::marks::{Mark, Marks};
use super::observer::COMPOSED;
use super::scenario::{Kind, Scenario, Troop, attack_at};
use super::scripted_attacker::{MESSAGES, ROWS, cell_reasons, script_time};
use super::scripted_handler::{Ended, Known, ScriptedHandler};
use super::stage::{Cast, Stage};
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Deadline, LocalCause};
use peerloop::handler::Handler;
use peerloop::internals::limits::{PING_INTERVAL, PONG_TIMEOUT};
use peerloop::sim::Conditions;
use peerloop::sim::Cuts;
use peerloop::sim::actor::{Expectation, Reaction};
use peerloop::sim::invariant::{Checked, StreamCase, Violation};
use peerloop::time::Instant;
use std::time::Duration;

/// Tolerance for each deadline: a peer may be closed this much later.
const SLACK: Duration = Duration::from_secs(2);

/// Pipe capacity below which a handshake and a few pings may fill a pipe.
const NARROW_BYTES: usize = 4 * 1024;

/// Returns whether a troop is hostile and the handler does nothing to its peers, so that the loop's reaction to them
/// can be judged.
pub(super) fn is_judged(troop: &Troop) -> bool {
    let habit = troop.habit;
    troop.kind.is_hostile() && habit.acts_every.is_zero() && !habit.is_rough && !habit.overwhelms
}

/// Checks that each closed peer was closed for an allowed reason and, in a quiet world, that no judged peer has stayed
/// connected for too long. The check is made at the end of the first phase.
pub(super) fn judge_peers(stage: &mut Stage) {
    let now = stage.world.now();
    let ended: Vec<Ended> = stage.handler().ended.clone();
    let known: Vec<(usize, Instant)> = stage
        .handler()
        .known()
        .filter(|known| known.is_ready || !known.is_outbound)
        .map(|known| (known.troop, known.began))
        .collect();
    let is_quiet = stage.scenario.is_quiet();
    let mut found = Vec::new();
    for end in &ended {
        let Some(cast) = stage.cast.get(end.troop) else { continue };
        if !may_end(stage, cast, end, is_quiet) {
            let Ended { began, at, reason, .. } = end;
            found.push(format!("{} connected at {began:?} was closed at {at:?}: {reason:?}", cast.troop.kind));
        }
    }
    for (troop, began) in known.into_iter().filter(|_| is_quiet) {
        let Some(cast) = stage.cast.get(troop) else { continue };
        if let Some(until) = most_time(stage, cast)
            && now > began.plus(until)
        {
            found.push(format!("{} connected at {began:?} has not been closed", cast.troop.kind));
        }
    }
    found.into_iter().take(4).for_each(|text| stage.course.found(38, text));
}

/// Returns the maximum time for which a troop's peers may stay connected; `None` if the troop is not judged or has no
/// maximum.
fn most_time(stage: &Stage, cast: &Cast) -> Option<Duration> {
    if !is_judged(&cast.troop) {
        return None;
    }
    let within = match cast.troop.kind {
        Kind::Hostile(row) => ROWS[row].within,
        Kind::Untimely(..) => super::scripted_attacker::Within::Patience,
        Kind::Attacker(attack) => {
            return match attack_at(attack).expects(cast.troop.dials) {
                Expectation::ClosedBy { within, .. } if !is_held_up(stage, attack) => Some(within + SLACK),
                Expectation::ClosedBy { .. } | Expectation::Kept => None,
            };
        }
        Kind::Nobody | Kind::Honest(_) | Kind::Rival | Kind::Nowhere(_) | Kind::Dialler(_) | Kind::Acceptor(_) => {
            return None;
        }
    };
    Some(within.time(&stage.config) + script_time(&cast.steps) + SLACK)
}

fn may_end(stage: &Stage, cast: &Cast, end: &Ended, is_quiet: bool) -> bool {
    let reason = end.reason;
    let label = reason.label();
    if end.was_asked || reason == CloseReason::Local(LocalCause::Shutdown) {
        return true;
    }
    let is_environment = match reason {
        CloseReason::Network(_) | CloseReason::TimedOut(_) | CloseReason::ClosedByPeer => true,
        CloseReason::Local(LocalCause::OverCapacity) => true,
        // An honest peer never rejects the loop.
        CloseReason::RejectedByPeer(_) => cast.troop.kind.is_hostile(),
        _ => false,
    };
    if !is_quiet && is_environment {
        return true;
    }
    let may_stream_end = may_stream_end(stage, cast, reason, is_quiet);
    match cast.troop.kind {
        Kind::Nobody | Kind::Nowhere(_) => is_environment,
        // While the handler pauses the connection to the other loop, that loop gets no pong, so it closes the
        // connection.
        Kind::Rival => {
            cast.troop.habit.pauses && is_environment || reason == CloseReason::ClosedByPeer || may_stream_end
        }
        Kind::Honest(_) => cast.troop.habit.pauses && is_environment,
        Kind::Dialler(_) => cast.troop.habit.pauses && is_environment || may_stream_end,
        Kind::Acceptor(reaction) => {
            let is_offered = stage.scenario.multistreams[0] == Multistreams::Open;
            let is_right = reaction == Reaction::NamesOtherId && is_offered && label == "bad_value";
            cast.troop.habit.pauses && is_environment || is_right
        }
        Kind::Hostile(row) => {
            let row = &ROWS[row];
            let is_right = row.reasons.contains(&label);
            let is_teased = !is_judged(&cast.troop) && is_environment;
            let is_late = most_time(stage, cast).is_some_and(|most| end.at > end.began.plus(most));
            (is_right || is_teased) && !(is_quiet && is_late)
        }
        Kind::Attacker(attack) => {
            let is_right = match attack_at(attack).expects(cast.troop.dials) {
                Expectation::Kept => false,
                Expectation::ClosedBy { reasons, .. } => reasons.contains(&label),
            };
            // The expectation assumes the default ping settings; with other settings, the loop may close a silent
            // peer sooner.
            let is_pinged = reason == CloseReason::TimedOut(Deadline::Pong) && !has_default_pings(stage);
            // A peer that does not read accepts no bytes once its pipe is full, and a narrow pipe is full at once.
            let is_stuck = reason == CloseReason::TimedOut(Deadline::Send)
                && stage.scenario.conditions.capacity_bytes < NARROW_BYTES;
            let is_teased = (!is_judged(&cast.troop) || is_held_up(stage, attack)) && is_environment;
            let is_late = most_time(stage, cast).is_some_and(|most| end.at > end.began.plus(most));
            is_teased || is_stuck || (is_right || is_pinged) && !(is_quiet && is_late)
        }
        Kind::Untimely(manners, message) => {
            let is_teased = !is_judged(&cast.troop) && is_environment;
            cell_reasons(manners, MESSAGES[message], cast.troop.dials).contains(&label) || is_teased
        }
    }
}

/// Returns whether a connection that was dialled to become a stream, or that belongs to a peer with two streams, may
/// end for this reason.
fn may_stream_end(stage: &Stage, cast: &Cast, reason: CloseReason, is_quiet: bool) -> bool {
    let is_off = stage.scenario.multistreams[0] == Multistreams::Off;
    // A peer's second connection ends if the peer itself ends before it becomes a stream.
    let may_be_orphan = !is_quiet || cast.troop.habit.is_rough || !stage.scenario.deeds.is_empty();
    let mut is_refused = false;
    let mut closes = false;
    if let Kind::Dialler(setup) = cast.troop.kind {
        (is_refused, closes) = (setup.is_refused(), setup.closes() || is_off || may_be_orphan);
    }
    match reason {
        CloseReason::Local(LocalCause::BecameStream) => !is_refused && !is_off,
        CloseReason::Local(LocalCause::StreamRefused) => is_refused || may_be_orphan,
        CloseReason::ClosedByPeer => closes,
        _ => false,
    }
}

/// Returns whether an attack's outcome depends on when its bytes arrive, and this world's bytes are sent or received
/// in pieces.
fn is_held_up(stage: &Stage, attack: usize) -> bool {
    let Conditions { to_acceptor, to_dialler, .. } = &stage.scenario.conditions;
    let is_smooth = [to_acceptor, to_dialler].into_iter().all(|cuts| *cuts == Cuts::default());
    attack_at(attack).needs_quiet && !is_smooth
}

fn has_default_pings(stage: &Stage) -> bool {
    (stage.config.ping_interval, stage.config.pong_timeout) == (PING_INTERVAL, PONG_TIMEOUT)
}

/// Checks the peers' records for complaints and for messages that arrived out of order. A complaint about silence
/// counts only in a quiet world, and only if the handler does not pause the peer.
pub(super) fn judge_journals(stage: &mut Stage) {
    let is_quiet = stage.scenario.is_quiet();
    let mut found = Vec::new();
    for cast in &stage.cast {
        let is_patient = is_quiet && !cast.troop.habit.pauses;
        for complaint in cast.journal.complaints() {
            if is_patient || !complaint.what.is_silence() {
                found.push((38, format!("{} complains: {complaint:?}", cast.troop.kind)));
            }
        }
        let out_of_order = cast.received.borrow().out_of_order;
        if out_of_order > 0 {
            found.push((17, format!("{} received {out_of_order} messages out of order", cast.troop.kind)));
        }
    }
    found.truncate(4);
    found.into_iter().for_each(|(invariant, text)| stage.course.found(invariant, text));
}

/// Collects the findings of the loops and their handlers.
pub(super) fn collect_findings(stage: &mut Stage) {
    let (handler, observer) = stage.node.handler();
    if handler.calls != observer.calls {
        stage.course.found(COMPOSED, "the two handlers of the loop received different events".to_owned());
    }
    let wrongs = observer.wrongs.iter().cloned();
    stage.course.violations.extend(wrongs.map(|(invariant, at, text)| Violation { invariant, at, text }));
    collect_of(&stage.node, handler, &stage.scenario, &mut stage.course, &mut stage.marks);
    if let Some(rival) = &stage.rival {
        collect_of(rival, rival.handler(), &stage.scenario, &mut stage.course, &mut stage.marks);
    }
    stage.course.violations.sort_by_key(|violation| violation.at);
}

/// Collects the findings of one loop and its handler.
fn collect_of<H: Handler>(
    checked: &Checked<H>,
    handler: &ScriptedHandler,
    scenario: &Scenario,
    course: &mut Course,
    marks: &mut Marks,
) {
    course.violations.extend(checked.violations());
    let wrongs = handler.wrongs.iter().cloned();
    course.violations.extend(wrongs.map(|(invariant, at, text)| Violation { invariant, at, text }));
    let unmatched = checked.stats().counters.pongs_unmatched;
    if unmatched > 0 && !scenario.troops.iter().any(|troop| troop.kind.is_hostile()) {
        course.found(23, format!("{unmatched} pongs from honest peers match no ping"));
    }
    marks.merge(&handler.marks);
    StreamCase::ALL.into_iter().filter(|case| checked.has_seen(*case)).for_each(|case| marks.set(Mark::of_case(case)));
    marks.set_failures(|site, errno| checked.has_failed(site, errno) || scenario.has_interrupted(site, errno));
}

/// Describes each honest troop whose peers are not all served yet, and each send queue that is not empty. If there
/// is any, also describes the listeners and up to three links in their handshake.
pub(super) fn list_waiting(stage: &Stage) -> Vec<String> {
    let mut waits = Vec::new();
    for (index, cast) in stage.cast.iter().enumerate().filter(|(_, cast)| cast.troop.kind.is_honest()) {
        let wanted = cast.troop.count as usize;
        let peers: Vec<&Known> = of_troop(stage.handler(), index);
        let well = peers.iter().filter(|known| known.is_ready && known.is_well).count();
        if well < wanted {
            let ready = peers.iter().filter(|known| known.is_ready).count();
            let there = cast.crowd.as_ref().map_or(0, peerloop::sim::actor::Crowd::len);
            waits.push(format!(
                "{}: {wanted} peers are expected; {there} are open on the peers' side and {} on the loop's; {ready} \
                 are ready, and {well} have answered",
                cast.troop,
                peers.len()
            ));
        }
    }
    let queues = stage.node.inspect();
    for link in queues.links.iter().filter(|link| link.outgoing.waiting_bytes > 0) {
        waits.push(format!("the send queue of {:?} is not empty: {link:?}", link.id));
    }
    if !waits.is_empty() {
        waits.extend(queues.listeners.iter().map(|listener| format!("{listener:?}")));
        waits.extend(
            queues
                .links
                .iter()
                .filter(|link| link.handshake_deadline.is_some())
                .take(3)
                .map(|link| format!("{link:?}")),
        );
    }
    waits
}

fn of_troop(handler: &ScriptedHandler, troop: usize) -> Vec<&Known> {
    handler.known().filter(|known| known.troop == troop).collect()
}
