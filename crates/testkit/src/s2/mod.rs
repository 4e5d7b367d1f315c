//! Conformance suites for servers of S2's REST v1, and of LiveStore's sync-s2 in front of one, given as a request
//! function: the published servers, a fake.
//!
//! [`direct`] and [`proxy`] hold one check per behaviour. Each uses a stream of its own, named after it and
//! [`S2Server::unused`], so that one server can take them all, again and again. [`FakeS2`] and [`FakeProxy`] are checked
//! against what the published servers were recorded to answer, too.

pub mod direct;
mod fake;
pub mod proxy;

pub use fake::{FakeLive, FakeProxy, FakeS2};

use core::future::Future;

use driftline_protocol::RawValue;
use driftline_protocol::livestore::Event;
use driftline_protocol::s2::{Live, MAX_ANSWER_BYTES, Record, WIRE};
use driftline_protocol::sse::{SseEvent, SseParser};

/// A server under test.
pub trait S2Server {
    /// A read that stays open.
    type Live: LiveRead;

    /// A name that nobody has used before, made of this one, of lower-case letters, digits and dashes.
    fn unused(&mut self, name: &str) -> String;

    /// Sends a request, and reads its answer to the end.
    fn send(&mut self, request: Request) -> impl Future<Output = Answer>;

    /// Sends a request whose answer of status 200 stays open; any other answer is the error.
    fn listen(&mut self, request: Request) -> impl Future<Output = Result<Self::Live, Answer>>;
}

/// An answer that stays open.
pub trait LiveRead {
    /// Waits for the next piece of its text, cut anywhere; `None` at its end. Panics if none comes within a generous time.
    fn receive(&mut self) -> impl Future<Output = Option<String>>;
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST` or `PUT`.
    pub method: &'static str,
    /// Below the server's address.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// JSON, or nothing.
    pub body: String,
}

/// What it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body's text.
    pub body: String,
}

/// Hands the names of all checks in [`direct`] to a macro.
#[macro_export]
macro_rules! for_each_s2_check {
    ($callback:ident) => {
        $callback! {
            what_is_missing_is_named
            what_is_there_may_be_made_again
            an_empty_stream_ends_at_its_beginning
            records_are_read_as_they_were_appended
            an_append_that_is_meant_for_another_place_is_refused_with_the_tail
            of_two_appends_for_one_place_the_first_is_taken
            a_repeated_append_is_refused
            pages_join_and_end_at_the_tail
            a_read_from_behind_the_tail_says_where_that_is
            a_live_read_brings_what_is_there_then_pings_then_what_comes
            a_live_read_from_behind_the_tail_begins_at_it
            a_live_read_goes_on_behind_the_id_of_its_last_event
            a_live_read_that_nothing_happens_in_pings
            two_live_reads_see_one_order_of_what_two_writers_append
            a_trimmed_stream_begins_later
            a_fenced_stream_takes_only_its_writer
            the_largest_append_is_taken
            a_record_of_nearly_the_largest_size_is_taken_whatever_its_characters
            a_request_that_is_too_long_is_refused
            an_append_that_is_too_large_is_refused_as_a_whole
            what_is_no_append_is_refused
            streams_are_apart
        }
    };
}

/// Hands the names of all checks in [`proxy`] to a macro.
#[macro_export]
macro_rules! for_each_s2_proxy_check {
    ($callback:ident) => {
        $callback! {
            a_ping_is_answered
            a_new_store_is_empty_and_its_answer_ends
            events_are_pulled_as_they_were_pushed
            a_pull_begins_behind_its_cursor
            a_cursor_behind_the_tail_is_taken_for_the_tail
            what_two_writers_push_at_one_head_lands_in_an_order_that_all_see
            a_repeated_push_lands_again
            a_live_pull_says_where_the_store_ends_and_brings_what_comes
            more_events_than_one_append_takes_land_in_order
            signs_of_percent_in_what_a_client_says_of_itself_do_no_harm
        }
    };
}

impl Answer {
    /// Its body, if it has this status.
    ///
    /// # Panics
    /// If it has another.
    pub fn expect(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

/// The events of a live read.
pub struct Events<L> {
    live: L,
    parser: SseParser,
    waiting: std::collections::VecDeque<SseEvent>,
}

impl<L: LiveRead> Events<L> {
    /// Of an answer that has just been opened.
    pub fn of(live: L) -> Self {
        Self { live, parser: SseParser::new(WIRE, MAX_ANSWER_BYTES), waiting: Default::default() }
    }

    /// The next event with its id, or `None` at the end.
    ///
    /// # Panics
    /// If it is none of this wire's.
    pub async fn next(&mut self) -> Option<(Live, Option<String>)> {
        while self.waiting.is_empty() {
            let piece = self.live.receive().await?;
            self.waiting.extend(self.parser.push(piece.as_bytes()).expect("events are small"));
        }
        let event = self.waiting.pop_front()?;
        let live = Live::decode(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        Some((live, event.id))
    }

    /// Records, until there are so many.
    pub async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            match self.next().await {
                Some((Live::Batch(batch), _)) => records.extend(batch.records),
                Some((Live::Ping(_), _)) => {}
                other => panic!("{} of {count} records, then {other:?}", records.len()),
            }
        }
        records
    }

    /// Where the stream ends, by the next ping; panics if records come first.
    pub async fn tail(&mut self) -> u64 {
        match self.next().await {
            Some((Live::Ping(ping), _)) => ping.tail.seq_num,
            other => panic!("no ping, but {other:?}"),
        }
    }
}

/// Events `first..=last` of a client, each on the one before.
fn events(client: &str, first: u64, last: u64) -> Vec<Event> {
    (first..=last).map(|seq_num| event(client, seq_num, &format!(r#"{{"id":"t{seq_num}"}}"#))).collect()
}

fn event(client: &str, seq_num: u64, args: &str) -> Event {
    Event {
        name: "todo.inserted".into(),
        args: RawValue::from_string(args.into()).expect("arguments are JSON"),
        seq_num,
        parent_seq_num: seq_num - 1,
        client_id: client.into(),
        session_id: "session".into(),
    }
}
