//! S2's REST v1: a stream of records per store, one LiveStore event in each.
//!
//! A record's place in its stream counts from 0, an event's number from 1: the record at `n` holds the event `n + 1`.
//! An append that names the place that it expects ([`Append::match_seq_num`]) is taken whole or not at all, which is what
//! keeps two writers apart. [`proxy`] is the wire of LiveStore's sync-s2, which has nothing of the kind.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decode::{DecodeError, cut, from_json, position};
use crate::livestore::{Event, percent_encode};
use crate::sse::SseEvent;

pub mod proxy;

/// What errors call this wire.
pub const WIRE: &str = "s2";
/// Records in one append, at most.
pub const MAX_APPEND_RECORDS: usize = 1_000;
/// Metered bytes of one append, at most; see [`Record::metered_bytes`]. A single record must be smaller than this.
pub const MAX_APPEND_BYTES: usize = 1024 * 1024;
/// Bytes of one request, at most, as s2-lite takes them: what is metered may take twice as much where its characters are
/// escaped.
pub const MAX_REQUEST_BYTES: usize = 2 * MAX_APPEND_BYTES;
/// Bytes of one answer or live event, at most: a batch's 1 MiB with every byte escaped, and room for its fields.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// A live read sends a ping at least this often, and is dead without one, in milliseconds.
pub const LIVE_SILENCE_MS: u64 = 20_000;

/// Names and values of headers, in lower case.
pub mod header {
    /// How bodies and headers of records are written; [`RAW`] here.
    pub const FORMAT: &str = "s2-format";
    /// As text, which events are.
    pub const RAW: &str = "raw";
    /// Which basin; s2-lite has one address for all.
    pub const BASIN: &str = "s2-basin";
    /// Where a live read goes on: the id of its last event.
    pub const LAST_EVENT_ID: &str = "last-event-id";
}

/// Values of [`Refusal::code`].
pub mod code {
    /// 404: the stream has not been made.
    pub const STREAM_NOT_FOUND: &str = "stream_not_found";
    /// 404: the basin has not been made.
    pub const BASIN_NOT_FOUND: &str = "basin_not_found";
    /// 409: it is there already.
    pub const ALREADY_EXISTS: &str = "resource_already_exists";
    /// 422: the request is understood and not allowed.
    pub const INVALID: &str = "invalid";
}

/// Paths below the service's address, `/v1` included.
pub mod path {
    use super::*;

    /// Where a basin is made, by PUT.
    pub fn basin(basin: &str) -> String {
        format!("/v1/basins/{}", percent_encode(basin))
    }

    /// Where a stream is made, by PUT.
    pub fn stream(stream: &str) -> String {
        format!("/v1/streams/{}", percent_encode(stream))
    }

    /// Where records are appended, by POST.
    pub fn records(stream: &str) -> String {
        format!("/v1/streams/{}/records", percent_encode(stream))
    }

    /// Where the tail is asked for, by GET.
    pub fn tail(stream: &str) -> String {
        format!("/v1/streams/{}/records/tail", percent_encode(stream))
    }

    /// Where records are read from `seq_num` on, by GET: at most `count` at once, or live as server-sent events if
    /// that is what the request accepts. A live read from behind the tail would be refused, so it is clamped to it.
    pub fn read(stream: &str, seq_num: u64, count: Option<u32>) -> String {
        let rest = count.map_or_else(|| "&clamp=true".to_string(), |count| format!("&count={count}"));
        format!("{}?seq_num={seq_num}{rest}", records(stream))
    }
}

/// A place in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many records are before it.
    #[serde(deserialize_with = "position")]
    pub seq_num: u64,
    /// When its record was taken, in milliseconds since 1970.
    #[serde(default)]
    pub timestamp: u64,
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the stream.
    #[serde(deserialize_with = "position")]
    pub seq_num: u64,
    /// When it was taken, in milliseconds since 1970.
    #[serde(default)]
    pub timestamp: u64,
    /// Names and values. One with an empty name makes the record a command to the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The event's JSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// A record as it is appended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRecord {
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The event's JSON.
    #[serde(default)]
    pub body: String,
}

/// Body of `POST …/records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// 1 to [`MAX_APPEND_RECORDS`], in order.
    pub records: Vec<NewRecord>,
    /// Where the first of them must come to stand; refused otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_seq_num: Option<u64>,
    /// Which writer the stream must be fenced for; refused otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<String>,
}

/// Answer of `POST …/records`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Where the first record stands.
    pub start: Place,
    /// Just behind the last.
    pub end: Place,
    /// Just behind the stream's last.
    pub tail: Place,
}

/// Answer of a read, and data of the live event `batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// In order. They begin later than was asked for if the stream has been trimmed.
    pub records: Vec<Record>,
    /// Just behind the stream's last record, if the read has reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Place>,
}

/// Answer of `GET …/records/tail`, and of a read that begins at the tail or behind it (416).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Just behind the stream's last record.
    pub tail: Place,
}

/// Why an append was not taken (412).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The stream's tail is not where the append expects it, but here.
    SeqNum(u64),
    /// The stream is fenced for this writer.
    FencingToken(String),
}

/// Body of every other refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One of [`code`], or another.
    #[serde(default)]
    pub code: String,
    /// What happened, for a person.
    #[serde(default)]
    pub message: String,
}

/// An event of a live read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// Records.
    Batch(Batch),
    /// All is well; the first one says that everything up to its tail has been sent.
    Ping(Tail),
    /// The service has ended the read, and it can be made anew from where it got to.
    Done,
    /// The service has failed.
    Error {
        /// Its words, cut to a line.
        message: String,
    },
}

impl NewRecord {
    /// The record of an event.
    pub fn of_event(event: &Event) -> Self {
        let body = serde_json::to_string(event).expect("the wire's own types are always JSON");
        Self { headers: Vec::new(), body }
    }

    /// What the service counts against its limits.
    pub fn metered_bytes(&self) -> usize {
        metered_bytes(&self.headers, &self.body)
    }
}

impl Append {
    /// The request's body.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("the wire's own types are always JSON")
    }
}

impl Record {
    /// Whether this is a command to the service, such as a fence or a trim, and no event.
    pub fn is_command(&self) -> bool {
        matches!(&self.headers[..], [(name, _)] if name.is_empty())
    }

    /// Reads the event. Its own numbers are what its writer took them for; where the stream has them is
    /// [`Record::seq_num`] and one.
    ///
    /// # Errors
    /// If the body is no event.
    pub fn event(&self) -> Result<Event, DecodeError> {
        from_json(WIRE, MAX_ANSWER_BYTES, &self.body)
            .map_err(|error: DecodeError| error.below(&format!("records[{}].body", self.seq_num)))
    }

    /// What the service counts against its limits.
    pub fn metered_bytes(&self) -> usize {
        metered_bytes(&self.headers, &self.body)
    }
}

/// Reads an answer of status 200 or 201 to an append.
///
/// # Errors
/// If it is none.
pub fn decode_appended(text: &str) -> Result<Appended, DecodeError> {
    from_json(WIRE, MAX_ANSWER_BYTES, text)
}

/// Reads an answer of status 200 to a read.
///
/// # Errors
/// If it is none, or its records are not in order.
pub fn decode_batch(text: &str) -> Result<Batch, DecodeError> {
    let batch: Batch = from_json(WIRE, MAX_ANSWER_BYTES, text)?;
    let pairs = batch.records.iter().zip(batch.records.iter().skip(1)).enumerate();
    for (index, (before, after)) in pairs {
        if after.seq_num <= before.seq_num {
            let detail = format!("{} after {}", after.seq_num, before.seq_num);
            return Err(DecodeError::invalid(WIRE, format!("records[{}].seq_num", index + 1), detail));
        }
    }
    Ok(batch)
}

/// Reads where the tail is, out of an answer of status 200 to that question or of status 416 to a read.
///
/// # Errors
/// If it does not say so.
pub fn decode_tail(text: &str) -> Result<Tail, DecodeError> {
    from_json(WIRE, MAX_ANSWER_BYTES, text)
}

/// Reads an answer of status 412 to an append.
///
/// # Errors
/// If it names neither a place nor a token.
pub fn decode_mismatch(text: &str) -> Result<Mismatch, DecodeError> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        seq_num_mismatch: Option<Number>,
        #[serde(default)]
        fencing_token_mismatch: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Number(#[serde(deserialize_with = "position")] u64);
    match from_json(WIRE, MAX_ANSWER_BYTES, text)? {
        Wire { seq_num_mismatch: Some(Number(tail)), .. } => Ok(Mismatch::SeqNum(tail)),
        Wire { fencing_token_mismatch: Some(token), .. } => Ok(Mismatch::FencingToken(token)),
        _ => Err(DecodeError::missing(WIRE, "seq_num_mismatch")),
    }
}

/// Reads any other refusal; text that is none is its message.
pub fn decode_refusal(text: &str) -> Refusal {
    match from_json::<Refusal>(WIRE, MAX_ANSWER_BYTES, text) {
        Ok(refusal) => Refusal { code: cut(&refusal.code), message: cut(&refusal.message) },
        Err(_) => Refusal { code: String::new(), message: cut(text) },
    }
}

impl Live {
    /// Reads an event of a live read.
    ///
    /// # Errors
    /// If it is none of this wire's, or its data is not what its name says.
    pub fn decode(event: &SseEvent) -> Result<Self, DecodeError> {
        match event.name.as_str() {
            "batch" => Ok(Self::Batch(decode_batch(&event.data)?)),
            "ping" => Ok(Self::Ping(decode_tail(&event.data)?)),
            "error" => Ok(Self::Error { message: said(&event.data).into_owned() }),
            "message" if event.data == "[DONE]" => Ok(Self::Done),
            other => Err(DecodeError::invalid(WIRE, "event", format!("unknown: {}", cut(other)))),
        }
    }
}

fn said(data: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Refusal>(data) {
        Ok(Refusal { message, .. }) if !message.is_empty() => Cow::Owned(cut(&message)),
        _ => Cow::Owned(cut(data)),
    }
}

fn metered_bytes(headers: &[(String, String)], body: &str) -> usize {
    let named: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    8 + 2 * headers.len() + named + body.len()
}

#[cfg(test)]
mod tests;
