//! Messages: a command with its decoded payload, and the encoding into a frame.
//!
//! A [`MessageRef`] borrows from the payload; a [`Message`] is its owned form. A message with an unknown command is
//! `Opaque` and keeps its payload unchanged. Frames are appended to the caller's buffer in one pass, without another
//! allocation. One table lists all commands: a new command needs a row in this table, a name in [`CommandName`], and
//! usually a file.

mod table;

use self::table::messages;
use super::codec::Reader;
use super::header::Header;
use super::*;
use crate::error::WireError;
use crate::limits::HEADER_LEN_BYTES;
use crate::protocol::CommandName;
use std::borrow::Cow;

messages! {
    /// `version`: describes the sender.
    VERSION Version(Cow<Version>);
    /// `verack`: accepts the `version`.
    VERACK Verack;
    /// `protoconf`: states the largest payload that the sender accepts, and its stream policies.
    PROTOCONF Protoconf(ProtoconfRef => Protoconf);
    /// `authch`: asks a miner to prove its identity.
    AUTHCH AuthCh(AuthChallenge);
    /// `authresp`: answers an `authch`.
    AUTHRESP AuthResp(AuthResponseRef => AuthResponse);
    /// `createstrm`: adds the connection to a peer that is already connected.
    CREATESTRM CreateStrm(CreateStreamRef => CreateStream);
    /// `streamack`: accepts a `createstrm`.
    STREAMACK StreamAck(StreamAck);
    /// `sendheaders`: requests that blocks be announced by their headers.
    SENDHEADERS SendHeaders;
    /// `sendhdrsen`: requests that blocks be announced by enriched headers. An SV Node ignores this request from a peer
    /// that has sent `sendheaders` (observed with 1.0.13). A loop sends `sendheaders` to every peer that understands
    /// it.
    SENDHDRSEN SendHdrsEn;
    /// `sendcmpct`: states that the sender understands compact blocks.
    SENDCMPCT SendCmpct(SendCmpct);
    /// `feefilter`: states the lowest fee rate at which a transaction should be announced.
    FEEFILTER FeeFilter(FeeFilter);
    /// `ping`: requests a `pong`.
    PING Ping {
        /// The number that the `pong` repeats.
        nonce
    };
    /// `pong`: answers a `ping`.
    PONG Pong {
        /// The number of the `ping`.
        nonce
    };
    /// `getaddr`: requests an `addr`.
    GETADDR GetAddr;
    /// `addr`: lists addresses of other nodes.
    ADDR Addr(AddressesRef => Addresses);
    /// `inv`: lists the items that the sender has.
    INV Inv(InventoryRef[..] => Inventory);
    /// `getdata`: lists the items that the sender requests.
    GETDATA GetData(InventoryRef[..] => Inventory);
    /// `notfound`: lists the requested items that the sender does not have.
    NOTFOUND NotFound(InventoryRef[..] => Inventory);
    /// `getblocks`: requests an `inv` of the blocks after a locator.
    GETBLOCKS GetBlocks(LocatorRef[..] => Locator);
    /// `getheaders`: requests the `headers` after a locator.
    GETHEADERS GetHeaders(LocatorRef[..] => Locator);
    /// `headers`: lists the headers of a chain, or announces a block by its header.
    HEADERS Headers(HeadersRef => Headers);
    /// `gethdrsen`: requests the `hdrsen` after a locator.
    GETHDRSEN GetHdrsEn(LocatorRef[..] => Locator);
    /// `hdrsen`: lists headers, each with data about its block.
    HDRSEN HdrsEn(EnrichedHeadersRef => EnrichedHeaders);
    /// `tx`: a transaction.
    TX Tx(TxRef => Tx);
    /// `block`: a block.
    BLOCK Block(BlockRef => Block);
    /// `merkleblock`: the part of a block that matches a filter.
    MERKLEBLOCK MerkleBlock(MerkleBlockRef => MerkleBlock);
    /// `cmpctblock`: a block for a receiver that has most of its transactions.
    CMPCTBLOCK CmpctBlock(CompactBlockRef => CompactBlock);
    /// `getblocktxn`: requests transactions of a `cmpctblock`.
    GETBLOCKTXN GetBlockTxn(GetBlockTxnRef => GetBlockTxn);
    /// `blocktxn`: answers a `getblocktxn`.
    BLOCKTXN BlockTxn(BlockTxnRef => BlockTxn);
    /// `mempool`: requests an `inv` of unconfirmed transactions.
    MEMPOOL Mempool(Mempool);
    /// `filterload`: sets a filter, and requests only transactions that match it.
    FILTERLOAD FilterLoad(FilterLoadRef => BloomFilter);
    /// `filteradd`: adds an element to the filter.
    FILTERADD FilterAdd(FilterAddRef => FilterAdd);
    /// `filterclear`: removes the filter, so that all later transactions are announced.
    FILTERCLEAR FilterClear;
    /// `reject`: reports that the sender rejected a message.
    REJECT Reject(RejectRef => Reject);
    /// `dsdetected`: reports chain branches that spend the same output.
    DSDETECTED DsDetected(DoubleSpendRef => DoubleSpend);
    /// `revokemid`: revokes a miner's id.
    REVOKEMID RevokeMid(RevokeMidRef => Box<RevokeMid>);
    /// `datareftx`: a transaction and the proof that it is in a block.
    DATAREFTX DataRefTx(ProvenTxRef => Box<ProvenTx>);
}

impl MessageRef<'_> {
    /// Appends the header and the payload.
    ///
    /// ```
    /// use peerloop::Network;
    /// use peerloop::wire::{MessageRef, put_frame};
    ///
    /// let (ping, magic) = (MessageRef::Ping { nonce: 1 }, Network::Regtest.magic());
    /// let mut frame = Vec::new();
    /// ping.encode_frame(magic, &mut frame);
    ///
    /// // A payload that is already encoded needs only its header.
    /// let (mut payload, mut same) = (Vec::new(), Vec::new());
    /// ping.encode_payload(&mut payload);
    /// put_frame(magic, ping.command(), &payload, &mut same);
    /// assert_eq!(frame, same);
    /// ```
    ///
    /// # Panics
    ///
    /// If the payload has more than 4 GiB - 1 bytes.
    pub fn encode_frame(&self, magic: [u8; 4], out: &mut Vec<u8>) {
        let header_at = out.len();
        let payload_at = header_at + HEADER_LEN_BYTES;
        out.extend_from_slice(&[0; HEADER_LEN_BYTES]);
        self.encode_payload(out);
        let header = Header::of(self.command(), &out[payload_at..]);
        out[header_at..payload_at].copy_from_slice(&header.encode(magic));
    }
}

/// Appends the header and an already encoded payload.
///
/// # Panics
///
/// If the payload has more than 4 GiB - 1 bytes.
pub fn put_frame(magic: [u8; 4], command: CommandName, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Header::of(command, payload).encode(magic));
    out.extend_from_slice(payload);
}

/// Appends the `pong` for a `ping` with a verified checksum. Both have the same payload, and therefore the same
/// checksum.
pub(crate) fn put_pong(magic: [u8; 4], ping_payload: &[u8; 8], checksum: [u8; 4], out: &mut Vec<u8>) {
    let payload_len = ping_payload.len() as u64;
    let header = Header { command: CommandName::PONG, payload_len, checksum: Some(checksum) };
    out.extend_from_slice(&header.encode(magic));
    out.extend_from_slice(ping_payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_reuses_the_payload_and_checksum_of_its_ping() {
        let (magic, nonce) = ([7; 4], 0x0807_0605_0403_0201_u64);
        let (mut ping, mut pong) = (Vec::new(), b"before".to_vec());
        MessageRef::Ping { nonce }.encode_frame(magic, &mut ping);
        let checksum = Header::decode(ping.first_chunk().expect("the frame has a header")).checksum;
        let mut out = pong.clone();
        put_pong(magic, &nonce.to_le_bytes(), checksum.expect("a basic header has a checksum"), &mut out);
        MessageRef::Pong { nonce }.encode_frame(magic, &mut pong);
        assert_eq!(out, pong);
    }
}
