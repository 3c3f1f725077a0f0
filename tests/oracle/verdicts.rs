//! Damaged messages. For each of them, our codec and the crate `bitcoin` must give the same result, except for the
//! intended differences.

use crate::values::any_common;
use crate::{compare_all, payload_of};
use peerloop::protocol::CommandName;
use peerloop::wire::{MessageRef, Tx, TxRef};
use peerloop_laws::judge::{Difference, judge};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A change to a payload.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    Append(Vec<u8>),
}

impl Damage {
    fn apply(&self, payload: &mut Vec<u8>) {
        let inside = |at: &Index, payload: &[u8]| at.index(payload.len() + 1);
        match self {
            Self::Flip(at, bit) if !payload.is_empty() => {
                let at = at.index(payload.len());
                payload[at] ^= 1 << bit;
            }
            Self::Set(at, byte) if !payload.is_empty() => {
                let at = at.index(payload.len());
                payload[at] = *byte;
            }
            Self::Flip(..) | Self::Set(..) => {}
            Self::Insert(at, bytes) => {
                let at = inside(at, payload);
                payload.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(at, len) => {
                let at = inside(at, payload);
                payload.drain(at..(at + len).min(payload.len()));
            }
            Self::Cut(at) => payload.truncate(inside(at, payload)),
            Self::Append(bytes) => payload.extend(bytes),
        }
    }
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let edge = select(vec![0, 1, 2, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff]);
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), edge).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        any::<Index>().prop_map(Damage::Cut),
        vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

#[test]
fn both_codecs_agree_on_damaged_messages_except_for_intended_differences() {
    let differences = RefCell::new(BTreeMap::<_, u64>::new());
    compare_all("verdicts against bitcoin", 4_000, (any_common(), vec(any_damage(), 1..4)), |(message, damage)| {
        let mut payload = payload_of(&message.as_ref());
        damage.iter().for_each(|damage| damage.apply(&mut payload));
        if let Some(difference) = judge(message.as_ref().command(), &payload) {
            *differences.borrow_mut().entry(difference).or_default() += 1;
        }
        Ok(1)
    });
    println!("intended differences: {:?}", differences.borrow());
}

#[test]
fn both_codecs_agree_on_truncated_and_changed_messages_except_for_intended_differences() {
    compare_all("verdicts on truncated and changed messages", 16, any_common(), |message| {
        let command = message.as_ref().command();
        let payload = payload_of(&message.as_ref());
        // Longer messages are skipped, because each byte of a message needs seven comparisons.
        if payload.len() > 2_000 {
            return Ok(0);
        }
        let mut compared = 0;
        for at in 0..payload.len() {
            judge(command, &payload[..at]);
            for byte in [0, 1, payload[at] ^ 0x80, 0xfd, 0xfe, 0xff] {
                let mut damaged = payload.clone();
                damaged[at] = byte;
                judge(command, &damaged);
                compared += 1;
            }
            compared += 1;
        }
        Ok(compared)
    });
}

/// Returns payloads, each with the difference that [`judge`] must return for it.
fn samples() -> Vec<(Difference, CommandName, Vec<u8>)> {
    use Difference::*;
    let tx_without_inputs = [&[1, 0, 0, 0, 0, 1][..], &[0; 13]].concat();
    let witness_tx = [&[1, 0, 0, 0, 0, 1, 1][..], &[7; 36], &[0, 7, 7, 7, 7, 0, 1, 1, 9], &[0; 4]].concat();
    let compact = |bits: u8, counts: &[u8]| [&[0; 72][..], &[bits, 0, 0, 0], &[0; 12], counts].concat();
    let tx = Tx::from_parts(1, &[], &[], 0);
    assert_eq!(payload_of(&MessageRef::Tx(tx.as_ref())).len(), TxRef::MIN_BYTES);
    let one_input = [&[1, 0, 0, 0, 1][..], &[7; 36], &[0, 7, 7, 7, 7, 0], &[0; 4]].concat();
    let version = |agent: &[u8]| [&[1; 80][..], &[agent.len() as u8], agent, &[0; 5]].concat();
    let reject = |message: &[u8], code: u8, reason: &[u8], hash: &[u8]| {
        [&[message.len() as u8][..], message, &[code, reason.len() as u8], reason, hash].concat()
    };
    let far = [&[0xfe, 1, 0, 1, 0][..], &one_input].concat();
    let short_ids = [&[0xfe, 1, 0, 1, 0][..], &[0; 6 * 0x1_0001], &[1]].concat();
    vec![
        (Tail, CommandName::PING, vec![0; 9]),
        (Tail, CommandName::VERACK, vec![0]),
        (Tail, CommandName::MEMPOOL, vec![0]),
        (Tail, CommandName::MEMPOOL, [&[1][..], &[0; 8]].concat()),
        (Tail, CommandName::VERSION, [version(b"/a/"), vec![0]].concat()),
        (ShortVersion, CommandName::VERSION, vec![0; 46]),
        (ShortVersion, CommandName::VERSION, version(b"/a/")[..88].to_vec()),
        (Text, CommandName::VERSION, version(&[0xff])),
        (Text, CommandName::REJECT, reject(&[0xff], 0x10, b"", &[])),
        (Limit, CommandName::VERSION, [&[1; 80][..], &[0xfd, 1, 1], &[b'a'; 257], &[0; 5]].concat()),
        (Limit, CommandName::REJECT, reject(&[b'a'; 13], 0x10, b"", &[0; 32])),
        (Limit, CommandName::REJECT, reject(b"tx", 0x10, &[b'a'; 112], &[0; 32])),
        (Limit, CommandName::FILTERLOAD, [&[0, 51][..], &[0; 8]].concat()),
        (Limit, CommandName::FILTERLOAD, [&[0xfd, 0xa1, 0x8c][..], &[0; 36_001 + 9]].concat()),
        (Limit, CommandName::FILTERADD, [&[0xfd, 0x09, 0x02][..], &[0; 521]].concat()),
        (NoInputs, CommandName::TX, payload_of(&MessageRef::Tx(tx.as_ref()))),
        (NoInputs, CommandName::TX, tx_without_inputs),
        (NoInputs, CommandName::TX, witness_tx.clone()),
        (NoInputs, CommandName::BLOCK, [&[0; 80][..], &[1], &witness_tx].concat()),
        (Flag, CommandName::SENDCMPCT, [&[2][..], &[0; 8]].concat()),
        (Flag, CommandName::FILTERLOAD, [&[0; 9][..], &[3]].concat()),
        (HeaderTxCount, CommandName::HEADERS, [&[1][..], &[0; 80], &[1]].concat()),
        (RejectCode, CommandName::REJECT, reject(b"tx", 0x44, b"", &[0; 32])),
        (RejectHash, CommandName::REJECT, reject(b"tx", 0x10, b"", &[])),
        (RejectHash, CommandName::REJECT, reject(b"tx", 0x01, b"", &[0; 32])),
        (RejectHash, CommandName::REJECT, reject(b"ping", 0x10, b"", &[0; 32])),
        (Fee, CommandName::FEEFILTER, vec![0xff; 8]),
        (CompactPosition, CommandName::CMPCTBLOCK, compact(1, &[0, 0])),
        (CompactPosition, CommandName::CMPCTBLOCK, compact(0, &[1, 0, 0, 0, 0, 0, 0, 0])),
        (CompactPosition, CommandName::CMPCTBLOCK, compact(1, &[&[0, 1, 1][..], &one_input].concat())),
        (WidePosition, CommandName::CMPCTBLOCK, compact(1, &[short_ids, far].concat())),
        (WidePosition, CommandName::GETBLOCKTXN, [&[0; 32][..], &[2, 0, 0xfe, 0xff, 0xff, 0xff, 0xff]].concat()),
        (Size, CommandName::GETBLOCKTXN, [&[0; 32][..], &[0xfe, 0, 0, 2, 0], &[0; 0x2_0000]].concat()),
    ]
}

#[test]
fn each_difference_has_a_payload_that_shows_it() {
    let mut shown = BTreeMap::<Difference, u64>::new();
    for (difference, command, payload) in samples() {
        assert_eq!(judge(command, &payload), Some(difference), "{command} of {} bytes", payload.len());
        *shown.entry(difference).or_default() += 1;
    }
    println!("differences shown: {shown:?}");
    assert_eq!(shown.len(), Difference::Size as usize + 1, "a difference has no payload");
}
