//! A view of one host's open sockets, for checks. A view changes nothing.

use super::Kernel;
use super::host::{Listener, OWN_DESCRIPTORS};
use crate::id::{LinkId, Token};
use crate::sim::connection::{Owner, Side};
use crate::sim::poller::Poller;
use crate::sim::world::World;

/// A host's registered endpoints and listeners, and the number of its open sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sim) struct HostView {
    /// The registered endpoints of connections.
    pub(in crate::sim) ends: Vec<EndView>,
    pub(in crate::sim) listeners: Vec<BacklogView>,
    /// The number of open sockets, registered or not, including listeners.
    pub(in crate::sim) sockets: usize,
    /// The cost of the view: the number of all hosts' connections, because the view examines each of them.
    pub(in crate::sim) looked_at: usize,
}

/// A registered endpoint of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct EndView {
    pub(in crate::sim) link: LinkId,
    /// A read would return bytes, the end of the stream or an error.
    pub(in crate::sim) is_readable: bool,
    /// A write would accept bytes or return an error, for example because the connect has failed.
    pub(in crate::sim) is_writable: bool,
    /// If the endpoint is readable, a waiting event will report it.
    pub(in crate::sim) will_be_readable: bool,
    /// If the endpoint is writable, a waiting event will report it.
    pub(in crate::sim) will_be_writable: bool,
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct BacklogView {
    pub(in crate::sim) index: u32,
    /// The number of connections that wait to be accepted.
    pub(in crate::sim) waiting: usize,
    pub(in crate::sim) has_edge: bool,
}

impl World {
    /// Returns a view of a host's open sockets, at a cost that grows with the number of all hosts' connections.
    pub(in crate::sim) fn view_of(&self, host: usize) -> HostView {
        HostView::of(&mut self.kernel_mut(), host)
    }
}

impl HostView {
    fn of(kernel: &mut Kernel, host: usize) -> Self {
        let (poller, descriptors) = (kernel.hosts[host].queue.poller, kernel.hosts[host].descriptors);
        let mut ends = Vec::new();
        for (_, connection) in &mut kernel.connections {
            for side in [Side::Dialler, Side::Acceptor] {
                let end = connection.end(side);
                let Some(Owner { token, .. }) = end.owner.filter(|owner| owner.host as usize == host) else { continue };
                let Token::Link(link) = Token::from_u64(token) else { continue };
                let (is_queued, owed) = (end.is_queued, end.owed);
                let mask = connection.mask(side);
                let shows_all = poller != Poller::Mean || mask.hung_up;
                ends.push(EndView {
                    link,
                    is_readable: mask.readable,
                    is_writable: connection.decides_write(side),
                    will_be_readable: is_queued && (shows_all || owed.readable),
                    will_be_writable: is_queued && (shows_all || owed.writable),
                });
            }
        }
        let listeners = kernel.listeners.values().filter(|listener| listener.host == host);
        let backlog = |listener: &Listener| BacklogView {
            index: listener.index,
            waiting: listener.waiting.len(),
            has_edge: listener.is_queued,
        };
        Self {
            ends,
            listeners: listeners.map(backlog).collect(),
            sockets: descriptors - OWN_DESCRIPTORS,
            looked_at: kernel.connections.len(),
        }
    }
}
