//! S2's streams: its REST v1, and the wire of LiveStore's sync-s2 in front of it. One event is one record; its
//! position is the record's place and one, whatever its own numbers say.

use core::cell::Cell;

use driftline_protocol::{
    livestore::{Event, null},
    s2::{
        self, Append, Batch, Live, MAX_ANSWER_BYTES, MAX_APPEND_BYTES, MAX_APPEND_RECORDS, Mismatch,
        NewRecord, header, path,
        proxy::{self, From, PullArgs},
    },
    sse::SseParser,
};

use super::{
    Ask, Heard, HttpRequest, HttpResponse, LiveEndpoint, Method, Page, Position, PushItem, PushLimits,
    Pushed, WireFailure, event,
    json::{get, malformed, post, refusal, refusal_as},
};
use crate::{Code, ErrorInfo, FailureKind};

pub(super) const LIMITS: PushLimits = PushLimits {
    items: MAX_APPEND_RECORDS,
    // Quotes and backslashes of an event are escaped in the request; the record is metered without.
    bytes: MAX_APPEND_BYTES - 4 * 1024,
    item_overhead_bytes: event::OVERHEAD_BYTES,
};

/// Records of one read, at most.
const READ_MAX_RECORDS: u32 = 1_000;
/// The name of what holds no event, such as a command to the service; empty, it is nobody's.
const NO_EVENT: &str = "";

pub(crate) struct S2 {
    to: To,
    parser: SseParser,
}

enum To {
    Direct { basin: String, stream: String, making: Cell<Making> },
    Proxy { store_id: String, push_to: String, ping_to: String },
}

/// How far the making of a missing stream has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Making {
    /// It is to be there.
    Never,
    /// It is made if it turns out to be missing.
    IfMissing,
    Basin,
    Stream,
    Made,
}

impl S2 {
    pub fn direct(basin: &str, stream: &str, create: bool) -> Self {
        let making = Cell::new(if create { Making::IfMissing } else { Making::Never });
        Self::to(To::Direct { basin: basin.to_owned(), stream: stream.to_owned(), making })
    }

    pub fn proxied(store_id: &str, push_to: &str, ping_to: &str) -> Self {
        let (store_id, push_to, ping_to) = (store_id.to_owned(), push_to.to_owned(), ping_to.to_owned());
        Self::to(To::Proxy { store_id, push_to, ping_to })
    }

    fn to(to: To) -> Self {
        Self { to, parser: parser() }
    }

    pub fn opened(&mut self) {
        self.parser = parser();
    }

    pub fn live(&self, at: Position<'_>) -> LiveEndpoint {
        match &self.to {
            To::Direct { stream, .. } => {
                let mut headers = self.headers();
                headers.push(("accept", "text/event-stream".to_owned()));
                LiveEndpoint::EventStream(path::read(stream, at.cursor, None), headers)
            }
            To::Proxy { store_id, .. } => LiveEndpoint::EventStream(
                args(store_id, at, true),
                vec![("accept", "text/event-stream".to_owned())],
            ),
        }
    }

    /// Asks for what follows the cursor. Through the proxy, where a stream that ends before it looks like one with nothing
    /// new, `suspect` asks for what is at the cursor, too.
    pub fn encode_pull(&self, at: Position<'_>, suspect: bool) -> Ask {
        Ask::Request(match &self.to {
            To::Direct { basin, stream, making } => {
                let (method, path) = match making.get() {
                    Making::Basin => (Method::Put, path::basin(basin)),
                    Making::Stream => (Method::Put, path::stream(stream)),
                    _ => (Method::Get, path::read(stream, at.cursor, Some(READ_MAX_RECORDS))),
                };
                let body = if method == Method::Put { "{}".to_owned() } else { String::new() };
                HttpRequest { method, body, headers: self.headers(), ..get(path) }
            }
            To::Proxy { store_id, .. } => {
                let cursor = at.cursor - u64::from(suspect && at.cursor > 0);
                get(args(store_id, Position { cursor, ..at }, false))
            }
        })
    }

    pub fn encode_push(&self, at: Position<'_>, items: Vec<PushItem>) -> Ask {
        let events = event::numbered(at, items);
        Ask::Request(match &self.to {
            To::Direct { stream, .. } => {
                let append = Append {
                    records: events.iter().map(NewRecord::of_event).collect(),
                    match_seq_num: Some(at.head),
                    fencing_token: None,
                };
                HttpRequest { headers: self.headers(), ..post(&path::records(stream), append.encode()) }
            }
            To::Proxy { store_id, push_to, .. } => {
                post(push_to, proxy::Push { store_id: store_id.clone(), batch: events }.encode())
            }
        })
    }

    /// Asks where the tail is, or whether the proxy is there.
    pub fn encode_ping(&self) -> HttpRequest {
        match &self.to {
            To::Direct { stream, .. } => HttpRequest { headers: self.headers(), ..get(path::tail(stream)) },
            To::Proxy { ping_to, .. } => HttpRequest { method: Method::Head, ..get(ping_to.clone()) },
        }
    }

    pub fn decode_ping(&self, at: Position<'_>, response: &HttpResponse) -> Result<bool, WireFailure> {
        match &self.to {
            To::Direct { .. } if response.status == 200 => s2::decode_tail(&response.body)
                .map(|tail| tail.tail.seq_num != at.cursor)
                .map_err(|error| malformed(Code::InvalidPull, error)),
            To::Proxy { .. } if response.status < 300 => Ok(false),
            _ => Err(refused(response, Code::InvalidPull)),
        }
    }

    pub fn decode_push(&self, response: &HttpResponse) -> Result<Pushed, WireFailure> {
        let broken = |error| malformed(Code::InvalidPush, error);
        match (&self.to, response.status) {
            (To::Direct { .. }, 200 | 201) => {
                s2::decode_appended(&response.body).map(|_| Pushed::Appended).map_err(broken)
            }
            (To::Direct { .. }, 412) => match s2::decode_mismatch(&response.body).map_err(broken)? {
                Mismatch::SeqNum(tail) => Ok(Pushed::Ahead(Some(tail))),
                Mismatch::FencingToken(_) => Err(WireFailure {
                    kind: FailureKind::Temporary { after_ms: Some(FENCED_WAIT_MS), counts_attempt: false },
                    error: ErrorInfo::of(
                        Code::InvalidPush,
                        "the stream is fenced for another writer; what waits is kept, and sent when the fence is lifted",
                    ),
                    reset: false,
                }),
            },
            (To::Proxy { .. }, 200 | 201) => match proxy::decode_pushed(&response.body).map_err(broken)? {
                true => Ok(Pushed::Provisional),
                false => Err(malformed(Code::InvalidPush, "the proxy did not append the events")),
            },
            _ => Err(refused(response, Code::InvalidPush)),
        }
    }

    pub fn decode_pull(
        &self,
        at: Position<'_>,
        suspect: bool,
        response: &HttpResponse,
    ) -> Result<Page, WireFailure> {
        let broken = |error| malformed(Code::InvalidPull, error);
        let To::Direct { making, .. } = &self.to else {
            if response.status != 200 {
                return Err(refused(response, Code::InvalidPull));
            }
            let page = whole(&response.body)?;
            return match page.events.first() {
                Some(first) if at.cursor > 0 && first.parent_seq_num > at.cursor => {
                    Err(begins_later(first.parent_seq_num, at.cursor))
                }
                None if at.cursor > 0 && suspect => {
                    Err(gone(format!("the stream ends before {}, to which it had been read", at.cursor)))
                }
                _ => Ok(page),
            };
        };
        let next = match (making.get(), response.status) {
            (Making::IfMissing, 404) => Some(Making::Basin),
            // Who may not make basins may still make streams in one that is there.
            (Making::Basin, 200 | 201 | 403 | 404 | 405 | 409) => Some(Making::Stream),
            (Making::Stream, 200 | 201 | 409) => Some(Making::Made),
            // It may be lost again; one that is missing right after it was made is not made without end.
            (Making::Basin | Making::Stream | Making::Made, _) => {
                making.set(Making::IfMissing);
                None
            }
            _ => None,
        };
        if let Some(next) = next {
            making.set(next);
            return Ok(Page { events: Vec::new(), has_more: true, identity: None, is_answer: true });
        }
        match response.status {
            200 => {
                let batch = s2::decode_batch(&response.body).map_err(broken)?;
                let first = batch.records.first().map_or(at.cursor, |record| record.seq_num);
                if first > at.cursor && at.cursor > 0 {
                    return Err(begins_later(first, at.cursor));
                }
                if let (true, Some(tail)) = (batch.records.is_empty(), batch.tail) {
                    return at_tail(at, tail.seq_num);
                }
                let has_more = batch.tail.is_none() && !batch.records.is_empty();
                Ok(Page { events: events(batch), has_more, identity: None, is_answer: true })
            }
            416 => at_tail(at, s2::decode_tail(&response.body).map_err(broken)?.tail.seq_num),
            _ => Err(refused(response, Code::InvalidPull)),
        }
    }

    pub fn hear(&mut self, text: &str) -> Vec<Heard> {
        let parsed = match self.parser.push(text.as_bytes()) {
            Ok(parsed) => parsed,
            Err(error) => return vec![Heard::Broken(error.to_string())],
        };
        let heard = parsed.iter().map(|event| match Live::decode(event) {
            Ok(Live::Batch(batch)) => {
                let end = batch.records.last().map(|last| last.seq_num + 1);
                let has_more = batch.tail.is_none_or(|tail| Some(tail.seq_num) != end);
                let events = events(batch);
                Heard::Page(Page { events, has_more, identity: None, is_answer: false }, None)
            }
            Ok(Live::Ping(tail)) => Heard::Head(Some(tail.tail.seq_num)),
            Ok(Live::Done) => Heard::Broken("the service ended the live read".to_owned()),
            Ok(Live::Error { message }) => Heard::Broken(message),
            Err(error) => Heard::Broken(error.to_string()),
        });
        heard.collect()
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        match &self.to {
            To::Direct { basin, .. } => {
                vec![(header::FORMAT, header::RAW.to_owned()), (header::BASIN, basin.clone())]
            }
            To::Proxy { .. } => Vec::new(),
        }
    }
}

/// How long a fenced stream is left alone, in milliseconds.
const FENCED_WAIT_MS: u64 = 10_000;

fn parser() -> SseParser {
    SseParser::new(s2::WIRE, MAX_ANSWER_BYTES)
}

fn args(store_id: &str, at: Position<'_>, live: bool) -> String {
    let from = at.cursor.checked_sub(1).map_or(From::Start, From::Behind);
    PullArgs { store_id: store_id.to_owned(), from, live, payload: None }.address("")
}

/// A read that brought nothing, of a stream that ends here. Where that is behind the cursor, all that was between has
/// been trimmed.
fn at_tail(at: Position<'_>, tail: u64) -> Result<Page, WireFailure> {
    if tail < at.cursor {
        return Err(gone(format!("the stream ends at {tail} and had been read to {}", at.cursor)));
    }
    if tail > at.cursor && at.cursor > 0 {
        return Err(gone(format!("the stream is trimmed to {tail} and had been read to {}", at.cursor)));
    }
    let events = if tail > at.cursor { vec![nothing_at(tail)] } else { Vec::new() };
    Ok(Page { events, has_more: false, identity: None, is_answer: true })
}

/// A pull through the proxy that was answered to its end.
fn whole(body: &str) -> Result<Page, WireFailure> {
    let broken = |error| malformed(Code::InvalidPull, error);
    let mut page = Page { events: Vec::new(), has_more: false, identity: None, is_answer: true };
    for event in parser().push(body.as_bytes()).map_err(broken)? {
        match Live::decode(&event).map_err(broken)? {
            Live::Batch(batch) => page.events.extend(events(batch)),
            Live::Ping(_) => {}
            Live::Done => return Ok(page),
            Live::Error { message } => return Err(malformed(Code::InvalidPull, message)),
        }
    }
    Err(malformed(Code::InvalidPull, "the answer ends before its [DONE]"))
}

fn events(batch: Batch) -> Vec<Event> {
    let read = batch.records.into_iter().map(|record| {
        let position = record.seq_num + 1;
        let event = if record.is_command() { None } else { record.event().ok() };
        let event = event.unwrap_or_else(|| nothing_at(position));
        Event { seq_num: position, parent_seq_num: record.seq_num, ..event }
    });
    read.collect()
}

/// What a refusal means. A token that has expired, or is not for this stream, is a person's to see to, and a stream that is
/// missing, or about to be deleted, may be made anew: neither is the fault of what was to be sent.
fn refused(response: &HttpResponse, code: Code) -> WireFailure {
    let kind = match response.status {
        401 | 403 => FailureKind::AuthRequired,
        404 | 409 => FailureKind::Temporary { after_ms: None, counts_attempt: false },
        _ => return refusal(response, code),
    };
    refusal_as(kind, response, code)
}

fn begins_later(first: u64, cursor: u64) -> WireFailure {
    gone(format!("the stream begins at {first} and had been read to {cursor}"))
}

/// What holds no event, for its place alone.
fn nothing_at(position: u64) -> Event {
    Event {
        name: NO_EVENT.to_owned(),
        args: null(),
        seq_num: position,
        parent_seq_num: position.saturating_sub(1),
        client_id: String::new(),
        session_id: String::new(),
    }
}

fn gone(why: String) -> WireFailure {
    WireFailure {
        kind: FailureKind::Temporary { after_ms: Some(0), counts_attempt: false },
        error: ErrorInfo::of(Code::BackendReset, why),
        reset: true,
    }
}
