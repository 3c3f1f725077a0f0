//! The timers of the scripted handler: set, moved and cancelled from inside all callbacks but `on_pull`, and
//! checked when they fire.
//!
//! Only honest troops use timers, and each troop has its own. The timers therefore cause the same turns in a run
//! without the hostile troops.

use super::ScriptedHandler;
use peerloop::PeerId;
use peerloop::handler::Ctx;
use peerloop::sim::Chance;
use peerloop::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Number of keys that a troop draws from: few, so that most timers are moved or cancelled.
const KEYS: u32 = 8;
/// Maximum number of times that a troop's timers are set, moved or cancelled. It is limited because each timer may wake
/// the loop.
const MAX_DEEDS: u32 = 200;

/// The timers of a troop.
#[derive(Debug)]
pub(in super::super) struct Timekeeper {
    chance: Chance,
    set: BTreeMap<u64, Instant>,
    deeds: u32,
}

impl Timekeeper {
    pub(in super::super) fn new(chance: Chance) -> Self {
        Self { chance, set: BTreeMap::new(), deeds: 0 }
    }
}

impl ScriptedHandler {
    /// Uses the timers of `peer`'s troop, from inside a callback for `peer`.
    pub(super) fn use_timers_for(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        if let Some(troop) = self.get(peer).map(|known| known.troop) {
            self.use_timers(ctx, troop);
        }
    }

    /// Sets, moves or cancels a timer of a troop, or does nothing.
    pub(super) fn use_timers(&mut self, ctx: &mut Ctx<'_>, troop: usize) {
        let Some(acquaintance) = self.troops.get_mut(troop).filter(|troop| troop.is_honest) else { return };
        let Timekeeper { chance, set, deeds } = &mut acquaintance.timekeeper;
        if self.is_calm || *deeds >= MAX_DEEDS || !chance.one_in(4) {
            return;
        }
        *deeds += 1;
        let key = (troop as u64) << 32 | u64::from(chance.below(KEYS));
        if chance.one_in(3) {
            let was_set = set.remove(&key).is_some();
            if ctx.cancel_timer(key) != was_set {
                self.wrong(22, ctx.now(), format!("cancelling timer {key:#x} did not return {was_set}"));
            }
            return;
        }
        let at = match chance.below(5) {
            0 => ctx.now(),
            1 => ctx.now().minus(Duration::from_secs(1)),
            2 => ctx.now().plus(Duration::from_nanos(u64::from(chance.below(5_000_000)))),
            3 => ctx.now().plus(Duration::from_millis(u64::from(chance.below(10_000)))),
            _ => Instant::MAX,
        };
        set.insert(key, at);
        let result = ctx.set_timer(key, at);
        self.done(result);
    }

    /// Checks that the fired timer was set and did not fire early, and then calls [`ScriptedHandler::use_timers`].
    pub(super) fn timer_fired(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        let (now, troop) = (ctx.now(), (key >> 32) as usize);
        let set = self.troops.get_mut(troop).and_then(|troop| troop.timekeeper.set.remove(&key));
        if set.is_none_or(|at| at > now) {
            self.wrong(22, now, format!("timer {key:#x} fired at {now:?} but was set for {set:?}"));
        }
        self.use_timers(ctx, troop);
    }
}
