//! What this library and the crate `bitcoin` both know, both read alike: the same verdict on every payload, the same
//! values in it, the same bytes out of it again.
//!
//! They may differ where their protocols do, and nowhere else:
//!
//! - what follows the last field is ignored here and refused there, so they are asked without it;
//! - a transaction without inputs is one here, and the mark of a segregated witness there;
//! - `version` may end early here and not there; its user agent is bytes here and UTF-8 there, and has a limit here
//!   only, and an association id may follow;
//! - `feefilter` may be any number here, and is an amount of money there;
//! - `headers` keeps the count of transactions here, and there it must be zero;
//! - `reject` has texts of bytes, any code, and a hash for `tx` and `block` alone here; there it has UTF-8, known codes
//!   and always a hash; its texts have limits here only.

use bitcoin::consensus::encode::{deserialize_partial, serialize};
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{BlockRef, MessageRef, RejectRef, TxRef, Version, put_frame};

const MAGIC: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];
/// All the money that there will ever be, in satoshis.
const FEE_MAX: i64 = 2_100_000_000_000_000;

/// What both know, in the order in which the first byte of an input picks.
const COMMANDS: [CommandName; 18] = [
    CommandName::VERSION,
    CommandName::VERACK,
    CommandName::ADDR,
    CommandName::INV,
    CommandName::GETDATA,
    CommandName::NOTFOUND,
    CommandName::GETBLOCKS,
    CommandName::GETHEADERS,
    CommandName::HEADERS,
    CommandName::TX,
    CommandName::BLOCK,
    CommandName::PING,
    CommandName::PONG,
    CommandName::REJECT,
    CommandName::SENDHEADERS,
    CommandName::FEEFILTER,
    CommandName::MEMPOOL,
    CommandName::GETADDR,
];

pub(crate) fn check(data: &[u8]) {
    let Some((first, payload)) = data.split_first() else { return };
    let command = COMMANDS[usize::from(*first) % COMMANDS.len()];
    let ours = read_whole(command, payload);
    let theirs = ask(command, ours.as_ref().map_or(payload, |ours| &payload[..common_len(ours)]));
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => compare(ours, theirs),
        (Ok(ours), Err(_)) => assert!(only_we_read(ours), "{command}: they refuse {ours:?}"),
        (Err(_), Ok(theirs)) => assert!(only_they_read(payload, theirs), "{command}: we refuse {theirs:?}"),
        (Err(_), Err(_)) => {}
    }
}

/// The message with all that is lazy in it read.
fn read_whole(command: CommandName, payload: &[u8]) -> Result<MessageRef<'_>, WireError> {
    let message = MessageRef::decode(command, payload)?;
    match &message {
        MessageRef::Block(block) => block.validate().map(|()| message),
        _ => Ok(message),
    }
}

/// Bytes of the part of the payload that both know.
fn common_len(message: &MessageRef<'_>) -> usize {
    let mut encoded = Vec::new();
    match message {
        MessageRef::Version(version) => {
            Version { association_id: None, ..Version::clone(version) }.encode(&mut encoded);
        }
        MessageRef::Mempool(_) => {}
        _ => message.encode_payload(&mut encoded),
    }
    encoded.len()
}

fn ask(command: CommandName, payload: &[u8]) -> Result<NetworkMessage, bitcoin::consensus::encode::Error> {
    let mut frame = Vec::new();
    put_frame(MAGIC, command, payload, &mut frame);
    deserialize_partial::<RawNetworkMessage>(&frame).map(|(message, _)| message.into_payload())
}

fn only_we_read(message: &MessageRef<'_>) -> bool {
    match message {
        MessageRef::Version(version) => {
            version.relay.is_none() || version.user_agent.as_deref().is_some_and(|agent| !is_utf8(agent))
        }
        MessageRef::FeeFilter(filter) => !(0..=FEE_MAX).contains(&filter.satoshis_per_1000_bytes),
        MessageRef::Headers(headers) => headers.iter().any(|item| item.tx_count != 0),
        MessageRef::Tx(tx) => has_no_inputs(tx),
        MessageRef::Block(block) => block.transactions.iter().flatten().any(|tx| has_no_inputs(&tx)),
        MessageRef::Reject(reject) => {
            !is_utf8(reject.message) || !is_utf8(reject.reason) || reject.hash.is_none() || !is_their_code(reject)
        }
        _ => false,
    }
}

fn only_they_read(payload: &[u8], message: &NetworkMessage) -> bool {
    match message {
        NetworkMessage::Version(version) => version.user_agent.len() > 256,
        // The mark and what follows it, which here is a transaction that goes on in another way.
        NetworkMessage::Tx(_) => payload.get(4) == Some(&0),
        NetworkMessage::Block(block) => block.txdata.iter().any(is_marked),
        NetworkMessage::Reject(reject) => reject.message.len() > 12 || reject.reason.len() > 111,
        _ => false,
    }
}

fn compare(ours: &MessageRef<'_>, theirs: &NetworkMessage) {
    match (ours, theirs) {
        (MessageRef::Version(ours), NetworkMessage::Version(theirs)) => return compare_versions(ours, theirs),
        (MessageRef::Reject(ours), NetworkMessage::Reject(theirs)) => {
            assert_eq!((ours.message, ours.reason), (theirs.message.as_bytes(), theirs.reason.as_bytes()));
            assert_eq!(ours.code.0, theirs.ccode as u8);
            let hash: &[u8; 32] = theirs.hash.as_ref();
            return assert!(ours.hash.is_none_or(|ours| ours == *hash));
        }
        (MessageRef::Mempool(_), NetworkMessage::MemPool) => return,
        (MessageRef::Tx(ours), NetworkMessage::Tx(theirs)) if !has_no_inputs(ours) => compare_txs(ours, theirs),
        (MessageRef::Tx(_), NetworkMessage::Tx(_)) => return,
        (MessageRef::Block(ours), NetworkMessage::Block(theirs)) => {
            if theirs.txdata.iter().any(is_marked) || ours.transactions.iter().flatten().any(|tx| has_no_inputs(&tx)) {
                return;
            }
            compare_blocks(ours, theirs);
        }
        (MessageRef::Headers(ours), NetworkMessage::Headers(theirs)) => {
            let hashes = theirs.iter().map(|header| header.block_hash().to_string());
            assert!(ours.iter().map(|item| item.header.hash().to_string()).eq(hashes));
        }
        (MessageRef::Inv(ours) | MessageRef::GetData(ours) | MessageRef::NotFound(ours), theirs) => {
            let (NetworkMessage::Inv(items) | NetworkMessage::GetData(items) | NetworkMessage::NotFound(items)) =
                theirs
            else {
                panic!("{theirs:?} is no list");
            };
            let hashes = items.iter().map(|item| item.network_hash());
            assert!(ours.iter().map(|item| Some(item.hash.to_bytes())).eq(hashes));
        }
        _ => {}
    }
    let mut encoded = Vec::new();
    ours.encode_payload(&mut encoded);
    let magic = bitcoin::p2p::Magic::from_bytes(MAGIC);
    let frame = serialize(&RawNetworkMessage::new(magic, theirs.clone()));
    assert_eq!(encoded, frame[24..], "the same bytes again");
}

fn compare_versions(ours: &Version, theirs: &bitcoin::p2p::message_network::VersionMessage) {
    let sender = ours.sender.expect("they have read one");
    assert_eq!(ours.protocol_version as u32, theirs.version);
    assert_eq!((ours.services, ours.time.as_secs()), (theirs.services.to_u64(), theirs.timestamp));
    assert_eq!(ours.user_agent.as_deref(), Some(theirs.user_agent.as_bytes()));
    assert_eq!((sender.nonce, ours.start_height), (theirs.nonce, Some(theirs.start_height)));
    assert_eq!((ours.relay, sender.address.port), (Some(theirs.relay), theirs.sender.port));
    let mut encoded = Vec::new();
    ours.encode(&mut encoded);
    assert!(encoded.starts_with(&serialize(theirs)));
}

fn compare_blocks(ours: &BlockRef<'_>, theirs: &bitcoin::Block) {
    assert_eq!(ours.header.hash().to_string(), theirs.block_hash().to_string());
    assert_eq!(ours.transactions.len(), theirs.txdata.len());
    ours.transactions.iter().flatten().zip(&theirs.txdata).for_each(|(ours, theirs)| compare_txs(&ours, theirs));
}

fn compare_txs(ours: &TxRef<'_>, theirs: &bitcoin::Transaction) {
    assert_eq!(ours.txid().to_string(), theirs.compute_txid().to_string());
    assert_eq!((ours.version(), ours.locktime()), (theirs.version.0, theirs.lock_time.to_consensus_u32()));
    assert_eq!((ours.inputs().len(), ours.outputs().len()), (theirs.input.len(), theirs.output.len()));
    for (ours, theirs) in ours.inputs().zip(&theirs.input) {
        assert_eq!(ours.prev_txid.to_string(), theirs.previous_output.txid.to_string());
        assert_eq!((ours.prev_index, ours.sequence), (theirs.previous_output.vout, theirs.sequence.0));
        assert_eq!(ours.script, theirs.script_sig.as_bytes());
    }
    for (ours, theirs) in ours.outputs().zip(&theirs.output) {
        assert_eq!((ours.value as u64, ours.script), (theirs.value.to_sat(), theirs.script_pubkey.as_bytes()));
    }
}

fn has_no_inputs(tx: &TxRef<'_>) -> bool {
    tx.inputs().len() == 0
}

/// Whether they read the transaction behind the mark of a witness.
fn is_marked(tx: &bitcoin::Transaction) -> bool {
    tx.input.is_empty() || tx.input.iter().any(|input| !input.witness.is_empty())
}

fn is_their_code(reject: &RejectRef<'_>) -> bool {
    matches!(reject.code.0, 0x01 | 0x10..=0x12 | 0x40..=0x43)
}

fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}
