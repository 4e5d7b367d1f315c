use std::sync::Mutex;

use super::*;

fn engine() -> Engine {
    Engine::new(MemoryStorage::new(), EntityMutator::new())
}

fn push(engine: &Engine, mutations: &str) -> Vec<MutationResult> {
    let request: PushRequest =
        serde_json::from_str(&format!(r#"{{"mutations":[{mutations}]}}"#)).expect("valid");
    engine.push(SystemTime::UNIX_EPOCH, &request).expect("storage works").results
}

fn one(engine: &Engine, id: &str, name: &str, args: &str) -> MutationResult {
    push(engine, &format!(r#"{{"id":"{id}","scope":"s","name":"{name}","args":{args}}}"#)).remove(0)
}

fn pull(engine: &Engine, cursor: u64) -> PullResponse {
    engine.pull(&PullRequest { scope: "s".into(), cursor, limit: None }).expect("readable")
}

fn rows(engine: &Engine) -> String {
    let snapshot = engine.snapshot(&SnapshotRequest { scope: "s".into() }).expect("readable");
    serde_json::to_string(&snapshot.data).expect("plain data")
}

#[test]
fn an_update_merges_member_by_member_and_keeps_null() {
    let engine = engine();
    one(&engine, "1", "todo.create", r#"{"id":"t","title":"one","n":12345678901234567890123}"#);
    let result = one(&engine, "2", "todo.update", r#"{"id":"t","title":null,"done":true}"#);
    assert_eq!(
        result.changes[0].data.get(),
        r#"{"op":"update","todo":{"done":true,"id":"t","n":12345678901234567890123,"title":null}}"#
    );
    assert_eq!(
        rows(&engine),
        r#"{"todos":{"t":{"done":true,"id":"t","n":12345678901234567890123,"title":null}}}"#
    );
}

#[test]
fn a_delete_names_the_row_in_the_log_and_a_second_one_changes_nothing() {
    let engine = engine();
    one(&engine, "1", "todo.create", r#"{"id":"t","title":"one"}"#);
    let deleted = one(&engine, "2", "todo.delete", r#"{"id":"t"}"#);
    assert_eq!(deleted.changes[0].data.get(), r#"{"op":"delete","todo":{"id":"t"}}"#);
    assert!(one(&engine, "2", "todo.delete", r#"{"id":"t"}"#).ok, "a repetition is no second delete");
    let late = one(&engine, "3", "todo.delete", r#"{"id":"t"}"#);
    assert_eq!((late.ok, late.changes.len(), late.cursor), (true, 0, deleted.cursor));
    assert_eq!(rows(&engine), "{}");
}

#[test]
fn a_failed_mutation_leaves_nothing_and_is_tried_again() {
    let engine = engine();
    assert_eq!(one(&engine, "1", "todo.update", r#"{"id":"t"}"#).error.as_deref(), Some("sync: not found"));
    assert_eq!(pull(&engine, 0).changes.map(|changes| changes.len()), None);
    assert!(one(&engine, "1", "todo.create", r#"{"id":"t"}"#).ok);
    assert_eq!(one(&engine, "2", "todo.create", r#"{"id":"t"}"#).error.as_deref(), Some("sync: conflict"));
}

#[test]
fn a_repetition_within_one_push_is_applied_once() {
    let engine = engine();
    let mutation = r#"{"id":"1","scope":"s","name":"todo.create","args":{"id":"t"}}"#;
    let results = push(&engine, &format!("{mutation},{mutation}"));
    assert!(results.iter().all(|result| result.ok));
    assert_eq!(pull(&engine, 0).changes.map(|changes| changes.len()), Some(1));
}

#[test]
fn bad_names_and_args_are_refused_one_by_one() {
    let engine = engine();
    let long = "x".repeat(MAX_ROW_ID_BYTES + 1);
    for (name, args) in [
        ("todo", "{}"),
        ("todo.toggle", r#"{"id":"t"}"#),
        (".create", r#"{"id":"t"}"#),
        ("op.create", r#"{"id":"t"}"#),
        ("a b.create", r#"{"id":"t"}"#),
        ("todo.create", "[]"),
        ("todo.create", "{}"),
        ("todo.create", r#"{"id":1}"#),
        ("todo.create", r#"{"id":""}"#),
        ("todo.create", &format!(r#"{{"id":"{long}"}}"#)),
    ] {
        let result = one(&engine, "1", name, args);
        assert_eq!(result.failure(), Some(mizu::Failure::Invalid), "{name} {args}");
    }
    let long_id = "i".repeat(mizu::MAX_MUTATION_ID_BYTES + 1);
    assert_eq!(
        one(&engine, &long_id, "todo.create", r#"{"id":"t"}"#).failure(),
        Some(mizu::Failure::Invalid)
    );
    assert_eq!(rows(&engine), "{}");
}

#[test]
fn a_row_cannot_grow_past_its_limit_by_updates() {
    let engine = engine();
    let half = "x".repeat(MAX_ROW_BYTES / 2);
    assert!(one(&engine, "1", "todo.create", &format!(r#"{{"id":"t","a":"{half}"}}"#)).ok);
    let refused = one(&engine, "2", "todo.update", &format!(r#"{{"id":"t","b":"{half}"}}"#));
    assert_eq!(refused.failure(), Some(mizu::Failure::Invalid));
}

#[test]
fn a_page_is_bounded_in_bytes_and_still_gets_on() {
    let engine = engine();
    let large = "x".repeat(900_000);
    for index in 0..6 {
        one(&engine, &index.to_string(), "todo.create", &format!(r#"{{"id":"{index}","a":"{large}"}}"#));
    }
    let (mut cursor, mut seen, mut pages) = (0, 0, 0);
    loop {
        let page = pull(&engine, cursor);
        seen += page.changes.map_or(0, |changes| changes.len());
        pages += 1;
        cursor = page.next_cursor.expect("a page of a log that goes on has changes");
        if !page.has_more {
            break;
        }
    }
    assert_eq!((seen, pages), (6, 2));
}

#[test]
fn a_snapshot_shows_declared_entities_without_rows_as_null() {
    let engine = Engine::new(MemoryStorage::new(), EntityMutator::new().with_entities(["todo"]));
    assert_eq!(rows(&engine), r#"{"todos":null}"#);
}

#[test]
fn a_mutator_that_panics_fails_its_own_mutation_only() {
    struct Fragile(EntityMutator);
    impl Mutator for Fragile {
        fn apply(
            &self,
            rows: &mut Draft<'_>,
            mutation: &Mutation,
        ) -> std::result::Result<Vec<Box<driftline_protocol::RawValue>>, Refusal> {
            let data = self.0.apply(rows, mutation)?;
            assert_ne!(mutation.id, "bad", "planted");
            Ok(data)
        }
    }
    let engine = Engine::new(MemoryStorage::new(), Fragile(EntityMutator::new()));
    let create = |id: &str, row: &str| {
        format!(r#"{{"id":"{id}","scope":"s","name":"a.create","args":{{"id":"{row}"}}}}"#)
    };
    let results = push(&engine, &[create("good", "1"), create("bad", "2"), create("fine", "3")].join(","));
    assert_eq!(results[1].failure(), Some(mizu::Failure::Internal));
    assert_eq!(rows(&engine), r#"{"as":{"1":{"id":"1"},"3":{"id":"3"}}}"#);
}

#[test]
fn a_commit_pokes_each_scope_that_changed_once_with_its_head() {
    #[derive(Default)]
    struct Recorder(Mutex<Vec<(String, u64)>>);
    impl PokeBroker for Recorder {
        fn poke(&self, scope: &str, cursor: u64) {
            self.0.lock().expect("one thread").push((scope.to_owned(), cursor));
        }
    }
    let recorder = Arc::new(Recorder::default());
    let engine = engine().with_broker(recorder.clone());
    push(
        &engine,
        r#"{"id":"1","scope":"a","name":"t.create","args":{"id":"1"}},
           {"id":"2","scope":"b","name":"t.create","args":{"id":"1"}},
           {"id":"3","scope":"a","name":"t.create","args":{"id":"2"}},
           {"id":"4","scope":"c","name":"t.delete","args":{"id":"2"}}"#,
    );
    push(&engine, r#"{"id":"1","scope":"a","name":"t.create","args":{"id":"1"}}"#);
    assert_eq!(*recorder.0.lock().expect("one thread"), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
}

#[test]
fn pushes_of_a_group_succeed_and_fail_each_by_itself() {
    let engine = engine().with_scopes(["s"]);
    let request = |scope: &str| -> PushRequest {
        let text = format!(
            r#"{{"mutations":[{{"id":"{scope}","scope":"{scope}","name":"t.create","args":{{"id":"1"}}}}]}}"#
        );
        serde_json::from_str(&text).expect("valid")
    };
    let (empty, other, served) = (PushRequest { mutations: Vec::new() }, request("other"), request("s"));
    let results = engine.push_group(SystemTime::UNIX_EPOCH, &[&empty, &other, &served]);
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect();
    assert_eq!(kinds, [Some(ErrorKind::Invalid), Some(ErrorKind::ScopeNotAllowed), None]);
}

#[test]
fn a_slow_listener_sees_the_newest_cursor_and_an_old_one_never_follows_it() {
    let broker = LocalPokes::new();
    let mut listener = broker.listen("s").expect("room");
    broker.poke("s", 1);
    broker.poke("s", 3);
    broker.poke("s", 2);
    broker.poke("other", 9);
    assert_eq!(*listener.borrow_and_update(), 3);
    assert!(!listener.has_changed().expect("the broker lives"));
    drop(listener);
    assert_eq!(broker.listeners(), 0);
}
