use super::*;

fn logs() -> (tempfile::TempDir, EventLogs) {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = EventLogs::open(&folder.path().join("events.sqlite")).expect("a new file");
    (folder, logs)
}

fn event(seq_num: u64, args: &str) -> Event {
    Event {
        name: "todo.inserted".into(),
        args: RawValue::from_string(args.into()).expect("JSON"),
        seq_num,
        parent_seq_num: seq_num - 1,
        client_id: "c".into(),
        session_id: "s".into(),
    }
}

fn push(logs: &EventLogs, store: &str, batch: &[Event]) -> Pushed {
    logs.push(SystemTime::UNIX_EPOCH, store, None, batch).expect("the disk is there")
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let (_folder, logs) = logs();
    assert_eq!(push(&logs, "a", &[event(1, "{}"), event(2, "{}")]), Pushed::Head(2));
    for batch in [
        vec![event(3, "{}"), event(5, "{}")],
        vec![event(3, "{}"), event(3, "{}")],
        vec![Event { seq_num: 9, ..event(3, "{}") }],
        vec![event(3, "{}"), event(4, &format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES)))],
    ] {
        assert!(matches!(push(&logs, "a", &batch), Pushed::Invalid(_)));
        assert_eq!(logs.head("a").expect("reads").seq_num, 2);
    }
    assert_eq!(push(&logs, "a", &[event(2, "{}")]), Pushed::ServerAhead { head: 2, provided: 1 });
    assert_eq!(push(&logs, "a", &[]), Pushed::Head(2));
}

#[test]
fn a_log_and_its_identity_survive_a_restart() {
    let (folder, logs) = logs();
    assert_eq!(push(&logs, "a", &[event(1, r#"{"id":"t1"}"#)]), Pushed::Head(1));
    let head = logs.head("a").expect("reads");
    assert_ne!(head.backend_id, logs.head("b").expect("reads").backend_id);
    drop(logs);
    let logs = EventLogs::open(&folder.path().join("events.sqlite")).expect("the file is there");
    assert_eq!(logs.head("a").expect("reads"), head);
    assert_eq!(logs.page("a", 0, 100).expect("reads").events[0].event.args.get(), r#"{"id":"t1"}"#);
}

#[test]
fn a_page_ends_before_it_is_too_large_and_says_what_remains() {
    let (_folder, logs) = logs();
    let large = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES / 2));
    let batch: Vec<_> = (1..=5).map(|seq_num| event(seq_num, &large)).collect();
    assert_eq!(push(&logs, "a", &batch), Pushed::Head(5));
    let mut after = 0;
    let mut sizes = Vec::new();
    while after < 5 {
        let page = logs.page("a", after, 100).expect("reads");
        after += page.events.len() as u64;
        assert_eq!(page.remaining, 5 - after);
        sizes.push(page.events.len());
    }
    assert!(sizes.iter().all(|events| (1..=2).contains(events)), "{sizes:?}");
    assert!(logs.page("a", 99, 100).expect("reads").events.is_empty());
}
