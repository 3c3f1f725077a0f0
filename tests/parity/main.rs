//! The virtual kernel against the real one: the same scripts on both, and on each of the two pollers that tell no lies.
//!
//! A script says which calls are made and gives what was observed; the observations have to be equal. Compared are the
//! outcomes of calls, and whether an edge comes and says that something is readable or has ended. Not compared is what
//! kernels may differ in: whether an edge that is about reading says that there is room as well, how much a socket
//! holds, whether a refused dial fails at once or by an event, and whether unread data survives a reset.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod ending;
mod opening;
mod reading;
mod resolving;
mod stage;
mod writing;
