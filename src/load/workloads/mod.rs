//! The workloads of this crate. Each is a small type that implements [`Workload`](super::Workload).

mod block_begin;
mod block_fetch;
mod connections;
mod get_data;
mod headers;
mod inv;
mod mix;
mod ping;
mod propagation;
mod send_tx;

pub use block_fetch::BlockFetch;
pub use connections::{Churn, Connect, Handshake};
pub use get_data::GetData;
pub use headers::Headers;
pub use inv::Inv;
pub use mix::{MAX_MIX_WEIGHT, Mix, MixError};
pub use ping::Ping;
pub use propagation::Propagation;
pub use send_tx::SendTx;

use super::workload::Started;
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::wire::MessageRef;

/// Sends an operation's message with the operation's mark.
fn send(ctx: &mut Ctx<'_>, peer: PeerId, message: &MessageRef<'_>, mark: u64, key: u64) -> Started {
    match try_send(ctx, peer, message, mark) {
        Ok(()) => Started::Sent { key },
        Err(cause) => Started::NotSent { cause },
    }
}

/// Sends an operation's message with the operation's mark, or returns the cause.
fn try_send(ctx: &mut Ctx<'_>, peer: PeerId, message: &MessageRef<'_>, mark: u64) -> Result<(), &'static str> {
    let frame = ctx.encode(message);
    ctx.send_marked(peer, &frame, mark).map_err(|error| error.label())
}
