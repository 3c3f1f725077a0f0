//! The relay's own settings: their values, their flags, and the rules that they obey.

use super::{Effective, Node, SETTINGS, SettingFlags, positions};
use crate::exit::Failure;
use crate::targets::Target;
use crate::units::write_bytes;
use clap::{ArgMatches, Command};
use peerloop::limits::{MAX_RELAY_TETHERED, MAX_RELAY_UPSTREAMS};
use peerloop::relay::{CompactBlocks, RelayConfig, TrustMode};
use std::net::IpAddr;
use std::time::Duration;

/// Minimum size of all kept transactions together: twice the largest transaction that is relayed.
const MIN_TX_POOL_BYTES: u64 = 4 * 1024 * 1024;

/// The settings of a relay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RelaySettings {
    /// The upstreams as typed.
    pub(crate) upstreams: Vec<String>,
    pub(crate) trust: TrustMode,
    pub(crate) tx_pool: u64,
    pub(crate) small_blocks: u64,
    pub(crate) old_blocks_per_host: u64,
    pub(crate) old_blocks_per_day: u64,
    pub(crate) compact_blocks: CompactBlocks,
    /// The networks whose peers may hold the source of a block.
    pub(crate) tether: Vec<(IpAddr, u8)>,
    /// The upload that the readers of passing large blocks share, in bytes per second; 0 has no limit.
    pub(crate) live_upload: u64,
    /// Whether the newest block is requested from two upstreams at the same time.
    pub(crate) race: bool,
    pub(crate) push: bool,
    pub(crate) accept_on_silence: Option<Duration>,
    pub(crate) leaf_tx_per_second: u32,
    pub(crate) find_peers: bool,
    /// The upstreams' addresses, which the command fills in. They are no setting.
    pub(crate) resolved: Vec<Target>,
    /// The user's own trusted networks, to which the command adds the upstreams' addresses. They are no setting of the
    /// relay.
    pub(crate) trusted: Vec<(IpAddr, u8)>,
}

impl Default for RelaySettings {
    fn default() -> Self {
        let defaults = RelayConfig::new(Vec::new());
        let RelayConfig { trust, tx_pool_bytes, push, accept_on_silence, leaf_tx_per_second, .. } = defaults;
        Self {
            upstreams: Vec::new(),
            trust,
            tx_pool: tx_pool_bytes as u64,
            small_blocks: defaults.small_blocks_bytes as u64,
            old_blocks_per_host: defaults.old_block_bytes_per_host,
            old_blocks_per_day: defaults.old_block_bytes_per_day,
            compact_blocks: defaults.compact_blocks,
            tether: Vec::new(),
            live_upload: 0,
            race: defaults.race,
            push,
            accept_on_silence,
            leaf_tx_per_second,
            find_peers: false,
            resolved: Vec::new(),
            trusted: Vec::new(),
        }
    }
}

impl RelaySettings {
    /// Replaces the settings that apply to a running relay by those in `new`.
    pub(crate) fn apply(&mut self, new: Self) {
        (self.upstreams, self.find_peers) = (new.upstreams, new.find_peers);
        (self.resolved, self.trusted) = (new.resolved, new.trusted);
    }
}

/// Checks the ranges of the relay's settings.
pub(super) fn check(effective: &Effective) -> Result<(), Failure> {
    let RelaySettings { upstreams, tx_pool, small_blocks, tether, .. } = &effective.node.relay;
    let refused = |name: &str, rule: &str| {
        let source = effective.source(name).map_or_else(String::new, |source| format!("{source}: "));
        Err(Failure::usage(format!("{source}{name} {rule}")))
    };
    if upstreams.len() > MAX_RELAY_UPSTREAMS {
        return refused("upstreams", &format!("has {} nodes, at most {MAX_RELAY_UPSTREAMS}", upstreams.len()));
    }
    if *tx_pool < MIN_TX_POOL_BYTES || usize::try_from(*tx_pool).is_err() {
        return refused("tx_pool", &format!("must be {} or more", write_bytes(MIN_TX_POOL_BYTES)));
    }
    if tether.len() > MAX_RELAY_TETHERED {
        return refused("tether", &format!("has {} networks, at most {MAX_RELAY_TETHERED}", tether.len()));
    }
    if usize::try_from(*small_blocks).is_err() {
        return refused("small_blocks", "is larger than the memory of this machine can be");
    }
    Ok(())
}

/// Returns the names of the program's own settings that differ and apply only after a restart.
pub(crate) fn changes_after_restart(old: &Node, new: &Node) -> Vec<&'static str> {
    let (mut old, mut new) = (old.clone(), new.clone());
    let is_fixed = |name| !["log_level", "upstreams", "find_peers"].contains(&name);
    let fixed = SETTINGS.iter().filter(|setting| setting.fields.is_empty() && is_fixed(setting.name));
    fixed.filter(|one| one.kind.show(&mut old) != one.kind.show(&mut new)).map(|setting| setting.name).collect()
}

/// The flags of all settings, the relay's own included.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelayFlags(SettingFlags);

impl RelayFlags {
    pub(crate) fn settings(&self) -> &SettingFlags {
        &self.0
    }

    /// Returns the first flag that is given and not one of these settings.
    pub(crate) fn first_except(&self, names: &[&str]) -> Option<String> {
        let mut settings = self.0.given.iter().map(|given| &SETTINGS[given.setting]);
        settings.find(|setting| !names.contains(&setting.name)).map(|setting| setting.flag())
    }
}

impl clap::Args for RelayFlags {
    fn augment_args(command: Command) -> Command {
        let command = command.args(positions(true).map(|number| SETTINGS[number].argument()));
        SettingFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for RelayFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = SettingFlags::from_arg_matches(matches)?;
        flags.given.extend(positions(true).filter_map(|number| super::Setting::given(number, matches)));
        Ok(Self(flags))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
