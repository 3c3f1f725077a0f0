//! A loop's output beside bytes: control events for the handler, and what subscribers on other threads asked for.
//!
//! The control events of a turn are gathered here and handed over at its end: to the log, the handler and the
//! subscribers. Messages go to the matching publishers on arrival. Publishers are flushed once per turn. While nobody
//! subscribes to messages, a message costs one look at a flag. Replies to requests to stop wait here for the end.

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
    /// Whether a publisher may hold items.
    has_unsent: bool,
    /// Due at the end; no more than twice as many as callers wait.
    stops: Vec<Reply<()>>,
}

impl Outbox {
    /// Adds a control event to those of the turn.
    pub(crate) fn emit(&mut self, event: ControlEvent) {
        self.events.push(event);
    }

    pub(crate) fn add_control(&mut self, publisher: Publisher<ControlEvent>) {
        self.control.push(publisher);
    }

    pub(crate) fn add_messages(&mut self, commands: CommandFilter, publisher: Publisher<MessageEvent>) {
        self.messages.push((commands, publisher));
    }

    /// Keeps the reply to a request to stop until the end.
    pub(crate) fn add_stop(&mut self, reply: Reply<()>) {
        if self.stops.len() == self.stops.capacity() {
            // The room made here delays the next search by as many requests as are left.
            self.stops.retain(Reply::is_awaited);
            self.stops.reserve(self.stops.len() + 1);
        }
        self.stops.push(reply);
    }

    /// Whether there is something to hand over.
    pub(crate) fn has_work(&self) -> bool {
        self.has_events() || self.has_unsent
    }

    /// Whether there are control events that nobody has heard yet.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether a subscriber was busy, so that the rest has to be tried again.
    pub(crate) fn has_unsent(&self) -> bool {
        self.has_unsent
    }

    /// Takes the control events of the turn out; they come back through [`Outbox::give_back`].
    pub(crate) fn take_events(&mut self) -> Vec<ControlEvent> {
        mem::take(&mut self.events)
    }

    /// Gives control events that were heard to the subscribers, and keeps the memory for the next ones.
    pub(crate) fn give_back(&mut self, mut heard: Vec<ControlEvent>) {
        for publisher in &mut self.control {
            heard.iter().for_each(|event| publisher.push(event.clone()));
        }
        self.has_unsent |= !self.control.is_empty() && !heard.is_empty();
        heard.clear();
        if self.events.is_empty() && heard.capacity() <= CONTROL_EVENTS_KEPT {
            self.events = heard;
        }
    }

    /// Whether a subscriber wants messages of `command`.
    #[inline]
    pub(crate) fn wants(&self, command: CommandName) -> bool {
        !self.messages.is_empty() && self.messages.iter().any(|(commands, _)| commands.has(command))
    }

    /// Gives a message to those who want it.
    pub(crate) fn publish(&mut self, message: &MessageEvent) {
        for (commands, publisher) in &mut self.messages {
            if commands.has(message.header.command) {
                publisher.push(message.clone());
                self.has_unsent = true;
            }
        }
    }

    /// Passes everything on, and forgets who is gone.
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

    /// Ends all subscriptions, with what is left for them, and then reports the end to everybody who requested it.
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
    fn what_is_told_while_others_are_heard_waits_for_the_next_turn() {
        let mut outbox = Outbox::default();
        let (publisher, subscription) = Subscription::new(8);
        outbox.add_control(publisher);
        let [first, second, ..] = &one_of_each()[..] else { panic!("there are more") };
        outbox.emit(first.clone());
        let heard = outbox.take_events();
        outbox.emit(second.clone());
        outbox.give_back(heard);
        outbox.flush();
        assert!(outbox.has_events());
        assert_eq!(subscription.try_recv(), Ok(Some(Received::Item(first.clone()))));
        assert_eq!(subscription.try_recv(), Ok(None));
        assert_eq!(outbox.take_events(), std::slice::from_ref(second));
        assert!(!outbox.has_work());
    }

    #[test]
    fn a_turn_full_of_events_leaves_no_more_room_behind_than_is_kept() {
        let mut outbox = Outbox::default();
        for count in [CONTROL_EVENTS_KEPT, 4 * CONTROL_EVENTS_KEPT] {
            (0..count).for_each(|_| outbox.emit(ControlEvent::BookRecovered));
            let heard = outbox.take_events();
            outbox.give_back(heard);
            assert!(outbox.events.capacity() <= CONTROL_EVENTS_KEPT);
        }
    }

    #[test]
    fn messages_go_to_those_who_want_them_while_they_are_there() {
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
                .map(|heard| if let Received::Item(item) = heard { item.header.command } else { panic!("lost") })
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
