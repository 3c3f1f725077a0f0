//! `doctor`: checks whether this machine can hold a number of peers, and suggests changes.
//!
//! The system reports the [`Facts`], the [`checks`] evaluate them, and the report shows each check with its value,
//! its meaning and a change to make. The command never changes anything except this process's own limit on open
//! files. A fact that the system does not report is shown as unknown and never guessed.

mod checks;
mod facts;
mod report;

use crate::cli::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::settings;
use facts::Facts;
use peerloop::Network;

/// The number of peers that the machine should hold, and their network.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    peers: usize,
    network: Network,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    verdict: Verdict,
    value: String,
    /// The meaning of the value for the wanted peers.
    means: String,
    /// The change to make; `None` unless the verdict is a warning or a problem.
    change: Option<String>,
}

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// The fact could not be determined.
    Unknown,
    /// The machine can hold the wanted peers, but not as well as it could, or not in every case.
    Warning,
    /// This machine cannot hold the wanted peers.
    Problem,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

pub(crate) fn run(args: DoctorArgs) -> Result<Exit, Failure> {
    let network = settings::network(args.network, std::env::vars_os())?.unwrap_or(Network::Mainnet);
    let wanted = Wanted { peers: args.peers, network };
    let findings = checks::all(&Facts::collect(network), wanted);
    let problems: Vec<&str> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Problem).map(|finding| finding.name).collect();
    let exit = if problems.is_empty() { Exit::Success } else { Exit::MachineCannot };
    let text = match args.json {
        true => report::json(&findings, wanted, exit),
        false => report::text(&findings, wanted),
    };
    output::print(&text)?;
    match problems.is_empty() {
        true => Ok(exit),
        false => Err(Failure::machine(format!(
            "this machine cannot hold {} peers: {}; see `change` in the report, or ask for fewer with --peers",
            args.peers,
            problems.join(", ")
        ))),
    }
}
