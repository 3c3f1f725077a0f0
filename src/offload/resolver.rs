//! Name look-ups, each on a thread of its own because the operating system's resolver blocks.
//!
//! A name whose servers do not respond does not delay other names. A thread ends with its look-up, and nothing joins
//! it. Of the loop, the thread keeps only the look-up function and the channel for results alive. At most
//! [`MAX_RESOLVES`] look-ups are running or have uncollected results. A look-up that hangs forever occupies its thread
//! and counts towards this limit.

use crate::error::{ResolveCause, ResolveFailure};
use crate::limits::{MAX_RESOLVED_ADDRESSES, MAX_RESOLVES};
use crate::net::Wake;
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// A function that resolves a name and a port to addresses. It may block for any length of time.
pub(super) trait LookUp: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static {}

impl<F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static> LookUp for F {}

/// Looks up a name with the operating system's resolver.
pub(super) fn ask_system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.take(MAX_RESOLVED_ADDRESSES).collect())
}

/// The look-ups of one loop.
pub(super) struct Resolver {
    look_up: Arc<dyn LookUp>,
    /// The channel's sending end, cloned for each thread.
    answer: Sender<Resolved>,
    answers: Receiver<Resolved>,
    /// The number of look-ups whose results have not been collected.
    outstanding: usize,
}

/// The result of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) query: u32,
    pub(super) outcome: Result<Vec<SocketAddr>, ResolveFailure>,
}

impl Resolver {
    /// Creates a resolver without look-ups.
    pub(super) fn new(look_up: impl LookUp) -> Self {
        let (answer, answers) = channel();
        Self { look_up: Arc::new(look_up), answer, answers, outstanding: 0 }
    }

    /// Starts to look up a name. `waker` is called when the result is available.
    pub(super) fn ask(
        &mut self,
        query: u32,
        name: &str,
        port: u16,
        waker: &Arc<dyn Wake>,
    ) -> Result<(), ResolveFailure> {
        let failed = |cause| ResolveFailure { name: name.to_owned(), cause };
        if self.outstanding >= MAX_RESOLVES {
            return Err(failed(ResolveCause::TooMany));
        }
        let (name, look_up) = (name.to_owned(), Arc::clone(&self.look_up));
        let (answer, waker) = (self.answer.clone(), Arc::downgrade(waker));
        let serve = move || {
            let outcome = outcome_of(name.clone(), found(&*look_up, &name, port));
            // Without the receiver there is no loop to wake.
            if answer.send(Resolved { query, outcome }).is_ok()
                && let Some(waker) = waker.upgrade()
            {
                waker.wake();
            }
        };
        let spawned = thread::Builder::new().name("peerloop-resolve".to_owned()).spawn(serve);
        spawned.map_err(|error| failed(ResolveCause::NoThread(error.kind())))?;
        self.outstanding += 1;
        Ok(())
    }

    /// Returns the next result, if there is one.
    pub(super) fn take(&mut self) -> Option<Resolved> {
        let resolved = self.answers.try_recv().ok()?;
        self.outstanding -= 1;
        Some(resolved)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

/// Calls `look_up` for a name. A panic becomes an error.
fn found(look_up: &dyn LookUp, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = host_and_port(name, port);
    catch_unwind(AssertUnwindSafe(|| look_up(host, port)))
        .unwrap_or_else(|_| Err(io::Error::other("the look-up has panicked")))
}

/// Converts a look-up's result: an empty list becomes a failure, and a long list is truncated to
/// [`MAX_RESOLVED_ADDRESSES`].
pub(crate) fn outcome_of(name: String, found: io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, ResolveFailure> {
    match found {
        Ok(addresses) if addresses.is_empty() => Err(ResolveFailure { name, cause: ResolveCause::NoAddress }),
        Ok(mut addresses) => {
            addresses.truncate(MAX_RESOLVED_ADDRESSES);
            addresses.shrink_to_fit();
            Ok(addresses)
        }
        Err(error) => Err(ResolveFailure { name, cause: ResolveCause::System(error.to_string()) }),
    }
}

/// Splits a name into a host and a port, which is `port` if the name has no valid port. A bare IPv6 address has none.
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

    /// Maximum time for one step of a test, so that a test fails instead of hanging.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A waker that a test can wait for.
    struct Bell(Mutex<SyncSender<()>>);

    impl Wake for Bell {
        fn wake(&self) {
            // The channel has room for one ring per outstanding result.
            let _ = self.0.lock().unwrap().try_send(());
        }
    }

    fn bell() -> (Arc<dyn Wake>, Receiver<()>) {
        let (rings, rung) = std::sync::mpsc::sync_channel(MAX_RESOLVES);
        (Arc::new(Bell(Mutex::new(rings))), rung)
    }

    fn next(resolver: &mut Resolver, rung: &Receiver<()>) -> Resolved {
        rung.recv_timeout(PATIENCE).expect("a result wakes the loop");
        resolver.take().expect("the result is available before the waker is called")
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// Returns a look-up that waits for a signal on each call, and the signal's sender. Sending fails once the
    /// look-up is dropped.
    fn held_up() -> (impl LookUp, Sender<()>) {
        let (go, may_go) = channel();
        let may_go = Mutex::new(may_go);
        let look_up = move |_: &str, port| {
            // The look-up also continues if the sender is dropped.
            let _ = may_go.lock().unwrap().recv();
            Ok(vec![address(port)])
        };
        (look_up, go)
    }

    #[test]
    fn a_name_may_include_its_port() {
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
    fn each_result_carries_the_number_of_its_query() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, port| Ok(vec![address(port)]));
        assert_eq!(resolver.take(), None);
        resolver.ask(4, "a.example:9", 1, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 4, outcome: Ok(vec![address(9)]) });
        resolver.ask(5, "b.example", 1, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 5, outcome: Ok(vec![address(1)]) });
        assert_eq!(resolver.take(), None);
    }

    #[test]
    fn fault_e12_a_hanging_name_does_not_delay_other_names() {
        let (waker, rung) = bell();
        let (held, go) = held_up();
        let mut resolver = Resolver::new(move |name: &str, port| match name {
            "slow.example" => held(name, port),
            _ => Ok(vec![address(port)]),
        });
        resolver.ask(1, "slow.example", 1, &waker).unwrap();
        resolver.ask(2, "good.example", 2, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 2, outcome: Ok(vec![address(2)]) });
        assert_eq!((resolver.take(), resolver.outstanding), (None, 1));
        go.send(()).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 1, outcome: Ok(vec![address(1)]) });
        assert_eq!(resolver.outstanding, 0);
    }

    #[test]
    fn fault_e12_a_list_of_a_thousand_addresses_is_truncated_and_an_empty_list_is_a_failure() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, port| Ok((0..port).map(address).collect()));
        resolver.ask(1, "many.example", 1_000, &waker).unwrap();
        let kept = next(&mut resolver, &rung).outcome.unwrap();
        assert_eq!((kept.len(), kept[0], kept[255]), (MAX_RESOLVED_ADDRESSES, address(0), address(255)));
        resolver.ask(2, "none.example", 0, &waker).unwrap();
        let failure = next(&mut resolver, &rung).outcome.unwrap_err();
        assert_eq!((failure.name.as_str(), &failure.cause), ("none.example", &ResolveCause::NoAddress));
    }

    #[test]
    fn a_failure_states_the_name_and_the_cause() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|_, _| Err(io::Error::other("the server has failed")));
        resolver.ask(1, "seed.example:7", 1, &waker).unwrap();
        let failure = next(&mut resolver, &rung).outcome.unwrap_err();
        assert_eq!(failure.to_string(), "could not resolve \"seed.example:7\": the server has failed");
    }

    #[test]
    fn look_ups_beyond_the_limit_are_refused_until_results_are_collected() {
        let (waker, rung) = bell();
        let (look_up, go) = held_up();
        let mut resolver = Resolver::new(look_up);
        for query in 0..MAX_RESOLVES as u32 {
            resolver.ask(query, "seed.example", 1, &waker).unwrap();
        }
        let refused = resolver.ask(999, "late.example", 1, &waker).unwrap_err();
        assert_eq!((refused.name.as_str(), &refused.cause), ("late.example", &ResolveCause::TooMany));
        go.send(()).unwrap();
        rung.recv_timeout(PATIENCE).unwrap();
        assert!(resolver.ask(999, "late.example", 1, &waker).is_err(), "an uncollected result did not count");
        let first = resolver.take().unwrap().query;
        resolver.ask(999, "late.example", 1, &waker).unwrap();
        drop(go);
        let mut answered: Vec<u32> = (0..MAX_RESOLVES).map(|_| next(&mut resolver, &rung).query).collect();
        answered.sort_unstable();
        let expected = (0..MAX_RESOLVES as u32).filter(|&query| query != first).chain([999]);
        assert!(
            answered.iter().copied().eq(expected),
            "after {first}, the other queries were not each answered once: {answered:?}"
        );
    }

    #[test]
    fn fault_e12_a_hanging_look_up_does_not_delay_the_drop_of_its_resolver() {
        let (waker, rung) = bell();
        let (look_up, go) = held_up();
        let mut resolver = Resolver::new(look_up);
        resolver.ask(1, "slow.example", 1, &waker).unwrap();
        resolver.ask(2, "slow.example", 1, &waker).unwrap();
        drop(resolver);
        assert_eq!(Arc::strong_count(&waker), 1, "a thread still holds the loop's waker");
        go.send(()).unwrap();
        go.send(()).unwrap();
        // The last thread to end drops the look-up.
        while go.send(()).is_ok() {
            thread::yield_now();
        }
        assert!(rung.try_recv().is_err(), "a dropped resolver woke the loop");
    }

    #[test]
    fn a_panicking_look_up_fails_only_its_own_name() {
        let (waker, rung) = bell();
        let mut resolver = Resolver::new(|name, port| {
            assert_ne!(name, "bad.example", "this panic is part of a test");
            Ok(vec![address(port)])
        });
        resolver.ask(1, "bad.example", 1, &waker).unwrap();
        let failure = next(&mut resolver, &rung).outcome.unwrap_err();
        assert_eq!(failure.to_string(), "could not resolve \"bad.example\": the look-up has panicked");
        resolver.ask(2, "good.example", 2, &waker).unwrap();
        assert_eq!(next(&mut resolver, &rung), Resolved { query: 2, outcome: Ok(vec![address(2)]) });
        assert_eq!(resolver.outstanding, 0);
    }
}
