//! The walk that sets timers anew after a change of the configuration.
//!
//! Deadlines follow by themselves, because only their beginning is stored. A timer that was set for a later moment has
//! to be set anew, and so do the rows' copies of the pong timeout: slot by slot, a bounded number in each turn. The
//! loop does not sleep before the walk has ended.

use crate::bugs::budget;
use crate::id::LinkId;
use crate::limits::EXPIRIES_PER_TURN;
use crate::state::Links;
use crate::time::Instant;

/// The walk over all slots, or none.
#[derive(Debug, Default)]
pub(crate) struct Rearming {
    /// The first slot whose timer may still be set for the old deadlines; none if the walk is over.
    next_slot: Option<u32>,
}

impl Rearming {
    /// Begins the walk, or begins it anew.
    pub(super) fn begin(&mut self) {
        self.next_slot = Some(0);
    }

    /// Returns whether timers are still to be set.
    pub(crate) fn is_going_on(&self) -> bool {
        self.next_slot.is_some()
    }

    /// Returns whether the timer of a link is set for the deadlines that it has.
    #[cfg(feature = "sim")]
    pub(crate) fn is_past(&self, id: LinkId) -> bool {
        self.next_slot.is_none_or(|next| id.slot() < next as usize)
    }

    /// Sets the timers of as many links as one turn may.
    pub(super) fn proceed(&mut self, links: &mut Links, now: Instant) {
        let Some(first) = self.next_slot else { return };
        let slots = links.table.slots();
        let most = budget!(Expiries, EXPIRIES_PER_TURN) as u32;
        let end = slots.min(first.saturating_add(most));
        for slot in first..end {
            if let Some(id) = links.table.id_at(slot) {
                rearm_link(id, links, now);
            }
        }
        self.next_slot = (end < slots).then_some(end);
    }
}

fn rearm_link(id: LinkId, links: &mut Links, now: Instant) {
    let Some(link) = links.table.get_mut(id) else { return };
    link.peer.ping_pong_mut().set_timeout(links.timeouts.pong);
    // A connection that waits to be dialled has no deadline before that.
    let is_to_be_dialled = link.is_connecting() && links.wheel.armed_tick(id.slot() as u32).is_none();
    if !is_to_be_dialled {
        links.rearm(id, now);
    }
}
