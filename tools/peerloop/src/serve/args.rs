//! The flags of `serve`, and the settings of the responder that they describe.

use super::knobs::{parse_block_bytes, parse_blocks, parse_delay, parse_share, parse_stall};
use crate::cli::network_parser;
use crate::exit::Failure;
use crate::transactions;
use crate::units::{parse_address, parse_count, parse_rate_above_zero, parse_time_above_zero};
use clap::Args;
use peerloop::Network;
use peerloop::bytes::Bytes;
use peerloop::limits::RESPONDER_POOL_BYTES;
use peerloop::load::{Rate, ResponderConfig, Stall};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum length of all served transactions together.
const MAX_TX_BYTES: usize = RESPONDER_POOL_BYTES;

/// Number of bytes that the node's pool counts for a transaction besides its length, at most, if the length counts
/// twice.
const MAX_OTHER_BYTES: usize = 256;

/// The node completes handshakes, answers ping, getheaders, getdata and inv, and accepts transactions and blocks
/// without validating them. The flags under "Misbehaviour on purpose" make it a bad node; they combine, and act on
/// every reply: pongs, headers, the getdata that answers an inv, and everything that answers a getdata.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Address to listen on; repeatable [default: 127.0.0.1 with the network's port]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Network [default: PEERLOOP_NETWORK, or mainnet]
    #[arg(long, value_name = "NAME", value_parser = network_parser())]
    pub(crate) network: Option<Network>,
    /// Maximum number of peers; 1k is 1000 [default: as many as the limit on open files allows, at most 1m]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) max_peers: Option<usize>,
    /// Share the listening ports with other loops that do the same
    #[arg(long)]
    pub(crate) reuse_port: bool,
    /// Show no status line
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(super) data: DataFlags,
    #[command(flatten)]
    pub(super) knobs: KnobFlags,
}

/// The flags that describe the data that the node serves.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(super) struct DataFlags {
    /// Length of each block: 143B to 64GiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_block_bytes)]
    block_size: Option<u64>,
    /// Number of blocks after the genesis block, at most 100k; only on regtest they have a proof of work [default:
    /// 2000]
    #[arg(long, value_name = "N", value_parser = parse_blocks)]
    blocks: Option<u32>,
    /// File with transactions to serve, one in hexadecimal per line
    #[arg(long, value_name = "FILE")]
    tx: Option<PathBuf>,
    /// Announce each new transaction from a peer to all other peers
    #[arg(long)]
    announce: bool,
}

/// The flags that make the node misbehave.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Misbehaviour on purpose")]
pub(super) struct KnobFlags {
    /// Delay each reply by this time, or by a time drawn from a range: 200us, 1ms..20ms
    #[arg(long, value_name = "TIME[..TIME]", value_parser = parse_delay)]
    delay: Option<(Duration, Duration)>,
    /// Never answer this share of the requests: 5%, 0.05
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    drop: Option<f64>,
    /// Send no reply for the first time in every interval of the second: 200ms/10s; the first pause begins after one
    /// interval
    #[arg(long, value_name = "TIME/TIME", value_parser = parse_stall)]
    stall: Option<Stall>,
    /// Close each peer this time after its handshake
    #[arg(long, value_name = "TIME", value_parser = parse_time_above_zero)]
    close_after: Option<Duration>,
    /// Send at most this many replies per second to all peers together; a reply that would wait for more than 100ms is
    /// dropped
    #[arg(long, value_name = "RATE", value_parser = parse_rate_above_zero)]
    max_rate: Option<Rate>,
    /// Seed of all randomness, to repeat the same delays and drops [default: random]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
}

impl ServeArgs {
    /// Returns the responder's settings. Refuses flags that have no effect together, and unreadable transactions.
    pub(super) fn responder(&self) -> Result<ResponderConfig, Failure> {
        let KnobFlags { delay, drop, stall, close_after, max_rate, .. } = self.knobs;
        if drop == Some(1.0) {
            let others =
                [("--delay", delay.is_some()), ("--stall", stall.is_some()), ("--max-rate", max_rate.is_some())];
            if let Some((flag, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
                return Err(Failure::usage(format!(
                    "--drop 100% answers nothing, so {flag} has no effect; remove one of them"
                )));
            }
        }
        let (min, max) = delay.unwrap_or_default();
        let config = ResponderConfig::default()
            .with_delay(min, max)
            .with_drop_share(drop.unwrap_or_default())
            .with_stall(stall)
            .with_close_after(close_after)
            .with_max_rate(max_rate)
            .with_announce(self.data.announce);
        let (blocks, block_bytes) = (config.blocks, config.block_bytes);
        let config = config
            .with_blocks(self.data.blocks.unwrap_or(blocks))
            .with_block_bytes(self.data.block_size.unwrap_or(block_bytes));
        let Some(path) = &self.data.tx else { return Ok(config) };
        let transactions = transactions::read(path, MAX_TX_BYTES)?;
        let transactions: Vec<_> =
            transactions.iter().map(|tx| Bytes::copy_from_slice(tx.as_ref().encoded())).collect();
        // The transactions from peers have their usual room in addition.
        let pool_bytes: usize = transactions.iter().map(|tx| 2 * tx.len() + MAX_OTHER_BYTES).sum();
        let pool_bytes = config.pool_bytes + pool_bytes;
        Ok(config.with_transactions(transactions).with_pool_bytes(pool_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse_from};
    use crate::exit::Exit;

    fn responder(flags: &[&str]) -> Result<ResponderConfig, Failure> {
        let arguments = ["peerloop", "serve"].iter().chain(flags);
        let cli = parse_from(arguments).expect("the flags are valid");
        let Some(Command::Serve(args)) = cli.command else { panic!("another command") };
        args.responder()
    }

    #[test]
    fn without_flags_the_node_has_the_defaults() {
        assert_eq!(responder(&[]), Ok(ResponderConfig::default()));
    }

    #[test]
    fn each_flag_changes_its_own_setting() {
        let (default, milli) = (ResponderConfig::default, Duration::from_millis(1));
        for (flags, expected) in [
            (&["--delay", "1ms..20ms"][..], default().with_delay(milli, 20 * milli)),
            (&["--delay=200us"], default().with_delay(milli / 5, milli / 5)),
            (&["--drop", "5%"], default().with_drop_share(0.05)),
            (&["--stall", "200ms/10s"], default().with_stall(Stall::new(200 * milli, 10_000 * milli))),
            (&["--close-after", "2s"], default().with_close_after(Some(2_000 * milli))),
            (&["--max-rate", "20k"], default().with_max_rate(Some(Rate::per_second(20_000)))),
            (&["--block-size", "4GiB"], default().with_block_bytes(4 << 30)),
            (&["--blocks", "1k"], default().with_blocks(1_000)),
            (&["--announce"], default().with_announce(true)),
        ] {
            assert_eq!(responder(flags), Ok(expected), "{flags:?}");
        }
    }

    #[test]
    fn a_node_that_answers_nothing_refuses_flags_without_effect() {
        for other in [&["--delay", "1ms"], &["--stall", "1s/2s"], &["--max-rate", "5"]] {
            let refused = responder(&[&["--drop", "100%"], &other[..]].concat()).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(
                refused.message.contains(other[0]) && refused.message.contains("remove one"),
                "{}",
                refused.message
            );
        }
        assert!(responder(&["--drop", "100%", "--close-after", "1s"]).is_ok());
    }
}
