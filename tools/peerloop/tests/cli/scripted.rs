//! A peer that a test plays on a blocking socket.

use peerloop::Network;
use peerloop::protocol::CommandName;
use peerloop::wire::{Inventory, InventoryItem, InventoryRef, MessageRef};
use peerloop_testkit::examples::large_transaction;
use peerloop_testkit::greeting::{frame, greeting};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A time limit far beyond any expected duration.
const PATIENCE: Duration = Duration::from_secs(30);

/// Length of a message's header.
const HEADER_BYTES: usize = 24;

/// A ready peer of the program under test.
#[derive(Debug)]
pub(crate) struct Peer(TcpStream);

/// Returns a transaction of 70 kB, without a header.
pub(crate) fn transaction(number: u8) -> Vec<u8> {
    large_transaction(number, 70_000)
}

/// Accepts a connection.
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let began = Instant::now();
    let socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(began.elapsed() < PATIENCE, "the program does not dial");
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("accepting: {error}"),
        }
    };
    socket.set_nonblocking(false).expect("a socket can be made blocking");
    socket
}

impl Peer {
    /// Connects, and completes the handshake.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut peer = Self::shake_hands(TcpStream::connect(address).expect("the program listens"));
        peer.sync();
        peer
    }

    /// Accepts a connection, and completes the handshake. The program's first messages are dropped.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut peer = Self::shake_hands(accepted(listener));
        peer.sync();
        peer
    }

    /// The same, but returns one of the program's first messages, too.
    pub(crate) fn accept_until(listener: &TcpListener, command: CommandName) -> (Self, Vec<u8>) {
        let mut peer = Self::shake_hands(accepted(listener));
        let payload = peer.wait_for(command);
        (peer, payload)
    }

    fn shake_hands(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let mut peer = Self(socket);
        peer.0.write_all(&greeting()).expect("the program reads");
        peer.wait_for(CommandName::VERACK);
        peer
    }

    pub(crate) fn announce(&mut self, item: InventoryItem) {
        self.send(&MessageRef::Inv(Inventory::from_items([item]).as_ref()));
    }

    pub(crate) fn request(&mut self, item: InventoryItem) {
        self.send(&MessageRef::GetData(Inventory::from_items([item]).as_ref()));
    }

    pub(crate) fn give(&mut self, transaction: &[u8]) {
        self.send(&MessageRef::Opaque { command: CommandName::TX, payload: transaction });
    }

    /// Waits for an announcement, and returns its items.
    pub(crate) fn announced(&mut self) -> Vec<InventoryItem> {
        self.items(CommandName::INV)
    }

    /// Waits for a request, and returns its items.
    pub(crate) fn requested(&mut self) -> Vec<InventoryItem> {
        self.items(CommandName::GETDATA)
    }

    /// Waits for a `notfound`, and returns its items.
    pub(crate) fn missing(&mut self) -> Vec<InventoryItem> {
        self.items(CommandName::NOTFOUND)
    }

    /// Waits until the program has processed all earlier messages.
    pub(crate) fn sync(&mut self) {
        self.send(&MessageRef::Ping { nonce: 7 });
        self.wait_for(CommandName::PONG);
    }

    /// Sends any message.
    pub(crate) fn push(&mut self, command: CommandName, payload: &[u8]) {
        self.send(&MessageRef::Opaque { command, payload });
    }

    /// Waits for a transaction, and returns it.
    pub(crate) fn transaction(&mut self) -> Vec<u8> {
        self.wait_for(CommandName::TX)
    }

    fn items(&mut self, command: CommandName) -> Vec<InventoryItem> {
        let payload = self.wait_for(command);
        InventoryRef::decode(command, &payload).expect("the program sends valid messages").iter().collect()
    }

    pub(crate) fn send(&mut self, message: &MessageRef<'_>) {
        self.0.write_all(&frame(message)).expect("the program reads");
    }

    /// Waits for a message, and returns its payload. Earlier ones are dropped, except that pings are answered.
    pub(crate) fn wait_for(&mut self, command: CommandName) -> Vec<u8> {
        loop {
            let mut header = [0; HEADER_BYTES];
            self.0.read_exact(&mut header).expect("the program sends the message in time");
            assert_eq!(header[..4], Network::Regtest.magic());
            let name: [u8; 12] = header[4..16].try_into().expect("the slice has 12 bytes");
            let len_bytes = u32::from_le_bytes(header[16..20].try_into().expect("the slice has 4 bytes"));
            let mut payload = vec![0; len_bytes as usize];
            self.0.read_exact(&mut payload).expect("the program sends whole messages");
            let received = CommandName::from_bytes(name);
            if received == command {
                return payload;
            }
            if received == CommandName::PING {
                self.send(&MessageRef::Opaque { command: CommandName::PONG, payload: &payload });
            }
        }
    }
}
