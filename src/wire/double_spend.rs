//! `dsdetected`: two or more chain branches, each with a transaction and its proof. Each transaction spends an output
//! that another branch spends too.
//!
//! Decoding checks the form. [`DoubleSpendRef::validate`] checks everything that the message alone can show. Only a
//! node with the chain can check the branches' work and whether they fork from a known block.

use super::codec::{Reader, put_items};
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::list::{Item, Items, List, ListRef};
use super::merkle::{MerkleProofRef, ProofSubject, ProofTarget};
use super::transaction::TxRef;
use crate::error::WireError;
use crate::protocol::CommandName;
use std::fmt;

/// A borrowed `dsdetected` message (SV Node 1.2.2, double_spend/dsdetected_message.h DSDetected).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubleSpendRef<'a> {
    forks: ListRef<'a, ForkRef<'static>>,
}

/// An owned `dsdetected` message.
///
/// ```
/// use peerloop::wire::{BlockHeader, DoubleSpend, Hash256, MerkleProof, ProofSubject, ProofTarget, Tx, TxInRef};
///
/// // Two blocks with the same parent; the second transaction of each spends the same output.
/// let (coinbase, prev_txid) = (Hash256::of(b"coinbase"), Hash256::of(b"spent twice"));
/// let branches = [1, 2].map(|locktime| {
///     let input = TxInRef { prev_txid, prev_index: 0, script: &[], sequence: 0 };
///     let tx = Tx::from_parts(1, &[input], &[], locktime);
///     let merkle_root = Hash256::of(&[coinbase.to_bytes(), tx.as_ref().txid().to_bytes()].concat());
///     let header = BlockHeader { merkle_root, ..BlockHeader::decode(&[0; 80]) };
///     let (subject, target) = (ProofSubject::Tx(tx), ProofTarget::MerkleRoot(merkle_root));
///     ([header], MerkleProof::from_parts(1, subject, target, [coinbase]))
/// });
/// let forks = branches.iter().map(|(headers, proof)| (&headers[..], proof.as_ref()));
/// let message = DoubleSpend::from_forks(forks).expect("each branch has its proof");
/// assert_eq!(message.as_ref().validate(), Ok(()));
/// let lengths: Vec<usize> = message.as_ref().forks().map(|fork| fork.headers().len()).collect();
/// assert_eq!(lengths, [1, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleSpend {
    forks: List<ForkRef<'static>>,
}

/// A branch of the chain, with a transaction. The sender claims that the transaction spends an output that a
/// transaction of another branch spends too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkRef<'a> {
    /// The transaction.
    pub tx: TxRef<'a>,
    /// The proof that the transaction is in the block of the branch's first header.
    pub proof: MerkleProofRef<'a>,
    headers: &'a [[u8; BlockHeader::LEN_BYTES]],
}

/// The branches of a `dsdetected`, read one by one.
pub type Forks<'a> = Items<'a, ForkRef<'static>>;

/// A fault in a well-formed `dsdetected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubleSpendFault {
    /// A branch has no headers, or one of its headers does not name the next header as its parent.
    NoChain,
    /// A proof does not match the first header of its branch.
    NotProven,
    /// The branches do not fork from the same block.
    NoCommonAncestor,
    /// Two branches have the same transaction.
    SameTransaction,
    /// A transaction spends no output that another branch spends too.
    NoDoubleSpend,
}

impl<'a> DoubleSpendRef<'a> {
    /// The only version of the message.
    const VERSION: u16 = 1;

    /// Reads the payload of a `dsdetected` and finds the end of each branch.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] if the version is not 1, if there are fewer than two branches, or if a proof has no
    /// whole transaction, is for a coinbase, or has no root. All other errors are those of
    /// [`ProvenTxRef::decode`](super::ProvenTxRef::decode).
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::DSDETECTED, payload);
        if reader.u16()? != Self::VERSION {
            return Err(reader.bad_value());
        }
        let len = reader.count(ForkRef::MIN_BYTES)?;
        if len < 2 {
            return Err(reader.bad_value());
        }
        Ok(Self { forks: ListRef::walk(&mut reader, len)? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::VERSION.to_le_bytes());
        self.forks.encode(out);
    }

    /// Returns the branches.
    pub const fn forks(&self) -> Forks<'a> {
        self.forks.iter()
    }

    /// Checks everything that the message alone can show (SV Node 1.2.2, double_spend/dsdetected_message.cpp
    /// IsValid). Allocates 40 bytes per input and 33 per branch, which is less than the message's size.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn validate(&self) -> Result<(), DoubleSpendFault> {
        self.forks().try_for_each(|fork| fork.validate())?;
        let mut ancestors = self.forks().map(|fork| fork.ancestor());
        let first = ancestors.next();
        if ancestors.any(|ancestor| Some(ancestor) != first) {
            return Err(DoubleSpendFault::NoCommonAncestor);
        }
        let mut txids: Vec<Hash256> = self.forks().map(|fork| fork.tx.txid()).collect();
        txids.sort_unstable();
        if txids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DoubleSpendFault::SameTransaction);
        }
        if self.all_spend_twice() { Ok(()) } else { Err(DoubleSpendFault::NoDoubleSpend) }
    }

    /// Returns whether each branch spends an output that another branch spends too.
    fn all_spend_twice(&self) -> bool {
        let outpoints = |(index, fork): (usize, ForkRef<'a>)| {
            fork.tx.inputs().map(move |input| (input.prev_txid, input.prev_index, index as u32))
        };
        let mut spent = Vec::with_capacity(self.forks().map(|fork| fork.tx.inputs().len()).sum());
        spent.extend(self.forks().enumerate().flat_map(outpoints));
        spent.sort_unstable();
        let mut is_double = vec![false; self.forks.len()];
        for same in spent.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            // One output's entries are sorted by branch. If only one branch spends the output, however often, the
            // first and the last entry name the same branch.
            if same.first().map(|first| first.2) != same.last().map(|last| last.2) {
                same.iter().for_each(|&(_, _, index)| is_double[index as usize] = true);
            }
        }
        !is_double.contains(&false)
    }

    /// Returns the owned message, with a copy of the branches.
    pub fn into_owned(self) -> DoubleSpend {
        DoubleSpend { forks: self.forks.into_owned() }
    }
}

impl DoubleSpend {
    /// Returns the message with these branches. Each branch consists of its headers and its proof. The first header
    /// is that of the transaction's block, and the last is that of the common ancestor's child. Returns `None` for a
    /// message that [`DoubleSpendRef::decode`] would reject.
    pub fn from_forks<'a>(forks: impl IntoIterator<Item = (&'a [BlockHeader], MerkleProofRef<'a>)>) -> Option<Self> {
        let mut is_proven = true;
        let forks = List::of(forks, |(headers, proof), out| {
            let headers: Vec<_> = headers.iter().map(BlockHeader::encode).collect();
            put_items(&headers, out);
            proof.encode(out);
            is_proven &= ForkRef::proven_tx(&proof).is_some();
        });
        (is_proven && forks.as_ref().len() >= 2).then_some(Self { forks })
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> DoubleSpendRef<'_> {
        DoubleSpendRef { forks: self.forks.as_ref() }
    }
}

impl Item for ForkRef<'_> {
    type Read<'a> = ForkRef<'a>;
    type State = ();

    /// The length in bytes of the shortest branch: no headers, and the shortest proof.
    const MIN_BYTES: usize = 1 + MerkleProofRef::MIN_BYTES;
    const COMMAND: CommandName = CommandName::DSDETECTED;
    const START: () = ();

    fn read<'a>(reader: &mut Reader<'a>, (): &mut ()) -> Result<ForkRef<'a>, WireError> {
        let headers = reader.items()?;
        let proof = MerkleProofRef::read(reader)?;
        let tx = ForkRef::proven_tx(&proof).ok_or_else(|| reader.bad_value())?;
        Ok(ForkRef { tx, proof, headers })
    }
}

impl<'a> ForkRef<'a> {
    /// Returns a proof's transaction, or `None` if the proof does not meet the message's requirements.
    fn proven_tx(proof: &MerkleProofRef<'a>) -> Option<TxRef<'a>> {
        match (proof.subject, proof.target) {
            (ProofSubject::Tx(tx), ProofTarget::MerkleRoot(_)) if proof.index != 0 => Some(tx),
            (ProofSubject::Tx(_) | ProofSubject::Txid(_), ProofTarget::MerkleRoot(_) | ProofTarget::BlockHash(_)) => {
                None
            }
        }
    }

    /// Returns the headers, from the transaction's block back to the common ancestor's child.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = BlockHeader> + ExactSizeIterator + use<'a> {
        self.headers.iter().map(BlockHeader::decode)
    }

    /// Returns the hash of the block from which the branch forks, or `None` if the branch has no headers.
    fn ancestor(&self) -> Option<Hash256> {
        self.headers().next_back().map(|header| header.prev_hash)
    }

    /// Checks the branch. Headers linked by their hashes cannot repeat, so repetition is not checked.
    fn validate(&self) -> Result<(), DoubleSpendFault> {
        let first = self.headers().next().ok_or(DoubleSpendFault::NoChain)?;
        let mut parents = self.headers().skip(1);
        if self.headers().zip(parents.by_ref()).any(|(header, parent)| header.prev_hash != parent.hash()) {
            return Err(DoubleSpendFault::NoChain);
        }
        if self.proof.proves(&first) { Ok(()) } else { Err(DoubleSpendFault::NotProven) }
    }
}

impl fmt::Display for DoubleSpendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoChain => "the headers of a branch do not form a chain",
            Self::NotProven => "a proof does not match its header",
            Self::NoCommonAncestor => "the branches do not fork from the same block",
            Self::SameTransaction => "two branches have the same transaction",
            Self::NoDoubleSpend => "a transaction spends no output that another branch spends too",
        })
    }
}

impl std::error::Error for DoubleSpendFault {}
