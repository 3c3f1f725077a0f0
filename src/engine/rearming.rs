//! The walk that rearms timers after a change of the configuration.
//!
//! Deadlines need no update, because rows store only the moments from which the deadlines count. A timer set for a
//! moment after the new deadline must be rearmed, and each row's copy of the pong timeout must be updated. The walk
//! does both slot by slot, for a bounded number of slots in each turn. The loop never sleeps before the walk is
//! complete.

use crate::bugs::budget;
use crate::id::LinkId;
use crate::limits::EXPIRIES_PER_TURN;
use crate::state::Links;
use crate::time::Instant;

/// The walk over all slots, if one is under way.
#[derive(Debug, Default)]
pub(crate) struct Rearming {
    /// The first slot whose timer may still be set for the old deadlines; `None` if no walk is under way.
    next_slot: Option<u32>,
}

impl Rearming {
    /// Starts or restarts the walk.
    pub(super) fn begin(&mut self) {
        self.next_slot = Some(0);
    }

    /// Returns whether the walk is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.next_slot.is_some()
    }

    /// Returns whether a link's timer matches the link's deadlines: no walk is under way, or the walk has passed the
    /// link.
    #[cfg(feature = "sim")]
    pub(crate) fn is_past(&self, id: LinkId) -> bool {
        self.next_slot.is_none_or(|next| id.slot() < next as usize)
    }

    /// Rearms the next links, up to the turn's limit.
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
    // A connection that waits to be dialled has no deadline yet.
    let is_to_be_dialled = link.is_connecting() && links.wheel.armed_tick(id.slot() as u32).is_none();
    if !is_to_be_dialled {
        links.rearm(id, now);
    }
}
