//! A program without a handler of its own: a loop on a thread, and a channel to it.

use crate::probe::{ANY_PORT, PATIENCE};
use peerloop::api::CommandFilter;
use peerloop::limits::CHANNEL_ITEMS;
use peerloop::protocol::CommandName;
use peerloop::{Config, ControlEvent, Message, Network, PeerId, Received, channel};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

fn open() -> (SocketAddr, channel::Channel, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let wanted = CommandFilter::Only(vec![CommandName::GETADDR]);
    let (mut reactor, channel) =
        channel::open(Config::new(Network::Regtest), wanted, CHANNEL_ITEMS).expect("the kernel provides a poller");
    let thread = thread::spawn(move || {
        let address = reactor.listen(ANY_PORT).expect("a loopback port is free");
        sender.send(address).expect("the test waits for the address");
        reactor.run().expect("the poller works");
    });
    (receiver.recv().expect("the loop starts"), channel, thread)
}

fn ready_peer(channel: &channel::Channel) -> PeerId {
    loop {
        match channel.control.recv_timeout(PATIENCE).expect("the loop runs").expect("a peer is ready in time") {
            Received::Item(ControlEvent::HandshakeComplete { peer, .. }) => return peer,
            Received::Item(ControlEvent::ConnectionEstablished { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn req_e30_two_programs_talk_through_their_channels() {
    let (address, two, two_thread) = open();
    let (_, one, one_thread) = open();
    one.handle.connect(address, None).expect("the queue has room");
    let (there, here) = (ready_peer(&one), ready_peer(&two));
    let sent = one.handle.send_message(there, &Message::GetAddr).expect("the queue has room").wait();
    assert_eq!(sent, Ok(Ok(())));
    let Ok(Some(Received::Item(received))) = two.messages.recv_timeout(PATIENCE) else {
        panic!("the message did not arrive")
    };
    assert_eq!((received.peer, received.to_message()), (here, Ok(Message::GetAddr)));
    one.handle.stop().expect("the queue has room");
    two.handle.stop().expect("the queue has room");
    one_thread.join().expect("the loop's thread does not panic");
    two_thread.join().expect("the loop's thread does not panic");
    let mut ends =
        two.control.filter(|received| matches!(received, Received::Item(ControlEvent::ConnectionLost { .. })));
    assert!(ends.next().is_some() && ends.next().is_none(), "the number of lost connections is not one");
    assert!(two.messages.recv().is_err());
}

#[test]
fn a_channel_holds_as_many_events_as_its_capacity() {
    let (mut reactor, channel) =
        channel::open(Config::new(Network::Regtest), CommandFilter::All, 2).expect("the kernel provides a poller");
    // Nothing listens on a port that was just released.
    let nobody =
        TcpListener::bind(ANY_PORT).and_then(|listener| listener.local_addr()).expect("a loopback port is free");
    for _ in 0..5 {
        channel.handle.connect(nobody, None).expect("the queue has room");
    }
    while reactor.stats().counters.closed < 5 {
        reactor.poll_once(PATIENCE).expect("the poller works");
    }
    channel.handle.stop().expect("the queue has room");
    while reactor.poll_once(PATIENCE).expect("the poller works") {}
    assert!(matches!(channel.control.recv(), Ok(Received::Lagged { .. })));
    assert_eq!(channel.control.count(), 2);
}
