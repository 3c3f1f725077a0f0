//! The folder of `-o DIR`: all result files of one run, with their checksums.
//!
//! The folder is created if it is missing. A folder that holds anything but result files is refused before the run,
//! so that no file of the user is replaced or removed. The results of an earlier run are replaced as a whole, at the
//! end of the run.

use crate::exit::Failure;
use crate::forms::{Form, csv, hgrm, hlog, html, json, text};
use crate::model::{Document, RESULT_FILE};
use crate::output::Sink;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file with the checksum of every other file, in the format of `sha256sum`.
const CHECKSUMS: &str = "SHA256SUMS";

/// The files of every run, and their forms.
const FILES: [(&str, Form); 6] = [
    (RESULT_FILE, json::write),
    ("report.txt", report),
    ("report.html", html::write),
    ("intervals.hlog", hlog::write),
    ("timeline.csv", csv::timeline),
    ("summary.csv", csv::summary),
];

/// Files that the user may have placed beside the results with flags of the same run.
const BESIDE: [&str; 1] = ["events.csv"];

/// The end of the names of percentile spectra, of which each metric has its own.
const SPECTRUM: &str = ".hgrm";

/// A folder for results.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The files of [`BESIDE`] that this run writes.
    beside: Vec<&'static str>,
}

impl Folder {
    /// Creates the folder if it is missing. Refuses a folder with foreign files, or without permission to write.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let folder = Self { path: path.to_owned(), beside: Vec::new() };
        fs::create_dir_all(path).map_err(|error| folder.failed("creating", path, &error))?;
        if let Some(foreign) = folder.foreign()? {
            return Err(Failure::usage(format!(
                "-o {}: the folder holds `{foreign}`, which is not a result of `peerloop bench`; name an empty or a \
                 new folder",
                path.display()
            )));
        }
        // The sink creates the file, and removes it again if it did not exist before.
        Sink::open(&path.join(RESULT_FILE)).map(drop)?;
        Ok(folder)
    }

    /// Returns the path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Accepts a file that another flag writes: anywhere else, or beside the results under a name of [`BESIDE`].
    /// Returns false if the folder could not hold that file beside the results.
    pub(crate) fn accept(&mut self, path: &Path) -> bool {
        let parent = match path.parent() {
            _ if path.as_os_str() == "-" => return true,
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let is_elsewhere = fs::canonicalize(parent).ok() != fs::canonicalize(&self.path).ok();
        let beside = BESIDE.into_iter().find(|beside| path.file_name().is_some_and(|name| name == *beside));
        self.beside.extend(beside.filter(|_| !is_elsewhere));
        is_elsewhere || beside.is_some()
    }

    /// Lists the folder's entries by name.
    fn names(&self) -> Result<BTreeSet<String>, Failure> {
        let entries = fs::read_dir(&self.path).map_err(|error| self.failed("listing", &self.path, &error))?;
        let name =
            |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names: io::Result<BTreeSet<String>> = entries.map(name).collect();
        names.map_err(|error| self.failed("listing", &self.path, &error))
    }

    /// Returns the first entry that is not a result.
    fn foreign(&self) -> Result<Option<String>, Failure> {
        let listed = self.listed();
        let is_result = |name: &str| {
            let is_named = name == CHECKSUMS || BESIDE.contains(&name) || FILES.iter().any(|(file, _)| *file == name);
            (is_named || is_spectrum(name) && listed.contains(name)) && self.path.join(name).is_file()
        };
        Ok(self.names()?.into_iter().find(|name| !is_result(name)))
    }

    /// Returns the names in the folder's list of checksums.
    fn listed(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.path.join(CHECKSUMS)).unwrap_or_default();
        let name = |line: &str| line.split_once("  ").map(|(_, name)| name.to_owned());
        text.lines().filter_map(name).filter(|name| !name.contains('/')).collect()
    }

    /// Writes all result files of a run, and removes those of an earlier run that this run does not have. Returns the
    /// files' names.
    pub(crate) fn write(&self, document: &Document) -> Result<Vec<String>, Failure> {
        let spectra = document.metrics.iter().flat_map(|metric| {
            metric.views().map(|(name, view)| {
                let of = if name == "sent" { ".sent" } else { "" };
                (format!("{}{of}{SPECTRUM}", metric.name), hgrm::spectrum(view))
            })
        });
        let spectra: Vec<(String, String)> = spectra.collect();
        let is_old = |name: &String| {
            let is_beside = BESIDE.contains(&name.as_str()) && !self.beside.contains(&name.as_str());
            is_beside || is_spectrum(name) && spectra.iter().all(|(new, _)| new != name)
        };
        for name in self.listed().iter().filter(|name| is_old(name)) {
            let path = self.file(name);
            unless_missing(fs::remove_file(&path)).map_err(|error| self.failed("removing", &path, &error))?;
        }
        let mut sums = String::new();
        let mut names = Vec::new();
        for (name, write) in FILES {
            let sum = self.write_file(name, |out| write(document, out))?;
            sums += &format!("{sum}  {name}\n");
            names.push(name.to_owned());
        }
        for (name, text) in spectra {
            let sum = self.write_file(&name, |out| out.write_all(text.as_bytes()))?;
            sums += &format!("{sum}  {name}\n");
            names.push(name);
        }
        for name in &self.beside {
            let path = self.file(name);
            let sum = File::open(&path).and_then(sum_of).map_err(|error| self.failed("reading", &path, &error));
            sums += &format!("{}  {name}\n", sum?);
        }
        self.write_file(CHECKSUMS, |out| out.write_all(sums.as_bytes()))?;
        names.push(CHECKSUMS.to_owned());
        Ok(names)
    }

    /// Writes one file, and returns the checksum of its content.
    fn write_file(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, Failure> {
        let path = self.file(name);
        let written = File::create(&path).and_then(|file| {
            let mut out = Summed { out: BufWriter::new(file), sum: Sha256::new() };
            write(&mut out)?;
            out.flush()?;
            Ok(hex(out.sum))
        });
        written.map_err(|error| self.failed("writing", &path, &error))
    }

    fn failed(&self, attempt: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::run(format!(
            "-o {}: {attempt} {}: {error}; name a folder that you may write to, on a disk with room",
            self.path.display(),
            path.display()
        ))
    }
}

fn sum_of(mut file: File) -> io::Result<String> {
    let mut sum = Summed { out: io::sink(), sum: Sha256::new() };
    io::copy(&mut file, &mut sum)?;
    Ok(hex(sum.sum))
}

fn hex(sum: Sha256) -> String {
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_spectrum(name: &str) -> bool {
    name.ends_with(SPECTRUM)
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Writes the report for people, as it stands in a file.
fn report(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text::heading(document).as_bytes())?;
    out.write_all(text::summary(document, None).as_bytes())
}

/// A writer that computes the checksum of everything written.
struct Summed<W> {
    out: W,
    sum: Sha256,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.sum.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use peerloop_testkit::Folder as Scratch;

    const RUN: &str = include_str!("../model/fixtures/schema2.json");

    fn scratch() -> Scratch {
        Scratch::new(std::env::temp_dir())
    }

    fn names(path: &Path) -> Vec<String> {
        Folder { path: path.to_owned(), beside: Vec::new() }.names().unwrap().into_iter().collect()
    }

    #[test]
    fn a_missing_folder_is_created_and_stays_empty_until_the_results_are_written() {
        let scratch = scratch();
        let path = scratch.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        assert_eq!(names(&path), [""; 0]);
        folder.write(&model::parse(RUN).unwrap()).unwrap();
        let expected = [
            "SHA256SUMS",
            "connect.hgrm",
            "connect.sent.hgrm",
            "dial_lag.hgrm",
            "handshake.hgrm",
            "intervals.hlog",
            "loop_lag.hgrm",
            "ping_rtt.hgrm",
            "ping_rtt.sent.hgrm",
            "report.html",
            "report.txt",
            "result.json",
            "send_lag.hgrm",
            "summary.csv",
            "timeline.csv",
        ];
        assert_eq!(names(&path), expected);
        assert_eq!(model::read(&path).unwrap().counts.work.answered, 100);
    }

    #[test]
    fn the_checksums_are_those_of_the_files() {
        let scratch = scratch();
        let folder = Folder::open(scratch.path()).unwrap();
        let files = folder.write(&model::parse(RUN).unwrap()).unwrap();
        let sums = fs::read_to_string(folder.file(CHECKSUMS)).unwrap();
        assert_eq!(sums.lines().count(), files.len() - 1);
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let digest = Sha256::digest(fs::read(folder.file(name)).unwrap());
            assert_eq!(sum, digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), "{name}");
        }
    }

    #[test]
    fn results_of_an_earlier_run_are_replaced_and_removed() {
        let scratch = scratch();
        let document = model::parse(RUN).unwrap();
        let mut more = model::parse(RUN).unwrap();
        more.metrics[0].name = "another".to_owned();
        Folder::open(scratch.path()).unwrap().write(&more).unwrap();
        assert!(scratch.path().join("another.hgrm").exists());
        Folder::open(scratch.path()).unwrap().write(&document).unwrap();
        assert!(!scratch.path().join("another.hgrm").exists() && scratch.path().join("connect.hgrm").exists());
    }

    #[test]
    fn a_file_of_another_flag_is_beside_the_results_only_under_a_known_name() {
        let scratch = scratch();
        let mut folder = Folder::open(scratch.path()).unwrap();
        for elsewhere in ["-", "result.json", "/dev/null"] {
            assert!(folder.accept(Path::new(elsewhere)), "{elsewhere}");
        }
        for inside in [RESULT_FILE, "mine.csv"] {
            assert!(!folder.accept(&scratch.path().join(inside)), "{inside}");
        }
        let events = scratch.path().join("events.csv");
        assert!(folder.accept(&events));
        fs::write(&events, "line\n").unwrap();
        folder.write(&model::parse(RUN).unwrap()).unwrap();
        assert!(fs::read_to_string(folder.file(CHECKSUMS)).unwrap().contains("  events.csv\n"));
        Folder::open(scratch.path()).unwrap().write(&model::parse(RUN).unwrap()).unwrap();
        assert!(!events.exists(), "the operations of an earlier run are beside the results of a later one");
    }

    #[test]
    fn a_folder_with_a_foreign_file_is_refused_and_unchanged() {
        for foreign in ["notes.txt", "mine.hgrm", ".hidden"] {
            let scratch = scratch();
            Folder::open(scratch.path()).unwrap().write(&model::parse(RUN).unwrap()).unwrap();
            fs::write(scratch.path().join(foreign), "mine").unwrap();
            let refused = Folder::open(scratch.path()).unwrap_err();
            assert_eq!(refused.exit, crate::exit::Exit::Usage);
            assert!(refused.message.contains(&format!("holds `{foreign}`")), "{}", refused.message);
            assert_eq!(fs::read_to_string(scratch.path().join(foreign)).unwrap(), "mine");
        }
        let scratch = scratch();
        fs::create_dir(scratch.path().join(RESULT_FILE)).unwrap();
        assert!(Folder::open(scratch.path()).unwrap_err().message.contains("holds `result.json`"));
    }

    #[test]
    fn a_path_that_is_no_folder_is_refused_with_its_name() {
        let scratch = scratch();
        let path = scratch.path().join("file");
        fs::write(&path, "").unwrap();
        let refused = Folder::open(&path).unwrap_err().message;
        assert!(refused.contains("creating") && refused.contains("file"), "{refused}");
    }
}
