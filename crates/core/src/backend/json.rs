//! What the codecs share in reading and writing JSON: rows and arguments stay text, cut out unread.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{HttpRequest, HttpResponse, Method, WireFailure};
use crate::{Code, ErrorInfo, FailureKind, Value};

/// How long an exchange may take, in milliseconds.
pub(super) const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// The largest answer to a push or a page, in bytes.
pub(super) const RESPONSE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// An object's fields in order, their values unread. A list serves every object here: a map would cost a
/// tree of its own in the wasm, and these have few fields or are walked through once.
pub(super) struct Fields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

/// A text, borrowed unless it is written with escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The fields of an object that may be missing or `null`.
pub(super) fn fields(object: Option<&RawValue>) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    match object {
        None => Ok(Vec::new()),
        Some(object) if object.get() == "null" => Ok(Vec::new()),
        Some(object) => serde_json::from_str::<Fields<'_>>(object.get()).map(|Fields(fields)| fields),
    }
}

/// The field `id` of an object's text.
pub(crate) fn id_of(object: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Key {
        id: String,
    }
    serde_json::from_str::<Key>(object).map(|key| key.id)
}

/// A row or its changes as arguments, with the key as `id`. A new row keeps an `id` that it has.
pub(super) fn with_id<V: Value>(key: &str, value: &V, keep: bool) -> Result<String, ErrorInfo> {
    let text = text_of(key, value)?;
    let Fields(fields) = serde_json::from_str(&text).map_err(|error| unsendable(key, &error.to_string()))?;
    if keep && fields.iter().any(|(field, _)| field == "id") {
        return Ok(text);
    }
    let mut args = format!("{{\"id\":{}", quoted(key));
    for (field, value) in fields.iter().filter(|(field, _)| field != "id") {
        args.push(',');
        args.push_str(&quoted(field));
        args.push(':');
        args.push_str(value.get());
    }
    args.push('}');
    Ok(args)
}

/// A value as JSON text, or why it can't be sent.
pub(crate) fn text_of<V: Value>(key: &str, value: &V) -> Result<String, ErrorInfo> {
    value.to_json().map_err(|reason| unsendable(key, &reason))
}

fn unsendable(key: &str, reason: &str) -> ErrorInfo {
    ErrorInfo::of(
        Code::InvalidPush,
        format!(
            "the row {key} can't be sent as JSON: {reason}. The change was taken back; store what JSON can hold"
        ),
    )
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A POST of JSON.
pub(super) fn post(path: &str, body: String) -> HttpRequest {
    HttpRequest {
        method: Method::Post,
        path: path.to_owned(),
        headers: Vec::new(),
        body,
        timeout_ms: REQUEST_TIMEOUT_MS,
        response_max_bytes: RESPONSE_MAX_BYTES,
    }
}

/// A GET.
pub(super) fn get(path: String) -> HttpRequest {
    HttpRequest { method: Method::Get, path, ..post("", String::new()) }
}

/// What an answer's status means, for one that is not the wire's success.
pub(super) fn refusal(response: &HttpResponse, code: Code) -> WireFailure {
    let kind = match response.status {
        401 => FailureKind::AuthRequired,
        408 | 425 | 429 | 500..=599 => {
            FailureKind::Temporary { after_ms: response.retry_after_ms, counts_attempt: true }
        }
        _ => FailureKind::Permanent,
    };
    refusal_as(kind, response, code)
}

/// The same, where the wire says what it means.
pub(super) fn refusal_as(kind: FailureKind, response: &HttpResponse, code: Code) -> WireFailure {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(borrow, alias = "message")]
        error: Cow<'a, str>,
    }
    let said: Option<Said<'_>> = serde_json::from_str(&response.body).ok();
    let text = said.as_ref().map_or("", |said| &*said.error);
    let code = if kind == FailureKind::AuthRequired { Code::AuthRequired } else { code };
    WireFailure { kind, error: ErrorInfo::of(code, answered(response.status, text, kind)), reset: false }
}

/// What an answer with an error status means to a person.
fn answered(status: u16, text: &str, kind: FailureKind) -> String {
    let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
    let advice = match kind {
        FailureKind::AuthRequired => "what waits is kept; sign in, then call resume()",
        FailureKind::Permanent => {
            "what it refused is taken back, all else is kept; look at the transaction's error"
        }
        _ => "what waits is kept and sent again",
    };
    format!("the backend answered {status}{said}; {advice}")
}

/// An answer that is not what the wire says: the server may have acted, and asking again may help.
pub(super) fn malformed(code: Code, reason: impl core::fmt::Display) -> WireFailure {
    WireFailure {
        kind: FailureKind::Temporary { after_ms: None, counts_attempt: true },
        error: ErrorInfo::of(
            code,
            format!(
                "the backend's answer is not what this wire sends: {reason}. What waits is kept, and it is asked again; check that client and server speak one version"
            ),
        ),
        reset: false,
    }
}
