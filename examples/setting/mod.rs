//! Code that the examples share: the command-line arguments, and built-in nodes for a run that names no node.
//!
//! A built-in node is an ordinary loop on its own thread. It listens on loopback, and answers a `getaddr` with the
//! addresses given at its start.

#![allow(dead_code, reason = "no example uses every item")]

use peerloop::protocol::CommandName;
use peerloop::wire::{AddressEntry, Addresses, Header, Message, NetAddress};
use peerloop::{Config, Ctx, Delivery, Frame, Handle, Handler, Network, PeerId, Reactor};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::thread;

/// An error whose `Debug` output is its plain message, because Rust prints an error returned by `main` with `Debug`.
pub(crate) struct Trouble(pub(crate) String);

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Trouble {}

/// Reads the network and the nodes from the command line, `[NETWORK] [ADDRESS:PORT]..`; the default is regtest and no
/// nodes.
pub(crate) fn arguments() -> Result<(Network, Vec<SocketAddr>), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let network = match arguments.first().map(|first| first.parse()) {
        Some(Ok(network)) => {
            arguments.remove(0);
            network
        }
        Some(Err(_)) | None => Network::Regtest,
    };
    let node = |text: &String| {
        let wanted = "use [NETWORK] [ADDRESS:PORT].., for example mainnet 192.0.2.1:8333";
        text.parse().map_err(|_| Trouble(format!("`{text}` is not an address with a port: {wanted}")))
    };
    Ok((network, arguments.iter().map(node).collect::<Result<_, _>>()?))
}

/// Returns the network and the address of the first node on the command line. If no node is given, starts one in this
/// process and returns its address.
pub(crate) fn network_and_node() -> Result<(Network, SocketAddr), Box<dyn Error>> {
    let (network, nodes) = arguments()?;
    match nodes.first() {
        Some(&node) => Ok((network, node)),
        None => Ok((network, Node::start(network, &[])?.address)),
    }
}

/// A built-in node, which runs on a thread of this process.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle<()>,
}

impl Node {
    /// Starts a node that knows these addresses.
    pub(crate) fn start(network: Network, known: &[SocketAddr]) -> Result<Self, Box<dyn Error>> {
        let mut reactor = Reactor::new(Config::new(network), Answering { known: known.to_vec() })?;
        let address = reactor.listen("127.0.0.1:0".parse()?)?;
        let handle = reactor.handle();
        thread::spawn(move || reactor.run());
        Ok(Self { address, handle })
    }
}

struct Answering {
    known: Vec<SocketAddr>,
}

impl Handler for Answering {
    type Request = ();

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::GETADDR { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _getaddr: Frame<'_>) {
        let time = u32::try_from(ctx.unix_time().as_secs()).unwrap_or(u32::MAX);
        let entries =
            self.known.iter().map(|&node| AddressEntry { time, address: NetAddress::from_socket(0x21, node) });
        let answer = Message::Addr(Addresses::from_entries(entries));
        // A failed send is ignored, because the loop closes a peer that does not read its replies.
        let _ = ctx.send(peer, &answer.as_ref());
    }
}
