//! `datareftx`: a transaction and the proof that it is in a block.
//!
//! `hdrsen` contains such pairs for the coinbase and for the transaction with the miner's information. Decoding
//! either message checks no proof. A caller that has the header checks a proof with [`ProvenTxRef::is_proven_by`].

use super::codec::Reader;
use super::headers::BlockHeader;
use super::merkle::{MerkleProof, MerkleProofRef};
use super::transaction::{Tx, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;

/// A borrowed `datareftx` message (SV Node 1.2.2, protocol.h NetMsgType::DATAREFTX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenTxRef<'a> {
    /// The transaction.
    pub tx: TxRef<'a>,
    /// The proof. Until it is checked, it may be for another transaction.
    pub proof: MerkleProofRef<'a>,
}

/// An owned `datareftx` message.
///
/// ```
/// use peerloop::wire::{BlockHeader, MerkleProof, ProofSubject, ProofTarget, ProvenTx, ProvenTxRef, Tx};
///
/// // The id of a block's only transaction is the Merkle root, so the proof has no nodes.
/// let tx = Tx::from_parts(1, &[], &[], 7);
/// let txid = tx.as_ref().txid();
/// let header = BlockHeader { merkle_root: txid, ..BlockHeader::decode(&[0; 80]) };
/// let proof = MerkleProof::from_parts(0, ProofSubject::Txid(txid), ProofTarget::BlockHash(header.hash()), []);
/// let mut payload = Vec::new();
/// ProvenTx { tx, proof }.as_ref().encode(&mut payload);
///
/// assert!(ProvenTxRef::decode(&payload)?.is_proven_by(&header));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenTx {
    /// The transaction.
    pub tx: Tx,
    /// The proof. Until it is checked, it may be for another transaction.
    pub proof: MerkleProof,
}

impl<'a> ProvenTxRef<'a> {
    /// Reads the payload of a `datareftx`.
    ///
    /// # Errors
    ///
    /// Those of [`TxRef::decode`], also for the proof; [`WireError::BadValue`] if the proof has an unknown flag or node
    /// type, or states a wrong length for its transaction.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(CommandName::DATAREFTX, payload))
    }

    /// Reads the next transaction and proof.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self { tx: TxRef::read(reader)?, proof: MerkleProofRef::read(reader)? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.tx.encode(out);
        self.proof.encode(out);
    }

    /// Returns whether the proof is for this transaction and matches the header.
    pub fn is_proven_by(&self, header: &BlockHeader) -> bool {
        self.proof.txid() == self.tx.txid() && self.proof.proves(header)
    }

    /// Returns the owned message, with a copy of its borrowed parts.
    pub fn into_owned(self) -> ProvenTx {
        ProvenTx { tx: self.tx.into_owned(), proof: self.proof.into_owned() }
    }
}

impl ProvenTx {
    /// Borrows the message.
    pub fn as_ref(&self) -> ProvenTxRef<'_> {
        ProvenTxRef { tx: self.tx.as_ref(), proof: self.proof.as_ref() }
    }
}
