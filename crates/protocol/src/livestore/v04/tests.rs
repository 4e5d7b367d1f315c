use super::*;
use crate::decode::Fault;
use crate::livestore::Event;
use crate::testing::{Line, transcript};
use std::format;
use std::vec::Vec;

const FILES: [&str; 6] = [
    "cf040-ws.jsonl",
    "cf040-http.jsonl",
    "cf040-interleave.jsonl",
    "cf040-reset.jsonl",
    "cf040-plain-d1.jsonl",
    "cf040-sdk-client.jsonl",
];

/// Every frame and body of the real server's, whole ones only, with where it is from.
fn lines() -> Vec<(&'static str, Line)> {
    FILES.iter().flat_map(|file| transcript(file).into_iter().map(move |line| (*file, line))).collect()
}

fn server_frames() -> Vec<(&'static str, Line)> {
    lines().into_iter().filter(|(_, line)| line.is_frame_from_server()).collect()
}

#[test]
fn every_frame_of_the_real_server_is_read_and_says_the_same_when_written() {
    let mut seen = [0; 4];
    for (file, line) in server_frames() {
        let text = line.text();
        let frame = ServerFrame::decode(text).unwrap_or_else(|error| panic!("{error} in {file}: {text}"));
        let again = ServerFrame::decode(&frame.encode()).expect("own text");
        assert_eq!(format!("{frame:?}"), format!("{again:?}"), "{file}: {text}");
        match &frame {
            ServerFrame::Chunk { .. } => seen[0] += 1,
            ServerFrame::Exit { .. } => seen[1] += 1,
            ServerFrame::Defect { .. } => seen[2] += 1,
            ServerFrame::Pong => seen[3] += 1,
        }
    }
    assert!(seen[0] > 50 && seen[1] > 40 && seen[2] >= 3 && seen[3] >= 2, "{seen:?}");
}

#[test]
fn pages_exits_and_calls_are_written_as_the_real_peers_write_them() {
    let mut same = 0;
    for (_, line) in server_frames() {
        let text = line.text();
        let frame = ServerFrame::decode(text).expect("read before");
        // Two spellings of one thing: a success without a value, and an event without arguments.
        let text = text.replace(r#"{"_tag":"Success"}"#, r#"{"_tag":"Success","value":{}}"#);
        let text = text.replace(r#""v1.NoArgs","seqNum""#, r#""v1.NoArgs","args":null,"seqNum""#);
        let is_ours = match &frame {
            ServerFrame::Exit { exit: Exit::Failure(failure), .. } => {
                matches!(failure, Failure::ServerAhead { .. } | Failure::BackendIdMismatch { .. })
            }
            ServerFrame::Defect { .. } => false,
            _ => true,
        };
        if is_ours {
            assert_eq!(frame.encode(), text);
            same += 1;
        }
    }
    assert!(same > 100, "{same}");
    for (_, line) in lines().iter().filter(|(file, line)| *file == "cf040-ws.jsonl" && line.is_sent()) {
        if let Ok(frame) = ClientFrame::decode(Transport::WebSocket, line.text())
            && !line.text().contains("v1.NoArgs")
        {
            assert_eq!(frame.encode(), line.text());
        }
    }
}

#[test]
fn every_call_of_the_published_client_is_read() {
    let (mut pulls, mut pushes, mut acks, mut pings) = (0, 0, 0, 0);
    for line in transcript("cf040-sdk-client.jsonl").iter().filter(|line| line.is_sent()) {
        match ClientFrame::decode(Transport::WebSocket, line.text())
            .unwrap_or_else(|_| panic!("{}", line.text()))
        {
            ClientFrame::Request(CallRequest { store_id, payload, call, .. }) => {
                assert!(store_id.starts_with("sdk-store-"));
                assert_eq!(payload.expect("sent").get(), r#"{"authToken":"insecure-token-change-me"}"#);
                match call {
                    OwnedCall::Pull { .. } => pulls += 1,
                    OwnedCall::Push { batch, .. } => {
                        assert!(!batch.is_empty());
                        pushes += 1;
                    }
                    OwnedCall::Ping => panic!("not over a WebSocket"),
                }
            }
            ClientFrame::Ack { .. } => acks += 1,
            ClientFrame::Ping => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((pulls, pushes, acks, pings), (2, 4, 5, 2));
}

#[test]
fn a_call_over_http_is_read_and_answered_with_all_pages_and_how_it_ended() {
    let mut ends = Vec::new();
    for (_, line) in lines() {
        if line.body.is_none() || !line.text().starts_with(['[', '{']) {
            continue;
        }
        if line.is_sent() {
            match ClientFrame::decode(Transport::Http, line.text()) {
                Ok(ClientFrame::Request(request)) => assert!(!request.store_id.is_empty()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert!(
                    ["tag", "payload.cursor", "payload.storeId", ""].contains(&error.path.as_str()),
                    "{error} {}",
                    line.text()
                ),
            }
        } else {
            let (pages, exit) =
                ServerFrame::decode_http(line.text()).unwrap_or_else(|_| panic!("{}", line.text()));
            ends.push((pages.iter().map(|page| page.batch.len()).sum::<usize>(), exit));
        }
    }
    let failures: Vec<_> = ends
        .iter()
        .filter_map(|(_, exit)| match exit {
            Exit::Failure(failure) => Some(failure.clone()),
            Exit::Success => None,
        })
        .collect();
    assert!(ends.iter().any(|(events, exit)| *events == 1 && *exit == Exit::Success));
    assert!(failures.contains(&Failure::ServerAhead { head: 2, provided: 1 }), "{failures:?}");
    assert!(failures.contains(&Failure::BackendIdMismatch {
        expected: "8fB_pfh5h9pxHMB6QAHP2".into(),
        received: "nope".into()
    }));
    assert!(failures.contains(&Failure::Defect { message: "Unknown request tag: SyncHttpRpc.Admin".into() }));
}

#[test]
fn failures_are_told_apart() {
    let of = |cause: &str| {
        let text =
            format!(r#"{{"_tag":"Exit","requestId":"3","exit":{{"_tag":"Failure","cause":{cause}}}}}"#);
        match ServerFrame::decode(&text) {
            Ok(ServerFrame::Exit { request_id: 3, exit: Exit::Failure(failure) }) => Ok(failure),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    let ahead =
        r#"{"_tag":"Fail","error":{"minimumExpectedNum":7,"providedNum":5,"_tag":"ServerAheadError"}}"#;
    let interrupt = r#"{"_tag":"Interrupt","fiberId":{"_tag":"Runtime","id":-499,"startTimeMillis":0}}"#;
    let is_ahead = Ok(Failure::ServerAhead { head: 7, provided: 5 });
    assert_eq!(of(ahead), is_ahead);
    assert_eq!(of(&format!("[{ahead}]")), is_ahead, "the next major's list");
    assert_eq!(of(&format!("[{interrupt},{ahead}]")), is_ahead);
    assert_eq!(
        of(&format!(
            r#"{{"_tag":"Sequential","left":{interrupt},"right":{{"_tag":"Parallel","left":{{"_tag":"Empty"}},"right":{ahead}}}}}"#
        )),
        is_ahead
    );
    for interrupted in [interrupt, "[]", r#"{"_tag":"Empty"}"#, &format!("[{interrupt}]")] {
        assert_eq!(of(interrupted), Ok(Failure::Interrupted));
    }
    assert_eq!(
        of(
            r#"{"_tag":"Fail","error":{"cause":{"name":"OversizeChunkItemError","message":"950315"},"_tag":"UnknownError"}}"#
        ),
        Ok(Failure::Other { name: "OversizeChunkItemError".into(), message: "950315".into() })
    );
    assert_eq!(
        of(r#"{"_tag":"Fail","error":{"cause":{"name":"Error","message":"no"},"_tag":"UnknownError"}}"#),
        Ok(Failure::Other { name: "UnknownError".into(), message: "no".into() })
    );
    assert_eq!(
        of(r#"{"_tag":"Fail","error":{"_tag":"Later","message":"new"}}"#),
        Ok(Failure::Other { name: "Later".into(), message: "new".into() })
    );
    assert_eq!(
        of(r#"{"_tag":"Die","defect":{"name":"TypeError","message":"x is undefined"}}"#),
        Ok(Failure::Defect { message: "x is undefined".into() })
    );
    for (cause, path) in [
        (r#"{"_tag":"Fail"}"#, "exit.cause.error"),
        (
            r#"{"_tag":"Fail","error":{"_tag":"ServerAheadError","providedNum":1}}"#,
            "exit.cause.error.minimumExpectedNum",
        ),
        (
            r#"{"_tag":"Fail","error":{"_tag":"BackendIdMismatchError","expected":"a"}}"#,
            "exit.cause.error.received",
        ),
        (r#"{"_tag":"Fail","error":7}"#, "exit.cause.error"),
        (r#"{"_tag":"Odd"}"#, "exit.cause._tag"),
        ("7", "exit.cause"),
    ] {
        assert_eq!(of(cause).expect_err(cause).path, path, "{cause}");
    }
}

#[test]
fn a_faulty_frame_is_refused_with_the_field_that_is_at_fault() {
    let chunk = |batch: &str, info: &str| {
        format!(
            r#"{{"_tag":"Chunk","requestId":"0","values":[{{"batch":[{batch}],"pageInfo":{info},"backendId":"b"}}]}}"#
        )
    };
    let more = r#"{"_tag":"NoMore"}"#;
    for (text, path, missing) in [
        ("{}".into(), "_tag", true),
        (r#"{"_tag":"Chunk","values":[]}"#.into(), "requestId", true),
        (r#"{"_tag":"Chunk","requestId":"0"}"#.into(), "values", true),
        (r#"{"_tag":"Chunk","requestId":0,"values":[]}"#.into(), "requestId", false),
        (r#"{"_tag":"Chunk","requestId":"abc","values":[]}"#.into(), "requestId", false),
        (r#"{"_tag":"Chunk","requestId":"+1","values":[]}"#.into(), "requestId", false),
        (r#"{"_tag":"Chunk","requestId":"99999999999999999999","values":[]}"#.into(), "requestId", false),
        (r#"{"_tag":"Exit","requestId":"0"}"#.into(), "exit", true),
        (r#"{"_tag":"Exit","requestId":"0","exit":{"_tag":"Odd"}}"#.into(), "exit._tag", false),
        (r#"{"_tag":"Exit","requestId":"0","exit":{"_tag":"Failure"}}"#.into(), "exit.cause", true),
        (r#"{"_tag":"Odd"}"#.into(), "_tag", false),
        (chunk("{}", more), "values[0].batch[0].eventEncoded", true),
        (
            chunk(r#"{"eventEncoded":{"name":"n","seqNum":1,"parentSeqNum":0,"clientId":"c"}}"#, more),
            "values[0].batch[0].eventEncoded.sessionId",
            true,
        ),
        (
            chunk(r#"{"eventEncoded":{"name":"n","seqNum":-1}}"#, more),
            "values[0].batch[0].eventEncoded.seqNum",
            false,
        ),
        (chunk("", r#"{"_tag":"Some"}"#), "values[0].pageInfo._tag", false),
        (chunk("", r#"{"_tag":"MoreKnown"}"#), "values[0].pageInfo", false),
    ] {
        let error = ServerFrame::decode(&text).expect_err(&text);
        assert_eq!(error.path, path, "{text}");
        assert_eq!(error.fault == Fault::Missing, missing, "{text}: {error}");
    }
    for text in
        ["", "[", "null", "[]", "7", "\"Pong\"", "{\"_tag\":\"Chunk\",\"requestId\":\"0\",\"values\":[{"]
    {
        assert!(ServerFrame::decode(text).is_err(), "{text}");
    }
    for text in ["[]", r#"[{"_tag":"Pong"}]"#, r#"[{"_tag":"Chunk","requestId":"0","values":[]}]"#] {
        assert!(ServerFrame::decode_http(text).is_err(), "{text}");
    }
}

#[test]
fn a_call_that_lacks_something_is_refused_with_what_it_lacks() {
    let call = |tag: &str, payload: &str| {
        format!(r#"{{"_tag":"Request","id":"0","tag":"{tag}","payload":{payload},"headers":[]}}"#)
    };
    for (text, path) in [
        (call("SyncWsRpc.Pull", "{}"), "payload.storeId"),
        (call("SyncWsRpc.Pull", r#"{"storeId":"s"}"#), "payload.cursor"),
        (call("SyncWsRpc.Pull", r#"{"storeId":"s","cursor":{"_tag":"Some"}}"#), "payload.cursor.value"),
        (call("SyncWsRpc.Push", r#"{"storeId":"s","backendId":{"_tag":"None"}}"#), "payload.batch"),
        (call("SyncWsRpc.Push", r#"{"storeId":"s","batch":[]}"#), "payload.backendId"),
        (
            call("SyncWsRpc.Push", r#"{"storeId":"s","batch":[{"name":"x"}],"backendId":{"_tag":"None"}}"#),
            "payload.batch[0].seqNum",
        ),
        (call("SyncWsRpc.Ping", r#"{"storeId":"s"}"#), "tag"),
        (call("SyncHttpRpc.Pull", r#"{"storeId":"s","cursor":{"_tag":"None"}}"#), "tag"),
        (r#"{"_tag":"Request","id":"0","tag":"SyncWsRpc.Pull"}"#.into(), "payload"),
        (r#"{"_tag":"Ack"}"#.into(), "requestId"),
    ] {
        assert_eq!(ClientFrame::decode(Transport::WebSocket, &text).expect_err(&text).path, path, "{text}");
    }
}

#[test]
fn a_store_is_addressed_as_the_published_client_does() {
    let payload = Some(r#"{"authToken":"insecure-token-change-me"}"#);
    assert_eq!(
        Transport::WebSocket.address("https://h.example/sync", "a b/1", payload),
        "wss://h.example/sync?storeId=a%20b%2F1&payload=%257B%2522authToken%2522%253A%2522insecure-token-change-me%2522%257D&transport=ws"
    );
    assert_eq!(
        Transport::Http.address("ws://h.example/?x=1", "s", None),
        "http://h.example/?x=1&storeId=s&transport=http"
    );
    let origin = Transport::Http.address("http://h.example:81", "s", None);
    assert_eq!(origin, "http://h.example:81/?storeId=s&transport=http", "a path of its own");
}

#[test]
fn an_event_is_known_again_whatever_the_server_did_to_its_text() {
    let event = |args: &str| Event {
        name: "todo.inserted".into(),
        args: crate::RawValue::from_string(args.into()).expect("JSON"),
        seq_num: 2,
        parent_seq_num: 1,
        client_id: "c".into(),
        session_id: "s".into(),
    };
    let ours = event(r#"{"id":"t1","n":1.0}"#);
    assert!(ours.is_same(&event(r#"{"n": 1, "id": "t1"}"#)));
    assert!(!ours.is_same(&event(r#"{"id":"t2","n":1}"#)));
    for other in [
        Event { seq_num: 3, ..ours.clone() },
        Event { client_id: "d".into(), ..ours.clone() },
        Event { session_id: "t".into(), ..ours.clone() },
        Event { name: "todo.updated".into(), ..ours.clone() },
    ] {
        assert!(!ours.is_same(&other));
    }
    assert!(ours.is_same(&Event { parent_seq_num: 0, ..ours.clone() }), "the parent follows from the number");
}
