//! When a session pulls what it has pushed.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{TxId, spec::CollectionId, view::TransactionState as S};
use serde_json::json;
use support::{Disk, Tab};

/// As many changes as one push takes.
const PUSH: usize = 100;

fn caught_up() -> (Tab, CollectionId) {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect_mizu();
    let todos = tab.register_with("todos", |spec| {
        spec.remote = Some((remote, "todo".into()));
        spec.persist = None;
        spec.has_sync = false;
    });
    tab.answer_request(200, r#"{"data":{"todos":null},"cursor":1}"#);
    (tab, todos)
}

fn write(tab: &mut Tab, todos: CollectionId, count: usize) -> Vec<TxId> {
    let written = (0..count).map(|n| tab.insert(todos, &format!("t{n}"), json!({})).unwrap()).collect();
    tab.settle();
    written
}

fn taken(from: usize, count: usize) -> String {
    let results: Vec<_> = (0..count).map(|n| format!(r#"{{"ok":true,"cursor":{}}}"#, from + n)).collect();
    format!(r#"{{"results":[{}]}}"#, results.join(","))
}

fn pulled(cursor: usize) -> String {
    format!(r#"{{"changes":[],"has_more":false,"next_cursor":{cursor}}}"#)
}

fn asked(tab: &Tab) -> Vec<&str> {
    tab.requests.iter().map(|(_, _, request)| request.path.as_str()).collect()
}

#[test]
fn what_is_pushed_in_a_row_is_pulled_by_one_pull_in_the_end() {
    let (mut tab, todos) = caught_up();
    let written = write(&mut tab, todos, 2 * PUSH + 50);
    tab.answer_request(200, &taken(2, PUSH));
    assert_eq!(asked(&tab), ["/_sync/push"]);
    tab.answer_request(200, &taken(2 + PUSH, PUSH));
    assert_eq!(asked(&tab), ["/_sync/push"]);
    tab.answer_request(200, &taken(2 + 2 * PUSH, 50));
    assert_eq!(asked(&tab), ["/_sync/pull"]);
    tab.answer_request(200, &pulled(2 + 2 * PUSH + 49));
    assert!(written.iter().all(|&tx| tab.state(tx) == S::Completed));
    assert!(tab.requests.is_empty(), "{:?}", asked(&tab));
}

#[test]
fn a_long_row_of_pushes_is_pulled_on_the_way() {
    let (mut tab, todos) = caught_up();
    let written = write(&mut tab, todos, 2 * PUSH + 50);
    tab.answer_request(200, &taken(2, PUSH));
    tab.advance(250);
    tab.answer_request(200, &taken(2 + PUSH, PUSH));
    assert_eq!(asked(&tab), ["/_sync/pull", "/_sync/push"]);
    tab.answer_request(200, &pulled(1 + 2 * PUSH));
    assert!(written[..2 * PUSH].iter().all(|&tx| tab.state(tx) == S::Completed));
    assert_eq!(tab.state(written[2 * PUSH]), S::Persisting);
}

#[test]
fn what_was_pushed_is_pulled_though_the_next_push_fails() {
    let (mut tab, todos) = caught_up();
    let written = write(&mut tab, todos, 2 * PUSH);
    tab.answer_request(200, &taken(2, PUSH));
    tab.answer_request(500, "");
    assert_eq!(asked(&tab)[0], "/_sync/pull");
    tab.answer_request(200, &pulled(1 + PUSH));
    assert!(written[..PUSH].iter().all(|&tx| tab.state(tx) == S::Completed));
}
