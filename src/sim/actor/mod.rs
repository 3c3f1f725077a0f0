//! The peers of a simulated world: honest ones, odd ones and hostile ones, as many as one likes.
//!
//! A [`Crowd`] is a host whose connections are each played by a [`Persona`], which is told what happens and acts
//! through its [`Line`]. [`Honest`] is the reference peer and a witness: what it sees of the loop goes to a
//! [`Journal`]. All actors speak a codec of their own, made from the protocol's byte vectors, and draw chance from
//! their crowd's stream only.
//!
//! [`Quirk`]s make honest peers odd, a [`Source`] and a [`Sink`] stream gigabytes, and [`byzantine`] has the hostile
//! peers, each with the [`Expectation`] of what the loop has to do about it.

pub mod byzantine;

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

pub use crowd::Crowd;
pub use honest::Honest;
pub use journal::{Complaint, Journal, Tally, Wrong};
pub use line::{Line, MAX_UNSENT_BYTES};
pub use persona::{End, Expectation, Judgement, Persona};
pub use profile::{Profile, VersionTail};
pub use quirk::{Odd, Quirk};
pub use role::Role;
pub use stream::{Cargo, Flow, Pace, Sink, Source};
