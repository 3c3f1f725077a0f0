//! The generator: opens the planned connections, starts the workload's operations on schedule, and counts the results.
//!
//! The generator runs through its [`Phase`]s in order. It uses one exact wake-up at a time, for the next dial, the
//! next operation or the end of the phase, whichever is first. A due operation is started independently of earlier
//! ones, except at the pace [`Pace::Max`](super::Pace::Max). An operation that cannot be sent is counted as unsent and
//! not sent later. A load ends early if no peer becomes ready or if all ready peers are lost. At the pace
//! [`Pace::Scheduled`](super::Pace::Scheduled), the remaining operations then count as planned but not sent.
//!
//! The generator does not know what an operation is: the [`Workload`] sends it and recognises its reply. If each
//! operation opens a connection of its own, the generator dials when the operation is due, and holds no other peers. A
//! connection that the workload closes after its operation has ended is not lost.

mod phases;
mod work;

use super::accounts::Accounts;
use super::dials::Dials;
use super::in_flight::{Flight, InFlight};
use super::operations::Part;
use super::pacer::{Pacer, RateRequest};
use super::phase::{EarlyEnd, EndCause, Phase};
use super::plan::Plan;
use super::record::{OperationResult, Recorder};
use super::report::Report;
use super::request::GeneratorRequest;
use super::roster::Roster;
use super::workload::{MAX_METRICS, Operations, Workload};
use super::workloads::Ping;
use crate::api::{Chunk, Delivery, Event, Frame};
use crate::error::CloseReason;
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::limits::MAX_LOAD_STAGES;
use crate::peer::{ConnectionState, PingInFlight};
use crate::time::Instant;
use crate::wire::Header;
use std::time::Duration;

/// A handler that connects to nodes and carries out a [`Workload`] according to a [`Plan`]. The default workload is
/// [`Ping`].
///
/// Its loop's configuration should disable the engine's own pings (`ping_interval` zero), because they would add to
/// the load.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    workload: Box<dyn Workload>,
    /// [`Workload::pings`].
    pings: bool,
    /// [`Workload::opens_connections`].
    opens_connections: bool,
    /// [`Workload::is_passive`].
    is_passive: bool,
    /// The metrics of the scheduled operations, if they are all of one kind.
    part: Option<Part>,
    /// The planned length of the run.
    duration: Duration,
    phase: Phase,
    phase_began: Instant,
    ramp_began: Instant,
    /// The earliest begin of the run, from the begin of the ramp.
    run_after: Duration,
    /// The slot of the ramp's next dial.
    next_dial: usize,
    /// The dials that were requested during the run.
    dials: Dials,
    /// The pace of the warm-up or of the run.
    pacer: Pacer,
    /// The moment of the last requested wake-up.
    asked_for: Option<Instant>,
    roster: Roster,
    in_flight: InFlight,
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
        let workload: Box<dyn Workload> = Box::new(Ping);
        let (accounts, roster) =
            (Accounts::new(&plan, workload.metrics(), &[0], true, false), Roster::new(plan.share()));
        Self {
            pings: workload.pings(),
            opens_connections: workload.opens_connections(),
            is_passive: false,
            part: Some(accounts.ledger.part(0)),
            workload,
            pacer: Pacer::new(&plan, &roster, false, Phase::Run, Instant::ZERO),
            duration: plan.duration(),
            plan,
            phase: Phase::Ramp,
            phase_began: Instant::ZERO,
            ramp_began: Instant::ZERO,
            run_after: Duration::ZERO,
            next_dial: 0,
            dials: Dials::default(),
            asked_for: None,
            roster,
            in_flight: InFlight::default(),
            first_failures: 0,
            accounts,
        }
    }

    /// Returns the generator with this workload in place of the earlier one.
    ///
    /// # Panics
    ///
    /// If the workload has no metric or more than [`MAX_METRICS`] metrics, or if its main metrics do not ascend from 0
    /// within them.
    #[must_use]
    pub fn with_workload(mut self, workload: Box<dyn Workload>) -> Self {
        let (metrics, recorder) = (workload.metrics(), self.accounts.ledger.take_recorder());
        assert!((1..=MAX_METRICS).contains(&metrics.len()), "the workload has no metric or too many metrics");
        let mains = workload.main_metrics();
        let is_ascending = mains.is_sorted_by(|one, next| one < next);
        assert!(mains.first() == Some(&0) && mains.last() < Some(&metrics.len()) && is_ascending, "wrong main metrics");
        (self.pings, self.opens_connections) = (workload.pings(), workload.opens_connections());
        self.is_passive = workload.is_passive();
        if self.is_passive {
            self.plan = self.plan.without_operations();
        }
        self.accounts = Accounts::new(&self.plan, metrics, mains, !self.opens_connections, self.is_passive);
        self.part = (self.is_passive || mains.len() == 1).then(|| self.accounts.ledger.part(0));
        self.pacer = Pacer::new(&self.plan, &self.roster, self.opens_connections, Phase::Run, Instant::ZERO);
        self.workload = workload;
        match recorder {
            Some(recorder) => self.with_recorder(recorder),
            None => self,
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

    // --- Events -----------------------------------------------------------------------------------------------------

    /// Calls the workload with its operations.
    fn call_workload(
        &mut self,
        ctx: &mut Ctx<'_>,
        call: impl FnOnce(&mut dyn Workload, &mut Ctx<'_>, &mut Operations<'_>),
    ) {
        let frees_slot = !self.opens_connections;
        let Self { workload, in_flight, accounts, pacer, roster, phase, .. } = &mut *self;
        let mut operations = Operations { in_flight, accounts, pacer, roster, phase: *phase, frees_slot, part: None };
        call(workload.as_mut(), ctx, &mut operations);
    }

    /// Calls the workload with its operations, and then starts what an operation's end lets begin.
    fn with_operations(
        &mut self,
        ctx: &mut Ctx<'_>,
        call: impl FnOnce(&mut dyn Workload, &mut Ctx<'_>, &mut Operations<'_>),
    ) {
        self.call_workload(ctx, call);
        if self.in_flight.take_ended() {
            self.continue_after_end(ctx);
        }
    }

    /// Starts the operations that the end of another one lets begin, and ends the phase if that was the last one.
    fn continue_after_end(&mut self, ctx: &mut Ctx<'_>) {
        match (&self.pacer, self.phase) {
            (_, Phase::Drain) => self.advance(ctx),
            (Pacer::Max(_), Phase::Warmup | Phase::Run) => {
                self.start_due(ctx);
                self.advance(ctx);
                self.wake(ctx);
            }
            (Pacer::Scheduled(..) | Pacer::PerLivingPeer(..) | Pacer::Max(_), _) => {}
        }
    }

    fn note_opened(&mut self, ctx: &Ctx<'_>, peer: PeerId, slot: usize, connect: Option<Duration>) {
        let connection = self.roster.connection(slot);
        if self.opens_connections {
            let dialled_at = ctx.now().minus(connect.unwrap_or_default());
            if let Some(flight) = self.in_flight.note_dialled(peer, dialled_at) {
                let since_planned = ctx.now().since(flight.entry.planned);
                self.accounts.note_opened(connection, since_planned, Duration::ZERO, connect);
            }
        } else if self.phase == Phase::Run {
            self.accounts.note_opened(connection, connect.unwrap_or_default(), Duration::ZERO, connect);
        } else {
            let since_planned = ctx.now().since(self.dial_moment(slot));
            let since_begin = ctx.now().since(self.ramp_began);
            self.accounts.note_opened(connection, since_planned, since_begin, connect);
        }
    }

    fn note_ready(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, slot: usize, handshake: Duration) {
        if self.roster.is_released(peer) {
            return;
        }
        if !self.opens_connections {
            self.roster.add(slot, peer);
            self.accounts.ledger.note_change(ctx.now(), true);
        }
        let version = ctx.peer(peer).and_then(|view| view.version());
        self.accounts.note_ready(self.roster.connection(slot), handshake, version);
        self.advance(ctx);
    }

    fn note_closed(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: PeerId,
        slot: usize,
        reason: CloseReason,
        state: ConnectionState,
    ) {
        let connection = self.roster.connection(slot);
        let was_released = self.roster.remove(peer, ctx.now());
        let unanswered = self.in_flight.remove(peer);
        if self.opens_connections {
            self.pacer.note_ended(slot, ctx.now());
        } else {
            self.pacer.note_lost(slot);
        }
        if self.phase == Phase::Done {
            return;
        }
        self.first_failures += usize::from(slot < self.first_dials() && !was_released);
        if self.pings {
            self.accounts.note_unanswered_pings(ctx, peer, connection, OperationResult::Lost);
        }
        let has_ended = self.opens_connections && unanswered.is_empty();
        let is_wanted = was_released || has_ended && matches!(reason, CloseReason::Requested(_));
        for flight in unanswered {
            let Flight { entry, measured, .. } = flight;
            self.accounts.ledger.note_unanswered(ctx.now(), entry, flight.sent(), measured, OperationResult::Lost);
        }
        if !is_wanted {
            self.accounts.note_closed(ctx.now(), connection, reason, state);
        }
        if self.opens_connections {
            self.continue_after_end(ctx);
        }
        self.advance(ctx);
    }

    /// Handles an event that is not the pong of an operation.
    #[inline(never)]
    fn on_other_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, slot: usize, event: Event<'_>) {
        match event {
            Event::Opened { connect } => self.note_opened(ctx, peer, slot, connect),
            Event::Ready { handshake } => self.note_ready(ctx, peer, slot, handshake),
            Event::Written { mark, at } => self.in_flight.note_written(peer, mark, at),
            Event::Closed { .. }
            | Event::Pong { .. }
            | Event::VersionReceived
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::BodyCut { .. } => {}
        }
        if self.phase != Phase::Done {
            self.with_operations(ctx, |workload, ctx, operations| workload.on_event(ctx, operations, peer, &event));
        }
        if let Event::Closed { reason, state } = event {
            self.note_closed(ctx, peer, slot, reason, state);
        }
    }

    /// Returns whether the workload handles the peer's messages: the accounts are closed once the load is done, and
    /// another handler of the loop may have peers of its own.
    fn is_own(&self, peer: PeerId) -> bool {
        self.phase != Phase::Done && self.roster.slot_of_peer(peer).is_some()
    }
}

// The functions that are never inlined keep the loop's code small: most loads do nothing but ping.
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
            Phase::Warmup => self.start_due(ctx),
            Phase::Run => {
                // A wake-up before the latest requested moment belongs to an earlier request and is not late.
                if let Some(asked_for) = self.asked_for.filter(|moment| *moment <= ctx.now()) {
                    self.accounts.ledger.note_loop_lag(ctx.now(), ctx.now().since(asked_for));
                }
                self.start_due(ctx);
                self.redial_due(ctx);
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
        // Only pings need no call of the workload.
        if self.pings
            && let Event::Pong { nonce, planned, sent, received } = event
        {
            if self.phase != Phase::Done {
                let ping = PingInFlight { nonce, planned, sent: Some(sent) };
                self.accounts.ledger.note_pong(self.roster.connection(slot), ping, received);
                self.pacer.note_ended(slot, received);
                self.continue_after_end(ctx);
            }
            return;
        }
        self.on_other_event(ctx, peer, slot, event);
    }

    #[inline(never)]
    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        if self.is_own(peer) { self.workload.on_header(ctx, peer, header) } else { Delivery::Discard }
    }

    #[inline(never)]
    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        if self.is_own(peer) {
            self.with_operations(ctx, |workload, ctx, operations| workload.on_message(ctx, operations, peer, frame));
        }
    }

    #[inline(never)]
    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        if self.is_own(peer) {
            self.with_operations(ctx, |workload, ctx, operations| workload.on_chunk(ctx, operations, peer, chunk));
        }
    }

    #[inline(never)]
    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        if self.phase != Phase::Done {
            self.with_operations(ctx, |workload, ctx, operations| workload.on_timer(ctx, operations, key));
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: GeneratorRequest) {
        match command {
            GeneratorRequest::Progress(reply) => reply.send(self.progress(ctx)),
            GeneratorRequest::ScaleRate { percent } => self.change_rate(ctx, RateRequest::Percent(percent)),
            GeneratorRequest::SetRate(rate) => self.change_rate(ctx, RateRequest::To(rate)),
            GeneratorRequest::SetPeers(count) => self.set_peers(ctx, count),
            GeneratorRequest::Unanswered { ages, lags, reply } => reply.send(self.unanswered(ctx, &ages, &lags)),
            GeneratorRequest::GiveUp { older_than, reply } => reply.send(self.give_up(ctx, older_than)),
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
