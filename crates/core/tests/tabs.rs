//! Several tabs on one disk.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{Code, Input, TxEvent, view::TransactionState as S};
use serde_json::json;
use support::{Disk, Tab};

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
    assert_eq!(tab.events_of(fine), [TxEvent::Durable]);
    assert_eq!(tab.events_of(update), [TxEvent::Durable]);
    assert_eq!(tab.shows(todos)["a"], json!({ "n": 1, "m": 3 }));
}
