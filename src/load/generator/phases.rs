//! The phases of a load: when each begins and ends, and which operations remain unsent.
//!
//! Every planned operation ends in exactly one count: it was answered, it failed, or it was not sent. The operations
//! after an early end are counted by a closed form, never one by one. Nothing here dials or sends.

use super::Generator;
use crate::handler::Ctx;
use crate::load::in_flight::Flight;
use crate::load::kinds::KindCounts;
use crate::load::ledger::Entry;
use crate::load::operations::Part;
use crate::load::pacer::{DueOperation, Pacer};
use crate::load::phase::{EarlyEnd, EndCause, Phase};
use crate::load::record::OperationResult;
use crate::load::schedule::nanos;
use crate::time::Instant;
use std::iter;
use std::ops::Range;
use std::time::Duration;

/// The ramp ends at once if the first dials all fail in the same way: this many, or one for each target if that is
/// more.
const FIRST_DIALS: usize = 100;

impl Generator {
    pub(super) fn enter(&mut self, ctx: &mut Ctx<'_>, phase: Phase) {
        let (before, elapsed) = (self.phase, self.phase_elapsed(ctx));
        self.phase = phase;
        self.phase_began = ctx.now();
        if before == Phase::Ramp {
            self.accounts.note_ramp(ctx.now().since(self.ramp_began));
        }
        match phase {
            Phase::Ramp => {}
            Phase::Warmup => self.pacer = self.pacer_of(phase, ctx.now()),
            Phase::Run => self.begin_run(ctx),
            Phase::Drain => {
                self.count_rest(ctx.now(), elapsed);
                self.accounts.end_run(ctx);
            }
            Phase::Done => {
                self.call_workload(ctx, |workload, ctx, operations| workload.on_end(ctx, operations));
                self.end_unanswered(ctx);
                if before != Phase::Drain {
                    self.pacer = self.pacer_of(Phase::Run, ctx.now());
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
                self.pacer = self.pacer_of(Phase::Run, ctx.now());
            }
        }
        let schedule = match &self.pacer {
            Pacer::Scheduled(schedule, _) if !self.is_passive => Some(schedule.clone()),
            Pacer::Scheduled(..) | Pacer::PerLivingPeer(..) | Pacer::Max(_) => None,
        };
        self.accounts.begin_run(ctx, schedule);
    }

    /// Counts the operations that are planned and were not started: at the pace
    /// [`Pace::Scheduled`](crate::load::Pace::Scheduled) all until the run's planned end or, if the load was asked to
    /// finish, only those that were due within `elapsed` of the run's start; at the pace
    /// [`Pace::PerLivingPeer`](crate::load::Pace::PerLivingPeer) those that were due within `elapsed` for peers that
    /// were ready.
    pub(super) fn count_rest(&mut self, now: Instant, elapsed: Duration) {
        let (duration, cause) = (self.duration, self.accounts.early_end().map(|end| end.cause));
        let is_cut = !matches!(self.pacer, Pacer::Scheduled(..)) || cause == Some(EndCause::Asked);
        let mut time = if is_cut && cause.is_some() { elapsed.min(duration) } else { duration };
        match &self.pacer {
            Pacer::Scheduled(schedule, _) => {
                time = Duration::from_nanos(schedule.end_before(nanos(time)));
                let rest = schedule.rest(nanos(time));
                let counts = self.kind_counts(rest.iter().map(|(_, range)| range.end - range.start).sum());
                for (stage, operations) in rest {
                    for (slot, count, is_ready) in self.roster.shares(operations.clone()) {
                        let is_ready = is_ready || self.opens_connections;
                        let connection = self.roster.connection(slot);
                        for (part, count) in self.parts_of(counts.as_ref(), slot, operations.clone(), count) {
                            self.accounts.ledger.note_rest(stage, part, connection, count, is_ready);
                        }
                    }
                }
                self.record_rest(now, nanos(time));
            }
            Pacer::PerLivingPeer(schedule, began) => {
                time = Duration::from_nanos(schedule.end_before(nanos(time)));
                let end = began.plus(time);
                while let Some(operation) = self.pacer.next(end, end, &self.roster) {
                    let (entry, is_ready) = (self.entry(&operation), self.can_send(operation.slot));
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
            let entry = self.entry(&DueOperation { index: due.index, slot, planned: Instant::ZERO });
            let is_ready = self.can_send(slot);
            self.accounts.ledger.record_never_sent(entry, planned, now, is_ready);
        }
    }

    pub(super) fn entry(&self, operation: &DueOperation) -> Entry {
        let DueOperation { index, slot, planned } = *operation;
        let (connection, part) = (self.roster.connection(slot), self.part_of(index));
        Entry { index, connection, planned, part, was_held: false }
    }

    /// Returns the metrics of an operation.
    fn part_of(&self, index: u64) -> Part {
        self.part.unwrap_or_else(|| self.accounts.ledger.part(self.workload.kind_of(index)))
    }

    /// Returns the numbers of operations of each kind, if there are several kinds and that is less work than a look at
    /// each of the `count` operations.
    fn kind_counts(&self, count: u64) -> Option<KindCounts> {
        let period =
            self.workload.kind_period().filter(|period| self.part.is_none() && u64::from(period.get()) < count);
        let kinds = self.workload.main_metrics().len();
        let kind_of = |index| self.workload.kind_of(index);
        period.map(|period| KindCounts::new(period.get(), self.roster.connections(), kinds, kind_of))
    }

    /// Divides the `count` operations of a slot among `operations` by their metrics. If they are of several kinds, each
    /// one is looked at unless the kinds are counted in `counts`.
    fn parts_of(
        &self,
        counts: Option<&KindCounts>,
        slot: usize,
        operations: Range<u64>,
        count: u64,
    ) -> Vec<(Part, u64)> {
        if let Some(part) = self.part {
            return vec![(part, count)];
        }
        let mut of_slot = self.roster.operations_of(slot, operations);
        let counts = match (counts, of_slot.next()) {
            (_, None) => return Vec::new(),
            (Some(counts), Some(first)) => counts.count(first, count),
            (None, Some(first)) => {
                let mut counts = vec![0; self.workload.main_metrics().len()];
                iter::once(first).chain(of_slot).for_each(|index| counts[self.workload.kind_of(index)] += 1);
                counts
            }
        };
        counts.into_iter().enumerate().map(|(kind, count)| (self.accounts.ledger.part(kind), count)).collect()
    }

    /// Records the cause of an early end. Then enters the drain if the run has begun, else the last phase.
    fn end_early(&mut self, ctx: &mut Ctx<'_>, cause: EndCause) {
        let elapsed = self.phase_elapsed(ctx);
        self.accounts.set_early_end(EarlyEnd { cause, phase: self.phase, elapsed });
        self.enter(ctx, if self.phase == Phase::Run { Phase::Drain } else { Phase::Done });
    }

    pub(super) fn phase_elapsed(&self, ctx: &Ctx<'_>) -> Duration {
        ctx.now().since(self.phase_began)
    }

    /// Returns the earliest begin of the warm-up.
    fn warmup_moment(&self) -> Instant {
        self.ramp_began.plus(self.run_after.saturating_sub(self.plan.warmup))
    }

    /// Returns the phase's scheduled end; [`Instant::MAX`] if it has none.
    pub(super) fn phase_end(&self) -> Instant {
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
    pub(super) fn advance(&mut self, ctx: &mut Ctx<'_>) {
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
    pub(super) fn early_end(&self) -> Option<EndCause> {
        if self.opens_connections {
            return None;
        }
        let peers = self.accounts.peers();
        let all_lost = self.roster.is_empty().then_some(EndCause::AllLost);
        match self.phase {
            Phase::Ramp if peers.is_decided() && peers.ready == 0 => Some(EndCause::NoneReady),
            Phase::Ramp if peers.is_decided() => all_lost,
            Phase::Ramp if self.first_failures >= self.first_dials() && self.accounts.all_failed_alike() => {
                Some(EndCause::FirstDialsFailed { dials: peers.failed })
            }
            Phase::Warmup | Phase::Run if self.plan.initial_peers.is_none() => all_lost,
            Phase::Warmup | Phase::Run => None,
            Phase::Ramp | Phase::Drain | Phase::Done => None,
        }
    }

    /// Returns the number of dials whose common failure ends the ramp. It is at least the number of targets, so that
    /// each target has been dialled.
    pub(super) fn first_dials(&self) -> usize {
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
                let is_settled = self.accounts.ledger.work().is_settled();
                let has_nobody = self.roster.is_empty() && !self.opens_connections;
                (is_over || is_settled || has_nobody).then_some(Phase::Done)
            }
            Phase::Done => None,
        }
    }

    pub(super) fn finish(&mut self, ctx: &mut Ctx<'_>) {
        match self.phase {
            Phase::Ramp | Phase::Warmup | Phase::Run => self.end_early(ctx, EndCause::Asked),
            Phase::Drain | Phase::Done => {}
        }
    }

    pub(super) fn wake(&mut self, ctx: &mut Ctx<'_>) {
        let next = match self.phase {
            Phase::Ramp if self.next_dial < self.planned_dials() => self.dial_moment(self.next_dial),
            Phase::Ramp if self.accounts.peers().is_decided() => self.warmup_moment(),
            Phase::Warmup => self.pacer.next_moment(),
            Phase::Run => {
                let dial = self.dials.next_moment(self.plan.connect_rate);
                let interval_end = self.accounts.ledger.awaited_interval_end(self.is_passive);
                self.pacer.next_moment().min(interval_end).min(dial)
            }
            Phase::Drain => self.accounts.ledger.awaited_interval_end(false),
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

    /// Returns the number of connections that the ramp opens.
    pub(super) fn planned_dials(&self) -> usize {
        if self.opens_connections { 0 } else { self.plan.ramp_slots() }
    }

    /// Returns whether an operation of a slot can be sent.
    fn can_send(&self, slot: usize) -> bool {
        self.opens_connections || self.roster.peer_at(slot).is_some()
    }

    /// Records the end of the operations that were not answered before the end of the load.
    fn end_unanswered(&mut self, ctx: &Ctx<'_>) {
        if self.pings {
            for (slot, peer) in self.roster.peers() {
                let connection = self.roster.connection(slot);
                self.accounts.note_unanswered_pings(ctx, peer, connection, OperationResult::TimedOut);
            }
        }
        for flight in self.in_flight.take_all() {
            let Flight { entry, measured, .. } = flight;
            self.accounts.ledger.note_unanswered(ctx.now(), entry, flight.sent(), measured, OperationResult::TimedOut);
        }
    }

    /// Returns the pace of the warm-up or of the run, beginning at `now`.
    fn pacer_of(&self, phase: Phase, now: Instant) -> Pacer {
        Pacer::new(&self.plan, &self.roster, self.opens_connections, phase, now)
    }
}
