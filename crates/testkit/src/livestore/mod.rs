//! Conformance suites for servers of LiveStore's sync-cf, given as a WebSocket and a request function: the published
//! servers, the reference server, a fake.
//!
//! [`v04`] and [`v03`] hold one check per behaviour. Each uses stores of its own, named after it and [`LiveStoreServer::store`],
//! so that one server can take them all, again and again.

pub mod v03;
pub mod v04;

use core::future::Future;

use driftline_protocol::RawValue;
use driftline_protocol::livestore::Event;

/// A server under test.
pub trait LiveStoreServer {
    /// A connection to it.
    type Socket: FrameSocket;

    /// A store's name that nobody has used before, made of this one.
    fn store(&mut self, name: &str) -> String;

    /// Opens a WebSocket to a store.
    fn connect(&mut self, store: &str) -> impl Future<Output = Self::Socket>;

    /// Sends `body` by POST to the store's address for HTTP, and gives the body of its answer of status 200.
    fn post(&mut self, store: &str, body: &str) -> impl Future<Output = String>;
}

/// A connection of text frames.
pub trait FrameSocket {
    /// Sends a frame.
    fn send(&mut self, frame: String) -> impl Future<Output = ()>;

    /// Waits for the next frame; panics if none comes within a generous time.
    fn receive(&mut self) -> impl Future<Output = String>;
}

/// Hands the names of all checks in [`v04`] to a macro.
#[macro_export]
macro_rules! for_each_livestore_v04_check {
    ($callback:ident) => {
        $callback! {
            an_empty_store_answers_an_empty_page
            a_push_reaches_every_live_pull_and_its_own
            a_pull_that_is_not_live_ends
            a_pull_begins_behind_its_cursor
            a_cursor_behind_the_head_is_an_empty_page
            a_page_holds_a_hundred_events_and_says_how_many_remain
            the_next_page_waits_for_the_acknowledgement
            events_pushed_during_a_pull_reach_it_once_each
            another_parent_than_the_head_is_server_ahead
            a_repeated_push_is_server_ahead
            of_two_pushes_on_one_parent_one_is_taken
            another_backend_is_told_on_push_and_on_pull
            a_push_without_events_succeeds
            arguments_come_back_as_they_were
            stores_are_apart
            a_call_that_can_not_be_read_fails_by_itself
            a_ping_is_answered
            an_interrupted_pull_hears_no_more
            http_pulls_and_pushes_as_a_socket_does
            a_push_over_http_reaches_live_pulls
        }
    };
}

/// Hands the names of all checks in [`v03`] to a macro.
#[macro_export]
macro_rules! for_each_livestore_v03_check {
    ($callback:ident) => {
        $callback! {
            an_empty_store_answers_an_empty_page
            a_push_is_acknowledged_and_broadcast_to_everyone
            pages_of_a_hundred_follow_one_another
            a_pull_begins_behind_its_cursor
            another_parent_than_the_head_is_an_error_that_says_so
            a_repeated_push_is_such_an_error_too
            a_ping_is_answered
            a_wrong_secret_is_refused
        }
    };
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
