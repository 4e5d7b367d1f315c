//! The fourteen faults that were reproduced in the closest peer, each as it is here.
//!
//! Those that are the browser's in part (a request's success before its transaction aborts, a dead connection,
//! structured clone) are shown here as far as the engine decides them, and in a browser by `tests/browser` and
//! `tests/e2e`.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, CommitError, Config, DraftKind, Engine, ErrorInfo, Failure, FailureKind, Input, Loaded,
    MutationDraft, Output, PersistOk, Record, SyncUpdate, Timestamp, TransactionDraft, TxEvent, TxId,
    Value as Row, view::TransactionState as S,
};
use serde_json::json;
use support::{Disk, Tab, permanent, temporary};

#[test]
fn an_update_queued_behind_a_failed_insert_is_never_sent() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    let insert = tab.insert(todos, "a", json!({})).unwrap();
    let update = tab.update(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    assert_eq!(tab.answer_persist(Err(permanent("no"))), insert);
    tab.advance(3_600_000);
    assert!(tab.persists.is_empty());
    assert_eq!(tab.engine.transaction(update).unwrap().cause, Some(insert));
}

#[test]
fn transactions_of_one_millisecond_replay_in_the_order_in_which_they_were_written() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.engine.pause(tab.now, "all in one millisecond");
    let mut written = vec![tab.insert(todos, "a", json!({ "n": 0 })).unwrap()];
    for n in 1..50 {
        written.push(tab.update(todos, "a", json!({ "n": n })).unwrap());
    }
    tab.settle();
    assert!(!written.is_sorted(), "their identifiers would give another order");
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.engine.transactions(), written);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 49 }));
    let sent: Vec<TxId> = written.iter().map(|_| tab.answer_persist(Ok(PersistOk::default()))).collect();
    assert_eq!(sent, written);
}

#[test]
fn a_followers_work_is_sent_by_itself_once_the_leader_has_closed() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    leader.register("todos");
    let mut follower = Tab::open_with(&disk, 2, false);
    let todos = follower.register("todos");
    let tx = follower.insert(todos, "a", json!({})).unwrap();
    follower.settle();
    assert!(follower.persists.is_empty());
    leader.engine.close(leader.now);
    leader.settle();
    drop(leader);
    follower.grant("c/todos");
    follower.settle();
    assert_eq!(follower.answer_persist(Ok(PersistOk::default())), tx);
    assert_eq!(follower.state(tx), S::Completed);
}

#[test]
fn a_write_made_while_leadership_is_lost_is_stored_all_the_same() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.grants = false;
    let tx = tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.input(Input::LeaseLost("c/todos".into()));
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }));
    assert_eq!(tab.answer_persist(Ok(PersistOk::default())), tx);
}

#[test]
fn one_that_led_sends_nothing_more_and_commits_nothing() {
    let disk = Disk::default();
    let mut old = Tab::open(&disk, 1);
    let todos = old.register("todos");
    let begun = old.insert(todos, "a", json!({})).unwrap();
    old.settle();
    let persist = old.persists.remove(0);
    old.grants = false;
    old.input(Input::LeaseLost("c/todos".into()));
    let later = old.insert(todos, "b", json!({})).unwrap();
    old.settle();
    old.input(Input::PersistAnswered(persist.op, Ok(PersistOk::default())));
    old.advance(3_600_000);
    assert!(old.persists.is_empty());
    assert_eq!(old.events_of(begun), [TxEvent::Durable], "what it has heard is the new leader's to say");
    assert_eq!(old.events_of(later), [TxEvent::Durable], "what it writes is stored, and another's to send");
}

#[test]
fn a_write_whose_storage_transaction_aborts_is_told_so_and_taken_back() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    disk.borrow_mut().fail.push(CommitError::Unavailable("the transaction was aborted".into()));
    let tx = tab.insert(todos, "a", json!({})).unwrap();
    tab.settle();
    assert!(
        matches!(&tab.events_of(tx)[..], [TxEvent::NotDurable(error)] if error.code == "storage_unavailable")
    );
    assert!(tab.shows(todos).is_empty() && tab.persists.is_empty());
}

#[test]
fn a_database_that_can_not_be_read_is_an_error_and_not_an_empty_queue() {
    let now = Timestamp(1);
    let mut engine: Engine<serde_json::Value> = Engine::new(Config { seed: [1; 32], pending_max: 10 });
    let todos = engine.register(now, support::spec("todos")).unwrap();
    let early = engine.transact(now, one(todos, "a", json!({}))).unwrap();
    let mut errors = Vec::new();
    let mut refused = Vec::new();
    let mut ready = false;
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Load(op) => {
                let dead = CommitError::Unavailable("the connection is closing".into());
                engine.handle_input(now, Input::Loaded(op, Err(dead)));
            }
            Output::Error { code, .. } => errors.push(code),
            Output::Transaction(tx, TxEvent::NotDurable(error)) => refused.push((tx, error.code)),
            Output::Ready(_) => ready = true,
            _ => {}
        }
    }
    assert_eq!(errors, [Code::StorageUnavailable]);
    assert_eq!(refused, [(early, "storage_unavailable".to_owned())]);
    assert!(!ready, "that there is nothing is not known");
    assert_eq!(engine.transact(now, one(todos, "b", json!({}))).unwrap_err().code, Code::StorageUnavailable);
}

#[test]
fn a_message_that_holds_a_number_is_a_message() {
    for message in ["timeout after 4000 ms", "HTTP 401", "422"] {
        let mut tab = Tab::open(&Disk::default(), 1);
        let todos = tab.register("todos");
        let tx = tab.insert(todos, "a", json!({})).unwrap();
        tab.settle();
        tab.answer_persist(Err(temporary(message)));
        tab.advance(60_000);
        assert_eq!(tab.answer_persist(Ok(PersistOk::default())), tx, "{message}");
        assert_eq!(tab.state(tx), S::Completed, "{message}");
    }
}

#[test]
fn one_poisoned_transaction_stops_its_own_objects_and_nothing_else() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.concurrent_persists = 1);
    let poisoned = tab.insert(todos, "bad", json!({})).unwrap();
    let others: Vec<TxId> = (0..20).map(|n| tab.insert(todos, &n.to_string(), json!({})).unwrap()).collect();
    tab.settle();
    let mut done = 0;
    for _ in 0..200 {
        match tab.persists.first() {
            Some(persist) if persist.transaction == poisoned => {
                tab.answer_persist(Err(temporary("it can't be swallowed")));
            }
            Some(_) => {
                tab.answer_persist(Ok(PersistOk::default()));
                done += 1;
            }
            None => break,
        }
    }
    assert_eq!(done, others.len(), "they went on while it backs off");
    assert_eq!(tab.state(poisoned), S::Pending);
}

#[test]
fn a_transaction_whose_function_was_renamed_is_kept_and_goes_on_when_the_function_is_back() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register_with("todos", |spec| spec.functions = vec!["save".into()]);
    tab.engine.pause(tab.now, "before it is sent");
    let draft = TransactionDraft { function: Some("save".into()), ..one(todos, "a", json!({ "n": 1 })) };
    let tx = tab.engine.transact(tab.now, draft).unwrap();
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register_with("todos", |spec| spec.functions = vec!["store".into()]);
    tab.advance(3_600_000);
    assert!(tab.persists.is_empty());
    assert_eq!(tab.state(tx), S::Pending);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }));
    drop(tab);
    let mut tab = Tab::open(&disk, 3);
    tab.register_with("todos", |spec| spec.functions = vec!["save".into()]);
    assert_eq!(tab.answer_persist(Ok(PersistOk::default())), tx);
}

/// A row that no text can hold, as a Map, a Set or a Blob is in a browser.
#[derive(Clone, Debug, PartialEq)]
struct Opaque(u32);

impl Row for Opaque {
    fn merge(&self, changes: &Self) -> Self {
        changes.clone()
    }

    fn merge_changes(&self, more: &Self) -> Self {
        more.clone()
    }

    fn changes_to(&self, to: &Self) -> Self {
        to.clone()
    }

    fn with_text(&self, _field: &str, _text: &str) -> Self {
        self.clone()
    }

    fn to_json(&self) -> Result<String, String> {
        Err("it has no text".into())
    }

    fn from_json_many(_texts: &[&str]) -> Result<Vec<Self>, String> {
        Err("it has no text".into())
    }
}

#[test]
fn a_value_that_no_text_can_hold_is_stored_and_sent_as_it_is() {
    let now = Timestamp(1);
    let mut log: Vec<(u64, Record<Opaque>)> = Vec::new();
    for session in 1..=2 {
        let mut engine: Engine<Opaque> = Engine::new(Config { seed: [session; 32], pending_max: 10 });
        let things = engine.register(now, support::spec("things")).unwrap();
        if session == 1 {
            engine.transact(now, one(things, "a", Opaque(7))).unwrap();
        }
        let mut sent = Vec::new();
        loop {
            match engine.poll_output() {
                Some(Output::Load(op)) => {
                    let loaded =
                        Loaded { checkpoint: 0, segments: Vec::new(), log: log.clone(), is_anew: false };
                    engine.handle_input(now, Input::Loaded(op, Ok(loaded)));
                }
                Some(Output::Commit(op, commit)) => {
                    let number = log.len() as u64 + 1;
                    log.push((number, commit.record));
                    engine.handle_input(now, Input::Committed(op, Ok(number)));
                }
                Some(Output::ReadLog(op, _)) => {
                    let read = driftline_core::LogRead { checkpoint: 0, records: Vec::new() };
                    engine.handle_input(now, Input::LogRead(op, Ok(read)));
                }
                Some(Output::ClaimLease(name)) if session == 2 => {
                    engine.handle_input(now, Input::LeaseGained(name, 1));
                }
                Some(Output::Persist { transaction, .. }) => sent.push(transaction),
                Some(_) => {}
                None if engine.wants_turn_end() => engine.handle_input(now, Input::TurnEnded),
                None => break,
            }
        }
        assert_eq!(engine.row(things, "a"), Some(&Opaque(7)), "session {session}");
        if session == 2 {
            let view = engine.transaction(sent[0]).unwrap();
            assert_eq!(
                view.mutations[0].changes,
                Some(Opaque(7)),
                "the app's function is handed the value itself"
            );
        }
    }
}

#[test]
fn a_write_is_durable_without_waiting_for_anything_that_is_queued() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register("todos");
    for n in 0..100 {
        tab.insert(todos, &n.to_string(), json!({})).unwrap();
    }
    tab.settle();
    assert!(!tab.persists.is_empty(), "none of them is answered");
    let tx = tab.insert(todos, "late", json!({})).unwrap();
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
}

#[test]
fn a_row_never_vanishes_between_persist_and_sync() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let todos = tab.register_with("todos", |spec| spec.has_await_sync = true);
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Full(Vec::new()));
    tab.settle();
    tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Delta(vec![("b".into(), Some(json!({})))]));
    tab.settle();
    let row = json!({ "n": 1, "by": "server" });
    tab.engine.sync_update(tab.now, todos, SyncUpdate::Delta(vec![("a".into(), Some(row))]));
    tab.settle();
    tab.answer_await(Ok(()));
    let gone = tab.changes.iter().filter(|change| change.value.is_none()).count();
    assert_eq!(gone, 0, "no change ever took a row away: {:?}", tab.changes);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1, "by": "server" }));
}

#[test]
fn what_is_written_before_the_database_is_open_is_stored() {
    let disk = Disk::default();
    let now = Timestamp(1_700_000_000_000);
    let mut engine = Engine::new(Config { seed: [3; 32], pending_max: 10 });
    let todos = engine.register(now, support::spec("todos")).unwrap();
    let tx = engine.transact(now, one(todos, "a", json!({ "n": 1 }))).unwrap();
    assert_eq!(engine.row(todos, "a"), Some(&json!({ "n": 1 })), "it shows at once");
    let mut tab = Tab::open(&disk, 1);
    tab.engine = engine;
    tab.settle();
    assert_eq!(tab.events_of(tx), [TxEvent::Durable]);
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    let todos = tab.register("todos");
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1 }));
    let unreachable =
        Failure { kind: FailureKind::Unreachable, error: ErrorInfo::of(Code::Offline, "no network") };
    assert_eq!(tab.answer_persist(Err(unreachable)), tx);
}

fn one<V>(to: driftline_core::spec::CollectionId, key: &str, row: V) -> TransactionDraft<V> {
    let kind = DraftKind::Insert(row);
    let mutations = vec![MutationDraft { collection: to, key: key.into(), kind, size_bytes: 10 }];
    TransactionDraft { mutations, strategy: None, function: None, metadata: None }
}
