//! Tests of the requests: the order of announcers, deadlines, hedges, limits, and a random run with its invariants.

use super::*;
use crate::id::{LinkId, PeerId};
use crate::limits::RELAY_LIVE_ANNOUNCEMENTS;
use crate::relay::inventory::Added;
use crate::relay::peers::Role;
use crate::wire::siphash::SipKey;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MILLI: Duration = Duration::from_millis(1);

/// Requests with the tables they work on.
struct Room {
    requests: Requests,
    inventory: Inventory,
    peers: Peers,
    now: Instant,
    /// Each request that was sent: the peer and the number of the transaction.
    sent: Vec<(PeerIndex, u32)>,
    failed: Vec<u32>,
    numbers: BTreeMap<Hash256, u32>,
}

impl Room {
    fn new(leaves: u32) -> Self {
        let mut room = Self {
            requests: Requests::new(5),
            inventory: Inventory::new(SipKey { k0: 1, k1: 2 }, 100_000, 10),
            peers: Peers::default(),
            now: Instant::ZERO.plus(Duration::from_secs(1)),
            sent: Vec::new(),
            failed: Vec::new(),
            numbers: BTreeMap::new(),
        };
        (0..leaves).for_each(|_| {
            let _ = room.add_peer(Role::Leaf, false);
        });
        room
    }

    fn add_peer(&mut self, role: Role, is_outbound: bool) -> PeerIndex {
        let id = PeerId::of(LinkId::new(self.peers.indexes() as u32, 0));
        self.peers.insert(Peer::new(id, role, is_outbound, 0, self.now))
    }

    fn slot(&self, number: u32) -> Option<Slot> {
        self.inventory.find(self.inventory.id(Hash256::of(&number.to_le_bytes())))
    }

    fn announce(&mut self, number: u32, peer: PeerIndex) {
        let hash = Hash256::of(&number.to_le_bytes());
        self.numbers.insert(hash, number);
        let slot = self.slot(number).unwrap_or_else(|| self.inventory.insert(self.inventory.id(hash)));
        if self.inventory.add_announcer(slot, peer, |_| Some(false)) == Added::Held {
            self.requests.announced(&mut self.inventory, &mut self.peers, slot, peer, self.now);
        }
        self.collect();
    }

    fn arrive(&mut self, number: u32, peer: PeerIndex) -> Option<Duration> {
        let slot = self.slot(number)?;
        let took = self.requests.arrived(&mut self.inventory, &mut self.peers, slot, peer, 300, self.now);
        self.inventory.accept(slot, self.now, Duration::ZERO);
        self.requests.ask_relieved(&mut self.inventory, &mut self.peers, self.now);
        self.collect();
        took
    }

    fn refuse(&mut self, number: u32, peer: PeerIndex) {
        if let Some(slot) = self.slot(number) {
            self.requests.refused(&mut self.inventory, &mut self.peers, slot, peer, self.now);
            self.requests.ask_relieved(&mut self.inventory, &mut self.peers, self.now);
            self.collect();
        }
    }

    fn close(&mut self, peer: PeerIndex) {
        self.requests.closed(&mut self.inventory, &mut self.peers, peer, self.now);
        self.peers.remove(peer, u64::MAX);
        self.collect();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.plus(time);
        while let Some(due) = self.requests.next_deadline().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.requests.expire(&mut self.inventory, &mut self.peers, self.now);
            self.collect();
            let next = self.requests.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "work remained at its deadline");
        }
        self.now = until;
    }

    fn collect(&mut self) {
        for (peer, hash) in self.requests.take_to_send() {
            self.sent.push((peer, self.numbers[&hash]));
        }
        while let Some(slot) = self.requests.next_failed() {
            let entry = self.inventory.remove(slot).expect("a failed transaction has an entry");
            self.failed.push(self.numbers[&entry.hash]);
        }
    }

    fn sent(&mut self) -> Vec<(PeerIndex, u32)> {
        std::mem::take(&mut self.sent)
    }

    fn in_flight(&self) -> Vec<u32> {
        self.peers.iter().map(|(_, peer)| peer.in_flight).collect()
    }
}

#[test]
fn the_first_announcer_is_asked_at_once_and_the_next_one_after_a_notfound() {
    let mut room = Room::new(3);
    (0..3).for_each(|peer| room.announce(7, peer));
    assert_eq!(room.sent(), [(0, 7)]);
    room.refuse(7, 1);
    assert_eq!(room.sent(), [], "the refusal of a peer that was not asked moved the request");
    room.refuse(7, 0);
    let second = room.sent()[0].0;
    room.refuse(7, second);
    let third = room.sent()[0].0;
    assert_eq!([second, third].iter().sum::<u32>(), 3);
    room.refuse(7, third);
    assert_eq!((room.sent(), &room.failed[..]), (Vec::new(), &[7][..]));
    assert_eq!((room.requests.len(), room.in_flight()), (0, vec![0, 0, 0]));
}

#[test]
fn a_slow_announcer_gets_one_hedge_and_no_more() {
    let mut room = Room::new(4);
    (0..4).for_each(|peer| room.announce(7, peer));
    room.wait(99 * MILLI);
    assert_eq!(room.sent(), [(0, 7)]);
    room.wait(MILLI);
    let hedge = room.sent();
    assert_eq!(hedge.len(), 1);
    room.wait(99 * MILLI);
    assert_eq!(room.sent(), []);
    room.now = room.now.plus(MILLI / 2);
    let took = room.arrive(7, hedge[0].0);
    assert_eq!(took, Some(Duration::from_micros(99_500)));
    assert_eq!((room.requests.len(), room.requests.counts.hedged), (0, 1));
}

#[test]
fn a_slow_leaf_delays_the_hedges_of_others_only_while_there_is_no_upstream() {
    const UPSTREAM: PeerIndex = 3;
    for has_upstream in [false, true] {
        let mut room = Room::new(3);
        if has_upstream {
            assert_eq!(room.add_peer(Role::Upstream { number: 0, is_listening: true }, true), UPSTREAM);
        }
        for number in 0..300 {
            room.announce(number, 0);
            room.wait(700 * MILLI);
            room.arrive(number, 0);
        }
        (1..3).for_each(|peer| room.announce(1_000, peer));
        room.sent();
        room.wait(150 * MILLI);
        assert_eq!(room.sent().len(), usize::from(has_upstream), "the estimate is {:?}", room.requests.fetch.get());
        // The upstream's own delay counts.
        for number in (2_000..2_300).take_while(|_| has_upstream) {
            room.announce(number, UPSTREAM);
            room.wait(700 * MILLI);
            assert_eq!(room.arrive(number, UPSTREAM), Some(700 * MILLI));
        }
        assert!(room.requests.hedge_delay() > 500 * MILLI);
    }
}

#[test]
fn a_slow_upstream_is_hedged_by_another_one_but_not_by_its_own_second_link() {
    let link = |number, is_listening| Role::Upstream { number, is_listening };
    for is_late in [false, true] {
        let mut room = Room::new(0);
        let [first, second] = [false, true].map(|is_listening| room.add_peer(link(3, is_listening), true));
        room.announce(7, first);
        if is_late {
            room.wait(300 * MILLI);
        }
        room.announce(7, second);
        // Four times the estimated 100 ms and the transfer need the class of 800 ms.
        room.wait(if is_late { 499 * MILLI } else { 799 * MILLI });
        assert_eq!(room.sent(), [(first, 7)]);
        room.wait(MILLI);
        assert_eq!(room.sent(), [(second, 7)], "the second link is asked at the deadline");
        assert_eq!((room.requests.counts.hedged, room.requests.counts.moved), (0, 1));
    }
    let mut room = Room::new(0);
    let [first, second, other] = [(3, false), (3, true), (4, true)].map(|(number, is_listening)| {
        let peer = room.add_peer(link(number, is_listening), true);
        room.announce(7, peer);
        peer
    });
    room.wait(100 * MILLI);
    assert_eq!((room.sent(), second < other), (vec![(first, 7), (other, 7)], true));
}

#[test]
fn nobody_else_is_asked_for_a_transaction_that_arrives_in_parts() {
    let mut room = Room::new(3);
    room.announce(1, 0);
    room.announce(1, 1);
    room.announce(2, 0);
    room.announce(2, 1);
    assert_eq!(room.sent(), [(0, 1), (0, 2)]);
    room.requests.begins(&room.peers, 0);
    room.wait(RELAY_LARGE_TX_TIME - MILLI);
    room.announce(1, 2);
    // Only the request after it has moved on.
    assert!(room.sent().iter().all(|&(_, number)| number == 2));
    let usual = room.peers.get(0).unwrap().fetch.get();
    assert_eq!(room.arrive(1, 0), Some(RELAY_LARGE_TX_TIME - MILLI));
    room.requests.ends(&room.peers, 0);
    assert_eq!(room.peers.get(0).unwrap().fetch.get(), usual, "its time counts as that of usual transactions");
}

#[test]
fn a_transaction_that_arrives_for_too_long_is_requested_from_the_next_announcer() {
    let mut room = Room::new(2);
    room.announce(1, 0);
    room.announce(1, 1);
    room.requests.begins(&room.peers, 0);
    room.sent();
    room.wait(RELAY_LARGE_TX_TIME + RELAY_LAST_DEADLINE);
    assert_eq!(room.sent()[0], (1, 1));
    // The end of a large transaction ends the exception for the peer's oldest request.
    let mut room = Room::new(2);
    room.announce(1, 0);
    room.announce(1, 1);
    room.requests.begins(&room.peers, 0);
    room.requests.ends(&room.peers, 0);
    room.sent();
    room.wait(RELAY_FIRST_HEDGE);
    assert_eq!(room.sent(), [(1, 1)]);
}

#[test]
fn a_later_announcer_of_a_slow_transaction_is_asked_at_once() {
    let mut room = Room::new(2);
    room.announce(7, 0);
    room.wait(150 * MILLI);
    assert_eq!(room.sent(), [(0, 7)]);
    room.announce(7, 1);
    assert_eq!(room.sent(), [(1, 7)]);
}

#[test]
fn the_last_announcer_is_asked_twice_and_a_late_transaction_is_accepted() {
    let mut room = Room::new(1);
    room.announce(7, 0);
    // Four times the estimated 100 ms and the transfer need the class of 800 ms.
    room.wait(Duration::from_millis(800) + RELAY_LAST_DEADLINE - MILLI);
    assert_eq!(room.sent(), [(0, 7)]);
    room.wait(MILLI);
    assert_eq!(room.sent(), [(0, 7)]);
    room.wait(RELAY_LAST_DEADLINE - MILLI);
    assert_eq!(room.arrive(7, 0), Some(RELAY_LAST_DEADLINE - MILLI));
    assert_eq!((room.failed.len(), room.requests.len()), (0, 0));
    room.announce(8, 0);
    room.wait(3 * RELAY_LAST_DEADLINE + Duration::from_secs(30));
    assert_eq!((room.sent(), &room.failed[..]), (vec![(0, 8), (0, 8)], &[8][..]));
}

#[test]
fn a_close_moves_all_requests_of_the_peer_to_other_announcers() {
    let mut room = Room::new(2);
    (0..50).for_each(|number| room.announce(number, 0));
    (0..40).for_each(|number| room.announce(number, 1));
    room.sent();
    room.close(0);
    let mut moved = room.sent();
    moved.sort_unstable();
    assert_eq!(moved, (0..40).map(|number| (1, number)).collect::<Vec<_>>());
    room.failed.sort_unstable();
    assert_eq!(room.failed, (40..50).collect::<Vec<_>>());
    assert_eq!(room.in_flight(), [40]);
}

#[test]
fn upstreams_are_asked_before_dialled_peers_and_these_before_others() {
    let mut room = Room::new(3);
    let dialled = room.add_peer(Role::Leaf, true);
    let upstream = room.add_peer(Role::Upstream { number: 0, is_listening: true }, true);
    [0, 1, 2, dialled, upstream].into_iter().for_each(|peer| room.announce(7, peer));
    for expected in [0, upstream, dialled] {
        assert_eq!(room.sent(), [(expected, 7)]);
        room.refuse(7, expected);
    }
}

#[test]
fn requests_beyond_a_peers_limit_wait_until_earlier_ones_are_answered() {
    let mut room = Room::new(1);
    (0..RELAY_IN_FLIGHT + 10).for_each(|number| room.announce(number, 0));
    assert_eq!((room.sent().len(), room.in_flight()), (RELAY_IN_FLIGHT as usize, vec![RELAY_IN_FLIGHT]));
    room.refuse(0, 0);
    for number in 1..RELAY_IN_FLIGHT / 2 - 1 {
        room.arrive(number, 0);
    }
    assert_eq!((room.sent(), room.in_flight()), (vec![], vec![RELAY_IN_FLIGHT / 2 + 1]));
    room.arrive(RELAY_IN_FLIGHT / 2, 0);
    assert_eq!(room.sent(), (0..10).map(|at| (0, RELAY_IN_FLIGHT + at)).collect::<Vec<_>>());
    room.close(0);
    let arrived = RELAY_IN_FLIGHT / 2 - 1;
    assert_eq!(room.failed.len() as u32, RELAY_IN_FLIGHT + 10 - arrived);
}

#[test]
fn waiting_announcements_are_limited_and_counted() {
    let mut room = Room::new(1);
    let most = RELAY_IN_FLIGHT + RELAY_LIVE_ANNOUNCEMENTS;
    (0..most + 3).for_each(|number| room.announce(number, 0));
    assert_eq!((room.requests.counts.dropped, room.failed.len()), (3, 3));
}

/// Fills the leaf peers' share of the requests, and returns the number of announcements.
fn fill_leaf_share(room: &mut Room) -> u32 {
    let share = MAX_RELAY_LEAF_ASKS as u32;
    (0..share).for_each(|number| room.announce(number, number / RELAY_IN_FLIGHT));
    assert_eq!((room.sent().len(), room.failed.len()), (MAX_RELAY_LEAF_ASKS, 0));
    share
}

#[test]
fn leaf_peers_that_answer_nothing_leave_half_of_the_requests_to_the_upstreams() {
    let mut room = Room::new(34);
    let upstream = room.add_peer(Role::Upstream { number: 0, is_listening: true }, true);
    let first = fill_leaf_share(&mut room);
    room.announce(first, 33);
    assert_eq!((room.sent(), &room.failed[..], room.requests.counts.dropped), (vec![], &[first][..], 1));
    room.announce(first, upstream);
    assert_eq!(room.sent(), [(upstream, first)]);
    // A leaf of whose requests one is answered makes room for one.
    room.refuse(0, 0);
    room.failed.clear();
    room.announce(first + 1, 33);
    assert_eq!((room.sent(), room.requests.len()), (vec![(33, first + 1)], MAX_RELAY_LEAF_ASKS + 1));
}

#[test]
fn a_leaf_without_a_share_keeps_no_transaction_from_waiting_for_its_upstream() {
    let mut room = Room::new(34);
    let upstream = room.add_peer(Role::Upstream { number: 0, is_listening: true }, true);
    let first = fill_leaf_share(&mut room);
    (first..=first + RELAY_IN_FLIGHT).for_each(|number| room.announce(number, upstream));
    let last = first + RELAY_IN_FLIGHT;
    assert_eq!(room.sent().len() as u32, RELAY_IN_FLIGHT);
    room.announce(last, 33);
    assert_eq!((room.sent(), room.failed.len(), room.requests.counts.dropped), (vec![], 0, 1));
    for number in first..first + RELAY_IN_FLIGHT / 2 {
        room.arrive(number, upstream);
    }
    assert_eq!(room.sent(), [(upstream, last)], "the transaction was forgotten");
    // The leaf's announcement was dropped, so nobody else is asked.
    room.refuse(last, upstream);
    assert_eq!((room.sent(), &room.failed[..]), (vec![], &[last][..]));
}

#[test]
fn transactions_that_wait_for_a_peer_are_requested_once_another_one_answers_for_it() {
    let mut room = Room::new(2);
    (0..RELAY_IN_FLIGHT + 10).for_each(|number| room.announce(number, 0));
    (0..RELAY_IN_FLIGHT).for_each(|number| room.announce(number, 1));
    room.wait(100 * MILLI);
    assert_eq!((room.in_flight(), room.requests.counts.hedged), (vec![RELAY_IN_FLIGHT; 2], RELAY_IN_FLIGHT.into()));
    room.sent();
    for number in 0..RELAY_IN_FLIGHT / 2 {
        assert_eq!(room.sent(), []);
        room.arrive(number, 1);
    }
    assert_eq!(room.sent(), (0..10).map(|at| (0, RELAY_IN_FLIGHT + at)).collect::<Vec<_>>());
}

#[test]
fn transactions_that_wait_for_a_peer_are_requested_once_its_deadlines_have_passed() {
    let mut room = Room::new(2);
    (0..RELAY_IN_FLIGHT + 10).for_each(|number| room.announce(number, 0));
    (0..RELAY_IN_FLIGHT).for_each(|number| room.announce(number, 1));
    room.wait(Duration::from_secs(2));
    assert!((0..10).all(|at| room.sent.contains(&(0, RELAY_IN_FLIGHT + at))), "they still wait");
}

#[test]
fn an_upstreams_transactions_wait_while_all_requests_are_in_use() {
    let mut room = Room::new(34);
    let mut first = fill_leaf_share(&mut room);
    for number in 0..33 {
        let link = room.add_peer(Role::Upstream { number, is_listening: true }, true);
        let most = RELAY_IN_FLIGHT.min((MAX_RELAY_ASKS - room.requests.len()) as u32);
        (first..first + most).for_each(|number| room.announce(number, link));
        first += most;
    }
    let last = room.add_peer(Role::Upstream { number: 40, is_listening: true }, true);
    room.sent();
    (first..first + 3).for_each(|number| room.announce(number, last));
    assert_eq!((room.requests.len(), room.sent(), room.failed.len()), (MAX_RELAY_ASKS, vec![], 0));
    (0..2).for_each(|number| room.refuse(number, 0));
    room.requests.ask_all_waiting(&mut room.inventory, &mut room.peers, room.now);
    room.collect();
    assert_eq!(room.sent(), [(last, first), (last, first + 1)]);
}

#[test]
fn a_deadline_covers_the_transactions_that_are_already_in_flight() {
    let mut room = Room::new(2);
    room.peers.get_mut(0).expect("the peer exists").mean_bytes = 90_000;
    (0..60).for_each(|number| {
        room.announce(number, 0);
        room.announce(number, 1);
    });
    // The hedges are asked after 100 ms. 60 transactions of 90 kB need 5.4 s at 1 MB/s.
    room.wait(Duration::from_millis(390));
    assert_eq!(room.requests.counts.overdue, 0);
    let last = room.requests.first_ask(&room.inventory, room.slot(59).expect("it is asked"));
    let first_of_two = room.requests.asks.get(last).other;
    assert!(time_of(room.requests.asks.get(first_of_two).class) >= Duration::from_millis(5_400));
}

#[derive(Clone, Debug)]
enum Step {
    Announce(u32, PeerIndex),
    Arrive(u32, PeerIndex),
    Refuse(u32, PeerIndex),
    Close(PeerIndex),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (number, peer) = (0..12_u32, 0..8_u32);
    prop_oneof![
        6 => (number.clone(), peer.clone()).prop_map(|(number, peer)| Step::Announce(number, peer)),
        2 => (number.clone(), peer.clone()).prop_map(|(number, peer)| Step::Arrive(number, peer)),
        2 => (number, peer.clone()).prop_map(|(number, peer)| Step::Refuse(number, peer)),
        1 => peer.prop_map(Step::Close),
        2 => (0..20_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn no_peer_is_asked_too_often_and_no_transaction_is_forgotten_quietly(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut room = Room::new(8);
        let mut asked: BTreeMap<(PeerIndex, u32), u32> = BTreeMap::new();
        for step in steps {
            let repeated_before = room.requests.counts.repeated;
            match step {
                Step::Announce(number, peer) if room.peers.get(peer).is_some() => room.announce(number, peer),
                Step::Arrive(number, peer) if room.peers.get(peer).is_some() => {
                    let is_open = room.slot(number).and_then(|slot| room.inventory.get(slot))
                        .is_some_and(|entry| matches!(entry.state, State::Wanted | State::Asked));
                    if is_open {
                        room.arrive(number, peer);
                    }
                }
                Step::Refuse(number, peer) => room.refuse(number, peer),
                Step::Close(peer) if room.peers.get(peer).is_some() => room.close(peer),
                Step::Wait(millis) => room.wait(Duration::from_millis(millis)),
                Step::Announce(..) | Step::Arrive(..) | Step::Close(_) => {}
            }
            let repeats = room.requests.counts.repeated - repeated_before;
            let mut again = 0;
            for pair in room.sent() {
                let times = asked.entry(pair).or_default();
                *times += 1;
                again += u64::from(*times > 1);
            }
            prop_assert!(again <= repeats, "a peer was asked again although it is not the last announcer");
            for number in room.failed.drain(..) {
                asked.retain(|(_, asked), _| *asked != number);
            }
            let mut in_flight = 0;
            for (slot, entry) in room.inventory.entries() {
                let mut asks = Vec::new();
                let mut ask = room.requests.first_ask(&room.inventory, slot);
                while ask != NONE {
                    asks.push(room.requests.asks.get(ask).peer);
                    ask = room.requests.asks.get(ask).other;
                }
                prop_assert!(asks.len() <= 2);
                prop_assert!(asks.iter().all(|&peer| room.peers.get(peer).is_some()), "a closed peer is asked");
                prop_assert_eq!(asks.is_empty(), entry.state != State::Asked);
                prop_assert!(entry.state != State::Wanted, "nobody is asked for {}", entry.hash);
                in_flight += asks.len();
            }
            prop_assert_eq!(room.requests.len(), in_flight);
            prop_assert_eq!(room.in_flight().iter().sum::<u32>() as usize, in_flight);
        }
        room.wait(Duration::from_secs(1_000));
        prop_assert_eq!(room.requests.len(), 0, "a request outlived its deadlines");
    }
}
