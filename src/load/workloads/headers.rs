//! The workload of header requests: each operation is a `getheaders`, answered by `headers`.

use super::send;
use crate::api::{Delivery, Frame};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::load::workload::{Operation, Operations, Started, Workload};
use crate::protocol::{CommandName, PROTOCOL_VERSION};
use crate::wire::{BlockHeader, Hash256, Header, Locator, MessageRef};

/// Requests the headers after the network's genesis block. The metric `headers_fetch` is the time from a `getheaders`
/// to the `headers`, of which a node sends at most 2,000 (162 KB).
///
/// An empty `headers` is a reply too. Headers that follow another block are an announcement, and no reply. A `headers`
/// that cannot be decoded is a failed operation with the cause `undecodable`. An SV Node in its initial sync does not
/// answer.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Headers};
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Headers));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers;

/// The key of all operations: the replies of a peer arrive in the order of the requests.
const KEY: u64 = 0;

fn genesis(ctx: &Ctx<'_>) -> Hash256 {
    BlockHeader::genesis_of(ctx.config().network).hash()
}

impl Workload for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn metrics(&self) -> &[&'static str] {
        &["headers_fetch"]
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let locator = Locator::from_hashes(PROTOCOL_VERSION as i32, [genesis(ctx)], Hash256::ZERO);
        send(ctx, peer, &MessageRef::GetHeaders(locator.as_ref()), operation.mark, KEY)
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::HEADERS { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        match frame.decode() {
            Ok(MessageRef::Headers(headers)) => {
                let is_reply = headers.iter().next().is_none_or(|first| first.header.prev_hash == genesis(ctx));
                if is_reply {
                    operations.answered(peer, KEY, ctx.now());
                }
            }
            Ok(_) => {}
            Err(_) => drop(operations.failed(peer, KEY, "undecodable", ctx.now())),
        }
    }
}
