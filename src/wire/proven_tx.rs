//! `datareftx`: a transaction and the proof that it is in a block.
//!
//! `hdrsen` contains the same pair for the coinbase. Decoding either message checks no proof. A caller that has the
//! header checks it with [`ProvenTxRef::is_proven_by`].

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
    /// As [`TxRef::read`] and [`MerkleProofRef::read`].
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
