//! The persona of one connection in a crowd.
//!
//! It is drawn once and never changes. Nothing here sends anything.

use super::honest::Honest;
use super::persona::Persona;
use std::fmt;

/// Who plays a connection of a [`Crowd`](super::Crowd): honest peers lie in its table itself, for there may be a
/// million.
pub enum Role {
    /// The reference peer.
    Honest(Honest),
    /// Anybody else.
    Other(Box<dyn Persona>),
}

impl Role {
    /// Anybody but the reference peer.
    pub fn of(persona: impl Persona + 'static) -> Self {
        Self::Other(Box::new(persona))
    }

    pub(super) fn persona(&mut self) -> &mut dyn Persona {
        match self {
            Self::Honest(honest) => honest,
            Self::Other(persona) => &mut **persona,
        }
    }
}

impl From<Honest> for Role {
    fn from(honest: Honest) -> Self {
        Self::Honest(honest)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Honest(honest) => f.debug_tuple("Honest").field(honest).finish(),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}
