//! The text printed before a bench: its target, its plan, and the limits of the machine.
//!
//! This module only describes the run, and never changes the plan.

use super::build;
use super::setup::Setup;
use crate::forms::text::{noun, plan};
use crate::machine::Machine;
use crate::output::page::Page;
use crate::units::counted;
use peerloop::limits::EXACT_WAKE_SPIN;
use peerloop::load::{EndCause, Pace, Plan, Rate, Report, Segment, Stage};
use std::net::Ipv4Addr;

/// Formats the description of a bench that is not carried out.
pub(super) fn dry_run(setup: &Setup) -> String {
    if setup.find.is_some() {
        return render(setup) + "dry run the search would begin; nothing was opened or written\n";
    }
    let noun = noun(&setup.workload.to_string());
    let operations = match setup.shape.pace {
        _ if setup.workload.is_passive() => format!("{noun} would be observed"),
        Pace::Max => format!("{noun} would be sent and counted as fast as the peers reply"),
        pace => {
            let planned = operations(setup, setup.plan());
            let living = if pace == Pace::PerLivingPeer { " if all peers stay" } else { "" };
            format!("{planned} {noun} would be sent and counted{living}")
        }
    };
    render(setup) + &format!("dry run {operations}; nothing was opened or written\n")
}

/// Returns the number of operations of a plan. At a rate per living peer, it holds as long as all peers live.
fn operations(setup: &Setup, plan: Plan) -> u64 {
    unsent(setup, plan).work.planned
}

/// Returns the number of a plan's operations that need a transaction each.
fn operations_with_transactions(setup: &Setup, plan: Plan) -> u64 {
    let report = unsent(setup, plan);
    // In a mix, only some of the operations do.
    report.operations.iter().find(|of| of.metric == "tx_roundtrip").map_or(0, |of| of.work.planned)
}

/// Returns the report of a plan that is not carried out.
fn unsent(setup: &Setup, mut plan: Plan) -> Report {
    // The built-in node has no address yet. The number of operations does not depend on it.
    plan.targets.push((Ipv4Addr::LOCALHOST, 1).into());
    plan.pace = Pace::Scheduled;
    setup.generator_of(plan).into_report_of_no_run(EndCause::NoneReady)
}

/// Compares the number of transactions with that of the operations of all segments that need one each.
fn supply(setup: &Setup, transactions: usize) -> Vec<String> {
    let supply = counted(transactions as u64, "transaction");
    if setup.find.is_some() || setup.shape.pace == Pace::Max {
        return vec![supply, "each is sent once".to_owned()];
    }
    let mut plan = setup.plan();
    plan.segment = Segment::WHOLE;
    let mut warmup = plan.clone();
    warmup.max_operations = None;
    warmup.stages = vec![Stage::constant(plan.stages[0].from, setup.warmup)];
    let needed = operations_with_transactions(setup, plan) + operations_with_transactions(setup, warmup);
    let mut parts = vec![format!("{supply} for {} with the warm-up", counted(needed, "operation"))];
    if (transactions as u64) < needed {
        parts.push("too few: the other operations fail (no_transaction)".to_owned());
    }
    parts
}

/// Formats the description of the bench.
pub(super) fn render(setup: &Setup) -> String {
    let mut page = Page(String::new());
    if setup.is_built_in() {
        page.line(format_args!("no target given: measuring this machine against a built-in node on 127.0.0.1"));
    } else {
        let targets = setup.targets.iter().map(ToString::to_string);
        page.parts("target  ", "  ", targets.chain([format!("network {}", setup.network)]));
    }
    let segment = build::segment(setup);
    match &setup.find {
        Some(find) => page.parts("search  ", "  ", find.parts()),
        None => page.parts("plan    ", "  ", plan::parts(&build::settings(setup), segment)),
    }
    if let Some(transactions) = setup.workload_maker.transactions {
        page.parts("file    ", "  ", supply(setup, transactions));
    }
    // The highest rate of the stages, for the part of this process.
    let rates = setup.shape.stages.iter().flat_map(|stage| [stage.from, stage.to]);
    let highest = rates.map(Rate::as_per_second).fold(0.0, f64::max) / f64::from(segment[1]);
    let spinning = setup.spin.then(|| match setup.shape.pace {
        Pace::Max => spinning(f64::INFINITY),
        _ => spinning(highest),
    });
    page.parts("checks  ", "  ", checks(&setup.machine, setup.is_built_in()).into_iter().chain(spinning));
    if let Some(metrics) = &setup.outputs.metrics {
        page.line(format_args!("{}", metrics.line()));
    }
    page.0
}

fn checks(machine: &Machine, is_built_in: bool) -> Vec<String> {
    let mut checks = vec![format!("descriptors {} ok", machine.descriptors)];
    checks.extend(machine.port_count().map(|ports| format!("ports {ports} ok")));
    checks.extend(machine.backlog.filter(|_| is_built_in).map(|backlog| format!("backlog {backlog} ok")));
    checks.extend(machine.load_average_text().map(|load| format!("load average {load}")));
    checks.push(match (machine.cpus, is_built_in) {
        (1, true) => "CPUs 1: generator and node share it".to_owned(),
        (2, true) => "CPUs 2: generator and node share them".to_owned(),
        (cpus, _) => format!("CPUs {cpus}"),
    });
    checks
}

/// Describes the share of a CPU that the generator needs for exact wake-ups at this rate of pings.
fn spinning(rate: f64) -> String {
    match (rate * EXACT_WAKE_SPIN.as_secs_f64() * 100.0).ceil() {
        percent if percent >= 100.0 => "the generator spins: it uses a whole CPU".to_owned(),
        percent => format!("the generator spins {percent:.0} % of the time"),
    }
}
