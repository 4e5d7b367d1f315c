//! The life of transactions, one behaviour a test.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, CommitError, DraftKind, Failure, FailureKind, Haste, Input, Strategy, SyncUpdate, TransactionDraft,
    TxEvent, view::TransactionState as S,
};
use serde_json::json;
use support::{Disk, Tab, draft, permanent, temporary};

#[test]
fn a_write_shows_at_once_is_sent_only_after_its_commit_and_completes() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    assert_eq!(tab.shows(todos).len(), 1);
    assert!(tab.persists.is_empty(), "nothing is sent before the commit");
    assert_eq!(tab.disk.borrow().commits, 0);
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
    assert_eq!(tab.state(tx), S::Persisting);
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(tab.shows(todos).len(), 1, "the row stays until sync speaks");
}

#[test]
fn writes_of_one_turn_share_one_record() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let before = tab.disk.borrow().commits;
    for index in 0..100 {
        tab.insert(todos, &format!("t{index}"), json!({})).unwrap();
    }
    tab.input(Input::TurnEnded);
    tab.drain();
    assert_eq!(tab.disk.borrow().commits, before + 1);
}

#[test]
fn what_the_app_wrote_is_to_be_committed_now_and_what_nothing_waits_for_can_share_a_later_commit() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    for key in ["a", "b", "c"] {
        tab.insert(todos, key, json!({})).unwrap();
    }
    assert_eq!(tab.engine.turn_end_haste(), Haste::Now);
    tab.input(Input::TurnEnded);
    tab.drain();
    // That they are being sent is noted; their answers are still to come.
    assert_eq!(tab.persists.len(), 3);
    assert_eq!(tab.engine.turn_end_haste(), Haste::Late);
    let answer = |tab: &mut Tab| {
        let persist = tab.persists.remove(0);
        tab.input(Input::PersistAnswered(persist.op, Ok(Default::default())));
    };
    answer(&mut tab);
    assert_eq!(tab.engine.turn_end_haste(), Haste::Late, "two are still being sent");
    tab.update(todos, "b", json!({ "n": 1 })).unwrap();
    assert_eq!(tab.engine.turn_end_haste(), Haste::Now);
    let commits = tab.disk.borrow().commits;
    tab.input(Input::TurnEnded);
    tab.drain();
    assert_eq!(tab.disk.borrow().commits, commits + 1, "one record holds all of it");
    answer(&mut tab);
    assert_eq!(tab.engine.turn_end_haste(), Haste::Soon, "a write waits behind this one");
    tab.input(Input::TurnEnded);
    tab.drain();
    answer(&mut tab);
    answer(&mut tab);
    assert_eq!(tab.engine.turn_end_haste(), Haste::Soon, "nothing is being sent any more");
}

#[test]
fn a_later_write_to_the_same_object_waits_and_others_do_not() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let first = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    let second = tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    let other = tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.state(second), S::Queued);
    assert_eq!(tab.engine.transaction(second).unwrap().queued_behind, Some(first));
    let sent: Vec<_> = tab.persists.iter().map(|persist| persist.transaction).collect();
    assert_eq!(sent, [first, other]);
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.state(second), S::Persisting);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2 }));
}

#[test]
fn when_one_fails_for_good_all_that_wait_on_it_fail_with_it_newest_first() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let first = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    let second = tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    let third = tab
        .transact(vec![
            draft(todos, "a", DraftKind::Update(json!({ "n": 3 }))),
            draft(todos, "b", DraftKind::Insert(json!({}))),
        ])
        .unwrap();
    let fourth = tab.update(todos, "b", json!({ "x": 1 })).unwrap();
    let other = tab.insert(todos, "c", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    for id in [first, second, third, fourth] {
        assert_eq!(tab.state(id), S::Failed);
    }
    for id in [second, third, fourth] {
        let view = tab.engine.transaction(id).unwrap();
        assert_eq!(view.cause, Some(first));
        assert_eq!(view.error.unwrap().code, "cascade");
    }
    let order: Vec<_> = tab
        .events
        .iter()
        .filter(|(_, event)| matches!(event, TxEvent::Failed { .. }))
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(order, [fourth, third, second, first]);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(tab.state(other), S::Persisting);
    assert_eq!(tab.persists.len(), 1, "nothing that waited on it was sent");
}

#[test]
fn what_is_written_behind_a_failing_transaction_while_its_failure_is_being_committed_fails_too() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    let persist = tab.persists.remove(0);
    tab.input(Input::PersistAnswered(persist.op, Err(permanent("no"))));
    let late = tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    assert_eq!(tab.state(late), S::Failed);
    assert!(tab.shows(todos).is_empty());
    assert!(tab.persists.is_empty());
}

#[test]
fn an_error_is_retried_four_times_and_then_the_transaction_fails() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    for attempt in 1..=5 {
        assert_eq!(tab.persists.len(), 1, "attempt {attempt}");
        assert_eq!(tab.persists[0].attempt, attempt);
        tab.answer_persist(Err(temporary("busy")));
        if attempt < 5 {
            assert_eq!(tab.state(tx), S::Pending);
            assert!(tab.persists.is_empty(), "it waits for its back-off");
            tab.advance(60_000);
        }
    }
    assert_eq!(tab.state(tx), S::Failed);
    assert_eq!(tab.engine.transaction(tx).unwrap().attempts.len(), 5);
    assert!(tab.shows(todos).is_empty());
}

#[test]
fn an_unreachable_backend_spends_no_attempt_and_holds_the_line_until_the_network_is_back() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    let offline = || Failure {
        kind: FailureKind::Unreachable,
        error: driftline_core::ErrorInfo::of(Code::Offline, "no network"),
    };
    for _ in 0..50 {
        if tab.persists.is_empty() {
            tab.advance(60_000);
        }
        tab.answer_persist(Err(offline()));
    }
    assert_eq!(tab.state(tx), S::Pending);
    assert!(
        tab.engine.transaction(tx).unwrap().attempts.len() <= 2,
        "a night offline is not a thousand attempts"
    );
    assert!(tab.persists.is_empty());
    tab.input(Input::Online(true));
    tab.settle();
    assert_eq!(tab.persists.len(), 1);
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn a_demand_for_credentials_holds_the_line_until_resume() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({})).unwrap();
    tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Err(Failure {
        kind: FailureKind::AuthRequired,
        error: driftline_core::ErrorInfo::of(Code::AuthRequired, "401"),
    }));
    tab.answer_persist(Err(Failure {
        kind: FailureKind::AuthRequired,
        error: driftline_core::ErrorInfo::of(Code::AuthRequired, "401"),
    }));
    tab.advance(600_000);
    assert!(tab.persists.is_empty());
    assert_eq!(tab.engine.status().paused.unwrap().reason, "auth");
    tab.engine.resume(tab.now);
    tab.settle();
    assert_eq!(tab.persists.len(), 2);
}

#[test]
fn everything_is_back_after_a_crash_and_is_sent_under_the_same_key() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    let key = tab.engine.transaction(tx).unwrap().idempotency_key;
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2 }));
    assert_eq!(tab.persists.len(), 1);
    assert_eq!(tab.persists[0].transaction, tx);
    assert_eq!(tab.engine.transaction(tx).unwrap().idempotency_key, key);
    tab.answer_persist(Ok(Default::default()));
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.engine.status().pending, 0);
}

#[test]
fn what_was_persisted_is_never_sent_again_after_a_crash() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.state(tx), S::PersistedAwaitingSync);
    assert_eq!(tab.awaits.len(), 1);
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    assert!(tab.persists.is_empty());
    assert_eq!(tab.state(tx), S::Completed);
    assert_eq!(tab.shows(todos).len(), 1, "its row stays, provisionally");
}

#[test]
fn a_write_that_finds_no_room_is_taken_back_with_its_reason() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    disk.borrow_mut().fail.push(CommitError::Quota { usage_bytes: 10, quota_bytes: 11 });
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.input(Input::TurnEnded);
    let behind = tab
        .engine
        .transact(
            tab.now,
            TransactionDraft {
                mutations: vec![draft(todos, "a", DraftKind::Update(json!({})))],
                strategy: None,
                function: None,
                metadata: None,
            },
        )
        .unwrap();
    tab.settle();
    assert!(matches!(&tab.events_of(tx)[..], [TxEvent::NotDurable(error)] if error.code == "quota_exceeded"));
    assert!(matches!(&tab.events_of(behind)[..], [TxEvent::NotDurable(_)]));
    assert!(tab.shows(todos).is_empty());
    assert!(tab.persists.is_empty());
    let again = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.state(again), S::Persisting, "the next write goes through");
}

#[test]
fn bad_input_is_refused_at_the_call_and_changes_nothing() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    let code = |result: Result<driftline_core::TxId, driftline_core::Error>| result.unwrap_err().code;
    assert_eq!(code(tab.insert(todos, "a", json!({}))), Code::DuplicateKey);
    assert_eq!(code(tab.update(todos, "b", json!({}))), Code::MissingKey);
    assert_eq!(code(tab.delete(todos, "b")), Code::MissingKey);
    assert_eq!(code(tab.insert(todos, "", json!({}))), Code::InvalidKey);
    assert_eq!(code(tab.insert(todos, &"k".repeat(1_025), json!({}))), Code::InvalidKey);
    let error = tab.insert(todos, "big", json!("x".repeat(9 << 20))).unwrap_err();
    assert_eq!((error.code, error.limit), (Code::TooLarge, Some(8 << 20)));
    assert_eq!(tab.shows(todos).len(), 1);
    assert_eq!(tab.engine.transactions().len(), 1);
}

#[test]
fn a_full_queue_refuses_at_the_call() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    for index in 0..1_000 {
        tab.insert(todos, &index.to_string(), json!({})).unwrap();
    }
    assert_eq!(tab.insert(todos, "more", json!({})).unwrap_err().code, Code::QueueFull);
}

#[test]
fn changes_to_one_object_inside_a_transaction_are_merged() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let tx = tab
        .transact(vec![
            draft(todos, "a", DraftKind::Insert(json!({ "n": 1 }))),
            draft(todos, "a", DraftKind::Update(json!({ "m": 2 }))),
            draft(todos, "b", DraftKind::Insert(json!({}))),
            draft(todos, "b", DraftKind::Delete),
        ])
        .unwrap();
    let view = tab.engine.transaction(tx).unwrap();
    assert_eq!(view.mutations.len(), 1);
    assert_eq!(view.mutations[0].modified, Some(json!({ "n": 1, "m": 2 })));
    let nothing = tab
        .transact(vec![draft(todos, "c", DraftKind::Insert(json!({}))), draft(todos, "c", DraftKind::Delete)])
        .unwrap();
    assert_eq!(tab.state(nothing), S::Completed);
    assert_eq!(tab.shows(todos).len(), 1);
}

#[test]
fn sync_updates_to_a_locked_object_are_held_until_its_transaction_ends() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.engine.sync_update(
        tab.now,
        todos,
        SyncUpdate::Full(vec![("a".into(), json!({ "n": 1, "by": "server" }))]),
    );
    tab.settle();
    assert_eq!(tab.synced, [todos]);
    tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    tab.engine.sync_update(
        tab.now,
        todos,
        SyncUpdate::Delta(vec![("a".into(), Some(json!({ "n": 9, "by": "other" })))]),
    );
    tab.settle();
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2, "by": "server" }), "held");
    tab.answer_persist(Err(permanent("no")));
    assert_eq!(
        tab.shows(todos)["a"],
        json!({ "n": 9, "by": "other" }),
        "on failure it shows what the server has"
    );
}

#[test]
fn a_provisional_row_is_settled_by_the_next_word_of_sync() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }));
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![]));
    tab.settle();
    assert!(tab.shows(todos).is_empty(), "the first full data settles it, absence included");
}

#[test]
fn parallel_transactions_are_all_sent_at_once_and_fail_alone() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let counters = tab.register_with("counters", |spec| spec.strategy = Strategy::Parallel { merge: None });
    tab.engine.sync_update(
        tab.now,
        counters,
        SyncUpdate::Full(vec![("a".into(), json!({ "x": 0, "y": 0 }))]),
    );
    tab.settle();
    tab.update(counters, "a", json!({ "x": 1 })).unwrap();
    tab.update(counters, "a", json!({ "y": 1 })).unwrap();
    tab.settle();
    assert_eq!(tab.persists.len(), 2);
    tab.answer_persist(Err(permanent("no")));
    assert_eq!(tab.shows(counters)["a"], json!({ "x": 0, "y": 1 }));
}

#[test]
fn a_discarded_transaction_takes_its_dependents_along() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.engine.pause(tab.now, "test");
    let first = tab.insert(todos, "a", json!({})).unwrap();
    let second = tab.update(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.engine.discard(tab.now, first).unwrap();
    tab.settle();
    assert_eq!(tab.events_of(first), [TxEvent::Durable, TxEvent::Discarded]);
    assert_eq!(tab.events_of(second), [TxEvent::Durable, TxEvent::Discarded]);
    assert!(tab.engine.transactions().is_empty());
    assert!(tab.shows(todos).is_empty());
    let third = tab.insert(todos, "b", json!({})).unwrap();
    tab.engine.resume(tab.now);
    tab.settle();
    assert_eq!(tab.engine.discard(tab.now, third).unwrap_err().code, Code::NotDiscardable);
}

#[test]
fn a_failed_transaction_can_be_retried_as_a_new_one() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let first = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    let again = tab.engine.retry(tab.now, first).unwrap();
    tab.settle();
    assert_ne!(again, first);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }));
    tab.answer_persist(Ok(Default::default()));
    assert_eq!(tab.state(again), S::Completed);
}

#[test]
fn a_local_collection_keeps_what_is_written_across_a_reload_and_a_checkpoint() {
    let disk = Disk::default();
    let local = |spec: &mut driftline_core::CollectionSpec<serde_json::Value>| {
        spec.persist = None;
        spec.has_sync = false;
        spec.mirror = true;
    };
    let mut tab = Tab::open(&disk, 1);
    let notes = tab.register_with("notes", local);
    for index in 0..400 {
        tab.insert(notes, &format!("n{index}"), json!({ "n": index })).unwrap();
        tab.settle();
    }
    tab.delete(notes, "n7").unwrap();
    tab.settle();
    assert_eq!(tab.engine.status().pending, 0);
    assert_eq!(disk.borrow().mirror.len(), 399);
    let rows = tab.shows(notes);
    tab.advance(10_000);
    assert!(disk.borrow().checkpoint > 0, "a checkpoint was written");
    assert!(disk.borrow().log.len() < 10);
    let history = tab.engine.transactions();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let notes = tab.register_with("notes", local);
    assert_eq!(tab.shows(notes), rows);
    assert_eq!(tab.engine.transactions(), history, "history is kept, in order");
    assert!(tab.engine.transactions().iter().all(|&id| tab.state(id) == S::Completed));
    tab.update(notes, "n8", json!({ "n": "new" })).unwrap();
    tab.settle();
    assert_eq!(tab.shows(notes)["n8"], json!({ "n": "new" }));
}
