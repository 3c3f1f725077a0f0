//! Exhausted local ports: a dial without a free port fails with a local reason, and a dial that finds one succeeds. A
//! dial from a source address that this machine does not have fails with another local reason.

use crate::node::Node;
use std::net::{SocketAddr, TcpListener};

const DIALS: usize = 20;

#[test]
fn fault_e04_a_dial_without_a_port_is_a_local_failure() {
    let test = "ports::fault_e04_a_dial_without_a_port_is_a_local_failure";
    let Some(mut node) = Node::with_fault(test, "connect:error=EADDRNOTAVAIL:when=1..5") else { return };
    let far = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    node.dial(far.local_addr().expect("the listener is bound"), DIALS);
    let account = node.until("the dials have failed", |account| account.of("closed") == 5);
    assert_eq!((account.of("end:local_eaddrnotavail"), account.of("local_ends")), (5, 5), "{account:?}");
    for _ in 5..DIALS {
        far.accept().expect("the other dials succeed");
    }
}

#[test]
fn fault_e04_exhausted_ports_are_a_local_failure() {
    let test = "ports::fault_e04_exhausted_ports_are_a_local_failure";
    let far: SocketAddr = ([127, 0, 0, 2], 7).into();
    let node = Node::with_ports(test, (40_000, 40_009), |_| {
        // The kernel establishes the connections and keeps them in the backlog while the node runs.
        Box::leak(Box::new(TcpListener::bind(far).expect("the address is free in a new namespace")));
    });
    let Some(mut node) = node else { return };
    node.dial(far, DIALS);
    let account = node.until("the dials have failed", |account| account.of("closed") >= DIALS as u64 - 10);
    let failed = account.of("closed");
    println!("{DIALS} dials from ten ports: {failed} failed");
    assert_eq!((account.of("end:local_eaddrnotavail"), account.of("local_ends")), (failed, failed), "{account:?}");
    assert_eq!(
        account.of("links"),
        DIALS as u64 - failed,
        "the number of links differs from the number of dials that found a port"
    );
    assert!(failed < DIALS as u64);
}

#[test]
fn fault_e04_a_source_address_without_ports_is_distinguished_from_a_foreign_one() {
    let test = "ports::fault_e04_a_source_address_without_ports_is_distinguished_from_a_foreign_one";
    let far: SocketAddr = ([127, 0, 0, 2], 7).into();
    let node = Node::with_ports(test, (40_000, 40_009), |_| {
        // The kernel establishes the connections and keeps them in the backlog while the node runs.
        Box::leak(Box::new(TcpListener::bind(far).expect("the address is free in a new namespace")));
    });
    let Some(mut node) = node else { return };
    node.dial_from([203, 0, 113, 7].into(), far, 3);
    let account = node.until("the dials have failed", |account| account.of("closed") == 3);
    assert_eq!((account.of("end:local_source_address"), account.of("local_ends")), (3, 3), "{account:?}");
    node.dial_from([127, 0, 0, 3].into(), far, DIALS);
    let account = node.until("the dials have failed", |account| account.of("closed") >= 3 + DIALS as u64 - 10);
    let failed = account.of("closed") - 3;
    assert_eq!((account.of("end:local_eaddrnotavail"), account.of("local_ends")), (failed, 3 + failed), "{account:?}");
    assert_eq!(
        account.of("links"),
        DIALS as u64 - failed,
        "the number of links differs from the number of dials that found a port"
    );
}
