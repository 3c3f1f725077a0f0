//! Pings in flight and their pongs.
//!
//! Each ping has two timestamps: *planned*, when it was due by its schedule, and *sent*, just before the write of its
//! last byte. A ping in the send queue has no sent time yet, so it cannot time out, and a pong with its nonce must be a
//! guess. A pong counts only if its nonce was sent, and only once.
//!
//! The first ping is stored inline, further ones in a box, up to [`MAX_PINGS_OUTSTANDING`] in all. For so few pings,
//! a linear search is faster than a map.

use crate::bugs::canary;
use crate::limits::MAX_PINGS_OUTSTANDING;
use crate::time::Instant;
use rand::Rng;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// Returns the nonce of the pong that answers a ping, which is the ping's nonce.
pub const fn create_pong_nonce(ping_nonce: u64) -> u64 {
    ping_nonce
}

/// One peer's unanswered pings.
///
/// It uses 64 bytes. A box for further pings holds 32 bytes for each of them. When the box is empty, it is freed if
/// it has room for more than four pings. A smaller box is kept, so that a peer that is pinged slightly faster than it
/// answers causes no repeated allocation.
#[derive(Debug)]
pub struct PingPongState {
    first: Option<Ping>,
    spill: Option<Box<Spill>>,
    timeout_nanos: u64,
    last_rtt: RoundTrip,
    least_rtt: RoundTrip,
    /// The moment at which this side last resumed reading. No ping's timeout starts earlier.
    reading_since: Instant,
}

/// A ping with a valid pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Answered {
    /// The moment at which the ping was due, or was sent if it was unplanned.
    pub planned: Instant,
    /// The moment just before the write of the ping's last byte.
    pub sent: Instant,
    /// The moment at which the pong was read.
    pub answered: Instant,
}

/// An unanswered ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingInFlight {
    /// The nonce of the ping.
    pub nonce: u64,
    /// The moment at which the ping was due, or [`Instant::MAX`] if it was unplanned.
    pub planned: Instant,
    /// The moment just before the write of the ping's last byte, or `None` while the ping waits in the send queue.
    pub sent: Option<Instant>,
}

/// The reason why a pong does not count. Such a pong changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PongError {
    /// No ping with this nonce waits for a pong.
    UnknownNonce,
    /// The ping with this nonce has not been sent yet, so the nonce was guessed.
    BeforePing,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    nonce: NonZeroU64,
    planned: Instant,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Queued { end_offset: u64 },
    Sent { at: Instant },
}

/// The time from a ping to its pong, in microseconds. The type has 32 bits, to keep a link's row small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RoundTrip(u32);

impl RoundTrip {
    /// The value before the first pong. It is longer than any round trip.
    const NONE: Self = Self(u32::MAX);
    const MAX_MICROS: u64 = 3_600_000_000;

    const fn of(sent: Instant, answered: Instant) -> Self {
        let micros = answered.as_nanos().saturating_sub(sent.as_nanos()) / 1_000;
        Self(if micros < Self::MAX_MICROS { micros } else { Self::MAX_MICROS } as u32)
    }

    fn known(self) -> Option<Duration> {
        (self != Self::NONE).then(|| Duration::from_micros(u64::from(self.0)))
    }
}

const _: () = assert!(size_of::<PingPongState>() == 64, "a `PingPongState` does not have its documented size");

#[derive(Debug)]
struct Spill {
    pings: Vec<Ping>,
}

impl PingPongState {
    /// Creates a state without pings. Pings must be answered within `timeout`.
    pub const fn new(timeout: Duration) -> Self {
        Self {
            first: None,
            spill: None,
            timeout_nanos: saturating_nanos(timeout),
            last_rtt: RoundTrip::NONE,
            least_rtt: RoundTrip::NONE,
            reading_since: Instant::ZERO,
        }
    }

    /// Returns a nonce. If `rng` is cryptographically secure, a peer cannot guess it. The nonce is never 0, because a
    /// pong with 0 makes a node drop its ping (SV Node 1.2.2, net_processing.cpp ProcessPongMessage).
    ///
    /// The caller provides `rng`: any generator of the crate `rand` 0.10, which is re-exported as
    /// [`rand`](crate::rand).
    pub fn generate_nonce(rng: &mut (impl Rng + ?Sized)) -> u64 {
        rng.next_u64().max(1)
    }

    /// Records a ping that is sent at once, at its planned moment.
    ///
    /// Returns `false` and records nothing if the nonce is 0 or in flight, or if [`MAX_PINGS_OUTSTANDING`] is reached.
    pub fn record_ping(&mut self, nonce: u64, now: Instant) -> bool {
        self.insert(nonce, now, Progress::Sent { at: now })
    }

    /// Records a ping that waits in the send queue. `end_offset` is the ping's end in the link's output, in bytes
    /// since the link opened. An unplanned ping has [`Instant::MAX`] as `planned`, and its latency starts when it is
    /// sent.
    ///
    /// Returns `false` and records nothing if the nonce is 0 or in flight, or if [`MAX_PINGS_OUTSTANDING`] is reached.
    #[doc(hidden)]
    pub fn queue_ping(&mut self, nonce: u64, planned: Instant, end_offset: u64) -> bool {
        self.insert(nonce, planned, Progress::Queued { end_offset })
    }

    /// Records that the queued ping that ended at `from_offset` now ends at `to_offset`, because it has overtaken
    /// other messages.
    #[doc(hidden)]
    pub fn move_ping(&mut self, from_offset: u64, to_offset: u64) {
        let spilled = self.spill.iter_mut().flat_map(|spill| &mut spill.pings);
        for ping in self.first.iter_mut().chain(spilled) {
            match &mut ping.progress {
                Progress::Queued { end_offset } if *end_offset == from_offset => *end_offset = to_offset,
                Progress::Queued { .. } | Progress::Sent { .. } => {}
            }
        }
    }

    /// Records that every queued ping that ends within the link's first `up_to_offset` bytes was sent at `at`.
    #[doc(hidden)]
    pub fn mark_written(&mut self, up_to_offset: u64, at: Instant) {
        let spilled = self.spill.iter_mut().flat_map(|spill| &mut spill.pings);
        for ping in self.first.iter_mut().chain(spilled) {
            match ping.progress {
                Progress::Queued { end_offset } if end_offset <= up_to_offset => ping.progress = Progress::Sent { at },
                Progress::Queued { .. } | Progress::Sent { .. } => {}
            }
        }
    }

    /// Restarts the timeout of every ping in flight, because its pong may have arrived while this side did not read.
    #[doc(hidden)]
    pub const fn resume_reading(&mut self, now: Instant) {
        self.reading_since = now;
    }

    /// Accepts a pong and removes its ping.
    ///
    /// # Errors
    ///
    /// If the pong does not count; see [`PongError`]. Nothing changes then.
    #[doc(hidden)]
    pub fn settle(&mut self, nonce: u64, now: Instant) -> Result<Answered, PongError> {
        let answers = |ping: &Ping| ping.nonce.get() == nonce || canary!(StalePongAccepted);
        let ping = self.pings().find(|ping| answers(ping)).ok_or(PongError::UnknownNonce)?;
        let Progress::Sent { at } = ping.progress else {
            return Err(PongError::BeforePing);
        };
        let planned = if ping.planned == Instant::MAX { at } else { ping.planned };
        let answered = Answered { planned, sent: at, answered: now };
        self.retain(|ping| ping.nonce.get() != nonce);
        self.note_round_trip(&answered);
        Ok(answered)
    }

    /// Records the round trip of an answered ping, which another stream of the peer may have carried.
    pub(crate) fn note_round_trip(&mut self, answered: &Answered) {
        self.last_rtt = RoundTrip::of(answered.sent, answered.answered);
        self.least_rtt = self.least_rtt.min(self.last_rtt);
    }

    /// Accepts a pong like [`PingPongState::settle`] and returns the time since its ping was sent.
    ///
    /// # Errors
    ///
    /// If the pong does not count; see [`PongError`]. Nothing changes then.
    pub fn validate_pong(&mut self, nonce: u64, now: Instant) -> Result<Duration, PongError> {
        self.settle(nonce, now).map(|answered| answered.round_trip())
    }

    /// Returns the round trip of the last answered ping, to the microsecond, at most one hour; `None` before the
    /// first pong.
    pub fn last_rtt(&self) -> Option<Duration> {
        self.last_rtt.known()
    }

    /// Returns this connection's shortest round trip, to the microsecond, at most one hour; `None` before the first
    /// pong.
    pub fn least_rtt(&self) -> Option<Duration> {
        self.least_rtt.known()
    }

    /// Returns the earliest moment at which a sent ping becomes overdue; `None` if no sent ping is in flight.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pings().filter_map(|ping| self.deadline_of(ping)).min()
    }

    /// Iterates over the nonces of overdue pings, in no particular order.
    pub fn check_timeouts(&self, now: Instant) -> impl Iterator<Item = u64> {
        self.pings()
            .filter(move |ping| self.deadline_of(ping).is_some_and(|deadline| now >= deadline))
            .map(|ping| ping.nonce.get())
    }

    /// Removes overdue pings and returns their number. Their pongs no longer count.
    pub fn remove_timed_out(&mut self, now: Instant) -> usize {
        let (before, timeout, reading_since) = (self.pending_count(), self.timeout(), self.reading_since);
        self.retain(|ping| ping.deadline(timeout, reading_since).is_none_or(|deadline| now < deadline));
        before - self.pending_count()
    }

    /// Removes and returns the sent pings that were due before `before`. Their pongs no longer count.
    pub(crate) fn forget(&mut self, before: Instant) -> Vec<PingInFlight> {
        let is_forgotten = |ping: &Ping| ping.planned < before && matches!(ping.progress, Progress::Sent { .. });
        let forgotten = self.pings().filter(|ping| is_forgotten(ping)).map(Ping::in_flight).collect();
        self.retain(|ping| !is_forgotten(ping));
        forgotten
    }

    /// Returns the sent time of the ping with this nonce: `Some(None)` if the ping is queued, or `None` if no such
    /// ping is in flight.
    #[cfg(feature = "sim")]
    pub(crate) fn sent_at(&self, nonce: u64) -> Option<Option<Instant>> {
        let ping = self.pings().find(|ping| ping.nonce.get() == nonce)?;
        Some(match ping.progress {
            Progress::Queued { .. } => None,
            Progress::Sent { at } => Some(at),
        })
    }

    /// Iterates over the pings in flight, including queued ones, in no particular order.
    pub fn in_flight(&self) -> impl Iterator<Item = PingInFlight> {
        self.pings().map(Ping::in_flight)
    }

    /// Returns the number of pings in flight, including queued ones.
    pub fn pending_count(&self) -> usize {
        usize::from(self.first.is_some()) + self.spill.as_ref().map_or(0, |spill| spill.pings.len())
    }

    /// Removes all pings and frees their memory.
    pub fn clear(&mut self) {
        self.first = None;
        self.spill = None;
    }

    /// Returns the time within which a ping must be answered.
    pub const fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout_nanos)
    }

    /// Sets the time within which a ping must be answered. It also applies to the pings in flight.
    #[doc(hidden)]
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout_nanos = saturating_nanos(timeout);
    }

    fn insert(&mut self, nonce: u64, planned: Instant, progress: Progress) -> bool {
        let Some(nonce) = NonZeroU64::new(nonce) else { return false };
        if self.pending_count() >= MAX_PINGS_OUTSTANDING || self.pings().any(|ping| ping.nonce == nonce) {
            return false;
        }
        let ping = Ping { nonce, planned, progress };
        match self.first {
            None => self.first = Some(ping),
            Some(_) => self.spill.get_or_insert_default().pings.push(ping),
        }
        true
    }

    fn retain(&mut self, keep: impl Fn(&Ping) -> bool) {
        self.first = self.first.filter(&keep);
        if let Some(spill) = &mut self.spill {
            spill.pings.retain(&keep);
            if spill.pings.is_empty() && spill.pings.capacity() > Spill::KEPT_PINGS {
                self.spill = None;
            }
        }
    }

    fn deadline_of(&self, ping: &Ping) -> Option<Instant> {
        ping.deadline(self.timeout(), self.reading_since)
    }

    fn pings(&self) -> impl Iterator<Item = &Ping> {
        self.first.iter().chain(self.spill.iter().flat_map(|spill| &spill.pings))
    }
}

impl Answered {
    /// Returns the time from the ping's planned moment to its pong.
    pub const fn latency(&self) -> Duration {
        self.answered.since(self.planned)
    }

    /// Returns the time from the ping's sending to its pong.
    pub const fn round_trip(&self) -> Duration {
        self.answered.since(self.sent)
    }
}

impl Ping {
    fn in_flight(&self) -> PingInFlight {
        let sent = match self.progress {
            Progress::Queued { .. } => None,
            Progress::Sent { at } => Some(at),
        };
        PingInFlight { nonce: self.nonce.get(), planned: self.planned, sent }
    }

    fn deadline(&self, timeout: Duration, reading_since: Instant) -> Option<Instant> {
        match self.progress {
            Progress::Queued { .. } => None,
            Progress::Sent { at } => Some(at.max(reading_since).plus(timeout)),
        }
    }
}

impl Spill {
    /// Number of pings for which an empty box keeps room: 128 bytes.
    const KEPT_PINGS: usize = 4;
}

impl Default for Spill {
    fn default() -> Self {
        Self { pings: Vec::with_capacity(Self::KEPT_PINGS) }
    }
}

impl fmt::Display for PongError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownNonce => "the pong matches no ping in flight",
            Self::BeforePing => "the pong arrived before its ping was sent, so its nonce was guessed",
        })
    }
}

impl std::error::Error for PongError {}

const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_pings_are_returned_and_their_pongs_no_longer_count() {
        let at = Instant::from_nanos;
        let mut pings = PingPongState::new(Duration::from_secs(5));
        assert!(pings.record_ping(1, at(10)) && pings.record_ping(2, at(20)) && pings.queue_ping(3, at(5), 100));
        let forgotten = pings.forget(at(20));
        assert_eq!(forgotten, [PingInFlight { nonce: 1, planned: at(10), sent: Some(at(10)) }]);
        assert_eq!(pings.settle(1, at(30)), Err(PongError::UnknownNonce));
        assert!(pings.settle(2, at(30)).is_ok());
        // A queued ping is not sent yet, so nothing of it can be late.
        assert_eq!(pings.pending_count(), 1);
    }

    #[test]
    fn pings_in_flight_are_listed_until_they_are_answered() {
        let mut pings = PingPongState::new(Duration::MAX);
        let at = Instant::from_nanos;
        for (nonce, planned) in [(1, 10), (2, 20), (3, 30)] {
            assert!(pings.queue_ping(nonce, at(planned), nonce));
        }
        pings.mark_written(2, at(25));
        assert!(pings.settle(1, at(40)).is_ok());
        let listed: Vec<PingInFlight> = pings.in_flight().collect();
        let expected = [(2, 20, Some(25)), (3, 30, None)].map(|(nonce, planned, sent)| PingInFlight {
            nonce,
            planned: at(planned),
            sent: sent.map(at),
        });
        assert_eq!(listed, expected);
    }

    #[test]
    fn the_last_and_the_shortest_round_trip_are_kept_to_the_microsecond() {
        let mut pings = PingPongState::new(Duration::MAX);
        let mut now = Instant::ZERO;
        assert_eq!((pings.last_rtt(), pings.least_rtt()), (None, None));
        for (nanos, last, least) in
            [(5_999, 5, 5), (1_000_000, 1_000, 5), (999, 0, 0), (u64::MAX / 2, RoundTrip::MAX_MICROS, 0)]
        {
            assert!(pings.record_ping(7, now));
            now = now.plus(Duration::from_nanos(nanos));
            assert_eq!(pings.settle(8, now), Err(PongError::UnknownNonce), "an unexpected pong was accepted");
            assert!(pings.settle(7, now).is_ok());
            let expected = [last, least].map(|micros| Some(Duration::from_micros(micros)));
            assert_eq!([pings.last_rtt(), pings.least_rtt()], expected);
        }
    }

    fn with_pings(count: usize) -> PingPongState {
        let mut pings = PingPongState::new(Duration::from_secs(30));
        for nonce in 1..=count as u64 {
            assert!(pings.record_ping(nonce, Instant::ZERO));
        }
        pings
    }

    fn settle_all(pings: &mut PingPongState) {
        for nonce in 1..=MAX_PINGS_OUTSTANDING as u64 {
            let _ = pings.settle(nonce, Instant::ZERO);
        }
        assert_eq!(pings.pending_count(), 0);
    }

    #[test]
    fn one_ping_at_a_time_needs_no_box() {
        let mut pings = with_pings(1);
        assert!(pings.spill.is_none());
        settle_all(&mut pings);
        assert!(pings.record_ping(2, Instant::ZERO) && pings.spill.is_none());
    }

    #[test]
    fn a_small_spill_is_kept_when_it_is_empty() {
        let mut pings = with_pings(1 + Spill::KEPT_PINGS);
        settle_all(&mut pings);
        assert_eq!(pings.spill.as_ref().map(|spill| spill.pings.capacity()), Some(Spill::KEPT_PINGS));
    }

    #[test]
    fn a_large_spill_is_freed_when_it_is_empty() {
        let mut pings = with_pings(2 + Spill::KEPT_PINGS);
        settle_all(&mut pings);
        assert!(pings.spill.is_none());

        let mut pings = with_pings(MAX_PINGS_OUTSTANDING);
        assert_eq!(pings.remove_timed_out(Instant::MAX), MAX_PINGS_OUTSTANDING);
        assert!(pings.spill.is_none());
    }

    #[test]
    fn a_full_spill_has_no_room_beyond_the_limit() {
        let pings = with_pings(MAX_PINGS_OUTSTANDING);
        assert!(pings.spill.is_some_and(|spill| spill.pings.capacity() <= MAX_PINGS_OUTSTANDING));
    }
}
