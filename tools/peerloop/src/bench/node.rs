//! The built-in node to which `bench` connects if no target is given: a loop on a thread of its own, on loopback.

use crate::exit::Failure;
use peerloop::MioNet;
use peerloop::load::{Responder, ResponderConfig, ResponderRequest};
use peerloop::{Config, Handle, Network, Reactor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Number of rows in the loop's table besides those of the expected peers. They let a new link start while old links
/// are still closing.
const SPARE_LINKS: usize = 64;

/// A running node.
#[derive(Debug)]
pub(crate) struct BuiltInNode {
    pub(crate) address: SocketAddr,
    handle: Handle<ResponderRequest>,
    thread: JoinHandle<Result<(), String>>,
}

/// The message that the node's thread sends once its loop listens.
#[derive(Debug)]
struct Ready {
    address: SocketAddr,
    handle: Handle<ResponderRequest>,
}

impl BuiltInNode {
    /// Starts a node with these settings that accepts `connections` connections; its loop is built on its own thread.
    pub(crate) fn start(network: Network, connections: usize, settings: ResponderConfig) -> Result<Self, Failure> {
        let (sender, receiver) = sync_channel(1);
        let config = Config::new(network).with_max_links(connections + SPARE_LINKS);
        let failed = |error: String| Failure::machine(format!("starting the built-in node on 127.0.0.1: {error}"));
        let thread = Builder::new().name("node".to_owned()).spawn(move || run(config, settings, sender));
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        match receiver.recv() {
            Ok(Ready { address, handle }) => Ok(Self { address, handle, thread }),
            Err(_) => {
                Err(failed(outcome(thread).err().unwrap_or_else(|| "the loop's thread ended at once".to_owned())))
            }
        }
    }

    /// Stops the node, and returns an error if its loop failed or its thread panicked.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        // The request fails only if the loop has already ended.
        let _ = self.handle.stop();
        outcome(self.thread).map_err(|error| Failure::run(format!("running the built-in node: {error}")))
    }
}

fn run(config: Config, settings: ResponderConfig, ready: SyncSender<Ready>) -> Result<(), String> {
    let mut reactor: Reactor<MioNet, Responder> =
        Reactor::new(config, Responder::new(settings)).map_err(|error| error.to_string())?;
    let address = reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).map_err(|error| error.to_string())?;
    let sent = ready.send(Ready { address, handle: reactor.handle() });
    drop(ready);
    match sent {
        Ok(()) => reactor.run().map_err(|error| error.to_string()),
        Err(_) => Ok(()),
    }
}

fn outcome(thread: JoinHandle<Result<(), String>>) -> Result<(), String> {
    thread.join().unwrap_or_else(|_| Err("the loop's thread panicked".to_owned()))
}
