//! Recovery is linear in the journal: what is done for each record is counted, and does not grow with their number.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::Cell;

use driftline_core::{
    Config, DraftKind, Engine, Input, Loaded, LogRead, Output, Record, Timestamp, TransactionDraft,
    Value as Row, spec::CollectionId,
};

thread_local! {
    /// How often a row was copied, compared or merged.
    static WORK: Cell<u64> = const { Cell::new(0) };
}

fn work() {
    WORK.with(|count| count.set(count.get() + 1));
}

/// A row that counts what is done with rows.
#[derive(Debug)]
struct Counted(u64);

impl Clone for Counted {
    fn clone(&self) -> Self {
        work();
        Self(self.0)
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        work();
        self.0 == other.0
    }
}

impl Row for Counted {
    fn merge(&self, changes: &Self) -> Self {
        changes.clone()
    }

    fn merge_changes(&self, more: &Self) -> Self {
        more.clone()
    }

    fn changes_to(&self, to: &Self) -> Self {
        to.clone()
    }

    fn with_text(&self, _field: &str, _text: &str) -> Self {
        self.clone()
    }

    fn to_json(&self) -> Result<String, String> {
        Ok(self.0.to_string())
    }

    fn from_json_many(texts: &[&str]) -> Result<Vec<Self>, String> {
        texts.iter().map(|text| text.parse().map(Self).map_err(|_| "no number".into())).collect()
    }
}

const NOW: Timestamp = Timestamp(1);

/// Runs an engine on a log until it rests; nothing is sent, as no lease is given.
fn run(engine: &mut Engine<Counted>, log: &mut Vec<(u64, Record<Counted>)>) {
    loop {
        match engine.poll_output() {
            Some(Output::Load(op)) => {
                let loaded = Loaded { checkpoint: 0, segments: Vec::new(), log: log.clone(), is_anew: false };
                // What the disk copies is not the engine's work.
                WORK.with(|count| count.set(0));
                engine.handle_input(NOW, Input::Loaded(op, Ok(loaded)));
            }
            Some(Output::Commit(op, commit)) => {
                log.push((log.len() as u64 + 1, commit.record));
                engine.handle_input(NOW, Input::Committed(op, Ok(log.len() as u64)));
            }
            Some(Output::ReadLog(op, _)) => {
                let read = LogRead { checkpoint: 0, records: Vec::new() };
                engine.handle_input(NOW, Input::LogRead(op, Ok(read)));
            }
            Some(_) => {}
            None if engine.wants_turn_end() => engine.handle_input(NOW, Input::TurnEnded),
            None => break,
        }
    }
}

fn open(seed: u8, log: &mut Vec<(u64, Record<Counted>)>) -> (Engine<Counted>, CollectionId) {
    let mut engine = Engine::new(Config { seed: [seed; 32], pending_max: 100_000 });
    let things = engine.register(NOW, support::spec("things")).unwrap();
    run(&mut engine, log);
    (engine, things)
}

/// What is done with rows when so many pending transactions on so many rows are read.
fn work_of_recovery(transactions: u64, rows: u64) -> u64 {
    let mut log = Vec::new();
    let (mut engine, things) = open(1, &mut log);
    for n in 0..transactions {
        let kind = if n < rows { DraftKind::Insert(Counted(n)) } else { DraftKind::Update(Counted(n)) };
        let mutations = vec![driftline_core::MutationDraft {
            collection: things,
            key: format!("row-{}", n % rows),
            kind,
            size_bytes: 8,
        }];
        let draft = TransactionDraft { mutations, strategy: None, function: None, metadata: None };
        engine.transact(NOW, draft).unwrap();
        // A record holds what one turn wrote: here, sixteen writes.
        if n % 16 == 15 {
            run(&mut engine, &mut log);
        }
    }
    run(&mut engine, &mut log);
    let (again, things) = open(2, &mut log);
    let done = WORK.with(Cell::get);
    assert_eq!(again.status().pending as u64, transactions);
    assert_eq!(again.row_count(things) as u64, rows);
    done
}

#[test]
fn ten_times_as_many_pending_transactions_take_ten_times_the_work_to_recover() {
    for rows_of in [|n: u64| n, |n: u64| n / 10, |_| 8] {
        let (few, many) = (work_of_recovery(500, rows_of(500)), work_of_recovery(5_000, rows_of(5_000)));
        assert!(many <= few * 11, "{few} for 500, {many} for 5,000 on {} rows", rows_of(5_000));
    }
}
