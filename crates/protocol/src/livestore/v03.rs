//! sync-cf 0.3: messages over a WebSocket, without calls or flow control.
//!
//! A pull is answered with pages that come one after another. Whatever anybody pushes is broadcast as a page too, with
//! [`Context::Push`], to the one who pushed it as well, and before its acknowledgement or after it. An acknowledgement
//! comes **before** the server stores the events, so it promises nothing: only events that come back in a pull are kept.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{Event, MAX_FRAME_BYTES, MAX_PUSH_BYTES, Optional, Stored, percent_encode};
use crate::decode::{DecodeError, cut, from_json, position};

/// What errors call this wire.
pub const WIRE: &str = "livestore 0.3";
/// Where the published worker listens below its origin.
pub const PATH: &str = "/websocket";
/// The id of a ping. Any other, and any other order of its fields, is not answered by the platform but reaches the
/// published server, which answers with an error.
pub const PING_ID: &str = "ping";

/// The address of a store. [`PATH`] is added to an origin; a path is left as it is. `payload` is JSON text.
pub fn address(url: &str, store_id: &str, payload: Option<&str>) -> String {
    let url = match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => url.to_string(),
    };
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let is_origin = after_scheme.split_once('/').is_none_or(|(_, path)| path.is_empty());
    let path = if is_origin { PATH } else { "" };
    let mut address = format!("{}{path}?storeId={}", url.trim_end_matches('/'), percent_encode(store_id));
    if let Some(payload) = payload {
        address.push_str("&payload=");
        address.push_str(&percent_encode(&percent_encode(payload)));
    }
    address
}

/// What a client sends.
#[derive(Debug, Clone)]
pub enum ClientFrame {
    /// Asks for all events behind the cursor.
    Pull {
        /// Comes back in the answers.
        request_id: String,
        /// The last event that is known; `None` for all.
        cursor: Option<u64>,
    },
    /// Hands over events. Each one's parent must be the one before, which the server checks of the first only.
    Push {
        /// Comes back in the answer.
        request_id: String,
        /// In order; at most [`super::MAX_PUSH_EVENTS`].
        batch: Vec<Event>,
    },
    /// Whether anybody is there. The platform answers by itself.
    Ping,
    /// Asks what the server knows of itself.
    AdminInfo {
        /// Comes back in the answer.
        request_id: String,
        /// The secret that the server was set up with.
        admin_secret: String,
    },
    /// Asks to forget the store. The published server forgets its head and keeps the events.
    AdminResetRoom {
        /// Comes back in the answer.
        request_id: String,
        /// The secret that the server was set up with.
        admin_secret: String,
    },
}

/// What a server sends.
#[derive(Debug, Clone)]
pub enum ServerFrame {
    /// A part of the log.
    Page {
        /// In the log's order.
        batch: Vec<Stored>,
        /// What it answers.
        context: Context,
        /// How many events follow in further pages; 0 in a broadcast.
        remaining: u64,
    },
    /// The push has the right parent. Whether it will be stored is not said.
    PushAck {
        /// The push.
        request_id: String,
    },
    /// A request was refused, or the storage failed after an acknowledgement.
    Error {
        /// The request.
        request_id: String,
        /// The server's words; see [`parent_mismatch`].
        message: String,
    },
    /// The answer to a ping.
    Pong,
    /// The answer to [`ClientFrame::AdminInfo`].
    AdminInfo {
        /// The request.
        request_id: String,
        /// Which object of the platform's serves the store.
        durable_object_id: String,
    },
    /// The answer to [`ClientFrame::AdminResetRoom`].
    AdminResetRoom {
        /// The request.
        request_id: String,
    },
}

/// What a page answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// The pull of this id.
    Pull(String),
    /// A push of this id, of this client or of another.
    Push(String),
}

/// A push whose parent is not the log's head, as far as this wire can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentMismatch {
    /// The log's head.
    pub head: u64,
    /// The parent that came.
    pub provided: u64,
}

/// Reads "server ahead" out of an error's message, since the wire has nothing else for it.
pub fn parent_mismatch(message: &str) -> Option<ParentMismatch> {
    let (_, rest) = message.split_once("Invalid parent event number. Received e")?;
    let (provided, rest) = rest.split_once(" but expected e")?;
    let head = rest.split(|byte: char| !byte.is_ascii_digit()).next()?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    Some(ParentMismatch { head: number(head)?, provided: number(provided)? })
}

impl ClientFrame {
    /// The frame's text.
    pub fn encode(&self) -> String {
        write_json(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// If it is longer than a push may be, or no frame of this wire.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            #[serde(rename = "_tag", borrow)]
            kind: Cow<'a, str>,
            request_id: String,
            #[serde(default)]
            cursor: Option<Number>,
            #[serde(default)]
            batch: Option<Vec<Event>>,
            #[serde(default)]
            admin_secret: Option<String>,
        }
        let frame: Frame<'_> = from_json(WIRE, 2 * MAX_PUSH_BYTES, text)?;
        let request_id = frame.request_id;
        match frame.kind.strip_prefix("WSMessage.") {
            Some("PullReq") => {
                Ok(Self::Pull { request_id, cursor: frame.cursor.map(|Number(cursor)| cursor) })
            }
            Some("PushReq") => {
                Ok(Self::Push { request_id, batch: frame.batch.ok_or_else(|| missing("batch"))? })
            }
            Some("Ping") => Ok(Self::Ping),
            Some(admin @ ("AdminInfoReq" | "AdminResetRoomReq")) => {
                let admin_secret = frame.admin_secret.ok_or_else(|| missing("adminSecret"))?;
                Ok(match admin {
                    "AdminInfoReq" => Self::AdminInfo { request_id, admin_secret },
                    _ => Self::AdminResetRoom { request_id, admin_secret },
                })
            }
            _ => Err(unknown("_tag", &frame.kind)),
        }
    }
}

impl ServerFrame {
    /// Reads a frame of at most [`MAX_FRAME_BYTES`].
    ///
    /// # Errors
    /// If it is no frame of this wire; what the wire may say more in its frames is passed over.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            #[serde(rename = "_tag", borrow)]
            kind: Cow<'a, str>,
            request_id: RequestId,
            #[serde(default)]
            batch: Option<Vec<Stored>>,
            #[serde(default)]
            remaining: Option<Number>,
            #[serde(default)]
            message: Option<String>,
            #[serde(default)]
            info: Option<Info>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Info {
            durable_object_id: String,
        }
        let frame: Frame<'_> = from_json(WIRE, MAX_FRAME_BYTES, text)?;
        let kind = frame.kind.strip_prefix("WSMessage.").unwrap_or_default();
        if kind == "PullRes" {
            let RequestId::Answered(context) = frame.request_id else {
                return Err(DecodeError::invalid(WIRE, "requestId", "a page that says not what it answers"));
            };
            let Number(remaining) = frame.remaining.ok_or_else(|| missing("remaining"))?;
            let batch = frame.batch.ok_or_else(|| missing("batch"))?;
            return Ok(Self::Page { batch, context, remaining });
        }
        let RequestId::Plain(request_id) = frame.request_id else {
            return Err(DecodeError::invalid(WIRE, "requestId", "only a page has more than an id here"));
        };
        match kind {
            "PushAck" => Ok(Self::PushAck { request_id }),
            "Error" => {
                let message = cut(&frame.message.ok_or_else(|| missing("message"))?);
                Ok(Self::Error { request_id, message })
            }
            "Pong" => Ok(Self::Pong),
            "AdminInfoRes" => {
                let durable_object_id = frame.info.ok_or_else(|| missing("info"))?.durable_object_id;
                Ok(Self::AdminInfo { request_id, durable_object_id })
            }
            "AdminResetRoomRes" => Ok(Self::AdminResetRoom { request_id }),
            _ => Err(unknown("_tag", &frame.kind)),
        }
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        write_json(self)
    }
}

/// An id, or what a page answers.
enum RequestId {
    Plain(String),
    Answered(Context),
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered {
            context: ContextKind,
            request_id: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum ContextKind {
            Pull,
            Push,
        }
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = RequestId;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an id, or a context and an id")
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<RequestId, E> {
                Ok(RequestId::Plain(id.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RequestId, A::Error> {
                let answered = Answered::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RequestId::Answered(match answered.context {
                    ContextKind::Pull => Context::Pull(answered.request_id),
                    ContextKind::Push => Context::Push(answered.request_id),
                }))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Number(#[serde(deserialize_with = "position")] u64);

impl Serialize for ClientFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let (tag, request_id) = match self {
            Self::Pull { request_id, .. } => ("WSMessage.PullReq", request_id.as_str()),
            Self::Push { request_id, .. } => ("WSMessage.PushReq", request_id.as_str()),
            Self::Ping => ("WSMessage.Ping", PING_ID),
            Self::AdminInfo { request_id, .. } => ("WSMessage.AdminInfoReq", request_id.as_str()),
            Self::AdminResetRoom { request_id, .. } => ("WSMessage.AdminResetRoomReq", request_id.as_str()),
        };
        map.serialize_entry("_tag", tag)?;
        map.serialize_entry("requestId", request_id)?;
        match self {
            Self::Pull { cursor: Some(cursor), .. } => map.serialize_entry("cursor", cursor)?,
            Self::Push { batch, .. } => map.serialize_entry("batch", batch)?,
            Self::AdminInfo { admin_secret, .. } | Self::AdminResetRoom { admin_secret, .. } => {
                map.serialize_entry("adminSecret", admin_secret)?;
            }
            Self::Pull { cursor: None, .. } | Self::Ping => {}
        }
        map.end()
    }
}

impl Serialize for ServerFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Item<'a> {
            event_encoded: &'a Event,
            metadata: Optional<Metadata<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata<'a> {
            created_at: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered<'a> {
            context: &'a str,
            request_id: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Info<'a> {
            durable_object_id: &'a str,
        }
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Page { batch, context, remaining } => {
                let items: Vec<_> = batch
                    .iter()
                    .map(|stored| Item {
                        event_encoded: &stored.event,
                        metadata: stored
                            .created_at
                            .as_deref()
                            .map(|created_at| Metadata { created_at })
                            .into(),
                    })
                    .collect();
                let answered = match context {
                    Context::Pull(request_id) => Answered { context: "pull", request_id },
                    Context::Push(request_id) => Answered { context: "push", request_id },
                };
                map.serialize_entry("_tag", "WSMessage.PullRes")?;
                map.serialize_entry("batch", &items)?;
                map.serialize_entry("requestId", &answered)?;
                map.serialize_entry("remaining", remaining)?;
            }
            Self::PushAck { request_id } => {
                map.serialize_entry("_tag", "WSMessage.PushAck")?;
                map.serialize_entry("requestId", request_id)?;
            }
            Self::Error { request_id, message } => {
                map.serialize_entry("_tag", "WSMessage.Error")?;
                map.serialize_entry("requestId", request_id)?;
                map.serialize_entry("message", message)?;
            }
            Self::Pong => {
                map.serialize_entry("_tag", "WSMessage.Pong")?;
                map.serialize_entry("requestId", PING_ID)?;
            }
            Self::AdminInfo { request_id, durable_object_id } => {
                map.serialize_entry("_tag", "WSMessage.AdminInfoRes")?;
                map.serialize_entry("requestId", request_id)?;
                map.serialize_entry("info", &Info { durable_object_id })?;
            }
            Self::AdminResetRoom { request_id } => {
                map.serialize_entry("_tag", "WSMessage.AdminResetRoomRes")?;
                map.serialize_entry("requestId", request_id)?;
            }
        }
        map.end()
    }
}

fn write_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the wire's own types are always JSON")
}

fn missing(path: &str) -> DecodeError {
    DecodeError::missing(WIRE, path)
}

fn unknown(path: &str, tag: &str) -> DecodeError {
    DecodeError::invalid(WIRE, path, format!("unknown: {}", cut(tag)))
}

#[cfg(test)]
#[path = "v03_tests.rs"]
mod tests;
