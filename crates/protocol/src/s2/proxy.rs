//! The wire of LiveStore's sync-s2 0.4: a proxy that holds the token, and lets events through as they come.
//!
//! HEAD is a ping. GET with [`PullArgs`] in its query is a read of S2's, as server-sent events ([`super::Live`]), live or
//! up to the tail and `[DONE]`. POST of a [`Push`] appends without any condition: two writers' events both stand, under
//! one number, and so does an event that was sent twice. Only the record's place tells them apart.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decode::{DecodeError, MAX_SAFE_INTEGER, from_json};
use crate::livestore::{Event, percent_encode};

/// What errors call this wire.
pub const WIRE: &str = "sync-s2";
/// Bytes of an answer to a push, at most.
const MAX_PUSH_ANSWER_BYTES: usize = 64 * 1024;
/// Bytes of a push, at most, as a server reads it: S2's limits of an append, several times over, since a proxy may split.
const MAX_PUSH_BYTES: usize = 16 * 1024 * 1024;

/// Which records a pull asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// All.
    Start,
    /// Those behind the record at this place. A place behind the tail is silently taken for the tail.
    Behind(u64),
}

/// The parameter `args` of a GET.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullArgs {
    /// Which store.
    pub store_id: String,
    /// Which records.
    #[serde(rename = "s2SeqNum")]
    pub from: From,
    /// Whether the answer stays open.
    #[serde(default)]
    pub live: bool,
    /// What the client says about itself, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

/// Body of a POST.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// Which store.
    pub store_id: String,
    /// In order.
    pub batch: Vec<Event>,
}

impl PullArgs {
    /// The address to GET. A sign of percent in it is written as JSON can, too: the published helper decodes the
    /// parameter twice, others once.
    pub fn address(&self, endpoint: &str) -> String {
        let args = serde_json::to_string(self).expect("the wire's own types are always JSON");
        let args = args.replace('%', "\\u0025");
        let join = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{join}args={}", percent_encode(&args))
    }

    /// Reads the parameter, decoded, as a server does.
    ///
    /// # Errors
    /// If it is no such thing.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        from_json(WIRE, MAX_PUSH_ANSWER_BYTES, text)
    }
}

impl Push {
    /// The body's text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("the wire's own types are always JSON")
    }

    /// Reads a body, as a server does.
    ///
    /// # Errors
    /// If it is no push.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        from_json(WIRE, MAX_PUSH_BYTES, text)
    }
}

/// Reads the answer to a push: whether the events were appended.
///
/// # Errors
/// If it does not say.
pub fn decode_pushed(text: &str) -> Result<bool, DecodeError> {
    #[derive(Deserialize)]
    struct Pushed {
        success: bool,
    }
    from_json(WIRE, MAX_PUSH_ANSWER_BYTES, text).map(|Pushed { success }| success)
}

const START: &str = "from-start";

impl Serialize for From {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Start => serializer.serialize_str(START),
            Self::Behind(seq_num) => serializer.serialize_u64(*seq_num),
        }
    }
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl de::Visitor<'_> for Visit {
            type Value = From;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "\"{START}\", or an integer from 0 to {MAX_SAFE_INTEGER}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<From, E> {
                if text == START {
                    return Ok(From::Start);
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, seq_num: u64) -> Result<From, E> {
                if seq_num > MAX_SAFE_INTEGER {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(seq_num), &self));
                }
                Ok(From::Behind(seq_num))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}
