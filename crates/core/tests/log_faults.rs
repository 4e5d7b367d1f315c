//! What the simulator found with servers that keep a log, each as a scenario.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    DraftKind, Input, LiveEvent, RemoteSpec, RetryPolicy, TxEvent,
    spec::{BackendSpec, CollectionId, LiveStoreWire, RemoteId},
    view::TransactionState,
};
use serde_json::{Value, json};
use support::{Disk, Tab, draft};

fn caught_up(disk: &Disk) -> (Tab, RemoteId, CollectionId) {
    let mut tab = Tab::open(disk, 1);
    let wire = LiveStoreWire::WebSocket;
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire });
    let todos = tab.register_at("todos", remote, "todo");
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "SyncWsRpc.Pull");
    tell(&mut tab, remote, &page(&pull, &[], "NoMore"));
    (tab, remote, todos)
}

fn asked(tab: &mut Tab, tag: &str) -> Value {
    let frames: Vec<Value> =
        tab.frames.drain(..).map(|frame| serde_json::from_str(&frame).unwrap()).collect();
    frames.into_iter().find(|frame| frame["tag"] == tag).unwrap_or_else(|| panic!("no {tag}"))
}

fn tell(tab: &mut Tab, remote: RemoteId, frame: &Value) {
    tab.hear(remote, LiveEvent::Frame(frame.to_string()));
}

fn page(pull: &Value, events: &[Value], info: &str) -> Value {
    let batch: Vec<Value> =
        events.iter().map(|event| json!({ "eventEncoded": event, "metadata": { "_tag": "None" } })).collect();
    json!({ "_tag": "Chunk", "requestId": pull["id"], "values": [{ "batch": batch, "pageInfo": { "_tag": info }, "backendId": "b1" }] })
}

#[test]
fn a_connection_that_breaks_while_no_pull_runs_leaves_what_else_is_under_way() {
    let disk = Disk::default();
    let (mut tab, remote, todos) = caught_up(&disk);
    let notes = tab.register("notes");
    let tx = tab.insert(notes, "n1", json!({ "id": "n1" })).unwrap();
    tab.settle();
    assert_eq!(tab.persists.len(), 1, "the app's persist is the last that was asked for");
    tab.live.clear();
    tab.hear(remote, LiveEvent::Closed);
    tab.answer_persist(Ok(driftline_core::PersistOk::default()));
    assert!(tab.events_of(tx).contains(&TxEvent::Completed), "its answer counts: {:?}", tab.events_of(tx));
    let next = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    assert!(tab.events_of(next).contains(&TxEvent::Durable));
}

#[test]
fn a_connection_that_answers_pings_alone_is_left_while_a_pull_waits() {
    let (mut tab, remote, _) = caught_up(&Disk::default());
    tab.engine.pull_now(tab.now, remote).unwrap();
    tab.settle();
    asked(&mut tab, "SyncWsRpc.Pull");
    for _ in 0..8 {
        tab.advance(5_000);
        if tab.live.is_empty() {
            return;
        }
        tell(&mut tab, remote, &json!({ "_tag": "Pong" }));
    }
    panic!("who answers pings need not serve: the pull has waited for 40 s");
}

#[test]
fn of_a_transaction_that_had_landed_in_part_all_is_sent_to_another_log() {
    let (mut tab, remote, todos) = caught_up(&Disk::default());
    let rows = ["a", "b"].map(|key| draft(todos, key, DraftKind::Insert(json!({ "id": key }))));
    let tx = tab.transact(rows.to_vec()).unwrap();
    tab.settle();
    let push = asked(&mut tab, "SyncWsRpc.Push");
    let batch = push["payload"]["batch"].as_array().unwrap().clone();
    // The connection breaks before the answer, and the pull after it brings the first half of what landed.
    tab.live.clear();
    tab.hear(remote, LiveEvent::Closed);
    while tab.live.is_empty() {
        tab.advance(1_000);
    }
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "SyncWsRpc.Pull");
    tell(&mut tab, remote, &page(&pull, &batch[..1], "MoreUnknown"));
    let mut other = page(&pull, &[], "NoMore");
    other["values"][0]["backendId"] = "b2".into();
    tell(&mut tab, remote, &other);
    let pull = asked(&mut tab, "SyncWsRpc.Pull");
    other["requestId"] = pull["id"].clone();
    tell(&mut tab, remote, &other);
    while tab.frames.iter().all(|frame| !frame.contains("SyncWsRpc.Push")) {
        tab.advance(1_000);
    }
    let again = asked(&mut tab, "SyncWsRpc.Push");
    let sessions = |batch: &Value| -> Vec<String> {
        batch.as_array().unwrap().iter().map(|event| event["sessionId"].to_string()).collect()
    };
    assert_eq!(sessions(&again["payload"]["batch"]), sessions(&json!(batch)), "of {tx}");
}

#[test]
fn a_stream_of_which_nothing_is_left_is_appended_to_at_its_tail() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let spec = BackendSpec::S2 { basin: "b".into(), stream: "s".into(), create: false };
    let remote = tab.connect(spec);
    let todos = tab.register_at("todos", remote, "todo");
    tab.answer_request(416, r#"{"tail":{"seq_num":5,"timestamp":1}}"#);
    tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let append: Value = serde_json::from_str(&tab.requests.last().unwrap().2.body).unwrap();
    assert_eq!(append["match_seq_num"], 5);
}

#[test]
fn what_another_tab_has_pushed_completes_once_though_its_rows_come_back_just_then() {
    let disk = Disk::default();
    let (mut tab, remote, todos) = caught_up(&disk);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "SyncWsRpc.Push");
    let exit = json!({ "_tag": "Success", "value": {} });
    tell(&mut tab, remote, &json!({ "_tag": "Exit", "requestId": push["id"], "exit": exit }));
    assert_eq!(tab.state(tx), TransactionState::PersistedAwaitingSync);

    let mut heir = Tab::open_with(&disk, 2, false);
    let wire = LiveStoreWire::WebSocket;
    let remote = heir.connect(BackendSpec::LiveStore { store_id: "s".into(), wire });
    heir.register_at("todos", remote, "todo");
    let epoch = disk.borrow().epochs["r/remote"] + 1;
    disk.borrow_mut().epochs.insert("r/remote".into(), epoch);
    heir.input(driftline_core::Input::LeaseGained("r/remote".into(), epoch));
    heir.drain();
    heir.input(driftline_core::Input::Live(remote, LiveEvent::Opened));
    heir.drain();
    let pull = asked(&mut heir, "SyncWsRpc.Pull");
    let batch = push["payload"]["batch"].as_array().unwrap();
    heir.input(driftline_core::Input::Live(
        remote,
        LiveEvent::Frame(page(&pull, batch, "NoMore").to_string()),
    ));
    heir.settle();
    let times = heir.events_of(tx).into_iter().filter(|event| *event == TxEvent::Completed).count();
    assert_eq!(times, 1, "{:?}", heir.events_of(tx));
}

/// A tab of the app's next release, which can't make what was queued by this one fit.
fn of_a_release_that_refuses(disk: &Disk) -> (Tab, RemoteId) {
    let mut heir = Tab::open(disk, 2);
    let wire = LiveStoreWire::WebSocket;
    let remote = heir.connect(BackendSpec::LiveStore { store_id: "s".into(), wire });
    heir.register_with("todos", |spec| {
        spec.remote = Some((remote, "todo".into()));
        spec.persist = None;
        spec.has_sync = false;
        spec.version = 2;
        spec.migrate = Some(std::rc::Rc::new(|_, _| None));
    });
    heir.settle();
    (heir, remote)
}

#[test]
fn what_no_longer_fits_and_has_landed_is_completed_and_never_told_failed() {
    let disk = Disk::default();
    let (mut tab, _, todos) = caught_up(&disk);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "SyncWsRpc.Push");
    drop(tab);
    let (mut heir, remote) = of_a_release_that_refuses(&disk);
    assert_eq!(heir.state(tx), TransactionState::Pending, "whether it has landed is not known yet");
    heir.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut heir, "SyncWsRpc.Pull");
    tell(&mut heir, remote, &page(&pull, push["payload"]["batch"].as_array().unwrap(), "NoMore"));
    let ends: Vec<_> = heir.events_of(tx).into_iter().filter(|event| *event != TxEvent::Changed).collect();
    assert_eq!(ends, [TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(heir.state(tx), TransactionState::Completed);
}

#[test]
fn what_no_longer_fits_fails_once_the_log_is_seen_to_be_without_it() {
    let disk = Disk::default();
    let (mut tab, _, todos) = caught_up(&disk);
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    drop(tab);
    let (mut heir, remote) = of_a_release_that_refuses(&disk);
    heir.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut heir, "SyncWsRpc.Pull");
    tell(&mut heir, remote, &page(&pull, &[], "NoMore"));
    assert_eq!(heir.state(tx), TransactionState::Failed);
    assert!(!heir.frames.iter().any(|frame| frame.contains("SyncWsRpc.Push")), "it is not sent as it was");
}

#[test]
fn what_is_seen_in_the_log_while_its_failure_is_being_noted_has_one_end() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let backend = BackendSpec::LiveStore { store_id: "s".into(), wire: LiveStoreWire::WebSocket };
    let retry = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    let spec = RemoteSpec { id: "remote".into(), backend, retry, ping_ms: None };
    let remote = tab.engine.connect(tab.now, spec).unwrap();
    let todos = tab.register_at("todos", remote, "todo");
    tab.hear(remote, LiveEvent::Opened);
    let pull = asked(&mut tab, "SyncWsRpc.Pull");
    tell(&mut tab, remote, &page(&pull, &[], "NoMore"));
    let tx = tab.insert(todos, "t1", json!({ "id": "t1" })).unwrap();
    tab.settle();
    let push = asked(&mut tab, "SyncWsRpc.Push");
    let cause =
        json!({ "_tag": "Fail", "error": { "_tag": "UnknownError", "cause": { "message": "no answer" } } });
    let exit = json!({ "_tag": "Failure", "cause": cause });
    let refusal = json!({ "_tag": "Exit", "requestId": push["id"], "exit": exit });
    tab.input(Input::Live(remote, LiveEvent::Frame(refusal.to_string())));
    tab.drain();
    let pull = asked(&mut tab, "SyncWsRpc.Pull");
    let landed = page(&pull, push["payload"]["batch"].as_array().unwrap(), "NoMore");
    tab.input(Input::Live(remote, LiveEvent::Frame(landed.to_string())));
    tab.settle();
    let events = tab.events_of(tx);
    let ends = events
        .iter()
        .filter(|event| matches!(event, TxEvent::Completed | TxEvent::Failed { .. } | TxEvent::Discarded));
    assert_eq!(ends.count(), 1, "{events:?}");
    assert_eq!(tab.shows(todos)["t1"], json!({ "id": "t1" }), "the row is the log's, however it ended");
}

#[test]
fn what_a_live_read_left_out_is_fetched_however_much_comes_while_no_request_gets_through() {
    let mut tab = Tab::open(&Disk::default(), 1);
    let spec = BackendSpec::S2 { basin: "b".into(), stream: "s".into(), create: false };
    let remote = tab.connect(spec);
    let todos = tab.register_at("todos", remote, "todo");
    let batch = |from: u64, to: u64| {
        let record = |place: u64| {
            let event = json!({ "name": "todo.inserted", "args": { "id": format!("t{place}") }, "seqNum": place + 1, "parentSeqNum": place, "clientId": "c", "sessionId": "s" });
            json!({ "seq_num": place, "timestamp": 1, "body": event.to_string() })
        };
        let records: Vec<Value> = (from..to).map(record).collect();
        json!({ "records": records, "tail": { "seq_num": to, "timestamp": 1 } }).to_string()
    };
    tab.answer_request(200, &batch(0, 1));
    tab.hear(remote, LiveEvent::Opened);
    tab.answer_request(503, "");
    for place in 2..9 {
        let frame = format!("event: batch\nid: 1,1,1\ndata: {}\n\n", batch(place, place + 1));
        tab.hear(remote, LiveEvent::Frame(frame));
    }
    assert_eq!(tab.shows(todos).len(), 1, "the second one is missing before them");
    while tab.requests.is_empty() {
        tab.advance(1_000);
    }
    tab.answer_request(200, &batch(1, 9));
    assert_eq!(tab.shows(todos).len(), 9);
}
