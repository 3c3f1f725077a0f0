//! Tables of the page: each has a caption and headings for rows and columns, and scrolls by itself if it is too wide.

use super::escape;

/// A cell's text, and whether it shows a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    is_bad: bool,
}

impl Cell {
    /// Returns a cell that shows a failure if `is_bad` is set.
    pub(crate) fn marked(text: impl Into<String>, is_bad: bool) -> Self {
        Self { text: text.into(), is_bad }
    }

    /// Returns a cell with a number of failures, which is marked unless it is zero.
    pub(crate) fn failures(count: u64) -> Self {
        Self::marked(count.to_string(), count > 0)
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), is_bad: false }
    }
}

/// A table that is being written.
#[derive(Debug)]
pub(crate) struct Table {
    caption: String,
    head: String,
    body: String,
}

impl Table {
    pub(crate) fn new<T: AsRef<str>>(caption: &str, columns: impl IntoIterator<Item = T>) -> Self {
        let columns = columns.into_iter().map(|name| format!("<th scope=\"col\">{}</th>", escape::text(name.as_ref())));
        Self { caption: escape::text(caption), head: columns.collect(), body: String::new() }
    }

    /// Adds a row; its heading is the first cell.
    pub(crate) fn row(&mut self, heading: &str, cells: impl IntoIterator<Item = Cell>) {
        // The direction of a text in one cell has no effect on the others.
        self.body += &format!("<tr><th scope=\"row\"><bdi>{}</bdi></th>", escape::text(heading));
        for Cell { text, is_bad } in cells {
            let class = if is_bad { " class=\"bad\"" } else { "" };
            self.body += &format!("<td{class}><bdi>{}</bdi></td>", escape::text(&text));
        }
        self.body += "</tr>\n";
    }

    /// Returns the table. `class` is `facts` for a table of texts, or `numbers`.
    pub(crate) fn finish(self, class: &str) -> String {
        let Self { caption, head, body } = self;
        format!(
            "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table class=\"{class}\">\
             <caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_table_is_escaped_and_failures_are_marked() {
        let mut table = Table::new("<caption>", ["<column>"]);
        table.row("<row>", ["<cell>".into(), Cell::failures(0), Cell::failures(7)]);
        let html = table.finish("numbers");
        for part in ["caption", "column", "row", "cell"] {
            assert!(html.contains(&format!("&lt;{part}&gt;")), "{part}: {html}");
        }
        assert!(html.contains("<td><bdi>0</bdi></td><td class=\"bad\"><bdi>7</bdi></td>"), "{html}");
    }
}
