//! Untrusted text in the page: a user agent or a label can never become markup, and is shown as it is.
//!
//! Invisible characters, and those that change the direction of the text around them, are shown by their number, for
//! example `\u{202e}`. Very long texts are cut.

/// Maximum number of characters of one text; more would hide the rest of the page.
const MAX_CHARS: usize = 400;

/// Escapes a text for the content of an element, or for an attribute in quotes.
pub(crate) fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars();
    for char in chars.by_ref().take(MAX_CHARS) {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            ' '..='~' => escaped.push(char),
            _ if is_visible(char) => escaped.push(char),
            _ => escaped.extend(char.escape_unicode()),
        }
    }
    if chars.next().is_some() {
        escaped.push('…');
    }
    escaped
}

/// Returns whether a character is visible, or is part of the visible character before it.
fn is_visible(char: char) -> bool {
    // The first character is escaped by other rules than those after it.
    ['a', char].iter().collect::<String>().escape_debug().count() == 2
}

/// Escapes JSON for a data block: ASCII without `<`, `>` and `&`, so that no text in it can end or change the block.
/// The result is the same JSON.
pub(crate) fn json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let mut units = [0; 2];
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\x7f'.. => {
                for unit in char.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_and_quotes_are_shown_as_text() {
        let shown = text("<script>alert(\"1\")</script> & 'x'");
        assert_eq!(shown, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;");
    }

    #[test]
    fn invisible_and_reordering_characters_are_shown_by_their_number() {
        let shown = text("a\u{202e}b\u{0}c\u{200b}d\u{feff}e\u{2066}f\u{1b}[0m\n\u{ffff}");
        assert_eq!(shown, r"a\u{202e}b\u{0}c\u{200b}d\u{feff}e\u{2066}f\u{1b}[0m\u{a}\u{ffff}");
        let words = "Zürich, Ελλάδα, 日本, हिन्दी, שלום";
        assert_eq!(text(words), words);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(text(&"<".repeat(MAX_CHARS)), "&lt;".repeat(MAX_CHARS));
        assert_eq!(text(&"a".repeat(MAX_CHARS + 1)), "a".repeat(MAX_CHARS) + "…");
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(any in any::<String>()) {
            let shown = text(&any);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']), "{}", shown);
        }

        #[test]
        fn escaped_json_is_the_same_json_in_ascii_without_markup(any in any::<String>()) {
            let written = serde_json::to_string(&any).unwrap();
            let escaped = json(&written);
            prop_assert!(escaped.is_ascii() && !escaped.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), any);
        }
    }
}
