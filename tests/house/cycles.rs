//! Files do not use each other in a cycle. So a reader who follows a file's names to the files that define them, and
//! continues from there, never returns to the first file.
//!
//! An arrow leads from a file to every other file whose names it uses. A name that a third file re-exports makes an
//! arrow to the file that defines the name. A re-export alone makes no arrow. So a module's file may re-export names
//! from its parts, but must not use a part that uses the module's file.

use crate::paths::{Library, Role, Target};
use crate::source::{Source, Violation, words};
use std::collections::{BTreeMap, VecDeque};

/// The arrows of tolerated cycles. Lines may be removed, but not added.
pub(crate) const KNOWN: &[&str] = &[];

type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (&'a Source, usize)>>;

/// Returns each arrow that is part of a cycle. Its key is `file -> file`.
pub(crate) fn check(sources: &[Source]) -> BTreeMap<String, Violation> {
    let library = Library::new(sources);
    let arrows = arrows(&library);
    let mut found = BTreeMap::new();
    for (&from, targets) in &arrows {
        for (&to, &(source, offset)) in targets {
            if let Some(back) = way(&arrows, to, from) {
                let remedy =
                    format!("break the cycle {from} -> {}: move the shared items into another file", back.join(" -> "));
                found.insert(format!("{from} -> {to}"), source.violation(offset, remedy));
            }
        }
    }
    found
}

fn arrows<'a>(library: &Library<'a>) -> Arrows<'a> {
    let mut arrows = Arrows::new();
    for (module, file) in library.modules() {
        for path in &file.paths {
            let is_used = match &path.role {
                Role::Import { name, is_public: true } => words(&file.code, name).nth(1).is_some(),
                Role::Import { .. } | Role::Code => true,
            };
            let Some(Target::Item { file: to, .. }) = library.target(module, path) else { continue };
            if is_used && to != file.source.path {
                let from = arrows.entry(file.source.path.as_str()).or_default();
                from.entry(to).or_insert((file.source, path.offset));
            }
        }
    }
    arrows
}

/// Returns the files of the shortest path from one file to the other, including both; `None` if there is no path.
fn way<'a>(arrows: &Arrows<'a>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut came_from = BTreeMap::from([(from, None)]);
    let mut waiting = VecDeque::from([from]);
    while let Some(next) = waiting.pop_front() {
        if next == to {
            let mut way: Vec<&str> = std::iter::successors(Some(next), |file| came_from[file]).collect();
            way.reverse();
            return Some(way);
        }
        for &further in arrows.get(next).into_iter().flat_map(BTreeMap::keys) {
            came_from.entry(further).or_insert_with(|| {
                waiting.push_back(further);
                Some(next)
            });
        }
    }
    None
}

#[test]
fn exactly_the_arrows_of_file_cycles_are_found() {
    let found = |files: &[(&str, &str)]| -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_iter().map(|(arrow, found)| format!("{arrow} at {}", found.line)).collect()
    };
    let root = ("src/a/mod.rs", "mod b;\nuse b::B;\npub struct A(B);");
    assert_eq!(
        found(&[root, ("src/a/b.rs", "pub struct B;\nimpl B { fn a(_: super::A) {} }")]),
        ["src/a/b.rs -> src/a/mod.rs at 2", "src/a/mod.rs -> src/a/b.rs at 2"]
    );
    assert_eq!(found(&[root, ("src/a/b.rs", "#[cfg(test)] use super::A;\npub struct B;")]), Vec::<String>::new());
    let listed = ("src/a/mod.rs", "mod b; mod c;\npub use b::B;\npub use c::C;");
    let below = ("src/a/c.rs", "pub struct C;");
    assert_eq!(found(&[listed, ("src/a/b.rs", "use super::C; pub struct B(C);"), below]), Vec::<String>::new());
    assert_eq!(
        found(&[("src/a/mod.rs", "mod b; pub use b::B; struct A(B);"), ("src/a/b.rs", "fn b() { crate::a::A }")]),
        ["src/a/b.rs -> src/a/mod.rs at 1", "src/a/mod.rs -> src/a/b.rs at 1"]
    );
    let three = [("src/a.rs", "use crate::b::B;"), ("src/b.rs", "use crate::c::C;"), ("src/c.rs", "use crate::a::A;")];
    assert_eq!(found(&three).len(), 3);
    assert_eq!(found(&three[..2]), Vec::<String>::new());
}
