//! Earlier findings: each tape in `regressions` is replayed with and without its hostile peers, and must break no
//! invariant.
//!
//! A tape's first line describes its finding. The command `sim` writes such files; a file is kept here if its finding
//! was a bug that has been fixed.

use peerloop::sim::Tape;
use peerloop_swarm::{Profile, run};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the paths of all kept tapes, sorted by name.
fn tapes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let entries = fs::read_dir(folder).expect("the folder exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tape"));
    paths.sort();
    paths
}

#[test]
fn no_fixed_finding_reappears() {
    for path in tapes() {
        let name = path.display();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let found = found.unwrap_or_else(|| panic!("{name}: the first line does not start with `# `"));
        for profile in [Profile::Standard, Profile::WithoutHostile] {
            let tape = Tape::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let violations = run(&tape, profile).violations;
            assert!(violations.is_empty(), "{name} ({found}) with {profile:?}: {violations:?}");
        }
    }
}
