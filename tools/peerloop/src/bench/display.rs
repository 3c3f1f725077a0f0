//! The display of a running load: a progress line on stderr, or the live view.

#[cfg(feature = "tui")]
use super::live::Live;
#[cfg(feature = "tui")]
use super::tui::{DRAW_INTERVAL, Screen};
#[cfg(feature = "tui")]
use crate::exit::Failure;
use crate::progress::Progress;
use peerloop::load;
use std::time::Duration;

/// The display of a running load.
#[derive(Debug)]
pub(super) enum Display {
    Line(Progress),
    #[cfg(feature = "tui")]
    Screen(Box<Screen>),
}

impl Display {
    /// Returns a progress line, or nothing visible if `quiet`.
    pub(super) fn line(quiet: bool) -> Self {
        Self::Line(Progress::new(quiet))
    }

    /// Opens the live view.
    #[cfg(feature = "tui")]
    pub(super) fn screen(title: String, live: Live) -> Result<Self, Failure> {
        Ok(Self::Screen(Box::new(Screen::open(title, live)?)))
    }

    /// Returns the interval at which to call [`Display::update`].
    pub(super) fn interval(&self) -> Duration {
        match self {
            Self::Line(line) => line.interval(),
            #[cfg(feature = "tui")]
            Self::Screen(_) => DRAW_INTERVAL,
        }
    }

    /// Shows the load's progress, also formatted as `line`.
    pub(super) fn update(&mut self, progress: &load::Progress, line: &str) {
        match self {
            Self::Line(shown) => {
                let _ = progress;
                shown.show(line);
            }
            #[cfg(feature = "tui")]
            Self::Screen(screen) => screen.draw(progress, line),
        }
    }

    /// Shows a note. The live view has no room for notes: its keys and counts show the same.
    pub(super) fn note(&mut self, line: &str) {
        match self {
            Self::Line(shown) => shown.show(line),
            #[cfg(feature = "tui")]
            Self::Screen(_) => {}
        }
    }

    /// Removes the display from the terminal.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Line(line) => line.clear(),
            #[cfg(feature = "tui")]
            Self::Screen(_) => *self = Self::line(true),
        }
    }
}
