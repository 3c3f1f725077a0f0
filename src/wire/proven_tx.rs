//! `datareftx`: a transaction and the proof that it is in a block.
//!
//! The same pair carries the coinbase in `hdrsen`. Reading it checks no proof: [`ProvenTxRef::is_proven_by`] does, for
//! whoever has the header.

use super::codec::Reader;
use super::headers::BlockHeader;
use super::merkle::{MerkleProof, MerkleProofRef};
use super::transaction::{Tx, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;

/// The `datareftx` message over the payload that it was read from (SV Node 1.2.2, protocol.h
/// NetMsgType::DATAREFTX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenTxRef<'a> {
    /// The transaction.
    pub tx: TxRef<'a>,
    /// The proof, whose subject need not be that transaction before it is checked.
    pub proof: MerkleProofRef<'a>,
}

/// The `datareftx` message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenTx {
    /// The transaction.
    pub tx: Tx,
    /// The proof, whose subject need not be that transaction before it is checked.
    pub proof: MerkleProof,
}

impl<'a> ProvenTxRef<'a> {
    /// Reads the payload of a `datareftx`.
    ///
    /// # Errors
    ///
    /// As [`TxRef::read`] and [`MerkleProofRef::read`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(CommandName::DATAREFTX, payload))
    }

    /// Reads the transaction and the proof that come next.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self { tx: TxRef::read(reader)?, proof: MerkleProofRef::read(reader)? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.tx.encode(out);
        self.proof.encode(out);
    }

    /// Whether the proof is about the transaction and leads to this header.
    pub fn is_proven_by(&self, header: &BlockHeader) -> bool {
        self.proof.txid() == self.tx.txid() && self.proof.proves(header)
    }

    /// The message on its own; copies what it borrows.
    pub fn into_owned(self) -> ProvenTx {
        ProvenTx { tx: self.tx.into_owned(), proof: self.proof.into_owned() }
    }
}

impl ProvenTx {
    /// The message, borrowed.
    pub fn as_ref(&self) -> ProvenTxRef<'_> {
        ProvenTxRef { tx: self.tx.as_ref(), proof: self.proof.as_ref() }
    }
}
