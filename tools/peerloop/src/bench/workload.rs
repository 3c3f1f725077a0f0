//! `--workload`: the kind of operations that a bench carries out, as people type it.
//!
//! The file of a workload is read before the load. Invalid input is refused with the reason and with an example of
//! valid input.

use super::{items, mix};
use crate::exit::Failure;
use crate::serve::parse_block_bytes;
use crate::transactions;
use crate::units::{parse_duration, parse_time_above_zero, write_bytes};
use peerloop::load::workloads::{
    BlockFetch, Churn, Connect, GetData, Handshake, Headers, Inv, Mix, MixError, Ping, Propagation, SendTx,
};
use peerloop::load::{ResponderConfig, Workload};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time for which `churn` holds a connection.
const DEFAULT_HOLD: Duration = Duration::from_secs(1);

/// The time within which `propagation` expects all peers to announce a hash.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// Maximum length of all transactions that a bench sends together. They are in memory during the load.
const MAX_TX_BYTES: usize = 1 << 30;

/// The kind of a bench's operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum WorkloadKind {
    #[default]
    Ping,
    Connect,
    Handshake,
    /// Connections that are held for a while.
    Churn(Duration),
    Inv,
    Headers,
    /// Announcements that are expected within this time of the first one.
    Propagation(Duration),
    /// Blocks of this length.
    Block(u64),
    /// The transactions in a file.
    Tx(PathBuf),
    /// Requests of the items in a file.
    GetData(PathBuf),
    /// The workloads in a file, each with its weight.
    Mix(PathBuf),
}

/// Makes the workload of one process. The files that it needs have been read.
pub(crate) struct WorkloadMaker {
    /// Makes the workload of a seed.
    make: Box<dyn Fn(u64) -> Box<dyn Workload> + Send>,
    /// The number of transactions, of which each operation that sends one uses one up; `None` if no operation does.
    pub(crate) transactions: Option<usize>,
    /// The settings of a built-in node that serves what the workload needs.
    pub(crate) built_in_node: ResponderConfig,
}

impl WorkloadMaker {
    fn of<W: Workload + 'static>(make: impl Fn(u64) -> W + Send + 'static) -> Self {
        Self::of_boxed(move |seed| Box::new(make(seed)))
    }

    /// Returns the maker of a workload that `make` makes for a seed.
    fn of_boxed(make: impl Fn(u64) -> Box<dyn Workload> + Send + 'static) -> Self {
        Self { make: Box::new(make), transactions: None, built_in_node: ResponderConfig::default() }
    }

    /// Makes the workload of one process, whose seed is `seed`.
    pub(crate) fn make(&self, seed: u64) -> Box<dyn Workload> {
        (self.make)(seed)
    }
}

impl fmt::Debug for WorkloadMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadMaker").field("transactions", &self.transactions).finish_non_exhaustive()
    }
}

impl WorkloadKind {
    /// Returns whether each operation opens a connection of its own, so that the run has no other peers.
    pub(crate) fn opens_connections(&self) -> bool {
        match self {
            Self::Connect | Self::Handshake | Self::Churn(_) => true,
            Self::Ping
            | Self::Inv
            | Self::Headers
            | Self::Tx(_)
            | Self::GetData(_)
            | Self::Block(_)
            | Self::Mix(_)
            | Self::Propagation(_) => false,
        }
    }

    /// Returns whether the run only observes.
    pub(crate) fn is_passive(&self) -> bool {
        matches!(self, Self::Propagation(_))
    }

    /// Returns whether a node bears the workload without its owner's consent.
    pub(crate) fn is_polite(&self) -> bool {
        matches!(self, Self::Ping | Self::Propagation(_))
    }

    /// Reads the file that the workload needs, if any.
    pub(crate) fn prepare(&self) -> Result<WorkloadMaker, Failure> {
        Ok(match self {
            Self::Ping => WorkloadMaker::of(|_| Ping),
            Self::Connect => WorkloadMaker::of(|_| Connect),
            Self::Handshake => WorkloadMaker::of(|_| Handshake),
            Self::Churn(hold) => {
                let hold = *hold;
                WorkloadMaker::of(move |_| Churn::new(hold))
            }
            Self::Inv => WorkloadMaker::of(Inv::new),
            Self::Headers => WorkloadMaker::of(|_| Headers),
            Self::Propagation(limit) => {
                let limit = *limit;
                WorkloadMaker::of(move |_| Propagation::new(limit))
            }
            Self::Block(bytes) => {
                let bytes = *bytes;
                let built_in_node = ResponderConfig::default().with_block_bytes(bytes);
                WorkloadMaker { built_in_node, ..WorkloadMaker::of(move |_| BlockFetch::new(bytes)) }
            }
            Self::Tx(path) => {
                let workload = SendTx::new(transactions::read(path, MAX_TX_BYTES)?);
                let transactions = Some(workload.count());
                WorkloadMaker { transactions, ..WorkloadMaker::of(move |_| workload.clone()) }
            }
            Self::GetData(path) => {
                let wrong = || Failure::run(format!("{}: there is nothing to request", path.display()));
                let workload = GetData::new(items::read(path)?).ok_or_else(wrong)?;
                WorkloadMaker::of(move |_| workload.clone())
            }
            Self::Mix(path) => mixed(path)?,
        })
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("ping"),
            Self::Connect => f.write_str("connect"),
            Self::Handshake => f.write_str("handshake"),
            Self::Churn(hold) => write!(f, "churn:{}", humantime::format_duration(*hold)),
            Self::Inv => f.write_str("inv"),
            Self::Headers => f.write_str("headers"),
            Self::Propagation(limit) => write!(f, "propagation:{}", humantime::format_duration(*limit)),
            Self::Block(bytes) => write!(f, "block:{}", write_bytes(*bytes)),
            Self::Tx(path) => write!(f, "tx:{}", path.display()),
            Self::GetData(path) => write!(f, "getdata:{}", path.display()),
            Self::Mix(path) => write!(f, "mix:{}", path.display()),
        }
    }
}

/// Reads the workloads in a file, and the files that they need.
fn mixed(path: &Path) -> Result<WorkloadMaker, Failure> {
    let mut parts: Vec<(u32, WorkloadMaker)> = Vec::new();
    let mut built_in_node = ResponderConfig::default();
    mix::read(path, |weight, text| {
        let kind = parse_workload(text)?;
        if let WorkloadKind::Mix(_) = kind {
            return Err(format!("`{text}` is a mix itself"));
        }
        let maker = kind.prepare().map_err(|failure| failure.message)?;
        if let WorkloadKind::Block(_) = kind {
            built_in_node = maker.built_in_node.clone();
        }
        parts.push((weight, maker));
        // A part that does not fit is a mistake of its own line.
        mix_of(&parts, 0).map(drop).map_err(|error| format!("`{text}` cannot be mixed: {error}"))
    })?;
    let transactions = parts.iter().find_map(|(_, maker)| maker.transactions);
    let make = move |seed| -> Box<dyn Workload> {
        // No seed changes whether the parts fit.
        Box::new(mix_of(&parts, seed).expect("each line was checked"))
    };
    Ok(WorkloadMaker { built_in_node, transactions, ..WorkloadMaker::of_boxed(make) })
}

fn mix_of(parts: &[(u32, WorkloadMaker)], seed: u64) -> Result<Mix, MixError> {
    Mix::new(parts.iter().map(|(weight, maker)| (*weight, maker.make(seed))).collect())
}

/// Parses a workload: `ping`, `connect`, `handshake`, `churn`, `churn:TIME`, `inv`, `headers`, `propagation`,
/// `propagation:TIME`, `tx:FILE`, `getdata:FILE`, `block:SIZE` or `mix:FILE`.
pub(crate) fn parse_workload(text: &str) -> Result<WorkloadKind, String> {
    let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
    let kind = match (name, value) {
        ("ping", None) => WorkloadKind::Ping,
        ("connect", None) => WorkloadKind::Connect,
        ("handshake", None) => WorkloadKind::Handshake,
        ("churn", None) => WorkloadKind::Churn(DEFAULT_HOLD),
        ("churn", Some(hold)) => {
            let hold = parse_duration(hold).map_err(|error| format!("the time to hold connections: {error}"))?;
            WorkloadKind::Churn(hold)
        }
        ("inv", None) => WorkloadKind::Inv,
        ("headers", None) => WorkloadKind::Headers,
        ("tx", Some(path)) if !path.is_empty() => WorkloadKind::Tx(path.into()),
        ("getdata", Some(path)) if !path.is_empty() => WorkloadKind::GetData(path.into()),
        ("mix", Some(path)) if !path.is_empty() => WorkloadKind::Mix(path.into()),
        ("tx" | "getdata" | "mix", _) => {
            return Err(format!("`{name}` needs a file: write `{name}:FILE`, for example {name}:list.txt"));
        }
        ("block", Some(size)) => {
            let bytes = parse_block_bytes(size).map_err(|error| format!("the length of the blocks: {error}"))?;
            WorkloadKind::Block(bytes)
        }
        ("block", None) => {
            return Err("`block` needs a length: write `block:SIZE`, for example block:4MiB".to_owned());
        }
        ("propagation", None) => WorkloadKind::Propagation(DEFAULT_LIMIT),
        ("propagation", Some(limit)) => {
            let limit = parse_time_above_zero(limit).map_err(|error| format!("the time for announcements: {error}"))?;
            WorkloadKind::Propagation(limit)
        }
        ("ping" | "connect" | "handshake" | "inv" | "headers", Some(_)) => {
            return Err(format!("`{name}` has no value: write `{name}` alone"));
        }
        _ => {
            return Err(format!(
                "`{text}` is not a workload: use ping, connect, handshake, churn, inv, headers or propagation; or one \
                 with a value, churn:TIME, propagation:TIME, tx:FILE, getdata:FILE, block:SIZE or mix:FILE, for \
                 example churn:5s"
            ));
        }
    };
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_testkit::Folder;

    #[test]
    fn a_workload_is_parsed_from_the_text_that_it_shows() {
        for text in [
            "ping",
            "connect",
            "handshake",
            "churn:1s",
            "churn:1m 30s",
            "inv",
            "headers",
            "block:4MiB",
            "propagation:30s",
        ] {
            let kind = parse_workload(text).unwrap();
            assert_eq!(kind.to_string(), text);
            let workload = kind.prepare().unwrap().make(7);
            assert_eq!(Some(workload.name()), text.split(':').next());
            assert_eq!(workload.opens_connections(), kind.opens_connections());
            assert_eq!(workload.is_passive(), kind.is_passive());
        }
        assert_eq!(parse_workload("tx:a:b").unwrap().to_string(), "tx:a:b");
        assert_eq!(parse_workload("churn"), parse_workload("churn:1s"));
        assert_eq!(parse_workload("propagation"), parse_workload("propagation:30s"));
        assert_eq!(parse_workload("churn:0s"), Ok(WorkloadKind::Churn(Duration::ZERO)));
    }

    #[test]
    fn the_workloads_of_a_mix_must_fit_together() {
        let folder = Folder::new(std::env::temp_dir());
        let mix = |text: &str| mixed(Path::new(&folder.with("mix", text)));
        let workload = mix("7 ping\n3 block:64KiB\n").map(|maker| (maker.built_in_node.block_bytes, maker.make(7)));
        let (block_bytes, workload) = workload.unwrap();
        assert_eq!((workload.name(), block_bytes), ("mix", 65_536));
        assert_eq!(workload.metrics(), ["ping_rtt", "block_fetch", "block_first_bytes"]);
        assert_eq!((0..1_000).filter(|&index| workload.kind_of(index) == 1).count(), 300);
        for (line, part) in [
            ("999 inv", "`inv` cannot be mixed: the weights add up to more than 1000"),
            ("1 pong", "`pong` is not a workload"),
            ("1 ping", "`ping` cannot be mixed: two of the workloads measure or read the same replies"),
            ("1 connect", "`connect` cannot be mixed: a workload that opens a connection for each operation"),
            ("1 churn:5s", "opens a connection for each operation"),
            ("1 propagation", "a workload that only observes"),
            ("1 mix:other", "`mix:other` is a mix itself"),
            ("1 tx:no/such/file", "reading the transactions in no/such/file: "),
        ] {
            let refused = mix(&format!("5 ping\n{line}\n")).unwrap_err().message;
            assert!(refused.contains(":2: ") && refused.contains(part), "{line}: {refused}");
        }
    }

    #[test]
    fn another_text_is_refused_with_advice() {
        for (text, part) in [
            ("", "`` is not a workload: use ping, connect,"),
            ("Ping", "is not a workload"),
            ("transactions", "for example churn:5s"),
            ("tx", "`tx` needs a file: write `tx:FILE`"),
            ("tx:", "`tx` needs a file"),
            ("mix", "`mix` needs a file: write `mix:FILE`"),
            ("getdata:", "`getdata` needs a file: write `getdata:FILE`"),
            ("block", "`block` needs a length: write `block:SIZE`"),
            ("block:4MB", "the length of the blocks: `4MB` is not a size"),
            ("block:142", "the length of the blocks: `142` is out of range"),
            ("ping:5", "`ping` has no value: write `ping` alone"),
            ("inv:", "`inv` has no value"),
            ("churn:5", "the time to hold connections: "),
            ("churn:", "the time to hold connections: "),
            ("propagation:0s", "the time for announcements: "),
        ] {
            let error = parse_workload(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
