//! Makes the commit of the sources known to the program, which writes it into its results.
//!
//! The variable `PEERLOOP_GIT` at build time has priority, for a package that is built without a repository. Without
//! the variable and without a repository the commit is unknown; the build never fails for that.

use std::path::Path;
use std::process::Command;

/// Length of a shortened commit hash in characters.
const HASH_CHARS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=PEERLOOP_GIT");
    let given = std::env::var("PEERLOOP_GIT").ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = given.or_else(commit) {
        println!("cargo::rustc-env=PEERLOOP_COMMIT={commit}");
    }
}

/// Returns the commit of the repository that contains this package, with `-dirty` if a file of it has changed since.
fn commit() -> Option<String> {
    // Another repository may contain an unpacked package. Only this project's repository has this file.
    let root = Path::new("../..");
    if !root.join(".git").exists() || !root.join("tools/peerloop/build.rs").exists() {
        return None;
    }
    // The commit changes with the first files, and the mark with the sources. Git's index is not among them: commands
    // that only read it rewrite it, and each change would compile the program again.
    for path in ["logs/HEAD", "HEAD"] {
        let path = git(&["rev-parse", "--git-path", path])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for path in ["src", "build.rs", "Cargo.toml", "../../src", "../../Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let hash = git(&["rev-parse", &format!("--short={HASH_CHARS}"), "HEAD"])?;
    let changes =
        git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "../../src", "../../Cargo.lock"])?;
    Some(if changes.is_empty() { hash } else { format!("{hash}-dirty") })
}

/// Runs git in this package's folder; `None` if there is no git or it fails.
fn git(arguments: &[&str]) -> Option<String> {
    // Without optional locks, git writes nothing.
    let output = Command::new("git")
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
