use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::error::ErrorKind;
use driftline_protocol::files::UploadRange;

fn store() -> (tempfile::TempDir, Arc<BlobStore>) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = BlobStore::open(root.path()).expect("writable");
    (root, Arc::new(store))
}

fn digest_of(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn files_under(path: &Path) -> usize {
    fs::read_dir(path).expect("readable").count()
}

fn part(first: u64, bytes: u64, total: u64) -> UploadRange {
    UploadRange::new(first, bytes, total).expect("a part of the blob")
}

#[test]
fn a_whole_upload_is_there_under_its_hash_with_its_type() {
    let (root, store) = store();
    let digest = digest_of(b"hello");
    let mut upload = store.begin(digest).expect("begun");
    upload.write(b"hel").expect("written");
    upload.write(b"lo").expect("written");
    assert_eq!(store.facts(digest).expect("readable"), None);
    assert_eq!(upload.publish("text/plain", now()).expect("published"), Published::Stored);
    let facts = BlobFacts { size: 5, media_type: "text/plain".into(), created_seconds: 1_800_000_000 };
    assert_eq!(store.facts(digest).expect("readable"), Some(facts));
    assert_eq!(files_under(&root.path().join(TEMP)), 0);
}

#[test]
fn bytes_that_do_not_hash_to_the_name_leave_nothing() {
    let (root, store) = store();
    let digest = digest_of(b"hello");
    let mut upload = store.begin(digest).expect("begun");
    upload.write(b"hullo").expect("written");
    let error = upload.publish("text/plain", now()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert_eq!(store.facts(digest).expect("readable"), None);
    assert_eq!((files_under(&root.path().join(TEMP)), files_under(&root.path().join(BLOBS))), (0, 0));
}

#[test]
fn the_first_upload_decides_the_type_and_a_second_is_dropped() {
    let (_root, store) = store();
    let digest = digest_of(b"x");
    for (media_type, expected) in [("text/plain", Published::Stored), ("text/html", Published::AlreadyThere)]
    {
        let mut upload = store.begin(digest).expect("begun");
        upload.write(b"x").expect("written");
        assert_eq!(upload.publish(media_type, now()).expect("published"), expected);
    }
    assert_eq!(store.facts(digest).expect("readable").expect("there").media_type, "text/plain");
}

#[test]
fn parts_are_appended_in_order_across_a_restart() {
    let (root, store) = store();
    let digest = digest_of(b"hello world");
    let mut upload = store.resume(digest, part(0, 5, 11), "text/plain").expect("begun");
    upload.write(b"hello").expect("written");
    drop(upload);
    assert_eq!(store.offset(digest).expect("readable"), Some(5));
    let wrong = store.resume(digest, part(4, 7, 11), "text/plain").expect_err("not where the bytes end");
    assert_eq!(wrong.kind(), ErrorKind::WrongOffset);
    let other = store.resume(digest, part(5, 7, 12), "text/plain").expect_err("another total");
    assert_eq!(other.kind(), ErrorKind::Invalid);

    let store = Arc::new(BlobStore::open(root.path()).expect("writable"));
    let mut upload = store.resume(digest, part(5, 6, 11), "text/plain").expect("resumed");
    upload.write(b" world").expect("written");
    assert_eq!(upload.publish("text/plain", now()).expect("published"), Published::Stored);
    assert_eq!(files_under(&root.path().join(PARTIAL)), 0);
}

#[test]
fn an_upload_whose_last_part_was_stored_before_the_crash_is_published_later() {
    let (root, store) = store();
    let digest = digest_of(b"hello");
    let mut upload = store.resume(digest, part(0, 5, 5), "text/plain").expect("begun");
    upload.write(b"hel").expect("written");
    drop(upload);
    assert_eq!(store.finish_interrupted(digest, now()).expect("readable"), None);
    let mut upload = store.resume(digest, part(3, 2, 5), "text/plain").expect("resumed");
    upload.write(b"lo").expect("written");
    drop(upload);
    let store = Arc::new(BlobStore::open(root.path()).expect("writable"));
    assert_eq!(store.finish_interrupted(digest, now()).expect("readable"), Some(Published::Stored));
    assert_eq!(store.facts(digest).expect("readable").expect("there").size, 5);
}

#[test]
fn parts_that_do_not_hash_to_the_name_are_forgotten() {
    let (root, store) = store();
    let digest = digest_of(b"hello");
    let mut upload = store.resume(digest, part(0, 5, 5), "text/plain").expect("begun");
    upload.write(b"hullo").expect("written");
    assert_eq!(upload.publish("text/plain", now()).expect_err("refused").kind(), ErrorKind::DigestMismatch);
    assert_eq!(store.offset(digest).expect("readable"), None);
    assert_eq!(files_under(&root.path().join(PARTIAL)), 0);
    let mut upload = store.resume(digest, part(0, 5, 5), "text/plain").expect("begun anew");
    upload.write(b"hello").expect("written");
    assert_eq!(upload.publish("text/plain", now()).expect("published"), Published::Stored);
}

#[test]
fn a_sweep_takes_what_is_old_and_leaves_what_is_fresh() {
    let (root, store) = store();
    let digest = digest_of(b"hello");
    drop(store.resume(digest, part(0, 5, 5), "text/plain").expect("begun"));
    fs::write(root.path().join(TEMP).join("left"), b"x").expect("writable");
    let swept_after = |age: Duration| store.sweep(SystemTime::now() + age).expect("readable");
    assert_eq!(swept_after(Duration::ZERO), 0);
    assert_eq!(swept_after(TEMP_KEEP + Duration::from_secs(60)), 1);
    assert_eq!(swept_after(PARTIAL_KEEP + Duration::from_secs(60)), 2);
}

#[test]
fn a_deleted_blob_is_gone_and_an_open_reader_keeps_it() {
    use std::io::Read;
    let (_root, store) = store();
    let digest = digest_of(b"hello");
    let mut upload = store.begin(digest).expect("begun");
    upload.write(b"hello").expect("written");
    upload.publish("text/plain", now()).expect("published");
    let (mut file, _) = store.read(digest).expect("readable").expect("there");
    assert!(store.delete(digest).expect("deleted"));
    assert!(!store.delete(digest).expect("nothing to delete"));
    let mut text = String::new();
    file.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "hello");
}

#[tokio::test]
async fn a_newer_request_takes_a_partial_over_from_an_older() {
    let locks = PartialLocks::default();
    let digest = digest_of(b"hello");
    let first = locks.acquire(digest).await.expect("free");
    let second = locks.acquire(digest);
    tokio::pin!(second);
    let error = tokio::select! {
        biased;
        _ = &mut second => panic!("two holders of one partial"),
        error = first.taken_over() => error,
    };
    assert_eq!(error.kind(), ErrorKind::UploadTakenOver);
    drop(first);
    let second = second.await.expect("free again");
    assert!(locks.is_held(digest));
    drop(second);
    assert!(!locks.is_held(digest));
}
