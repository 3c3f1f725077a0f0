//! Peers of a simulated world: honest, odd and hostile ones, in any number.
//!
//! A [`Crowd`] is a host with a [`Persona`] for each of its connections. The crowd calls the persona for each event,
//! and the persona acts through its [`Line`]. [`Honest`] is the reference peer. It records its observations of
//! the loop in a [`Journal`]. All actors share a codec that never uses the loop's code, and draw random numbers only
//! from their crowd's stream.
//!
//! [`Quirk`]s make honest peers odd. A [`Source`] sends one payload of any length, and a [`Sink`] receives one and
//! checks it. A peer with two streams consists of several personas that share an [`Association`]. The module
//! [`byzantine`] holds the hostile peers, each with the loop's required reaction ([`Expectation`]).

pub mod byzantine;

mod association;
mod crowd;
mod honest;
mod journal;
mod line;
mod persona;
mod profile;
mod quirk;
mod reference;
mod role;
mod stream;

pub use association::{Association, AssociationAcceptor, AssociationDialler, AssociationOutcome, Reaction, Setup};
pub use crowd::Crowd;
pub use honest::Honest;
pub use journal::{Complaint, Journal, Tally, Wrong};
pub use line::{Line, MAX_UNSENT_BYTES};
pub use persona::{End, Expectation, Judgement, Persona};
pub use profile::{Profile, VersionTail};
pub use quirk::{Odd, Quirk};
pub use role::Role;
pub use stream::{Cargo, Flow, Pace, Sink, Source};
