use super::*;
use crate::decode::Fault;
use crate::sse::SseParser;
use crate::testing::{Line, transcript};
use std::string::ToString;

/// Answers of the real server's with this status whose request's line begins so.
fn answers(status: u16, request: &str) -> Vec<String> {
    let lines = transcript("s2-lite.jsonl");
    let mut found = Vec::new();
    for (at, line) in
        lines.iter().enumerate().filter(|(_, line)| line.status == Some(status) && line.body.is_some())
    {
        let asked = lines[..at].iter().rev().find(|other| other.http.is_some() && other.conn == line.conn);
        if asked.and_then(|asked| asked.http.as_deref()).is_some_and(|http| http.contains(request)) {
            found.push(line.text().to_string());
        }
    }
    assert!(!found.is_empty(), "no {status} to {request}");
    found
}

fn appends() -> Vec<Line> {
    let lines = transcript("s2-lite.jsonl");
    let is_append = |line: &Line| {
        line.http.as_deref().is_some_and(|http| http.starts_with("POST ") && http.ends_with("/records"))
    };
    lines.into_iter().filter(is_append).collect()
}

#[test]
fn every_answer_of_the_real_server_is_read_and_written_as_it_came() {
    for text in answers(200, "POST") {
        let appended = decode_appended(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(serde_json::to_string(&appended).expect("plain data"), text);
    }
    for text in answers(200, "/records?") {
        let batch = decode_batch(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(serde_json::to_string(&batch).expect("plain data"), text);
    }
    for text in answers(416, "/records?").into_iter().chain(answers(200, "/records/tail")) {
        let tail = decode_tail(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(serde_json::to_string(&tail).expect("plain data"), text);
    }
    assert!(answers(412, "POST").iter().any(|text| decode_mismatch(text) == Ok(Mismatch::SeqNum(3))));
    assert!(
        answers(412, "POST")
            .iter()
            .any(|text| decode_mismatch(text) == Ok(Mismatch::FencingToken("writer-1".into())))
    );
    let refusals: Vec<_> = [400, 404, 409, 422].into_iter().flat_map(|status| answers(status, "")).collect();
    for text in &refusals {
        let refusal = decode_refusal(text);
        assert!(!refusal.code.is_empty() && !refusal.message.is_empty(), "{text}");
    }
    let codes: Vec<_> = refusals.iter().map(|text| decode_refusal(text).code).collect();
    for known in [code::STREAM_NOT_FOUND, code::BASIN_NOT_FOUND, code::ALREADY_EXISTS, code::INVALID] {
        assert!(codes.iter().any(|code| code == known), "{known}");
    }
}

#[test]
fn every_append_that_the_real_server_took_is_written_as_it_was_sent() {
    let mut written = 0;
    for line in appends() {
        if let Ok(append) = serde_json::from_str::<Append>(line.text()) {
            assert_eq!(append.encode(), line.text());
            written += 1;
        }
    }
    assert!(written > 10, "{written}");
}

#[test]
fn a_live_read_of_the_real_server_is_read_to_its_end() {
    let (mut batches, mut pings, mut ends, mut last_id) = (0, 0, 0, None);
    for conn in ["sse0", "sse0b", "sse-live", "sse-resume"] {
        let mut parser = SseParser::new(WIRE, MAX_ANSWER_BYTES);
        for line in transcript("s2-lite.jsonl").iter().filter(|line| line.conn.as_deref() == Some(conn)) {
            for event in parser.push(line.sse.as_deref().unwrap_or_default().as_bytes()).expect("small") {
                match Live::decode(&event).unwrap_or_else(|error| panic!("{error} in {event:?}")) {
                    Live::Batch(batch) => {
                        let last = batch.records.last().expect("not empty").seq_num;
                        let id = event.id.clone().expect("a batch has an id");
                        assert!(id.starts_with(&format!("{last},")), "{id}");
                        last_id = Some(id);
                        batches += 1;
                    }
                    Live::Ping(Tail { tail }) => {
                        assert!(tail.seq_num > 0);
                        pings += 1;
                    }
                    Live::Done => ends += 1,
                    Live::Error { message } => panic!("{message}"),
                }
            }
        }
    }
    assert_eq!((batches, pings, ends, last_id.as_deref()), (4, 2, 3, Some("7,3,43")));
}

#[test]
fn events_of_the_proxy_are_read_with_the_place_that_the_stream_gave_them() {
    let mut parser = SseParser::new(proxy::WIRE, MAX_ANSWER_BYTES);
    let mut numbers = Vec::new();
    let lines = transcript("sync-s2-proxy.jsonl");
    for line in
        lines.iter().filter(|line| line.conn.as_deref() == Some("B-live") && line.sse.is_some()).take(5)
    {
        for event in parser.push(line.sse.as_deref().unwrap_or_default().as_bytes()).expect("small") {
            if let Live::Batch(batch) = Live::decode(&event).expect("a live event") {
                for record in &batch.records {
                    let event = record.event().expect("an event");
                    numbers.push((record.seq_num, event.seq_num, event.client_id));
                }
            }
        }
    }
    let numbers: Vec<_> = numbers.iter().map(|(place, number, by)| (*place, *number, by.as_str())).collect();
    assert_eq!(
        numbers,
        [(0, 1, "client-a"), (1, 2, "client-a"), (2, 1, "client-b"), (3, 3, "client-a"), (4, 3, "client-a")]
    );
}

#[test]
fn what_is_sent_to_the_proxy_is_what_the_published_client_sends() {
    let lines = transcript("sync-s2-sdk-client.jsonl");
    let asked: Vec<_> = lines.iter().filter_map(|line| line.http.as_deref()?.strip_prefix("GET ")).collect();
    let mut args = proxy::PullArgs {
        store_id: "sdk-s2-1795168813087".into(),
        from: proxy::From::Start,
        live: false,
        payload: Some(crate::RawValue::from_string(r#"{"authToken":"tok"}"#.into()).expect("JSON")),
    };
    assert_eq!(args.address("/"), asked[0]);
    args.live = true;
    assert_eq!(args.address("/"), asked[1]);
    args.from = proxy::From::Behind(7);
    assert!(args.address("/pull?x=1").starts_with("/pull?x=1&args=%7B%22storeId%22"));
    assert!(args.address("/").contains("%22s2SeqNum%22%3A7%2C"));
    let pushed = lines.iter().find_map(|line| line.body.as_deref().filter(|_| line.http.is_some()));
    let pushed = pushed.expect("the client pushed");
    assert_eq!(proxy::Push::decode(pushed).expect("a push").encode(), pushed);
    assert_eq!(proxy::decode_pushed(r#"{"success":true}"#), Ok(true));
    assert_eq!(proxy::decode_pushed("{}").expect_err("says nothing").path, "success");
    assert_eq!(
        proxy::PullArgs::decode(r#"{"storeId":"s","s2SeqNum":"start"}"#).expect_err("no").path,
        "s2SeqNum"
    );
}

#[test]
fn records_are_metered_as_the_service_does() {
    // The id of a live batch says what it has metered: "5,1,12" is one record of four bytes.
    assert_eq!(NewRecord { headers: Vec::new(), body: "five".into() }.metered_bytes(), 12);
    let headers = [("client".to_string(), "a".to_string())];
    assert_eq!(NewRecord { headers: headers.into(), body: String::new() }.metered_bytes(), 17);
}

#[test]
fn commands_to_the_service_are_told_from_events() {
    let batch = answers(200, "seq_num=8&count=3");
    let batch = decode_batch(&batch[0]).expect("a batch");
    let commands: Vec<_> = batch.records.iter().map(Record::is_command).collect();
    assert_eq!(commands, [true, false, false]);
    assert!(batch.records[1].event().is_err(), "no event either");
}

#[test]
fn a_faulty_answer_is_refused_with_the_field_that_is_at_fault() {
    for (text, path) in [
        ("{}", "records"),
        (r#"{"records":[{}]}"#, "records[0].seq_num"),
        (r#"{"records":[{"seq_num":-1}]}"#, "records[0].seq_num"),
        (r#"{"records":[{"seq_num":1},{"seq_num":1}]}"#, "records[1].seq_num"),
        (r#"{"records":[{"seq_num":1,"body":7}]}"#, "records[0].body"),
        (r#"{"records":[{"seq_num":1,"headers":[["a"]]}]}"#, "records[0].headers[0]"),
        (r#"{"records":[],"tail":{}}"#, "tail.seq_num"),
    ] {
        assert_eq!(decode_batch(text).expect_err(text).path, path, "{text}");
    }
    let record = Record { seq_num: 7, timestamp: 0, headers: Vec::new(), body: r#"{"name":"n"}"#.into() };
    assert_eq!(record.event().expect_err("half an event").path, "records[7].body.seqNum");
    assert_eq!(decode_mismatch("{}").expect_err("neither").fault, Fault::Missing);
    assert_eq!(decode_refusal("<html>").message, "<html>");
    let event = |name: &str, data: &str| SseEvent { name: name.into(), id: None, data: data.into() };
    assert_eq!(Live::decode(&event("message", "hello")).expect_err("unknown").path, "event");
    assert_eq!(
        Live::decode(&event("error", r#"{"code":"x","message":"gone"}"#)),
        Ok(Live::Error { message: "gone".into() })
    );
}
