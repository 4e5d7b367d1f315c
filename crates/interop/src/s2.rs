//! A server of S2's REST v1, or of sync-s2's wire in front of one, at an address.

use driftline_testkit::s2::{Answer, LiveRead, Request, S2Server};

use crate::{unused, within};

/// A server at an address.
#[derive(Debug)]
pub struct S2Remote {
    url: String,
    client: reqwest::Client,
}

impl S2Remote {
    /// The server at `url`, without a connection to it so far.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), client: reqwest::Client::new() }
    }

    async fn ask(&self, request: &Request) -> reqwest::Response {
        let address = format!("{}{}", self.url, request.path);
        let method = request.method.parse().expect("it is a method");
        let mut asked = self.client.request(method, &address).body(request.body.clone());
        for (name, value) in &request.headers {
            asked = asked.header(name, value);
        }
        within(asked.send()).await.unwrap_or_else(|error| panic!("{address}: {error}"))
    }
}

impl S2Server for S2Remote {
    type Live = OpenAnswer;

    fn unused(&mut self, name: &str) -> String {
        unused(name).replace('_', "-")
    }

    async fn send(&mut self, request: Request) -> Answer {
        whole(self.ask(&request).await).await
    }

    async fn listen(&mut self, request: Request) -> Result<OpenAnswer, Answer> {
        let answer = self.ask(&request).await;
        if answer.status() == 200 {
            return Ok(OpenAnswer { answer, cut: Vec::new() });
        }
        Err(whole(answer).await)
    }
}

async fn whole(answer: reqwest::Response) -> Answer {
    let status = answer.status().as_u16();
    Answer { status, body: within(answer.text()).await.expect("the answer is text") }
}

/// An answer that stays open.
#[derive(Debug)]
pub struct OpenAnswer {
    answer: reqwest::Response,
    /// The beginning of a character that a piece ended in.
    cut: Vec<u8>,
}

impl LiveRead for OpenAnswer {
    async fn receive(&mut self) -> Option<String> {
        let piece = within(self.answer.chunk()).await.expect("the connection stands")?;
        self.cut.extend_from_slice(&piece);
        let whole = match core::str::from_utf8(&self.cut) {
            Ok(_) => self.cut.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.cut.split_off(whole);
        let text = core::mem::replace(&mut self.cut, rest);
        Some(String::from_utf8(text).expect("it was just looked at"))
    }
}
