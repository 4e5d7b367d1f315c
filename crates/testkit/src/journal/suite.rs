//! The journal's conformance suite: what IndexedDB and every fake of it must do. Each check opens
//! databases of its own, named after it.

use driftline_core::{Checkpoint, Commit, CommitError, Fence, MirrorPut, Record, Value};

use super::{JournalHarness, JournalStore};

/// Nothing is there, and reading the log finds nothing.
pub async fn a_new_database_loads_as_nothing<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("new").await;
    let loaded = journal.load().await.expect("a new database loads");
    assert_eq!((loaded.checkpoint, loaded.segments.len(), loaded.log.len()), (0, 0, 0));
    let read = journal.read_log(0).await.expect("an empty log reads");
    assert_eq!((read.checkpoint, read.records.len()), (0, 0));
    assert!(journal.mirrored().await.expect("an empty mirror reads").is_empty());
}

/// Bytes and values are what they were, also over a second connection made later.
pub async fn records_load_in_the_order_in_which_they_were_appended<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("order").await;
    for n in 1..=12_u8 {
        append(&journal, commit::<H>(n)).await;
    }
    for journal in [journal, harness.open("order").await] {
        let loaded = journal.load().await.expect("a database loads");
        let texts: Vec<_> = loaded.log.iter().map(|(_, record)| text(record)).collect();
        assert_eq!(texts, (1..=12).map(|n| text(&record::<H>(n))).collect::<Vec<_>>());
    }
}

/// Numbers only rise, and `read_log` starts after the one it is given.
pub async fn numbers_rise_and_reading_the_log_gives_what_follows<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("numbers").await;
    let mut numbers = Vec::new();
    for n in 1..=5 {
        numbers.push(append(&journal, commit::<H>(n)).await);
    }
    assert!(numbers[0] > 0, "zero means no record");
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    for (position, number) in numbers.iter().enumerate() {
        let read = journal.read_log(*number).await.expect("a log reads");
        let after: Vec<_> = read.records.iter().map(|(number, _)| *number).collect();
        assert_eq!(after, numbers[position + 1..]);
    }
    let all = journal.read_log(0).await.expect("a log reads");
    assert_eq!(
        all.records.iter().map(|(_, record)| text(record)).collect::<Vec<_>>(),
        (1..=5).map(|n| text(&record::<H>(n))).collect::<Vec<_>>()
    );
    assert!(journal.read_log(u64::from(u32::MAX)).await.expect("a log reads").records.is_empty());
}

/// Neither no bytes and no values nor a megabyte and a thousand values make a difference.
pub async fn a_record_may_be_empty_or_large<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("sizes").await;
    let empty = Record { bytes: Vec::new(), values: Vec::new() };
    let bytes = (0..1_048_576_u32).map(|n| (n % 251) as u8).collect();
    let large = Record { bytes, values: (0..1_000).map(|n| value::<H>(&format!("{{\"n\":{n}}}"))).collect() };
    for record in [&empty, &large] {
        append(&journal, Commit { record: record.clone(), fences: Vec::new(), mirror: Vec::new() }).await;
    }
    let loaded = journal.load().await.expect("a database loads");
    assert_eq!(
        loaded.log.iter().map(|(_, record)| text(record)).collect::<Vec<_>>(),
        [text(&empty), text(&large)]
    );
}

/// Two tabs share one log and one order.
pub async fn two_connections_see_each_others_records<H: JournalHarness>(harness: &mut H) {
    let (one, other) = (harness.open("shared").await, harness.open("shared").await);
    let first = append(&one, commit::<H>(1)).await;
    let second = append(&other, commit::<H>(2)).await;
    let third = append(&one, commit::<H>(3)).await;
    assert!(first < second && second < third, "{first} {second} {third}");
    let read = one.read_log(first).await.expect("a log reads");
    assert_eq!(read.records.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [second, third]);
    let elsewhere = harness.open("not shared").await;
    assert!(
        elsewhere.load().await.expect("a database loads").log.is_empty(),
        "another database has nothing of it"
    );
}

/// Epochs start at one, do not touch each other, and are the same over every connection.
pub async fn each_lease_has_an_epoch_of_its_own_that_rises_by_one<H: JournalHarness>(harness: &mut H) {
    let (one, other) = (harness.open("epochs").await, harness.open("epochs").await);
    assert_eq!(one.raise_epoch("c/todos").await, Ok(1));
    assert_eq!(other.raise_epoch("c/todos").await, Ok(2));
    assert_eq!(other.raise_epoch("r/mizu:häuser/☂").await, Ok(1));
    assert_eq!(one.raise_epoch("c/todos").await, Ok(3));
    assert_eq!(one.raise_epoch("r/mizu:häuser/☂").await, Ok(2));
}

/// The epoch that was raised last is good, again and again.
pub async fn a_commit_whose_fences_stand_is_kept<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("fences").await;
    let first = journal.raise_epoch("c/a").await.expect("an epoch can be raised");
    let second = journal.raise_epoch("c/b").await.expect("an epoch can be raised");
    for n in 1..=2 {
        append(&journal, fenced::<H>(n, &[("c/a", first), ("c/b", second)])).await;
    }
    assert_eq!(journal.load().await.expect("a database loads").log.len(), 2);
}

/// Neither the record nor the mirror's change of a leader that was taken over is there.
pub async fn a_commit_with_a_stale_fence_leaves_nothing<H: JournalHarness>(harness: &mut H) {
    let (stale, leader) = (harness.open("stale").await, harness.open("stale").await);
    let before = stale.raise_epoch("c/a").await.expect("an epoch can be raised");
    let after = leader.raise_epoch("c/a").await.expect("an epoch can be raised");
    let mut commit = fenced::<H>(1, &[("c/a", before)]);
    commit.mirror.push(MirrorPut { key: "k".into(), row: Some(value::<H>("{\"stale\":true}")) });
    assert_eq!(stale.append(&commit).await, Err(CommitError::Fenced("c/a".into())));
    let loaded = stale.load().await.expect("a database loads");
    assert!(loaded.log.is_empty());
    assert!(stale.mirrored().await.expect("a mirror reads").is_empty());
    append(&leader, fenced::<H>(2, &[("c/a", after)])).await;
    append(&stale, self::commit::<H>(3)).await;
    assert_eq!(
        leader.load().await.expect("a database loads").log.len(),
        2,
        "what carries no fence is anyone's to write"
    );
}

/// All fences must stand, whatever their order.
pub async fn one_stale_fence_among_several_is_enough<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("several").await;
    for lease in ["c/a", "c/b", "c/b", "c/c"] {
        journal.raise_epoch(lease).await.expect("an epoch can be raised");
    }
    for fences in [
        [("c/a", 1), ("c/b", 1), ("c/c", 1)],
        [("c/b", 1), ("c/a", 1), ("c/c", 1)],
        [("c/a", 1), ("c/c", 1), ("c/b", 3)],
    ] {
        assert_eq!(
            journal.append(&fenced::<H>(1, &fences)).await,
            Err(CommitError::Fenced("c/b".into())),
            "{fences:?}"
        );
    }
    assert!(journal.load().await.expect("a database loads").log.is_empty());
}

/// An epoch can't be guessed.
pub async fn a_fence_of_a_lease_that_was_never_raised_is_stale<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("unraised").await;
    assert_eq!(journal.append(&fenced::<H>(1, &[("c/a", 1)])).await, Err(CommitError::Fenced("c/a".into())));
}

/// Rows come, change and go with the records that say so.
pub async fn the_mirror_changes_with_its_commit<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("mirror").await;
    let put = |key: &str, json: Option<&str>| MirrorPut { key: key.into(), row: json.map(value::<H>) };
    let mut first = commit::<H>(1);
    first.mirror = vec![put("b", Some("{\"v\":1}")), put("a", Some("{\"v\":2}")), put("never", None)];
    append(&journal, first).await;
    let mut second = commit::<H>(2);
    second.mirror = vec![put("a", Some("{\"v\":3}")), put("b", None), put("c", Some("{\"v\":4}"))];
    append(&journal, second).await;
    let rows: Vec<_> = harness.open("mirror").await.mirrored().await.expect("a mirror reads");
    let rows: Vec<_> = rows.iter().map(|(key, row)| (key.as_str(), json(row))).collect();
    assert_eq!(rows, [("a", "{\"v\":3}".to_owned()), ("c", "{\"v\":4}".to_owned())]);
}

/// After it, loading gives segments and what came later, and epochs and mirror are as they were.
pub async fn a_checkpoint_takes_the_place_of_the_log_before_it<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("checkpoint").await;
    assert_eq!(journal.raise_epoch("c/a").await, Ok(1));
    append(&journal, commit::<H>(1)).await;
    let upto = append(&journal, commit::<H>(2)).await;
    let checkpoint = Checkpoint {
        replaces: 0,
        upto,
        puts: vec![("s1".into(), record::<H>(50)), ("s2".into(), record::<H>(51))],
        deletes: Vec::new(),
    };
    assert_eq!(journal.checkpoint(&checkpoint).await, Ok(true));
    let later = append(&journal, commit::<H>(3)).await;
    for journal in [&journal, &harness.open("checkpoint").await] {
        let loaded = journal.load().await.expect("a database loads");
        assert_eq!(loaded.checkpoint, upto);
        assert_eq!(
            segments(loaded.segments),
            [("s1".into(), text(&record::<H>(50))), ("s2".into(), text(&record::<H>(51)))]
        );
        assert_eq!(loaded.log.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [later]);
    }
    append(&journal, fenced::<H>(4, &[("c/a", 1)])).await;
}

/// A segment that is named again is replaced; one that is deleted is gone; the others stay.
pub async fn a_checkpoint_puts_and_deletes_segments<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("segments").await;
    let first = append(&journal, commit::<H>(1)).await;
    let puts = (1..=3).map(|n| (format!("s{n}"), record::<H>(n))).collect();
    assert_eq!(
        journal.checkpoint(&Checkpoint { replaces: 0, upto: first, puts, deletes: Vec::new() }).await,
        Ok(true)
    );
    let second = append(&journal, commit::<H>(2)).await;
    let puts = vec![("s2".to_owned(), record::<H>(20))];
    let deletes = vec!["s3".to_owned(), "never".to_owned()];
    assert_eq!(
        journal.checkpoint(&Checkpoint { replaces: first, upto: second, puts, deletes }).await,
        Ok(true)
    );
    let loaded = journal.load().await.expect("a database loads");
    assert_eq!(
        segments(loaded.segments),
        [("s1".into(), text(&record::<H>(1))), ("s2".into(), text(&record::<H>(20)))]
    );
    assert!(loaded.log.is_empty());
}

/// A record that came meanwhile is never dropped.
pub async fn a_checkpoint_is_refused_when_the_log_has_moved_on<H: JournalHarness>(harness: &mut H) {
    let (journal, other) = (harness.open("moved on").await, harness.open("moved on").await);
    let upto = append(&journal, commit::<H>(1)).await;
    append(&other, commit::<H>(2)).await;
    let checkpoint =
        Checkpoint { replaces: 0, upto, puts: vec![("s1".into(), record::<H>(9))], deletes: Vec::new() };
    assert_eq!(journal.checkpoint(&checkpoint).await, Ok(false));
    let loaded = journal.load().await.expect("a database loads");
    assert_eq!((loaded.checkpoint, loaded.segments.len(), loaded.log.len()), (0, 0, 2));
}

/// Of two tabs that write a checkpoint of the same log, one wins.
pub async fn a_checkpoint_is_refused_when_another_came_first<H: JournalHarness>(harness: &mut H) {
    let (journal, other) = (harness.open("first").await, harness.open("first").await);
    let upto = append(&journal, commit::<H>(1)).await;
    let of =
        |n| Checkpoint { replaces: 0, upto, puts: vec![("s1".into(), record::<H>(n))], deletes: Vec::new() };
    assert_eq!(other.checkpoint(&of(7)).await, Ok(true));
    assert_eq!(journal.checkpoint(&of(8)).await, Ok(false));
    assert_eq!(
        segments(journal.load().await.expect("a database loads").segments),
        [("s1".into(), text(&record::<H>(7)))]
    );
}

/// Every tab remembers how far it has read: a number that came twice would hide a record from it.
pub async fn numbers_go_on_rising_after_a_checkpoint_emptied_the_log<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("rising").await;
    append(&journal, commit::<H>(1)).await;
    let upto = append(&journal, commit::<H>(2)).await;
    assert_eq!(
        journal.checkpoint(&Checkpoint { replaces: 0, upto, puts: Vec::new(), deletes: Vec::new() }).await,
        Ok(true)
    );
    let reopened = harness.open("rising").await;
    assert!(append(&reopened, commit::<H>(3)).await > upto);
    assert!(append(&journal, commit::<H>(4)).await > upto + 1);
}

/// A tab that slept through a checkpoint learns that records are missing.
pub async fn reading_behind_a_checkpoint_says_so<H: JournalHarness>(harness: &mut H) {
    let journal = harness.open("behind").await;
    let known = append(&journal, commit::<H>(1)).await;
    let upto = append(&journal, commit::<H>(2)).await;
    assert_eq!(
        journal.checkpoint(&Checkpoint { replaces: 0, upto, puts: Vec::new(), deletes: Vec::new() }).await,
        Ok(true)
    );
    let later = append(&journal, commit::<H>(3)).await;
    let read = journal.read_log(known).await.expect("a log reads");
    assert!(read.checkpoint > known);
    assert_eq!(read.checkpoint, upto);
    assert_eq!(read.records.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [later]);
}

fn value<H: JournalHarness>(json: &str) -> H::Value {
    H::Value::from_json_many(&[json]).expect("the suite's JSON is well-formed").remove(0)
}

fn record<H: JournalHarness>(n: u8) -> Record<H::Value> {
    Record {
        bytes: vec![1, n, 0, 255],
        values: vec![value::<H>(&format!("{{\"n\":{n}}}")), value::<H>("\"ü☂\"")],
    }
}

fn commit<H: JournalHarness>(n: u8) -> Commit<H::Value> {
    Commit { record: record::<H>(n), fences: Vec::new(), mirror: Vec::new() }
}

fn fenced<H: JournalHarness>(n: u8, fences: &[(&str, u64)]) -> Commit<H::Value> {
    let fences =
        fences.iter().map(|(lease, epoch)| Fence { lease: (*lease).into(), epoch: *epoch }).collect();
    Commit { fences, ..commit::<H>(n) }
}

async fn append<V: Value>(journal: &impl JournalStore<V>, commit: Commit<V>) -> u64 {
    journal.append(&commit).await.expect("a commit whose fences stand is kept")
}

type Text = (Vec<u8>, Vec<String>);

/// What a record is, in comparable form: values that went through structured clone are equal by content only.
fn text<V: Value>(record: &Record<V>) -> Text {
    (record.bytes.clone(), record.values.iter().map(json).collect())
}

fn segments<V: Value>(mut segments: Vec<(String, Record<V>)>) -> Vec<(String, Text)> {
    segments.sort_by(|a, b| a.0.cmp(&b.0));
    segments.iter().map(|(name, record)| (name.clone(), text(record))).collect()
}

fn json<V: Value>(value: &V) -> String {
    value.to_json().expect("the suite's values are JSON")
}
