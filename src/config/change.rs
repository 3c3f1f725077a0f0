//! What a new configuration would change, field by field, and from when on.
//!
//! [`Config::changes_to`] validates the new configuration, compares every field and says of each change where it is
//! felt. It changes nothing itself: a loop takes a new configuration by
//! [`Handle::update_config`](crate::Handle::update_config), which answers with this list. A field that cannot change
//! while a loop runs is refused, and all such fields are named at once.

use super::{Config, ConfigError, DialMode, ManagerConfig, VersionRules};
use std::fmt;

/// Elements of a list that its text shows: the whole list may have 100,000.
const LISTED_MAX: usize = 8;

/// One field that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The field, by its name alone: no two of [`Config`] and what it consists of have the same.
    pub field: &'static str,
    /// Its value before; of a list the first eight elements.
    pub old: String,
    /// Its value after; of a list the first eight elements.
    pub new: String,
    /// Where the new value is felt.
    pub effect: Effect,
}

/// Where a changed field is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// At once, by everything there is; deadlines that have begun get the new time.
    Now,
    /// By connections that are accepted or asked for from here on; nobody who is connected is closed.
    NewConnections,
    /// By handshakes that go on from here: what was said in one stays said, what was judged stays judged.
    NextHandshakes,
    /// By messages whose header comes from here on.
    NextMessages,
    /// By the manager's next dials and look-ups of names; nobody who is connected is closed.
    NextDials,
    /// By misbehaviour that is counted and bans that begin from here on.
    NextBans,
    /// By the listeners: those that are no longer listed are closed, new ones are opened, connections stay.
    Listeners,
}

/// A configuration that a running loop cannot take. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError {
    /// It is not valid.
    Invalid(ConfigError),
    /// Fields differ that are fixed for the life of a loop.
    Fixed {
        /// All of them.
        fields: Vec<&'static str>,
    },
}

impl Config {
    /// Lists what would change if a loop with this configuration took `new`; nothing if they are equal.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Invalid`] when `new` is not valid, [`UpdateError::Fixed`] when a field differs that no running
    /// loop can change: `network`, `magic`, `seed`, and whether there is a `manager`.
    pub fn changes_to(&self, new: &Self) -> Result<Vec<ConfigChange>, UpdateError> {
        new.validate().map_err(UpdateError::Invalid)?;
        let mut changes = Changes::default();
        changes.of_config(self, new);
        match changes.fixed.is_empty() {
            true => Ok(changes.found),
            false => Err(UpdateError::Fixed { fields: changes.fixed }),
        }
    }
}

/// The differences found so far.
#[derive(Default)]
struct Changes {
    found: Vec<ConfigChange>,
    fixed: Vec<&'static str>,
}

impl Changes {
    // Every field is bound by its name and none is left out, so that one that is new does not compile until it is here.

    fn of_config(&mut self, old: &Config, new: &Config) {
        use Effect::{NewConnections, NextHandshakes, NextMessages, Now};
        let Config {
            network,
            magic,
            protocol_version,
            services,
            user_agent,
            start_height,
            relay,
            version_rules,
            max_links,
            max_inbound,
            connect_timeout,
            handshake_timeout,
            ping_interval,
            pong_timeout,
            block_max_bytes,
            message_max_bytes,
            buffered_message_max_bytes,
            buffered_command_max_bytes,
            buffered_total_max_bytes,
            body_min_bytes_per_second,
            manager,
            spin,
            measures_peers,
            seed,
        } = old;
        self.fixed("network", network == &new.network);
        self.fixed("magic", magic == &new.magic);
        self.value("protocol_version", NextHandshakes, protocol_version, &new.protocol_version);
        self.value("services", NextHandshakes, services, &new.services);
        self.value("user_agent", NextHandshakes, user_agent, &new.user_agent);
        self.value("start_height", NextHandshakes, start_height, &new.start_height);
        self.value("relay", NextHandshakes, relay, &new.relay);
        self.of_version_rules(version_rules, &new.version_rules);
        self.value("max_links", NewConnections, max_links, &new.max_links);
        self.change("max_inbound", NewConnections, max_inbound, &new.max_inbound, limit_text);
        self.value("connect_timeout", Now, connect_timeout, &new.connect_timeout);
        self.value("handshake_timeout", Now, handshake_timeout, &new.handshake_timeout);
        self.value("ping_interval", Now, ping_interval, &new.ping_interval);
        self.value("pong_timeout", Now, pong_timeout, &new.pong_timeout);
        self.value("block_max_bytes", NextMessages, block_max_bytes, &new.block_max_bytes);
        self.value("message_max_bytes", NextHandshakes, message_max_bytes, &new.message_max_bytes);
        let field = "buffered_message_max_bytes";
        self.value(field, NextMessages, buffered_message_max_bytes, &new.buffered_message_max_bytes);
        let field = "buffered_command_max_bytes";
        self.list(field, NextMessages, buffered_command_max_bytes, &new.buffered_command_max_bytes);
        self.value("buffered_total_max_bytes", Now, buffered_total_max_bytes, &new.buffered_total_max_bytes);
        self.value("body_min_bytes_per_second", Now, body_min_bytes_per_second, &new.body_min_bytes_per_second);
        match (manager, &new.manager) {
            (Some(old), Some(new)) => self.of_manager(old, new),
            (old, new) => self.fixed("manager", old.is_some() == new.is_some()),
        }
        self.value("spin", Now, spin, &new.spin);
        self.value("measures_peers", Now, measures_peers, &new.measures_peers);
        self.fixed("seed", seed == &new.seed);
    }

    fn of_version_rules(&mut self, old: &VersionRules, new: &VersionRules) {
        use Effect::NextHandshakes;
        let VersionRules { protocol_version_min, banned_agents, bitcoin_sv_agents, other_chain_agents } = old;
        self.value("protocol_version_min", NextHandshakes, protocol_version_min, &new.protocol_version_min);
        self.list("banned_agents", NextHandshakes, banned_agents, &new.banned_agents);
        self.list("bitcoin_sv_agents", NextHandshakes, bitcoin_sv_agents, &new.bitcoin_sv_agents);
        self.list("other_chain_agents", NextHandshakes, other_chain_agents, &new.other_chain_agents);
    }

    fn of_manager(&mut self, old: &ManagerConfig, new: &ManagerConfig) {
        use Effect::{Listeners, NewConnections, NextBans, NextDials, Now};
        let ManagerConfig {
            mode,
            fixed_names,
            target_peers,
            max_peers,
            listen,
            dns_seeds,
            default_port,
            max_restarts,
            restart_window,
            initial_backoff,
            backoff_multiplier,
            backoff_max,
            max_retries,
            per_host_max,
            per_group_max_percent,
            accepts_per_host_per_second,
            evicts_inbound,
            ban_score,
            ban_duration,
            trusted,
            learns_addresses,
        } = old;
        self.change("mode", NextDials, mode, &new.mode, mode_text);
        self.value("target_peers", NextDials, target_peers, &new.target_peers);
        self.value("max_peers", NewConnections, max_peers, &new.max_peers);
        self.list("listen", Listeners, listen, &new.listen);
        self.list("fixed_names", NextDials, fixed_names, &new.fixed_names);
        self.list("dns_seeds", NextDials, dns_seeds, &new.dns_seeds);
        self.value("default_port", NextDials, default_port, &new.default_port);
        self.value("max_restarts", NextDials, max_restarts, &new.max_restarts);
        self.value("restart_window", NextDials, restart_window, &new.restart_window);
        self.value("initial_backoff", NextDials, initial_backoff, &new.initial_backoff);
        self.value("backoff_multiplier", NextDials, backoff_multiplier, &new.backoff_multiplier);
        self.value("backoff_max", NextDials, backoff_max, &new.backoff_max);
        self.value("max_retries", NextDials, max_retries, &new.max_retries);
        self.value("per_host_max", NewConnections, per_host_max, &new.per_host_max);
        self.value("per_group_max_percent", NewConnections, per_group_max_percent, &new.per_group_max_percent);
        let field = "accepts_per_host_per_second";
        self.value(field, NewConnections, accepts_per_host_per_second, &new.accepts_per_host_per_second);
        self.value("evicts_inbound", NewConnections, evicts_inbound, &new.evicts_inbound);
        self.value("ban_score", NextBans, ban_score, &new.ban_score);
        self.value("ban_duration", NextBans, ban_duration, &new.ban_duration);
        self.list("trusted", Now, trusted, &new.trusted);
        self.value("learns_addresses", Now, learns_addresses, &new.learns_addresses);
    }

    fn fixed(&mut self, field: &'static str, is_equal: bool) {
        if !is_equal {
            self.fixed.push(field);
        }
    }

    fn value<T: PartialEq + fmt::Debug>(&mut self, field: &'static str, effect: Effect, old: &T, new: &T) {
        self.change(field, effect, old, new, |value| format!("{value:?}"));
    }

    fn list<T: PartialEq + fmt::Debug>(&mut self, field: &'static str, effect: Effect, old: &Vec<T>, new: &Vec<T>) {
        self.change(field, effect, old, new, |list| list_text(list));
    }

    fn change<T: PartialEq>(
        &mut self,
        field: &'static str,
        effect: Effect,
        old: &T,
        new: &T,
        text: impl Fn(&T) -> String,
    ) {
        if old != new {
            self.found.push(ConfigChange { field, old: text(old), new: text(new), effect });
        }
    }
}

fn limit_text(limit: &usize) -> String {
    match *limit {
        usize::MAX => "no limit".to_owned(),
        limit => limit.to_string(),
    }
}

fn mode_text(mode: &DialMode) -> String {
    match mode {
        DialMode::Normal => "normal".to_owned(),
        DialMode::Fixed(peers) => format!("fixed {}", list_text(peers)),
    }
}

fn list_text<T: fmt::Debug>(list: &[T]) -> String {
    let shown: Vec<String> = list.iter().take(LISTED_MAX).map(|element| format!("{element:?}")).collect();
    match list.len().saturating_sub(LISTED_MAX) {
        0 => format!("[{}]", shown.join(", ")),
        more => format!("[{}, and {more} more]", shown.join(", ")),
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}, {}", self.field, self.old, self.new, self.effect)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "at once",
            Self::NewConnections => "for new connections",
            Self::NextHandshakes => "for the next handshakes",
            Self::NextMessages => "for the next messages",
            Self::NextDials => "for the next dials",
            Self::NextBans => "for the next bans",
            Self::Listeners => "for the listeners",
        })
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Fixed { fields } => {
                let fields = fields.join(", ");
                write!(f, "configuration: a running loop cannot change {fields}; leave as it is, or start a new loop")
            }
        }
    }
}

impl std::error::Error for UpdateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommandName, Network};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// A field, where its change is felt, and a change of it alone.
    type Case = (&'static str, Effect, fn(&mut Config));

    const CASES: [Case; 23] = [
        ("protocol_version", Effect::NextHandshakes, |config| config.protocol_version = 70_015),
        ("services", Effect::NextHandshakes, |config| config.services = 1),
        ("user_agent", Effect::NextHandshakes, |config| config.user_agent = "/else:1/".to_owned()),
        ("start_height", Effect::NextHandshakes, |config| config.start_height = 7),
        ("relay", Effect::NextHandshakes, |config| config.relay = false),
        ("protocol_version_min", Effect::NextHandshakes, |config| config.version_rules.protocol_version_min += 1),
        ("banned_agents", Effect::NextHandshakes, |config| config.version_rules.banned_agents.push("x".to_owned())),
        ("bitcoin_sv_agents", Effect::NextHandshakes, |config| config.version_rules.bitcoin_sv_agents.clear()),
        ("other_chain_agents", Effect::NextHandshakes, |config| config.version_rules.other_chain_agents.clear()),
        ("max_links", Effect::NewConnections, |config| config.max_links -= 1),
        ("max_inbound", Effect::NewConnections, |config| config.max_inbound = 7),
        ("connect_timeout", Effect::Now, |config| config.connect_timeout += Duration::from_nanos(1)),
        ("handshake_timeout", Effect::Now, |config| config.handshake_timeout += Duration::from_nanos(1)),
        ("ping_interval", Effect::Now, |config| config.ping_interval = Duration::ZERO),
        ("pong_timeout", Effect::Now, |config| config.pong_timeout += Duration::from_nanos(1)),
        ("block_max_bytes", Effect::NextMessages, |config| config.block_max_bytes -= 1),
        ("message_max_bytes", Effect::NextHandshakes, |config| config.message_max_bytes += 1),
        ("buffered_message_max_bytes", Effect::NextMessages, |config| config.buffered_message_max_bytes -= 1),
        ("buffered_command_max_bytes", Effect::NextMessages, |config| {
            config.buffered_command_max_bytes.push((CommandName::TX, 4_096));
        }),
        ("buffered_total_max_bytes", Effect::Now, |config| config.buffered_total_max_bytes += 1),
        ("body_min_bytes_per_second", Effect::Now, |config| config.body_min_bytes_per_second = 0),
        ("spin", Effect::Now, |config| config.spin = false),
        ("measures_peers", Effect::Now, |config| config.measures_peers = true),
    ];

    /// A field of the manager's part, where its change is felt, and a change of it alone.
    type ManagerCase = (&'static str, Effect, fn(&mut ManagerConfig));

    const MANAGER_CASES: [ManagerCase; 21] = [
        ("mode", Effect::NextDials, |manager| manager.mode = DialMode::Fixed(vec![([192, 0, 2, 1], 1).into()])),
        ("fixed_names", Effect::NextDials, |manager| manager.fixed_names.push("node.example".to_owned())),
        ("target_peers", Effect::NextDials, |manager| manager.target_peers += 1),
        ("max_peers", Effect::NewConnections, |manager| manager.max_peers += 1),
        ("listen", Effect::Listeners, |manager| manager.listen.push(([127, 0, 0, 1], 0).into())),
        ("dns_seeds", Effect::NextDials, |manager| manager.dns_seeds.push("seed.example".to_owned())),
        ("default_port", Effect::NextDials, |manager| manager.default_port += 1),
        ("max_restarts", Effect::NextDials, |manager| manager.max_restarts += 1),
        ("restart_window", Effect::NextDials, |manager| manager.restart_window *= 2),
        ("initial_backoff", Effect::NextDials, |manager| manager.initial_backoff *= 2),
        ("backoff_multiplier", Effect::NextDials, |manager| manager.backoff_multiplier *= 1.5),
        ("backoff_max", Effect::NextDials, |manager| manager.backoff_max *= 2),
        ("max_retries", Effect::NextDials, |manager| manager.max_retries += 1),
        ("per_host_max", Effect::NewConnections, |manager| manager.per_host_max += 1),
        ("per_group_max_percent", Effect::NewConnections, |manager| manager.per_group_max_percent -= 1),
        ("accepts_per_host_per_second", Effect::NewConnections, |manager| manager.accepts_per_host_per_second += 1),
        ("evicts_inbound", Effect::NewConnections, |manager| manager.evicts_inbound = true),
        ("ban_score", Effect::NextBans, |manager| manager.ban_score += 1),
        ("ban_duration", Effect::NextBans, |manager| manager.ban_duration *= 2),
        ("trusted", Effect::Now, |manager| manager.trusted.push(([127, 0, 0, 0].into(), 8))),
        ("learns_addresses", Effect::Now, |manager| manager.learns_addresses = false),
    ];

    fn config() -> Config {
        Config::managed(Network::Regtest)
    }

    fn manager_of(config: &mut Config) -> &mut ManagerConfig {
        config.manager.as_mut().expect("it is managed")
    }

    /// The names of all fields, as the compiler knows them.
    fn field_names() -> BTreeSet<String> {
        let text = format!("{:#?}", config());
        let names = text.lines().filter_map(|line| line.trim_start().split_once(": "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    #[track_caller]
    fn assert_only_change(new: &Config, field: &str, effect: Effect) {
        let changes = config().changes_to(new).expect("it may change");
        let [change] = &changes[..] else { panic!("{field}: {changes:?}") };
        assert_eq!((change.field, change.effect), (field, effect));
        assert_ne!(change.old, change.new);
        let back = new.changes_to(&config()).expect("it may change back");
        assert_eq!((&back[0].old, &back[0].new), (&change.new, &change.old));
    }

    #[test]
    fn seed_e45_each_field_that_changes_is_reported_alone_with_its_effect() {
        for (field, effect, change) in CASES {
            let mut new = config();
            change(&mut new);
            assert_only_change(&new, field, effect);
        }
        for (field, effect, change) in MANAGER_CASES {
            let mut new = config();
            change(manager_of(&mut new));
            assert_only_change(&new, field, effect);
        }
        assert_eq!(config().changes_to(&config()), Ok(Vec::new()));
    }

    #[test]
    fn no_field_is_left_out_and_no_two_have_one_name() {
        let listed = CASES.iter().map(|(field, ..)| *field);
        let of_manager = MANAGER_CASES.iter().map(|(field, ..)| *field);
        let fixed_and_nested = ["network", "magic", "seed", "version_rules", "manager"];
        let mut names = BTreeSet::new();
        for name in listed.chain(of_manager).chain(fixed_and_nested) {
            assert!(names.insert(name.to_owned()), "{name} is there twice");
        }
        assert_eq!(field_names(), names);
    }

    #[test]
    fn what_is_fixed_is_named_all_at_once() {
        let new = Config {
            network: Network::Mainnet,
            magic: Some([1; 4]),
            seed: Some(1),
            manager: None,
            ping_interval: Duration::ZERO,
            ..config()
        };
        let refused = config().changes_to(&new).unwrap_err();
        assert_eq!(refused, UpdateError::Fixed { fields: vec!["network", "magic", "manager", "seed"] });
        assert!(refused.to_string().contains("network, magic, manager, seed"), "{refused}");
        let unmanaged = Config { manager: None, ..config() };
        assert_eq!(unmanaged.changes_to(&config()), Err(UpdateError::Fixed { fields: vec!["manager"] }));
    }

    #[test]
    fn what_is_not_valid_is_refused_before_anything_is_compared() {
        let new = Config { pong_timeout: Duration::ZERO, network: Network::Mainnet, ..config() };
        let refused = config().changes_to(&new).unwrap_err();
        assert!(matches!(refused, UpdateError::Invalid(ConfigError { field: "pong_timeout", .. })), "{refused:?}");
        let mut new = config();
        manager_of(&mut new).target_peers = 21;
        let refused = config().changes_to(&new).unwrap_err();
        assert!(matches!(refused, UpdateError::Invalid(ConfigError { field: "target_peers", .. })), "{refused:?}");
    }

    #[test]
    fn the_text_of_a_long_list_is_short() {
        let mut new = config();
        let peers = (1..=100_000_u32).map(|at| (at.to_be_bytes(), 8_333).into()).collect();
        manager_of(&mut new).mode = DialMode::Fixed(peers);
        let changes = config().changes_to(&new).unwrap();
        assert_eq!(changes[0].old, "normal");
        assert!(changes[0].new.starts_with("fixed [0.0.0.1:8333, 0.0.0.2:8333, "), "{}", changes[0].new);
        assert!(changes[0].new.ends_with(", and 99992 more]") && changes[0].new.len() < 200, "{}", changes[0].new);
    }

    #[test]
    fn a_change_reads_as_a_sentence() {
        let new = Config { ping_interval: Duration::from_secs(30), ..config() };
        let changes = config().changes_to(&new).unwrap();
        assert_eq!(changes[0].to_string(), "ping_interval from 120s to 30s, at once");
    }
}
