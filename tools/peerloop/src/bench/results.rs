//! Writes the results of a run: the files of the flags, the folder, and the report on stdout.

use super::setup::{Outputs, Setup};
use crate::exit::Failure;
use crate::forms::{Form, csv, hgrm, hlog, html, json, text};
use crate::model::Document;
use crate::output;

/// Writes all forms of the results. Files are written first, so that a closed terminal cannot prevent that. A file
/// that cannot be written does not prevent the other outputs.
pub(super) fn write(setup: &mut Setup, document: &Document, events: Option<String>) -> Result<(), Failure> {
    let Outputs { json, hlog, hgrm, html, csv, folder, is_stdout_taken, .. } = &mut setup.outputs;
    let mut outcomes = Vec::new();
    let mut files = Vec::new();
    let forms: [(_, Form); 5] =
        [(json, json::write), (hlog, hlog::write), (hgrm, hgrm::write), (html, html::write), (csv, csv::timeline)];
    for (sink, form) in forms {
        if let Some(sink) = sink {
            files.extend(sink.name());
            outcomes.push(sink.write_with(|out| form(document, out)));
        }
    }
    files.extend(events);
    if let Some(folder) = folder {
        match folder.write(document) {
            Ok(names) => files.extend(names.iter().map(|name| folder.file(name).display().to_string())),
            Err(failure) => outcomes.push(Err(failure)),
        }
    }
    match is_stdout_taken {
        true => output::remark(&text::verdict(document)),
        false => {
            let report = text::summary(document, Some(&files));
            outcomes.push(output::print(&if output::has_colours() { text::coloured(&report) } else { report }));
        }
    }
    outcomes.into_iter().collect()
}
