//! A sync session with LiveStore's sync-cf 0.4 over a WebSocket, frame by frame.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, Input, LiveEvent, Output, TxEvent,
    spec::{BackendSpec, CollectionId, EventWrite, LiveStoreWire, Mapping, RemoteId},
    view::{RemoteState, TransactionState as S},
};
use serde_json::{Value, json};
use std::rc::Rc;
use support::{Disk, Tab};

fn connected(disk: &Disk, seed: u8) -> (Tab, RemoteId, CollectionId) {
    let mut tab = Tab::open(disk, seed);
    let wire = LiveStoreWire::WebSocket;
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "a b".into(), wire });
    let todos = tab.register_at("todos", remote, "todo");
    (tab, remote, todos)
}

/// A tab whose connection is open, with the store's events in.
fn caught_up(disk: &Disk, seed: u8, log: &[Value]) -> (Tab, RemoteId, CollectionId) {
    let (mut tab, remote, todos) = connected(disk, seed);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    chunk(&mut tab, remote, &pull, log, "NoMore");
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Live);
    tab.frames.clear();
    (tab, remote, todos)
}

/// Takes the one request of a kind that was sent, and what else was sent out of the way.
fn asked(tab: &mut Tab, tag: &str) -> Value {
    let frames: Vec<Value> =
        tab.frames.drain(..).map(|frame| serde_json::from_str(&frame).unwrap()).collect();
    let tag = format!("SyncWsRpc.{tag}");
    let mut asked = frames.iter().filter(|frame| frame["tag"] == tag.as_str());
    let found = asked.next().unwrap_or_else(|| panic!("no {tag} among {frames:?}")).clone();
    assert!(asked.next().is_none(), "more than one {tag}");
    found
}

fn event(position: u64, session: &str, name: &str, args: &Value) -> Value {
    json!({
        "eventEncoded": { "name": name, "args": args, "seqNum": position, "parentSeqNum": position - 1, "clientId": "c", "sessionId": session },
        "metadata": { "_tag": "Some", "value": { "_tag": "SyncMessage.SyncMetadata", "createdAt": "2026-01-01T00:00:00Z" } }
    })
}

/// What a push holds, as the server gives it out.
fn stored(push: &Value) -> Vec<Value> {
    let batch = push["payload"]["batch"].as_array().unwrap();
    batch.iter().map(|event| json!({ "eventEncoded": event, "metadata": { "_tag": "None" } })).collect()
}

fn chunk(tab: &mut Tab, remote: RemoteId, pull: &Value, batch: &[Value], page_info: &str) {
    chunk_of(tab, remote, pull, batch, page_info, "store-1");
}

fn chunk_of(tab: &mut Tab, remote: RemoteId, pull: &Value, batch: &[Value], page_info: &str, identity: &str) {
    let frame = json!({ "_tag": "Chunk", "requestId": pull["id"], "values": [{ "batch": batch, "pageInfo": { "_tag": page_info, "remaining": 1 }, "backendId": identity }] });
    tab.hear(remote, LiveEvent::Frame(frame.to_string()));
}

fn exit(tab: &mut Tab, remote: RemoteId, request: &Value, error: Option<Value>) {
    let exit = match error {
        None => json!({ "_tag": "Success", "value": {} }),
        Some(error) => json!({ "_tag": "Failure", "cause": { "_tag": "Fail", "error": error } }),
    };
    tab.hear(
        remote,
        LiveEvent::Frame(json!({ "_tag": "Exit", "requestId": request["id"], "exit": exit }).to_string()),
    );
}

fn ahead(expected: u64) -> Option<Value> {
    Some(json!({ "_tag": "ServerAheadError", "minimumExpectedNum": expected, "providedNum": 0 }))
}

fn positions(push: &Value) -> Vec<(u64, u64)> {
    let batch = push["payload"]["batch"].as_array().unwrap();
    batch
        .iter()
        .map(|event| (event["seqNum"].as_u64().unwrap(), event["parentSeqNum"].as_u64().unwrap()))
        .collect()
}

#[test]
fn a_pull_is_asked_for_once_the_connection_is_open_and_each_chunk_is_acknowledged() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    assert!(tab.frames.is_empty(), "nothing can be asked yet");
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    assert_eq!(pull["payload"], json!({ "storeId": "a b", "live": true, "cursor": { "_tag": "None" } }));
    let first = event(1, "s", "todo.inserted", &json!({ "id": "t1", "n": 1 }));
    chunk(&mut tab, remote, &pull, &[first], "MoreKnown");
    assert_eq!(tab.frames, [json!({ "_tag": "Ack", "requestId": "0" }).to_string()]);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Connecting);
    chunk(
        &mut tab,
        remote,
        &pull,
        &[event(2, "s", "todo.updated", &json!({ "id": "t1", "m": 2 }))],
        "NoMore",
    );
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Live);
    assert_eq!(tab.shows(todos)["t1"], json!({ "id": "t1", "n": 1, "m": 2 }));
    assert_eq!(tab.engine.remote(remote).unwrap().cursor, Some(2));
}

#[test]
fn a_write_is_one_event_and_is_done_when_it_comes_back() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    assert_eq!(push["payload"]["backendId"], json!({ "_tag": "Some", "value": "store-1" }));
    assert_eq!(positions(&push), [(1, 0)]);
    assert_eq!(push["payload"]["batch"][0]["name"], "todo.inserted");
    assert_eq!(push["payload"]["batch"][0]["sessionId"], tx.to_string());
    exit(&mut tab, remote, &push, None);
    assert_eq!(tab.state(tx), S::PersistedAwaitingSync);
    chunk(&mut tab, remote, &json!({ "id": "0" }), &stored(&push), "NoMore");
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
}

#[test]
fn its_own_broadcast_may_come_before_the_answer() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    chunk(&mut tab, remote, &json!({ "id": "0" }), &stored(&push), "NoMore");
    exit(&mut tab, remote, &push, None);
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    tab.update(todos, "t1", json!({ "n": 1 })).unwrap();
    tab.settle();
    assert_eq!(positions(&asked(&mut tab, "Push")), [(2, 1)]);
}

#[test]
fn where_the_server_is_ahead_the_log_is_read_and_the_rest_renumbered() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    let tx = tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    exit(&mut tab, remote, &push, ahead(2));
    assert!(
        tab.frames[0].contains("Interrupt"),
        "the server keeps finished pulls subscribed: {:?}",
        tab.frames
    );
    let pull = asked(&mut tab, "Pull");
    assert_eq!(pull["payload"]["cursor"], json!({ "_tag": "None" }));
    let others = [
        event(1, "s", "todo.inserted", &json!({ "id": "other" })),
        event(2, "s", "todo.updated", &json!({ "id": "other", "n": 1 })),
    ];
    chunk(&mut tab, remote, &pull, &others, "NoMore");
    let again = asked(&mut tab, "Push");
    assert_eq!(positions(&again), [(3, 2)]);
    exit(&mut tab, remote, &again, None);
    chunk(&mut tab, remote, &pull, &stored(&again), "NoMore");
    assert_eq!(tab.state(tx), S::Completed);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["mine", "other"]);
    assert_eq!(tab.engine.transaction(tx).unwrap().error, None, "a conflict is no failure");
}

#[test]
fn a_server_that_is_ahead_of_what_was_broadcast_already_is_not_asked_again() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    chunk(
        &mut tab,
        remote,
        &json!({ "id": "0" }),
        &[event(1, "s", "todo.inserted", &json!({ "id": "o" }))],
        "NoMore",
    );
    exit(&mut tab, remote, &push, ahead(1));
    assert_eq!(positions(&asked(&mut tab, "Push")), [(2, 1)]);
}

#[test]
fn conflicts_without_end_are_slowed_down() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let mut pull = json!({ "id": "0" });
    let mut at_once = 0;
    for head in 1..=20_u64 {
        if !tab.frames.iter().any(|frame| frame.contains("Push")) {
            break;
        }
        at_once += 1;
        let push = asked(&mut tab, "Push");
        exit(&mut tab, remote, &push, ahead(head));
        pull = asked(&mut tab, "Pull");
        chunk(&mut tab, remote, &pull, &[event(head, "s", "todo.inserted", &json!({ "id": "o" }))], "NoMore");
    }
    assert!((3..10).contains(&at_once), "{at_once} pushes at once");
    tab.advance(30_000);
    assert!(tab.frames.iter().any(|frame| frame.contains("SyncWsRpc.Push")), "{pull}");
}

#[test]
fn what_landed_though_its_answer_was_lost_is_not_sent_again() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    let landed = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    tab.hear(remote, LiveEvent::Closed);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Offline);
    let lost = tab.insert(todos, "t2", json!({ "id": "t2" })).unwrap();
    tab.settle();
    tab.advance(60_000);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    chunk(&mut tab, remote, &pull, &stored(&push), "NoMore");
    assert_eq!(tab.state(landed), S::Completed);
    let next = asked(&mut tab, "Push");
    assert_eq!(positions(&next), [(2, 1)]);
    assert_eq!(next["payload"]["batch"][0]["sessionId"], lost.to_string());
}

#[test]
fn what_landed_before_a_crash_is_recognised_after_it() {
    let disk = Disk::default();
    let (mut tab, _, todos) = caught_up(&disk, 1, &[]);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    drop(tab);
    let (mut tab, remote, todos) = connected(&disk, 2);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    assert_eq!(push["payload"]["batch"][0]["clientId"].as_str().unwrap().len(), 12);
    chunk(&mut tab, remote, &pull, &stored(&push), "NoMore");
    assert_eq!(tab.state(tx), S::Completed);
    assert!(!tab.frames.iter().any(|frame| frame.contains("Push")), "{:?}", tab.frames);
    assert_eq!(tab.shows(todos).len(), 1);
}

#[test]
fn of_a_transaction_that_landed_in_part_only_the_rest_is_sent() {
    let disk = Disk::default();
    let (mut tab, remote, todos) = caught_up(&disk, 1, &[]);
    let row = |key: &str| support::draft(todos, key, driftline_core::DraftKind::Insert(json!({ "id": key })));
    let tx = tab.transact(vec![row("a"), row("b"), row("c")]).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    assert_eq!(positions(&push), [(1, 0), (2, 1), (3, 2)]);
    tab.hear(remote, LiveEvent::Closed);
    tab.advance(60_000);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    chunk(&mut tab, remote, &pull, &stored(&push)[..2], "NoMore");
    let rest = asked(&mut tab, "Push");
    assert_eq!(positions(&rest), [(3, 2)]);
    assert_eq!(rest["payload"]["batch"][0]["args"]["id"], "c");
    // That much is in the journal, too.
    drop(tab);
    let (mut tab, remote, _) = connected(&disk, 2);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    assert_eq!(
        pull["payload"]["cursor"]["value"],
        json!({ "backendId": "store-1", "eventSequenceNumber": 2 })
    );
    chunk(&mut tab, remote, &pull, &stored(&rest), "NoMore");
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn a_broadcast_that_overtakes_the_first_pull_waits_for_what_is_before_it() {
    let (mut tab, remote, todos) = connected(&Disk::default(), 1);
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    let row = |n: u64| event(n, "s", "todo.inserted", &json!({ "id": format!("t{n}") }));
    chunk(&mut tab, remote, &pull, &[row(1)], "MoreKnown");
    chunk(&mut tab, remote, &pull, &[row(4)], "NoMore");
    assert_eq!(tab.shows(todos).len(), 1);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Connecting);
    chunk(&mut tab, remote, &pull, &[row(2)], "MoreKnown");
    chunk(&mut tab, remote, &pull, &[row(3), row(4)], "NoMore");
    assert_eq!(tab.shows(todos).len(), 4);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Live);
}

#[test]
fn a_gap_in_what_is_broadcast_is_pulled_and_duplicates_change_nothing() {
    let (mut tab, remote, todos) =
        caught_up(&Disk::default(), 1, &[event(1, "s", "todo.inserted", &json!({ "id": "t1", "n": 0 }))]);
    let add = |n: u64| event(n, "s", "todo.updated", &json!({ "id": "t1", "n": n }));
    chunk(&mut tab, remote, &json!({ "id": "0" }), &[add(3)], "NoMore");
    assert_eq!(tab.shows(todos)["t1"]["n"], 0);
    let pull = asked(&mut tab, "Pull");
    assert_eq!(pull["payload"]["cursor"]["value"]["eventSequenceNumber"], 1);
    chunk(&mut tab, remote, &pull, &[add(2), add(3)], "NoMore");
    chunk(&mut tab, remote, &pull, &[add(2)], "NoMore");
    assert_eq!(tab.shows(todos)["t1"]["n"], 3);
}

#[test]
fn another_backend_under_the_same_address_is_told_and_pending_work_is_pushed_to_it() {
    let log = [
        event(1, "s", "todo.inserted", &json!({ "id": "old" })),
        event(2, "s", "todo.inserted", &json!({ "id": "older" })),
    ];
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &log);
    let tx = tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    let mismatch = json!({ "_tag": "BackendIdMismatchError", "expected": "store-2", "received": "store-1" });
    exit(&mut tab, remote, &push, Some(mismatch));
    assert_eq!(tab.errors.last().unwrap().0, Code::BackendReset);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Reset);
    assert_eq!(tab.shows(todos).len(), 3, "nothing goes before the new rows are there");
    let pull = asked(&mut tab, "Pull");
    assert_eq!(pull["payload"]["cursor"], json!({ "_tag": "None" }));
    chunk_of(
        &mut tab,
        remote,
        &pull,
        &[event(1, "s", "todo.inserted", &json!({ "id": "new" }))],
        "NoMore",
        "store-2",
    );
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Live);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["mine", "new"]);
    let again = asked(&mut tab, "Push");
    assert_eq!(positions(&again), [(2, 1)]);
    assert!(!tab.state(tx).is_final());
}

#[test]
fn a_log_that_ends_before_the_cursor_is_a_reset() {
    let log = [
        event(1, "s", "todo.inserted", &json!({ "id": "a" })),
        event(2, "s", "todo.inserted", &json!({ "id": "b" })),
    ];
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &log);
    tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    exit(&mut tab, remote, &push, ahead(1));
    assert_eq!(tab.errors.last().unwrap().0, Code::BackendReset);
}

#[test]
fn a_refusal_by_the_server_fails_the_one_that_it_is_about() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    tab.engine.pause(tab.now, "test");
    let good = tab.insert(todos, "good", json!({ "id": "good" })).unwrap();
    let bad = tab.insert(todos, "bad", json!({ "id": "bad" })).unwrap();
    tab.settle();
    tab.engine.resume(tab.now);
    tab.settle();
    let refusal =
        json!({ "_tag": "UnknownError", "cause": { "name": "Error", "message": "onPush rejected" } });
    let mut pull = json!({ "id": "0" });
    for _ in 0..80 {
        let frames: Vec<Value> =
            tab.frames.drain(..).map(|frame| serde_json::from_str(&frame).unwrap()).collect();
        for frame in frames {
            if frame["tag"] == "SyncWsRpc.Pull" {
                pull = frame;
                chunk(&mut tab, remote, &pull, &[], "NoMore");
            } else if frame["tag"] == "SyncWsRpc.Push" {
                let refused = frame.to_string().contains("bad");
                exit(&mut tab, remote, &frame, refused.then(|| refusal.clone()));
                if !refused {
                    chunk(&mut tab, remote, &pull, &stored(&frame), "NoMore");
                }
            }
        }
        tab.advance(1_000);
    }
    assert_eq!((tab.state(good), tab.state(bad)), (S::Completed, S::Failed));
    assert!(tab.engine.transaction(bad).unwrap().error.unwrap().message.contains("onPush rejected"));
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn a_peer_that_answers_no_ping_is_left_for_a_new_connection() {
    let (mut tab, remote, _) = caught_up(&Disk::default(), 1, &[]);
    tab.advance(10_000);
    assert_eq!(tab.frames, [r#"{"_tag":"Ping"}"#]);
    tab.advance(5_000);
    tab.hear(remote, LiveEvent::Frame(r#"{"_tag":"Pong"}"#.into()));
    tab.advance(5_000);
    assert_eq!(tab.frames.len(), 2);
    tab.advance(10_000);
    assert!(tab.live.is_empty(), "the connection is given up");
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Offline);
    tab.advance(60_000);
    assert_eq!(tab.live, [remote]);
}

#[test]
fn a_push_that_is_never_answered_ends_the_connection_and_is_sent_again_after_reading() {
    let (mut tab, remote, todos) = caught_up(&Disk::default(), 1, &[]);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    for _ in 0..6 {
        tab.advance(5_000);
        tab.hear(remote, LiveEvent::Frame(r#"{"_tag":"Pong"}"#.into()));
    }
    assert!(tab.live.is_empty());
    tab.frames.clear();
    tab.advance(60_000);
    tab.hear(remote, LiveEvent::Opened);
    assert!(!tab.frames.iter().any(|frame| frame.contains("SyncWsRpc.Push")), "it reads first");
    let pull = asked(&mut tab, "Pull");
    chunk(&mut tab, remote, &pull, &[], "NoMore");
    let push = asked(&mut tab, "Push");
    exit(&mut tab, remote, &push, None);
    chunk(&mut tab, remote, &pull, &stored(&push), "NoMore");
    assert_eq!(tab.state(tx), S::Completed);
}

#[test]
fn connections_that_fail_are_tried_again_ever_more_slowly() {
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    let mut opened = 0;
    for _ in 0..600 {
        if tab.live.contains(&remote) {
            opened += 1;
            tab.live.clear();
            tab.hear(remote, LiveEvent::Closed);
        }
        tab.advance(1_000);
    }
    assert!((20..80).contains(&opened), "{opened} connections in ten minutes");
    tab.input(Input::Online(true));
    tab.settle();
    assert!(tab.live.contains(&remote), "news of the network passes over the back-off");
}

#[test]
fn credentials_that_the_app_can_not_give_are_asked_for_once_more_and_then_held() {
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    for _ in 0..2 {
        assert_eq!(tab.live, [remote]);
        tab.live.clear();
        tab.hear(remote, LiveEvent::Refused("no token".into()));
    }
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Auth);
    tab.advance(600_000);
    assert!(tab.live.is_empty());
    tab.engine.resume(tab.now);
    tab.settle();
    assert_eq!(tab.live, [remote]);
}

#[test]
fn what_is_missed_is_caught_up_with_every_thirty_seconds_and_when_the_page_shows() {
    let (mut tab, remote, _) = caught_up(&Disk::default(), 1, &[]);
    for _ in 0..3 {
        tab.advance(9_000);
        tab.hear(remote, LiveEvent::Frame(r#"{"_tag":"Pong"}"#.into()));
    }
    tab.frames.clear();
    tab.advance(3_000);
    let pull = asked(&mut tab, "Pull");
    chunk(&mut tab, remote, &pull, &[], "NoMore");
    tab.frames.clear();
    tab.input(Input::Visible(true));
    tab.settle();
    asked(&mut tab, "Pull");
}

#[test]
fn a_collection_with_its_own_mapping_speaks_an_existing_apps_events() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let wire = LiveStoreWire::WebSocket;
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire });
    let todos = tab.register_with("todos", |spec| {
        spec.remote = Some((remote, "todo".into()));
        spec.persist = None;
        spec.has_sync = false;
        spec.mapping = Some(Mapping {
            to_events: Some(Rc::new(|mutation| {
                Ok(vec![(
                    "v1.TodoCreated".into(),
                    json!({ "id": mutation.key, "text": mutation.changes.as_ref().unwrap()["title"] }),
                )])
            })),
            apply: Some(Rc::new(|name, args| {
                let key = args["id"].as_str().unwrap().to_owned();
                Ok(match name {
                    "v1.TodoCreated" => {
                        vec![EventWrite::Put(key.clone(), json!({ "id": key, "title": args["text"] }))]
                    }
                    "v1.TodoRenamed" => vec![EventWrite::Update(key, json!({ "title": args["text"] }))],
                    _ => Vec::new(),
                })
            })),
        });
    });
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "Pull");
    let log = [
        event(1, "s", "v1.TodoCreated", &json!({ "id": "a", "text": "one" })),
        event(2, "s", "v1.TodoRenamed", &json!({ "id": "a", "text": "two" })),
        event(3, "s", "v1.Unknown", &json!({ "id": "a" })),
    ];
    chunk(&mut tab, remote, &pull, &log, "NoMore");
    assert_eq!(tab.shows(todos)["a"]["title"], "two");
    tab.insert(todos, "b", json!({ "id": "b", "title": "three" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "Push");
    assert_eq!(push["payload"]["batch"][0]["name"], "v1.TodoCreated");
    assert_eq!(push["payload"]["batch"][0]["args"], json!({ "id": "b", "text": "three" }));
}

#[test]
fn frames_that_are_not_what_the_wire_sends_end_the_connection_and_nothing_else() {
    for frame in
        ["", "[]", "{}", "null", r#"{"_tag":7}"#, r#"{"_tag":"Defect","defect":"Unknown request tag"}"#]
    {
        let (mut tab, remote, todos) =
            caught_up(&Disk::default(), 1, &[event(1, "s", "todo.inserted", &json!({ "id": "a" }))]);
        tab.hear(remote, LiveEvent::Frame(frame.into()));
        assert!(tab.live.is_empty(), "{frame}");
        assert_eq!(tab.shows(todos).len(), 1);
        assert_eq!(tab.engine.status().last_error.unwrap().code, "offline");
    }
    let (mut tab, remote, _) = connected(&Disk::default(), 1);
    tab.hear(remote, LiveEvent::Opened);
    tab.frames.clear();
    let bad = r#"{"_tag":"Chunk","requestId":"0","values":[{"batch":[{"eventEncoded":{"name":"x","args":{},"seqNum":"one","parentSeqNum":0,"sessionId":"s"}}],"pageInfo":{"_tag":"NoMore"},"backendId":"b"}]}"#;
    tab.hear(remote, LiveEvent::Frame(bad.into()));
    assert!(tab.live.is_empty());
}

#[test]
fn over_http_the_same_session_asks_by_requests() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire: LiveStoreWire::Http });
    let todos = tab.register_at("todos", remote, "todo");
    let page = |batch: &[Value]| {
        json!([
            { "_tag": "Chunk", "requestId": "0", "values": [{ "batch": batch, "pageInfo": { "_tag": "NoMore" }, "backendId": "b" }] },
            { "_tag": "Exit", "requestId": "0", "exit": { "_tag": "Success" } }
        ])
        .to_string()
    };
    let asked = tab.answer_request(200, &page(&[event(1, "s", "todo.inserted", &json!({ "id": "a" }))]));
    assert_eq!(asked.path, "?storeId=s&transport=http");
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Polling);
    let tx = tab.insert(todos, "b", json!({ "id": "b" })).unwrap();
    tab.settle();
    let ahead = json!([{ "_tag": "Exit", "requestId": "1", "exit": { "_tag": "Failure", "cause": [{ "_tag": "Fail", "error": { "_tag": "ServerAheadError", "minimumExpectedNum": 2, "providedNum": 1 } }] } }]);
    tab.answer_request(200, &ahead.to_string());
    tab.answer_request(200, &page(&[event(2, "s", "todo.deleted", &json!({ "id": "a" }))]));
    let push =
        tab.answer_request(200, r#"[{"_tag":"Exit","requestId":"2","exit":{"_tag":"Success","value":{}}}]"#);
    let push: Value = serde_json::from_str(&push.body).unwrap();
    assert_eq!(positions(&push), [(3, 2)]);
    tab.answer_request(200, &page(&stored(&push)));
    assert_eq!(tab.state(tx), S::Completed);
    assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["b"]);
    // A failure that comes with status 200 is one.
    tab.engine.pull_now(tab.now, remote).unwrap();
    tab.settle();
    tab.answer_request(200, r#"[{"_tag":"Defect","defect":"oops"}]"#);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Offline);
    assert!(tab.requests.is_empty(), "it backs off");
    assert!(tab.engine.poll_output().is_none_or(|output| !matches!(output, Output::Request(..))));
}
