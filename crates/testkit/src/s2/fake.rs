//! Fakes of s2-lite, and of sync-s2's proxy in front of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use driftline_protocol::s2::proxy::{From, PullArgs, Push};
use driftline_protocol::s2::{
    Append, Appended, Batch, MAX_APPEND_BYTES, MAX_APPEND_RECORDS, MAX_REQUEST_BYTES, NewRecord, Place,
    Record, Tail, header,
};
use serde_json::json;

use super::{Answer, LiveRead, Request, S2Server};

/// A server of S2's REST v1 in memory, as far as clients of streams see it. Clones are one server.
#[derive(Clone, Debug, Default)]
pub struct FakeS2(Rc<RefCell<State>>);

/// A proxy of sync-s2's in front of a [`FakeS2`], as its documentation writes one with the published helpers.
#[derive(Clone, Debug, Default)]
pub struct FakeProxy {
    /// What it keeps its stores' streams in.
    pub s2: FakeS2,
}

/// A live read. What it brings is there at once: where nothing happens, it pings.
#[derive(Debug)]
pub struct FakeLive {
    s2: FakeS2,
    stream: (String, String),
    next: u64,
    count: usize,
    bytes: usize,
    caught_up: bool,
}

#[derive(Debug, Default)]
struct State {
    basins: BTreeMap<String, BTreeMap<String, Stream>>,
    now: u64,
    names: u64,
}

#[derive(Debug, Default)]
struct Stream {
    records: Vec<Record>,
    /// Records before this one are gone.
    begin: u64,
    tail: Place,
    fence: Option<String>,
}

impl FakeS2 {
    /// Loses all that it has, as a server that keeps it in memory does when it is started anew.
    pub fn wipe(&self) {
        self.0.borrow_mut().basins.clear();
    }

    /// Drops the records before a place.
    ///
    /// # Panics
    /// If there is no such stream.
    pub fn trim(&self, basin: &str, stream: &str, before: u64) {
        let mut state = self.0.borrow_mut();
        state
            .basins
            .get_mut(basin)
            .and_then(|streams| streams.get_mut(stream))
            .expect("it is there")
            .trim(before);
    }

    /// The records of a stream; none if it is missing.
    pub fn records(&self, basin: &str, stream: &str) -> Vec<Record> {
        let state = self.0.borrow();
        let stream = state.basins.get(basin).and_then(|streams| streams.get(stream));
        stream.map_or_else(Vec::new, |stream| stream.records.clone())
    }

    /// Answers a request whose answer ends.
    pub fn answer(&self, request: &Request) -> Answer {
        self.handle(request).unwrap_or_else(|refused| refused)
    }

    /// Opens an answer that does not.
    ///
    /// # Errors
    /// With the answer, if it ends all the same.
    pub fn open(&self, request: &Request) -> Result<FakeLive, Answer> {
        let asked = Asked::of(&request.path);
        let (basin, name) = (basin_of(request)?, asked.stream());
        let mut from = asked.number("seq_num").unwrap_or(0);
        let (mut count, mut bytes) = (0, 0);
        if let Some(id) = header_of(request, header::LAST_EVENT_ID) {
            let parts: Vec<u64> = id.split(',').filter_map(|part| part.parse().ok()).collect();
            (from, count, bytes) = (parts[0] + 1, parts[1] as usize, parts[2] as usize);
        }
        let state = self.0.borrow();
        let stream = state.stream(&basin, &name)?;
        if from > stream.tail.seq_num && !asked.says("clamp") {
            return Err(at_tail(stream, 416));
        }
        let next = from.min(stream.tail.seq_num).max(stream.begin);
        Ok(FakeLive { s2: self.clone(), stream: (basin, name), next, count, bytes, caught_up: false })
    }

    fn handle(&self, request: &Request) -> Result<Answer, Answer> {
        if request.body.len() > MAX_REQUEST_BYTES {
            return Err(refused(400, "bad_json"));
        }
        let asked = Asked::of(&request.path);
        let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
        match (request.method, &parts[..]) {
            ("POST", ["v1", "basins"]) => self.make_basin(&said(&request.body, "basin")?, 409),
            ("PUT", ["v1", "basins", basin]) => self.make_basin(basin, 200),
            ("POST", ["v1", "streams"]) => {
                self.make_stream(&basin_of(request)?, &said(&request.body, "stream")?, 409)
            }
            ("PUT", ["v1", "streams", stream]) => self.make_stream(&basin_of(request)?, stream, 200),
            ("GET", ["v1", "streams", stream, "records", "tail"]) => {
                Ok(at_tail(self.0.borrow().stream(&basin_of(request)?, stream)?, 200))
            }
            ("POST", ["v1", "streams", stream, "records"]) => {
                self.append(&basin_of(request)?, stream, &written(request)?)
            }
            ("GET", ["v1", "streams", ..]) if header_of(request, "accept").is_some() => {
                let mut live = self.open(request)?;
                let mut body = String::new();
                while !live.caught_up {
                    let event = live.event();
                    body.push_str(if live.caught_up { "data: [DONE]\n\n" } else { &event });
                }
                Ok(Answer { status: 200, body })
            }
            ("GET", ["v1", "streams", stream, "records"]) => self.read(&basin_of(request)?, stream, &asked),
            _ => Err(refused(404, "not_found")),
        }
    }

    fn make_basin(&self, basin: &str, again: u16) -> Result<Answer, Answer> {
        if !(8..=48).contains(&basin.len()) {
            return Err(refused(400, "bad_json"));
        }
        let mut state = self.0.borrow_mut();
        let is_new = !state.basins.contains_key(basin);
        state.basins.entry(basin.into()).or_default();
        made(
            is_new,
            again,
            &json!({ "name": basin, "location": null, "deleted_at": null, "state": "active" }),
        )
    }

    fn make_stream(&self, basin: &str, stream: &str, again: u16) -> Result<Answer, Answer> {
        let mut state = self.0.borrow_mut();
        let streams = state.basins.get_mut(basin).ok_or_else(|| refused(404, "basin_not_found"))?;
        let is_new = !streams.contains_key(stream);
        streams.entry(stream.into()).or_default();
        made(is_new, again, &json!({ "name": stream, "deleted_at": null, "cipher": null }))
    }

    fn append(&self, basin: &str, stream: &str, append: &Append) -> Result<Answer, Answer> {
        let metered: usize = append.records.iter().map(NewRecord::metered_bytes).sum();
        if append.records.is_empty()
            || append.records.len() > MAX_APPEND_RECORDS
            || metered > MAX_APPEND_BYTES
        {
            return Err(refused(422, "invalid"));
        }
        let mut state = self.0.borrow_mut();
        state.now += 1;
        let timestamp = state.now;
        let stream = state.stream_mut(basin, stream)?;
        if let (Some(token), Some(fence)) = (&append.fencing_token, &stream.fence)
            && token != fence
        {
            return Err(Answer { status: 412, body: json!({ "fencing_token_mismatch": fence }).to_string() });
        }
        let start = Place { seq_num: stream.tail.seq_num, timestamp };
        if append.match_seq_num.is_some_and(|place| place != start.seq_num) {
            let body = json!({ "seq_num_mismatch": start.seq_num }).to_string();
            return Err(Answer { status: 412, body });
        }
        for (new, seq_num) in append.records.iter().zip(start.seq_num..) {
            let NewRecord { headers, body } = new.clone();
            let record = Record { seq_num, timestamp, headers, body };
            if record.is_command() && record.headers[0].1 == "fence" {
                stream.fence = Some(record.body.clone()).filter(|token| !token.is_empty());
            }
            stream.records.push(record);
        }
        let end = Place { seq_num: start.seq_num + append.records.len() as u64, timestamp };
        stream.tail = end;
        if let Some(before) = trims(&append.records) {
            stream.trim(before);
        }
        Ok(as_json(200, &Appended { start, end, tail: end }))
    }

    fn read(&self, basin: &str, stream: &str, asked: &Asked) -> Result<Answer, Answer> {
        let state = self.0.borrow();
        let stream = state.stream(basin, stream)?;
        let from = asked.number("seq_num").unwrap_or(0);
        let most = asked.number("count").map_or(MAX_APPEND_RECORDS, |count| count as usize);
        if from >= stream.tail.seq_num {
            return Err(at_tail(stream, 416));
        }
        // None at all where the first is larger than was asked for.
        let records = stream.page(from, most.min(MAX_APPEND_RECORDS), asked.number("bytes"));
        Ok(as_json(200, &Batch { records, tail: None }))
    }
}

impl State {
    fn stream(&self, basin: &str, stream: &str) -> Result<&Stream, Answer> {
        let streams = self.basins.get(basin).ok_or_else(|| refused(404, "basin_not_found"))?;
        streams.get(stream).ok_or_else(|| refused(404, "stream_not_found"))
    }

    fn stream_mut(&mut self, basin: &str, stream: &str) -> Result<&mut Stream, Answer> {
        let streams = self.basins.get_mut(basin).ok_or_else(|| refused(404, "basin_not_found"))?;
        streams.get_mut(stream).ok_or_else(|| refused(404, "stream_not_found"))
    }
}

impl Stream {
    fn trim(&mut self, before: u64) {
        self.begin = self.begin.max(before.min(self.tail.seq_num));
        self.records.retain(|record| record.seq_num >= self.begin);
    }

    fn page(&self, from: u64, most: usize, bytes: Option<u64>) -> Vec<Record> {
        let (mut left, mut page) = (bytes.map_or(MAX_APPEND_BYTES, |bytes| bytes as usize), Vec::new());
        for record in self.records.iter().filter(|record| record.seq_num >= from).take(most) {
            if record.metered_bytes() > left {
                break;
            }
            left -= record.metered_bytes();
            page.push(record.clone());
        }
        page
    }
}

impl FakeLive {
    /// What it has heard since it was last asked, or that nothing has happened.
    pub fn event(&mut self) -> String {
        let state = self.s2.0.borrow();
        // Of a stream that is gone nothing is heard any more.
        let Ok(stream) = state.stream(&self.stream.0, &self.stream.1) else { return String::new() };
        let records = stream.page(self.next, MAX_APPEND_RECORDS, None);
        let Some(last) = records.last() else {
            self.caught_up = true;
            let ping = json!({ "timestamp": state.now, "tail": stream.tail });
            return format!("event: ping\ndata: {ping}\n\n");
        };
        self.next = last.seq_num + 1;
        self.count += records.len();
        self.bytes += records.iter().map(Record::metered_bytes).sum::<usize>();
        let id = format!("{},{},{}", last.seq_num, self.count, self.bytes);
        // Only what comes after the first ping says where the stream ends.
        let tail = (self.caught_up && self.next == stream.tail.seq_num).then_some(stream.tail);
        let batch = serde_json::to_string(&Batch { records, tail }).expect("plain data");
        format!("event: batch\nid: {id}\ndata: {batch}\n\n")
    }

    /// Whether it would bring records now, and no ping.
    pub fn has_news(&self) -> bool {
        let state = self.s2.0.borrow();
        state.stream(&self.stream.0, &self.stream.1).is_ok_and(|stream| self.next < stream.tail.seq_num)
    }
}

impl LiveRead for FakeLive {
    async fn receive(&mut self) -> Option<String> {
        Some(self.event())
    }
}

impl S2Server for FakeS2 {
    type Live = FakeLive;

    fn unused(&mut self, name: &str) -> String {
        let mut state = self.0.borrow_mut();
        state.names += 1;
        format!("{name}-{:06}", state.names)
    }

    async fn send(&mut self, request: Request) -> Answer {
        self.answer(&request)
    }

    async fn listen(&mut self, request: Request) -> Result<FakeLive, Answer> {
        self.open(&request)
    }
}

/// The basin of a proxy's stores.
const PROXY_BASIN: &str = "sync-s2-basin";

impl FakeProxy {
    /// Drops a store's records before a place.
    pub fn trim(&self, store_id: &str, before: u64) {
        self.s2.trim(PROXY_BASIN, &stream_name(store_id), before);
    }

    /// The records of a store.
    pub fn records(&self, store_id: &str) -> Vec<Record> {
        self.s2.records(PROXY_BASIN, &stream_name(store_id))
    }

    /// Answers a request whose answer ends.
    pub fn answer(&self, request: &Request) -> Answer {
        match request.method {
            "HEAD" => Answer { status: 200, body: String::new() },
            "GET" => match self.read(request) {
                Ok((_, read)) => self.s2.answer(&read),
                Err(refused) => refused,
            },
            _ => match Push::decode(&request.body) {
                Ok(push) => self.push(&push),
                Err(error) => refused(400, &error.to_string()),
            },
        }
    }

    /// Opens an answer that does not end.
    ///
    /// # Errors
    /// With the answer, if it ends all the same.
    pub fn open(&self, request: &Request) -> Result<FakeLive, Answer> {
        match self.read(request)? {
            (true, read) => self.s2.open(&read),
            (false, read) => Err(self.s2.answer(&read)),
        }
    }

    fn push(&self, push: &Push) -> Answer {
        self.make(&push.store_id);
        let stream = stream_name(&push.store_id);
        for records in push.batch.chunks(MAX_APPEND_RECORDS) {
            let records = records.iter().map(NewRecord::of_event).collect();
            let append = Append { records, match_seq_num: None, fencing_token: None };
            if let Err(refused) = self.s2.append(PROXY_BASIN, &stream, &append) {
                return Answer { status: 500, body: refused.body };
            }
        }
        Answer { status: 200, body: r#"{"success":true}"#.into() }
    }

    /// What a pull asks of the service, and whether it is live. The published helper decodes the parameter after it
    /// has been decoded.
    fn read(&self, request: &Request) -> Result<(bool, Request), Answer> {
        let args = Asked::of(&request.path).value("args").map(|once| decoded(&once)).unwrap_or_default();
        let args = PullArgs::decode(&args).map_err(|error| refused(400, &error.to_string()))?;
        self.make(&args.store_id);
        let from = match args.from {
            From::Start => 0,
            From::Behind(place) => place + 1,
        };
        let path = format!("/v1/streams/{}/records?seq_num={from}&clamp=true", stream_name(&args.store_id));
        let headers = [(header::BASIN, PROXY_BASIN), ("accept", "text/event-stream")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Ok((args.live, Request { method: "GET", path, headers, body: String::new() }))
    }

    fn make(&self, store_id: &str) {
        let _there = self.s2.make_basin(PROXY_BASIN, 200);
        let _there = self.s2.make_stream(PROXY_BASIN, &stream_name(store_id), 200);
    }
}

impl S2Server for FakeProxy {
    type Live = FakeLive;

    fn unused(&mut self, name: &str) -> String {
        self.s2.unused(name)
    }

    async fn send(&mut self, request: Request) -> Answer {
        self.answer(&request)
    }

    async fn listen(&mut self, request: Request) -> Result<FakeLive, Answer> {
        self.open(&request)
    }
}

/// As the published helper makes it.
fn stream_name(store_id: &str) -> String {
    let is_kept = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    store_id.chars().map(|character| if is_kept(character) { character } else { '-' }).take(100).collect()
}

/// A request's path, in parts, and its query.
struct Asked {
    parts: Vec<String>,
    query: Vec<(String, String)>,
}

impl Asked {
    fn of(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), decoded(value))
        };
        Self {
            parts: path.split('/').skip(1).map(decoded).collect(),
            query: query.split('&').map(pair).collect(),
        }
    }

    fn stream(&self) -> String {
        self.parts.get(2).cloned().unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn says(&self, name: &str) -> bool {
        self.value(name).as_deref() == Some("true")
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| core::str::from_utf8(after.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn header_of<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn basin_of(request: &Request) -> Result<String, Answer> {
    header_of(request, header::BASIN).map(str::to_owned).ok_or_else(|| refused(400, "bad_header"))
}

fn said(body: &str, field: &str) -> Result<String, Answer> {
    let body: serde_json::Value = serde_json::from_str(body).map_err(|_| refused(400, "bad_json"))?;
    body[field].as_str().map(str::to_owned).ok_or_else(|| refused(400, "bad_json"))
}

/// The append of a request. Of base64 it knows only the command that trims.
fn written(request: &Request) -> Result<Append, Answer> {
    serde_json::from_str(&request.body).map_err(|_| refused(400, "bad_json"))
}

/// What a command to trim says, as base64 writes it.
fn trims(records: &[NewRecord]) -> Option<u64> {
    let [record] = records else { return None };
    let is_trim = matches!(&record.headers[..], [(name, value)] if name.is_empty() && value == "dHJpbQ==");
    let digits = record.body.strip_prefix("AAAAAAAAAA")?.strip_suffix('=')?;
    let place = ["A", "E", "I", "M"].iter().position(|digit| *digit == digits)?;
    is_trim.then_some(place as u64)
}

fn made(is_new: bool, again: u16, body: &serde_json::Value) -> Result<Answer, Answer> {
    match (is_new, again) {
        (true, _) => Ok(Answer { status: 201, body: body.to_string() }),
        (false, 409) => Err(refused(409, "resource_already_exists")),
        (false, status) => Ok(Answer { status, body: body.to_string() }),
    }
}

fn at_tail(stream: &Stream, status: u16) -> Answer {
    as_json(status, &Tail { tail: stream.tail })
}

fn as_json(status: u16, body: &impl serde::Serialize) -> Answer {
    Answer { status, body: serde_json::to_string(body).expect("plain data") }
}

fn refused(status: u16, code: &str) -> Answer {
    Answer { status, body: json!({ "code": code, "message": code }).to_string() }
}

#[cfg(test)]
mod tests;
