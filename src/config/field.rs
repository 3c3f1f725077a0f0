//! The names of the configuration's fields, as values that code can compare.

use std::fmt;

/// Declares [`Field`]: one variant for each field of the structs that the configuration consists of.
macro_rules! fields {
    ($($owner:ident { $($variant:ident: $field:ident,)+ })+) => {
        /// A field of [`Config`](crate::Config), [`VersionRules`](crate::config::VersionRules) or
        /// [`ManagerConfig`](crate::config::ManagerConfig). No two of them have the same name.
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
}

fields! {
    Config {
        Network: network,
        Magic: magic,
        ProtocolVersion: protocol_version,
        Services: services,
        UserAgent: user_agent,
        StartHeight: start_height,
        Relay: relay,
        VersionRules: version_rules,
        MaxLinks: max_links,
        MaxInbound: max_inbound,
        ConnectTimeout: connect_timeout,
        HandshakeTimeout: handshake_timeout,
        PingInterval: ping_interval,
        PongTimeout: pong_timeout,
        BlockMaxBytes: block_max_bytes,
        MessageMaxBytes: message_max_bytes,
        BufferedMessageMaxBytes: buffered_message_max_bytes,
        BufferedCommandMaxBytes: buffered_command_max_bytes,
        BufferedTotalMaxBytes: buffered_total_max_bytes,
        BodyMinBytesPerSecond: body_min_bytes_per_second,
        Manager: manager,
        Spin: spin,
        MeasuresPeers: measures_peers,
        Seed: seed,
    }
    VersionRules {
        ProtocolVersionMin: protocol_version_min,
        BannedAgents: banned_agents,
        BitcoinSvAgents: bitcoin_sv_agents,
        OtherChainAgents: other_chain_agents,
    }
    ManagerConfig {
        Mode: mode,
        FixedNames: fixed_names,
        TargetPeers: target_peers,
        MaxPeers: max_peers,
        Listen: listen,
        DnsSeeds: dns_seeds,
        DefaultPort: default_port,
        MaxRestarts: max_restarts,
        RestartWindow: restart_window,
        InitialBackoff: initial_backoff,
        BackoffMultiplier: backoff_multiplier,
        BackoffMax: backoff_max,
        MaxRetries: max_retries,
        PerHostMax: per_host_max,
        PerGroupMaxPercent: per_group_max_percent,
        AcceptsPerHostPerSecond: accepts_per_host_per_second,
        EvictsInbound: evicts_inbound,
        BanScore: ban_score,
        BanDuration: ban_duration,
        Trusted: trusted,
        LearnsAddresses: learns_addresses,
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
