//! The paths in code, and the file that defines each path's target.
//!
//! [`written_paths`] reads one file: it splits import lists, and also finds paths outside of imports. [`Library`]
//! knows all files and follows re-exports to the file that defines a name. Macros are not expanded, so a name that a
//! macro builds is never found.

use crate::source::{Source, after_matching, is_word_char, words};
use std::collections::BTreeMap;

/// A path as it is written in code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenPath {
    pub(crate) offset: usize,
    /// The path's names, for example `["super", "Net"]`. The last name of `use a::*` is `*`.
    pub(crate) names: Vec<String>,
    pub(crate) role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An import. The code refers to the imported item by `name`.
    Import { name: String, is_public: bool },
    /// A path outside of imports.
    Code,
}

/// Returns all imports of `code`, and all its other paths that have at least two names. Paths that begin with an
/// angle bracket, such as `<T as Trait>::name`, are skipped.
pub(crate) fn written_paths(code: &str) -> Vec<WrittenPath> {
    let mut found = Vec::new();
    let mut rest = code.as_bytes().to_vec();
    for start in words(code, "use") {
        let before = code[..start].trim_end();
        let visibility = before.rfind(['{', '}', ';', ']']).map_or(before, |at| &before[at + 1..]).trim();
        if !(visibility.is_empty() || visibility.starts_with("pub")) {
            continue;
        }
        let Some(end) = code[start..].find(';').map(|len| start + len) else { continue };
        add_imports(&code[..end], start + 3, &[], !visibility.is_empty(), &mut found);
        rest[start..end].fill(b' ');
    }
    let rest = String::from_utf8(rest).expect("whole imports were blanked");
    let mut at = 0;
    while let Some(next) = rest[at..].find("::").map(|len| at + len) {
        let before = rest[..next].trim_end();
        let start = before.rfind(|c| !is_word_char(c)).map_or(0, |last| last + 1);
        at = next + 2;
        if start == before.len() {
            continue;
        }
        let mut names = vec![before[start..].to_owned()];
        loop {
            let name: String = rest[at..].trim_start().chars().take_while(|&c| is_word_char(c)).collect();
            let after = rest.len() - rest[at..].trim_start().len() + name.len();
            if name.is_empty() {
                break;
            }
            names.push(name);
            at = after;
            match rest[at..].trim_start().strip_prefix("::") {
                Some(further) => at = rest.len() - further.len(),
                None => break,
            }
        }
        found.push(WrittenPath { offset: start, names, role: Role::Code });
    }
    found
}

/// Adds each path of the import tree at `at`. The names in `base` precede those of the tree.
fn add_imports(code: &str, at: usize, base: &[String], is_public: bool, found: &mut Vec<WrittenPath>) {
    let at = code.len() - code[at..].trim_start().len();
    if code[at..].starts_with('{') {
        let end = after_matching(code, at) - 1;
        let mut branch = at + 1;
        while !code[branch..end].trim().is_empty() {
            add_imports(&code[..end], branch, base, is_public, found);
            branch = next_branch(code, branch, end);
        }
        return;
    }
    let len = code[at..].find(|c| !is_word_char(c) && c != '*').unwrap_or(code.len() - at);
    let name = code[at..at + len].to_owned();
    let path = [base, std::slice::from_ref(&name)].concat();
    let after = code[at + len..].trim_start();
    if let Some(further) = after.strip_prefix("::") {
        return add_imports(code, code.len() - further.len(), &path, is_public, found);
    }
    // In a list, `self` is the module whose items are listed.
    let names = if name == "self" && !base.is_empty() { base.to_vec() } else { path };
    let alias = after.strip_prefix("as ").map(|alias| alias.trim_start().chars().take_while(|&c| is_word_char(c)));
    let name = alias.map_or_else(|| names[names.len() - 1].clone(), Iterator::collect);
    found.push(WrittenPath { offset: at, names, role: Role::Import { name, is_public } });
}

/// Returns the start of an import list's next branch; `end` if there is none.
fn next_branch(code: &str, mut at: usize, end: usize) -> usize {
    while at < end {
        match code.as_bytes()[at] {
            b'{' => at = after_matching(code, at),
            b',' => return at + 1,
            _ => at += 1,
        }
    }
    end
}

/// Returns the names of a file's module: `src/wire/header.rs` is `wire::header`, and `src/lib.rs` is the root.
pub(crate) fn module_path(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

/// Returns the inline modules around `offset`, outermost first.
fn inline_modules(code: &str, offset: usize) -> Vec<String> {
    let around = words(&code[..offset], "mod").filter_map(|at| {
        let name: String = code[at + 3..].trim_start().chars().take_while(|&c| is_word_char(c)).collect();
        let open = at + code[at..].find(['{', ';'])?;
        (code[open..].starts_with('{') && after_matching(code, open) > offset).then_some(name)
    });
    around.collect()
}

/// Converts a path in `module` that begins with `crate`, `super` or `self` to a path from the root. Returns `None` for
/// any other path.
pub(crate) fn absolute(code: &str, module: &[String], path: &WrittenPath) -> Option<Vec<String>> {
    let ups = path.names.iter().take_while(|name| *name == "super").count();
    let skipped = ups.max(usize::from(matches!(path.names[0].as_str(), "crate" | "self")));
    let mut base = match path.names[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => [module, &inline_modules(code, path.offset)].concat(),
        _ => return None,
    };
    base.truncate(base.len().saturating_sub(ups));
    Some([&base, &path.names[skipped..]].concat())
}

/// The shipped code of the library, by module.
pub(crate) struct Library<'a> {
    modules: BTreeMap<Vec<String>, Module<'a>>,
}

pub(crate) struct Module<'a> {
    pub(crate) source: &'a Source,
    pub(crate) code: String,
    pub(crate) paths: Vec<WrittenPath>,
}

/// The target of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A module with a file of its own.
    Module,
    /// An item, with the file that defines it.
    Item { file: &'a str, name: String },
}

impl<'a> Library<'a> {
    pub(crate) fn new(sources: &'a [Source]) -> Self {
        let test_files = test_files(sources);
        let is_shipped = |source: &&Source| !test_files.iter().any(|file| is_under(&source.path, file));
        let module = |source: &'a Source| {
            let code = source.shipped_code();
            (module_path(&source.path), Module { source, paths: written_paths(&code), code })
        };
        let library = sources.iter().filter(|source| source.is_library());
        Self { modules: library.filter(is_shipped).map(module).collect() }
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = (&Vec<String>, &Module<'a>)> {
        self.modules.iter()
    }

    /// Returns the target of a path in `module`. Returns `None` if the target is outside of the library, if `module`
    /// itself defines the path's first name, or if the path is an import that begins with another import's name.
    pub(crate) fn target(&self, module: &[String], path: &WrittenPath) -> Option<Target<'a>> {
        let home = &self.modules[module];
        let first = path.names[0].as_str();
        let start = match absolute(&home.code, module, path) {
            Some(path) => path,
            None if self.modules.contains_key(&[module, &path.names[..1]].concat()) => [module, &path.names].concat(),
            None if path.role == Role::Code => return self.follow(module, &path.names, 0),
            None => return None,
        };
        (first != "*").then(|| self.resolve(&start, 0)).flatten()
    }

    /// Returns the target of a path from the root.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Target<'a>> {
        let known = (0..=path.len()).rev().find(|&len| self.modules.contains_key(&path[..len]))?;
        let (module, rest) = path.split_at(known);
        let Some(name) = rest.first() else { return Some(Target::Module) };
        let file = &self.modules[module].source.path;
        self.follow(module, rest, depth).or_else(|| Some(Target::Item { file, name: name.clone() }))
    }

    /// Returns the target of a path that begins with a name that `module` imports; `None` if `module` imports no such
    /// name from the library.
    fn follow(&self, module: &[String], names: &[String], depth: usize) -> Option<Target<'a>> {
        assert!(depth < 20, "the re-exports of {names:?} in {module:?} form a circle, or a chain of 20");
        let home = &self.modules[module];
        let from_root = |path: &WrittenPath| {
            absolute(&home.code, module, path).or_else(|| {
                let is_child = self.modules.contains_key(&[module, &path.names[..1]].concat());
                is_child.then(|| [module, &path.names].concat())
            })
        };
        for path in &home.paths {
            let Role::Import { name, .. } = &path.role else { continue };
            if *name == names[0] {
                let target = from_root(path)?;
                // An inline module may import a name of the file around it.
                let is_own = target == [module, &names[..1]].concat();
                return if is_own { None } else { self.resolve(&[&target, &names[1..]].concat(), depth + 1) };
            }
            if name == "*"
                && let Some(mut list) = from_root(path)
            {
                list.pop();
                if self.modules.get(&list).is_some_and(|module| defines(&module.code, &names[0])) {
                    return self.resolve(&[&list, names].concat(), depth + 1);
                }
            }
        }
        None
    }
}

/// Returns whether an item of this name is defined in `code`.
fn defines(code: &str, name: &str) -> bool {
    const ITEMS: [&str; 7] = ["const", "static", "fn", "struct", "enum", "trait", "type"];
    words(code, name).any(|at| ITEMS.iter().any(|item| code[..at].trim_end().ends_with(item)))
}

/// Returns the files of modules that exist in tests only, as paths without an extension.
pub(crate) fn test_files(sources: &[Source]) -> Vec<String> {
    let of_file = |source: &Source| {
        let folder = match source.path.strip_suffix("lib.rs").or_else(|| source.path.strip_suffix("mod.rs")) {
            Some(folder) => folder.to_owned(),
            None => format!("{}/", source.path.trim_end_matches(".rs")),
        };
        source.test_module_files().into_iter().map(move |name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| source.is_library()).flat_map(of_file).collect()
}

pub(crate) fn is_under(path: &str, module_file: &str) -> bool {
    path.strip_prefix(module_file).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[test]
fn imports_and_other_paths_are_read_except_those_that_begin_with_an_angle_bracket() {
    let read = |code: &str| -> Vec<String> {
        let paths = written_paths(code);
        paths.iter().map(|path| format!("{} {:?}", path.names.join("::"), path.role)).collect()
    };
    let import = |path: &str, name: &str, is_public: bool| {
        format!("{path} {:?}", Role::Import { name: name.to_owned(), is_public })
    };
    assert_eq!(read("use a::b;"), [import("a::b", "b", false)]);
    assert_eq!(read("mod c; pub(crate) use c::*;"), [import("c::*", "*", true)]);
    assert_eq!(
        read("use a::{self, b::{c as d, e},\n f};"),
        [
            import("a", "a", false),
            import("a::b::c", "d", false),
            import("a::b::e", "e", false),
            import("a::f", "f", false)
        ]
    );
    assert_eq!(read("fn f() { a::b::<c::D>::e(super::g) }"), ["a::b Code", "c::D Code", "super::g Code"]);
    assert_eq!(read("$crate::a::b!()"), ["crate::a::b Code"]);
    assert_eq!(read("<a as b>::c"), Vec::<String>::new());
}

#[test]
fn a_path_leads_to_the_file_that_defines_the_name() {
    let sources = [
        Source::new("src/lib.rs", "pub mod a; mod b; pub use b::c::{self, Inner as Outer};"),
        Source::new("src/a.rs", "use crate::b::c; use super::b; fn f() {}"),
        Source::new("src/b/mod.rs", "pub mod c; pub use self::c::Inner; pub use d::*; pub struct Own; mod d;"),
        Source::new("src/b/c.rs", "pub struct Inner;"),
        Source::new("src/b/d.rs", "pub const D: u8 = 1;"),
    ];
    let library = Library::new(&sources);
    let file = |code: &str| {
        let names = code.split("::").map(str::to_owned).collect();
        match library.target(&["a".to_owned()], &WrittenPath { offset: 0, names, role: Role::Code }) {
            Some(Target::Item { file, name }) => format!("{file} {name}"),
            Some(Target::Module) => "module".to_owned(),
            None => "none".to_owned(),
        }
    };
    for path in ["crate::b::c::Inner", "crate::Outer::new", "crate::b::Inner::new", "b::Inner", "c::Inner"] {
        assert_eq!(file(path), "src/b/c.rs Inner", "{path}");
    }
    assert_eq!(file("super::b::D"), "src/b/d.rs D");
    assert_eq!(file("b::Own"), "src/b/mod.rs Own");
    assert_eq!(file("self::f"), "src/a.rs f");
    assert_eq!((file("crate::b::c"), file("std::fmt")), ("module".to_owned(), "none".to_owned()));
}
