//! `probe --relay A B`: observes two nodes, and measures how fast blocks and transactions reach one after the other.
//!
//! Nothing is requested except headers, and nothing is announced. A new hash counts once both nodes are ready and have
//! sent the headers that they were asked for, so that old blocks do not count as new ones.

mod report;
mod sights;

use super::{Abort, run_loop, shown};
use crate::causes::{Stage, cause_at, hint};
use crate::cli::ProbeArgs;
use crate::exit::{Exit, Failure};
use crate::machine;
use crate::output;
use crate::progress::Progress;
use crate::settings;
use crate::targets::{self, Target};
use crate::units::show_seconds;
use peerloop::api::{Delivery, Event};
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Disconnect};
use peerloop::handler::{Ctx, Handler};
use peerloop::peer::ConnectionState;
use peerloop::protocol::{CommandName, PROTOCOL_VERSION};
use peerloop::wire::{BlockHeader, Hash256, Header, InventoryKind, Locator, MessageRef, SendCmpct, Version};
use peerloop::{Chunk, Config, Frame, PeerId};
use sights::{Kind, Side, Sights};
use std::net::SocketAddr;
use std::time::Duration;

/// Number of rows in the loop's table: for each node one, and one for a failed connection before it.
const MAX_LINKS: usize = 4;
/// Maximum time to wait for the headers of both nodes. A node in its initial sync sends none.
const MAX_HEADERS_WAIT: Duration = Duration::from_secs(2);
/// A node with more blocks is not asked for its headers, which one message does not hold.
const MAX_HEADERS: i32 = 2_000;

/// The timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Timer {
    /// The end of the wait for headers.
    Headers,
    /// The end of the measurement.
    End,
    /// The end of the wait for missing announcements.
    Late,
}

/// One of the two nodes.
#[derive(Debug)]
struct Node {
    target: Target,
    /// Each address tried before the last one, with the reason why it could not be reached.
    unreached: Vec<(SocketAddr, CloseReason)>,
    peer: Option<PeerId>,
    version: Option<Version>,
    is_ready: bool,
    awaits_headers: bool,
    /// The first bytes of an arriving compact block, up to those of its header.
    compact: Vec<u8>,
}

/// A handler that observes two nodes.
#[derive(Debug)]
struct Observer {
    nodes: [Node; 2],
    duration: Duration,
    timeout: Duration,
    sights: Sights,
    began: Option<peerloop::time::Instant>,
    /// The time for which hashes were counted.
    measured: Duration,
    /// The longest time for which an announcement can have waited in the kernel before it was read.
    max_wait: Duration,
    failed: Option<String>,
    progress: Progress,
    /// Whether the loop is being stopped, which closes both nodes.
    is_over: bool,
}

pub(super) fn run(args: &ProbeArgs, names: &[String]) -> Result<Exit, Failure> {
    let asked = settings::network(args.network, std::env::vars_os())?;
    let network = targets::network(asked, names.iter().map(String::as_str))?;
    let targets: Vec<Target> =
        names.iter().map(|name| targets::resolve(name, network, args.family.family())).collect::<Result<_, _>>()?;
    let Ok([a, b]) = <[Target; 2]>::try_from(targets) else { return Err(Failure::usage("--relay needs two nodes")) };
    if a.addresses[0] == b.addresses[0] {
        let (a, b) = (shown(&a), shown(&b));
        return Err(Failure::usage(format!("--relay: {a} and {b} are the same node; name two nodes")));
    }
    machine::complain_of_refused_options();
    let config = Config::new(network)
        .with_max_links(MAX_LINKS)
        .with_connect_timeout(args.timeout)
        .with_handshake_timeout(args.timeout)
        .with_multistreams(Multistreams::Off);
    let what = format!("observing {} and {} on {network}", shown(&a), shown(&b));
    let observer = Observer::new([a, b], args.duration, args.timeout);
    let (mut observer, stops) = run_loop(config, observer, &what)?;
    observer.sights.finish();
    let has_samples = Kind::ALL
        .iter()
        .any(|&kind| Side::BOTH.iter().any(|&from| observer.sights.ways(kind, from).latencies.count() > 0));
    if !has_samples {
        observer.failed.get_or_insert_with(|| {
            "nothing was measured: no block or transaction was announced by both nodes; use a longer --duration, and \
             check that the nodes are connected and receive blocks or transactions"
                .to_owned()
        });
    }
    let exit = match (&observer.failed, stops.exit()) {
        (None, _) => Exit::Success,
        (Some(_), Some((stopped, _))) => stopped,
        (Some(_), None) => Exit::RunFailed,
    };
    let text = match args.json {
        true => report::json(&observer, network, exit),
        false => report::text(&observer, network),
    };
    output::print(&text)?;
    match observer.failed {
        Some(cause) => Err(Failure { exit, message: format!("{what}: {cause}") }),
        None => Ok(exit),
    }
}

impl Node {
    fn new(target: Target) -> Self {
        Self {
            target,
            unreached: Vec::new(),
            peer: None,
            version: None,
            is_ready: false,
            awaits_headers: false,
            compact: Vec::new(),
        }
    }

    /// Returns the address that is used or was used last.
    fn address(&self) -> SocketAddr {
        self.target.addresses[self.unreached.len()]
    }
}

impl Observer {
    fn new(targets: [Target; 2], duration: Duration, timeout: Duration) -> Self {
        Self {
            nodes: targets.map(Node::new),
            duration,
            timeout,
            sights: Sights::default(),
            began: None,
            measured: Duration::ZERO,
            max_wait: Duration::ZERO,
            failed: None,
            progress: Progress::new(false),
            is_over: false,
        }
    }

    fn node(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side.index()]
    }

    fn side(&self, peer: PeerId) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.nodes[side.index()].peer == Some(peer))
    }

    fn connect(&mut self, ctx: &mut Ctx<'_>, side: Side) {
        match ctx.connect(self.nodes[side.index()].address()) {
            Ok(peer) => self.node(side).peer = Some(peer),
            Err(error) => self.fail(ctx, side, &error.to_string()),
        }
    }

    fn fail(&mut self, ctx: &mut Ctx<'_>, side: Side, cause: &str) {
        let address = self.nodes[side.index()].address();
        self.failed.get_or_insert_with(|| format!("{} ({address}): {cause}", side.name()));
        self.end(ctx);
    }

    /// Asks a ready node to announce its blocks at once, and for its headers, so that it knows that this side has them:
    /// an SV Node announces a block in another form than `inv` only to a peer that has its parent.
    fn greet(&mut self, ctx: &mut Ctx<'_>, side: Side, peer: PeerId) {
        let compact = SendCmpct { announce: true, version: SendCmpct::VERSION };
        // A queue without bytes has room for both messages.
        let _ = ctx.send(peer, &MessageRef::SendCmpct(compact));
        let version = ctx.peer(peer).and_then(|view| view.version()).cloned();
        let is_short = version.as_ref().is_some_and(|version| version.start_height.unwrap_or(0) <= MAX_HEADERS);
        let genesis = BlockHeader::genesis_of(ctx.config().network).hash();
        let locator = Locator::from_hashes(PROTOCOL_VERSION as i32, [genesis], Hash256::ZERO);
        let is_asked = is_short && ctx.send(peer, &MessageRef::GetHeaders(locator.as_ref())).is_ok();
        let node = self.node(side);
        (node.version, node.is_ready, node.awaits_headers) = (version, true, is_asked);
        if self.nodes.iter().all(|node| node.is_ready) {
            set(ctx, Timer::Headers, MAX_HEADERS_WAIT);
            self.begin_if_complete(ctx);
        }
    }

    fn begin_if_complete(&mut self, ctx: &mut Ctx<'_>) {
        if self.nodes.iter().all(|node| node.is_ready && !node.awaits_headers) {
            self.begin(ctx);
        }
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>) {
        if self.began.is_none() {
            self.began = Some(ctx.now());
            self.sights.begin();
            let [a, b] = self.nodes.each_ref().map(Node::address);
            self.progress.show(&format!("observing {a} and {b} for {}", show_seconds(self.duration)));
            set(ctx, Timer::End, self.duration);
        }
    }

    /// Ends the measurement at once.
    fn end(&mut self, ctx: &mut Ctx<'_>) {
        self.close(ctx);
        self.is_over = true;
        self.progress.clear();
        ctx.stop();
    }

    /// Lets no further hash count.
    fn close(&mut self, ctx: &Ctx<'_>) {
        self.sights.close();
        if let Some(began) = self.began.take() {
            self.measured = ctx.now().since(began);
        }
    }

    /// Notes an announcement.
    fn note(&mut self, ctx: &mut Ctx<'_>, side: Side, kind: Kind, hash: Hash256) {
        self.max_wait = self.max_wait.max(ctx.max_input_age() + ctx.now().since(ctx.turn_began()));
        self.sights.note(kind, side, hash, ctx.now());
        if self.measured > Duration::ZERO && self.sights.is_settled() {
            self.end(ctx);
        }
    }

    /// Requests the header of a block that was announced with `inv`, so that the node announces the next one at once.
    fn request_header(ctx: &mut Ctx<'_>, peer: PeerId, hash: Hash256) {
        let locator = Locator::from_hashes(PROTOCOL_VERSION as i32, [], hash);
        // Without the reply, the next block is announced with `inv` again.
        let _ = ctx.send(peer, &MessageRef::GetHeaders(locator.as_ref()));
    }

    fn on_closed(&mut self, ctx: &mut Ctx<'_>, side: Side, reason: CloseReason, state: ConnectionState) {
        let node = self.node(side);
        let is_last = node.unreached.len() + 1 == node.target.addresses.len();
        if Stage::of(state) == Stage::Connecting && !is_last && self.failed.is_none() {
            let address = self.nodes[side.index()].address();
            self.node(side).unreached.push((address, reason));
            return self.connect(ctx, side);
        }
        let stage = Stage::of(state);
        let advice = hint(reason, stage).unwrap_or("try again, or use a longer --timeout");
        self.fail(ctx, side, &format!("{}; {advice}", cause_at(reason, stage)));
    }
}

/// Sets a timer. The handler has only three, so there is room for each.
fn set(ctx: &mut Ctx<'_>, timer: Timer, after: Duration) {
    let _ = ctx.set_timer(timer as u64, ctx.now().plus(after));
}

impl Handler for Observer {
    type Request = Abort;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        Side::BOTH.into_iter().for_each(|side| self.connect(ctx, side));
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, Abort(stop): Abort) {
        self.failed.get_or_insert_with(|| format!("stopped by {}", stop.signal()));
        let peers: Vec<PeerId> = self.nodes.iter().filter_map(|node| node.peer).collect();
        peers.into_iter().for_each(|peer| ctx.abort(peer, Disconnect::Done));
        self.end(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        if key == Timer::Headers as u64 {
            self.begin(ctx);
        } else if key == Timer::End as u64 && !self.sights.is_settled() {
            self.close(ctx);
            set(ctx, Timer::Late, self.timeout);
        } else {
            self.end(ctx);
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let Some(side) = self.side(peer) else { return };
        match event {
            Event::Ready { .. } => self.greet(ctx, side, peer),
            Event::Closed { reason, state } if !self.is_over => self.on_closed(ctx, side, reason, state),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::INV | CommandName::HEADERS => Delivery::Buffer,
            // Its first bytes are enough, and it may be large.
            CommandName::CMPCTBLOCK => {
                if let Some(side) = self.side(peer) {
                    self.node(side).compact.clear();
                }
                Delivery::Chunks
            }
            _ => Delivery::Discard,
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let Some(side) = self.side(peer) else { return };
        let compact = &mut self.node(side).compact;
        let missing = BlockHeader::LEN_BYTES - compact.len();
        compact.extend(chunk.bytes().iter().take(missing));
        if let (Some(header), true) = (compact.first_chunk(), missing > 0) {
            let hash = BlockHeader::decode(header).hash();
            self.note(ctx, side, Kind::Block, hash);
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let Some(side) = self.side(peer) else { return };
        match frame.decode() {
            Ok(MessageRef::Inv(items)) => {
                for item in items.iter() {
                    match item.kind {
                        InventoryKind::TX => self.note(ctx, side, Kind::Tx, item.hash),
                        InventoryKind::BLOCK => {
                            self.note(ctx, side, Kind::Block, item.hash);
                            Self::request_header(ctx, peer, item.hash);
                        }
                        _ => {}
                    }
                }
            }
            Ok(MessageRef::Headers(headers)) => {
                for listed in headers.iter() {
                    self.note(ctx, side, Kind::Block, listed.header.hash());
                }
                self.node(side).awaits_headers = false;
                self.begin_if_complete(ctx);
            }
            // A message that cannot be decoded announces nothing.
            Ok(_) | Err(_) => {}
        }
    }
}
