//! A WebSocket client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens one at a path of a server's `http:` address.
    pub async fn open(url: &str, path: &str) -> Self {
        Self::try_open(url, path, None).await.unwrap()
    }

    /// The same as a page of an origin does; gives the status of a refusal.
    pub async fn try_open(url: &str, path: &str, origin: Option<&str>) -> Result<Self, u16> {
        let mut request = format!("{}{path}", url.replacen("http", "ws", 1)).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text or binary frame; `None` once the server has closed.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let next =
                tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing came for a minute");
            match next {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    pub async fn text(&mut self) -> String {
        self.next().await.expect("a frame").into_text().unwrap().to_string()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
