//! LiveStore's events and the two wires of its sync-cf: [`v04`], the present one, and [`v03`] before it.
//!
//! A store is one log of events. Each has a number, one more than its parent's, and the server takes a batch only if
//! its first parent is the log's head. An event's arguments are the app's own and stay JSON text here.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decode::position;

pub mod v03;
pub mod v04;

/// Events in one push, at most. The published server takes more in one frame; its client never sends more.
pub const MAX_PUSH_EVENTS: usize = 100;
/// Bytes of one push, envelope included, at most. A larger event is accepted and then breaks every later pull.
pub const MAX_PUSH_BYTES: usize = 900_000;
/// Bytes of one frame from the server, at most. Its pages hold 100 events of up to [`MAX_PUSH_BYTES`] together.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one answer over HTTP, at most: it holds all pages from the cursor to the head.
pub const MAX_HTTP_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// Where a log begins: the parent of its first event.
pub const ROOT: u64 = 0;

/// One event of a store's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Which event of the app's this is, such as `todo.inserted`.
    pub name: String,
    /// The app's arguments. `null` if there are none, which the servers leave out or not as they like.
    #[serde(default = "null")]
    pub args: Box<RawValue>,
    /// Position in the log, from 1.
    #[serde(deserialize_with = "position")]
    pub seq_num: u64,
    /// Position of the event before; [`ROOT`] for the first.
    #[serde(deserialize_with = "position")]
    pub parent_seq_num: u64,
    /// Which installation wrote it.
    pub client_id: String,
    /// Which of its sessions.
    pub session_id: String,
}

impl Event {
    /// Whether the other is this event as a log gives it back: all is equal, the arguments by their text or, where the
    /// server has written them anew, by their value.
    pub fn is_same(&self, other: &Self) -> bool {
        self.seq_num == other.seq_num
            && self.name == other.name
            && self.client_id == other.client_id
            && self.session_id == other.session_id
            && crate::json::is_same(self.args.get(), other.args.get())
    }
}

/// An event as a server gives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "WireStored")]
pub struct Stored {
    /// The event.
    pub event: Event,
    /// When the server took it, RFC 3339; for people only.
    pub created_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStored {
    event_encoded: Event,
    #[serde(default)]
    metadata: Optional<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    created_at: Option<String>,
}

impl From<WireStored> for Stored {
    fn from(stored: WireStored) -> Self {
        Self {
            event: stored.event_encoded,
            created_at: stored.metadata.value.and_then(|metadata| metadata.created_at),
        }
    }
}

/// `{"_tag":"None"}` or `{"_tag":"Some","value":…}`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Optional<T> {
    #[serde(rename = "_tag")]
    tag: OptionalTag,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum OptionalTag {
    None,
    Some,
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self::from(None)
    }
}

impl<T> From<Option<T>> for Optional<T> {
    fn from(value: Option<T>) -> Self {
        Self { tag: if value.is_some() { OptionalTag::Some } else { OptionalTag::None }, value }
    }
}

impl<T> Optional<T> {
    /// The value that the tag speaks of; `None` if it says that there is one and there is not.
    pub fn known(self) -> Option<Option<T>> {
        match self.tag {
            OptionalTag::None => Some(None),
            OptionalTag::Some => self.value.map(Some),
        }
    }
}

/// `null`, the arguments of an event that has none.
pub fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// Escapes a text for a query, as JavaScript's `encodeURIComponent` does.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
