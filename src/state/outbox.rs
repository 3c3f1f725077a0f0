//! A loop's output besides bytes: control events, and items for subscribers on other threads.
//!
//! A turn's control events are collected here. At the turn's end they are passed on to the log, the handler and the
//! subscribers. When a message arrives, it is passed to the publishers whose subscribers want it. Publishers are
//! flushed once per turn. Without a subscription to messages, a message costs one check. Replies to stop requests wait
//! here for the loop's end.

use crate::api::{CommandFilter, ControlEvent, MessageEvent, Reply};
use crate::limits::CONTROL_EVENTS_KEPT;
use crate::protocol::CommandName;
use crate::subscribe::{Flushed, Publisher};
use std::mem;

/// The publishers of one loop, and the control events of one turn.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    events: Vec<ControlEvent>,
    control: Vec<Publisher<ControlEvent>>,
    messages: Vec<(CommandFilter, Publisher<MessageEvent>)>,
    /// Whether a publisher may hold items that are not flushed yet.
    has_unsent: bool,
    /// The replies that are due at the loop's end. Their number is at most about four times the largest number of
    /// callers that waited at one time.
    stops: Vec<Reply<()>>,
}

impl Outbox {
    /// Adds a control event to the turn's events.
    pub(crate) fn emit(&mut self, event: ControlEvent) {
        self.events.push(event);
    }

    pub(crate) fn add_control(&mut self, publisher: Publisher<ControlEvent>) {
        self.control.push(publisher);
    }

    pub(crate) fn add_messages(&mut self, commands: CommandFilter, publisher: Publisher<MessageEvent>) {
        self.messages.push((commands, publisher));
    }

    /// Keeps the reply to a stop request until the loop's end.
    pub(crate) fn add_stop(&mut self, reply: Reply<()>) {
        if self.stops.len() == self.stops.capacity() {
            self.stops.retain(Reply::is_awaited);
            // More than half of the list is free after each search for abandoned replies, so searches are rare.
            self.stops.reserve(self.stops.len() + 1);
        }
        self.stops.push(reply);
    }

    /// Returns whether events or items wait to be passed on.
    pub(crate) fn has_work(&self) -> bool {
        self.has_events() || self.has_unsent
    }

    /// Returns whether control events wait to be passed on.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Returns whether items remain to be flushed, for example because a subscriber was busy.
    pub(crate) fn has_unsent(&self) -> bool {
        self.has_unsent
    }

    /// Removes and returns the turn's control events; pass them back to [`Outbox::give_back`].
    pub(crate) fn take_events(&mut self) -> Vec<ControlEvent> {
        mem::take(&mut self.events)
    }

    /// Passes handled control events to the subscribers. Reuses the list's memory, unless it is large or new events
    /// wait.
    pub(crate) fn give_back(&mut self, mut handled: Vec<ControlEvent>) {
        for publisher in &mut self.control {
            handled.iter().for_each(|event| publisher.push(event.clone()));
        }
        self.has_unsent |= !self.control.is_empty() && !handled.is_empty();
        handled.clear();
        if self.events.is_empty() && handled.capacity() <= CONTROL_EVENTS_KEPT {
            self.events = handled;
        }
    }

    /// Returns whether a subscriber wants messages of `command`.
    #[inline]
    pub(crate) fn wants(&self, command: CommandName) -> bool {
        !self.messages.is_empty() && self.messages.iter().any(|(commands, _)| commands.has(command))
    }

    /// Passes a message to the subscribers that want it.
    pub(crate) fn publish(&mut self, message: &MessageEvent) {
        for (commands, publisher) in &mut self.messages {
            if commands.has(message.header.command) {
                publisher.push(message.clone());
                self.has_unsent = true;
            }
        }
    }

    /// Flushes all publishers, and removes those whose subscription was dropped.
    pub(crate) fn flush(&mut self) {
        let mut is_busy = false;
        let mut stays = |flushed| {
            is_busy |= flushed == Flushed::Busy;
            flushed != Flushed::Gone
        };
        self.control.retain_mut(|publisher| stays(publisher.flush()));
        self.messages.retain_mut(|(_, publisher)| stays(publisher.flush()));
        self.has_unsent = is_busy;
    }

    /// Ends all subscriptions after passing on their last items, and then replies to all stop requests.
    pub(crate) fn end(&mut self) {
        self.control.clear();
        self.messages.clear();
        self.has_unsent = false;
        self.stops.drain(..).for_each(|reply| reply.send(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::one_of_each;
    use crate::id::{LinkId, PeerId};
    use crate::subscribe::{Received, Subscription};
    use crate::time::Instant;
    use crate::wire::Header;
    use bytes::Bytes;

    fn message(command: CommandName) -> MessageEvent {
        let payload = Bytes::from_static(b"payload");
        let peer = PeerId::of(LinkId::new(0, 0));
        MessageEvent { peer, header: Header::of(command, &payload), payload, received: Instant::ZERO }
    }

    #[test]
    fn an_event_emitted_during_the_dispatch_waits_for_the_next_dispatch() {
        let mut outbox = Outbox::default();
        let (publisher, subscription) = Subscription::new(8);
        outbox.add_control(publisher);
        let [first, second, ..] = &one_of_each()[..] else { panic!("the list has fewer than two events") };
        outbox.emit(first.clone());
        let handled = outbox.take_events();
        outbox.emit(second.clone());
        outbox.give_back(handled);
        outbox.flush();
        assert!(outbox.has_events());
        assert_eq!(subscription.try_recv(), Ok(Some(Received::Item(first.clone()))));
        assert_eq!(subscription.try_recv(), Ok(None));
        assert_eq!(outbox.take_events(), std::slice::from_ref(second));
        assert!(!outbox.has_work());
    }

    #[test]
    fn memory_kept_after_a_turn_of_many_events_is_bounded() {
        let mut outbox = Outbox::default();
        for count in [CONTROL_EVENTS_KEPT, 4 * CONTROL_EVENTS_KEPT] {
            (0..count).for_each(|_| outbox.emit(ControlEvent::BookRecovered));
            let handled = outbox.take_events();
            outbox.give_back(handled);
            assert!(outbox.events.capacity() <= CONTROL_EVENTS_KEPT);
        }
    }

    #[test]
    fn messages_are_passed_to_live_subscriptions_that_want_them() {
        let mut outbox = Outbox::default();
        assert!(!outbox.wants(CommandName::TX));
        let (publisher, all) = Subscription::new(8);
        outbox.add_messages(CommandFilter::All, publisher);
        let (publisher, some) = Subscription::new(8);
        outbox.add_messages(CommandFilter::Only(vec![CommandName::INV, CommandName::TX]), publisher);
        for command in [CommandName::TX, CommandName::BLOCK] {
            assert!(outbox.wants(command));
            outbox.publish(&message(command));
        }
        outbox.flush();
        let commands = |subscription: &Subscription<MessageEvent>| -> Vec<CommandName> {
            let items = std::iter::from_fn(|| subscription.try_recv().unwrap());
            items
                .map(|received| {
                    if let Received::Item(item) = received {
                        item.header.command
                    } else {
                        panic!("the subscription lagged")
                    }
                })
                .collect()
        };
        assert_eq!(commands(&all), [CommandName::TX, CommandName::BLOCK]);
        assert_eq!(commands(&some), [CommandName::TX]);
        drop(all);
        outbox.publish(&message(CommandName::BLOCK));
        outbox.flush();
        assert!(outbox.wants(CommandName::TX) && !outbox.wants(CommandName::BLOCK));
        outbox.end();
        assert!(!outbox.wants(CommandName::TX) && some.try_recv().is_err());
    }
}
