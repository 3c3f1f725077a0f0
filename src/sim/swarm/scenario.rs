//! Everything about a run, as plain data.

use super::super::tape::Tape;
use std::fmt;

/// What kind of worlds are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// All that there is.
    #[default]
    Standard,
    /// The same worlds without their Byzantine peers.
    WithoutByzantine,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    profile: Profile,
}

impl Scenario {
    /// Draws a scenario from a tape's first stream.
    pub fn draw(_tape: &Tape, profile: Profile) -> Self {
        Self { profile }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.profile)
    }
}
