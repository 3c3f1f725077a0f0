//! The plan of a run in words: its peers, its rates, its stages and its times.

use super::{is_passive, noun, opens_connections};
use crate::model::{Pace, PlannedStage, Settings};
use crate::units::{counted, show_rate, show_seconds};

/// Maximum number of stages that are listed; more would hide the other parts.
const MAX_STAGES: usize = 8;

/// Lists the parts of a plan. The process carries out segment i of n.
pub(crate) fn parts(config: &Settings, segment: [u32; 2]) -> Vec<String> {
    let mut parts = vec![match opens_connections(&config.workload) {
        true => format!("{}, at most {} at a time", config.workload, counted(config.connections, "connection")),
        false => format!("{} peers at {}", config.connections, show_rate(config.connect_rate_per_s)),
    }];
    let [index, of] = segment;
    if of > 1 {
        parts.push(format!("segment {index} of {of}"));
    }
    rates(&mut parts, config);
    if let Some(size) = config.arrival.strip_prefix("burst:") {
        parts.push(format!("in bursts of {size}"));
    } else if config.arrival != "even" {
        parts.push(format!("{} arrival", config.arrival));
    }
    parts.extend(config.max_operations.map(|count| format!("at most {count} {}", noun(&config.workload))));
    let [warmup, duration, drain] = [config.warmup_ns, config.duration_ns, config.drain_ns].map(|time| time.0);
    let [warmup, duration, drain] = [warmup, duration, drain].map(show_seconds);
    parts.push(format!("{warmup} warm-up, {duration} run, {drain} drain"));
    parts
}

fn rates(parts: &mut Vec<String>, config: &Settings) {
    let noun = noun(&config.workload);
    if is_passive(&config.workload) {
        parts.push(format!("{noun} are observed"));
        return;
    }
    match (config.pace, &config.stages[..]) {
        (Pace::Max, _) => parts.push(format!("{noun} as fast as each peer replies")),
        (Pace::Scheduled | Pace::PerLivingPeer, [stage]) if stage.from_per_s == stage.to_per_s => {
            let [total, each] =
                [config.rate_per_s, config.rate_per_peer_per_s].map(|rate| show_rate(rate.unwrap_or(0.0)));
            let living = if config.pace == Pace::PerLivingPeer { "living " } else { "" };
            parts.push(match opens_connections(&config.workload) {
                true => format!("{total} {noun}"),
                false => format!("{total} {noun}, {each} per {living}peer"),
            });
        }
        (Pace::Scheduled | Pace::PerLivingPeer, stages) => {
            parts.push(format!("{noun} in stages"));
            let shown = stages.iter().take(MAX_STAGES).enumerate();
            parts.extend(shown.map(|(index, stage)| format!("{}: {}", index + 1, described(*stage))));
            if stages.len() > MAX_STAGES {
                parts.push(format!("and {} more", stages.len() - MAX_STAGES));
            }
        }
    }
}

fn described(stage: PlannedStage) -> String {
    format!("{} for {}", changing(stage.from_per_s, stage.to_per_s), show_seconds(stage.duration_ns.0))
}

/// Formats a rate, or two if the rate changes.
pub(crate) fn changing(from: Option<f64>, to: Option<f64>) -> String {
    let [first, last] = [from, to].map(|rate| rate.map_or_else(|| "max".to_owned(), show_rate));
    if first == last { first } else { format!("{first} to {last}") }
}
