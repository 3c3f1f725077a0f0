//! The results by host or by stage.

use super::Named;
use super::merge::add_metrics;
use crate::exit::Failure;
use crate::model::{By, Document, Group};
use crate::units::{show_rate, show_seconds};

/// Adds the groups of these runs: by host from the runs, or by stage from the document into which they are merged.
pub(crate) fn hosts(runs: &[Named]) -> Result<Vec<Group>, Failure> {
    let mut groups: Vec<Group> = Vec::new();
    for Named { name, document } in runs {
        let failed = |error: &str| Failure::run(format!("grouping {name} by host: {error}"));
        if let Some(merged) = &document.merged
            && merged.runs.iter().any(|part| part.host != merged.runs[0].host)
        {
            return Err(failed("it is merged from several hosts already; give the runs of the hosts"));
        }
        let host = document.host.name.clone().unwrap_or_else(|| "(no name)".to_owned());
        match groups.iter_mut().find(|group| group.name == host) {
            Some(group) => {
                add_metrics(&mut group.metrics, document.metrics.clone()).map_err(|error| failed(&error))?;
            }
            None => groups.push(Group { by: By::Host, name: host, metrics: document.metrics.clone() }),
        }
    }
    Ok(groups)
}

/// Returns the stages of a document as groups.
pub(crate) fn stages(document: &Document) -> Result<Vec<Group>, Failure> {
    if document.stages.is_empty() {
        return Err(Failure::run(
            "grouping by stage: no whole stage is in the results; omit --by stage, or --from and --to",
        ));
    }
    let group = |(index, stage): (usize, &crate::model::Stage)| {
        let [from, to] =
            [stage.from_per_s, stage.to_per_s].map(|rate| rate.map_or_else(|| "max".to_owned(), show_rate));
        let rate = if from == to { from } else { format!("{from} to {to}") };
        let time = show_seconds(stage.end_ns.0.saturating_sub(stage.begin_ns.0));
        Group { by: By::Stage, name: format!("{} {rate} for {time}", index + 1), metrics: stage.metrics.clone() }
    };
    Ok(document.stages.iter().enumerate().map(group).collect())
}
