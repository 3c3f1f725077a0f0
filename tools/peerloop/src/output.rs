//! What leaves the program: stdout for results, stderr for everything else, files that are opened before the work.
//!
//! A reader that has gone away ends the writing quietly. Nothing here uses colours.

use crate::exit::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::run(format!("writing to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes one line to stderr, whose absence changes nothing.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "peerloop: {message}");
}

/// Where a result goes.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        /// Begun here and not written yet: it goes with the value.
        is_empty: bool,
    },
}

impl Sink {
    /// Opens `path`, `-` meaning stdout. What the file holds stays until the result is written; without a result a file
    /// that is begun here goes again.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let begun = OpenOptions::new().create_new(true).write(true).open(path).map(|file| (file, true));
        let opened = begun.or_else(|_| {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
            file.map(|file| (file, false))
        });
        match opened {
            Ok((file, is_empty)) => Ok(Self::File { path: path.to_owned(), file, is_empty }),
            Err(error) => Err(Failure::run(format!(
                "opening {} for writing: {error}; name a file in a folder that exists and is yours",
                path.display()
            ))),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// What the reader may look for; none on stdout.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Stdout => None,
            Self::File { path, .. } => Some(path.display().to_string()),
        }
    }

    /// Replaces what the file held.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout => print(text),
            Self::File { path, file, is_empty } => {
                *is_empty = false;
                replace(file, text)
                    .map_err(|error| Failure::run(format!("writing {}: {error}; it lacks the results", path.display())))
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::File { path, is_empty: true, .. } = self {
            let _ = fs::remove_file(path);
        }
    }
}

fn replace(file: &mut File, text: &str) -> io::Result<()> {
    // Devices and pipes have no length to cut.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}
