//! sync-cf 0.4: calls over a WebSocket and over HTTP, as measured on the published server.

use driftline_protocol::livestore::v04::{
    Call, ClientFrame, Cursor, Exit, Failure, Page, PageInfo, ServerFrame, Transport,
};
use driftline_protocol::livestore::{Event, Stored};

use super::{FrameSocket, LiveStoreServer, event, events};

/// There is a backend and nothing in it.
pub async fn an_empty_store_answers_an_empty_page<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "empty").await;
    let pull = client.pull(None, true).await;
    let page = client.page(pull).await;
    assert!(page.batch.is_empty() && page.page_info == PageInfo::NoMore, "{page:?}");
    assert!(!page.backend_id.is_empty());
}

/// What one client pushes comes to both, once, in order.
pub async fn a_push_reaches_every_live_pull_and_its_own<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("broadcast");
    let (mut one, mut two) = (Client::of(server, &store).await, Client::of(server, &store).await);
    let (live_one, live_two) = (one.pull(None, true).await, two.pull(None, true).await);
    let backend = one.page(live_one).await.backend_id;
    assert_eq!(two.page(live_two).await.backend_id, backend);
    one.push_ok(&events("one", 1, 2), Some(&backend)).await;
    for (client, live) in [(&mut one, live_one), (&mut two, live_two)] {
        let page = client.page(live).await;
        assert_eq!(numbers(&page.batch), [1, 2]);
        assert!(
            page.batch.iter().all(|stored| stored.created_at.is_some() && stored.event.client_id == "one")
        );
        assert_eq!((page.page_info, &page.backend_id), (PageInfo::NoMore, &backend));
    }
}

/// With an exit, once its last page is acknowledged.
pub async fn a_pull_that_is_not_live_ends<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "ends").await;
    client.push_ok(&events("one", 1, 3), None).await;
    let pull = client.pull(None, false).await;
    assert_eq!(numbers(&client.page(pull).await.batch), [1, 2, 3]);
    assert_eq!(client.exit(pull).await, Exit::Success);
}

/// The cursor's own event is known and not sent again.
pub async fn a_pull_begins_behind_its_cursor<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "cursor").await;
    client.push_ok(&events("one", 1, 4), None).await;
    let backend = client.backend().await;
    for (from, expected) in [(0, vec![1, 2, 3, 4]), (2, vec![3, 4]), (4, vec![])] {
        let pull = client.pull(Some(&cursor(&backend, from)), false).await;
        assert_eq!(numbers(&client.page(pull).await.batch), expected, "from {from}");
        assert_eq!(client.exit(pull).await, Exit::Success);
    }
}

/// The wire has no error for it; a client sees a wiped server by its other identity.
pub async fn a_cursor_behind_the_head_is_an_empty_page<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "ahead of it").await;
    client.push_ok(&events("one", 1, 2), None).await;
    let backend = client.backend().await;
    let pull = client.pull(Some(&cursor(&backend, 999)), false).await;
    let page = client.page(pull).await;
    assert!(page.batch.is_empty() && page.page_info == PageInfo::NoMore, "{page:?}");
}

/// Pages join without a gap.
pub async fn a_page_holds_a_hundred_events_and_says_how_many_remain<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "pages").await;
    client.push_all(&events("one", 1, 230)).await;
    let pull = client.pull(None, false).await;
    let mut seen = Vec::new();
    for remaining in [130, 30, 0] {
        let page = client.page(pull).await;
        seen.extend(numbers(&page.batch));
        let info = if remaining > 0 { PageInfo::MoreKnown { remaining } } else { PageInfo::NoMore };
        assert_eq!(page.page_info, info);
    }
    assert_eq!(seen, (1..=230).collect::<Vec<_>>());
    assert_eq!(client.exit(pull).await, Exit::Success);
}

/// A page that is not acknowledged holds back the next, and nothing else of the connection.
pub async fn the_next_page_waits_for_the_acknowledgement<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "flow").await;
    client.push_all(&events("one", 1, 130)).await;
    let pull = client.pull(None, false).await;
    let first = client.page_unacknowledged(pull).await;
    assert_eq!(first.batch.len(), 100);
    // What is answered after the page shows that the second one does not come by itself.
    assert_eq!(client.push(&[], None).await, Exit::Success);
    client.acknowledge(pull).await;
    assert_eq!(numbers(&client.page(pull).await.batch).first(), Some(&101));
    assert_eq!(client.exit(pull).await, Exit::Success);
}

/// Ahead of the pull's own pages, as the published server sends them, or after them; a client must take either.
pub async fn events_pushed_during_a_pull_reach_it_once_each<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("overtakes");
    let (mut writer, mut reader) = (Client::of(server, &store).await, Client::of(server, &store).await);
    writer.push_all(&events("one", 1, 130)).await;
    let live = reader.pull(None, true).await;
    let mut seen = numbers(&reader.page_unacknowledged(live).await.batch);
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    writer.push_ok(&events("one", 131, 131), None).await;
    reader.acknowledge(live).await;
    while seen.len() < 131 {
        seen.extend(numbers(&reader.page(live).await.batch));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=131).collect::<Vec<_>>());
}

/// Behind it or before it: the error says where the head is.
pub async fn another_parent_than_the_head_is_server_ahead<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "parent").await;
    client.push_ok(&events("one", 1, 2), None).await;
    for (first, provided) in [(1, 0), (2, 1), (8, 7)] {
        let exit = client.push(&events("two", first, first), None).await;
        assert_eq!(exit, Exit::Failure(Failure::ServerAhead { head: 2, provided }));
    }
    client.push_ok(&events("two", 3, 3), None).await;
}

/// The server recognises nothing again: a client whose answer was lost sees it by pulling.
pub async fn a_repeated_push_is_server_ahead<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "repeat").await;
    let batch = events("one", 1, 2);
    client.push_ok(&batch, None).await;
    let exit = client.push(&batch, None).await;
    assert_eq!(exit, Exit::Failure(Failure::ServerAhead { head: 2, provided: 0 }));
    let stored = client.pull_all().await;
    assert!(stored.iter().zip(&batch).all(|(stored, sent)| stored.event.is_same(sent)));
    assert_eq!(stored.len(), 2);
}

/// However they meet.
pub async fn of_two_pushes_on_one_parent_one_is_taken<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("race");
    let (mut one, mut two) = (Client::of(server, &store).await, Client::of(server, &store).await);
    let first = one.start_push(&events("one", 1, 1), None).await;
    let second = two.start_push(&events("two", 1, 1), None).await;
    let exits = [one.exit(first).await, two.exit(second).await];
    let ahead = Exit::Failure(Failure::ServerAhead { head: 1, provided: 0 });
    assert!(exits == [Exit::Success, ahead.clone()] || exits == [ahead, Exit::Success], "{exits:?}");
    let winner = if exits[0] == Exit::Success { "one" } else { "two" };
    let stored = one.pull_all().await;
    assert_eq!((stored.len(), stored[0].event.client_id.as_str()), (1, winner));
}

/// With the identity that the server has, and the one that came; nothing is stored.
pub async fn another_backend_is_told_on_push_and_on_pull<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "identity").await;
    client.push_ok(&events("one", 1, 1), None).await;
    let expected = client.backend().await;
    let mismatch =
        Exit::Failure(Failure::BackendIdMismatch { expected: expected.clone(), received: "other".into() });
    assert_eq!(client.push(&events("one", 2, 2), Some("other")).await, mismatch);
    let pull = client.pull(Some(&cursor("other", 1)), false).await;
    assert_eq!(client.exit(pull).await, mismatch);
    client.push_ok(&events("one", 2, 2), Some(&expected)).await;
}

/// And changes nothing.
pub async fn a_push_without_events_succeeds<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "nothing").await;
    client.push_ok(&[], None).await;
    assert!(client.pull_all().await.is_empty());
}

/// Whatever JSON they are.
pub async fn arguments_come_back_as_they_were<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "arguments").await;
    let batch: Vec<_> = [
        r#"{"id":"t1","text":"ä \"quoted\" \\ \u0000 𝄞","n":1.5,"list":[1,[],{}],"no":null}"#,
        "null",
        "{}",
        r#""text""#,
        "[1,2,3]",
        "-7",
    ]
    .iter()
    .zip(1..)
    .map(|(args, seq_num)| event("one", seq_num, args))
    .collect();
    client.push_ok(&batch, None).await;
    let stored = client.pull_all().await;
    assert_eq!(stored.len(), batch.len());
    for (stored, sent) in stored.iter().zip(&batch) {
        assert!(stored.event.is_same(sent), "{} came back as {}", sent.args, stored.event.args);
    }
}

/// Neither events nor broadcasts of one reach another.
pub async fn stores_are_apart<S: LiveStoreServer>(server: &mut S) {
    let (mut one, mut two) =
        (Client::open(server, "apart one").await, Client::open(server, "apart two").await);
    let live = two.pull(None, true).await;
    assert!(two.page(live).await.batch.is_empty());
    one.push_ok(&events("one", 1, 3), None).await;
    two.push_ok(&events("two", 1, 1), None).await;
    assert_eq!(two.page(live).await.batch[0].event.client_id, "two");
    assert_eq!(one.pull_all().await.len(), 3);
}

/// The connection stands, and what comes after is answered.
pub async fn a_call_that_can_not_be_read_fails_by_itself<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "defect").await;
    let id = client.next_id();
    let bad = format!(
        r#"{{"_tag":"Request","id":"{id}","tag":"SyncWsRpc.Push","payload":{{"storeId":"{}","batch":[{{"name":"x"}}],"backendId":{{"_tag":"None"}}}},"headers":[]}}"#,
        client.store
    );
    client.socket.send(bad).await;
    let exit = client.exit(id).await;
    assert!(matches!(exit, Exit::Failure(Failure::Defect { .. })), "{exit:?}");
    let id = client.next_id();
    client
        .socket
        .send(format!(
            r#"{{"_tag":"Request","id":"{id}","tag":"SyncWsRpc.Nope","payload":{{}},"headers":[]}}"#
        ))
        .await;
    let frame = client.receive().await;
    assert!(matches!(frame, ServerFrame::Defect { .. }), "{frame:?}");
    client.push_ok(&events("one", 1, 1), None).await;
}

/// By whatever is nearest; it proves nothing about the service.
pub async fn a_ping_is_answered<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "ping").await;
    client.socket.send(ClientFrame::Ping.encode()).await;
    let frame = client.receive().await;
    assert!(matches!(frame, ServerFrame::Pong), "{frame:?}");
}

/// It ends as interrupted, and what is pushed afterwards is not told on it.
pub async fn an_interrupted_pull_hears_no_more<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("interrupt");
    let (mut reader, mut writer) = (Client::of(server, &store).await, Client::of(server, &store).await);
    let live = reader.pull(None, true).await;
    assert!(reader.page(live).await.batch.is_empty());
    reader.socket.send(ClientFrame::Interrupt { request_id: live }.encode()).await;
    assert_eq!(reader.exit(live).await, Exit::Failure(Failure::Interrupted));
    writer.push_ok(&events("one", 1, 1), None).await;
    // Frames keep their order: had the pull been told, it would stand before this answer.
    let pull = reader.pull(None, false).await;
    assert_eq!(numbers(&reader.page(pull).await.batch), [1]);
}

/// One request, one answer: all pages and how it ended.
pub async fn http_pulls_and_pushes_as_a_socket_does<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("http");
    assert_eq!(post(server, &store, &Call::Ping).await, (Vec::new(), Exit::Success));
    let all = events("one", 1, 130);
    for batch in all.chunks(100) {
        assert_eq!(post(server, &store, &Call::Push { batch, backend_id: None }).await.1, Exit::Success);
    }
    let body = Call::Pull { cursor: None, live: false }.encode(Transport::Http, 1, &store, None);
    let (pages, exit) = ServerFrame::decode_http(&server.post(&store, &body).await).expect("an answer");
    assert_eq!(exit, Exit::Success);
    let numbers: Vec<_> = pages.iter().flat_map(|page| numbers(&page.batch)).collect();
    assert_eq!(numbers, (1..=130).collect::<Vec<_>>());
    let stale = Call::Push { batch: &all[..1], backend_id: None };
    let ahead = Exit::Failure(Failure::ServerAhead { head: 130, provided: 0 });
    assert_eq!(post(server, &store, &stale).await.1, ahead);
    let other = Call::Push { batch: &events("one", 131, 131), backend_id: Some("other") };
    let exit = post(server, &store, &other).await.1;
    assert!(matches!(exit, Exit::Failure(Failure::BackendIdMismatch { .. })), "{exit:?}");
}

/// Both ways lead to one store.
pub async fn a_push_over_http_reaches_live_pulls<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("both ways");
    let mut client = Client::of(server, &store).await;
    let live = client.pull(None, true).await;
    assert!(client.page(live).await.batch.is_empty());
    let push = Call::Push { batch: &events("one", 1, 2), backend_id: None };
    assert_eq!(post(server, &store, &push).await.1, Exit::Success);
    assert_eq!(numbers(&client.page(live).await.batch), [1, 2]);
}

async fn post<S: LiveStoreServer>(server: &mut S, store: &str, call: &Call<'_>) -> (Vec<u64>, Exit) {
    let answer = server.post(store, &call.encode(Transport::Http, 0, store, None)).await;
    let (pages, exit) =
        ServerFrame::decode_http(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"));
    (pages.iter().flat_map(|page| numbers(&page.batch)).collect(), exit)
}

/// A client that puts aside what it is not waiting for: broadcasts come before answers and after them.
struct Client<S> {
    socket: S,
    store: String,
    ids: u64,
    waiting: Vec<ServerFrame>,
}

impl<S: FrameSocket> Client<S> {
    async fn open(server: &mut impl LiveStoreServer<Socket = S>, name: &str) -> Self {
        let store = server.store(name);
        Self::of(server, &store).await
    }

    async fn of(server: &mut impl LiveStoreServer<Socket = S>, store: &str) -> Self {
        let socket = server.connect(store).await;
        Self { socket, store: store.to_owned(), ids: 0, waiting: Vec::new() }
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids - 1
    }

    async fn call(&mut self, call: Call<'_>) -> u64 {
        let id = self.next_id();
        self.socket.send(call.encode(Transport::WebSocket, id, &self.store, None)).await;
        id
    }

    async fn pull(&mut self, cursor: Option<&Cursor>, live: bool) -> u64 {
        self.call(Call::Pull { cursor, live }).await
    }

    async fn start_push(&mut self, batch: &[Event], backend_id: Option<&str>) -> u64 {
        self.call(Call::Push { batch, backend_id }).await
    }

    async fn push(&mut self, batch: &[Event], backend_id: Option<&str>) -> Exit {
        let id = self.start_push(batch, backend_id).await;
        self.exit(id).await
    }

    async fn push_ok(&mut self, batch: &[Event], backend_id: Option<&str>) {
        assert_eq!(self.push(batch, backend_id).await, Exit::Success);
    }

    async fn push_all(&mut self, events: &[Event]) {
        for batch in events.chunks(100) {
            self.push_ok(batch, None).await;
        }
    }

    async fn pull_all(&mut self) -> Vec<Stored> {
        let (id, mut all) = (self.pull(None, false).await, Vec::new());
        loop {
            let page = self.page(id).await;
            all.extend(page.batch);
            if page.page_info == PageInfo::NoMore {
                return all;
            }
        }
    }

    async fn backend(&mut self) -> String {
        let id = self.pull(None, false).await;
        self.page(id).await.backend_id
    }

    async fn receive(&mut self) -> ServerFrame {
        let text = self.socket.receive().await;
        ServerFrame::decode(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    async fn frame(&mut self, is_wanted: impl Fn(&ServerFrame) -> bool) -> ServerFrame {
        if let Some(at) = self.waiting.iter().position(&is_wanted) {
            return self.waiting.remove(at);
        }
        loop {
            let frame = self.receive().await;
            if is_wanted(&frame) {
                return frame;
            }
            assert!(!matches!(frame, ServerFrame::Defect { .. }), "{frame:?}");
            self.waiting.push(frame);
        }
    }

    async fn page_unacknowledged(&mut self, id: u64) -> Page {
        // An exit where a page should come is told at once, not waited through.
        let of_call = |frame: &ServerFrame| match frame {
            ServerFrame::Chunk { request_id, .. } | ServerFrame::Exit { request_id, .. } => *request_id == id,
            _ => false,
        };
        match self.frame(of_call).await {
            ServerFrame::Chunk { mut pages, .. } if pages.len() == 1 => pages.remove(0),
            other => panic!("no page of call {id}: {other:?}"),
        }
    }

    async fn acknowledge(&mut self, id: u64) {
        self.socket.send(ClientFrame::Ack { request_id: id }.encode()).await;
    }

    async fn page(&mut self, id: u64) -> Page {
        let page = self.page_unacknowledged(id).await;
        self.acknowledge(id).await;
        page
    }

    async fn exit(&mut self, id: u64) -> Exit {
        let is_exit =
            |frame: &ServerFrame| matches!(frame, ServerFrame::Exit { request_id, .. } if *request_id == id);
        match self.frame(is_exit).await {
            ServerFrame::Exit { exit, .. } => exit,
            other => panic!("{other:?}"),
        }
    }
}

fn cursor(backend_id: &str, event_sequence_number: u64) -> Cursor {
    Cursor { backend_id: backend_id.to_owned(), event_sequence_number }
}

fn numbers(batch: &[Stored]) -> Vec<u64> {
    batch.iter().map(|stored| stored.event.seq_num).collect()
}
