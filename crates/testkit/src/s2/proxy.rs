//! The wire of LiveStore's sync-s2 0.4, as measured on its proxy helpers in front of s2-lite.

use driftline_protocol::RawValue;
use driftline_protocol::livestore::Event;
use driftline_protocol::s2::proxy::{self, From, PullArgs, Push};
use driftline_protocol::s2::{Live, Record};

use super::{Answer, Events, LiveRead, Request, S2Server, event, events};

/// By HEAD, without a body.
pub async fn a_ping_is_answered<S: S2Server>(server: &mut S) {
    let ping = Request { method: "HEAD", ..Request::default() };
    assert_eq!(server.send(ping).await, Answer { status: 200, body: String::new() });
}

/// It need not be made first.
pub async fn a_new_store_is_empty_and_its_answer_ends<S: S2Server>(server: &mut S) {
    let store = server.unused("empty");
    assert!(pull(server, &store, From::Start).await.is_empty());
}

/// Whatever JSON their arguments are.
pub async fn events_are_pulled_as_they_were_pushed<S: S2Server>(server: &mut S) {
    let store = server.unused("arguments");
    let batch: Vec<_> = [
        r#"{"id":"t1","text":"ä \"quoted\" \\ \u0000 𝄞 50 % %41","n":1.5,"list":[1,[],{}],"no":null}"#,
        "{}",
        r#""text""#,
        "[1,2,3]",
        "-7",
    ]
    .iter()
    .zip(1..)
    .map(|(args, seq_num)| event("one", seq_num, args))
    .collect();
    push(server, &store, &batch).await;
    let records = pull(server, &store, From::Start).await;
    assert_eq!(records.len(), batch.len());
    for ((record, sent), place) in records.iter().zip(&batch).zip(0..) {
        let event = record.event().expect("an event");
        assert_eq!(record.seq_num, place);
        assert!(event.is_same(sent), "{} came back as {}", sent.args, event.args);
    }
}

/// The record of the cursor is known, and not sent again.
pub async fn a_pull_begins_behind_its_cursor<S: S2Server>(server: &mut S) {
    let store = server.unused("cursor");
    push(server, &store, &events("one", 1, 4)).await;
    for (from, expected) in
        [(From::Behind(0), vec![1, 2, 3]), (From::Behind(2), vec![3]), (From::Behind(3), vec![])]
    {
        assert_eq!(places(&pull(server, &store, from).await), expected, "{from:?}");
    }
}

/// In silence: that the store was made anew shows only in where it ends.
pub async fn a_cursor_behind_the_tail_is_taken_for_the_tail<S: S2Server>(server: &mut S) {
    let store = server.unused("clamped");
    push(server, &store, &events("one", 1, 2)).await;
    assert!(pull(server, &store, From::Behind(500)).await.is_empty());
    let mut live = listen(server, &store, From::Behind(500)).await;
    assert_eq!(live.tail().await, 2);
}

/// Both, under one number.
pub async fn what_two_writers_push_at_one_head_lands_in_an_order_that_all_see<S: S2Server>(server: &mut S) {
    let store = server.unused("race");
    push(server, &store, &events("one", 1, 1)).await;
    push(server, &store, &events("two", 1, 2)).await;
    let records = pull(server, &store, From::Start).await;
    let read: Vec<_> = records.iter().map(|record| record.event().expect("an event")).collect();
    assert_eq!(places(&records), [0, 1, 2]);
    assert_eq!(read.iter().map(|event| event.seq_num).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(read.iter().map(|event| &*event.client_id).collect::<Vec<_>>(), ["one", "two", "two"]);
}

/// The server recognises nothing; a client must read before it sends again.
pub async fn a_repeated_push_lands_again<S: S2Server>(server: &mut S) {
    let store = server.unused("repeat");
    for _ in 0..2 {
        push(server, &store, &events("one", 1, 1)).await;
    }
    assert_eq!(places(&pull(server, &store, From::Start).await), [0, 1]);
}

/// A ping first, where there is nothing to bring.
pub async fn a_live_pull_says_where_the_store_ends_and_brings_what_comes<S: S2Server>(server: &mut S) {
    let store = server.unused("live");
    push(server, &store, &events("one", 1, 2)).await;
    let mut live = listen(server, &store, From::Behind(1)).await;
    assert_eq!(live.tail().await, 2);
    push(server, &store, &events("two", 3, 4)).await;
    assert_eq!(places(&live.records(2).await), [2, 3]);
}

/// Not as one: others' may come in between.
pub async fn more_events_than_one_append_takes_land_in_order<S: S2Server>(server: &mut S) {
    let store = server.unused("many");
    push(server, &store, &events("one", 1, 1_200)).await;
    let records = pull(server, &store, From::Start).await;
    let numbers: Vec<_> = records.iter().map(|record| record.event().expect("an event").seq_num).collect();
    assert_eq!(numbers, (1..=1_200).collect::<Vec<_>>());
}

/// The published helper decodes what it is asked twice.
pub async fn signs_of_percent_in_what_a_client_says_of_itself_do_no_harm<S: S2Server>(server: &mut S) {
    let store = format!("{} 100%25 of %", server.unused("percent"));
    push(server, &store, &events("one", 1, 1)).await;
    let payload = r#"{"authToken":"a b%c %41","%":1}"#;
    let args = PullArgs {
        payload: Some(RawValue::from_string(payload.into()).expect("JSON")),
        ..args(&store, From::Start, false)
    };
    assert_eq!(places(&pulled(server, &args).await), [0]);
}

async fn push<S: S2Server>(server: &mut S, store: &str, batch: &[Event]) {
    let body = Push { store_id: store.into(), batch: batch.to_vec() }.encode();
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let answer = server.send(Request { method: "POST", path: String::new(), headers, body }).await;
    assert_eq!(proxy::decode_pushed(&answer.expect(200)), Ok(true));
}

fn args(store: &str, from: From, live: bool) -> PullArgs {
    PullArgs { store_id: store.into(), from, live, payload: None }
}

fn get(args: &PullArgs) -> Request {
    let headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
    Request { method: "GET", path: args.address(""), headers, body: String::new() }
}

async fn listen<S: S2Server>(server: &mut S, store: &str, from: From) -> Events<S::Live> {
    let live = server.listen(get(&args(store, from, true))).await;
    Events::of(live.unwrap_or_else(|answer| panic!("{answer:?}")))
}

async fn pull<S: S2Server>(server: &mut S, store: &str, from: From) -> Vec<Record> {
    pulled(server, &args(store, from, false)).await
}

/// What a pull that is not live brings, to its end.
async fn pulled<S: S2Server>(server: &mut S, args: &PullArgs) -> Vec<Record> {
    let answer = server.send(get(args)).await.expect(200);
    let mut events = Events::of(Whole(Some(answer)));
    let mut records = Vec::new();
    loop {
        match events.next().await {
            Some((Live::Batch(batch), _)) => records.extend(batch.records),
            Some((Live::Ping(_), _)) => {}
            Some((Live::Done, _)) => return records,
            other => panic!("no [DONE], but {other:?}"),
        }
    }
}

/// A text that is there.
struct Whole(Option<String>);

impl LiveRead for Whole {
    async fn receive(&mut self) -> Option<String> {
        self.0.take()
    }
}

fn places(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq_num).collect()
}
