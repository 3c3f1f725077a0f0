//! `probe`: one peer, step by step, each step timed, and then what it said of itself.
//!
//! The loop runs on this thread. A step that fails ends the probe; what was learned until then is still reported.

mod report;

use crate::cli::ProbeArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::report::hint;
use crate::targets::{self, Family};
use peerloop::api::{Ctx, Event, Handler};
use peerloop::error::{CloseReason, CommandError};
use peerloop::wire::Version;
use peerloop::{Config, PeerId, Reactor};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Pings sent, each after the answer to the one before.
const PINGS: usize = 10;
/// Rejects that are kept; a peer may send any number.
const REJECTS_MAX: usize = 8;

/// What was learned.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    resolve: Duration,
    connect: Option<Duration>,
    /// From the established connection to the peer's version.
    version_after: Option<Duration>,
    /// From the peer's version to the end of the handshake.
    verack_after: Option<Duration>,
    pings: Vec<Duration>,
    version: Option<Version>,
    /// The peer's clock less ours, in seconds.
    clock_offset_secs: Option<i64>,
    max_recv_payload_bytes: Option<u32>,
    stream_policies: Option<String>,
    send_headers: bool,
    rejects: Vec<String>,
    failed: Option<String>,
}

/// Goes through the steps with one peer.
#[derive(Debug)]
struct Prober {
    target: SocketAddr,
    opened_at: peerloop::time::Instant,
    findings: Findings,
}

pub(crate) fn run(args: ProbeArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let network = targets::network(args.network, std::slice::from_ref(&args.target))?;
    let target = targets::resolve(&args.target, network, Family::Any)?;
    let config = Config {
        max_links: 1,
        connect_timeout: args.timeout,
        handshake_timeout: args.timeout,
        pong_timeout: args.timeout,
        ping_interval: Duration::ZERO,
        ..Config::new(network)
    };
    let findings = Findings { resolve: began.elapsed(), ..Findings::default() };
    let mut reactor = Reactor::new(config, Prober { target, opened_at: peerloop::time::Instant::ZERO, findings })
        .map_err(|error| Failure::machine(format!("starting the loop: {error}")))?;
    reactor.run().map_err(|error| Failure::run(format!("probing {target}: waiting for the network: {error}")))?;
    let findings = reactor.into_handler().findings;
    let exit = if findings.failed.is_some() { Exit::RunFailed } else { Exit::Success };
    let text = match args.json {
        true => report::json(&args.target, target, network, &findings, exit),
        false => report::text(&args.target, target, network, &findings),
    };
    output::print(&text)?;
    match findings.failed {
        Some(cause) => Err(Failure::run(format!("probing {target} on {network}: {cause}"))),
        None => Ok(exit),
    }
}

impl Prober {
    fn ping(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        if self.findings.pings.len() >= PINGS {
            return ctx.stop();
        }
        let now = ctx.now();
        if let Err(error) = ctx.ping(peer, now) {
            self.fail(ctx, error);
        }
    }

    fn fail(&mut self, ctx: &mut Ctx<'_>, error: CommandError) {
        self.findings.failed.get_or_insert_with(|| error.to_string());
        ctx.stop();
    }

    fn note_version(&mut self, ctx: &Ctx<'_>, peer: PeerId) {
        let Some(version) = ctx.peer(peer).and_then(|view| view.version()) else { return };
        self.findings.clock_offset_secs = Some(version.time.as_secs().saturating_sub(ctx.unix_time().as_secs()));
        self.findings.version = Some(version.clone());
    }

    fn note_closed(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, reason: CloseReason) {
        if self.findings.pings.len() < PINGS {
            self.note_version(ctx, peer);
            let Findings { connect, version_after, verack_after, .. } = self.findings;
            let (next, stage) = match (connect, version_after, verack_after) {
                (None, _, _) => (String::new(), "connecting"),
                (Some(_), None, _) => ("waiting for version: ".to_owned(), "handshake"),
                (Some(_), Some(_), None) => ("waiting for verack: ".to_owned(), "handshake"),
                (Some(_), Some(_), Some(_)) => (format!("at ping {}: ", self.findings.pings.len() + 1), "ready"),
            };
            let hint = hint(reason.label(), stage).unwrap_or("try again, or with a longer --timeout");
            self.findings.failed.get_or_insert_with(|| format!("{next}{reason}; {hint}"));
        }
        ctx.stop();
    }
}

impl Handler for Prober {
    type Command = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        if let Err(error) = ctx.connect(self.target) {
            self.fail(ctx, error);
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
            }
            Event::SendHeaders => self.findings.send_headers = true,
            Event::Rejected(reject) if self.findings.rejects.len() < REJECTS_MAX => {
                // Both texts are the peer's.
                let (message, reason) = (reject.message.escape_ascii(), reject.reason.escape_ascii());
                self.findings.rejects.push(format!("{message} ({}): {reason}", reject.code));
            }
            Event::Rejected(_) => {}
            Event::Closed { reason, .. } => self.note_closed(ctx, peer, reason),
            _ => {}
        }
    }
}
