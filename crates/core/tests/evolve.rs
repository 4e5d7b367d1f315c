//! Work that was queued by an earlier release, under another key, or for something this tab does not know.

#![allow(clippy::unwrap_used)]

mod support;

use std::rc::Rc;

use driftline_core::{
    Code, CollectionSpec, DraftKind, Input, PersistOk, StoredMutation, SyncUpdate, TransactionDraft, TxEvent,
    view::TransactionState as S,
};
use serde_json::{Value, json};
use support::{Disk, Tab, draft, permanent};

fn rekey(from: &str, to: &str) -> PersistOk {
    PersistOk { rekey: vec![(from.into(), to.into())] }
}

#[test]
fn a_servers_key_reaches_the_row_its_dependents_and_later_writes() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.insert(todos, "temp", json!({ "id": "temp", "n": 1 })).unwrap();
    let second = tab.update(todos, "temp", json!({ "n": 2 })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(rekey("temp", "t7")));
    assert_eq!(tab.rekeyed, [("temp".into(), "t7".into())]);
    assert_eq!(
        tab.shows(todos).into_iter().collect::<Vec<_>>(),
        [("t7".to_owned(), json!({ "id": "t7", "n": 2 }))]
    );
    let view = tab.engine.transaction(second).unwrap();
    assert_eq!((view.mutations[0].key.as_str(), view.state), ("t7", S::Persisting));
    tab.update(todos, "temp", json!({ "n": 3 })).unwrap();
    assert_eq!(tab.shows(todos)["t7"]["n"], 3);
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(
        tab.shows(todos).into_iter().collect::<Vec<_>>(),
        [("t7".to_owned(), json!({ "id": "t7", "n": 3 }))]
    );
}

#[test]
fn a_key_that_was_inserted_in_two_collections_is_replaced_in_both_and_where_it_was_only_changed_in_neither() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let (todos, details, tags) = (tab.register("todos"), tab.register("details"), tab.register("tags"));
    let row = json!({ "id": "temp" });
    tab.engine.sync_update(tab.now, tags, SyncUpdate::Full(vec![("temp".into(), row.clone())]));
    tab.settle();
    tab.transact(vec![
        draft(todos, "temp", DraftKind::Insert(row.clone())),
        draft(details, "temp", DraftKind::Insert(row)),
        draft(tags, "temp", DraftKind::Update(json!({ "n": 1 }))),
    ])
    .unwrap();
    tab.settle();
    tab.answer_persist(Ok(rekey("temp", "t7")));
    for collection in [todos, details] {
        assert_eq!(
            tab.shows(collection).into_iter().collect::<Vec<_>>(),
            [("t7".to_owned(), json!({ "id": "t7" }))]
        );
    }
    assert_eq!(tab.shows(tags).keys().collect::<Vec<_>>(), ["temp"]);
    assert_eq!(
        tab.engine.row(todos, "temp"),
        Some(&json!({ "id": "t7" })),
        "the old key leads to the new one"
    );
}

#[test]
fn a_key_that_can_not_be_one_is_left_as_it_is_and_told() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let tx = tab.insert(todos, "temp", json!({ "id": "temp" })).unwrap();
    tab.settle();
    let wrong = [("temp", String::new()), ("temp", "k".repeat(1_025)), ("other", "t7".to_owned())];
    let rekey = wrong.map(|(from, to)| (from.to_owned(), to)).to_vec();
    tab.answer_persist(Ok(PersistOk { rekey }));
    assert_eq!(tab.errors.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [Code::InvalidKey; 3]);
    assert_eq!(tab.state(tx), S::Completed, "what is persisted can't fail");
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["temp"]);
}

#[test]
fn another_tabs_write_under_the_old_key_follows_too() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let todos = leader.register("todos");
    leader.insert(todos, "temp", json!({ "id": "temp", "n": 1 })).unwrap();
    leader.settle();
    let mut follower = Tab::open_with(&disk, 2, false);
    follower.register("todos");
    let persist = leader.persists.remove(0);
    leader.input(Input::PersistAnswered(persist.op, Ok(rekey("temp", "t7"))));
    leader.settle();
    // The follower has not heard of the new key yet.
    let late = follower.update(todos, "temp", json!({ "n": 2 })).unwrap();
    follower.settle();
    let next = disk.borrow().next;
    leader.input(Input::LogGrew(next));
    leader.settle();
    for tab in [&follower, &leader] {
        assert_eq!(
            tab.shows(todos).into_iter().collect::<Vec<_>>(),
            [("t7".to_owned(), json!({ "id": "t7", "n": 2 }))]
        );
    }
    assert_eq!(leader.engine.transaction(late).unwrap().mutations[0].key, "t7");
}

#[test]
fn queued_work_of_an_older_version_is_migrated_before_it_is_sent() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.engine.pause(tab.now, "test");
    let fits = tab.insert(todos, "a", json!({ "id": "a", "name": "one" })).unwrap();
    let does_not = tab.insert(todos, "b", json!({ "id": "b" })).unwrap();
    let behind = tab.update(todos, "b", json!({ "x": 1 })).unwrap();
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register_with("todos", |spec: &mut CollectionSpec<Value>| {
        spec.version = 2;
        spec.migrate = Some(Rc::new(|mut stored: StoredMutation<Value>, from| {
            assert_eq!(from, 1);
            let row = stored.modified.as_mut()?.as_object_mut()?;
            let name = row.remove("name")?;
            row.insert("title".into(), name);
            Some(stored)
        }));
    });
    assert_eq!(
        tab.shows(todos).into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), json!({ "id": "a", "title": "one" }))]
    );
    assert_eq!(tab.persists.len(), 1);
    assert_eq!(
        tab.engine.transaction(fits).unwrap().mutations[0].modified,
        Some(json!({ "id": "a", "title": "one" }))
    );
    let failed = tab.engine.transaction(does_not).unwrap();
    assert_eq!(failed.state, S::Failed);
    assert_eq!(failed.mutations[0].modified, Some(json!({ "id": "b" })), "kept with its payload");
    assert_eq!(tab.state(behind), S::Failed);
}

#[test]
fn work_for_a_collection_a_version_or_a_function_that_is_not_known_waits_and_is_listed() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let newer = tab.register_with("newer", |spec| spec.version = 3);
    let named = tab.register_with("named", |spec| spec.functions = vec!["save".into()]);
    let gone = tab.register("gone");
    tab.engine.pause(tab.now, "test");
    let mut ids = vec![tab.insert(newer, "a", json!({})).unwrap(), tab.insert(gone, "a", json!({})).unwrap()];
    let mutations = vec![draft(named, "a", DraftKind::Insert(json!({})))];
    ids.push(
        tab.engine
            .transact(
                tab.now,
                TransactionDraft { mutations, strategy: None, function: Some("save".into()), metadata: None },
            )
            .unwrap(),
    );
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    tab.register_with("newer", |spec| spec.version = 2);
    tab.register("named");
    tab.advance(600_000);
    assert!(tab.persists.is_empty());
    for &id in &ids {
        assert!(!tab.state(id).is_final());
    }
    assert_eq!(tab.engine.status().pending, 3);
    tab.engine.discard(tab.now, ids[1]).unwrap();
    tab.settle();
    assert_eq!(tab.engine.status().pending, 2);
    tab.register_with("gone", |_| {});
    assert!(tab.persists.is_empty(), "what was discarded is not sent");
}

#[test]
fn history_is_kept_until_it_is_pruned() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    let done = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    let failed = tab.insert(todos, "b", json!({})).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    let waiting = tab.insert(todos, "c", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.engine.prune(tab.now, None, &[S::Completed]), Ok(1));
    tab.settle();
    assert_eq!(tab.engine.transactions(), [failed, waiting]);
    assert_eq!(
        tab.engine.prune(tab.now, Some(driftline_core::Timestamp(1)), &[S::Failed]),
        Ok(0),
        "it is younger"
    );
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.engine.transactions(), [failed, waiting]);
    assert!(tab.engine.transaction(done).is_none());
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["a", "c"], "rows are not history");
}

#[test]
fn two_tabs_that_each_hold_one_of_two_leases_agree_on_who_sends() {
    let disk = Disk::default();
    let mut one = Tab::open_with(&disk, 1, false);
    let mut two = Tab::open_with(&disk, 2, false);
    let (a, b) = (one.register("a"), one.register("b"));
    two.register("a");
    two.register("b");
    one.grant("c/b");
    one.settle();
    two.grant("c/a");
    two.settle();
    let tx = one
        .transact(vec![
            draft(a, "x", DraftKind::Insert(json!({}))),
            draft(b, "x", DraftKind::Insert(json!({}))),
        ])
        .unwrap();
    one.settle();
    assert_eq!(one.claims.iter().filter(|name| *name == "c/b").count(), 1, "given up and claimed again");
    let next = disk.borrow().next;
    two.input(Input::LogGrew(next));
    two.settle();
    two.grant("c/b");
    two.settle();
    assert_eq!(two.persists.len(), 1);
    two.answer_persist(Ok(PersistOk::default()));
    let next = disk.borrow().next;
    one.input(Input::LogGrew(next));
    one.settle();
    assert_eq!(one.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
}

#[test]
fn what_another_release_put_into_the_mirror_is_put_right_by_the_next_leader() {
    let disk = Disk::default();
    let old = |spec: &mut CollectionSpec<Value>| spec.mirror = true;
    let new = |spec: &mut CollectionSpec<Value>| {
        (spec.mirror, spec.version) = (true, 2);
        spec.migrate = Some(Rc::new(|mut stored, _| {
            let row = json!({ "id": "a", "since": 2 });
            (stored.modified, stored.changes) = (Some(row.clone()), Some(row));
            Some(stored)
        }));
    };
    let mut before = Tab::open(&disk, 1);
    before.engine.pause(before.now, "test");
    let files = before.register_with("files", old);
    before.insert(files, "a", json!({ "id": "a" })).unwrap();
    before.settle();
    let mut after = Tab::open_with(&disk, 2, false);
    after.engine.pause(after.now, "test");
    let files = after.register_with("files", new);
    after.grant("c/files");
    after.settle();
    assert_eq!(disk.borrow().mirror["a"], json!({ "id": "a", "since": 2 }));
    // The old release leads once more, and then the new one again, which sees nothing change.
    before.input(Input::LeaseLost("c/files".into()));
    before.settle();
    before.grant("c/files");
    before.settle();
    assert_eq!(disk.borrow().mirror["a"], json!({ "id": "a" }));
    after.input(Input::LeaseLost("c/files".into()));
    after.settle();
    after.grant("c/files");
    after.settle();
    assert_eq!(disk.borrow().mirror["a"], json!({ "id": "a", "since": 2 }));
    assert_eq!(after.shows(files)["a"], json!({ "id": "a", "since": 2 }));
}
