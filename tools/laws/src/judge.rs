//! Compares our decoder with the crate `bitcoin`, which must refuse each payload that we refuse. If we accept a
//! payload, `bitcoin` must read the same message.
//!
//! The following differences are intended; [`Difference`] gives their reasons. Any other difference causes a panic.
//!
//! | difference | we | `bitcoin` |
//! |---|---|---|
//! | `Tail` | ignore bytes after a message, or read them as further fields | refuses them |
//! | `ShortVersion` | accept a `version` that ends after its fourth or a later field | requires all up to `relay` |
//! | `Text` | accept any bytes as text | refuses all but UTF-8 |
//! | `Limit` | refuse strings, filters and elements above the node's limits | has no such limits |
//! | `NoInputs` | read a witness marker as zero inputs, then accept or refuse the transaction | reads the witnesses |
//! | `Flag` | read any nonzero flag of `sendcmpct` as true, accept any `filterload` flags | refuses unknown flags |
//! | `HeaderTxCount` | accept any transaction count after a header in `headers` | refuses all but zero |
//! | `RejectCode` | accept any code in `reject` | refuses unknown codes |
//! | `RejectHash` | accept a missing hash; read one only if the `tx` or `block` could be decoded | requires one |
//! | `Fee` | accept any rate in `feefilter` | refuses impossible rates |
//! | `CompactPosition` | refuse an empty `cmpctblock`, and one with `bits` of 0 or a gap in positions | accepts it |
//! | `WidePosition` | read 32-bit positions | reads 16 bits in `cmpctblock`, 64 in `getblocktxn` |
//! | `Size` | accept as many items as the payload can hold | refuses lists of over 4,000,000 bytes in memory |

use crate::theirs::{assert_same, decode, frame_of_theirs, payload_of};
use bitcoin::Transaction;
use bitcoin::consensus::encode;
use bitcoin::p2p::message::NetworkMessage;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{CompactBlockRef, MessageRef, TxRef};

/// An intended difference between the two decoders. Each variant's documentation states the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The node ignores such bytes. Only this protocol has an association in `version` and an age in `mempool`.
    Tail,
    /// The node accepts a short `version`, too.
    ShortVersion,
    /// The node does not check that a string is UTF-8.
    Text,
    /// The node penalises a larger item, or drops the message.
    Limit,
    /// This protocol has no witnesses.
    NoInputs,
    /// The node reads flags as we do.
    Flag,
    /// The node ignores the count.
    HeaderTxCount,
    /// Each new version of the node may add codes.
    RejectCode,
    /// The node sends a hash only in a `reject` of a `tx` or a `block` that it could read.
    RejectHash,
    /// The node ignores impossible rates without a penalty.
    Fee,
    /// The node penalises such a `cmpctblock`.
    CompactPosition,
    /// The node reads 32 bits; its blocks can have more than 65,535 transactions.
    WidePosition,
    /// Blocks have no such maximum in this protocol.
    Size,
}

/// Decodes a payload with this library, including every transaction in it.
fn decode_ours(command: CommandName, payload: &[u8]) -> Result<MessageRef<'_>, WireError> {
    let message = MessageRef::decode(command, payload)?;
    transactions(&message).into_iter().try_for_each(|tx| tx.map(drop))?;
    Ok(message)
}

/// Returns all transactions that a message contains.
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

/// Returns an accepted message's length without the fields that only this protocol has.
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

/// Decodes a payload with both decoders and compares the results. Returns their difference if it is intended, or
/// `None` if there is none. A payload in which we accept a transaction without inputs is not passed to `bitcoin`.
///
/// # Panics
///
/// If the results differ in any other way.
pub fn judge(command: CommandName, payload: &[u8]) -> Option<Difference> {
    let ours = match decode_ours(command, payload) {
        Ok(ours) => ours,
        Err(error) => {
            let Ok(theirs) = decode(command, payload) else { return None };
            let difference = why_we_refuse(&theirs);
            assert!(difference.is_some(), "we refuse the payload ({error}), but `bitcoin` reads {theirs:?}");
            return difference;
        }
    };
    if transactions(&ours).into_iter().flatten().any(|tx| tx.inputs().len() == 0) {
        return Some(Difference::NoInputs);
    }
    let common = &payload[..common_len(&ours)];
    match decode(command, common) {
        Ok(theirs) => {
            assert_same(&ours, &theirs);
            assert_eq!(&frame_of_theirs(theirs)[24..], &payload_of(&ours)[..common.len()]);
        }
        Err(error) => {
            let difference = why_they_refuse(&ours, common, &error);
            assert!(difference.is_some(), "`bitcoin` refuses the payload ({error}), but we read {ours:?}");
            return difference;
        }
    }
    if common.len() < payload.len() {
        assert!(decode(command, payload).is_err(), "`bitcoin` accepts the bytes that we ignore after {ours:?}");
        return Some(Difference::Tail);
    }
    None
}

/// Returns the intended difference that makes us refuse a payload that the crate reads as `theirs`; `None` if there
/// is none.
fn why_we_refuse(theirs: &NetworkMessage) -> Option<Difference> {
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
        _ => None,
    }
}

/// Returns the intended difference that makes the crate refuse a payload that we read as `ours`; `None` if there is
/// none. `common` is the payload without the fields that only this protocol has.
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
