//! Every decoder of this crate, given any bytes: it must say yes or say what is wrong, and what it takes must mean the
//! same when it is written and read again. Shared by `tests/any_input.rs` and the fuzz targets of `tests/fuzz`.
#![allow(dead_code, reason = "each fuzz target uses one")]

use std::fmt::Debug;

use driftline_protocol::decode::DecodeError;
use driftline_protocol::livestore::{v03, v04};
use driftline_protocol::mizu::{self, live, plan};
use driftline_protocol::s2::{self, proxy};
use driftline_protocol::sse::{SseEvent, SseParser};

/// Tries one wire's decoders; panics if one of them does what it must not.
pub type Decode = fn(&[u8]);

/// By name, as the fuzz targets are called.
pub const ALL: [(&str, Decode); 5] = [
    ("livestore_v04", livestore_v04),
    ("livestore_v03", livestore_v03),
    ("s2", s2),
    ("sse", sse),
    ("mizu", mizu),
];

/// Frames and answers of sync-cf 0.4.
pub fn livestore_v04(input: &[u8]) {
    let Some(text) = text(input) else { return };
    again(checked(v04::ServerFrame::decode(text)), v04::ServerFrame::encode, v04::ServerFrame::decode);
    if let Some((pages, _)) = checked(v04::ServerFrame::decode_http(text)) {
        let frame = v04::ServerFrame::Chunk { request_id: 0, pages };
        again(Some(frame), v04::ServerFrame::encode, v04::ServerFrame::decode);
    }
    let over = |transport| move |text: &str| v04::ClientFrame::decode(transport, text);
    let socket = over(v04::Transport::WebSocket);
    again(checked(socket(text)), v04::ClientFrame::encode, socket);
    checked(over(v04::Transport::Http)(text));
}

/// Frames of sync-cf 0.3.
pub fn livestore_v03(input: &[u8]) {
    let Some(text) = text(input) else { return };
    again(checked(v03::ServerFrame::decode(text)), v03::ServerFrame::encode, v03::ServerFrame::decode);
    again(checked(v03::ClientFrame::decode(text)), v03::ClientFrame::encode, v03::ClientFrame::decode);
    v03::parent_mismatch(text);
}

/// Answers of S2 and of the proxy before it.
pub fn s2(input: &[u8]) {
    let Some(text) = text(input) else { return };
    checked(s2::decode_appended(text));
    checked(s2::decode_tail(text));
    checked(s2::decode_mismatch(text));
    s2::decode_refusal(text);
    if let Some(batch) = checked(s2::decode_batch(text)) {
        for record in &batch.records {
            checked(record.event());
            record.is_command();
            assert!(record.metered_bytes() >= record.body.len());
        }
    }
    again(checked(proxy::Push::decode(text)), proxy::Push::encode, proxy::Push::decode);
    checked(proxy::PullArgs::decode(text));
    checked(proxy::decode_pushed(text));
}

/// A live read, however it arrives; the first byte says where it is cut.
pub fn sse(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else { return };
    let parse = |pieces: &[&[u8]]| {
        let mut parser = SseParser::new("sse", 64 * 1024);
        let mut events: Vec<SseEvent> = Vec::new();
        for piece in pieces {
            match parser.push(piece) {
                Ok(more) => events.extend(more),
                Err(_) => return None,
            }
        }
        Some(events)
    };
    let whole = parse(&[stream]);
    let (left, right) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(parse(&[left, right]), whole);
    for event in whole.into_iter().flatten() {
        checked(s2::Live::decode(&event));
    }
}

/// Answers, pokes and frames of mizu's dialects.
pub fn mizu(input: &[u8]) {
    checked(plan::Poke::decode(input).map(|poke| poke.map(|poke| assert!(!poke.encode().is_empty()))));
    let Some(text) = text(input) else { return };
    again(
        checked(live::Frame::decode(text)).filter(|frame| *frame != live::Frame::Other),
        live::Frame::encode,
        live::Frame::decode,
    );
    checked(plan::decode_pull(text));
    checked(plan::decode_push(1, text));
    checked(plan::decode_snapshot(text));
    let _ = serde_json::from_str::<plan::PushRequest>(text);
    let _ = serde_json::from_str::<mizu::PushRequest>(text);
    let _ = serde_json::from_str::<mizu::PushResponse>(text);
    let _ = serde_json::from_str::<mizu::PullResponse>(text);
    let _ = serde_json::from_str::<mizu::SnapshotResponse>(text);
    let _ = serde_json::from_str::<mizu::EntityChange>(text);
    let _ = serde_json::from_str::<mizu::Poke>(text);
}

/// Texts come over these wires already decoded.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// An error is short, whatever the input was.
fn checked<T>(result: Result<T, DecodeError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.to_string().len() < 10_000, "an error of {} bytes", error.to_string().len());
            None
        }
    }
}

/// What was taken means the same when it is written and read again.
fn again<T: Debug>(
    value: Option<T>,
    write: impl Fn(&T) -> String,
    read: impl Fn(&str) -> Result<T, DecodeError>,
) {
    let Some(value) = value else { return };
    let text = write(&value);
    let read = read(&text).unwrap_or_else(|error| panic!("{error} in what was written: {text}"));
    assert_eq!(format!("{value:?}"), format!("{read:?}"), "{text}");
}
