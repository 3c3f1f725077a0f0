//! The house rules, checked on every text file of this repository.
//!
//! A breach fails a test, which reports `file:line:` and the remedy. A file cannot exempt itself;
//! a wrong rule is changed here, for all files.

mod chains;
mod cycles;
mod features;
mod imports;
mod paths;
mod prose;
mod requirements;
mod rules;
mod source;
mod spread;

use source::{Source, Violation};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The subjects of commits since this time are checked.
const FIRST_CHECKED_COMMIT: &str = "2026-11-29T12:00:00Z";

#[test]
fn imports_point_downwards() {
    assert_none(imports::check(&sources()));
}

#[test]
fn files_do_not_use_each_other_in_a_cycle() {
    assert_only_known(cycles::check(&sources()), cycles::KNOWN, "cycles.rs");
}

#[test]
fn the_methods_of_a_type_are_in_few_files() {
    assert_only_known(spread::check(&sources()), spread::KNOWN, "spread.rs");
}

#[test]
fn no_chain_reaches_through_an_object() {
    assert_only_known(chains::check(&sources()), chains::KNOWN, "chains.rs");
}

#[test]
fn files_have_headers() {
    check_each(rules::begins_with_a_header);
}

#[test]
fn files_are_short() {
    check_each(rules::file_is_short);
}

#[test]
fn functions_are_short() {
    check_each(rules::functions_are_short);
}

#[test]
fn lines_are_short() {
    check_each(rules::lines_are_short);
}

#[test]
fn comments_are_plain_english() {
    check_each(prose::comments_are_plain);
}

#[test]
fn commit_subjects_are_instructions() {
    // Without a repository, as in an archive of the sources, there are no commits to check.
    let mut log = Command::new("git");
    log.args(["log", "--no-merges", "--since", FIRST_CHECKED_COMMIT, "--format=%s"]).current_dir(root());
    let subjects = String::from_utf8(log.output().map(|output| output.stdout).unwrap_or_default())
        .expect("commit subjects are UTF-8");
    assert_none(prose::subjects_are_instructions(subjects.lines()));
}

#[test]
fn no_file_is_unfinished() {
    check_each(rules::nothing_is_unfinished);
}

#[test]
fn allowed_lints_have_a_reason() {
    check_each(rules::allowances_have_reasons);
}

#[test]
fn clocks_threads_and_mio_are_used_only_in_their_files() {
    check_each(rules::only_the_kernel_file_knows_the_kernel);
}

#[test]
fn only_tests_plant_bugs() {
    check_each(rules::only_tests_plant_bugs);
}

#[test]
fn property_tests_follow_the_default_number_of_cases() {
    check_each(rules::cases_follow_the_default);
}

#[test]
fn the_library_has_no_unsafe_code() {
    check_each(rules::the_library_has_no_unsafe_code);
    let root = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
    assert!(root.contains("\n#![forbid(unsafe_code)]\n"), "src/lib.rs:1: add #![forbid(unsafe_code)]");
}

#[test]
fn no_file_depends_on_one_machine() {
    check_each(rules::no_machine_specific_path);
}

#[test]
fn the_files_that_markdown_pages_name_exist() {
    let mut paths = Vec::new();
    add_files(&root(), "", &mut paths);
    assert_none(sources().iter().flat_map(|source| rules::named_files_exist(source, &paths)).collect());
}

#[test]
fn the_readme_links_each_page_of_the_manual() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md can be read");
    let is_page = |path: &String| path.starts_with("src/manual/") && path.ends_with(".md");
    let unlinked = |path: &String| !readme.contains(&format!("({path})"));
    let remedy = |path: String| Violation { path, line: 0, remedy: "link the page in README.md".to_owned() };
    let mut paths = Vec::new();
    add_files(&root(), "", &mut paths);
    assert!(paths.iter().any(is_page), "the manual has no pages");
    assert_none(paths.into_iter().filter(is_page).filter(unlinked).map(remedy).collect());
}

#[test]
fn modules_are_in_their_folder() {
    let sources = sources();
    let paths: Vec<String> = sources.iter().map(|source| source.path.clone()).collect();
    assert_none(sources.iter().flat_map(|source| rules::modules_are_in_their_folder(source, &paths)).collect());
}

#[test]
fn modules_are_in_one_crate() {
    check_each(rules::modules_are_in_one_crate);
}

#[test]
fn every_requirement_is_shown_by_a_test() {
    assert_none(requirements::check(&sources()));
}

#[test]
fn every_expected_feature_has_a_test() {
    assert_none(features::check(&sources()));
}

#[test]
fn the_lock_file_exists_and_is_not_ignored() {
    // Cargo creates a missing file before this test runs, so the test also checks that no ignore rule keeps the file
    // out of commits.
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("the repository has a .gitignore");
    let is_kept = root().join("Cargo.lock").is_file() && !ignored.contains(".lock");
    assert!(is_kept, "Cargo.lock:0: commit it, so that every machine builds the same dependencies");
}

#[cfg(unix)]
#[test]
fn the_commands_are_executable() {
    use std::os::unix::fs::PermissionsExt;
    for path in ["tools/test", "tools/public-api", "tools/real-node", "tools/fuzz/run", ".ci/run"] {
        let mode =
            fs::metadata(root().join(path)).unwrap_or_else(|error| panic!("{path}:0: {error}")).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{path}:0: chmod +x {path}");
    }
}

#[test]
fn the_rules_see_the_repository() {
    let sources = sources();
    for path in ["src/lib.rs", "tests/house/main.rs", "tools/swarm/src/lib.rs", "tools/test", "Cargo.toml"] {
        assert!(sources.iter().any(|source| source.path == path), "{path} is not checked");
    }
    assert!(!sources.iter().any(|source| source.path.starts_with("target/")), "build output is checked");
}

#[track_caller]
fn check_each(rule: fn(&Source) -> Vec<Violation>) {
    assert_none(sources().iter().flat_map(rule).collect());
}

/// Checks that the breaches are exactly the `known` ones, which are listed in the file `list`.
#[track_caller]
fn assert_only_known(mut breaches: BTreeMap<String, Violation>, known: &[&str], list: &str) {
    let gone: Vec<&str> = known.iter().copied().filter(|key| breaches.remove(*key).is_none()).collect();
    let remove = |key| Violation {
        path: format!("tests/house/{list}"),
        line: 0,
        remedy: format!("remove the line \"{key}\", which is no longer a breach"),
    };
    assert_none(breaches.into_values().chain(gone.into_iter().map(remove)).collect());
}

#[track_caller]
fn assert_none(mut violations: Vec<Violation>) {
    violations.sort_by(|one, two| (&one.path, one.line).cmp(&(&two.path, two.line)));
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Reads every text file of the repository.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    add_files(&root(), "", &mut paths);
    let read = |path: &String| {
        let bytes = fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Some(Source::new(path, &String::from_utf8(bytes).ok()?))
    };
    paths.iter().filter_map(read).collect()
}

/// Adds the files below `folder`, except build output and git's own files.
fn add_files(folder: &Path, prefix: &str, paths: &mut Vec<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.map(|entry| entry.expect("the folder can be listed")) {
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let kind = entry.file_type().expect("the entry still exists");
        if name == ".git" {
            continue;
        }
        if kind.is_file() {
            paths.push(format!("{prefix}{name}"));
        } else if kind.is_dir() && name != "target" {
            add_files(&entry.path(), &format!("{prefix}{name}/"), paths);
        }
    }
    paths.sort_unstable();
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
