//! Pairs of runs that must have equal results: two runs of one seed, a recorded run and its replay, and runs in two
//! builds. Honest peers must also receive the same messages with and without hostile peers.

use peerloop::sim::Tape;
use peerloop_swarm::{Outcome, Profile, run};
use std::collections::BTreeMap;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process;

/// Number of seeds compared between builds.
const SEEDS_OF_BUILDS: u64 = 24;
/// Number of seeds that run twice: 1 % of the 10,000 seeds that a complete `tools/test` runs.
const SEEDS_TWICE: u64 = 100;
const COMPARED: usize = 60;

fn outcome(seed: u64, profile: Profile) -> Outcome {
    run(&Tape::from_seed(seed), profile)
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    for seed in 0..SEEDS_TWICE {
        let (once, again) = (outcome(seed, Profile::Standard), outcome(seed, Profile::Standard));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}: {}", once.scenario);
        assert_eq!((once.events, once.virtual_time), (again.events, again.virtual_time), "seed {seed}");
        assert_eq!((once.received, once.violations), (again.received, again.violations), "seed {seed}");
    }
}

#[test]
fn a_recorded_run_is_replayed_call_by_call() {
    for seed in 0..SEEDS_TWICE / 4 {
        let tape = Tape::recording(seed);
        let recorded = run(&tape, Profile::Standard);
        let played = run(&Tape::parse(&tape.to_text()).expect("a tape's text can be parsed"), Profile::Standard);
        assert_eq!(recorded.trace_hash, played.trace_hash, "seed {seed}: {}", recorded.scenario);
    }
}

/// Checks that the debug build and the optimised one make the same calls. This test runs in both builds, in either
/// order or at the same time. The first run stores its hashes in a file whose name identifies the sources, and the
/// second compares its own with them. Only a build with `sim-bugs` can shrink the loop's budgets, so this test never
/// shrinks them.
#[test]
fn every_build_makes_the_same_calls() {
    let hash = |seed: u64| format!("{seed} {:016x}\n", outcome(seed, Profile::WholeBudgets).trace_hash);
    let ours: String = (0..SEEDS_OF_BUILDS).map(hash).collect();
    let name = format!("swarm-{:016x}", hash_of_sources());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // The hard link appears with the whole text or not at all, and only one build can create it.
    let draft = path.with_extension(process::id().to_string());
    fs::write(&draft, &ours).expect("the build folder is writable");
    if fs::hard_link(&draft, &path).is_err() {
        let theirs = fs::read_to_string(&path).expect("the other build's hashes can be read");
        assert_eq!(ours, theirs, "the hashes differ from those that another build wrote to {}", path.display());
    }
    fs::remove_file(&draft).expect("the draft can be removed");
}

fn hash_of_sources() -> u64 {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let swarm = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = swarm.join("../..");
    let mut folders = vec![root.join("src"), swarm.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources can be listed") {
            let path = entry.expect("the sources can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(path).expect("the sources can be read"));
            }
        }
    }
    files.insert(root.join("Cargo.lock"), fs::read(root.join("Cargo.lock")).unwrap_or_default());
    let mut hasher = std::hash::DefaultHasher::new();
    for (path, text) in files {
        hasher.write(path.as_os_str().as_encoded_bytes());
        hasher.write(&text);
    }
    hasher.finish()
}

#[test]
fn honest_peers_receive_the_same_messages_without_hostile_peers() {
    let mut compared = 0;
    let mut received_something = 0;
    for seed in 0.. {
        if compared == COMPARED {
            break;
        }
        let with = outcome(seed, Profile::Standard);
        if !with.scenario.is_comparable() {
            continue;
        }
        compared += 1;
        let without = outcome(seed, Profile::WithoutHostile);
        assert_eq!(with.received, without.received, "seed {seed}: {}", with.scenario);
        received_something += usize::from(with.received.iter().flatten().any(|digest| *digest != 0));
    }
    assert!(
        received_something > compared / 2,
        "honest peers received messages in only {received_something} of {compared} worlds"
    );
}
