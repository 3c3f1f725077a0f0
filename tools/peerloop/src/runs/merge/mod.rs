//! Adds up runs to one document, exactly: counts add up, and histograms bucket by bucket.
//!
//! Intervals are added by their time since the begin of each run's counted part. So intervals of the same length always
//! fit; runs that began together, as with `--start-at`, are thereby aligned by the wall clock too. The worst verdict
//! counts, and reasons name their run. Runs that measured different things are refused.

mod counts;
mod metrics;
mod timeline;

use super::unlike::difference;
use super::{Named, warnings};
use crate::exit::{Failure, precedence};
use crate::model::{
    Document, Ended, Generator, Host, Limit, Merged, Outcome, Part, Run, Settings, Stage, Threshold, Tool, Trust,
};
use crate::output::json::Nanos;
pub(super) use metrics::add_all as add_metrics;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use timeline::Span;

/// Adds up the runs. A single run stays as it is.
pub(crate) fn merge(mut runs: Vec<Named>) -> Result<Document, Failure> {
    if runs.len() == 1
        && let Some(only) = runs.pop()
    {
        return Ok(only.document);
    }
    let parts: Vec<Part> = runs.iter().flat_map(|run| run.document.parts(&run.name)).collect();
    refuse_twins(&parts)?;
    for other in &runs[1..] {
        if let Some(difference) = difference(&runs[0], other) {
            return Err(Failure::run(format!(
                "merging {} and {}: {}; merge runs of one load",
                runs[0].name,
                other.name,
                difference.describe([&runs[0].name, &other.name])
            )));
        }
    }
    let mut warnings = warnings::of(&parts, runs[0].document.timeline.interval);
    let spans = runs.iter_mut().map(|run| Span::of(&run.name, &mut run.document)).collect();
    let timeline = timeline::merge(spans, &mut warnings)
        .map_err(|(name, error)| Failure::run(format!("merging {}, {name}: {error}", runs[0].name)))?;
    runs.iter_mut().for_each(sign);
    let mut runs = runs.into_iter();
    let Some(Named { mut document, .. }) = runs.next() else {
        return Err(Failure::usage("merging: there is no run"));
    };
    for Named { name, document: other } in runs {
        add(&mut document, other).map_err(|error| Failure::run(format!("merging {name}: {error}")))?;
    }
    document.timeline = timeline;
    finish(&mut document, &parts);
    document.merged = Some(Merged { runs: parts, warnings });
    Ok(document)
}

/// Refuses a run that is given twice.
fn refuse_twins(parts: &[Part]) -> Result<(), Failure> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for Part { source, id, .. } in parts {
        if let Some(before) = seen.insert(id, source) {
            return Err(Failure::run(format!(
                "merging {before} and {source}: both contain the run with the `run.id` {id}; give each run once"
            )));
        }
    }
    Ok(())
}

/// Puts the run's name before each of its reasons.
fn sign(Named { name, document }: &mut Named) {
    let reasons = document.exit.reasons.iter_mut().map(|reason| &mut reason.reason);
    let reasons = reasons.chain(&mut document.generator.reasons);
    let reasons = reasons.chain(document.thresholds.iter_mut().map(|threshold| &mut threshold.reason));
    reasons.for_each(|reason| *reason = format!("{name}: {reason}"));
}

/// Adds a run, except for its timeline.
fn add(sum: &mut Document, other: Document) -> Result<(), String> {
    add_tool(&mut sum.tool, other.tool);
    add_run(&mut sum.run, other.run);
    add_host(&mut sum.host, other.host);
    add_settings(&mut sum.config, other.config);
    counts::add_targets(&mut sum.targets, other.targets)?;
    counts::add_agents(&mut sum.agents, other.agents);
    counts::add_counts(&mut sum.counts, other.counts);
    for (stage, other) in sum.stages.iter_mut().zip(other.stages) {
        add_stage(stage, other)?;
    }
    metrics::add_all(&mut sum.metrics, other.metrics)?;
    for threshold in other.thresholds {
        add_threshold(&mut sum.thresholds, threshold);
    }
    add_generator(&mut sum.generator, other.generator);
    sum.exit.reasons.extend(other.exit.reasons);
    let more = other.omitted.into_iter().filter(|omitted| !sum.omitted.contains(omitted));
    sum.omitted.extend(more.collect::<Vec<_>>());
    Ok(())
}

/// Keeps a text that all runs share, and empties one that they do not.
fn common(one: &mut String, other: &str) {
    if one != other {
        one.clear();
    }
}

fn common_option<T: PartialEq>(one: &mut Option<T>, other: &Option<T>) {
    if one != other {
        *one = None;
    }
}

fn add_tool(sum: &mut Tool, Tool { version, git, .. }: Tool) {
    if !sum.version.split(", ").any(|known| known == version) {
        sum.version = format!("{}, {version}", sum.version);
    }
    common_option(&mut sum.git, &git);
}

fn add_run(sum: &mut Run, other: Run) {
    common(&mut sum.name, &other.name);
    sum.labels.retain(|key, value| other.labels.get(key) == Some(value));
    // RFC 3339 in UTC and in one precision sorts as text.
    if other.start < sum.start {
        sum.start = other.start;
    }
    sum.load_start = [sum.load_start.take(), other.load_start].into_iter().flatten().min();
    for (time, other) in [
        (&mut sum.duration_ns, other.duration_ns),
        (&mut sum.scheduled_ns, other.scheduled_ns),
        (&mut sum.ramp_planned_ns, other.ramp_planned_ns),
        (&mut sum.ramp_dial_ns, other.ramp_dial_ns),
    ] {
        *time = Nanos(time.0.max(other.0));
    }
    sum.ramp_ns = sum.ramp_ns.zip(other.ramp_ns).map(|(one, other)| Nanos(one.0.max(other.0)));
    sum.dial_rate_per_s = match (sum.dial_rate_per_s, other.dial_rate_per_s) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    sum.partial |= other.partial;
    common_option(&mut sum.start_at, &other.start_at);
    let late = [sum.start_late_ns, other.start_late_ns].into_iter().flatten().map(|Nanos(late)| late);
    sum.start_late_ns = late.max().map(Nanos).filter(|_| sum.start_at.is_some());
    sum.rate_changes.extend(other.rate_changes);
    common(&mut sum.seed, &other.seed);
    if sum.command != other.command {
        sum.command.clear();
    }
}

fn add_host(sum: &mut Host, other: Host) {
    let is_same =
        sum.name.as_deref().is_some_and(|names| names.split(", ").any(|name| Some(name) == other.name.as_deref()))
            || sum.name == other.name;
    if is_same {
        sum.cpus = sum.cpus.max(other.cpus);
    } else {
        sum.cpus += other.cpus;
        let names: Vec<String> = [sum.name.take(), other.name].into_iter().flatten().collect();
        sum.name = Some(names.join(", "));
    }
    common(&mut sum.os, &other.os);
    common_option(&mut sum.kernel, &other.kernel);
    common_option(&mut sum.cpu_model, &other.cpu_model);
    sum.descriptors = sum.descriptors.min(other.descriptors);
    common_option(&mut sum.ports, &other.ports);
    sum.backlog = [sum.backlog, other.backlog].into_iter().flatten().min();
    sum.load_average = [sum.load_average, other.load_average].into_iter().flatten().reduce(f64::max);
}

/// Adds the fields that belong to one process; all others are equal.
fn add_settings(sum: &mut Settings, other: Settings) {
    sum.min_peers += other.min_peers;
    let known: BTreeSet<String> = mem::take(&mut sum.source_ips).into_iter().chain(other.source_ips).collect();
    sum.source_ips = known.into_iter().collect();
}

fn add_stage(sum: &mut Stage, other: Stage) -> Result<(), String> {
    sum.begin_ns = Nanos(sum.begin_ns.0.min(other.begin_ns.0));
    sum.end_ns = Nanos(sum.end_ns.0.max(other.end_ns.0));
    metrics::add_all(&mut sum.metrics, other.metrics)
}

/// Keeps the worse of two results of the same threshold.
fn add_threshold(sum: &mut Vec<Threshold>, other: Threshold) {
    let rank = |result| match result {
        Outcome::Fail => 2,
        Outcome::NoData => 1,
        Outcome::Pass => 0,
    };
    match sum.iter_mut().find(|threshold| threshold.expr == other.expr) {
        Some(known) if rank(known.result) >= rank(other.result) => {}
        Some(known) => *known = other,
        None => sum.push(other),
    }
}

fn add_generator(sum: &mut Generator, other: Generator) {
    sum.cpu_working = sum.cpu_working.max(other.cpu_working);
    sum.cpu_spinning = sum.cpu_spinning.max(other.cpu_spinning);
    // Documents of older versions do not name their doubts.
    let is_named = |one: &Generator| one.verdict == Trust::Trusted || !one.doubts.is_empty();
    if is_named(sum) && is_named(&other) {
        let new: Vec<String> = other.doubts.iter().filter(|doubt| !sum.doubts.contains(doubt)).cloned().collect();
        sum.doubts.extend(new);
    } else {
        sum.doubts.clear();
    }
    if other.verdict == Trust::NotTrusted {
        sum.verdict = Trust::NotTrusted;
    }
    sum.reasons.extend(other.reasons);
    let rank = |limit| match limit {
        Limit::Generator => 2,
        Limit::Node => 1,
        Limit::None => 0,
    };
    if rank(other.limit) > rank(sum.limit) {
        sum.limit = other.limit;
    }
}

/// Sets the fields that follow from all runs together.
fn finish(document: &mut Document, parts: &[Part]) {
    let mut ids: Vec<&str> = parts.iter().map(|part| part.id.as_str()).collect();
    ids.sort_unstable();
    let digest = Sha256::digest(ids.join("\n"));
    let Document { run, counts, exit, agents, .. } = document;
    run.id = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    run.segment = [1, 1];
    run.rate_changes.sort_by_key(|change| (change.phase as u8, change.at_ns.0));
    let seconds = run.scheduled_ns.0.as_secs_f64();
    run.answered_per_s = (seconds > 0.0).then(|| counts.work.answered as f64 / seconds);
    counts.errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    agents.sort_by_key(|agent| std::cmp::Reverse(agent.peers));
    exit.reasons.sort_by_key(|reason| precedence(reason.code));
    let first = exit.reasons.first();
    *exit = Ended {
        code: first.map_or(0, |reason| reason.code),
        reason: first.map_or("finished", |reason| &reason.reason).to_owned(),
        reasons: mem::take(&mut exit.reasons),
    };
}

#[cfg(test)]
mod tests;
