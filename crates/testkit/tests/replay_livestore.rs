//! The client is told what the published servers of LiveStore's sync-cf were recorded to say, over each of their wires;
//! an app's own backend (`defineBackend`) answers in the words of the one over HTTP.

use driftline_core::spec::{BackendSpec, LiveStoreWire};
use driftline_testkit::{
    for_each_log_replay_check, for_each_replay_check,
    replay::{Asked, Kind, Line, Recorded, Said, Transcript, suite},
};
use serde_json::{Value, json};

fn todo(number: u32) -> Value {
    json!({ "id": format!("t{number}"), "text": format!("todo {number}") })
}

fn livestore(wire: LiveStoreWire) -> BackendSpec {
    BackendSpec::LiveStore { store_id: "recorded".into(), wire }
}

struct WebSocket(Transcript);

impl Recorded for WebSocket {
    fn backend(&self) -> BackendSpec {
        livestore(LiveStoreWire::WebSocket)
    }

    fn event_name(&self) -> Option<&'static str> {
        Some("v1.TodoCreated")
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        call(asked)
    }

    fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
        self.0.said(match what {
            Said::Nothing => 27,
            Said::Rows | Said::Others | Said::News => 37,
            Said::Taken => 41,
            Said::Back => 39,
            Said::Late => 44,
            Said::LateBack => 47,
            Said::Reset if is_push(asked) => 60,
            Said::Reset => 62,
            Said::Broken => 68,
            Said::Unauthorized | Said::Newest => unreachable!("it is not said over this wire"),
        })
    }

    fn rows(&self) -> Vec<Value> {
        vec![todo(1), todo(2)]
    }

    fn written(&self) -> Vec<Value> {
        self.rows()
    }

    fn others(&self) -> (Vec<Value>, Value) {
        (self.rows(), json!({ "id": "tb" }))
    }
}

/// Two recordings of one server as one: the store of the first is wiped in it, that of the other is not.
struct Http(Transcript, Transcript, LiveStoreWire);

impl Recorded for Http {
    fn backend(&self) -> BackendSpec {
        livestore(self.2)
    }

    fn event_name(&self) -> Option<&'static str> {
        Some("v1.TodoCreated")
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        call(asked)
    }

    fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
        let other = |number| {
            let line = self.1.said(number);
            Line { text: line.text.replace("8fB_pfh5h9pxHMB6QAHP2", "zll2MtHmTVJwT1--MWLqq"), ..line }
        };
        match what {
            Said::Nothing => self.0.said(3),
            Said::Rows | Said::Others | Said::Back | Said::Newest => self.0.said(9),
            Said::Taken => self.0.said(5),
            Said::Reset if is_push(asked) => self.0.said(15),
            Said::Reset => self.0.said(13),
            Said::Late => other(15),
            Said::LateBack => other(21),
            Said::Broken => other(24),
            Said::Unauthorized => other(51),
            // An app's own backend says where its log ends.
            Said::News => Line { status: 200, text: "1".into() },
        }
    }

    fn rows(&self) -> Vec<Value> {
        vec![todo(1)]
    }

    fn written(&self) -> Vec<Value> {
        self.rows()
    }

    fn others(&self) -> (Vec<Value>, Value) {
        (self.rows(), todo(2))
    }
}

struct V03(Transcript);

impl Recorded for V03 {
    fn backend(&self) -> BackendSpec {
        livestore(LiveStoreWire::V03)
    }

    fn event_name(&self) -> Option<&'static str> {
        Some("v1.TodoCreated")
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        match asked.json()["_tag"].as_str()? {
            "WSMessage.PullReq" => Some(Kind::Pull),
            "WSMessage.PushReq" => Some(Kind::Push),
            _ => None,
        }
    }

    fn said(&self, what: Said, asked: Option<&Asked>) -> Line {
        let line = self.0.said(match what {
            Said::Nothing => 23,
            Said::Rows | Said::Others | Said::Newest | Said::News | Said::Back => 39,
            Said::Taken => 37,
            Said::Late => 42,
            Said::LateBack => 47,
            Said::Broken => 66,
            Said::Reset | Said::Unauthorized => unreachable!("it is not said over this wire"),
        });
        // A page that answers a pull differs from a broadcast in what it says that it answers.
        let answers = asked.is_some_and(|asked| self.kind(asked) == Some(Kind::Pull));
        let context = if answers { r#""context":"pull""# } else { r#""context":"push""# };
        Line { text: line.text.replace(r#""context":"push""#, context), ..line }
    }

    fn rows(&self) -> Vec<Value> {
        vec![todo(1), todo(2)]
    }

    fn written(&self) -> Vec<Value> {
        self.rows()
    }

    fn others(&self) -> (Vec<Value>, Value) {
        (self.rows(), json!({ "id": "tb" }))
    }
}

fn call(asked: &Asked) -> Option<Kind> {
    match asked.json()["tag"].as_str()?.rsplit_once('.')?.1 {
        "Pull" => Some(Kind::Pull),
        "Push" => Some(Kind::Push),
        _ => None,
    }
}

fn is_push(asked: Option<&Asked>) -> bool {
    asked.and_then(call) == Some(Kind::Push)
}

fn transcript(text: &str) -> Transcript {
    Transcript::new(text)
}

fn over_the_socket() -> WebSocket {
    WebSocket(transcript(include_str!("../../../tests/vectors/transcripts/cf040-ws.jsonl")))
}

/// An app's own log, which says when there is something new.
const CALLS: LiveStoreWire = LiveStoreWire::Calls { ping: false, live: true };

fn over_http(wire: LiveStoreWire) -> Http {
    let wiped = transcript(include_str!("../../../tests/vectors/transcripts/cf040-reset.jsonl"));
    Http(wiped, transcript(include_str!("../../../tests/vectors/transcripts/cf040-http.jsonl")), wire)
}

fn of_0_3() -> V03 {
    V03(transcript(include_str!("../../../tests/vectors/transcripts/cf031.jsonl")))
}

macro_rules! modules {
    ($($name:ident)*) => {
        mod the_socket_of_0_4 {
            $(#[test] fn $name() { super::suite::$name(&super::over_the_socket()); })*
        }
        mod http_of_0_4 {
            $(#[test] fn $name() { super::suite::$name(&super::over_http(super::LiveStoreWire::Http)); })*
        }
        mod an_apps_own_backend {
            $(#[test] fn $name() { super::suite::$name(&super::over_http(super::CALLS)); })*
        }
        mod the_socket_of_0_3 {
            $(#[test] fn $name() { super::suite::$name(&super::of_0_3()); })*
        }
    };
}

macro_rules! log_modules {
    ($($name:ident)*) => {
        mod the_log_behind_the_socket_of_0_4 {
            $(#[test] fn $name() { super::suite::$name(&super::over_the_socket()); })*
        }
        mod the_log_behind_http_of_0_4 {
            $(#[test] fn $name() { super::suite::$name(&super::over_http(super::LiveStoreWire::Http)); })*
        }
        mod the_log_of_an_apps_own_backend {
            $(#[test] fn $name() { super::suite::$name(&super::over_http(super::CALLS)); })*
        }
        mod the_log_behind_the_socket_of_0_3 {
            $(#[test] fn $name() { super::suite::$name(&super::of_0_3()); })*
        }
    };
}

for_each_replay_check!(modules);
for_each_log_replay_check!(log_modules);

#[test]
fn another_log_behind_the_socket_is_a_reset_and_what_waits_is_kept() {
    suite::another_log_is_a_reset_and_what_waits_is_kept(&over_the_socket(), Kind::Push);
}

#[test]
fn another_log_behind_http_is_a_reset_and_what_waits_is_kept() {
    for wire in [LiveStoreWire::Http, CALLS] {
        suite::another_log_is_a_reset_and_what_waits_is_kept(&over_http(wire), Kind::Push);
        suite::another_log_is_a_reset_and_what_waits_is_kept(&over_http(wire), Kind::Pull);
    }
}

#[test]
fn credentials_that_are_refused_over_http_hold_the_remote() {
    suite::credentials_that_are_refused_hold_the_remote(&over_http(LiveStoreWire::Http));
}
