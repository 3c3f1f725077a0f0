//! A chain that the node mines and sends in every form, checked against the node's RPC.

use crate::mined::{Chain, MATURITY, payload};
use crate::node::Node;
use crate::observer::{Observer, config};
use peerloop::wire::{
    BlockRef, BloomFilter, GetBlockTxn, Hash256, InventoryItem, InventoryKind, Mempool, MerkleVerdict, Message,
    ProofSubject, ProofTarget, SendCmpct,
};

fn txids_of(block: &BlockRef<'_>) -> Vec<Hash256> {
    block.transactions.iter().map(|tx| tx.expect("the block is valid").txid()).collect()
}

#[test]
fn a_chains_headers_are_linked_and_its_newest_block_is_whole() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    let best = chain.best_block();
    let headers = chain.headers();
    assert_eq!(headers.len(), MATURITY + 5);
    let mut previous = chain.genesis();
    for header in &headers {
        assert_eq!(header.prev_hash, previous);
        previous = header.hash();
    }
    assert_eq!(previous, best);

    chain.ask_for(InventoryKind::BLOCK, best);
    let block = chain.receive("block", |message| matches!(message, Message::Block(_)).then(|| message.clone()));
    assert_eq!(payload(&block), chain.bytes(&["getblock", &best.to_string(), "0"]));
    let Message::Block(block) = &block else { panic!("{block:?} is not a block") };
    assert_eq!(block.as_ref().hash(), best);
    assert_eq!(block.as_ref().header, headers[headers.len() - 1]);
    let txids = txids_of(&block.as_ref());
    assert_eq!(txids.len(), 5, "the block does not have a coinbase and four payments");
    assert_eq!(txids, chain.txids(best));
    let tree = block.as_ref().merkle_tree().expect("the block is valid");
    assert_eq!(tree.verdict(block.as_ref().header.merkle_root), MerkleVerdict::Valid);

    chain.say(Message::GetBlocks(chain.locator()));
    let items: Vec<InventoryItem> = chain.receive("inv of blocks", |message| match message {
        Message::Inv(inventory) => Some(inventory.as_ref().iter().collect()),
        _ => None,
    });
    let expected: Vec<_> = headers.iter().map(|header| InventoryItem::block(header.hash())).collect();
    assert_eq!(items, expected);
    chain.assert_in_good_standing();
}

#[test]
fn a_compact_block_has_short_ids_and_the_node_sends_the_transactions_on_request() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    chain.headers();
    chain.say(Message::SendCmpct(SendCmpct { announce: true, version: SendCmpct::VERSION }));
    chain.observer.settle(chain.peer);
    chain.pay(5);
    let mined = chain.mine();
    let find_compact = |message: &Message| match message {
        Message::CmpctBlock(block) => Some(block.clone()),
        _ => None,
    };
    let announced = chain.receive("announced compact block", find_compact);
    chain.ask_for(InventoryKind::COMPACT_BLOCK, mined);
    let asked_for = chain.receive("requested compact block", find_compact);

    let txids = chain.txids(mined);
    assert_eq!(txids.len(), 6);
    for block in [announced.as_ref(), asked_for.as_ref()] {
        assert_eq!(block.header.hash(), mined);
        assert_eq!(block.tx_count(), txids.len());
        let prefilled: Vec<_> = block.prefilled().map(|item| (item.index, item.tx.txid())).collect();
        assert_eq!(prefilled, [(0, txids[0])]);
        let key = block.short_id_key();
        assert_eq!(block.short_ids, txids[1..].iter().map(|txid| key.short_id(*txid)).collect::<Vec<_>>());
    }

    chain.say(Message::GetBlockTxn(GetBlockTxn::from_indexes(mined, [1, 3, 4])));
    let answer = chain.receive("transactions of the block", |message| match message {
        Message::BlockTxn(answer) => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(answer.as_ref().block_hash, mined);
    let got: Vec<_> = answer.as_ref().transactions.iter().map(|tx| tx.expect("the reply is valid").txid()).collect();
    assert_eq!(got, [txids[1], txids[3], txids[4]]);
    chain.assert_in_good_standing();
}

#[test]
fn a_merkleblock_proves_the_matches_of_the_filter_and_nothing_else() {
    let Some(mut chain) = Chain::start_with(&["-peerbloomfilters=1"]) else { return };
    let best = chain.best_block();
    let txids = chain.txids(best);
    for chosen in [vec![1], vec![0, 4], vec![0, 1, 2, 3, 4], vec![]] {
        // The false-positive rate is so low that none of the five transactions is a false positive.
        let mut filter = BloomFilter::new(10, 1e-9, 0x5eed, BloomFilter::UPDATE_NONE);
        chosen.iter().for_each(|&index: &usize| filter.insert(txids[index].as_bytes()));
        chain.say(Message::FilterLoad(filter));
        chain.ask_for(InventoryKind::FILTERED_BLOCK, best);
        let block =
            chain.receive("merkleblock", |message| matches!(message, Message::MerkleBlock(_)).then(|| message.clone()));
        if !chosen.is_empty() {
            let wanted: Vec<_> = chosen.iter().map(|&index| format!("\"{}\"", txids[index])).collect();
            let proof = chain.bytes(&["gettxoutproof", &format!("[{}]", wanted.join(",")), &best.to_string()]);
            assert_eq!(payload(&block), proof);
        }
        let Message::MerkleBlock(block) = &block else { panic!("{block:?} is not a merkleblock") };
        assert_eq!(block.as_ref().header.hash(), best);
        assert_eq!(block.as_ref().tx_count as usize, txids.len());
        let matches = block.as_ref().matches().expect("the tree hashes to the header's Merkle root");
        let expected: Vec<_> = chosen.iter().map(|&index| (index as u32, txids[index])).collect();
        assert_eq!(matches.iter().map(|found| (found.index, found.txid)).collect::<Vec<_>>(), expected);
        for &index in &chosen {
            let txid = chain.receive("matching transaction", |message| match message {
                Message::Tx(tx) => Some(tx.as_ref().txid()),
                _ => None,
            });
            assert_eq!(txid, txids[index]);
        }
    }
    chain.assert_in_good_standing();
}

#[test]
fn an_enriched_header_has_the_transaction_count_and_proves_the_coinbase() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    let find = |message: &Message| match message {
        Message::HdrsEn(headers) => Some(headers.clone()),
        _ => None,
    };
    let locator = chain.locator();
    chain.say(Message::GetHdrsEn(locator));
    let all = chain.receive("enriched headers", find);
    assert_eq!(all.as_ref().len(), MATURITY + 5);
    let plain = chain.headers();
    assert!(all.as_ref().iter().map(|item| item.header).eq(plain));

    let last = all.as_ref().iter().last().expect("there are headers");
    assert_eq!((last.header.hash(), last.tx_count), (chain.best_block(), 5));
    for item in all.as_ref().iter() {
        assert_eq!(item.no_more_headers, item == last);
        let coinbase = item.coinbase.expect("the item has the coinbase");
        assert!(coinbase.tx.is_coinbase());
        assert!(coinbase.is_proven_by(&item.header), "{coinbase:?}");
        assert_eq!(coinbase.proof.target, ProofTarget::BlockHash(item.header.hash()));
        assert_eq!(coinbase.proof.subject, ProofSubject::Txid(coinbase.tx.txid()));
        assert_eq!(coinbase.proof.nodes().len() as u64, u64::from(item.tx_count > 1) * 3);
        assert_eq!(item.miner_info, None);
    }
    assert_eq!(last.coinbase.map(|coinbase| coinbase.tx.txid()), chain.txids(chain.best_block()).first().copied());
    chain.assert_in_good_standing();
}

#[test]
fn waiting_transactions_are_listed_and_sent_but_unknown_transactions_are_not_found() {
    let options = ["-peerbloomfilters=1", "-rejectmempoolrequest=0"];
    let Some(mut chain) = Chain::start_with(&options) else { return };
    let mut waiting = chain.pay(3);
    waiting.sort_unstable();
    chain.reconnect();
    chain.say(Message::Mempool(Mempool { age_secs: None }));
    let listed = |message: &Message| match message {
        Message::Inv(inventory) => {
            let mut items: Vec<_> = inventory.as_ref().iter().collect();
            items.sort_unstable();
            items.dedup();
            Some(items)
        }
        _ => None,
    };
    let expected: Vec<_> = waiting.iter().copied().map(InventoryItem::tx).collect();
    chain.receive("inv of all waiting transactions", |message| listed(message).filter(|items| *items == expected));

    for txid in waiting {
        chain.ask_for(InventoryKind::TX, txid);
        let tx = chain.receive("transaction", |message| match message {
            Message::Tx(tx) => Some(tx.clone()),
            _ => None,
        });
        assert_eq!(tx.as_ref().txid(), txid);
        assert_eq!(tx.as_ref().encoded(), chain.bytes(&["getrawtransaction", &txid.to_string()]));
    }

    let unknown = Hash256::from_bytes([0x11; 32]);
    for kind in [InventoryKind::TX, InventoryKind::DATAREF_TX] {
        chain.ask_for(kind, unknown);
        let items: Vec<_> = chain.receive("notfound", |message| match message {
            Message::NotFound(inventory) => Some(inventory.as_ref().iter().collect()),
            _ => None,
        });
        assert_eq!(items, [InventoryItem { kind, hash: unknown }]);
    }
    chain.assert_in_good_standing();
}

#[test]
fn a_node_announces_its_own_address() {
    let Some(node) = Node::start_with(&["-externalip=44.55.66.77"]) else { return };
    // A node whose newest block is old does not announce its address.
    node.cli(&["generate", "1"]);
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    let entries: Vec<_> = observer.receive("addr", peer, |message| match message {
        Message::Addr(addresses) => Some(addresses.as_ref().iter().collect()),
        _ => None,
    });
    let [entry] = entries[..] else { panic!("{entries:?} is not one entry") };
    assert_eq!(entry.address.to_socket(), ([44, 55, 66, 77], node.address().port()).into());
    let clock = observer.ask(|ctx| ctx.unix_time());
    assert!(clock.as_secs().abs_diff(i64::from(entry.time)) < 100, "{} is not close to {clock:?}", entry.time);
}
