//! The workload of pings, and the default: each operation is a ping, answered by its pong.

use crate::handler::Ctx;
use crate::id::PeerId;
use crate::load::workload::{Operation, Started, Workload};

/// Pings the peers. The metric `ping_rtt` is the time from a ping to its pong.
///
/// ```
/// use peerloop::load::{Generator, Plan, Rate, workloads::Ping};
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(Ping));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Ping;

impl Workload for Ping {
    fn name(&self) -> &'static str {
        "ping"
    }

    fn metrics(&self) -> &[&'static str] {
        &["ping_rtt"]
    }

    fn pings(&self) -> bool {
        true
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        match ctx.ping(peer, operation.planned) {
            Ok(nonce) => Started::Pinged { nonce },
            Err(error) => Started::NotSent { cause: error.label() },
        }
    }
}
