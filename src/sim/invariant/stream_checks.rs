//! Invariants of peers with several streams.
//!
//! A peer's links end together, and each further stream belongs to a peer.

use super::sight::{SweepSight, TurnSight, ensure, none_of};
use crate::reactor::inspect::{EndingStep, LinkReport};
use std::collections::BTreeSet;

/// Checks that no link is open after the socket of another link of its peer was closed.
pub(super) fn a_peers_links_are_closed_together(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.survivors.is_empty(), || {
        format!("{:?} are open, although another link of each one's peer is closed", sight.survivors)
    })
}

/// Checks that an open further stream belongs to an open peer, and that all links of a closing peer are closing.
pub(super) fn a_stream_belongs_to_a_peer(sight: &SweepSight<'_>) -> Result<(), String> {
    let links = &sight.inspection.links;
    let is_open = |link: &LinkReport| link.ending == EndingStep::Open;
    let peer_of = |stream: &LinkReport| links.iter().find(|link| link.id == stream.peer && link.is_peer);
    none_of(links.iter().filter(|link| !link.is_peer), |stream| {
        let is_peer_open = peer_of(stream).is_some_and(is_open);
        // The end of a link that is being set up as a stream is not its peer's end.
        is_open(stream) && !is_peer_open || !stream.is_opening && !is_open(stream) && is_peer_open
    })
}

/// Checks that no two streams of a peer have the same type.
pub(super) fn a_peers_streams_have_distinct_types(sight: &SweepSight<'_>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut open = sight.inspection.links.iter().filter(|link| !link.is_opening && link.ending == EndingStep::Open);
    let twice = open.find(|link| !seen.insert((link.peer, link.stream_type)));
    ensure(twice.is_none(), || format!("the peer has another stream of this type: {twice:?}"))
}
