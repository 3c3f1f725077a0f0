//! A folder for the files of one test.
//!
//! Each folder has a unique name, and is removed when its value is dropped, even if the test fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new folder, which is removed when this value is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates a folder in `parent`. Pass `env!("CARGO_TARGET_TMPDIR")` or, where cargo does not set that variable,
    /// the system's temporary folder.
    pub fn new(parent: impl AsRef<Path>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("peerloop-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = parent.as_ref().join(name);
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is UTF-8").to_owned()
    }

    /// Writes a file in the folder, and returns the file's path.
    pub fn with(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, text).expect("the file can be written");
        path
    }

    /// Lists the names of the folder's entries, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder exists");
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.expect("the entry can be read").file_name().into_string();
        let mut names: Vec<String> = entries.map(|entry| name(entry).expect("the name is UTF-8")).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A failed test may still use the folder; an error here must not hide that failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
