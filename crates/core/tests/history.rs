//! What is listed of transactions, by state, collection and time; and why the oldest of them waits.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    DraftKind, FailureKind, Input, PersistOk, Timestamp, TransactionDraft,
    view::{TransactionFilter, TransactionState as S},
};
use serde_json::json;
use support::{Disk, Tab, draft, permanent, temporary};

#[test]
fn transactions_are_listed_in_order_by_state_collection_and_time() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let (todos, lists) = (tab.register("todos"), tab.register("lists"));
    let done = tab.insert(todos, "a", json!({ "id": "a" })).unwrap();
    tab.settle();
    tab.answer_persist(Ok(PersistOk::default()));
    tab.advance(1_000);
    let failed = tab.insert(lists, "a", json!({ "id": "a" })).unwrap();
    tab.settle();
    tab.answer_persist(Err(permanent("no")));
    let at = tab.engine.transaction(failed).unwrap().created_at;
    let both = tab
        .transact(vec![
            draft(todos, "b", DraftKind::Insert(json!({ "id": "b" }))),
            draft(lists, "b", DraftKind::Insert(json!({ "id": "b" }))),
        ])
        .unwrap();
    tab.settle();
    let list = |filter: TransactionFilter<'_>| -> Vec<_> {
        tab.engine.list(&filter).into_iter().map(|(id, _)| id).collect()
    };
    let all = TransactionFilter::default();
    assert_eq!(tab.engine.list(&all), [(done, S::Completed), (failed, S::Failed), (both, S::Persisting)]);
    assert_eq!(list(all), tab.engine.transactions());
    assert_eq!(list(TransactionFilter { states: Some(&[S::Persisting, S::Queued]), ..all }), [both]);
    assert_eq!(list(TransactionFilter { states: Some(&[S::Completed, S::Persisting]), ..all }), [done, both]);
    assert_eq!(list(TransactionFilter { states: Some(&[]), ..all }), []);
    assert_eq!(list(TransactionFilter { collection: Some("todos"), ..all }), [done, both]);
    assert_eq!(list(TransactionFilter { collection: Some("lists"), ..all }), [failed, both]);
    assert_eq!(list(TransactionFilter { collection: Some("none"), ..all }), []);
    assert_eq!(list(TransactionFilter { since: Some(at), ..all }), [failed, both]);
    assert_eq!(list(TransactionFilter { since: Some(Timestamp(at.0 + 1_000_000)), ..all }), []);
    assert_eq!(
        list(TransactionFilter { states: Some(&[S::Failed]), collection: Some("lists"), since: Some(at) }),
        [failed]
    );
}

#[test]
fn every_state_has_a_text_of_its_own_that_leads_back_to_it() {
    for state in S::ALL {
        assert_eq!(S::named(state.as_str()), Some(state));
    }
    assert_eq!(S::named("lost"), None);
}

#[test]
fn the_status_tells_what_the_oldest_transaction_waits_for() {
    let disk = Disk::default();
    let mut tab = Tab::open_with(&disk, 1, false);
    let why = |tab: &Tab| tab.engine.status().oldest_waiting.map(|oldest| oldest.why).unwrap_or_default();
    assert_eq!(why(&tab), "");
    let todos = tab.register("todos");
    let id = tab.insert(todos, "a", json!({ "id": "a" })).unwrap();
    assert!(why(&tab).contains("written to the journal"), "{}", why(&tab));
    tab.settle();
    assert!(why(&tab).contains("another tab"), "{}", why(&tab));
    tab.engine.pause(Timestamp(1), "on a train");
    assert!(why(&tab).contains("on a train"), "{}", why(&tab));
    tab.engine.resume(Timestamp(2));
    tab.grant("c/todos");
    tab.settle();
    assert!(why(&tab).contains("being sent"), "{}", why(&tab));
    tab.answer_persist(Err(temporary("the server hiccups")));
    assert!(why(&tab).contains("the server hiccups") && why(&tab).contains("again"), "{}", why(&tab));
    assert_eq!(tab.engine.status().oldest_waiting.unwrap().transaction, id);
    tab.advance(60_000);
    let mut auth = temporary("who are you?");
    auth.kind = FailureKind::AuthRequired;
    tab.answer_persist(Err(auth));
    assert!(why(&tab).contains("credentials"), "{}", why(&tab));
    tab.input(Input::TurnEnded);
    drop(tab);

    let mut tab = Tab::open(&disk, 2);
    assert!(why(&tab).contains("todos") && why(&tab).contains("not registered"), "{}", why(&tab));
    tab.register("todos");
    tab.settle();
    while tab.persists.is_empty() {
        tab.advance(1_000);
    }
    let mut unreachable = temporary("no route");
    unreachable.kind = FailureKind::Unreachable;
    tab.answer_persist(Err(unreachable));
    assert!(why(&tab).contains("can't be reached"), "{}", why(&tab));
}

#[test]
fn the_status_names_the_function_or_the_version_that_this_tab_lacks() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register_with("todos", |spec| spec.functions = vec!["archive".into()]);
    let draft = TransactionDraft {
        mutations: vec![draft(todos, "a", DraftKind::Insert(json!({ "id": "a" })))],
        strategy: None,
        function: Some("archive".into()),
        metadata: None,
    };
    tab.engine.transact(tab.now, draft).unwrap();
    tab.settle();
    drop(tab);
    let mut tab = Tab::open(&disk, 2);
    tab.register("todos");
    tab.settle();
    let why = tab.engine.status().oldest_waiting.unwrap().why;
    assert!(why.contains("archive"), "{why}");
}
