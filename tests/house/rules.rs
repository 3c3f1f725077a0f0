//! The rules that check one file at a time.
//!
//! Each rule reads a [`Source`], decides whether it applies to that file, and returns the breaches. The tests below
//! give every rule a breach, which the rule must find.

use crate::source::{
    Source, Violation, after_body, after_matching, attributes, body_or_semicolon, is_word_char, words,
};
use std::ops::Range;

pub(crate) const MAX_FILE_LINES: usize = 600;
pub(crate) const MAX_FUNCTION_LINES: usize = 70;
pub(crate) const MAX_LINE_COLUMNS: usize = 120;

/// The library's only file that may read clocks or use the crate `mio`.
const KERNEL_FILE: &str = "src/net/mio.rs";
/// The folder whose files may start threads. Of the library's other files, only the kernel file may.
const THREADS_FOLDER: &str = "src/offload/";

pub(crate) fn begins_with_a_header(source: &Source) -> Vec<Violation> {
    if !source.is_rust() || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.violation(0, "begin the file with a `//!` header: its purpose and its promises")]
}

pub(crate) fn file_is_short(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    let beyond = source.text.match_indices('\n').nth(MAX_FILE_LINES - 1).map_or(0, |(at, _)| at + 1);
    vec![source.violation(beyond, format!("the file has {lines} lines; split it, the maximum is {MAX_FILE_LINES}"))]
}

/// Checks that a module with a folder has its file in that folder, so that each module is in one place.
pub(crate) fn modules_are_in_their_folder(source: &Source, paths: &[String]) -> Vec<Violation> {
    let folder = source.path.strip_suffix("rs").map(|stem| format!("{}/", stem.trim_end_matches('.')));
    match folder.filter(|folder| source.is_rust() && paths.iter().any(|path| path.starts_with(folder))) {
        Some(folder) => vec![source.violation(0, format!("move the file to `{folder}mod.rs`, next to its submodules"))],
        None => Vec::new(),
    }
}

/// Checks that no module has a `path` attribute, with which a file could be compiled into several crates. Shared code
/// belongs in a crate.
pub(crate) fn modules_are_in_one_crate(source: &Source) -> Vec<Violation> {
    let remedy = "move the shared code into `tools/testkit`, and depend on it";
    let is_path = |found: &Range<usize>| {
        let text = &source.code[found.clone()];
        words(text, "path").any(|at| text[at + "path".len()..].trim_start().starts_with('='))
    };
    let paths = attributes(&source.code).filter(is_path);
    paths.map(|found| source.violation(found.start, remedy)).collect()
}

pub(crate) fn lines_are_short(source: &Source) -> Vec<Violation> {
    if !source.is_rust() {
        return Vec::new();
    }
    let columns = source.text.lines().map(|line| line.chars().count()).enumerate();
    let long = columns.filter(|&(_, columns)| columns > MAX_LINE_COLUMNS);
    long.map(|(index, columns)| Violation {
        path: source.path.clone(),
        line: index + 1,
        remedy: format!("the line has {columns} columns; break it, the maximum is {MAX_LINE_COLUMNS}"),
    })
    .collect()
}

pub(crate) fn functions_are_short(source: &Source) -> Vec<Violation> {
    let code = &source.code;
    let mut violations = Vec::new();
    for start in words(code, "fn") {
        let name: String = code[start + 2..].trim_start().chars().take_while(|&c| is_word_char(c)).collect();
        if name.is_empty() {
            continue;
        }
        let end = after_body(code, body_or_semicolon(code, start));
        let lines = source.line_of(end - 1) - source.line_of(start) + 1;
        if lines > MAX_FUNCTION_LINES {
            let remedy = format!("`{name}` has {lines} lines; split it, the maximum is {MAX_FUNCTION_LINES}");
            violations.push(source.violation(start, remedy));
        }
    }
    violations
}

pub(crate) fn nothing_is_unfinished(source: &Source) -> Vec<Violation> {
    // The compiler joins the parts. Written whole, the marks would break the rule in this file.
    const MARKS: [&str; 5] =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK"), concat!("for", " now")];
    const MACROS: [&str; 3] = ["todo!", "dbg!", "unimplemented!"];
    if is_written_elsewhere(source) {
        return Vec::new();
    }
    let lowercase = source.text.to_ascii_lowercase();
    let marked = MARKS.iter().flat_map(|mark| {
        let text = if mark.contains(' ') { &lowercase } else { &source.text };
        words(text, mark).map(move |at| (at, mark))
    });
    let called = MACROS.iter().flat_map(|name| words(&source.code, name).map(move |at| (at, name)));
    let finish = |(at, mark): (usize, &&str)| source.violation(at, format!("`{mark}`: finish this, or remove it"));
    marked.chain(called).map(finish).collect()
}

pub(crate) fn allowances_have_reasons(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for attribute in attributes(&source.code) {
        let text = &source.code[attribute.clone()];
        for lint in ["allow", "expect"].iter().flat_map(|name| words(text, name)) {
            let open = lint + text[lint..].find('(').unwrap_or(text.len() - lint);
            let inside = &text[open.min(text.len())..after_matching(text, open)];
            if words(inside, "reason").next().is_none() {
                let remedy = "give the reason, `reason = \"...\"` within the parentheses, or fix the code";
                violations.push(source.violation(attribute.start + lint, remedy));
            }
        }
    }
    violations
}

pub(crate) fn only_the_kernel_file_knows_the_kernel(source: &Source) -> Vec<Violation> {
    const CLOCKS: [&str; 4] = ["Instant::now", "SystemTime", "UNIX_EPOCH", "thread::sleep"];
    const THREADS: [&str; 4] = ["thread::spawn", "thread::scope", "thread::Builder", "thread::park"];
    if !source.is_library() || source.path == KERNEL_FILE {
        return Vec::new();
    }
    let code = source.shipped_code();
    let may_have_threads = source.path.starts_with(THREADS_FOLDER);
    let names = CLOCKS.iter().chain(THREADS.iter().filter(|_| !may_have_threads));
    let named = names.flat_map(|name| words(&code, name).map(move |at| (at, *name)));
    let mio = words(&code, "mio").filter(|&at| is_the_crate_mio(&code[..at])).map(|at| (at, "mio"));
    let forbid = |(at, name)| {
        source.violation(at, format!("`{name}` is not allowed here; use the trait Net or Offload instead"))
    };
    named.chain(mio).map(forbid).collect()
}

/// Returns whether a `mio` that follows this code is the crate, and not our module `net::mio`.
fn is_the_crate_mio(before: &str) -> bool {
    let before = before.trim_end();
    if before.ends_with("::") || before.ends_with(" mod") || before == "mod" {
        return false;
    }
    let mut depth = 0_usize;
    for (at, byte) in before.bytes().enumerate().rev() {
        match byte {
            b'}' => depth += 1,
            b'{' if depth > 0 => depth -= 1,
            b'{' => return !before[..at].trim_end().ends_with("net::"),
            _ => {}
        }
    }
    true
}

/// Checks that no manifest enables the feature that plants bugs, and that the library's code names the feature only in
/// `src/bugs.rs` and `src/internals.rs`. A test target may require the feature.
pub(crate) fn only_tests_plant_bugs(source: &Source) -> Vec<Violation> {
    const FEATURE: &str = concat!("sim-bugs", "\"");
    const DECLARED_IN: [&str; 2] = ["src/bugs.rs", "src/internals.rs"];
    let is_manifest = source.path.ends_with("Cargo.toml");
    if !(source.is_library() || is_manifest) || DECLARED_IN.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let remedy = match is_manifest {
        true => "enable this feature in the command that runs a test, never in a manifest; a test may require it",
        false => "use `canary!` or `budget!`, which are constants without the feature",
    };
    let is_required =
        |at: usize| source.text[..at].rsplit('\n').next().is_some_and(|line| line.starts_with("required-"));
    let named = source.text.match_indices(FEATURE).map(|(at, _)| at).filter(|&at| !(is_manifest && is_required(at)));
    named.map(|at| source.violation(at, remedy)).collect()
}

/// Checks that a property test derives its number of cases from proptest's default, which `PROPTEST_CASES` sets.
pub(crate) fn cases_follow_the_default(source: &Source) -> Vec<Violation> {
    const FIELD: &str = concat!("ProptestConfig", " {");
    const CALL: &str = concat!("ProptestConfig::", "with_cases(");
    if !source.is_rust() {
        return Vec::new();
    }
    let fields = source.code.match_indices(FIELD);
    let is_fixed = |&(at, _): &(usize, &str)| !source.code[at + CALL.len()..].starts_with("ProptestConfig::default()");
    let remedy = "write `ProptestConfig::with_cases(ProptestConfig::default().cases / 4)`, or another fraction";
    fields.chain(source.code.match_indices(CALL).filter(is_fixed)).map(|(at, _)| source.violation(at, remedy)).collect()
}

pub(crate) fn the_library_has_no_unsafe_code(source: &Source) -> Vec<Violation> {
    if !source.is_library() {
        return Vec::new();
    }
    words(&source.code, "unsafe")
        .map(|at| source.violation(at, "write safe code; the library has no `unsafe`"))
        .collect()
}

pub(crate) fn no_machine_specific_path(source: &Source) -> Vec<Violation> {
    const ROOTS: [&str; 4] = ["work", "tmp", "home", "root"];
    if is_written_elsewhere(source) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for root in ROOTS {
        let path = format!("/{root}");
        for (at, _) in source.text.match_indices(&path) {
            let is_path_char = |c: char| is_word_char(c) || matches!(c, '.' | '-' | '/' | '~' | '}');
            let goes_on = |c: char| is_word_char(c) || c == '-';
            if !source.text[..at].ends_with(is_path_char) && !source.text[at + path.len()..].starts_with(goes_on) {
                violations.push(source.violation(at, format!("`{path}` may not exist elsewhere; use a relative path")));
            }
        }
    }
    violations
}

/// Checks that each file that a page names is in `paths`, the paths of all files of the repository.
pub(crate) fn named_files_exist(page: &Source, paths: &[String]) -> Vec<Violation> {
    const FOLDERS: [&str; 6] = ["src/", "tests/", "benches/", "examples/", "tools/", ".ci/"];
    if !page.path.ends_with(".md") {
        return Vec::new();
    }
    let exists = |name: &str| {
        let name = name.trim_end_matches('/');
        paths
            .iter()
            .any(|path| path == name || path.ends_with(&format!("/{name}")) || path.starts_with(&format!("{name}/")))
    };
    let is_path_char = |c: char| is_word_char(c) || "./-*<>{}".contains(c);
    let mut violations = Vec::new();
    let mut at = 0;
    for word in page.text.split(|c| !is_path_char(c)) {
        let name = word.trim_start_matches("./").trim_end_matches('.');
        let end = at + word.len();
        // In a link, a name before a colon is a protocol or a crate.
        let is_link =
            page.text[..at].ends_with("](") && !page.text[end..].starts_with(':') && name.contains(['.', '/']);
        let is_elsewhere = name.starts_with("//") || name.contains(['*', '<', '>', '{', '}']);
        let names_a_file = FOLDERS.iter().any(|folder| name.starts_with(folder)) || name.ends_with(".rs") || is_link;
        if names_a_file && !is_elsewhere && !exists(name.trim_start_matches("../")) {
            violations.push(page.violation(at, format!("there is no `{name}`; fix the page, or add the file")));
        }
        at = end + page.text[end..].chars().next().map_or(0, char::len_utf8);
    }
    violations
}

/// Returns whether the file is a license or the lock file, which the project does not write itself.
fn is_written_elsewhere(source: &Source) -> bool {
    source.path.starts_with("LICENSE") || source.path == "Cargo.lock"
}

fn lines(rule: fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
}

#[test]
fn a_file_without_a_header_is_found() {
    assert_eq!(lines(begins_with_a_header, "src/a.rs", "use a;\n//! Late.\n"), [1]);
    assert_eq!(lines(begins_with_a_header, "src/a.rs", "//! What it is.\n"), []);
    assert_eq!(lines(begins_with_a_header, "a.toml", "[package]\n"), []);
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(lines(file_is_short, "tools/a.rs", &"a\n".repeat(MAX_FILE_LINES + 1)), [MAX_FILE_LINES + 1]);
    assert_eq!(lines(file_is_short, "tools/a.rs", &"a\n".repeat(MAX_FILE_LINES)), []);
}

#[test]
fn a_module_next_to_its_folder_is_found() {
    let paths = ["src/link.rs", "src/link/row.rs", "src/link/rows/mod.rs"].map(str::to_owned);
    let found = |path| modules_are_in_their_folder(&Source::new(path, "//! A."), &paths).len();
    assert_eq!(["src/link.rs", "src/link/row.rs", "src/link/rows/mod.rs"].map(found), [1, 0, 0]);
}

#[test]
fn a_path_attribute_of_a_module_is_found() {
    let rule = modules_are_in_one_crate;
    assert_eq!(lines(rule, "tests/a/main.rs", "mod a;\n#[path = \"../b.rs\"]\nmod b;"), [2]);
    assert_eq!(lines(rule, "tests/a/main.rs", "#[cfg_attr(unix, path = \"b.rs\")]\nmod b;"), [1]);
    assert_eq!(lines(rule, "tests/a/main.rs", "#[expect(a, reason = \"path = b\")] // #[path = b]\nmod b;"), []);
}

#[test]
fn a_long_line_is_found() {
    let fits = "\u{e9}".repeat(MAX_LINE_COLUMNS);
    assert_eq!(lines(lines_are_short, "benches/a.rs", &format!("{fits}\n{fits}a\n")), [2]);
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| format!("a\nfn b(\n) -> [u8; 4] {{\n{}}}\nfn c() {{}}", "'{';\n".repeat(lines - 3));
    assert_eq!(lines(functions_are_short, "src/a.rs", &function(MAX_FUNCTION_LINES)), []);
    assert_eq!(lines(functions_are_short, "src/a.rs", &function(MAX_FUNCTION_LINES + 1)), [2]);
    let declared = format!("trait A {{ fn a(&self);{}}} struct B(fn(u8) -> u8);{0}", "\n".repeat(MAX_FUNCTION_LINES));
    assert_eq!(lines(functions_are_short, "src/a.rs", &declared), []);
}

#[test]
fn unfinished_work_is_found() {
    for mark in [concat!("FIX", "ME"), concat!("HA", "CK"), concat!("XX", "X"), concat!("TO", "DO")] {
        assert_eq!(lines(nothing_is_unfinished, "tools/a", &format!("a\n# {mark}: b")), [2]);
        assert_eq!(lines(nothing_is_unfinished, "src/a.rs", &format!("\"a{mark}\"")), []);
    }
    assert_eq!(lines(nothing_is_unfinished, "README.md", concat!("It waits, For", " now.")), [1]);
    assert_eq!(lines(nothing_is_unfinished, "src/a.rs", "fn a() {\ntodo!()\n}"), [2]);
    assert_eq!(lines(nothing_is_unfinished, "src/a.rs", "dbg!(a); unimplemented!()"), [1, 1]);
}

#[test]
fn an_allowance_without_a_reason_is_found() {
    assert_eq!(lines(allowances_have_reasons, "src/a.rs", "#![allow(dead_code)]"), [1]);
    assert_eq!(lines(allowances_have_reasons, "src/a.rs", "#[cfg_attr(test,\nexpect(dead_code))]"), [2]);
    assert_eq!(lines(allowances_have_reasons, "src/a.rs", "#[allow(a, reason = \"b\")] #[allow(c)]"), [1]);
    assert_eq!(lines(allowances_have_reasons, "src/a.rs", "#[allow(dead_code, reason = \"b\")] fn allow() {}"), []);
}

#[test]
fn clocks_threads_and_mio_are_found_outside_their_files() {
    let rule = only_the_kernel_file_knows_the_kernel;
    assert_eq!(lines(rule, "src/engine.rs", "\nlet now = std::time::Instant::now();"), [2]);
    assert_eq!(lines(rule, "src/handle.rs", "use std::{thread, time::SystemTime};\nthread::spawn(a);"), [1, 2]);
    assert_eq!(
        lines(rule, "src/reactor.rs", "use mio::Poll;\nuse crate::net::mio::MioNet;\nfn a(b: mio::Token)"),
        [1, 3]
    );
    assert_eq!(lines(rule, "src/reactor.rs", "use {a::{b}, mio::Poll};"), [1]);
    assert_eq!(lines(rule, "src/lib.rs", "pub use net::{Net, a::{b}, mio::MioNet}; // mio::Poll"), []);
    assert_eq!(lines(rule, "src/net.rs", "pub mod mio;\n#[cfg(test)] mod tests { use mio::Poll; }"), []);
    assert_eq!(lines(rule, KERNEL_FILE, "use mio::Poll; fn a() { Instant::now() }"), []);
    assert_eq!(lines(rule, "src/offload/a.rs", "thread::spawn(a);\nthread::sleep(b);"), [2]);
    assert_eq!(lines(rule, "src/net/a.rs", "thread::spawn(a);"), [1]);
    assert_eq!(lines(rule, "tools/peerloop/src/main.rs", "Instant::now()"), []);
}

#[test]
fn the_feature_that_plants_bugs_is_found_where_it_is_not_allowed() {
    let found = |path, text: &str| lines(only_tests_plant_bugs, path, &text.replace('_', "sim-bugs"));
    assert_eq!(found("Cargo.toml", "[features]\ndefault = [\"_\"]\n_ = [\"sim\"]"), [2]);
    assert_eq!(found("Cargo.toml", "peerloop = { path = \".\", features = [\"sim\", \"_\"] }"), [1]);
    assert_eq!(found("tools/peerloop/Cargo.toml", "\nsim = [\"peerloop/_\"]"), [2]);
    assert_eq!(found("Cargo.toml", "[[test]]\nrequired-features = [\"_\"]"), Vec::<usize>::new());
    assert_eq!(found("src/reactor/accept.rs", "#[cfg(feature = \"_\")]"), [1]);
    assert_eq!(found("src/internals.rs", "#[cfg(feature = \"_\")]"), Vec::<usize>::new());
}

#[test]
fn a_fixed_number_of_cases_is_found() {
    let found = |text| lines(cases_follow_the_default, "tests/wheel/model.rs", text);
    assert_eq!(found(concat!("a\n#![proptest_config(ProptestConfig::", "with_cases(64))]")), [2]);
    assert_eq!(found(concat!("ProptestConfig", " { cases: 48, ..ProptestConfig::default() }")), [1]);
    assert!(found("ProptestConfig::with_cases(ProptestConfig::default().cases / 4)").is_empty());
}

#[test]
fn unsafe_code_is_found() {
    assert_eq!(lines(the_library_has_no_unsafe_code, "src/a.rs", "#![forbid(unsafe_code)]\nunsafe { a }"), [2]);
}

#[test]
fn a_machine_specific_path_is_found() {
    for root in ["work", "tmp", "home", "root"] {
        assert_eq!(lines(no_machine_specific_path, "README.md", &format!("a\nsee /{root}/a")), [2]);
        assert_eq!(lines(no_machine_specific_path, "src/a.rs", &format!("//! A.\n\"/{root}\"")), [2]);
        assert_eq!(
            lines(no_machine_specific_path, "a.toml", &format!("target/{root} /{root}s https://a.b/{root}/")),
            []
        );
    }
}

#[test]
fn a_page_that_names_a_missing_file_is_found() {
    let paths = ["src/net/mio.rs", "tools/test", "LICENSE-MIT", "src/manual/testing.md"].map(str::to_owned);
    let lines = |text: &str| -> Vec<usize> {
        let page = Source::new("README.md", text);
        named_files_exist(&page, &paths).iter().map(|violation| violation.line).collect()
    };
    assert_eq!(lines("a\nrun `tools/tests`."), [2]);
    assert_eq!(lines("é `src/gone.rs`\n`gone.rs` and\n[a](gone.md)"), [1, 2, 3]);
    assert_eq!(lines("`tools/test --long`, src/net/mio.rs, `mio.rs`, src/net/, (tools/test). ./tools/test"), []);
    assert_eq!(lines("[a](LICENSE-MIT) [b](https://a.b/src/c.rs) [c](src/manual/testing.md#d) [e](#f)"), []);
    assert_eq!(lines("`src/*.rs`, `tests/<name>.rs`"), []);
}
