//! A host's network that records calls, batches and completions in the ledger.

use super::ledger::Ledger;
use crate::id::LinkId;
use crate::manager::store::Batch;
use crate::net::{Endpoints, Net, Readiness};
use crate::offload::{Completion, Offload};
use crate::sim::faults::Site;
use crate::sim::layer::Layer;
use crate::sim::net::{SimNet, SimSocket};
use crate::time::Wait;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// A [`SimNet`] that records the calls that the ledger checks.
#[derive(Debug)]
pub struct Gate {
    net: SimNet,
    ledger: Rc<RefCell<Ledger>>,
}

impl Gate {
    pub(super) fn new(net: SimNet, ledger: Rc<RefCell<Ledger>>) -> Self {
        Self { net, ledger }
    }

    /// Makes a call that can fail, and records its result.
    fn tried<T>(&mut self, site: Site, call: impl FnOnce(&mut SimNet) -> io::Result<T>) -> io::Result<T> {
        let result = call(&mut self.net);
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        self.ledger.borrow_mut().tried(site, errno);
        result
    }

    /// Returns the wrapped network.
    pub fn net(&self) -> &SimNet {
        &self.net
    }
}

impl Layer for Gate {
    type Below = SimNet;

    fn below(&self) -> &SimNet {
        &self.net
    }

    fn below_mut(&mut self) -> &mut SimNet {
        &mut self.net
    }

    fn wait(&mut self, wait: Wait, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let waited = self.tried(Site::Wait, |net| net.wait(wait, ready));
        let mut ledger = self.ledger.borrow_mut();
        ledger.attempts += ready.len() as u64;
        waited?;
        ledger.waited(self.net.now());
        Ok(())
    }

    fn accept(&mut self, index: u32) -> io::Result<(SimSocket, SocketAddr)> {
        let accepted = self.tried(Site::Accept, |net| net.accept(index))?;
        self.ledger.borrow_mut().accepted(index);
        Ok(accepted)
    }

    fn attach(&mut self, link: LinkId, socket: SimSocket) -> io::Result<()> {
        self.tried(Site::Attach, |net| net.attach(link, socket))?;
        self.ledger.borrow_mut().opened_socket(link, false);
        Ok(())
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        self.tried(Site::Connect, |net| net.connect(link, address, source))?;
        self.ledger.borrow_mut().opened_socket(link, true);
        Ok(())
    }

    fn connected(&mut self, link: LinkId) -> io::Result<Option<Endpoints>> {
        self.ledger.borrow_mut().called(link, "connected");
        self.tried(Site::Connected, |net| net.connected(link))
    }

    fn read(&mut self, link: LinkId, block: &mut [u8]) -> io::Result<usize> {
        self.ledger.borrow_mut().read(link, block.len());
        let read = self.tried(Site::Read, |net| net.read(link, block));
        if matches!(read, Ok(0)) {
            self.ledger.borrow_mut().streams.ended(link);
        }
        read
    }

    fn write(&mut self, link: LinkId, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tried(Site::Write, |net| net.write(link, bytes));
        self.ledger.borrow_mut().wrote(link, &[IoSlice::new(bytes)], *written.as_ref().unwrap_or(&0));
        written
    }

    fn write_gathered(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.tried(Site::Write, |net| net.write_gathered(link, slices));
        self.ledger.borrow_mut().wrote(link, slices, *written.as_ref().unwrap_or(&0));
        written
    }

    fn shut_down_writing(&mut self, link: LinkId) {
        self.ledger.borrow_mut().called(link, "shutdown");
        self.net.shut_down_writing(link);
    }

    fn close(&mut self, link: LinkId) {
        self.ledger.borrow_mut().closed_socket(link);
        self.net.close(link);
    }

    fn persist(&mut self, batch: Batch) -> Result<(), Batch> {
        self.net.persist(batch.clone())?;
        self.ledger.borrow_mut().managing.saved.add_batch(batch);
        Ok(())
    }

    fn take_completion(&mut self) -> Option<Completion> {
        let completion = self.net.take_completion()?;
        let managing = &mut self.ledger.borrow_mut().managing;
        match &completion {
            Completion::Resolved { outcome, .. } => {
                outcome.iter().flatten().for_each(|address| managing.gossip.allow_address(*address));
            }
            Completion::Persisted(persisted) => managing.saved.answered(persisted),
        }
        Some(completion)
    }
}
