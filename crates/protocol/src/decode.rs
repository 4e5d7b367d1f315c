//! Reading what came over a wire: one pass, one limit, and an error that names the field.
//!
//! The types of this crate derive their readers, which are small and fast and know nothing about where they stand. So
//! the path to a faulty field is worked out afterwards, from the place at which the reader stopped, and costs nothing
//! when all is well.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};
use serde_json::error::Category;

/// The largest number that every peer can hold: JavaScript's greatest safe integer.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Levels of a path that an error spells out, at most.
const MAX_PATH_LEVELS: usize = 32;
/// Bytes of a peer's text that an error repeats, at most.
const MAX_DETAIL_BYTES: usize = 200;

/// A text that is not what its wire says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Which wire the text came over.
    pub wire: &'static str,
    /// The way to the faulty field, such as `values[0].batch[3].eventEncoded.seqNum`; empty for the text as a whole.
    pub path: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The text is not JSON, or ends too early.
    NotJson(String),
    /// The field is not there.
    Missing,
    /// The field is of another type, or its value is not allowed.
    Invalid(String),
    /// The text, the list or the number is larger than the wire allows.
    TooLarge {
        /// What is allowed, in bytes, entries or as a number.
        limit: u64,
        /// What came.
        got: u64,
    },
}

impl DecodeError {
    /// A field that is not there.
    pub fn missing(wire: &'static str, path: impl Into<String>) -> Self {
        Self { wire, path: path.into(), fault: Fault::Missing }
    }

    /// A field whose value is not allowed; `detail` says why and is cut to a line.
    pub fn invalid(wire: &'static str, path: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self { wire, path: path.into(), fault: Fault::Invalid(cut(detail.as_ref())) }
    }

    /// The same error, one level further down.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.wire)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match &self.fault {
            Fault::NotJson(detail) => write!(f, "not JSON: {detail}"),
            Fault::Missing => f.write_str("is missing"),
            Fault::Invalid(detail) => f.write_str(detail),
            Fault::TooLarge { limit, got } => write!(f, "{got} is over the limit of {limit}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Reads a JSON text of at most `limit_bytes`.
///
/// # Errors
/// [`Fault::TooLarge`] before anything is read; else what is wrong and where.
pub fn from_json<'a, T: Deserialize<'a>>(
    wire: &'static str,
    limit_bytes: usize,
    text: &'a str,
) -> Result<T, DecodeError> {
    if text.len() > limit_bytes {
        let fault = Fault::TooLarge { limit: limit_bytes as u64, got: text.len() as u64 };
        return Err(DecodeError { wire, path: String::new(), fault });
    }
    serde_json::from_str(text).map_err(|error| locate(wire, text, &error))
}

/// Reads a position in a log: an integer from 0 to [`MAX_SAFE_INTEGER`].
pub fn position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    // A visitor, since its errors stand at the number; an error made afterwards stands behind the whole object.
    struct Visit;

    impl Visitor<'_> for Visit {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an integer from 0 to {MAX_SAFE_INTEGER}")
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
            if value > MAX_SAFE_INTEGER {
                return Err(E::invalid_value(Unexpected::Unsigned(value), &self));
            }
            Ok(value)
        }
    }

    deserializer.deserialize_u64(Visit)
}

/// Cuts a peer's text to what an error may repeat.
pub fn cut(text: &str) -> String {
    if text.len() <= MAX_DETAIL_BYTES {
        return text.to_string();
    }
    let mut end = MAX_DETAIL_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Turns a reader's error into one that says where it stands.
fn locate(wire: &'static str, text: &str, error: &serde_json::Error) -> DecodeError {
    let read = &text.as_bytes()[..offset_of(text, error.line(), error.column())];
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    if error.classify() != Category::Data {
        return DecodeError { wire, path: Path::up_to(read).print(text), fault: Fault::NotJson(cut(said)) };
    }
    if let Some(field) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        // The reader has just read the object's end, behind its last field.
        let mut path = Path::up_to(read.strip_suffix(b"}").unwrap_or(read));
        path.leave_field();
        let (parent, error) = (path.print(text), DecodeError::missing(wire, field));
        return if parent.is_empty() { error } else { error.below(&parent) };
    }
    DecodeError { wire, path: Path::up_to(read).print(text), fault: Fault::Invalid(cut(said)) }
}

/// The byte that a line and a column, both from 1, stand for.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(at) => start += at + 1,
            None => return text.len(),
        }
    }
    start.saturating_add(column).min(text.len())
}

/// Where a walk through a JSON text has got to.
struct Path {
    levels: Vec<Level>,
    /// Levels below the last that is kept.
    deeper: usize,
}

enum Level {
    /// In an object; the last field's name stands at these bytes, without its quotes.
    Object { name: Option<(usize, usize)>, awaits_name: bool },
    /// In an array; how many entries have begun.
    Array { begun: usize },
}

impl Path {
    /// Walks through the text, which a reader has found well-formed this far, save at its very end.
    fn up_to(text: &[u8]) -> Self {
        let mut path = Self { levels: Vec::new(), deeper: 0 };
        let mut at = 0;
        let mut in_scalar = false;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'{' | b'[' => {
                    path.begin_value();
                    path.open(byte == b'{');
                }
                b'}' | b']' => {
                    in_scalar = false;
                    path.close();
                }
                b',' => {
                    in_scalar = false;
                    if let (0, Some(Level::Object { awaits_name, .. })) =
                        (path.deeper, path.levels.last_mut())
                    {
                        *awaits_name = true;
                    }
                }
                b'"' => {
                    let end = end_of_string(text, at + 1);
                    path.string(at + 1, end);
                    at = end;
                }
                b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => {
                    if !in_scalar {
                        path.begin_value();
                    }
                    in_scalar = true;
                }
            }
            at += 1;
        }
        path
    }

    fn open(&mut self, is_object: bool) {
        if self.levels.len() == MAX_PATH_LEVELS {
            self.deeper += 1;
        } else if is_object {
            self.levels.push(Level::Object { name: None, awaits_name: true });
        } else {
            self.levels.push(Level::Array { begun: 0 });
        }
    }

    fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.levels.pop();
        }
    }

    fn begin_value(&mut self) {
        if let (0, Some(Level::Array { begun })) = (self.deeper, self.levels.last_mut()) {
            *begun += 1;
        }
    }

    fn string(&mut self, start: usize, end: usize) {
        if self.deeper > 0 {
            return;
        }
        match self.levels.last_mut() {
            Some(Level::Object { name, awaits_name }) if *awaits_name => {
                *name = Some((start, end));
                *awaits_name = false;
            }
            Some(Level::Array { begun }) => *begun += 1,
            _ => {}
        }
    }

    fn leave_field(&mut self) {
        if let (0, Some(Level::Object { name, .. })) = (self.deeper, self.levels.last_mut()) {
            *name = None;
        }
    }

    fn print(&self, text: &str) -> String {
        let mut path = String::new();
        for level in &self.levels {
            match level {
                Level::Object { name: Some((start, end)), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&cut(text.get(*start..*end).unwrap_or_default()));
                }
                Level::Array { begun: begun @ 1.. } => path.push_str(&format!("[{}]", begun - 1)),
                Level::Object { name: None, .. } | Level::Array { begun: 0 } => {}
            }
        }
        path
    }
}

/// Where the string that begins at `at` ends: its closing quote, or the text's end.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
