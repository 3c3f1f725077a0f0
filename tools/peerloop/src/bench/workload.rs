//! `--workload`: the kind of operations that a bench carries out, as people type it.
//!
//! Invalid input is refused with the reason and with an example of valid input.

use crate::units::{parse_duration, parse_time_above_zero};
use peerloop::load::Workload;
use peerloop::load::workloads::{Churn, Connect, Handshake, Headers, Inv, Ping, Propagation};
use std::fmt;
use std::time::Duration;

/// The time for which `churn` holds a connection.
const DEFAULT_HOLD: Duration = Duration::from_secs(1);

/// The time within which `propagation` expects all peers to announce a hash.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

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
}

impl WorkloadKind {
    /// Returns whether each operation opens a connection of its own, so that the run has no other peers.
    pub(crate) fn opens_connections(&self) -> bool {
        match self {
            Self::Connect | Self::Handshake | Self::Churn(_) => true,
            Self::Ping | Self::Inv | Self::Headers | Self::Propagation(_) => false,
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

    /// Makes the workload of one process, whose seed is `seed`.
    pub(crate) fn build(&self, seed: u64) -> Box<dyn Workload> {
        match self {
            Self::Ping => Box::new(Ping),
            Self::Connect => Box::new(Connect),
            Self::Handshake => Box::new(Handshake),
            Self::Churn(hold) => Box::new(Churn::new(*hold)),
            Self::Inv => Box::new(Inv::new(seed)),
            Self::Headers => Box::new(Headers),
            Self::Propagation(limit) => Box::new(Propagation::new(*limit)),
        }
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
        }
    }
}

/// Parses a workload: `ping`, `connect`, `handshake`, `churn`, `churn:TIME`, `inv`, `headers`, `propagation` or
/// `propagation:TIME`.
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
                "`{text}` is not a workload: use ping, connect, handshake, churn, inv, headers or propagation, or \
                 churn:TIME or propagation:TIME, for example churn:5s"
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
        for text in ["ping", "connect", "handshake", "churn:1s", "churn:1m 30s", "inv", "headers", "propagation:30s"] {
            let kind = parse_workload(text).unwrap();
            assert_eq!(kind.to_string(), text);
            let workload = kind.build(7);
            assert_eq!(Some(workload.name()), text.split(':').next());
            assert_eq!(workload.opens_connections(), kind.opens_connections());
            assert_eq!(workload.is_passive(), kind.is_passive());
        }
        assert_eq!(parse_workload("churn"), parse_workload("churn:1s"));
        assert_eq!(parse_workload("propagation"), parse_workload("propagation:30s"));
        assert_eq!(parse_workload("churn:0s"), Ok(WorkloadKind::Churn(Duration::ZERO)));
    }

    #[test]
    fn another_text_is_refused_with_advice() {
        for (text, part) in [
            ("", "`` is not a workload: use ping, connect,"),
            ("Ping", "is not a workload"),
            ("tx", "for example churn:5s"),
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
