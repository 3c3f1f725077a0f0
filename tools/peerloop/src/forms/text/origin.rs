//! The lines about the origin of a merged document or of a part of a run.

use crate::model::{Cut, Document, Merged};
use crate::output::page::Page;
use crate::units::{counted, show_seconds};

/// Maximum number of runs that are named; more would hide the results.
const MAX_RUNS: usize = 20;

/// Writes the runs that were merged, the warnings about them, and the part that the report covers.
pub(super) fn write(page: &mut Page, document: &Document) {
    if let Some(Merged { runs, warnings }) = &document.merged {
        let mut parts = vec![format!("{} merged", counted(runs.len() as u64, "run"))];
        parts.extend(runs.iter().take(MAX_RUNS).map(|run| match run.segment {
            [_, 1] => run.source.clone(),
            [index, of] => format!("{} (segment {index}/{of})", run.source),
        }));
        let more = runs.len().saturating_sub(MAX_RUNS);
        parts.extend((more > 0).then(|| format!("and {more} more")));
        page.parts("runs    ", "  ", parts);
        warnings.iter().for_each(|warning| page.wrapped("warning ", warning));
    }
    if let Some(Cut { from_ns, to_ns, of_ns }) = document.cut {
        let [from, to, of] = [from_ns, to_ns, of_ns].map(|time| show_seconds(time.0));
        page.wrapped(
            "part    ",
            &format!(
                "{from} to {to} of {of}: operations due and replies received in these intervals; peers, traffic, \
                 failures and the verdict are those of the whole run"
            ),
        );
    }
}
