//! Progress on stderr. On a terminal, one line is redrawn in place. Elsewhere, and on a terminal of type `dumb`,
//! which cannot redraw a line, each update is a line of its own. With `--quiet`, nothing is written.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Maximum width of the line; a narrower terminal reduces it.
const MAX_LINE_CHARS: usize = 79;

/// The current progress line.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    shown: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Redrawn,
    Plain,
    Quiet,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let style = match quiet {
            true => Style::Quiet,
            false if io::stderr().is_terminal() && !is_dumb => Style::Redrawn,
            false => Style::Plain,
        };
        Self { style, shown: None }
    }

    /// Returns whether the line is redrawn on a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.style == Style::Redrawn
    }

    /// Returns the interval at which to call [`Progress::show`].
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(if self.is_live() { 200 } else { 1_000 })
    }

    /// Shows `line`, truncated to the maximum width. On a terminal, it replaces the previous line. If stderr is
    /// closed, only the line is lost.
    pub(crate) fn show(&mut self, line: &str) {
        let line: String = line.chars().take(self.width()).collect();
        let _ = match self.style {
            Style::Quiet => return,
            Style::Redrawn => write!(io::stderr(), "\r\x1b[K{line}"),
            Style::Plain => writeln!(io::stderr(), "{line}"),
        };
        self.shown = Some(Instant::now());
    }

    /// Returns the maximum length of the line in characters: a line that wraps cannot be redrawn.
    fn width(&self) -> usize {
        let columns = match self.style {
            Style::Redrawn => rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col)),
            Style::Plain | Style::Quiet => 0,
        };
        if columns == 0 { MAX_LINE_CHARS } else { MAX_LINE_CHARS.min(columns - 1) }
    }

    /// Removes the line from the terminal, so that the next output starts on an empty line.
    pub(crate) fn clear(&mut self) {
        if self.is_live() && self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
