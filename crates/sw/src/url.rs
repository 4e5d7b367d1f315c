//! File URLs: what a path below the prefix names.

use js_sys::{JsString, Object, Reflect, decode_uri_component};
use wasm_bindgen::JsValue;

/// Reads a path; `None` if it names no file. Whatever follows the record's id is for people to read,
/// and for browsers that take a file's name from it.
pub(crate) fn read(path: &str, prefix: &str) -> Option<Object> {
    let mut segments = path.strip_prefix(prefix)?.split('/');
    let database = decoded(segments.next()?)?;
    let key = segments.next()?;
    let address = Object::new();
    set(&address, "database", &database)?;
    match segments.next() {
        Some(hash) if key == "sha256" && is_sha256(hash) => set(&address, "hash", &hash.into())?,
        _ => set(&address, "id", &decoded(key)?)?,
    }
    Some(address)
}

fn decoded(segment: &str) -> Option<JsString> {
    if segment.is_empty() {
        return None;
    }
    decode_uri_component(segment).ok()
}

fn set(object: &Object, name: &str, value: &JsString) -> Option<()> {
    let value: &JsValue = value.as_ref();
    Reflect::set(object, &name.into(), value).ok().map(|_| ())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
