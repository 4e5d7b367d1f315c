//! The frames of the published mizu/sync server, sent to ours: each answer must be the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::TestServer;
use driftline_protocol::RawValue;
use driftline_protocol::mizu::{EntityChange, Mutation, Op};
use driftline_server::engine::{Draft, Mutator, Refusal};
use serde_json::{Map, Value};

/// The app that the published server ran when the transcript was taken.
struct Todos {
    entities: Vec<String>,
}

impl Mutator for Todos {
    fn apply(&self, rows: &mut Draft<'_>, mutation: &Mutation) -> Result<Vec<Box<RawValue>>, Refusal> {
        let args: Map<String, Value> = serde_json::from_str(mutation.args.get()).unwrap();
        let id = args.get("id").and_then(Value::as_str).unwrap_or_default();
        let before = rows.get("todo", id)?;
        let (op, row) = match (mutation.name.as_str(), before) {
            ("noop", _) => return Ok(Vec::new()),
            ("todo.create", Some(_)) => return Err(Refusal::Conflict(String::new())),
            ("todo.create", None) => {
                let mut row = Map::from_iter([("done".to_owned(), Value::Bool(false))]);
                row.extend(args.clone());
                (Op::Create, row)
            }
            ("todo.toggle", None) => return Err(Refusal::NotFound(String::new())),
            ("todo.toggle", Some(before)) => {
                let mut row: Map<String, Value> = serde_json::from_str(before.get()).unwrap();
                row["done"] = Value::Bool(row["done"] == Value::Bool(false));
                (Op::Update, row)
            }
            _ => return Err(Refusal::Invalid(String::new())),
        };
        let row = serde_json::value::to_raw_value(&row).unwrap();
        rows.put("todo", id, row.clone());
        Ok(vec![EntityChange { op, entity: "todo".into(), row }.to_raw().unwrap()])
    }

    fn entities(&self) -> &[String] {
        &self.entities
    }
}

/// Times are the server's own; everything else must be equal, the order of members too.
fn without_times(body: &str) -> String {
    let mut rest = body;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once(r#""time":""#) {
        text.push_str(before);
        text.push_str(r#""time":"#);
        rest = &after[after.find('"').unwrap()..];
    }
    text + rest
}

/// Two bodies were cut in the transcript; what they were can be told from what is left.
fn whole_body(body: &str) -> String {
    if !body.contains('…') {
        return body.to_owned();
    }
    if body.contains(r#""id":"b0""#) {
        let noop = |index| format!(r#"{{"id":"b{index}","scope":"s1","name":"noop","args":{{}}}}"#);
        return format!(r#"{{"mutations":[{}]}}"#, (0..101).map(noop).collect::<Vec<_>>().join(","));
    }
    let title = "x".repeat(1_100_000);
    format!(
        r#"{{"mutations":[{{"id":"big","scope":"s1","name":"todo.create","args":{{"id":"big","title":"{title}"}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_that_of_the_published_server() {
    let scopes = ["s1", "s2", "_default"].map(str::to_owned).to_vec();
    let todos = Todos { entities: vec!["todo".into()] };
    let server = TestServer::start_with(|config| config.allow_scope = scopes, todos).await;
    let transcript = include_str!("../../../tests/vectors/transcripts/mizu-head.jsonl");
    let frames = transcript.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut answer = None;
    let mut compared = 0;
    for frame in frames.filter(|frame| frame["conn"] == "c") {
        if frame["dir"] == "->" {
            let (method, url) = frame["http"].as_str().unwrap().split_once(' ').unwrap();
            let path = url.splitn(4, '/').nth(3).unwrap();
            let body = whole_body(frame["body"].as_str().unwrap_or_default());
            if path == "_test/trim" {
                let trim: Value = serde_json::from_str(&body).unwrap();
                server
                    .engine
                    .trim(trim["Scope"].as_str().unwrap(), trim["Before"].as_u64().unwrap())
                    .unwrap();
                continue;
            }
            let method = method.parse().unwrap();
            let mut request = server.http.request(method, format!("{}/{path}", server.url));
            for (name, value) in frame["headers"].as_object().into_iter().flatten() {
                request = request.header(name, value.as_str().unwrap());
            }
            answer = Some((body.len(), request.body(body).send().await.unwrap()));
            continue;
        }
        let Some((sent, answer)) = answer.take() else { continue };
        let expected = frame["body"].as_str().unwrap();
        let status = answer.status().as_u16();
        if sent > 1024 * 1024 {
            // Ours says 413, and which limit.
            assert_eq!(status, 413);
            assert!(answer.text().await.unwrap().contains("1048576"));
            continue;
        }
        assert_eq!(status, frame["status"].as_u64().unwrap() as u16, "{expected}");
        if !expected.starts_with('{') {
            // Refused by the published server's router, in plain text; by ours in JSON.
            assert_eq!(
                common::header(&answer, "allow"),
                frame["headers"]["allow"].as_str().unwrap_or_default()
            );
            common::code(&answer.text().await.unwrap());
            continue;
        }
        assert_eq!(
            common::header(&answer, "content-type"),
            frame["headers"]["content-type"].as_str().unwrap()
        );
        assert_eq!(without_times(&answer.text().await.unwrap()), without_times(expected));
        compared += 1;
    }
    assert_eq!(compared, 34);
}
