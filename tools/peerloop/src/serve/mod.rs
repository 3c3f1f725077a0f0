//! `serve`: a test node that answers requests, and misbehaves if it is asked to, until a signal ends it.
//!
//! The loop has a thread of its own. The main thread sleeps until a signal arrives; only a status line on a terminal
//! wakes it once a second.

mod args;
mod knobs;
mod report;

pub(crate) use args::ServeArgs;
pub(crate) use knobs::parse_block_bytes;

use crate::exit::{Exit, Failure, Stop, Stops};
use crate::machine::{self, Machine, Need, STREAMS_PER_PEER};
use crate::notices::{Notice, Notices};
use crate::output;
use crate::process;
use crate::progress::Progress;
use crate::settings;
use crate::status::{STATUS_INTERVAL, Shown, Watch, wait_for};
use peerloop::MioNet;
use peerloop::api::{Pending, Stats};
use peerloop::load::{Responder, ResponderCounts, ResponderRequest, Snapshot};
use peerloop::{Config, Handle, Network, Reactor};
use report::{greeting, misdeeds, summary};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

/// Upper bound on the default maximum number of peers, however many descriptors there are.
const MAX_DEFAULT_PEERS: usize = 1_000_000;

/// The counters whose rates the status line shows.
const SHOWN: [Shown; 2] =
    [Shown("handshakes", |counters| counters.handshakes), Shown("pings", |counters| counters.pings_answered)];

/// The message that the loop's thread sends when its listeners are open.
#[derive(Debug)]
struct Listening {
    addresses: Vec<SocketAddr>,
    handle: Handle<ResponderRequest>,
}

pub(crate) fn run(args: ServeArgs) -> Result<Exit, Failure> {
    let network = settings::network(args.network, std::env::vars_os())?.unwrap_or(Network::Mainnet);
    let responder = args.responder()?;
    let machine = Machine::survey();
    let addresses = match args.listen.is_empty() {
        true => vec![(Ipv4Addr::LOCALHOST, network.default_port()).into()],
        false => args.listen,
    };
    let need = Need::Accept { listeners: addresses.len() };
    let max_peers = max_peers(&machine, args.max_peers, need)?;
    let fitting = usize::try_from(machine.max_peers(need)).unwrap_or(usize::MAX);
    // A peer may open further streams, if descriptors remain.
    let max_streams = max_peers.saturating_mul(STREAMS_PER_PEER).min(fitting).max(max_peers);
    let max_links = max_streams + machine.max_over_capacity(need);
    let reuse_port = args.reuse_port;
    let config = Config::new(network).with_max_inbound(max_peers).with_max_links(max_links).with_reuse_port(reuse_port);
    // Only delayed replies need exact wake-ups, for which the loop polls.
    let config = responder.loop_config(config).with_seed(args.knobs.seed).with_spin(responder.alters_replies());
    machine::complain_of_refused_options();
    process::prepare(machine.descriptors_for(max_streams, need));
    let notices = Notices::new()?;
    let (sender, receiver) = sync_channel(1);
    let node = Responder::new(responder.clone());
    let thread = notices.spawn("loop", move || serve(config, node, &addresses, sender))?;
    let began = Instant::now();
    if let Ok(listening) = receiver.recv() {
        output::print(&greeting(&listening.addresses, network, max_peers, &responder))?;
        let stops = wait(&notices, &listening.handle, args.quiet);
        // If the loop has already ended, the request fails.
        let _ = listening.handle.stop();
        if let Some(stop) = stops.and_then(|stops| second_signal(&notices, stops)) {
            let snapshot = snapshot(&listening.handle);
            output::print(&snapshot.map(|snapshot| summary(&snapshot, began.elapsed())).unwrap_or_default())?;
            let message = "stopped at once; some peers may not have been closed".to_owned();
            return Err(Failure { exit: Exit::Stopped(stop), message });
        }
    }
    let panicked = || Err(Failure::run("serving: the loop's thread panicked"));
    let snapshot = thread.join().unwrap_or_else(|_| panicked())?;
    output::print(&summary(&snapshot, began.elapsed()))?;
    Ok(Exit::Success)
}

/// Returns the maximum number of peers: the requested number, or by default as many as the descriptors allow, at most
/// [`MAX_DEFAULT_PEERS`]. Fails if the descriptors do not suffice.
fn max_peers(machine: &Machine, asked: Option<usize>, need: Need) -> Result<usize, Failure> {
    let fitting = usize::try_from(machine.max_peers(need)).unwrap_or(usize::MAX);
    let max_peers = asked.unwrap_or_else(|| fitting.clamp(1, MAX_DEFAULT_PEERS));
    machine.check_descriptors(max_peers, need).map(|()| max_peers)
}

/// Builds the loop on this thread, and runs it.
fn serve(
    config: Config,
    node: Responder,
    addresses: &[SocketAddr],
    ready: SyncSender<Listening>,
) -> Result<Snapshot, Failure> {
    let mut reactor: Reactor<MioNet, Responder> =
        Reactor::new(config, node).map_err(|error| Failure::machine(format!("starting the loop: {error}")))?;
    for &address in addresses {
        reactor.listen(address).map_err(|error| {
            Failure::run(format!(
                "listening on {address}: {error}; use --listen with an address of this machine and a free port"
            ))
        })?;
    }
    // The send succeeds, because the main thread waits for the handle.
    let _ = ready.send(Listening { addresses: reactor.listening_on().collect(), handle: reactor.handle() });
    drop(ready);
    reactor.run().map_err(|error| Failure::run(format!("waiting for the network: {error}")))?;
    let stats = reactor.stats();
    Ok(reactor.handler().snapshot(stats.ready, &stats.counters))
}

/// Shows the status until a signal arrives, and returns the signal; `None` if the loop has ended by itself.
fn wait(notices: &Notices, handle: &Handle<ResponderRequest>, quiet: bool) -> Option<Stops> {
    let mut progress = Progress::new(quiet);
    let interval = progress.is_live().then_some(STATUS_INTERVAL);
    let mut watch = Watch::new(handle);
    let (mut pending, mut counts) = (None, ResponderCounts::default());
    loop {
        match notices.next(interval) {
            Some(Notice::Stop(stop)) => {
                progress.clear();
                let mut stops = Stops::default();
                stops.note(stop);
                return Some(stops);
            }
            Some(Notice::Ended) => {
                progress.clear();
                return None;
            }
            Some(Notice::Rate(_) | Notice::Bell) | None => {}
        }
        // The counts are those of the previous second.
        counts = arrived(pending.take()).unwrap_or(counts);
        pending = request_snapshot(handle);
        let state = |stats: &Stats| format!("peers {}{}", stats.ready, misdeeds(&counts));
        if let Some(line) = watch.line(handle, state, &SHOWN) {
            progress.show(&line);
        }
    }
}

/// Waits until the loop has closed its peers and ended, and returns `None`. If a second signal arrives before that,
/// returns the second signal at once.
fn second_signal(notices: &Notices, mut stops: Stops) -> Option<Stop> {
    while let Some(Notice::Stop(stop)) = notices.next(None) {
        if stops.note(stop) {
            return Some(stop);
        }
    }
    None
}

/// Requests the loop's counts, and waits at most a second for them.
fn snapshot(handle: &Handle<ResponderRequest>) -> Option<Snapshot> {
    request_snapshot(handle).and_then(wait_for)
}

fn request_snapshot(handle: &Handle<ResponderRequest>) -> Option<Pending<Snapshot>> {
    let (reply, pending) = Pending::new();
    handle.request(ResponderRequest::Snapshot(reply)).ok().map(|()| pending)
}

/// Returns the counts if the loop has sent them.
fn arrived(pending: Option<Pending<Snapshot>>) -> Option<ResponderCounts> {
    pending?.try_take().ok().flatten().map(|snapshot| snapshot.counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::limits::MAX_OVER_CAPACITY;

    #[test]
    fn the_default_maximum_is_the_largest_that_is_accepted() {
        let machine = |descriptors| Machine { descriptors, ports: None, backlog: None, cpus: 1, load_hundredths: None };
        let need = Need::Accept { listeners: 1 };
        for (descriptors, fits) in [(64, 16), (1_024, 1_024 - 33 - MAX_OVER_CAPACITY)] {
            let machine = machine(descriptors);
            assert_eq!(max_peers(&machine, None, need), Ok(fits));
            assert_eq!(max_peers(&machine, Some(fits), need), Ok(fits));
            assert_eq!(max_peers(&machine, Some(fits + 1), need).unwrap_err().exit, Exit::MachineCannot);
        }
        assert_eq!(max_peers(&machine(33), None, need).unwrap_err().exit, Exit::MachineCannot);
    }
}
