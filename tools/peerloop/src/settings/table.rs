//! All settings, each once: its name, its help, and where it stands.
//!
//! The order is that of reading, and the network comes first, because the other defaults are its own.

use super::kind::{Kind, manager};

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its key in a file; flag and variable are made from it.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// The settings whose defaults are those of the network.
pub(super) const OF_NETWORK: [&str; 2] = ["dns_seeds", "default_port"];

/// Edits that a mistyped name may be away from the right one.
const EDITS_MAX: usize = 2;

const fn row(name: &'static str, help: &'static str, kind: Kind) -> Setting {
    Setting { name, help, kind }
}

pub(super) static SETTINGS: [Setting; 48] = [
    row("network", "Network; required with --fixed-peers at any port but 8333", Kind::Network),
    row("magic", "First four bytes of every message, as 8 hexadecimal digits, for private networks", Kind::Magic),
    // Whom to talk to.
    row(
        "fixed_peers",
        "Dial these peers and no others: host, host:port or [ipv6]:port; names are resolved again when they fail; \
         repeatable",
        Kind::FixedPeers,
    ),
    row(
        "target_peers",
        "Peers to have: below it more are dialled",
        Kind::Count(|config| &mut manager(config).target_peers),
    ),
    row("max_peers", "Most peers, both directions together", Kind::Count(|config| &mut manager(config).max_peers)),
    row(
        "listen",
        "Address to accept connections at; repeatable",
        Kind::Addresses(|config| &mut manager(config).listen),
    ),
    row(
        "dns_seeds",
        "Name whose addresses are peers; repeatable",
        Kind::Texts(|config| &mut manager(config).dns_seeds),
    ),
    row(
        "default_port",
        "Port of an address that came without one",
        Kind::Port(|config| &mut manager(config).default_port),
    ),
    row(
        "learns_addresses",
        "Ask peers for addresses and keep theirs",
        Kind::Switch(|config| &mut manager(config).learns_addresses),
    ),
    row(
        "trusted",
        "Network to which no cap, rate or ban applies; repeatable",
        Kind::Networks(|config| &mut manager(config).trusted),
    ),
    // How hard to try.
    row(
        "max_restarts",
        "Restarts at once of a failed connection per window",
        Kind::Number(|config| &mut manager(config).max_restarts),
    ),
    row(
        "restart_window",
        "The window in which restarts count",
        Kind::Duration(|config| &mut manager(config).restart_window),
    ),
    row(
        "initial_backoff",
        "Pause after the first failed dial of an address",
        Kind::Duration(|config| &mut manager(config).initial_backoff),
    ),
    row(
        "backoff_multiplier",
        "How much longer each further pause is",
        Kind::Factor(|config| &mut manager(config).backoff_multiplier),
    ),
    row(
        "backoff_max",
        "Longest pause between two dials of an address",
        Kind::Duration(|config| &mut manager(config).backoff_max),
    ),
    row(
        "max_retries",
        "Failed dials after which an address is given up",
        Kind::Number(|config| &mut manager(config).max_retries),
    ),
    // Whom to keep out.
    row("per_host_max", "Most peers of one host", Kind::Count(|config| &mut manager(config).per_host_max)),
    row(
        "per_group_max_percent",
        "Most peers of one range of addresses, in percent of all",
        Kind::Number(|config| &mut manager(config).per_group_max_percent),
    ),
    row(
        "accepts_per_host_per_second",
        "Connections of one host accepted per second",
        Kind::Number(|config| &mut manager(config).accepts_per_host_per_second),
    ),
    row(
        "evicts_inbound",
        "Close an accepted peer for a new one if all places are taken",
        Kind::Switch(|config| &mut manager(config).evicts_inbound),
    ),
    row("ban_score", "Misbehaviour at which a host is banned", Kind::Number(|config| &mut manager(config).ban_score)),
    row(
        "ban_duration",
        "How long a ban for misbehaviour lasts",
        Kind::Duration(|config| &mut manager(config).ban_duration),
    ),
    row(
        "banned_agents",
        "User agent that is refused, any part or a pattern with *; repeatable",
        Kind::Texts(|config| &mut config.version_rules.banned_agents),
    ),
    row(
        "bitcoin_sv_agents",
        "User agent of Bitcoin SV nodes; repeatable",
        Kind::Texts(|config| &mut config.version_rules.bitcoin_sv_agents),
    ),
    row(
        "other_chain_agents",
        "User agent of other blockchains' nodes; repeatable",
        Kind::Texts(|config| &mut config.version_rules.other_chain_agents),
    ),
    row(
        "protocol_version_min",
        "Lowest protocol version of a peer",
        Kind::Number(|config| &mut config.version_rules.protocol_version_min),
    ),
    // What to say.
    row(
        "protocol_version",
        "The protocol version that is claimed",
        Kind::Number(|config| &mut config.protocol_version),
    ),
    row(
        "services",
        "The services to claim, as a number or 0x and hexadecimal digits; 0x1 promises to serve the chain",
        Kind::Bits(|config| &mut config.services),
    ),
    row("user_agent", "The user agent that is claimed", Kind::Text(|config| &mut config.user_agent)),
    row("start_height", "The chain height that is claimed", Kind::Height(|config| &mut config.start_height)),
    row("relay", "Let peers announce transactions", Kind::Switch(|config| &mut config.relay)),
    // Times.
    row("connect_timeout", "Time for a TCP connection", Kind::Duration(|config| &mut config.connect_timeout)),
    row("handshake_timeout", "Time for a handshake", Kind::Duration(|config| &mut config.handshake_timeout)),
    row(
        "ping_interval",
        "Pause between two pings of a peer; 0s sends none",
        Kind::Duration(|config| &mut config.ping_interval),
    ),
    row("pong_timeout", "Time for a pong", Kind::Duration(|config| &mut config.pong_timeout)),
    // Bounds.
    row(
        "max_links",
        "Most connections, those on their way in or out among them",
        Kind::Count(|config| &mut config.max_links),
    ),
    row("max_inbound", "Most accepted connections, or unlimited", Kind::Limit(|config| &mut config.max_inbound)),
    row("block_max_bytes", "Largest block, or unlimited", Kind::BlockSize(|config| &mut config.block_max_bytes)),
    row("message_max_bytes", "Largest other message", Kind::Size(|config| &mut config.message_max_bytes)),
    row(
        "buffered_message_max_bytes",
        "Largest message that is gathered in memory",
        Kind::Size(|config| &mut config.buffered_message_max_bytes),
    ),
    row("buffered_command_max_bytes", "The same for one command, as tx=4MiB; repeatable", Kind::CommandSizes),
    row(
        "buffered_total_max_bytes",
        "Most bytes that are gathered at once",
        Kind::Size(|config| &mut config.buffered_total_max_bytes),
    ),
    row(
        "body_min_bytes_per_second",
        "Least rate of a message that is arriving, per second",
        Kind::Size(|config| &mut config.body_min_bytes_per_second),
    ),
    row("measures_peers", "Measure what each peer costs", Kind::Switch(|config| &mut config.measures_peers)),
    row("spin", "Poll through the last millisecond before an exact wake-up", Kind::Switch(|config| &mut config.spin)),
    // What is the program's own.
    row(
        "book",
        "File that keeps peers and bans for the next run; without one they are forgotten at the end",
        Kind::File(|node| &mut node.book),
    ),
    row(
        "metrics_addr",
        "Address at which /metrics is served as text for Prometheus",
        Kind::Address(|node| &mut node.metrics_addr),
    ),
    row("log_level", "What is logged", Kind::Level(|node| &mut node.log_level)),
];

/// The setting whose name is almost this one.
pub(super) fn nearest(name: &str) -> Option<&'static Setting> {
    let distances = SETTINGS.iter().map(|setting| (edits(name, setting.name), setting));
    distances.filter(|(distance, _)| *distance <= EDITS_MAX).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

/// Characters to insert, leave out or replace to get from one text to the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Node, setting_of};
    use peerloop::config::Field;
    use peerloop::{Config, Network};
    use std::collections::BTreeSet;

    #[test]
    fn seed_e43_every_field_is_a_setting_and_every_setting_a_field() {
        let mut fields: BTreeSet<&str> = Field::ALL.iter().map(|&field| setting_of(field)).collect();
        // What contains others, and what a node that goes on for weeks has no use for.
        for name in ["manager", "version_rules", "seed"] {
            assert!(fields.remove(name), "{name}");
        }
        fields.extend(["book", "metrics_addr", "log_level"]);
        let settings: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(settings, fields);
        assert_eq!(settings.len(), SETTINGS.len(), "no name is there twice");
    }

    #[test]
    fn the_defaults_of_a_network_are_those_that_differ_between_networks() {
        for setting in &SETTINGS {
            let shown = Network::ALL.map(|network| {
                let mut node = Node { config: Config::managed(network), ..Node::default() };
                setting.kind.show(&mut node)
            });
            let differs = shown.iter().any(|one| *one != shown[0]);
            assert_eq!(differs, setting.name == "network" || OF_NETWORK.contains(&setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn a_mistyped_name_finds_the_right_one() {
        for (typed, right) in [("ping_intervall", "ping_interval"), ("maxpeers", "max_peers"), ("lisen", "listen")] {
            assert_eq!(nearest(typed).map(|setting| setting.name), Some(right));
        }
        for typed in ["", "real_node", "long", "seeds", "colour"] {
            assert_eq!(nearest(typed).map(|setting| setting.name), None, "{typed}");
        }
        assert_eq!((edits("", "abc"), edits("abc", ""), edits("kitten", "sitting"), edits("é", "e")), (3, 3, 3, 1));
    }
}
