//! The closed list of labels for close reasons.
//!
//! Reasons that differ only in their details, such as numbers, share a label. All kinds of misbehavior with points
//! share one label, and most of the other kinds share another. Each label has an index in the list, so that an array
//! can count reasons. A label never contains a value.

/// Defines each label together with its name, so that neither can be missing.
macro_rules! labels {
    ($($label:ident $name:literal)+) => {
        /// A close reason without its details.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Label {
            $($label),+
        }

        impl Label {
            /// The names of all labels, each at its label's index.
            pub(super) const NAMES: &[&'static str] = &[$($name),+];
        }
    };
}

labels! {
    BadMagic "bad_magic"
    OverLimit "over_limit"
    Truncated "truncated_message"
    NonCanonicalSize "non_canonical_size"
    OverlongSize "overlong_size"
    TooLong "field_too_long"
    BadValue "bad_value"
    BadChecksum "bad_checksum"
    HandshakeFlood "handshake_flood"
    SecondProtoconf "second_protoconf"
    Intolerable "intolerable"
    BanScore "ban_score"
    ProtocolVersion "protocol_version"
    WrongNetwork "wrong_network"
    WrongBlockchain "wrong_blockchain"
    BannedUserAgent "banned_user_agent"
    ConnectTimeout "connect_timeout"
    HandshakeTimeout "handshake_timeout"
    PongTimeout "pong_timeout"
    HeaderTimeout "header_timeout"
    BodyTimeout "body_timeout"
    SendStalled "send_stalled"
    NoDescriptors "local_emfile"
    NoPorts "local_eaddrnotavail"
    SourceAddress "local_source_address"
    NoMemory "local_enobufs"
    Refused "refused"
    Reset "reset"
    Aborted "aborted"
    BrokenPipe "broken_pipe"
    NetworkTimeout "network_timeout"
    HostUnreachable "host_unreachable"
    NetworkUnreachable "network_unreachable"
    IoError "io_error"
    ClosedByPeer "closed_by_peer"
    RejectedByPeer "rejected_by_peer"
    Requested "requested"
    RetryLater "retry_later"
    Unsuitable "unsuitable"
    TooSlow "too_slow"
    Shutdown "shutdown"
    OverCapacity "over_capacity"
    Banned "banned"
    Evicted "evicted"
    Duplicate "duplicate"
    SelfConnection "self_connection"
    BecameStream "became_stream"
    StreamRefused "stream_refused"
}

impl Label {
    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::errno::{
        EADDRNOTAVAIL, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EIO, EMFILE, ENETUNREACH, ENOMEM, EPIPE,
        ETIMEDOUT,
    };
    use crate::error::{
        CloseReason, Deadline, Disconnect, Incompatibility, IoStep, LocalCause, Misbehavior, NetworkFailure, WireError,
    };
    use crate::protocol::{CommandName, Network};
    use std::collections::BTreeSet;
    use std::io;

    /// Returns one reason for each label, in the order of the list.
    pub(crate) fn one_of_each() -> Vec<CloseReason> {
        let command = CommandName::TX;
        let wire = [
            WireError::BadMagic { found: [0; 4], network: None },
            WireError::OverLimit { command, len_bytes: 1 },
            WireError::Truncated { command },
            WireError::NonCanonicalSize { command },
            WireError::OverlongSize { command },
            WireError::TooLong { command },
            WireError::BadValue { command },
            WireError::BadChecksum { command },
        ];
        let misbehavior = [
            Misbehavior::TooManyHandshakeMessages,
            Misbehavior::SecondProtoconf,
            Misbehavior::LateStreamSetup,
            Misbehavior::SecondVersion,
        ];
        let incompatibility = [
            Incompatibility::ProtocolVersion { claimed: 1 },
            Incompatibility::Network { found: Network::Stn },
            Incompatibility::Blockchain,
            Incompatibility::BannedUserAgent,
        ];
        let deadlines =
            [Deadline::Connect, Deadline::Handshake, Deadline::Pong, Deadline::Header, Deadline::Body, Deadline::Send];
        let failures = [
            EMFILE,
            EADDRNOTAVAIL,
            ENOMEM,
            ECONNREFUSED,
            ECONNRESET,
            ECONNABORTED,
            EPIPE,
            ETIMEDOUT,
            EHOSTUNREACH,
            ENETUNREACH,
            EIO,
        ];
        let causes = [
            LocalCause::Shutdown,
            LocalCause::OverCapacity,
            LocalCause::Banned,
            LocalCause::Evicted,
            LocalCause::Duplicate,
            LocalCause::SelfConnection,
            LocalCause::BecameStream,
            LocalCause::StreamRefused,
        ];
        let failure = |code| NetworkFailure::new(IoStep::Connect, &io::Error::from_raw_os_error(code));
        let mut reasons: Vec<CloseReason> = wire.map(CloseReason::Wire).to_vec();
        reasons.extend(misbehavior.map(CloseReason::Misbehaved));
        reasons.extend(incompatibility.map(CloseReason::Incompatible));
        reasons.extend(deadlines.map(CloseReason::TimedOut));
        let foreign = NetworkFailure::new(IoStep::BindSource, &io::Error::from_raw_os_error(EADDRNOTAVAIL));
        let mut failures = failures.map(failure).to_vec();
        failures.insert(2, foreign);
        reasons.extend(failures.into_iter().map(CloseReason::Network));
        reasons.extend([CloseReason::ClosedByPeer, CloseReason::RejectedByPeer(1)]);
        reasons.extend(Disconnect::ALL.map(CloseReason::Requested));
        reasons.extend(causes.map(CloseReason::Local));
        reasons
    }

    #[test]
    fn req_e47_every_reason_has_a_label_at_its_index_in_the_closed_list() {
        let reasons = one_of_each();
        let places: Vec<usize> = reasons.iter().map(CloseReason::index).collect();
        assert_eq!(places, (0..CloseReason::LABELS.len()).collect::<Vec<_>>());
        for reason in &reasons {
            assert_eq!(CloseReason::LABELS[reason.index()], reason.label());
        }
        let distinct: BTreeSet<&str> = CloseReason::LABELS.iter().copied().collect();
        assert_eq!(distinct.len(), CloseReason::LABELS.len());
        let is_plain = |label: &str| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(distinct.into_iter().all(is_plain));
        let also_io = CloseReason::Network(NetworkFailure::new(IoStep::Write, &io::ErrorKind::Other.into()));
        assert_eq!(also_io.label(), "io_error");
    }
}
