//! What the server's tests share: a server in this process, a server process, and clients of theirs.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod process;
pub mod socket;

use std::net::SocketAddr;
use std::sync::Arc;

use driftline_protocol::RawValue;
use driftline_protocol::files::Sha256Digest;
use driftline_protocol::mizu::{Mutation, PullRequest, PullResponse, PushRequest, PushResponse};
use driftline_server::engine::{Engine, EntityMutator, Mutator};
use driftline_server::{Config, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on loopback with a directory of its own.
pub struct TestServer {
    pub url: String,
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub http: reqwest::Client,
    pub data: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(|_| {}, EntityMutator::new()).await
    }

    pub async fn start_with(adjust: impl FnOnce(&mut Config), mutator: impl Mutator) -> Self {
        use clap::Parser;
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::parse_from(["driftline-server", "--listen", "127.0.0.1:0"]);
        config.data = data.path().to_owned();
        adjust(&mut config);
        let server = Server::bind_with(config, mutator).await.unwrap();
        let (address, engine) = (server.address(), Arc::clone(server.engine()));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        let http = reqwest::Client::new();
        let (stop, serving) = (Some(stop), Some(serving));
        Self { url: format!("http://{address}"), address, engine, http, data, stop, serving }
    }

    /// Tells the server to stop; the handle ends when it has.
    pub fn stop(&mut self) -> JoinHandle<()> {
        let _ = self.stop.take().unwrap().send(());
        self.serving.take().unwrap()
    }

    pub fn file_url(&self, digest: Sha256Digest) -> String {
        format!("{}/files/{digest}", self.url)
    }

    /// Posts a body, and gives status and text.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let response = self.http.post(format!("{}{path}", self.url)).body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn push(&self, mutations: Vec<Mutation>) -> PushResponse {
        let body = serde_json::to_string(&PushRequest { mutations }).unwrap();
        let (status, text) = self.post("/_sync/push", body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn pull(&self, scope: &str, cursor: u64) -> PullResponse {
        let body =
            serde_json::to_string(&PullRequest { scope: scope.into(), cursor, limit: Some(1000) }).unwrap();
        let (status, text) = self.post("/_sync/pull", body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// `todo.create` of a row with that id, under a mutation of that id.
pub fn create(scope: &str, id: &str) -> Mutation {
    let args = RawValue::from_string(format!(r#"{{"id":"{id}","title":"{id}"}}"#)).unwrap();
    Mutation::new(id, scope, "todo.create", args)
}

pub fn digest_of(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Bytes that do not repeat, the same each time.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// The value of a header of an answer, or nothing.
pub fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The `code` of an error's body, of either shape.
pub fn code(text: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    assert!(body["error"].is_string() ^ body["message"].is_string(), "{text}");
    body["code"].as_str().unwrap().to_owned()
}
