//! The inputs of a check: the loop's counts before and after a turn, or its complete state between two turns.
//!
//! A check changes nothing: it returns `Ok`, or a description of the violation.

use super::bounds::Bounds;
use super::ledger::Ledger;
use super::saved::Disk;
use crate::address::Host;
use crate::id::LinkId;
use crate::peer::ConnectionState;
use crate::reactor::inspect::{Agreed, EndingStep, Inspection, LinkReport, Summary};
use crate::sim::kernel::HostView;
use crate::time::Instant;

/// A check after every turn.
pub(super) type TurnCheck = fn(&TurnSight<'_>) -> Result<(), String>;
/// A check in a sweep.
pub(super) type SweepCheck = fn(&SweepSight<'_>) -> Result<(), String>;

/// The loop's counts before and after a turn.
#[derive(Clone, Debug)]
pub(super) struct TurnSight<'a> {
    pub(super) before: &'a Summary,
    pub(super) after: &'a Summary,
    pub(super) bounds: &'a Bounds,
    /// The number of peers reported ready to the handler since the loop began.
    pub(super) reported_ready: u64,
    /// The number of peers reported closed to the handler since the loop began.
    pub(super) reported_closed: u64,
    /// The number of consecutive turns in which the same link was next to be read but was not read.
    pub(super) next_unread_turns: u64,
    /// Hosts whose ban was announced in the turn and is not on the disk.
    pub(super) undurable: &'a [Host],
    /// Links with a ping that the kernel accepted in the turn, but that the loop considers sent at an earlier moment
    /// (`Some`) or not yet sent (`None`).
    pub(super) misdated_pings: &'a [(LinkId, Option<Instant>)],
    /// Ready links whose last queued byte the kernel accepted in the turn without a call to `on_writable`.
    pub(super) missing_writable: &'a [LinkId],
    /// Links with a marked message that the kernel accepted in the turn, but that was not reported as written.
    pub(super) missing_written: &'a [LinkId],
    /// Open links of peers of which another link's socket was closed in the turn.
    pub(super) survivors: &'a [LinkId],
    /// The maximum number of addresses that the loop may have learned from peers since it began; `None` if it is
    /// unknown.
    pub(super) granted: Option<u64>,
}

/// The complete state between two turns.
#[derive(Debug)]
pub(super) struct SweepSight<'a> {
    pub(super) inspection: &'a Inspection,
    pub(super) ledger: &'a Ledger,
    /// The loop's host as the virtual kernel sees it.
    pub(super) host: &'a HostView,
    /// The number of links with a socket, as counted by the host's network.
    pub(super) open_sockets: usize,
    /// The moment on the loop's clock before the last turn. That turn could handle any deadline up to this moment.
    pub(super) settled: Instant,
    pub(super) memory: &'a Memory,
    /// The disk's contents; `None` if the loop has no manager, or if it runs and the contents cannot have changed.
    pub(super) disk: Option<&'a Disk>,
}

/// The state that a sweep keeps for the next one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The terms agreed with the ready peers, by slot.
    pub(super) agreed: Vec<Option<(LinkId, Agreed)>>,
    /// The list of links to read, in the order in which they are read.
    pub(super) ready: Vec<LinkId>,
    pub(super) turn: u64,
    pub(super) at: Instant,
}

impl Memory {
    pub(super) fn of(mut self, inspection: &Inspection, turn: u64) -> Self {
        for link in inspection.links.iter().filter(|link| link.state == ConnectionState::Connected) {
            let slot = link.id.slot();
            if self.agreed.len() <= slot {
                self.agreed.resize(slot + 1, None);
            }
            self.agreed[slot] = Some((link.id, link.agreed));
        }
        self.ready.clone_from(&inspection.ready);
        Self { turn, at: inspection.summary.now, ..self }
    }
}

impl SweepSight<'_> {
    /// Returns the links that have not ended.
    pub(super) fn undecided(&self) -> impl Iterator<Item = &LinkReport> {
        self.inspection.links.iter().filter(|link| link.ending != EndingStep::Ended)
    }

    /// Returns the links that are not ending and do not wait to be dialled.
    pub(super) fn open(&self) -> impl Iterator<Item = &LinkReport> {
        self.inspection.links.iter().filter(|link| link.ending == EndingStep::Open && !self.is_undialled(link))
    }

    /// Returns the open links whose timers match their deadlines.
    pub(super) fn timed(&self) -> impl Iterator<Item = &LinkReport> {
        self.open().filter(|link| !link.has_new_deadlines)
    }

    pub(super) fn is_undialled(&self, link: &LinkReport) -> bool {
        link.state == ConnectionState::Connecting && self.ledger.socket_of(link.id.slot()) != Some(link.id)
    }
}

/// Returns the text as an error if the condition does not hold.
pub(super) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}

/// Checks that none of `links` breaks a rule; the error describes the first that does.
pub(super) fn none_of<'a>(
    mut links: impl Iterator<Item = &'a LinkReport>,
    breaks: impl Fn(&LinkReport) -> bool,
) -> Result<(), String> {
    links.find(|link| breaks(link)).map_or(Ok(()), |link| Err(format!("{link:?}")))
}
