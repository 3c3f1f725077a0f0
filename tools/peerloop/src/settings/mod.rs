//! The settings of a long-lived node: flags override variables, which override the file, which overrides defaults.
//!
//! A setting has one name and one row in [`table`]: `ping_interval` is the key of a TOML file, `--ping-interval` the
//! flag and `PEERLOOP_PING_INTERVAL` the variable. All three use the same parser, so a duration is written `10s` and
//! a size `2MiB` everywhere. A renamed setting's former name is accepted in all three. Every resulting value is stored
//! with its source. The relay's own settings are in the file's table `[relay]`, and their variables begin with
//! `PEERLOOP_RELAY_`; other commands read and ignore them.
//!
//! An unknown key or flag, an unreadable value and an invalid combination are errors, and one line describes the first
//! error with its source. An unknown variable that begins with `PEERLOOP_` is an error if its name resembles the name
//! of a setting's variable, or lacks only the `RELAY_` of a relay's setting. Other unknown variables are ignored, and
//! so are empty variables and those that Kubernetes or Docker sets for a service whose name begins with `peerloop`.
//! This module never reads the environment, and only [`SettingsFile::read`] reads a file.

mod file;
mod kind;
mod relay;
mod table;

use crate::cli::network_names;
use crate::exit::Failure;
use crate::targets;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
pub(crate) use file::SettingsFile;
use kind::Kind;
pub(crate) use kind::parse_network;
use kind::{COMPACT_BLOCKS, TRUST_MODES};
use log::LevelFilter;
use peerloop::config::{DialMode, Field};
use peerloop::{Config, Network};
pub(crate) use relay::{RelayFlags, RelaySettings, changes_after_restart};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use table::{OF_NETWORK, RELAY, SETTINGS, Setting};

/// The prefix of the variables.
const VARIABLE_PREFIX: &str = "PEERLOOP_";

/// The entry point for loading settings.
#[derive(Debug)]
pub(crate) struct Settings;

/// The settings that were given as flags, as typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    given: Vec<Given>,
}

/// The settings of a long-running node: its loop's configuration, and the program's own settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) book: Option<PathBuf>,
    pub(crate) metrics_addr: Option<SocketAddr>,
    pub(crate) log_level: LevelFilter,
    pub(crate) relay: RelaySettings,
}

/// Settings and the source of each value.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) node: Node,
    /// The source of each setting, in the order of [`SETTINGS`].
    sources: Vec<Source>,
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

/// A value as it was given.
#[derive(Clone, Debug)]
struct Given {
    /// The setting's position in [`SETTINGS`].
    setting: usize,
    source: Source,
    /// The value as one string; for a list, one string for each element.
    texts: Vec<String>,
}

impl Settings {
    /// Merges the given values into a configuration with a manager, and checks the result.
    pub(crate) fn load(
        flags: &SettingFlags,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&SettingsFile>,
    ) -> Result<Effective, Failure> {
        let of_file = file.map_or(Ok(Vec::new()), SettingsFile::given)?;
        let given = [of_file, of_variables(variables)?, flags.given.clone()].concat();
        let mut node = Node::default();
        let mut sources = vec![Source::Default; SETTINGS.len()];
        for ((number, setting), effective) in SETTINGS.iter().enumerate().zip(&mut sources) {
            // A value that is overridden elsewhere has to be valid as well.
            for Given { source, texts, .. } in given.iter().filter(|given| given.setting == number) {
                let read = setting.kind.read(&mut node, texts);
                read.map_err(|why| Failure::usage(format!("{source}: {}: {why}", setting.name)))?;
                effective.clone_from(source);
            }
        }
        let effective = Effective { node, sources };
        effective.check()?;
        Ok(effective)
    }
}

impl Effective {
    /// Formats all settings as a file, each value with its source. Defaults that depend on the network are written as
    /// comments, so that the file works for another network too. The relay's own settings are included if `has_relay`
    /// is set.
    pub(crate) fn to_toml(&self, has_relay: bool) -> String {
        let mut node = self.node.clone();
        let mut text = "# Flags override variables, which override the file.\n".to_owned();
        let mut is_in_relay = false;
        for (setting, source) in SETTINGS.iter().zip(&self.sources).filter(|(one, _)| has_relay || !one.is_of_relay) {
            if setting.is_of_relay && !std::mem::replace(&mut is_in_relay, true) {
                text += &format!("\n[{RELAY}]\n");
            }
            // A path may contain any characters, but a TOML comment must not contain control characters.
            let shown_source = source.to_string().replace(char::is_control, "?");
            let name = setting.name;
            text += &match setting.kind.show(&mut node) {
                // Written as a value, this default would remain when the user changes the network.
                Some(value) if *source == Source::Default && OF_NETWORK.contains(&name) => {
                    format!("# {name} = {value} # {shown_source} of {}\n", node.config.network)
                }
                Some(value) => format!("{name} = {value} # {shown_source}\n"),
                None => format!("# {name} is not set # {shown_source}\n"),
            };
        }
        text
    }

    /// Returns the source of a setting's value; `None` if there is no such setting.
    pub(crate) fn source(&self, name: &str) -> Option<&Source> {
        let number = SETTINGS.iter().position(|setting| setting.name == name)?;
        self.sources.get(number)
    }

    /// Checks that a network or a magic is given if a fixed peer or a seed has a port other than mainnet's.
    pub(crate) fn check_network(&self) -> Result<(), Failure> {
        let is_said = |name| self.source(name).is_some_and(|source| *source != Source::Default);
        if is_said("network") || is_said("magic") {
            return Ok(());
        }
        let manager = self.node.config.manager.as_ref().expect("the settings have a manager");
        let names: Vec<String> = match &manager.mode {
            DialMode::Fixed(peers) => {
                peers.iter().map(ToString::to_string).chain(manager.fixed_names.iter().cloned()).collect()
            }
            _ => manager.dns_seeds.clone(),
        };
        let names = names.iter().chain(&self.node.relay.upstreams);
        targets::network(None, names.map(String::as_str)).map(drop)
    }

    /// Returns the network of `nodes`. It must be given if one of them has a port other than mainnet's.
    pub(crate) fn network_for(&self, nodes: &[String]) -> Result<Network, Failure> {
        let is_given = self.source("network").is_some_and(|source| *source != Source::Default);
        targets::network(is_given.then_some(self.node.config.network), nodes.iter().map(String::as_str))
    }

    fn check(&self) -> Result<(), Failure> {
        relay::check(self)?;
        self.node.config.validate().map_err(|error| {
            let name = name_of(error.field);
            let given = match self.source(name) {
                Some(Source::Default) | None => String::new(),
                Some(source) => format!("{source}: "),
            };
            let mut text = format!("{given}{name} {}", error.rule);
            // The rule compares this value with others. The mistake may be in one of the others, so all are listed.
            let mut compared: Vec<&str> = error.others.iter().map(|&other| name_of(other)).collect();
            compared.retain(|&other| other != name);
            let mut node = self.node.clone();
            for (setting, source) in SETTINGS.iter().zip(&self.sources) {
                if compared.contains(&setting.name) || (given.is_empty() && setting.name == name) {
                    let value = setting.kind.show(&mut node).unwrap_or_default();
                    text += &format!("; {} is {value} ({source})", setting.name);
                }
            }
            Failure::usage(text)
        })
    }
}

/// Returns the name of the setting that sets a field of the configuration. Without such a setting, returns the
/// field's own name.
pub(crate) fn name_of(field: Field) -> &'static str {
    table::setting_of(field).map_or_else(|| field.name(), |setting| setting.name)
}

impl Default for Node {
    fn default() -> Self {
        Self {
            config: Config::managed(Network::Mainnet),
            book: None,
            metrics_addr: None,
            log_level: LevelFilter::Info,
            relay: RelaySettings::default(),
        }
    }
}

impl SettingFlags {
    /// Returns the flags of a command whose only setting is the book.
    pub(crate) fn of_book(book: Option<&str>) -> Self {
        let given = |book: &str| {
            let setting =
                SETTINGS.iter().position(|setting| setting.name == "book").expect("the setting is in the table");
            let source = Source::Flag(SETTINGS[setting].flag());
            Given { setting, source, texts: vec![book.to_owned()] }
        };
        Self { given: book.map(given).into_iter().collect() }
    }
}

impl Setting {
    fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key().to_uppercase())
    }

    /// Returns the flag as an argument of the command line.
    fn argument(&self) -> Arg {
        let flag = Arg::new(self.name)
            .long(self.flag().trim_start_matches('-').to_owned())
            .aliases(self.former_name().map(|name| name.replace('_', "-")))
            .help(self.help)
            .value_name(self.kind.value_name())
            .help_heading(if self.is_of_relay { "Relay" } else { "Settings" });
        match self.kind {
            Kind::Network => flag.value_parser(PossibleValuesParser::new(network_names())),
            Kind::Level(_) => {
                let levels = LevelFilter::iter().map(|level| level.as_str().to_lowercase());
                flag.value_parser(PossibleValuesParser::new(levels)).ignore_case(true)
            }
            Kind::Trust(_) => flag.value_parser(PossibleValuesParser::new(TRUST_MODES.map(|mode| mode.to_string()))),
            Kind::Compact(_) => {
                flag.value_parser(PossibleValuesParser::new(COMPACT_BLOCKS.map(|peers| peers.to_string())))
            }
            Kind::Height(_) => flag.allow_negative_numbers(true),
            Kind::Switch(_) | Kind::RelaySwitch(_) => {
                flag.num_args(0..=1).require_equals(true).default_missing_value("true")
            }
            _ if self.kind.is_list() => flag.action(ArgAction::Append),
            _ => flag,
        }
    }

    /// Returns the setting as it was given on the command line.
    fn given(number: usize, matches: &ArgMatches) -> Option<Given> {
        let setting = &SETTINGS[number];
        // On the command line, an empty string is the only way to give an empty list.
        let is_meant = |text: &&String| !(setting.kind.is_list() && text.is_empty());
        let texts = matches.get_many::<String>(setting.name)?.filter(is_meant).cloned().collect();
        Some(Given { setting: number, source: Source::Flag(setting.flag()), texts })
    }
}

/// Returns the table positions of the settings that are the relay's own, or of the others.
fn positions(is_of_relay: bool) -> impl Iterator<Item = usize> {
    (0..SETTINGS.len()).filter(move |number| SETTINGS[*number].is_of_relay == is_of_relay)
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(positions(false).map(|number| SETTINGS[number].argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { given: positions(false).filter_map(|number| Setting::given(number, matches)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Returns the network for a command that has no other setting: from the flag, or else from the variable. Returns
/// `None` if neither is given.
pub(crate) fn network(
    flag: Option<Network>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Option<Network>, Failure> {
    let setting =
        SETTINGS.iter().find(|setting| matches!(setting.kind, Kind::Network)).expect("the setting is in the table");
    let name = setting.variable();
    let given = variables.into_iter().find(|(other, value)| *other == *name && !value.is_empty());
    let of_variable = given.map(|(_, value)| {
        let read = text_of(&value).and_then(|text| text.parse::<Network>().map_err(|error| error.to_string()));
        read.map_err(|why| Failure::usage(format!("variable {name}: {}: {why}", setting.name)))
    });
    // A value that is overridden elsewhere has to be valid as well.
    Ok(flag.or(of_variable.transpose()?))
}

/// Returns the variables that are settings. An unknown name with the prefix is an error if it resembles the name of a
/// setting's variable, and is ignored otherwise.
fn of_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<Given>, Failure> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(VARIABLE_PREFIX)) else { continue };
        if value.is_empty() || is_service_link(rest, &value.to_string_lossy()) {
            continue;
        }
        let name = format!("{VARIABLE_PREFIX}{rest}");
        let is_upper = rest == rest.to_uppercase();
        let Some(number) = table::position_of(&rest.to_lowercase()).filter(|_| is_upper) else {
            match table::nearest(&rest.to_lowercase()) {
                None => continue,
                Some(setting) => {
                    let right = setting.variable();
                    return Err(Failure::usage(format!(
                        "variable {name}: there is no such setting; did you mean {right}?"
                    )));
                }
            }
        };
        let value = text_of(&value).map_err(|why| Failure::usage(format!("variable {name}: {why}")))?;
        let texts = match SETTINGS[number].kind.is_list() {
            true => value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect(),
            false => vec![value.to_owned()],
        };
        found.push(Given { setting: number, source: Source::Variable(name), texts });
    }
    Ok(found)
}

/// Returns whether Kubernetes or Docker has set this variable for a service whose name begins with `peerloop`.
///
/// For a service `NAME` at port 8333 they set `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`, `NAME_SERVICE_PORT_LABEL`,
/// `NAME_PORT=tcp://10.0.0.1:8333`, `NAME_PORT_8333_TCP=tcp://..` and `NAME_PORT_8333_TCP_PROTO`, `_PORT` and
/// `_ADDR`. A service `peerloop-default` thus sets the variable of the setting `default_port`. Only its
/// value shows that this variable belongs to a service.
fn is_service_link(rest: &str, value: &str) -> bool {
    let is_part = |part: &str| rest == part || rest.ends_with(&format!("_{part}"));
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let names_service_port = rest.starts_with("SERVICE_PORT_") || rest.contains("_SERVICE_PORT_");
    let is_of_port = format!("_{rest}").split("_PORT_").skip(1).any(|after| {
        let (port, protocol) = after.split_once('_').unwrap_or((after, ""));
        let protocol = protocol.split('_').next().unwrap_or_default();
        port.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&protocol)
    });
    is_part("SERVICE_HOST")
        || is_part("SERVICE_PORT")
        || names_service_port
        || is_of_port
        || (is_part("PORT") && is_url)
}

fn text_of(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "the value is not UTF-8 text".to_owned())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
