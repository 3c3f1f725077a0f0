//! Builds the example programs and the command-line program, and tests `relay` with a peer that sends and requests
//! transactions.
//!
//! The test's own thread runs the peer's loop, but only inside [`Client`]'s methods. A wait of more than a minute
//! panics.

#![allow(clippy::disallowed_methods, reason = "the program is a process of its own; waiting for it needs a clock")]

use bytes::Bytes;
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, TxRef};
use peerloop::{Config, Ctx, Delivery, Event, Frame, Handler, Message, MessageRef, MioNet, Network, PeerId, Reactor};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the examples in the build folder of the calling test program, and returns the examples' folder.
///
/// The features match the build of `tools/test`, with or without planted bugs.
pub fn folder(has_bugs: bool) -> PathBuf {
    let features = if has_bugs { "peerloop/sim-bugs,peerloop-cli/sim" } else { "peerloop-cli/sim" };
    build("--examples", features).join("examples")
}

/// Builds the command-line program in the build folder of the calling test program, and returns the program's path.
pub fn program() -> PathBuf {
    build("--bins", "peerloop-cli/sim").join("peerloop")
}

/// Builds programs of the workspace, and returns their profile's folder. With other features, or without the rest of
/// the workspace, every dependency would be built again.
fn build(targets: &str, features: &str) -> PathBuf {
    // target/PROFILE/deps/examples-0123456789abcdef
    let this = std::env::current_exe().expect("the test program has a path");
    let profile = this.ancestors().nth(2).expect("the program is in its profile's folder");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("the folder is named after its profile");
    let name = if name == "debug" { "dev" } else { name };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--locked", targets, "--features", features, "--profile", name])
        .arg("--target-dir")
        .arg(profile.parent().expect("the profile's folder is in the build folder"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile.to_owned()
}

/// The running example `relay`. Dropping this value kills the process.
pub struct Relay {
    process: Child,
    pub address: SocketAddr,
}

impl Relay {
    /// Starts the example, which listens on a free loopback port.
    pub fn start(folder: &Path) -> Self {
        let mut process = Command::new(folder.join("relay"))
            .args(["regtest", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("the stream is piped"))
            .read_line(&mut line)
            .expect("the output is text");
        let address = line.trim_end().strip_prefix("listening on ").expect("the example prints its address");
        Self { process, address: address.parse().expect("the text is an address") }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An error means that the process has already exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A peer of the relay.
pub struct Client {
    reactor: Reactor<MioNet, Exchange>,
}

#[derive(Default)]
struct Exchange {
    /// Frames that are still to be sent.
    unsent: VecDeque<Bytes>,
    announced: Vec<Hash256>,
    received: Vec<Hash256>,
    not_found: usize,
    pongs: usize,
    peer: Option<PeerId>,
}

impl Client {
    /// Connects and completes the handshake.
    pub fn connect(address: SocketAddr) -> Self {
        let reactor = Reactor::new(Config::new(Network::Regtest), Exchange::default()).expect("a poller can be opened");
        let connect: <Exchange as Handler>::Request = Box::new(move |_, ctx| {
            ctx.connect(address).expect("the table has room");
        });
        assert!(reactor.handle().request(connect).is_ok(), "the request was refused");
        let mut client = Self { reactor };
        client.until("the handshake", |exchange| exchange.peer.is_some());
        client
    }

    /// Sends these transactions, and waits until the relay has processed all of them.
    pub fn give(&mut self, transactions: &[Vec<u8>]) {
        let frame = |payload: &Vec<u8>| {
            let mut frame = Vec::new();
            MessageRef::Opaque { command: CommandName::TX, payload }.encode_frame(Network::Regtest.magic(), &mut frame);
            Bytes::from(frame)
        };
        let frames: VecDeque<Bytes> = transactions.iter().map(frame).collect();
        self.act(move |exchange, ctx| {
            exchange.unsent = frames;
            ctx.pull(exchange.peer.expect("the peer is ready")).expect("the peer is ready");
        });
        self.until("room for all transactions", |exchange| exchange.unsent.is_empty());
        // A ping overtakes queued messages, so it is sent only after all of them are written.
        let waits = |client: &Self| client.reactor.stats().waiting_bytes > 0;
        let began = Instant::now();
        while waits(self) {
            assert!(began.elapsed() < PATIENCE, "the relay does not read");
            self.turn();
        }
        self.act(|exchange, ctx| {
            ctx.ping(exchange.peer.expect("the peer is ready"), ctx.now()).expect("the peer replies to pings");
        });
        self.until("the pong", |exchange| exchange.pongs > 0);
    }

    /// Waits until this many transactions are announced, and requests all announced ones with one message. Returns
    /// how many of them arrive and how many are not found.
    pub fn ask(&mut self, count: usize) -> (usize, usize) {
        self.until("the announcements", |exchange| exchange.announced.len() >= count);
        self.act(|exchange, ctx| {
            let items = exchange.announced.iter().copied().map(InventoryItem::tx);
            let request = Message::GetData(Inventory::from_items(items));
            ctx.send(exchange.peer.expect("the peer is ready"), &request.as_ref()).expect("an empty queue has room");
        });
        self.until("all replies", |exchange| exchange.received.len() + exchange.not_found >= exchange.announced.len());
        let Exchange { received, not_found, announced, .. } = self.reactor.handler();
        assert!(received.iter().all(|hash| announced.contains(hash)));
        (received.len(), *not_found)
    }

    fn act(&mut self, act: impl FnOnce(&mut Exchange, &mut Ctx<'_>) + Send + 'static) {
        assert!(self.reactor.handle().request(Box::new(act)).is_ok(), "the request was refused");
        self.turn();
    }

    fn turn(&mut self) {
        self.reactor.poll_once(Duration::from_millis(100)).expect("the poller works");
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Exchange) -> bool) {
        let began = Instant::now();
        while !is_so(self.reactor.handler()) {
            assert!(began.elapsed() < PATIENCE, "the wait for {what} timed out");
            self.turn();
        }
    }
}

impl Handler for Exchange {
    type Request = Box<dyn FnOnce(&mut Self, &mut Ctx<'_>) + Send>;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.peer = Some(peer),
            Event::Pong { .. } => self.pongs += 1,
            Event::Closed { reason, .. } => panic!("the connection to the relay is closed: {reason}"),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        Delivery::Buffer
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Inv(items)) => self.announced.extend(items.iter().map(|item| item.hash)),
            Ok(MessageRef::Tx(tx)) => self.received.push(tx.txid()),
            Ok(MessageRef::NotFound(items)) => self.not_found += items.len(),
            _ => {}
        }
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, mut free_bytes: usize) {
        while let Some(frame) = self.unsent.front().filter(|frame| frame.len() <= free_bytes) {
            ctx.send_shared(peer, frame).expect("the frame fits");
            self.unsent.pop_front();
            free_bytes = ctx.peer(peer).map_or(0, |view| view.free_bytes());
        }
        if !self.unsent.is_empty() {
            ctx.pull(peer).expect("the peer is ready");
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, act: Self::Request) {
        act(self, ctx);
    }
}

/// Returns a transaction that spends a nonexistent output. The transaction's only output has a script of
/// `len_bytes` bytes, each equal to `number`.
pub fn large_transaction(number: u8, len_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 1];
    bytes.extend([number; 36]);
    bytes.extend([0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe]);
    bytes.extend(u32::try_from(len_bytes).expect("the length is small").to_le_bytes());
    bytes.resize(bytes.len() + len_bytes, number);
    bytes.extend([0; 4]);
    assert!(TxRef::decode(&bytes).is_ok());
    bytes
}
