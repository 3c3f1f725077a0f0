//! Tests the sources of values, the error messages, and that printed settings can be read back.

use super::*;
use crate::exit::Exit;
use clap::{Args, FromArgMatches};
use peerloop::config::DialMode;
use peerloop::protocol::CommandName;
use peerloop::relay::TrustMode;
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

fn flags(typed: &[&str]) -> Result<SettingFlags, clap::Error> {
    let command = RelayFlags::augment_args(Command::new("relay"));
    let flags = RelayFlags::from_arg_matches(&command.try_get_matches_from([&["relay"], typed].concat())?)?;
    Ok(flags.settings().clone())
}

fn file(text: &str) -> SettingsFile {
    SettingsFile { path: PathBuf::from("node.toml"), text: text.to_owned() }
}

fn load(typed: &[&str], variables: &[(&str, &str)], text: &str) -> Result<Effective, Failure> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load(&flags(typed).unwrap(), variables, Some(&file(text)))
}

#[track_caller]
fn loaded(typed: &[&str], variables: &[(&str, &str)], text: &str) -> Effective {
    load(typed, variables, text).unwrap_or_else(|failure| panic!("{}", failure.message))
}

/// Returns the one-line error for a settings file with this content.
#[track_caller]
fn refused(text: &str) -> String {
    refusal(load(&[], &[], text))
}

#[track_caller]
fn refusal(outcome: Result<Effective, Failure>) -> String {
    let failure = outcome.expect_err("the settings are invalid");
    assert_eq!(failure.exit, Exit::Usage);
    assert!(!failure.message.contains('\n'), "{}", failure.message);
    failure.message
}

fn managed(effective: &mut Effective) -> &mut peerloop::config::ManagerConfig {
    kind::manager(&mut effective.node.config)
}

#[test]
fn without_settings_the_defaults_apply() {
    let effective = Settings::load(&SettingFlags::default(), [], None).unwrap();
    assert_eq!(effective.node.config, Config::managed(Network::Mainnet));
    assert!(effective.sources.iter().all(|source| *source == Source::Default));
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let text = "ping_interval = '1s'\npong_timeout = '1s'\nconnect_timeout = '1s'\n";
    let variables = [("PEERLOOP_PING_INTERVAL", "2s"), ("PEERLOOP_PONG_TIMEOUT", "2s")];
    let effective = loaded(&["--ping-interval", "3s"], &variables, text);
    let Config { ping_interval, pong_timeout, connect_timeout, handshake_timeout, .. } = effective.node.config;
    let times = [ping_interval, pong_timeout, connect_timeout, handshake_timeout];
    assert_eq!(times, [3, 2, 1, 10].map(Duration::from_secs));
    let sources = ["ping_interval", "pong_timeout", "connect_timeout", "handshake_timeout"]
        .map(|name| effective.source(name).unwrap().to_string());
    assert_eq!(sources, ["flag --ping-interval", "variable PEERLOOP_PONG_TIMEOUT", "node.toml:3", "default"]);
}

#[test]
fn a_network_set_by_a_flag_determines_the_defaults() {
    let mut effective = loaded(&["--network", "regtest"], &[], "target_peers = 3\nnetwork = 'stn'\n");
    assert_eq!(effective.node.config.network, Network::Regtest);
    let manager = managed(&mut effective);
    assert_eq!((manager.default_port, manager.target_peers), (18_444, 3));
    assert_eq!(manager.dns_seeds, Vec::<String>::new());
}

#[test]
fn a_former_name_of_a_setting_is_still_accepted() {
    let now = loaded(&[], &[], "max_backoff = '9m'").node;
    assert_ne!(now, Node::default());
    assert_eq!(loaded(&[], &[], "backoff_max = '9m'").node, now);
    assert_eq!(loaded(&[], &[("PEERLOOP_BACKOFF_MAX", "9m")], "").node, now);
    assert_eq!(loaded(&["--backoff-max", "9m"], &[], "").node, now);
}

#[test]
fn every_setting_can_be_given_in_all_three_ways() {
    let mut example = loaded(&[], &[], EXAMPLE);
    for setting in SETTINGS {
        let shown = setting.kind.show(&mut example.node).expect("the example sets every setting");
        let table = if setting.is_of_relay { "[relay]\n" } else { "" };
        let line = format!("{table}{} = {shown}", setting.name);
        let texts = file(&line).given().unwrap().remove(0).texts;
        let typed: Vec<String> = match texts.is_empty() {
            true => vec![format!("{}=", setting.flag())],
            false => texts.iter().map(|text| format!("{}={text}", setting.flag())).collect(),
        };
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let by_file = loaded(&[], &[], &line).node;
        assert_ne!(by_file, Node::default(), "{} changes nothing", setting.name);
        assert_eq!(loaded(&typed, &[], "").node, by_file, "{typed:?}");
        // An empty variable counts as not set, so a comma is the empty list.
        let value = if texts.is_empty() { ",".to_owned() } else { texts.join(",") };
        assert_eq!(loaded(&[], &[(&setting.variable(), &value)], "").node, by_file, "{}", setting.name);
    }
}

/// Every setting, with a value that is not its default.
const EXAMPLE: &str = r#"
network = "regtest"
magic = "0a0b0c0d"
fixed_peers = ["192.0.2.1:8333", "[2001:db8::1]:8333", "node.example", "[fe80::1%eth0]:7"]
target_peers = 7
max_peers = "1k"
listen = ["127.0.0.1:0"]
dns_seeds = ["seed.example"]
default_port = 1_234
learn_addresses = false
trusted = ["10.0.0.0/8", "::1"]
max_restarts = 0
restart_window = "2h"
initial_backoff = "1s 500ms"
backoff_multiplier = 1.5
max_backoff = "1h"
max_retries = 3
max_per_host = 2
max_per_group_percent = 50
accepts_per_host_per_second = 7
evict_inbound = true
ban_score = 50
ban_duration = "7days"
banned_agents = ["/bad \"one\":*"]
bitcoin_sv_agents = ["sv"]
other_chain_agents = []
min_protocol_version = 70_015
protocol_version = 70_015
services = 0x25
user_agent = "/mine:1/"
start_height = -1
multistreams = "open"
relay_flag = false
connect_timeout = "1s"
handshake_timeout = "1s"
ping_interval = "0s"
pong_timeout = "1s"
max_links = 2000
max_inbound = 100
max_block_bytes = "4GiB"
max_message_bytes = 1_048_577
max_buffered_message_bytes = "1MiB"
max_buffered_command_bytes = ["tx=4MiB", "inv=2KiB"]
max_buffered_total_bytes = "64MiB"
min_body_bytes_per_second = 0
reuse_port = true
spin = false
measure_peers = true
book = "/var/lib/peer \"book\".redb"
metrics_addr = "127.0.0.1:9333"
log_level = "debug"

[relay]
upstreams = ["node.example", "[::1]:7"]
trust = "trusted"
tx_pool = "64MiB"
small_blocks = "1MiB"
old_blocks_per_host = "1GiB"
old_blocks_per_day = "10GiB"
compact_blocks = "upstreams"
tether = ["10.1.0.0/16"]
live_upload = "100MiB"
race = true
push = true
accept_on_silence = "5s"
leaf_tx_per_second = 7
find_peers = true
"#;

#[test]
fn the_example_changes_every_setting_from_its_default() {
    let mut effective = loaded(&[], &[], EXAMPLE);
    assert!(effective.sources.iter().all(|source| *source != Source::Default));
    let mut defaults = Node::default();
    for setting in SETTINGS {
        assert_ne!(setting.kind.show(&mut effective.node), setting.kind.show(&mut defaults), "{}", setting.name);
    }
    assert_eq!(effective.node.config.magic, Some([10, 11, 12, 13]));
    assert_eq!(effective.node.config.services, 0x25);
    let sizes = [(CommandName::TX, 4 << 20), (CommandName::INV, 2_048)];
    assert_eq!(effective.node.config.max_buffered_command_bytes, sizes);
    assert_eq!(effective.node.book, Some(PathBuf::from("/var/lib/peer \"book\".redb")));
    let manager = managed(&mut effective);
    assert!(matches!(&manager.mode, DialMode::Fixed(peers) if peers.len() == 2));
    assert_eq!(manager.fixed_names, ["node.example", "[fe80::1%eth0]:7"]);
    assert_eq!(manager.trusted, [([10, 0, 0, 0].into(), 8), ("::1".parse().unwrap(), 128)]);
    assert_eq!(manager.initial_backoff, Duration::from_millis(1_500));
}

#[test]
fn printed_settings_are_a_file_with_the_same_values() {
    for text in ["", EXAMPLE, "network = 'testnet'", "user_agent = \"tab\\there\"\nmax_inbound = 'unlimited'"] {
        let effective = loaded(&[], &[], text);
        let printed = effective.to_toml(true);
        assert_eq!(loaded(&[], &[], &printed).node, effective.node, "{printed}");
    }
    let printed = loaded(&["--max-peers", "30"], &[("PEERLOOP_SPIN", "false")], "\nrelay = false").to_toml(true);
    for line in [
        "max_peers = 30 # flag --max-peers",
        "spin = false # variable PEERLOOP_SPIN",
        "relay_flag = false # node.toml:2",
        "[relay]",
        "trust = \"validated\" # default",
        "# accept_on_silence is not set # default",
        "ping_interval = \"2m\" # default",
        "# magic is not set # default",
        "max_message_bytes = \"2MiB\" # default",
        "services = \"0x0\" # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
}

#[test]
fn printed_defaults_follow_a_changed_network() {
    let printed = loaded(&[], &[], "").to_toml(true);
    for line in ["# default_port = 8333 # default of mainnet", "# dns_seeds = [\"seed.bitcoinsv.io\", "] {
        assert!(printed.lines().any(|printed| printed.starts_with(line)), "{line}: {printed}");
    }
    let edited = printed.replace("network = \"mainnet\"", "network = \"testnet\"");
    assert_eq!(loaded(&[], &[], &edited).node.config, Config::managed(Network::Testnet), "{edited}");
    assert_eq!(loaded(&["--network", "stn"], &[], &printed).node.config, Config::managed(Network::Stn));
    // A given value stays as it was given, even if it is the default.
    let given = loaded(&["--default-port", "8333"], &[], &printed).to_toml(true);
    assert!(given.contains("\ndefault_port = 8333 # flag --default-port\n"), "{given}");
}

#[test]
fn an_unknown_key_is_reported_with_its_line_and_a_suggestion() {
    let message = refused("# A node.\n\nping_intervall = '10s'\n");
    assert_eq!(message, "node.toml:3: there is no setting `ping_intervall`; did you mean `ping_interval`?");
    assert!(refused("ping-interval = '10s'").ends_with("did you mean `ping_interval`?"));
    assert!(refused("colour = 'red'").ends_with("--print-config lists all"));
    assert!(refused("[ping_interval]\nseconds = 1").contains("node.toml:1: ping_interval: has the wrong type table"));
}

#[test]
fn a_value_that_cannot_be_read_is_named_with_its_source() {
    for (text, parts) in [
        ("ping_interval = 10", &["node.toml:1", "ping_interval", "`10` is not a duration", "10s"][..]),
        ("\nmax_peers = 0", &["node.toml:2", "`0` is not a count"]),
        ("spin = 1", &["`1` is neither true nor false"]),
        ("listen = '127.0.0.1:1'", &["listen", "must be a list"]),
        ("listen = ['localhost']", &["`localhost` is not an address with a port"]),
        ("fixed_peers = ['node:1:2']", &["`node:1:2` is not a peer"]),
        ("fixed_peers = ['@file']", &["`@file` is not a peer"]),
        ("user_agent = ['a']", &["has the wrong type array"]),
        ("default_port = 70000", &["`70000` is not a number in range"]),
        ("max_message_bytes = 'unlimited'", &["`unlimited` is not a size"]),
        ("max_block_bytes = '2MB'", &["`2MB` is not a size"]),
        ("trusted = ['10.0.0.0/33']", &["`10.0.0.0/33` is not an address"]),
        ("magic = '+1234567'", &["is not a magic"]),
        ("max_buffered_command_bytes = ['tx']", &["tx=4MiB"]),
        ("max_buffered_command_bytes = ['thirteenchars=1']", &["1 to 12 characters"]),
        ("network = 'bitcoin'", &["unknown network"]),
        ("services = 0xffffffffffffffffff", &["too large"]),
        ("start_height = 1979-05-27", &["has the wrong type datetime"]),
        ("spin = true\nspin = true", &["node.toml:2: duplicate key"]),
        ("spin = ", &["node.toml:1"]),
    ] {
        let message = refused(text);
        for part in parts {
            assert!(message.contains(part), "{text}: {part}: {message}");
        }
    }
    let message = refusal(load(&[], &[("PEERLOOP_PING_INTERVAL", "10")], ""));
    assert!(message.starts_with("variable PEERLOOP_PING_INTERVAL: ping_interval: `10` is not"), "{message}");
    let message = refusal(load(&["--ping-interval", "10s"], &[], "ping_interval = 10"));
    assert!(message.starts_with("node.toml:1: ping_interval: "), "an overridden value was not checked: {message}");
    let message = refusal(load(&["--ping-interval", "10"], &[], ""));
    assert!(message.starts_with("flag --ping-interval: ping_interval: `10` is not"), "{message}");
}

#[test]
fn an_invalid_combination_is_named_with_its_source() {
    let message = refused("\ntarget_peers = 21");
    assert_eq!(message, "node.toml:2: target_peers must be 1 to max_peers; max_peers is 20 (default)");
    let message = refusal(load(&["--max-links", "7"], &[], ""));
    assert_eq!(
        message,
        "max_peers must be 1 to max_links; max_peers is 20 (default); max_links is 7 (flag --max-links)"
    );
    let message = refusal(load(&[], &[("PEERLOOP_MAX_BACKOFF", "1s")], ""));
    assert_eq!(
        message,
        "variable PEERLOOP_MAX_BACKOFF: max_backoff must not be below initial_backoff; \
         initial_backoff is \"5s\" (default)"
    );
    assert_eq!(
        refused("max_buffered_total_bytes = '2048'"),
        "node.toml:1: max_buffered_total_bytes must not be below max_buffered_message_bytes; \
         max_buffered_message_bytes is \"2MiB\" (default)"
    );
    assert_eq!(
        refused("max_buffered_command_bytes = ['tx=1GiB']"),
        "node.toml:1: max_buffered_command_bytes must not be above max_buffered_total_bytes; \
         max_buffered_total_bytes is \"256MiB\" (default)"
    );
    assert!(refused("fixed_peers = ['192.0.2.1:0']").starts_with("node.toml:1: fixed_peers "));
}

#[test]
fn a_variable_is_applied_refused_or_ignored() {
    let effective = loaded(&[], &[("PEERLOOP_REAL_NODE", "/x"), ("PEERLOOP_LONG", "1"), ("PATH", "/y")], "");
    assert_eq!(effective.node.config, Config::managed(Network::Mainnet));
    let message = refusal(load(&[], &[("PEERLOOP_MAXPEERS", "7")], ""));
    assert_eq!(message, "variable PEERLOOP_MAXPEERS: there is no such setting; did you mean PEERLOOP_MAX_PEERS?");
    let mut effective = loaded(&[], &[("PEERLOOP_DNS_SEEDS", "a.example, b.example,")], "");
    assert_eq!(managed(&mut effective).dns_seeds, ["a.example", "b.example"]);
    let mut effective = loaded(&[], &[("PEERLOOP_DNS_SEEDS", ",")], "");
    assert_eq!(managed(&mut effective).dns_seeds, Vec::<String>::new());
    assert_eq!(effective.source("dns_seeds").unwrap().to_string(), "variable PEERLOOP_DNS_SEEDS");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let text = "max_peers = 9";
    for setting in SETTINGS {
        let effective = loaded(&[], &[(&setting.variable(), "")], text);
        assert_eq!(effective.node, loaded(&[], &[], text).node, "{}", setting.name);
        assert!(!effective.sources.iter().any(|source| matches!(source, Source::Variable(_))), "{}", setting.name);
    }
    assert_eq!(
        loaded(&[], &[("PEERLOOP_MAXPEERS", "")], "").node,
        Node::default(),
        "an empty variable changed a setting"
    );
}

#[test]
fn variables_of_a_kubernetes_service_do_not_prevent_a_start() {
    let variables = [
        ("PEERLOOP_PORT", "tcp://10.0.0.1:8333"),
        ("PEERLOOP_SERVICE_HOST", "10.0.0.1"),
        ("PEERLOOP_SERVICE_PORT", "8333"),
        ("PEERLOOP_SERVICE_PORT_P2P", "8333"),
        ("PEERLOOP_PORT_8333_TCP", "tcp://10.0.0.1:8333"),
        ("PEERLOOP_PORT_8333_TCP_PROTO", "tcp"),
        ("PEERLOOP_PORT_8333_TCP_PORT", "8333"),
        ("PEERLOOP_PORT_8333_TCP_ADDR", "10.0.0.1"),
        // Variables of the Kubernetes services peerloop-default, peerloop-defaul and peerloop-listen.
        ("PEERLOOP_DEFAULT_PORT", "tcp://10.0.0.1:8333"),
        ("PEERLOOP_DEFAUL_PORT", "udp://10.0.0.1:8333"),
        ("PEERLOOP_LISTEN_SERVICE_HOST", "10.0.0.1"),
        ("PEERLOOP_LISTEN_SERVICE_PORT", "8333"),
        ("PEERLOOP_LISTEN_PORT_53_UDP", "udp://10.0.0.1:53"),
    ];
    let effective = loaded(&[], &variables, "");
    assert_eq!(effective.node, Node::default());
    let mut effective = loaded(&[], &[("PEERLOOP_DEFAULT_PORT", "9333")], "");
    assert_eq!(managed(&mut effective).default_port, 9_333, "a number was mistaken for a service's variable");
    let message = refusal(load(&[], &[("PEERLOOP_DEFAUL_PORT", "9333")], ""));
    assert!(message.ends_with("did you mean PEERLOOP_DEFAULT_PORT?"), "{message}");
}

#[test]
fn the_network_of_other_commands_is_the_flag_or_else_the_variable() {
    let network = |flag, variables: &[(&str, &str)]| {
        network(flag, variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    };
    let of_variable = [("PEERLOOP_NETWORK", "regtest")];
    assert_eq!(network(None, &[]), Ok(None));
    assert_eq!(network(None, &of_variable), Ok(Some(Network::Regtest)));
    assert_eq!(network(Some(Network::Stn), &of_variable), Ok(Some(Network::Stn)));
    assert_eq!(network(None, &[("PEERLOOP_NETWORK", "")]), Ok(None));
    let refused = network(Some(Network::Stn), &[("PEERLOOP_NETWORK", "bitcoin")]).unwrap_err();
    assert_eq!(
        refused.message,
        "variable PEERLOOP_NETWORK: network: unknown network: use mainnet, testnet, stn or regtest"
    );
}

#[test]
fn a_peer_or_seed_at_a_port_other_than_8333_requires_a_network_or_a_magic() {
    let check = |typed: &[&str], variables: &[(&str, &str)], text: &str| {
        loaded(typed, variables, text).check_network().map_err(|failure| failure.message)
    };
    for (typed, part) in [
        (["--fixed-peers", "127.0.0.1:18444"], "127.0.0.1:18444 has the port of regtest: add --network regtest"),
        (["--fixed-peers", "[::1]:1"], "[::1]:1 has a port that no known network uses: add --network mainnet"),
        (["--dns-seeds", "seed.example:1"], "seed.example:1 has a port that no known network uses"),
    ] {
        let refused = check(&typed, &[], "").unwrap_err();
        assert!(refused.starts_with(part), "{refused}");
        assert_eq!(check(&typed, &[("PEERLOOP_NETWORK", "regtest")], ""), Ok(()));
        assert_eq!(check(&typed, &[], "network = 'mainnet'"), Ok(()));
        assert_eq!(check(&[&typed[..], &["--network", "stn"]].concat(), &[], ""), Ok(()));
        assert_eq!(check(&typed, &[], "magic = '0a0b0c0d'"), Ok(()));
    }
    assert_eq!(check(&["--fixed-peers", "192.0.2.1:8333"], &[], ""), Ok(()));
    assert_eq!(check(&[], &[], ""), Ok(()));
}

#[test]
fn a_limit_may_be_unlimited_or_zero() {
    for (text, limit) in [("unlimited", usize::MAX), ("0", 0), ("2k", 2_000)] {
        assert_eq!(loaded(&["--max-inbound", text], &[], "").node.config.max_inbound, limit);
    }
    assert!(refusal(load(&["--max-inbound=-1"], &[], "")).contains("`-1` is not a count"));
    for (text, limit) in [("unlimited", i64::MAX as u64), ("4GiB", 4 << 30)] {
        let effective = loaded(&["--max-block-bytes", text], &[], "");
        assert_eq!(effective.node.config.max_block_bytes, limit);
        let line = format!("max_block_bytes = \"{text}\" # flag --max-block-bytes\n");
        assert!(effective.to_toml(true).contains(&line), "{}", effective.to_toml(true));
    }
    assert!(refusal(load(&["--max-block-bytes", "endless"], &[], "")).contains("`endless` is not a size"));
}

#[test]
fn flags_accept_lists_switches_and_negative_numbers() {
    let mut effective =
        loaded(&["--listen", "127.0.0.1:1", "--listen", "[::1]:2", "--evict-inbound", "--spin=false"], &[], "");
    assert!(!effective.node.config.spin);
    assert_eq!(loaded(&["--start-height", "-1"], &[], "").node.config.start_height, -1);
    let manager = managed(&mut effective);
    assert_eq!((manager.listen.len(), manager.evict_inbound), (2, true));
    assert!(flags(&["--max-peers", "1", "--max-peers", "2"]).is_err(), "a flag for a single value was accepted twice");
    assert!(flags(&["--max-pers", "1"]).unwrap_err().to_string().contains("--max-peers"));
    SettingFlags::augment_args(Command::new("run")).debug_assert();
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let why = SettingsFile::read(Path::new("/no/such/node.toml")).unwrap_err();
    assert!(why.starts_with("reading the settings in /no/such/node.toml: "), "{why}");
}

proptest! {
    #[test]
    fn no_file_causes_a_panic(text in "\\PC{0,40}", key in prop::sample::select(vec!["spin", "listen", "magic"])) {
        let _ = load(&[], &[], &text);
        let _ = load(&[], &[], &format!("{key} = {text}"));
        let _ = load(&[], &[], &format!("{key} = ['{text}']"));
    }

    #[test]
    fn any_printed_user_agent_is_read_back_unchanged(agent in "[ -~\\x00-\\x1f\u{e9}\u{7f}]{0,60}") {
        let mut effective = loaded(&[], &[], "");
        effective.node.config.user_agent.clone_from(&agent);
        prop_assert_eq!(loaded(&[], &[], &effective.to_toml(true)).node.config.user_agent, agent);
    }
}

#[test]
fn reading_a_file_that_never_ends_or_never_responds_is_abandoned() {
    let refused = SettingsFile::read(Path::new("/dev/zero")).unwrap_err();
    let expected = "reading the settings in /dev/zero: the file is larger than 1048576 bytes; name a settings file";
    assert_eq!(refused, expected);
    let pipe = std::env::temp_dir().join(format!("peerloop-settings-{}", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let read = || SettingsFile::read_within(&pipe, Duration::from_millis(1)).unwrap_err();
    let expected = format!("reading the settings in {}: not finished within 0 s; check the disk", pipe.display());
    // At most four reads block at the same time; the fifth is refused.
    let refused: Vec<String> = (0..5).map(|_| read()).collect();
    assert!(refused[0].starts_with(&expected), "{}", refused[0]);
    assert!(refused[4].contains("earlier reads are still blocked"), "{}", refused[4]);
    // All blocked reads end when the pipe gets a writer.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    std::fs::remove_file(&pipe).unwrap();
}

#[test]
fn the_relays_settings_are_in_a_table_and_their_variables_have_its_name() {
    let text = "max_peers = 30\n[relay]\nupstreams = ['a:1', '[::1]:2']\npush = true\n";
    let relay = loaded(&[], &[("PEERLOOP_RELAY_TRUST", "open")], text).node.relay;
    assert_eq!((&relay.upstreams[..], relay.push), (&["a:1".to_owned(), "[::1]:2".to_owned()][..], true));
    assert_eq!(relay.trust, TrustMode::Open);
    let relay = loaded(&[], &[("PEERLOOP_RELAY_UPSTREAMS", "c, d:9")], text).node.relay;
    assert_eq!(relay.upstreams, ["c", "d:9"]);
    for (text, expected) in [
        ("[relay]\ntrusts = 'open'", "node.toml:2: there is no setting `trusts` in [relay]; did you mean `trust`?"),
        (
            "[relay]\nmax_peers = 3",
            "node.toml:2: there is no setting `max_peers` in [relay]; move it above the line [relay]",
        ),
        ("[relay]\ncolour = 3", "node.toml:2: there is no setting `colour` in [relay]; relay --print-config lists all"),
        ("relay = true\n\n[relay]\npush = true", "node.toml:3: duplicate key; rename `relay = ..` to `relay_flag`"),
        ("[relay]\nupstreams = 'a'", "node.toml:2: upstreams: must be a list: write [ ] around the string"),
        ("[relay]\ntrust = 'all'", "node.toml:2: trust: `all` is none of validated, trusted and open"),
        ("[relay]\nupstreams = ['a b']", "node.toml:2: upstreams: `a b` is not a peer: use host, host:port or "),
        ("[relay]\naccept_on_silence = '0s'", "node.toml:2: accept_on_silence: "),
        ("[relay]\ntx_pool = '4095KiB'", "node.toml:2: tx_pool must be 4MiB or more"),
        (
            "relay_trust = 'open'",
            "node.toml:1: there is no setting `relay_trust`; did you mean `trust` in the table [relay]?",
        ),
        ("trust = 'open'", "node.toml:1: there is no setting `trust`; did you mean `trust` in the table [relay]?"),
    ] {
        let message = refused(text);
        assert!(message.starts_with(expected), "{text}: {message}");
    }
    for (name, right) in [("TRUST", "TRUST"), ("UPSTREAMS", "UPSTREAMS"), ("PUSH", "PUSH"), ("TX_POOL", "TX_POOL")] {
        let message = refusal(load(&[], &[(&format!("PEERLOOP_{name}"), "1")], ""));
        assert!(message.ends_with(&format!("; did you mean PEERLOOP_RELAY_{right}?")), "{message}");
    }
    let many: Vec<String> = (0..65).map(|number| format!("'n{number}'")).collect();
    let message = refused(&format!("[relay]\nupstreams = [{}]", many.join(",")));
    assert_eq!(message, "node.toml:2: upstreams has 65 nodes, at most 64");
}

#[test]
fn the_other_commands_have_no_flags_of_the_relay() {
    let command = SettingFlags::augment_args(Command::new("run"));
    assert!(command.get_arguments().all(|argument| argument.get_id() != "upstreams"));
    assert!(command.try_get_matches_from(["run", "--upstream", "a"]).is_err());
}

#[test]
fn the_versions_flag_keeps_its_former_name() {
    for text in ["relay = false", "relay_flag = false"] {
        assert!(!loaded(&[], &[], text).node.config.relay, "{text}");
    }
    for name in ["PEERLOOP_RELAY", "PEERLOOP_RELAY_FLAG"] {
        assert!(!loaded(&[], &[(name, "false")], "").node.config.relay, "{name}");
    }
    for flag in ["--relay=false", "--relay-flag=false"] {
        assert!(!loaded(&[flag], &[], "relay = true").node.config.relay, "{flag}");
    }
}

#[test]
fn only_the_relays_file_has_the_relays_table() {
    let effective = loaded(&[], &[], EXAMPLE);
    assert!(!effective.to_toml(false).contains("[relay]"));
    assert!(effective.to_toml(true).contains("\n[relay]\nupstreams = [\"node.example\", \"[::1]:7\"] # "));
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let old = Node::default();
    let mut new = old.clone();
    assert_eq!(changes_after_restart(&old, &new), [""; 0]);
    new.relay.push = true;
    (new.relay.upstreams, new.relay.find_peers) = (vec!["a".to_owned()], true);
    new.book = Some(PathBuf::from("b"));
    new.log_level = LevelFilter::Off;
    assert_eq!(changes_after_restart(&old, &new), ["book", "push"]);
    // Settings that were not applied are named again after the next SIGHUP.
    let mut applied = Node::default();
    applied.relay.apply(new.relay.clone());
    assert_eq!(changes_after_restart(&applied, &new), ["book", "push"]);
    assert_eq!((&applied.relay.upstreams, applied.relay.find_peers), (&new.relay.upstreams, true));
}
