//! The single table of settings: name, type, default, effect of a change on a running loop, and range.
//!
//! Each row generates a field of its struct, its setter, a [`Field`], the default, the range checks, and the comparison
//! of two configurations. The `validate` methods check the rules that compare several fields.

use super::value::Value;
use super::{DialMode, Effect, Multistreams};
use crate::limits;
use crate::protocol::{CommandName, MIN_PROTOCOL_VERSION, Network, PROTOCOL_VERSION};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A condition on one value, and the error text that follows the field's name.
type Rule<T> = (fn(&T) -> bool, &'static str);

/// A field that does not satisfy its own rule, and the rule's text.
pub(super) type Broken = (Field, &'static str);

/// A field that differs between two configurations.
pub(super) enum Difference<'a> {
    /// No running loop can change it.
    Fixed(Field),
    /// A running loop can change it.
    Value { field: Field, effect: Effect, old: &'a dyn Value, new: &'a dyn Value },
}

/// Declares the structs and [`Field`] from rows `Variant name with_name: Type = default, effect, rules..;`.
///
/// The effect is one of [`Effect`], `fixed` for a field that no running loop can change, `part` for a struct of this
/// table, or `optional_part` for a part whose presence is fixed. The setter of an `optional_part` accepts the part or
/// `None`.
macro_rules! settings {
    ($(
        $(#[$attribute:meta])*
        struct $owner:ident, $visible:vis $new:ident($network:ident) {
            $(
                $(#[$doc:meta])*
                $variant:ident $field:ident $with:ident: $type:ty = $default:expr, $effect:ident $(, $rule:expr)*;
            )+
        }
    )+) => {
        $(
            $(#[$attribute])*
            #[non_exhaustive]
            pub struct $owner {
                $($(#[$doc])* pub $field: $type,)+
            }

            impl $owner {
                /// Returns the defaults for a network.
                $visible fn $new($network: Network) -> Self {
                    Self { $($field: $default,)+ }
                }

                $(settings!(@setter $effect, $field, $with, $type);)+

                /// Checks each field against its own range.
                pub(super) fn check_ranges(&self) -> Result<(), Broken> {
                    $($(
                        let (holds, rule): Rule<$type> = $rule;
                        if !holds(&self.$field) {
                            return Err((Field::$variant, rule));
                        }
                    )*)+
                    Ok(())
                }

                /// Calls `found` with each difference.
                pub(super) fn compare(&self, new: &Self, found: &mut impl FnMut(Difference<'_>)) {
                    $(settings!(@compare $effect, found, Field::$variant, &self.$field, &new.$field);)+
                }
            }
        )+

        /// A field of [`Config`], [`VersionRules`] or [`ManagerConfig`]. Each name is unique.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Field {
            $($(
                #[doc = concat!(
                    "[`", stringify!($field), "`](crate::config::", stringify!($owner), "::", stringify!($field), ")."
                )]
                $variant,
            )+)+
        }

        impl Field {
            /// All fields.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)+)+];

            /// Returns the field's name in its Rust struct, such as `ping_interval`.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => stringify!($field),)+)+
                }
            }
        }
    };
    (@setter optional_part, $field:ident, $with:ident, $type:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), "); `None` removes it.")]
        #[must_use]
        pub fn $with(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@setter $effect:ident, $field:ident, $with:ident, $type:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
    (@compare fixed, $found:ident, $field:expr, $old:expr, $new:expr) => {
        if $old != $new {
            $found(Difference::Fixed($field));
        }
    };
    (@compare part, $found:ident, $field:expr, $old:expr, $new:expr) => {
        $old.compare($new, $found)
    };
    (@compare optional_part, $found:ident, $field:expr, $old:expr, $new:expr) => {
        match ($old, $new) {
            (Some(old), Some(new)) => old.compare(new, $found),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => $found(Difference::Fixed($field)),
        }
    };
    (@compare $effect:ident, $found:ident, $field:expr, $old:expr, $new:expr) => {
        if $old != $new {
            $found(Difference::Value { field: $field, effect: Effect::$effect, old: $old, new: $new });
        }
    };
}

const LONGER_THAN_ZERO: Rule<Duration> = (|time| !time.is_zero(), "must be longer than zero");
const ENOUGH_FOR_A_HANDSHAKE: &str = "must be at least 2,048, the largest payload of a handshake message";
const AT_MOST_64_NAMES: &str = "must have at most 64 names";
const ARE_NAMES: Rule<Vec<String>> = (
    |names| names.iter().all(|name| is_name(name)),
    "must have names of 1 to 253 printable ASCII characters without spaces",
);

fn is_enough_for_a_handshake(bytes: u64) -> bool {
    bytes >= limits::MAX_HANDSHAKE_PAYLOAD_BYTES
}

fn is_name(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_network(&(address, bits): &(IpAddr, u8)) -> bool {
    bits <= if address.is_ipv4() { 32 } else { 128 }
}

fn is_each_once<T: PartialEq>(mut list: impl Iterator<Item = T> + Clone) -> bool {
    while let Some(one) = list.next() {
        if list.clone().any(|other| other == one) {
            return false;
        }
    }
    true
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

settings! {
    /// The configuration of a loop.
    ///
    /// ```
    /// use peerloop::{Config, Network};
    /// use std::time::Duration;
    ///
    /// let config = Config::new(Network::Regtest).with_ping_interval(Duration::from_secs(30));
    /// assert!(config.validate().is_ok());
    /// ```
    #[derive(Clone, Debug, PartialEq)]
    struct Config, pub new(network) {
        /// The network whose magic every message carries. Default mainnet.
        Network network with_network: Network = network, fixed;
        /// The magic to use instead of the network's own, for private networks. Default none.
        Magic magic with_magic: Option<[u8; 4]> = None, fixed;
        /// The protocol version we claim. Default [`PROTOCOL_VERSION`], 70016; other values are for testing a peer's
        /// reaction.
        ProtocolVersion protocol_version with_protocol_version: u32 = PROTOCOL_VERSION, NextHandshakes;
        /// The services we claim. Default 0. Claim [`SERVICE_NETWORK`](crate::protocol::SERVICE_NETWORK) only if the
        /// handler answers `getheaders` and `getdata`. A node that is still syncing requests headers from one peer
        /// that claims this service, and waits for its reply. With 0 an SV Node omits our address from its `addr`
        /// messages. It may reject us with `reject(version, 0x40)` if it dials us because another peer claimed that
        /// we serve the chain.
        Services services with_services: u64 = 0, NextHandshakes;
        /// The user agent we claim, at most 256 bytes. Default `/peerloop:VERSION/`.
        UserAgent user_agent with_user_agent: String =
            concat!("/peerloop:", env!("CARGO_PKG_VERSION"), "/").to_owned(), NextHandshakes,
            (|agent| agent.len() <= limits::MAX_USER_AGENT_BYTES, "must have at most 256 bytes");
        /// The chain height we claim. Default 0.
        StartHeight start_height with_start_height: i32 = 0, NextHandshakes;
        /// Whether peers may announce transactions to us. Default true.
        Relay relay with_relay: bool = true, NextHandshakes;
        /// The rules for acceptable `version` messages.
        VersionRules version_rules with_version_rules: VersionRules = VersionRules::default(), part;
        /// Maximum number of connections, both directions together. Each costs at most
        /// [`MAX_ROW_BYTES`](limits::MAX_ROW_BYTES), its peer's boxed version, and 16 bytes in the timer wheel. 1 to
        /// 16,777,216; default 100,000.
        MaxLinks max_links with_max_links: usize = 100_000, NewConnections,
            (|links| (1..=1 << 24).contains(links), "must be 1 to 16,777,216");
        /// Maximum number of accepted connections. Further connections complete their handshake, receive a `reject`
        /// and are closed. Once 64 of these are open, others are closed at once. Default: no limit except
        /// [`Config::max_links`].
        MaxInbound max_inbound with_max_inbound: usize = usize::MAX, NewConnections;
        /// Whether a peer may have several TCP streams. Default [`Multistreams::Accept`]. With
        /// [`Multistreams::Open`], a peer that we dial uses up to two descriptors and two rows.
        Multistreams multistreams with_multistreams: Multistreams = Multistreams::default(), NextHandshakes;
        /// Maximum time to establish a TCP connection. Above zero; default 5 s.
        ConnectTimeout connect_timeout with_connect_timeout: Duration = limits::CONNECT_TIMEOUT, Now, LONGER_THAN_ZERO;
        /// Maximum time for a handshake. Above zero; default 10 s.
        HandshakeTimeout handshake_timeout with_handshake_timeout: Duration =
            limits::HANDSHAKE_TIMEOUT, Now, LONGER_THAN_ZERO;
        /// Pause between two pings to a peer. The first is sent one interval after the handshake. Default 120 s; zero
        /// disables these pings.
        PingInterval ping_interval with_ping_interval: Duration = limits::PING_INTERVAL, Now;
        /// Whether the loop answers the peers' pings. Default true. If false, a `ping` is passed to
        /// [`Handler::on_header`](crate::Handler::on_header) and
        /// [`Handler::on_message`](crate::Handler::on_message) like every other message, and the handler answers it
        /// with [`Ctx::pong`](crate::Ctx::pong), at any time or never. Many nodes close a peer that does not answer.
        AnswerPings answer_pings with_answer_pings: bool = true, fixed;
        /// Maximum time for the pong to one of our pings. Above zero; default 30 s.
        PongTimeout pong_timeout with_pong_timeout: Duration = limits::PONG_TIMEOUT, Now, LONGER_THAN_ZERO;
        /// Largest payload of `block`, `cmpctblock`, `blocktxn` and `hdrsen`, in bytes. Above 1,000,000; default
        /// 2^63 - 1.
        MaxBlockBytes max_block_bytes with_max_block_bytes: u64 = limits::MAX_BLOCK_PAYLOAD_BYTES, NextMessages,
            (|bytes| *bytes > 1_000_000, "must be above 1,000,000"),
            (|bytes| *bytes <= limits::MAX_BLOCK_PAYLOAD_BYTES, "must be at most 2^63 - 1");
        /// Largest payload of each message without a limit of its own; a transaction's own limit is 1 GB. Our
        /// `protoconf` announces this field. 1 MiB to 1 GB; default 2 MiB. When this field is lowered, the loop
        /// announces the new limit and still accepts payloads up to the limit announced before.
        MaxMessageBytes max_message_bytes with_max_message_bytes: u64 = limits::MAX_PAYLOAD_BYTES, NextHandshakes,
            (
                |bytes| (limits::MAX_LEGACY_PAYLOAD_BYTES..=1_000_000_000).contains(bytes),
                "must be 1,048,576 to 1,000,000,000, as the protocol requires of a protoconf",
            );
        /// Largest payload that is buffered for a handler. A larger one is discarded and counted, unless the handler
        /// receives it in chunks. 2,048 to [`Config::max_buffered_total_bytes`]; default 2 MiB.
        MaxBufferedMessageBytes max_buffered_message_bytes with_max_buffered_message_bytes: u64 =
            limits::MAX_BUFFERED_MESSAGE_BYTES, NextMessages,
            (|bytes| is_enough_for_a_handshake(*bytes), ENOUGH_FOR_A_HANDSHAKE);
        /// Commands with their own limit instead of [`Config::max_buffered_message_bytes`]. The limits may be smaller
        /// or larger, in the same range. At most 64, each once, in any order; default none.
        MaxBufferedCommandBytes max_buffered_command_bytes with_max_buffered_command_bytes: Vec<(CommandName, u64)> =
            Vec::new(), NextMessages,
            (|list| list.len() <= limits::MAX_BUFFERED_COMMANDS, "must have at most 64 entries"),
            (|list| is_each_once(list.iter().map(|(command, _)| command)), "must have each command once"),
            (
                |list| list.iter().all(|(command, _)| command.is_well_formed()),
                "must have commands of printable ASCII, because others are not delivered",
            ),
            (|list| list.iter().all(|(_, bytes)| is_enough_for_a_handshake(*bytes)), ENOUGH_FOR_A_HANDSHAKE);
        /// Maximum number of payload bytes that are buffered at any moment, for all peers together. Payloads of up to
        /// 4 KiB are not counted. Default 256 MiB.
        MaxBufferedTotalBytes max_buffered_total_bytes with_max_buffered_total_bytes: u64 =
            limits::MAX_BUFFERED_TOTAL_BYTES, Now;
        /// Minimum rate of an arriving payload, in bytes per second over 60 s. A slower peer is closed. At this rate
        /// or above, a payload may last for any length of time. 0 to 1,000,000,000; default 1,024. With 0 a payload is
        /// too slow only when none of it has arrived for 60 s, so a peer that sends single bytes can occupy the buffer
        /// for ever. A header must always arrive within [`HEADER_TIMEOUT`](limits::HEADER_TIMEOUT), 20 s.
        MinBodyBytesPerSecond min_body_bytes_per_second with_min_body_bytes_per_second: u64 =
            limits::MIN_BODY_BYTES_PER_SECOND, Now,
            (|rate| *rate <= 1_000_000_000, "must be 0 to 1,000,000,000");
        /// The peer manager, which finds, keeps and rejects peers. Default none: the loop connects only on request,
        /// and its only caps are [`Config::max_links`] and [`Config::max_inbound`].
        Manager manager with_manager: Option<ManagerConfig> = None, optional_part;
        /// Whether the loop polls through the last millisecond before an exact wake-up. Default true. If false, the
        /// loop uses less CPU but wakes up to a millisecond late, and the load generator's report shows this delay as
        /// the generator's own lag.
        Spin spin with_spin: bool = true, Now;
        /// Whether each listener shares its address with the listeners of other loops and processes that also set
        /// `SO_REUSEPORT`. Linux spreads new connections over them; other systems may not. Default false.
        ReusePort reuse_port with_reuse_port: bool = false, fixed;
        /// Whether the loop measures the [cost of each peer](crate::stats::PeerCost). The measurement costs one more
        /// clock reading for each link that a turn reads or writes, and
        /// [`PEER_COST_BYTES`](limits::PEER_COST_BYTES) of memory for each link. Default false.
        MeasurePeers measure_peers with_measure_peers: bool = false, Now;
        /// The seed of all randomness. Default none: the operating system provides it.
        Seed seed with_seed: Option<u64> = None, fixed;
    }

    /// The rules for acceptable `version` messages.
    ///
    /// User agents are compared without regard to case. A pattern with `*` must match the whole agent, and each `*`
    /// matches any text. A pattern without `*` may match anywhere in the agent. An empty pattern matches no agent.
    /// The lists are checked in the order of the fields, so an agent of Bitcoin SV is accepted even if it names
    /// another chain too. An agent in no list is accepted, because no list of good nodes is ever complete.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct VersionRules, pub(super) defaults(_network) {
        /// Minimum protocol version. Default [`MIN_PROTOCOL_VERSION`], 31800.
        MinProtocolVersion min_protocol_version with_min_protocol_version: u32 = MIN_PROTOCOL_VERSION, NextHandshakes;
        /// Agents that are always rejected. Default none.
        BannedAgents banned_agents with_banned_agents: Vec<String> = Vec::new(), NextHandshakes;
        /// Agents of Bitcoin SV nodes. Default Bitcoin SV, BitcoinSV, bsv/, /bsv, Teranode and peerloop.
        BitcoinSvAgents bitcoin_sv_agents with_bitcoin_sv_agents: Vec<String> =
            owned(&["Bitcoin SV", "BitcoinSV", "bsv/", "/bsv", "Teranode", "peerloop"]), NextHandshakes;
        /// Agents of other blockchains' nodes. Default satoshi, Bitcoin Core, btc, abc, cash and bch.
        OtherChainAgents other_chain_agents with_other_chain_agents: Vec<String> =
            owned(&["satoshi", "Bitcoin Core", "btc", "abc", "cash", "bch"]), NextHandshakes;
    }

    /// The configuration of the peer manager.
    #[derive(Clone, Debug, PartialEq)]
    struct ManagerConfig, pub new(network) {
        /// The peers that the manager dials. Default [`DialMode::Normal`].
        Mode mode with_mode: DialMode = DialMode::Normal, NextDials,
            (
                |mode| mode.is_dialable(),
                "must list fixed peers with a specific address (not 0.0.0.0 or ::) and a nonzero port",
            );
        /// Fixed peers that are known by name, in the form `host`, `host:port` or `[ipv6]:port`. Each is dialled at
        /// one of its addresses, in addition to the addresses of [`DialMode::Fixed`]. The default port is
        /// [`ManagerConfig::default_port`]. When an address fails, the next one is tried; after the last, the name is
        /// resolved again. At most 64; default none; ignored in [`DialMode::Normal`].
        FixedNames fixed_names with_fixed_names: Vec<String> = Vec::new(), NextDials,
            (|names| names.len() <= limits::MAX_FIXED_NAMES, AT_MOST_64_NAMES),
            ARE_NAMES;
        /// Number of peers below which the manager dials. 1 to [`ManagerConfig::max_peers`]; default 8; ignored in
        /// [`DialMode::Fixed`].
        TargetPeers target_peers with_target_peers: usize = limits::TARGET_PEERS, NextDials;
        /// Maximum number of peers, both directions together, including those being dialled. Further accepted
        /// connections are treated like those beyond [`Config::max_inbound`]. 1 to
        /// [`Config::max_links`](crate::Config::max_links); default 20.
        MaxPeers max_peers with_max_peers: usize = limits::MAX_PEERS, NewConnections;
        /// Addresses on which to accept connections. An address that cannot be bound is retried. At most 64; default
        /// none.
        Listen listen with_listen: Vec<SocketAddr> = Vec::new(), Listeners,
            (|list| list.len() <= limits::MAX_LISTENERS, "must have at most 64 addresses"),
            (|list| is_each_once(list.iter()), "must have each address once");
        /// Names whose addresses are peers. In [`DialMode::Normal`] they are queried at the start and then every hour,
        /// or every minute while peers are wanted and there is no accessible address to dial. At most 64; default the
        /// network's own.
        DnsSeeds dns_seeds with_dns_seeds: Vec<String> =
            network.dns_seeds().iter().map(|&seed| seed.to_owned()).collect(), NextDials,
            (|names| names.len() <= limits::MAX_DNS_SEEDS, AT_MOST_64_NAMES),
            ARE_NAMES;
        /// The port to use for a name in which no port is given. 1 to 65,535; default the network's own.
        DefaultPort default_port with_default_port: u16 = network.default_port(), NextDials,
            (|port| *port != 0, "must be 1 to 65,535");
        /// Maximum number of immediate restarts of a lost outbound connection per [`ManagerConfig::restart_window`].
        /// Default 3; zero disables restarts.
        MaxRestarts max_restarts with_max_restarts: u32 = limits::MAX_RESTARTS, NextDials;
        /// The window in which restarts are counted. Above zero; default an hour.
        RestartWindow restart_window with_restart_window: Duration =
            limits::RESTART_WINDOW, NextDials, LONGER_THAN_ZERO;
        /// Pause after an address's first failed dial. Above zero; default 5 s.
        InitialBackoff initial_backoff with_initial_backoff: Duration =
            limits::INITIAL_BACKOFF, NextDials, LONGER_THAN_ZERO;
        /// Factor by which each further pause grows. Above 1, at most 100; default 2.
        BackoffMultiplier backoff_multiplier with_backoff_multiplier: f64 = limits::BACKOFF_MULTIPLIER, NextDials,
            (|factor| *factor > 1.0 && *factor <= 100.0, "must be above 1 and at most 100");
        /// Maximum pause after a failed dial of an address, before a random 0 to 25 % is added to the pause. Not below
        /// [`ManagerConfig::initial_backoff`]; default 10 min.
        MaxBackoff max_backoff with_max_backoff: Duration = limits::MAX_BACKOFF, NextDials;
        /// Number of failures since the last success after which an address in the book counts as inaccessible. 1 to
        /// 1,000; default 10.
        MaxRetries max_retries with_max_retries: u32 = limits::MAX_RETRIES, NextDials,
            (|retries| (1..=1_000).contains(retries), "must be 1 to 1,000");
        /// Maximum number of peers per host, an IPv4 address or a /64 of IPv6, both directions together. It does not
        /// limit the dials of a fixed list. Above zero; default 8.
        MaxPerHost max_per_host with_max_per_host: usize = limits::MAX_PER_HOST, NewConnections,
            (|peers| *peers > 0, "must be above zero");
        /// Maximum number of peers per [range](crate::address::NetGroup), in percent of [`ManagerConfig::max_peers`]
        /// but at least [`ManagerConfig::max_per_host`]. 1 to 100; default 100, because all loopback and private
        /// addresses are one range.
        MaxPerGroupPercent max_per_group_percent with_max_per_group_percent: u32 = 100, NewConnections,
            (|percent| (1..=100).contains(percent), "must be 1 to 100");
        /// Maximum number of connections accepted per host per second, with bursts of up to twice as many. Above zero;
        /// default 10.
        AcceptsPerHostPerSecond accepts_per_host_per_second with_accepts_per_host_per_second: u32 =
            limits::ACCEPTS_PER_HOST_PER_SECOND, NewConnections,
            (|rate| *rate > 0, "must be above zero");
        /// Whether an accepted peer is closed to make room for a new one if no slot is free. Default false.
        EvictInbound evict_inbound with_evict_inbound: bool = false, NewConnections;
        /// Misbehavior score at which a peer is closed and its host banned. 1 to 1,000,000; default 100.
        BanScore ban_score with_ban_score: u32 = limits::BAN_SCORE, NextBans,
            (|score| (1..=1_000_000).contains(score), "must be 1 to 1,000,000");
        /// Duration of a ban for misbehavior. Above zero; default 24 h.
        BanDuration ban_duration with_ban_duration: Duration = limits::BAN_DURATION, NextBans, LONGER_THAN_ZERO;
        /// Networks whose hosts are exempt from the caps per host and per range, from the limit on accepts per second,
        /// and from scores and bans. Their peers are never evicted. [`ManagerConfig::max_peers`] applies to them too.
        /// Each network is an address and its prefix length in bits. At most 1,024; default none.
        Trusted trusted with_trusted: Vec<(IpAddr, u8)> = Vec::new(), Now,
            (|list| list.len() <= limits::MAX_TRUSTED, "must have at most 1,024 networks"),
            (|list| list.iter().all(is_network), "must have prefixes of at most 32 bits (IPv4) or 128 bits (IPv6)");
        /// Whether the manager requests addresses from peers, adds the received addresses to the book, and answers
        /// `getaddr`. The handler still receives `addr` and `getaddr`. If the handler answers them itself, set this
        /// to false. Default true; ignored in [`DialMode::Fixed`]. Costs 7 MB with a full book, and 50 bytes per
        /// peer.
        LearnAddresses learn_addresses with_learn_addresses: bool = true, Now;
    }
}

impl Field {
    /// Lists the names of `fields`, separated by commas.
    pub(crate) fn names(fields: &[Self]) -> String {
        fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
