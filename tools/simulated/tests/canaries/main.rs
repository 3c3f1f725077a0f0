//! The simulator's canaries: every planted bug shows its symptom, and no shrunken budget changes an outcome.
//!
//! Each bug has one small scenario with a symptom. The symptom must be absent without the bug and present with the
//! bug. If a later change makes a bug harmless, no simulation can find the bug any more, and a test here fails.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod budgets;
mod relays;
mod symptoms;

use peerloop::internals::{self, Bug};
use peerloop_testkit::simulated;

/// Runs the scenario of `bug`, whether or not this bug is planted, and returns whether the symptom shows.
fn shows(bug: Bug) -> bool {
    match bug {
        Bug::NoGenerationCheck => symptoms::a_stale_id_closes_the_next_peer_in_its_slot(),
        Bug::EarlyTimer => symptoms::a_silent_peer_is_closed_before_its_deadline(),
        Bug::LostEdge => symptoms::bytes_after_a_full_read_are_never_read(),
        Bug::NoDeferredFree => symptoms::a_redial_gets_the_slot_whose_close_is_being_reported(),
        Bug::NoAcceptRetry => symptoms::a_connection_is_never_accepted_after_descriptors_ran_out(),
        Bug::SlotReleasedTwice => symptoms::the_loop_counts_fewer_links_than_are_open(),
        Bug::SecondVersionAccepted => symptoms::a_second_version_is_answered(),
        Bug::UnboundedQueue => symptoms::more_is_queued_than_the_limit(),
        Bug::TimerStarvedByTraffic => symptoms::a_silent_peer_outlives_its_deadline_while_another_sends(),
        Bug::StalePongAccepted => symptoms::a_pong_with_an_unknown_nonce_is_reported(),
        Bug::DialForgotten => symptoms::a_peer_is_not_dialled_again_after_descriptors_ran_out(),
        Bug::InaccessibleForgotten => symptoms::a_peer_is_not_dialled_again_once_it_is_inaccessible(),
        Bug::PingPositionLost => symptoms::a_pong_to_a_ping_among_large_replies_does_not_count(),
        Bug::RepliesTellNobody => symptoms::a_handler_is_not_called_after_its_reply_is_sent(),
        Bug::PullForgotten => symptoms::a_requested_offer_of_room_is_never_made(),
        Bug::CancelledTimerFires => symptoms::a_cancelled_timer_fires(),
        Bug::MarkLeftBehind => symptoms::a_mark_is_reported_before_its_message_is_written(),
        Bug::AnnouncementLost => relays::an_announcement_is_missing(),
        Bug::AnnouncementRepeated => relays::an_announcement_arrives_twice(),
        Bug::UntrustedAnnounced => relays::a_leafs_transaction_is_announced_without_an_upstream(),
        Bug::RequestNotMoved => relays::a_transaction_is_not_requested_from_its_second_announcer(),
        Bug::IndexReusedEarly => relays::a_new_peer_misses_an_announcement_that_an_earlier_one_had_sent(),
        Bug::WrongBlockSent => relays::a_wrong_block_arrives_whole(),
        Bug::ContinuedEarly => relays::a_block_does_not_continue_after_the_loss_of_its_source(),
        Bug::WrongBlockRebuilt => relays::a_block_with_the_transactions_of_another_one_is_served(),
        Bug::SourceHeld => relays::a_slow_reader_delays_another_one_for_seconds(),
        Bug::StreamOutlivesPeer => symptoms::a_peer_whose_second_stream_ended_stays_open(),
        Bug::StreamKeepsSlot => symptoms::a_stream_counts_as_an_accepted_peer(),
    }
}

#[test]
fn a_loop_without_a_bug_shows_no_symptom() {
    for bug in Bug::ALL.into_iter().chain(Bug::RELAY) {
        assert!(!shows(bug), "the symptom of {bug:?} shows although no bug is planted");
    }
}

#[test]
fn every_planted_bug_shows_its_symptom() {
    for bug in Bug::ALL.into_iter().chain(Bug::RELAY) {
        let _planted = internals::plant(Some(bug));
        simulated::judge(false);
        assert!(shows(bug), "the symptom of {bug:?} does not show although the bug is planted");
        simulated::judge(true);
    }
}

#[test]
fn dropping_a_guard_removes_its_bug_and_restores_the_earlier_one() {
    simulated::judge(false);
    let outer = internals::plant(Some(Bug::StalePongAccepted));
    let inner = internals::plant(None);
    assert!(!shows(Bug::StalePongAccepted));
    drop(inner);
    assert!(shows(Bug::StalePongAccepted));
    drop(outer);
    assert!(!shows(Bug::StalePongAccepted));
}
