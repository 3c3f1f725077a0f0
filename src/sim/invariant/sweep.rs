//! Invariants that hold between any two turns, checked on every row, list, queue and timer of the loop.

use super::sight::{Memory, SweepCheck, SweepSight, ensure, none_of};
use super::stream_checks;
use super::turn::MAX_UNREAD_TURNS;
use crate::bugs::budget;
use crate::id::LinkId;
use crate::limits::{
    BUFFER_GROWTH_BYTES, EXPIRIES_PER_TURN, MAX_BODY_WAITING_BYTES, MAX_PINGS_OUTSTANDING, MAX_POOLED_BUFFER_BYTES,
    MAX_SEND_QUEUE_BYTES, READ_BLOCK_BYTES, TICK, UNREAD_INPUT_GRACE, UNREAD_REPLIES_PAUSE_BYTES,
};
use crate::peer::{ConnectionState, ConnectionType};
use crate::reactor::inspect::{Agreed, Inspection, LinkReport, Summary};
use crate::stats::Census;
use crate::time::Instant;
use crate::wheel::tick_at_or_after;

/// Each check with the number of its invariant.
pub(super) const CHECKS: [(u8, SweepCheck); 13] = [
    (1, slots_and_links_add_up),
    (9, lists_hold_a_link_at_most_once),
    (12, listed_links_are_read_in_turn),
    (13, memory_follows_the_bytes_received),
    (14, queues_keep_their_bounds),
    (19, agreed_terms_do_not_change),
    (20, no_handshake_or_ping_is_overdue),
    (21, each_deadline_has_its_timer),
    (21, no_deadline_has_passed),
    (23, pings_in_flight_are_few),
    (42, asked_for_room_is_offered),
    (46, stream_checks::a_stream_belongs_to_a_peer),
    (46, stream_checks::a_peers_streams_have_distinct_types),
];

fn slots_and_links_add_up(sight: &SweepSight<'_>) -> Result<(), String> {
    let Inspection { summary, slots, occupied_slots, retired_slots, links, .. } = sight.inspection;
    let mut connections = Census::default();
    let streams = links.iter().filter(|link| !link.is_peer).count();
    links.iter().filter(|link| link.is_peer).for_each(|link| connections.add(link.connection_type, link.state));
    let inbound = connections.of_type(ConnectionType::Inbound);
    let over_capacity = connections.of_type(ConnectionType::OverCapacity);
    let ready_count = connections.in_state(ConnectionState::Connected);
    let counted = (links.len(), streams, connections, inbound, over_capacity, ready_count);
    let Summary { links: of_table, inbound, over_capacity, ready_count, .. } = *summary;
    let believed = (of_table, summary.streams, summary.connections, inbound, over_capacity, ready_count);
    ensure(counted == believed, || format!("counted {counted:?}, the loop has {believed:?}"))?;
    ensure(links.len() + retired_slots == *occupied_slots && occupied_slots <= slots, || {
        format!("{} links and {retired_slots} retired slots in {occupied_slots} of {slots} slots", links.len())
    })
}

fn lists_hold_a_link_at_most_once(sight: &SweepSight<'_>) -> Result<(), String> {
    let Inspection { ready, dirty, closing, pulls, .. } = sight.inspection;
    check_list(sight, ready, |link| link.is_ready)?;
    check_list(sight, dirty, |link| link.is_dirty)?;
    check_list(sight, closing, |link| link.is_closing)?;
    check_list(sight, pulls, |link| link.is_pull)
}

fn check_list(sight: &SweepSight<'_>, list: &[LinkId], is_listed: impl Fn(&LinkReport) -> bool) -> Result<(), String> {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    ensure(twice.is_none(), || format!("{twice:?} is on a list twice"))?;
    none_of(sight.inspection.links.iter(), |link| is_listed(link) != sorted.binary_search(&link.id).is_ok())
}

fn listed_links_are_read_in_turn(sight: &SweepSight<'_>) -> Result<(), String> {
    let Memory { ready, turn, at, .. } = sight.memory;
    let passed = sight.ledger.turn - turn;
    let patient = ready.iter().enumerate().take_while(|(position, _)| passed > *position as u64 + MAX_UNREAD_TURNS);
    let mut waiting: Vec<LinkId> = patient.map(|(_, id)| *id).filter(|id| sight.ledger.read_in(*id) <= *turn).collect();
    waiting.sort_unstable();
    none_of(sight.undecided(), |link| {
        let was_held = link.is_held || link.held_since >= *at && link.held_since > Instant::ZERO;
        link.is_ready && !was_held && waiting.binary_search(&link.id).is_ok()
    })
}

fn memory_follows_the_bytes_received(sight: &SweepSight<'_>) -> Result<(), String> {
    let links = &sight.inspection.links;
    none_of(links.iter(), |link| link.gathering_bytes as u64 > link.frame_received_bytes + BUFFER_GROWTH_BYTES as u64)?;
    let is_charged = |bytes: &usize| *bytes > MAX_POOLED_BUFFER_BYTES;
    let charged: usize = links.iter().map(|link| link.gathering_bytes).filter(is_charged).sum();
    let believed = sight.inspection.summary.gathered_bytes;
    ensure(charged as u64 == believed, || format!("{charged} bytes are buffered, the loop counts {believed}"))
}

/// Checks the queues' counts and bounds. An empty queue accepts a message of any size, so the largest message is
/// allowed in addition. The fed part of a body has its own bound. The whole messages and pongs before it have a bound,
/// and those after it have another of the same size.
fn queues_keep_their_bounds(sight: &SweepSight<'_>) -> Result<(), String> {
    let Inspection { links, summary, .. } = sight.inspection;
    let parts = links.iter().flat_map(|link| [link.outgoing.recounted_bytes, link.outgoing.behind_bytes]);
    let waiting = parts.filter(|bytes| *bytes > 0);
    let counted = (waiting.clone().count(), waiting.sum::<usize>() as u64);
    let believed = (summary.send_queues, summary.waiting_bytes);
    ensure(counted == believed, || format!("counted {counted:?} queues and bytes, the loop has {believed:?}"))?;
    none_of(sight.inspection.links.iter(), |link| {
        let outgoing = link.outgoing;
        let pongs = UNREAD_REPLIES_PAUSE_BYTES + READ_BLOCK_BYTES;
        let whole = MAX_SEND_QUEUE_BYTES + pongs + outgoing.largest_bytes;
        let most = if outgoing.is_fed { 2 * whole + MAX_BODY_WAITING_BYTES } else { whole };
        outgoing.waiting_bytes != outgoing.recounted_bytes || outgoing.waiting_bytes + outgoing.behind_bytes > most
    })
}

fn agreed_terms_do_not_change(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.inspection.links.iter().filter(|link| link.is_peer), |link| {
        let known = sight.memory.agreed.get(link.id.slot()).copied().flatten();
        let Some((_, before)) = known.filter(|(id, _)| *id == link.id) else { return false };
        let now = link.agreed;
        let is_announced = now.protoconf_received && !before.protoconf_received;
        let limit = if is_announced { now.max_recv_payload_bytes } else { before.max_recv_payload_bytes };
        let protoconf_received = now.protoconf_received || before.protoconf_received;
        now != Agreed { max_recv_payload_bytes: limit, protoconf_received, ..before }
    })
}

/// Checks that no handshake deadline and no due ping was missed. A handshake has a grace period, because the peer's
/// input may be read late. A due ping must be sent within a tick.
fn no_handshake_or_ping_is_overdue(sight: &SweepSight<'_>) -> Result<(), String> {
    if is_behind(sight) {
        return Ok(());
    }
    none_of(sight.timed(), |link| match link.state {
        ConnectionState::AwaitingHandshake if !link.is_held => {
            link.handshake_deadline.is_none_or(|deadline| deadline.plus(UNREAD_INPUT_GRACE).plus(TICK) <= sight.settled)
        }
        ConnectionState::Connected => link.ping_due.plus(TICK) <= sight.settled,
        ConnectionState::AwaitingHandshake
        | ConnectionState::Connecting
        | ConnectionState::Disconnected
        | ConnectionState::Rejected
        | ConnectionState::Failed => false,
    })
}

fn each_deadline_has_its_timer(sight: &SweepSight<'_>) -> Result<(), String> {
    let armed = sight.inspection.links.iter().filter(|link| link.armed_tick.is_some()).count();
    let believed = sight.inspection.summary.timers;
    ensure(armed == believed, || format!("{armed} links have a timer, {believed} timers are armed"))?;
    let is_timed = |link: &&LinkReport| !(sight.is_undialled(link) || link.is_closing || link.has_new_deadlines);
    none_of(sight.undecided().filter(is_timed), |link| {
        link.deadline != Instant::MAX && link.armed_tick.is_none_or(|tick| tick > tick_at_or_after(link.deadline))
    })
}

fn no_deadline_has_passed(sight: &SweepSight<'_>) -> Result<(), String> {
    if is_behind(sight) {
        return Ok(());
    }
    none_of(sight.timed(), |link| link.deadline.plus(UNREAD_INPUT_GRACE).plus(TICK) <= sight.settled)
}

fn pings_in_flight_are_few(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.inspection.links.iter(), |link| link.pings > MAX_PINGS_OUTSTANDING)
}

fn asked_for_room_is_offered(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.open(), |link| link.is_pull_due && !link.is_pull)
}

/// Returns whether more timers may be due than one turn handles.
fn is_behind(sight: &SweepSight<'_>) -> bool {
    let expiries = budget!(Expiries, EXPIRIES_PER_TURN);
    sight.inspection.has_overdue_timers && sight.inspection.links.len() > expiries
}
