//! The text printed before a bench: its target, its plan, and the limits of the machine.
//!
//! This module only describes the run, and never changes the plan.

use super::setup::Setup;
use crate::machine::Machine;
use crate::output::page::Page;
use crate::units::{show_rate, show_seconds};
use peerloop::limits::EXACT_WAKE_SPIN;
use peerloop::load::{EndCause, Generator, Plan};
use std::net::Ipv4Addr;

/// Formats the description of a bench that is not carried out.
pub(super) fn dry_run(setup: &Setup) -> String {
    // The number of pings depends only on the rate and the duration.
    let plan = Plan::new(vec![(Ipv4Addr::LOCALHOST, 1).into()], 1, setup.connect_rate);
    let generator = Generator::new(plan.with_rate(setup.rate, setup.duration));
    let planned = generator.into_report_of_no_run(EndCause::NoneReady).work.planned;
    render(setup) + &format!("dry run {planned} pings would be sent and counted; nothing was opened or written\n")
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
    let [warmup, duration, drain] = [setup.warmup, setup.duration, setup.drain].map(show_seconds);
    let plan = [
        format!("{} peers at {}", setup.connections, show_rate(setup.connect_rate.as_per_second())),
        format!("{} pings, {} per peer", show_rate(setup.rate.as_per_second()), show_rate(setup.rate_per_peer())),
        format!("{warmup} warm-up, {duration} run, {drain} drain"),
    ];
    page.parts("plan    ", "  ", plan);
    let spinning = setup.spin.then(|| spinning(setup.rate.as_per_second()));
    page.parts("checks  ", "  ", checks(&setup.machine, setup.is_built_in()).into_iter().chain(spinning));
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
