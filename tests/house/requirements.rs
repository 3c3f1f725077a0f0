//! Checks the table of requirements against the tests. Every required row exists exactly once. Every row of a fault
//! and every `E` row in [`SHOWN`] has a test, and every numbered test has a row. The answer to every issue names only
//! existing `E` rows, at least one.
//!
//! A test has the number of its row in its name: `req_e07_...` for row E7 of the table, `fault_e07_...` for row
//! `fault 7`. A row names the files or folders of its tests. This check cannot judge whether a test demonstrates
//! its row's requirement; only a reader can. A separate rule checks that all files named on a page exist.

use crate::source::{Source, Violation, is_word_char, words};

const PAGE: &str = "src/manual/requirements.md";
/// Numbers of the `E` rows that must exist and have a test.
const SHOWN: std::ops::RangeInclusive<u32> = 1..=51;
/// Numbers of the `E` rows that must exist but need no numbered test, because each covers whole folders.
const PLANNED: std::ops::RangeInclusive<u32> = 52..=54;
/// Numbers of the issues: questions that the design had to answer. Each answer names the rows that demonstrate it.
const ISSUES: std::ops::RangeInclusive<u32> = 1..=16;

/// A row's kind. It determines how the row's number is written in the table and in the names of its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A requirement, in an `E` row.
    Seed,
    Fault,
    Issue,
}

#[derive(Debug)]
struct Row {
    kind: Kind,
    number: u32,
    /// The row's position in the page.
    offset: usize,
    /// The files and folders with the row's tests or, for an issue, the rows that its answer names.
    places: Vec<String>,
}

/// Checks the page against all sources at once.
pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let Some(page) = sources.iter().find(|source| source.path == PAGE) else {
        return vec![Violation {
            path: PAGE.to_owned(),
            line: 0,
            remedy: "write the table of requirements".to_owned(),
        }];
    };
    let rows = rows(page);
    let mut violations = missing_rows(page, &rows);
    let tests: Vec<(&Source, usize, Kind, u32)> = sources.iter().flat_map(tests).collect();
    for row in &rows {
        let violation = match row.kind {
            Kind::Issue => row.places.iter().find(|place| !has_row(&rows, place)).map(|place| {
                page.violation(row.offset, format!("there is no row `{place}`; name a row that shows the answer"))
            }),
            Kind::Seed if PLANNED.contains(&row.number) => None,
            Kind::Seed | Kind::Fault => {
                let is_shown = tests.iter().any(|&(source, _, kind, number)| {
                    (kind, number) == (row.kind, row.number) && row.places.iter().any(|place| is_at(source, place))
                });
                let name = name_of(row.kind, row.number);
                (!is_shown).then(|| page.violation(row.offset, format!("no file of this row has a test `{name}_...`")))
            }
        };
        violations.extend(violation);
    }
    for (source, offset, kind, number) in tests {
        if !rows.iter().any(|row| (row.kind, row.number) == (kind, number)) {
            let remedy =
                format!("{PAGE} has no row for `{}`; correct the number in the test's name", name_of(kind, number));
            violations.push(source.violation(offset, remedy));
        }
    }
    violations
}

fn missing_rows(page: &Source, rows: &[Row]) -> Vec<Violation> {
    let seeds = SHOWN.chain(PLANNED).map(|number| (Kind::Seed, number));
    let asked = seeds.chain(ISSUES.map(|number| (Kind::Issue, number)));
    let count = |kind, number| rows.iter().filter(|row| (row.kind, row.number) == (kind, number)).count();
    let counted = asked.map(|(kind, number)| (name_of(kind, number), count(kind, number)));
    let wrong = counted.filter(|&(_, count)| count != 1);
    wrong.map(|(name, count)| page.violation(0, format!("`{name}` has {count} rows; it must have one"))).collect()
}

/// Returns the numbered rows of all tables.
fn rows(page: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in page.text.split_inclusive('\n') {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let kinds = [("E", Kind::Seed), ("fault ", Kind::Fault), ("issue ", Kind::Issue)];
        let numbered = |(prefix, kind)| Some((kind, cells[0].strip_prefix(prefix)?.parse::<u32>().ok()?));
        if let (Some((kind, number)), true) = (kinds.into_iter().find_map(numbered), line.starts_with('|')) {
            let last = cells.last().copied().unwrap_or_default();
            let places = match kind {
                Kind::Issue => last.split(", ").map(str::to_owned).collect(),
                Kind::Seed | Kind::Fault => last.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            };
            rows.push(Row { kind, number, offset, places });
        }
        offset += line.len();
    }
    rows
}

/// Returns the file's tests that have a row's number in their names, and their positions.
fn tests(source: &Source) -> Vec<(&Source, usize, Kind, u32)> {
    let named = words(&source.code, "fn").filter_map(|at| {
        let name: String = source.code[at + 2..].trim_start().chars().take_while(|&c| is_word_char(c)).collect();
        let kinds = [("req_e", Kind::Seed), ("fault_e", Kind::Fault)];
        let (kind, rest) = kinds.into_iter().find_map(|(prefix, kind)| Some((kind, name.strip_prefix(prefix)?)))?;
        // A number without exactly two digits becomes 0, which no row has.
        let number = rest.split('_').next().filter(|digits| digits.len() == 2).and_then(|digits| digits.parse().ok());
        Some((source, at, kind, number.unwrap_or(0)))
    });
    named.collect()
}

fn has_row(rows: &[Row], place: &str) -> bool {
    let number = place.strip_prefix('E').and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| rows.iter().any(|row| (row.kind, row.number) == (Kind::Seed, number)))
}

fn is_at(source: &Source, place: &str) -> bool {
    source.path.strip_prefix(place.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn name_of(kind: Kind, number: u32) -> String {
    match kind {
        Kind::Seed => format!("req_e{number:02}"),
        Kind::Fault => format!("fault_e{number:02}"),
        Kind::Issue => format!("issue {number}"),
    }
}

/// Returns a complete page, and a file with all its tests.
fn complete() -> (String, String) {
    let mut page = "# Requirements\n".to_owned();
    let mut tests = String::new();
    for number in SHOWN {
        page += &format!("| E{number} | it holds | `tests/a.rs` |\n");
        tests += &format!("#[test]\nfn req_e{number:02}_it_holds() {{}}\n");
    }
    PLANNED.for_each(|number| page += &format!("| E{number} | it is planned | `tests` |\n"));
    ISSUES.for_each(|number| page += &format!("| issue {number} | a question | an answer | E1, E2 |\n"));
    page += "| fault 3 | it breaks | it is fixed | `tests/a.rs`, `tests/b` |\n";
    tests += "#[test]\nfn fault_e03_it_is_fixed() {}\n";
    (page, tests)
}

fn remedies(page: &str, tests: &str) -> Vec<String> {
    let sources = [Source::new(PAGE, page), Source::new("tests/a.rs", tests)];
    check(&sources).iter().map(Violation::to_string).collect()
}

#[test]
fn a_complete_table_passes_and_a_missing_one_does_not() {
    let (page, tests) = complete();
    assert_eq!(remedies(&page, &tests), Vec::<String>::new());
    assert_eq!(check(&[Source::new("tests/a.rs", &tests)]).len(), 1);
}

#[test]
fn a_missing_or_repeated_row_is_found() {
    let (page, tests) = complete();
    for row in ["| E7 | it holds | `tests/a.rs` |\n", "| issue 5 | a question | an answer | E1, E2 |\n"] {
        assert!(!remedies(&page.replace(row, ""), &tests).is_empty(), "{row}");
        assert!(!remedies(&page.replace(row, &row.repeat(2)), &tests).is_empty(), "{row}");
    }
    assert!(!remedies(&page.replace("| E53 | it is planned | `tests` |\n", ""), &tests).is_empty());
}

#[test]
fn a_row_without_a_test_in_its_files_is_found() {
    let (page, tests) = complete();
    for (name, other) in [("req_e07_", "it_"), ("fault_e03_", "it_"), ("fn req_e51_", "// fn req_e51_")] {
        assert!(!remedies(&page, &tests.replace(name, other)).is_empty(), "{name}");
    }
    for place in ["`tests/gone.rs`", "`tests/a`", "tests/a.rs", ""] {
        let page = page.replace("| E7 | it holds | `tests/a.rs` |", &format!("| E7 | it holds | {place} |"));
        assert_eq!(remedies(&page, &tests), [format!("{PAGE}:8: no file of this row has a test `req_e07_...`")]);
    }
    let folder = page.replace("| E7 | it holds | `tests/a.rs` |", "| E7 | it holds | `tests/` |");
    assert_eq!(remedies(&folder, &tests), Vec::<String>::new());
}

#[test]
fn a_test_with_an_unknown_or_malformed_number_is_found() {
    let (page, tests) = complete();
    for name in ["req_e55_it_holds", "req_e7_it_holds", "fault_e04_it_is_fixed", "req_ever", "fault_e103_it_is"] {
        assert_eq!(remedies(&page, &format!("{tests}fn {name}() {{}}")).len(), 1, "{name}");
    }
}

#[test]
fn an_answer_that_names_a_missing_row_or_no_row_is_found() {
    let (page, tests) = complete();
    for answer in ["E1, E55", "", "the tests"] {
        let row = "| issue 5 | a question | an answer | E1, E2 |";
        let page = page.replace(row, &format!("| issue 5 | a question | an answer | {answer} |"));
        assert_eq!(remedies(&page, &tests).len(), 1, "{answer}");
    }
}
