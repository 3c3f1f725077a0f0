//! The generator: opens the planned connections, pings the peers on schedule, and counts the results.
//!
//! The generator runs through its [`Phase`]s in order. It uses one exact wake-up at a time, for the next dial, the
//! next ping or the end of the phase, whichever is first. A due ping is sent independently of earlier pings. A ping
//! that cannot be sent is counted as unsent and not sent later. A load ends early if no peer becomes ready or if all
//! ready peers are lost. The remaining operations then count as planned but not sent.

use super::accounts::Accounts;
use super::counts::PeerCounts;
use super::interval::Interval;
use super::phase::{EarlyEnd, EndCause, Phase};
use super::plan::Plan;
use super::record::{OperationResult, Recorder};
use super::report::Report;
use super::roster::Roster;
use super::schedule::Schedule;
use crate::api::{Event, Reply};
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::peer::PingInFlight;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of pings or dials started per wake-up. Further pings or dials that are due follow in the next turn.
const MAX_BURST: usize = 256;

/// The ramp ends at once if the first dials all fail in the same way: this many, or one for each target if that is
/// more.
const FIRST_DIALS: usize = 100;

/// A request from another thread to a generator.
#[derive(Debug)]
#[non_exhaustive]
pub enum GeneratorRequest {
    /// Report the progress.
    Progress(Reply<Progress>),
    /// Stop sending, wait for the run's last replies, and end the load.
    Finish,
    /// Stop sending, report the results so far and end the load, without waiting. Missing replies count as timed out.
    Report(Reply<Box<Report>>),
}

/// The progress of a generator.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// The time since the phase began.
    pub phase_elapsed: Duration,
    /// The connections so far.
    pub peers: PeerCounts,
    /// Pings that were due so far, in the counted part of the run.
    pub planned: u64,
    /// Pings sent so far, in the counted part of the run.
    pub sent: u64,
    /// Pings answered so far, in the counted part of the run.
    pub answered: u64,
    /// The last whole interval of the counted part of the run; `None` before the end of the first interval.
    pub interval: Option<Interval>,
}

/// A handler that connects to nodes and pings them according to a [`Plan`].
///
/// Its loop's configuration should disable the engine's own pings (`ping_interval` zero), because they would add to
/// the load.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    phase: Phase,
    phase_began: Instant,
    ramp_began: Instant,
    /// The schedule of the dials, then of the pings.
    schedule: Schedule,
    next_index: u64,
    /// The moment of the last requested wake-up.
    asked_for: Option<Instant>,
    roster: Roster,
    /// The number of closed connections among the first dials.
    first_failures: usize,
    accounts: Accounts,
}

impl Generator {
    /// Returns a generator that starts with its loop.
    ///
    /// # Panics
    ///
    /// If the plan has no target, or its connect rate is zero.
    pub fn new(plan: Plan) -> Self {
        assert!(!plan.targets.is_empty(), "the plan has no target");
        assert!(!plan.connect_rate.is_zero(), "the plan's connect rate is zero");
        let (accounts, roster) = (Accounts::new(&plan), Roster::new(plan.connections));
        Self {
            schedule: Schedule::new(Instant::ZERO, plan.connect_rate),
            plan,
            phase: Phase::Ramp,
            phase_began: Instant::ZERO,
            ramp_began: Instant::ZERO,
            next_index: 0,
            asked_for: None,
            roster,
            first_failures: 0,
            accounts,
        }
    }

    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the generator with a recorder for its intervals and operations, in place of an earlier recorder.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Box<dyn Recorder>) -> Self {
        self.accounts.set_recorder(recorder);
        self
    }

    /// Returns the report. Call it after the loop has ended.
    pub fn into_report(mut self) -> Report {
        self.accounts.end_load();
        self.accounts.report()
    }

    /// Returns the report of a load that never started. If `cause` is [`EndCause::Asked`], no operation counts as
    /// planned; otherwise all operations count as planned but not sent.
    pub fn into_report_of_no_run(mut self, cause: EndCause) -> Report {
        self.accounts.set_early_end(EarlyEnd { cause, phase: Phase::Ramp, elapsed: Duration::ZERO });
        self.count_rest(Instant::ZERO, Duration::ZERO);
        self.into_report()
    }

    // --- Phases -----------------------------------------------------------------------------------------------------

    fn enter(&mut self, ctx: &mut Ctx<'_>, phase: Phase) {
        let (before, elapsed) = (self.phase, self.phase_elapsed(ctx));
        self.phase = phase;
        self.phase_began = ctx.now();
        if before == Phase::Ramp {
            self.accounts.end_ramp(ctx.now().since(self.ramp_began));
        }
        match phase {
            Phase::Ramp => {}
            Phase::Warmup => self.begin_schedule(ctx.now()),
            Phase::Run => {
                self.begin_schedule(ctx.now());
                self.accounts.begin_run(ctx);
            }
            Phase::Drain => {
                self.count_rest(ctx.now(), elapsed);
                self.accounts.end_run(ctx);
            }
            Phase::Done => {
                for (connection, peer) in self.roster.peers() {
                    self.accounts.note_unanswered(ctx, peer, connection, OperationResult::TimedOut);
                }
                if before != Phase::Drain {
                    self.next_index = 0;
                    self.count_rest(ctx.now(), Duration::ZERO);
                }
                self.accounts.end_load();
                ctx.stop();
            }
        }
        self.wake(ctx);
    }

    /// Counts the run's remaining operations as planned but not sent: all until the run's planned end or, if the load
    /// was asked to finish, only those that were due within `elapsed` of the run's start.
    fn count_rest(&mut self, now: Instant, elapsed: Duration) {
        let time = match self.accounts.early_end() {
            Some(EarlyEnd { cause: EndCause::Asked, .. }) => elapsed.min(self.plan.duration),
            Some(_) | None => self.plan.duration,
        };
        self.accounts.set_scheduled_time(time);
        let rest = self.next_index..self.plan.rate.count_in(time);
        for (connection, count, is_ready) in self.roster.shares(rest.clone()) {
            self.accounts.note_rest(connection, count, is_ready);
        }
        let roster = &self.roster;
        self.accounts.record_rest(rest, now, |operation| {
            let connection = roster.owner_of(operation);
            (connection, roster.peer_at(connection).is_some())
        });
    }

    /// Records the cause of an early end. Then enters the drain if the run has begun, else the last phase.
    fn end_early(&mut self, ctx: &mut Ctx<'_>, cause: EndCause) {
        let elapsed = self.phase_elapsed(ctx);
        self.accounts.set_early_end(EarlyEnd { cause, phase: self.phase, elapsed });
        self.enter(ctx, if self.phase == Phase::Run { Phase::Drain } else { Phase::Done });
    }

    fn phase_elapsed(&self, ctx: &Ctx<'_>) -> Duration {
        ctx.now().since(self.phase_began)
    }

    fn begin_schedule(&mut self, begin: Instant) {
        self.schedule = Schedule::new(begin, self.plan.rate);
        self.next_index = 0;
    }

    /// Returns the phase's scheduled end; [`Instant::MAX`] if it has none.
    fn phase_end(&self) -> Instant {
        match self.phase {
            Phase::Ramp | Phase::Done => Instant::MAX,
            Phase::Warmup => self.phase_began.plus(self.plan.warmup),
            Phase::Run => self.phase_began.plus(self.plan.duration),
            Phase::Drain => self.phase_began.plus(self.plan.drain),
        }
    }

    /// Enters the next phase if this phase is over, and further phases while they are over too.
    ///
    /// The call that starts the warm-up never ends it. The last bytes of the handshakes are therefore normally sent
    /// before the run starts, and do not count as the run's traffic.
    fn advance(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.phase;
        loop {
            if before == Phase::Ramp && self.phase == Phase::Warmup {
                return;
            }
            if let Some(cause) = self.early_end() {
                self.end_early(ctx, cause);
            } else if let Some(next) = self.next_phase(ctx.now()) {
                self.enter(ctx, next);
            } else {
                return;
            }
        }
    }

    /// Returns the cause that ends the load early in this phase, if there is one.
    fn early_end(&self) -> Option<EndCause> {
        let peers = self.accounts.peers();
        let all_lost = self.roster.is_empty().then_some(EndCause::AllLost);
        match self.phase {
            Phase::Ramp if peers.is_decided() && peers.ready == 0 => Some(EndCause::NoneReady),
            Phase::Ramp if peers.is_decided() => all_lost,
            Phase::Ramp if self.first_failures >= self.first_dials() && self.accounts.all_failed_alike() => {
                Some(EndCause::FirstDialsFailed { dials: peers.failed })
            }
            Phase::Warmup | Phase::Run => all_lost,
            Phase::Ramp | Phase::Drain | Phase::Done => None,
        }
    }

    /// Returns the number of dials whose common failure ends the ramp. It is at least the number of targets, so that
    /// each target has been dialled.
    fn first_dials(&self) -> usize {
        FIRST_DIALS.max(self.plan.targets.len())
    }

    fn next_phase(&self, now: Instant) -> Option<Phase> {
        let is_over = now >= self.phase_end();
        match self.phase {
            Phase::Ramp => self.accounts.peers().is_decided().then_some(Phase::Warmup),
            Phase::Warmup => is_over.then_some(Phase::Run),
            Phase::Run => is_over.then_some(Phase::Drain),
            Phase::Drain => {
                let is_settled = self.accounts.work().is_settled() || self.roster.is_empty();
                (is_over || is_settled).then_some(Phase::Done)
            }
            Phase::Done => None,
        }
    }

    fn finish(&mut self, ctx: &mut Ctx<'_>) {
        match self.phase {
            Phase::Ramp | Phase::Warmup | Phase::Run => self.end_early(ctx, EndCause::Asked),
            Phase::Drain | Phase::Done => {}
        }
    }

    fn wake(&mut self, ctx: &mut Ctx<'_>) {
        let next = match self.phase {
            Phase::Ramp if self.next_index < self.plan.connections as u64 => self.schedule.moment(self.next_index),
            Phase::Warmup | Phase::Run => self.schedule.moment(self.next_index),
            Phase::Ramp | Phase::Drain | Phase::Done => Instant::MAX,
        };
        let moment = next.min(self.phase_end()).min(match self.phase {
            Phase::Run | Phase::Drain => self.accounts.awaited_interval_end(),
            Phase::Ramp | Phase::Warmup | Phase::Done => Instant::MAX,
        });
        self.asked_for = (moment != Instant::MAX).then_some(moment);
        if let Some(moment) = self.asked_for {
            ctx.wake_at(moment);
        }
    }

    // --- Due work ----------------------------------------------------------------------------------------------------

    fn dial_due(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..MAX_BURST {
            if self.next_index >= self.plan.connections as u64 || self.schedule.moment(self.next_index) > ctx.now() {
                return;
            }
            let (index, planned) = (self.next_index as usize, self.schedule.moment(self.next_index));
            let (target, source) = self.plan.endpoints(index);
            self.next_index += 1;
            self.accounts.note_dial(planned.since(self.ramp_began), ctx.now().since(self.ramp_began));
            let dialled = match source {
                Some(source) => ctx.connect_from(source, target),
                None => ctx.connect(target),
            };
            match dialled {
                Ok(peer) => self.roster.note_dialled(index, peer),
                Err(error) => self.accounts.not_dialled(index, error),
            }
        }
    }

    fn ping_due(&mut self, ctx: &mut Ctx<'_>) {
        let end = self.phase_end();
        for _ in 0..MAX_BURST {
            let planned = self.schedule.moment(self.next_index);
            if planned > ctx.now() || planned >= end {
                return;
            }
            if self.phase == Phase::Run && planned.since(self.phase_began) >= self.plan.duration / 2 {
                self.accounts.note_middle();
            }
            let (index, connection) = (self.next_index, self.roster.owner_of(self.next_index));
            self.next_index += 1;
            let nonce = self.roster.peer_at(connection).and_then(|peer| ctx.ping(peer, planned).ok());
            if self.phase == Phase::Run {
                self.accounts.note_due(ctx.now(), index, connection, planned, nonce);
            }
        }
    }

    fn progress(&mut self, ctx: &Ctx<'_>) -> Progress {
        Progress {
            phase: self.phase,
            phase_elapsed: ctx.now().since(self.phase_began),
            peers: self.accounts.peers(),
            planned: self.accounts.work().planned,
            sent: self.accounts.work().sent,
            answered: self.accounts.work().answered,
            interval: self.accounts.latest_interval(ctx.now()),
        }
    }
}

impl Handler for Generator {
    type Request = GeneratorRequest;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.phase_began = ctx.now();
        self.ramp_began = ctx.now();
        self.schedule = Schedule::new(ctx.now(), self.plan.connect_rate);
        self.advance(ctx);
        self.wake(ctx);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        match self.phase {
            Phase::Ramp => self.dial_due(ctx),
            Phase::Warmup => self.ping_due(ctx),
            Phase::Run => {
                // A wake-up before the latest requested moment belongs to an earlier request and is not late.
                if let Some(asked_for) = self.asked_for.filter(|moment| *moment <= ctx.now()) {
                    self.accounts.note_loop_lag(ctx.now(), ctx.now().since(asked_for));
                }
                self.ping_due(ctx);
            }
            Phase::Drain | Phase::Done => {}
        }
        self.accounts.end_intervals(ctx.now());
        self.advance(ctx);
        self.wake(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        // Another handler of the loop may have peers of its own.
        let Some(connection) = self.roster.index_of(peer) else { return };
        match event {
            Event::Opened { connect } => {
                // Connections are opened in the ramp, whose schedule holds the moments of the dials.
                let planned = self.schedule.moment(connection as u64);
                let (since_planned, since_begin) = (ctx.now().since(planned), ctx.now().since(self.ramp_began));
                self.accounts.note_opened(connection, since_planned, since_begin, connect);
            }
            Event::Ready { handshake } => {
                self.roster.add(connection, peer);
                let version = ctx.peer(peer).and_then(|view| view.version());
                self.accounts.note_ready(connection, handshake, version);
                self.advance(ctx);
            }
            // The accounts are closed once the load is done.
            Event::Pong { .. } if self.phase == Phase::Done => {}
            Event::Pong { nonce, planned, sent, received } => {
                self.accounts.note_pong(connection, PingInFlight { nonce, planned, sent: Some(sent) }, received);
                if self.phase == Phase::Drain {
                    self.advance(ctx);
                }
            }
            Event::Closed { reason, state } => {
                self.roster.remove(peer);
                if self.phase != Phase::Done {
                    self.first_failures += usize::from(connection < self.first_dials());
                    self.accounts.note_unanswered(ctx, peer, connection, OperationResult::Lost);
                    self.accounts.note_closed(ctx, connection, reason, state);
                    self.advance(ctx);
                }
            }
            Event::VersionReceived
            | Event::Written { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: GeneratorRequest) {
        match command {
            GeneratorRequest::Progress(reply) => reply.send(self.progress(ctx)),
            GeneratorRequest::Finish => self.finish(ctx),
            GeneratorRequest::Report(reply) => {
                self.finish(ctx);
                if self.phase != Phase::Done {
                    self.enter(ctx, Phase::Done);
                }
                reply.send(Box::new(self.accounts.report()));
            }
        }
    }
}
