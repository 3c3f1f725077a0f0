//! The loop over the real kernel, on loopback. Its peer is another loop or a bare socket.
//!
//! Each test waits for its events up to a generous deadline, so a slow machine does not make a test fail.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "the tests limit their waiting time and run loops on threads")]

mod additions;
mod asking;
mod capacity;
mod channel;
mod control;
mod descriptors;
mod dialling;
mod embedding;
mod half_close;
mod handle;
mod itself;
mod listening;
mod manager;
mod messages;
mod persisting;
mod probe;
mod registration;
mod reject;
mod resolving;
mod shake_hands;
mod sigpipe;
mod spinning;
mod storm;
mod streams;
mod subscriptions;
mod version;
