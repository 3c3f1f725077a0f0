//! Connects to each node once, one after another, before the bench opens any other connection.
//!
//! An SV Node bans a host for a day after a message with another network's magic (measured with 1.0.13). So one
//! connection first has to show that a node is present and on this network. That connection also selects one of the
//! addresses of the node's name: if no TCP connection to an address can be opened, the next address is tried. Once a
//! TCP connection is open, the node may have read our `version`, so another address of the name is never tried. If a
//! node does not become ready, no further node is tried, and the bench ends.

use super::ending::explain;
use super::setup::Setup;
use crate::causes::Stage;
use crate::exit::{Failure, Stops};
use crate::notices::{Notice, Notices};
use peerloop::api::Event;
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Disconnect, Side};
use peerloop::handler::{Ctx, Handler};
use peerloop::load::{self, EndCause, Limit, Report};
use peerloop::peer::ConnectionState;
use peerloop::{Config, Handle, PeerId, Reactor};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Number of rows in the loop's table besides one for each node. They are needed because a failed connection still has
/// its row when the next connection starts.
const SPARE_LINKS: usize = 8;

/// Connects to each node once. If all nodes become ready, stores their addresses in `setup.targets` and returns `None`.
/// If a node does not become ready or a signal arrives, returns the signals and the report with which the bench ends.
/// For the built-in node, connects to nothing and returns `None`.
pub(super) fn connect(setup: &mut Setup, notices: &Notices) -> Result<Option<(Stops, Report)>, Failure> {
    if setup.is_built_in() {
        return Ok(None);
    }
    let config = setup
        .config()
        .with_max_links(setup.nodes.len() + SPARE_LINKS)
        .with_multistreams(Multistreams::Accept)
        .with_spin(false);
    let nodes = setup.nodes.iter().map(|node| node.addresses.clone()).collect();
    let handler = Ahead::new(nodes, setup.sources.first().copied());
    let (sender, receiver) = sync_channel(1);
    let thread = notices.spawn("ahead", move || run(config, handler, sender))?;
    let mut stops = Stops::default();
    if let Ok(handle) = receiver.recv() {
        let mut for_later = Vec::new();
        loop {
            match notices.next(None) {
                Some(Notice::Stop(signal)) if stops.note(signal) => {
                    let report = setup.generator().into_report_of_no_run(EndCause::Asked);
                    return Ok(Some((stops, report)));
                }
                Some(Notice::Stop(_)) => {
                    // The request fails only if the loop has already ended.
                    let _ = handle.stop();
                }
                Some(notice @ (Notice::Rate(_) | Notice::Bell)) => for_later.push(notice),
                Some(Notice::Ended) | None => break,
            }
        }
        for_later.into_iter().for_each(|notice| notices.put_back(notice));
    }
    let ended = thread.join().unwrap_or_else(|_| Err("the loop's thread panicked".to_owned()));
    let ahead = ended.map_err(|error| Failure::run(format!("connecting to the nodes: {error}")))?;
    if !stops.is_any() && ahead.failed.is_none() {
        setup.targets = ahead.ready;
        return Ok(None);
    }
    let generator = setup.generator();
    // A signal closes the current connection. This close proves nothing about the node.
    let Some(failure) = ahead.failed.filter(|_| !stops.is_any()) else {
        let report = generator.into_report_of_no_run(EndCause::Asked);
        return Ok(Some((stops, report)));
    };
    setup.failed_ahead = Some(failed(setup, ahead.ready.len(), &ahead.unreached, &failure));
    let mut report = generator.into_report_of_no_run(EndCause::FirstDialsFailed { dials: 1 });
    report.peers.failed = 1;
    report.peers.opened = usize::from(Stage::of(failure.state) != Stage::Connecting);
    report.limit = match failure.side {
        Side::Local => Limit::Generator,
        Side::Remote => Limit::Node,
    };
    report.failures.push(failure);
    Ok(Some((stops, report)))
}

fn run(config: Config, ahead: Ahead, handle: SyncSender<Handle<()>>) -> Result<Ahead, String> {
    let mut reactor = Reactor::new(config, ahead).map_err(|error| error.to_string())?;
    // The send succeeds, because the main thread waits for the handle.
    let _ = handle.send(reactor.handle());
    drop(handle);
    reactor.run().map_err(|error| error.to_string())?;
    Ok(reactor.into_handler())
}

/// Describes why the node at `index` did not become ready. `unreached` has the node's addresses that were tried before
/// the last one.
fn failed(setup: &Setup, index: usize, unreached: &[(SocketAddr, CloseReason)], failure: &load::Failure) -> String {
    let name = &setup.nodes[index].name;
    let mut text = format!("the first connection to {name} failed, and no other was opened: ");
    for (address, reason) in unreached {
        text += &format!("{address}: {reason}; ");
    }
    if setup.nodes[index].addresses.len() > 1 {
        text += &format!("{}: ", setup.nodes[index].addresses[unreached.len()]);
    }
    text + &explain(failure, &[])
}

/// A handler that connects to one node after another.
#[derive(Debug)]
struct Ahead {
    /// The addresses of each node.
    nodes: Vec<Vec<SocketAddr>>,
    source: Option<IpAddr>,
    /// The address of each node that became ready, in the order of the nodes.
    ready: Vec<SocketAddr>,
    /// The addresses of the current node, except its last one, to which no TCP connection could be opened.
    unreached: Vec<(SocketAddr, CloseReason)>,
    /// The connection that is being tried.
    current: Option<PeerId>,
    failed: Option<load::Failure>,
}

impl Ahead {
    fn new(nodes: Vec<Vec<SocketAddr>>, source: Option<IpAddr>) -> Self {
        Self { nodes, source, ready: Vec::new(), unreached: Vec::new(), current: None, failed: None }
    }

    /// Connects to the next address to try, or ends the loop.
    fn advance(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(node) = self.nodes.get(self.ready.len()).filter(|_| self.failed.is_none()) {
            // Several names may refer to one node, which needs no second connection.
            if let Some(&known) = node.iter().find(|address| self.ready.contains(address)) {
                self.ready.push(known);
                continue;
            }
            let Some(&address) = node.get(self.unreached.len()) else { break };
            let dialled = match self.source {
                Some(source) => ctx.connect_from(source, address),
                None => ctx.connect(address),
            };
            match dialled {
                Ok(peer) => self.current = Some(peer),
                Err(error) => self.fail(error.label(), Side::Local, ConnectionState::Disconnected, None),
            }
            if self.failed.is_none() {
                return;
            }
        }
        ctx.stop();
    }

    fn fail(&mut self, label: &'static str, side: Side, state: ConnectionState, example: Option<CloseReason>) {
        self.failed = Some(load::Failure::new(label, side, state, example));
    }

    fn note_closed(&mut self, ctx: &mut Ctx<'_>, reason: CloseReason, state: ConnectionState) {
        let addresses = &self.nodes[self.ready.len()];
        let address = addresses[self.unreached.len()];
        let is_last = self.unreached.len() + 1 == addresses.len();
        match Stage::of(state) == Stage::Connecting && !is_last {
            true => self.unreached.push((address, reason)),
            false => self.fail(reason.label(), reason.side(), state, Some(reason)),
        }
        self.advance(ctx);
    }
}

impl Handler for Ahead {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.advance(ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        if self.current != Some(peer) {
            return;
        }
        match event {
            Event::Ready { .. } => {
                self.current = None;
                self.ready.push(self.nodes[self.ready.len()][self.unreached.len()]);
                self.unreached.clear();
                // The connection is closed, so that the node's slot is free again before the other connections are
                // opened.
                ctx.close(peer, Disconnect::Done);
                self.advance(ctx);
            }
            Event::Closed { reason, state } => {
                self.current = None;
                self.note_closed(ctx, reason, state);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::BuiltInNode;
    use super::*;
    use peerloop::Network;
    use peerloop::load::ResponderConfig;
    use std::net::TcpListener;

    /// Connects to `nodes` as before a bench. Returns the loop's handler and number of dials after the loop has ended.
    fn end(nodes: &[&[SocketAddr]]) -> (Ahead, u64) {
        let config = Config::new(Network::Regtest).with_max_links(nodes.len() + SPARE_LINKS);
        let nodes = nodes.iter().map(|node| node.to_vec()).collect();
        let mut reactor = Reactor::new(config, Ahead::new(nodes, None)).unwrap();
        reactor.run().unwrap();
        let dialled = reactor.stats().counters.dialled;
        (reactor.into_handler(), dialled)
    }

    /// Returns an address without a listener.
    fn refusing() -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }

    #[test]
    fn addresses_that_refuse_are_skipped_until_one_accepts() {
        let node = BuiltInNode::start(Network::Regtest, 9, ResponderConfig::default()).unwrap();
        let (ahead, dialled) = end(&[&[refusing(), "[::1]:1".parse().unwrap(), node.address]]);
        assert_eq!((ahead.ready, ahead.failed, dialled), (vec![node.address], None, 3));
        node.stop().unwrap();
    }

    #[test]
    fn several_names_of_one_node_need_only_one_connection() {
        let node = BuiltInNode::start(Network::Regtest, 9, ResponderConfig::default()).unwrap();
        let address = node.address;
        let (ahead, dialled) = end(&[&[address], &[refusing(), address], &[address]]);
        assert_eq!((ahead.ready, ahead.failed, dialled), (vec![address; 3], None, 1));
        node.stop().unwrap();
    }

    #[test]
    fn once_a_tcp_connection_is_open_no_other_address_is_tried() {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let [node, ..] = listeners;
        let closing = std::thread::spawn(move || drop(node.accept().unwrap()));
        let (ahead, dialled) = end(&[&addresses[..2], &addresses[2..]]);
        closing.join().unwrap();
        assert_eq!((ahead.ready, ahead.unreached, dialled), (vec![], vec![], 1));
        let failed = ahead.failed.unwrap();
        assert_eq!((failed.side, failed.state), (Side::Remote, ConnectionState::AwaitingHandshake));
    }

    #[test]
    fn a_name_whose_addresses_all_refuse_fails_with_a_reason_for_each() {
        let other = "127.0.0.2:1".parse().unwrap();
        let (ahead, dialled) = end(&[&[refusing(), other]]);
        assert_eq!((ahead.ready, dialled), (vec![], 2));
        let [(address, reason)] = ahead.unreached[..] else { panic!("the number of unreached addresses is not 1") };
        let failed = ahead.failed.unwrap();
        assert_eq!((address, reason.label(), failed.label), (refusing(), "refused", "refused"));
    }
}
