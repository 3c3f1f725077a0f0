//! Expired deadlines: the actions of a link's timer.
//!
//! A reply that arrived in time may still be unread in the kernel, for example if the process was suspended or many
//! other links are read first. The deadlines of a link that is not closing are therefore compared with the moment up
//! to which input was seen, not with the current moment. The former counts as at most [`UNREAD_INPUT_GRACE`] ago.

use crate::bugs::canary;
use crate::error::Deadline;
use crate::id::LinkId;
use crate::limits::{CLOSE_GRACE, SEND_STALL_TIMEOUT, TICK, UNREAD_INPUT_GRACE};
use crate::link::framer::FramerRules;
use crate::link::row::{Link, Phase};
use crate::peer::ConnectionState;
use crate::state::LoopState;
use crate::time::Instant;

/// The engine's parts that a link's timer needs.
pub(super) struct Deadlines<'a> {
    pub(super) state: &'a mut LoopState,
    pub(super) rules: &'a FramerRules,
}

impl Deadlines<'_> {
    /// Handles the fired timer of the link in `slot`, and arms it for the link's next deadline.
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
            Some(Phase::AwaitingStreams(since)) if now >= since.plus(SEND_STALL_TIMEOUT) => self.state.links.finish(id),
            Some(Phase::Lingering(since)) if now >= since.plus(CLOSE_GRACE) => self.state.links.finish(id),
            Some(Phase::Draining(_) | Phase::AwaitingStreams(_) | Phase::Lingering(_) | Phase::Ended) => {}
        }
        self.state.links.rearm(id, now);
    }

    /// Lists a link for reading and writing again once its pause after a memory failure is over.
    fn retry_if_due(&mut self, id: LinkId) {
        let now = self.state.clocks.now();
        let Some(link) = self.state.links.table.get_mut(id).filter(|link| link.retry_at <= now) else { return };
        link.retry_at = Instant::MAX;
        link.readiness.readable = true;
        link.readiness.writable = true;
        self.state.links.table.mark_ready(id);
        self.state.links.table.mark_dirty(id);
        // The retry no longer puts off the deadlines of the peer's other links.
        self.state.links.members(id).for_each(|member| self.state.links.rearm(member, now));
    }

    /// Returns the moment up to which the peer's input was seen on all its links, because a pong may arrive on any of
    /// them. The moment is never more than [`UNREAD_INPUT_GRACE`] ago.
    fn input_seen_until(&self, id: LinkId) -> Instant {
        let links = &self.state.links;
        let is_behind = |link: &Link| link.is_listed() || link.retry_at != Instant::MAX;
        let seen_until = if links.members(id).any(|member| links.table.get(member).is_some_and(is_behind)) {
            Instant::ZERO
        } else {
            self.state.clocks.input_seen_until
        };
        seen_until.max(self.state.clocks.now().minus(UNREAD_INPUT_GRACE))
    }

    /// Returns a deadline that the peer has missed by `now`; `None` if it has missed none.
    fn overdue(&mut self, id: LinkId, now: Instant) -> Option<Deadline> {
        let now = if canary!(EarlyTimer) { now.plus(TICK) } else { now };
        let config = &self.state.config;
        let timeout = self.state.links.timeouts.handshake_of(self.state.links.table.get(id)?);
        let link = self.state.links.table.get_mut(id)?;
        link.peer.ping_pong_mut().set_timeout(config.pong_timeout);
        match link.peer.state() {
            ConnectionState::Connecting if now >= link.peer.since().plus(config.connect_timeout) => {
                return Some(Deadline::Connect);
            }
            ConnectionState::AwaitingHandshake
                if !link.hold.is_held() && link.peer.handshake().is_timed_out(now, timeout) =>
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
        let is_late = !may_be_behind && link.peer.ping_pong().next_deadline().is_some_and(|deadline| now >= deadline);
        let overdue = link.framer.overdue(now, self.rules);
        if is_late && !self.excuse_if_behind(id) {
            return Some(Deadline::Pong);
        }
        overdue
    }

    /// Restarts the timeouts of the peer's pings if a large payload is arriving on any of its streams, because the
    /// payload may hold up the pongs. Returns whether it did.
    fn excuse_if_behind(&mut self, id: LinkId) -> bool {
        let links = &mut self.state.links;
        let is_busy = |member| links.table.get(member).is_some_and(|link| link.framer.is_within_large_payload());
        let is_behind = links.members(id).any(is_busy);
        if is_behind {
            links.restart_pings(id, self.state.clocks.now());
        }
        is_behind
    }

    /// Returns the number of pings in flight on all of a peer's links.
    fn pings_in_flight(&self, id: LinkId) -> usize {
        let links = &self.state.links;
        let on_link = |member| links.table.get(member).map_or(0, |link| link.peer.ping_pong().pending_count());
        links.members(id).map(on_link).sum()
    }

    /// Pings a peer whose ping is due, to check that the peer is alive. Sends no ping while another one is in flight.
    fn ping_if_due(&mut self, id: LinkId, now: Instant) {
        let planned =
            self.state.links.table.get(id).map_or(Instant::MAX, |link| self.state.links.timeouts.ping_due(link));
        let Some(link) = self.state.links.table.get_mut(id).filter(|_| planned <= now) else {
            self.state.telemetry.counters.timers_rearmed += 1;
            return;
        };
        link.pinged_at = now;
        if self.pings_in_flight(id) == 0 {
            // No handler planned this ping, so its latency is measured from the moment it is sent. The timer's lag is
            // recorded separately. If the queue is full, the error is ignored, because the send deadline closes a
            // peer that does not read.
            let _ = self.state.ping(id, Instant::MAX);
            self.state.telemetry.keepalive_lag.record(now.since(planned));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::channel::NoHandler;
    use crate::config::Config;
    use crate::engine::Engine;
    use crate::error::IoStep;
    use crate::id::LinkId;
    use crate::limits::{HANDSHAKE_TIMEOUT, MEMORY_RETRY, UNREAD_INPUT_GRACE};
    use crate::link::association::Association;
    use crate::link::row::Link;
    use crate::protocol::Network;
    use crate::time::{Instant, Wait};
    use crate::wheel::tick_of;
    use crate::wire::StreamType;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    const ENOMEM: i32 = 12;
    const PONG_TIMEOUT: Duration = Duration::from_secs(5);

    /// Returns an engine whose one peer has a first link and a stream DATA1. A ping that was sent at zero is in flight
    /// on the first link.
    fn with_two_streams() -> (Engine, LinkId, LinkId) {
        let config = Config::new(Network::Regtest).with_pong_timeout(PONG_TIMEOUT);
        let mut engine = Engine::new(config, StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        let [general, data1] = [(); 2].map(|()| {
            let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("the table is empty");
            engine.handshake(id).tcp_connected(&mut NoHandler);
            id
        });
        engine.dispatch_control_events(&mut NoHandler);
        let links = &mut engine.state.links;
        links.associate(general, Association::of_accepted([1; 16]));
        links.join(data1, general, StreamType::Data1, false);
        let link = links.table.get_mut(general).expect("the link is live");
        assert!(link.peer.ping_pong_mut().record_ping(1, Instant::ZERO));
        (engine, general, data1)
    }

    /// Moves the clock to `now`, up to which all input is listed, and fires the link's timer.
    fn judge_at(engine: &mut Engine, id: LinkId, now: Instant) {
        engine.state.clocks.advance(now);
        engine.state.clocks.input_seen_until = now;
        engine.timer_due(id.slot() as u32);
    }

    fn has_ended(engine: &Engine, id: LinkId) -> bool {
        engine.state.links.table.get(id).is_some_and(Link::has_ended)
    }

    #[test]
    fn a_late_pong_may_wait_unread_on_another_stream_but_not_beyond_the_grace() {
        let late = Instant::ZERO.plus(PONG_TIMEOUT);
        let (mut engine, general, data1) = with_two_streams();
        engine.note_readiness(data1, true, false, false);
        judge_at(&mut engine, general, late);
        assert!(!has_ended(&engine, general), "the pong may be on the stream that is listed");
        assert_eq!(engine.state.links.table.pop_ready(), Some((data1, false)));
        judge_at(&mut engine, general, late);
        assert!(has_ended(&engine, general), "all input was read");

        let (mut engine, general, data1) = with_two_streams();
        engine.note_readiness(data1, true, false, false);
        judge_at(&mut engine, general, late.plus(UNREAD_INPUT_GRACE));
        assert!(has_ended(&engine, general), "the grace is over");
    }

    #[test]
    fn a_late_pong_wakes_the_loop_only_for_retries_while_another_stream_waits_for_memory() {
        let late = Instant::ZERO.plus(PONG_TIMEOUT);
        let (mut engine, general, data1) = with_two_streams();
        engine.state.clocks.advance(late);
        engine.stalled(data1, IoStep::Read, &io::Error::from_raw_os_error(ENOMEM));
        judge_at(&mut engine, general, late);
        assert!(!has_ended(&engine, general), "the pong may be on the stream that waits for memory");
        assert_eq!(engine.state.links.due_at(general, late), late.plus(MEMORY_RETRY));
        // The retry fires before the other link's timer does.
        let retried = late.plus(MEMORY_RETRY);
        judge_at(&mut engine, data1, retried);
        assert_eq!(engine.state.links.due_at(general, retried), late);
        let table = &mut engine.state.links.table;
        assert_eq!((table.pop_ready(), table.pop_dirty()), (Some((data1, false)), Some(data1)));
        judge_at(&mut engine, general, retried);
        assert!(has_ended(&engine, general), "all input was read");
    }

    #[test]
    fn while_memory_is_exhausted_a_late_peer_wakes_the_loop_only_for_retries_until_it_is_closed() {
        let mut engine = Engine::new(Config::new(Network::Regtest), StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("the table is empty");
        engine.handshake(id).tcp_connected(&mut NoHandler);
        engine.dispatch_control_events(&mut NoHandler);
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
        assert!(engine.state.links.table.get(id).is_some_and(Link::has_ended), "the link is still open");
    }
}
