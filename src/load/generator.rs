//! The generator: opens the planned connections, pings them by the schedule, and keeps the account.
//!
//! It goes through its [`Phase`]s in order and never back. All of its timing is one exact wake-up at a time: the next
//! dial, the next ping or the end of the phase, whichever is sooner. A ping that falls due is sent whatever became of
//! those before it; one that cannot be sent is counted as unsent and not caught up.

use super::plan::Plan;
use super::report::{Accounts, PeerCounts, Report};
use super::schedule::Schedule;
use crate::api::{Answer, Ctx, Event, Handler};
use crate::histogram::LatencyHistogram;
use crate::id::PeerId;
use crate::peer::ConnectionState;
use crate::time::Instant;
use std::mem;
use std::time::Duration;

/// Pings or dials started in one call of the timer; what else is due follows in the next turn.
const BURST_MAX: usize = 256;

/// What a generator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections.
    Ramp,
    /// Pinging without counting.
    Warmup,
    /// Pinging and counting.
    Run,
    /// Waiting for the last answers.
    Drain,
    /// Closing the connections.
    Done,
}

/// What other threads can ask of a generator.
#[derive(Debug)]
pub enum GeneratorCommand {
    /// How far it is. Its interval histogram is exchanged for `spare`, which must be empty.
    Progress {
        /// The histogram to go on with.
        spare: Box<LatencyHistogram>,
        /// Who gets the answer.
        answer: Answer<Progress>,
    },
    /// Stop sending, wait for the last answers, and report what there is.
    Finish,
}

/// How far a generator is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// For how long.
    pub phase_elapsed: Duration,
    /// Its connections so far.
    pub peers: PeerCounts,
    /// Pings that were due so far, in the counted part of the run.
    pub planned: u64,
    /// Pings sent so far, likewise.
    pub sent: u64,
    /// Pings answered so far, likewise.
    pub answered: u64,
    /// The latencies from the planned moment, of the answers since the last time this was asked.
    pub interval: Box<LatencyHistogram>,
}

/// Opens peers and pings them by a [`Plan`].
///
/// Its configuration should send no pings of the engine's own (`ping_interval` zero), or they add to the load.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    phase: Phase,
    phase_began: Instant,
    ramp_began: Instant,
    /// The dials, then the pings.
    schedule: Schedule,
    next_index: u64,
    /// What it was last woken for.
    asked_for: Option<Instant>,
    /// Ready peers; the pings go round them.
    ready: Vec<PeerId>,
    next_peer: usize,
    /// By slot: where in `ready` the peer stands.
    positions: Vec<usize>,
    accounts: Accounts,
    interval: Box<LatencyHistogram>,
}

impl Generator {
    /// A generator that begins when its loop does.
    ///
    /// # Panics
    ///
    /// If the plan has no target, or a connect rate that is not over zero.
    pub fn new(plan: Plan) -> Self {
        assert!(!plan.targets.is_empty(), "a plan has a target");
        assert!(!plan.connect_rate.is_zero(), "a plan opens its connections at some rate");
        let accounts = Accounts::new(plan.connections);
        Self {
            schedule: Schedule::new(Instant::ZERO, plan.connect_rate),
            plan,
            phase: Phase::Ramp,
            phase_began: Instant::ZERO,
            ramp_began: Instant::ZERO,
            next_index: 0,
            asked_for: None,
            ready: Vec::new(),
            next_peer: 0,
            positions: Vec::new(),
            accounts,
            interval: Box::default(),
        }
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The account, once its loop has ended.
    pub fn into_report(self) -> Report {
        self.accounts.into_report()
    }

    // --- Phases -----------------------------------------------------------------------------------------------------

    fn enter(&mut self, ctx: &mut Ctx<'_>, phase: Phase) {
        let run_end = self.phase_end();
        self.phase = phase;
        self.phase_began = ctx.now();
        match phase {
            Phase::Ramp => {}
            Phase::Warmup => {
                self.accounts.ramp_time = Some(self.phase_began.since(self.ramp_began));
                self.begin_schedule(ctx.now());
            }
            Phase::Run => {
                self.begin_schedule(ctx.now());
                self.accounts.begin_run(ctx);
            }
            Phase::Drain => {
                let due = self.schedule.count_until(run_end.min(self.phase_began));
                self.accounts.work.note_skipped(due.saturating_sub(self.next_index));
                self.accounts.end_run(ctx);
            }
            Phase::Done => ctx.stop(),
        }
        self.wake(ctx);
    }

    fn begin_schedule(&mut self, begin: Instant) {
        self.schedule = Schedule::new(begin, self.plan.rate);
        self.next_index = 0;
    }

    /// When the phase ends by the clock.
    fn phase_end(&self) -> Instant {
        match self.phase {
            Phase::Ramp | Phase::Done => Instant::MAX,
            Phase::Warmup => self.phase_began.plus(self.plan.warmup),
            Phase::Run => self.phase_began.plus(self.plan.duration),
            Phase::Drain => self.phase_began.plus(self.plan.drain),
        }
    }

    /// Goes on to the next phase if this one is over, and on from there if there is nothing to do in it.
    fn advance(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(next) = self.next_phase(ctx.now()) {
            self.enter(ctx, next);
        }
    }

    fn next_phase(&self, now: Instant) -> Option<Phase> {
        let is_over = now >= self.phase_end();
        match self.phase {
            Phase::Ramp if !self.accounts.peers.is_decided() => None,
            Phase::Ramp if self.ready.is_empty() => Some(Phase::Done),
            Phase::Ramp => Some(Phase::Warmup),
            Phase::Warmup => is_over.then_some(Phase::Run),
            Phase::Run => (is_over || self.ready.is_empty()).then_some(Phase::Drain),
            Phase::Drain => (is_over || self.accounts.work.is_settled()).then_some(Phase::Done),
            Phase::Done => None,
        }
    }

    fn finish(&mut self, ctx: &mut Ctx<'_>) {
        match self.phase {
            Phase::Ramp | Phase::Warmup => {
                self.accounts.is_partial = true;
                self.enter(ctx, Phase::Done);
            }
            Phase::Run => {
                self.accounts.is_partial = true;
                self.enter(ctx, Phase::Drain);
            }
            Phase::Drain | Phase::Done => {}
        }
    }

    fn wake(&mut self, ctx: &mut Ctx<'_>) {
        let next = match self.phase {
            Phase::Ramp if self.next_index < self.plan.connections as u64 => self.schedule.moment(self.next_index),
            Phase::Warmup | Phase::Run => self.schedule.moment(self.next_index),
            Phase::Ramp | Phase::Drain | Phase::Done => Instant::MAX,
        };
        let moment = next.min(self.phase_end());
        self.asked_for = (moment != Instant::MAX).then_some(moment);
        if let Some(moment) = self.asked_for {
            ctx.wake_at(moment);
        }
    }

    // --- What is due ------------------------------------------------------------------------------------------------

    fn dial_due(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..BURST_MAX {
            if self.next_index >= self.plan.connections as u64 || self.schedule.moment(self.next_index) > ctx.now() {
                return;
            }
            let (target, source) = self.plan.endpoints(self.next_index as usize);
            self.next_index += 1;
            let dialled = match source {
                Some(source) => ctx.connect_from(source, target),
                None => ctx.connect(target),
            };
            if dialled.is_err() {
                self.accounts.not_dialled();
            }
        }
    }

    fn ping_due(&mut self, ctx: &mut Ctx<'_>) {
        let end = self.phase_end();
        for _ in 0..BURST_MAX {
            let planned = self.schedule.moment(self.next_index);
            if planned > ctx.now() || planned >= end {
                return;
            }
            self.next_index += 1;
            let sent = self.next_ready().is_some_and(|peer| ctx.ping(peer, planned).is_ok());
            if self.phase == Phase::Run {
                self.accounts.work.note_planned(sent);
            }
        }
    }

    fn next_ready(&mut self) -> Option<PeerId> {
        if self.next_peer >= self.ready.len() {
            self.next_peer = 0;
        }
        let peer = self.ready.get(self.next_peer).copied();
        self.next_peer += 1;
        peer
    }

    // --- Peers come and go ------------------------------------------------------------------------------------------

    fn add_ready(&mut self, peer: PeerId) {
        if self.positions.len() <= peer.slot() {
            self.positions.resize(peer.slot() + 1, usize::MAX);
        }
        self.positions[peer.slot()] = self.ready.len();
        self.ready.push(peer);
    }

    fn remove_ready(&mut self, peer: PeerId) {
        let position = mem::replace(&mut self.positions[peer.slot()], usize::MAX);
        self.ready.swap_remove(position);
        if let Some(moved) = self.ready.get(position) {
            self.positions[moved.slot()] = position;
        }
    }

    fn progress(&mut self, ctx: &Ctx<'_>, spare: Box<LatencyHistogram>) -> Progress {
        Progress {
            phase: self.phase,
            phase_elapsed: ctx.now().since(self.phase_began),
            peers: self.accounts.peers,
            planned: self.accounts.work.planned,
            sent: self.accounts.work.sent,
            answered: self.accounts.work.answered,
            interval: mem::replace(&mut self.interval, spare),
        }
    }
}

impl Handler for Generator {
    type Command = GeneratorCommand;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.phase_began = ctx.now();
        self.ramp_began = ctx.now();
        self.schedule = Schedule::new(ctx.now(), self.plan.connect_rate);
        self.advance(ctx);
        self.wake(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        match self.phase {
            Phase::Ramp => self.dial_due(ctx),
            Phase::Warmup => self.ping_due(ctx),
            Phase::Run => {
                if let Some(asked_for) = self.asked_for {
                    self.accounts.note_loop_lag(ctx.now().since(asked_for));
                }
                self.ping_due(ctx);
            }
            Phase::Drain | Phase::Done => {}
        }
        self.advance(ctx);
        self.wake(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { connect } => self.accounts.note_opened(connect),
            Event::Ready { handshake } => {
                self.add_ready(peer);
                let version = ctx.peer(peer).and_then(|view| view.version());
                self.accounts.note_ready(handshake, version);
                self.advance(ctx);
            }
            Event::Pong { planned, sent, received, .. } => {
                if self.accounts.note_pong(planned, sent, received) {
                    self.interval.record(received.since(planned));
                }
                if self.phase == Phase::Drain {
                    self.advance(ctx);
                }
            }
            Event::Closed { reason, state } => {
                if state == ConnectionState::Connected {
                    self.remove_ready(peer);
                }
                if self.phase != Phase::Done {
                    self.accounts.note_closed(reason, state);
                    self.advance(ctx);
                }
            }
            Event::VersionReceived
            | Event::LimitsAnnounced { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::StreamCut { .. } => {}
        }
    }

    fn on_command(&mut self, ctx: &mut Ctx<'_>, command: GeneratorCommand) {
        match command {
            GeneratorCommand::Progress { spare, answer } => answer.give(self.progress(ctx, spare)),
            GeneratorCommand::Finish => self.finish(ctx),
        }
    }
}
