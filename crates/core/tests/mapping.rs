//! Collections that make their rows of events by a function of the app's, registered after the events have come.

#![allow(clippy::unwrap_used)]

mod support;

use std::rc::Rc;

use driftline_core::{
    Code, HttpRequest,
    spec::{BackendSpec, CollectionId, EventWrite, LiveStoreWire, Mapping, RemoteId},
    view::RemoteState,
};
use serde_json::{Value, json};
use support::{Disk, Tab};

/// Makes a row of each event of a name, and counts what it has been given.
fn register(tab: &mut Tab, remote: RemoteId, id: &str, name: &'static str, version: u32) -> CollectionId {
    tab.register_with(id, |spec| {
        spec.remote = Some((remote, id.into()));
        spec.persist = None;
        spec.has_sync = false;
        spec.version = version;
        spec.mapping = Some(Mapping {
            to_events: None,
            apply: Some(Rc::new(move |event, args| {
                let key = args["id"].as_str().unwrap().to_owned();
                Ok(if event == name { vec![EventWrite::Put(key, args.clone())] } else { Vec::new() })
            })),
        });
    })
}

fn open(disk: &Disk, seed: u8) -> (Tab, RemoteId) {
    let mut tab = Tab::open(disk, seed);
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire: LiveStoreWire::Http });
    (tab, remote)
}

fn event(position: u64, name: &str, id: &str) -> Value {
    json!({
        "eventEncoded": { "name": name, "args": { "id": id }, "seqNum": position, "parentSeqNum": position - 1, "clientId": "c", "sessionId": "s" },
        "metadata": { "_tag": "None" }
    })
}

/// Answers the oldest request with what a log has behind its cursor, a few events at a time.
fn answer(tab: &mut Tab, log: &[Value]) -> HttpRequest {
    let asked: Value = serde_json::from_str(&tab.requests[0].2.body).unwrap();
    let from = asked["payload"]["cursor"]["value"]["eventSequenceNumber"].as_u64().unwrap_or(0) as usize;
    let batch = &log[from..log.len().min(from + 2)];
    let more = if from + 2 < log.len() { "MoreUnknown" } else { "NoMore" };
    let body = json!([
        { "_tag": "Chunk", "requestId": "0", "values": [{ "batch": batch, "pageInfo": { "_tag": more }, "backendId": "b" }] },
        { "_tag": "Exit", "requestId": "0", "exit": { "_tag": "Success" } }
    ]);
    tab.answer_request(200, &body.to_string())
}

fn catch_up(tab: &mut Tab, log: &[Value]) {
    for _ in 0..20 {
        if tab.requests.is_empty() {
            return;
        }
        answer(tab, log);
    }
    panic!("it asks without end");
}

fn keys(tab: &Tab, collection: CollectionId) -> Vec<String> {
    tab.shows(collection).into_keys().collect()
}

fn log() -> Vec<Value> {
    vec![
        event(1, "v1.Todo", "t1"),
        event(2, "v1.List", "l1"),
        event(3, "v1.Todo", "t2"),
        event(4, "v1.List", "l2"),
        event(5, "note.inserted", "n1"),
    ]
}

#[test]
fn a_collection_that_is_registered_after_the_log_was_read_gets_its_rows_of_it_all_the_same() {
    let (mut tab, remote) = open(&Disk::default(), 1);
    let todos = register(&mut tab, remote, "todos", "v1.Todo", 1);
    let notes = tab.register_at("notes", remote, "note");
    catch_up(&mut tab, &log());
    assert_eq!(tab.engine.remote(remote).unwrap().cursor, Some(5));
    tab.changes.clear();
    let lists = register(&mut tab, remote, "lists", "v1.List", 1);
    assert_eq!(tab.engine.remote(remote).unwrap().state, RemoteState::Connecting);
    assert!(!tab.synced.contains(&lists), "it has not had all yet");
    // What comes meanwhile is for all.
    let mut log = log();
    log.push(event(6, "v1.Todo", "t3"));
    catch_up(&mut tab, &log);
    assert_eq!(keys(&tab, lists), ["l1", "l2"]);
    assert_eq!(keys(&tab, todos), ["t1", "t2", "t3"]);
    assert_eq!(keys(&tab, notes), ["n1"]);
    assert!(tab.synced.contains(&lists));
    let seen: Vec<&str> = tab.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(seen, ["l1", "l2", "t3"], "nothing else is touched");
    assert!(tab.errors.is_empty(), "{:?}", tab.errors);
}

#[test]
fn what_was_not_registered_while_others_read_on_is_caught_up_by_the_next_leader_that_has_it() {
    let disk = Disk::default();
    let (mut tab, remote) = open(&disk, 1);
    let lists = register(&mut tab, remote, "lists", "v1.List", 1);
    catch_up(&mut tab, &log()[..2]);
    assert_eq!(keys(&tab, lists), ["l1"]);
    drop(tab);
    let (mut other, remote) = open(&disk, 2);
    register(&mut other, remote, "todos", "v1.Todo", 1);
    // It has missed what came before, and the other one misses what comes now.
    catch_up(&mut other, &log());
    drop(other);
    let (mut tab, remote) = open(&disk, 3);
    let lists = register(&mut tab, remote, "lists", "v1.List", 1);
    catch_up(&mut tab, &log());
    assert_eq!(keys(&tab, lists), ["l1", "l2"]);
    drop(tab);
    let (mut tab, remote) = open(&disk, 4);
    register(&mut tab, remote, "lists", "v1.List", 1);
    let asked = answer(&mut tab, &log());
    assert!(asked.body.contains(r#""eventSequenceNumber":5"#), "it has all: {}", asked.body);
}

#[test]
fn a_crash_while_the_log_is_read_again_makes_it_be_read_again() {
    let disk = Disk::default();
    let (mut tab, remote) = open(&disk, 1);
    register(&mut tab, remote, "todos", "v1.Todo", 1);
    catch_up(&mut tab, &log());
    register(&mut tab, remote, "lists", "v1.List", 1);
    answer(&mut tab, &log());
    drop(tab);
    let (mut tab, remote) = open(&disk, 2);
    assert_eq!(tab.engine.remote(remote).unwrap().cursor, Some(5), "the journal's cursor stands");
    let todos = register(&mut tab, remote, "todos", "v1.Todo", 1);
    let lists = register(&mut tab, remote, "lists", "v1.List", 1);
    catch_up(&mut tab, &log());
    assert_eq!(
        (keys(&tab, lists), keys(&tab, todos)),
        (vec!["l1".into(), "l2".into()], vec!["t1".into(), "t2".into()])
    );
}

#[test]
fn a_function_of_another_version_has_the_log_read_again() {
    let disk = Disk::default();
    let (mut tab, remote) = open(&disk, 1);
    register(&mut tab, remote, "things", "v1.List", 1);
    catch_up(&mut tab, &log());
    drop(tab);
    let (mut tab, remote) = open(&disk, 2);
    let things = register(&mut tab, remote, "things", "v1.Todo", 2);
    catch_up(&mut tab, &log());
    assert_eq!(keys(&tab, things), ["t1", "t2"]);
}

#[test]
fn a_log_that_turns_out_shorter_while_it_is_read_again_is_another_one() {
    let (mut tab, remote) = open(&Disk::default(), 1);
    let todos = register(&mut tab, remote, "todos", "v1.Todo", 1);
    catch_up(&mut tab, &log());
    let lists = register(&mut tab, remote, "lists", "v1.List", 1);
    catch_up(&mut tab, &log()[..2]);
    assert_eq!(tab.errors.last().unwrap().0, Code::BackendReset);
    assert_eq!((keys(&tab, todos), keys(&tab, lists)), (vec!["t1".into()], vec!["l1".into()]));
}

#[test]
fn how_far_each_has_come_outlives_a_checkpoint() {
    let disk = Disk::default();
    let (mut tab, remote) = open(&disk, 1);
    register(&mut tab, remote, "todos", "v1.Todo", 1);
    catch_up(&mut tab, &log());
    let local = tab.register("local");
    for index in 0..300 {
        tab.insert(local, &format!("t{index}"), json!({})).unwrap();
        tab.settle();
        while !tab.persists.is_empty() {
            tab.answer_persist(Ok(Default::default()));
        }
    }
    tab.advance(10_000);
    assert!(disk.borrow().checkpoint > 0);
    drop(tab);
    let (mut tab, remote) = open(&disk, 2);
    let todos = register(&mut tab, remote, "todos", "v1.Todo", 1);
    let asked = answer(&mut tab, &log());
    assert!(asked.body.contains(r#""eventSequenceNumber":5"#), "{}", asked.body);
    assert_eq!(keys(&tab, todos), ["t1", "t2"]);
}
