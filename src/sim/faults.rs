//! Decides which kernel calls fail: random calls, or exactly the n-th call of a site.
//!
//! A host counts its calls by site. Before the kernel does anything, the host decides whether the call fails. [`Site`]
//! describes the effect of each failure. An interrupted call other than a wait is retried and succeeds. This module
//! only decides, and never changes a connection.

use super::tape::Chance;
use crate::errno::{EAGAIN, EINTR};
use crate::error::{IoStep, NetworkFailure};
use std::io;

/// A call of [`Net`](crate::net::Net) that a test can make fail. Closing has no site: a kernel releases the descriptor
/// even if the close fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Waiting for readiness. `EINTR` makes it return no events, unless an event from an earlier moment is pending; any
    /// other error stops a loop.
    Wait,
    /// Opening a listener.
    Listen,
    /// Accepting a waiting connection. After a shortage or `EAGAIN` the connection keeps waiting; any other error
    /// aborts it.
    Accept,
    /// Registering an accepted connection. After any error the connection is closed.
    Attach,
    /// Opening a connection. After an error there is no connection.
    Connect,
    /// Asking for a dial's outcome. A shortage or `EAGAIN` changes nothing; any other error breaks the connection.
    Connected,
    /// Receiving. A shortage or `EAGAIN` reads nothing; any other error breaks the connection.
    Read,
    /// Sending. A shortage or `EAGAIN` writes nothing; any other error breaks the connection.
    Write,
}

impl Site {
    /// Every site.
    pub const ALL: [Self; 8] =
        [Self::Wait, Self::Listen, Self::Accept, Self::Attach, Self::Connect, Self::Connected, Self::Read, Self::Write];
}

/// One host's call counts and planned failures.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: [u64; Site::ALL.len()],
    planned: Vec<Fault>,
}

#[derive(Debug)]
struct Fault {
    site: Site,
    errno: i32,
    when: When,
}

#[derive(Debug)]
enum When {
    Sometimes { one_in: u32, chance: Chance },
    Once { nth_call: u64 },
}

impl Faults {
    pub(super) fn fail_sometimes(&mut self, site: Site, errno: i32, one_in: u32, chance: Chance) {
        self.planned.push(Fault { site, errno, when: When::Sometimes { one_in, chance } });
    }

    pub(super) fn fail_once(&mut self, site: Site, errno: i32, nth_call: u64) {
        self.planned.push(Fault { site, errno, when: When::Once { nth_call } });
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    pub(super) fn calls(&self, site: Site) -> u64 {
        self.calls[site as usize]
    }

    /// Counts a call and returns the error with which it must fail, if any.
    pub(super) fn next_failure(&mut self, site: Site) -> Option<i32> {
        self.calls[site as usize] += 1;
        if self.planned.is_empty() {
            return None;
        }
        let calls = self.calls[site as usize];
        let mut failure = None;
        // Every random fault of the site draws a number, even if an earlier fault already makes the call fail, so that
        // the draws do not shift.
        for fault in self.planned.iter().filter(|fault| fault.site == site) {
            let fails = match &fault.when {
                When::Sometimes { one_in, chance } => chance.one_in(*one_in),
                When::Once { nth_call } => *nth_call == calls,
            };
            if fails {
                failure = failure.or(Some(fault.errno));
            }
        }
        failure
    }
}

/// Returns whether this error is temporary: it changes nothing, and the call may succeed when it is retried.
pub(super) fn is_passing(errno: i32) -> bool {
    let failure = NetworkFailure::new(IoStep::Read, &io::Error::from_raw_os_error(errno));
    matches!(errno, EINTR | EAGAIN) || failure.shortage().is_some()
}

#[cfg(test)]
mod tests {
    use super::super::tape::Tape;
    use super::*;
    use crate::errno::{ECONNRESET, EMFILE, ENOBUFS, ENOMEM};

    #[test]
    fn only_the_planned_call_fails() {
        let mut faults = Faults::default();
        faults.fail_once(Site::Read, ENOMEM, 3);
        let outcomes: Vec<_> = (0..5).map(|_| faults.next_failure(Site::Read)).collect();
        assert_eq!(outcomes, [None, None, Some(ENOMEM), None, None]);
        assert_eq!((faults.calls(Site::Read), faults.calls(Site::Write)), (5, 0));
    }

    #[test]
    fn random_faults_have_the_requested_frequency() {
        let mut faults = Faults::default();
        let stream = |id| Tape::from_seed(1).stream(id);
        faults.fail_sometimes(Site::Write, EMFILE, 10, stream(1));
        faults.fail_sometimes(Site::Write, ENOBUFS, 0, stream(2));
        let fails = (0..1_000).filter(|_| faults.next_failure(Site::Write).is_some()).count();
        assert!((60..140).contains(&fails), "{fails}");
        assert_eq!(faults.next_failure(Site::Read), None);
        faults.clear();
        assert!((0..100).all(|_| faults.next_failure(Site::Write).is_none()));
        assert_eq!(faults.calls(Site::Write), 1_100);
    }

    #[test]
    fn an_earlier_fault_does_not_shift_the_draws_of_a_later_one() {
        let fails = |with_second: bool| {
            let mut faults = Faults::default();
            if with_second {
                faults.fail_sometimes(Site::Read, ENOMEM, 2, Tape::from_seed(4).stream(2));
            }
            faults.fail_sometimes(Site::Read, ECONNRESET, 5, Tape::from_seed(4).stream(1));
            (0..100).map(|_| faults.next_failure(Site::Read)).collect::<Vec<_>>()
        };
        for (alone, both) in fails(false).into_iter().zip(fails(true)) {
            assert!(alone == both || both == Some(ENOMEM));
        }
    }

    #[test]
    fn interruptions_eagain_and_shortages_are_temporary_but_a_reset_is_not() {
        assert!([EINTR, EAGAIN, ENOMEM, ENOBUFS, EMFILE].into_iter().all(is_passing));
        assert!(!is_passing(ECONNRESET));
    }
}
