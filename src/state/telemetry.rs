//! The loop's own statistics: gauges, counters, latencies, and the cost of each peer.
//!
//! This module decides nothing. The engine bases decisions on the census, and only reports the other values.

use crate::api::Latency;
use crate::id::LinkId;
use crate::limits::MAX_POLL_TIME;
use crate::peer::ConnectionState;
use crate::stats::histogram::{Counters, LatencyHistogram};
use crate::stats::{Census, CloseCounts, Costs, DialHoldCounts, Mark, MessageCounts, PeerCost};
use crate::time::Instant;
use std::mem;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Telemetry {
    /// The links by state and type.
    pub(crate) census: Census,
    pub(crate) counters: Counters,
    pub(crate) closes: CloseCounts,
    pub(crate) dial_holds: DialHoldCounts,
    pub(crate) received: MessageCounts,
    pub(crate) sent: MessageCounts,
    /// Each peer's cost, if costs are measured.
    pub(crate) costs: Option<Box<Costs>>,
    pub(crate) connect: LatencyHistogram,
    pub(crate) handshake: LatencyHistogram,
    pub(crate) ping_rtt: LatencyHistogram,
    pub(crate) turn: LatencyHistogram,
    pub(crate) loop_lag: LatencyHistogram,
    pub(crate) keepalive_lag: LatencyHistogram,
    /// Bytes of memory held for incomplete large messages at the start of the turn.
    pub(crate) gathered_bytes: u64,
    /// Time spent working.
    pub(crate) busy: Duration,
    /// Time that the last turn spent working.
    last_turn: Duration,
    /// The longest time for which input can have waited in the kernel when this turn began.
    pub(crate) max_input_age: Duration,
    /// Time spent polling instead of sleeping.
    pub(crate) spinning: Duration,
}

impl Telemetry {
    pub(crate) fn new(measure_peers: bool) -> Self {
        Self {
            census: Census::default(),
            counters: Counters::default(),
            closes: CloseCounts::default(),
            dial_holds: DialHoldCounts::default(),
            received: MessageCounts::default(),
            sent: MessageCounts::default(),
            costs: measure_peers.then(Box::default),
            connect: LatencyHistogram::new(),
            handshake: LatencyHistogram::new(),
            ping_rtt: LatencyHistogram::new(),
            turn: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            keepalive_lag: LatencyHistogram::new(),
            gathered_bytes: 0,
            busy: Duration::ZERO,
            last_turn: Duration::ZERO,
            max_input_age: Duration::ZERO,
            spinning: Duration::ZERO,
        }
    }

    /// Returns the number of peers whose handshake is complete.
    pub(crate) fn ready_count(&self) -> usize {
        self.census.in_state(ConnectionState::Connected)
    }

    /// Notes that the loop waited for `waited` before this turn. A longer wait is a sleep, and the loop sleeps only if
    /// the kernel has no input for it.
    pub(crate) fn note_wait(&mut self, waited: Duration) {
        let is_sleep = waited > MAX_POLL_TIME;
        self.max_input_age = if is_sleep { Duration::ZERO } else { self.last_turn.saturating_add(waited) };
    }

    /// Counts a turn that worked for `took`; `None` if it had no work.
    pub(crate) fn note_turn(&mut self, took: Option<Duration>) {
        self.counters.turns += 1;
        self.last_turn = took.unwrap_or_default();
        self.busy += self.last_turn;
        if let Some(took) = took {
            self.turn.record(took);
        }
    }

    /// Replaces a histogram with `spare`, and returns the replaced one.
    pub(crate) fn swap_histogram(&mut self, latency: Latency, spare: LatencyHistogram) -> LatencyHistogram {
        let histogram = match latency {
            Latency::Connect => &mut self.connect,
            Latency::Handshake => &mut self.handshake,
            Latency::PingRtt => &mut self.ping_rtt,
            Latency::Turn => &mut self.turn,
            Latency::LoopLag => &mut self.loop_lag,
            Latency::KeepaliveLag => &mut self.keepalive_lag,
        };
        mem::replace(histogram, spare)
    }

    // --- Costs of peers ---------------------------------------------------------------------------------------------

    /// Starts to measure peers' costs from zero, or stops and frees the memory. Idempotent.
    pub(crate) fn measure_peers(&mut self, measures: bool) {
        if measures != self.costs.is_some() {
            self.costs = measures.then(Box::default);
        }
    }

    /// Returns a peer's cost up to `now`, if costs are measured.
    pub(crate) fn cost_of(&self, id: LinkId, now: Instant) -> Option<PeerCost> {
        self.costs.as_ref().map(|costs| costs.of(id, now))
    }

    /// Returns the current time and byte counts, if costs are measured. Only then is `clock` called.
    pub(crate) fn mark(&self, clock: impl FnOnce() -> Instant) -> Option<Mark> {
        self.costs.as_ref().map(|_| Mark {
            at: clock(),
            received_bytes: self.counters.bytes_received,
            sent_bytes: self.counters.bytes_sent,
        })
    }

    /// Charges the time and bytes since `mark` to a link, and advances `mark`, or clears it if costs are no longer
    /// measured.
    pub(crate) fn charge(&mut self, id: LinkId, mark: &mut Option<Mark>, clock: impl FnOnce() -> Instant) {
        let Some(from) = mark else { return };
        let to = self.mark(clock);
        if let (Some(costs), Some(to)) = (&mut self.costs, &to) {
            costs.charge(id, from, to);
        }
        *mark = to;
    }
}
