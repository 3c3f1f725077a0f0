//! One TCP connection: its row in the table, its framer and its send queue.
//!
//! All links of a loop share one buffer for input and one for replies, so an idle link owns no buffer. No part uses a
//! socket or a clock, or interprets a message.

pub(crate) mod association;
pub(crate) mod blocks;
pub(crate) mod framer;
pub(crate) mod row;
pub(crate) mod send_queue;
pub(crate) mod table;
