//! sync-cf 0.3: messages over a WebSocket, as measured on the published server.

use driftline_protocol::livestore::Stored;
use driftline_protocol::livestore::v03::{ClientFrame, Context, ServerFrame, parent_mismatch};

use super::{FrameSocket, LiveStoreServer, events};

/// And nothing follows.
pub async fn an_empty_store_answers_an_empty_page<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "empty").await;
    assert!(client.pull(None).await.is_empty());
}

/// To the one who pushed as well, as a page that says that it is one.
pub async fn a_push_is_acknowledged_and_broadcast_to_everyone<S: LiveStoreServer>(server: &mut S) {
    let store = server.store("broadcast");
    let (mut one, mut two) = (Client::of(server, &store).await, Client::of(server, &store).await);
    assert!(two.pull(None).await.is_empty());
    assert_eq!(one.push("p1", 1, 2).await, Ok(()));
    for client in [&mut one, &mut two] {
        assert_eq!(client.broadcast().await, [1, 2]);
    }
    // Neither the acknowledgement nor the broadcast says that the events are stored; only a pull does.
    while two.pull(None).await != [1, 2] {}
}

/// With what remains after each.
pub async fn pages_of_a_hundred_follow_one_another<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "pages").await;
    for (id, first, last) in [("p1", 1, 100), ("p2", 101, 200), ("p3", 201, 230)] {
        assert_eq!(client.push(id, first, last).await, Ok(()));
        // The acknowledgement comes before the events are stored; the broadcast says no more, a pull does.
        while client.pull(Some(first - 1)).await.len() as u64 != last - first + 1 {}
    }
    assert_eq!(client.pull(None).await, (1..=230).collect::<Vec<_>>());
}

/// The cursor's own event is known and not sent again.
pub async fn a_pull_begins_behind_its_cursor<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "cursor").await;
    assert_eq!(client.push("p1", 1, 4).await, Ok(()));
    while client.pull(None).await.len() != 4 {}
    assert_eq!(client.pull(Some(2)).await, [3, 4]);
    assert!(client.pull(Some(4)).await.is_empty());
    assert!(client.pull(Some(999)).await.is_empty());
}

/// In words only.
pub async fn another_parent_than_the_head_is_an_error_that_says_so<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "parent").await;
    assert_eq!(client.push("p1", 1, 2).await, Ok(()));
    let message = client.push("p2", 1, 1).await.expect_err("the parent is 0");
    let mismatch = parent_mismatch(&message).unwrap_or_else(|| panic!("another message: {message}"));
    assert_eq!((mismatch.head, mismatch.provided), (2, 0));
    assert_eq!(client.push("p3", 3, 3).await, Ok(()));
}

/// Nothing is recognised again.
pub async fn a_repeated_push_is_such_an_error_too<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "repeat").await;
    assert_eq!(client.push("p1", 1, 1).await, Ok(()));
    let message = client.push("p1", 1, 1).await.expect_err("the parent is 0");
    assert_eq!(parent_mismatch(&message).map(|mismatch| mismatch.head), Some(1));
}

/// If it is written exactly so.
pub async fn a_ping_is_answered<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "ping").await;
    client.socket.send(ClientFrame::Ping.encode()).await;
    let frame = client.receive().await;
    assert!(matches!(frame, ServerFrame::Pong), "{frame:?}");
}

/// And nothing is told or done.
pub async fn a_wrong_secret_is_refused<S: LiveStoreServer>(server: &mut S) {
    let mut client = Client::open(server, "secret").await;
    let (request_id, admin_secret) = ("a1".to_owned(), "guessed".to_owned());
    client.socket.send(ClientFrame::AdminResetRoom { request_id, admin_secret }.encode()).await;
    let frame = client.receive().await;
    let ServerFrame::Error { request_id, message } = frame else { panic!("{frame:?}") };
    assert_eq!(request_id, "a1");
    assert!(!message.is_empty() && parent_mismatch(&message).is_none(), "{message}");
}

/// A client that puts aside what it is not waiting for: broadcasts come before answers and after them.
struct Client<S> {
    socket: S,
    pulls: u64,
    waiting: Vec<ServerFrame>,
}

impl<S: FrameSocket> Client<S> {
    async fn open(server: &mut impl LiveStoreServer<Socket = S>, name: &str) -> Self {
        let store = server.store(name);
        Self::of(server, &store).await
    }

    async fn of(server: &mut impl LiveStoreServer<Socket = S>, store: &str) -> Self {
        Self { socket: server.connect(store).await, pulls: 0, waiting: Vec::new() }
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
            self.waiting.push(frame);
        }
    }

    /// All pages of a pull.
    async fn pull(&mut self, cursor: Option<u64>) -> Vec<u64> {
        self.pulls += 1;
        let request_id = format!("pull-{}", self.pulls);
        self.socket.send(ClientFrame::Pull { request_id: request_id.clone(), cursor }.encode()).await;
        let wanted = Context::Pull(request_id);
        let mut all = Vec::new();
        loop {
            let is_page = |frame: &ServerFrame| matches!(frame, ServerFrame::Page { context, .. } if *context == wanted);
            let ServerFrame::Page { batch, remaining, .. } = self.frame(is_page).await else {
                unreachable!("it was asked for a page")
            };
            assert!(batch.len() <= 100, "a page of {}", batch.len());
            all.extend(numbers(&batch));
            if remaining == 0 {
                return all;
            }
        }
    }

    /// Pushes events, and gives the message of a refusal.
    async fn push(&mut self, id: &str, first: u64, last: u64) -> Result<(), String> {
        let batch = events("one", first, last);
        self.socket.send(ClientFrame::Push { request_id: id.to_owned(), batch }.encode()).await;
        let is_answer = |frame: &ServerFrame| match frame {
            ServerFrame::PushAck { request_id } | ServerFrame::Error { request_id, .. } => request_id == id,
            _ => false,
        };
        match self.frame(is_answer).await {
            ServerFrame::Error { message, .. } => Err(message),
            _ => Ok(()),
        }
    }

    /// The events of the next page that a push made, whoever's it was.
    async fn broadcast(&mut self) -> Vec<u64> {
        let is_page =
            |frame: &ServerFrame| matches!(frame, ServerFrame::Page { context: Context::Push(_), .. });
        let ServerFrame::Page { batch, remaining: 0, .. } = self.frame(is_page).await else {
            panic!("nothing follows a broadcast")
        };
        numbers(&batch)
    }
}

fn numbers(batch: &[Stored]) -> Vec<u64> {
    batch.iter().map(|stored| stored.event.seq_num).collect()
}
