//! `relay` without `--pipe`: a long-lived node whose handler relays transactions.
//!
//! The relay dials its upstreams itself. The peer manager accepts all other peers, and dials only the fixed ones unless
//! `find_peers` is set. The upstreams' addresses count as trusted, so that no cap, rate limit or ban applies to them.

use super::blocks::PassedBlocks;
use super::header_file::HeaderFile;
use super::hops::HopsSoFar;
use super::metrics;
use super::saver::{self, Saver};
use super::summary;
use super::trusting::{Trusting, apply_upstreams};
use super::upstreams::Upstreams;
use crate::book::Known;
use crate::cli::RelayArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::run::life::{self, MoreMetrics, Start, Task};
use crate::run::metrics::Metrics;
use crate::run::{Console, book_and_metrics, manager, read_settings, settings_path};
use crate::settings::{Effective, Node, RelaySettings};
use crate::status::{Shown, take_reply, wait_for};
use crate::targets::{self, Family, Target};
use crate::units::counted;
use log::Level;
use peerloop::api::{Pending, Stats};
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::relay::{Hops, Relay, RelayConfig, RelayRequest, RelayStats, TrustMode};
use peerloop::{Handle, Network};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The greeting's advice to the upstreams' operator, for the trust modes in which the relay submits leaf peers'
/// transactions to upstreams.
const HINT: &str = "upstreams should whitelist this host: -whitelist=OUR_IP -whitelistforcerelay=0; otherwise a \
                    peer's invalid transaction can ban it\n";

/// Maximum number of links to one upstream, which its trust mode determines.
const MAX_LINKS_PER_UPSTREAM: usize = 2;

pub(crate) fn run(args: &RelayArgs) -> Result<Exit, Failure> {
    let (flags, config) = (args.settings.clone(), args.file.config.clone());
    let (family, yes, is_printed) = (args.family.family(), args.yes, args.file.print_config);
    let has_file = settings_path(config.as_deref()).is_some();
    let read = Arc::new(move || {
        let read = read_settings(flags.settings(), config.as_deref())?;
        if is_printed { Ok(read) } else { prepared(read, family, yes) }
    });
    let effective = read()?;
    if args.file.print_config {
        return output::print(&effective.to_toml(true)).map(|()| Exit::Success);
    }
    let upstreams = Upstreams::new(&effective.node.relay.resolved, family);
    life::keep(RelayTask::new(upstreams), Start { effective, read, has_file, quiet: args.quiet })
}

/// Checks the relay's settings, resolves its upstreams, and derives the manager's settings from them.
fn prepared(mut effective: Effective, family: Family, yes: bool) -> Result<Effective, Failure> {
    effective.check_network()?;
    let Node { config, relay, .. } = &mut effective.node;
    if relay.upstreams.is_empty() {
        return Err(Failure::usage("relay has no upstream: add --upstream HOST[:PORT], or --pipe A B; see --help"));
    }
    if relay.trust == TrustMode::Open && config.network == Network::Mainnet && !yes {
        return Err(Failure::usage(
            "--trust open on mainnet relays what nobody has validated, and nodes may ban this host for a day; \
             add --yes if you mean that, or use --trust validated",
        ));
    }
    let ManagerConfig { default_port, listen, .. } = manager(config);
    let resolved = relay.upstreams.iter().map(|name| targets::resolve_at(name, *default_port, family));
    relay.resolved = resolved.collect::<Result<_, _>>()?;
    for target in &relay.resolved {
        if let Some(own) = own_address(target, listen) {
            let name = &target.name;
            return Err(Failure::usage(format!("{name} is this relay's own address to listen on, {own}; name a node")));
        }
    }
    if relay.find_peers && manager(config).mode != DialMode::Normal {
        return Err(Failure::usage("find_peers dials other peers than fixed_peers, which excludes them: omit one"));
    }
    relay.trusted.clone_from(&manager(config).trusted);
    apply_upstreams(&mut effective.node);
    let find_peers = effective.node.relay.find_peers;
    let manager = effective.node.config.manager.as_mut().expect("the settings have a manager");
    if manager.mode == DialMode::Normal && !find_peers {
        manager.mode = DialMode::Fixed(Vec::new());
    }
    reserve_slots(&mut effective)?;
    Ok(effective)
}

/// Limits the inbound peers, so that they never use the slots of the upstreams' links and of the dialled peers. Fails
/// if no slot remains for another peer.
fn reserve_slots(effective: &mut Effective) -> Result<(), Failure> {
    let Node { config, relay, .. } = &effective.node;
    let ManagerConfig { max_peers, target_peers, mode, fixed_names, listen, .. } = manager(config);
    let dialled = match mode {
        DialMode::Fixed(peers) => peers.len() + fixed_names.len(),
        _ => *target_peers,
    };
    let links = MAX_LINKS_PER_UPSTREAM * relay.upstreams.len();
    let others = dialled + usize::from(dialled == 0 || !listen.is_empty());
    if *max_peers < links + others {
        let source = effective.source("max_peers").map_or_else(String::new, |source| format!("{source}: "));
        return Err(Failure::usage(format!(
            "{source}max_peers must be {} or more: up to {links} for the links to the upstreams, and {others} for \
             other peers",
            links + others
        )));
    }
    let max_inbound = config.max_inbound.min(max_peers - links - dialled);
    effective.node.config.max_inbound = max_inbound;
    Ok(())
}

/// Returns the address on which this relay listens, if it is one of the target's.
pub(super) fn own_address(target: &Target, listen: &[SocketAddr]) -> Option<SocketAddr> {
    let is_own = |own: &SocketAddr, address: &SocketAddr| {
        let is_everywhere = own.ip().is_unspecified() && address.ip().to_canonical().is_loopback();
        own.port() == address.port() && (is_everywhere || own.ip().to_canonical() == address.ip().to_canonical())
    };
    listen.iter().copied().find(|own| target.addresses.iter().any(|address| is_own(own, address)))
}

fn config_of(settings: &RelaySettings, upstreams: Vec<SocketAddr>) -> RelayConfig {
    RelayConfig::new(upstreams)
        .with_trust(settings.trust)
        .with_push(settings.push)
        .with_accept_on_silence(settings.accept_on_silence)
        // The settings are checked to fit.
        .with_tx_pool_bytes(usize::try_from(settings.tx_pool).unwrap_or(usize::MAX))
        .with_small_blocks_bytes(usize::try_from(settings.small_blocks).unwrap_or(usize::MAX))
        .with_old_block_bytes_per_host(settings.old_blocks_per_host)
        .with_old_block_bytes_per_day(settings.old_blocks_per_day)
        .with_compact_blocks(settings.compact_blocks)
        .with_tethered(settings.tether.clone())
        .with_race(settings.race)
        .with_live_upload(Some(settings.live_upload).filter(|&upload| upload > 0))
        .with_leaf_tx_per_second(settings.leaf_tx_per_second)
}

/// The relay's part of a long-lived node.
struct RelayTask {
    upstreams: Upstreams,
    /// Whether the loop may have other addresses of the upstreams.
    is_behind: bool,
    trusting: Trusting,
    stats: Option<Pending<RelayStats>>,
    hops: HopsSoFar,
    blocks: PassedBlocks,
    /// The file of the headers, until they are being saved.
    headers: Cell<Option<HeaderFile>>,
    saver: Saver,
    shown: summary::Shown,
}

impl RelayTask {
    fn new(upstreams: Upstreams) -> Self {
        Self {
            upstreams,
            is_behind: false,
            trusting: Trusting::default(),
            stats: None,
            hops: HopsSoFar::default(),
            blocks: PassedBlocks::default(),
            headers: Cell::default(),
            saver: Saver::default(),
            shown: summary::Shown::default(),
        }
    }

    /// Changes the upstreams' addresses, and shows the counters.
    fn use_stats(&mut self, stats: &RelayStats, node: &mut Node, handle: &Handle<RelayRequest>, console: &Console) {
        if console.is_live() {
            self.shown.note(stats, self.hops.latest(handle), Instant::now());
        }
        let ManagerConfig { default_port, listen, .. } = manager(&node.config);
        let change = self.upstreams.tick(&stats.upstreams, *default_port, listen, Instant::now());
        for line in change.lines {
            console.say(Level::Warn, &line);
        }
        if let Some(resolved) = change.resolved {
            node.relay.resolved = resolved;
        }
        self.is_behind |= change.is_new;
    }

    /// Passes the upstreams' addresses to the loop if they have changed. If its queue is full, the next attempt follows
    /// in a second.
    fn pass_upstreams(&mut self, handle: &Handle<RelayRequest>) {
        if self.is_behind {
            self.is_behind = handle.request(RelayRequest::set_upstreams(self.upstreams.addresses())).is_err();
        }
    }
}

impl Task for RelayTask {
    type Handler = Relay<PassedBlocks>;
    type Report = Box<(RelayStats, Hops)>;

    const SHOWN: &[Shown] = &[];
    const HAS_TICKS: bool = true;

    fn handler(&self, node: &Node) -> Self::Handler {
        let mut relay = Relay::with_policy(config_of(&node.relay, self.upstreams.addresses()), self.blocks.clone());
        if let Some(book) = &node.book {
            self.headers.set(saver::restore(&mut relay, book, node.config.network));
        }
        relay
    }

    fn greeting(&self, node: &Node, known: &Known, metrics: Option<&Metrics>) -> String {
        let ManagerConfig { max_peers, listen, mode, fixed_names, .. } = manager(&node.config);
        let RelaySettings { resolved, trust, .. } = &node.relay;
        let upstreams: Vec<String> = resolved.iter().map(shown).collect();
        let mut text = format!(
            "relaying on {}  upstreams {}  trust {trust}, maximum {}\n",
            node.config.network,
            upstreams.join(" "),
            counted(*max_peers, "peer")
        );
        if *trust != TrustMode::Open {
            text += HINT;
        }
        let has_dials = !fixed_names.is_empty() || !matches!(mode, DialMode::Fixed(peers) if peers.is_empty());
        if listen.is_empty() && !has_dials {
            text += "no peer can connect: add --listen IP:PORT, --fixed-peers or --find-peers\n";
        }
        text + &book_and_metrics(node, known, metrics)
    }

    fn more_metrics(&self, node: &Node, handle: &Handle<RelayRequest>) -> MoreMetrics {
        let (hops, handle, network) = (self.hops.clone(), handle.clone(), node.config.network);
        Box::new(move || {
            let stats = stats(&handle)?;
            hops.refresh(&handle, |hops| metrics::exposition(stats, hops, network))
        })
    }

    /// Uses the replies to the previous second's requests, and never waits for one.
    fn tick(&mut self, node: &mut Node, handle: &Handle<RelayRequest>, console: &Console) {
        if let Some(file) = self.headers.take() {
            self.saver.start(file, handle);
        }
        self.saver.print(console);
        self.blocks.print(console);
        if let Some(stats) = take_reply(&mut self.stats) {
            self.use_stats(&stats, node, handle, console);
        }
        if let Some(why) = self.trusting.tick(node, handle) {
            console.say(Level::Warn, &why);
        }
        self.pass_upstreams(handle);
        if self.stats.is_none() {
            let (request, pending) = RelayRequest::stats();
            self.stats = handle.request(request).ok().map(|()| pending);
        }
    }

    fn state(&self, _stats: &Stats, _manager: &ManagerConfig) -> String {
        self.shown.line()
    }

    fn reload(&mut self, old: &Node, new: &Node, handle: &Handle<RelayRequest>) -> Vec<String> {
        self.upstreams.replace(&new.relay.resolved);
        self.trusting.forget();
        self.is_behind = true;
        self.pass_upstreams(handle);
        let (old, new) = (&old.relay.upstreams, &new.relay.upstreams);
        let line = || format!("upstreams from {} to {}, at once", old.join(" "), new.join(" "));
        (old != new).then(line).into_iter().collect()
    }

    fn report(handler: &Self::Handler) -> Self::Report {
        Box::new((handler.stats(), handler.hops().clone()))
    }

    fn finish(&self, console: &Console) {
        self.saver.print(console);
        self.blocks.print(console);
    }

    fn summary(&self, stats: &Stats, report: Self::Report, uptime: Duration) -> String {
        let (relay, last) = *report;
        summary::summary(&relay, &self.hops.finish(&last).summary(), stats, uptime)
    }
}

/// Returns a target as typed, with its first address if it is a name.
fn shown(target: &Target) -> String {
    let first = target.addresses[0].to_string();
    if target.name == first { first } else { format!("{} ({first})", target.name) }
}

/// Requests the relay's counters, and waits at most a second for them.
fn stats(handle: &Handle<RelayRequest>) -> Option<RelayStats> {
    let (request, pending) = RelayRequest::stats();
    handle.request(request).ok()?;
    wait_for(pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SettingFlags, Settings};
    use log::LevelFilter;
    use peerloop::{MioNet, Reactor};
    use std::net::IpAddr;

    fn target(ports: &[u16]) -> Target {
        let address = |port: &u16| SocketAddr::from(([192, 0, 2, *port as u8], *port));
        Target { name: "node.example".to_owned(), addresses: ports.iter().map(address).collect() }
    }

    /// Returns the user's own trusted network and the hosts of [`target`].
    fn with_own(ports: &[u16]) -> Vec<(IpAddr, u8)> {
        let hosts = ports.iter().map(|port| ([192, 0, 2, *port as u8].into(), 32));
        [([10, 0, 0, 0].into(), 8)].into_iter().chain(hosts).collect()
    }

    /// Returns the settings of a relay on regtest with these variables and one upstream.
    fn prepared_with(variables: &[(&str, &str)]) -> Result<Effective, Failure> {
        let all = [&[("PEERLOOP_NETWORK", "regtest"), ("PEERLOOP_RELAY_UPSTREAMS", "192.0.2.9")], variables].concat();
        let all = all.into_iter().map(|(name, value)| (name.into(), value.into()));
        prepared(Settings::load(&SettingFlags::default(), all, None)?, Family::Any, false)
    }

    #[test]
    fn inbound_peers_leave_the_slots_of_upstreams_and_dialled_peers_free() {
        for (variables, expected) in [
            (&[][..], 18),
            (&[("PEERLOOP_MAX_INBOUND", "7")], 7),
            (&[("PEERLOOP_FIXED_PEERS", "192.0.2.1,node.example")], 16),
            (&[("PEERLOOP_RELAY_FIND_PEERS", "true")], 10),
            (&[("PEERLOOP_RELAY_UPSTREAMS", "192.0.2.1,192.0.2.2")], 16),
        ] {
            let node = prepared_with(variables).expect("the settings are valid").node;
            assert_eq!(node.config.max_inbound, expected, "{variables:?}");
        }
        let max = |max| ("PEERLOOP_MAX_PEERS", max);
        let target = ("PEERLOOP_TARGET_PEERS", "1");
        for (variables, expected) in [
            (
                &[max("2"), target][..],
                "must be 3 or more: up to 2 for the links to the upstreams, and 1 for other peers",
            ),
            (&[max("3"), target, ("PEERLOOP_FIXED_PEERS", "192.0.2.1,192.0.2.2")], "must be 4 or more"),
            (
                &[max("3"), target, ("PEERLOOP_FIXED_PEERS", "192.0.2.1"), ("PEERLOOP_LISTEN", "127.0.0.1:7")],
                "4 or more",
            ),
        ] {
            let failure = prepared_with(variables).expect_err("no slot remains");
            assert!(
                failure.message.starts_with("variable PEERLOOP_MAX_PEERS: max_peers must be "),
                "{}",
                failure.message
            );
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
        assert!(prepared_with(&[max("3"), target, ("PEERLOOP_FIXED_PEERS", "192.0.2.1")]).is_ok());
    }

    #[test]
    fn the_trusted_networks_are_the_users_own_and_the_upstreams_present_addresses() {
        let mut node = prepared_with(&[("PEERLOOP_TRUSTED", "10.0.0.0/8")]).expect("the settings are valid").node;
        assert_eq!(manager(&node.config).trusted, with_own(&[9]));
        for ports in [&[1, 2][..], &[2, 3], &[4]] {
            node.relay.resolved = vec![target(ports)];
            apply_upstreams(&mut node);
            assert_eq!(manager(&node.config).trusted, with_own(ports));
        }
    }

    #[test]
    fn a_loop_that_replies_late_gets_the_upstreams_latest_addresses() {
        let mut node = prepared_with(&[("PEERLOOP_TRUSTED", "10.0.0.0/8")]).expect("the settings are valid").node;
        let mut task = RelayTask::new(Upstreams::new(&node.relay.resolved, Family::Any));
        let handler = task.handler(&node);
        let mut reactor: Reactor<MioNet, Relay<PassedBlocks>> =
            Reactor::new(node.config.clone(), handler).expect("a loop starts");
        let (handle, console) = (reactor.handle(), Console::start(true, LevelFilter::Off).expect("a console starts"));
        for ports in [&[1, 2][..], &[2, 3]] {
            node.relay.resolved = vec![target(ports)];
            task.tick(&mut node, &handle, &console);
            assert_eq!(manager(&node.config).trusted, with_own(&[9]), "the loop has not replied");
        }
        for _ in 0..3 {
            reactor.poll_once(Duration::ZERO).expect("the poller works");
            task.tick(&mut node, &handle, &console);
        }
        assert_eq!(manager(&node.config).trusted, with_own(&[2, 3]));
        assert_eq!(manager(reactor.config()).trusted, with_own(&[2, 3]));
    }
}
