//! Faults of a world: failing calls, and small budgets.

use peerloop::internals::Budget;
use peerloop::internals::errno;
use peerloop::sim::Chance;
use peerloop::sim::Site;

/// The errors with which each call may fail.
pub(super) const FAILURES: [(Site, &[i32]); 7] = [
    (Site::Wait, &[errno::EINTR]),
    (
        Site::Accept,
        &[
            errno::EMFILE,
            errno::ENFILE,
            errno::ENOBUFS,
            errno::ENOMEM,
            errno::ECONNABORTED,
            errno::EPROTO,
            errno::ENETDOWN,
            errno::EAGAIN,
        ],
    ),
    (Site::Attach, &[errno::ENOMEM, errno::ENOSPC]),
    (Site::Connect, &[errno::EMFILE, errno::EADDRNOTAVAIL, errno::ENETUNREACH, errno::ECONNREFUSED, errno::ENOBUFS]),
    (Site::Connected, &[errno::ECONNREFUSED, errno::ETIMEDOUT, errno::EHOSTUNREACH, errno::ENETUNREACH]),
    (
        Site::Read,
        &[errno::EAGAIN, errno::EINTR, errno::ECONNRESET, errno::ETIMEDOUT, errno::ENOMEM, errno::EHOSTUNREACH],
    ),
    (Site::Write, &[errno::EAGAIN, errno::EINTR, errno::EPIPE, errno::ECONNRESET, errno::ENOBUFS, errno::ECONNABORTED]),
];

/// Returns each failure in [`FAILURES`].
pub(super) fn failures() -> impl Iterator<Item = (Site, i32)> {
    FAILURES.iter().flat_map(|(site, errnos)| errnos.iter().map(move |errno| (*site, *errno)))
}

/// Draws the faults of a world; about half of all worlds have none.
pub(super) fn draw_faults(chance: &Chance) -> Vec<(Site, i32, u32)> {
    let mut faults = Vec::new();
    if !chance.one_in(2) {
        return faults;
    }
    for (site, errnos) in FAILURES {
        for errno in errnos {
            if chance.one_in(5) {
                let is_rare_site = matches!(site, Site::Attach | Site::Accept | Site::Connect | Site::Connected);
                let one_in = *chance.pick(&if is_rare_site { [20, 8, 4, 2] } else { [3_000, 1_000, 300, 100] });
                faults.push((site, *errno, one_in));
            }
        }
    }
    faults
}

/// The budgets that can be reduced, and the sizes to choose from.
const BUDGETS: [(Budget, [usize; 3]); 12] = [
    (Budget::ReadBytes, [1_000, 40, 1]),
    (Budget::ReplyBytes, [200, 40, 16]),
    (Budget::SegmentBytes, [500, 40, 16]),
    (Budget::WriteSlices, [8, 2, 1]),
    (Budget::WheelSlots, [256, 64, 8]),
    (Budget::Events, [16, 3, 1]),
    (Budget::Requests, [16, 3, 1]),
    (Budget::Accepts, [8, 2, 1]),
    (Budget::Dials, [8, 2, 1]),
    (Budget::Expiries, [8, 2, 1]),
    (Budget::Closes, [8, 2, 1]),
    (Budget::Pulls, [8, 2, 1]),
];

pub(super) fn draw_budgets(chance: &Chance) -> Vec<(Budget, usize)> {
    let mut budgets = Vec::new();
    if !chance.one_in(2) {
        return budgets;
    }
    for (budget, sizes) in BUDGETS {
        if chance.one_in(4) {
            budgets.push((budget, *chance.pick(&sizes)));
        }
    }
    budgets
}
