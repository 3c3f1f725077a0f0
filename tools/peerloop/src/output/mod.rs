//! The program's output: stdout for results, stderr for everything else, and files that are opened before the work
//! starts.
//!
//! If standard output is a pipe and its reader closes it, writing stops without an error. Nothing here uses colours;
//! [`has_colours`] says whether they are wanted.

pub(crate) mod json;
pub(crate) mod page;

use crate::exit::Failure;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
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

/// Returns whether stdout may carry colours: it is a terminal that can show them, and `NO_COLOR` is unset or empty.
pub(crate) fn has_colours() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_dumb && !is_refused && io::stdout().is_terminal()
}

/// Writes one line to stderr; a failure to write is ignored.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "peerloop: {message}");
}

/// Environment variables that name a node's files. No result may replace these files.
const NODE_FILES: [&str; 2] = ["PEERLOOP_BOOK", "PEERLOOP_CONFIG"];

/// Opens the files for the results. `outputs` contains each result's flag, and its path if the flag is set.
///
/// Refuses two flags that name the same file, even by different paths, because the second result would replace the
/// first. Also refuses a file in `kept`, a node's file that a variable names, and a file to which standard output or
/// standard error is redirected.
pub(crate) fn open_all<const N: usize>(
    outputs: [(&'static str, Option<&Path>); N],
    kept: &[(&str, &Path)],
) -> Result<[Option<Sink>; N], Failure> {
    let mut sinks = [const { None }; N];
    let mut opened: Vec<(String, FileId)> = Vec::new();
    for ((flag, path), sink) in outputs.into_iter().zip(&mut sinks) {
        let Some(path) = path else { continue };
        let sink = sink.insert(Sink::open(path)?);
        opened.extend(sink.id().map(|id| (format!("{flag} {}", path.display()), id)));
    }
    // The known files are listed only now, because the loop above may have created a file of `kept`.
    let mut known = known_files(kept);
    for (name, id) in opened {
        if let Some(Known { name: other, is_stream, .. }) = known.iter().find(|known| known.id == id) {
            let hint = if *is_stream { "; use `-` for standard output" } else { "" };
            return Err(Failure::usage(format!("{name} and {other} are the same file; use different files{hint}")));
        }
        known.push(Known { name, id, is_stream: false });
    }
    Ok(sinks)
}

/// A file that no result may replace.
struct Known {
    name: String,
    id: FileId,
    /// Whether the file is this process's standard output or standard error.
    is_stream: bool,
}

/// Lists the existing files that no result may replace.
fn known_files(kept: &[(&str, &Path)]) -> Vec<Known> {
    let of_path = |path: &Path| fs::metadata(path).ok().and_then(|metadata| FileId::of(&metadata));
    let of_variable = |name: &str| std::env::var_os(name).and_then(|path| of_path(path.as_ref()));
    let kept = kept.iter().map(|(flag, path)| ((*flag).to_owned(), of_path(path)));
    let of_node = NODE_FILES.iter().map(|name| (format!("the file of variable {name}"), of_variable(name)));
    let streams = [
        ("standard output".to_owned(), FileId::of_stream(&io::stdout())),
        ("standard error".to_owned(), FileId::of_stream(&io::stderr())),
    ];
    let known = |is_stream| move |(name, id): (String, Option<_>)| Some(Known { name, id: id?, is_stream });
    kept.chain(of_node).filter_map(known(false)).chain(streams.into_iter().filter_map(known(true))).collect()
}

/// The identity of a file, the same for all names of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileId {
    /// Standard output, named `-`.
    Stdout,
    File {
        device: u64,
        inode: u64,
    },
}

impl FileId {
    /// Returns the identity of a file or a pipe. Returns `None` for anything else, such as a terminal or `/dev/null`,
    /// which stores nothing that could be lost.
    fn of(metadata: &Metadata) -> Option<Self> {
        let is_kept = metadata.is_file() || metadata.file_type().is_fifo();
        is_kept.then(|| Self::File { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Returns the identity of the file that a stream of this process is written to.
    fn of_stream(stream: &impl AsFd) -> Option<Self> {
        let stream = File::from(stream.as_fd().try_clone_to_owned().ok()?);
        Self::of(&stream.metadata().ok()?)
    }
}

/// Writes one line to stderr, without the prefix of an error; a failure to write is ignored.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The destination of a result.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        /// Whether the file was created here and is still empty; if so, dropping the sink removes it.
        is_empty: bool,
    },
}

impl Sink {
    /// Opens `path`; `-` means stdout. The file keeps its content until the result is written; a file that is created
    /// here is removed if there is no result.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let begun = OpenOptions::new().create_new(true).write(true).open(path).map(|file| (file, true));
        let opened = begun.or_else(|_| {
            // If a symbolic link's target is missing, the target is created.
            let is_begun = !path.exists();
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
            file.map(|file| (file, is_begun))
        });
        match opened {
            Ok((file, is_empty)) => Ok(Self::File { path: path.to_owned(), file, is_empty }),
            Err(error) => Err(Failure::run(format!(
                "opening {} for writing: {error}; name a file in an existing folder that you may write to",
                path.display()
            ))),
        }
    }

    fn id(&self) -> Option<FileId> {
        match self {
            Self::Stdout => Some(FileId::Stdout),
            Self::File { file, .. } => file.metadata().ok().and_then(|metadata| FileId::of(&metadata)),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Returns the file's name to show to the user; `None` for stdout.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Stdout => None,
            Self::File { path, .. } => Some(path.display().to_string()),
        }
    }

    /// Writes the result: to stdout, or to the file in place of its content.
    pub(crate) fn write_with(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let written = self.begin().and_then(|()| {
            let mut out = BufWriter::new(&mut *self);
            write(&mut out)?;
            out.flush()
        });
        written.map_err(|error| match self {
            Self::Stdout => Failure::run(format!("writing to standard output: {error}")),
            Self::File { path, .. } => {
                Failure::run(format!("writing {}: {error}; the results are missing or incomplete", path.display()))
            }
        })
    }

    /// Removes the old content, and returns the sink for writing in parts over a longer time.
    pub(crate) fn stream(mut self) -> io::Result<Stream> {
        self.begin().map(|()| Stream(self))
    }

    /// Removes the file's old content. Devices and pipes have no length to truncate.
    fn begin(&mut self) -> io::Result<()> {
        let Self::File { file, is_empty, .. } = self else { return Ok(()) };
        *is_empty = false;
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => unless_closed(io::stdout().write(bytes), bytes.len()),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => unless_closed(io::stdout().flush(), ()),
            Self::File { file, .. } => file.flush(),
        }
    }
}

/// Replaces the error of a pipe whose reader has closed it: the reader does not want the rest.
fn unless_closed<T>(outcome: io::Result<T>, otherwise: T) -> io::Result<T> {
    outcome.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(otherwise) } else { Err(error) })
}

/// A sink that is being written.
#[derive(Debug)]
pub(crate) struct Stream(Sink);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::File { path, is_empty: true, .. } = self {
            let _ = fs::canonicalize(path).and_then(fs::remove_file);
        }
    }
}
