//! No payload of any command makes a decoder or an accessor panic. A decoded message encodes to its payload without
//! the ignored bytes at the end, unless the payload has a form that is read but never written. Decoding a message
//! needs at most twice its payload's length plus 4 KiB of memory, even if the payload claims larger sizes.

use crate::tape::Tape;
use allocation_counter::measure;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, BloomFilter, DoubleSpendRef, EnrichedHeadersRef, FilterLoadRef, Hash256, MerkleProofRef, MessageRef,
    ProvenTxRef, TxListRef, TxRef,
};

const UNKNOWN: CommandName = CommandName::new("no such");

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let command = CommandName::ALL.get(usize::from(tape.u8())).copied().unwrap_or(UNKNOWN);
    let payload = tape.take(usize::MAX);
    check_memory(command, payload);
    let Ok(message) = MessageRef::decode(command, payload) else { return };
    assert_eq!(message.command(), command);

    let mut encoded = Vec::new();
    message.encode_payload(&mut encoded);
    check_same(&message, payload, &encoded);
    let visited_bytes = visit(&message);
    assert!(
        visited_bytes <= payload.len(),
        "{command} has items of {visited_bytes} bytes in a payload of {}",
        payload.len()
    );

    let owned = message.clone().into_owned();
    assert_equal(&owned.as_ref(), &message);
    let mut encoded_again = Vec::new();
    owned.as_ref().encode_payload(&mut encoded_again);
    assert_eq!(encoded_again, encoded);
}

fn check_memory(command: CommandName, payload: &[u8]) {
    let allowed = 2 * payload.len() as u64 + 4_096;
    let decoding = measure(|| drop(MessageRef::decode(command, payload)));
    let owning = measure(|| drop(MessageRef::decode(command, payload).map(MessageRef::into_owned)));
    for allocated in [decoding.bytes_max, owning.bytes_max] {
        assert!(allocated <= allowed, "{command}: {allocated} bytes for a payload of {}", payload.len());
    }
}

/// Asserts that a message encodes to the payload from which it was decoded, without ignored bytes at the end. The
/// encoded bytes may differ only if the payload may have a form that is read but never written. In both cases, the
/// encoded bytes must decode to the same message.
fn check_same(message: &MessageRef<'_>, payload: &[u8], encoded: &[u8]) {
    let command = message.command();
    assert!(encoded.len() <= payload.len(), "{command} is encoded with more bytes than it was decoded from");
    if !is_normalised(message, payload) {
        assert_eq!(encoded, &payload[..encoded.len()], "{command} is not encoded as it was received");
    }
    let decoded = MessageRef::decode(command, encoded).expect("an encoded message decodes");
    assert_equal(&decoded, message);
    let mut encoded_again = Vec::new();
    decoded.encode_payload(&mut encoded_again);
    assert_eq!(encoded_again, encoded);
}

/// Asserts that two messages are equal. Lists of transactions are not compared: a list's end is unknown until the
/// list is read, so bytes after the last transaction count as part of the list.
fn assert_equal(message: &MessageRef<'_>, other: &MessageRef<'_>) {
    match (message, other) {
        (MessageRef::Block(message), MessageRef::Block(other)) => assert_eq!(message.header, other.header),
        (MessageRef::BlockTxn(message), MessageRef::BlockTxn(other)) => {
            assert_eq!(message.block_hash, other.block_hash);
        }
        _ => assert_eq!(message, other),
    }
}

/// Returns whether the payload may have a form that is read but never written.
fn is_normalised(message: &MessageRef<'_>, payload: &[u8]) -> bool {
    match message {
        // A `relay` flag may be any nonzero byte, and an association id may be a type byte alone, which is read as an
        // empty id.
        MessageRef::Version(_) | MessageRef::CreateStrm(_) | MessageRef::StreamAck(_) => true,
        MessageRef::SendCmpct(_) | MessageRef::Mempool(_) => payload.first().is_some_and(|&flag| flag > 1),
        // The claimed number of fields may be greater than the number of known fields.
        MessageRef::Protoconf(_) => payload[0] > 2,
        _ => false,
    }
}

/// Calls the accessors of the message, and returns the minimum number of payload bytes that its items need.
fn visit(message: &MessageRef<'_>) -> usize {
    match message {
        MessageRef::Version(version) => {
            assert!(version.printable_user_agent().len() <= 256);
            let _ = (version.claimed_version(), version.negotiated_version(), version.relays());
            0
        }
        MessageRef::Addr(addresses) => {
            addresses.iter().filter(|entry| entry.address.to_socket().port() == entry.address.port).count() * 30
        }
        MessageRef::Inv(list) | MessageRef::GetData(list) | MessageRef::NotFound(list) => {
            assert_eq!(list.iter().rev().count(), list.len());
            list.iter().inspect(|item| assert!(!item.kind.to_string().is_empty())).count() * 36
        }
        MessageRef::GetBlocks(locator) | MessageRef::GetHeaders(locator) | MessageRef::GetHdrsEn(locator) => {
            locator.hashes().count() * 32
        }
        MessageRef::Headers(headers) => headers.iter().inspect(|item| assert_hash(&item.header)).count() * 81,
        MessageRef::HdrsEn(headers) => visit_enriched(headers),
        MessageRef::Tx(tx) => visit_tx(tx),
        MessageRef::Block(block) => {
            assert_eq!(block.validate().is_ok(), block.transactions.iter().all(|tx| tx.is_ok()));
            80 + visit_list(&block.transactions)
        }
        MessageRef::BlockTxn(answer) => 32 + visit_list(&answer.transactions),
        MessageRef::MerkleBlock(block) => {
            if let Some(matches) = block.matches() {
                assert!(matches.len() <= block.hashes().len());
                assert!(
                    matches.windows(2).all(|pair| pair[0].index < pair[1].index),
                    "matches are not in the order of the block"
                );
            }
            block.hashes().count() * 32 + block.flags().len()
        }
        MessageRef::CmpctBlock(block) => {
            let ids = block.short_id_key();
            let prefilled = block.prefilled().inspect(|prefilled| {
                let _ = ids.short_id(prefilled.tx.txid());
            });
            block.short_ids.len() * 6 + prefilled.map(|prefilled| 1 + visit_tx(&prefilled.tx)).sum::<usize>()
        }
        MessageRef::GetBlockTxn(request) => {
            let indexes: Vec<_> = request.indexes().collect();
            assert!(indexes.is_sorted_by(|a, b| a < b), "indexes do not increase");
            indexes.len()
        }
        MessageRef::FilterLoad(filter) => visit_filter(filter),
        MessageRef::DsDetected(message) => visit_double_spend(message),
        MessageRef::DataRefTx(proven) => visit_proven(proven),
        MessageRef::Reject(reject) => {
            let _ = reject.code.name();
            reject.message.len() + reject.reason.len()
        }
        _ => 0,
    }
}

fn assert_hash(header: &BlockHeader) {
    assert_eq!(BlockHeader::decode(&header.encode()), *header);
    assert_eq!(header.hash(), Hash256::of(&header.encode()));
}

fn visit_tx(tx: &TxRef<'_>) -> usize {
    let inputs = tx.inputs();
    let outputs = tx.outputs();
    let (input_count, output_count) = (inputs.len(), outputs.len());
    let inputs: Vec<_> = inputs.collect();
    let outputs: Vec<_> = outputs.collect();
    assert_eq!((inputs.len(), outputs.len()), (input_count, output_count), "not all inputs and outputs decode");
    let built = peerloop::wire::Tx::from_parts(tx.version(), &inputs, &outputs, tx.locktime());
    assert_eq!(built.as_ref(), *tx, "the transaction built from the parts differs");
    assert_eq!(tx.txid(), Hash256::of(tx.encoded()));
    let _ = tx.is_coinbase();
    let scripts: usize = inputs.iter().map(|input| input.script.len()).sum();
    10 + input_count * 41 + output_count * 9 + scripts + outputs.iter().map(|output| output.script.len()).sum::<usize>()
}

fn visit_list(list: &TxListRef<'_>) -> usize {
    let mut visited_bytes = 0;
    let mut transactions = list.iter();
    for tx in transactions.by_ref() {
        match tx {
            Ok(tx) => visited_bytes += visit_tx(&tx),
            Err(_) => break,
        }
    }
    assert!(transactions.next().is_none(), "an item follows an error or the last transaction");
    visited_bytes
}

fn visit_proof(proof: &MerkleProofRef<'_>, header: &BlockHeader) -> usize {
    let _ = (proof.txid(), proof.root(), proof.proves(header));
    33 * proof.nodes().count()
}

fn visit_proven(proven: &ProvenTxRef<'_>) -> usize {
    visit_tx(&proven.tx) + visit_proof(&proven.proof, &BlockHeader::decode(&[0; 80]))
}

fn visit_enriched(headers: &EnrichedHeadersRef<'_>) -> usize {
    let items = headers.iter().map(|item| {
        assert_hash(&item.header);
        let proven = item.coinbase.iter().chain(&item.miner_info).map(visit_proven).sum::<usize>();
        82 + proven
    });
    let items: Vec<usize> = items.collect();
    assert_eq!(items.len(), headers.len());
    items.iter().sum()
}

fn visit_double_spend(message: &DoubleSpendRef<'_>) -> usize {
    let _ = message.validate();
    let fork = |fork: peerloop::wire::ForkRef<'_>| {
        fork.headers().for_each(|header| assert_hash(&header));
        let header = fork.headers().next().unwrap_or_else(|| BlockHeader::decode(&[0; 80]));
        fork.headers().len() * 80 + visit_tx(&fork.tx) + visit_proof(&fork.proof, &header)
    };
    message.forks().map(fork).sum()
}

fn visit_filter(filter: &FilterLoadRef<'_>) -> usize {
    let element = &filter.bits[..filter.bits.len().min(40)];
    let mut owned: BloomFilter = filter.into_owned();
    owned.insert(element);
    assert!(owned.contains(element), "an inserted element does not match");
    let _ = filter.contains_outpoint(Hash256::ZERO, filter.tweak);
    filter.bits.len()
}
