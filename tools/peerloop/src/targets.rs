//! From what people type to addresses, and which of those nobody loads, or speaks to of another network, by accident.
//!
//! A target is `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; the port comes from the network if there is none. Of a
//! name's addresses the first IPv4 one is used, or the first of the family that the source addresses have.

use crate::exit::Failure;
use peerloop::Network;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Peers that anyone may open to an address on the public internet without being asked.
const POLITE_PEERS_MAX: usize = 8;

/// Which family a target must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Any,
}

impl Family {
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        self == Self::Any || self == Self::of(address)
    }
}

/// The network that was asked for, or mainnet; but if a target has the port of another one, that must be said.
pub(crate) fn network(asked: Option<Network>, targets: &[String]) -> Result<Network, Failure> {
    let other = |target: &String| {
        let port = split(target)?.1?;
        Network::ALL.into_iter().find(|network| network.default_port() == port && *network != Network::Mainnet)
    };
    let suspect = targets.iter().find_map(|target| Some((target, other(target)?)));
    match (asked, suspect) {
        (None, Some((target, other))) => Err(Failure::usage(format!(
            "{target} has the port of {other}: add --network {other}, or --network mainnet if you mean that; nodes may \
             ban a host for a day that speaks of another network"
        ))),
        (asked, _) => Ok(asked.unwrap_or(Network::Mainnet)),
    }
}

/// Finds the address of `target`.
pub(crate) fn resolve(target: &str, network: Network, family: Family) -> Result<SocketAddr, Failure> {
    let (host, port) = split(target).ok_or_else(|| {
        Failure::usage(format!(
            "`{target}` is no target: use host, host:port or [ipv6]:port, for example localhost:8333"
        ))
    })?;
    let port = port.unwrap_or_else(|| network.default_port());
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => {
            return Err(Failure::run(format!("resolving {host}: {error}; check the name, or use an IP address")));
        }
    };
    let first = |family: Family| found.iter().copied().find(|address| family.holds(address.ip()));
    let chosen = match family {
        Family::Any => first(Family::V4).or_else(|| first(Family::V6)),
        Family::V4 | Family::V6 => first(family),
    };
    chosen.ok_or_else(|| {
        Failure::usage(format!("{host} has no address of the same family as the source addresses; change --source-ip"))
    })
}

/// Refuses many peers to a public address unless they were asked for.
pub(crate) fn guard(targets: &[SocketAddr], connections: usize, agreed: bool) -> Result<(), Failure> {
    let public = targets.iter().find(|target| !is_own_ground(target.ip()));
    match public {
        Some(target) if connections > POLITE_PEERS_MAX && !agreed => Err(Failure::usage(format!(
            "{target} is a public address: {connections} peers are more than the {POLITE_PEERS_MAX} that anyone may \
             open unasked; add --yes if its owner agrees, or use -c {POLITE_PEERS_MAX}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Host and port of a target; none if it is not well formed.
fn split(target: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = target.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(parse_port(port)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    if target.parse::<Ipv6Addr>().is_ok() {
        return Some((target, None));
    }
    let (host, port) = match target.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (target, None),
    };
    let is_name = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    is_name.then_some((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the address is this machine or a private network.
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

    #[test]
    fn targets_are_split_as_people_write_them() {
        for (target, parts) in [
            ("node", Some(("node", None))),
            ("node:8333", Some(("node", Some(8_333)))),
            ("10.0.0.1:1", Some(("10.0.0.1", Some(1)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:18444", Some(("::1", Some(18_444)))),
            ("::1", Some(("::1", None))),
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
            ("a b", None),
        ] {
            assert_eq!(split(target), parts, "{target}");
        }
    }

    #[test]
    fn the_port_comes_from_the_network() {
        let address = resolve("127.0.0.1", Network::Regtest, Family::Any);
        assert_eq!(address, Ok(SocketAddr::from(([127, 0, 0, 1], 18_444))));
        let address = resolve("[::1]:7", Network::Regtest, Family::Any).unwrap();
        assert_eq!(address.to_string(), "[::1]:7");
    }

    #[test]
    fn the_port_of_another_network_needs_the_network_said() {
        let refused = network(None, &["node".to_owned(), "[::1]:18444".to_owned()]).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(
            refused.message.contains("[::1]:18444") && refused.message.contains("--network regtest"),
            "{refused:?}"
        );
        for target in ["node", "node:8333", "node:1", "node:x", "", "http://node:18333"] {
            assert_eq!(network(None, &[target.to_owned()]), Ok(Network::Mainnet), "{target}");
        }
        assert_eq!(network(Some(Network::Mainnet), &["node:18444".to_owned()]), Ok(Network::Mainnet));
        assert_eq!(network(Some(Network::Stn), &[]), Ok(Network::Stn));
    }

    #[test]
    fn a_target_of_another_family_than_the_sources_is_wrong_usage() {
        let refused = resolve("127.0.0.1", Network::Regtest, Family::V6).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }

    #[test]
    fn localhost_resolves() {
        assert!(resolve("localhost", Network::Mainnet, Family::Any).unwrap().ip().is_loopback());
    }

    #[test]
    fn many_peers_to_a_public_address_have_to_be_agreed() {
        let public: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([203, 0, 113, 1], 8_333).into()];
        assert_eq!(guard(&public, 9, false).unwrap_err().exit, Exit::Usage);
        assert_eq!(guard(&public, 9, true), Ok(()));
        assert_eq!(guard(&public, 8, false), Ok(()));
        assert_eq!(guard(&public[..1], 1_000, false), Ok(()));
    }

    #[test]
    fn own_ground_is_seen_behind_a_mapped_address() {
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
