//! `--name` and `--label`: the texts with which users recognise a run in its results.

/// Maximum length of a name, a key or a value in characters: each is shown on one line.
const MAX_CHARS: usize = 200;

/// Parses the name of a run: any text on one line.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    check(text).map(|()| text.to_owned())
}

/// Parses a label: `key=value`. The key consists of letters, digits, `_`, `-`, `.` and `/`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let refused = || format!("`{}` is not a label: use KEY=VALUE, for example version=1.2", text.escape_debug());
    let (key, value) = text.split_once('=').ok_or_else(refused)?;
    let is_key_char = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    if key.is_empty() || !key.chars().all(is_key_char) {
        return Err(refused());
    }
    check(key)?;
    check(value).map(|()| (key.to_owned(), value.to_owned()))
}

fn check(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err(format!("`{}` has a line break or another control character; use one line", text.escape_debug()));
    }
    match text.chars().count() {
        0..=MAX_CHARS => Ok(()),
        chars => Err(format!("the text has {chars} characters; use at most {MAX_CHARS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_label_is_split_at_its_first_equals_sign() {
        let label = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(parse_label("version=1.2=b"), label("version", "1.2=b"));
        assert_eq!(parse_label("app.kubernetes.io/part-of="), label("app.kubernetes.io/part-of", ""));
        for wrong in ["", "version", "=1", "a b=1", "a\n=1", "a,b=1"] {
            assert!(parse_label(wrong).unwrap_err().contains("is not a label: use KEY=VALUE"), "{wrong}");
        }
    }

    #[test]
    fn texts_stay_on_one_line_of_limited_length() {
        assert!(parse_name("a\nb").unwrap_err().contains("use one line"));
        assert!(parse_label("a=\u{1b}[31m").unwrap_err().contains("use one line"));
        assert_eq!(parse_name(&"ä".repeat(MAX_CHARS)).unwrap().chars().count(), MAX_CHARS);
        assert!(parse_name(&"a".repeat(MAX_CHARS + 1)).unwrap_err().contains("use at most 200"));
    }

    proptest! {
        #[test]
        fn no_text_causes_a_parser_to_panic(text in "\\PC{0,12}") {
            let _ = (parse_name(&text), parse_label(&text));
        }
    }
}
