//! sync-cf 0.4: remote calls as JSON, one object a frame over a WebSocket, or one call a request over HTTP.
//!
//! A live pull is one call that never ends: its pages come as [`ServerFrame::Chunk`], and each must be acknowledged
//! before the next one comes. Broadcasts are pages of the same call and don't wait for acknowledgements, so they can
//! overtake the pages that the call began with.
//!
//! ```
//! use driftline_protocol::livestore::v04::{Call, ClientFrame, Exit, PageInfo, ServerFrame, Transport};
//!
//! let call = Call::Pull { cursor: None, live: true };
//! assert_eq!(
//!     call.encode(Transport::WebSocket, 0, "s1", None),
//!     r#"{"_tag":"Request","id":"0","tag":"SyncWsRpc.Pull","payload":{"storeId":"s1","live":true,"cursor":{"_tag":"None"}},"headers":[]}"#
//! );
//! let frame = r#"{"_tag":"Chunk","requestId":"0","values":[{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"b"}]}"#;
//! let ServerFrame::Chunk { request_id: 0, pages } = ServerFrame::decode(frame).unwrap() else { panic!() };
//! assert_eq!(pages[0].page_info, PageInfo::NoMore);
//! assert_eq!(ClientFrame::Ack { request_id: 0 }.encode(), r#"{"_tag":"Ack","requestId":"0"}"#);
//! ```

use alloc::format;
use alloc::string::{String, ToString};

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::percent_encode;
use crate::decode::{DecodeError, cut, position};

mod call;
mod frame;
mod write;

pub use call::{Call, CallRequest, ClientFrame, OwnedCall};
pub use frame::{Exit, Failure, Page, PageInfo, ServerFrame};

/// What errors call this wire.
pub const WIRE: &str = "livestore 0.4";

/// Which way a call goes. Calls have other names on each, and only a WebSocket carries live pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Frames of a WebSocket.
    WebSocket,
    /// A POST whose body is one call, and whose answer is a list of frames.
    Http,
}

impl Transport {
    /// The address of a store: `url` with the parameters that the published client sends. `url` is `http(s):` or
    /// `ws(s):`, an origin or a path; `payload` is JSON text, and is encoded twice, as the published client does.
    pub fn address(self, url: &str, store_id: &str, payload: Option<&str>) -> String {
        let (url, name) = match self {
            Self::WebSocket => {
                let url = match url.strip_prefix("http") {
                    Some(rest) => format!("ws{rest}"),
                    None => url.to_string(),
                };
                (url, "ws")
            }
            Self::Http => {
                let url = match url.strip_prefix("ws") {
                    Some(rest) => format!("http{rest}"),
                    None => url.to_string(),
                };
                (url, "http")
            }
        };
        let has_path = url.split_once("://").is_none_or(|(_, rest)| rest.contains(['/', '?']));
        let path = if has_path { "" } else { "/" };
        let join = if url.contains('?') { '&' } else { '?' };
        let mut address = format!("{url}{path}{join}storeId={}", percent_encode(store_id));
        if let Some(payload) = payload {
            address.push_str("&payload=");
            address.push_str(&percent_encode(&percent_encode(payload)));
        }
        address.push_str("&transport=");
        address.push_str(name);
        address
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::WebSocket => "SyncWsRpc.",
            Self::Http => "SyncHttpRpc.",
        }
    }
}

/// Where a pull begins: behind this event of this backend's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// Identity of the log. Another one answers with [`Failure::BackendIdMismatch`].
    pub backend_id: String,
    /// The last event that is known.
    #[serde(deserialize_with = "position")]
    pub event_sequence_number: u64,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Position(#[serde(deserialize_with = "position")] u64);

/// A call's id: a number written as a text. Others make the published server deaf to all further calls.
#[derive(Debug, Clone, Copy)]
struct Id(u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl de::Visitor<'_> for Visit {
            type Value = Id;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a number in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let number = if digits { text.parse().ok() } else { None };
                number.map(Id).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Visit)
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
mod tests;
