//! Several tabs on one disk.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{Code, FailureKind, Input, SyncUpdate, TxEvent, view::TransactionState as S};
use serde_json::json;
use support::{Disk, Tab, temporary};

/// Tells a tab what another has committed.
fn tell(disk: &Disk, tab: &mut Tab) {
    let next = disk.borrow().next;
    tab.input(Input::LogGrew(next));
    tab.settle();
}

#[test]
fn a_follower_is_durable_shows_in_the_leader_and_is_sent_by_it() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let todos = leader.register("todos");
    let mut follower = Tab::open_with(&disk, 2, false);
    follower.register("todos");
    let tx = follower.insert(todos, "a", json!({ "n": 1 })).unwrap();
    follower.settle();
    assert_eq!(follower.events_of(tx), [TxEvent::Durable]);
    assert!(follower.persists.is_empty());
    tell(&disk, &mut leader);
    assert_eq!(leader.shows(todos)["a"], json!({ "n": 1 }));
    leader.answer_persist(Ok(Default::default()));
    tell(&disk, &mut follower);
    assert_eq!(follower.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(follower.shows(todos).len(), 1);
}

#[test]
fn order_is_the_journals_whoever_wrote() {
    let disk = Disk::default();
    let mut one = Tab::open(&disk, 1);
    let todos = one.register("todos");
    one.engine.pause(one.now, "test");
    let mut two = Tab::open_with(&disk, 2, false);
    two.register("todos");
    // Both write before either has heard of the other; the second commit must take its place after the first.
    let a = one.insert(todos, "a", json!({ "by": 1 })).unwrap();
    let b = two.insert(todos, "b", json!({ "by": 2 })).unwrap();
    two.settle();
    one.settle();
    assert_eq!(one.engine.transactions(), [b, a]);
    tell(&disk, &mut two);
    assert_eq!(two.engine.transactions(), [b, a]);
    assert_eq!(one.shows(todos), two.shows(todos));
}

#[test]
fn a_stale_leader_commits_nothing_and_the_new_one_takes_over() {
    let disk = Disk::default();
    let mut old = Tab::open(&disk, 1);
    let todos = old.register("todos");
    let tx = old.insert(todos, "a", json!({})).unwrap();
    old.settle();
    assert_eq!(old.persists.len(), 1);
    let mut new = Tab::open_with(&disk, 2, false);
    new.register("todos");
    new.grant("c/todos");
    new.settle();
    assert_eq!(new.persists.len(), 1, "the work is taken up");
    old.grants = false;
    let log = disk.borrow().log.len();
    old.answer_persist(Ok(Default::default()));
    assert_eq!(disk.borrow().log.len(), log, "what the stale leader decided is refused");
    assert_ne!(old.state(tx), S::Completed);
    new.answer_persist(Ok(Default::default()));
    tell(&disk, &mut old);
    assert_eq!(old.state(tx), S::Completed);
    assert_eq!(old.events_of(tx), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
}

#[test]
fn a_stale_leaders_own_write_is_kept_when_its_decision_is_refused() {
    let disk = Disk::default();
    let mut old = Tab::open(&disk, 1);
    let todos = old.register("todos");
    old.insert(todos, "a", json!({})).unwrap();
    old.settle();
    disk.borrow_mut().epochs.insert("c/todos".into(), 7);
    old.grants = false;
    let persist = old.persists.remove(0);
    old.input(Input::PersistAnswered(persist.op, Ok(Default::default())));
    let tx = old.insert(todos, "b", json!({})).unwrap();
    old.settle();
    assert_eq!(old.events_of(tx), [TxEvent::Durable]);
}

#[test]
fn a_tab_that_slept_through_a_checkpoint_reads_everything_anew() {
    let disk = Disk::default();
    let mut awake = Tab::open(&disk, 1);
    let todos = awake.register("todos");
    let mut asleep = Tab::open_with(&disk, 2, false);
    asleep.register("todos");
    let early = asleep.insert(todos, "early", json!({})).unwrap();
    asleep.settle();
    tell(&disk, &mut awake);
    for index in 0..300 {
        awake.insert(todos, &format!("t{index}"), json!({ "n": index })).unwrap();
        awake.settle();
        while !awake.persists.is_empty() {
            awake.answer_persist(Ok(Default::default()));
        }
    }
    awake.advance(5_000);
    assert!(disk.borrow().checkpoint > 0);
    let late = asleep.insert(todos, "late", json!({})).unwrap();
    asleep.settle();
    tell(&disk, &mut awake);
    while !awake.persists.is_empty() {
        awake.answer_persist(Ok(Default::default()));
    }
    tell(&disk, &mut asleep);
    assert_eq!(asleep.shows(todos), awake.shows(todos));
    assert_eq!(asleep.shows(todos).len(), 302);
    assert_eq!(asleep.events_of(early), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(asleep.events_of(late), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(asleep.engine.transactions(), awake.engine.transactions());
}

#[test]
fn a_write_before_the_rows_are_known_is_checked_when_they_are() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    drop(tab);
    let mut engine = driftline_core::Engine::new(driftline_core::Config { seed: [3; 32], pending_max: 10 });
    let now = driftline_core::Timestamp(1);
    let todos = engine.register(now, support::spec("todos")).unwrap();
    let write = |engine: &mut driftline_core::Engine<_>, key, kind| {
        let mutations = vec![support::draft(todos, key, kind)];
        engine
            .transact(
                now,
                driftline_core::TransactionDraft {
                    mutations,
                    strategy: None,
                    function: None,
                    metadata: None,
                },
            )
            .unwrap()
    };
    let duplicate = write(&mut engine, "a", driftline_core::DraftKind::Insert(json!({ "n": 2 })));
    let fine = write(&mut engine, "b", driftline_core::DraftKind::Insert(json!({})));
    let update = write(&mut engine, "a", driftline_core::DraftKind::Update(json!({ "m": 3 })));
    let mut tab = Tab::open(&disk, 9);
    tab.engine = engine;
    tab.rows.clear();
    tab.events.clear();
    tab.settle();
    assert!(
        matches!(&tab.events_of(duplicate)[..], [TxEvent::NotDurable(error)] if error.code == Code::DuplicateKey.as_str())
    );
    let last_error = tab.engine.status().last_error.map(|error| error.code);
    assert_eq!(last_error.as_deref(), Some(Code::DuplicateKey.as_str()), "the status tells of it too");
    assert_eq!(tab.events_of(fine), [TxEvent::Durable]);
    assert_eq!(tab.events_of(update), [TxEvent::Durable]);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1, "m": 3 }));
}

/// Writes, sends and sums up so much in one tab that another one must read everything anew.
fn checkpoint(disk: &Disk, tab: &mut Tab, collection: driftline_core::spec::CollectionId) {
    let before = disk.borrow().checkpoint;
    for index in 0..300 {
        tab.insert(collection, &format!("more{index}"), json!({})).unwrap();
        tab.settle();
        while !tab.persists.is_empty() {
            tab.answer_persist(Ok(Default::default()));
        }
    }
    tab.advance(10_000);
    assert!(disk.borrow().checkpoint > before);
}

#[test]
fn a_tab_that_slept_while_its_transactions_ended_and_were_dropped_is_told_how() {
    let disk = Disk::default();
    let mut awake = Tab::open(&disk, 1);
    let todos = awake.register("todos");
    let mut asleep = Tab::open_with(&disk, 2, false);
    asleep.register("todos");
    let done = asleep.insert(todos, "done", json!({})).unwrap();
    let dropped = asleep.insert(todos, "dropped", json!({})).unwrap();
    asleep.settle();
    awake.engine.pause(awake.now, "for a moment");
    tell(&disk, &mut awake);
    awake.engine.discard(awake.now, dropped).unwrap();
    awake.settle();
    awake.engine.resume(awake.now);
    awake.settle();
    assert_eq!(awake.answer_persist(Ok(Default::default())), done);
    assert_eq!(awake.engine.prune(awake.now, None, &[S::Completed]), Ok(1));
    checkpoint(&disk, &mut awake, todos);
    tell(&disk, &mut asleep);
    assert_eq!(asleep.events_of(done), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(asleep.events_of(dropped), [TxEvent::Durable, TxEvent::Discarded]);
}

#[test]
fn what_ended_and_was_pruned_before_its_author_could_read_it_back_does_not_wait_for_ever() {
    let disk = Disk::default();
    let mut awake = Tab::open(&disk, 1);
    let todos = awake.register("todos");
    let mut asleep = Tab::open_with(&disk, 2, false);
    asleep.register("todos");
    awake.insert(todos, "earlier", json!({})).unwrap();
    awake.settle();
    let late = asleep.insert(todos, "late", json!({})).unwrap();
    asleep.engine.handle_input(asleep.now, Input::TurnEnded);
    // Its record comes after one that it has not read, and it is frozen before it can.
    asleep.holds_reads = true;
    asleep.settle();
    assert_eq!(asleep.events_of(late), [TxEvent::Durable]);
    tell(&disk, &mut awake);
    while !awake.persists.is_empty() {
        awake.answer_persist(Ok(Default::default()));
    }
    assert_eq!(awake.engine.prune(awake.now, None, &[S::Completed]), Ok(2));
    checkpoint(&disk, &mut awake, todos);
    asleep.holds_reads = false;
    asleep.release_reads();
    assert_eq!(asleep.events_of(late), [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed]);
    assert_eq!(asleep.shows(todos), awake.shows(todos));
    assert_eq!(asleep.engine.status().pending, 0);
}

#[test]
fn what_was_written_behind_a_discarded_transaction_by_a_tab_that_slept_goes_too() {
    let disk = Disk::default();
    let mut awake = Tab::open(&disk, 1);
    let todos = awake.register("todos");
    awake.engine.pause(awake.now, "for a moment");
    let first = awake.insert(todos, "a", json!({})).unwrap();
    awake.settle();
    let mut asleep = Tab::open_with(&disk, 2, false);
    asleep.register("todos");
    awake.engine.discard(awake.now, first).unwrap();
    awake.engine.resume(awake.now);
    awake.settle();
    checkpoint(&disk, &mut awake, todos);
    drop(awake);
    let behind = asleep.update(todos, "a", json!({ "n": 1 })).unwrap();
    asleep.settle();
    // The next leader was not there when it was discarded.
    let mut next = Tab::open(&disk, 3);
    let todos = next.register("todos");
    assert!(next.persists.iter().all(|persist| persist.transaction != behind));
    assert_eq!(next.state(behind), S::Failed);
    assert!(!next.shows(todos).contains_key("a"));
}

#[test]
fn a_tab_that_reads_everything_anew_remembers_what_it_has_begun_and_decided() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let todos = leader.register_with("todos", |spec| spec.has_await_sync = true);
    let tx = leader.insert(todos, "a", json!({})).unwrap();
    leader.settle();
    leader.answer_persist(Err(support::temporary("busy")));
    leader.advance(60_000);
    let other = leader.insert(todos, "b", json!({})).unwrap();
    leader.settle();
    let mut writer = Tab::open(&disk, 2);
    let lists = writer.register("lists");
    checkpoint(&disk, &mut writer, lists);
    let decided = leader.persists.remove(0);
    assert_eq!((decided.transaction, decided.attempt), (tx, 2));
    leader.input(Input::PersistAnswered(decided.op, Ok(Default::default())));
    // Before that is committed, it learns that it must read everything.
    let next = disk.borrow().next;
    leader.input(Input::LogGrew(next));
    leader.settle();
    assert_eq!(leader.events_of(tx), [TxEvent::Durable, TxEvent::Persisted]);
    assert_eq!(leader.engine.transaction(tx).unwrap().attempts.len(), 2);
    assert_eq!(leader.state(other), S::Persisting, "its call goes on");
    assert_eq!(leader.engine.transaction(other).unwrap().attempts.len(), 1);
    assert_eq!(leader.engine.locked_objects(), ["todos/a", "todos/b"]);
    assert_eq!(leader.answer_persist(Ok(Default::default())), other);
    assert!(leader.persists.is_empty(), "nothing is sent a second time");
}

#[test]
fn a_row_that_was_taken_back_leaves_the_mirror_though_the_log_was_cut_by_a_tab_that_does_not_know_it() {
    let disk = Disk::default();
    let mirrored = |spec: &mut driftline_core::CollectionSpec<_>| spec.mirror = true;
    let mut author = Tab::open_with(&disk, 1, false);
    let files = author.register_with("files", mirrored);
    let tx = author.insert(files, "f", json!({ "n": 1 })).unwrap();
    author.settle();
    assert!(disk.borrow().mirror.contains_key("f"));
    drop(author);
    let mut stranger = Tab::open(&disk, 2);
    let lists = stranger.register("lists");
    stranger.engine.discard(stranger.now, tx).unwrap();
    stranger.settle();
    checkpoint(&disk, &mut stranger, lists);
    drop(stranger);
    let mut leader = Tab::open(&disk, 3);
    leader.register_with("files", mirrored);
    assert!(!disk.borrow().mirror.contains_key("f"));
}

#[test]
fn a_tab_claims_the_leases_of_what_it_has_registered_and_of_nothing_else() {
    let disk = Disk::default();
    let mut one = Tab::open(&disk, 1);
    one.register("todos");
    let mut two = Tab::open_with(&disk, 2, false);
    let lists = two.register("lists");
    assert_eq!(
        (&one.claims[..], &two.claims[..]),
        (&["c/todos".to_owned()][..], &["c/lists".to_owned()][..])
    );
    let tx = two.insert(lists, "a", json!({})).unwrap();
    two.settle();
    tell(&disk, &mut one);
    assert!(one.persists.is_empty());
    assert!(!one.state(tx).is_final(), "it is seen, and waits for a tab that has its function");
}

#[test]
fn what_was_queued_shows_before_a_tab_is_ready() {
    let disk = Disk::default();
    let mut tab = Tab::open(&disk, 1);
    let todos = tab.register("todos");
    tab.insert(todos, "a", json!({ "n": 1 })).unwrap();
    tab.settle();
    drop(tab);
    let now = driftline_core::Timestamp(1);
    let config = driftline_core::Config { seed: [5; 32], pending_max: 10 };
    let mut engine: driftline_core::Engine<serde_json::Value> = driftline_core::Engine::new(config);
    engine.register(now, support::spec("todos")).unwrap();
    let (mut loads, mut told) = (0, Vec::new());
    while let Some(output) = engine.poll_output() {
        match output {
            driftline_core::Output::Load(op) => {
                loads += 1;
                let log = disk.borrow().log.iter().map(|(seq, record)| (*seq, record.clone())).collect();
                let loaded =
                    driftline_core::Loaded { checkpoint: 0, segments: Vec::new(), log, is_anew: false };
                engine.handle_input(now, Input::Loaded(op, Ok(loaded)));
            }
            driftline_core::Output::Rows(_, changes) => told.push(format!("{} rows", changes.len())),
            driftline_core::Output::Ready(_) => told.push("ready".into()),
            _ => {}
        }
    }
    assert_eq!(told, ["1 rows", "ready"]);
    assert_eq!(loads, 1, "the journal is read once");
}

#[test]
fn what_sync_brings_of_a_locked_row_is_held_back_across_a_checkpoint_too() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let todos = leader.register("todos");
    let synced = |row| SyncUpdate::Delta(vec![("a".into(), Some(row))]);
    leader.engine.sync_update(leader.now, todos, synced(json!({ "n": 1, "m": 1 })));
    leader.settle();
    leader.update(todos, "a", json!({ "n": 2 })).unwrap();
    leader.settle();
    let mut later = temporary("not now");
    later.kind = FailureKind::Temporary { after_ms: Some(3_600_000), counts_attempt: true };
    leader.answer_persist(Err(later));
    leader.engine.sync_update(leader.now, todos, synced(json!({ "n": 9, "m": 9 })));
    leader.settle();
    checkpoint(&disk, &mut leader, todos);
    let mut second = Tab::open_with(&disk, 2, false);
    second.register("todos");
    assert_eq!(second.shows(todos)["a"], json!({ "n": 2, "m": 1 }));
    assert_eq!(leader.shows(todos), second.shows(todos));
    leader.advance(3_600_000);
    leader.answer_persist(Ok(Default::default()));
    tell(&disk, &mut second);
    assert_eq!(
        second.shows(todos)["a"],
        json!({ "n": 9, "m": 9 }),
        "nothing of the write lies over newer sync"
    );
    assert_eq!(leader.shows(todos), second.shows(todos));
}

#[test]
fn a_tab_that_slept_while_its_row_got_another_key_shows_it_under_that_key_alone() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let waiting = |spec: &mut driftline_core::CollectionSpec<_>| spec.has_await_sync = true;
    leader.register_with("notes", waiting);
    let lists = leader.register("lists");
    let mut asleep = Tab::open_with(&disk, 2, false);
    let notes = asleep.register_with("notes", waiting);
    let tx = asleep.insert(notes, "temp", json!({ "id": "temp" })).unwrap();
    asleep.settle();
    tell(&disk, &mut leader);
    let rekey = vec![("temp".into(), "t7".into())];
    assert_eq!(leader.answer_persist(Ok(driftline_core::PersistOk { rekey })), tx);
    checkpoint(&disk, &mut leader, lists);
    tell(&disk, &mut asleep);
    assert_eq!(asleep.state(tx), S::PersistedAwaitingSync);
    assert_eq!(
        asleep.shows(notes).into_iter().collect::<Vec<_>>(),
        [("t7".to_owned(), json!({ "id": "t7" }))]
    );
    assert_eq!(asleep.engine.locked_objects(), ["notes/t7"]);
}

/// Carries what tabs tell each other, until there is nothing more.
fn carry(tabs: &mut [&mut Tab]) {
    for _ in 0..100 {
        let Some(from) = tabs.iter().position(|tab| !tab.notes.is_empty()) else { return };
        let notes = std::mem::take(&mut tabs[from].notes);
        for note in notes {
            for to in (0..tabs.len()).filter(|&to| to != from) {
                tabs[to].input(Input::TabNote(note.clone()));
                tabs[to].settle();
            }
        }
    }
    panic!("the tabs talk without end");
}

#[test]
fn work_that_the_leader_has_no_collection_for_is_sent_by_a_tab_that_has() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let remote = leader.connect_mizu();
    leader.register_at("todos", remote, "todo");
    let mut knowing = Tab::open_with(&disk, 2, false);
    let remote = knowing.connect_mizu();
    knowing.register_at("todos", remote, "todo");
    let notes = knowing.register_at("notes", remote, "note");
    let tx = knowing.insert(notes, "n", json!({ "id": "n" })).unwrap();
    knowing.settle();
    tell(&disk, &mut leader);
    leader.advance(1_000);
    assert_eq!(leader.notes.len(), 1, "it asks");
    leader.grants = false;
    carry(&mut [&mut leader, &mut knowing]);
    assert!(!leader.engine.remote(remote).unwrap().leads);
    assert_eq!(leader.claims.len(), 1, "and stands in line again");
    knowing.grant("r/mizu:demo");
    knowing.settle();
    knowing.answer_request(200, r#"{"data":{},"cursor":0}"#);
    let push = knowing.requests.iter().find(|(_, _, request)| request.path.ends_with("push")).unwrap();
    assert!(push.2.body.contains("note.create"), "{}", push.2.body);
    assert_eq!(knowing.state(tx), S::Persisting);
}

#[test]
fn a_leader_keeps_its_lease_where_nobody_knows_more_and_asks_again_without_haste() {
    let disk = Disk::default();
    let mut gone = Tab::open_with(&disk, 1, false);
    let remote = gone.connect_mizu();
    let notes = gone.register_at("notes", remote, "note");
    gone.insert(notes, "n", json!({ "id": "n" })).unwrap();
    gone.settle();
    drop(gone);
    let mut leader = Tab::open(&disk, 2);
    let remote = leader.connect_mizu();
    leader.register_at("todos", remote, "todo");
    let mut equal = Tab::open_with(&disk, 3, false);
    let same = equal.connect_mizu();
    equal.register_at("todos", same, "todo");
    let mut asked = 0;
    for _ in 0..60 {
        leader.advance(1_000);
        asked += leader.notes.len();
        carry(&mut [&mut leader, &mut equal]);
    }
    assert!((8..=13).contains(&asked), "{asked} times in a minute");
    assert!(leader.engine.remote(remote).unwrap().leads);
    // Registered here after all: nobody is to be asked any more.
    leader.register_at("notes", remote, "note");
    leader.advance(10_000);
    assert!(leader.notes.is_empty());
}

#[test]
fn two_tabs_that_each_know_what_the_other_does_not_take_turns() {
    let disk = Disk::default();
    let open = |seed, grants, own: &str| {
        let mut tab = Tab::open_with(&disk, seed, grants);
        let remote = tab.connect_mizu();
        let collection = tab.register_at(own, remote, own);
        (tab, remote, collection)
    };
    let (mut one, remote, todos) = open(1, true, "todos");
    let (mut two, _, notes) = open(2, false, "notes");
    one.grants = false;
    one.engine.pause(one.now, "until both have written");
    let a = one.insert(todos, "a", json!({ "id": "a" })).unwrap();
    let b = two.insert(notes, "b", json!({ "id": "b" })).unwrap();
    one.settle();
    two.settle();
    one.engine.resume(one.now);
    for _ in 0..40 {
        for tab in [&mut one, &mut two] {
            tell(&disk, tab);
            tab.advance(1_000);
            while !tab.requests.is_empty() {
                let body = match tab.requests[0].2.path.as_str() {
                    "/_sync/push" => r#"{"results":[{"ok":true,"cursor":1,"changes":[]}]}"#,
                    "/_sync/snapshot" => r#"{"data":{},"cursor":1}"#,
                    _ => r#"{"changes":null,"has_more":false}"#,
                };
                tab.answer_request(200, body);
            }
        }
        carry(&mut [&mut one, &mut two]);
        // The lock goes to the one that stands in line for it.
        let leads = |tab: &Tab| tab.engine.remote(remote).unwrap().leads;
        if !leads(&one) && !leads(&two) {
            let next = if disk.borrow().epochs["r/mizu:demo"] % 2 == 1 { &mut two } else { &mut one };
            next.grant("r/mizu:demo");
            next.settle();
        }
    }
    assert_eq!((one.state(a), two.state(b)), (S::Completed, S::Completed));
}
