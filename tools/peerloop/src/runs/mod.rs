//! Several runs: reads them, finds out how they differ, and adds them up to one document.
//!
//! Counts and histograms are added exactly. Runs that measured something else are refused, with the field that differs.

mod cut;
mod group;
mod merge;
mod spread;
mod unlike;
mod values;
mod warnings;

use crate::exit::Failure;
use crate::model::{self, Document, RESULT_FILE};
pub(crate) use cut::cut;
pub(crate) use group::{hosts, stages};
pub(crate) use merge::merge;
pub(crate) use spread::Spread;
use std::fs;
use std::path::{Path, PathBuf};
pub(crate) use unlike::of_settings;
pub(crate) use values::{Judged, Unit, doubt, show_value};

/// A run and the name that messages give it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) document: Document,
}

/// Reads the runs of these files and folders. A folder without a result of its own stands for the folders in it that
/// have one, in the order of their names.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Named>, Failure> {
    let mut runs = Vec::new();
    for path in paths {
        for path in expanded(path) {
            let document = model::read(&path)?;
            runs.push(Named { name: name(&path), document });
        }
    }
    Ok(runs)
}

/// Lists the runs in a folder, or returns the path itself if it is a run or not such a folder.
fn expanded(path: &Path) -> Vec<PathBuf> {
    let is_run = |path: &Path| path.join(RESULT_FILE).is_file();
    if !path.is_dir() || is_run(path) {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| is_run(path)).collect();
    found.sort_unstable();
    // Reading the folder itself then explains that it has no result.
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

/// Returns the name of a run: its path, without the name that every folder's result has.
fn name(path: &Path) -> String {
    let folder = path.parent().filter(|folder| path.ends_with(RESULT_FILE) && !folder.as_os_str().is_empty());
    let name = folder.unwrap_or(path).display().to_string();
    match name.trim_end_matches('/') {
        "" => name,
        trimmed => trimmed.to_owned(),
    }
}
