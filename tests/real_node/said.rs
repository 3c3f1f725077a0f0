//! The node receives every message that we can send, except the messages that the engine sends by itself and those with
//! tests of their own. The node must count every byte, reject no message and keep our ban score at 0. It must act on
//! transactions, blocks and double spends.

use crate::mined::{Chain, payload};
use crate::observer::Happened;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    AddressEntry, Addresses, AuthChallenge, Block, BlockHeader, BlockTxn, BloomFilter, CompactBlock, DoubleSpend,
    EnrichedHeaderRef, EnrichedHeaders, FeeFilter, FilterAdd, GetBlockTxn, Hash256, Headers, Inventory, InventoryItem,
    Mempool, MerkleBlock, MerkleFrontier, MerkleProof, Message, NetAddress, ProofSubject, ProofTarget, ProvenTx,
    Reject, RejectCode, SendCmpct, Tx, TxInRef, TxOutRef,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Commands that the engine sends by itself.
const BY_THE_ENGINE: [CommandName; 6] = [
    CommandName::VERSION,
    CommandName::VERACK,
    CommandName::PROTOCONF,
    CommandName::SENDHEADERS,
    CommandName::PING,
    CommandName::PONG,
];
/// Commands that have tests of their own.
const ELSEWHERE: [CommandName; 4] =
    [CommandName::AUTHRESP, CommandName::REVOKEMID, CommandName::CREATESTRM, CommandName::STREAMACK];
const HEADER_BYTES: usize = 24;
/// Maximum number of polls. Each poll runs `bitcoin-cli`, so all of them together last many seconds.
const MAX_POLLS: usize = 2_000;

/// A node and its only peer, with the number of bytes that the test sent for each command.
struct Session {
    chain: Chain,
    said_bytes: BTreeMap<String, usize>,
}

impl Session {
    fn start() -> Option<Self> {
        let options = ["-peerbloomfilters=1", "-rejectmempoolrequest=0", "-debug=net"];
        Chain::start_with(&options).map(|chain| Self { chain, said_bytes: BTreeMap::new() })
    }

    /// Sends `message`, and waits until the node has answered a later ping. Asserts that the node has sent no `reject`
    /// and has not closed the connection.
    fn say(&mut self, message: Message) {
        let command = message.as_ref().command();
        *self.said_bytes.entry(command.to_string()).or_default() += HEADER_BYTES + payload(&message).len();
        self.chain.observer.say(self.chain.peer, message);
        self.chain.observer.settle(self.chain.peer);
        let rejected = self
            .chain
            .observer
            .happened(self.chain.peer)
            .into_iter()
            .find(|happened| matches!(happened, Happened::Rejected(_) | Happened::Closed { .. }));
        assert_eq!(rejected, None, "the node rejected {command} or closed the connection");
    }

    /// Asserts that every byte arrived and that the node found no fault, and returns the commands that were sent.
    fn assert_all_was_accepted(self) -> BTreeSet<String> {
        let seen = self.chain.node.peer_once(|_| true);
        let counted = &seen["bytesrecv_per_msg"];
        for (command, bytes) in &self.said_bytes {
            assert_eq!(counted[command], json!(bytes), "{command}: {counted:#}");
        }
        assert_eq!(seen["banscore"], json!(0), "{seen:#}");
        assert_eq!(self.chain.node.json(&["listbanned"]), json!([]));
        let log = self.chain.node.log_once_it_says("Added connection peer=0");
        for complaint in ["Exception", "FAILED", "isbehaving"] {
            assert!(!log.contains(complaint), "{complaint}: {log}");
        }
        self.said_bytes.into_keys().collect()
    }

    /// Returns the header, with proof of work, of a block that has these transactions and follows the best block.
    fn mined_header(&self, transactions: &[Tx]) -> BlockHeader {
        let best = self.chain.best_block();
        let parent = self.chain.bytes(&["getblockheader", &best.to_string(), "false"]);
        let parent = BlockHeader::decode(parent.as_slice().try_into().expect("the header has 80 bytes"));
        let tree: MerkleFrontier = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
        let merkle_root = tree.root().expect("there is a transaction");
        let header = BlockHeader { prev_hash: best, merkle_root, time: parent.time + 1, ..parent };
        let has_work = |header: &BlockHeader| header.hash().as_bytes()[31] < 0x7f;
        (0..=u32::MAX).map(|nonce| BlockHeader { nonce, ..header }).find(has_work).expect("half of all nonces suffice")
    }

    /// Returns the coinbase of a block that follows the best block. `mark` distinguishes coinbases of the same
    /// height.
    fn coinbase(&self, mark: u8) -> Tx {
        let height: u8 = self.chain.node.cli(&["getblockcount"]).parse().expect("the height is small");
        let script = [1, height + 1, 1, mark];
        let input = TxInRef { prev_txid: Hash256::ZERO, prev_index: u32::MAX, script: &script, sequence: u32::MAX };
        Tx::from_parts(1, &[input], &[TxOutRef { value: 5_000_000_000, script: &[0x51] }], 0)
    }

    fn assert_best(&self, header: &BlockHeader) {
        let hash = header.hash();
        assert!((0..MAX_POLLS).any(|_| self.chain.best_block() == hash), "{hash} did not become the best block");
    }

    fn mempool(&self) -> Value {
        self.chain.node.json(&["getrawmempool"])
    }
}

fn tx_proof(transactions: &[Tx], index: usize, target: ProofTarget) -> MerkleProof {
    let txids: Vec<Hash256> = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
    let nodes = MerkleProof::branch(&txids, index).expect("the leaf exists");
    MerkleProof::from_parts(index as u64, ProofSubject::Tx(transactions[index].clone()), target, nodes)
}

/// Returns requests, preferences and announcements, which do not change the node's chain or mempool.
fn small_talk(session: &mut Session) -> Vec<Message> {
    let chain = &mut session.chain;
    let best = chain.best_block();
    let headers = chain.headers();
    let now = u32::try_from(chain.observer.ask(|ctx| ctx.unix_time()).as_secs()).expect("the time fits in 32 bits");
    let address = NetAddress::from_socket(0x21, ([44, 55, 66, 77], 8_333).into());
    let unknown = InventoryItem::tx(Hash256::from_bytes([0x11; 32]));
    let mut filter = BloomFilter::new(10, 0.001, 7, BloomFilter::UPDATE_ALL);
    filter.insert(b"something");
    vec![
        Message::SendHdrsEn,
        Message::SendCmpct(SendCmpct { announce: true, version: SendCmpct::VERSION }),
        Message::FeeFilter(FeeFilter { satoshis_per_1000_bytes: 500 }),
        Message::GetAddr,
        Message::AuthCh(AuthChallenge { challenge: [0x42; 32] }),
        Message::Addr(Addresses::from_entries([AddressEntry { time: now, address }])),
        Message::Inv(Inventory::from_items([unknown, InventoryItem::block(best)])),
        Message::GetData(Inventory::from_items([InventoryItem::block(best), unknown])),
        Message::NotFound(Inventory::from_items([unknown])),
        Message::GetBlocks(chain.locator()),
        Message::GetHdrsEn(chain.locator()),
        Message::Headers(Headers::from_headers(headers.iter().copied())),
        Message::GetBlockTxn(GetBlockTxn::from_indexes(best, [0, 2, 4])),
        Message::FilterLoad(filter),
        Message::FilterAdd(FilterAdd { element: vec![7; 520].into() }),
        Message::FilterClear,
        Message::Mempool(Mempool { age_secs: None }),
        Message::Reject(Reject {
            message: b"tx".as_slice().into(),
            code: RejectCode::TOO_BUSY,
            reason: b"later".as_slice().into(),
            hash: Some([7; 32]),
        }),
    ]
}

/// Returns messages that a node sends but ignores when it receives them.
fn unheeded(session: &Session) -> Vec<Message> {
    let transactions = [session.coinbase(1), session.chain.unsent_tx(0, "0.001")];
    let header = session.mined_header(&transactions);
    let txids: Vec<Hash256> = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
    let proof = tx_proof(&transactions, 1, ProofTarget::BlockHash(header.hash()));
    let proven = ProvenTx { tx: transactions[1].clone(), proof };
    let item = EnrichedHeaderRef {
        header,
        tx_count: 2,
        no_more_headers: true,
        coinbase: Some(proven.as_ref()),
        miner_info: None,
    };
    vec![
        Message::MerkleBlock(MerkleBlock::from_txids(header, &txids, |index| index == 1)),
        Message::HdrsEn(EnrichedHeaders::from_headers([item])),
        Message::DataRefTx(Box::new(proven)),
    ]
}

#[test]
fn every_message_is_accepted_and_none_is_punished() {
    let Some(mut session) = Session::start() else { return };
    // `small_talk` sends a second `getheaders` without recording it, so the recorded bytes are doubled below.
    let locator = session.chain.locator();
    session.say(Message::GetHeaders(locator));
    let small_talk = small_talk(&mut session);
    *session.said_bytes.get_mut("getheaders").expect("the message was recorded") *= 2;
    small_talk.into_iter().for_each(|message| session.say(message));
    unheeded(&session).into_iter().for_each(|message| session.say(message));

    say_transactions_and_blocks(&mut session);
    say_a_double_spend(&mut session);

    let said = session.assert_all_was_accepted();
    let all: BTreeSet<String> = CommandName::ALL.iter().map(CommandName::to_string).collect();
    let unsaid: BTreeSet<String> = all.difference(&said).cloned().collect();
    let elsewhere = BY_THE_ENGINE.iter().chain(&ELSEWHERE).chain(&[CommandName::EXTMSG]);
    assert_eq!(unsaid, elsewhere.map(CommandName::to_string).collect(), "the unsent commands are not the listed ones");
}

/// Sends a transaction that the node keeps, and three blocks, each in a different way. The node must accept each
/// block as its best one.
fn say_transactions_and_blocks(session: &mut Session) {
    let waiting = session.chain.unsent_tx(0, "0.001");
    session.say(Message::Tx(waiting.clone()));
    let kept = json!([waiting.as_ref().txid().to_string()]);
    // The node may answer a later message before it has checked the transaction.
    assert!((0..MAX_POLLS).any(|_| session.mempool() == kept), "the node did not keep {kept}");

    let whole = [session.coinbase(2)];
    let header = session.mined_header(&whole);
    session.say(Message::Block(Block::from_parts(header, whole.iter().map(Tx::as_ref))));
    session.assert_best(&header);

    let known = [session.coinbase(3), waiting];
    let header = session.mined_header(&known);
    let compact = CompactBlock::from_transactions(header, 0x5eed, known.iter().map(Tx::as_ref), |index| index == 0);
    session.say(Message::CmpctBlock(compact));
    session.assert_best(&header);
    assert_eq!(session.mempool(), json!([]), "a transaction of an accepted block is still in the mempool");

    let unknown = [session.coinbase(4), session.chain.unsent_tx(0, "0.001"), session.chain.unsent_tx(1, "0.001")];
    let header = session.mined_header(&unknown);
    let compact = CompactBlock::from_transactions(header, 0x5eed, unknown.iter().map(Tx::as_ref), |index| index == 0);
    session.say(Message::CmpctBlock(compact));
    let indexes: Vec<u32> = session.chain.receive("request for the missing transactions", |message| match message {
        Message::GetBlockTxn(request) if request.as_ref().block_hash == header.hash() => {
            Some(request.as_ref().indexes().collect())
        }
        _ => None,
    });
    assert_eq!(indexes, [1, 2]);
    session.say(Message::BlockTxn(BlockTxn::from_transactions(header.hash(), unknown[1..].iter().map(Tx::as_ref))));
    session.assert_best(&header);
}

/// Sends a proof of a double spend: two branches after the best block, each with a transaction that spends the same
/// output.
fn say_a_double_spend(session: &mut Session) {
    let fork = |session: &Session, mark: u8, fee: &str| {
        let transactions = [session.coinbase(mark), session.chain.unsent_tx(0, fee)];
        let header = session.mined_header(&transactions);
        (header, tx_proof(&transactions, 1, ProofTarget::MerkleRoot(header.merkle_root)))
    };
    let forks = [fork(session, 5, "0.001"), fork(session, 6, "0.002")];
    let message =
        DoubleSpend::from_forks(forks.iter().map(|(header, proof)| (std::slice::from_ref(header), proof.as_ref())))
            .expect("the proofs are of the right kind");
    assert_eq!(message.as_ref().validate(), Ok(()));
    session.say(Message::DsDetected(message));
    session.chain.node.log_once_it_says("Valid double-spend detected message from peer=0");
}
