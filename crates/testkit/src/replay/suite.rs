//! What must come of what the published servers were recorded to say, the same for every backend.

use std::collections::BTreeMap;

use driftline_core::{
    Code,
    view::{RemoteState, TransactionState},
};
use serde_json::Value;

use super::{Client, Kind, Recorded, Said};

/// Hands the names of the checks that hold for every backend to a macro.
#[macro_export]
macro_rules! for_each_replay_check {
    ($callback:ident) => {
        $callback! {
            a_backend_with_nothing_in_it_is_caught_up_with
            what_it_has_shows_as_rows
            a_push_is_done_once_it_is_read_back
            an_error_is_no_empty_pull
            news_become_rows
        }
    };
}

/// Hands the names of the checks for backends that keep events to a macro.
#[macro_export]
macro_rules! for_each_log_replay_check {
    ($callback:ident) => {
        $callback! {
            a_push_that_comes_too_late_goes_behind_what_is_there
            what_landed_though_its_answer_was_lost_is_not_sent_again
        }
    };
}

/// Nothing shows, and nothing is wrong.
pub fn a_backend_with_nothing_in_it_is_caught_up_with(backend: &impl Recorded) {
    let client = caught_up(backend);
    assert!(client.rows().is_empty());
    assert!(
        matches!(client.remote().state, RemoteState::Live | RemoteState::Polling),
        "{:?}",
        client.remote()
    );
    assert_eq!((client.errors(), client.pending()), (&[][..], 0));
}

/// Each recorded row, as it was recorded.
pub fn what_it_has_shows_as_rows(backend: &impl Recorded) {
    let mut client = Client::new(backend);
    client.open_live();
    client.answer(backend, Kind::Pull, Said::Rows);
    assert_eq!(client.rows(), by_key(&backend.rows()));
    assert!(client.remote().cursor.is_some_and(|cursor| cursor > 0));
}

/// What the client sends is what was recorded to be taken; then it is done, and nothing is sent twice.
pub fn a_push_is_done_once_it_is_read_back(backend: &impl Recorded) {
    let mut client = caught_up(backend);
    let written = client.insert(&backend.written());
    let push = client.answer(backend, Kind::Push, Said::Taken).json().to_string();
    for row in backend.written() {
        assert!(push.contains(&row["id"].to_string()), "{row} is not in {push}");
    }
    read_back(backend, &mut client, Said::Back);
    for tx in written {
        assert_eq!(client.state(tx), TransactionState::Completed);
    }
    for row in backend.written() {
        let shown = &client.rows()[row["id"].as_str().expect("a row has an id")];
        assert_eq!(shown["id"], row["id"]);
    }
    assert!(!client.asks(backend, Kind::Push), "what is done is not sent again");
}

/// Rows and cursor stay, the status says so, and it is asked again later.
pub fn an_error_is_no_empty_pull(backend: &impl Recorded) {
    let mut client = Client::new(backend);
    client.open_live();
    client.answer(backend, Kind::Pull, Said::Rows);
    client.open_live();
    while client.asks(backend, Kind::Pull) {
        client.answer(backend, Kind::Pull, Said::Nothing);
    }
    let before = (client.rows(), client.remote().cursor);
    client.pull_now();
    client.answer(backend, Kind::Pull, Said::Broken);
    assert_eq!((client.rows(), client.remote().cursor), before);
    assert_eq!(client.remote().state, RemoteState::Offline);
    assert!(client.remote().last_error.is_some());
    let asks_again = (0..10).any(|_| {
        client.advance(30_000);
        client.open_live();
        client.asks(backend, Kind::Pull)
    });
    assert!(asks_again, "it is asked again");
}

/// Told at once, or fetched upon a poke, or with the next poll.
pub fn news_become_rows(backend: &impl Recorded) {
    let mut client = caught_up(backend);
    if client.is_live() {
        client.broadcast(backend, Said::News);
    } else {
        client.advance(30_000);
    }
    if client.rows().is_empty() {
        client.answer(backend, Kind::Pull, Said::Newest);
    }
    assert!(!client.rows().is_empty(), "{:?}", client.remote());
}

/// What others wrote is read, and the client's own goes behind it.
pub fn a_push_that_comes_too_late_goes_behind_what_is_there(backend: &impl Recorded) {
    let mut client = caught_up(backend);
    let (mut rows, late) = backend.others();
    let written = client.insert(core::slice::from_ref(&late));
    client.answer(backend, Kind::Push, Said::Late);
    client.answer(backend, Kind::Pull, Said::Others);
    rows.push(late);
    assert_eq!(client.rows(), by_key(&rows));
    let again = client.answer(backend, Kind::Push, Said::Taken).json();
    let batch = [&again["batch"], &again["payload"]["batch"]].into_iter().find(|batch| batch.is_array());
    if let Some(batch) = batch {
        assert_eq!(batch[0]["parentSeqNum"], rows.len() - 1, "{again}");
    }
    read_back(backend, &mut client, Said::LateBack);
    assert_eq!(client.state(written[0]), TransactionState::Completed);
    assert_eq!(client.rows(), by_key(&rows));
}

/// The server says that the log is ahead; the client reads it, and finds its own there.
pub fn what_landed_though_its_answer_was_lost_is_not_sent_again(backend: &impl Recorded) {
    let mut client = caught_up(backend);
    let written = client.insert(&backend.written());
    client.answer(backend, Kind::Push, Said::Late);
    client.answer(backend, Kind::Pull, Said::Back);
    for tx in written {
        assert_eq!(client.state(tx), TransactionState::Completed);
    }
    assert!(!client.asks(backend, Kind::Push));
    assert_eq!(client.pending(), 0);
}

/// The rows are fetched anew, the app is told, and what waits is kept and sent; whether a pull or a push is told of it.
pub fn another_log_is_a_reset_and_what_waits_is_kept(backend: &impl Recorded, told: Kind) {
    let mut client = Client::new(backend);
    client.open_live();
    client.answer(backend, Kind::Pull, Said::Rows);
    let mine = serde_json::json!({ "id": "mine" });
    client.insert(core::slice::from_ref(&mine));
    if told == Kind::Pull {
        client.pull_now();
    }
    client.answer(backend, told, Said::Reset);
    assert!(client.errors().contains(&Code::BackendReset), "{:?}", client.errors());
    assert_eq!(client.remote().state, RemoteState::Reset);
    client.answer(backend, Kind::Pull, Said::Nothing);
    assert_eq!(client.rows(), by_key(&[mine]), "the old rows are gone, and what waits shows");
    assert_eq!(client.pending(), 1);
    let push = client.asked(backend, Kind::Push).0.json().to_string();
    assert!(push.contains(r#""mine""#), "{push}");
}

/// Once more with fresh ones; then the remote is held, and nothing is lost.
pub fn credentials_that_are_refused_hold_the_remote(backend: &impl Recorded) {
    let mut client = caught_up(backend);
    for _ in 0..2 {
        client.pull_now();
        client.answer(backend, Kind::Pull, Said::Unauthorized);
    }
    assert_eq!(client.remote().state, RemoteState::Auth);
    client.insert(&backend.written());
    assert!(!client.asks(backend, Kind::Push));
    assert_eq!(client.pending(), backend.written().len());
}

/// A client whose backend has nothing.
pub fn caught_up(backend: &impl Recorded) -> Client {
    let mut client = Client::new(backend);
    client.open_live();
    client.answer(backend, Kind::Pull, Said::Nothing);
    client.open_live();
    while client.asks(backend, Kind::Pull) {
        client.answer(backend, Kind::Pull, Said::Nothing);
    }
    client
}

/// What was pushed comes back, by itself or with a pull.
fn read_back(backend: &impl Recorded, client: &mut Client, what: Said) {
    if client.asks(backend, Kind::Pull) {
        client.answer(backend, Kind::Pull, what);
    } else if client.is_live() {
        client.broadcast(backend, what);
        // Where only the head is told, the rest is pulled.
        if client.asks(backend, Kind::Pull) {
            client.answer(backend, Kind::Pull, what);
        }
    }
}

fn by_key(rows: &[Value]) -> BTreeMap<String, Value> {
    let key = |row: &Value| row["id"].as_str().expect("a row has an id").to_owned();
    rows.iter().map(|row| (key(row), row.clone())).collect()
}
