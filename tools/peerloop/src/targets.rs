//! Targets as people type them: their addresses, their network, and the protection of public targets against
//! accidental load.
//!
//! A target is `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; the default port is the network's. An IPv6 address
//! without a port needs no brackets. An IPv6 address may name its interface, for example `fe80::1%eth0`. A name stands
//! for its addresses, at most [`MAX_RESOLVED_ADDRESSES`], in the order in which the system's resolver returns them
//! (RFC 6724). `bench` and `probe` try the addresses in this order until one accepts a TCP connection.

use crate::exit::Failure;
use crate::units::port_mistake;
use clap::Args;
use peerloop::Network;
use peerloop::limits::MAX_RESOLVED_ADDRESSES;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Maximum number of peers without --yes if a target has a public address.
const MAX_POLITE_PEERS: usize = 8;

/// Maximum size of a targets file, about 50,000 lines. The whole text is in memory while it is split into targets.
const MAX_TARGETS_FILE_BYTES: u64 = 1 << 20;

/// A node to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The target as typed.
    pub(crate) name: String,
    /// The target's addresses, at least one, each once, in the order in which they are tried.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The flags that select an address family.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct FamilyFlags {
    /// Use IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use IPv6 addresses only
    #[arg(short = '6', long)]
    ipv6: bool,
}

/// The family that a target's addresses must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Any,
}

impl FamilyFlags {
    pub(crate) fn family(self) -> Family {
        match self {
            Self { ipv4: true, .. } => Family::V4,
            Self { ipv6: true, .. } => Family::V6,
            Self { .. } => Family::Any,
        }
    }
}

impl Family {
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns the family that satisfies both choices, if there is one.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, family) | (family, Self::Any) => Some(family),
            (family, other) => (family == other).then_some(family),
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        self == Self::Any || self == Self::of(address)
    }
}

/// Splits lists such as `a,b`, and replaces `@FILE` by the targets in that file. A line of the file may have several
/// targets, and `#` begins a comment.
pub(crate) fn expand(typed: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for word in typed {
        match word.strip_prefix('@') {
            Some(path) => names.extend(read_targets(path)?),
            None => names.extend(split_list(word)?),
        }
    }
    Ok(names)
}

fn read_targets(path: &str) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TARGETS_FILE_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| Failure::run(format!("reading the targets in {path}: {error}; name a readable file")))?;
    if text.len() as u64 > MAX_TARGETS_FILE_BYTES {
        return Err(Failure::usage(format!(
            "{path} is larger than {MAX_TARGETS_FILE_BYTES} bytes; list fewer targets"
        )));
    }
    let mut names = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            names.extend(split_list(word)?);
        }
    }
    match names.is_empty() {
        true => Err(Failure::usage(format!("there is no target in {path}; write one on each line"))),
        false => Ok(names),
    }
}

fn split_list(word: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = word.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| split(name).is_none()) {
        Some(name) => Err(not_a_target(name)),
        None => Ok(names),
    }
}

fn not_a_target(text: &str) -> Failure {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let hint = match port_mistake(port) {
        Some(mistake) => mistake,
        None if host.is_empty() && !port.is_empty() => "; the host is missing".to_owned(),
        None => String::new(),
    };
    let usage = "use host, host:port or [ipv6]:port, for example localhost:8333";
    Failure::usage(format!("`{text}` is not a target: {usage}{hint}"))
}

/// Returns the requested network, or mainnet. A port other than mainnet's requires the network to be given: a node
/// may ban a host for a day after a message with another network's magic.
pub(crate) fn network<'a>(
    asked: Option<Network>,
    targets: impl IntoIterator<Item = &'a str>,
) -> Result<Network, Failure> {
    if let Some(network) = asked {
        return Ok(network);
    }
    for target in targets {
        let Some((_, Some(port))) = split(target) else { continue };
        if port == Network::Mainnet.default_port() {
            continue;
        }
        let of_port = Network::ALL.into_iter().find(|network| network.default_port() == port);
        let add = match of_port {
            Some(other) => {
                format!("has the port of {other}: add --network {other}, or --network mainnet if you mean that")
            }
            None => "has a port that no known network uses: add --network mainnet, testnet, stn or regtest".to_owned(),
        };
        return Err(Failure::usage(format!(
            "{target} {add} (or set PEERLOOP_NETWORK); \
             a node may ban, for a day, a host that sends another network's magic"
        )));
    }
    Ok(Network::Mainnet)
}

/// Finds the addresses of `target`.
pub(crate) fn resolve(target: &str, network: Network, family: Family) -> Result<Target, Failure> {
    resolve_at(target, network.default_port(), family)
}

/// Finds the addresses of `target`, which have the port `default_port` if the target names none.
pub(crate) fn resolve_at(target: &str, default_port: u16, family: Family) -> Result<Target, Failure> {
    let (host, port) = split(target).ok_or_else(|| not_a_target(target))?;
    let found = match (host, port.unwrap_or(default_port)).to_socket_addrs() {
        Ok(found) => found.take(MAX_RESOLVED_ADDRESSES),
        Err(error) => {
            let check = match host.split_once('%') {
                Some((_, interface)) => format!("check that this machine has an interface {interface}"),
                None => "check the name, or use an IP address".to_owned(),
            };
            return Err(Failure::run(format!("resolving {host}: {error}; {check}")));
        }
    };
    Ok(Target { name: target.to_owned(), addresses: choose(host, found, family)? })
}

/// Returns each address of the chosen family once, in the resolver's order.
fn choose(host: &str, found: impl Iterator<Item = SocketAddr>, family: Family) -> Result<Vec<SocketAddr>, Failure> {
    let (mut addresses, mut others) = (Vec::new(), Vec::new());
    for address in found {
        let list = if family.holds(address.ip()) { &mut addresses } else { &mut others };
        if !list.contains(&address) {
            list.push(address);
        }
    }
    if let Some(without_zone) = addresses.iter().find(|address| lacks_zone(address)) {
        let ip = without_zone.ip();
        return Err(Failure::usage(format!("{ip} is link-local: add its interface, for example {ip}%eth0")));
    }
    if addresses.is_empty() && others.is_empty() {
        return Err(Failure::run(format!("{host} has no address; check the name, or use an IP address")));
    }
    if addresses.is_empty() {
        let others: Vec<String> = others.iter().map(|other| other.ip().to_string()).collect();
        return Err(Failure::usage(format!(
            "{host} has only {}, which -4, -6 or --source-ip excludes; change these flags",
            others.join(" ")
        )));
    }
    Ok(addresses)
}

fn lacks_zone(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local() && address.scope_id() == 0)
}

/// Refuses more than [`MAX_POLITE_PEERS`] peers, and workloads that are not polite, if a target has a public address,
/// unless --yes is given.
pub(crate) fn guard(targets: &[Target], connections: usize, is_polite: bool, agreed: bool) -> Result<(), Failure> {
    let public = targets.iter().flat_map(|target| &target.addresses).find(|address| !is_own_ground(address.ip()));
    match public {
        Some(target) if !is_polite && !agreed => Err(Failure::usage(format!(
            "{target} is a public address: only --workload ping and propagation are allowed without its owner's \
             consent; add --yes if the owner agrees"
        ))),
        Some(target) if connections > MAX_POLITE_PEERS && !agreed => Err(Failure::usage(format!(
            "{target} is a public address: {connections} peers exceed the {MAX_POLITE_PEERS} allowed \
             without its owner's consent; add --yes if the owner agrees, or use -c {MAX_POLITE_PEERS}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Splits a target into its host and its port; `None` if it is malformed.
pub(crate) fn split(target: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = target.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        if !is_ipv6(host) {
            return None;
        }
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(parse_port(port)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    if is_ipv6(target) {
        return Some((target, None));
    }
    let (host, port) = match target.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (target, None),
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/,@%[]".contains(c);
    let is_name = !host.is_empty() && !host.contains(is_odd);
    is_name.then_some((host, port))
}

/// Returns whether `text` is an IPv6 address, with or without its interface.
fn is_ipv6(text: &str) -> bool {
    let (address, interface) = text.split_once('%').unwrap_or((text, "-"));
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/,%[]".contains(c);
    address.parse::<Ipv6Addr>().is_ok() && !interface.is_empty() && !interface.contains(is_odd)
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether the address is a loopback, private or link-local address.
fn is_own_ground(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn texts(addresses: &[SocketAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_without_addresses_is_reported() {
        let failure = choose("node", [].into_iter(), Family::Any).unwrap_err();
        assert_eq!(failure.message, "node has no address; check the name, or use an IP address");
    }

    #[test]
    fn targets_are_split_into_host_and_port() {
        for (target, parts) in [
            ("node", Some(("node", None))),
            ("node:8333", Some(("node", Some(8_333)))),
            ("10.0.0.1:1", Some(("10.0.0.1", Some(1)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:18444", Some(("::1", Some(18_444)))),
            ("::1", Some(("::1", None))),
            ("fe80::1%eth0", Some(("fe80::1%eth0", None))),
            ("[fe80::1%eth0]:7", Some(("fe80::1%eth0", Some(7)))),
            ("[fe80::1%2]", Some(("fe80::1%2", None))),
            ("fe80::1%", None),
            ("fe80::1%eth0:7", Some(("fe80::1%eth0:7", None))),
            ("node%eth0", None),
            ("10.0.0.1%eth0", None),
            ("", None),
            (":8333", None),
            ("node:", None),
            ("node:0", None),
            ("node:+1", None),
            ("node:65536", None),
            ("node:1:2", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::1]:", None),
            ("[node]:1", None),
            ("http://node", None),
            ("a,b", None),
            ("@file", None),
            ("a b", None),
        ] {
            assert_eq!(split(target), parts, "{target}");
        }
    }

    #[test]
    fn the_default_port_is_the_networks() {
        let target = resolve("127.0.0.1", Network::Regtest, Family::Any).unwrap();
        assert_eq!(texts(&target.addresses), ["127.0.0.1:18444"]);
        let target = resolve("[::1]:7", Network::Regtest, Family::Any).unwrap();
        assert_eq!(texts(&target.addresses), ["[::1]:7"]);
    }

    #[test]
    fn every_port_except_mainnets_requires_an_explicit_network() {
        for (target, part) in [
            ("[::1]:18444", "has the port of regtest: add --network regtest, or --network mainnet"),
            ("node:18333", "has the port of testnet: add --network testnet"),
            ("node:9333", "has the port of stn: add --network stn"),
            ("node:1", "has a port that no known network uses: add --network mainnet, testnet, stn or regtest"),
        ] {
            let refused = network(None, ["node", target]).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(refused.message.starts_with(&format!("{target} {part}")), "{refused:?}");
            assert!(refused.message.contains("PEERLOOP_NETWORK"), "{refused:?}");
        }
        for target in ["node", "node:8333", "[::1]:8333", "node:x", "", "http://node:18333"] {
            assert_eq!(network(None, [target]), Ok(Network::Mainnet), "{target}");
        }
        assert_eq!(network(Some(Network::Mainnet), ["node:18444"]), Ok(Network::Mainnet));
        assert_eq!(network(Some(Network::Stn), []), Ok(Network::Stn));
    }

    #[test]
    fn a_target_without_an_address_of_the_requested_family_is_a_usage_error() {
        let refused = resolve("127.0.0.1", Network::Regtest, Family::V6).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.message.contains("has only 127.0.0.1, which"), "{refused:?}");
        assert_eq!(Family::V4.and(Family::V6), None);
        assert_eq!(Family::Any.and(Family::V6), Some(Family::V6));
        assert_eq!(Family::V4.and(Family::Any), Some(Family::V4));
    }

    #[test]
    fn a_name_resolves_to_each_address_once_in_the_resolvers_order() {
        let mut once: Vec<SocketAddr> = ("localhost", 8_333).to_socket_addrs().unwrap().collect();
        let target = resolve("localhost", Network::Mainnet, Family::Any).unwrap();
        once.dedup();
        assert_eq!(target.addresses, once);
        assert!(target.addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_link_local_address_needs_its_interface() {
        let refused = resolve("fe80::1", Network::Regtest, Family::Any).unwrap_err();
        assert_eq!(refused.message, "fe80::1 is link-local: add its interface, for example fe80::1%eth0");
        let refused = resolve("fe80::1%nosuchif", Network::Regtest, Family::Any).unwrap_err();
        assert!(refused.message.ends_with("check that this machine has an interface nosuchif"), "{refused:?}");
        let target = resolve("fe80::1%1", Network::Regtest, Family::Any).unwrap();
        assert_eq!(texts(&target.addresses), ["[fe80::1%1]:18444"]);
    }

    #[test]
    fn lists_and_files_name_several_targets() {
        let words = |typed: &[&str]| expand(&typed.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["a,b:1", "[::1]:2"]).unwrap(), ["a", "b:1", "[::1]:2"]);
        for (wrong, expected) in [("a,,b", "``"), ("a,", "``"), ("a,b c", "`b c`")] {
            assert!(words(&[wrong]).unwrap_err().message.starts_with(expected), "{wrong}");
        }
        let missing = words(&["@/no/such/file"]).unwrap_err();
        assert!(missing.message.starts_with("reading the targets in /no/such/file: "), "{missing:?}");
        let path = std::env::temp_dir().join(format!("peerloop-targets-{}", std::process::id()));
        let at_path = format!("@{}", path.display());
        std::fs::write(&path, "# two nodes\na:1, # the first\n\n  [::1]:2 b,c\n").unwrap();
        let refused = words(&[&at_path]).unwrap_err();
        std::fs::write(&path, "# three nodes\na:1 # the first\n\n  [::1]:2 b,c\n").unwrap();
        let read = words(&[&at_path]);
        std::fs::write(&path, "# none\n").unwrap();
        let empty = words(&[&at_path]).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(refused.message.starts_with("`` is not a target"), "{refused:?}");
        assert_eq!(read.unwrap(), ["a:1", "[::1]:2", "b", "c"]);
        assert!(empty.message.starts_with("there is no target in "), "{empty:?}");
    }

    #[test]
    fn many_peers_to_a_public_address_need_consent() {
        let target = |addresses: &[&str]| Target {
            name: String::new(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        let public = [target(&["127.0.0.1:1"]), target(&["127.0.0.1:1", "203.0.113.1:8333"])];
        assert_eq!(guard(&public, 9, true, false).unwrap_err().exit, Exit::Usage);
        assert_eq!(guard(&public, 9, true, true), Ok(()));
        assert_eq!(guard(&public, 8, true, false), Ok(()));
        assert_eq!(guard(&public[..1], 1_000, true, false), Ok(()));
        let refused = guard(&public, 1, false, false).unwrap_err().message;
        assert!(refused.contains("only --workload ping and propagation are allowed"), "{refused}");
        assert_eq!((guard(&public, 1, false, true), guard(&public[..1], 9, false, false)), (Ok(()), Ok(())));
    }

    #[test]
    fn private_addresses_are_recognised_in_mapped_form_too() {
        for own in
            ["127.9.9.9", "10.1.1.1", "192.168.0.1", "172.16.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"]
        {
            assert!(is_own_ground(own.parse().unwrap()), "{own}");
        }
        for public in ["203.0.113.1", "172.32.0.1", "2001:db8::1", "::ffff:203.0.113.1", "0.0.0.0"] {
            assert!(!is_own_ground(public.parse().unwrap()), "{public}");
        }
    }
}
