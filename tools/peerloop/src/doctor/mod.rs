//! `doctor`: what this machine allows, whether that is enough for so many peers, and what to change.
//!
//! [`Facts`] are read from the system, [`checks`] judge them, and the report tells each with its value, what it means
//! and the command that changes it. Nothing is changed here but this process's own limit of open files. What a system
//! does not tell is said to be unknown and never guessed.

mod checks;
mod facts;
mod report;

use crate::cli::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::settings;
use facts::Facts;
use peerloop::Network;

/// What the machine is asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    peers: usize,
    network: Network,
}

/// What one look at the machine has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    verdict: Verdict,
    value: String,
    /// What that means for the peers wanted.
    means: String,
    /// What to do about it; none if there is nothing to do.
    change: Option<String>,
}

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// The system does not tell.
    Unknown,
    /// It works, but not as well as it could, or not in every case.
    Warning,
    /// What is wanted cannot work.
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
    let findings = checks::all(&Facts::gather(network), wanted);
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
            "this machine is not fit for {} peers: {}; see `change` in the report, or ask for fewer with --peers",
            args.peers,
            problems.join(", ")
        ))),
    }
}
