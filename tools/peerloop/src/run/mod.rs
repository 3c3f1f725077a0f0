//! `run`: a long-lived node. It finds, keeps and bans peers, stores peers and bans in a book, and can change its
//! settings while it runs.
//!
//! The loop, its book and its messages on stderr each have a thread of their own, so that the loop never waits for a
//! disk or a terminal. The main thread sleeps until a signal arrives. It also wakes once a second for a status line on
//! a terminal, and more often while the settings are read again. On SIGHUP the program reads its settings again. But
//! if closing the terminal caused the SIGHUP, the node ends as it does on SIGTERM. After SIGINT or SIGTERM the peers
//! are closed and the book is written, in at most five seconds: [`life`] states both times, and the effect of a second
//! signal.

mod console;
pub(crate) mod exposition;
mod http;
pub(crate) mod life;
pub(crate) mod load;
pub(crate) mod metrics;
mod reload;

use crate::book::Known;
use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};
use crate::machine::{Machine, Need, STREAMS_PER_PEER};
use crate::output;
use crate::settings::{Effective, Node, RelaySettings, SettingFlags, Settings, SettingsFile};
use crate::status::{self, Shown};
use crate::units::counted;
pub(crate) use console::Console;
use life::{MoreMetrics, Start, Task};
use metrics::Metrics;
use peerloop::api::Stats;
use peerloop::channel::NoHandler;
use peerloop::config::{DialMode, ManagerConfig, Multistreams};
use peerloop::{Config, Handle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let (flags, config) = (args.settings.clone(), args.file.config.clone());
    let has_file = settings_path(config.as_deref()).is_some();
    let read = Arc::new(move || settings(&flags, config.as_deref()));
    let effective = read()?;
    if args.file.print_config {
        return output::print(&effective.to_toml(false)).map(|()| Exit::Success);
    }
    life::keep(Plain, Start { effective, read, has_file, quiet: args.quiet })
}

/// Reads the settings of a node without a relay.
fn settings(flags: &SettingFlags, config: Option<&Path>) -> Result<Effective, Failure> {
    let mut settings = read_settings(flags, config)?;
    settings.node.relay = RelaySettings::default();
    settings.check_network()?;
    Ok(settings)
}

/// Reads the settings from the flags, and from the file and the environment in their current state.
pub(crate) fn read_settings(flags: &SettingFlags, config: Option<&Path>) -> Result<Effective, Failure> {
    let file = settings_file(config)?;
    Settings::load(flags, std::env::vars_os(), file.as_ref())
}

/// Reads the settings file, if one is named.
pub(crate) fn settings_file(flag: Option<&Path>) -> Result<Option<SettingsFile>, Failure> {
    let Some((path, named_by)) = settings_path(flag) else { return Ok(None) };
    SettingsFile::read(&path).map(Some).map_err(|why| Failure::usage(format!("{named_by}: {why}")))
}

/// Returns the path of the settings file and the source of that path, if a file is named.
pub(crate) fn settings_path(flag: Option<&Path>) -> Option<(PathBuf, &'static str)> {
    if let Some(path) = flag {
        return Some((path.to_owned(), "flag --config"));
    }
    let path = std::env::var_os("PEERLOOP_CONFIG").filter(|path| !path.is_empty())?;
    Some((path.into(), "variable PEERLOOP_CONFIG"))
}

pub(crate) fn manager(config: &Config) -> &ManagerConfig {
    config.manager.as_ref().expect("the settings have a manager")
}

/// Checks that the machine has a descriptor for each peer, and returns how many descriptors the node may use if each
/// peer opens all its streams.
fn check_machine(config: &Config, machine: &Machine) -> Result<u64, Failure> {
    let ManagerConfig { max_peers, listen, .. } = manager(config);
    let need = Need::Accept { listeners: listen.len() };
    machine.check_descriptors(*max_peers, need)?;
    let streams = if config.multistreams == Multistreams::Off { 1 } else { STREAMS_PER_PEER };
    Ok(machine.descriptors_for(max_peers.saturating_mul(streams), need))
}

/// A node whose handler does nothing.
struct Plain;

impl Task for Plain {
    type Handler = NoHandler;
    type Report = ();

    const SHOWN: &[Shown] = &[Shown("frames", |counters| counters.frames_received)];
    const HAS_TICKS: bool = false;

    fn handler(&self, _node: &Node) -> NoHandler {
        NoHandler
    }

    fn greeting(&self, node: &Node, known: &Known, metrics: Option<&Metrics>) -> String {
        greeting(node, known, metrics)
    }

    fn more_metrics(&self, _node: &Node, _handle: &Handle<()>) -> MoreMetrics {
        Box::new(|| Some(String::new()))
    }

    fn tick(&mut self, _node: &mut Node, _handle: &Handle<()>, _console: &Console) {}

    fn state(&self, stats: &Stats, manager: &ManagerConfig) -> String {
        let known = stats.book.map_or(0, |book| book.unknown + book.valid + book.inaccessible + book.banned);
        format!("peers {} of {}  known {known}  banned {}", stats.ready, manager.max_peers, stats.banned_hosts)
    }

    fn reload(&mut self, _old: &Node, _new: &Node, _handle: &Handle<()>) -> Vec<String> {
        Vec::new()
    }

    fn report(_handler: &NoHandler) {}

    fn summary(&self, stats: &Stats, (): (), uptime: Duration) -> String {
        let counters = &stats.counters;
        let done =
            format!("{} dialled, {} accepted, {} handshakes", counters.dialled, counters.accepted, counters.handshakes);
        status::summary("ran", uptime, &done, counters)
    }
}

fn greeting(node: &Node, known: &Known, metrics: Option<&Metrics>) -> String {
    let ManagerConfig { mode, fixed_names, target_peers, max_peers, dns_seeds, listen, .. } = manager(&node.config);
    let wanted = match mode {
        DialMode::Fixed(peers) => format!("{} fixed", peers.len() + fixed_names.len()),
        _ => format!("target {target_peers}"),
    };
    let mut text = format!("running on {}  {wanted}, maximum {}\n", node.config.network, counted(*max_peers, "peer"));
    text += &book_and_metrics(node, known, metrics);
    let is_alone = *mode == DialMode::Normal && dns_seeds.is_empty() && listen.is_empty() && known.peers.is_empty();
    if is_alone {
        let network = node.config.network;
        let why =
            if network.dns_seeds().is_empty() { format!("{network} has") } else { "the settings have".to_owned() };
        text += &format!("no peers to dial: {why} no seeds; use --fixed-peers or --listen\n");
    }
    text
}

/// Returns the lines of a greeting that describe the book and the address of the metrics.
pub(crate) fn book_and_metrics(node: &Node, known: &Known, metrics: Option<&Metrics>) -> String {
    let mut text = match &node.book {
        Some(path) => {
            format!("book {}: peers {}, bans {}\n", path.display(), known.peers.len(), known.bans.len())
        }
        None => "no book: peers and bans are lost at exit; --book FILE stores them\n".to_owned(),
    };
    if let Some(metrics) = metrics {
        text += &format!("{}\n", metrics.line());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::Network;
    use peerloop::limits::MAX_OVER_CAPACITY;
    use peerloop::store::KnownPeer;
    use peerloop::time::UnixTime;

    #[test]
    fn the_table_of_descriptors_has_room_for_each_peers_second_stream() {
        let machine = |descriptors| Machine { descriptors, ports: None, backlog: None, cpus: 1, load_hundredths: None };
        let mut config = Config::managed(Network::Regtest);
        config.manager.as_mut().expect("the configuration has a manager").max_peers = 100;
        let besides = 32 + MAX_OVER_CAPACITY as u64;
        for (multistreams, peers) in [(Multistreams::Off, 100), (Multistreams::Accept, 200), (Multistreams::Open, 200)]
        {
            config.multistreams = multistreams;
            assert_eq!(check_machine(&config, &machine(20_000)), Ok(besides + peers), "{multistreams}");
            assert_eq!(check_machine(&config, &machine(220)), Ok(220.min(besides + peers)), "{multistreams}");
        }
        assert_eq!(check_machine(&config, &machine(100)).unwrap_err().exit, Exit::MachineCannot);
    }

    #[test]
    fn only_a_node_without_peers_to_dial_gets_a_warning() {
        let has_warning = |node: &Node, known: &Known| greeting(node, known, None).contains("no peers to dial");
        let (mut node, mut known) = (Node::default(), Known::default());
        assert!(!has_warning(&node, &known), "a warning was printed although mainnet has seeds");
        node.config = Config::managed(Network::Regtest);
        assert!(has_warning(&node, &known));
        known.peers.push(KnownPeer::new("192.0.2.1:8333".parse().unwrap(), UnixTime::from_secs(0)));
        assert!(!has_warning(&node, &known), "a warning was printed although the book has a peer");
    }
}
