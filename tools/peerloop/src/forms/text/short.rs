//! A run in one line, for the progress of several runs.

use super::noun;
use crate::model::Document;
use crate::output::page::Page;
use crate::units::{show_rate, show_share};

/// Formats a run after a label: its name, its results, and whether its numbers can be trusted.
pub(crate) fn short(label: &str, name: &str, document: &Document) -> String {
    let Document { run, config, counts, generator, .. } = document;
    let mut parts = vec![name.to_owned()];
    if counts.work.planned > 0 {
        let share = show_share(counts.work.answered, counts.work.planned);
        parts.push(format!("{share} of {} {} answered", counts.work.planned, noun(&config.workload)));
    }
    if let Some(view) = document.main_metric().and_then(|metric| metric.first_view()) {
        parts.extend([50.0, 99.0].map(|percent| format!("p{percent} {}", view.percentile(percent).shown())));
    }
    parts.extend(run.answered_per_s.map(show_rate));
    parts.push(generator.verdict.words().to_owned());
    parts.extend(run.partial.then(|| "partial".to_owned()));
    let mut page = Page(String::new());
    page.parts(&format!("{label}   "), "   ", parts);
    page.0
}
