//! Measures the loop's own events and memory, without the virtual kernel's memory.
//!
//! [`Beyond`] is the network between the loop and the virtual kernel: it counts the loop's events, and excludes the
//! kernel's allocations. [`Measured`] is the loop as the driver sees it; only allocations during the loop's creation
//! and its turns count. The functions [`within_the_loop`] and [`beyond_the_loop`] are never inlined, so a profiler can
//! attribute instructions to the loop or to the kernel by function name.

use allocation_counter::{measure, opt_out};
use peerloop::error::RefusedOption;
use peerloop::handler::Handler;
use peerloop::internals::net::{Net, Readiness};
use peerloop::internals::offload::{Completion, Offload};
use peerloop::sim::Layer;
use peerloop::sim::{Actor, SimNet};
use peerloop::time::{Instant, UnixTime, Wait};
use peerloop::{Handle, Reactor};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The events and memory of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Number of readiness events and calls to the kernel. Clock reads, waits, opened listeners, and polls for
    /// completions or refused options do not count.
    pub events: u64,
    /// Number of calls of `poll_once`.
    pub turns: u64,
    /// Number of allocations during these turns and the loop's creation.
    pub allocations: u64,
    /// Memory in use after the last turn, in bytes.
    pub held_bytes: i64,
    /// Maximum memory ever in use, within or between turns, in bytes.
    pub peak_bytes: i64,
}

/// A loop whose turns are measured.
#[derive(Debug)]
pub(crate) struct Measured<H: Handler> {
    reactor: Reactor<Beyond, H>,
    account: Account,
}

/// One host's network, which counts events.
#[derive(Debug)]
pub(crate) struct Beyond {
    net: SimNet,
    events: u64,
}

/// Runs one turn of the loop.
#[inline(never)]
fn within_the_loop<H: Handler>(reactor: &mut Reactor<Beyond, H>) -> io::Result<bool> {
    reactor.poll_once(Duration::ZERO)
}

/// Makes one of the loop's calls to the kernel. The call's allocations do not count.
#[inline(never)]
fn beyond_the_loop<T>(call: impl FnOnce() -> T) -> T {
    let mut answer = None;
    opt_out(|| answer = Some(call()));
    answer.expect("the call was made")
}

impl<H: Handler> Measured<H> {
    /// Creates a loop with `make`. The allocations of `make` count as the loop's.
    pub(crate) fn new(net: SimNet, make: impl FnOnce(Beyond) -> Reactor<Beyond, H>) -> Self {
        let mut reactor = None;
        let made = measure(|| reactor = Some(make(Beyond { net, events: 0 })));
        let mut account = Account::default();
        account.add(&made);
        Self { reactor: reactor.expect("the loop was created"), account }
    }

    pub(crate) fn account(&self) -> Account {
        Account { events: self.reactor.net().events, ..self.account }
    }

    pub(crate) fn reactor(&self) -> &Reactor<Beyond, H> {
        &self.reactor
    }

    pub(crate) fn handle(&self) -> Handle<H::Request> {
        self.reactor.handle()
    }
}

impl Account {
    fn add(&mut self, info: &allocation_counter::AllocationInfo) {
        let most_bytes = i64::try_from(info.bytes_max).expect("no machine has this much memory");
        self.peak_bytes = self.peak_bytes.max(self.held_bytes + most_bytes);
        self.held_bytes += info.bytes_current;
        self.allocations += info.count_total;
    }
}

impl<H: Handler> Actor for Measured<H> {
    fn turn(&mut self) -> io::Result<bool> {
        let mut continues = Ok(false);
        let info = measure(|| continues = within_the_loop(&mut self.reactor));
        self.account.add(&info);
        self.account.turns += 1;
        continues
    }

    fn wait(&self) -> Wait {
        self.reactor.next_deadline()
    }

    fn host(&self) -> Option<usize> {
        Some(self.reactor.net().net.host())
    }
}

impl Layer for Beyond {
    type Below = SimNet;

    fn below(&self) -> &SimNet {
        &self.net
    }

    fn below_mut(&mut self) -> &mut SimNet {
        &mut self.net
    }

    fn pass<T>(&mut self, call: impl FnOnce(&mut SimNet) -> T) -> T {
        self.events += 1;
        beyond_the_loop(|| call(&mut self.net))
    }

    fn now(&self) -> Instant {
        beyond_the_loop(|| self.net.now())
    }

    fn unix_time(&self) -> UnixTime {
        beyond_the_loop(|| self.net.unix_time())
    }

    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let result = beyond_the_loop(|| self.net.wait(wait, ready));
        self.events += ready.len() as u64;
        result
    }

    fn listen(&mut self, index: u32, address: SocketAddr) -> io::Result<SocketAddr> {
        beyond_the_loop(|| self.net.listen(index, address))
    }

    fn take_refused_option(&mut self) -> Option<RefusedOption> {
        beyond_the_loop(|| self.net.take_refused_option())
    }

    fn take_completion(&mut self) -> Option<Completion> {
        beyond_the_loop(|| self.net.take_completion())
    }
}
