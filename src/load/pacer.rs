//! The pacer: decides which operation is due next.
//!
//! It follows a schedule, or starts each peer's next operation when the previous one has ended. It sends nothing.

use super::phase::Phase;
use super::plan::Plan;
use super::rate::Rate;
use super::roster::Roster;
use super::schedule::{Due, Schedule, Segment};
use super::stage::Pace;
use crate::time::Instant;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

/// The pause before the next operation of a peer whose operation could not be sent, at the pace
/// [`Pace::Max`](super::Pace::Max).
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// An operation that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueOperation {
    pub(super) index: u64,
    pub(super) slot: usize,
    pub(super) planned: Instant,
}

/// The pace of one phase.
#[derive(Debug)]
pub(super) enum Pacer {
    /// A schedule that began at this moment.
    Scheduled(Schedule, Instant),
    /// A schedule whose operations are planned only for peers that are ready.
    PerLivingPeer(Schedule, Instant),
    Max(ClosedLoop),
}

impl Pacer {
    /// Returns the pace of the warm-up or of the run, beginning at `now`. If each operation opens a connection of its
    /// own, all slots have operations.
    pub(super) fn new(plan: &Plan, roster: &Roster, opens_connections: bool, phase: Phase, now: Instant) -> Self {
        let schedule = if phase == Phase::Warmup { plan.warmup_schedule() } else { plan.run_schedule() };
        match plan.pace {
            Pace::PerLivingPeer if !opens_connections => Self::PerLivingPeer(schedule, now),
            Pace::Scheduled | Pace::PerLivingPeer => Self::Scheduled(schedule, now),
            Pace::Max => {
                let is_free = |slot| opens_connections || roster.peer_at(slot).is_some();
                let slots = (0..roster.len()).filter(|&slot| is_free(slot));
                Self::Max(ClosedLoop::new(plan.segment, slots, now, u64::MAX))
            }
        }
    }

    /// Returns the next operation if it is due at `now` and before `end`, and proceeds.
    pub(super) fn next(&mut self, now: Instant, end: Instant, roster: &Roster) -> Option<DueOperation> {
        match self {
            Self::Scheduled(schedule, began) => {
                let operation = due(schedule, *began, roster).filter(|due| due.planned <= now && due.planned < end)?;
                schedule.advance();
                Some(operation)
            }
            Self::PerLivingPeer(schedule, began) => loop {
                let operation = due(schedule, *began, roster).filter(|due| due.planned <= now && due.planned < end)?;
                schedule.advance();
                if roster.was_ready_at(operation.slot, operation.planned) {
                    return Some(operation);
                }
            },
            Self::Max(closed) if now < end => closed.next(now),
            Self::Max(_) => None,
        }
    }

    /// Returns the moment at which the next operation is due; [`Instant::MAX`] if none is planned.
    pub(super) fn next_moment(&self) -> Instant {
        match self {
            Self::Scheduled(schedule, began) | Self::PerLivingPeer(schedule, began) => {
                schedule.due().map_or(Instant::MAX, |Due { planned_ns, .. }| after(*began, planned_ns))
            }
            Self::Max(closed) => closed.next_moment(),
        }
    }

    /// Returns the moment at which the maximum number of operations ends the phase; [`Instant::MAX`] if it does not.
    pub(super) fn end(&self) -> Instant {
        match self {
            Self::Scheduled(schedule, began) | Self::PerLivingPeer(schedule, began) => {
                schedule.max_reached_ns().map_or(Instant::MAX, |reached_ns| after(*began, reached_ns))
            }
            Self::Max(closed) if closed.is_complete() => Instant::ZERO,
            Self::Max(_) => Instant::MAX,
        }
    }

    /// Notes that the operation of a slot has ended at `moment`.
    pub(super) fn note_ended(&mut self, slot: usize, moment: Instant) {
        if let Self::Max(closed) = self {
            closed.outstanding = closed.outstanding.saturating_sub(1);
            closed.idle.push_back((slot as u32, moment));
        }
    }

    /// Notes that the operation of a slot could not be sent at `now`. `is_lost` if the slot has no peer any more.
    pub(super) fn note_unsent(&mut self, slot: usize, now: Instant, is_lost: bool) {
        if let Self::Max(closed) = self {
            closed.outstanding = closed.outstanding.saturating_sub(1);
            if !is_lost {
                closed.retries.push_back((slot as u32, now.plus(RETRY_PAUSE)));
            }
        }
    }

    /// Notes that the peer of a slot was lost, and with it its operation.
    pub(super) fn note_lost(&mut self, slot: usize) {
        if let Self::Max(closed) = self {
            let before = closed.idle.len() + closed.retries.len();
            closed.idle.retain(|(idle, _)| *idle as usize != slot);
            closed.retries.retain(|(idle, _)| *idle as usize != slot);
            let was_idle = closed.idle.len() + closed.retries.len() < before;
            closed.outstanding -= u64::from(!was_idle && closed.outstanding > 0);
        }
    }

    /// Changes the rate, if there is one. Returns the rates at `now` before and after the change.
    pub(super) fn change_rate(&mut self, now: Instant, change: RateRequest) -> Option<(Rate, Rate)> {
        match self {
            Self::Scheduled(schedule, began) | Self::PerLivingPeer(schedule, began) => {
                // Operations due at `now` may have been started already.
                let at_ns = nanos_since(*began, now) + 1;
                let before = schedule.rate_at(at_ns);
                change.apply(schedule, at_ns);
                Some((before, schedule.rate_at(at_ns)))
            }
            Self::Max(_) => None,
        }
    }

    /// Returns the total rate at `now`, if there is one.
    pub(super) fn rate(&self, now: Instant) -> Option<Rate> {
        match self {
            Self::Scheduled(schedule, began) | Self::PerLivingPeer(schedule, began) => {
                // A change applies from the next nanosecond on.
                Some(schedule.rate_at(nanos_since(*began, now) + 1))
            }
            Self::Max(_) => None,
        }
    }
}

/// A request for another rate.
#[derive(Clone, Copy, Debug)]
pub(super) enum RateRequest {
    Percent(u32),
    To(Rate),
}

impl RateRequest {
    const HUNDRED: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");

    /// Changes a schedule from `at_ns` on.
    pub(super) fn apply(self, schedule: &mut Schedule, at_ns: u64) {
        match self {
            Self::Percent(percent) => schedule.scale(at_ns, percent, Self::HUNDRED),
            Self::To(rate) => schedule.set_rate(at_ns, rate),
        }
    }

    /// Returns the changed rate.
    pub(super) fn changed(self, rate: Rate) -> Rate {
        match self {
            Self::Percent(percent) => rate.scaled(percent, Self::HUNDRED),
            Self::To(rate) => rate,
        }
    }
}

/// The state of the pace [`Pace::Max`](super::Pace::Max).
#[derive(Debug)]
pub(super) struct ClosedLoop {
    segment: Segment,
    /// The slots without an operation, and the moments at which their last ones ended.
    idle: VecDeque<(u32, Instant)>,
    /// The slots whose operation could not be sent, and the moments of their next operations.
    retries: VecDeque<(u32, Instant)>,
    started: u64,
    /// The number of operations after which the phase ends.
    max_operations: u64,
    outstanding: u64,
}

impl ClosedLoop {
    /// Returns the closed loop of these slots, all of them idle since `now`. The phase has `max_operations` operations
    /// in all segments together, divided as evenly as possible.
    pub(super) fn new(segment: Segment, slots: impl Iterator<Item = usize>, now: Instant, max_operations: u64) -> Self {
        let idle = slots.map(|slot| (slot as u32, now)).collect();
        let mut closed =
            Self { segment, idle, retries: VecDeque::new(), started: 0, max_operations: 0, outstanding: 0 };
        closed.set_max(max_operations);
        closed
    }

    /// Counts anew, for a phase that begins at `now` and has this number of operations. Operations that are outstanding
    /// stay so.
    pub(super) fn restart(&mut self, now: Instant, max_operations: u64) {
        self.started = 0;
        self.set_max(max_operations);
        // An operation of the new phase must not be planned for an earlier one.
        self.idle.iter_mut().for_each(|(_, at)| *at = now.max(*at));
    }

    fn set_max(&mut self, max_operations: u64) {
        let (of, index) = (self.segment.of(), self.segment.index());
        self.max_operations = max_operations / of + u64::from(index < max_operations % of);
    }

    fn next(&mut self, now: Instant) -> Option<DueOperation> {
        if self.started >= self.max_operations {
            return None;
        }
        while let Some((slot, at)) = self.retries.front().copied().filter(|(_, at)| *at <= now) {
            self.retries.pop_front();
            self.idle.push_back((slot, at));
        }
        let (slot, planned) = self.idle.pop_front()?;
        let index = self.segment.index() + self.segment.of() * self.started;
        self.started += 1;
        self.outstanding += 1;
        Some(DueOperation { index, slot: slot as usize, planned })
    }

    fn next_moment(&self) -> Instant {
        match self.started < self.max_operations {
            true if !self.idle.is_empty() => Instant::ZERO,
            true => self.retries.front().map_or(Instant::MAX, |(_, at)| *at),
            false => Instant::MAX,
        }
    }

    /// Returns whether the maximum number of operations has been started, and all of them have ended.
    fn is_complete(&self) -> bool {
        self.started >= self.max_operations && self.outstanding == 0
    }
}

/// Returns the next operation of a schedule that began at `began`.
fn due(schedule: &Schedule, began: Instant, roster: &Roster) -> Option<DueOperation> {
    let Due { index, planned_ns } = schedule.due()?;
    Some(DueOperation { index, slot: roster.slot_of(index), planned: after(began, planned_ns) })
}

fn after(began: Instant, nanos: u64) -> Instant {
    began.plus(Duration::from_nanos(nanos))
}

fn nanos_since(began: Instant, now: Instant) -> u64 {
    now.as_nanos().saturating_sub(began.as_nanos())
}
