//! Pokes over mizu's live protocol: a WebSocket of topics, of which `sync:<scope>` tells each new head of a scope.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::decode::{DecodeError, cut, from_json, position};

/// What errors call this wire.
pub const WIRE: &str = "mizu live";
/// Where the published server listens, below the backend's base URL.
pub const PATH: &str = "/ws";
/// Bytes of a frame, at most. Those of other topics are the app's own and may be larger than a poke.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// What a scope's topic begins with.
const TOPIC: &str = "sync:";

/// A frame, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The client asks for a scope's pokes.
    Subscribe {
        /// The scope.
        scope: String,
        /// Comes back in the answer.
        reference: String,
    },
    /// The client asks for no more of them.
    Unsubscribe {
        /// The scope.
        scope: String,
    },
    /// The server will send a scope's pokes from now on; those of before must be pulled for.
    Ack {
        /// The scope.
        scope: String,
        /// Of the request.
        reference: String,
    },
    /// The server refuses to.
    Error {
        /// The scope.
        scope: String,
        /// Its words, cut to a line.
        message: String,
    },
    /// A scope's head has moved.
    Poke {
        /// The scope.
        scope: String,
        /// To here.
        cursor: u64,
    },
    /// Of another topic or type, and none of sync's business.
    Other,
}

impl Frame {
    /// The frame's text; empty for [`Frame::Other`].
    pub fn encode(&self) -> String {
        let (scope, data) = match self {
            Self::Subscribe { scope, reference } => {
                (scope, Data { reference: Some(reference), ..Data::of("subscribe") })
            }
            Self::Unsubscribe { scope } => (scope, Data::of("unsubscribe")),
            Self::Ack { scope, reference } => (scope, Data { reference: Some(reference), ..Data::of("ack") }),
            Self::Error { scope, message } => {
                (scope, Data { payload: Some(Payload::Error { error: message }), ..Data::of("error") })
            }
            Self::Poke { scope, cursor } => {
                (scope, Data { payload: Some(Payload::Cursor { cursor: *cursor }), ..Data::of("sync") })
            }
            Self::Other => return String::new(),
        };
        let frame = Envelope { topic: &format!("{TOPIC}{scope}"), data };
        serde_json::to_string(&frame).expect("the wire's own types are always JSON")
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// If it is no frame of the live protocol, or one of sync's that lacks something.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct WireFrame<'a> {
            #[serde(default, borrow)]
            topic: Cow<'a, str>,
            #[serde(default, borrow)]
            data: Option<WireData<'a>>,
        }
        #[derive(Deserialize)]
        struct WireData<'a> {
            #[serde(rename = "type", default, borrow)]
            kind: Cow<'a, str>,
            #[serde(rename = "ref", default)]
            reference: String,
            #[serde(default)]
            payload: Option<WirePayload>,
        }
        #[derive(Deserialize)]
        struct WirePayload {
            #[serde(default)]
            cursor: Option<Cursor>,
            #[serde(default)]
            error: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Cursor(#[serde(deserialize_with = "position")] u64);

        let frame: WireFrame<'_> = from_json(WIRE, MAX_FRAME_BYTES, text)?;
        let (Some(scope), Some(data)) = (frame.topic.strip_prefix(TOPIC), frame.data) else {
            return Ok(Self::Other);
        };
        let scope = scope.to_string();
        let reference = data.reference;
        Ok(match &*data.kind {
            "subscribe" => Self::Subscribe { scope, reference },
            "unsubscribe" => Self::Unsubscribe { scope },
            "ack" => Self::Ack { scope, reference },
            "error" => {
                let message = data.payload.and_then(|payload| payload.error).unwrap_or_default();
                Self::Error { scope, message: cut(&message) }
            }
            "sync" => {
                let cursor = data.payload.and_then(|payload| payload.cursor);
                let Cursor(cursor) =
                    cursor.ok_or_else(|| DecodeError::missing(WIRE, "data.payload.cursor"))?;
                Self::Poke { scope, cursor }
            }
            _ => Self::Other,
        })
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    topic: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Cursor { cursor: u64 },
    Error { error: &'a str },
}

impl<'a> Data<'a> {
    fn of(kind: &'a str) -> Self {
        Self { kind, reference: None, payload: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::transcript;

    #[test]
    fn frames_of_the_real_server_and_its_client_are_read_and_written_as_they_came() {
        let (mut pokes, mut others) = (0, 0);
        for line in transcript("mizu-head.jsonl").iter().filter(|line| line.conn.as_deref() == Some("W")) {
            let Some(text) = line.raw.as_deref() else { continue };
            let Ok(frame) = Frame::decode(text) else { continue };
            match &frame {
                Frame::Poke { scope, cursor } => {
                    assert_eq!((scope.as_str(), *cursor > 0), ("s1", true));
                    pokes += 1;
                }
                _ => others += 1,
            }
            assert_eq!(frame.encode(), text);
        }
        assert!(pokes > 5 && others >= 3, "{pokes} {others}");
    }

    #[test]
    fn what_is_not_syncs_is_passed_over() {
        for text in [
            "{}",
            r#"{"topic":"chat:1","data":{"type":"sync","payload":{"cursor":1}}}"#,
            r#"{"topic":"sync:s1"}"#,
            r#"{"topic":"sync:s1","data":{"type":"presence"}}"#,
        ] {
            assert_eq!(Frame::decode(text), Ok(Frame::Other), "{text}");
        }
    }

    #[test]
    fn a_poke_without_a_place_and_what_is_no_frame_are_refused() {
        for (text, path) in [
            (r#"{"topic":"sync:s","data":{"type":"sync"}}"#, "data.payload.cursor"),
            (r#"{"topic":"sync:s","data":{"type":"sync","payload":{"cursor":"1"}}}"#, "data.payload.cursor"),
            (r#"{"topic":7}"#, "topic"),
            ("", ""),
        ] {
            assert_eq!(Frame::decode(text).expect_err(text).path, path, "{text}");
        }
    }
}
