//! Invariants between the loop and its kernel: both have the same sockets, and no event between them is lost.

use super::sight::{SweepCheck, SweepSight, ensure, none_of};
use crate::peer::ConnectionState;
use crate::reactor::inspect::LinkReport;
use crate::sim::kernel::EndView;

/// Each check with the number of its invariant.
pub(super) const CHECKS: [(u8, SweepCheck); 7] = [
    (2, each_link_has_its_socket),
    (3, open_sockets_match_known_ones),
    (7, readable_links_are_listed),
    (7, unread_data_is_known_or_announced),
    (8, sendable_links_are_listed),
    (8, room_to_send_is_known_or_announced),
    (10, waiting_connections_are_known_or_announced),
];

fn each_link_has_its_socket(sight: &SweepSight<'_>) -> Result<(), String> {
    let mut dials = sight.inspection.dials.clone();
    dials.sort_unstable();
    none_of(sight.undecided(), |link| match link.state {
        ConnectionState::AwaitingHandshake | ConnectionState::Connected => !has_socket(sight, link),
        ConnectionState::Connecting => has_socket(sight, link) == dials.binary_search(&link.id).is_ok(),
        ConnectionState::Disconnected | ConnectionState::Rejected | ConnectionState::Failed => true,
    })?;
    let registered = sight.host.ends.iter();
    let stray = registered.clone().find(|end| sight.ledger.socket_of(end.link.slot()) != Some(end.link));
    ensure(stray.is_none(), || format!("{stray:?} is registered although its link has no open socket"))?;
    let with_socket = sight.inspection.links.iter().filter(|link| has_socket(sight, link)).count();
    let sockets = sight.ledger.sockets;
    ensure(with_socket == sockets && registered.len() == sockets, || {
        format!("{sockets} sockets, {} of them registered, for {with_socket} links", registered.len())
    })
}

fn open_sockets_match_known_ones(sight: &SweepSight<'_>) -> Result<(), String> {
    let sockets = (sight.ledger.sockets, sight.open_sockets, sight.host.ends.len());
    let is_right = sockets.0 == sockets.1 && sockets.1 == sockets.2;
    ensure(is_right, || format!("ledger, network and kernel disagree about the sockets: {sockets:?}"))?;
    let listeners = (sight.inspection.listeners.len(), sight.host.listeners.len());
    ensure(listeners.0 == listeners.1, || format!("loop and kernel disagree about the listeners: {listeners:?}"))?;
    let open = sight.host.sockets;
    ensure(sockets.0 + listeners.0 == open, || format!("{sockets:?} + {listeners:?} known, but {open} open in total"))
}

fn readable_links_are_listed(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.undecided(), |link| is_open(link) && link.is_readable && !link.is_held && !link.is_ready)
}

fn unread_data_is_known_or_announced(sight: &SweepSight<'_>) -> Result<(), String> {
    none_with(sight, |link, end| is_open(link) && end.is_readable && !end.will_be_readable && !link.is_readable)
}

fn sendable_links_are_listed(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.undecided(), |link| {
        is_open(link) && link.outgoing.waiting_bytes > 0 && link.is_writable && !link.is_dirty
    })
}

fn room_to_send_is_known_or_announced(sight: &SweepSight<'_>) -> Result<(), String> {
    none_with(sight, |link, end| {
        let waits = link.outgoing.waiting_bytes > 0 && !link.is_writable;
        end.is_writable && !end.will_be_writable && (waits || link.state == ConnectionState::Connecting)
    })
}

fn waiting_connections_are_known_or_announced(sight: &SweepSight<'_>) -> Result<(), String> {
    let lost = sight.host.listeners.iter().find(|backlog| {
        let listener = sight.inspection.listeners.iter().find(|listener| listener.index == backlog.index);
        let is_known = listener.is_some_and(|listener| listener.is_ready || listener.retry_at.is_some());
        backlog.waiting > 0 && !backlog.has_edge && !is_known
    });
    ensure(lost.is_none(), || format!("{lost:?} is neither known nor announced"))
}

/// Returns an error if `breaks` returns `true` for any link that has not ended and its endpoint in the kernel. Skips
/// links without a registered endpoint.
fn none_with(sight: &SweepSight<'_>, breaks: fn(&LinkReport, &EndView) -> bool) -> Result<(), String> {
    let mut ends: Vec<&EndView> = sight.host.ends.iter().collect();
    ends.sort_unstable_by_key(|end| end.link);
    none_of(sight.undecided(), |link| {
        let end = ends.binary_search_by_key(&link.id, |end| end.link).ok().map(|index| ends[index]);
        end.is_some_and(|end| breaks(link, end))
    })
}

fn is_open(link: &LinkReport) -> bool {
    link.state != ConnectionState::Connecting
}

fn has_socket(sight: &SweepSight<'_>, link: &LinkReport) -> bool {
    sight.ledger.socket_of(link.id.slot()) == Some(link.id)
}
