//! Looking up names, on a thread of its own because the operating system's resolver blocks.
//!
//! The thread begins with the first question, takes one after another, and ends with the [`Resolver`], or as soon as
//! the look-up that holds it returns: nobody waits for it. It holds nothing of the loop but its own ends of the two
//! channels, so one that hangs for ever costs a thread and whatever its look-up holds. Questions that are not answered
//! yet, and answers that were not taken, are at most [`RESOLVES_MAX`] together.

use super::Wake;
use crate::error::{ResolveCause, ResolveFailure};
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::SyncSender;
    use std::time::Duration;

    /// Longer than anything takes, so that a test fails instead of hanging.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A waker that can be waited for.
    struct Bell(Mutex<SyncSender<()>>);

    impl Wake for Bell {
        fn wake(&self) {
            // A bell that has rung is not rung again.
            let _ = self.0.lock().unwrap().try_send(());
        }
    }

    fn bell() -> (Arc<dyn Wake>, Receiver<()>) {
        let (rings, rung) = std::sync::mpsc::sync_channel(RESOLVES_MAX);
        (Arc::new(Bell(Mutex::new(rings))), rung)
    }

    fn next(resolver: &mut Resolver, rung: &Receiver<()>) -> Resolved {
        rung.recv_timeout(PATIENCE).expect("each answer wakes the loop");
        resolver.take().expect("the answer is there before the waker is used")
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// A look-up that waits for a word each time, and what gives it that word. Once the look-up is gone, the word
    /// cannot be given any more.
    fn held_up() -> (impl LookUp, Sender<()>) {
        let (go, may_go) = channel();
        let may_go = Mutex::new(may_go);
        let look_up = move |_: &str, port| {
            // Without anybody to give the word it goes as well.
            let _ = may_go.lock().unwrap().recv();
            Ok(vec![address(port)])
        };
        (look_up, go)
    }

    #[test]
    fn a_name_may_carry_its_port() {
        for (name, expected) in [
            ("seed.example", ("seed.example", 1)),
            ("seed.example:8333", ("seed.example", 8_333)),
            ("seed.example:65536", ("seed.example:65536", 1)),
            ("seed.example:", ("seed.example:", 1)),
            ("192.0.2.1:7", ("192.0.2.1", 7)),
            ("2001:db8::7:9", ("2001:db8::7:9", 1)),
            ("[2001:db8::7]:9", ("2001:db8::7", 9)),
            ("[2001:db8::7]", ("2001:db8::7", 1)),
            (":5", ("", 5)),
            ("", ("", 1)),
        ] {
            assert_eq!(host_and_port(name, 1), expected, "{name}");
        }
    }

    #[test]
    fn no_thread_begins_before_the_first_question() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, port| Ok(vec![address(port)]));
        assert!(resolver.thread.is_none() && resolver.take().is_none());
        resolver.ask(4, "a.example:9", 1, &waker).unwrap();
        resolver.ask(5, "b.example", 1, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 4, outcome: Ok(vec![address(9)]) });
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 5, outcome: Ok(vec![address(1)]) });
        assert_eq!(resolver.take(), None);
    }

    #[test]
    fn fault_e12_a_thousand_addresses_are_cut_and_none_is_a_failure() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, port| Ok((0..port).map(address).collect()));
        resolver.ask(1, "many.example", 1_000, &waker).unwrap();
        let kept = next(&mut resolver, &rung).outcome.unwrap();
        assert_eq!((kept.len(), kept[0], kept[255]), (RESOLVED_ADDRESSES_MAX, address(0), address(255)));
        resolver.ask(2, "none.example", 0, &waker).unwrap();
        let failure = next(&mut resolver, &rung).outcome.unwrap_err();
        assert_eq!((failure.name.as_str(), &failure.cause), ("none.example", &ResolveCause::NoAddress));
    }

    #[test]
    fn a_failure_says_which_name_and_why() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, _| Err(io::Error::other("the server is on fire")));
        resolver.ask(1, "seed.example:7", 1, &waker).unwrap();
        let failure = next(&mut resolver, &rung).outcome.unwrap_err();
        assert_eq!(failure.to_string(), "\"seed.example:7\" gave no address: the server is on fire");
    }

    #[test]
    fn a_flood_of_questions_is_refused_beyond_the_limit_until_answers_are_taken() {
        let (waker, rung) = bell();
        let (look_up, go) = held_up();
        let mut resolver = Resolver::new(look_up);
        for query in 0..RESOLVES_MAX as u32 {
            resolver.ask(query, "seed.example", 1, &waker).unwrap();
        }
        let refused = resolver.ask(999, "late.example", 1, &waker).unwrap_err();
        assert_eq!((refused.name.as_str(), &refused.cause), ("late.example", &ResolveCause::TooMany));
        go.send(()).unwrap();
        rung.recv_timeout(PATIENCE).unwrap();
        assert!(resolver.ask(999, "late.example", 1, &waker).is_err(), "what was not taken still counts");
        assert_eq!(resolver.take().unwrap().query, 0);
        resolver.ask(999, "late.example", 1, &waker).unwrap();
        drop(go);
        let answered: Vec<u32> = (0..RESOLVES_MAX).map(|_| next(&mut resolver, &rung).query).collect();
        assert!(answered.iter().copied().eq((1..RESOLVES_MAX as u32).chain([999])), "{answered:?}");
    }

    #[test]
    fn fault_e12_a_look_up_that_hangs_holds_nobody_up_who_is_done_with_it() {
        let (waker, _rung) = bell();
        let (look_up, go) = held_up();
        let mut resolver = Resolver::new(look_up);
        resolver.ask(1, "slow.example", 1, &waker).unwrap();
        resolver.ask(2, "slow.example", 1, &waker).unwrap();
        drop(resolver);
        assert_eq!(Arc::strong_count(&waker), 1, "the thread holds nothing of the loop");
        go.send(()).unwrap();
        // The thread lets go of the look-up after the first answer that nobody wants; the second is not tried.
        while go.send(()).is_ok() {
            thread::yield_now();
        }
    }

    #[test]
    fn the_thread_ends_with_the_resolver() {
        let (waker, rung) = bell();
        let (look_up, go) = held_up();
        let mut resolver = Resolver::new(look_up);
        resolver.ask(1, "seed.example", 1, &waker).unwrap();
        go.send(()).unwrap();
        next(&mut resolver, &rung);
        let thread = resolver.thread.take().unwrap();
        drop((resolver, thread.questions, thread.answers));
        thread.handle.join().unwrap();
        assert!(go.send(()).is_err(), "the look-up is gone");
    }

    #[test]
    fn a_look_up_that_panics_costs_its_question_and_no_other_after_it() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|name, port| {
            assert_ne!(name, "bad.example", "this panic is part of a test");
            Ok(vec![address(port)])
        });
        resolver.ask(1, "bad.example", 1, &waker).unwrap();
        while !resolver.thread.as_ref().unwrap().handle.is_finished() {
            thread::yield_now();
        }
        assert_eq!(resolver.take(), None);
        resolver.ask(2, "good.example", 2, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 2, outcome: Ok(vec![address(2)]) });
        assert_eq!(resolver.outstanding, 0);
    }
}
