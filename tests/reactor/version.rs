//! The `version` that a loop sends when it dials.

use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::wire::Version;
use peerloop::{Config, Ctx, Handler, Network, Reactor};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A handler that connects to one address and does nothing else.
struct Dialler(SocketAddr);

impl Handler for Dialler {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.connect(self.0).expect("the table is empty");
    }
}

fn unix_time_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_secs()).expect("the time fits in 63 bits")
}

#[test]
fn our_version_contains_the_current_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let mut reactor = Reactor::new(Config::new(Network::Regtest), Dialler(address)).expect("the defaults are valid");
    let earliest = unix_time_secs();
    while reactor.stats().counters.bytes_sent == 0 {
        reactor.poll_once(Duration::from_secs(1)).expect("the poller works");
    }
    let latest = unix_time_secs();

    let (mut socket, _) = listener.accept().expect("the loop has dialled");
    let mut frame = vec![0; usize::try_from(reactor.stats().counters.bytes_sent).expect("the count is small")];
    socket.read_exact(&mut frame).expect("this many bytes were sent");
    let version = Version::decode(&frame[HEADER_LEN_BYTES..]).expect("the frame contains a valid version");
    let time = version.time.as_secs();
    assert!((earliest..=latest).contains(&time), "{time} is not between {earliest} and {latest}");
}
