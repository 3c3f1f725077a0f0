//! A chain that the node mines, and what it tells of it in every form it has, judged by what it says over RPC.

use crate::node::Node;
use crate::observer::{Observer, config};
use peerloop::PeerId;
use peerloop::wire::{
    BlockHeader, BlockRef, BloomFilter, GetBlockTxn, Hash256, Inventory, InventoryItem, InventoryKind, Locator,
    Mempool, MerkleVerdict, Message, ProofSubject, ProofTarget, SendCmpct,
};
use serde_json::Value;

/// A coinbase may be spent behind so many blocks.
const MATURITY: usize = 100;

/// A node with a chain whose last block has transactions beside the coinbase.
struct Chain {
    node: Node,
    observer: Observer,
    peer: PeerId,
    address: String,
}

impl Chain {
    fn start_with(options: &[&str]) -> Option<Self> {
        let node = Node::start_with(options)?;
        node.cli(&["generate", &(MATURITY + 4).to_string()]);
        let address = node.cli(&["getnewaddress"]);
        let mut observer = Observer::new(config());
        let peer = observer.ready(node.address());
        let mut chain = Self { node, observer, peer, address };
        chain.pay(4);
        chain.mine();
        Some(chain)
    }

    /// Makes transactions, which the node keeps until it mines, and returns their ids.
    fn pay(&mut self, count: usize) -> Vec<Hash256> {
        (0..count).map(|_| hash(&self.node.cli(&["sendtoaddress", &self.address, "1"]))).collect()
    }

    /// Mines a block of all that waits and returns its hash.
    fn mine(&mut self) -> Hash256 {
        hash(self.node.json(&["generatetoaddress", "1", &self.address])[0].as_str().expect("it is a hash"))
    }

    fn best_block(&self) -> Hash256 {
        hash(&self.node.cli(&["getbestblockhash"]))
    }

    /// The ids of all transactions of a block, as RPC has them.
    fn txids(&self, block: Hash256) -> Vec<Hash256> {
        let block = self.node.json(&["getblock", &block.to_string()]);
        let txids = block["tx"].as_array().expect("it has transactions");
        txids.iter().map(|txid| hash(txid.as_str().expect("it is a hash"))).collect()
    }

    /// What RPC prints as hexadecimal.
    fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let text = self.node.cli(arguments);
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
    }

    fn say(&mut self, message: Message) {
        self.observer.say(self.peer, message);
    }

    fn ask_for(&mut self, kind: InventoryKind, hash: Hash256) {
        self.say(Message::GetData(Inventory::from_items([InventoryItem { kind, hash }])));
    }

    fn hear<T>(&mut self, what: &str, find: impl Fn(&Message) -> Option<T>) -> T {
        self.observer.hear(what, self.peer, find)
    }

    /// Asks for all headers, behind which the node knows that we have these blocks.
    fn headers(&mut self) -> Vec<BlockHeader> {
        self.say(Message::GetHeaders(self.locator()));
        self.hear("headers", |message| match message {
            Message::Headers(headers) => Some(headers.as_ref().iter().map(|listed| listed.header).collect()),
            _ => None,
        })
    }

    fn locator(&self) -> Locator {
        Locator::from_hashes(70_016, [hash(&self.node.cli(&["getblockhash", "0"]))], Hash256::ZERO)
    }

    /// Holds that nothing we said offended the node.
    fn assert_in_good_standing(mut self) {
        self.observer.settle(self.peer);
        let seen = self.node.peer_once(|_| true);
        assert_eq!(seen["banscore"], Value::from(0), "{seen}");
    }
}

fn hash(text: &str) -> Hash256 {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn payload(message: &Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message.as_ref().encode_payload(&mut payload);
    payload
}

fn txids_of(block: &BlockRef<'_>) -> Vec<Hash256> {
    block.transactions.iter().map(|tx| tx.expect("it was walked").txid()).collect()
}

#[test]
fn its_headers_are_linked_and_its_blocks_are_whole() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    let best = chain.best_block();
    let headers = chain.headers();
    assert_eq!(headers.len(), MATURITY + 5);
    let mut previous = hash(&chain.node.cli(&["getblockhash", "0"]));
    for header in &headers {
        assert_eq!(header.prev_hash, previous);
        previous = header.hash();
    }
    assert_eq!(previous, best);

    chain.ask_for(InventoryKind::BLOCK, best);
    let block = chain.hear("block", |message| matches!(message, Message::Block(_)).then(|| message.clone()));
    assert_eq!(payload(&block), chain.bytes(&["getblock", &best.to_string(), "0"]));
    let Message::Block(block) = &block else { panic!("{block:?} is no block") };
    assert_eq!(block.as_ref().hash(), best);
    assert_eq!(block.as_ref().header, headers[headers.len() - 1]);
    let txids = txids_of(&block.as_ref());
    assert_eq!(txids.len(), 5, "a coinbase and four payments");
    assert_eq!(txids, chain.txids(best));
    let tree = block.as_ref().merkle_tree().expect("it was walked");
    assert_eq!(tree.verdict(block.as_ref().header.merkle_root), MerkleVerdict::Valid);

    chain.say(Message::GetBlocks(chain.locator()));
    let items: Vec<InventoryItem> = chain.hear("inv of blocks", |message| match message {
        Message::Inv(inventory) => Some(inventory.as_ref().iter().collect()),
        _ => None,
    });
    let expected: Vec<_> = headers.iter().map(|header| InventoryItem::block(header.hash())).collect();
    assert_eq!(items, expected);
    chain.assert_in_good_standing();
}

#[test]
fn a_compact_block_names_the_transactions_and_the_rest_is_had_by_asking() {
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
    let announced = chain.hear("compact block that is announced", find_compact);
    chain.ask_for(InventoryKind::COMPACT_BLOCK, mined);
    let asked_for = chain.hear("compact block that is asked for", find_compact);

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
    let answer = chain.hear("transactions of the block", |message| match message {
        Message::BlockTxn(answer) => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(answer.as_ref().block_hash, mined);
    let got: Vec<_> = answer.as_ref().transactions.iter().map(|tx| tx.expect("it was walked").txid()).collect();
    assert_eq!(got, [txids[1], txids[3], txids[4]]);
    chain.assert_in_good_standing();
}

#[test]
fn a_merkleblock_proves_what_the_filter_matches_and_nothing_else() {
    let Some(mut chain) = Chain::start_with(&["-peerbloomfilters=1"]) else { return };
    let best = chain.best_block();
    let txids = chain.txids(best);
    for chosen in [vec![1], vec![0, 4], vec![0, 1, 2, 3, 4], vec![]] {
        // So few false positives that there is none among five.
        let mut filter = BloomFilter::new(10, 1e-9, 0x5eed, BloomFilter::UPDATE_NONE);
        chosen.iter().for_each(|&index: &usize| filter.insert(txids[index].as_bytes()));
        chain.say(Message::FilterLoad(filter));
        chain.ask_for(InventoryKind::FILTERED_BLOCK, best);
        let block =
            chain.hear("merkleblock", |message| matches!(message, Message::MerkleBlock(_)).then(|| message.clone()));
        if !chosen.is_empty() {
            let wanted: Vec<_> = chosen.iter().map(|&index| format!("\"{}\"", txids[index])).collect();
            let proof = chain.bytes(&["gettxoutproof", &format!("[{}]", wanted.join(",")), &best.to_string()]);
            assert_eq!(payload(&block), proof);
        }
        let Message::MerkleBlock(block) = &block else { panic!("{block:?} is no merkleblock") };
        assert_eq!(block.as_ref().header.hash(), best);
        assert_eq!(block.as_ref().tx_count as usize, txids.len());
        let matches = block.as_ref().matches().expect("its tree leads to the root");
        let expected: Vec<_> = chosen.iter().map(|&index| (index as u32, txids[index])).collect();
        assert_eq!(matches.iter().map(|found| (found.index, found.txid)).collect::<Vec<_>>(), expected);
        for &index in &chosen {
            let txid = chain.hear("transaction that matches", |message| match message {
                Message::Tx(tx) => Some(tx.as_ref().txid()),
                _ => None,
            });
            assert_eq!(txid, txids[index]);
        }
    }
    chain.assert_in_good_standing();
}

#[test]
fn an_enriched_header_proves_the_coinbase_and_the_count() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    let find = |message: &Message| match message {
        Message::HdrsEn(headers) => Some(headers.clone()),
        _ => None,
    };
    let locator = chain.locator();
    chain.say(Message::GetHdrsEn(locator));
    let all = chain.hear("enriched headers", find);
    assert_eq!(all.as_ref().len(), MATURITY + 5);
    let plain = chain.headers();
    assert!(all.as_ref().iter().map(|item| item.header).eq(plain));

    let last = all.as_ref().iter().last().expect("there are headers");
    assert_eq!((last.header.hash(), last.tx_count), (chain.best_block(), 5));
    for item in all.as_ref().iter() {
        assert_eq!(item.no_more_headers, item == last);
        let coinbase = item.coinbase.expect("it carries the coinbase");
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
fn what_waits_is_listed_and_given_and_what_is_unknown_is_not_found() {
    let options = ["-peerbloomfilters=1", "-rejectmempoolrequest=0", "-broadcastdelay=0"];
    let Some(mut chain) = Chain::start_with(&options) else { return };
    let mut waiting = chain.pay(3);
    waiting.sort_unstable();
    chain.say(Message::Mempool(Mempool { age_secs: None }));
    let listed = |message: &Message| match message {
        Message::Inv(inventory) => {
            let mut items: Vec<_> = inventory.as_ref().iter().collect();
            items.sort_unstable();
            Some(items)
        }
        _ => None,
    };
    let expected: Vec<_> = waiting.iter().copied().map(InventoryItem::tx).collect();
    chain.hear("inv of all that waits", |message| listed(message).filter(|items| *items == expected));

    for txid in waiting {
        chain.ask_for(InventoryKind::TX, txid);
        let tx = chain.hear("transaction", |message| match message {
            Message::Tx(tx) => Some(tx.clone()),
            _ => None,
        });
        assert_eq!(tx.as_ref().txid(), txid);
        assert_eq!(tx.as_ref().encoded(), chain.bytes(&["getrawtransaction", &txid.to_string()]));
    }

    let unknown = Hash256::from_bytes([0x11; 32]);
    for kind in [InventoryKind::TX, InventoryKind::DATAREF_TX] {
        chain.ask_for(kind, unknown);
        let items: Vec<_> = chain.hear("notfound", |message| match message {
            Message::NotFound(inventory) => Some(inventory.as_ref().iter().collect()),
            _ => None,
        });
        assert_eq!(items, [InventoryItem { kind, hash: unknown }]);
    }
    chain.assert_in_good_standing();
}

#[test]
fn it_tells_its_own_address() {
    let Some(node) = Node::start_with(&["-externalip=44.55.66.77"]) else { return };
    // A node whose newest block is old has more pressing things to do.
    node.cli(&["generate", "1"]);
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    let entries: Vec<_> = observer.hear("addr", peer, |message| match message {
        Message::Addr(addresses) => Some(addresses.as_ref().iter().collect()),
        _ => None,
    });
    let [entry] = entries[..] else { panic!("{entries:?} is not one") };
    assert_eq!(entry.address.to_socket(), ([44, 55, 66, 77], node.address().port()).into());
    let clock = observer.ask(|ctx| ctx.unix_time());
    assert!(clock.as_secs().abs_diff(i64::from(entry.time)) < 100, "{} is not now, {clock:?}", entry.time);
}
