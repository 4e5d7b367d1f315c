use super::*;
use crate::s2::{direct, proxy};
use crate::{block_on, for_each_s2_check, for_each_s2_proxy_check};
use serde_json::Value;

macro_rules! direct_checks {
    ($($name:ident)*) => { mod of_the_service { use super::*; $(
        #[test]
        fn $name() { block_on(direct::$name(&mut FakeS2::default())); }
    )* } };
}
for_each_s2_check!(direct_checks);

macro_rules! proxy_checks {
    ($($name:ident)*) => { mod of_the_proxy { use super::*; $(
        #[test]
        fn $name() { block_on(proxy::$name(&mut FakeProxy::default())); }
    )* } };
}
for_each_s2_proxy_check!(proxy_checks);

#[test]
fn the_fake_answers_what_the_published_server_was_asked_as_that_did() {
    let fake = FakeS2::default();
    let (mut same, mut other) = (0, Vec::new());
    for (asked, answered) in exchanges("s2-lite.jsonl", "c") {
        let mut request = request_of(&asked);
        if NOT_FAKED.iter().any(|part| request.path.contains(part)) || request.method == "OPTIONS" {
            continue;
        }
        let format = header_of(&request, header::FORMAT).unwrap_or(header::RAW);
        // The fake knows one form, and of the other that command.
        if format != header::RAW && !request.body.contains("dHJpbQ==") {
            if request.method == "POST" {
                // A record all the same: what follows is asked of a stream that has it.
                request.body = r#"{"records":[{"headers":[["client","a"]],"body":"bin\u0000ary"}]}"#.into();
                assert_eq!(fake.answer(&request).status, 200);
            }
            continue;
        }
        let answer = fake.answer(&request);
        let told = (answered["status"].as_u64(), plain(answered["body"].as_str().unwrap_or_default()));
        if (Some(u64::from(answer.status)), plain(&answer.body)) == told {
            same += 1;
        } else {
            other.push(format!("{} {}: {answer:?}, not {answered}", request.method, request.path));
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert!(same > 25, "{same}");
}

/// What Driftline never asks: other ways to say where a read begins, streams that appear as they are written to.
const NOT_FAKED: [&str; 4] = ["/health", "tail_offset", "timestamp=", "/auto/"];

#[test]
fn the_fake_proxy_answers_what_the_published_one_was_asked_as_that_did() {
    let fake = FakeProxy::default();
    let mut live = None;
    let (mut answers, mut events) = (0, 0);
    for line in lines("sync-s2-proxy.jsonl") {
        if line["dir"] == "->" {
            let request = request_of(&line);
            if line["conn"] == "B-live" {
                live = Some(fake.open(&request).expect("it stays open"));
            } else if !request.body.contains('…') {
                let answer = fake.answer(&request);
                answers += 1;
                assert_eq!(answer.status, 200, "{}", request.path);
                if request.path.contains("s2SeqNum%22%3A500") {
                    assert_eq!(answer.body, "data: [DONE]\n\n");
                }
            }
        } else if let (Some(sse), Some(live), true) =
            (line["sse"].as_str(), &mut live, line["conn"] == "B-live" && events < 5)
        {
            // What comes after these was cut when it was recorded.
            assert_eq!(plain_event(&live.event()), plain_event(sse));
            events += 1;
        }
    }
    assert!(answers >= 8 && events == 5, "{answers} {events}");
}

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/vectors/transcripts/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a transcript's line")).collect()
}

/// What was asked over a connection and what it was answered, in order. Those that were cut when they were recorded are
/// left out.
fn exchanges(file: &str, conn: &str) -> Vec<(Value, Value)> {
    let (mut asked, mut pairs) = (std::collections::VecDeque::new(), Vec::new());
    for line in lines(file).into_iter().filter(|line| line["conn"] == conn) {
        if line["dir"] == "->" {
            asked.push_back(line);
        } else if let Some(request) = asked.pop_front() {
            pairs.push((request, line));
        }
    }
    let is_whole = |line: &Value| !line["body"].as_str().unwrap_or_default().contains('…');
    pairs.retain(|(asked, answered)| is_whole(asked) && is_whole(answered));
    pairs
}

fn request_of(line: &Value) -> Request {
    let (method, url) = line["http"].as_str().and_then(|http| http.split_once(' ')).expect("a request");
    let method = ["GET", "HEAD", "OPTIONS", "POST", "PUT"].into_iter().find(|known| *known == method);
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
    let headers = line["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    Request {
        method: method.expect("it is known"),
        path,
        headers: headers.collect(),
        body: line["body"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A body without what differs from server to server: times, and what is said to people.
fn plain(body: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["timestamp", "created_at", "message"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    strip(&mut value);
    value
}

/// An event's head, and its data without times.
fn plain_event(event: &str) -> (String, Value) {
    let (head, data) = event.split_once("data: ").expect("an event");
    (head.to_owned(), plain(data.trim_end()))
}
