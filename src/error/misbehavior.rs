//! Kinds of misbehavior, and their penalties.
//!
//! The points are those of SV Node 1.2.2, so that this library bans peers for the same behavior as SV Node. Behavior
//! without a penalty is not listed, for example an unknown command or a single bad checksum. Nothing here counts points
//! or closes a connection.

use super::label::Label;
use std::fmt;

/// Something that a peer must not do.
///
/// The engine penalises some kinds. A handler penalises the others with
/// [`Ctx::penalize_for`](crate::Ctx::penalize_for). The [manual](crate::manual::peer_manager) shows for each kind which
/// of the two penalises it. The [`CloseReason`](super::CloseReason) of a connection closed for misbehavior contains the
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Misbehavior {
    /// It sends `version` again.
    SecondVersion,
    /// Before its `version`, it sends a message that is not part of the handshake.
    MessageBeforeVersion,
    /// Between its `version` and its `verack`, it sends a message that is not part of the handshake.
    MessageBeforeVerack,
    /// It sends `sendheaders` or `sendhdrsen` again.
    SecondSendHeaders,
    /// It sends a count or length above 2^32 - 1.
    OverlongSize,
    /// It sends many bad checksums in quick succession.
    BadChecksums,
    /// It sends `authch` or `authresp` faster than allowed.
    TooManyAuthMessages,
    /// It sends a `revokemid` that is malformed or not validly signed.
    BadRevocation,
    /// It sends a `dsdetected` that is malformed, proves nothing or is about old blocks.
    BadDoubleSpend,
    /// It sends eight or more headers in one message, and the parent of the first header is unknown.
    HeadersWithoutParent,
    /// It sends a transaction without inputs or outputs.
    EmptyTransaction,
    /// It sends more than 1,000 addresses in one message.
    TooManyAddresses,
    /// It sends more than 2,000 headers in one message.
    TooManyHeaders,
    /// It sends headers that do not form a chain.
    DisconnectedHeaders,
    /// It sends ten consecutive announcements of fewer than eight headers, in each of which the parent of the first
    /// header is unknown. Every further ten are another violation.
    UnconnectedAnnouncements,
    /// It sends a header with an invalid proof of work.
    BadProofOfWork,
    /// It sends a bloom filter or a filter element, although our services do not offer bloom filters.
    UnwantedBloomFilter,
    /// It sends a bloom filter of more than 36,000 bytes or more than 50 hash functions.
    OversizedBloomFilter,
    /// It sends a bloom filter element of more than 520 bytes.
    OversizedBloomElement,
    /// It requests a transaction at an index that the block does not have.
    TransactionIndexOutOfRange,
    /// It sends an invalid `cmpctblock` or `blocktxn`.
    BadCompactBlock,
    /// It sends a transaction that violates the consensus rules, not only relay policy.
    InvalidTransaction,
    /// It sends a block that violates the consensus rules.
    InvalidBlock,
    /// It names another host's association in a `createstrm`.
    StreamFromOtherHost,
    /// It sends an `inv` with an entry of an unknown kind.
    UnknownInventoryKind,
    /// It sends `mempool`, although we do not offer our mempool to it.
    UnwantedMempoolRequest,
    /// It sends `createstrm` or `streamack` after the connection's `version`.
    LateStreamSetup,
    /// It sends more than [`MAX_HANDSHAKE_MESSAGES`](crate::limits::MAX_HANDSHAKE_MESSAGES) messages before its
    /// handshake is complete.
    TooManyHandshakeMessages,
    /// It sends `protoconf` again.
    SecondProtoconf,
    /// Misbehavior defined by a handler.
    Other {
        /// The points.
        points: u32,
        /// The reason, for reports and the log.
        reason: &'static str,
    },
}

/// The penalty for a misbehavior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Penalty {
    /// This many points. The connection stays open until the peer's points reach the ban score.
    Points(u32),
    /// Closes the connection without a ban.
    Disconnect,
}

impl Misbehavior {
    /// All kinds except [`Misbehavior::Other`]: first those with points, in increasing order, then those that only
    /// close the connection.
    pub const ALL: [Self; 29] = [
        Self::SecondVersion,
        Self::MessageBeforeVersion,
        Self::MessageBeforeVerack,
        Self::SecondSendHeaders,
        Self::OverlongSize,
        Self::BadChecksums,
        Self::TooManyAuthMessages,
        Self::BadRevocation,
        Self::BadDoubleSpend,
        Self::HeadersWithoutParent,
        Self::EmptyTransaction,
        Self::TooManyAddresses,
        Self::TooManyHeaders,
        Self::DisconnectedHeaders,
        Self::UnconnectedAnnouncements,
        Self::BadProofOfWork,
        Self::UnwantedBloomFilter,
        Self::OversizedBloomFilter,
        Self::OversizedBloomElement,
        Self::TransactionIndexOutOfRange,
        Self::BadCompactBlock,
        Self::InvalidTransaction,
        Self::InvalidBlock,
        Self::StreamFromOtherHost,
        Self::UnknownInventoryKind,
        Self::UnwantedMempoolRequest,
        Self::LateStreamSetup,
        Self::TooManyHandshakeMessages,
        Self::SecondProtoconf,
    ];

    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessVersionMessage.
    pub const SECOND_VERSION_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessMessage.
    pub const MESSAGE_BEFORE_VERSION_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessMessage.
    pub const MESSAGE_BEFORE_VERACK_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessSendHeadersMessage and ProcessSendHdrsEnMessage.
    pub const SECOND_SEND_HEADERS_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessMessages.
    pub const OVERLONG_SIZE_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessMessages.
    pub const BAD_CHECKSUMS_POINTS: u32 = 1;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessAuthChMessage and ProcessAuthRespMessage.
    pub const TOO_MANY_AUTH_MESSAGES_POINTS: u32 = 10;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessRevokeMidMessage.
    pub const BAD_REVOCATION_POINTS: u32 = 10;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessDoubleSpendMessage.
    pub const BAD_DOUBLE_SPEND_POINTS: u32 = 10;
    /// Points as in SV Node 1.2.2, validation.cpp AcceptBlockHeader.
    pub const HEADERS_WITHOUT_PARENT_POINTS: u32 = 10;
    /// Points as in SV Node 1.2.2, validation.cpp CheckTransactionCommon.
    pub const EMPTY_TRANSACTION_POINTS: u32 = 10;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessAddrMessage.
    pub const TOO_MANY_ADDRESSES_POINTS: u32 = 20;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessHeadersMessage.
    pub const TOO_MANY_HEADERS_POINTS: u32 = 20;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessHeadersMessage.
    pub const DISCONNECTED_HEADERS_POINTS: u32 = 20;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessHeadersMessage.
    pub const UNCONNECTED_ANNOUNCEMENTS_POINTS: u32 = 20;
    /// Points as in SV Node 1.2.2, validation.cpp CheckBlockHeader.
    pub const BAD_PROOF_OF_WORK_POINTS: u32 = 50;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessMessage.
    pub const UNWANTED_BLOOM_FILTER_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessFilterLoadMessage.
    pub const OVERSIZED_BLOOM_FILTER_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessFilterAddMessage.
    pub const OVERSIZED_BLOOM_ELEMENT_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessGetBlockTxnMessage.
    pub const TRANSACTION_INDEX_OUT_OF_RANGE_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, net_processing.cpp ProcessCompactBlockMessage and ProcessBlockTxnMessage.
    pub const BAD_COMPACT_BLOCK_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, validation.cpp CheckTransactionCommon.
    pub const INVALID_TRANSACTION_POINTS: u32 = 100;
    /// Points as in SV Node 1.2.2, validation.cpp CheckBlock.
    pub const INVALID_BLOCK_POINTS: u32 = 100;

    /// Points that stand for the ban of SV Node 1.2.2, net_processing.cpp ProcessCreateStreamMessage.
    pub const STREAM_FROM_OTHER_HOST_POINTS: u32 = 100;

    /// Returns the penalty.
    pub const fn penalty(self) -> Penalty {
        match self {
            Self::Other { points, .. } => Penalty::Points(points),
            Self::SecondVersion => Penalty::Points(Self::SECOND_VERSION_POINTS),
            Self::MessageBeforeVersion => Penalty::Points(Self::MESSAGE_BEFORE_VERSION_POINTS),
            Self::MessageBeforeVerack => Penalty::Points(Self::MESSAGE_BEFORE_VERACK_POINTS),
            Self::SecondSendHeaders => Penalty::Points(Self::SECOND_SEND_HEADERS_POINTS),
            Self::OverlongSize => Penalty::Points(Self::OVERLONG_SIZE_POINTS),
            Self::BadChecksums => Penalty::Points(Self::BAD_CHECKSUMS_POINTS),
            Self::TooManyAuthMessages => Penalty::Points(Self::TOO_MANY_AUTH_MESSAGES_POINTS),
            Self::BadRevocation => Penalty::Points(Self::BAD_REVOCATION_POINTS),
            Self::BadDoubleSpend => Penalty::Points(Self::BAD_DOUBLE_SPEND_POINTS),
            Self::HeadersWithoutParent => Penalty::Points(Self::HEADERS_WITHOUT_PARENT_POINTS),
            Self::EmptyTransaction => Penalty::Points(Self::EMPTY_TRANSACTION_POINTS),
            Self::TooManyAddresses => Penalty::Points(Self::TOO_MANY_ADDRESSES_POINTS),
            Self::TooManyHeaders => Penalty::Points(Self::TOO_MANY_HEADERS_POINTS),
            Self::DisconnectedHeaders => Penalty::Points(Self::DISCONNECTED_HEADERS_POINTS),
            Self::UnconnectedAnnouncements => Penalty::Points(Self::UNCONNECTED_ANNOUNCEMENTS_POINTS),
            Self::BadProofOfWork => Penalty::Points(Self::BAD_PROOF_OF_WORK_POINTS),
            Self::UnwantedBloomFilter => Penalty::Points(Self::UNWANTED_BLOOM_FILTER_POINTS),
            Self::OversizedBloomFilter => Penalty::Points(Self::OVERSIZED_BLOOM_FILTER_POINTS),
            Self::OversizedBloomElement => Penalty::Points(Self::OVERSIZED_BLOOM_ELEMENT_POINTS),
            Self::TransactionIndexOutOfRange => Penalty::Points(Self::TRANSACTION_INDEX_OUT_OF_RANGE_POINTS),
            Self::BadCompactBlock => Penalty::Points(Self::BAD_COMPACT_BLOCK_POINTS),
            Self::InvalidTransaction => Penalty::Points(Self::INVALID_TRANSACTION_POINTS),
            Self::InvalidBlock => Penalty::Points(Self::INVALID_BLOCK_POINTS),
            Self::StreamFromOtherHost => Penalty::Points(Self::STREAM_FROM_OTHER_HOST_POINTS),
            // SV Node 1.2.2, net_processing.cpp ProcessInvMessage, ProcessMempoolMessage, ProcessCreateStreamMessage,
            // ProcessProtoconfMessage. The node does not limit the number of handshake messages.
            Self::UnknownInventoryKind
            | Self::UnwantedMempoolRequest
            | Self::LateStreamSetup
            | Self::TooManyHandshakeMessages
            | Self::SecondProtoconf => Penalty::Disconnect,
        }
    }

    /// Returns the label of a close for this kind. All kinds with points share one label; some kinds without points
    /// have their own.
    pub(super) const fn close_label(self) -> Label {
        match self.penalty() {
            Penalty::Points(_) => Label::BanScore,
            Penalty::Disconnect if matches!(self, Self::TooManyHandshakeMessages) => Label::HandshakeFlood,
            Penalty::Disconnect if matches!(self, Self::SecondProtoconf) => Label::SecondProtoconf,
            Penalty::Disconnect => Label::Intolerable,
        }
    }

    /// Returns the kind's short name, from a closed list, for counters and result files.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SecondVersion => "second_version",
            Self::MessageBeforeVersion => "message_before_version",
            Self::MessageBeforeVerack => "message_before_verack",
            Self::SecondSendHeaders => "second_send_headers",
            Self::OverlongSize => "overlong_size",
            Self::BadChecksums => "bad_checksums",
            Self::TooManyAuthMessages => "too_many_auth_messages",
            Self::BadRevocation => "bad_revocation",
            Self::BadDoubleSpend => "bad_double_spend",
            Self::HeadersWithoutParent => "headers_without_parent",
            Self::EmptyTransaction => "empty_transaction",
            Self::TooManyAddresses => "too_many_addresses",
            Self::TooManyHeaders => "too_many_headers",
            Self::DisconnectedHeaders => "disconnected_headers",
            Self::UnconnectedAnnouncements => "unconnected_announcements",
            Self::BadProofOfWork => "bad_proof_of_work",
            Self::UnwantedBloomFilter => "unwanted_bloom_filter",
            Self::OversizedBloomFilter => "oversized_bloom_filter",
            Self::OversizedBloomElement => "oversized_bloom_element",
            Self::TransactionIndexOutOfRange => "transaction_index_out_of_range",
            Self::BadCompactBlock => "bad_compact_block",
            Self::InvalidTransaction => "invalid_transaction",
            Self::InvalidBlock => "invalid_block",
            Self::StreamFromOtherHost => "stream_from_other_host",
            Self::UnknownInventoryKind => "unknown_inventory_kind",
            Self::UnwantedMempoolRequest => "unwanted_mempool_request",
            Self::LateStreamSetup => "late_stream_setup",
            Self::TooManyHandshakeMessages => "handshake_flood",
            Self::SecondProtoconf => "second_protoconf",
            Self::Other { .. } => "other",
        }
    }
}

impl fmt::Display for Misbehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecondVersion => "a second version",
            Self::MessageBeforeVersion => "a message before its version",
            Self::MessageBeforeVerack => "a message before its verack",
            Self::SecondSendHeaders => "a second sendheaders or sendhdrsen",
            Self::OverlongSize => "a count or length above 2^32 - 1",
            Self::BadChecksums => "many bad checksums in quick succession",
            Self::TooManyAuthMessages => "authch or authresp faster than allowed",
            Self::BadRevocation => "an invalid revokemid",
            Self::BadDoubleSpend => "an invalid dsdetected",
            Self::HeadersWithoutParent => "headers without a known parent",
            Self::EmptyTransaction => "a transaction without inputs or outputs",
            Self::TooManyAddresses => "more than 1,000 addresses in one message",
            Self::TooManyHeaders => "more than 2,000 headers in one message",
            Self::DisconnectedHeaders => "headers that do not form a chain",
            Self::UnconnectedAnnouncements => "ten consecutive header announcements without a known parent",
            Self::BadProofOfWork => "a header with an invalid proof of work",
            Self::UnwantedBloomFilter => "a bloom filter, which is not offered",
            Self::OversizedBloomFilter => "a bloom filter of more than 36,000 bytes or 50 hash functions",
            Self::OversizedBloomElement => "a bloom filter element of more than 520 bytes",
            Self::TransactionIndexOutOfRange => "a request for a transaction index that the block does not have",
            Self::BadCompactBlock => "an invalid compact block",
            Self::InvalidTransaction => "an invalid transaction",
            Self::InvalidBlock => "an invalid block",
            Self::StreamFromOtherHost => "a stream setup with the association id of another host",
            Self::UnknownInventoryKind => "an inventory entry of an unknown kind",
            Self::UnwantedMempoolRequest => "a request for the mempool, which is not offered",
            Self::LateStreamSetup => "a stream setup on a connection that is already in use",
            Self::TooManyHandshakeMessages => "too many messages before its handshake was complete",
            Self::SecondProtoconf => "a second protoconf",
            Self::Other { reason, .. } => reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_its_penalty() {
        let costs = |from: usize, to: usize, penalty| {
            for misbehavior in &Misbehavior::ALL[from..to] {
                assert_eq!(misbehavior.penalty(), penalty, "{misbehavior}");
            }
        };
        costs(0, 6, Penalty::Points(1));
        costs(6, 11, Penalty::Points(10));
        costs(11, 15, Penalty::Points(20));
        costs(15, 16, Penalty::Points(50));
        costs(16, 24, Penalty::Points(100));
        costs(24, 29, Penalty::Disconnect);
    }

    #[test]
    fn every_kind_has_a_unique_label_and_text() {
        let labels: BTreeSet<&str> = Misbehavior::ALL.iter().map(|kind| kind.label()).collect();
        let texts: BTreeSet<String> = Misbehavior::ALL.iter().map(Misbehavior::to_string).collect();
        assert_eq!((labels.len(), texts.len()), (Misbehavior::ALL.len(), Misbehavior::ALL.len()));
    }
}
