//! The two sides of a pipe.

use std::fmt;

/// A side of a pipe, and the node there.
///
/// ```
/// use peerloop::relay::pipe::{PipeReport, Side};
///
/// /// Prints how many bytes wait for each node.
/// fn show_waiting(report: &PipeReport) {
///     for side in Side::BOTH {
///         println!("{} bytes wait for {side}", report.side(side.other()).held_bytes);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first node.
    A,
    /// The second node.
    B,
}

impl Side {
    /// Both sides.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Returns the side's position in [`Side::BOTH`].
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
