//! What a failed attempt means, by its kind and never by its words.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, ErrorInfo, Failure, FailureKind, Input, PersistOk, RetryPolicy, TxId, spec::CollectionId,
    view::TransactionState as S,
};
use serde_json::json;
use support::{Disk, Tab, permanent, temporary};

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, error: ErrorInfo { name: "Error".into(), message: "no".into(), ..ErrorInfo::default() } }
}

fn one(disk: &Disk, retry: RetryPolicy) -> (Tab, CollectionId, TxId) {
    let mut tab = Tab::open(disk, 1);
    let todos = tab.register_with("todos", |spec| spec.retry = retry);
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    (tab, todos, tx)
}

/// Waits for the next attempt, and says how long that took; no longer than an hour.
fn wait_for_attempt(tab: &mut Tab) -> u64 {
    let begun = tab.now;
    while tab.persists.is_empty() && tab.now.0 - begun.0 < 3_600_000 {
        let due = tab.wake.unwrap().0.saturating_sub(tab.now.0).max(1);
        tab.advance(due);
    }
    tab.now.0 - begun.0
}

#[test]
fn back_offs_double_up_to_the_largest() {
    let retry = RetryPolicy { retries: 6, base_delay_ms: 100, max_delay_ms: 1_000, jitter: false };
    let (mut tab, _, tx) = one(&Disk::default(), retry);
    let mut waits = Vec::new();
    while !tab.state(tx).is_final() {
        tab.answer_persist(Err(temporary("busy")));
        if !tab.state(tx).is_final() {
            waits.push(wait_for_attempt(&mut tab));
        }
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn jitter_draws_each_back_off_from_the_whole_of_its_bound() {
    let mut waits = Vec::new();
    for seed in 0..40 {
        let mut tab = Tab::open(&Disk::default(), seed);
        let retry = RetryPolicy { base_delay_ms: 1_000, jitter: true, ..RetryPolicy::default() };
        let todos = tab.register_with("todos", |spec| spec.retry = retry);
        tab.insert(todos, "a", json!({})).unwrap();
        tab.settle();
        tab.answer_persist(Err(temporary("busy")));
        waits.push(wait_for_attempt(&mut tab));
    }
    assert!(waits.iter().all(|wait| *wait <= 1_000), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 300) && waits.iter().any(|wait| *wait > 700), "{waits:?}");
}

#[test]
fn an_error_that_is_not_retriable_fails_now() {
    let (mut tab, _, tx) = one(&Disk::default(), RetryPolicy::default());
    tab.answer_persist(Err(permanent("no")));
    let view = tab.engine.transaction(tx).unwrap();
    assert_eq!((view.state, view.attempts.len()), (S::Failed, 1));
    assert_eq!(view.error.unwrap().name, "NonRetriableError");
}

#[test]
fn a_wait_that_was_asked_for_is_kept_and_spends_an_attempt() {
    let retry = RetryPolicy { retries: 1, ..RetryPolicy::default() };
    let (mut tab, _, tx) = one(&Disk::default(), retry);
    let asked = || failure(FailureKind::Temporary { after_ms: Some(123_456), counts_attempt: true });
    tab.answer_persist(Err(asked()));
    let scheduled = tab.engine.transaction(tx).unwrap().attempts[0].retry_scheduled_for;
    assert_eq!(scheduled, Some(tab.now + 123_456));
    assert_eq!(wait_for_attempt(&mut tab), 123_456);
    tab.answer_persist(Err(asked()));
    assert_eq!(tab.state(tx), S::Failed);
}

#[test]
fn what_classify_does_not_count_is_tried_for_as_long_as_it_takes() {
    let retry = RetryPolicy { retries: 1, ..RetryPolicy::default() };
    let (mut tab, _, tx) = one(&Disk::default(), retry);
    for _ in 0..30 {
        let free = FailureKind::Temporary { after_ms: Some(10), counts_attempt: false };
        tab.answer_persist(Err(failure(free)));
        assert_eq!(wait_for_attempt(&mut tab), 10);
    }
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn a_demand_for_credentials_spends_no_attempt_however_often_it_comes() {
    let retry = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    let (mut tab, _, tx) = one(&Disk::default(), retry);
    for _ in 0..10 {
        tab.answer_persist(Err(failure(FailureKind::AuthRequired)));
        assert_eq!(tab.state(tx), S::Pending);
        tab.advance(3_600_000);
        assert!(tab.persists.is_empty(), "it is held until the app resumes");
        tab.engine.resume(tab.now);
        tab.settle();
    }
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn credentials_hold_their_own_collection_and_no_other() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let (todos, lists) = (tab.register("todos"), tab.register("lists"));
    tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Err(failure(FailureKind::AuthRequired)));
    let other = tab.insert(lists, "a", json!({})).unwrap();
    tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.persists.iter().map(|persist| persist.transaction).collect::<Vec<_>>(), [other]);
    assert_eq!(tab.engine.status().paused.unwrap().of.as_deref(), Some("todos"));
}

#[test]
fn an_unreachable_backend_is_tried_again_after_a_capped_back_off() {
    let (mut tab, _, _) = one(&Disk::default(), RetryPolicy::default());
    let mut longest = 0;
    for _ in 0..40 {
        tab.answer_persist(Err(failure(FailureKind::Unreachable)));
        longest = wait_for_attempt(&mut tab).max(longest);
    }
    assert!((1_000..=30_000).contains(&longest), "{longest}");
}

#[test]
fn being_told_offline_is_no_reason_not_to_try_and_being_told_online_is_one_to_try_sooner() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.input(Input::Online(false));
    tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.persists.len(), 1, "the browser may be wrong");
    for _ in 0..8 {
        tab.answer_persist(Err(failure(FailureKind::Unreachable)));
        assert!(tab.persists.is_empty());
        tab.input(Input::Online(true));
        tab.settle();
        assert_eq!(tab.persists.len(), 1, "at once");
    }
}

#[test]
fn no_word_of_a_message_makes_a_failure_permanent() {
    for message in ["timeout after 4000 ms", "Unauthorized 401", "422 Unprocessable", "404", "forbidden"] {
        let (mut tab, _, tx) = one(&Disk::default(), RetryPolicy::default());
        tab.answer_persist(Err(temporary(message)));
        assert_eq!(tab.state(tx), S::Pending, "{message}");
        assert_eq!(tab.engine.status().paused, None, "{message}");
    }
}

#[test]
fn each_attempt_is_kept_with_its_times_and_its_error_across_reloads_and_checkpoints() {
    let disk = Disk::default();
    let (mut tab, todos, tx) = one(&disk, RetryPolicy { jitter: false, ..RetryPolicy::default() });
    for message in ["first", "second"] {
        tab.advance(100);
        tab.answer_persist(Err(temporary(message)));
        wait_for_attempt(&mut tab);
    }
    tab.advance(100);
    tab.answer_persist(Ok(PersistOk::default()));
    let attempts = tab.engine.transaction(tx).unwrap().attempts;
    assert_eq!(attempts.len(), 3);
    let messages: Vec<_> =
        attempts.iter().map(|attempt| attempt.error.as_ref().map(|error| error.message.as_str())).collect();
    assert_eq!(messages, [Some("first"), Some("second"), None]);
    for (number, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.id, format!("{tx}:{}", number + 1));
        assert_eq!(attempt.completed_at.unwrap().0 - attempt.started_at.0, 100);
    }
    assert_eq!(attempts[1].started_at, attempts[0].retry_scheduled_for.unwrap());
    for index in 0..300 {
        tab.insert(todos, &format!("more{index}"), json!({})).unwrap();
        tab.settle();
        tab.answer_persist(Ok(PersistOk::default()));
    }
    let before = disk.borrow().checkpoint;
    tab.advance(10_000);
    assert!(disk.borrow().checkpoint > before);
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    tab.register("todos");
    assert_eq!(tab.engine.transaction(tx).unwrap().attempts, attempts);
}

#[test]
fn a_warning_of_await_sync_is_kept_and_fails_nothing() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    let tx = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    let timed_out = ErrorInfo::of(Code::Unexpected, "awaitSync took longer than 30000 ms");
    tab.answer_await(Err(timed_out.clone()));
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    let view = tab.engine.transaction(tx).unwrap();
    assert_eq!((view.state, view.error), (S::Completed, None));
    assert_eq!(view.warning.map(|warning| warning.message), Some(timed_out.message));
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }), "what was written stays, provisionally");
}
