//! Checks the table of features that load testers expect against the tests. Every row exists exactly once, and every
//! test that a row names is a function in a file that the row names.
//!
//! A row begins with `feature N` or `wish N`. Its last cell names files, and tests in them. This check cannot judge
//! whether a test shows the feature; only a reader can.

use crate::source::{Source, Violation, is_word_char, words};

const PAGE: &str = "src/manual/load_testing.md";
/// The rows that must exist: a name and its numbers.
const ROWS: [(&str, std::ops::RangeInclusive<u32>); 2] = [("feature", 1..=25), ("wish", 1..=15)];

/// Checks the page against all sources at once.
pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let Some(page) = sources.iter().find(|source| source.path == PAGE) else {
        let remedy = "write the table of features".to_owned();
        return vec![Violation { path: PAGE.to_owned(), line: 0, remedy }];
    };
    let rows = rows(page);
    let names = ROWS.into_iter().flat_map(|(name, numbers)| numbers.map(move |number| format!("{name} {number}")));
    let count = |name: &String| rows.iter().filter(|row| row.name == *name).count();
    let wrong = names.map(|name| (count(&name), name)).filter(|(count, _)| *count != 1);
    let missing = wrong.map(|(count, name)| page.violation(0, format!("`{name}` has {count} rows; it must have one")));
    missing.chain(rows.iter().flat_map(|row| row.check(page, sources))).collect()
}

#[derive(Debug)]
struct Row {
    name: String,
    /// The row's position in the page.
    offset: usize,
    files: Vec<String>,
    tests: Vec<String>,
}

impl Row {
    fn check(&self, page: &Source, sources: &[Source]) -> Vec<Violation> {
        if self.tests.is_empty() {
            return vec![page.violation(self.offset, "this row names no test".to_owned())];
        }
        let named: Vec<&Source> = sources.iter().filter(|source| self.files.contains(&source.path)).collect();
        let unknown = self.tests.iter().filter(|test| !named.iter().any(|source| has_test(source, test)));
        unknown.map(|test| page.violation(self.offset, format!("no file of this row has a test `{test}`"))).collect()
    }
}

/// Returns the rows of all tables.
fn rows(page: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in page.text.split_inclusive('\n') {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let is_row = ROWS.iter().any(|(name, _)| cells[0].strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        if is_row && line.starts_with('|') {
            let last = cells.last().copied().unwrap_or_default();
            let quoted = last.split('`').skip(1).step_by(2).map(str::to_owned);
            let (files, tests) = quoted.partition(|part: &String| part.contains('/'));
            rows.push(Row { name: cells[0].to_owned(), offset, files, tests });
        }
        offset += line.len();
    }
    rows
}

fn has_test(source: &Source, test: &str) -> bool {
    words(&source.code, "fn").any(|at| {
        let name = source.code[at + 2..].trim_start();
        name.strip_prefix(test).is_some_and(|rest| !rest.starts_with(is_word_char))
    })
}

/// Returns a complete page, and a file with all its tests.
fn complete() -> (String, &'static str) {
    let names = ROWS.into_iter().flat_map(|(name, numbers)| numbers.map(move |number| format!("{name} {number}")));
    let rows = names.map(|name| format!("| {name} | it works | `tests/a.rs`: `it_works`, `it_fails_well` |\n"));
    (format!("# Features\n\n{}", rows.collect::<String>()), "fn it_works() {}\nfn it_fails_well() {}\n")
}

fn remedies(page: &str, tests: &str) -> Vec<String> {
    let sources = [Source::new(PAGE, page), Source::new("tests/a.rs", tests)];
    check(&sources).iter().map(Violation::to_string).collect()
}

#[test]
fn a_complete_table_of_features_passes_and_a_missing_one_does_not() {
    let (page, tests) = complete();
    assert_eq!(remedies(&page, tests), Vec::<String>::new());
    assert_eq!(check(&[Source::new("tests/a.rs", tests)]).len(), 1);
}

#[test]
fn a_missing_or_repeated_feature_is_found() {
    let (page, tests) = complete();
    for name in ["feature 24", "wish 1"] {
        let row = format!("| {name} | it works | `tests/a.rs`: `it_works`, `it_fails_well` |\n");
        for other in [String::new(), row.repeat(2)] {
            let count = other.len() / row.len();
            let found = remedies(&page.replace(&row, &other), tests);
            assert_eq!(found, [format!("{PAGE}:1: `{name}` has {count} rows; it must have one")]);
        }
    }
}

#[test]
fn a_feature_whose_test_does_not_exist_is_found() {
    let (page, tests) = complete();
    let row = "| wish 7 | it works | `tests/a.rs`: `it_works`, `it_fails_well` |";
    for (cell, remedy) in [
        ("`tests/a.rs`: `it_work`", "no file of this row has a test `it_work`"),
        ("`tests/b.rs`: `it_works`", "no file of this row has a test `it_works`"),
        ("`tests/a.rs`", "this row names no test"),
    ] {
        let found = remedies(&page.replace(row, &format!("| wish 7 | it works | {cell} |")), tests);
        assert_eq!(found, [format!("{PAGE}:34: {remedy}")]);
    }
}
