//! What a client sends.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Cursor, Id, Transport, WIRE, missing, unknown, write_json};
use crate::decode::{DecodeError, from_json};
use crate::livestore::{Event, MAX_PUSH_BYTES, Optional};

/// A call to the server, as a client makes it.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// Asks for all events behind the cursor, and with `live` for what comes afterwards.
    Pull {
        /// `None` for all.
        cursor: Option<&'a Cursor>,
        /// Whether the call stays open. Not sent over HTTP.
        live: bool,
    },
    /// Hands over events. Each one's parent must be the one before, which the server checks of the first only.
    Push {
        /// In order; at most [`super::MAX_PUSH_EVENTS`].
        batch: &'a [Event],
        /// Identity of the log that the events follow; `None` if none is known yet.
        backend_id: Option<&'a str>,
    },
    /// Asks whether the service is there. Over HTTP only; a WebSocket has [`ClientFrame::Ping`].
    Ping,
}

impl Call<'_> {
    /// The call's text. `id` is told apart from every other on this connection; `payload` is JSON.
    pub fn encode(
        &self,
        transport: Transport,
        id: u64,
        store_id: &str,
        payload: Option<&RawValue>,
    ) -> String {
        let is_live = |live| (transport == Transport::WebSocket).then_some(live);
        let common = Payload { store_id, payload, live: None, batch: None, backend_id: None, cursor: None };
        let (name, payload) = match *self {
            Self::Pull { cursor, live } => {
                ("Pull", Payload { live: is_live(live), cursor: Some(cursor.into()), ..common })
            }
            Self::Push { batch, backend_id } => {
                ("Push", Payload { batch: Some(batch), backend_id: Some(backend_id.into()), ..common })
            }
            Self::Ping => ("Ping", common),
        };
        let tag = format!("{}{name}", transport.prefix());
        write_json(&Request { kind: "Request", id: Id(id), tag: &tag, payload, headers: [] })
    }
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "_tag")]
    kind: &'a str,
    id: Id,
    tag: &'a str,
    payload: Payload<'a>,
    headers: [(); 0],
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    store_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a [Event]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_id: Option<Optional<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Optional<&'a Cursor>>,
}

/// What a client sends over a WebSocket; as a server reads it.
#[derive(Debug, Clone)]
pub enum ClientFrame {
    /// A call.
    Request(CallRequest),
    /// The page was taken; the next one may come.
    Ack {
        /// The call.
        request_id: u64,
    },
    /// The call is to end.
    Interrupt {
        /// The call.
        request_id: u64,
    },
    /// Nothing more will be asked on this connection.
    Eof,
    /// Whether anybody is there. The platform answers by itself, so the answer proves nothing about the service.
    Ping,
}

/// A call as a server reads it.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The call's id.
    pub id: u64,
    /// Which store it speaks of. Checked by the server against the one that the connection was opened for.
    pub store_id: String,
    /// What the client says about itself, JSON.
    pub payload: Option<Box<RawValue>>,
    /// What is asked.
    pub call: OwnedCall,
}

/// See [`Call`].
#[derive(Debug, Clone)]
pub enum OwnedCall {
    /// See [`Call::Pull`].
    Pull {
        /// `None` for all.
        cursor: Option<Cursor>,
        /// Whether the call stays open.
        live: bool,
    },
    /// See [`Call::Push`].
    Push {
        /// In order.
        batch: Vec<Event>,
        /// The log that they follow.
        backend_id: Option<String>,
    },
    /// See [`Call::Ping`].
    Ping,
}

impl ClientFrame {
    /// The text of `Ping`.
    pub const PING: &'static str = r#"{"_tag":"Ping"}"#;

    /// The frame's text; of a [`ClientFrame::Request`] over a WebSocket.
    pub fn encode(&self) -> String {
        match self {
            Self::Request(request) => {
                let call = match &request.call {
                    OwnedCall::Pull { cursor, live } => Call::Pull { cursor: cursor.as_ref(), live: *live },
                    OwnedCall::Push { batch, backend_id } => {
                        Call::Push { batch, backend_id: backend_id.as_deref() }
                    }
                    OwnedCall::Ping => Call::Ping,
                };
                call.encode(Transport::WebSocket, request.id, &request.store_id, request.payload.as_deref())
            }
            Self::Ack { request_id } => format!(r#"{{"_tag":"Ack","requestId":"{request_id}"}}"#),
            Self::Interrupt { request_id } => format!(r#"{{"_tag":"Interrupt","requestId":"{request_id}"}}"#),
            Self::Eof => r#"{"_tag":"Eof"}"#.to_string(),
            Self::Ping => Self::PING.to_string(),
        }
    }

    /// Reads a frame, or the body of a request over HTTP.
    ///
    /// # Errors
    /// If it is longer than a push may be, no frame of this wire, or a call of another transport or name.
    pub fn decode(transport: Transport, text: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            #[serde(rename = "_tag", borrow)]
            kind: Cow<'a, str>,
            #[serde(default)]
            id: Option<Id>,
            #[serde(default)]
            request_id: Option<Id>,
            #[serde(default, borrow)]
            tag: Option<Cow<'a, str>>,
            #[serde(default)]
            payload: Option<WirePayload>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct WirePayload {
            store_id: String,
            #[serde(default)]
            payload: Option<Box<RawValue>>,
            #[serde(default)]
            live: bool,
            #[serde(default)]
            cursor: Option<Optional<Cursor>>,
            #[serde(default)]
            batch: Option<Vec<Event>>,
            #[serde(default)]
            backend_id: Option<Optional<String>>,
        }
        // A client may send what is just over the limit of a push; the server's own limit then says so in its words.
        let frame: Frame<'_> = from_json(WIRE, 2 * MAX_PUSH_BYTES, text)?;
        let request_id = || frame.request_id.map(|Id(id)| id).ok_or_else(|| missing("requestId"));
        match &*frame.kind {
            "Ack" => return Ok(Self::Ack { request_id: request_id()? }),
            "Interrupt" => return Ok(Self::Interrupt { request_id: request_id()? }),
            "Eof" => return Ok(Self::Eof),
            "Ping" => return Ok(Self::Ping),
            "Request" => {}
            other => return Err(unknown("_tag", other)),
        }
        let Id(id) = frame.id.ok_or_else(|| missing("id"))?;
        let tag = frame.tag.ok_or_else(|| missing("tag"))?;
        let payload = frame.payload.ok_or_else(|| missing("payload"))?;
        let call = match tag.strip_prefix(transport.prefix()) {
            Some("Pull") => {
                OwnedCall::Pull { cursor: option(payload.cursor, "payload.cursor")?, live: payload.live }
            }
            Some("Push") => OwnedCall::Push {
                batch: payload.batch.ok_or_else(|| missing("payload.batch"))?,
                backend_id: option(payload.backend_id, "payload.backendId")?,
            },
            Some("Ping") if transport == Transport::Http => OwnedCall::Ping,
            _ => return Err(unknown("tag", &tag)),
        };
        Ok(Self::Request(CallRequest { id, store_id: payload.store_id, payload: payload.payload, call }))
    }
}

/// A field that must say whether there is a value, and then have it.
fn option<T>(field: Option<Optional<T>>, path: &str) -> Result<Option<T>, DecodeError> {
    let field = field.ok_or_else(|| missing(path))?;
    field.known().ok_or_else(|| missing("value").below(path))
}
