//! A file of this repository as the house rules see it: its text, and its code without comments and literals.
//!
//! [`Source::code`] is a Rust file's text with its comments and its string and character literals blanked; it is
//! empty for any other file. No byte moves, so an offset is the same position in the text and in the code. This module
//! finds comments, literals, attributes, items and words; it never judges whether code is correct.

use std::fmt;
use std::ops::Range;

/// A breach of a rule, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) path: String,
    /// The line's number, counted from one; zero means the file as a whole.
    pub(crate) line: usize,
    pub(crate) remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.remedy)
    }
}

/// A text file; `path` is relative to the root of the repository and has `/` between its parts.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank_literals(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns whether the file is part of the library.
    pub(crate) fn is_library(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(crate) fn violation(&self, offset: usize, remedy: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line: self.line_of(offset), remedy: remedy.into() }
    }

    /// Returns the code without the items that exist only in tests.
    pub(crate) fn shipped_code(&self) -> String {
        let mut code = self.code.clone().into_bytes();
        for item in test_items(&self.code) {
            blank(&mut code[item]);
        }
        String::from_utf8(code).expect("whole characters were blanked")
    }

    /// Returns the names of the test-only modules that this file declares and that have their own files.
    pub(crate) fn test_module_files(&self) -> Vec<String> {
        let item_code = test_items(&self.code).into_iter().map(|item| &self.code[item]);
        let declared = item_code.filter_map(|code| {
            let at = words(code, "mod").next()?;
            let name: String = code[at + 3..].trim_start().chars().take_while(|&c| is_word_char(c)).collect();
            code.ends_with(';').then_some(name)
        });
        declared.collect()
    }
}

pub(crate) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the positions at which `text` contains `word` as a whole word, that is, not as a part of a longer word.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let free_before = !text[..at].ends_with(is_word_char) || !word.starts_with(is_word_char);
        free_before && (!text[at + word.len()..].starts_with(is_word_char) || !word.ends_with(is_word_char))
    })
}

/// Returns the position after the bracket that closes the bracket at `open`, or the end of the code if there is none.
pub(crate) fn after_matching(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Returns every attribute of the code, from its `#` to its `]`.
pub(crate) fn attributes(code: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    code.match_indices('#').filter_map(|(at, _)| {
        let open = at + 1 + usize::from(code[at + 1..].starts_with('!'));
        code[open..].starts_with('[').then(|| at..after_matching(code, open))
    })
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let is_test = |attribute: &Range<usize>| {
        let text: String = code[attribute.clone()].split_whitespace().collect();
        text.starts_with("#[cfg(test)") || text.starts_with("#[cfg(all(test,")
    };
    attributes(code).filter(is_test).filter_map(|found| Some(found.start..item_end(code, found.end)?)).collect()
}

/// Returns the end of the item that begins at `at`; `None` if no item begins there. The item may begin with further
/// attributes.
fn item_end(code: &str, at: usize) -> Option<usize> {
    const ITEMS: [&str; 11] =
        ["mod", "use", "fn", "impl", "const", "static", "struct", "enum", "trait", "type", "async"];
    let mut rest = code[at..].trim_start();
    while rest.starts_with("#[") {
        rest = rest[after_matching(rest, 1)..].trim_start();
    }
    let start = code.len() - rest.len();
    if let Some(visible) = rest.strip_prefix("pub") {
        rest = visible.trim_start();
        if rest.starts_with('(') {
            rest = rest[after_matching(rest, 0)..].trim_start();
        }
    }
    let keyword: String = rest.chars().take_while(|&c| is_word_char(c)).collect();
    ITEMS.contains(&keyword.as_str()).then(|| {
        let end = body_or_semicolon(code, start);
        // The braces of a `use` are a list, so the item ends at its semicolon.
        if keyword == "use" {
            start + code[start..].find(';').map_or(end - start, |at| at + 1)
        } else {
            after_body(code, end)
        }
    })
}

/// Returns the position of the first `{` or `;` at or after `at` outside other brackets, or the end of the code.
pub(crate) fn body_or_semicolon(code: &str, at: usize) -> usize {
    let mut position = at;
    while let Some(byte) = code.as_bytes().get(position) {
        match byte {
            b'{' | b';' => return position,
            b'(' | b'[' => position = after_matching(code, position),
            _ => position += 1,
        }
    }
    code.len()
}

/// Returns the position after the `{...}` or `;` at `at`.
pub(crate) fn after_body(code: &str, at: usize) -> usize {
    if code[at..].starts_with('{') { after_matching(code, at) } else { (at + 1).min(code.len()) }
}

fn blank_literals(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let end = at + literal_len(text, at);
        if end > at {
            blank(&mut code[at..end]);
            at = end;
        } else {
            at += 1;
            while !text.is_char_boundary(at) {
                at += 1;
            }
        }
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// Returns the length of the comment, string or character literal that begins at `at`, or zero if there is none.
fn literal_len(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let is_prefix = rest.starts_with(['r', 'b', 'c']) && !text[..at].ends_with(is_word_char);
    match rest.as_bytes() {
        [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => quoted_len(rest, '"'),
        [b'\'', ..] => character_len(rest),
        _ if is_prefix => raw_string_len(rest),
        _ => 0,
    }
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = rest.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of a character literal, or zero for a lifetime, which has no second quote.
fn character_len(rest: &str) -> usize {
    let mut following = rest.chars().skip(1);
    match (following.next(), following.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted_len(rest, '\''),
        _ => 0,
    }
}

fn raw_string_len(rest: &str) -> usize {
    let Some(raw) = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))
    else {
        return 0;
    };
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if !raw[hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = rest.len() - raw.len() + hashes + 1;
    rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len())
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a "b \" c" d"#, "a          d"),
        (r##"a r#"b " c"# d"##, "a            d"),
        (r##"a br#"b"# d"##, "a         d"),
        (r#"a b"b" d"#, "a b    d"),
        ("a '{' '\\'' '\\u{7b}' d", "a                   d"),
        ("&'a str, 'b: loop {}", "&'a str, 'b: loop {}"),
        ("r#fn bar\"x\"", "r#fn bar   "),
        ("\"// no comment\" a", "                a"),
        ("'\u{e9}' a", "     a"),
        ("\"\nopen", " \n    "),
        ("a /* open", "a        "),
    ];
    for (text, code) in cases {
        assert_eq!(Source::new("a.rs", text).code, code, "{text}");
    }
}

#[test]
fn shipped_code_has_no_items_for_tests() {
    let shipped = |text: &str| Source::new("a.rs", text).shipped_code().split_whitespace().collect::<String>();
    assert_eq!(shipped("#[cfg(test)] mod tests { fn a() { b } } fn c() {}"), "fnc(){}");
    assert_eq!(shipped("#[cfg(test)] #[allow(x)] pub(crate) fn a() -> [u8; 4] { b } c"), "c");
    assert_eq!(shipped("#[cfg(test)] use a::{b, c}; d"), "d");
    assert_eq!(shipped("#[cfg(all(test, unix))] mod a; d"), "d");
    assert_eq!(shipped("#[cfg(unix)] mod a;"), "#[cfg(unix)]moda;");
    assert_eq!(shipped("struct A { #[cfg(test)] b: u8 } fn c() {}"), "structA{#[cfg(test)]b:u8}fnc(){}");
    assert_eq!(Source::new("a.rs", "#[cfg(test)] mod fake; #[cfg(test)] mod t {}").test_module_files(), ["fake"]);
}

#[test]
fn only_whole_words_are_found() {
    assert_eq!(words("forbid(unsafe_code) unsafe {} not_unsafe", "unsafe").collect::<Vec<_>>(), [20]);
    assert_eq!(words("x.todo!() todo!()", "todo!").collect::<Vec<_>>(), [2, 10]);
}
