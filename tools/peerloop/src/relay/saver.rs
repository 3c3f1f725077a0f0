//! Saves the relay's headers once a second, on a thread of its own, so that neither the loop nor a signal waits for a
//! disk.
//!
//! The thread requests the headers after the last saved one, a bounded number at a time, and appends them to the file
//! beside the book. The headers of the last second before the end may be missing; the next run requests them again.

use super::header_file::{self, HeaderFile};
use crate::output;
use crate::run::Console;
use crate::status::wait_for;
use log::Level;

use peerloop::handle::SendError;
use peerloop::relay::{Relay, RelayPolicy, RelayRequest};
use peerloop::{Handle, Network};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

/// The pause between two saves.
const PAUSE: Duration = Duration::from_secs(1);

/// The saving of headers: its messages, once the thread has started.
#[derive(Debug, Default)]
pub(super) struct Saver {
    messages: Option<Receiver<String>>,
}

/// Restores the headers beside a book. If they cannot be used, prints the reason, sets their file aside, and returns a
/// new one; `None` if the file cannot be used at all.
pub(super) fn restore<P: RelayPolicy>(relay: &mut Relay<P>, book: &Path, network: Network) -> Option<HeaderFile> {
    let path = header_file::beside(book);
    let restored = header_file::read(&path, network).and_then(|saved| {
        let Some(saved) = saved else { return Ok(None) };
        relay.restore_headers(&saved.anchor, &saved.headers).map_err(|error| error.to_string())?;
        Ok(Some(saved))
    });
    let file = match restored {
        Ok(None) => Ok(HeaderFile::new(path.clone())),
        Ok(Some(saved)) => HeaderFile::of_saved(path.clone(), &saved),
        Err(why) => header_file::set_aside(&path).map(|kept| {
            let (path, kept) = (path.display(), kept.display());
            output::complain(&format!(
                "the saved headers {path} could not be used: {why}; they are kept as {kept}, and requested again"
            ));
            HeaderFile::new(header_file::beside(book))
        }),
    };
    file.inspect_err(|error| {
        let path = path.display();
        output::complain(&format!("the saved headers {path} cannot be written, so no headers are saved: {error}"));
    })
    .ok()
}

impl Saver {
    /// Starts the thread.
    pub(super) fn start(&mut self, file: HeaderFile, handle: &Handle<RelayRequest>) {
        let (sender, messages) = channel();
        let (failed, handle) = (sender.clone(), handle.clone());
        self.messages = Some(messages);
        if let Err(error) = Builder::new().name("headers".to_owned()).spawn(move || save(file, &handle, &sender)) {
            let _ = failed.send(format!("starting the thread that saves headers: {error}; no headers are saved"));
        }
    }

    /// Prints the thread's messages.
    pub(super) fn print(&self, console: &Console) {
        for message in self.messages.iter().flat_map(Receiver::try_iter) {
            console.say(Level::Warn, &message);
        }
    }
}

/// Saves headers until the loop has ended. A failure and the first success after it are reported once.
fn save(mut file: HeaderFile, handle: &Handle<RelayRequest>, messages: &Sender<String>) {
    let mut has_failed = false;
    loop {
        let (request, pending) = RelayRequest::headers(file.saved());
        let accepted = match handle.request(request) {
            Ok(()) => wait_for(pending),
            Err(SendError::Full(_)) => None,
            Err(_) => return,
        };
        let may_have_more = accepted.as_ref().is_some_and(|accepted| !accepted.headers.is_empty());
        let saved = accepted.map_or(Ok(()), |accepted| file.save(&accepted));
        let path = file.path().display();
        let message = match &saved {
            Ok(()) if has_failed => Some(format!("the headers are saved in {path} again")),
            Err(error) if !has_failed => {
                Some(format!("saving headers in {path}: {error}; they are saved once it works"))
            }
            Ok(()) | Err(_) => None,
        };
        // Nobody reads messages once the program ends.
        message.into_iter().for_each(|message| drop(messages.send(message)));
        has_failed = saved.is_err();
        if !may_have_more || has_failed {
            std::thread::sleep(PAUSE);
        }
    }
}
