//! The workload: the operations that a generator carries out with its peers, as a trait.
//!
//! The generator decides when an operation is due and for which peer, keeps the operations in flight, and counts and
//! times them. A workload starts an operation, and recognises its reply among the peer's messages. It keeps no moments
//! and no counts.

mod operations;
mod started;

pub use operations::{Expected, Miss, Operations};
pub use started::{Operation, Started};

use crate::api::{Chunk, Delivery, Event, Frame};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::wire::Header;
use std::fmt;
use std::num::NonZeroU32;

/// The operations that a [`Generator`](super::Generator) carries out with its peers.
///
/// The generator calls [`start`](Self::start) when an operation is due. The workload sends the operation's message and
/// returns the operation's *key*, a number of its choice. When it recognises the reply, it reports the key with
/// [`Operations::answered`]. The key need not be unique: it finds the peer's oldest operation in flight with this key.
/// [`workloads`](super::workloads) has the workloads of this crate.
///
/// This workload measures how fast a node reports that it lacks a transaction:
///
/// ```
/// use peerloop::load::{Generator, Operation, Operations, Plan, Rate, Responder, Started, Workload};
/// use peerloop::protocol::CommandName;
/// use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, MessageRef};
/// use peerloop::{Config, Ctx, Delivery, Frame, Network, PeerId, Reactor};
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct Lacking;
///
/// impl Workload for Lacking {
///     fn name(&self) -> &str {
///         "lacking"
///     }
///
///     fn metrics(&self) -> &[&'static str] {
///         &["notfound"]
///     }
///
///     fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
///         let nothing = Inventory::from_items([InventoryItem::tx(Hash256::of(&operation.mark.to_le_bytes()))]);
///         let request = ctx.encode(&MessageRef::GetData(nothing.as_ref()));
///         // With its mark, the request is timed from its write instead of from this call.
///         match ctx.send_marked(peer, &request, operation.mark) {
///             Ok(()) => Started::Sent { key: 0 },
///             Err(error) => Started::NotSent { cause: error.label() },
///         }
///     }
///
///     fn on_header(&mut self, _: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
///         if header.command == CommandName::NOTFOUND { Delivery::Buffer } else { Delivery::Discard }
///     }
///
///     fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, _: Frame<'_>) {
///         operations.answered(peer, 0, ctx.now());
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut node = Reactor::new(Config::new(Network::Regtest), Responder::default())?;
/// let target = node.listen("127.0.0.1:0".parse()?)?;
/// let stop = node.handle();
/// let node = std::thread::spawn(move || node.run());
///
/// let plan = Plan::new(vec![target], 2, Rate::per_second(1_000))
///     .with_rate(Rate::per_second(100), Duration::from_millis(50))
///     .with_drain(Duration::from_secs(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Lacking));
/// let config = Config::new(Network::Regtest).with_ping_interval(Duration::ZERO);
/// let mut reactor = Reactor::new(config, generator)?;
/// reactor.run()?;
/// let report = reactor.into_handler().into_report();
/// assert_eq!((report.operations[0].metric, report.work.answered), ("notfound", 5));
/// # stop.stop()?;
/// # node.join().map_err(|_| "the node's thread panicked")??;
/// # Ok(())
/// # }
/// ```
pub trait Workload: fmt::Debug + Send {
    /// Returns the name, for example `ping`.
    fn name(&self) -> &str;

    /// Returns the names of the latencies that are measured for each operation, at least one and at most
    /// [`MAX_METRICS`]. The first one is the main metric, the time until the operation is answered. Further ones are
    /// the times until earlier steps. The generator asks once, before the load.
    fn metrics(&self) -> &[&'static str];

    /// Returns the indices of the main metrics, in ascending order from 0, if there are several kinds of operations:
    /// each kind has a main metric, and the metrics until the next main one are its further ones. The generator asks
    /// once, before the load. By default there is one kind, whose main metric is the first.
    ///
    /// ```
    /// use peerloop::load::Workload;
    /// use peerloop::load::workloads::{Ping, Propagation};
    /// use std::time::Duration;
    ///
    /// assert_eq!(Ping.main_metrics(), [0]);
    /// let propagation = Propagation::new(Duration::from_secs(30));
    /// assert_eq!(propagation.metrics(), ["tx_propagation", "block_propagation"]);
    /// assert_eq!(propagation.main_metrics(), [0, 1]);
    /// ```
    fn main_metrics(&self) -> &[usize] {
        &[0]
    }

    /// Returns the kind of an operation, an index into [`main_metrics`](Self::main_metrics). It depends only on the
    /// operation's [index](Operation::index), so that all segments of a load plan the same operations. By default
    /// returns 0.
    ///
    /// ```
    /// use peerloop::load::Workload;
    /// use peerloop::load::workloads::{Headers, Mix, Ping};
    ///
    /// let mix = Mix::new(vec![(1, Box::new(Ping)), (1, Box::new(Headers))]).unwrap();
    /// assert_ne!(mix.kind_of(0), mix.kind_of(1));
    /// ```
    fn kind_of(&self, index: u64) -> usize {
        let _ = index;
        0
    }

    /// Returns the number of operations after which the [kinds](Self::kind_of) repeat, if they do. The generator can
    /// then count the operations of a long plan that were never started without a look at each one, with 4 bytes and 4
    /// more for each kind, times this number. By default returns `None`.
    ///
    /// ```
    /// use peerloop::load::Workload;
    /// use peerloop::load::workloads::{Headers, Mix, Ping};
    ///
    /// let mix = Mix::new(vec![(7, Box::new(Ping)), (3, Box::new(Headers))]).unwrap();
    /// let period = mix.kind_period().unwrap().get();
    /// assert!((0..100).all(|index| mix.kind_of(index) == mix.kind_of(index + u64::from(period))));
    /// ```
    fn kind_period(&self) -> Option<NonZeroU32> {
        None
    }

    /// Returns whether the workload only observes. The generator then starts no operations, at any rate of the plan:
    /// each operation is something that a peer is [expected](Operations::expect) to do. The generator asks once, before
    /// the load. By default returns false.
    fn is_passive(&self) -> bool {
        false
    }

    /// Returns whether each operation opens a connection of its own. The generator then holds no other peers: when an
    /// operation is due, it dials, and the plan's number of connections is the maximum number that is open at the same
    /// time. The generator asks once, before the load. By default returns false.
    fn opens_connections(&self) -> bool {
        false
    }

    /// Returns whether each operation is one ping, whose pong answers it. The engine then keeps the operations in
    /// flight, so that they need no memory of the generator, and [`start`](Self::start) must return neither
    /// [`Started::Sent`] nor [`Started::Held`]. The generator asks once, before the load. By default returns false.
    fn pings(&self) -> bool {
        false
    }

    /// Starts an operation with a ready peer. If each operation opens a connection of its own, `peer` is the one that
    /// has just been dialled, and its events follow. A peer that already has
    /// [`MAX_OPERATIONS_PER_PEER`](crate::limits::MAX_OPERATIONS_PER_PEER) operations in flight gets no further one.
    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started;

    /// Handles an event of a peer. Operations that are in flight when a peer closes end without a further call. By
    /// default does nothing.
    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        let _ = (ctx, operations, peer, event);
    }

    /// Chooses a message's delivery, as [`Handler::on_header`](crate::Handler::on_header) does. By default the message
    /// is discarded.
    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        let _ = (ctx, peer, header);
        Delivery::Discard
    }

    /// Handles a whole message. By default does nothing.
    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        let _ = (ctx, operations, peer, frame);
    }

    /// Handles the next chunk of a message that is delivered in chunks. By default does nothing.
    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let _ = (ctx, operations, peer, chunk);
    }

    /// Handles a timer that the workload set with [`Ctx::set_timer`]. By default does nothing.
    fn on_timer(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, key: u64) {
        let _ = (ctx, operations, key);
    }

    /// Handles the end of the load, after its drain: a passive workload reports what is still missing. By default does
    /// nothing.
    fn on_end(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>) {
        let _ = (ctx, operations);
    }
}

/// Maximum number of metrics of a workload.
pub const MAX_METRICS: usize = 32;
