//! Peers with several streams: the links of each peer, as they were after the last turn.
//!
//! A call to the network names a link, and this record names the link's peer. It also notes which rare situations of
//! streams have occurred, so that a test can show that its runs reach them. The record is empty while no peer has a
//! further stream.

use crate::id::LinkId;
use crate::reactor::inspect::StreamReport;
use std::collections::BTreeSet;
use std::mem;

/// A rare situation of a peer with several streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCase {
    /// A further stream ended first, and its peer was open.
    EndOfStream,
    /// In a graceful close, a link waited until the queues of the peer's other links were sent.
    CloseAwaitsStreams,
    /// A pong was written on the peer's first link while a message was being fed on a further stream.
    PongBesideBody,
    /// The first link had unread input, but a further stream was read before it.
    ReadAfterStream,
}

impl StreamCase {
    /// All cases.
    pub const ALL: [Self; 4] =
        [Self::EndOfStream, Self::CloseAwaitsStreams, Self::PongBesideBody, Self::ReadAfterStream];
}

/// The further streams after the last turn, and the calls of this turn that concern them.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: Vec<StreamReport>,
    cases: [bool; StreamCase::ALL.len()],
    /// Links whose end was read in this turn, in order.
    ended: Vec<LinkId>,
    /// Links on which the header of a pong was written in this turn.
    ponged: Vec<LinkId>,
    /// Links whose socket was closed in this turn.
    closed: Vec<LinkId>,
    /// The links that must not be open after this turn, because another link of the same peer was closed.
    doomed: BTreeSet<LinkId>,
}

impl Streams {
    pub(super) fn has_seen(&self, case: StreamCase) -> bool {
        self.cases[case as usize]
    }

    /// Returns whether the last turn ended without a further stream.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the first link of a link's peer.
    pub(super) fn peer_of(&self, link: LinkId) -> LinkId {
        self.known.iter().find(|stream| stream.link == link && !stream.is_opening).map_or(link, |stream| stream.peer)
    }

    /// Returns the further streams of a peer.
    pub(super) fn streams_of(&self, peer: LinkId) -> impl Iterator<Item = LinkId> {
        self.known.iter().filter(move |stream| stream.peer == peer && !stream.is_opening).map(|stream| stream.link)
    }

    /// Begins a turn.
    pub(super) fn waited(&mut self) {
        self.ended.clear();
        self.ponged.clear();
        self.closed.clear();
    }

    /// Records that the end of a link's input was read.
    pub(super) fn ended(&mut self, link: LinkId) {
        if self.known.is_empty() {
            return;
        }
        let stream = self.known.iter().find(|stream| stream.link == link && !stream.is_opening && stream.is_open);
        if stream.is_some_and(|stream| !self.ended.contains(&stream.peer)) {
            self.note(StreamCase::EndOfStream);
        }
        self.ended.push(link);
    }

    pub(super) fn ponged(&mut self, link: LinkId) {
        if !self.known.is_empty() {
            self.ponged.push(link);
        }
    }

    pub(super) fn closed_socket(&mut self, link: LinkId) {
        if !self.known.is_empty() {
            self.closed.push(link);
        }
    }

    /// Ends a turn. `streams` are the streams after it, and `was_read` states whether a link was read in it.
    pub(super) fn settle(&mut self, streams: Vec<StreamReport>, was_read: impl Fn(LinkId) -> bool) {
        let before = mem::replace(&mut self.known, streams);
        self.doomed.clear();
        for stream in before.iter().filter(|stream| !stream.is_opening) {
            let ends = |link: &LinkId| *link == stream.peer || *link == stream.link;
            if self.closed.iter().any(ends) {
                self.doomed.extend([stream.link, stream.peer]);
            }
            if stream.is_peer_listed && stream.is_listed && was_read(stream.link) && !was_read(stream.peer) {
                self.note(StreamCase::ReadAfterStream);
            }
        }
        if self.known.iter().any(|stream| stream.awaits_streams) {
            self.note(StreamCase::CloseAwaitsStreams);
        }
        if self.known.iter().any(|stream| stream.has_body && self.ponged.contains(&stream.peer)) {
            self.note(StreamCase::PongBesideBody);
        }
    }

    /// Returns the links of which another link's socket was closed in this turn.
    pub(super) fn doomed(&self) -> impl Iterator<Item = LinkId> {
        self.doomed.iter().copied()
    }

    fn note(&mut self, case: StreamCase) {
        self.cases[case as usize] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: LinkId = LinkId::new(0, 0);
    const STREAM: LinkId = LinkId::new(1, 0);

    fn stream() -> StreamReport {
        StreamReport {
            link: STREAM,
            peer: PEER,
            is_opening: false,
            is_open: true,
            is_listed: false,
            is_peer_listed: false,
            has_body: false,
            awaits_streams: false,
        }
    }

    /// Returns the record of a turn that began with `before`, had the calls `act`, and ended with `after`.
    fn after_turn(before: StreamReport, act: fn(&mut Streams), after: &[StreamReport]) -> Streams {
        let mut streams = Streams::default();
        streams.settle(vec![before], |_| false);
        streams.waited();
        act(&mut streams);
        streams.settle(after.to_vec(), |link| link == STREAM);
        streams
    }

    fn seen(streams: &Streams) -> Vec<StreamCase> {
        StreamCase::ALL.into_iter().filter(|case| streams.has_seen(*case)).collect()
    }

    #[test]
    fn each_case_is_noted_only_when_it_occurs() {
        let nothing: fn(&mut Streams) = |_| {};
        assert_eq!(seen(&after_turn(stream(), nothing, &[stream()])), []);
        let ends = |streams: &mut Streams| streams.ended(STREAM);
        assert_eq!(seen(&after_turn(stream(), ends, &[])), [StreamCase::EndOfStream]);
        let ends_second = |streams: &mut Streams| [PEER, STREAM].into_iter().for_each(|link| streams.ended(link));
        assert_eq!(seen(&after_turn(stream(), ends_second, &[])), []);
        for (is_open, is_opening) in [(false, false), (true, true)] {
            assert_eq!(seen(&after_turn(StreamReport { is_open, is_opening, ..stream() }, ends, &[])), []);
        }
        let waits = StreamReport { awaits_streams: true, ..stream() };
        assert_eq!(seen(&after_turn(stream(), nothing, &[waits])), [StreamCase::CloseAwaitsStreams]);
        let feeds = StreamReport { has_body: true, ..stream() };
        let ponged = |streams: &mut Streams| streams.ponged(PEER);
        assert_eq!(seen(&after_turn(stream(), ponged, &[feeds])), [StreamCase::PongBesideBody]);
        assert_eq!(seen(&after_turn(stream(), |streams| streams.ponged(STREAM), &[feeds])), []);
        let listed = StreamReport { is_listed: true, is_peer_listed: true, ..stream() };
        assert_eq!(seen(&after_turn(listed, nothing, &[stream()])), [StreamCase::ReadAfterStream]);
        let alone = StreamReport { is_peer_listed: true, ..stream() };
        assert_eq!(seen(&after_turn(alone, nothing, &[stream()])), []);
    }

    #[test]
    fn both_links_of_a_peer_must_end_when_either_is_closed() {
        for closed in [PEER, STREAM] {
            let mut streams = after_turn(stream(), |_| {}, &[stream()]);
            streams.waited();
            assert_eq!(streams.doomed().count(), 0);
            streams.closed_socket(closed);
            streams.settle(vec![stream()], |_| false);
            assert_eq!(streams.doomed().collect::<Vec<_>>(), [PEER, STREAM]);
            streams.waited();
            streams.settle(vec![stream()], |_| false);
            assert_eq!(streams.doomed().count(), 0, "an earlier turn's close is still reported");
        }
        let opening = StreamReport { is_opening: true, ..stream() };
        let closed = |streams: &mut Streams| streams.closed_socket(STREAM);
        assert_eq!(after_turn(opening, closed, &[]).doomed().count(), 0);
    }

    #[test]
    fn only_an_open_stream_is_another_links_peer() {
        let streams = after_turn(stream(), |_| {}, &[stream()]);
        assert_eq!((streams.peer_of(STREAM), streams.peer_of(PEER)), (PEER, PEER));
        assert_eq!(streams.streams_of(PEER).collect::<Vec<_>>(), [STREAM]);
        let streams = after_turn(stream(), |_| {}, &[StreamReport { is_opening: true, ..stream() }]);
        assert_eq!((streams.peer_of(STREAM), streams.streams_of(PEER).count()), (STREAM, 0));
        assert!(!streams.is_empty() && Streams::default().is_empty());
    }
}
