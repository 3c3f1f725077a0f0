//! Looking up names, on a thread of its own because the operating system's resolver blocks.
//!
//! The thread begins with the first question, takes one after another, and ends with the [`Resolver`], or as soon as
//! the look-up that holds it returns: nobody waits for it. It holds nothing of the loop but its own ends of the two
//! channels, so one that hangs for ever costs a thread and whatever its look-up holds. Questions that are not answered
//! yet, and answers that were not taken, are at most [`RESOLVES_MAX`] together.

use super::{ResolveCause, ResolveFailure, Wake};
use crate::limits::{RESOLVED_ADDRESSES_MAX, RESOLVES_MAX};
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

/// Finds the addresses of a name and a port, and may take any time for it.
pub(super) trait LookUp: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static {}

impl<F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static> LookUp for F {}

/// Asks the operating system.
pub(super) fn ask_system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.take(RESOLVED_ADDRESSES_MAX).collect())
}

/// The questions and answers of one loop.
pub(super) struct Resolver {
    look_up: Arc<dyn LookUp>,
    thread: Option<Thread>,
    /// Questions whose answers were not taken.
    outstanding: usize,
}

/// The loop's ends of what leads to the thread and back.
struct Thread {
    handle: JoinHandle<()>,
    questions: Sender<Question>,
    answers: Receiver<Resolved>,
}

struct Question {
    query: u32,
    name: String,
    port: u16,
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) query: u32,
    pub(super) outcome: Result<Vec<SocketAddr>, ResolveFailure>,
}

impl Resolver {
    /// A resolver without a thread.
    pub(super) fn new(look_up: impl LookUp) -> Self {
        Self { look_up: Arc::new(look_up), thread: None, outstanding: 0 }
    }

    /// Passes a question on to the thread, which uses `waker` when it has the answer.
    pub(super) fn ask(
        &mut self,
        query: u32,
        name: &str,
        port: u16,
        waker: &Arc<dyn Wake>,
    ) -> Result<(), ResolveFailure> {
        let failed = |cause| Err(ResolveFailure { name: name.to_owned(), cause });
        // A look-up that has panicked takes its thread with it, and what that was asked.
        if self.thread.as_ref().is_some_and(|thread| thread.handle.is_finished()) {
            self.thread = None;
            self.outstanding = 0;
        }
        if self.outstanding >= RESOLVES_MAX {
            return failed(ResolveCause::TooMany);
        }
        if self.thread.is_none() {
            match Thread::begin(Arc::clone(&self.look_up), Arc::downgrade(waker)) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => return failed(ResolveCause::NoThread(error.kind())),
            }
        }
        let question = Question { query, name: name.to_owned(), port };
        match self.thread.as_ref().map(|thread| thread.questions.send(question)) {
            Some(Ok(())) => self.outstanding += 1,
            Some(Err(_)) | None => return failed(ResolveCause::NoThread(io::ErrorKind::BrokenPipe)),
        }
        Ok(())
    }

    /// The next answer, if there is one.
    pub(super) fn take(&mut self) -> Option<Resolved> {
        let resolved = self.thread.as_ref()?.answers.try_recv().ok()?;
        self.outstanding -= 1;
        Some(resolved)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

impl Thread {
    fn begin(look_up: Arc<dyn LookUp>, waker: Weak<dyn Wake>) -> io::Result<Self> {
        let (questions, asked) = channel();
        let (answered, answers) = channel();
        let serve = move || serve(&*look_up, &asked, &answered, &waker);
        let handle = thread::Builder::new().name("peerloop-resolve".to_owned()).spawn(serve)?;
        Ok(Self { handle, questions, answers })
    }
}

fn serve(look_up: &dyn LookUp, questions: &Receiver<Question>, answers: &Sender<Resolved>, waker: &Weak<dyn Wake>) {
    while let Ok(Question { query, name, port }) = questions.recv() {
        let (host, port) = host_and_port(&name, port);
        let found = look_up(host, port);
        let outcome = outcome_of(name, found);
        if answers.send(Resolved { query, outcome }).is_err() {
            return;
        }
        if let Some(waker) = waker.upgrade() {
            waker.wake();
        }
    }
}

/// What a look-up has found, within the bounds of an answer.
pub(crate) fn outcome_of(name: String, found: io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, ResolveFailure> {
    match found {
        Ok(addresses) if addresses.is_empty() => Err(ResolveFailure { name, cause: ResolveCause::NoAddress }),
        Ok(mut addresses) => {
            addresses.truncate(RESOLVED_ADDRESSES_MAX);
            addresses.shrink_to_fit();
            Ok(addresses)
        }
        Err(error) => Err(ResolveFailure { name, cause: ResolveCause::System(error.to_string()) }),
    }
}

/// The host of a name and the port behind it, or else `port`.
pub(crate) fn host_and_port(name: &str, port: u16) -> (&str, u16) {
    if name.parse::<Ipv6Addr>().is_ok() {
        return (name, port);
    }
    let (host, port) = match name.rsplit_once(':').map(|(host, digits)| (host, digits.parse())) {
        Some((host, Ok(port))) => (host, port),
        Some((_, Err(_))) | None => (name, port),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}
