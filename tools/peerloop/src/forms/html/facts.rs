//! The sections of tables: the configuration, the host, the thresholds, the latencies, the stages, the targets and the
//! errors.

use super::table::{Cell, Table};
use super::{LAG, percentile_text, section};
use crate::forms::text::plan;
use crate::model::{Document, Failed, Group, Host, Metric, Outcome, Side, View, Work};
use crate::output::json::Nanos;
use crate::units::{counted, show_bytes, show_latency, show_seconds, show_share};

/// Maximum number of rows of a table; more would hide the rest of the page, and make it large.
const MAX_ROWS: usize = 100;
/// Maximum number of thresholds, of causes of errors, and of user agents in a table.
const MAX_KINDS: usize = 20;
/// Maximum number of columns for percentiles.
const MAX_PERCENTILES: usize = 12;

/// Writes the configuration and the host.
pub(super) fn configuration(document: &Document) -> String {
    let Document { tool, run, config, counts, .. } = document;
    let mut table = Table::new("Configuration", ["key", "value"]);
    let mut fact = |key: &str, value: String| table.row(key, [value.into()]);
    fact("Plan", plan::parts(config, run.segment).join(", "));
    fact("Workload", format!("{}, arrival {}", config.workload, config.arrival));
    fact("Network", config.network.clone());
    fact("Targets", targets(document));
    fact("User agents", agents(document));
    if !config.source_ips.is_empty() {
        fact("Source addresses", config.source_ips.join(", "));
    }
    fact("Maximum time for a reply", show_seconds(config.timeout_ns.0));
    fact(
        "Generator waits by",
        if config.spin { "polling, exactly".into() } else { "sleeping, up to 1 ms late".into() },
    );
    let [sent, received] = [counts.sent_bytes, counts.received_bytes].map(show_bytes);
    fact("Traffic", format!("{sent} out, {received} in"));
    if let Some(start_at) = &run.start_at {
        let late =
            run.start_late_ns.map_or_else(|| "never began".to_owned(), |late| format!("{} late", show_latency(late.0)));
        fact("Requested start", format!("{start_at}, {late}"));
    }
    let changes = run.rate_changes.len();
    if changes > 0 {
        fact("Changes of the rate", format!("{} by signals", counted(changes as u64, "change")));
    }
    let git = tool.git.as_ref().map(|git| format!(", commit {git}")).unwrap_or_default();
    fact("Program", format!("{} {}{git}", tool.name, tool.version));
    fact("Seed", run.seed.clone());
    fact("Run", run.id.clone());
    let command: Vec<&str> = run.command.iter().map(String::as_str).collect();
    fact("Command", format!("peerloop {}", command.join(" ")));
    table.finish("facts") + &host(&document.host)
}

fn targets(Document { targets, .. }: &Document) -> String {
    let mut shown: Vec<&str> = targets.iter().take(MAX_KINDS).map(|target| &*target.addr).collect();
    let more = format!("and {} more", targets.len().saturating_sub(MAX_KINDS));
    shown.extend((targets.len() > MAX_KINDS).then_some(&*more));
    shown.join(", ")
}

fn agents(Document { agents, .. }: &Document) -> String {
    let agent = |agent: &crate::model::Agent| {
        let name = if agent.agent.is_empty() { "(no user agent)" } else { &agent.agent };
        format!("{name} protocol {} ({})", agent.protocol, counted(agent.peers, "peer"))
    };
    let mut shown: Vec<String> = agents.iter().take(MAX_KINDS).map(agent).collect();
    shown.extend((agents.len() > MAX_KINDS).then(|| format!("and {} more", agents.len() - MAX_KINDS)));
    if shown.is_empty() { "no data: no peer became ready".to_owned() } else { shown.join(", ") }
}

fn host(host: &Host) -> String {
    let unknown = || "not reported".to_owned();
    let mut table = Table::new("Host of the generator", ["key", "value"]);
    let mut fact = |key: &str, value: String| table.row(key, [value.into()]);
    fact("Name", host.name.clone().unwrap_or_else(unknown));
    fact("System", host.kernel.clone().unwrap_or_else(|| host.os.clone()));
    fact(
        "CPUs",
        format!("{}, {}", host.cpus, host.cpu_model.clone().unwrap_or_else(|| "model not reported".to_owned())),
    );
    fact("Load average before", host.load_average.map_or_else(unknown, |load| format!("{load:.2}")));
    fact("File descriptors", host.descriptors.to_string());
    fact("Local ports", host.ports.map_or_else(unknown, |(first, last)| format!("{first} to {last}")));
    fact("Listener backlog", host.backlog.map_or_else(unknown, |backlog| backlog.to_string()));
    table.finish("facts")
}

/// Writes the thresholds with their results; nothing without thresholds.
pub(super) fn thresholds(document: &Document) -> String {
    if document.thresholds.is_empty() {
        return String::new();
    }
    let mut table = Table::new("Thresholds: a threshold without data is not met", ["threshold", "result", "reason"]);
    for threshold in document.thresholds.iter().take(MAX_KINDS) {
        let (text, is_bad) = match threshold.result {
            Outcome::Pass => ("met", false),
            Outcome::Fail => ("NOT MET", true),
            Outcome::NoData => ("NOT MET: no data", true),
        };
        table.row(&threshold.expr, [Cell::marked(text, is_bad), threshold.reason.clone().into()]);
    }
    let more = more(document.thresholds.len(), MAX_KINDS, "threshold");
    section("thresholds", "Thresholds", &(table.finish("facts") + &more))
}

/// Writes the percentiles of metrics: those of the load, or those of the generator itself.
pub(super) fn metrics_table(caption: &str, metrics: &[Metric], are_lags: bool) -> String {
    let metrics: Vec<&Metric> = metrics.iter().filter(|metric| metric.name.ends_with(LAG) == are_lags).collect();
    let Some(view) = metrics.first().and_then(|metric| metric.first_view()) else {
        return "<p>No data: nothing was measured.</p>\n".to_owned();
    };
    let mut columns = vec!["metric".to_owned(), "counted from".to_owned(), "measured".to_owned(), "failed".to_owned()];
    columns.extend(view.percentiles.0.iter().take(MAX_PERCENTILES).map(|(one, _)| one.heading()));
    let mut table = Table::new(caption, columns);
    for metric in metrics {
        for (name, view) in metric.views() {
            let from = match (name, metric.name.as_str()) {
                ("planned", _) => "planned time",
                ("sent", "connect") => "dial",
                ("sent", _) => "send",
                (_, name) if name.ends_with(LAG) => "planned time",
                _ => "connection",
            };
            let counts = [from.into(), view.latencies.count().into(), Cell::failures(view.failed)];
            table.row(&metric.name, counts.into_iter().chain(percentile_cells(Some(view))));
        }
    }
    table.finish("numbers")
}

fn percentile_cells(view: Option<&View>) -> impl Iterator<Item = Cell> {
    let values = view.into_iter().flat_map(|view| view.percentiles.0.iter().take(MAX_PERCENTILES));
    values.map(|(_, value)| Cell::marked(percentile_text(*value), value.measured().is_none()))
}

fn work_cells(work: Work) -> [Cell; 5] {
    let Work { planned, sent, unsent, answered, timed_out, .. } = work;
    let share = if planned == 0 { "no data".to_owned() } else { show_share(answered, planned) };
    [
        planned.into(),
        sent.into(),
        Cell::failures(unsent),
        Cell::failures(timed_out),
        Cell::marked(share, answered < planned),
    ]
}

const WORK_COLUMNS: [&str; 5] = ["planned", "sent", "unsent", "timed out", "answered"];

/// Writes a row for each stage; nothing for a single stage, whose results are those of the run.
pub(super) fn stages(document: &Document) -> String {
    if document.stages.len() < 2 {
        return String::new();
    }
    let view = document.stages.iter().flat_map(|stage| &stage.metrics).find_map(Metric::first_view);
    let headings = view.into_iter().flat_map(|view| view.percentiles.0.iter().take(MAX_PERCENTILES));
    let headings: Vec<String> = headings.map(|(one, _)| one.heading()).collect();
    let columns = ["stage", "begin", "rate"].into_iter().chain(WORK_COLUMNS).chain(headings.iter().map(String::as_str));
    let caption = "Stages: an operation belongs to the stage of its planned moment";
    let mut table = Table::new(caption, columns);
    for (index, stage) in document.stages.iter().enumerate().take(MAX_ROWS) {
        let rate = plan::changing(stage.from_per_s, stage.to_per_s);
        for metric in &stage.metrics {
            let Some(work) = metric.work else { continue };
            let begin: [Cell; 2] = [show_seconds(stage.begin_ns.0).into(), rate.clone().into()];
            let cells = begin.into_iter().chain(work_cells(work)).chain(percentile_cells(metric.first_view()));
            table.row(&(index + 1).to_string(), cells);
        }
    }
    section("stages", "Stages", &(table.finish("numbers") + &more(document.stages.len(), MAX_ROWS, "stage")))
}

/// Writes the intervals of the percentiles; nothing if the document has none.
pub(super) fn intervals(document: &Document) -> String {
    if document.estimates.is_empty() {
        return String::new();
    }
    let show = |value: Option<Nanos>| value.map_or_else(|| "failed".to_owned(), |value| show_latency(value.0));
    let caption = "The interval that contains the percentile of a much longer run with 95 % confidence";
    let mut table = Table::new(caption, ["percentile", "counted from", "value", "interval"]);
    for one in document.estimates.iter().filter(|one| one.percentile != "100").take(2 * MAX_PERCENTILES) {
        let interval = match (one.bounds_ns, one.more_ns) {
            (Some([low, high]), _) => format!("{} to {}", show(low), show(high)),
            (None, Some(more)) => format!("needs a run that is about {} longer", show_seconds(more.0)),
            (None, None) => "no data".to_owned(),
        };
        let from = if one.view == "planned" { "planned time" } else { "send" };
        let cells = [from.into(), show(one.value_ns).into(), interval.into()];
        table.row(&format!("{} p{}", one.metric, one.percentile), cells);
    }
    table.finish("numbers")
}

/// Writes the latencies of each group of `report --by`.
pub(super) fn groups(document: &Document) -> String {
    let table =
        |group: &Group| metrics_table(&format!("By {}: {}", group.by.word(), group.name), &group.metrics, false);
    let tables: String = document.groups.iter().take(MAX_KINDS).map(table).collect();
    match document.groups.len() {
        0 => String::new(),
        all => section("groups", "Groups", &(tables + &more(all, MAX_KINDS, "group"))),
    }
}

/// Writes a row for each target; nothing for a single target, whose results are those of the run.
pub(super) fn targets_section(document: &Document) -> String {
    if document.targets.len() < 2 {
        return String::new();
    }
    let view = document.targets.iter().find_map(|target| target.view.as_ref());
    let headings = view.into_iter().flat_map(|view| view.percentiles.0.iter().take(MAX_PERCENTILES));
    let headings: Vec<String> = headings.map(|(one, _)| one.heading()).collect();
    let columns = ["target", "ready", "lost", "failed"].into_iter().chain(WORK_COLUMNS);
    let mut table = Table::new("Targets", columns.chain(headings.iter().map(String::as_str)));
    for target in document.targets.iter().take(MAX_ROWS) {
        let peers = target.peers;
        let ready = Cell::marked(format!("{} of {}", peers.ready, peers.asked), peers.ready < peers.asked);
        let peers = [ready, Cell::failures(peers.lost), Cell::failures(peers.failed)];
        let cells = peers.into_iter().chain(work_cells(target.work)).chain(percentile_cells(target.view.as_ref()));
        table.row(&target.addr, cells);
    }
    section("targets", "Targets", &(table.finish("numbers") + &more(document.targets.len(), MAX_ROWS, "target")))
}

/// Writes the connections that failed or were lost, by side and cause.
pub(super) fn errors(document: &Document) -> String {
    let errors = &document.counts.errors;
    let count = |side: Side| errors.iter().filter(|error| error.side == side).map(|error| error.count).sum::<u64>();
    let body = if errors.is_empty() {
        "<p>No connection failed or was closed too soon.</p>\n".to_owned()
    } else {
        let [local, remote] = [Side::Local, Side::Remote].map(count);
        let caption =
            format!("Connections that failed or were closed too soon: {local} by this side, {remote} by the other");
        let mut table = Table::new(&caption, ["cause", "side", "connections", "explanation"]);
        for Failed { cause, side, count, explanation, .. } in errors.iter().take(MAX_KINDS) {
            let side = match side {
                Side::Local => "this side",
                Side::Remote => "other side",
            };
            table.row(cause, [side.into(), Cell::failures(*count), explanation.into()]);
        }
        table.finish("facts") + &more(errors.len(), MAX_KINDS, "cause")
    };
    section("errors", "Errors", &body)
}

/// States the number of rows that are not shown.
fn more(all: usize, shown: usize, noun: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("<p>{} more: see result.json.</p>\n", counted(more as u64, noun)),
    }
}
