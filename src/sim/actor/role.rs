//! A connection's persona in a crowd. It is chosen when the connection is dialled or accepted, and never changes.

use super::honest::Honest;
use super::persona::Persona;
use std::fmt;

/// The persona of a [`Crowd`](super::Crowd)'s connection. Honest peers are stored inline in the crowd's table,
/// because a crowd may hold a million of them.
pub enum Role {
    /// The reference peer.
    Honest(Honest),
    /// Any other persona.
    Other(Box<dyn Persona>),
}

impl Role {
    /// Wraps any persona other than the reference peer.
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
