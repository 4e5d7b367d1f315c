//! How fast the engine itself is, without a browser: writes, commits, recovery. Run with `--profile fast`.
// It measures the engine from outside, so it has a clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
use driftline_core::*;
use serde_json::json;
use std::time::Instant;

fn main() {
    for count in [1_000_usize, 10_000, 100_000] {
        let mut engine: Engine<serde_json::Value> =
            Engine::new(Config { seed: [1; 32], pending_max: 1_000_000 });
        let now = Timestamp(1);
        let Some(Output::Load(op)) = engine.poll_output() else { panic!("the first output is Load") };
        engine.handle_input(
            now,
            Input::Loaded(op, Ok(Loaded { checkpoint: 0, segments: vec![], log: vec![], is_anew: false })),
        );
        let spec = CollectionSpec {
            id: "t".into(),
            remote: None,
            persist: Some(1),
            has_sync: false,
            has_await_sync: false,
            functions: vec![],
            merges: vec![],
            strategy: Strategy::Ordered(Scope::Object),
            retry: RetryPolicy::default(),
            concurrent_persists: 6,
            version: 1,
            migrate: None,
            key_field: None,
            mirror: false,
            mapping: None,
        };
        let todos = engine.register(now, spec).unwrap();
        let rows: Vec<_> = (0..count)
            .map(|n| (format!("key-{n}"), json!({ "id": n, "title": "a todo", "done": false })))
            .collect();
        let start = Instant::now();
        for (key, row) in rows {
            engine
                .transact(
                    now,
                    TransactionDraft {
                        mutations: vec![MutationDraft {
                            collection: todos,
                            key,
                            kind: DraftKind::Insert(row),
                            size_bytes: 10,
                        }],
                        strategy: None,
                        function: None,
                        metadata: None,
                    },
                )
                .unwrap();
            while engine.poll_output().is_some() {}
        }
        let wrote = start.elapsed();
        engine.handle_input(now, Input::TurnEnded);
        let mut record = None;
        while let Some(output) = engine.poll_output() {
            if let Output::Commit(op, commit) = output {
                record = Some((op, commit.record));
            }
        }
        let (op, record) = record.unwrap();
        let sealed = start.elapsed();
        engine.handle_input(now, Input::Committed(op, Ok(1)));
        while engine.poll_output().is_some() {}
        let committed = start.elapsed();
        let start = Instant::now();
        let mut engine: Engine<serde_json::Value> =
            Engine::new(Config { seed: [2; 32], pending_max: 1_000_000 });
        let Some(Output::Load(op)) = engine.poll_output() else { panic!("the first output is Load") };
        engine.handle_input(
            now,
            Input::Loaded(
                op,
                Ok(Loaded { checkpoint: 0, segments: vec![], log: vec![(1, record)], is_anew: false }),
            ),
        );
        println!(
            "{count}: {:.2} us a write, seal {:?}, commit {:?}, recovery {:?}",
            wrote.as_secs_f64() * 1e6 / count as f64,
            sealed - wrote,
            committed - sealed,
            start.elapsed()
        );
    }
}
