//! Plain English in comments, and commit subjects that are instructions.
//!
//! No clause of a comment begins with a headless `who` or `what`: the subject is named. Documentation uses the
//! field's verbs and nouns. A commit's subject is an imperative of at most [`MAX_SUBJECT_CHARS`] characters. The
//! check reads words, never sentences. It skips text in backticks, words that begin with a quotation mark, links, paths
//! and examples.

use crate::source::{Source, Violation};

const MAX_SUBJECT_CHARS: usize = 72;

/// Words that begin a clause without naming its subject.
const HEADLESS: [&str; 5] = ["who", "whom", "what", "whoever", "whatever"];

/// Words that a headless clause may follow, as in "of whom".
const LEADS: [&str; 17] =
    ["and", "or", "but", "that", "of", "for", "to", "by", "with", "from", "on", "in", "as", "than", "is", "are", "if"];

/// Forms of verbs that this field does not use.
const VERBS: [&str; 53] = [
    "tell",
    "tells",
    "telling",
    "told",
    "hear",
    "hears",
    "hearing",
    "heard",
    "go",
    "goes",
    "going",
    "gone",
    "went",
    "come",
    "comes",
    "coming",
    "came",
    "leave",
    "leaves",
    "leaving",
    "left",
    "take",
    "takes",
    "taken",
    "taking",
    "took",
    "befall",
    "befalls",
    "befallen",
    "strike",
    "strikes",
    "struck",
    "forgive",
    "forgives",
    "forgiven",
    "forgave",
    "pardon",
    "pardons",
    "pardoned",
    "weigh",
    "weighs",
    "weighed",
    "weighing",
    "hurry",
    "hurries",
    "hurried",
    "hurrying",
    "overhear",
    "overhears",
    "overheard",
    "overhearing",
    "befell",
    "striking",
];

/// Nouns that this field does not use.
const NOUNS: [&str; 8] = ["news", "sentence", "teller", "speaker", "warden", "town", "villain", "vice"];

/// Finds headless clauses in comments, and, in documentation, also words that this field does not use.
pub(crate) fn comments_are_plain(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (mut before, mut is_example) = (Before::Start, false);
    for (index, line) in source.text.lines().enumerate().filter(|_| source.is_rust()) {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            (before, is_example) = (Before::Start, false);
            continue;
        };
        let is_doc = comment.starts_with(['/', '!']);
        let text = comment.trim_start_matches(['/', '!']).trim_start();
        is_example ^= text.starts_with("```");
        let mut words = prose_words(text).filter(|_| !is_example).peekable();
        while let Some(word) = words.next() {
            let lower = word.text.to_lowercase();
            // "What to change" acts as a noun, so it needs no subject.
            let is_noun = words.peek().is_some_and(|next| next.text == "to");
            let breach = if HEADLESS.contains(&&*lower) && before.begins_clause() && !is_noun {
                Some(format!("\"{}\" has no head: name the subject of the clause", word.text))
            } else if is_doc && (VERBS.contains(&&*lower) || NOUNS.contains(&&*lower)) {
                Some(format!("\"{}\" is not used in this field: choose the usual word", word.text))
            } else {
                None
            };
            violations.extend(breach.map(|remedy| Violation { path: source.path.clone(), line: index + 1, remedy }));
            before = Before::of(&lower, word.ends_clause);
        }
    }
    violations
}

/// The kind of text before a word, within one comment.
enum Before {
    /// Nothing, or a mark that ends a clause.
    Start,
    Lead,
    Other,
}

impl Before {
    fn of(word: &str, ends_clause: bool) -> Self {
        match ends_clause {
            true => Self::Start,
            false if LEADS.contains(&word) => Self::Lead,
            false => Self::Other,
        }
    }

    fn begins_clause(&self) -> bool {
        match self {
            Self::Start | Self::Lead => true,
            Self::Other => false,
        }
    }
}

struct Word<'a> {
    text: &'a str,
    ends_clause: bool,
}

/// Returns the words of a comment's line; each span that is not prose counts as one word.
fn prose_words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let spans = line.split('`').enumerate().flat_map(|(index, span)| match index % 2 {
        0 => span.split_whitespace().collect(),
        _ => vec!["X"],
    });
    spans.filter(|word| word.contains(char::is_alphanumeric)).map(|word| {
        let text = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_prose = !word.contains("](") && !word.starts_with('"') && !word.contains("::");
        Word { text: if is_prose { text } else { "X" }, ends_clause: word.ends_with(['.', ',', ';', ':', '?']) }
    })
}

/// Finds commit subjects that are not short instructions.
pub(crate) fn subjects_are_instructions<'a>(subjects: impl IntoIterator<Item = &'a str>) -> Vec<Violation> {
    let violation = |subject: &str, remedy: &str| Violation {
        path: format!("commit \"{subject}\""),
        line: 0,
        remedy: remedy.to_owned(),
    };
    let judge = |subject: &'a str| {
        let first = subject.split_whitespace().next().unwrap_or_default();
        let is_past = first.ends_with("ed") && !["Need", "Feed", "Seed", "Speed", "Embed", "Shed"].contains(&first);
        let is_noun = first.ends_with("ing") && !["Bring", "String", "Ring"].contains(&first);
        if subject.chars().count() > MAX_SUBJECT_CHARS {
            let remedy = format!("shorten it to {MAX_SUBJECT_CHARS} characters, and give the reason in the body");
            Some(violation(subject, &remedy))
        } else if !first.starts_with(char::is_uppercase) || is_past || is_noun || subject.ends_with('.') {
            Some(violation(subject, "begin with a capitalised verb in the imperative, and end without a full stop"))
        } else {
            None
        }
    };
    subjects.into_iter().filter_map(judge).collect()
}

#[test]
fn a_headless_clause_is_found() {
    let lines = |text: &str| -> Vec<usize> {
        comments_are_plain(&Source::new("src/a.rs", text)).iter().map(|violation| violation.line).collect()
    };
    assert_eq!(lines("/// Who is live stays.\nlet a = what;"), [1]);
    assert_eq!(lines("// Drops a peer; what waits is lost, and\n// who sips is closed."), [1, 2]);
    assert_eq!(lines("// It is not known of\n// whom. Returns what the peer sent."), [2]);
    assert_eq!(
        lines("/// Prints\n/// ```\n/// a.take(what);\n/// ```\n// which port, and what to change."),
        Vec::<usize>::new()
    );
    assert_eq!(lines("// of\nlet a = 1;\n// the peer who sends, `what`, \"who\""), Vec::<usize>::new());
}

#[test]
fn a_word_that_this_field_does_not_use_is_found() {
    let found = |text: &str| comments_are_plain(&Source::new("src/a.rs", text)).len();
    assert_eq!(found("/// Tells the handler the news."), 2);
    assert_eq!(found("//! A link leaves `left` and [go](a::go)."), 1);
    assert_eq!(found("// A link leaves."), 0);
    assert_eq!(found("fn tell() {}"), 0);
}

#[test]
fn a_subject_that_is_not_a_short_instruction_is_found() {
    let found = |subject: &str| !subjects_are_instructions([subject]).is_empty();
    assert!(["Fixed a bug", "Fixing a bug", "fix a bug", "Fix a bug.", ""].into_iter().all(found));
    assert!(found(&format!("Fix {}", "a".repeat(69))));
    assert!(!found(&format!("Fix {}", "a".repeat(68))) && !found("Embed the framer") && !found("Bring back the test"));
}
