//! Transactions as wholes: over several collections, merged inside, durable, provisional, watched.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, CollectionSpec, CommitError, DraftKind, Error, ErrorInfo, Failure, FailureKind, Input,
    MutationDraft, PersistOk, SyncUpdate, TransactionDraft, TxEvent, TxId,
    view::{MutationKind, TransactionState as S},
};
use serde_json::{Value, json};
use support::{Disk, Tab, draft, permanent};

fn named(tab: &mut Tab, mutations: Vec<MutationDraft<Value>>, function: &str) -> Result<TxId, Error> {
    let function = Some(function.to_owned());
    let draft = TransactionDraft { mutations, strategy: None, function, metadata: None };
    let result = tab.engine.transact(tab.now, draft);
    tab.settle();
    result
}

#[test]
fn a_transaction_over_two_collections_shows_is_sent_and_fails_as_one() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let (todos, lists) = (tab.register("todos"), tab.register("lists"));
    let both = || {
        vec![
            draft(todos, "t", DraftKind::Insert(json!({ "n": 1 }))),
            draft(lists, "l", DraftKind::Insert(json!({ "n": 1 }))),
        ]
    };
    let tx = tab.transact(both()).unwrap();
    assert_eq!((tab.shows(todos).len(), tab.shows(lists).len()), (1, 1));
    tab.settle();
    assert_eq!(tab.persists.len(), 1, "one call with all of it");
    assert_eq!(tab.engine.transaction(tx).unwrap().mutations.len(), 2);
    tab.answer_persist(Err(permanent("no")));
    assert_eq!((tab.shows(todos).len(), tab.shows(lists).len()), (0, 0));
    let again = tab.transact(both()).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(again), S::Completed);
    assert_eq!((tab.shows(todos).len(), tab.shows(lists).len()), (1, 1));
}

#[test]
fn collections_with_different_functions_share_a_transaction_only_under_one_that_both_name() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let functions = |spec: &mut CollectionSpec<Value>| spec.functions = vec!["save".into()];
    let todos = tab.register_with("todos", functions);
    let lists = tab.register_with("lists", |spec| {
        functions(spec);
        spec.persist = Some(2);
    });
    let remote = tab.connect_mizu();
    let notes = tab.register_with("notes", |spec| {
        functions(spec);
        (spec.persist, spec.has_sync, spec.remote) = (None, false, Some((remote, "note".into())));
    });
    let on = |collections: &[_]| -> Vec<_> {
        collections.iter().map(|&to| draft(to, "a", DraftKind::Insert(json!({ "id": "a" })))).collect()
    };
    for collections in [&[todos, lists][..], &[todos, notes], &[lists, notes]] {
        assert_eq!(tab.transact(on(collections)).unwrap_err().code, Code::MixedPersist);
        assert!(
            collections.iter().all(|&collection| tab.shows(collection).is_empty()),
            "nothing was written"
        );
    }
    assert_eq!(named(&mut tab, on(&[todos]), "erase").unwrap_err().code, Code::UnknownMutation);
    let requests = tab.requests.len();
    let tx = named(&mut tab, on(&[todos, lists, notes]), "save").unwrap();
    assert_eq!(tab.persists.len(), 1, "the named function has all of it");
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.state(tx), S::Completed);
    let alone =
        named(&mut tab, vec![draft(notes, "b", DraftKind::Insert(json!({ "id": "b" })))], "save").unwrap();
    assert_eq!(tab.persists.len(), 1, "a remote's row, too, is the named function's to send");
    assert_eq!(tab.answer_persist(Ok(PersistOk::default())), alone);
    assert_eq!(tab.requests.len(), requests, "nothing of it was pushed");
}

#[test]
fn a_transaction_over_several_collections_is_sent_only_by_the_tab_that_leads_them_all() {
    let disk = Disk::default();
    let mut tab = Tab::open_with(&disk, 1, false);
    let (todos, lists) = (tab.register("todos"), tab.register("lists"));
    let tx = tab
        .transact(vec![
            draft(todos, "t", DraftKind::Insert(json!({}))),
            draft(lists, "l", DraftKind::Insert(json!({}))),
        ])
        .unwrap();
    tab.settle();
    tab.grant("c/lists");
    tab.settle();
    assert!(tab.persists.is_empty());
    tab.grant("c/todos");
    tab.settle();
    assert_eq!(tab.persists.iter().map(|persist| persist.transaction).collect::<Vec<_>>(), [tx]);
}

#[test]
fn changes_to_one_object_come_to_one_change() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let there = vec![("a".into(), json!({ "n": 1, "m": 1 }))];
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(there));
    tab.settle();
    tab.engine.pause(tab.now, "to look at each");
    let insert = |row: Value| DraftKind::Insert(row);
    let update = |changes: Value| DraftKind::Update(changes);
    // What is done to the row that is there, and the one change it comes to: its kind and what it carries.
    type Case = (Vec<DraftKind<Value>>, MutationKind, Option<Value>, Option<Value>);
    let cases: Vec<Case> = vec![
        (
            vec![update(json!({ "n": 2 })), update(json!({ "n": 3, "x": 1 }))],
            MutationKind::Update,
            Some(json!({ "n": 3, "x": 1 })),
            Some(json!({ "n": 3, "m": 1, "x": 1 })),
        ),
        (vec![update(json!({ "n": 2 })), DraftKind::Delete], MutationKind::Delete, None, None),
        (
            vec![DraftKind::Delete, insert(json!({ "n": 5 }))],
            MutationKind::Update,
            Some(json!({ "n": 5, "m": null })),
            Some(json!({ "n": 5 })),
        ),
        (
            vec![DraftKind::Delete, insert(json!({ "n": 5 })), update(json!({ "k": 1 }))],
            MutationKind::Update,
            Some(json!({ "n": 5, "m": null, "k": 1 })),
            Some(json!({ "n": 5, "k": 1 })),
        ),
        (vec![DraftKind::Delete, insert(json!({})), DraftKind::Delete], MutationKind::Delete, None, None),
    ];
    for (kinds, kind, changes, shown) in cases {
        let told = format!("{kinds:?}");
        let tx = tab.transact(kinds.into_iter().map(|kind| draft(todos, "a", kind)).collect()).unwrap();
        let view = tab.engine.transaction(tx).unwrap();
        assert_eq!(view.mutations.len(), 1, "{told}");
        let mutation = &view.mutations[0];
        assert_eq!((mutation.kind, &mutation.changes), (kind, &changes), "{told}");
        assert_eq!(
            mutation.original,
            Some(json!({ "n": 1, "m": 1 })),
            "{told}: what was there before it all"
        );
        assert_eq!(tab.shows(todos).get("a"), shown.as_ref(), "{told}");
        tab.settle();
        tab.engine.discard(tab.now, tx).unwrap();
        tab.settle();
        assert_eq!(tab.shows(todos)["a"], json!({ "n": 1, "m": 1 }), "{told}, discarded");
    }
}

#[test]
fn a_bad_change_inside_a_transaction_leaves_nothing_of_the_others() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let result = tab.transact(vec![
        draft(todos, "a", DraftKind::Insert(json!({}))),
        draft(todos, "b", DraftKind::Update(json!({}))),
    ]);
    assert_eq!(result.unwrap_err().code, Code::MissingKey);
    tab.settle();
    assert!(tab.shows(todos).is_empty() && tab.engine.transactions().is_empty());
    assert_eq!(tab.disk.borrow().commits, 0);
}

#[test]
fn a_crash_before_the_answer_is_committed_sends_again_under_the_same_key() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    let key = tab.engine.transaction(tx).unwrap().idempotency_key;
    let persist = tab.persists.remove(0);
    tab.input(Input::PersistAnswered(persist.op, Ok(PersistOk::default())));
    // The turn never ends: the tab is gone before the fact is on disk.
    assert_eq!(tab.events_of(tx), [TxEvent::Durable], "nothing is told before it is");
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    tab.register("todos");
    assert_eq!(tab.persists.iter().map(|persist| persist.transaction).collect::<Vec<_>>(), [tx]);
    assert_eq!(tab.engine.transaction(tx).unwrap().idempotency_key, key);
    assert_eq!(tab.persists[0].attempt, 2);
}

#[test]
fn what_a_leader_decided_is_committed_later_when_the_disk_fails_and_is_not_sent_again() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    disk.borrow_mut().fail.push(CommitError::Unavailable("the connection was lost".into()));
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
    assert!(tab.errors.iter().any(|(code, _)| *code == Code::StorageUnavailable));
    tab.advance(10_000);
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert!(tab.persists.is_empty());
}

#[test]
fn a_database_that_the_browser_has_lost_is_told_of_and_used_on() {
    let disk = Disk::default();
    disk.borrow_mut().is_anew = true;
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.settle();
    assert_eq!(tab.errors.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [Code::StorageLost]);
    assert_eq!(tab.engine.status().last_error.map(|error| error.code), Some("storage_lost".to_owned()));
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
}

#[test]
fn a_provisional_row_stays_until_sync_brings_that_object_again() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![("a".into(), json!({ "n": 1 }))]));
    tab.settle();
    tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    let other = SyncUpdate::Delta(vec![("b".into(), Some(json!({})))]);
    tab.engine.sync_update(tab.now, todos, other);
    tab.settle();
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2 }), "news of another object says nothing of it");
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2 }), "after a reload, too");
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Delta(vec![("a".into(), Some(json!({ "n": 7 })))]));
    tab.settle();
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 7 }));
}

#[test]
fn each_change_of_state_is_told_and_the_list_keeps_the_order() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    let first = tab.insert(todos, "a", json!({})).unwrap();
    let second = tab.insert(todos, "b", json!({})).unwrap();
    let mut told = Vec::new();
    let mut look = |tab: &mut Tab| {
        for (id, event) in std::mem::take(&mut tab.events) {
            if id == first && event == TxEvent::Changed {
                told.push(tab.state(first));
            }
        }
    };
    look(&mut tab);
    tab.settle();
    look(&mut tab);
    tab.answer_persist(Ok(PersistOk::default()));
    look(&mut tab);
    tab.answer_await(Ok(()));
    look(&mut tab);
    told.dedup();
    assert_eq!(told, [S::Pending, S::Persisting, S::PersistedAwaitingSync, S::Completed]);
    assert_eq!(tab.engine.transactions(), [first, second]);
}

#[test]
fn a_retry_of_a_failed_transaction_is_a_new_one_on_todays_rows() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![("a".into(), json!({ "n": 1 }))]));
    tab.settle();
    let failed = tab.update(todos, "a", json!({ "n": 2 })).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    let today = SyncUpdate::Delta(vec![("a".into(), Some(json!({ "n": 5, "m": 5 })))]);
    tab.engine.sync_update(tab.now, todos, today);
    tab.settle();
    let again = tab.engine.retry(tab.now, failed).unwrap();
    tab.settle();
    let view = tab.engine.transaction(again).unwrap();
    assert_eq!(view.mutations[0].original, Some(json!({ "n": 5, "m": 5 })));
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 2, "m": 5 }));
    assert_ne!(view.idempotency_key, tab.engine.transaction(failed).unwrap().idempotency_key);
    assert_eq!(tab.state(failed), S::Failed, "the old one stays as it was");
    tab.answer_persist(Err(permanent("no")));
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(vec![]));
    tab.settle();
    assert_eq!(tab.engine.retry(tab.now, failed).unwrap_err().code, Code::MissingKey);
    assert_eq!(tab.engine.retry(tab.now, TxId(1)).unwrap_err().code, Code::NotFound);
}

#[test]
fn what_waits_for_its_back_off_can_be_discarded_and_what_failed_or_is_quarantined_too() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let waits = tab.insert(todos, "a", json!({})).unwrap();
    let behind = tab.update(todos, "a", json!({ "n": 1 })).unwrap();
    let failed = tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.engine.discard(tab.now, waits).unwrap_err().code, Code::NotDiscardable);
    tab.answer_persist(Err(support::temporary("busy")));
    tab.answer_persist(Err(permanent("no")));
    for tx in [waits, failed] {
        tab.engine.discard(tab.now, tx).unwrap();
    }
    tab.settle();
    for tx in [waits, behind, failed] {
        assert_eq!(tab.events_of(tx).last(), Some(&TxEvent::Discarded));
        assert!(tab.engine.transaction(tx).is_none());
    }
    tab.advance(3_600_000);
    assert!(tab.persists.is_empty() && tab.shows(todos).is_empty());
    assert_eq!(tab.engine.status().failed, 0);
}

#[test]
fn what_was_written_behind_a_completed_transaction_goes_on_when_that_is_pruned() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({})).unwrap();
    let behind = tab.update(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.engine.pause(tab.now, "a moment");
    tab.answer_persist(Ok(PersistOk::default()));
    assert_eq!(tab.engine.prune(tab.now, None, &[S::Completed]), Ok(1));
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    tab.register("todos");
    assert_eq!(tab.state(behind), S::Persisting);
}

#[test]
fn every_command_on_a_closed_database_is_refused_and_what_was_written_is_committed() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.engine.close(tab.now);
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
    assert_eq!(tab.insert(todos, "b", json!({})).unwrap_err().code, Code::Closed);
    assert_eq!(tab.engine.prune(tab.now, None, &[S::Completed]).unwrap_err().code, Code::Closed);
    assert!(tab.claims.is_empty(), "what it led is given back");
    assert!(tab.persists.is_empty(), "and nothing more is sent");
}

#[test]
fn a_hold_is_told_in_the_status_and_ends_with_resume() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    tab.engine.pause(tab.now, "on a metered network");
    tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    assert!(tab.persists.is_empty());
    let status = tab.engine.status();
    assert_eq!(status.paused.unwrap().reason, "on a metered network");
    assert!(status.oldest_waiting.unwrap().why.contains("on a metered network"));
    tab.engine.resume(tab.now);
    tab.settle();
    assert_eq!(tab.persists.len(), 1);
    let unreachable = ErrorInfo::of(Code::Offline, "no network");
    tab.answer_persist(Err(Failure { kind: FailureKind::Unreachable, error: unreachable }));
    assert!(tab.engine.status().oldest_waiting.unwrap().why.contains("can't be reached"));
    assert_eq!(tab.engine.status().last_error.unwrap().code, "offline");
}
