//! What the simulator found with servers that keep a log, each as a scenario.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    LiveEvent, TxEvent,
    spec::{BackendSpec, CollectionId, LiveStoreWire, RemoteId},
};
use serde_json::{Value, json};
use support::{Disk, Tab};

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
    let frames: Vec<Value> = tab.frames.drain(..).map(|frame| serde_json::from_str(&frame).unwrap()).collect();
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
