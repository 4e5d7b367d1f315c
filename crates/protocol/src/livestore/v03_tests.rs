use super::*;
use crate::decode::Fault;
use crate::testing::{Line, transcript};
use std::format;

const FILES: [&str; 3] = ["cf031.jsonl", "cf031-edge.jsonl", "cf031-sdk-client.jsonl"];

fn frames() -> impl Iterator<Item = Line> {
    FILES.iter().flat_map(|file| transcript(file)).filter(|line| line.raw.is_some())
}

#[test]
fn every_frame_of_the_real_server_is_read_and_written_as_it_came() {
    let (mut pages, mut broadcasts, mut acks, mut errors, mut others) = (0, 0, 0, 0, 0);
    for line in frames().filter(|line| !line.is_sent()) {
        let text = line.text();
        let frame = ServerFrame::decode(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        match &frame {
            ServerFrame::Page { context: Context::Pull(_), .. } => pages += 1,
            ServerFrame::Page { context: Context::Push(_), .. } => broadcasts += 1,
            ServerFrame::PushAck { .. } => acks += 1,
            ServerFrame::Error { .. } => errors += 1,
            _ => others += 1,
        }
        // An error's text is cut to a line, and an event without arguments has `null` for them here.
        if !matches!(frame, ServerFrame::Error { .. }) && !text.contains(r#""v1.NoArgs","seqNum""#) {
            assert_eq!(frame.encode(), text);
        }
    }
    let seen = [pages, broadcasts, acks, errors, others];
    assert!(pages > 8 && broadcasts > 12 && acks > 10 && errors > 5 && others >= 4, "{seen:?}");
}

#[test]
fn every_frame_of_the_published_client_is_read_and_written_as_it_came() {
    let (mut read, mut refused) = (0, 0);
    for line in frames().filter(Line::is_sent) {
        match ClientFrame::decode(line.text()) {
            Ok(ClientFrame::Ping) => read += 1,
            Ok(frame) => {
                read += 1;
                let text = line.text();
                if !text.contains("v1.NoArgs") && !text.contains(r#""foo":1"#) && !text.contains("null}") {
                    assert_eq!(frame.encode(), text);
                }
            }
            Err(error) => {
                refused += 1;
                assert!(["_tag", "cursor"].contains(&error.path.as_str()), "{error} in {}", line.text());
            }
        }
    }
    assert!(read > 30 && (1..=4).contains(&refused), "{read} {refused}");
}

#[test]
fn server_ahead_is_read_out_of_the_message_and_nothing_else_is() {
    let of = |message: &str| parent_mismatch(message).map(|found| (found.provided, found.head));
    assert_eq!(of("Invalid parent event number. Received e0 but expected e2"), Some((0, 2)));
    assert_eq!(
        of("LiveStore.UnexpectedError: Invalid parent event number. Received e10 but expected e12, sorry"),
        Some((10, 12))
    );
    for other in [
        "",
        "Invalid admin secret",
        "Invalid parent event number. Received e but expected e2",
        "Invalid parent event number. Received e1 but expected e",
        "Invalid parent event number. Received e-1 but expected e2",
        "Invalid parent event number. Received e1 but expected e99999999999999999999",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
    let told =
        frames().filter(|line| !line.is_sent()).filter_map(|line| match ServerFrame::decode(line.text()) {
            Ok(ServerFrame::Error { message, .. }) => parent_mismatch(&message),
            _ => None,
        });
    assert!(told.count() >= 4);
}

#[test]
fn a_faulty_frame_is_refused_with_the_field_that_is_at_fault() {
    let page = |rest: &str| format!(r#"{{"_tag":"WSMessage.PullRes","batch":[],{rest}}}"#);
    for (text, path, missing) in [
        ("{}".into(), "_tag", true),
        (r#"{"_tag":"WSMessage.PushAck"}"#.into(), "requestId", true),
        (r#"{"_tag":"WSMessage.PushAck","requestId":7}"#.into(), "requestId", false),
        (
            r#"{"_tag":"WSMessage.PushAck","requestId":{"context":"push","requestId":"a"}}"#.into(),
            "requestId",
            false,
        ),
        (r#"{"_tag":"WSMessage.Error","requestId":"a"}"#.into(), "message", true),
        (r#"{"_tag":"WSMessage.Bogus","requestId":"a"}"#.into(), "_tag", false),
        (r#"{"_tag":"Pong","requestId":"a"}"#.into(), "_tag", false),
        (page(r#""requestId":"a","remaining":0"#), "requestId", false),
        (page(r#""requestId":{"context":"pull"},"remaining":0"#), "requestId.requestId", true),
        (page(r#""requestId":{"context":"poll","requestId":"a"},"remaining":0"#), "requestId.context", false),
        (page(r#""requestId":{"context":"pull","requestId":"a"}"#), "remaining", true),
        (page(r#""requestId":{"context":"pull","requestId":"a"},"remaining":-1"#), "remaining", false),
        (
            r#"{"_tag":"WSMessage.PullRes","requestId":{"context":"pull","requestId":"a"},"remaining":0}"#
                .into(),
            "batch",
            true,
        ),
        (r#"{"_tag":"WSMessage.AdminInfoRes","requestId":"a"}"#.into(), "info", true),
    ] {
        let error = ServerFrame::decode(&text).expect_err(&text);
        assert_eq!(error.path, path, "{text}: {error}");
        assert_eq!(error.fault == Fault::Missing, missing, "{text}: {error}");
    }
    for (text, path) in [
        (r#"{"_tag":"WSMessage.PushReq","requestId":"a"}"#, "batch"),
        (r#"{"_tag":"WSMessage.AdminInfoReq","requestId":"a"}"#, "adminSecret"),
        (r#"{"_tag":"WSMessage.PullReq","requestId":"a","cursor":-1}"#, "cursor"),
    ] {
        assert_eq!(ClientFrame::decode(text).expect_err(text).path, path, "{text}");
    }
}

#[test]
fn a_store_is_addressed_below_websocket_unless_the_app_says_where() {
    let payload = Some(r#"{"authToken":"x"}"#);
    let query = "?storeId=s%2F1&payload=%257B%2522authToken%2522%253A%2522x%2522%257D";
    assert_eq!(address("https://h.example", "s/1", payload), format!("wss://h.example/websocket{query}"));
    assert_eq!(address("http://h.example/", "s/1", payload), format!("ws://h.example/websocket{query}"));
    assert_eq!(address("ws://h.example/mine", "s/1", payload), format!("ws://h.example/mine{query}"));
}
