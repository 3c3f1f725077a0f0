//! Messages: a payload and its command, decoded, and back into a frame.
//!
//! A [`MessageRef`] borrows what it can from the payload and is what handlers see; a [`Message`] is the same on its
//! own. Every command that is not understood is `Opaque` and passes through unchanged. Frames are appended to a buffer
//! of the caller's, in one pass and without another allocation.

use super::address::{Addresses, AddressesRef};
use super::auth::{AuthChallenge, AuthResponse, AuthResponseRef};
use super::block::{Block, BlockRef};
use super::codec::Reader;
use super::compact::{BlockTxn, BlockTxnRef, CompactBlock, CompactBlockRef, GetBlockTxn, GetBlockTxnRef};
use super::createstrm::{CreateStream, CreateStreamRef, StreamAck};
use super::double_spend::{DoubleSpend, DoubleSpendRef};
use super::filter::{BloomFilter, FilterAdd, FilterAddRef, FilterLoadRef};
use super::hdrsen::{EnrichedHeaders, EnrichedHeadersRef};
use super::header::Header;
use super::headers::{Headers, HeadersRef};
use super::inventory::{Inventory, InventoryRef};
use super::locator::{Locator, LocatorRef};
use super::mempool::Mempool;
use super::merkle_block::{MerkleBlock, MerkleBlockRef};
use super::preferences::{FeeFilter, SendCmpct};
use super::protoconf::{Protoconf, ProtoconfRef};
use super::proven_tx::{ProvenTx, ProvenTxRef};
use super::reject::{Reject, RejectRef};
use super::revokemid::{RevokeMid, RevokeMidRef};
use super::transaction::{Tx, TxRef};
use super::version::Version;
use crate::error::WireError;
use crate::limits::HEADER_LEN_BYTES;
use crate::protocol::CommandName;
use std::borrow::Cow;

/// A decoded message that borrows from its payload; only a `version` with a user agent allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageRef<'a> {
    /// `version`: who the peer is. Owned when decoded.
    Version(Cow<'a, Version>),
    /// `verack`: the version is accepted.
    Verack,
    /// `protoconf`: what the peer can take.
    Protoconf(ProtoconfRef<'a>),
    /// `authch`: asks a miner to prove who it is.
    AuthCh(AuthChallenge),
    /// `authresp`: answers an `authch`.
    AuthResp(AuthResponseRef<'a>),
    /// `createstrm`: the connection is a further one of a peer that is known.
    CreateStrm(CreateStreamRef<'a>),
    /// `streamack`: accepts a `createstrm`.
    StreamAck(StreamAck),
    /// `sendheaders`: the peer wants blocks announced by their headers.
    SendHeaders,
    /// `sendhdrsen`: the peer wants blocks announced by enriched headers. A node looks at it only if the same peer has
    /// not said `sendheaders` (seen at SV Node 1.0.13), as a loop does to each.
    SendHdrsEn,
    /// `sendcmpct`: the peer understands compact blocks.
    SendCmpct(SendCmpct),
    /// `feefilter`: the peer is not interested in what pays less.
    FeeFilter(FeeFilter),
    /// `ping`: asks for a `pong`.
    Ping {
        /// What the answer has to repeat.
        nonce: u64,
    },
    /// `pong`: answers a `ping`.
    Pong {
        /// What the `ping` said.
        nonce: u64,
    },
    /// `getaddr`: asks for an `addr`.
    GetAddr,
    /// `addr`: where other nodes are.
    Addr(AddressesRef<'a>),
    /// `inv`: what the peer has.
    Inv(InventoryRef<'a>),
    /// `getdata`: what the peer wants.
    GetData(InventoryRef<'a>),
    /// `notfound`: what the peer was asked for and does not have.
    NotFound(InventoryRef<'a>),
    /// `getblocks`: asks for an `inv` of what follows a locator.
    GetBlocks(LocatorRef<'a>),
    /// `getheaders`: asks for the `headers` that follow a locator.
    GetHeaders(LocatorRef<'a>),
    /// `headers`: the headers of a chain, or of a new block.
    Headers(HeadersRef<'a>),
    /// `gethdrsen`: asks for the `hdrsen` that follow a locator.
    GetHdrsEn(LocatorRef<'a>),
    /// `hdrsen`: headers with the proof of how many transactions there are.
    HdrsEn(EnrichedHeadersRef<'a>),
    /// `tx`: a transaction.
    Tx(TxRef<'a>),
    /// `block`: a block.
    Block(BlockRef<'a>),
    /// `merkleblock`: a block as far as it matches a filter.
    MerkleBlock(MerkleBlockRef<'a>),
    /// `cmpctblock`: a block for who has most of its transactions.
    CmpctBlock(CompactBlockRef<'a>),
    /// `getblocktxn`: asks for transactions of a `cmpctblock`.
    GetBlockTxn(GetBlockTxnRef<'a>),
    /// `blocktxn`: answers a `getblocktxn`.
    BlockTxn(BlockTxnRef<'a>),
    /// `mempool`: asks for an `inv` of unconfirmed transactions.
    Mempool(Mempool),
    /// `filterload`: the peer wants only transactions that match.
    FilterLoad(FilterLoadRef<'a>),
    /// `filteradd`: the filter shall match more.
    FilterAdd(FilterAddRef<'a>),
    /// `filterclear`: the peer wants all transactions again.
    FilterClear,
    /// `reject`: the peer did not take a message.
    Reject(RejectRef<'a>),
    /// `dsdetected`: branches of the chain spend the same output.
    DsDetected(DoubleSpendRef<'a>),
    /// `revokemid`: a miner takes back an id.
    RevokeMid(RevokeMidRef<'a>),
    /// `datareftx`: a transaction and the proof that it is in a block.
    DataRefTx(ProvenTxRef<'a>),
    /// Any other message.
    Opaque {
        /// The command.
        command: CommandName,
        /// The payload as it came.
        payload: &'a [u8],
    },
}

/// A decoded message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// `version`: who the peer is.
    Version(Box<Version>),
    /// `verack`: the version is accepted.
    Verack,
    /// `protoconf`: what the peer can take.
    Protoconf(Protoconf),
    /// `authch`: asks a miner to prove who it is.
    AuthCh(AuthChallenge),
    /// `authresp`: answers an `authch`.
    AuthResp(AuthResponse),
    /// `createstrm`: the connection is a further one of a peer that is known.
    CreateStrm(CreateStream),
    /// `streamack`: accepts a `createstrm`.
    StreamAck(StreamAck),
    /// `sendheaders`: the peer wants blocks announced by their headers.
    SendHeaders,
    /// `sendhdrsen`: the peer wants blocks announced by enriched headers.
    SendHdrsEn,
    /// `sendcmpct`: the peer understands compact blocks.
    SendCmpct(SendCmpct),
    /// `feefilter`: the peer is not interested in what pays less.
    FeeFilter(FeeFilter),
    /// `ping`: asks for a `pong`.
    Ping {
        /// What the answer has to repeat.
        nonce: u64,
    },
    /// `pong`: answers a `ping`.
    Pong {
        /// What the `ping` said.
        nonce: u64,
    },
    /// `getaddr`: asks for an `addr`.
    GetAddr,
    /// `addr`: where other nodes are.
    Addr(Addresses),
    /// `inv`: what the peer has.
    Inv(Inventory),
    /// `getdata`: what the peer wants.
    GetData(Inventory),
    /// `notfound`: what the peer was asked for and does not have.
    NotFound(Inventory),
    /// `getblocks`: asks for an `inv` of what follows a locator.
    GetBlocks(Locator),
    /// `getheaders`: asks for the `headers` that follow a locator.
    GetHeaders(Locator),
    /// `headers`: the headers of a chain, or of a new block.
    Headers(Headers),
    /// `gethdrsen`: asks for the `hdrsen` that follow a locator.
    GetHdrsEn(Locator),
    /// `hdrsen`: headers with the proof of how many transactions there are.
    HdrsEn(EnrichedHeaders),
    /// `tx`: a transaction.
    Tx(Tx),
    /// `block`: a block.
    Block(Block),
    /// `merkleblock`: a block as far as it matches a filter.
    MerkleBlock(MerkleBlock),
    /// `cmpctblock`: a block for who has most of its transactions.
    CmpctBlock(CompactBlock),
    /// `getblocktxn`: asks for transactions of a `cmpctblock`.
    GetBlockTxn(GetBlockTxn),
    /// `blocktxn`: answers a `getblocktxn`.
    BlockTxn(BlockTxn),
    /// `mempool`: asks for an `inv` of unconfirmed transactions.
    Mempool(Mempool),
    /// `filterload`: the peer wants only transactions that match.
    FilterLoad(BloomFilter),
    /// `filteradd`: the filter shall match more.
    FilterAdd(FilterAdd),
    /// `filterclear`: the peer wants all transactions again.
    FilterClear,
    /// `reject`: the peer did not take a message.
    Reject(Reject),
    /// `dsdetected`: branches of the chain spend the same output.
    DsDetected(DoubleSpend),
    /// `revokemid`: a miner takes back an id.
    RevokeMid(Box<RevokeMid>),
    /// `datareftx`: a transaction and the proof that it is in a block.
    DataRefTx(Box<ProvenTx>),
    /// Any other message.
    Opaque {
        /// The command.
        command: CommandName,
        /// The payload as it came.
        payload: Box<[u8]>,
    },
}

impl<'a> MessageRef<'a> {
    /// Reads the payload of `command`; bytes behind the last known field are ignored.
    ///
    /// # Errors
    ///
    /// As the message's own `decode`; a `ping` or `pong` without a whole nonce is [`WireError::Truncated`]. An opaque
    /// message is never wrong.
    pub fn decode(command: CommandName, payload: &'a [u8]) -> Result<Self, WireError> {
        let nonce = || Reader::new(command, payload).u64();
        Ok(match command {
            CommandName::VERSION => Self::Version(Cow::Owned(Version::decode(payload)?)),
            CommandName::VERACK => Self::Verack,
            CommandName::PROTOCONF => Self::Protoconf(ProtoconfRef::decode(payload)?),
            CommandName::AUTHCH => Self::AuthCh(AuthChallenge::decode(payload)?),
            CommandName::AUTHRESP => Self::AuthResp(AuthResponseRef::decode(payload)?),
            CommandName::CREATESTRM => Self::CreateStrm(CreateStreamRef::decode(payload)?),
            CommandName::STREAMACK => Self::StreamAck(StreamAck::decode(payload)?),
            CommandName::SENDHEADERS => Self::SendHeaders,
            CommandName::SENDHDRSEN => Self::SendHdrsEn,
            CommandName::SENDCMPCT => Self::SendCmpct(SendCmpct::decode(payload)?),
            CommandName::FEEFILTER => Self::FeeFilter(FeeFilter::decode(payload)?),
            CommandName::PING => Self::Ping { nonce: nonce()? },
            CommandName::PONG => Self::Pong { nonce: nonce()? },
            CommandName::GETADDR => Self::GetAddr,
            CommandName::ADDR => Self::Addr(AddressesRef::decode(payload)?),
            CommandName::INV => Self::Inv(InventoryRef::decode(command, payload)?),
            CommandName::GETDATA => Self::GetData(InventoryRef::decode(command, payload)?),
            CommandName::NOTFOUND => Self::NotFound(InventoryRef::decode(command, payload)?),
            CommandName::GETBLOCKS => Self::GetBlocks(LocatorRef::decode(command, payload)?),
            CommandName::GETHEADERS => Self::GetHeaders(LocatorRef::decode(command, payload)?),
            CommandName::HEADERS => Self::Headers(HeadersRef::decode(payload)?),
            CommandName::GETHDRSEN => Self::GetHdrsEn(LocatorRef::decode(command, payload)?),
            CommandName::HDRSEN => Self::HdrsEn(EnrichedHeadersRef::decode(payload)?),
            CommandName::TX => Self::Tx(TxRef::decode(payload)?),
            CommandName::BLOCK => Self::Block(BlockRef::decode(payload)?),
            CommandName::MERKLEBLOCK => Self::MerkleBlock(MerkleBlockRef::decode(payload)?),
            CommandName::CMPCTBLOCK => Self::CmpctBlock(CompactBlockRef::decode(payload)?),
            CommandName::GETBLOCKTXN => Self::GetBlockTxn(GetBlockTxnRef::decode(payload)?),
            CommandName::BLOCKTXN => Self::BlockTxn(BlockTxnRef::decode(payload)?),
            CommandName::MEMPOOL => Self::Mempool(Mempool::decode(payload)?),
            CommandName::FILTERLOAD => Self::FilterLoad(FilterLoadRef::decode(payload)?),
            CommandName::FILTERADD => Self::FilterAdd(FilterAddRef::decode(payload)?),
            CommandName::FILTERCLEAR => Self::FilterClear,
            CommandName::REJECT => Self::Reject(RejectRef::decode(payload)?),
            CommandName::DSDETECTED => Self::DsDetected(DoubleSpendRef::decode(payload)?),
            CommandName::REVOKEMID => Self::RevokeMid(RevokeMidRef::decode(payload)?),
            CommandName::DATAREFTX => Self::DataRefTx(ProvenTxRef::decode(payload)?),
            _ => Self::Opaque { command, payload },
        })
    }

    /// The command that the message travels under.
    pub const fn command(&self) -> CommandName {
        match self {
            Self::Version(_) => CommandName::VERSION,
            Self::Verack => CommandName::VERACK,
            Self::Protoconf(_) => CommandName::PROTOCONF,
            Self::AuthCh(_) => CommandName::AUTHCH,
            Self::AuthResp(_) => CommandName::AUTHRESP,
            Self::CreateStrm(_) => CommandName::CREATESTRM,
            Self::StreamAck(_) => CommandName::STREAMACK,
            Self::SendHeaders => CommandName::SENDHEADERS,
            Self::SendHdrsEn => CommandName::SENDHDRSEN,
            Self::SendCmpct(_) => CommandName::SENDCMPCT,
            Self::FeeFilter(_) => CommandName::FEEFILTER,
            Self::Ping { .. } => CommandName::PING,
            Self::Pong { .. } => CommandName::PONG,
            Self::GetAddr => CommandName::GETADDR,
            Self::Addr(_) => CommandName::ADDR,
            Self::Inv(_) => CommandName::INV,
            Self::GetData(_) => CommandName::GETDATA,
            Self::NotFound(_) => CommandName::NOTFOUND,
            Self::GetBlocks(_) => CommandName::GETBLOCKS,
            Self::GetHeaders(_) => CommandName::GETHEADERS,
            Self::Headers(_) => CommandName::HEADERS,
            Self::GetHdrsEn(_) => CommandName::GETHDRSEN,
            Self::HdrsEn(_) => CommandName::HDRSEN,
            Self::Tx(_) => CommandName::TX,
            Self::Block(_) => CommandName::BLOCK,
            Self::MerkleBlock(_) => CommandName::MERKLEBLOCK,
            Self::CmpctBlock(_) => CommandName::CMPCTBLOCK,
            Self::GetBlockTxn(_) => CommandName::GETBLOCKTXN,
            Self::BlockTxn(_) => CommandName::BLOCKTXN,
            Self::Mempool(_) => CommandName::MEMPOOL,
            Self::FilterLoad(_) => CommandName::FILTERLOAD,
            Self::FilterAdd(_) => CommandName::FILTERADD,
            Self::FilterClear => CommandName::FILTERCLEAR,
            Self::Reject(_) => CommandName::REJECT,
            Self::DsDetected(_) => CommandName::DSDETECTED,
            Self::RevokeMid(_) => CommandName::REVOKEMID,
            Self::DataRefTx(_) => CommandName::DATAREFTX,
            Self::Opaque { command, .. } => *command,
        }
    }

    /// Appends the payload alone.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Self::Verack | Self::SendHeaders | Self::SendHdrsEn | Self::GetAddr | Self::FilterClear => {}
            Self::Ping { nonce } | Self::Pong { nonce } => out.extend_from_slice(&nonce.to_le_bytes()),
            Self::Version(message) => message.encode(out),
            Self::Protoconf(message) => message.encode(out),
            Self::AuthCh(message) => message.encode(out),
            Self::AuthResp(message) => message.encode(out),
            Self::CreateStrm(message) => message.encode(out),
            Self::StreamAck(message) => message.encode(out),
            Self::SendCmpct(message) => message.encode(out),
            Self::FeeFilter(message) => message.encode(out),
            Self::Addr(message) => message.encode(out),
            Self::Inv(message) | Self::GetData(message) | Self::NotFound(message) => message.encode(out),
            Self::GetBlocks(message) | Self::GetHeaders(message) | Self::GetHdrsEn(message) => message.encode(out),
            Self::Headers(message) => message.encode(out),
            Self::HdrsEn(message) => message.encode(out),
            Self::Tx(message) => message.encode(out),
            Self::Block(message) => message.encode(out),
            Self::MerkleBlock(message) => message.encode(out),
            Self::CmpctBlock(message) => message.encode(out),
            Self::GetBlockTxn(message) => message.encode(out),
            Self::BlockTxn(message) => message.encode(out),
            Self::Mempool(message) => message.encode(out),
            Self::FilterLoad(message) => message.encode(out),
            Self::FilterAdd(message) => message.encode(out),
            Self::Reject(message) => message.encode(out),
            Self::DsDetected(message) => message.encode(out),
            Self::RevokeMid(message) => message.encode(out),
            Self::DataRefTx(message) => message.encode(out),
            Self::Opaque { payload, .. } => out.extend_from_slice(payload),
        }
    }

    /// Appends header and payload.
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

    /// The message on its own.
    pub fn into_owned(self) -> Message {
        match self {
            Self::Version(message) => Message::Version(Box::new(message.into_owned())),
            Self::Verack => Message::Verack,
            Self::Protoconf(message) => Message::Protoconf(message.into_owned()),
            Self::AuthCh(message) => Message::AuthCh(message),
            Self::AuthResp(message) => Message::AuthResp(message.into_owned()),
            Self::CreateStrm(message) => Message::CreateStrm(message.into_owned()),
            Self::StreamAck(message) => Message::StreamAck(message),
            Self::SendHeaders => Message::SendHeaders,
            Self::SendHdrsEn => Message::SendHdrsEn,
            Self::SendCmpct(message) => Message::SendCmpct(message),
            Self::FeeFilter(message) => Message::FeeFilter(message),
            Self::Ping { nonce } => Message::Ping { nonce },
            Self::Pong { nonce } => Message::Pong { nonce },
            Self::GetAddr => Message::GetAddr,
            Self::Addr(message) => Message::Addr(message.into_owned()),
            Self::Inv(message) => Message::Inv(message.into_owned()),
            Self::GetData(message) => Message::GetData(message.into_owned()),
            Self::NotFound(message) => Message::NotFound(message.into_owned()),
            Self::GetBlocks(message) => Message::GetBlocks(message.into_owned()),
            Self::GetHeaders(message) => Message::GetHeaders(message.into_owned()),
            Self::Headers(message) => Message::Headers(message.into_owned()),
            Self::GetHdrsEn(message) => Message::GetHdrsEn(message.into_owned()),
            Self::HdrsEn(message) => Message::HdrsEn(message.into_owned()),
            Self::Tx(message) => Message::Tx(message.into_owned()),
            Self::Block(message) => Message::Block(message.into_owned()),
            Self::MerkleBlock(message) => Message::MerkleBlock(message.into_owned()),
            Self::CmpctBlock(message) => Message::CmpctBlock(message.into_owned()),
            Self::GetBlockTxn(message) => Message::GetBlockTxn(message.into_owned()),
            Self::BlockTxn(message) => Message::BlockTxn(message.into_owned()),
            Self::Mempool(message) => Message::Mempool(message),
            Self::FilterLoad(message) => Message::FilterLoad(message.into_owned()),
            Self::FilterAdd(message) => Message::FilterAdd(message.into_owned()),
            Self::FilterClear => Message::FilterClear,
            Self::Reject(message) => Message::Reject(message.into_owned()),
            Self::DsDetected(message) => Message::DsDetected(message.into_owned()),
            Self::RevokeMid(message) => Message::RevokeMid(Box::new(message.into_owned())),
            Self::DataRefTx(message) => Message::DataRefTx(Box::new(message.into_owned())),
            Self::Opaque { command, payload } => Message::Opaque { command, payload: payload.into() },
        }
    }
}

impl Message {
    /// The message, borrowed; this is how it is encoded.
    pub fn as_ref(&self) -> MessageRef<'_> {
        match self {
            Self::Version(message) => MessageRef::Version(Cow::Borrowed(message)),
            Self::Verack => MessageRef::Verack,
            Self::Protoconf(message) => MessageRef::Protoconf(message.as_ref()),
            Self::AuthCh(message) => MessageRef::AuthCh(*message),
            Self::AuthResp(message) => MessageRef::AuthResp(message.as_ref()),
            Self::CreateStrm(message) => MessageRef::CreateStrm(message.as_ref()),
            Self::StreamAck(message) => MessageRef::StreamAck(*message),
            Self::SendHeaders => MessageRef::SendHeaders,
            Self::SendHdrsEn => MessageRef::SendHdrsEn,
            Self::SendCmpct(message) => MessageRef::SendCmpct(*message),
            Self::FeeFilter(message) => MessageRef::FeeFilter(*message),
            Self::Ping { nonce } => MessageRef::Ping { nonce: *nonce },
            Self::Pong { nonce } => MessageRef::Pong { nonce: *nonce },
            Self::GetAddr => MessageRef::GetAddr,
            Self::Addr(message) => MessageRef::Addr(message.as_ref()),
            Self::Inv(message) => MessageRef::Inv(message.as_ref()),
            Self::GetData(message) => MessageRef::GetData(message.as_ref()),
            Self::NotFound(message) => MessageRef::NotFound(message.as_ref()),
            Self::GetBlocks(message) => MessageRef::GetBlocks(message.as_ref()),
            Self::GetHeaders(message) => MessageRef::GetHeaders(message.as_ref()),
            Self::Headers(message) => MessageRef::Headers(message.as_ref()),
            Self::GetHdrsEn(message) => MessageRef::GetHdrsEn(message.as_ref()),
            Self::HdrsEn(message) => MessageRef::HdrsEn(message.as_ref()),
            Self::Tx(message) => MessageRef::Tx(message.as_ref()),
            Self::Block(message) => MessageRef::Block(message.as_ref()),
            Self::MerkleBlock(message) => MessageRef::MerkleBlock(message.as_ref()),
            Self::CmpctBlock(message) => MessageRef::CmpctBlock(message.as_ref()),
            Self::GetBlockTxn(message) => MessageRef::GetBlockTxn(message.as_ref()),
            Self::BlockTxn(message) => MessageRef::BlockTxn(message.as_ref()),
            Self::Mempool(message) => MessageRef::Mempool(*message),
            Self::FilterLoad(message) => MessageRef::FilterLoad(message.as_ref()),
            Self::FilterAdd(message) => MessageRef::FilterAdd(message.as_ref()),
            Self::FilterClear => MessageRef::FilterClear,
            Self::Reject(message) => MessageRef::Reject(message.as_ref()),
            Self::DsDetected(message) => MessageRef::DsDetected(message.as_ref()),
            Self::RevokeMid(message) => MessageRef::RevokeMid(RevokeMid::as_ref(message)),
            Self::DataRefTx(message) => MessageRef::DataRefTx(ProvenTx::as_ref(message)),
            Self::Opaque { command, payload } => MessageRef::Opaque { command: *command, payload },
        }
    }
}

/// Appends header and payload of a message whose payload is already encoded.
///
/// # Panics
///
/// If the payload has more than 4 GiB - 1 bytes.
pub fn put_frame(magic: [u8; 4], command: CommandName, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Header::of(command, payload).encode(magic));
    out.extend_from_slice(payload);
}

/// Appends the `pong` that answers a `ping` whose checksum was verified: both have the same payload, so both have the
/// same checksum.
pub fn put_pong(magic: [u8; 4], ping_payload: &[u8; 8], checksum: [u8; 4], out: &mut Vec<u8>) {
    let payload_len = ping_payload.len() as u64;
    let header = Header { command: CommandName::PONG, payload_len, checksum: Some(checksum) };
    out.extend_from_slice(&header.encode(magic));
    out.extend_from_slice(ping_payload);
}
