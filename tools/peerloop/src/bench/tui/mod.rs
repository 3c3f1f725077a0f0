//! `bench --tui`: a live view of the load on the terminal.
//!
//! The view is drawn on stderr, on the alternate screen, so stdout still carries the results, and the terminal shows
//! its previous contents again afterwards. [`view`] draws a [`Scene`](view::Scene) and knows no terminal; [`keys`]
//! reads the keys. The view changes nothing in the run: a key has the effect of a signal.

mod keys;
mod view;

use super::live::Live;
use crate::exit::Failure;
use keys::Keys;
use peerloop::load;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use std::fmt;
use std::io::{self, IsTerminal, Stderr};
use std::time::Duration;
use view::Scene;

/// The interval at which the view is drawn.
pub(super) const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// The live view while it is on the terminal. The drop restores the terminal.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    keys: Option<Keys>,
    live: Live,
    title: String,
}

impl Screen {
    /// Returns whether stderr is a terminal that can show the view, and this process may draw on it now.
    pub(super) fn is_possible() -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        io::stderr().is_terminal() && !is_dumb && !keys::is_in_background(io::stderr())
    }

    /// Opens the view, which shows the load's `title` and the latencies of `live`.
    pub(super) fn open(title: String, live: Live) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::run(format!("opening the live view on the terminal: {error}"));
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr())).map_err(failed)?;
        let keys = Keys::open();
        let screen = Self { terminal, keys, live, title };
        execute!(io::stderr(), EnterAlternateScreen, Hide).map_err(failed)?;
        Ok(screen)
    }

    /// Draws the load's progress, and raises the signals of typed keys. If the terminal is closed, only the view ends.
    pub(super) fn draw(&mut self, progress: &load::Progress, line: &str) {
        let rows = self.live.rows();
        let has_keys = self.keys.is_some();
        let scene = Scene { title: &self.title, line, progress, rows: &rows, has_keys };
        let _ = self.terminal.draw(|frame| view::draw(frame, &scene));
        if let Some(keys) = &self.keys {
            keys.raise_signals();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stderr(), Show, LeaveAlternateScreen);
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("title", &self.title).finish_non_exhaustive()
    }
}
