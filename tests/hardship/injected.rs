//! System calls that fail occasionally or always: the loop continues, no peer is lost, and every ping is answered.

use crate::client::{Client, ping_all};
use crate::node::{Account, Node};

const PEERS: usize = 16;
const ROUNDS: u64 = 20;
const INVENTORIES: usize = 8;

/// Serves peers from a node whose system calls fail according to `inject`, in the syntax of strace's `-e inject=`.
/// Asserts that no peer and no message is lost. Returns the node's counters, or `None` where strace does not work.
fn serve_through(test: &str, inject: &str) -> Option<Account> {
    let mut node = Node::with_fault(test, inject)?;
    let mut clients = Client::ready(node.address, PEERS);
    ping_all(&mut clients, ROUNDS);
    node.say(INVENTORIES);
    for client in &mut clients {
        assert_eq!(client.read_inventories(INVENTORIES), INVENTORIES * 36_003, "inventories were lost or repeated");
    }
    ping_all(&mut clients, 1);
    let account = node.account();
    assert_eq!((account.of("ready"), account.of("closed")), (PEERS as u64, 0), "{inject}: {account:?}");
    assert_eq!(account.of("pings_answered"), PEERS as u64 * (ROUNDS + 1));
    let injected = node.injected();
    println!("{inject}: {injected} calls failed, {} turns", account.of("turns"));
    assert!(injected > 0, "{inject} made no call fail");
    Some(account)
}

#[test]
fn an_accept_that_fails_for_lack_of_a_resource_is_retried() {
    let test = "injected::an_accept_that_fails_for_lack_of_a_resource_is_retried";
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let Some(account) = serve_through(test, &format!("accept4:error={error}:when=1..2")) else { return };
        assert_eq!(account.of("accept_pauses"), 2, "{error} did not pause accepting exactly twice");
    }
}

#[test]
fn an_aborted_connection_does_not_pause_later_accepts() {
    let test = "injected::an_aborted_connection_does_not_pause_later_accepts";
    let Some(account) = serve_through(test, "accept4:error=ECONNABORTED:when=1+3") else { return };
    assert_eq!(account.of("accept_pauses"), 0);
    assert!(account.of("accept_failures") > 0);
}

#[test]
fn fault_e14_interrupted_calls_are_retried() {
    let test = "injected::fault_e14_interrupted_calls_are_retried";
    for calls in ["?epoll_wait,epoll_pwait", "accept4", "recvfrom", "sendto", "sendmsg"] {
        let Some(account) = serve_through(test, &format!("{calls}:error=EINTR:when=1+2")) else { return };
        assert_eq!((account.of("accept_pauses"), account.of("accept_failures")), (0, 0), "{calls}");
    }
}

#[test]
fn fault_e03_a_brief_shortage_of_memory_closes_no_connection() {
    let test = "injected::fault_e03_a_brief_shortage_of_memory_closes_no_connection";
    for (calls, error) in [("sendto", "ENOBUFS"), ("sendmsg", "ENOBUFS"), ("sendmsg", "ENOMEM"), ("recvfrom", "ENOMEM")]
    {
        if serve_through(test, &format!("{calls}:error={error}:when=2+7")).is_none() {
            return;
        }
    }
}

#[test]
fn refused_socket_options_are_skipped_and_reported_once() {
    const DIALS: u64 = 4;
    let test = "injected::refused_socket_options_are_skipped_and_reported_once";
    for error in ["ENOPROTOOPT", "EPERM", "ENOSYS"] {
        let mut other = Node::start(test, |_| {});
        let Some(mut node) = Node::with_fault(test, &format!("setsockopt:error={error}")) else { return };
        let mut clients = Client::ready(node.address, PEERS);
        ping_all(&mut clients, ROUNDS);
        node.dial(other.address, DIALS as usize);
        let account =
            node.until("all handshakes are complete", |account| account.of("handshakes") == PEERS as u64 + DIALS);
        assert_eq!(other.account().of("socket_options_refused"), 0);
        assert_eq!((account.of("closed"), account.of("accept_pauses")), (0, 0), "{error}: {account:?}");
        assert_eq!(account.of("socket_options_refused"), 3, "the number of reported options is not three");
        for option in ["TCP_NODELAY", "TCP_USER_TIMEOUT", "SO_REUSEADDR"] {
            assert_eq!(account.of(&format!("refused:{option}")), 1, "{error}: {account:?}");
        }
        assert_eq!(
            node.injected() as u64,
            3 + 2 * DIALS,
            "the failed calls were not three for the listener and two for each dial"
        );
    }
}
