//! A virtual kernel and clock, on which the unchanged loop runs.
//!
//! A [`World`] holds hosts, connections, a clock that moves only when it is advanced, and one seeded source of random
//! numbers. A [`SimNet`] is one host's network. A [`Reactor`](crate::Reactor) uses it in place of the real
//! [`Net`](crate::net::Net), or a test calls it directly. A [`Driver`] runs any number of loops until none has work,
//! and only then advances the clock, so that nothing depends on the machine's speed. [`Conditions`] set how a
//! connection's streams are cut into pieces, and how many bytes may wait in each direction.
//!
//! A [`World`] can be as hostile as the real one:
//!
//! - Calls fail ([`Site`]), and connections are reset.
//! - Hosts fall silent, pause, or run out of descriptors and ports.
//! - Dials time out or find no host ([`Route`]).
//! - A [`Poller`] reports only the events that it must report, or adds false ones.
//!
//! All random numbers are drawn from a [`Tape`], which can be saved and replayed.
//!
//! The same seed and the same calls give the same outcomes. To check this, a [`Trace`] reduces all calls of a run to
//! one number. This module never sleeps, reads a real clock, opens a socket or starts a thread, and no other module
//! depends on it.
//!
//! # Your handler under attack
//!
//! This example runs your handler against a hundred peers, which together use every attack of [`actor::byzantine`], and
//! checks the [`invariant`]s. Ten minutes of virtual time need little real time:
//!
//! ```
//! use peerloop::sim::actor::byzantine::{Attacker, attacks};
//! use peerloop::sim::actor::{Crowd, Journal, Profile, Role};
//! use peerloop::sim::invariant::Checked;
//! use peerloop::sim::{Driver, World};
//! use peerloop::{Config, Handler, Network, time::Instant};
//! use std::{rc::Rc, time::Duration};
//! # struct Yours;
//! # impl Handler for Yours { type Request = (); }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//!
//! let world = World::new(7, Instant::ZERO);
//! let mut node = Checked::new(&world, world.host(), Config::new(Network::Regtest), Yours)?;
//! let address = node.listen("10.0.0.1:18444".parse()?)?;
//!
//! let mut attackers = Crowd::new(world.host(), world.chance(1));
//! let profile = Rc::new(Profile::new(Network::Regtest.magic(), &Journal::new()));
//! for attack in attacks().cycle().take(100) {
//!     attackers.dial(address, Role::of(Attacker::new(attack, &profile, &Rc::default())));
//! }
//! Driver::new(&world).run_until(Instant::ZERO.plus(Duration::from_secs(600)), &mut [&mut node, &mut attackers])?;
//!
//! node.sweep();
//! assert_eq!(node.violations(), []);
//! # assert_eq!(node.stats().counters.accepted, 100);
//! # Ok(())
//! # }
//! ```
//!
//! # Two loops
//!
//! ```
//! use peerloop::handler::Handler;
//! use peerloop::sim::{Driver, World};
//! use peerloop::time::Instant;
//! use peerloop::{Config, Ctx, Network, Reactor};
//!
//! struct Dialler;
//!
//! impl Handler for Dialler {
//!     type Request = ();
//!
//!     fn on_start(&mut self, ctx: &mut Ctx<'_>) {
//!         ctx.connect("10.0.0.1:18444".parse().expect("the address is valid")).expect("the table has room");
//!     }
//! }
//!
//! struct Acceptor;
//!
//! impl Handler for Acceptor {
//!     type Request = ();
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::new(7, Instant::ZERO);
//! let config = Config::new(Network::Regtest).with_seed(Some(1));
//! let mut acceptor = Reactor::with_net(config.clone(), world.host(), Acceptor)?;
//! acceptor.listen("10.0.0.1:18444".parse()?)?;
//! let mut dialler = Reactor::with_net(config, world.host(), Dialler)?;
//! Driver::new(&world).run_until(Instant::from_nanos(1), &mut [&mut acceptor, &mut dialler])?;
//! assert_eq!((acceptor.stats().ready, dialler.stats().ready), (1, 1));
//! # Ok(())
//! # }
//! ```

pub mod actor;

mod connection;
mod driver;
mod faults;
pub mod invariant;
mod kernel;
mod layer;
mod minimise;
mod net;
mod pipe;
mod poller;
mod ports;
mod tape;
mod trace;
mod world;

pub use connection::Conditions;
pub use driver::{Actor, Driver, RunError, RunOutcome};
pub use faults::Site;
pub use kernel::{Disk, Names, Route};
pub use layer::Layer;
pub use minimise::{Minimised, minimise};
pub use net::{SimNet, SimSocket};
pub use pipe::{Cut, Cuts};
pub use poller::Poller;
pub use tape::{Chance, Tape, TapeError};
pub use trace::{Call, Entry, Trace};
pub use world::World;
