//! What waits for what: ordered transactions, parallel ones, and both on one object.

#![allow(clippy::unwrap_used)]

mod support;

use std::rc::Rc;

use driftline_core::{
    Code, DraftKind, PersistOk, Scope, Strategy, SyncUpdate, TransactionDraft, TxId,
    spec::{CollectionId, MergeFn},
    view::TransactionState as S,
};
use serde_json::{Value, json};
use support::{Disk, Tab, draft, permanent, temporary};

/// Writes one change with a strategy of its own.
fn write_as(tab: &mut Tab, to: CollectionId, key: &str, kind: DraftKind<Value>, strategy: Strategy) -> TxId {
    let mutations = vec![draft(to, key, kind)];
    let draft = TransactionDraft { mutations, strategy: Some(strategy), function: None, metadata: None };
    let tx = tab.engine.transact(tab.now, draft).unwrap();
    tab.settle();
    tx
}

fn sent(tab: &Tab) -> Vec<TxId> {
    tab.persists.iter().map(|persist| persist.transaction).collect()
}

#[test]
fn an_object_is_locked_from_the_first_attempt_until_the_end_back_off_included() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    tab.insert(todos, "a", json!({})).unwrap();
    assert!(tab.engine.locked_objects().is_empty(), "nothing has been tried yet");
    tab.settle();
    assert_eq!(tab.engine.locked_objects(), ["todos/a"]);
    tab.answer_persist(Err(temporary("busy")));
    assert_eq!(tab.engine.locked_objects(), ["todos/a"], "while it backs off");
    tab.advance(60_000);
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.engine.locked_objects(), ["todos/a"], "while it waits for sync");
    tab.answer_await(Ok(()));
    assert!(tab.engine.locked_objects().is_empty());
}

#[test]
fn a_transaction_waits_for_every_earlier_one_that_shares_an_object_and_names_the_nearest() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let a = tab.insert(todos, "a", json!({})).unwrap();
    let b = tab.insert(todos, "b", json!({})).unwrap();
    let both = tab
        .transact(vec![
            draft(todos, "a", DraftKind::Update(json!({ "n": 1 }))),
            draft(todos, "b", DraftKind::Update(json!({ "n": 1 }))),
        ])
        .unwrap();
    tab.settle();
    assert_eq!(tab.engine.transaction(both).unwrap().queued_behind, Some(b), "the nearest");
    let second = tab.persists.remove(1);
    tab.input(driftline_core::Input::PersistAnswered(second.op, Ok(PersistOk::default())));
    tab.settle();
    let view = tab.engine.transaction(both).unwrap();
    assert_eq!((view.state, view.queued_behind), (S::Queued, Some(a)), "the other one is unfinished yet");
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(both), S::Persisting);
}

#[test]
fn transactions_that_share_nothing_run_side_by_side_up_to_a_bound() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    for index in 0..10 {
        tab.insert(todos, &index.to_string(), json!({})).unwrap();
    }
    tab.settle();
    assert_eq!(tab.persists.len(), 6, "the default bound");
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.persists.len(), 6, "the next one takes its place");
}

#[test]
fn the_scope_of_a_collection_makes_one_strict_line() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let line = |spec: &mut driftline_core::CollectionSpec<Value>| {
        spec.strategy = Strategy::Ordered(Scope::Collection);
    };
    let todos = tab.register_with("todos", line);
    let first = tab.insert(todos, "a", json!({})).unwrap();
    let second = tab.insert(todos, "b", json!({})).unwrap();
    let third = tab.insert(todos, "c", json!({})).unwrap();
    tab.settle();
    assert_eq!(sent(&tab), [first]);
    assert_eq!(tab.engine.transaction(third).unwrap().queued_behind, Some(second));
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(sent(&tab), [second]);
    tab.answer_persist(Err(permanent("no")));
    assert_eq!(tab.state(third), S::Failed, "it stood in line behind one that failed");
}

#[test]
fn one_that_locks_the_collection_waits_for_all_of_it_and_all_of_it_waits_for_that_one() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let a = tab.insert(todos, "a", json!({})).unwrap();
    let b = tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    let whole = Strategy::Ordered(Scope::Collection);
    let c = write_as(&mut tab, todos, "c", DraftKind::Insert(json!({})), whole);
    let d = tab.insert(todos, "d", json!({})).unwrap();
    let e = tab.insert(todos, "e", json!({})).unwrap();
    tab.settle();
    assert_eq!(sent(&tab), [a, b]);
    assert_eq!(tab.engine.transaction(d).unwrap().queued_behind, Some(c));
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(c), S::Queued, "one is unfinished yet");
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(sent(&tab), [c]);
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(sent(&tab), [d, e]);
}

#[test]
fn a_failure_takes_along_what_waited_for_the_whole_collection() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let a = tab.insert(todos, "a", json!({})).unwrap();
    let whole = Strategy::Ordered(Scope::Collection);
    let b = write_as(&mut tab, todos, "b", DraftKind::Insert(json!({})), whole);
    let c = tab.insert(todos, "c", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    for waited in [b, c] {
        assert_eq!(tab.engine.transaction(waited).unwrap().cause, Some(a));
    }
    assert!(tab.shows(todos).is_empty());
}

#[test]
fn what_waits_for_sync_holds_up_only_what_touches_the_same_object() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| {
        spec.has_await_sync = true;
        spec.concurrent_persists = 1;
    });
    let first = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    let same = tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    let other = tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(first), S::PersistedAwaitingSync);
    assert_eq!(tab.state(same), S::Queued);
    assert_eq!(sent(&tab), [other], "it takes no place of those that are sent");
    tab.answer_await(Ok(()));
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(sent(&tab), [same]);
}

#[test]
fn held_updates_are_applied_in_order_and_land_under_nothing_when_the_transaction_succeeds() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![("a".into(), json!({ "n": 1 }))]));
    tab.settle();
    tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    for n in [2, 3, 4] {
        let row = json!({ "n": n, "by": "server" });
        tab.engine.sync_update(tab.now, todos, SyncUpdate::Delta(vec![("a".into(), Some(row))]));
        tab.settle();
        assert_eq!(tab.shows(todos)["a"], json!({ "n": 2 }), "held");
    }
    assert_eq!(
        tab.engine.synced_rows(todos).collect::<Vec<_>>(),
        [("a", &json!({ "n": 4, "by": "server" }))],
        "what sync has delivered has them"
    );
    tab.answer_persist(Ok(PersistOk::default()));
    tab.answer_await(Ok(()));
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 4, "by": "server" }));
}

#[test]
fn parallel_transactions_lock_nothing_wait_for_nothing_and_keep_to_the_bound() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let likes = tab.register_with("likes", |spec| spec.strategy = Strategy::Parallel { merge: None });
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Full(vec![("a".into(), json!({ "n": 0 }))]));
    tab.settle();
    let all: Vec<TxId> = (1..=8).map(|n| tab.update(likes, "a", json!({ "n": n })).unwrap()).collect();
    tab.settle();
    assert_eq!(sent(&tab), all[..6]);
    assert!(tab.engine.locked_objects().is_empty());
    assert_eq!(tab.engine.transaction(all[7]).unwrap().queued_behind, None);
    tab.answer_persist(Err(permanent("no")));
    assert!(all[1..].iter().all(|&tx| !tab.state(tx).is_final()), "no other goes with it");
}

#[test]
fn without_a_merge_parallel_changes_are_laid_over_the_synced_row_in_order() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let likes = tab.register_with("likes", |spec| spec.strategy = Strategy::Parallel { merge: None });
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Full(vec![("a".into(), json!({ "x": 0, "y": 0 }))]));
    tab.settle();
    tab.update(likes, "a", json!({ "x": 1 })).unwrap();
    tab.update(likes, "a", json!({ "x": 2 })).unwrap();
    tab.settle();
    let row = json!({ "x": 9, "y": 9 });
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Delta(vec![("a".into(), Some(row))]));
    tab.settle();
    assert_eq!(tab.shows(likes)["a"], json!({ "x": 2, "y": 9 }), "sync shows at once, under them");
}

#[test]
fn a_merge_says_what_shows_of_the_synced_row_and_the_pending_changes() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let sum: MergeFn<Value> = Rc::new(|synced, pending| {
        let n = |row: &Value| row["n"].as_i64().unwrap_or_default();
        let more: i64 = pending.iter().filter_map(|mutation| mutation.changes.as_ref()).map(n).sum();
        Some(json!({ "n": synced.map_or(0, n) + more }))
    });
    let likes = tab.register_with("likes", |spec| {
        spec.merges = vec![("sum".into(), sum)];
        spec.strategy = Strategy::Parallel { merge: Some("sum".into()) };
    });
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Full(vec![("a".into(), json!({ "n": 10 }))]));
    tab.settle();
    let first = tab.update(likes, "a", json!({ "n": 1 })).unwrap();
    tab.update(likes, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    assert_eq!(tab.shows(likes)["a"], json!({ "n": 13 }));
    let row = json!({ "n": 20 });
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Delta(vec![("a".into(), Some(row))]));
    tab.settle();
    assert_eq!(tab.shows(likes)["a"], json!({ "n": 23 }), "when sync brings the object, it is asked again");
    assert_eq!(tab.answer_persist(Err(permanent("no"))), first);
    assert_eq!(tab.shows(likes)["a"], json!({ "n": 22 }), "a failure takes back its own change and no other");
}

#[test]
fn of_both_kinds_on_one_object_ordered_waits_only_on_ordered() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![("a".into(), json!({ "x": 0, "y": 0 }))]));
    tab.settle();
    let parallel = Strategy::Parallel { merge: None };
    let p = write_as(&mut tab, todos, "a", DraftKind::Update(json!({ "x": 1 })), parallel.clone());
    let first = tab.update(todos, "a", json!({ "y": 1 })).unwrap();
    let second = tab.update(todos, "a", json!({ "y": 2 })).unwrap();
    tab.settle();
    let q = write_as(&mut tab, todos, "a", DraftKind::Update(json!({ "x": 2 })), parallel);
    assert_eq!(sent(&tab), [p, first, q]);
    assert_eq!(tab.engine.transaction(second).unwrap().queued_behind, Some(first));
    tab.answer_persist(Err(permanent("no")));
    assert_eq!(tab.state(first), S::Persisting, "a parallel failure is nobody else's");
    tab.answer_persist(Err(permanent("no")));
    assert_eq!(
        (tab.state(second), tab.state(q)),
        (S::Failed, S::Persisting),
        "an ordered one is not a parallel one's"
    );
    assert_eq!(tab.shows(todos)["a"], json!({ "x": 2, "y": 0 }));
}

#[test]
fn a_parallel_change_that_completes_while_another_locks_its_row_shows_on() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![("a".into(), json!({ "x": 0, "y": 0 }))]));
    tab.settle();
    let parallel = Strategy::Parallel { merge: None };
    tab.update(todos, "a", json!({ "y": 1 })).unwrap();
    tab.settle();
    write_as(&mut tab, todos, "a", DraftKind::Update(json!({ "x": 1 })), parallel);
    let second = tab.persists.remove(1);
    tab.input(driftline_core::Input::PersistAnswered(second.op, Ok(PersistOk::default())));
    tab.settle();
    let row = json!({ "x": 1, "y": 0 });
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Delta(vec![("a".into(), Some(row))]));
    tab.settle();
    tab.answer_await(Ok(()));
    assert_eq!(tab.shows(todos)["a"], json!({ "x": 1, "y": 1 }), "nothing flickers");
}

#[test]
fn a_write_under_a_pending_merge_shows_as_the_merge_says() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let last: MergeFn<Value> = Rc::new(|_, pending| pending.last()?.changes.clone());
    let likes = tab.register_with("likes", |spec| spec.merges = vec![("last".into(), last)]);
    tab.engine.sync_update(tab.now, likes, SyncUpdate::Full(vec![("a".into(), json!({ "n": 1 }))]));
    tab.settle();
    let merged = Strategy::Parallel { merge: Some("last".into()) };
    write_as(&mut tab, likes, "a", DraftKind::Update(json!({ "n": 2 })), merged);
    tab.update(likes, "a", json!({ "n": 3 })).unwrap();
    assert_eq!(tab.shows(likes)["a"], json!({ "n": 2 }), "at once, and not only when sync speaks next");
}

#[test]
fn an_unknown_merge_is_refused_at_the_call() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let mutations = vec![draft(todos, "a", DraftKind::Insert(json!({})))];
    let strategy = Some(Strategy::Parallel { merge: Some("sum".into()) });
    let draft = TransactionDraft { mutations, strategy, function: None, metadata: None };
    assert_eq!(tab.engine.transact(tab.now, draft).unwrap_err().code, Code::UnknownMutation);
    assert!(tab.shows(todos).is_empty());
}
