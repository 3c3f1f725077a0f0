//! Peers that reset their connections while the node writes to them, with SIGPIPE at its default action: no
//! other peer is affected.

use crate::client::{Client, ping_all};
use crate::node::Node;

const PEERS: usize = 60;
/// Number of inventories per peer and round: more than the kernel accepts for a peer that does not read, and fewer than
/// the node's queue accepts.
const INVENTORIES: usize = 50;
const SIGPIPE: u64 = 13;

#[test]
fn a_peer_that_resets_during_a_write_affects_no_other_peer() {
    let test = "resets::a_peer_that_resets_during_a_write_affects_no_other_peer";
    let mut node = Node::start(test, |_| sigpipe::reset());
    let ignored = u64::from_str_radix(&node.status("SigIgn"), 16).expect("the mask is hexadecimal");
    assert_eq!(ignored >> (SIGPIPE - 1) & 1, 0, "SIGPIPE is ignored instead of having its default action");

    let mut leaving = Client::ready(node.address, PEERS);
    let mut staying: Vec<Client> = leaving.split_off(PEERS / 2);
    let left = leaving.len();
    for round in 0.. {
        node.say(INVENTORIES);
        // The peers reset one by one, while the node writes to them and to the others.
        for _ in 0..10 {
            if let Some(client) = leaving.pop() {
                client.reset();
            }
        }
        for client in &mut staying {
            client.read_inventories(INVENTORIES);
        }
        ping_all(&mut staying, 1);
        if leaving.is_empty() {
            println!("all resetting peers have reset their connections after {} rounds", round + 1);
            break;
        }
    }
    let account = node.until("all resets are reported", |account| account.of("closed") == left as u64);
    assert_eq!(account.of("ready"), staying.len() as u64, "{account:?}");
    assert_eq!(account.of("end:reset") + account.of("end:broken_pipe"), left as u64, "{account:?}");
    ping_all(&mut staying, 3);
}
