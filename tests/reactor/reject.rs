//! A `reject` is a connection's close reason only if it is the peer's last message.

use peerloop::error::CloseReason;
use peerloop::time::UnixTime;
use peerloop::wire::{MessageRef, NetAddress, RejectCode, RejectRef, Version};
use peerloop::{Config, Ctx, Event, Handler, Network, PeerId, Reactor};
use std::borrow::Cow;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A handler that keeps the connection's close reason.
#[derive(Default)]
struct Ended(Option<CloseReason>);

impl Handler for Ended {
    type Request = ();

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        if let Event::Closed { reason, .. } = event {
            self.0 = Some(reason);
        }
    }
}

/// Returns the close reason that the loop reports for a peer that completes the handshake, sends `last` and shuts
/// down its sending side.
fn reason_after(last: &[MessageRef<'_>]) -> CloseReason {
    let network = Network::Regtest;
    let mut reactor = Reactor::new(Config::new(network), Ended::default()).expect("the defaults are valid");
    let address = reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free");
    let version = Version {
        protocol_version: 70_016,
        services: 0,
        time: UnixTime::default(),
        receiver: NetAddress::UNSPECIFIED,
        sender: None,
        user_agent: None,
        start_height: None,
        relay: None,
        association_id: None,
    };
    let mut bytes = Vec::new();
    for message in [MessageRef::Version(Cow::Owned(version)), MessageRef::Verack].iter().chain(last) {
        message.encode_frame(network.magic(), &mut bytes);
    }
    let mut socket = TcpStream::connect(address).expect("the node listens");
    socket.write_all(&bytes).expect("the kernel has room for these bytes");
    socket.shutdown(Shutdown::Write).expect("the socket is open");
    let began = Instant::now();
    loop {
        if let Some(reason) = reactor.handler().0 {
            return reason;
        }
        assert!(began.elapsed() < PATIENCE, "the connection is not closed");
        reactor.poll_once(Duration::from_millis(100)).expect("the poller works");
    }
}

const REJECT: MessageRef<'_> =
    MessageRef::Reject(RejectRef { message: b"version", code: RejectCode::OBSOLETE, reason: b"too old", hash: None });
const PING: MessageRef<'_> = MessageRef::Ping { nonce: 1 };

#[test]
fn a_reject_that_is_the_last_message_is_the_close_reason() {
    assert_eq!(reason_after(&[REJECT]), CloseReason::RejectedByPeer(0x11));
    assert_eq!(reason_after(&[REJECT, PING, REJECT]), CloseReason::RejectedByPeer(0x11));
}

#[test]
fn a_reject_followed_by_other_messages_is_not_the_close_reason() {
    assert_eq!(reason_after(&[REJECT, PING]), CloseReason::ClosedByPeer);
    assert_eq!(reason_after(&[]), CloseReason::ClosedByPeer);
}
