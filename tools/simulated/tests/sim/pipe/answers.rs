//! Every request is answered: each item that a node asks for gets exactly one reply, although nodes answer late, lack
//! items and are lost.

use super::{Pair, inventory};
use peerloop::relay::pipe::{Side, SideState};
use peerloop::wire::Hash256;
use peerloop_testkit::bytes::{frame, frames};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// A pause of the pipe doubles with each loss in a row. With more losses, a node would be alone for too long.
const MAX_LOSSES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// The node asks for this many further transactions.
    Ask(Side, usize),
    /// The node answers this many of the requests that it received, the oldest first: with a transaction, or with
    /// `notfound`.
    Answer(Side, usize, bool),
    /// The node's connection is lost, and the node returns.
    Lose(Side),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || any::<bool>().prop_map(|is_second| Side::BOTH[usize::from(is_second)]);
    let step = prop_oneof![
        4 => (side(), 1..20_usize).prop_map(|(side, count)| Step::Ask(side, count)),
        4 => (side(), 1..30_usize, any::<bool>()).prop_map(|(side, count, has)| Step::Answer(side, count, has)),
        1 => side().prop_map(Step::Lose),
    ];
    prop::collection::vec(step, 1..40)
}

/// A node's view of its current connection.
#[derive(Default)]
struct View {
    /// The ids of the transactions that the node asked for and that were not answered.
    asked: Vec<[u8; 32]>,
    /// The unanswered requests of the node's former connections. Their replies are passed on all the same, as
    /// unrequested messages are.
    former: Vec<[u8; 32]>,
    /// The requests that the node has received and not answered.
    received: VecDeque<[u8; 32]>,
}

/// Returns transaction `number`. Its id is the hash of its payload.
fn payload_of(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn txid_of(payload: &[u8]) -> [u8; 32] {
    *Hash256::of(payload).as_bytes()
}

/// Returns the hashes in the payload of a short inventory.
fn hashes(payload: &[u8]) -> Vec<[u8; 32]> {
    payload[1..].chunks(36).map(|item| item[4..].try_into().unwrap()).collect()
}

/// Lets a node read. Each reply must answer a request that no other reply has answered.
fn read(pair: &mut Pair, side: Side, view: &mut View) {
    for (command, payload) in frames(&pair.receive(side)) {
        let answered = match command.as_str() {
            "getdata" => {
                view.received.extend(hashes(&payload));
                continue;
            }
            "tx" => vec![txid_of(&payload)],
            "notfound" => hashes(&payload),
            other => panic!("a {other} was sent by no node"),
        };
        for txid in answered {
            let position = |list: &[[u8; 32]]| list.iter().position(|asked| *asked == txid);
            match position(&view.asked) {
                Some(open) => {
                    view.asked.swap_remove(open);
                }
                None => {
                    let former =
                        position(&view.former).expect("a reply answers no request, or one for the second time");
                    view.former.swap_remove(former);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn each_requested_item_gets_exactly_one_reply_although_nodes_are_lost(steps in steps()) {
        let (mut pair, mut views) = (Pair::joined(), [View::default(), View::default()]);
        let (mut next, mut losses) = (0_u64, 0);
        // The payloads by their ids, so that a node can answer.
        let mut known = BTreeMap::new();
        for step in steps {
            match step {
                Step::Ask(side, count) => {
                    let payloads: Vec<[u8; 8]> = (next..next + count as u64).map(payload_of).collect();
                    next += count as u64;
                    let items: Vec<_> = payloads.iter().map(|payload| (1, txid_of(payload))).collect();
                    known.extend(payloads.iter().map(|payload| (txid_of(payload), *payload)));
                    views[side.index()].asked.extend(items.iter().map(|(_, txid)| *txid));
                    pair.send(side, &inventory("getdata", &items));
                }
                Step::Answer(side, count, has) => {
                    let received = &mut views[side.index()].received;
                    let answered: Vec<_> = received.drain(..count.min(received.len())).collect();
                    for txid in answered {
                        let reply = if has { frame("tx", &known[&txid]) } else { inventory("notfound", &[(1, txid)]) };
                        pair.send(side, &reply);
                    }
                }
                Step::Lose(side) if losses < MAX_LOSSES => {
                    losses += 1;
                    pair.node(side).close();
                    let other = side.other();
                    read(&mut pair, other, &mut views[other.index()]);
                    prop_assert_eq!(&views[other.index()].asked, &Vec::<[u8; 32]>::new());
                    let View { asked, mut former, .. } = std::mem::take(&mut views[side.index()]);
                    former.extend(asked);
                    views[side.index()].former = former;
                    let after = pair.reconnect(side);
                    prop_assert_eq!(after, Vec::<u8>::new());
                }
                Step::Lose(_) => {}
            }
            for side in Side::BOTH {
                read(&mut pair, side, &mut views[side.index()]);
            }
            prop_assert_eq!(pair.states(), [SideState::Ready; 2]);
            for side in Side::BOTH {
                let open = pair.report().side(side).open_requests;
                prop_assert_eq!(open, views[side.index()].asked.len(), "the open requests of {} differ", side);
            }
        }
    }
}
