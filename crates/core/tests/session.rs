//! A sync session with a mizu server, frame by frame.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Input, LiveEvent, TransportError, TxEvent,
    spec::{CollectionId, RemoteId, RetryPolicy},
    view::{RemoteState, TransactionState as S},
};
use serde_json::json;
use support::{Disk, Tab};

const EMPTY: &str = r#"{"data":{"todos":null},"cursor":1}"#;
const NOTHING: &str = r#"{"changes":null,"has_more":false}"#;

fn connected(disk: &Disk, seed: u8) -> (Tab, RemoteId, CollectionId) {
    let mut tab = Tab::open(disk, seed);
    let remote = tab.connect_mizu();
    let todos = tab.register_with("todos", |spec| {
        spec.remote = Some((remote, "todo".into()));
        spec.persist = None;
        spec.has_sync = false;
    });
    (tab, remote, todos)
}

fn state(tab: &Tab, remote: RemoteId) -> RemoteState {
    tab.engine.remote(remote).unwrap().state
}

#[test]
fn it_bootstraps_with_a_snapshot_then_pulls_from_its_cursor() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    assert_eq!(tab.requests[0].2.path, "/_sync/snapshot");
    assert_eq!(state(&tab, remote), RemoteState::Connecting);
    tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1","title":"one"}}},"cursor":8}"#);
    assert_eq!(tab.shows(todos)["t1"], json!({ "id": "t1", "title": "one" }));
    assert_eq!(tab.synced, [todos]);
    assert_eq!(state(&tab, remote), RemoteState::Polling);
    tab.input(support::opened(remote));
    tab.settle();
    assert_eq!(state(&tab, remote), RemoteState::Live);
    let request = tab.answer_request(200, r#"{"changes":[{"cursor":9,"scope":"demo","time":"","data":{"op":"update","todo":{"id":"t1","title":"two"}}},{"cursor":11,"scope":"demo","time":"","data":{"op":"delete","todo":{"id":"t1"}}},{"cursor":12,"scope":"demo","time":"","data":{"op":"create","todo":{"id":"t2"}}}],"has_more":false,"next_cursor":12}"#);
    assert_eq!(request.body, r#"{"scope":"demo","cursor":8,"limit":1000}"#);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["t2"]);
}

#[test]
fn from_the_very_beginning_it_asks_for_a_snapshot_since_a_trimmed_log_says_nothing_there() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":null},"cursor":0}"#);
    tab.advance(30_000);
    let request = tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1"}}},"cursor":40}"#);
    assert_eq!(request.path, "/_sync/snapshot");
    assert_eq!(tab.shows(todos).len(), 1);
    tab.advance(30_000);
    assert_eq!(tab.requests[0].2.path, "/_sync/pull");
}

#[test]
fn a_collection_registered_after_its_remote_caught_up_has_its_rows_and_is_synced() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1"}},"lists":{"l1":{"id":"l1"}}},"cursor":8}"#);
    let lists = tab.register_with("lists", |spec| {
        spec.remote = Some((remote, "list".into()));
        spec.persist = None;
        spec.has_sync = false;
    });
    assert_eq!(tab.shows(lists)["l1"], json!({ "id": "l1" }));
    assert_eq!(tab.synced, [todos, lists]);
}

#[test]
fn what_was_pulled_survives_a_reload_with_its_cursor() {
    let disk = Disk::default();
    let (mut tab, ..) = connected(&disk, 1);
    tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1"}}},"cursor":8}"#);
    drop(tab);
    let (mut tab, _, todos) = connected(&disk, 2);
    assert_eq!(tab.shows(todos).len(), 1);
    assert_eq!(tab.requests.remove(0).2.body, r#"{"scope":"demo","cursor":8,"limit":1000}"#);
}

#[test]
fn a_write_is_pushed_under_its_key_and_completes_once_a_pull_has_seen_it() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, EMPTY);
    tab.input(support::opened(remote));
    tab.settle();
    tab.answer_request(200, NOTHING);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1", "title": "one" })).unwrap();
    tab.settle();
    let push = tab.answer_request(200, r#"{"results":[{"ok":true,"cursor":2,"changes":[]}]}"#);
    assert_eq!(push.path, "/_sync/push");
    assert_eq!(
        push.body,
        format!(
            r#"{{"mutations":[{{"id":"{tx}","scope":"demo","name":"todo.create","args":{{"id":"t1","title":"one"}}}}]}}"#
        )
    );
    assert_eq!(tab.state(tx), S::PersistedAwaitingSync);
    assert_eq!(tab.requests.len(), 1, "it pulls at once");
    tab.answer_request(200, r#"{"changes":[{"cursor":2,"scope":"demo","time":"","data":{"op":"create","todo":{"id":"t1","title":"one","done":false}}}],"has_more":false,"next_cursor":2}"#);
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(tab.shows(todos)["t1"], json!({ "id": "t1", "title": "one", "done": false }));
}

#[test]
fn a_replayed_push_whose_cursor_lies_in_another_scope_still_completes() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, EMPTY);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    tab.answer_request(200, r#"{"results":[{"ok":true,"cursor":900}]}"#);
    tab.answer_request(200, r#"{"changes":[{"cursor":5,"scope":"demo","time":"","data":{"op":"create","todo":{"id":"t1"}}}],"has_more":false,"next_cursor":5}"#);
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, EMPTY);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let (op, _, first) = tab.requests.remove(0);
    tab.input(Input::RequestAnswered(op, Err(TransportError::TimedOut)));
    tab.settle();
    assert_eq!(tab.state(tx), S::Pending);
    tab.requests.clear();
    tab.input(Input::Online(true));
    tab.settle();
    let again = tab.requests.iter().find(|(_, _, request)| request.path == "/_sync/push").unwrap();
    assert_eq!(again.2.body, first.body);
    assert!(tab.engine.remote(remote).unwrap().last_error.is_some());
}

#[test]
fn what_the_server_refuses_is_rolled_back_and_the_rest_goes_on() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, EMPTY);
    let bad = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    let behind = tab.update(todos, "t1", json!({ "done": true })).unwrap();
    let good = tab.insert(todos, "t2", json!({ "id": "t2" })).unwrap();
    tab.settle();
    tab.answer_request(200, r#"{"results":[{"ok":false,"error":"sync: conflict"},{"ok":true,"cursor":2}]}"#);
    assert_eq!(
        (tab.state(bad), tab.state(behind), tab.state(good)),
        (S::Failed, S::Failed, S::PersistedAwaitingSync)
    );
    assert_eq!(tab.engine.transaction(bad).unwrap().error.unwrap().code, "invalid_push");
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["t2"]);
}

#[test]
fn a_push_that_is_refused_as_a_whole_is_sent_one_by_one_to_find_the_culprit() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, EMPTY);
    let bad = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    let good = tab.insert(todos, "t2", json!({ "id": "t2" })).unwrap();
    tab.settle();
    let refusal = r#"{"code":"invalid_mutation","error":"invalid request body"}"#;
    tab.answer_request(400, refusal);
    let first = tab.answer_request(400, refusal);
    assert!(first.body.contains(&bad.to_string()) && !first.body.contains(&good.to_string()));
    tab.answer_request(200, r#"{"results":[{"ok":true,"cursor":2}]}"#);
    assert_eq!((tab.state(bad), tab.state(good)), (S::Failed, S::PersistedAwaitingSync));
}

#[test]
fn a_failing_pull_backs_off_and_is_never_an_empty_pull() {
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    let mut asked = 0;
    for _ in 0..600 {
        if !tab.requests.is_empty() {
            asked += 1;
            tab.answer_request(500, "{}");
        }
        tab.advance(1_000);
    }
    assert!((10..80).contains(&asked), "{asked} requests in ten minutes");
    assert_eq!(state(&tab, remote), RemoteState::Offline);
    assert!(tab.synced.is_empty());
    tab.requests.clear();
    let (mut tab, remote, _) = connected(&Disk::default(), 2);
    tab.answer_request(500, "{}");
    assert!(tab.requests.is_empty(), "it backs off");
    tab.input(Input::Online(true));
    tab.settle();
    assert_eq!(tab.requests.len(), 1, "news of the network passes over the back-off");
    tab.answer_request(200, EMPTY);
    assert_eq!(state(&tab, remote), RemoteState::Polling);
}

#[test]
fn a_pull_waits_no_longer_than_the_app_wants_retries_to_wait() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect_mizu_with(RetryPolicy { max_delay_ms: 1_000, ..RetryPolicy::default() });
    tab.register_with("todos", |spec| {
        spec.remote = Some((remote, "todo".into()));
        spec.persist = None;
        spec.has_sync = false;
    });
    for _ in 0..20 {
        tab.answer_request(500, "{}");
        tab.advance(1_000);
        assert!(!tab.requests.is_empty());
    }
}

#[test]
fn an_answer_that_is_not_what_the_wire_sends_changes_nothing() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1"}}},"cursor":8}"#);
    for body in [
        "",
        "[]",
        r#"{"changes":[{"cursor":8,"data":{"op":"create","todo":{"id":"x"}}}],"has_more":false}"#,
        r#"{"changes":[{"cursor":9,"data":{"op":"create","todo":{"title":"no id"}}}],"has_more":false}"#,
        r#"{"changes":[{"cursor":9,"data":{"op":"explode","todo":{"id":"x"}}}],"has_more":false}"#,
        r#"{"changes":[],"has_more":true}"#,
    ] {
        tab.advance(60_000);
        tab.answer_request(200, body);
        assert_eq!(tab.shows(todos).len(), 1, "{body}");
        let error = tab.engine.status().last_error.unwrap();
        assert_eq!(error.code, "invalid_pull", "{body}");
    }
}

#[test]
fn a_trimmed_log_means_a_new_snapshot_and_pending_work_stays() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":{"old":{"id":"old"}}},"cursor":8}"#);
    tab.engine.pause(tab.now, "test");
    let tx = tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    tab.engine.resume(tab.now);
    tab.settle();
    let pull = tab.requests.iter().position(|(_, _, request)| request.path == "/_sync/pull").unwrap();
    let request = tab.requests.remove(pull);
    tab.requests.insert(0, request);
    tab.answer_request(410, r#"{"code":"cursor_too_old","error":"sync: cursor too old"}"#);
    assert_eq!(tab.errors.last().unwrap().0, driftline_core::Code::BackendReset);
    assert_eq!(state(&tab, remote), RemoteState::Reset);
    let at = tab.requests.iter().position(|(_, _, request)| request.path == "/_sync/snapshot").unwrap();
    let request = tab.requests.remove(at);
    tab.requests.insert(0, request);
    tab.answer_request(200, r#"{"data":{"todos":{"new":{"id":"new"}}},"cursor":99}"#);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["mine", "new"]);
    assert!(!tab.state(tx).is_final());
}

#[test]
fn a_server_that_was_wiped_is_noticed_by_its_head_and_told() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":{"old":{"id":"old"}}},"cursor":8}"#);
    tab.input(support::opened(remote));
    tab.settle();
    tab.answer_request(200, NOTHING);
    tab.input(Input::Live(remote, LiveEvent::Frame(r#"{"type":"sync","payload":{"cursor":2}}"#.into())));
    tab.settle();
    let request = tab.answer_request(200, r#"{"data":{"todos":{"new":{"id":"new"}}},"cursor":2}"#);
    assert_eq!(request.path, "/_sync/snapshot");
    assert_eq!(tab.errors.last().unwrap().0, driftline_core::Code::BackendReset);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["new"]);
}

#[test]
fn a_poke_makes_a_pull_and_a_known_head_does_not() {
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{},"cursor":8}"#);
    tab.input(support::opened(remote));
    tab.settle();
    tab.answer_request(200, NOTHING);
    tab.input(Input::Live(remote, LiveEvent::Frame(r#"{"type":"sync","payload":{"cursor":8}}"#.into())));
    tab.settle();
    assert!(tab.requests.is_empty());
    tab.input(Input::Live(remote, LiveEvent::Frame(r#"{"type":"sync","payload":{"cursor":9}}"#.into())));
    tab.settle();
    assert_eq!(tab.requests.len(), 1);
}

#[test]
fn expired_credentials_are_asked_for_once_more_and_then_the_remote_is_held() {
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    tab.answer_request(401, "{}");
    assert_eq!(tab.requests.len(), 1);
    tab.answer_request(401, "{}");
    assert_eq!(state(&tab, remote), RemoteState::Auth);
    tab.advance(600_000);
    assert!(tab.requests.is_empty());
    tab.engine.resume(tab.now);
    tab.settle();
    tab.answer_request(200, EMPTY);
    assert_eq!(state(&tab, remote), RemoteState::Polling);
}

#[test]
fn a_row_that_the_wire_can_not_take_is_refused_at_the_call() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    let error = tab.insert(todos, "big", json!({ "title": "x".repeat(2 << 20) })).unwrap_err();
    assert_eq!(error.code, driftline_core::Code::TooLarge);
    assert!(error.limit.unwrap() < 1 << 20);
}

#[test]
fn a_field_with_quotes_in_its_name_crosses_the_wire() {
    let (mut tab, _, todos) = connected(&Disk::default(), 1);
    tab.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1","a\"b":1}}},"cursor":8}"#);
    assert_eq!(tab.shows(todos)["t1"], json!({ "id": "t1", "a\"b": 1 }));
    tab.update(todos, "t1", json!({ "a\"b": 2 })).unwrap();
    tab.settle();
    let (.., push) = tab.requests.iter().find(|(_, _, request)| request.path == "/_sync/push").unwrap();
    assert!(push.body.contains(r#""args":{"id":"t1","a\"b":2}"#), "{}", push.body);
}

#[test]
fn a_refusal_of_old_credentials_that_comes_after_resume_holds_nothing() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.answer_request(401, "{}");
    tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    // A pull and a push are on their way with the old credentials; the push's refusal holds the remote.
    let at = tab.requests.iter().position(|(_, _, request)| request.path == "/_sync/push").unwrap();
    let push = tab.requests.remove(at);
    tab.requests.insert(0, push);
    tab.answer_request(401, "{}");
    assert_eq!(state(&tab, remote), RemoteState::Auth);
    tab.engine.resume(tab.now);
    tab.settle();
    let at = tab.requests.iter().position(|(_, _, request)| request.path == "/_sync/snapshot").unwrap();
    let pull = tab.requests.remove(at);
    tab.requests.insert(0, pull);
    tab.answer_request(401, "{}");
    assert_ne!(state(&tab, remote), RemoteState::Auth);
    assert!(tab.requests.iter().any(|(_, _, request)| request.path == "/_sync/snapshot"), "it asks again");
}

#[test]
fn what_a_pull_brought_stands_though_a_tab_that_does_not_know_the_collection_cut_the_log() {
    let disk = Disk::default();
    let (mut first, ..) = connected(&disk, 1);
    first.answer_request(200, r#"{"data":{"todos":{"t1":{"id":"t1","n":1}}},"cursor":8}"#);
    first.delete(driftline_core::spec::CollectionId(0), "t1").unwrap();
    first.settle();
    first.answer_request(200, r#"{"results":[{"ok":true,"cursor":9}]}"#);
    drop(first);
    // After a reload the delete counts as done, and then somebody else makes the row anew.
    let (mut second, _, todos) = connected(&disk, 2);
    assert!(!second.shows(todos).contains_key("t1"));
    second.answer_request(200, r#"{"changes":[{"cursor":9,"scope":"demo","time":"","data":{"op":"delete","todo":{"id":"t1"}}},{"cursor":10,"scope":"demo","time":"","data":{"op":"create","todo":{"id":"t1","n":2}}}],"has_more":false,"next_cursor":10}"#);
    assert_eq!(second.shows(todos)["t1"], json!({ "id": "t1", "n": 2 }));
    let mut stranger = Tab::open(&disk, 3);
    let lists = stranger.register("lists");
    for index in 0..300 {
        stranger.insert(lists, &format!("l{index}"), json!({})).unwrap();
        stranger.settle();
        stranger.answer_persist(Ok(Default::default()));
    }
    stranger.advance(10_000);
    assert!(disk.borrow().checkpoint > 0);
    // It slept through that, and reads everything anew.
    let next = disk.borrow().next;
    second.input(Input::LogGrew(next));
    second.settle();
    assert_eq!(second.shows(todos)["t1"], json!({ "id": "t1", "n": 2 }));
}
