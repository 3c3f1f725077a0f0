//! Stream policies: the rules that assign messages to the TCP streams of an association.
//!
//! A policy only names the stream that a message should be sent on. It never restricts the stream on which a message
//! may arrive.

use crate::protocol::CommandName;
use crate::wire::StreamType;

/// The rule by which a peer with several TCP streams assigns outgoing messages to them (SV Node 1.2.2,
/// net/stream_policy.cpp). Both sides of an association use the same policy.
///
/// ```
/// use peerloop::peer::StreamPolicy;
///
/// assert_eq!(StreamPolicy::common(b"BlockPriority,Default"), Some(StreamPolicy::BlockPriority));
/// assert_eq!(StreamPolicy::common(b"Default,Other").map(StreamPolicy::name), Some("Default"));
/// assert_eq!(StreamPolicy::common(b"Other"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamPolicy {
    /// All messages use the first stream.
    #[default]
    Default,
    /// Blocks, headers, their requests and announcements, pings and pongs use the stream DATA1. All other messages use
    /// the first stream, so a long queue of transactions delays no block.
    BlockPriority,
}

impl StreamPolicy {
    /// All policies, the preferred one first.
    pub const ALL: [Self; 2] = [Self::BlockPriority, Self::Default];

    /// Returns the name in `protoconf` and `createstrm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::BlockPriority => "BlockPriority",
        }
    }

    /// Returns the preferred policy that a peer's `protoconf` lists; `None` if the list has none that we support.
    /// `listed` has names separated by commas.
    pub fn common(listed: &[u8]) -> Option<Self> {
        let is_listed = |policy: &Self| listed.split(|byte| *byte == b',').any(|name| name == policy.name().as_bytes());
        Self::ALL.into_iter().find(is_listed)
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().as_bytes() == name)
    }

    /// Returns the stream for a message. `lists_blocks` states whether an `inv` or `getdata` lists blocks; it has no
    /// effect for other commands.
    pub(crate) fn stream_of(self, command: CommandName, lists_blocks: bool) -> StreamType {
        match self {
            Self::Default => StreamType::General,
            Self::BlockPriority => match command {
                CommandName::PING
                | CommandName::PONG
                | CommandName::BLOCK
                | CommandName::CMPCTBLOCK
                | CommandName::BLOCKTXN
                | CommandName::GETBLOCKTXN
                | CommandName::HEADERS
                | CommandName::GETHEADERS
                | CommandName::HDRSEN
                | CommandName::GETHDRSEN => StreamType::Data1,
                CommandName::INV | CommandName::GETDATA if lists_blocks => StreamType::Data1,
                _ => StreamType::General,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StreamType::{Data1, General};

    #[test]
    fn block_priority_follows_the_reference_nodes_table() {
        let on_data1 = [
            "ping",
            "pong",
            "block",
            "cmpctblock",
            "blocktxn",
            "getblocktxn",
            "headers",
            "getheaders",
            "hdrsen",
            "gethdrsen",
        ];
        let on_general = ["version", "verack", "protoconf", "tx", "notfound", "addr", "reject", "sendcmpct", "mempool"];
        let of = CommandName::new;
        for lists_blocks in [false, true] {
            for name in on_data1 {
                assert_eq!(StreamPolicy::BlockPriority.stream_of(of(name), lists_blocks), Data1, "{name}");
            }
            for name in on_general {
                assert_eq!(StreamPolicy::BlockPriority.stream_of(of(name), lists_blocks), General, "{name}");
            }
            for name in ["inv", "getdata"] {
                let expected = if lists_blocks { Data1 } else { General };
                assert_eq!(StreamPolicy::BlockPriority.stream_of(of(name), lists_blocks), expected, "{name}");
            }
            for name in on_data1.into_iter().chain(on_general) {
                assert_eq!(StreamPolicy::Default.stream_of(of(name), lists_blocks), General, "{name}");
            }
        }
    }

    #[test]
    fn only_a_whole_name_in_the_list_counts() {
        for (listed, expected) in [
            (&b"Default,BlockPriority"[..], Some(StreamPolicy::BlockPriority)),
            (b"Default", Some(StreamPolicy::Default)),
            (b"DefaultX,XBlockPriority", None),
            (b"default", None),
            (b"", None),
            (b",,Default,", Some(StreamPolicy::Default)),
        ] {
            assert_eq!(StreamPolicy::common(listed), expected, "{}", String::from_utf8_lossy(listed));
        }
        assert_eq!(
            StreamPolicy::ALL.map(|policy| StreamPolicy::from_name(policy.name().as_bytes())),
            [Some(StreamPolicy::BlockPriority), Some(StreamPolicy::Default)]
        );
        assert_eq!(StreamPolicy::from_name(b""), None);
    }
}
