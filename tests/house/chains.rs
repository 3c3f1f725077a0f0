//! No chain of fields reaches deep into an object: callers use the object's methods, so the object's fields can change.
//!
//! A chain that begins at `self` has at most [`MAX_FIELDS`] fields. If its second field is `state`, it must end there:
//! `self.engine.state.now` and `self.engine.state.len()` are breaches.

use crate::paths::Library;
use crate::source::{Source, Violation, is_word_char, words};
use std::collections::BTreeMap;

/// Maximum number of fields in a chain: one of `self`, and three of the objects within it.
const MAX_FIELDS: usize = 4;

/// The files that still break this rule. Entries may only be removed.
pub(crate) const KNOWN: &[&str] = &[];

/// Returns each file's last breach, by the file's path.
pub(crate) fn check(sources: &[Source]) -> BTreeMap<String, Violation> {
    let library = Library::new(sources);
    let breaches = library.modules().flat_map(|(_, file)| {
        let breach = |at: usize| {
            let (fields, is_called) = chain_at(&file.code, at);
            let is_through_state = fields.get(1) == Some(&"state") && (fields.len() > 2 || is_called);
            let remedy = || format!("give `self.{}` a method that replaces `{}`", fields[0], fields[1..].join("."));
            (is_through_state || fields.len() > MAX_FIELDS).then(|| file.source.violation(at, remedy()))
        };
        words(&file.code, "self").filter_map(breach).map(|found| (found.path.clone(), found)).collect::<Vec<_>>()
    });
    breaches.collect()
}

/// Returns the fields after the `self` at `at`, and whether a method of the last field is called.
fn chain_at(code: &str, at: usize) -> (Vec<&str>, bool) {
    let (mut rest, mut fields) = (code[at + 4..].trim_start(), Vec::new());
    while let Some(after) = rest.strip_prefix('.').map(str::trim_start) {
        let len = after.find(|c| !is_word_char(c)).unwrap_or(after.len());
        rest = after[len..].trim_start();
        if len == 0 || rest.starts_with(['(', ':']) {
            return (fields, len > 0);
        }
        fields.push(&after[..len]);
    }
    (fields, false)
}

#[test]
fn a_chain_that_reaches_deep_into_an_object_is_found_except_in_test_code() {
    let found = |text| check(&[Source::new("src/a.rs", text)]).into_values().map(|found| found.line).next();
    assert_eq!(found("a;\nself.engine.state.now"), Some(2));
    assert_eq!(found("self\n.engine\n.state.len()"), Some(1));
    assert_eq!(found("self.a.b.c.d.e = 1"), Some(1));
    assert_eq!(found("self.a.b.c.d.e(); self.a.b.c.d = 1"), None);
    assert_eq!(found("self.state.links.table.len(); self.engine.state(); self.engine.state; myself.a.state.b"), None);
    assert_eq!(found("#[cfg(test)] fn a() { self.engine.state.now }"), None);
}
