//! The one table of the program's settings. Each row has a setting's name, the library's fields that it sets, its
//! kind of value, and its help.
//!
//! The key, the flag and the variable are derived from the name. Settings are read in the table's order; the network
//! is first, because other defaults depend on it. The relay's own settings are last, because a file has them in its
//! table `[relay]`, which ends the keys without a table.

use super::kind::{Kind, manager};
use peerloop::config::Field;
use std::borrow::Cow;

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key in a file; the flag and the variable are derived from it.
    pub(super) name: &'static str,
    /// The fields of the library's configuration that the setting sets; empty for the program's own settings.
    pub(super) fields: &'static [Field],
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    /// Whether only the command `relay` uses the setting. In a file, its key is in the table [`RELAY`].
    pub(super) is_of_relay: bool,
}

/// The table of a file with the relay's own settings, and the prefix of their variables.
pub(super) const RELAY: &str = "relay";

/// Lists whose flag names one element.
const SINGULAR_FLAGS: [(&str, &str); 1] = [("upstreams", "upstream")];

/// The settings whose defaults depend on the network.
pub(super) const OF_NETWORK: [&str; 2] = ["dns_seeds", "default_port"];

/// Maximum number of edits between a mistyped name and the right one.
const MAX_EDITS: usize = 2;

/// Settings that were renamed: the name and the former name. Files, variables and flags may use the former name for one
/// more release.
const FORMER_NAMES: [(&str, &str); 14] = [
    ("relay_flag", "relay"),
    ("learn_addresses", "learns_addresses"),
    ("max_backoff", "backoff_max"),
    ("max_per_host", "per_host_max"),
    ("max_per_group_percent", "per_group_max_percent"),
    ("evict_inbound", "evicts_inbound"),
    ("min_protocol_version", "protocol_version_min"),
    ("max_block_bytes", "block_max_bytes"),
    ("max_message_bytes", "message_max_bytes"),
    ("max_buffered_message_bytes", "buffered_message_max_bytes"),
    ("max_buffered_command_bytes", "buffered_command_max_bytes"),
    ("max_buffered_total_bytes", "buffered_total_max_bytes"),
    ("min_body_bytes_per_second", "body_min_bytes_per_second"),
    ("measure_peers", "measures_peers"),
];

/// Declares [`SETTINGS`] from rows `name [Fields]: Kind in place, "help";`, where the value is the field `name` of
/// `place`. A kind that always sets the same field omits `in place`; the place `relay_of_version` is one field.
macro_rules! settings {
    ($($name:ident [$($field:ident)*]: $kind:ident $(in $place:ident)?, $help:literal;)+) => {
        pub(super) static SETTINGS: &[Setting] = &[$(
            Setting {
                name: stringify!($name),
                fields: &[$(Field::$field),*],
                help: $help,
                kind: settings!(@kind $kind $name $($place)?),
                is_of_relay: settings!(@is_of_relay $($place)?),
            },
        )+];
    };
    (@kind $kind:ident $name:ident) => { Kind::$kind };
    (@kind $kind:ident $name:ident config) => { Kind::$kind(|config| &mut config.$name) };
    (@kind $kind:ident $name:ident rules) => { Kind::$kind(|config| &mut config.version_rules.$name) };
    (@kind $kind:ident $name:ident manager) => { Kind::$kind(|config| &mut manager(config).$name) };
    (@kind $kind:ident $name:ident relay_of_version) => { Kind::$kind(|config| &mut config.relay) };
    (@kind $kind:ident $name:ident relay) => { Kind::$kind(|node| &mut node.relay.$name) };
    (@is_of_relay relay) => { true };
    (@is_of_relay $($place:ident)?) => { false };
    (@kind $kind:ident $name:ident node) => { Kind::$kind(|node| &mut node.$name) };
}

settings! {
    network [Network]: Network,
        "Network; this or --magic is required if a fixed peer or a seed uses a port other than 8333";
    magic [Magic]: Magic, "First four bytes of every message, as 8 hexadecimal digits, for private networks";
    // Peers.
    fixed_peers [Mode FixedNames]: FixedPeers,
        "Dial only these peers: host, host:port or [ipv6]:port; a name is resolved again when \
         the dials of all its addresses have failed; repeatable";
    target_peers [TargetPeers]: Count in manager, "Number of peers to keep; with fewer, the manager dials";
    max_peers [MaxPeers]: Count in manager, "Maximum number of peers, inbound and outbound together";
    listen [Listen]: Addresses in manager, "Address to listen on; repeatable";
    dns_seeds [DnsSeeds]: Texts in manager, "Name that resolves to addresses of peers; repeatable";
    default_port [DefaultPort]: Port in manager, "Port of addresses given without a port";
    learn_addresses [LearnAddresses]: Switch in manager, "Ask peers for addresses, and store and share them";
    trusted [Trusted]: Networks in manager, "IP range exempt from caps, rate limits and bans; repeatable";
    // Retries.
    max_restarts [MaxRestarts]: Number in manager, "Maximum number of immediate restarts of a connection per window";
    restart_window [RestartWindow]: Duration in manager, "Window in which restarts are counted";
    initial_backoff [InitialBackoff]: Duration in manager, "Pause after the first failed dial of an address";
    backoff_multiplier [BackoffMultiplier]: Factor in manager, "Factor by which each further pause grows";
    max_backoff [MaxBackoff]: Duration in manager,
        "Maximum pause after a failed dial; up to 25 % random jitter is added";
    max_retries [MaxRetries]: Number in manager,
        "Number of consecutive failed dials after which an address is inaccessible";
    // Caps, bans and user agents.
    max_per_host [MaxPerHost]: Count in manager, "Maximum number of peers of one host";
    max_per_group_percent [MaxPerGroupPercent]: Number in manager,
        "Maximum number of peers of one address range, in percent of max_peers";
    accepts_per_host_per_second [AcceptsPerHostPerSecond]: Number in manager,
        "Maximum number of connections accepted from one host per second";
    evict_inbound [EvictInbound]: Switch in manager, "Close an inbound peer to accept a new one if no slot is free";
    ban_score [BanScore]: Number in manager, "Misbehavior score at which a host is banned";
    ban_duration [BanDuration]: Duration in manager, "Duration of a ban for misbehavior";
    banned_agents [BannedAgents]: Texts in rules,
        "Refuse user agents that contain this text or match this pattern with *; repeatable";
    bitcoin_sv_agents [BitcoinSvAgents]: Texts in rules,
        "Text or pattern with * that identifies user agents of Bitcoin SV nodes; repeatable";
    other_chain_agents [OtherChainAgents]: Texts in rules,
        "Text or pattern with * that identifies user agents of other blockchains' nodes; repeatable";
    min_protocol_version [MinProtocolVersion]: Number in rules, "Minimum protocol version of a peer";
    // Our `version`.
    protocol_version [ProtocolVersion]: Number in config, "Protocol version to claim";
    services [Services]: Bits in config,
        "Services to claim, as a number or 0x and hexadecimal digits; 0x1 promises to serve the chain";
    user_agent [UserAgent]: Text in config, "User agent to claim";
    start_height [StartHeight]: Height in config, "Chain height to claim";
    multistreams [Multistreams]: Streams in config,
        "Further TCP streams of a peer: off, accept (those that peers open), or open (also open them)";
    relay_flag [Relay]: Switch in relay_of_version, "Let peers announce transactions";
    // Times.
    connect_timeout [ConnectTimeout]: Duration in config, "Maximum time to open a TCP connection";
    handshake_timeout [HandshakeTimeout]: Duration in config, "Maximum time for a handshake";
    ping_interval [PingInterval]: Duration in config, "Interval between two pings to a peer; 0s sends none";
    pong_timeout [PongTimeout]: Duration in config, "Maximum time for a pong";
    // Bounds.
    max_links [MaxLinks]: Count in config, "Maximum number of connections, including those being opened or closed";
    max_inbound [MaxInbound]: Limit in config, "Maximum number of inbound connections, or unlimited";
    max_block_bytes [MaxBlockBytes]: BlockSize in config, "Maximum size of a block, or unlimited";
    max_message_bytes [MaxMessageBytes]: Size in config,
        "Maximum size of a message without a limit of its own; blocks and transactions have one";
    max_buffered_message_bytes [MaxBufferedMessageBytes]: Size in config,
        "Maximum size of a message buffered in memory";
    max_buffered_command_bytes [MaxBufferedCommandBytes]: CommandSizes,
        "Maximum buffered size for one command, for example tx=4MiB; repeatable";
    max_buffered_total_bytes [MaxBufferedTotalBytes]: Size in config, "Maximum size of all buffered messages together";
    min_body_bytes_per_second [MinBodyBytesPerSecond]: Size in config,
        "Minimum rate of an arriving message, in bytes per second";
    measure_peers [MeasurePeers]: Switch in config, "Measure the cost of each peer";
    reuse_port [ReusePort]: Switch in config, "Share the listening ports with other loops that do the same";
    spin [Spin]: Switch in config, "Poll through the last millisecond before an exact wake-up";
    // The program itself.
    book []: File in node, "File that stores peers and bans for the next run; without one they are lost at exit";
    metrics_addr []: Address in node, "Address on which to serve /metrics for Prometheus";
    log_level []: Level in node, "Log level";
    // The relay.
    upstreams []: Nodes in relay,
        "Node whose announcements are believed: host, host:port or [ipv6]:port; a name is resolved again; repeatable";
    trust []: Trust in relay,
        "Treatment of other peers' transactions: validated (announce once an upstream has announced), trusted (submit \
         to the upstreams only) or open (announce at once, for test networks)";
    tx_pool []: RelaySize in relay, "Maximum size of all kept transactions together";
    small_blocks []: RelaySize in relay, "Maximum size of all kept blocks together, of up to 32MiB each; 0 keeps none";
    old_blocks_per_host []: RelaySize in relay,
        "Maximum size of the old blocks that the peers of one host may request per day; 0 serves none";
    old_blocks_per_day []: RelaySize in relay, "Maximum size of the old blocks that all peers may request per day";
    compact_blocks []: Compact in relay,
        "Peers with which compact blocks are exchanged: off, upstreams or all; the others request whole blocks";
    tether []: RelayNetworks in relay,
        "IP range whose peers may slow a block down for all others instead of being closed; repeatable";
    live_upload []: RelaySize in relay,
        "Upload in bytes per second for the readers of blocks above 32MiB; further ones are refused; 0 has no limit";
    race []: RelaySwitch in relay, "Request the newest block from two upstreams at the same time";
    push []: RelaySwitch in relay, "Send transactions to upstreams without waiting for their requests";
    accept_on_silence []: Silence in relay,
        "Announce a submitted transaction that no upstream has rejected for this time; passes double spends";
    leaf_tx_per_second []: RelayNumber in relay, "Maximum rate of new transactions of each peer that is no upstream";
    find_peers []: RelaySwitch in relay, "Also dial peers of the book and of the seeds, up to target_peers";
}

/// Finds the setting that sets a field of the configuration.
pub(super) fn setting_of(field: Field) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.fields.contains(&field))
}

/// Returns the table position of the setting with this key or former name. The key of a relay's setting begins with
/// [`RELAY`] and `_`.
pub(super) fn position_of(key: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.key() == key || setting.former_name() == Some(key))
}

/// Returns the table position of the relay's setting with this name.
pub(super) fn position_in_relay(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.is_of_relay && setting.name == name)
}

impl Setting {
    /// Returns the name, with a prefix if it is one of the relay's settings. It is unique.
    pub(super) fn key(&self) -> Cow<'static, str> {
        if self.is_of_relay { format!("{RELAY}_{}", self.name).into() } else { self.name.into() }
    }

    pub(super) fn flag(&self) -> String {
        let singular = SINGULAR_FLAGS.iter().find(|(name, _)| *name == self.name).map(|&(_, flag)| flag);
        format!("--{}", singular.unwrap_or(self.name).replace('_', "-"))
    }

    /// Returns the former name of the setting, if it had one.
    pub(super) fn former_name(&self) -> Option<&'static str> {
        FORMER_NAMES.iter().find(|(name, _)| *name == self.name).map(|&(_, former)| former)
    }
}

/// Finds the relay's setting with this name, or else the setting with the most similar key; `None` if all keys differ
/// by more than [`MAX_EDITS`].
pub(super) fn nearest(key: &str) -> Option<&'static Setting> {
    if let Some(number) = position_in_relay(key) {
        return Some(&SETTINGS[number]);
    }
    let distances = SETTINGS.iter().map(|setting| (edits(key, &setting.key()), setting));
    distances.filter(|(distance, _)| *distance <= MAX_EDITS).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

/// Returns the minimum number of characters to insert, remove or replace to turn one string into the other.
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
    use crate::settings::Node;
    use peerloop::{Config, Network};
    use std::collections::BTreeSet;

    #[test]
    fn req_e43_every_plain_field_but_the_seed_has_one_setting_and_only_the_programs_own_settings_have_no_field() {
        // Two fields that contain other fields, the seed, which is useless for a node that runs for weeks, and the
        // pings, which a node without a handler of its own must answer.
        let without = [Field::Manager, Field::VersionRules, Field::Seed, Field::AnswerPings];
        for &field in Field::ALL {
            let settings = SETTINGS.iter().filter(|setting| setting.fields.contains(&field)).count();
            let expected = usize::from(!without.contains(&field));
            assert_eq!(
                settings,
                expected,
                "`{field}` has {settings} rows in {} instead of {expected}; correct the table or `without`",
                file!()
            );
        }
        let own = SETTINGS.iter().filter(|one| one.fields.is_empty() && !one.is_of_relay);
        let own: Vec<&str> = own.map(|one| one.name).collect();
        assert_eq!(own, ["book", "metrics_addr", "log_level"]);
        for setting in SETTINGS {
            let name = setting.name;
            let is_same = setting.fields.len() != 1 || setting.fields[0].name() == name;
            assert!(is_same || name == "relay_flag", "`{name}` differs from its field's name");
            assert!(!setting.help.is_empty(), "`{name}` has no help");
        }
        // The flags and the command line's ids have no table that separates them.
        let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len(), "a name is listed twice");
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.is_of_relay), "the relay's settings are not the last");
    }

    #[test]
    fn only_the_network_and_settings_with_network_defaults_differ_between_networks() {
        for setting in SETTINGS {
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
