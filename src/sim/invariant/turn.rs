//! Invariants that are checked after every turn against the loop's counts, at a cost that does not depend on the
//! number of links.

use super::manager_checks;
use super::sight::{TurnCheck, TurnSight, ensure};
use super::stream_checks;
use crate::limits::{EXPIRIES_PER_TURN, HEADER_LEN_BYTES, MAX_OVER_CAPACITY, READ_BLOCK_BYTES};
use crate::reactor::inspect::Summary;
use crate::time::Wait;

/// Maximum number of successive turns in which the next link to be read stays unread. More than one is allowed,
/// because the handler may pause the link again before each turn.
pub(super) const MAX_UNREAD_TURNS: u64 = 8;

/// Each check with the number of its invariant.
pub(super) const CHECKS: [(u8, TurnCheck); 22] = [
    (1, links_equal_added_minus_removed),
    (9, the_loop_sleeps_only_without_work),
    (11, a_turn_keeps_its_bounds),
    (12, the_next_link_is_read),
    (13, gathered_frames_keep_their_bound),
    (21, a_timer_belongs_to_a_link),
    (22, the_handler_is_woken_in_time),
    (22, the_handlers_timers_fire_in_time),
    (22, the_loop_sleeps_no_longer_than_to_the_next_timer),
    (23, a_pong_answers_a_ping),
    (24, accepted_links_keep_their_bounds),
    (24, manager_checks::slots_keep_their_maximum),
    (24, manager_checks::dials_keep_the_target),
    (25, manager_checks::bans_keep_their_bound),
    (29, events_match_the_counters),
    (30, manager_checks::announced_bans_are_on_the_disk),
    (31, manager_checks::the_book_keeps_its_bound),
    (31, manager_checks::no_more_is_learned_than_was_granted),
    (40, a_ping_is_sent_with_its_last_byte),
    (41, the_handler_learns_of_room_to_send),
    (45, written_marks_are_reported),
    (46, stream_checks::a_peers_links_are_closed_together),
];

fn links_equal_added_minus_removed(sight: &TurnSight<'_>) -> Result<(), String> {
    let Summary { links, streams, ready_count, inbound, over_capacity, ref counters, .. } = *sight.after;
    let added = counters.accepted + counters.dialled;
    // A link that becomes a stream is closed as a peer, and a stream that this side dials is never a peer.
    let is_right = added + streams as u64 == counters.closed + links as u64
        && ready_count <= links
        && inbound + over_capacity <= links;
    ensure(is_right && links <= sight.bounds.max_links, || {
        format!(
            "{added} peers added, {} removed, {links} links present: {streams} streams, {inbound} inbound, \
             {over_capacity} over capacity, {ready_count} ready",
            counters.closed
        )
    })
}

fn the_loop_sleeps_only_without_work(sight: &TurnSight<'_>) -> Result<(), String> {
    let Summary { wait, ready, dirty, closing, pulls, dials, has_more, .. } = *sight.after;
    let has_work = has_more || ready + dirty + closing + pulls + dials > 0;
    ensure(has_work == (wait == Wait::Zero), || {
        format!(
            "the wait is {wait:?} with {ready} ready, {dirty} dirty, {closing} closing, {pulls} pulls, {dials} dials, \
             more: {has_more}"
        )
    })
}

fn a_turn_keeps_its_bounds(sight: &TurnSight<'_>) -> Result<(), String> {
    let (before, after) = (&sight.before.counters, &sight.after.counters);
    let expiries = after.timeouts + after.timers_rearmed - before.timeouts - before.timers_rearmed;
    let bytes = after.bytes_received - before.bytes_received;
    let frames = after.frames_received - before.frames_received;
    let links = sight.before.links as u64 + (after.accepted + after.dialled - before.accepted - before.dialled);
    let is_right = expiries <= EXPIRIES_PER_TURN as u64
        && bytes <= links * READ_BLOCK_BYTES as u64
        // The first frame of each link may have begun in an earlier turn.
        && frames <= links + bytes / HEADER_LEN_BYTES as u64;
    ensure(is_right, || format!("{expiries} expiries, {bytes} bytes and {frames} frames of {links} links in a turn"))
}

fn the_next_link_is_read(sight: &TurnSight<'_>) -> Result<(), String> {
    let TurnSight { next_unread_turns, .. } = *sight;
    ensure(next_unread_turns <= MAX_UNREAD_TURNS, || {
        format!("{:?} has been next to be read for {next_unread_turns} turns", sight.after.next_ready)
    })
}

fn gathered_frames_keep_their_bound(sight: &TurnSight<'_>) -> Result<(), String> {
    let gathered_bytes = sight.after.gathered_bytes;
    ensure(gathered_bytes <= sight.bounds.max_gathered_bytes, || format!("{gathered_bytes} bytes are buffered"))
}

fn a_timer_belongs_to_a_link(sight: &TurnSight<'_>) -> Result<(), String> {
    let Summary { timers, links, .. } = *sight.after;
    ensure(timers <= links, || format!("{timers} timers are armed for {links} links"))
}

fn the_handler_is_woken_in_time(sight: &TurnSight<'_>) -> Result<(), String> {
    let (before, after) = (sight.before, sight.after);
    // A handler may request the next wake-up for the same moment.
    let was_missed = before.wake_at.is_some_and(|asked| asked <= before.now)
        && before.wake_at == after.wake_at
        && before.wakes == after.wakes;
    ensure(!was_missed, || format!("the wake-up for {:?} is missing at {:?}", after.wake_at, after.now))
}

fn the_handlers_timers_fire_in_time(sight: &TurnSight<'_>) -> Result<(), String> {
    let (before, after) = (sight.before, sight.after);
    let was_due = before.handler_timer_at.is_some_and(|due| due <= before.now);
    let was_missed = was_due
        && before.handler_timers_settled == after.handler_timers_settled
        && before.handler_timer_at == after.handler_timer_at;
    ensure(!was_missed, || format!("a timer of the handler is due at {:?}, but did not fire", after.handler_timer_at))
}

fn the_loop_sleeps_no_longer_than_to_the_next_timer(sight: &TurnSight<'_>) -> Result<(), String> {
    let Summary { wait, handler_timer_at, .. } = *sight.after;
    let sleeps_past = match (wait, handler_timer_at) {
        (Wait::Zero, _) | (_, None) => false,
        (Wait::Until(moment), Some(due)) => moment > due,
        (Wait::Forever, Some(_)) => true,
    };
    ensure(!sleeps_past, || format!("the wait is {wait:?}, but a timer of the handler is due at {handler_timer_at:?}"))
}

fn a_pong_answers_a_ping(sight: &TurnSight<'_>) -> Result<(), String> {
    let counters = &sight.after.counters;
    ensure(counters.pongs_received <= counters.pings_sent, || {
        format!("{} pongs were received for only {} pings", counters.pongs_received, counters.pings_sent)
    })
}

fn accepted_links_keep_their_bounds(sight: &TurnSight<'_>) -> Result<(), String> {
    let Summary { inbound, over_capacity, .. } = *sight.after;
    ensure(inbound <= sight.bounds.max_inbound && over_capacity <= MAX_OVER_CAPACITY, || {
        format!("{inbound} inbound links and {over_capacity} over capacity")
    })
}

fn events_match_the_counters(sight: &TurnSight<'_>) -> Result<(), String> {
    let TurnSight { reported_ready, reported_closed, .. } = *sight;
    let counters = &sight.after.counters;
    ensure((reported_ready, reported_closed) == (counters.handshakes, counters.closed), || {
        format!(
            "{reported_ready} ready and {reported_closed} closed peers were reported, but {} and {} were counted",
            counters.handshakes, counters.closed
        )
    })
}

fn a_ping_is_sent_with_its_last_byte(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.misdated_pings.is_empty(), || format!("pings of this turn are misdated: {:?}", sight.misdated_pings))
}

fn the_handler_learns_of_room_to_send(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.missing_writable.is_empty(), || {
        format!("the queues of {:?} are empty, but `on_writable` was not called", sight.missing_writable)
    })
}

fn written_marks_are_reported(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.missing_written.is_empty(), || {
        format!("marked messages are written, but not reported: {:?}", sight.missing_written)
    })
}
