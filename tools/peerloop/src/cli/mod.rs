//! The command line: commands, flags, defaults, and the messages for mistakes in the arguments.

mod bench;
mod find;
mod load;

use crate::compare::CompareArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::report::ReportArgs;
use crate::serve::ServeArgs;
use crate::settings::{RelayFlags, SettingFlags, parse_network};
#[cfg(feature = "sim")]
use crate::sim::Worlds;
use crate::targets::FamilyFlags;
#[cfg(feature = "sim")]
use crate::units::parse_time;
use crate::units::{parse_count, parse_duration_above_zero, parse_time_above_zero};
pub(crate) use bench::BenchArgs;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
pub(crate) use find::FindArgs;
pub(crate) use load::LoadArgs;
use peerloop::Network;
use peerloop::address::{Host, canonical};
use peerloop::ban::BanReason;
use peerloop::store::PeerStatus;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  peerloop bench                               load a built-in node
  peerloop bench 127.0.0.1 --network regtest   load a node: 100 peers, 1 ping/s each
  peerloop report DIR                          show the results of `bench -o DIR` again
  peerloop compare OLD.. -- NEW..              compare the runs of two versions
  peerloop serve --network regtest             run a node to load
  peerloop run --book peers.redb               run a long-lived node with an address book
  peerloop relay --upstream HOST --listen IP:PORT   relay transactions to many peers
  peerloop relay --pipe HOST HOST              join two nodes, and measure what that adds
  peerloop probe HOST                          check one node, step by step
  peerloop probe --relay HOST HOST             measure how fast blocks pass between two nodes
  peerloop doctor --peers 10k                  check this machine for 10,000 peers

Exit codes: 0 finished, 1 run failed, ended early or had too few peers, 2 wrong usage,
  3 machine limit exceeded, 4 bench --strict: results not trusted, 99 threshold not met,
  129/130/143 stopped by a signal, 131 stopped at once by a second signal;
  serve, run and relay: 0 stopped by a signal, 129/130/143 stopped by a second signal";

const EXIT_CODES_OF_RUN: &str = "\
Exit codes: 0 stopped by a signal, 1 run failed, 2 invalid setting, 3 machine limit exceeded,
130/143 stopped by a second signal before all peers were closed and the book was written";

const EXIT_CODES_OF_RELAY: &str = "\
Exit codes: 0 stopped by a signal, 1 run failed, 2 wrong usage, 3 machine limit exceeded,
130/143 stopped by a second signal before all peers were closed and, without --pipe, the book was
written";

const EXIT_CODES_OF_PEERS: &str = "\
Exit codes: 0 done, 1 book missing, in use or invalid, or no match, 2 wrong usage";

/// Run thousands of Bitcoin SV peers on one thread, and measure each of them in microseconds
#[derive(Debug, Parser)]
#[command(name = "peerloop", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect to many peers, ping them on a schedule, and report the latencies
    Bench(Box<BenchArgs>),
    /// Run a test node that answers requests, and misbehaves on purpose if asked to
    #[command(visible_alias = "listen")]
    Serve(Box<ServeArgs>),
    /// Run a long-lived node that finds, keeps and bans peers
    Run(Box<RunArgs>),
    /// Relay transactions and blocks between nodes
    Relay(Box<RelayArgs>),
    /// Show the results of a finished bench again
    Report(ReportArgs),
    /// Compare the runs of two versions, and say whether the new one is better or worse
    Compare(CompareArgs),
    /// Show and change the address book of a stopped node
    Peers(PeersArgs),
    /// Check one node step by step, or measure how fast blocks pass between two nodes
    Probe(ProbeArgs),
    /// Check whether this machine can hold many peers, and suggest changes
    Doctor(DoctorArgs),
    /// Run the loop in hostile worlds, one for each seed, and check its invariants
    #[cfg(feature = "sim")]
    Sim(SimArgs),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The flags of the settings file.
#[derive(Args, Clone, Debug)]
pub(crate) struct FileFlags {
    /// Settings file in TOML; --print-config prints one [default: the variable PEERLOOP_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print all settings and their sources as a settings file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Flags override variables, which override the settings file. A setting's variable is PEERLOOP_ and its name in
/// capitals. SIGHUP reads the file again.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES_OF_RUN)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) file: FileFlags,
    /// Show no status line
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// Relays transactions between upstreams, which validate and are believed, and all other peers. With --pipe, two nodes
/// are joined verbatim instead. Flags override variables, which override the settings file, where the relay's own
/// settings are in the table [relay]. SIGHUP reads the file again; --pipe ignores it.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES_OF_RELAY, arg_required_else_help = false)]
pub(crate) struct RelayArgs {
    /// Join these two nodes verbatim, each given as host, host:port or [ipv6]:port, and validate nothing
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) pipe: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    #[command(flatten)]
    pub(crate) file: FileFlags,
    /// Show no status
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Allow --trust open on mainnet; not with --pipe
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) settings: RelayFlags,
}

/// The address book is the file of the setting `book`: from --book, PEERLOOP_BOOK or the settings file.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES_OF_PEERS, arg_required_else_help = false)]
pub(crate) struct PeersArgs {
    #[command(subcommand)]
    pub(crate) command: PeersCommand,
    /// Address book [default: the setting `book`]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) book: Option<String>,
    /// Settings file that names the book [default: the variable PEERLOOP_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// List the peers and the bans
    List {
        /// Only peers with this status, without the bans
        #[arg(long, value_name = "STATUS", value_parser = status_parser())]
        status: Option<PeerStatus>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one host or peer, and whether it is banned
    Show {
        /// The host, or one of its peers
        #[arg(value_name = "IP[:PORT]", value_parser = parse_host_or_peer)]
        wanted: HostOrPeer,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ban a host: an IPv4 address, or the /64 of an IPv6 address
    Ban {
        /// One of the host's addresses
        ip: IpAddr,
        /// Duration of the ban [default: for ever]
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration_above_zero)]
        duration: Option<Duration>,
    },
    /// End a host's ban
    Unban {
        /// One of the host's addresses
        ip: IpAddr,
    },
    /// Print the setting that exempts an IP range from caps, rate limits and bans
    Allow {
        /// The IP range
        #[arg(value_name = "IP[/PREFIX]", value_parser = parse_network)]
        network: (IpAddr, u8),
    },
    /// Import peers and bans, one per line as `export` writes them; all of them or none
    Import {
        /// File to read; - is stdin
        file: PathBuf,
    },
    /// Print all peers and bans as JSON, one per line
    Export,
}

/// A host, or one of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostOrPeer {
    Host(IpAddr),
    Peer(SocketAddr),
}

impl HostOrPeer {
    pub(crate) fn host(self) -> Host {
        match self {
            Self::Host(address) => Host::of(address),
            Self::Peer(address) => Host::of(address.ip()),
        }
    }

    /// Returns whether `peer` is this peer, or a peer of this host.
    pub(crate) fn is(self, peer: SocketAddr) -> bool {
        match self {
            Self::Host(address) => Host::of(address) == Host::of(peer.ip()),
            Self::Peer(address) => canonical(address) == peer,
        }
    }
}

impl fmt::Display for HostOrPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(address) => Host::of(*address).fmt(f),
            Self::Peer(address) => address.fmt(f),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ProbeArgs {
    /// The node: host, host:port or [ipv6]:port
    #[arg(value_name = "HOST[:PORT]", required_unless_present = "relay")]
    pub(crate) target: Option<String>,
    /// Measure how fast new blocks and transactions pass from one of these nodes to the other
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["target", "no_multistreams"])]
    pub(crate) relay: Option<Vec<String>>,
    /// Time for which --relay observes the nodes
    #[arg(short, long, value_name = "TIME", default_value = "60s", value_parser = parse_time_above_zero)]
    #[arg(conflicts_with = "target")]
    pub(crate) duration: Duration,
    /// Network of the node; required for any port but 8333 [default: PEERLOOP_NETWORK, or mainnet]
    #[arg(long, value_name = "NAME", value_parser = network_parser())]
    pub(crate) network: Option<Network>,
    #[command(flatten)]
    pub(crate) family: FamilyFlags,
    /// Maximum time for each step, and with --relay for announcements after the end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time_above_zero)]
    pub(crate) timeout: Duration,
    /// Open no second TCP stream to the node, even if it supports one
    #[arg(long)]
    pub(crate) no_multistreams: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Number of peers to hold; 1k is 1000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_count)]
    pub(crate) peers: usize,
    /// Network [default: PEERLOOP_NETWORK, or mainnet]
    #[arg(long, value_name = "NAME", value_parser = network_parser())]
    pub(crate) network: Option<Network>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(feature = "sim")]
#[derive(Args, Debug)]
pub(crate) struct SimArgs {
    /// Number of seeds to run; 1k is 1000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_count)]
    pub(crate) seeds: usize,
    /// The first seed; the others follow it [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Kind of worlds to draw
    #[arg(long, value_name = "NAME", default_value = "standard")]
    pub(crate) profile: Worlds,
    /// Replay this tape instead of running seeds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "seed", "jobs", "minimise", "save"])]
    pub(crate) tape: Option<PathBuf>,
    /// Number of threads that run seeds
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count)]
    pub(crate) jobs: usize,
    /// Maximum time to shrink a violation's tape; 0s writes no tape
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_time)]
    pub(crate) minimise: Duration,
    /// File for the shrunk tape [default: sim-SEED.tape]
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Write the result as JSON; - is stdout, which then carries nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Parses a network; completions and error messages list the four names.
pub(crate) fn network_parser() -> impl TypedValueParser<Value = Network> {
    PossibleValuesParser::new(network_names()).try_map(|text| text.parse())
}

/// Lists the names of all networks, with their short aliases.
pub(crate) fn network_names() -> [PossibleValue; 4] {
    Network::ALL.map(|network| {
        let short = network.name().strip_suffix("net");
        short.into_iter().fold(PossibleValue::new(network.name()), PossibleValue::alias)
    })
}

/// Parses a peer's status; completions and error messages list the names.
fn status_parser() -> impl TypedValueParser<Value = PeerStatus> {
    let statuses =
        [PeerStatus::Unknown, PeerStatus::Valid, PeerStatus::Inaccessible, PeerStatus::Banned(BanReason::Manual)];
    let names = PossibleValuesParser::new(statuses.map(|status| status.to_string()));
    names.try_map(move |text| statuses.into_iter().find(|status| status.to_string() == text).ok_or("unknown status"))
}

fn parse_host_or_peer(text: &str) -> Result<HostOrPeer, String> {
    let wanted = text.parse().map(HostOrPeer::Peer).or_else(|_| text.parse().map(HostOrPeer::Host));
    wanted.map_err(|_| {
        format!("`{text}` is not an address: use IP or IP:PORT, for example 192.0.2.1 or [2001:db8::1]:8333")
    })
}

/// The names that the help shows for values that are numbers.
const NUMBERS: [&str; 11] =
    ["N", "N|P%", "P%", "TIME", "RATE", "LIST", "SIZE", "FACTOR", "TIME[..TIME]", "TIME/TIME", "SHARE"];

/// Flags of other load generators, each with the advice for a user who types it here.
const OTHERS_FLAGS: [(&str, &str); 3] = [
    ("-z", "-d TIME sets the duration"),
    ("-t", "-c N sets the number of peers; the generator has one thread, and --timeout TIME is the pong timeout"),
    ("-k", "connections are always kept open; -c N sets the number of peers"),
];

/// Reads the arguments of this process.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    parse_from(std::env::args_os())
}

pub(crate) fn parse_from<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> Result<Cli, clap::Error> {
    let mut matches = reads_hyphens(Cli::command()).try_get_matches_from(arguments)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// Allows numbers to begin with a hyphen. A negative number then reaches the value's parser, which refuses it with a
/// reason.
fn reads_hyphens(command: clap::Command) -> clap::Command {
    let is_number = |arg: &clap::Arg| {
        arg.get_value_names().is_some_and(|names| names.iter().any(|name| NUMBERS.contains(&name.as_str())))
    };
    command
        .mut_args(|arg| if is_number(&arg) { arg.allow_hyphen_values(true) } else { arg })
        .mut_subcommands(reads_hyphens)
}

/// Handles arguments that are not a valid command. Prints the help or the version if they were requested; otherwise
/// returns a failure that describes the mistake in one line.
pub(crate) fn explain(error: &clap::Error) -> Result<Exit, Failure> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::print(&text).map(|()| Exit::Success),
        ErrorKind::InvalidUtf8 => Err(Failure::usage(no_text(std::env::args_os()))),
        ErrorKind::UnknownArgument if text.contains("Usage: peerloop bench") => {
            let line = one_line(&text);
            let hint = OTHERS_FLAGS.iter().find(|(flag, _)| line.contains(&format!("'{flag}'")));
            Err(Failure::usage(
                hint.map_or_else(|| line.clone(), |(_, hint)| line.replace("; see", &format!("; {hint}; see"))),
            ))
        }
        _ => Err(Failure::usage(one_line(&text))),
    }
}

/// Describes the first argument that is not UTF-8 text. If it is a flag's value, names the flag instead.
fn no_text(arguments: impl Iterator<Item = OsString>) -> String {
    let mut before = String::new();
    for argument in arguments {
        let shown = argument.to_string_lossy().replace(char::is_control, "?");
        if argument.to_str().is_none() {
            return match (shown.split_once('='), before.starts_with('-')) {
                (Some((flag, _)), _) if flag.starts_with('-') => format!("flag {flag}: the value is not UTF-8 text"),
                (_, true) => format!("flag {before}: the value is not UTF-8 text"),
                (_, false) => format!("argument {shown} is not UTF-8 text"),
            };
        }
        before = shown;
    }
    "an argument is not UTF-8 text".to_owned()
}

/// Joins the lines of the parser's message, up to its usage, into one line that ends with a reference to `--help`.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let mut message = String::new();
    // An argument that starts with a hyphen is a mistyped flag; the advice to pass it as a value does not help.
    let is_said = |line: &&str| {
        !(line.is_empty() || line.starts_with("For more information") || line.starts_with("tip: to pass '"))
    };
    for line in lines.filter(is_said) {
        let line = line.trim_start_matches("error: ").trim_start_matches("tip: ");
        match message.chars().last() {
            None => {}
            Some(':') => message.push(' '),
            Some(_) => message.push_str("; "),
        }
        message.push_str(line);
    }
    message + "; see --help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_definitions_are_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_mistake_is_reported_in_one_line() {
        let mistakes: [&[&str]; 10] = [
            &["peerloop", "benhc"],
            &["peerloop", "bench", "--conections", "5"],
            &["peerloop", "bench", "-c", "0"],
            &["peerloop", "bench", "-r", "1", "--rate-per-peer", "1"],
            &["peerloop", "bench", "--network", "bitcoin"],
            &["peerloop", "probe"],
            &["peerloop", "completions", "cmd"],
            &["peerloop", "serve", "--listen", "localhost"],
            &["peerloop", "bench", "-c", "-5"],
            &["peerloop", "peers"],
        ];
        for arguments in mistakes {
            let error = parse_from(arguments).unwrap_err();
            let failure = explain(&error).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.message.contains('\n'), "{}", failure.message);
            assert!(failure.message.ends_with("see --help"), "{}", failure.message);
            assert!(!failure.message.contains("error:"), "{}", failure.message);
            assert!(!failure.message.contains("use '--"), "{}", failure.message);
        }
    }

    #[test]
    fn lines_are_joined_into_one() {
        let text = "error: it is wrong\n\n  tip: try this\n\nUsage: peerloop\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(text), "it is wrong; try this; see --help");
        assert_eq!(one_line("error: these are missing:\n  <HOST>\n"), "these are missing: <HOST>; see --help");
    }
}
