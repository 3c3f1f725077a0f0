//! The work of a generator: dials and operations that are due, and requests from other threads.
//!
//! A wake-up starts a bounded number of dials and operations; further ones follow in the next turn. An operation counts
//! from its planned moment, however late it starts, and one that cannot be started counts with its cause. Nothing here
//! decides when an operation is due: the pacer does.

use super::Generator;
use crate::error::{Disconnect, RequestError};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::MAX_MARKS_PER_PEER;
use crate::load::in_flight::Flight;
use crate::load::ledger::Entry;
use crate::load::pacer::{DueOperation, RateRequest};
use crate::load::phase::Phase;
use crate::load::record::OperationResult;
use crate::load::request::Progress;
use crate::load::schedule::nanos;
use crate::load::stage::{Pace, RateChange};
use crate::load::workload::{Operation, Started};
use crate::time::Instant;
use std::ops::Range;
use std::time::Duration;

/// Maximum number of operations or dials started per wake-up. Further ones that are due follow in the next turn.
const MAX_BURST: usize = 256;

/// The cause of an operation whose peer has the maximum number of operations in flight, or of held ones.
const TOO_MANY_OPERATIONS: &str = "too_many_operations";

/// The cause of an operation that would open a connection while the maximum number is open.
const TOO_MANY_CONNECTIONS: &str = "too_many_connections";

impl Generator {
    /// Returns the planned moment of a slot's dial.
    pub(super) fn dial_moment(&self, slot: usize) -> Instant {
        let moment = self.plan.connect_rate.moment(self.roster.connection(slot) as u64);
        moment.map_or(Instant::MAX, |nanos| self.ramp_began.plus(Duration::from_nanos(nanos)))
    }

    pub(super) fn dial_due(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..MAX_BURST {
            let (slot, planned) = (self.next_dial, self.dial_moment(self.next_dial));
            if slot >= self.planned_dials() || planned > ctx.now() {
                return;
            }
            let connection = self.roster.connection(slot);
            self.next_dial += 1;
            self.accounts.note_dial(planned.since(self.ramp_began), ctx.now().since(self.ramp_began));
            if let Err(error) = self.dial(ctx, slot) {
                self.accounts.not_dialled(connection, error);
            }
        }
    }

    /// Starts the dials that were requested during the run and are due.
    pub(super) fn redial_due(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..MAX_BURST {
            let Some(slot) = self.dials.next(ctx.now(), self.plan.connect_rate) else { return };
            if let Err(error) = self.dial(ctx, slot) {
                self.accounts.not_dialled(self.roster.connection(slot), error);
            }
        }
    }

    /// Dials the target of a slot.
    fn dial(&mut self, ctx: &mut Ctx<'_>, slot: usize) -> Result<PeerId, RequestError> {
        let (target, source) = self.plan.endpoints(self.roster.connection(slot));
        let peer = match source {
            Some(source) => ctx.connect_from(source, target),
            None => ctx.connect(target),
        }?;
        self.roster.note_dialled(slot, peer);
        Ok(peer)
    }

    /// Starts the operations that are due.
    pub(super) fn start_due(&mut self, ctx: &mut Ctx<'_>) {
        let end = self.phase_end();
        let middle = self.phase_began.plus(self.duration / 2);
        for _ in 0..MAX_BURST {
            let Some(due) = self.pacer.next(ctx.now(), end, &self.roster) else { return };
            if self.phase == Phase::Run && due.planned >= middle {
                self.accounts.ledger.note_middle();
            }
            let peer = self.roster.peer_at(due.slot);
            let started = match peer {
                Some(peer) => Some(self.start(ctx, peer, &due)),
                None if self.opens_connections => Some(self.open(ctx, &due)),
                None => None,
            };
            let is_sent = matches!(started, Some(Started::Sent { .. } | Started::Held | Started::Pinged { .. }));
            if self.phase == Phase::Run {
                let entry = self.entry(&due);
                self.accounts.ledger.note_due(ctx.now(), entry, is_sent);
                match started {
                    Some(Started::Pinged { nonce }) => self.accounts.ledger.note_pinged(nonce, due.index),
                    Some(Started::NotSent { cause }) => self.accounts.note_operation_failure(cause),
                    Some(Started::Sent { .. } | Started::Held) | None => {}
                }
            }
            if !is_sent {
                self.pacer.note_unsent(due.slot, ctx.now(), started.is_none());
            }
        }
    }

    /// Starts an operation with a peer, and keeps it in flight unless the engine does.
    #[inline]
    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, due: &DueOperation) -> Started {
        let DueOperation { index, planned, .. } = *due;
        let is_warmup = self.phase == Phase::Warmup;
        if self.pings {
            return self.workload.start(ctx, peer, Operation { index, is_warmup, planned, mark: 0 });
        }
        if !self.in_flight.has_room(peer) {
            return Started::NotSent { cause: TOO_MANY_OPERATIONS };
        }
        let mark = self.in_flight.next_mark();
        let started = self.workload.start(ctx, peer, Operation { index, is_warmup, planned, mark });
        let key = match started {
            Started::Sent { key } => Some(key),
            // All held messages may be sent in one call, each with its mark.
            Started::Held if self.in_flight.held_count(peer) >= MAX_MARKS_PER_PEER => {
                return Started::NotSent { cause: TOO_MANY_OPERATIONS };
            }
            Started::Held => None,
            Started::Pinged { .. } | Started::NotSent { .. } => return started,
        };
        let (entry, slot) = (Entry { was_held: key.is_none(), ..self.entry(due) }, due.slot as u32);
        self.in_flight.add(peer, Flight { entry, key, mark, sent: ctx.now(), slot, measured: 0 });
        started
    }

    /// Opens a connection for an operation, unless the maximum number of connections is open.
    fn open(&mut self, ctx: &mut Ctx<'_>, due: &DueOperation) -> Started {
        if self.roster.dialled_count() >= self.roster.len() {
            return Started::NotSent { cause: TOO_MANY_CONNECTIONS };
        }
        match self.dial(ctx, due.slot) {
            Ok(peer) => {
                self.accounts.note_asked(self.roster.connection(due.slot));
                self.start(ctx, peer, due)
            }
            Err(error) => Started::NotSent { cause: error.label() },
        }
    }

    pub(super) fn change_rate(&mut self, ctx: &mut Ctx<'_>, request: RateRequest) {
        if self.is_passive {
            return;
        }
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

    /// Closes the peers beyond the first `count` slots, and dials those among them that have no peer.
    pub(super) fn set_peers(&mut self, ctx: &mut Ctx<'_>, count: usize) {
        let is_variable = self.plan.initial_peers.is_some() && !self.opens_connections;
        if self.phase != Phase::Run || !is_variable {
            return;
        }
        let count = count.min(self.roster.len());
        let unwanted: Vec<(usize, PeerId)> = self.roster.dialled().filter(|&(slot, _)| slot >= count).collect();
        for (slot, peer) in unwanted {
            let was_ready = self.roster.release(slot, peer, ctx.now());
            self.accounts.note_unwanted(self.roster.connection(slot), was_ready);
            if was_ready {
                self.accounts.ledger.note_change(ctx.now(), false);
            }
            ctx.close(peer, Disconnect::Done);
        }
        for slot in self.dials.request(ctx.now(), self.roster.free_slots(count)) {
            self.accounts.note_unwanted(self.roster.connection(slot), false);
        }
        for slot in self.dials.slots() {
            self.accounts.note_asked(self.roster.connection(slot));
        }
        self.wake(ctx);
    }

    /// Returns the number of operations of the run that are unanswered, as old as this, and were sent with this lag.
    pub(super) fn unanswered(&self, ctx: &Ctx<'_>, ages: &Range<Duration>, lags: &Range<Duration>) -> u64 {
        let (now, began) = (ctx.now(), self.run_began());
        let is_counted = |planned: Instant, sent: Instant| {
            let is_due = planned >= began && planned <= now;
            is_due && ages.contains(&now.since(planned)) && lags.contains(&sent.since(planned))
        };
        let pings = self.roster.peers().filter(|_| self.pings).filter_map(|(_, peer)| ctx.peer(peer));
        let pings = pings.flat_map(|view| view.pings_in_flight());
        let pings = pings.filter(|ping| is_counted(ping.planned, ping.sent.unwrap_or(now))).count();
        let others = self.in_flight.iter().filter(|flight| is_counted(flight.entry.planned, flight.sent)).count();
        (pings + others) as u64
    }

    /// Gives up the unanswered operations of the run that are at least this old, and returns their number.
    pub(super) fn give_up(&mut self, ctx: &mut Ctx<'_>, older_than: Duration) -> u64 {
        if self.opens_connections {
            return 0;
        }
        let (now, began) = (ctx.now(), self.run_began());
        let before = now.minus(older_than);
        let mut count = 0;
        let peers: Vec<(usize, PeerId)> = self.roster.peers().filter(|_| self.pings).collect();
        for (slot, peer) in peers {
            for ping in ctx.forget_pings(peer, before) {
                let connection = self.roster.connection(slot);
                self.accounts.ledger.note_unanswered_ping(now, connection, ping, OperationResult::TimedOut);
                self.pacer.note_ended(slot, now);
                count += u64::from(ping.planned >= began);
            }
        }
        for flight in self.in_flight.take_before(before) {
            let Flight { entry, measured, slot, .. } = flight;
            self.accounts.ledger.note_unanswered(now, entry, flight.sent(), measured, OperationResult::TimedOut);
            self.pacer.note_ended(slot as usize, now);
            count += u64::from(entry.planned >= began);
        }
        self.continue_after_end(ctx);
        count
    }

    /// Returns the begin of the run; [`Instant::MAX`] outside it.
    fn run_began(&self) -> Instant {
        if self.phase == Phase::Run { self.phase_began } else { Instant::MAX }
    }

    pub(super) fn progress(&mut self, ctx: &Ctx<'_>) -> Progress {
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
            busy: ctx.busy(),
            interval: self.accounts.ledger.latest_interval(ctx.now()),
        }
    }
}
