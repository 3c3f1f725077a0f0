//! Uses a loop from a tokio runtime: requests are awaited, and events arrive as a stream.
//!
//! Run `cargo run --example tokio_tasks`, or append a network and a node, for example `mainnet 192.0.2.1:8333`. The
//! loop has its own thread, so no task can delay a peer. That thread wakes the task that waits for a reply or an
//! event. A runtime that must drive the loop itself waits for the loop's descriptor, as the example
//! `foreign_event_loop` does.

mod setting;

use peerloop::api::CommandFilter;
use peerloop::channel::{self, Channel};
use peerloop::limits::CHANNEL_ITEMS;
use peerloop::protocol::CommandName;
use peerloop::{Config, ControlEvent, Message, Queued, Received, Subscription};
use setting::Trouble;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

/// Maximum wait for the handshake, and for the first message after it.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (network, node) = setting::network_and_node()?;
    let wanted = CommandFilter::Only(vec![CommandName::ADDR]);
    let (mut reactor, channel) = channel::open(Config::new(network), wanted, CHANNEL_ITEMS)?;
    let running = thread::spawn(move || reactor.run());
    talk(channel, node).await?;
    // The loop has ended, so its thread ends at once.
    running.join().expect("the loop does not panic")?;
    Ok(())
}

/// Connects to the node, asks it for addresses and stops the loop.
async fn talk(channel: Channel, node: SocketAddr) -> Result<(), Box<dyn Error>> {
    let Channel { handle, control, messages, .. } = channel;
    let (mut events, mut messages) = (Items(control), Items(messages));
    let peer = handle.connect(node, None)?.await??;
    timeout(PATIENCE, ready(&mut events)).await??;
    println!("ready: {} peer", handle.connection_count()?.await?);

    handle.send_message(peer, &Message::GetAddr)?.await??;
    if let Some(Received::Item(message)) = timeout(PATIENCE, messages.next()).await? {
        println!("{} of {} bytes", message.header.command, message.payload.len());
    }

    // The reply arrives when all peers are closed and the subscriptions have ended.
    handle.stop()?.await?;
    let left = events.fold(0, |count, _| count + 1).await;
    println!("stopped, with {left} more events");
    Ok(())
}

/// Waits until the handshake is complete. Returns an error if the connection fails or the loop ends before that.
async fn ready(events: &mut Items<ControlEvent>) -> Result<(), Trouble> {
    while let Some(received) = events.next().await {
        match received {
            Received::Item(ControlEvent::HandshakeComplete { .. }) => return Ok(()),
            Received::Item(event @ (ControlEvent::ConnectionFailed { .. } | ControlEvent::ConnectionLost { .. })) => {
                return Err(Trouble(event.to_string()));
            }
            Received::Item(event) => println!("{}", event.label()),
            Received::Lagged { count } => println!("lagged: {count} events dropped"),
        }
    }
    Err(Trouble("the loop has ended".to_owned()))
}

/// A subscription as a tokio stream. An adapter to another crate's `Stream` trait looks the same.
struct Items<T>(Subscription<T>);

impl<T: Queued> Stream for Items<T> {
    type Item = Received<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        self.0.poll_next(context)
    }
}
