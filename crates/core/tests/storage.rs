//! A disk that can't be read.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    CommitError, Config, DraftKind, Engine, Input, Output, Timestamp, TransactionDraft, TxEvent,
    view::TransactionState,
};
use serde_json::{Value, json};

#[test]
fn what_was_written_before_the_disk_refused_to_be_read_is_taken_back_and_told() {
    let now = Timestamp(1_700_000_000_000);
    let mut engine: Engine<Value> = Engine::new(Config { seed: [1; 32], pending_max: 1_000 });
    let Some(Output::Load(load)) = engine.poll_output() else { panic!("the journal is read first") };
    let todos = engine.register(now, support::spec("todos")).unwrap();
    let mutations = vec![support::draft(todos, "a", DraftKind::Insert(json!({ "id": "a" })))];
    let id = engine
        .transact(now, TransactionDraft { mutations, strategy: None, function: None, metadata: None })
        .unwrap();
    assert_eq!(engine.rows(todos).count(), 1, "it shows at once");
    while engine.poll_output().is_some() {}

    engine.handle_input(now, Input::Loaded(load, Err(CommitError::Unavailable("refused".into()))));
    let told: Vec<_> = core::iter::from_fn(|| engine.poll_output()).collect();
    assert_eq!(engine.rows(todos).count(), 0);
    assert_eq!(engine.transaction(id).unwrap().state, TransactionState::Failed);
    let is_gone = |output: &Output<Value>| {
        matches!(output, Output::Rows(of, changes)
            if *of == todos && changes.iter().any(|change| change.key == "a" && change.value.is_none()))
    };
    assert!(told.iter().any(is_gone), "{told:?}");
    let is_refused = |output: &Output<Value>| matches!(output, Output::Transaction(of, TxEvent::NotDurable(_)) if *of == id);
    assert!(told.iter().any(is_refused), "{told:?}");
}
