//! Memory of an idle connection in the simulator, counted for both of its endpoints. One world must be able to hold a
//! million connections.

use allocation_counter::measure;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::sim::World;
use peerloop::time::{Instant, Wait};
use std::net::SocketAddr;

/// Maximum number of bytes that a connection uses in the virtual kernel and in both hosts' networks.
const MAX_CONNECTION_BYTES: u64 = 400;
/// A power of two, so that tables that grow by doubling have no spare room.
const CONNECTIONS: u64 = 16_384;

#[test]
fn an_idle_virtual_connection_uses_at_most_four_hundred_bytes() {
    let world = World::new(1, Instant::ZERO);
    let (mut dialler, mut acceptor) = (world.host(), world.host());
    let address = acceptor.listen(0, SocketAddr::new(acceptor.ip(), 1)).expect("the address is free");
    let (mut ready, mut block) = (Vec::new(), vec![0; 4_096]);
    let info = measure(|| {
        for link in (0..CONNECTIONS).map(LinkId::from_u64) {
            dialler.connect(link, address, None).expect("the other host listens");
            let (socket, _) = acceptor.accept(0).expect("the other host has dialled");
            acceptor.attach(link, socket).expect("the link is registered");
            // Each side sends about as many bytes as in a handshake. The connection is idle afterwards.
            assert_eq!(dialler.write(link, &block[..200]).expect("there is room"), 200);
            assert_eq!(acceptor.read(link, &mut block).expect("the data has arrived"), 200);
            assert_eq!(acceptor.write(link, &block[..300]).expect("there is room"), 300);
            assert_eq!(dialler.read(link, &mut block).expect("the data has arrived"), 300);
            for net in [&mut dialler, &mut acceptor] {
                net.wait(Wait::Zero, &mut ready).expect("the poller works");
            }
        }
    });
    let each = u64::try_from(info.bytes_current).expect("connections use memory") / CONNECTIONS;
    println!("an idle virtual connection uses {each} bytes");
    assert!(each <= MAX_CONNECTION_BYTES, "an idle virtual connection uses {each} bytes");
}
