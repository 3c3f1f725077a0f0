//! `probe`: connects to one peer step by step, times each step, and reports the peer's description of itself.
//!
//! The loop has a thread of its own, and the main thread handles signals. If no TCP connection to an address can be
//! opened and the target has a next address, that one is tried. Any other failure, or a signal, ends the probe; the
//! findings so far are still reported. With `--relay`, two nodes are observed instead.

mod pair;
mod report;

use crate::causes::{Stage, cause_at, hint};
use crate::cli::ProbeArgs;
use crate::exit::{Exit, Failure, Stop, Stops};
use crate::machine;
use crate::notices::{Notice, Notices};
use crate::output;
use crate::settings;
use crate::targets::{self, Target};
use peerloop::MioNet;
use peerloop::api::Event;
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Disconnect, RequestError};
use peerloop::handler::{Ctx, Handler};
use peerloop::peer::{ConnectionState, StreamPolicy};
use peerloop::wire::{RejectCode, StreamType, Version};
use peerloop::{Config, ControlEvent, Handle, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// The number of pings. Each ping after the first is sent when the previous ping's pong has arrived.
const PINGS: usize = 10;
/// Maximum number of rejects that are kept; a peer may send any number.
const MAX_REJECTS: usize = 8;
/// Number of rows in the loop's table: one for the probed connection, one for its second stream, and one for the failed
/// connection before it, whose row is freed at the end of the turn.
const MAX_LINKS: usize = 3;
/// The key of the timer that ends the wait for the second stream.
const STREAM_TIMER: u64 = 0;

/// The findings of a probe.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    resolve: Duration,
    /// Each address tried before the last one, with the reason why no TCP connection to it could be opened.
    unreached: Vec<(SocketAddr, CloseReason)>,
    connect: Option<Duration>,
    /// Time from the establishment of the TCP connection to the arrival of the peer's version.
    version_after: Option<Duration>,
    /// Time from the arrival of the peer's version to the end of the handshake.
    verack_after: Option<Duration>,
    pings: Vec<Duration>,
    version: Option<Version>,
    /// The peer's clock minus ours, in seconds.
    clock_offset_secs: Option<i64>,
    max_recv_payload_bytes: Option<u32>,
    stream_policies: Option<String>,
    /// The policy that both sides use; `None` if the peer did not accept our association id.
    stream_policy: Option<StreamPolicy>,
    /// The peer's open streams at the end.
    streams: Vec<StreamType>,
    /// The reason why the second stream was not opened.
    stream_failure: Option<String>,
    send_headers: bool,
    rejects: Vec<String>,
    failed: Option<String>,
}

impl Findings {
    /// Returns the address that is being probed or was probed last.
    fn address(&self, target: &Target) -> SocketAddr {
        target.addresses[self.unreached.len()]
    }
}

/// A handler that performs the steps with one peer.
#[derive(Debug)]
struct Prober {
    target: Target,
    opened_at: peerloop::time::Instant,
    /// The connection that is being tried.
    current: Option<PeerId>,
    /// Whether the second stream is being opened.
    awaits_stream: bool,
    findings: Findings,
}

/// A request to end the probe because of a signal, without waiting for the peer.
#[derive(Debug)]
struct Abort(Stop);

pub(crate) fn run(args: &ProbeArgs) -> Result<Exit, Failure> {
    match (&args.relay, &args.target) {
        (Some(nodes), _) => pair::run(args, nodes),
        (None, target) => run_one(args, target.as_deref().unwrap_or_default()),
    }
}

/// Probes one node.
fn run_one(args: &ProbeArgs, name: &str) -> Result<Exit, Failure> {
    let began = Instant::now();
    let asked = settings::network(args.network, std::env::vars_os())?;
    let network = targets::network(asked, [name])?;
    let target = targets::resolve(name, network, args.family.family())?;
    machine::complain_of_refused_options();
    let config = Config::new(network)
        .with_max_links(MAX_LINKS)
        .with_connect_timeout(args.timeout)
        .with_handshake_timeout(args.timeout)
        .with_pong_timeout(args.timeout)
        .with_ping_interval(Duration::ZERO)
        .with_multistreams(if args.no_multistreams { Multistreams::Accept } else { Multistreams::Open });
    let findings = Findings { resolve: began.elapsed(), ..Findings::default() };
    let prober =
        Prober { target, opened_at: peerloop::time::Instant::ZERO, current: None, awaits_stream: false, findings };
    let (Prober { target, findings, .. }, stops) = run_loop(config, prober, &format!("probing {name}"))?;
    let exit = match (&findings.failed, stops.exit()) {
        (None, _) => Exit::Success,
        (Some(_), Some((stopped, _))) => stopped,
        (Some(_), None) => Exit::RunFailed,
    };
    let text = match args.json {
        true => report::json(&target, network, &findings, exit),
        false => report::text(&target, network, &findings),
    };
    output::print(&text)?;
    match findings.failed {
        Some(cause) => Err(Failure { exit, message: format!("probing {} on {network}: {cause}", shown(&target)) }),
        None => Ok(exit),
    }
}

/// Runs a handler on a thread of its own until it stops its loop, and returns it with the signals that have arrived.
/// Each signal becomes a request. `what` describes the work for error messages.
fn run_loop<H>(config: Config, handler: H, what: &str) -> Result<(H, Stops), Failure>
where
    H: Handler<Request = Abort> + Send + 'static,
{
    let notices = Notices::new()?;
    let (sender, receiver) = sync_channel(1);
    let of_loop = what.to_owned();
    let thread = notices.spawn("loop", move || run_on_this_thread(config, handler, &of_loop, sender))?;
    let mut stops = Stops::default();
    if let Ok(handle) = receiver.recv() {
        while let Some(Notice::Stop(stop)) = notices.next(None) {
            stops.note(stop);
            // If the request fails, the loop has ended, or earlier requests of this kind still fill its queue.
            let _ = handle.request(Abort(stop));
        }
    }
    let panicked = || Err(Failure::run(format!("{what}: the loop's thread panicked")));
    thread.join().unwrap_or_else(|_| panicked()).map(|handler| (handler, stops))
}

fn run_on_this_thread<H: Handler<Request = Abort>>(
    config: Config,
    handler: H,
    what: &str,
    handle: SyncSender<Handle<Abort>>,
) -> Result<H, Failure> {
    let mut reactor: Reactor<MioNet, H> =
        Reactor::new(config, handler).map_err(|error| Failure::machine(format!("starting the loop: {error}")))?;
    // The send succeeds, because the main thread waits for the handle.
    let _ = handle.send(reactor.handle());
    drop(handle);
    reactor.run().map_err(|error| Failure::run(format!("{what}: waiting for the network: {error}")))?;
    Ok(reactor.into_handler())
}

/// Returns the target's address if there is only one, else the target as it was typed and all its addresses.
fn shown(target: &Target) -> String {
    let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
    match addresses.len() {
        1 => addresses.concat(),
        _ => format!("{} ({})", target.name, addresses.join(", ")),
    }
}

impl Prober {
    /// Connects to the next untried address.
    fn connect(&mut self, ctx: &mut Ctx<'_>) {
        let address = self.findings.address(&self.target);
        match ctx.connect(address) {
            Ok(peer) => self.current = Some(peer),
            Err(error) => self.fail(ctx, error),
        }
    }

    fn ping(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        if self.findings.pings.len() >= PINGS {
            return self.finish(ctx, peer);
        }
        let now = ctx.now();
        if let Err(error) = ctx.ping(peer, now) {
            self.fail(ctx, error);
        }
    }

    /// Ends the probe after the last pong, once the second stream is open or has failed.
    fn finish(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        if let Some(view) = ctx.peer(peer) {
            self.findings.streams = view.streams().collect();
            self.findings.stream_policy = view.stream_policy();
        }
        if self.findings.pings.len() >= PINGS && !self.awaits_stream {
            ctx.stop();
        }
    }

    /// Notes that the loop opens a second stream if the peer has accepted our association id and lists a policy that
    /// uses the stream.
    fn note_policies(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, policies: Option<&[u8]>) {
        let is_agreed = ctx.peer(peer).is_some_and(|view| view.stream_policy().is_some());
        let uses_stream = policies.and_then(StreamPolicy::common) == Some(StreamPolicy::BlockPriority);
        self.awaits_stream = is_agreed && uses_stream && self.findings.stream_failure.is_none();
        if self.awaits_stream {
            let late = ctx.now().plus(ctx.config().handshake_timeout);
            // The timer is the only one, so there is room for it.
            let _ = ctx.set_timer(STREAM_TIMER, late);
        }
    }

    fn fail(&mut self, ctx: &mut Ctx<'_>, error: RequestError) {
        self.findings.failed.get_or_insert_with(|| error.to_string());
        ctx.stop();
    }

    fn note_version(&mut self, ctx: &Ctx<'_>, peer: PeerId) {
        let Some(version) = ctx.peer(peer).and_then(|view| view.version()) else { return };
        self.findings.clock_offset_secs = Some(version.time.as_secs().saturating_sub(ctx.unix_time().as_secs()));
        self.findings.version = Some(version.clone());
    }

    fn note_closed(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, reason: CloseReason, state: ConnectionState) {
        let is_last = self.findings.unreached.len() + 1 == self.target.addresses.len();
        if Stage::of(state) == Stage::Connecting && !is_last && self.findings.failed.is_none() {
            let address = self.findings.address(&self.target);
            self.findings.unreached.push((address, reason));
            return self.connect(ctx);
        }
        if self.findings.pings.len() < PINGS {
            self.note_version(ctx, peer);
            let Findings { connect, version_after, verack_after, .. } = self.findings;
            let (next, stage) = match (connect, version_after, verack_after) {
                (None, _, _) => (String::new(), Stage::Connecting),
                (Some(_), None, _) => ("waiting for version: ".to_owned(), Stage::Handshake),
                (Some(_), Some(_), None) => ("waiting for verack: ".to_owned(), Stage::Handshake),
                (Some(_), Some(_), Some(_)) => (format!("at ping {}: ", self.findings.pings.len() + 1), Stage::Ready),
            };
            let hint = hint(reason, stage).unwrap_or("try again, or use a longer --timeout");
            self.findings.failed.get_or_insert_with(|| format!("{next}{}; {hint}", cause_at(reason, stage)));
        }
        ctx.stop();
    }
}

impl Handler for Prober {
    type Request = Abort;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.connect(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, Abort(stop): Abort) {
        self.findings.failed.get_or_insert_with(|| format!("stopped by {}", stop.signal()));
        if let Some(peer) = self.current {
            ctx.abort(peer, Disconnect::Done);
        }
        ctx.stop();
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        if let ControlEvent::StreamFailed { peer, reason, .. } = event {
            self.awaits_stream = false;
            self.findings.stream_failure = Some(reason.to_string());
            self.finish(ctx, *peer);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, _key: u64) {
        if let Some(peer) = self.current.filter(|_| self.awaits_stream) {
            self.awaits_stream = false;
            self.findings.stream_failure = Some("no streamack arrived in time".to_owned());
            self.finish(ctx, peer);
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { connect } => {
                self.opened_at = ctx.now();
                self.findings.connect = connect;
            }
            Event::VersionReceived => {
                self.findings.version_after = Some(ctx.now().since(self.opened_at));
                self.note_version(ctx, peer);
            }
            Event::Ready { handshake } => {
                let version_after = self.findings.version_after.unwrap_or_default();
                self.findings.verack_after = Some(handshake.saturating_sub(version_after));
                self.ping(ctx, peer);
            }
            Event::Pong { sent, received, .. } => {
                self.findings.pings.push(received.since(sent));
                self.ping(ctx, peer);
            }
            Event::LimitsAnnounced { max_recv_payload_bytes, stream_policies } => {
                self.findings.max_recv_payload_bytes = Some(max_recv_payload_bytes);
                self.findings.stream_policies = stream_policies.map(|names| names.escape_ascii().to_string());
                self.note_policies(ctx, peer, stream_policies);
            }
            Event::StreamOpened { .. } => {
                self.awaits_stream = false;
                self.finish(ctx, peer);
            }
            Event::SendHeaders => self.findings.send_headers = true,
            Event::Rejected(reject) if self.findings.rejects.len() < MAX_REJECTS => {
                // The peer chose both texts, so they are escaped.
                let (message, reason) = (reject.message.escape_ascii(), reject.reason.escape_ascii());
                let RejectCode(code) = reject.code;
                let meaning = reject.code.meaning(reject.message).map(|meaning| format!(" ({meaning})"));
                self.findings.rejects.push(format!("{message} {code:#04x}{}: {reason}", meaning.unwrap_or_default()));
            }
            Event::Rejected(_) => {}
            Event::Closed { reason, state } => self.note_closed(ctx, peer, reason, state),
            _ => {}
        }
    }
}
