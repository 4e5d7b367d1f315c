//! Sync sessions with S2, with sync-s2 in front of it, with sync-cf 0.3 and with mizu's other dialect.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, LiveEvent, Method, TxEvent,
    spec::{BackendSpec, LiveStoreWire, MizuDialect, MizuPoke, RemoteId},
    view::{RemoteState, TransactionState as S},
};
use serde_json::{Value, json};
use support::{Disk, Tab};

fn s2(create: bool) -> BackendSpec {
    BackendSpec::S2 { basin: "a-basin".into(), stream: "a/store".into(), create }
}

fn record(position: u64, body: &str) -> Value {
    json!({ "seq_num": position - 1, "timestamp": 1, "body": body })
}

fn inserted(key: &str, session: &str) -> String {
    json!({ "name": "todo.inserted", "args": { "id": key }, "seqNum": 7, "parentSeqNum": 6, "clientId": "c", "sessionId": session }).to_string()
}

fn batch(records: &[Value], tail: u64) -> String {
    json!({ "records": records, "tail": { "seq_num": tail, "timestamp": 1 } }).to_string()
}

fn at_tail(tail: u64) -> String {
    json!({ "tail": { "seq_num": tail, "timestamp": 1 } }).to_string()
}

/// The records of an append, as the stream gives them out.
fn appended(body: &str, first: u64) -> Vec<Value> {
    let append: Value = serde_json::from_str(body).unwrap();
    let records = append["records"].as_array().unwrap().iter().zip(first..);
    records.map(|(new, position)| record(position, new["body"].as_str().unwrap())).collect()
}

fn state(tab: &Tab, remote: RemoteId) -> RemoteState {
    tab.engine.remote(remote).unwrap().state
}

#[test]
fn a_stream_is_read_to_its_tail_and_then_followed_live() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(s2(false));
    let todos = tab.register_at("todos", remote, "todo");
    assert!(tab.live.is_empty(), "what is there is read first");
    let read = tab.answer_request(
        200,
        &json!({ "records": [record(1, &inserted("a", "s")), record(2, "no event")] }).to_string(),
    );
    assert_eq!(read.path, "/v1/streams/a%2Fstore/records?seq_num=0&count=1000");
    assert_eq!(read.headers, [("s2-format", "raw".to_owned()), ("s2-basin", "a-basin".to_owned())]);
    let read = tab.answer_request(416, &at_tail(2));
    assert!(read.path.contains("seq_num=2"));
    assert_eq!((state(&tab, remote), tab.shows(todos).len()), (RemoteState::Polling, 1));
    assert_eq!(tab.live, [remote]);
    tab.hear(remote, LiveEvent::Opened);
    tab.answer_request(416, &at_tail(2));
    assert_eq!(state(&tab, remote), RemoteState::Live);
    let frame = format!("event: batch\nid: 2,1,9\ndata: {}\n\n", batch(&[record(3, &inserted("b", "s"))], 3));
    let (one, other) = frame.split_at(30);
    tab.hear(remote, LiveEvent::Frame(one.into()));
    tab.hear(remote, LiveEvent::Frame(other.into()));
    assert_eq!(tab.shows(todos).len(), 2);
    assert_eq!(tab.engine.remote(remote).unwrap().cursor, Some(3));
}

#[test]
fn an_append_says_where_it_goes_and_one_that_comes_too_late_goes_behind_what_is_there() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(s2(false));
    let todos = tab.register_at("todos", remote, "todo");
    tab.answer_request(416, &at_tail(0));
    let tx = tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let append = tab.answer_request(412, r#"{"seq_num_mismatch":1}"#);
    let body: Value = serde_json::from_str(&append.body).unwrap();
    assert_eq!(body["match_seq_num"], 0);
    tab.answer_request(200, &batch(&[record(1, &inserted("other", "s"))], 1));
    let append = tab.answer_request(
        200,
        r#"{"start":{"seq_num":1,"timestamp":1},"end":{"seq_num":2,"timestamp":1},"tail":{"seq_num":2,"timestamp":1}}"#,
    );
    let body: Value = serde_json::from_str(&append.body).unwrap();
    assert_eq!(body["match_seq_num"], 1);
    let event: Value = serde_json::from_str(body["records"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!((&event["seqNum"], &event["parentSeqNum"]), (&json!(2), &json!(1)));
    tab.answer_request(200, &batch(&appended(&append.body, 2), 2));
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(tab.shows(todos).len(), 2);
}

#[test]
fn a_missing_stream_is_made_with_its_basin_where_that_is_asked_for() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(s2(true));
    tab.register_at("todos", remote, "todo");
    tab.answer_request(404, r#"{"code":"basin_not_found","message":"no"}"#);
    let basin = tab.answer_request(201, "{}");
    assert_eq!((basin.method, basin.path.as_str()), (Method::Put, "/v1/basins/a-basin"));
    let stream = tab.answer_request(201, "{}");
    assert_eq!((stream.method, stream.path.as_str()), (Method::Put, "/v1/streams/a%2Fstore"));
    tab.answer_request(416, &at_tail(0));
    assert_eq!(state(&tab, remote), RemoteState::Polling);

    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(s2(false));
    tab.register_at("todos", remote, "todo");
    tab.answer_request(404, r#"{"code":"stream_not_found","message":"no"}"#);
    assert_eq!(state(&tab, remote), RemoteState::Offline);
}

#[test]
fn a_stream_that_was_trimmed_or_made_anew_is_a_reset() {
    for (status, body) in [(200, batch(&[record(9, &inserted("new", "s"))], 9)), (416, at_tail(0))] {
        let mut tab = Tab::open(&Disk::default(), 1);
        let remote = tab.connect(s2(false));
        let todos = tab.register_at("todos", remote, "todo");
        tab.answer_request(
            200,
            &batch(&[record(1, &inserted("old", "s")), record(2, &inserted("older", "s"))], 2),
        );
        tab.engine.pull_now(tab.now, remote).unwrap();
        tab.settle();
        tab.answer_request(status, &body);
        assert_eq!(tab.errors.last().unwrap().0, Code::BackendReset);
        assert_eq!(state(&tab, remote), RemoteState::Reset);
        let read = tab.answer_request(200, &batch(&[record(9, &inserted("new", "s"))], 9));
        assert!(read.path.contains("seq_num=0"));
        assert_eq!(tab.shows(todos).keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(state(&tab, remote), RemoteState::Polling);
    }
}

#[test]
fn a_live_read_that_falls_silent_is_made_anew() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(s2(false));
    tab.register_at("todos", remote, "todo");
    tab.answer_request(416, &at_tail(0));
    tab.hear(remote, LiveEvent::Opened);
    tab.answer_request(416, &at_tail(0));
    for _ in 0..6 {
        tab.advance(10_000);
        tab.hear(remote, LiveEvent::Frame(format!("event: ping\ndata: {}\n\n", at_tail(0))));
        while !tab.requests.is_empty() {
            tab.answer_request(416, &at_tail(0));
        }
        assert_eq!(tab.live, [remote]);
    }
    tab.advance(15_000);
    tab.advance(15_000);
    assert!(tab.live.is_empty());
}

#[test]
fn through_the_proxy_a_push_counts_once_it_is_read_back() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::S2Proxy {
        store_id: "a b".into(),
        push_to: String::new(),
        ping_to: String::new(),
    });
    let todos = tab.register_at("todos", remote, "todo");
    let pull = tab.answer_request(200, "data: [DONE]\n\n");
    assert_eq!(
        pull.path,
        "?args=%7B%22storeId%22%3A%22a%20b%22%2C%22s2SeqNum%22%3A%22from-start%22%2C%22live%22%3Afalse%7D"
    );
    let tx = tab.insert(todos, "mine", json!({ "id": "mine" })).unwrap();
    tab.settle();
    let push = tab.answer_request(200, r#"{"success":true}"#);
    assert_ne!(tab.state(tx), S::Completed);
    let body: Value = serde_json::from_str(&push.body).unwrap();
    assert_eq!(body["storeId"], "a b");
    // Somebody else's landed first, with the same number.
    let records = [record(1, &inserted("other", "s")), record(2, &body["batch"][0].to_string())];
    tab.answer_request(
        200,
        &format!("event: batch\nid: 1\ndata: {}\n\ndata: [DONE]\n\n", batch(&records, 2)),
    );
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(tab.shows(todos).len(), 2);
    assert!(tab.requests.is_empty(), "it is not sent again");
}

#[test]
fn an_answer_of_the_proxy_that_breaks_off_is_no_empty_pull() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::S2Proxy {
        store_id: "s".into(),
        push_to: String::new(),
        ping_to: String::new(),
    });
    tab.register_at("todos", remote, "todo");
    for body in ["", "event: error\ndata: {\"message\":\"broken\"}\n\n", "data: nonsense\n\n"] {
        tab.answer_request(200, body);
        assert_eq!(state(&tab, remote), RemoteState::Offline, "{body}");
        assert!(tab.requests.is_empty(), "it backs off");
        tab.advance(60_000);
    }
}

fn asked(tab: &mut Tab, tag: &str) -> Value {
    let frames: Vec<Value> =
        tab.frames.drain(..).map(|frame| serde_json::from_str(&frame).unwrap()).collect();
    frames.into_iter().find(|frame| frame["_tag"] == tag).unwrap_or_else(|| panic!("no {tag}"))
}

fn say(tab: &mut Tab, remote: RemoteId, frame: &Value) {
    tab.hear(remote, LiveEvent::Frame(frame.to_string()));
}

fn page(context: &str, id: &Value, batch: &[Value]) -> Value {
    let batch: Vec<Value> =
        batch.iter().map(|event| json!({ "eventEncoded": event, "metadata": { "_tag": "None" } })).collect();
    json!({ "_tag": "WSMessage.PullRes", "batch": batch, "requestId": { "context": context, "requestId": id }, "remaining": 0 })
}

#[test]
fn an_acknowledgement_and_a_broadcast_of_sync_cf_0_3_prove_nothing_until_a_pull_brings_the_event() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire: LiveStoreWire::V03 });
    let todos = tab.register_at("todos", remote, "todo");
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], &[]));
    assert_eq!(state(&tab, remote), RemoteState::Live);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "WSMessage.PushReq");
    let event = push["batch"][0].clone();
    say(&mut tab, remote, &page("push", &push["requestId"], core::slice::from_ref(&event)));
    say(&mut tab, remote, &json!({ "_tag": "WSMessage.PushAck", "requestId": push["requestId"] }));
    assert!(!tab.events_of(tx).contains(&TxEvent::Persisted));
    // The first pull comes before the insert; what was told of is waited for.
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], &[]));
    tab.advance(1_000);
    let frames = tab.frames.join("\n");
    assert!(frames.contains("WSMessage.PullReq"), "{frames}");
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], core::slice::from_ref(&event)));
    assert_eq!(tab.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
}

#[test]
fn what_sync_cf_0_3_acknowledged_and_forgot_is_sent_again() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire: LiveStoreWire::V03 });
    let todos = tab.register_at("todos", remote, "todo");
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], &[]));
    tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "WSMessage.PushReq");
    say(&mut tab, remote, &json!({ "_tag": "WSMessage.PushAck", "requestId": push["requestId"] }));
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], &[]));
    let again = asked(&mut tab, "WSMessage.PushReq");
    assert_eq!(again["batch"], push["batch"]);
    let ahead = "Invalid parent event number. Received e0 but expected e1";
    say(
        &mut tab,
        remote,
        &json!({ "_tag": "WSMessage.Error", "requestId": again["requestId"], "message": ahead }),
    );
    let pull = asked(&mut tab, "WSMessage.PullReq");
    say(&mut tab, remote, &page("pull", &pull["requestId"], core::slice::from_ref(&push["batch"][0])));
    assert_eq!(tab.engine.status().pending, 0);
}

#[test]
fn the_plans_dialect_names_rows_apart_and_hears_binary_pokes() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::Mizu {
        scope: "s1".into(),
        dialect: MizuDialect::Plan,
        poke: Some(MizuPoke::WebSocket),
        poke_url: None,
    });
    let todos = tab.register_at("todos", remote, "todo");
    tab.answer_request(200, r#"{"data":{"todo":{"a":{"id":"a","n":1}}},"cursor":4}"#);
    assert_eq!(tab.shows(todos)["a"]["n"], 1);
    tab.hear(remote, LiveEvent::Opened);
    assert_eq!(tab.frames, [r#"{"topic":"sync:s1","data":{"type":"subscribe","ref":"r1"}}"#]);
    tab.answer_request(200, r#"{"changes":null,"cursor":4,"has_more":false}"#);
    tab.hear(remote, LiveEvent::Frame("\u{b}{\"scope\":\"other\",\"cursor\":9}".into()));
    assert!(tab.requests.is_empty());
    tab.hear(remote, LiveEvent::Frame("\u{b}{\"scope\":\"s1\",\"cursor\":5}".into()));
    tab.answer_request(
        200,
        r#"{"changes":[{"cursor":5,"scope":"s1","entity":"todo","id":"a","op":"delete","data":null,"ts":""}],"cursor":5,"has_more":false}"#,
    );
    assert!(tab.shows(todos).is_empty());
    let tx = tab.insert(todos, "b", json!({ "id": "b" })).unwrap();
    tab.settle();
    let push = tab.answer_request(200, r#"{"results":[{"ok":true,"cursor":6,"changes":[]}],"cursor":6}"#);
    let body: Value = serde_json::from_str(&push.body).unwrap();
    let mutation = &body["mutations"][0];
    assert_eq!(
        (&mutation["name"], &mutation["client_id"], &mutation["client_seq"]),
        (&json!("todo/create"), &json!(tx.to_string()), &json!(1))
    );
    assert_eq!(tab.state(tx), S::PersistedAwaitingSync);
}

#[test]
fn pokes_over_a_websocket_are_subscribed_to_and_auto_tries_the_other_way() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect(BackendSpec::Mizu {
        scope: "s1".into(),
        dialect: MizuDialect::V03,
        poke: Some(MizuPoke::Auto),
        poke_url: None,
    });
    tab.register_at("todos", remote, "todo");
    tab.answer_request(200, r#"{"data":{},"cursor":4}"#);
    assert_eq!(tab.live, [remote]);
    tab.live.clear();
    tab.hear(remote, LiveEvent::Closed);
    tab.requests.clear();
    tab.advance(10_000);
    assert_eq!(tab.live, [remote]);
    tab.hear(remote, LiveEvent::Opened);
    assert_eq!(tab.frames.len(), 1, "by a socket now: {:?}", tab.frames);
}
