//! Tests of the pipe's parts that need no loop: open requests against a model, and the messages that a flow holds.

use super::flow::Flow;
use super::hops::Arrival;
use super::problem::PipeProblem;
use super::requests::{OpenRequests, Unanswered};
use crate::limits::{HEADER_LEN_BYTES, MAX_PIPE_HELD_BYTES, MAX_PIPE_OPEN_REQUESTS, PIPE_ITEM_COST_BYTES};
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, Inventory, InventoryItem, InventoryKind};
use bytes::Bytes;
use proptest::prelude::*;

/// The model's kind for the items of `getblocktxn`.
const TRANSACTIONS: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Step {
    Ask(Vec<(u32, u8)>),
    NotFound(Vec<(u32, u8)>),
    Tx(u8),
    Block(u8, usize),
    AskTransactions(u8),
    Transactions(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = || prop_oneof![9 => 0..7_u32, 1 => Just(TRANSACTIONS)];
    let items = || prop::collection::vec((kind(), 0..6_u8), 0..8);
    prop::collection::vec(
        prop_oneof![
            items().prop_map(Step::Ask),
            items().prop_map(Step::NotFound),
            (0..6_u8).prop_map(Step::Tx),
            (0..6_u8, 0..3_usize).prop_map(|(block, form)| Step::Block(block, form)),
            (0..6_u8).prop_map(Step::AskTransactions),
            (0..6_u8).prop_map(Step::Transactions),
        ],
        0..40,
    )
}

/// Returns the header of block `number`, whose hash stands in the items.
fn block_header(number: u8) -> [u8; 80] {
    [number; 80]
}

fn item(kind: u32, number: u8) -> InventoryItem {
    let hash =
        if kind == 1 || kind == 5 { Hash256::from_bytes([number; 32]) } else { Hash256::of(&block_header(number)) };
    InventoryItem { kind: InventoryKind(kind), hash }
}

fn payload_of(items: &[(u32, u8)]) -> Vec<u8> {
    let mut payload = Vec::new();
    Inventory::from_items(items.iter().map(|&(kind, number)| item(kind, number))).as_ref().encode(&mut payload);
    payload
}

fn unused() -> Hash256 {
    unreachable!("only a transaction's hash is needed")
}

proptest! {
    #[test]
    fn open_requests_equal_a_list_of_what_was_asked_and_not_answered(steps in steps()) {
        let (mut open, mut model) = (OpenRequests::default(), Vec::<InventoryItem>::new());
        for step in steps {
            match step {
                Step::Ask(items) => {
                    open.note_request(CommandName::GETDATA, &payload_of(&items));
                    // The other kinds are unknown.
                    let known = items.into_iter().filter(|(kind, _)| (1..=5).contains(kind));
                    model.extend(known.map(|(kind, number)| item(kind, number)));
                }
                Step::NotFound(items) => {
                    open.note_reply(CommandName::NOTFOUND, &payload_of(&items), unused);
                    model.retain(|asked| !items.iter().any(|&(kind, number)| item(kind, number) == *asked));
                }
                Step::Tx(number) => {
                    open.note_reply(CommandName::TX, &[], || item(1, number).hash);
                    model.retain(|asked| *asked != item(1, number));
                }
                Step::Block(number, form) => {
                    // A whole block answers each request for the block or for a part of it.
                    let (command, answered) = [
                        (CommandName::BLOCK, &[2, 3, 4, TRANSACTIONS][..]),
                        (CommandName::MERKLEBLOCK, &[3]),
                        (CommandName::CMPCTBLOCK, &[4]),
                    ][form];
                    open.note_reply(command, &block_header(number), unused);
                    model.retain(|asked| !answered.iter().any(|&kind| item(kind, number) == *asked));
                }
                Step::AskTransactions(number) => {
                    let asked = item(TRANSACTIONS, number);
                    open.note_request(CommandName::GETBLOCKTXN, asked.hash.as_bytes());
                    model.push(asked);
                }
                Step::Transactions(number) => {
                    let answered = item(TRANSACTIONS, number);
                    open.note_reply(CommandName::BLOCKTXN, answered.hash.as_bytes(), unused);
                    model.retain(|asked| *asked != answered);
                }
            }
            model.sort_unstable();
            model.dedup();
            prop_assert_eq!(open.len(), model.len());
        }
        let expected = match model.iter().any(|asked| ![1, 5].contains(&asked.kind.0)) {
            true => Unanswered::Close,
            false => Unanswered::NotFound(model),
        };
        prop_assert_eq!(open.take(), expected);
        prop_assert_eq!(open.take(), Unanswered::NotFound(Vec::new()));
    }

    #[test]
    fn no_payload_makes_the_requests_panic(command in 0..CommandName::ALL.len(), payload: Vec<u8>) {
        let (mut open, command) = (OpenRequests::default(), CommandName::ALL[command]);
        open.note_request(command, &payload);
        open.note_reply(command, &payload, || Hash256::of(&payload));
        open.note_large_reply(command, &payload);
    }
}

#[test]
fn more_requests_than_are_remembered_end_in_a_close() {
    let mut open = OpenRequests::default();
    let numbered = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(number as u64).to_le_bytes());
        InventoryItem::tx(Hash256::from_bytes(hash))
    };
    let mut payload = Vec::new();
    Inventory::from_items((0..MAX_PIPE_OPEN_REQUESTS).map(numbered)).as_ref().encode(&mut payload);
    open.note_request(CommandName::GETDATA, &payload);
    // A repeated request needs no more memory.
    open.note_request(CommandName::GETDATA, &payload);
    assert_eq!(open.len(), MAX_PIPE_OPEN_REQUESTS);
    let mut one_more = Vec::new();
    Inventory::from_items([numbered(MAX_PIPE_OPEN_REQUESTS)]).as_ref().encode(&mut one_more);
    open.note_request(CommandName::GETDATA, &one_more);
    assert_eq!((open.len(), open.take()), (MAX_PIPE_OPEN_REQUESTS, Unanswered::Close));
    open.note_request(CommandName::GETDATA, &one_more);
    assert_eq!(open.take(), Unanswered::NotFound(vec![numbered(MAX_PIPE_OPEN_REQUESTS)]));
}

fn frame(len: usize) -> Bytes {
    vec![7; HEADER_LEN_BYTES + len].into()
}

fn push_part(flow: &mut Flow, header: &Header, len: usize, is_last: bool) -> Result<Option<usize>, PipeProblem> {
    let part = vec![7; len];
    let last = is_last.then_some(Arrival::NONE);
    flow.push_part(header, &part, || Bytes::copy_from_slice(&part), last).map(|head| head.map(|head| head.len()))
}

#[test]
fn a_large_message_that_has_not_begun_to_leave_is_dropped_with_its_sender() {
    let mut flow = Flow::default();
    let header = Header { command: CommandName::BLOCK, payload_len: 300, checksum: Some([0; 4]) };
    flow.push_frame(CommandName::TX, frame(5), Some(Arrival::NONE)).unwrap();
    let held_before = flow.held_bytes();
    assert_eq!(push_part(&mut flow, &header, 50, false), Ok(None));
    assert_eq!(push_part(&mut flow, &header, 100, false), Ok(None));
    assert_eq!(flow.held_bytes(), held_before + 150 + 3 * PIPE_ITEM_COST_BYTES);
    assert!(!flow.sender_lost(), "the receiver has nothing of the message");
    assert_eq!(
        (flow.held_bytes(), flow.lost().total().messages, flow.lost().total().payload_bytes),
        (held_before, 1, 300)
    );
    // The next message is another one.
    assert_eq!(push_part(&mut flow, &header, 300, true), Ok(Some(80)));
    assert!(!flow.sender_lost());
}

#[test]
fn everything_for_a_lost_receiver_is_counted_once() {
    let mut flow = Flow::default();
    let header = Header { command: CommandName::BLOCK, payload_len: 300, checksum: Some([0; 4]) };
    flow.push_frame(CommandName::TX, frame(5), Some(Arrival::NONE)).unwrap();
    assert_eq!(push_part(&mut flow, &header, 300, true), Ok(Some(80)));
    flow.push_frame(CommandName::INV, frame(0), Some(Arrival::NONE)).unwrap();
    assert_eq!(push_part(&mut flow, &header, 100, false), Ok(None));
    flow.receiver_lost();
    let counted = |flow: &Flow| {
        [CommandName::TX, CommandName::INV, CommandName::BLOCK].map(|command| flow.lost().count(command).messages)
    };
    assert_eq!((counted(&flow), flow.held_bytes(), flow.drops_body()), ([1, 1, 2], 0, true));
    // The receiver may return and be lost again while the message still arrives.
    flow.receiver_lost();
    assert_eq!((counted(&flow), flow.drops_body()), ([1, 1, 2], true));
    // The rest of the message is dropped, and its loss is already counted.
    assert_eq!(push_part(&mut flow, &header, 200, true), Ok(None));
    assert_eq!((counted(&flow), flow.held_bytes(), flow.drops_body()), ([1, 1, 2], 0, false));
}

#[test]
fn a_flow_refuses_more_than_its_limit_and_one_message() {
    let mut flow = Flow::default();
    let len = 1 << 20;
    let mut pushed = 0;
    while flow.push_frame(CommandName::TX, frame(len), Some(Arrival::NONE)).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, MAX_PIPE_HELD_BYTES / (len + HEADER_LEN_BYTES + PIPE_ITEM_COST_BYTES) + 1);
    let header = Header { command: CommandName::BLOCK, payload_len: 300, checksum: Some([0; 4]) };
    assert_eq!(push_part(&mut flow, &header, 100, false), Err(PipeProblem::Overflow));
    assert_eq!(flow.lost().count(CommandName::TX).messages, 1);
}
