//! A type's methods are in at most three files: a type that needs more does too much, and its methods are hard to
//! find.
//!
//! Only files with inherent `impl` blocks in shipped code count. A trait may be implemented anywhere.

use crate::paths::{Library, Role, Target, WrittenPath};
use crate::source::{Source, Violation, is_word_char, words};
use std::collections::BTreeMap;

const MAX_FILES: usize = 3;

/// The types that still have methods in more than three files. Entries may only be removed.
pub(crate) const KNOWN: &[&str] = &[];

/// Returns each type whose methods are in too many files, by the key `file::Type`.
pub(crate) fn check(sources: &[Source]) -> BTreeMap<String, Violation> {
    let library = Library::new(sources);
    let mut files: BTreeMap<String, BTreeMap<&str, Violation>> = BTreeMap::new();
    for (module, file) in library.modules() {
        for (offset, names) in inherent_impls(&file.code) {
            let path = WrittenPath { offset, names, role: Role::Code };
            let (home, name) = match library.target(module, &path) {
                Some(Target::Item { file, name }) => (file, name),
                Some(Target::Module) | None => (file.source.path.as_str(), path.names[0].clone()),
            };
            let blocks = files.entry(format!("{home}::{name}")).or_default();
            blocks.entry(&file.source.path).or_insert_with(|| file.source.violation(offset, ""));
        }
    }
    let spread = files.into_iter().filter(|(_, blocks)| blocks.len() > MAX_FILES);
    let describe = |(name, blocks): (String, BTreeMap<&str, Violation>)| {
        let list: Vec<&str> = blocks.keys().copied().collect();
        let remedy = format!("the methods of `{name}` are in {}; the maximum is {MAX_FILES} files", list.join(", "));
        let first = blocks.into_values().next().expect("there are more than three blocks");
        (name, Violation { remedy, ..first })
    };
    spread.map(describe).collect()
}

/// Returns each `impl` block without a trait: its position, and the names in the path of its type.
fn inherent_impls(code: &str) -> Vec<(usize, Vec<String>)> {
    let is_item = |at: &usize| code[..*at].trim_end().ends_with(['{', '}', ';', ']']) || code[..*at].trim().is_empty();
    let block = |at: usize| {
        let head = &code[at + 4..at + code[at..].find('{')?];
        let head = &head[generics_len(head)..];
        let names = head.split(['<', '{']).next()?.split_whitespace().next()?.split("::");
        let is_of_trait = words(head, "for").any(|at| !head[at + 3..].trim_start().starts_with('<'));
        (!is_of_trait).then(|| (at, names.map(str::to_owned).collect::<Vec<_>>()))
    };
    let blocks = words(code, "impl").filter(is_item).filter_map(block);
    blocks.filter(|(_, names)| names.iter().all(|name| !name.is_empty() && name.chars().all(is_word_char))).collect()
}

/// Returns the length of the `<...>` at the start of `head`, or 0.
fn generics_len(head: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in head.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if !head[..at].ends_with(['-', '=']) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return if byte == b'>' { at + 1 } else { 0 };
        }
    }
    0
}

#[test]
fn only_a_type_with_inherent_methods_in_more_than_three_files_is_found() {
    let found = |files: &[(&str, &str)]| -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_keys().collect()
    };
    let home = ("src/a/mod.rs", "mod b; mod c; mod d;\npub struct A<T>(T);\nimpl<T: Fn() -> u8> A<T> {}");
    let three = [home, ("src/a/b.rs", "use super::A;\nimpl A<u8> {}"), ("src/a/c.rs", "impl super::A<u8> {}")];
    assert_eq!(found(&three), Vec::<String>::new());
    let with = |text| found(&[&three[..], &[("src/a/d.rs", text)]].concat());
    assert_eq!(with("use crate::a::A as B;\nimpl<T: for<'a> Fn(&'a T)> B<T> {}"), ["src/a/mod.rs::A"]);
    assert_eq!(with("use super::A;\nimpl<T> Drop for A<T> {} fn f(_: impl Into<A<u8>>) {}"), Vec::<String>::new());
    assert_eq!(with("struct A; impl A {}"), Vec::<String>::new());
    assert_eq!(with("use super::A; #[cfg(test)] impl A<u8> {}"), Vec::<String>::new());
}
