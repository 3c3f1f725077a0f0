//! The library's layers: its modules form rows, and no row imports a higher one.
//!
//! [`ROWS`] lists the rows. The check fails for a top-level module without a row. A submodule may have a row of its
//! own; otherwise its parent's row applies. Every path that begins with `crate` or `super` is checked, in imports and
//! elsewhere in code. Documentation, tests and `lib.rs` are never checked.

use crate::paths::{WrittenPath, absolute, is_under, module_path, test_files, written_paths};
use crate::source::{Source, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// The modules from the lowest row to the highest. Modules of one row may import each other, but not in a cycle.
const ROWS: [&[&str]; 15] = [
    &["limits", "time", "clock", "id", "protocol", "address", "bugs", "errno", "text"],
    &["error"],
    &["wire", "wheel", "config", "stats::histogram"],
    &["peer", "manager::keyed"],
    &["link", "stats", "manager::ban", "manager::dial", "manager::store", "manager::admit"],
    &["manager", "subscribe"],
    &["api"],
    &["state"],
    &["handler"],
    &["load", "relay"],
    &["net", "offload"],
    &["engine"],
    &["handle", "net::mio"],
    &["reactor"],
    // The embedder's channel, documentation, and tools for tests.
    &["sim", "channel", "internals", "manual"],
];

/// Modules that may not use those in [`NOT_FOR_EMBEDDERS`], because embedders cannot use them either.
const LIKE_EMBEDDERS: [&str; 2] = ["load", "relay"];
const NOT_FOR_EMBEDDERS: [&str; 3] = ["link", "state", "engine"];

/// Checks the whole library at once.
pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let test_files = test_files(sources);
    let shipped = |source: &&Source| {
        source.is_library()
            && source.path != "src/lib.rs"
            && !test_files.iter().any(|file| is_under(&source.path, file))
    };
    let mut violations = Vec::new();
    let mut within_row: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(shipped) {
        let path = module_path(&source.path);
        let module = module_name(&path).expect("the module of a library file has a name");
        let Some(row) = row_of(&module) else {
            violations.push(source.violation(0, format!("give the module `{module}` a row in {}", file!())));
            continue;
        };
        for Import { offset, target } in imports(source, &path) {
            let Some((target, target_row)) = target.and_then(|name| row_of(&name).map(|row| (name, row))) else {
                let remedy = "write the path with its module, `crate::module::Name`, so that its row is known";
                violations.push(source.violation(offset, remedy));
                continue;
            };
            if target_row > row {
                let remedy = format!("`{module}` is below `{target}` and may not use it; invert the dependency");
                violations.push(source.violation(offset, remedy));
            } else if LIKE_EMBEDDERS.contains(&&*module) && NOT_FOR_EMBEDDERS.contains(&&*target) {
                let remedy = format!("`{module}` may use only the API of embedders; use `api` instead of `{target}`");
                violations.push(source.violation(offset, remedy));
            } else if target_row == row && target != module {
                if reaches(&within_row, &target, &module) {
                    let remedy = format!("`{target}` already uses `{module}`; break the cycle");
                    violations.push(source.violation(offset, remedy));
                }
                within_row.entry(module.clone()).or_default().insert(target);
            }
        }
    }
    // Violations that are equal and adjacent, for example in one import list, are reported once.
    violations.dedup();
    violations
}

#[derive(Debug)]
struct Import {
    offset: usize,
    /// The path's [`module_name`]; `None` if the path is the crate's root.
    target: Option<String>,
}

fn imports(source: &Source, module: &[String]) -> Vec<Import> {
    let code = source.shipped_code();
    let import = |path: &WrittenPath| {
        let target = absolute(&code, module, path)?;
        (path.names[0] != "self").then(|| Import { offset: path.offset, target: module_name(&target) })
    };
    written_paths(&code).iter().filter_map(import).collect()
}

/// Returns the name under which [`ROWS`] may list the module at `path`: its first two names if they have a row of
/// their own, otherwise its first name. Returns `None` for the root.
fn module_name(path: &[String]) -> Option<String> {
    let first = path.first()?;
    let nested = path.get(1).map(|second| format!("{first}::{second}"));
    Some(nested.filter(|name| row_of(name).is_some()).unwrap_or_else(|| first.clone()))
}

fn row_of(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(next) = waiting.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            waiting.extend(edges.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

fn lines_of(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources).iter().map(|found| format!("{}:{}", found.path, found.line)).collect()
}

#[test]
fn a_lower_row_may_not_import_a_higher_one() {
    let lines = |path, text| lines_of(&[(path, text)]);
    assert_eq!(lines("src/wheel.rs", "use crate::time::Instant;\nuse crate::engine::Engine;"), ["src/wheel.rs:2"]);
    assert_eq!(lines("src/peer/restart.rs", "\nfn a() { crate::link::b() }"), ["src/peer/restart.rs:2"]);
    assert_eq!(lines("src/peer/mod.rs", "use crate::{time::Instant,\n link::{A, B}};"), ["src/peer/mod.rs:2"]);
    assert_eq!(lines("src/peer/ping.rs", "use super::super::api::Event;"), ["src/peer/ping.rs:1"]);
    assert_eq!(lines("src/wheel.rs", "use super::api::Event;"), ["src/wheel.rs:1"]);
    assert_eq!(lines("src/wheel.rs", "mod a { use super::super::api::Event; }"), ["src/wheel.rs:1"]);
    assert_eq!(lines("src/net.rs", "use crate::net::mio::MioNet;"), ["src/net.rs:1"]);
    assert_eq!(lines("src/engine.rs", "use crate::{error::A, net::{self, mio::MioNet}};"), ["src/engine.rs:1"]);
    assert_eq!(lines("src/time.rs", "macro_rules! a { () => { $crate::wire::b() } }"), ["src/time.rs:1"]);
    assert_eq!(lines("src/time.rs", "pub(in crate::wire) fn a() {}"), ["src/time.rs:1"]);
}

#[test]
fn a_module_may_import_lower_rows_and_itself() {
    let fine = [
        ("src/net/mio.rs", "use super::Net; use crate::net::Readiness; use crate::{id::{LinkId, Token}, time};"),
        ("src/reactor.rs", "use crate::net::mio::MioNet; use crate::net; pub(crate) fn a() { crate::engine::b() }"),
        ("src/wire/tx.rs", "use super::header::Header; mod a { use super::Tx; } pub(super) fn b() {}"),
        ("src/time.rs", "//! [`Net`](crate::net::Net)\n#[cfg(test)] mod tests { use crate::sim::Clock; }"),
        ("src/lib.rs", "pub use crate::sim::Clock; #[cfg(test)] mod fakes;"),
        ("src/fakes.rs", "use crate::sim::Clock;"),
        ("src/link/mod.rs", "#[cfg(test)] mod model;"),
        ("src/link/model.rs", "use crate::engine::Engine;"),
        ("src/api/ctx.rs", "use crate::manager::ban::Ban; static A: &str = \"crate::engine::A\";"),
    ];
    assert_eq!(lines_of(&fine), Vec::<String>::new());
}

#[test]
fn a_name_imported_from_the_root_is_refused() {
    assert_eq!(lines_of(&[("src/handle.rs", "use crate::Config;")]), ["src/handle.rs:1"]);
    assert_eq!(lines_of(&[("src/handle.rs", "use crate::*;")]), ["src/handle.rs:1"]);
    assert_eq!(lines_of(&[("src/handle.rs", "use super::{Config};")]), ["src/handle.rs:1"]);
}

#[test]
fn a_module_without_a_row_is_refused() {
    assert_eq!(lines_of(&[("src/utils.rs", "//! Things.")]), ["src/utils.rs:1"]);
    assert_eq!(lines_of(&[("src/wire/utils.rs", "//! Things.")]), Vec::<String>::new());
}

#[test]
fn modules_of_one_row_do_not_import_each_other_in_a_cycle() {
    let dial = ("src/manager/dial.rs", "use super::ban::List;");
    let ban = ("src/manager/ban.rs", "use crate::manager::store::Book;");
    let store = ("src/manager/store/mod.rs", "use crate::manager::dial::Dialler;");
    assert_eq!(lines_of(&[dial, ban]), Vec::<String>::new());
    assert_eq!(lines_of(&[dial, ban, store]), ["src/manager/store/mod.rs:1"]);
}

#[test]
fn load_and_relay_may_import_neither_link_nor_state_nor_engine() {
    assert_eq!(lines_of(&[("src/load/schedule.rs", "use crate::{api::Event,\nlink};")]), ["src/load/schedule.rs:2"]);
    assert_eq!(lines_of(&[("src/relay/mod.rs", "use crate::state::LoopState;")]), ["src/relay/mod.rs:1"]);
    assert_eq!(lines_of(&[("src/relay/mod.rs", "use crate::engine::Engine;")]), ["src/relay/mod.rs:1"]);
}
