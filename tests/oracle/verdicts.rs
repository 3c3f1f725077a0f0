//! Damaged messages: what we refuse the crate `bitcoin` refuses, and what we accept it reads as the same.
//!
//! These differences are meant to be, and no other is let pass:
//!
//! | difference | we | `bitcoin` | why |
//! |---|---|---|---|
//! | [`Tail`](Difference::Tail) | ignore bytes behind the message | refuses them | the node ignores them; of a `version` and a `mempool` they may be this protocol's own fields |
//! | [`ShortVersion`](Difference::ShortVersion) | accept a `version` that ends behind any field from the receiver on | wants all up to `relay` | the node accepts it |
//! | [`Text`](Difference::Text) | take any bytes for a text | refuses all but UTF-8 | the node does not look |
//! | [`Limit`](Difference::Limit) | refuse texts, filters and elements above the node's limits | knows none | a peer that sends them is punished |
//! | [`NoInputs`](Difference::NoInputs) | read a transaction without inputs as such | reads a witness marker | this protocol has no witnesses |
//! | [`Flag`](Difference::Flag) | take any byte but zero of `sendcmpct` for yes, and any flags of `filterload` | refuses unknown ones | so does the node |
//! | [`HeaderTxCount`](Difference::HeaderTxCount) | accept any count behind a header of `headers` | refuses all but zero | the node reads and drops it |
//! | [`RejectCode`](Difference::RejectCode) | accept any code of `reject` | refuses what it cannot name | newer nodes have more |
//! | [`RejectHash`](Difference::RejectHash) | accept a `reject` without a hash, and expect one of `tx` and `block` alone | always wants one | the node sends it so |
//! | [`Fee`](Difference::Fee) | accept any rate of `feefilter` | refuses impossible ones | the node ignores it without punishment |
//! | [`CompactPosition`](Difference::CompactPosition) | refuse a `cmpctblock` that is empty, has no target or a position with nothing in front of it | does not look | the node punishes it |
//! | [`WidePosition`](Difference::WidePosition) | read positions of 32 bits | of 16 in `cmpctblock`, of 64 in `getblocktxn` | blocks have more than 65,535 transactions, and the node reads 32 bits |
//! | [`Size`](Difference::Size) | believe what the payload can hold | refuses more than 4,000,000 bytes of anything | blocks have no such size here |

use crate::against_bitcoin::{assert_same, decode, frame_of_theirs};
use crate::values::any_common;
use crate::{compare_all, payload_of};
use bitcoin::Transaction;
use bitcoin::consensus::encode;
use bitcoin::p2p::message::NetworkMessage;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{CompactBlockRef, MessageRef, Tx, TxRef};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Why two verdicts differ; the table above says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Tail,
    ShortVersion,
    Text,
    Limit,
    NoInputs,
    Flag,
    HeaderTxCount,
    RejectCode,
    RejectHash,
    Fee,
    CompactPosition,
    WidePosition,
    Size,
}

/// What we make of a payload, lists of transactions walked to their end.
fn decode_ours(command: CommandName, payload: &[u8]) -> Result<MessageRef<'_>, WireError> {
    let message = MessageRef::decode(command, payload)?;
    transactions(&message).into_iter().try_for_each(|tx| tx.map(drop))?;
    Ok(message)
}

/// All transactions of a message.
fn transactions<'a>(message: &MessageRef<'a>) -> Vec<Result<TxRef<'a>, WireError>> {
    match message {
        MessageRef::Tx(message) => vec![Ok(*message)],
        MessageRef::Block(message) => message.transactions.iter().collect(),
        MessageRef::BlockTxn(message) => message.transactions.iter().collect(),
        MessageRef::CmpctBlock(message) => message.prefilled().map(|prefilled| Ok(prefilled.tx)).collect(),
        _ => Vec::new(),
    }
}

fn transactions_of_theirs(message: &NetworkMessage) -> Vec<&Transaction> {
    match message {
        NetworkMessage::Tx(message) => vec![message],
        NetworkMessage::Block(message) => message.txdata.iter().collect(),
        NetworkMessage::BlockTxn(message) => message.transactions.transactions.iter().collect(),
        NetworkMessage::CmpctBlock(message) => {
            message.compact_block.prefilled_txs.iter().map(|item| &item.tx).collect()
        }
        _ => Vec::new(),
    }
}

/// The length of what both protocols have in common of a message that we accepted.
fn common_len(message: &MessageRef<'_>) -> usize {
    match message {
        MessageRef::Mempool(_) => 0,
        MessageRef::Version(version) => {
            let mut version = version.clone().into_owned();
            version.association_id = None;
            payload_of(&MessageRef::Version(std::borrow::Cow::Owned(version))).len()
        }
        _ => payload_of(message).len(),
    }
}

/// Compares the verdicts on one payload, and returns the difference, if there is one of the list.
fn judge(command: CommandName, payload: &[u8]) -> Result<Option<Difference>, TestCaseError> {
    let ours = match decode_ours(command, payload) {
        Ok(ours) => ours,
        Err(error) => {
            let Ok(theirs) = decode(command, payload) else { return Ok(None) };
            let difference = why_we_refuse(&theirs, payload);
            prop_assert!(difference.is_some(), "{error}, but {theirs:?}");
            return Ok(difference);
        }
    };
    if transactions(&ours).into_iter().flatten().any(|tx| tx.inputs().len() == 0) {
        return Ok(Some(Difference::NoInputs));
    }
    let common = &payload[..common_len(&ours)];
    match decode(command, common) {
        Ok(theirs) => {
            assert_same(&ours, &theirs)?;
            prop_assert_eq!(&frame_of_theirs(theirs)[24..], &payload_of(&ours)[..common.len()]);
        }
        Err(error) => {
            let difference = why_they_refuse(&ours, common, &error);
            prop_assert!(difference.is_some(), "{error}, but {ours:?}");
            return Ok(difference);
        }
    }
    if common.len() < payload.len() {
        prop_assert!(decode(command, payload).is_err(), "it did not end where we say: {ours:?}");
        return Ok(Some(Difference::Tail));
    }
    Ok(None)
}

/// Why we refuse what was read as `theirs`.
fn why_we_refuse(theirs: &NetworkMessage, payload: &[u8]) -> Option<Difference> {
    let has_witness = |tx: &&Transaction| tx.input.is_empty() || tx.input.iter().any(|input| !input.witness.is_empty());
    if transactions_of_theirs(theirs).iter().any(has_witness) {
        return Some(Difference::NoInputs);
    }
    let is_too_long = match theirs {
        NetworkMessage::Version(message) => message.user_agent.len() > 256,
        NetworkMessage::Reject(message) => message.message.len() > 12 || message.reason.len() > 111,
        NetworkMessage::FilterLoad(message) => message.filter.len() > 36_000 || message.hash_funcs > 50,
        NetworkMessage::FilterAdd(message) => message.data.len() > 520,
        _ => false,
    };
    if is_too_long {
        return Some(Difference::Limit);
    }
    match theirs {
        NetworkMessage::CmpctBlock(message) => {
            let block = &message.compact_block;
            let mut least = 0;
            let leaves_a_gap = block.prefilled_txs.iter().enumerate().any(|(before, prefilled)| {
                let index = least + usize::from(prefilled.idx);
                least = index + 1;
                index > block.short_ids.len() + before
            });
            let is_nonsense = block.short_ids.is_empty() && block.prefilled_txs.is_empty()
                || block.header.bits.to_consensus() == 0
                || leaves_a_gap;
            is_nonsense.then_some(Difference::CompactPosition)
        }
        NetworkMessage::GetBlockTxn(message) => {
            let indexes = &message.txs_request.indexes;
            indexes.iter().any(|&index| index > u64::from(u32::MAX)).then_some(Difference::WidePosition)
        }
        // What it takes for the hash is longer than what we allow of it, if we expect one.
        NetworkMessage::Reject(_) => {
            (MessageRef::decode(CommandName::REJECT, payload).is_ok()).then_some(Difference::RejectHash)
        }
        _ => None,
    }
}

/// Why the crate refuses what we read as `ours`.
fn why_they_refuse(ours: &MessageRef<'_>, common: &[u8], error: &encode::Error) -> Option<Difference> {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    match ours {
        MessageRef::Version(version) if !version.user_agent.as_deref().is_none_or(is_text) => Some(Difference::Text),
        MessageRef::Version(version) => version.relay.is_none().then_some(Difference::ShortVersion),
        MessageRef::Reject(message) if !is_text(message.message) || !is_text(message.reason) => Some(Difference::Text),
        MessageRef::Reject(message) if ![0x01, 0x10, 0x11, 0x12, 0x40, 0x41, 0x42, 0x43].contains(&message.code.0) => {
            Some(Difference::RejectCode)
        }
        MessageRef::Reject(message) => message.hash.is_none().then_some(Difference::RejectHash),
        MessageRef::SendCmpct(_) => (common[0] > 1).then_some(Difference::Flag),
        MessageRef::FilterLoad(message) => (message.flags > 2).then_some(Difference::Flag),
        MessageRef::Headers(message) => {
            message.iter().any(|item| item.tx_count != 0).then_some(Difference::HeaderTxCount)
        }
        MessageRef::FeeFilter(message) => {
            (!(0..=2_100_000_000_000_000).contains(&message.satoshis_per_1000_bytes)).then_some(Difference::Fee)
        }
        MessageRef::CmpctBlock(message) => has_wide_distance(message).then_some(Difference::WidePosition),
        _ => matches!(error, encode::Error::OversizedVectorAllocation { .. }).then_some(Difference::Size),
    }
}

fn has_wide_distance(message: &CompactBlockRef<'_>) -> bool {
    let mut least = 0;
    message.prefilled().any(|prefilled| {
        let distance = prefilled.index - least;
        least = prefilled.index + 1;
        distance > u32::from(u16::MAX)
    })
}

/// What is done to a payload.
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
    let telling = select(vec![0, 1, 2, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff]);
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), telling).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        any::<Index>().prop_map(Damage::Cut),
        vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

#[test]
fn damaged_messages_are_judged_alike() {
    let differences = RefCell::new(BTreeMap::<_, u64>::new());
    compare_all("verdicts beside bitcoin", 12_000, (any_common(), vec(any_damage(), 1..4)), |(message, damage)| {
        let mut payload = payload_of(&message.as_ref());
        damage.iter().for_each(|damage| damage.apply(&mut payload));
        if let Some(difference) = judge(message.as_ref().command(), &payload)? {
            *differences.borrow_mut().entry(difference).or_default() += 1;
        }
        Ok(1)
    });
    println!("differences that are meant to be: {:?}", differences.borrow());
}

#[test]
fn every_cut_and_every_value_of_every_byte_is_judged_alike() {
    compare_all("verdicts on all neighbours", 40, any_common(), |message| {
        let command = message.as_ref().command();
        let payload = payload_of(&message.as_ref());
        let mut compared = 0;
        // All of a short payload, the first bytes and with them most of the structure of a long one.
        for at in 0..payload.len().min(300) {
            judge(command, &payload[..at])?;
            for byte in [0, 1, payload[at] ^ 0x80, 0xfd, 0xfe, 0xff] {
                let mut damaged = payload.clone();
                damaged[at] = byte;
                judge(command, &damaged)?;
                compared += 1;
            }
            compared += 1;
        }
        Ok(compared)
    });
}

/// Payloads that show each difference, and what `judge` has to make of them.
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
fn each_difference_is_shown_by_a_payload() {
    let mut shown = BTreeMap::<Difference, u64>::new();
    for (difference, command, payload) in samples() {
        let verdict =
            judge(command, &payload).unwrap_or_else(|failure| panic!("{difference:?} of {command}: {failure}"));
        assert_eq!(verdict, Some(difference), "{command} of {} bytes", payload.len());
        *shown.entry(difference).or_default() += 1;
    }
    println!("differences shown: {shown:?}");
    assert_eq!(shown.len(), Difference::Size as usize + 1, "each one has a payload");
}
