//! The transactions that leaf peers and requests have submitted, until their outcome is known.
//!
//! A submission is followed until an upstream has announced or rejected the transaction, and for 20 minutes at most.
//! Meanwhile the transaction is announced to the upstreams again every 60 s. At most [`MAX_RELAY_SUBMISSIONS`] are
//! followed; the oldest is then dropped. The module sends nothing.

use super::event::{Rejection, RelayEvent, RelayStep, SubmitOutcome, SubmitReport};
use super::link::UpstreamLink;
use crate::api::Reply;
use crate::id::PeerId;
use crate::limits::{
    MAX_RELAY_SUBMISSIONS, MAX_RELAY_UPSTREAMS, RELAY_HELD_TIME, RELAY_RESUBMIT, RELAY_SUBMIT_TIMEOUT,
};
use crate::time::Instant;
use crate::wire::Hash256;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One submitted transaction.
#[derive(Debug)]
pub(super) struct Submission {
    /// The leaf that has sent it; `None` for a request.
    pub(super) origin: Option<PeerId>,
    /// The position of its latest announcement to the upstreams.
    pub(super) position: u64,
    report: SubmitReport,
    reply: Option<Reply<SubmitReport>>,
    added: Instant,
    next_announcement: Instant,
    serial: u64,
    /// The time of silence that counts as acceptance. It begins with the first announcement to an upstream.
    silent_after: Option<Duration>,
    /// Whether its outcome is known, so that it is not announced again.
    is_settled: bool,
}

/// The work that is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Transactions that are to be announced again, in the order of their submission.
    pub(super) announce: Vec<Hash256>,
    /// Transactions that are no longer followed.
    pub(super) forgotten: Vec<Hash256>,
}

/// All submissions.
#[derive(Debug, Default)]
pub(super) struct Submissions {
    by_hash: BTreeMap<Hash256, Submission>,
    by_serial: BTreeMap<u64, Hash256>,
    /// The moments at which silence counts as acceptance, in order.
    silences: VecDeque<(Instant, Hash256, u64)>,
    /// The silences that have begun since the last call of [`Submissions::begin_silences`].
    begun: Vec<(Duration, Hash256, u64)>,
    next_serial: u64,
    /// Steps that were not reported yet.
    events: Vec<RelayEvent>,
}

impl Submissions {
    /// Returns the maximum number of bytes that all submissions use, without the links in their reports.
    pub(super) const fn memory_bytes() -> usize {
        // The trees' nodes may be half empty.
        2 * MAX_RELAY_SUBMISSIONS * (size_of::<Submission>() + 4 * size_of::<Hash256>())
    }

    /// Follows a transaction, anew if it is followed already; a reply that waits is kept. Returns the oldest
    /// transaction if it is dropped for this one.
    pub(super) fn add(
        &mut self,
        hash: Hash256,
        origin: Option<PeerId>,
        reply: Option<Reply<SubmitReport>>,
        position: u64,
        silent_after: Option<Duration>,
        now: Instant,
    ) -> Option<Hash256> {
        let before = self.remove(hash);
        let reply = reply.or_else(|| before.and_then(|before| before.reply));
        let mut dropped = None;
        if self.by_hash.len() >= MAX_RELAY_SUBMISSIONS {
            dropped = self.by_serial.values().next().copied();
        }
        if let Some(oldest) = dropped {
            self.forget(oldest);
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let submission = Submission {
            origin,
            position,
            report: SubmitReport::ended(hash, SubmitOutcome::Silent),
            reply,
            added: now,
            next_announcement: now.plus(RELAY_RESUBMIT),
            serial,
            silent_after,
            is_settled: false,
        };
        self.by_hash.insert(hash, submission);
        self.by_serial.insert(serial, hash);
        dropped
    }

    pub(super) fn get_mut(&mut self, hash: &Hash256) -> Option<&mut Submission> {
        self.by_hash.get_mut(hash)
    }

    pub(super) fn get(&self, hash: &Hash256) -> Option<&Submission> {
        self.by_hash.get(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Removes and returns the steps that were not reported yet.
    pub(super) fn take_events(&mut self) -> Vec<RelayEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns the transactions without an outcome, in the order of their submission.
    pub(super) fn open(&self) -> impl Iterator<Item = Hash256> {
        let open = |hash: &&Hash256| self.by_hash.get(hash).is_some_and(|submission| !submission.is_settled);
        self.by_serial.values().filter(open).copied()
    }

    // --- Steps ------------------------------------------------------------------------------------------------------

    /// Records an announcement to an upstream.
    pub(super) fn announced(&mut self, hash: Hash256, link: UpstreamLink) {
        let Some(submission) = self.by_hash.get_mut(&hash) else { return };
        note(&mut submission.report.announced, link);
        // A transaction that no upstream has received is not silently accepted by one.
        if let Some(after) = submission.silent_after.take() {
            self.begun.push((after, hash, submission.serial));
        }
        self.events.push(RelayEvent { txid: hash, step: RelayStep::Announced(link) });
    }

    /// Records a request by an upstream.
    pub(super) fn requested(&mut self, hash: Hash256, link: UpstreamLink) {
        let Some(submission) = self.by_hash.get_mut(&hash) else { return };
        if note(&mut submission.report.requested, link) {
            self.events.push(RelayEvent { txid: hash, step: RelayStep::Requested(link) });
        }
    }

    /// Records that the transaction was queued for an upstream.
    pub(super) fn sent(&mut self, hash: Hash256, link: UpstreamLink) {
        if self.by_hash.contains_key(&hash) {
            self.events.push(RelayEvent { txid: hash, step: RelayStep::Sent(link) });
        }
    }

    /// Records an announcement by an upstream, and returns whether it is the first one.
    pub(super) fn seen_back(&mut self, hash: Hash256, link: UpstreamLink) -> bool {
        let Some(submission) = self.by_hash.get_mut(&hash) else { return false };
        if !note(&mut submission.report.seen_back, link) {
            return false;
        }
        let is_first = submission.report.seen_back.len() == 1;
        submission.settle(SubmitOutcome::SeenBack);
        self.events.push(RelayEvent { txid: hash, step: RelayStep::SeenBack(link) });
        is_first
    }

    /// Records a rejection by an upstream.
    pub(super) fn rejected(&mut self, hash: Hash256, rejection: Rejection) {
        let Some(submission) = self.by_hash.get_mut(&hash) else { return };
        if submission.report.rejected.iter().any(|earlier| earlier.by.peer == rejection.by.peer) {
            return;
        }
        submission.report.rejected.push(rejection.clone());
        submission.settle(SubmitOutcome::Rejected);
        self.events.push(RelayEvent { txid: hash, step: RelayStep::Rejected(rejection) });
    }

    /// Ends a submission whose transaction is no longer known. If its outcome is known, this is no step of it.
    pub(super) fn forget(&mut self, hash: Hash256) {
        let Some(mut submission) = self.remove(hash) else { return };
        if !submission.is_settled {
            submission.settle(submission.report.outcome);
            self.events.push(RelayEvent { txid: hash, step: RelayStep::Forgotten });
        }
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    /// Returns the work that is due, and replies to submissions that have been silent for too long. Call it about once
    /// a second; it examines all submissions.
    pub(super) fn advance(&mut self, now: Instant) -> Due {
        let (mut announce, mut forgotten, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for (hash, submission) in &mut self.by_hash {
            let age = now.since(submission.added);
            if age >= RELAY_SUBMIT_TIMEOUT {
                submission.reply();
            }
            if submission.is_settled && age >= RELAY_SUBMIT_TIMEOUT {
                over.push(*hash);
            } else if age >= RELAY_HELD_TIME {
                forgotten.push((submission.serial, *hash));
            } else if !submission.is_settled && submission.next_announcement <= now {
                submission.next_announcement = now.plus(RELAY_RESUBMIT);
                announce.push((submission.serial, *hash));
            }
        }
        let [announce, forgotten] = [announce, forgotten].map(|mut due| {
            due.sort_unstable_by_key(|(serial, _)| *serial);
            due.into_iter().map(|(_, hash)| hash).collect()
        });
        let due = Due { announce, forgotten };
        over.into_iter().for_each(|hash| drop(self.remove(hash)));
        due.forgotten.iter().for_each(|hash| self.forget(*hash));
        due
    }

    /// Sets the ends of the silences that have begun since the last call. Returns whether there are any. Call it in the
    /// turn of the announcements.
    pub(super) fn begin_silences(&mut self, now: Instant) -> bool {
        let has_begun = !self.begun.is_empty();
        self.silences.extend(self.begun.drain(..).map(|(after, hash, serial)| (now.plus(after), hash, serial)));
        has_begun
    }

    /// Returns the moment at which the next silence counts as acceptance.
    pub(super) fn next_silence(&self) -> Option<Instant> {
        self.silences.front().map(|&(at, ..)| at)
    }

    /// Removes and returns a transaction whose silence counts as acceptance by now.
    pub(super) fn silent(&mut self, now: Instant) -> Option<Hash256> {
        while let Some(&(_, hash, serial)) = self.silences.front().filter(|(at, ..)| *at <= now) {
            self.silences.pop_front();
            let is_open = |submission: &&mut Submission| submission.serial == serial && !submission.is_settled;
            if self.by_hash.get_mut(&hash).filter(is_open).is_some() {
                return Some(hash);
            }
        }
        None
    }

    fn remove(&mut self, hash: Hash256) -> Option<Submission> {
        let submission = self.by_hash.remove(&hash)?;
        self.by_serial.remove(&submission.serial);
        Some(submission)
    }
}

impl Submission {
    fn settle(&mut self, outcome: SubmitOutcome) {
        self.is_settled = true;
        // An announcement by an upstream counts more than another one's rejection.
        if self.report.outcome != SubmitOutcome::SeenBack {
            self.report.outcome = outcome;
        }
        self.reply();
    }

    /// Adds a reply to a transaction that is followed already, for example because a leaf has sent it before.
    ///
    /// # Errors
    ///
    /// The reply, if another one waits for the outcome.
    pub(super) fn follow(&mut self, reply: Option<Reply<SubmitReport>>) -> Result<(), Option<Reply<SubmitReport>>> {
        if self.reply.is_some() {
            return Err(reply);
        }
        self.reply = reply;
        if self.is_settled {
            self.reply();
        }
        Ok(())
    }

    fn reply(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.send(self.report.clone());
        }
    }
}

/// Adds a link to a list, and returns whether it was new.
fn note(links: &mut Vec<UpstreamLink>, link: UpstreamLink) -> bool {
    let is_new = links.iter().all(|known| known.peer != link.peer);
    if is_new && links.len() < 2 * MAX_RELAY_UPSTREAMS {
        links.push(link);
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Pending;
    use crate::id::LinkId;

    fn hash(number: u32) -> Hash256 {
        Hash256::of(&number.to_le_bytes())
    }

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    fn link(slot: u32) -> UpstreamLink {
        let peer = PeerId::of(LinkId::new(slot, 0));
        UpstreamLink { address: ([127, 0, 0, 1], 8_333).into(), peer, is_listening: slot % 2 == 1 }
    }

    fn rejection(slot: u32) -> Rejection {
        Rejection { by: link(slot), code: 0x10, reason: String::from("bad") }
    }

    fn add(submissions: &mut Submissions, number: u32, secs: u64) -> Pending<SubmitReport> {
        let (reply, pending) = Pending::new();
        submissions.add(hash(number), None, Some(reply), 0, Some(Duration::from_secs(3)), at(secs));
        pending
    }

    fn outcome(pending: &Pending<SubmitReport>) -> Option<SubmitOutcome> {
        pending.try_take().expect("the reply is not dropped").map(|report| report.outcome)
    }

    #[test]
    fn a_repeated_request_is_one_step() {
        let mut submissions = Submissions::default();
        let _pending = add(&mut submissions, 1, 0);
        (0..3).for_each(|_| submissions.requested(hash(1), link(0)));
        assert_eq!(submissions.take_events(), [RelayEvent { txid: hash(1), step: RelayStep::Requested(link(0)) }]);
    }

    #[test]
    fn a_submission_is_answered_when_an_upstream_announces_or_rejects_it() {
        let mut submissions = Submissions::default();
        let pending = [1, 2, 3].map(|number| add(&mut submissions, number, 0));
        submissions.announced(hash(1), link(0));
        assert!(submissions.seen_back(hash(1), link(1)));
        assert!(!submissions.seen_back(hash(1), link(1)) && !submissions.seen_back(hash(1), link(3)));
        submissions.rejected(hash(2), rejection(0));
        submissions.rejected(hash(2), rejection(0));
        assert_eq!(submissions.open().collect::<Vec<_>>(), [hash(3)]);
        submissions.advance(at(9));
        let expected = [Some(SubmitOutcome::SeenBack), Some(SubmitOutcome::Rejected), None];
        assert_eq!(pending.each_ref().map(outcome), expected);
        submissions.advance(at(10));
        assert_eq!(outcome(&pending[2]), Some(SubmitOutcome::Silent));
        assert_eq!(submissions.len(), 1, "settled submissions are still followed");
        assert_eq!(submissions.take_events().len(), 4);
    }

    #[test]
    fn an_open_submission_is_announced_every_minute_and_forgotten_after_20_minutes() {
        let mut submissions = Submissions::default();
        let _pending = [7, 3, 5].map(|number| add(&mut submissions, number, 0));
        submissions.seen_back(hash(3), link(1));
        let mut announced = 0;
        for secs in 1..1_200 {
            let due = submissions.advance(at(secs));
            if !due.announce.is_empty() {
                assert_eq!((due.announce, secs % 60), (vec![hash(7), hash(5)], 0));
                announced += 1;
            }
            assert_eq!(due.forgotten, []);
        }
        assert_eq!(announced, 19);
        assert_eq!(submissions.advance(at(1_200)).forgotten, [hash(7), hash(5)]);
        assert_eq!(submissions.len(), 0);
    }

    #[test]
    fn silence_is_reported_once_and_only_without_an_outcome() {
        let mut submissions = Submissions::default();
        let _pending = [1, 2, 3].map(|number| {
            let pending = add(&mut submissions, number, u64::from(number));
            submissions.announced(hash(number), link(0));
            assert!(submissions.begin_silences(at(number.into())));
            pending
        });
        submissions.rejected(hash(2), rejection(0));
        assert_eq!((submissions.next_silence(), submissions.silent(at(3))), (Some(at(4)), None));
        assert_eq!(submissions.silent(at(6)), Some(hash(1)));
        assert_eq!(submissions.silent(at(6)), Some(hash(3)));
        assert_eq!((submissions.silent(at(60)), submissions.next_silence()), (None, None));
    }

    #[test]
    fn silence_begins_with_the_first_announcement_to_an_upstream() {
        let mut submissions = Submissions::default();
        let _pending = [1, 2].map(|number| add(&mut submissions, number, 0));
        assert!(!submissions.begin_silences(at(0)));
        assert_eq!((submissions.next_silence(), submissions.silent(at(100))), (None, None));
        submissions.announced(hash(2), link(0));
        assert!(submissions.begin_silences(at(100)));
        submissions.announced(hash(2), link(2));
        assert!(!submissions.begin_silences(at(101)), "a second announcement began another silence");
        assert_eq!((submissions.silent(at(102)), submissions.silent(at(103))), (None, Some(hash(2))));
        assert_eq!((submissions.silent(at(1_000)), submissions.next_silence()), (None, None));
    }

    #[test]
    fn the_oldest_submission_is_dropped_at_the_maximum() {
        let mut submissions = Submissions::default();
        for number in 0..MAX_RELAY_SUBMISSIONS as u32 {
            assert_eq!(submissions.add(hash(number), None, None, 0, None, at(0)), None);
        }
        assert_eq!(submissions.add(hash(1), None, None, 0, None, at(0)), None, "the same transaction again");
        assert_eq!(submissions.add(hash(70_000), None, None, 0, None, at(0)), Some(hash(0)));
        assert_eq!(submissions.len(), MAX_RELAY_SUBMISSIONS);
    }
}
