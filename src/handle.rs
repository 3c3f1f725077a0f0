//! The remote control of a loop, for other threads.
//!
//! A [`Handle`] puts commands into a bounded queue and wakes the loop. It never blocks and never waits for the loop;
//! when the queue is full it gives the command back. It is not for use inside a handler, which has its
//! [`Ctx`](crate::Ctx).

use crate::api::{Command, Pending, Stats};
use crate::config::{Config, ConfigChange, UpdateError};
use crate::error::CommandError;
use crate::id::PeerId;
use crate::limits::HANDLE_QUEUE_MAX;
use crate::net::Wake;
use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Controls a loop from any thread; `C` is the handler's own kind of command.
///
/// Cheap to clone. The queue holds [`HANDLE_QUEUE_MAX`] commands.
pub struct Handle<C> {
    commands: SyncSender<Command<C>>,
    waker: Arc<dyn Wake>,
}

/// A command that was not taken, given back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused<C> {
    /// The queue is full; try again later.
    Full(Command<C>),
    /// The loop has ended.
    Stopped(Command<C>),
}

impl<C> Handle<C> {
    /// A handle and the queue that the loop reads.
    pub(crate) fn new(waker: Arc<dyn Wake>) -> (Self, Receiver<Command<C>>) {
        let (commands, queue) = sync_channel(HANDLE_QUEUE_MAX);
        (Self { commands, waker }, queue)
    }

    /// Sends any command.
    ///
    /// # Errors
    ///
    /// The command, when the queue is full or the loop has ended.
    pub fn try_send(&self, command: Command<C>) -> Result<(), Refused<C>> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => Refused::Full(command),
            TrySendError::Disconnected(command) => Refused::Stopped(command),
        })?;
        self.waker.wake();
        Ok(())
    }

    /// Asks for a connection; the answer is the new peer's id, before it is established.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn connect(
        &self,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<Pending<Result<PeerId, CommandError>>, Refused<C>> {
        let (answer, pending) = Pending::new();
        self.try_send(Command::Connect { address, source, answer })?;
        Ok(pending)
    }

    /// Closes a peer gracefully.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn close(&self, peer: PeerId) -> Result<(), Refused<C>> {
        self.try_send(Command::Close { peer })
    }

    /// Sends an encoded frame to a peer; it is dropped if the peer is gone or its queue is full.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn send(&self, peer: PeerId, frame: Bytes) -> Result<(), Refused<C>> {
        self.try_send(Command::Send { peer, frame })
    }

    /// Gives the loop another configuration, which it takes as a whole between two of its steps, or not at all. The
    /// answer is the list of what has changed.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`]; the answer has the errors of [`Config::changes_to`].
    pub fn update_config(&self, config: Config) -> Result<Pending<Result<Vec<ConfigChange>, UpdateError>>, Refused<C>> {
        self.send_config(config, false)
    }

    /// Asks what [`Handle::update_config`] would change, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Handle::update_config`].
    pub fn check_config(&self, config: Config) -> Result<Pending<Result<Vec<ConfigChange>, UpdateError>>, Refused<C>> {
        self.send_config(config, true)
    }

    /// Asks what the loop has done so far.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn stats(&self) -> Result<Pending<Stats>, Refused<C>> {
        let (answer, pending) = Pending::new();
        self.try_send(Command::Stats { answer })?;
        Ok(pending)
    }

    /// Sends something to the handler.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn command(&self, command: C) -> Result<(), Refused<C>> {
        self.try_send(Command::Handler(command))
    }

    /// Closes all peers gracefully and ends the loop.
    ///
    /// # Errors
    ///
    /// As [`Handle::try_send`].
    pub fn stop(&self) -> Result<(), Refused<C>> {
        self.try_send(Command::Stop)
    }
}

impl<C> Handle<C> {
    fn send_config(
        &self,
        config: Config,
        dry_run: bool,
    ) -> Result<Pending<Result<Vec<ConfigChange>, UpdateError>>, Refused<C>> {
        let (answer, pending) = Pending::new();
        self.try_send(Command::UpdateConfig { config: Box::new(config), dry_run, answer })?;
        Ok(pending)
    }
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<C> fmt::Display for Refused<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the loop's command queue is full; try again later",
            Self::Stopped(_) => "the loop has ended",
        })
    }
}

impl<C: fmt::Debug> std::error::Error for Refused<C> {}
