//! Pings in flight: each rule by itself, and random runs compared with a simple map.

use super::at;
use peerloop::internals::limits::MAX_PINGS_OUTSTANDING;
use peerloop::peer::{Answered, PingPongState, PongError, create_pong_nonce};
use peerloop::time::Instant;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

fn overdue(pings: &PingPongState, now: Instant) -> BTreeSet<u64> {
    pings.check_timeouts(now).collect()
}

#[test]
fn a_queued_ping_that_overtakes_others_counts_as_sent_when_its_new_position_is_written() {
    let mut pings = PingPongState::new(Duration::from_secs(30));
    for (nonce, end_offset) in [(1, 100), (2, 132)] {
        assert!(pings.queue_ping(nonce, at(1), end_offset));
    }
    for (from, to) in [(100, 32), (132, 64), (100, 1), (900, 1)] {
        pings.move_ping(from, to);
    }
    pings.mark_written(63, at(2));
    assert_eq!(pings.settle(1, at(3)).map(|answered| answered.sent), Ok(at(2)));
    assert_eq!(pings.settle(2, at(3)), Err(PongError::BeforePing));
    pings.mark_written(64, at(4));
    pings.move_ping(64, 900);
    assert_eq!(
        pings.settle(2, at(5)).map(|answered| answered.sent),
        Ok(at(4)),
        "a ping that was already sent was moved"
    );
}

#[test]
fn req_e12_several_pings_are_in_flight_and_answered_in_any_order() {
    let mut pings = PingPongState::new(TIMEOUT);
    for nonce in [11, 12, 13] {
        assert!(pings.record_ping(nonce, at(nonce)));
    }
    assert_eq!(pings.pending_count(), 3);
    assert_eq!(pings.validate_pong(12, at(20)), Ok(Duration::from_secs(8)));
    assert_eq!(pings.validate_pong(11, at(20)), Ok(Duration::from_secs(9)));
    assert_eq!(pings.validate_pong(13, at(20)), Ok(Duration::from_secs(7)));
    assert_eq!(pings.pending_count(), 0);
}

#[test]
fn req_e12_a_pong_counts_once() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(7, at(1));
    assert!(pings.validate_pong(7, at(2)).is_ok());
    assert_eq!(pings.validate_pong(7, at(2)), Err(PongError::UnknownNonce));
}

#[test]
fn req_e12_an_unknown_nonce_changes_nothing() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(7, at(1));
    for nonce in [0, 8, u64::MAX, 7u64.swap_bytes()] {
        assert_eq!(pings.settle(nonce, at(2)), Err(PongError::UnknownNonce));
    }
    assert_eq!((pings.pending_count(), pings.next_deadline()), (1, Some(at(31))));
}

#[test]
fn req_e12_nonces_are_random_and_never_zero() {
    struct Zeros;
    impl rand::TryRng for Zeros {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(0);
            Ok(())
        }
    }
    assert_ne!(PingPongState::generate_nonce(&mut Zeros), 0);

    let (mut ours, mut theirs) = (StdRng::seed_from_u64(5), StdRng::seed_from_u64(5));
    let nonces: Vec<u64> = (0..1_000).map(|_| PingPongState::generate_nonce(&mut ours)).collect();
    assert!(
        nonces.iter().all(|&nonce| nonce == theirs.next_u64()),
        "a nonce is not the generator's next 64-bit number"
    );
}

#[test]
fn nonces_show_no_pattern() {
    let mut rng = StdRng::seed_from_u64(6);
    let nonces: Vec<u64> = (0..4_096).map(|_| PingPongState::generate_nonce(&mut rng)).collect();
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), nonces.len(), "a nonce was repeated");
    for bit in 0..64 {
        let ones = nonces.iter().filter(|&nonce| nonce >> bit & 1 == 1).count();
        assert!((1_800..2_300).contains(&ones), "bit {bit} is set in {ones} of 4,096");
    }
    let mut steps: Vec<u64> = nonces.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), nonces.len() - 1, "two steps between nonces are equal, as in a counter");
}

#[test]
fn req_e13_the_pong_echoes_the_nonce_of_the_ping() {
    for nonce in [0, 1, 0x0102_0304_0506_0708, u64::MAX] {
        assert_eq!(create_pong_nonce(nonce), nonce);
    }
}

#[test]
fn req_e13_pending_pings_are_counted_and_cleared() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(1));
    pings.record_ping(2, at(1));
    pings.queue_ping(3, at(1), 100);
    assert_eq!(pings.pending_count(), 3);
    pings.clear();
    assert_eq!((pings.pending_count(), pings.next_deadline()), (0, None));
    assert_eq!(pings.settle(1, at(2)), Err(PongError::UnknownNonce));
    assert!(pings.record_ping(1, at(2)), "a cleared nonce was refused");
}

#[test]
fn req_e14_a_ping_is_overdue_from_its_deadline_on() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(10));
    pings.record_ping(2, at(15));
    let deadline = pings.next_deadline().unwrap();
    assert_eq!(deadline, at(40));
    assert_eq!(overdue(&pings, deadline.minus(Duration::from_nanos(1))), BTreeSet::new());
    assert_eq!(
        overdue(&pings, deadline),
        BTreeSet::from([1]),
        "the ping is not overdue at its deadline, or the other ping is"
    );
    assert_eq!(overdue(&pings, at(45)), BTreeSet::from([1, 2]));
    assert_eq!(pings.pending_count(), 2, "listing the overdue pings changed the number of pending ones");
    assert_eq!(pings.remove_timed_out(deadline), 1);
    assert_eq!(pings.next_deadline(), Some(at(45)));
    assert_eq!(
        pings.settle(1, at(41)),
        Err(PongError::UnknownNonce),
        "the pong of an abandoned ping was not refused as unknown"
    );
}

#[test]
fn req_e14_the_timeout_can_be_set_for_pings_in_flight() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(10));
    pings.set_timeout(Duration::from_secs(5));
    assert_eq!((pings.timeout(), pings.next_deadline()), (Duration::from_secs(5), Some(at(15))));
    pings.set_timeout(Duration::MAX);
    assert_eq!(pings.next_deadline(), Some(Instant::MAX));
}

#[test]
fn pings_get_their_full_timeout_again_when_reading_resumes() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(10));
    pings.queue_ping(2, at(10), 32);
    pings.resume_reading(at(39));
    assert_eq!(pings.next_deadline(), Some(at(69)));
    assert_eq!((overdue(&pings, at(68)), pings.remove_timed_out(at(68))), (BTreeSet::new(), 0));
    pings.mark_written(32, at(50));
    pings.record_ping(3, at(45));
    assert_eq!(
        overdue(&pings, at(69)),
        BTreeSet::from([1]),
        "the first ping is not overdue, or a ping sent after reading resumed is"
    );
    assert_eq!(pings.settle(1, at(69)).unwrap().sent, at(10), "the sent time was changed");
    assert_eq!(pings.next_deadline(), Some(at(75)));
}

#[test]
fn a_late_pong_counts_if_its_ping_was_not_abandoned() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(0));
    assert_eq!(pings.validate_pong(1, at(100)), Ok(Duration::from_secs(100)));
}

#[test]
fn latency_begins_at_the_planned_time_and_round_trip_at_the_sent_time() {
    let mut pings = PingPongState::new(TIMEOUT);
    assert!(pings.queue_ping(1, at(10), 32));
    pings.mark_written(32, at(14));
    let answered = pings.settle(1, at(15)).unwrap();
    assert_eq!(answered, Answered { planned: at(10), sent: at(14), answered: at(15) });
    assert_eq!(answered.latency(), Duration::from_secs(5));
    assert_eq!(answered.round_trip(), Duration::from_secs(1));
}

#[test]
fn a_pong_before_its_ping_is_refused_and_changes_nothing() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.queue_ping(1, at(10), 64);
    assert_eq!(pings.settle(1, at(11)), Err(PongError::BeforePing));
    pings.mark_written(63, at(12));
    assert_eq!(
        pings.settle(1, at(12)),
        Err(PongError::BeforePing),
        "the pong was not refused as too early, although its ping's last byte was not written"
    );
    assert_eq!(
        (pings.pending_count(), pings.next_deadline()),
        (1, None),
        "the queued ping was dropped or has a deadline"
    );
    pings.mark_written(64, at(13));
    assert_eq!(pings.validate_pong(1, at(14)), Ok(Duration::from_secs(1)));
}

#[test]
fn the_sent_time_is_the_time_of_the_first_write_that_covers_the_ping() {
    let mut pings = PingPongState::new(TIMEOUT);
    for nonce in 1..=4 {
        pings.queue_ping(nonce, at(1), nonce * 32);
    }
    pings.mark_written(64, at(2));
    pings.mark_written(64, at(3));
    pings.mark_written(u64::MAX, at(4));
    let sent = |pings: &mut PingPongState, nonce| pings.settle(nonce, at(9)).unwrap().sent;
    assert_eq!([1, 2, 3, 4].map(|nonce| sent(&mut pings, nonce)), [at(2), at(2), at(4), at(4)]);
}

#[test]
fn a_ping_beyond_the_bound_is_refused_and_not_recorded() {
    let mut pings = PingPongState::new(TIMEOUT);
    let most = MAX_PINGS_OUTSTANDING as u64;
    for nonce in 1..=most {
        assert!(pings.queue_ping(nonce, at(1), nonce));
    }
    assert!(!pings.record_ping(most + 1, at(1)) && !pings.queue_ping(most + 1, at(1), 0));
    assert_eq!(pings.pending_count(), MAX_PINGS_OUTSTANDING);
    pings.mark_written(1, at(2));
    assert!(pings.settle(1, at(3)).is_ok());
    assert!(pings.record_ping(most + 1, at(4)), "a ping was refused, although there was room again");
}

#[test]
fn a_nonce_of_zero_and_a_nonce_in_flight_are_refused() {
    let mut pings = PingPongState::new(TIMEOUT);
    assert!(!pings.record_ping(0, at(1)) && !pings.queue_ping(0, at(1), 8));
    assert_eq!(pings.pending_count(), 0);
    for nonce in [5, 6] {
        assert!(pings.record_ping(nonce, at(1)));
        assert!(!pings.record_ping(nonce, at(2)) && !pings.queue_ping(nonce, at(2), 8));
    }
    assert_eq!(pings.settle(5, at(3)).unwrap().sent, at(1), "the first ping was replaced");
}

#[test]
fn a_pong_before_the_sent_time_has_a_round_trip_of_zero() {
    let mut pings = PingPongState::new(TIMEOUT);
    pings.record_ping(1, at(10));
    assert_eq!(pings.validate_pong(1, at(9)), Ok(Duration::ZERO));
}

#[derive(Clone, Debug)]
enum Step {
    Record { nonce: u64 },
    Queue { nonce: u64, planned_secs: u64, len_bytes: u64 },
    Write { len_bytes: u64 },
    Settle { nonce: u64 },
    Wait { secs: u64 },
    ResumeReading,
    RemoveTimedOut,
    SetTimeout { secs: u64 },
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nonce = 0u64..100;
    let step = prop_oneof![
        20 => nonce.clone().prop_map(|nonce| Step::Record { nonce }),
        20 => (nonce.clone(), 0u64..100, 0u64..50)
            .prop_map(|(nonce, planned_secs, len_bytes)| Step::Queue { nonce, planned_secs, len_bytes }),
        8 => (0u64..200).prop_map(|len_bytes| Step::Write { len_bytes }),
        12 => nonce.prop_map(|nonce| Step::Settle { nonce }),
        4 => (0u64..10).prop_map(|secs| Step::Wait { secs }),
        1 => Just(Step::ResumeReading),
        1 => Just(Step::RemoveTimedOut),
        1 => (0u64..40).prop_map(|secs| Step::SetTimeout { secs }),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..400)
}

#[derive(Clone, Copy)]
struct Waiting {
    planned: Instant,
    end_offset: u64,
    sent: Option<Instant>,
}

struct Model {
    pings: BTreeMap<u64, Waiting>,
    timeout: Duration,
    reading_since: Instant,
}

impl Model {
    fn insert(&mut self, nonce: u64, waiting: Waiting) -> bool {
        let is_taken = nonce != 0 && self.pings.len() < MAX_PINGS_OUTSTANDING && !self.pings.contains_key(&nonce);
        if is_taken {
            self.pings.insert(nonce, waiting);
        }
        is_taken
    }

    fn settle(&mut self, nonce: u64, now: Instant) -> Result<Answered, PongError> {
        let Waiting { planned, sent, .. } = *self.pings.get(&nonce).ok_or(PongError::UnknownNonce)?;
        let sent = sent.ok_or(PongError::BeforePing)?;
        self.pings.remove(&nonce);
        Ok(Answered { planned, sent, answered: now })
    }

    fn deadlines(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.pings
            .iter()
            .filter_map(|(&nonce, ping)| Some((nonce, ping.sent?.max(self.reading_since).plus(self.timeout))))
    }

    fn overdue(&self, now: Instant) -> BTreeSet<u64> {
        self.deadlines().filter(|&(_, deadline)| deadline <= now).map(|(nonce, _)| nonce).collect()
    }
}

proptest! {
    #[test]
    fn pings_behave_like_a_simple_map(steps in steps()) {
        let mut pings = PingPongState::new(TIMEOUT);
        let mut model = Model { pings: BTreeMap::new(), timeout: TIMEOUT, reading_since: Instant::ZERO };
        let (mut now, mut queued_bytes, mut written_bytes) = (at(50), 0, 0);
        for step in steps {
            match step {
                Step::Record { nonce } => {
                    let waiting = Waiting { planned: now, end_offset: 0, sent: Some(now) };
                    prop_assert_eq!(pings.record_ping(nonce, now), model.insert(nonce, waiting));
                }
                Step::Queue { nonce, planned_secs, len_bytes } => {
                    queued_bytes += len_bytes;
                    let (planned, end_offset) = (at(planned_secs), queued_bytes);
                    let is_taken = model.insert(nonce, Waiting { planned, end_offset, sent: None });
                    prop_assert_eq!(pings.queue_ping(nonce, planned, end_offset), is_taken);
                }
                Step::Write { len_bytes } => {
                    written_bytes = queued_bytes.min(written_bytes + len_bytes);
                    pings.mark_written(written_bytes, now);
                    for ping in model.pings.values_mut().filter(|ping| ping.end_offset <= written_bytes) {
                        ping.sent.get_or_insert(now);
                    }
                }
                Step::Settle { nonce } => prop_assert_eq!(pings.settle(nonce, now), model.settle(nonce, now)),
                Step::Wait { secs } => now = now.plus(Duration::from_secs(secs)),
                Step::ResumeReading => {
                    pings.resume_reading(now);
                    model.reading_since = now;
                }
                Step::RemoveTimedOut => {
                    let gone = model.overdue(now);
                    model.pings.retain(|nonce, _| !gone.contains(nonce));
                    prop_assert_eq!(pings.remove_timed_out(now), gone.len());
                }
                Step::SetTimeout { secs } => {
                    pings.set_timeout(Duration::from_secs(secs));
                    model.timeout = Duration::from_secs(secs);
                }
                Step::Clear => {
                    pings.clear();
                    model.pings.clear();
                }
            }
            prop_assert_eq!(pings.pending_count(), model.pings.len());
            prop_assert_eq!(pings.next_deadline(), model.deadlines().map(|(_, deadline)| deadline).min());
            prop_assert_eq!(overdue(&pings, now), model.overdue(now));
        }
    }
}
