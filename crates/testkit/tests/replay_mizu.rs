//! The client is told what the published servers of mizu's two dialects were recorded to say.

use driftline_core::{
    spec::{BackendSpec, MizuDialect, MizuPoke},
    view::TransactionState,
};
use driftline_testkit::{
    for_each_replay_check,
    replay::{Asked, Kind, Line, Recorded, Said, Transcript, suite},
};
use serde_json::{Value, json};

fn mizu(dialect: MizuDialect) -> BackendSpec {
    BackendSpec::Mizu { scope: "s1".into(), dialect, poke: Some(MizuPoke::WebSocket), poke_url: None }
}

fn path(asked: &Asked) -> &str {
    if let Asked::Request(request) = asked { &request.path } else { "" }
}

fn kind(asked: &Asked) -> Option<Kind> {
    match path(asked) {
        "/_sync/pull" | "/_sync/snapshot" => Some(Kind::Pull),
        "/_sync/push" => Some(Kind::Push),
        _ => None,
    }
}

fn asks_for_all(asked: Option<&Asked>) -> bool {
    asked.is_some_and(|asked| path(asked) == "/_sync/snapshot")
}

fn row(id: &str, title: &str, done: bool) -> Value {
    json!({ "done": done, "id": id, "title": title })
}

struct V03(Transcript);

impl Recorded for V03 {
    fn backend(&self) -> BackendSpec {
        mizu(MizuDialect::V03)
    }

    fn event_name(&self) -> Option<&'static str> {
        None
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        kind(asked)
    }

    fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
        self.0.said(match what {
            Said::Nothing if asks_for_all(asked) => 6,
            Said::Nothing => 47,
            Said::Rows | Said::Newest | Said::Back => 117,
            Said::Taken => 18,
            Said::Reset => 110,
            Said::Broken => 89,
            Said::News => 19,
            _ => unreachable!("it is not said over this wire"),
        })
    }

    fn rows(&self) -> Vec<Value> {
        vec![
            row("missing", "now ok", false),
            row("t1", "one", true),
            row("t2", "two", false),
            row("t9", "nine", false),
        ]
    }

    fn written(&self) -> Vec<Value> {
        vec![json!({ "id": "t1", "title": "one" }), json!({ "id": "t2", "title": "two" })]
    }
}

/// Its recording has no snapshot of an empty scope: it begins with one of a row.
struct Plan(Transcript);

impl Recorded for Plan {
    fn backend(&self) -> BackendSpec {
        mizu(MizuDialect::Plan)
    }

    fn event_name(&self) -> Option<&'static str> {
        None
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        kind(asked)
    }

    fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
        self.0.said(match what {
            Said::Rows | Said::Nothing | Said::Newest if asks_for_all(asked) => 31,
            Said::Nothing => 23,
            Said::Taken => 12,
            Said::Back => 23,
            Said::Broken => 33,
            _ => unreachable!("it is not said over this wire"),
        })
    }

    fn rows(&self) -> Vec<Value> {
        vec![json!({ "completed": false, "id": "t1", "title": "one" })]
    }

    fn written(&self) -> Vec<Value> {
        vec![json!({ "id": "x" }), json!({ "id": "y" })]
    }
}

fn v03() -> V03 {
    V03(Transcript::new(include_str!("../../../tests/vectors/transcripts/mizu-head.jsonl")))
}

fn plan() -> Plan {
    Plan(Transcript::new(include_str!("../../../tests/vectors/transcripts/mizu-v0-plan.jsonl")))
}

macro_rules! tests {
    ($($name:ident)*) => {
        mod dialect_v0_3 {
            $(#[test] fn $name() { super::suite::$name(&super::v03()); })*
        }
    };
}

for_each_replay_check!(tests);

#[test]
fn the_plans_dialect_shows_what_it_has_and_an_error_is_no_empty_pull() {
    suite::what_it_has_shows_as_rows(&plan());
    suite::an_error_is_no_empty_pull(&plan());
}

#[test]
fn what_a_server_of_the_plans_dialect_refuses_fails_and_shows_no_more() {
    let backend = plan();
    let mut client = suite::caught_up(&backend);
    let written = client.insert(&backend.written());
    client.answer(&backend, Kind::Push, Said::Taken);
    client.answer(&backend, Kind::Pull, Said::Back);
    for tx in written {
        assert_eq!(client.state(tx), TransactionState::Failed);
    }
    assert_eq!(client.rows().into_values().collect::<Vec<_>>(), backend.rows());
}

#[test]
fn a_log_that_was_trimmed_is_a_reset_and_what_waits_is_kept() {
    suite::another_log_is_a_reset_and_what_waits_is_kept(&v03(), Kind::Pull);
}

#[test]
fn of_a_push_that_is_refused_in_part_each_transaction_has_its_own_end() {
    struct InPart(V03);
    impl Recorded for InPart {
        fn backend(&self) -> BackendSpec {
            self.0.backend()
        }
        fn event_name(&self) -> Option<&'static str> {
            None
        }
        fn kind(&self, asked: &Asked) -> Option<Kind> {
            kind(asked)
        }
        fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
            if what == Said::Taken { self.0.0.said(26) } else { self.0.said(what, asked) }
        }
        fn rows(&self) -> Vec<Value> {
            self.0.rows()
        }
        fn written(&self) -> Vec<Value> {
            ["m3", "m4", "m5", "m6", "m7"].map(|id| json!({ "id": id })).to_vec()
        }
    }
    let backend = InPart(v03());
    let mut client = suite::caught_up(&backend);
    let written = client.insert(&backend.written());
    client.answer(&backend, Kind::Push, Said::Taken);
    client.answer(&backend, Kind::Pull, Said::Back);
    let states: Vec<TransactionState> = written.iter().map(|tx| client.state(*tx)).collect();
    let (done, failed) = (TransactionState::Completed, TransactionState::Failed);
    assert_eq!(states, [failed, done, failed, failed, done]);
}
