//! What every storage must do: the engine relies on it. Run over memory and over SQLite.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use driftline_protocol::RawValue;
use driftline_server::engine::{MemoryStorage, SqliteStorage, Storage, WriteTx};

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn committed(storage: &dyn Storage, work: impl FnOnce(&mut dyn WriteTx)) {
    let mut tx = storage.write().unwrap();
    work(&mut *tx);
    tx.commit().unwrap();
}

fn rows(storage: &dyn Storage, scope: &str) -> Vec<String> {
    let mut rows = Vec::new();
    storage
        .read()
        .unwrap()
        .for_each_row(scope, &mut |entity, id, row| {
            rows.push(format!("{entity}/{id}={}", row.get()));
            Ok(())
        })
        .unwrap();
    rows
}

fn cursors(storage: &dyn Storage, scope: &str, after: u64, limit: u32, bytes: usize) -> (Vec<u64>, bool) {
    let page = storage.read().unwrap().since(scope, after, limit, bytes).unwrap();
    (page.changes.iter().map(|change| change.cursor).collect(), page.has_more)
}

fn what_is_committed_is_read_back_and_scopes_keep_apart(storage: &dyn Storage) {
    committed(storage, |tx| {
        tx.put_row("a", "todo", "2", &raw(r#"{"n":2}"#)).unwrap();
        tx.put_row("a", "todo", "1", &raw(r#"{"n":0}"#)).unwrap();
        tx.put_row("a", "todo", "1", &raw(r#"{"n":1}"#)).unwrap();
        tx.put_row("a", "note", "1", &raw("{}")).unwrap();
        tx.put_row("b", "todo", "1", &raw(r#"{"n":9}"#)).unwrap();
        assert_eq!(tx.row("a", "todo", "1").unwrap().unwrap().get(), r#"{"n":1}"#);
    });
    assert_eq!(rows(storage, "a"), ["note/1={}", r#"todo/1={"n":1}"#, r#"todo/2={"n":2}"#]);
    committed(storage, |tx| {
        tx.delete_row("a", "todo", "1").unwrap();
        tx.delete_row("a", "todo", "none").unwrap();
    });
    assert!(storage.read().unwrap().row("a", "todo", "1").unwrap().is_none());
    assert_eq!(rows(storage, "b"), [r#"todo/1={"n":9}"#]);
    assert_eq!(rows(storage, "none"), [""; 0]);
}

fn the_log_has_one_counter_and_a_head_for_each_scope(storage: &dyn Storage) {
    committed(storage, |tx| {
        assert_eq!(tx.append("a", "t1", &raw("1")).unwrap(), 1);
        assert_eq!(tx.append("b", "t2", &raw("2")).unwrap(), 2);
        assert_eq!(tx.append("a", "t3", &raw(r#"{ "as":"it came"}"#)).unwrap(), 3);
        assert_eq!((tx.head("a").unwrap(), tx.head("b").unwrap(), tx.head("c").unwrap()), (3, 2, 0));
    });
    let page = storage.read().unwrap().since("a", 1, 10, usize::MAX).unwrap();
    let change = &page.changes[0];
    assert_eq!((change.cursor, &*change.scope, &*change.time), (3, "a", "t3"));
    assert_eq!(change.data.get(), r#"{ "as":"it came"}"#);
    assert_eq!(cursors(storage, "a", 3, 10, usize::MAX), (vec![], false));
    assert_eq!(cursors(storage, "a", u64::MAX, 10, usize::MAX), (vec![], false));
}

fn pages_are_bounded_by_count_and_bytes_and_hold_at_least_one(storage: &dyn Storage) {
    committed(storage, |tx| {
        for _ in 0..5 {
            tx.append("a", "t", &raw(r#""12345678""#)).unwrap();
        }
    });
    assert_eq!(cursors(storage, "a", 0, 2, usize::MAX), (vec![1, 2], true));
    assert_eq!(cursors(storage, "a", 3, 2, usize::MAX), (vec![4, 5], false));
    assert_eq!(cursors(storage, "a", 0, 10, 30), (vec![1, 2, 3], true));
    assert_eq!(cursors(storage, "a", 0, 10, 1), (vec![1], true));
    assert_eq!(cursors(storage, "a", 4, 10, 1), (vec![5], false));
}

fn a_trim_keeps_the_head_and_gives_no_cursor_twice(storage: &dyn Storage) {
    committed(storage, |tx| {
        for _ in 0..3 {
            tx.append("a", "t", &raw("0")).unwrap();
        }
        tx.append("b", "t", &raw("0")).unwrap();
    });
    committed(storage, |tx| assert_eq!(tx.trim("a", 3).unwrap(), 2));
    assert_eq!(cursors(storage, "a", 0, 10, usize::MAX), (vec![3], false));
    committed(storage, |tx| {
        assert_eq!(tx.trim("a", 100).unwrap(), 1);
        assert_eq!(tx.trim("a", 2).unwrap(), 0);
        assert_eq!((tx.head("a").unwrap(), tx.floor("a").unwrap(), tx.floor("b").unwrap()), (3, 100, 0));
        tx.trim("b", 100).unwrap();
        assert_eq!(tx.append("b", "t", &raw("0")).unwrap(), 5);
    });
}

fn a_transaction_that_is_dropped_leaves_nothing(storage: &dyn Storage) {
    committed(storage, |tx| {
        tx.put_row("a", "todo", "1", &raw("1")).unwrap();
        tx.append("a", "t", &raw("1")).unwrap();
        tx.remember("a", "m1", 1).unwrap();
    });
    let mut tx = storage.write().unwrap();
    tx.put_row("a", "todo", "1", &raw("2")).unwrap();
    tx.put_row("a", "todo", "2", &raw("2")).unwrap();
    tx.delete_row("a", "todo", "1").unwrap();
    tx.append("a", "t", &raw("2")).unwrap();
    tx.trim("a", 2).unwrap();
    tx.remember("a", "m2", 2).unwrap();
    tx.remember("a", "m1", 2).unwrap();
    drop(tx);
    assert_eq!(rows(storage, "a"), ["todo/1=1"]);
    assert_eq!(cursors(storage, "a", 0, 10, usize::MAX), (vec![1], false));
    let tx = storage.write().unwrap();
    assert!(tx.is_applied("a", "m1").unwrap());
    assert!(!tx.is_applied("a", "m2").unwrap());
    assert_eq!((tx.head("a").unwrap(), tx.floor("a").unwrap()), (1, 0));
}

fn a_receipt_is_for_its_scope(storage: &dyn Storage) {
    committed(storage, |tx| {
        assert!(!tx.is_applied("a", "m").unwrap());
        tx.remember("a", "m", 1).unwrap();
        tx.remember("a", "m", 2).unwrap();
        assert!(tx.is_applied("a", "m").unwrap());
        assert!(!tx.is_applied("b", "m").unwrap());
    });
    assert!(storage.write().unwrap().is_applied("a", "m").unwrap());
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { super::$name(&MemoryStorage::new()); })*
        }
        mod sqlite {
            use super::*;
            $(#[test] fn $name() {
                let directory = tempfile::tempdir().unwrap();
                super::$name(&SqliteStorage::open(&directory.path().join("db")).unwrap());
            })*
        }
    };
}

suite!(
    what_is_committed_is_read_back_and_scopes_keep_apart,
    the_log_has_one_counter_and_a_head_for_each_scope,
    pages_are_bounded_by_count_and_bytes_and_hold_at_least_one,
    a_trim_keeps_the_head_and_gives_no_cursor_twice,
    a_transaction_that_is_dropped_leaves_nothing,
    a_receipt_is_for_its_scope,
);

#[test]
fn sqlite_shows_a_view_as_it_was_when_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let storage = SqliteStorage::open(&directory.path().join("db")).unwrap();
    let view = storage.read().unwrap();
    assert_eq!(view.head("a").unwrap(), 0);
    committed(&storage, |tx| assert_eq!(tx.append("a", "t", &raw("1")).unwrap(), 1));
    assert_eq!(view.head("a").unwrap(), 0);
    drop(view);
    assert_eq!(storage.read().unwrap().head("a").unwrap(), 1);
}

#[test]
fn sqlite_has_it_all_after_it_is_opened_again_and_refuses_a_newer_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    committed(&SqliteStorage::open(&path).unwrap(), |tx| {
        tx.put_row("a", "todo", "1", &raw("1")).unwrap();
        tx.append("a", "t", &raw("1")).unwrap();
        tx.remember("a", "m", 1).unwrap();
    });
    let storage = SqliteStorage::open(&path).unwrap();
    assert_eq!(rows(&storage, "a"), ["todo/1=1"]);
    assert!(storage.write().unwrap().is_applied("a", "m").unwrap());
    drop(storage);
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = SqliteStorage::open(&path).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("version 99"));
}
