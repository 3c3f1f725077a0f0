//! The kinds of values that settings have. Each kind reads its values from text, and writes them as TOML.
//!
//! A written value is read back as the same value.

use super::Node;
use crate::targets;
use crate::units::{parse_address, parse_bytes, parse_count, parse_duration, parse_duration_above_zero, write_bytes};
use log::LevelFilter;
use peerloop::config::{DialMode, ManagerConfig, Multistreams};
use peerloop::limits::MAX_BLOCK_PAYLOAD_BYTES;
use peerloop::protocol::CommandName;
use peerloop::relay::{CompactBlocks, TrustMode};
use peerloop::{Config, Network};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A kind of value. Most kinds hold a function that returns the setting's field in the configuration or in [`Node`].
#[derive(Debug)]
pub(super) enum Kind {
    Network,
    /// Four bytes that replace the network's magic; the setting may have no value.
    Magic,
    FixedPeers,
    /// Pairs of a command and a size.
    CommandSizes,
    Duration(fn(&mut Config) -> &mut Duration),
    Size(fn(&mut Config) -> &mut u64),
    /// The maximum size of a block; `unlimited` means [`MAX_BLOCK_PAYLOAD_BYTES`].
    BlockSize(fn(&mut Config) -> &mut u64),
    Count(fn(&mut Config) -> &mut usize),
    /// A count, or 0, or `unlimited`.
    Limit(fn(&mut Config) -> &mut usize),
    Number(fn(&mut Config) -> &mut u32),
    Port(fn(&mut Config) -> &mut u16),
    Height(fn(&mut Config) -> &mut i32),
    Bits(fn(&mut Config) -> &mut u64),
    Factor(fn(&mut Config) -> &mut f64),
    Switch(fn(&mut Config) -> &mut bool),
    Streams(fn(&mut Config) -> &mut Multistreams),
    Text(fn(&mut Config) -> &mut String),
    Texts(fn(&mut Config) -> &mut Vec<String>),
    Addresses(fn(&mut Config) -> &mut Vec<SocketAddr>),
    Networks(fn(&mut Config) -> &mut Vec<(IpAddr, u8)>),
    /// A file, or none.
    File(fn(&mut Node) -> &mut Option<PathBuf>),
    /// An address, or none.
    Address(fn(&mut Node) -> &mut Option<SocketAddr>),
    Level(fn(&mut Node) -> &mut LevelFilter),
    /// Nodes, each as host, host:port or [ipv6]:port.
    Nodes(fn(&mut Node) -> &mut Vec<String>),
    Trust(fn(&mut Node) -> &mut TrustMode),
    Compact(fn(&mut Node) -> &mut CompactBlocks),
    RelaySize(fn(&mut Node) -> &mut u64),
    RelayNetworks(fn(&mut Node) -> &mut Vec<(IpAddr, u8)>),
    RelaySwitch(fn(&mut Node) -> &mut bool),
    RelayNumber(fn(&mut Node) -> &mut u32),
    /// A time, or none.
    Silence(fn(&mut Node) -> &mut Option<Duration>),
}

/// All trust modes.
pub(super) const TRUST_MODES: [TrustMode; 3] = [TrustMode::Validated, TrustMode::Trusted, TrustMode::Open];

/// All choices of the peers with which compact blocks are exchanged.
pub(super) const COMPACT_BLOCKS: [CompactBlocks; 3] =
    [CompactBlocks::Off, CompactBlocks::Upstreams, CompactBlocks::All];

const UNLIMITED: &str = "unlimited";

/// Returns the peer manager's configuration, which every configuration here contains.
pub(super) fn manager(config: &mut Config) -> &mut ManagerConfig {
    config.manager.as_mut().expect("the configuration has a manager")
}

impl Kind {
    /// Returns whether the setting may be given several times.
    pub(super) const fn is_list(&self) -> bool {
        match self {
            Self::FixedPeers
            | Self::CommandSizes
            | Self::Texts(_)
            | Self::Addresses(_)
            | Self::Networks(_)
            | Self::RelayNetworks(_)
            | Self::Nodes(_) => true,
            Self::Network
            | Self::Magic
            | Self::Duration(_)
            | Self::Size(_)
            | Self::BlockSize(_)
            | Self::Count(_)
            | Self::Limit(_)
            | Self::Number(_)
            | Self::Port(_)
            | Self::Height(_)
            | Self::Bits(_)
            | Self::Factor(_)
            | Self::Switch(_)
            | Self::Streams(_)
            | Self::Text(_)
            | Self::File(_)
            | Self::Address(_)
            | Self::Level(_)
            | Self::Trust(_)
            | Self::Compact(_)
            | Self::RelaySize(_)
            | Self::RelaySwitch(_)
            | Self::RelayNumber(_)
            | Self::Silence(_) => false,
        }
    }

    /// Returns the placeholder for the value in help texts.
    pub(super) const fn value_name(&self) -> &'static str {
        match self {
            Self::Network => "NAME",
            Self::Magic => "HEX",
            Self::FixedPeers | Self::Nodes(_) => "HOST[:PORT]",
            Self::Addresses(_) | Self::Address(_) => "IP:PORT",
            Self::CommandSizes => "COMMAND=SIZE",
            Self::Duration(_) | Self::Silence(_) => "TIME",
            Self::Size(_) | Self::BlockSize(_) | Self::RelaySize(_) => "SIZE",
            Self::Count(_)
            | Self::Limit(_)
            | Self::Number(_)
            | Self::Height(_)
            | Self::Bits(_)
            | Self::RelayNumber(_) => "N",
            Self::Port(_) => "PORT",
            Self::Factor(_) => "FACTOR",
            Self::Switch(_) | Self::RelaySwitch(_) => "true|false",
            Self::Streams(_) => "off|accept|open",
            Self::Text(_) | Self::Texts(_) => "TEXT",
            Self::Networks(_) | Self::RelayNetworks(_) => "IP[/PREFIX]",
            Self::File(_) => "FILE",
            Self::Level(_) => "LEVEL",
            Self::Trust(_) => "MODE",
            Self::Compact(_) => "PEERS",
        }
    }

    /// Sets the value from `texts`: one string, or one for each element of a list.
    pub(super) fn read(&self, node: &mut Node, texts: &[String]) -> Result<(), String> {
        let config = &mut node.config;
        let one = || match texts {
            [text] => Ok(text.as_str()),
            _ => Err(format!("needs one value, but {} were given", texts.len())),
        };
        match self {
            // This replaces the whole configuration, because defaults depend on the network. So the network is read
            // first.
            Self::Network => *config = Config::managed(one()?.parse::<Network>().map_err(|error| error.to_string())?),
            Self::Magic => config.magic = Some(parse_magic(one()?)?),
            Self::FixedPeers => read_fixed_peers(manager(config), texts)?,
            Self::CommandSizes => config.max_buffered_command_bytes = all(texts, parse_command_size)?,
            Self::Duration(of) => *of(config) = parse_duration(one()?)?,
            Self::Size(of) => *of(config) = parse_bytes(one()?)?,
            Self::BlockSize(of) => {
                *of(config) = match one()? {
                    UNLIMITED => MAX_BLOCK_PAYLOAD_BYTES,
                    text => parse_bytes(text)?,
                };
            }
            Self::Count(of) => *of(config) = parse_count(one()?)?,
            Self::Limit(of) => {
                *of(config) = match one()? {
                    UNLIMITED => usize::MAX,
                    "0" => 0,
                    text => parse_count(text)?,
                };
            }
            Self::Number(of) => *of(config) = parse_number(one()?)?,
            Self::Port(of) => *of(config) = parse_number(one()?)?,
            Self::Height(of) => *of(config) = parse_number(one()?)?,
            Self::Bits(of) => *of(config) = parse_bits(one()?)?,
            Self::Factor(of) => *of(config) = parse_number(one()?)?,
            Self::Switch(of) => *of(config) = parse_switch(one()?)?,
            Self::Streams(of) => *of(config) = parse_streams(one()?)?,
            Self::Text(of) => one()?.clone_into(of(config)),
            Self::Texts(of) => *of(config) = texts.to_vec(),
            Self::Addresses(of) => *of(config) = all(texts, parse_address)?,
            Self::Networks(of) => *of(config) = all(texts, parse_network)?,
            Self::RelayNetworks(of) => *of(node) = all(texts, parse_network)?,
            // On the command line, an empty string is the only way to unset a value.
            Self::File(of) => *of(node) = Some(one()?).filter(|text| !text.is_empty()).map(PathBuf::from),
            Self::Address(of) => {
                *of(node) = Some(one()?).filter(|text| !text.is_empty()).map(parse_address).transpose()?;
            }
            Self::Level(of) => *of(node) = parse_level(one()?)?,
            Self::Nodes(of) => *of(node) = parse_nodes(texts)?,
            Self::Trust(of) => *of(node) = parse_trust(one()?)?,
            Self::Compact(of) => *of(node) = parse_compact_blocks(one()?)?,
            Self::RelaySize(of) => *of(node) = parse_bytes(one()?)?,
            Self::RelaySwitch(of) => *of(node) = parse_switch(one()?)?,
            Self::RelayNumber(of) => *of(node) = parse_number(one()?)?,
            Self::Silence(of) => {
                let text = Some(one()?).filter(|text| !text.is_empty());
                *of(node) = text.map(parse_duration_above_zero).transpose()?;
            }
        }
        Ok(())
    }

    /// Returns the value as TOML; `None` if the setting has no value.
    pub(super) fn show(&self, node: &mut Node) -> Option<String> {
        let config = &mut node.config;
        Some(match self {
            Self::Network => quoted(config.network.name()),
            Self::Magic => quoted(&config.magic?.map(|byte| format!("{byte:02x}")).concat()),
            Self::FixedPeers => {
                let ManagerConfig { mode, fixed_names, .. } = manager(config);
                match mode {
                    DialMode::Fixed(peers) => {
                        list(peers.iter().map(ToString::to_string).chain(fixed_names.iter().cloned()))
                    }
                    _ => list([]),
                }
            }
            Self::CommandSizes => {
                let sizes = config.max_buffered_command_bytes.iter();
                list(sizes.map(|(command, bytes)| format!("{command}={}", write_bytes(*bytes))))
            }
            Self::Duration(of) => quoted(&humantime::format_duration(*of(config)).to_string()),
            Self::Size(of) => quoted(&write_bytes(*of(config))),
            Self::BlockSize(of) => match *of(config) {
                MAX_BLOCK_PAYLOAD_BYTES => quoted(UNLIMITED),
                bytes => quoted(&write_bytes(bytes)),
            },
            Self::Count(of) => of(config).to_string(),
            Self::Limit(of) => match *of(config) {
                usize::MAX => quoted(UNLIMITED),
                limit => limit.to_string(),
            },
            Self::Number(of) => of(config).to_string(),
            Self::Port(of) => of(config).to_string(),
            Self::Height(of) => of(config).to_string(),
            Self::Bits(of) => quoted(&format!("{:#x}", of(config))),
            Self::Factor(of) => format!("{:?}", of(config)),
            Self::Switch(of) => of(config).to_string(),
            Self::Streams(of) => quoted(of(config).name()),
            Self::Text(of) => quoted(of(config)),
            Self::Texts(of) => list(of(config).iter().cloned()),
            Self::Addresses(of) => list(of(config).iter().map(ToString::to_string)),
            Self::Networks(of) => list(of(config).iter().map(|(address, bits)| format!("{address}/{bits}"))),
            Self::RelayNetworks(of) => list(of(node).iter().map(|(address, bits)| format!("{address}/{bits}"))),
            Self::File(of) => quoted(&of(node).as_ref()?.to_string_lossy()),
            Self::Address(of) => quoted(&of(node).as_ref()?.to_string()),
            Self::Level(of) => quoted(&of(node).to_string().to_lowercase()),
            Self::Nodes(of) => list(of(node).iter().cloned()),
            Self::Trust(of) => quoted(&of(node).to_string()),
            Self::Compact(of) => quoted(&of(node).to_string()),
            Self::RelaySize(of) => quoted(&write_bytes(*of(node))),
            Self::RelaySwitch(of) => of(node).to_string(),
            Self::RelayNumber(of) => of(node).to_string(),
            Self::Silence(of) => quoted(&humantime::format_duration((*of(node))?).to_string()),
        })
    }
}

/// Sets the fixed peers; each text may list several, separated by commas. An IP address with a port is dialled as
/// given; any other valid peer is a name that the loop resolves. Without fixed peers, sets the normal mode.
fn read_fixed_peers(manager: &mut ManagerConfig, texts: &[String]) -> Result<(), String> {
    let (mut peers, mut names) = (Vec::new(), Vec::new());
    for text in parse_nodes(texts)? {
        match text.parse() {
            Ok(address) => peers.push(address),
            Err(_) => names.push(text),
        }
    }
    let is_empty = peers.is_empty() && names.is_empty();
    manager.mode = if is_empty { DialMode::Normal } else { DialMode::Fixed(peers) };
    manager.fixed_names = names;
    Ok(())
}

/// Splits texts that each list one or more nodes, separated by commas.
fn parse_nodes(texts: &[String]) -> Result<Vec<String>, String> {
    let nodes = texts.iter().flat_map(|text| text.split(',')).map(str::trim).map(|text| {
        let forms = "use host, host:port or [ipv6]:port, for example localhost:8333";
        let is_node = text.parse::<SocketAddr>().is_ok() || targets::split(text).is_some();
        if is_node { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a peer: {forms}")) }
    });
    nodes.collect()
}

fn parse_trust(text: &str) -> Result<TrustMode, String> {
    let found = TRUST_MODES.into_iter().find(|mode| mode.to_string() == text);
    found.ok_or_else(|| format!("`{text}` is none of validated, trusted and open"))
}

fn parse_compact_blocks(text: &str) -> Result<CompactBlocks, String> {
    let found = COMPACT_BLOCKS.into_iter().find(|peers| peers.to_string() == text);
    found.ok_or_else(|| format!("`{text}` is none of off, upstreams and all"))
}

fn all<T>(texts: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number in range: use a number such as 10"))
}

fn parse_switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

fn parse_streams(text: &str) -> Result<Multistreams, String> {
    let found = Multistreams::ALL.into_iter().find(|streams| streams.name() == text);
    found.ok_or_else(|| format!("`{text}` is none of off, accept and open"))
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| format!("`{text}` is not a level: use off, error, warn, info, debug or trace"))
}

fn parse_bits(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(digits) => {
            u64::from_str_radix(digits, 16).map_err(|_| format!("`{text}` is not a 64-bit hexadecimal number"))
        }
        None => parse_number(text),
    }
}

fn parse_magic(text: &str) -> Result<[u8; 4], String> {
    let is_hex = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| is_hex);
    number
        .map(u32::to_be_bytes)
        .ok_or_else(|| format!("`{text}` is not a magic: use 8 hexadecimal digits, for example e3e1f3e8"))
}

pub(crate) fn parse_network(text: &str) -> Result<(IpAddr, u8), String> {
    let refused = || format!("`{text}` is not an address: use IP or IP/PREFIX, for example 192.0.2.0/24");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse).map_err(|_| refused())?;
    if bits <= most { Ok((address, bits)) } else { Err(refused()) }
}

fn parse_command_size(text: &str) -> Result<(CommandName, u64), String> {
    let refused = || format!("`{text}` is not a command's limit: use COMMAND=SIZE, for example tx=4MiB");
    let (command, size) = text.split_once('=').ok_or_else(refused)?;
    let mut name = [0; 12];
    match name.get_mut(..command.len()) {
        Some(place) if !command.is_empty() => place.copy_from_slice(command.as_bytes()),
        Some(_) | None => return Err(format!("`{command}` is not a command: a command has 1 to 12 characters")),
    }
    Ok((CommandName::from_bytes(name), parse_bytes(size)?))
}

fn list(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().map(|element| quoted(&element)).collect();
    format!("[{}]", elements.join(", "))
}

/// Formats the text as a TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            _ if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
