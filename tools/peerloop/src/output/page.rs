//! Text that is built line by line. Lists and sentences are wrapped to 80 columns.

use std::fmt::Write;

/// Maximum width of a line that can be wrapped: the width of the narrowest usual terminal.
const WIDTH_CHARS: usize = 80;

/// Text that is built line by line.
pub(crate) struct Page(pub(crate) String);

impl Page {
    pub(crate) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("writing to a string cannot fail");
        self.0.push('\n');
    }

    /// Adds a line: the label, and the parts separated by `gap`. Parts that do not fit continue on the next line, below
    /// the first part.
    pub(crate) fn parts<T: AsRef<str>>(&mut self, label: &str, gap: &str, parts: impl IntoIterator<Item = T>) {
        self.0.push_str(label);
        let indent = label.chars().count();
        let mut column = indent;
        for part in parts {
            let part = part.as_ref();
            let part_chars = part.chars().count();
            if column > indent && column + gap.len() + part_chars > WIDTH_CHARS {
                self.0 += &format!("\n{:indent$}", "");
                column = indent;
            } else if column > indent {
                self.0.push_str(gap);
                column += gap.len();
            }
            self.0.push_str(part);
            column += part_chars;
        }
        self.0.push('\n');
    }

    /// Adds a label and the text of `sentence` after it, wrapped between words.
    pub(crate) fn wrapped(&mut self, label: &str, sentence: &str) {
        self.parts(label, " ", sentence.split(' '));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_that_do_not_fit_continue_below_the_first() {
        let mut page = Page(String::new());
        page.parts("label  ", "   ", ["a".repeat(36), "b".repeat(34), "c".to_owned()]);
        page.parts("label  ", "   ", ["d".repeat(90), "e".to_owned()]);
        page.parts("label  ", "   ", [""; 0]);
        let (a, b, d) = ("a".repeat(36), "b".repeat(34), "d".repeat(90));
        assert_eq!(page.0, format!("label  {a}   {b}\n       c\nlabel  {d}\n       e\nlabel  \n"));
    }

    proptest! {
        #[test]
        fn wrapped_text_keeps_its_words_and_fits_the_width(words in proptest::collection::vec("[a-z]{1,20}", 1..60)) {
            let sentence = words.join(" ");
            let mut page = Page(String::new());
            page.wrapped("    ", &sentence);
            prop_assert!(page.0.lines().all(|line| line.len() <= WIDTH_CHARS && line.starts_with("    ")));
            prop_assert_eq!(page.0.split_whitespace().collect::<Vec<_>>().join(" "), sentence);
        }
    }
}
