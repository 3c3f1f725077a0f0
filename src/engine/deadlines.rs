//! Expired deadlines: what a link's timer does when it fires.
//!
//! A peer is judged by what it did, never by what we have not looked at yet: after a stop of the process, or behind
//! many others, its answer may lie unread in the kernel although it came in time.

use crate::bugs::canary;
use crate::error::Deadline;
use crate::id::LinkId;
use crate::limits::{CLOSE_GRACE, SEND_STALL_TIMEOUT, TICK, UNREAD_INPUT_GRACE};
use crate::link::framer::FramerRules;
use crate::link::row::{Link, Phase};
use crate::peer::ConnectionState;
use crate::state::LoopState;
use crate::time::Instant;

/// The engine's parts by which links are judged when their timers fire.
pub(super) struct Deadlines<'a> {
    pub(super) state: &'a mut LoopState,
    pub(super) rules: &'a FramerRules,
}

impl Deadlines<'_> {
    /// Handles the timer of the link in `slot`, which has fired: either one of its deadlines has passed, or they have
    /// all moved and the timer is set again.
    pub(super) fn timer_due(&mut self, slot: u32) {
        let Some(id) = self.state.links.table.id_at(slot) else { return };
        let now = self.state.clocks.now();
        self.retry_if_due(id);
        let Some(link) = self.state.links.table.get_mut(id) else { return };
        match link.phase() {
            None => match self.overdue(id, self.input_seen_until(id)) {
                Some(deadline) => {
                    self.state.telemetry.counters.timeouts += 1;
                    self.state.links.abort(id, deadline.into());
                }
                None => self.ping_if_due(id, now),
            },
            Some(Phase::Draining(_)) if link.queue.is_empty() => self.state.links.table.mark_closing(id),
            Some(Phase::Draining(since))
                if now >= link.send_progress.plus(CLOSE_GRACE) || now >= since.plus(SEND_STALL_TIMEOUT) =>
            {
                self.state.links.finish(id)
            }
            Some(Phase::Lingering(since)) if now >= since.plus(CLOSE_GRACE) => self.state.links.finish(id),
            Some(Phase::Draining(_) | Phase::Lingering(_) | Phase::Ended) => {}
        }
        self.state.links.rearm(id, now);
    }

    /// Reads and writes again where memory was short.
    fn retry_if_due(&mut self, id: LinkId) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id).filter(|link| link.retry_at <= now) else { return };
        link.retry_at = Instant::MAX;
        link.readiness.readable = true;
        link.readiness.writable = true;
        self.state.links.table.mark_ready(id);
        self.state.links.table.mark_dirty(id);
    }

    /// Returns the moment up to which the peer's input was seen. What is still unread puts it off by
    /// [`UNREAD_INPUT_GRACE`] at most.
    fn input_seen_until(&self, id: LinkId) -> Instant {
        let is_behind = |link: &Link| link.is_listed() || link.retry_at != Instant::MAX;
        let seen_until = if self.state.links.table.get(id).is_some_and(is_behind) {
            Instant::ZERO
        } else {
            self.state.clocks.input_seen_until
        };
        seen_until.max(self.state.clocks.now().minus(UNREAD_INPUT_GRACE))
    }

    /// The first thing that the peer should have done by `now`.
    fn overdue(&mut self, id: LinkId, now: Instant) -> Option<Deadline> {
        let now = if canary!(EarlyTimer) { now.plus(TICK) } else { now };
        let config = &self.state.config;
        let link = self.state.links.table.get_mut(id)?;
        link.peer.ping_pong_mut().set_timeout(config.pong_timeout);
        match link.peer.state() {
            ConnectionState::Connecting if now >= link.peer.since().plus(config.connect_timeout) => {
                return Some(Deadline::Connect);
            }
            ConnectionState::AwaitingHandshake
                if !link.hold.is_held() && link.peer.handshake().is_timed_out(now, config.handshake_timeout) =>
            {
                return Some(Deadline::Handshake);
            }
            ConnectionState::Connecting
            | ConnectionState::AwaitingHandshake
            | ConnectionState::Connected
            | ConnectionState::Disconnected
            | ConnectionState::Rejected
            | ConnectionState::Failed => {}
        }
        if !link.queue.is_empty() && now >= link.send_progress.plus(SEND_STALL_TIMEOUT) {
            return Some(Deadline::Send);
        }
        if link.hold.is_held() {
            return None;
        }
        let may_be_behind = link.framer.is_within_large_payload();
        if !may_be_behind && link.peer.ping_pong().next_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(Deadline::Pong);
        }
        link.framer.overdue(now, self.rules)
    }

    /// Sends the ping that keeps a quiet connection known to be alive; one in flight is enough.
    fn ping_if_due(&mut self, id: LinkId, now: Instant) {
        let planned =
            self.state.links.table.get(id).map_or(Instant::MAX, |link| self.state.links.timeouts.ping_due(link));
        let Some(link) = self.state.links.table.get_mut(id).filter(|_| planned <= now) else {
            self.state.telemetry.counters.timers_rearmed += 1;
            return;
        };
        link.pinged_at = now;
        if link.peer.ping_pong().pending_count() == 0 {
            // Nobody planned this ping: it counts from its sending, and the timer's lag by itself. A full queue means
            // that the peer takes nothing, which has a deadline of its own.
            let _ = self.state.ping(id, Instant::MAX);
            self.state.telemetry.keepalive_lag.record(now.since(planned));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::engine::Engine;
    use crate::error::IoStep;
    use crate::handler::Handler;
    use crate::limits::{HANDSHAKE_TIMEOUT, MEMORY_RETRY, UNREAD_INPUT_GRACE};
    use crate::link::row::Link;
    use crate::protocol::Network;
    use crate::time::{Instant, Wait};
    use crate::wheel::tick_of;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::io;
    use std::sync::Arc;

    struct Deaf;

    impl Handler for Deaf {
        type Request = ();
    }

    #[test]
    fn who_is_late_while_memory_is_short_wakes_the_loop_for_the_next_try_only() {
        const ENOMEM: i32 = 12;
        let mut engine = Engine::new(Config::new(Network::Regtest), StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("the table is empty");
        engine.handshake(id).tcp_connected(&mut Deaf);
        engine.dispatch_control_events(&mut Deaf);
        let mut now = Instant::ZERO.plus(HANDSHAKE_TIMEOUT);
        let judged = Instant::ZERO.plus(HANDSHAKE_TIMEOUT + UNREAD_INPUT_GRACE);
        while now < judged {
            engine.state.clocks.advance(now);
            engine.state.clocks.input_seen_until = now;
            engine.stalled(id, IoStep::Read, &io::Error::from_raw_os_error(ENOMEM));
            let mut due = Vec::new();
            engine.state.links.wheel.expire(tick_of(now), 1, &mut due);
            due.into_iter().for_each(|slot| engine.timer_due(slot));
            assert_eq!(engine.wait(), Wait::Until(now.plus(MEMORY_RETRY)));
            now = now.plus(MEMORY_RETRY);
        }
        engine.state.clocks.advance(now);
        engine.timer_due(id.slot() as u32);
        assert!(engine.state.links.table.get(id).is_some_and(Link::has_ended), "in the end");
    }
}
