//! The generator: opens the planned connections, pings the peers on schedule, and counts the results.
//!
//! The generator runs through its [`Phase`]s in order. It uses one exact wake-up at a time, for the next dial, the
//! next ping or the end of the phase, whichever is first. A due ping is sent independently of earlier pings, except at
//! the pace [`Pace::Max`]. A ping that cannot be sent is counted as unsent and not sent later. A load ends early if no
//! peer becomes ready or if all ready peers are lost. At the pace [`Pace::Scheduled`], the remaining operations then
//! count as planned but not sent.

use super::accounts::Accounts;
use super::ledger::Entry;
use super::operations::PING_RTT;
use super::pacer::{ClosedLoop, Operation, Pacer, RateRequest};
use super::phase::{EarlyEnd, EndCause, Phase};
use super::plan::Plan;
use super::record::{OperationResult, Recorder};
use super::report::Report;
use super::request::{GeneratorRequest, Progress};
use super::roster::Roster;
use super::schedule::nanos;
use super::stage::{Pace, RateChange};
use crate::api::Event;
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::limits::MAX_LOAD_STAGES;
use crate::peer::PingInFlight;
use crate::time::Instant;
use std::time::Duration;

/// Maximum number of pings or dials started per wake-up. Further pings or dials that are due follow in the next turn.
const MAX_BURST: usize = 256;

/// The ramp ends at once if the first dials all fail in the same way: this many, or one for each target if that is
/// more.
const FIRST_DIALS: usize = 100;

/// A handler that connects to nodes and pings them according to a [`Plan`].
///
/// Its loop's configuration should disable the engine's own pings (`ping_interval` zero), because they would add to
/// the load.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    /// The planned length of the run.
    duration: Duration,
    phase: Phase,
    phase_began: Instant,
    ramp_began: Instant,
    /// The earliest begin of the run, from the begin of the ramp.
    run_after: Duration,
    /// The slot of the next dial.
    next_dial: usize,
    /// The pace of the warm-up or of the run.
    pacer: Pacer,
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
    /// If the plan has no target, its connect rate is zero, or it has no stage or more than
    /// [`MAX_LOAD_STAGES`](crate::limits::MAX_LOAD_STAGES) stages.
    pub fn new(plan: Plan) -> Self {
        assert!(!plan.targets.is_empty(), "the plan has no target");
        assert!(!plan.connect_rate.is_zero(), "the plan's connect rate is zero");
        assert!((1..=MAX_LOAD_STAGES).contains(&plan.stages.len()), "the plan has no stage or too many stages");
        let (accounts, roster) = (Accounts::new(&plan, &[PING_RTT]), Roster::new(plan.share()));
        Self {
            pacer: pacer_of(&plan, &roster, Phase::Run, Instant::ZERO),
            duration: plan.duration(),
            plan,
            phase: Phase::Ramp,
            phase_began: Instant::ZERO,
            ramp_began: Instant::ZERO,
            run_after: Duration::ZERO,
            next_dial: 0,
            asked_for: None,
            roster,
            first_failures: 0,
            accounts,
        }
    }

    /// Returns the generator with a recorder for its intervals and operations, in place of an earlier recorder.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Box<dyn Recorder>) -> Self {
        self.accounts.ledger.set_recorder(recorder);
        self
    }

    /// Begins the run `time` after the start of the loop or, if the peers or the warm-up need longer, as soon as they
    /// are done. In the meantime the peers stay connected, without operations until the warm-up. The default is zero.
    ///
    /// Several processes can so begin their segments of a load at the same moment. Call it before the loop starts.
    pub fn begin_run_after(&mut self, time: Duration) {
        self.run_after = time;
    }

    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the report. Call it after the loop has ended.
    pub fn into_report(mut self) -> Report {
        self.accounts.ledger.end_load();
        self.accounts.report()
    }

    /// Returns the report of a load that never started. If `cause` is [`EndCause::Asked`], no operation counts as
    /// planned; otherwise all operations of the schedule count as planned but not sent.
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
            self.accounts.note_ramp(ctx.now().since(self.ramp_began));
        }
        match phase {
            Phase::Ramp => {}
            Phase::Warmup => self.pacer = pacer_of(&self.plan, &self.roster, phase, ctx.now()),
            Phase::Run => self.begin_run(ctx),
            Phase::Drain => {
                self.count_rest(ctx.now(), elapsed);
                self.accounts.end_run(ctx);
            }
            Phase::Done => {
                for (slot, peer) in self.roster.peers() {
                    let connection = self.roster.connection(slot);
                    note_unanswered(&mut self.accounts, ctx, peer, connection, OperationResult::TimedOut);
                }
                if before != Phase::Drain {
                    self.pacer = pacer_of(&self.plan, &self.roster, Phase::Run, ctx.now());
                    self.count_rest(ctx.now(), Duration::ZERO);
                }
                self.accounts.ledger.end_load();
                ctx.stop();
            }
        }
        self.wake(ctx);
    }

    fn begin_run(&mut self, ctx: &Ctx<'_>) {
        match &mut self.pacer {
            Pacer::Max(closed) => closed.restart(ctx.now(), self.plan.max_operations.unwrap_or(u64::MAX)),
            Pacer::Scheduled(..) | Pacer::PerLivingPeer(..) => {
                self.pacer = pacer_of(&self.plan, &self.roster, Phase::Run, ctx.now());
            }
        }
        let schedule = match &self.pacer {
            Pacer::Scheduled(schedule, _) => Some(schedule.clone()),
            Pacer::PerLivingPeer(..) | Pacer::Max(_) => None,
        };
        self.accounts.begin_run(ctx, schedule);
    }

    /// Counts the operations that are planned and were not started: at the pace [`Pace::Scheduled`] all until the run's
    /// planned end or, if the load was asked to finish, only those that were due within `elapsed` of the run's start;
    /// at the pace [`Pace::PerLivingPeer`] those that were due within `elapsed` for peers that were ready.
    fn count_rest(&mut self, now: Instant, elapsed: Duration) {
        let (duration, cause) = (self.duration, self.accounts.early_end().map(|end| end.cause));
        let is_cut = !matches!(self.pacer, Pacer::Scheduled(..)) || cause == Some(EndCause::Asked);
        let mut time = if is_cut && cause.is_some() { elapsed.min(duration) } else { duration };
        match &self.pacer {
            Pacer::Scheduled(schedule, _) => {
                time = Duration::from_nanos(schedule.end_before(nanos(time)));
                for (stage, operations) in schedule.rest(nanos(time)) {
                    for (slot, count, is_ready) in self.roster.shares(operations) {
                        self.accounts.ledger.note_rest(stage, self.roster.connection(slot), count, is_ready);
                    }
                }
                self.record_rest(now, nanos(time));
            }
            Pacer::PerLivingPeer(schedule, began) => {
                time = Duration::from_nanos(schedule.end_before(nanos(time)));
                let end = began.plus(time);
                while let Some(operation) = self.pacer.next(end, end, &self.roster) {
                    let (entry, is_ready) = (self.entry(&operation), self.roster.peer_at(operation.slot).is_some());
                    self.accounts.ledger.note_never_sent(entry, now, is_ready);
                }
            }
            // The run may have ended before the planned end, because it reached its maximum number of operations.
            Pacer::Max(_) => time = elapsed.min(duration),
        }
        self.accounts.set_scheduled_time(time);
    }

    /// Records the operations of the schedule before `end_ns` that were not started, if a recorder wants them.
    fn record_rest(&mut self, now: Instant, end_ns: u64) {
        let Pacer::Scheduled(schedule, _) = &self.pacer else { return };
        if !self.accounts.ledger.is_recording_operations() {
            return;
        }
        let mut rest = schedule.clone();
        while let Some(due) = rest.due().filter(|due| due.planned_ns < end_ns) {
            rest.advance();
            let planned = Duration::from_nanos(due.planned_ns);
            let slot = self.roster.slot_of(due.index);
            let entry = self.entry(&Operation { index: due.index, slot, planned: Instant::ZERO });
            let is_ready = self.roster.peer_at(slot).is_some();
            self.accounts.ledger.record_never_sent(entry, planned, now, is_ready);
        }
    }

    fn entry(&self, operation: &Operation) -> Entry {
        let Operation { index, slot, planned } = *operation;
        Entry { index, connection: self.roster.connection(slot), planned }
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

    /// Returns the earliest begin of the warm-up.
    fn warmup_moment(&self) -> Instant {
        self.ramp_began.plus(self.run_after.saturating_sub(self.plan.warmup))
    }

    /// Returns the phase's scheduled end; [`Instant::MAX`] if it has none.
    fn phase_end(&self) -> Instant {
        match self.phase {
            Phase::Ramp | Phase::Done => Instant::MAX,
            Phase::Warmup => self.phase_began.plus(self.plan.warmup),
            Phase::Run => self.phase_began.plus(self.duration).min(self.pacer.end()),
            Phase::Drain => self.phase_began.plus(self.plan.drain),
        }
    }

    /// Enters the next phase if this phase is over, and further phases while they are over too.
    ///
    /// The call that starts the warm-up never ends it. The last bytes of the handshakes are therefore normally sent
    /// before the run starts, and do not count as the run's traffic.
    fn advance(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.phase;
        if before == Phase::Ramp {
            self.accounts.note_ramp(ctx.now().since(self.ramp_began));
        }
        loop {
            if before == Phase::Ramp && self.phase == Phase::Warmup {
                return;
            }
            if let Some(cause) = self.early_end() {
                self.end_early(ctx, cause);
            } else if let Some(next) = self.next_phase(ctx.now()) {
                self.enter(ctx, next);
            } else {
                if self.phase == Phase::Ramp && self.accounts.peers().is_decided() {
                    self.wake(ctx);
                }
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
            Phase::Ramp => {
                let is_ready = self.accounts.peers().is_decided() && now >= self.warmup_moment();
                is_ready.then_some(Phase::Warmup)
            }
            Phase::Warmup => is_over.then_some(Phase::Run),
            Phase::Run => is_over.then_some(Phase::Drain),
            Phase::Drain => {
                let is_settled = self.accounts.ledger.work().is_settled() || self.roster.is_empty();
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
            Phase::Ramp if self.next_dial < self.roster.len() => self.dial_moment(self.next_dial),
            Phase::Ramp if self.accounts.peers().is_decided() => self.warmup_moment(),
            Phase::Warmup => self.pacer.next_moment(),
            Phase::Run => self.pacer.next_moment().min(self.accounts.ledger.awaited_interval_end()),
            Phase::Drain => self.accounts.ledger.awaited_interval_end(),
            Phase::Ramp | Phase::Done => Instant::MAX,
        };
        let moment = next.min(self.phase_end());
        // At the pace `Max` an operation may have been due for some time, which is no lag of the loop.
        let moment = if moment == Instant::ZERO { ctx.now() } else { moment };
        self.asked_for = (moment != Instant::MAX).then_some(moment);
        if let Some(moment) = self.asked_for {
            ctx.wake_at(moment);
        }
    }

    // --- Due work ----------------------------------------------------------------------------------------------------

    /// Returns the planned moment of a slot's dial.
    fn dial_moment(&self, slot: usize) -> Instant {
        let moment = self.plan.connect_rate.moment(self.roster.connection(slot) as u64);
        moment.map_or(Instant::MAX, |nanos| self.ramp_began.plus(Duration::from_nanos(nanos)))
    }

    fn dial_due(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..MAX_BURST {
            let (slot, planned) = (self.next_dial, self.dial_moment(self.next_dial));
            if slot >= self.roster.len() || planned > ctx.now() {
                return;
            }
            let connection = self.roster.connection(slot);
            let (target, source) = self.plan.endpoints(connection);
            self.next_dial += 1;
            self.accounts.note_dial(planned.since(self.ramp_began), ctx.now().since(self.ramp_began));
            let dialled = match source {
                Some(source) => ctx.connect_from(source, target),
                None => ctx.connect(target),
            };
            match dialled {
                Ok(peer) => self.roster.note_dialled(slot, peer),
                Err(error) => self.accounts.not_dialled(connection, error),
            }
        }
    }

    fn ping_due(&mut self, ctx: &mut Ctx<'_>) {
        let end = self.phase_end();
        let middle = self.phase_began.plus(self.duration / 2);
        for _ in 0..MAX_BURST {
            let Some(operation) = self.pacer.next(ctx.now(), end, &self.roster) else { return };
            if self.phase == Phase::Run && operation.planned >= middle {
                self.accounts.ledger.note_middle();
            }
            let peer = self.roster.peer_at(operation.slot);
            let nonce = peer.and_then(|peer| ctx.ping(peer, operation.planned).ok());
            if self.phase == Phase::Run {
                let entry = self.entry(&operation);
                self.accounts.ledger.note_due(ctx.now(), entry, nonce);
            }
            if nonce.is_none() {
                self.pacer.note_unsent(operation.slot, ctx.now(), peer.is_none());
            }
        }
    }

    // --- Requests ----------------------------------------------------------------------------------------------------

    fn change_rate(&mut self, ctx: &mut Ctx<'_>, request: RateRequest) {
        let at = self.phase_elapsed(ctx);
        let planned = self.plan.stages.first().map(|stage| stage.from);
        let change = match self.phase {
            Phase::Warmup | Phase::Run => self.pacer.change_rate(ctx.now(), request),
            Phase::Ramp if self.plan.pace != Pace::Max => planned.map(|rate| (rate, request.changed(rate))),
            Phase::Ramp | Phase::Drain | Phase::Done => None,
        };
        let Some((from, to)) = change else { return };
        self.accounts.note_rate_change(RateChange { phase: self.phase, at, from, to });
        if self.phase == Phase::Run {
            let at_ns = nanos(at) + 1;
            self.accounts.ledger.change_schedule(ctx.now(), |schedule| request.apply(schedule, at_ns));
        } else {
            for stage in &mut self.plan.stages {
                (stage.from, stage.to) = (request.changed(stage.from), request.changed(stage.to));
            }
        }
        self.wake(ctx);
    }

    fn progress(&mut self, ctx: &Ctx<'_>) -> Progress {
        let is_paced = matches!(self.phase, Phase::Warmup | Phase::Run);
        let work = self.accounts.ledger.work();
        Progress {
            phase: self.phase,
            phase_elapsed: self.phase_elapsed(ctx),
            peers: self.accounts.peers(),
            rate: self.pacer.rate(ctx.now()).filter(|_| is_paced),
            planned: work.planned,
            sent: work.sent,
            answered: work.answered,
            interval: self.accounts.ledger.latest_interval(ctx.now()),
        }
    }
}

/// Returns the pace of the warm-up or of the run, beginning at `now`.
fn pacer_of(plan: &Plan, roster: &Roster, phase: Phase, now: Instant) -> Pacer {
    let schedule = if phase == Phase::Warmup { plan.warmup_schedule() } else { plan.run_schedule() };
    match plan.pace {
        Pace::Scheduled => Pacer::Scheduled(schedule, now),
        Pace::PerLivingPeer => Pacer::PerLivingPeer(schedule, now),
        Pace::Max => {
            let slots = roster.peers().map(|(slot, _)| slot);
            Pacer::Max(ClosedLoop::new(plan.segment, slots, now, u64::MAX))
        }
    }
}

/// Records the end of each unanswered ping of a peer.
fn note_unanswered(accounts: &mut Accounts, ctx: &Ctx<'_>, peer: PeerId, connection: usize, result: OperationResult) {
    let pings = ctx.peer(peer).into_iter().flat_map(|view| view.pings_in_flight().collect::<Vec<_>>());
    for ping in pings {
        accounts.ledger.note_unanswered(ctx.now(), connection, ping, result);
    }
}

impl Handler for Generator {
    type Request = GeneratorRequest;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.phase_began = ctx.now();
        self.ramp_began = ctx.now();
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
                    self.accounts.ledger.note_loop_lag(ctx.now(), ctx.now().since(asked_for));
                }
                self.ping_due(ctx);
            }
            Phase::Drain | Phase::Done => {}
        }
        self.accounts.ledger.end_intervals(ctx.now());
        self.advance(ctx);
        self.wake(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        // Another handler of the loop may have peers of its own.
        let Some(slot) = self.roster.slot_of_peer(peer) else { return };
        let connection = self.roster.connection(slot);
        match event {
            Event::Opened { connect } => {
                let planned = self.dial_moment(slot);
                let (since_planned, since_begin) = (ctx.now().since(planned), ctx.now().since(self.ramp_began));
                self.accounts.note_opened(connection, since_planned, since_begin, connect);
            }
            Event::Ready { handshake } => {
                self.roster.add(slot, peer);
                let version = ctx.peer(peer).and_then(|view| view.version());
                self.accounts.note_ready(connection, handshake, version);
                self.advance(ctx);
            }
            // The accounts are closed once the load is done.
            Event::Pong { .. } if self.phase == Phase::Done => {}
            Event::Pong { nonce, planned, sent, received } => {
                self.accounts.ledger.note_pong(connection, PingInFlight { nonce, planned, sent: Some(sent) }, received);
                self.pacer.note_ended(slot, received);
                match (&self.pacer, self.phase) {
                    (_, Phase::Drain) => self.advance(ctx),
                    (Pacer::Max(_), Phase::Warmup | Phase::Run) => {
                        self.ping_due(ctx);
                        self.advance(ctx);
                        self.wake(ctx);
                    }
                    (Pacer::Scheduled(..) | Pacer::PerLivingPeer(..) | Pacer::Max(_), _) => {}
                }
            }
            Event::Closed { reason, state } => {
                self.roster.remove(peer, ctx.now());
                self.pacer.note_lost(slot);
                if self.phase != Phase::Done {
                    self.first_failures += usize::from(slot < self.first_dials());
                    note_unanswered(&mut self.accounts, ctx, peer, connection, OperationResult::Lost);
                    self.accounts.note_closed(ctx.now(), connection, reason, state);
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
            GeneratorRequest::ScaleRate { percent } => self.change_rate(ctx, RateRequest::Percent(percent)),
            GeneratorRequest::SetRate(rate) => self.change_rate(ctx, RateRequest::To(rate)),
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
