//! S2's REST v1, as measured on s2-lite.

use driftline_protocol::s2::{
    self, Append, Appended, Live, MAX_APPEND_BYTES, MAX_APPEND_RECORDS, MAX_REQUEST_BYTES, Mismatch,
    NewRecord, Record, code, header, path,
};

use super::{Answer, Events, Request, S2Server};

/// Which of the two is missing is in the code.
pub async fn what_is_missing_is_named<S: S2Server>(server: &mut S) {
    let (basin, stream) = (server.unused("basin"), server.unused("stream"));
    let missing = Client { basin, stream };
    let answer = missing.append(server, &append(&["x"], None)).await;
    assert_eq!(s2::decode_refusal(&answer.expect(404)).code, code::BASIN_NOT_FOUND);
    missing.put(server, path::basin(&missing.basin)).await.expect(201);
    for answer in [missing.read(server, 0, 10).await, missing.append(server, &append(&["x"], Some(0))).await]
    {
        assert_eq!(s2::decode_refusal(&answer.expect(404)).code, code::STREAM_NOT_FOUND);
    }
}

/// By PUT, which is what a client may do without asking whether it is there.
pub async fn what_is_there_may_be_made_again<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "again").await;
    client.append_ok(server, &["kept"], Some(0)).await;
    client.put(server, path::basin(&client.basin)).await.expect(200);
    client.put(server, path::stream(&client.stream)).await.expect(200);
    assert_eq!(bodies(&client.all(server).await), ["kept"]);
}

/// Both ways to ask say so.
pub async fn an_empty_stream_ends_at_its_beginning<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "empty").await;
    assert_eq!(client.tail(server).await, 0);
    let answer = client.read(server, 0, 10).await.expect(416);
    assert_eq!(s2::decode_tail(&answer).expect("a tail").tail.seq_num, 0);
}

/// Numbered from 0 without a gap, whatever text they hold.
pub async fn records_are_read_as_they_were_appended<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "records").await;
    let bodies = ["", "plain", "ä \"quoted\" \\ \u{0} \n 𝄞", r#"{"name":"n","args":{}}"#, "null"];
    let mut records: Vec<NewRecord> = bodies.iter().map(|body| new(body)).collect();
    records[1].headers = vec![("kind".into(), "ö".into()), ("empty".into(), String::new())];
    let append = Append { records: records.clone(), match_seq_num: None, fencing_token: None };
    let answer = client.append(server, &append).await.expect(200);
    let appended = s2::decode_appended(&answer).expect("it says where");
    assert_eq!((appended.start.seq_num, appended.end.seq_num, appended.tail.seq_num), (0, 5, 5));
    let read = client.all(server).await;
    assert_eq!(read.len(), records.len());
    for ((read, sent), place) in read.iter().zip(&records).zip(0..) {
        assert_eq!((read.seq_num, &read.body, &read.headers), (place, &sent.body, &sent.headers));
        assert_eq!(read.metered_bytes(), sent.metered_bytes());
    }
}

/// Before it or behind it; nothing of it is stored.
pub async fn an_append_that_is_meant_for_another_place_is_refused_with_the_tail<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "place").await;
    client.append_ok(server, &["one", "two"], Some(0)).await;
    for place in [0, 1, 3, 99] {
        let answer = client.append(server, &append(&["lost", "too"], Some(place))).await.expect(412);
        assert_eq!(s2::decode_mismatch(&answer), Ok(Mismatch::SeqNum(2)), "for {place}");
    }
    client.append_ok(server, &["three"], Some(2)).await;
    assert_eq!(bodies(&client.all(server).await), ["one", "two", "three"]);
}

/// The other is told where the stream ends by now.
pub async fn of_two_appends_for_one_place_the_first_is_taken<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "race").await;
    let first = client.append(server, &append(&["a", "a"], Some(0))).await;
    let second = client.append(server, &append(&["b", "b"], Some(0))).await;
    first.expect(200);
    assert_eq!(s2::decode_mismatch(&second.expect(412)), Ok(Mismatch::SeqNum(2)));
    assert_eq!(bodies(&client.all(server).await), ["a", "a"]);
}

/// It names a place that it has taken itself; a client whose answer was lost sees that by reading.
pub async fn a_repeated_append_is_refused<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "repeat").await;
    client.append_ok(server, &["once"], Some(0)).await;
    let answer = client.append(server, &append(&["once"], Some(0))).await.expect(412);
    assert_eq!(s2::decode_mismatch(&answer), Ok(Mismatch::SeqNum(1)));
    assert_eq!(bodies(&client.all(server).await), ["once"]);
}

/// A page may be shorter than was asked for; the one at the tail is refused with it.
pub async fn pages_join_and_end_at_the_tail<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "pages").await;
    let all: Vec<String> = (0..250).map(|place| format!("record {place}")).collect();
    client.append_ok(server, &all.iter().map(String::as_str).collect::<Vec<_>>(), Some(0)).await;
    let (mut read, mut pages) = (Vec::new(), 0);
    loop {
        let answer = client.read(server, read.len() as u64, 100).await;
        if answer.status == 416 {
            assert_eq!(s2::decode_tail(&answer.body).expect("a tail").tail.seq_num, 250);
            break;
        }
        let batch = s2::decode_batch(&answer.expect(200)).expect("a batch");
        assert!((1..=100).contains(&batch.records.len()));
        assert!(batch.tail.is_none_or(|tail| tail.seq_num == 250));
        read.extend(batch.records);
        pages += 1;
    }
    assert!(pages >= 3);
    assert_eq!(bodies(&read), all);
}

/// A client sees by it that its stream was made anew.
pub async fn a_read_from_behind_the_tail_says_where_that_is<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "behind").await;
    client.append_ok(server, &["one"], Some(0)).await;
    for place in [1, 2, 500] {
        let answer = client.read(server, place, 10).await.expect(416);
        assert_eq!(s2::decode_tail(&answer).expect("a tail").tail.seq_num, 1);
    }
}

/// The first ping says that all has come; then every append comes by itself.
pub async fn a_live_read_brings_what_is_there_then_pings_then_what_comes<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "live").await;
    client.append_ok(server, &["one", "two"], Some(0)).await;
    let mut live = client.listen(server, 0, &[]).await;
    let Some((Live::Batch(batch), id)) = live.next().await else { panic!("no batch first") };
    assert_eq!(bodies(&batch.records), ["one", "two"]);
    let metered: usize = batch.records.iter().map(Record::metered_bytes).sum();
    assert_eq!(id.as_deref(), Some(&*format!("1,2,{metered}")));
    assert_eq!(live.tail().await, 2);
    client.append_ok(server, &["three"], Some(2)).await;
    client.append_ok(server, &["four", "five"], Some(3)).await;
    assert_eq!(bodies(&live.records(3).await), ["three", "four", "five"]);
}

/// And its ping says where that is.
pub async fn a_live_read_from_behind_the_tail_begins_at_it<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "clamped").await;
    client.append_ok(server, &["one"], Some(0)).await;
    let mut live = client.listen(server, 700, &[]).await;
    assert_eq!(live.tail().await, 1);
    client.append_ok(server, &["two"], Some(1)).await;
    assert_eq!(live.records(1).await[0].seq_num, 1);
}

/// Whatever its address says.
pub async fn a_live_read_goes_on_behind_the_id_of_its_last_event<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "resumed").await;
    client.append_ok(server, &["one", "two", "three"], Some(0)).await;
    let mut live = client.listen(server, 0, &[(header::LAST_EVENT_ID, "0,1,11")]).await;
    assert_eq!(bodies(&live.records(2).await), ["two", "three"]);
}

/// So that silence is a connection that is dead.
pub async fn a_live_read_that_nothing_happens_in_pings<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "silent").await;
    let mut live = client.listen(server, 0, &[]).await;
    assert_eq!((live.tail().await, live.tail().await), (0, 0));
}

/// Without a gap, and each record once.
pub async fn two_live_reads_see_one_order_of_what_two_writers_append<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "order").await;
    let (mut one, mut two) = (client.listen(server, 0, &[]).await, client.listen(server, 0, &[]).await);
    for round in 0..10 {
        client
            .append(server, &append(&[&format!("a{round}"), &format!("a{round}'")], None))
            .await
            .expect(200);
        client.append(server, &append(&[&format!("b{round}")], None)).await.expect(200);
    }
    let (one, two) = (one.records(30).await, two.records(30).await);
    assert_eq!(one, two);
    assert_eq!(one.iter().map(|record| record.seq_num).collect::<Vec<_>>(), (0..30).collect::<Vec<u64>>());
}

/// A read from before that gets what is left; places stay as they were.
pub async fn a_trimmed_stream_begins_later<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "trimmed").await;
    client.append_ok(server, &["0", "1", "2", "3"], Some(0)).await;
    client.trim(server, 3).await;
    let mut first = 0;
    // The published server trims soon, not at once.
    for _ in 0..TRIM_READS_MAX {
        let batch = s2::decode_batch(&client.read(server, 0, 10).await.expect(200)).expect("a batch");
        first = batch.records[0].seq_num;
        if first > 0 {
            break;
        }
    }
    assert_eq!(first, 3);
    let read = client.all(server).await;
    assert_eq!((read[0].body.as_str(), read[1].is_command(), read.len()), ("3", true, 2));
    assert_eq!(client.tail(server).await, 5);
}

/// A fence is a record; who names none is let through all the same.
pub async fn a_fenced_stream_takes_only_its_writer<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "fenced").await;
    let fence = NewRecord { headers: vec![(String::new(), "fence".into())], body: "writer-1".into() };
    let set = Append { records: vec![fence], match_seq_num: Some(0), fencing_token: None };
    client.append(server, &set).await.expect(200);
    let by = |token: &str| Append { fencing_token: Some(token.into()), ..append(&["x"], None) };
    let refused = client.append(server, &by("writer-2")).await.expect(412);
    assert_eq!(s2::decode_mismatch(&refused), Ok(Mismatch::FencingToken("writer-1".into())));
    client.append(server, &by("writer-1")).await.expect(200);
    client.append(server, &append(&["y"], Some(2))).await.expect(200);
    let commands: Vec<_> = client.all(server).await.iter().map(Record::is_command).collect();
    assert_eq!(commands, [true, false, false]);
}

/// As many records as it may have, and as many bytes.
pub async fn the_largest_append_is_taken<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "largest").await;
    client.append_ok(server, &vec!["x"; MAX_APPEND_RECORDS], Some(0)).await;
    let half = "x".repeat(MAX_APPEND_BYTES / 2 - 8);
    client.append_ok(server, &[&half, &half], Some(MAX_APPEND_RECORDS as u64)).await;
    assert_eq!(client.all(server).await.len(), MAX_APPEND_RECORDS + 2);
}

/// What is escaped in the request is metered as it is. Events are JSON, so that escapes make them twice as long at most.
pub async fn a_record_of_nearly_the_largest_size_is_taken_whatever_its_characters<S: S2Server>(
    server: &mut S,
) {
    let client = Client::open(server, "escaped").await;
    for (place, text) in ["\"", "\\\"", "𝄞"].into_iter().enumerate() {
        let body = text.repeat((MAX_APPEND_BYTES - 1_024) / text.len());
        client.append_ok(server, &[&body], Some(place as u64)).await;
        let batch = client.read(server, place as u64, 1).await.expect(200);
        assert_eq!(s2::decode_batch(&batch).expect("a batch").records[0].body, body);
    }
}

/// By one byte of what is sent, however little is metered.
pub async fn a_request_that_is_too_long_is_refused<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "too-long").await;
    let append = append(&["x"], Some(0)).encode();
    for (length, status) in [(MAX_REQUEST_BYTES, 200), (MAX_REQUEST_BYTES + 1, 400)] {
        let body = format!("{append}{}", " ".repeat(length - append.len()));
        let request = client.request("POST", path::records(&client.stream)).with_body(body);
        server.send(request).await.expect(status);
    }
}

/// By one record, or by one byte; nothing of it is stored.
pub async fn an_append_that_is_too_large_is_refused_as_a_whole<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "too-large").await;
    let (half, whole) = ("x".repeat(MAX_APPEND_BYTES / 2 - 8), "x".repeat(MAX_APPEND_BYTES - 7));
    for bodies in [vec!["x"; MAX_APPEND_RECORDS + 1], vec![&half, &half, ""], vec![&whole]] {
        let answer = client.append(server, &append(&bodies, Some(0))).await.expect(422);
        assert_eq!(s2::decode_refusal(&answer).code, code::INVALID);
    }
    assert_eq!(client.tail(server).await, 0);
}

/// With a status that says that asking again is of no use.
pub async fn what_is_no_append_is_refused<S: S2Server>(server: &mut S) {
    let client = Client::open(server, "no-append").await;
    for (body, status) in [("", 400), ("{", 400), ("{}", 400), (r#"{"records":[]}"#, 422)] {
        let request = client.request("POST", path::records(&client.stream)).with_body(body.to_owned());
        server.send(request).await.expect(status);
    }
    assert_eq!(client.tail(server).await, 0);
}

/// Under names that need escaping, too.
pub async fn streams_are_apart<S: S2Server>(server: &mut S) {
    let one = Client::open(server, "apart").await;
    let two = Client { basin: one.basin.clone(), stream: format!("{}/ö %2F", one.stream) };
    two.put(server, path::stream(&two.stream)).await.expect(201);
    let mut live = two.listen(server, 0, &[]).await;
    one.append_ok(server, &["one"], Some(0)).await;
    two.append_ok(server, &["two"], Some(0)).await;
    assert_eq!(bodies(&live.records(1).await), ["two"]);
    assert_eq!(bodies(&one.all(server).await), ["one"]);
}

/// No machine takes so many reads to trim a stream of five records.
const TRIM_READS_MAX: usize = 10_000;
const BASIN: &str = "driftline-conformance";

struct Client {
    basin: String,
    stream: String,
}

impl Client {
    async fn open<S: S2Server>(server: &mut S, name: &str) -> Self {
        let client = Self { basin: BASIN.into(), stream: server.unused(name) };
        let made = client.put(server, path::basin(BASIN)).await;
        assert!(matches!(made.status, 200 | 201), "{made:?}");
        client.put(server, path::stream(&client.stream)).await.expect(201);
        client
    }

    fn request(&self, method: &'static str, path: String) -> Request {
        let headers = [(header::BASIN, &*self.basin), (header::FORMAT, header::RAW)];
        Request { method, path, ..Request::default() }.with_headers(&headers)
    }

    async fn put<S: S2Server>(&self, server: &mut S, path: String) -> Answer {
        server.send(self.request("PUT", path).with_body("{}".into())).await
    }

    async fn append<S: S2Server>(&self, server: &mut S, append: &Append) -> Answer {
        let request = self.request("POST", path::records(&self.stream)).with_body(append.encode());
        server.send(request).await
    }

    async fn append_ok<S: S2Server>(&self, server: &mut S, bodies: &[&str], at: Option<u64>) -> Appended {
        let answer = self.append(server, &append(bodies, at)).await.expect(200);
        s2::decode_appended(&answer).expect("it says where")
    }

    /// Drops what is before a place: the record is the place's eight bytes, which only base64 can carry.
    async fn trim<S: S2Server>(&self, server: &mut S, before: u8) {
        let place = ["AAAAAAAAAAA=", "AAAAAAAAAAE=", "AAAAAAAAAAI=", "AAAAAAAAAAM="][usize::from(before)];
        let body = format!(r#"{{"records":[{{"headers":[["","dHJpbQ=="]],"body":"{place}"}}]}}"#);
        let headers = [(header::BASIN, &*self.basin), (header::FORMAT, "base64")];
        let request = Request { method: "POST", path: path::records(&self.stream), ..Request::default() };
        server.send(request.with_headers(&headers).with_body(body)).await.expect(200);
    }

    async fn read<S: S2Server>(&self, server: &mut S, from: u64, count: u32) -> Answer {
        server.send(self.request("GET", path::read(&self.stream, from, Some(count)))).await
    }

    async fn tail<S: S2Server>(&self, server: &mut S) -> u64 {
        let answer = server.send(self.request("GET", path::tail(&self.stream))).await.expect(200);
        s2::decode_tail(&answer).expect("a tail").tail.seq_num
    }

    async fn all<S: S2Server>(&self, server: &mut S) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let from = records.last().map_or(0, |record| record.seq_num + 1);
            let answer = self.read(server, from, 1_000).await;
            if answer.status == 416 {
                return records;
            }
            records.extend(s2::decode_batch(&answer.expect(200)).expect("a batch").records);
        }
    }

    async fn listen<S: S2Server>(&self, server: &mut S, from: u64, more: &[(&str, &str)]) -> Events<S::Live> {
        let request = self.request("GET", path::read(&self.stream, from, None));
        let request = request.with_headers(&[("accept", "text/event-stream")]).with_headers(more);
        let live = server.listen(request).await;
        Events::of(live.unwrap_or_else(|answer| panic!("{answer:?}")))
    }
}

impl Request {
    fn with_headers(mut self, headers: &[(&str, &str)]) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    fn with_body(self, body: String) -> Self {
        Self { body, ..self }.with_headers(&[("content-type", "application/json")])
    }
}

fn new(body: &str) -> NewRecord {
    NewRecord { headers: Vec::new(), body: body.into() }
}

fn append(bodies: &[&str], match_seq_num: Option<u64>) -> Append {
    Append { records: bodies.iter().map(|body| new(body)).collect(), match_seq_num, fencing_token: None }
}

fn bodies(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.body.as_str()).collect()
}
