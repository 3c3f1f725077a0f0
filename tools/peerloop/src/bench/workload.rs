//! `--workload`: the kind of operations that a bench carries out, as people type it.
//!
//! The file of a workload is read before the load. Invalid input is refused with the reason and with an example of
//! valid input.

use super::items;
use crate::exit::Failure;
use crate::serve::parse_block_bytes;
use crate::transactions;
use crate::units::{parse_duration, parse_time_above_zero, write_bytes};
use peerloop::load::workloads::{
    BlockFetch, Churn, Connect, GetData, Handshake, Headers, Inv, Ping, Propagation, SendTx,
};
use peerloop::load::{ResponderConfig, Workload};
use std::fmt;
use std::path::PathBuf;
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
}

/// Makes the workload of one process. The files that it needs have been read.
pub(crate) struct WorkloadMaker {
    /// Makes the workload of a seed.
    make: Box<dyn Fn(u64) -> Box<dyn Workload> + Send>,
    /// The number of transactions, each of which one operation needs; `None` if no operation needs one.
    pub(crate) transactions: Option<usize>,
}

impl WorkloadMaker {
    fn of<W: Workload + 'static>(make: impl Fn(u64) -> W + Send + 'static) -> Self {
        Self { make: Box::new(move |seed| Box::new(make(seed))), transactions: None }
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

    /// Returns the settings of a built-in node that serves what the workload needs.
    pub(crate) fn built_in_node(&self) -> ResponderConfig {
        match self {
            Self::Block(bytes) => ResponderConfig::default().with_block_bytes(*bytes),
            Self::Ping
            | Self::Connect
            | Self::Handshake
            | Self::Churn(_)
            | Self::Inv
            | Self::Headers
            | Self::Propagation(_)
            | Self::Tx(_)
            | Self::GetData(_) => ResponderConfig::default(),
        }
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
                WorkloadMaker::of(move |_| BlockFetch::new(bytes))
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
        }
    }
}

/// Parses a workload: `ping`, `connect`, `handshake`, `churn`, `churn:TIME`, `inv`, `headers`, `propagation`,
/// `propagation:TIME`, `tx:FILE`, `getdata:FILE` or `block:SIZE`.
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
        ("tx" | "getdata", _) => {
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
                 with a value, churn:TIME, propagation:TIME, tx:FILE, getdata:FILE or block:SIZE, for example churn:5s"
            ));
        }
    };
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn another_text_is_refused_with_advice() {
        for (text, part) in [
            ("", "`` is not a workload: use ping, connect,"),
            ("Ping", "is not a workload"),
            ("transactions", "for example churn:5s"),
            ("tx", "`tx` needs a file: write `tx:FILE`"),
            ("tx:", "`tx` needs a file"),
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
