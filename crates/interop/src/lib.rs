//! The conformance suites of `driftline-testkit` over real sockets, against any server that an address leads to.
//!
//! The command `driftline-interop` lists the checks of a suite and runs one; the tests of `tests/interop` start the
//! published servers and run each check as a test of its own. [`Remote`] is the client, for other tests too.

mod s2;

pub use s2::{OpenAnswer, S2Remote};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftline_protocol::livestore::{v03, v04};
use driftline_testkit::livestore::{FrameSocket, LiveStoreServer};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Which of sync-cf's wires a server is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// 0.3.
    V03,
    /// 0.4.
    V04,
}

/// A server at an address.
#[derive(Debug, Clone)]
pub struct Remote {
    dialect: Dialect,
    url: String,
    /// JSON that each connection is opened with.
    payload: Option<String>,
}

impl Remote {
    /// The server at `url`, `http:` or `ws:`, without a connection to it so far.
    pub fn new(dialect: Dialect, url: impl Into<String>) -> Self {
        Self { dialect, url: url.into(), payload: None }
    }

    /// The same, with a payload for its connections.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<String>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// The address of a store's WebSocket.
    pub fn address(&self, store: &str) -> String {
        match self.dialect {
            Dialect::V03 => v03::address(&self.url, store, self.payload.as_deref()),
            Dialect::V04 => v04::Transport::WebSocket.address(&self.url, store, self.payload.as_deref()),
        }
    }
}

impl LiveStoreServer for Remote {
    type Socket = Socket;

    fn store(&mut self, name: &str) -> String {
        unused(name)
    }

    async fn connect(&mut self, store: &str) -> Socket {
        let address = self.address(store);
        let (stream, _) =
            within(connect_async(&address)).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        Socket(stream)
    }

    async fn post(&mut self, store: &str, body: &str) -> String {
        let address = v04::Transport::Http.address(&self.url, store, self.payload.as_deref());
        let request = reqwest::Client::new().post(&address).body(body.to_owned());
        let answer = within(request.send()).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        let (status, text) = (answer.status(), within(answer.text()).await.expect("the answer is text"));
        assert_eq!(status, 200, "{text}");
        text
    }
}

/// A WebSocket of text frames.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl FrameSocket for Socket {
    async fn send(&mut self, frame: String) {
        within(self.0.send(Message::text(frame))).await.expect("the connection stands");
    }

    async fn receive(&mut self) -> String {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text frame, but {other:?}"),
            }
        }
    }
}

/// A name that nobody has used, made of this one.
fn unused(name: &str) -> String {
    static USED: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} {:x} {}", name, since.as_nanos(), USED.fetch_add(1, Ordering::Relaxed)).replace(' ', "_")
}

/// The machine may be busy; a frame that never comes is a failure all the same.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came for a minute")
}
