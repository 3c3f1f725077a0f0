//! The links to the upstreams, and the moments at which they are dialled.
//!
//! A relay dials each upstream up to twice: the first link submits, the second only listens. A link that ends is
//! dialled again after a pause, which doubles with each failure and is shortened at random by up to a quarter. A link
//! that ends within 30 s of its handshake counts as a failure, too. The module dials nothing itself.

use super::stats::UpstreamStats;
use crate::id::PeerId;
use crate::limits::{RELAY_MAX_REDIAL, RELAY_REDIAL, RELAY_STABLE_TIME};
use crate::time::Instant;
use rand::{Rng, RngExt};
use std::net::SocketAddr;

/// One link to an upstream.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The connection, from its dial to its end.
    peer: Option<PeerId>,
    /// The moment of the next dial, while there is no connection.
    due: Instant,
    /// The number of consecutive dials that did not lead to a link that stayed ready for a while.
    failures: u32,
    /// The moment at which the connection's handshake was complete.
    ready_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Upstream {
    address: SocketAddr,
    links: Vec<Link>,
}

/// All upstreams, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    all: Vec<Option<Upstream>>,
}

/// A dial that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) number: u16,
    pub(super) is_listening: bool,
    pub(super) address: SocketAddr,
}

impl Upstreams {
    /// Replaces the upstreams. Those that stay keep their links and numbers. Returns the connections of the others.
    pub(super) fn set(&mut self, addresses: &[SocketAddr], links: usize, now: Instant) -> Vec<PeerId> {
        let mut closed = Vec::new();
        for upstream in &mut self.all {
            if let Some(removed) = upstream.take_if(|upstream| !addresses.contains(&upstream.address)) {
                closed.extend(removed.links.into_iter().filter_map(|link| link.peer));
            }
        }
        for &address in addresses {
            if self.all.iter().flatten().any(|upstream| upstream.address == address) {
                continue;
            }
            let link = Link { peer: None, due: now, failures: 0, ready_at: None };
            let upstream = Some(Upstream { address, links: vec![link; links] });
            match self.all.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = upstream,
                None => self.all.push(upstream),
            }
        }
        closed
    }

    /// Returns a dial that is due.
    pub(super) fn due(&self, now: Instant) -> Option<Dial> {
        self.idle().find(|(_, link)| link.due <= now).map(|(dial, _)| dial)
    }

    /// Returns the moment of the next dial.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.idle().map(|(_, link)| link.due).min()
    }

    fn idle(&self) -> impl Iterator<Item = (Dial, &Link)> {
        let upstreams = self.all.iter().zip(0..).filter_map(|(upstream, number)| Some((upstream.as_ref()?, number)));
        upstreams.flat_map(|(upstream, number)| {
            let links = upstream.links.iter().enumerate().filter(|(_, link)| link.peer.is_none());
            links.map(move |(at, link)| (Dial { number, is_listening: at == 1, address: upstream.address }, link))
        })
    }

    /// Records the connection that a dial has begun.
    pub(super) fn dialled(&mut self, dial: Dial, peer: PeerId) {
        if let Some(link) = self.link(dial.number, dial.is_listening) {
            link.peer = Some(peer);
        }
    }

    /// Records that a dial or its connection has failed or ended.
    pub(super) fn ended(&mut self, number: u16, is_listening: bool, now: Instant, rng: &mut impl Rng) {
        if let Some(link) = self.link(number, is_listening) {
            if link.ready_at.take().is_some_and(|ready_at| ready_at.plus(RELAY_STABLE_TIME) <= now) {
                link.failures = 0;
            }
            let pause = (RELAY_REDIAL * (1 << link.failures.min(6))).min(RELAY_MAX_REDIAL);
            link.peer = None;
            link.failures += 1;
            link.due = now.plus(pause.mul_f64(1.0 - 0.25 * rng.random::<f64>()));
        }
    }

    /// Records that a link's handshake is complete.
    pub(super) fn ready(&mut self, number: u16, is_listening: bool, now: Instant) {
        if let Some(link) = self.link(number, is_listening) {
            link.ready_at = Some(now);
        }
    }

    /// Returns whether an upstream's announcements of submitted transactions can be seen, or only one link is wanted.
    pub(super) fn is_observed(&self, number: u16) -> bool {
        let links = self.all.get(usize::from(number)).and_then(Option::as_ref).map(|upstream| &upstream.links);
        let listening = links.and_then(|links| links.get(1));
        listening.is_none_or(|link| link.ready_at.is_some())
    }

    /// Returns the connection of the upstream's submitting link.
    pub(super) fn submitting_link(&self, number: u16) -> Option<PeerId> {
        self.all.get(usize::from(number))?.as_ref()?.links.first()?.peer
    }

    /// Returns the upstream's number and the link's kind, if the connection is one of an upstream's.
    pub(super) fn find(&self, peer: PeerId) -> Option<(u16, bool)> {
        let upstreams = self.all.iter().zip(0..).filter_map(|(upstream, number)| Some((upstream.as_ref()?, number)));
        upstreams
            .flat_map(|(upstream, number)| upstream.links.iter().enumerate().map(move |link| (number, link)))
            .find(|(_, (_, link))| link.peer == Some(peer))
            .map(|(number, (at, _))| (number, at == 1))
    }

    /// Returns the state of each upstream, in the order of the numbers.
    pub(super) fn stats(&self) -> Vec<UpstreamStats> {
        let stats = |Upstream { address, links }: &Upstream| UpstreamStats {
            address: *address,
            links: links.len(),
            ready_links: links.iter().filter(|link| link.ready_at.is_some()).count(),
            failed_dials: links
                .iter()
                .filter(|link| link.ready_at.is_none())
                .map(|link| link.failures)
                .max()
                .unwrap_or(0),
        };
        self.all.iter().flatten().map(stats).collect()
    }

    pub(super) fn address(&self, number: u16) -> Option<SocketAddr> {
        Some(self.all.get(usize::from(number))?.as_ref()?.address)
    }

    fn link(&mut self, number: u16, is_listening: bool) -> Option<&mut Link> {
        self.all.get_mut(usize::from(number))?.as_mut()?.links.get_mut(usize::from(is_listening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::time::Duration;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn peer(slot: u32) -> PeerId {
        PeerId::of(LinkId::new(slot, 0))
    }

    #[test]
    fn both_links_are_dialled_and_an_ended_link_is_dialled_again_after_a_growing_pause() {
        let (mut upstreams, mut rng) = (Upstreams::default(), StdRng::seed_from_u64(1));
        assert_eq!(upstreams.set(&[address(1)], 2, Instant::ZERO), []);
        for is_listening in [false, true] {
            let dial = upstreams.due(Instant::ZERO).expect("a dial is due");
            assert_eq!(dial, Dial { number: 0, is_listening, address: address(1) });
            upstreams.dialled(dial, peer(is_listening.into()));
        }
        assert_eq!((upstreams.due(Instant::MAX), upstreams.next_due()), (None, None));
        assert_eq!(upstreams.find(peer(1)), Some((0, true)));
        let mut now = Instant::ZERO;
        for secs in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            upstreams.ended(0, true, now, &mut rng);
            let due = upstreams.next_due().expect("the link is dialled again");
            let (pause, most) = (due.since(now), Duration::from_secs(secs));
            assert!(pause <= most && pause >= most * 3 / 4, "{pause:?} of {most:?}");
            assert_eq!(upstreams.due(due.minus(Duration::from_nanos(1))), None);
            assert!(upstreams.stats()[0].failed_dials > 0);
            now = due;
            let dial = upstreams.due(now).expect("the dial is due");
            upstreams.dialled(dial, peer(1));
        }
        assert!(!upstreams.is_observed(0));
        upstreams.ready(0, true, now);
        assert!(upstreams.is_observed(0));
        let stats = UpstreamStats { address: address(1), links: 2, ready_links: 1, failed_dials: 0 };
        assert_eq!(upstreams.stats(), [stats]);
        now = now.plus(RELAY_STABLE_TIME);
        upstreams.ended(0, true, now, &mut rng);
        assert!(upstreams.next_due().is_some_and(|due| due.since(now) <= Duration::from_secs(1)));
        assert!(!upstreams.is_observed(0));
        // An upstream that closes soon after each handshake is not dialled every second.
        for secs in [2, 4, 8] {
            upstreams.ready(0, true, now);
            now = now.plus(RELAY_STABLE_TIME - Duration::from_secs(1));
            upstreams.ended(0, true, now, &mut rng);
            assert!(upstreams.next_due().is_some_and(|due| due.since(now) >= Duration::from_secs(secs) * 3 / 4));
        }
    }

    #[test]
    fn a_replaced_upstream_loses_its_links_and_the_others_keep_theirs() {
        let mut upstreams = Upstreams::default();
        upstreams.set(&[address(1), address(2)], 1, Instant::ZERO);
        for slot in 0..2 {
            let dial = upstreams.due(Instant::ZERO).expect("a dial is due");
            upstreams.dialled(dial, peer(slot));
        }
        assert_eq!(upstreams.set(&[address(2), address(3)], 1, Instant::ZERO), [peer(0)]);
        assert_eq!((upstreams.find(peer(0)), upstreams.find(peer(1))), (None, Some((1, false))));
        assert_eq!(upstreams.due(Instant::ZERO).map(|dial| (dial.number, dial.address)), Some((0, address(3))));
        assert_eq!([0, 1, 2].map(|number| upstreams.address(number)), [Some(address(3)), Some(address(2)), None]);
    }
}
