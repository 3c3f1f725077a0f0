//! The command-line program: parses the arguments, runs the command, and exits with the outcome's code.
//!
//! Every error is reported in one line on stderr and never as a panic.
#![deny(unsafe_code)]

mod bench;
mod book;
mod causes;
mod children;
mod cli;
mod compare;
mod doctor;
mod estimates;
mod exit;
mod forms;
mod host;
mod lines;
mod machine;
mod model;
mod notices;
mod output;
mod peers;
mod probe;
mod process;
mod progress;
mod relay;
mod report;
mod run;
mod runs;
mod serve;
mod settings;
#[cfg(feature = "sim")]
mod sim;
mod sources;
mod status;
mod targets;
mod thresholds;
mod transactions;
mod units;

use clap::CommandFactory;
use cli::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> std::process::ExitCode {
    let outcome = match cli::parse() {
        Ok(cli) => run(cli),
        Err(error) => cli::explain(&error),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        output::complain(&failure.message);
        failure.exit
    });
    exit.into()
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    notices::end_by_signals_as_init()?;
    match cli.command {
        None => output::print(&Cli::command().render_help().to_string()).map(|()| Exit::Success),
        Some(Command::Bench(args)) => bench::run(*args),
        Some(Command::Serve(args)) => serve::run(*args),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Relay(args)) => relay::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::Peers(args)) => peers::run(&args),
        Some(Command::Probe(args)) => probe::run(&args),
        Some(Command::Doctor(args)) => doctor::run(args),
        #[cfg(feature = "sim")]
        Some(Command::Sim(args)) => sim::run(args),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "peerloop", &mut script);
            output::print(&String::from_utf8_lossy(&script)).map(|()| Exit::Success)
        }
    }
}
