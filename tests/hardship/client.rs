//! A peer that uses a blocking socket instead of the library's loop. It sends only greetings and pings.

use crate::node::PATIENCE;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::{Header, MessageRef};
use peerloop_testkit::greeting::{frame, greeting};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the node listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        socket.set_nodelay(true).expect("the socket is open");
        Self(socket)
    }

    /// Starts to connect and returns at once. Writes block until the connection is established.
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a descriptor is free");
        socket.set_nonblocking(true).expect("the socket is open");
        // The call returns at once, and the kernel completes the connection.
        let _ = socket.connect(&address.into());
        socket.set_nonblocking(false).expect("the socket is open");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        Self(socket.into())
    }

    /// Opens `count` connections and completes their handshakes.
    pub(crate) fn ready(address: SocketAddr, count: usize) -> Vec<Self> {
        let mut clients: Vec<Self> = (0..count).map(|_| Self::connect(address)).collect();
        clients.iter_mut().for_each(Self::greet);
        for client in &mut clients {
            client.await_ready().expect("the node completes the handshake");
        }
        clients
    }

    pub(crate) fn greet(&mut self) {
        self.write(&greeting());
    }

    /// Greets a node that may have closed the connection already. Returns whether the greeting could be written.
    pub(crate) fn try_greet(&mut self) -> bool {
        self.0.write_all(&greeting()).is_ok()
    }

    /// Reads messages up to `sendheaders`, which the node sends once the handshake is complete.
    pub(crate) fn await_ready(&mut self) -> io::Result<()> {
        while self.read_frame()?.0 != CommandName::SENDHEADERS {}
        Ok(())
    }

    pub(crate) fn ping(&mut self, nonce: u64) {
        self.write(&frame(&MessageRef::Ping { nonce }));
    }

    /// Reads messages up to the pong with `nonce`. Asserts that no other pong arrives before it.
    pub(crate) fn await_pong(&mut self, nonce: u64) {
        loop {
            let (command, payload) = self.read_frame().expect("a pong arrives");
            if command == CommandName::PONG {
                assert_eq!(payload, nonce.to_le_bytes(), "the next pong does not match the ping {nonce}");
                return;
            }
        }
    }

    /// Reads `count` inventories and returns the total length of their payloads.
    pub(crate) fn read_inventories(&mut self, count: usize) -> usize {
        let mut len = 0;
        for _ in 0..count {
            let (command, payload) = self.read_frame().expect("an inventory arrives");
            assert_eq!(command, CommandName::INV);
            len += payload.len();
        }
        len
    }

    /// Reads the next message.
    pub(crate) fn read_frame(&mut self) -> io::Result<(CommandName, Vec<u8>)> {
        let mut header = [0; HEADER_LEN_BYTES];
        self.0.read_exact(&mut header)?;
        let header = Header::decode(&header);
        let mut payload = vec![0; header.payload_len as usize];
        self.0.read_exact(&mut payload)?;
        Ok((header.command, payload))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the kernel accepts the bytes");
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("the socket is open");
    }
}

/// Sends a ping from every client, and then reads all pongs. Does so `rounds` times.
pub(crate) fn ping_all(clients: &mut [Client], rounds: u64) {
    for nonce in 0..rounds {
        clients.iter_mut().for_each(|client| client.ping(nonce));
        clients.iter_mut().for_each(|client| client.await_pong(nonce));
    }
}
