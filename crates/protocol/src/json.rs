//! Comparing JSON texts without keeping trees of them.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// Levels to which two texts are compared by value. Deeper ones are the same only if their texts are.
const MAX_LEVELS: usize = 64;

/// Whether two JSON texts say the same: equal as texts, or else equal in their members whatever their order, space and
/// escapes. Numbers are compared as JavaScript holds them, so `1`, `1.0` and `1e0` are one. What is not JSON is the same
/// only as the same text.
pub fn is_same(left: &str, right: &str) -> bool {
    left == right || matches!(compare(left, right, MAX_LEVELS), Some(true))
}

fn compare(left: &str, right: &str, levels: usize) -> Option<bool> {
    let (left, right) = (left.trim_ascii(), right.trim_ascii());
    if left == right {
        return Some(true);
    }
    let levels = levels.checked_sub(1)?;
    match (left.as_bytes().first()?, right.as_bytes().first()?) {
        (b'{', b'{') => {
            let (Object(mut left), Object(mut right)) = (read(left)?, read(right)?);
            if left.len() != right.len() {
                return Some(false);
            }
            left.sort_by(|a, b| a.0.cmp(&b.0));
            right.sort_by(|a, b| a.0.cmp(&b.0));
            for ((left_name, left), (right_name, right)) in left.iter().zip(&right) {
                if left_name != right_name || !compare(left.get(), right.get(), levels)? {
                    return Some(false);
                }
            }
            Some(true)
        }
        (b'[', b'[') => {
            let (left, right): (Vec<&RawValue>, Vec<&RawValue>) = (read(left)?, read(right)?);
            if left.len() != right.len() {
                return Some(false);
            }
            for (left, right) in left.iter().zip(&right) {
                if !compare(left.get(), right.get(), levels)? {
                    return Some(false);
                }
            }
            Some(true)
        }
        (b'"', b'"') => Some(read::<Text<'_>>(left)?.0 == read::<Text<'_>>(right)?.0),
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => Some(read::<f64>(left)? == read::<f64>(right)?),
        _ => Some(false),
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// A text, borrowed unless it is written with escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object's members, their values unread.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> de::Visitor<'de> for Visit {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn texts_that_say_the_same_are_the_same() {
        for (left, right) in [
            ("{}", " {\n} "),
            (r#"{"a":1,"b":[true,null]}"#, r#"{ "b": [true, null], "a": 1.0 }"#),
            (r#""\u00e4""#, "\"ä\""),
            (r#"{"\u0061":{"x":"y"}}"#, r#"{"a":{"x":"y"}}"#),
            ("1e2", "100"),
            ("-0", "0"),
            ("nonsense", "nonsense"),
        ] {
            assert!(is_same(left, right), "{left} {right}");
            assert!(is_same(right, left), "{right} {left}");
        }
    }

    #[test]
    fn texts_that_say_something_else_are_not() {
        for (left, right) in [
            ("{}", "[]"),
            ("null", "false"),
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#""1""#, "1"),
            ("nonsense", "other"),
            ("", "null"),
        ] {
            assert!(!is_same(left, right), "{left} {right}");
            assert!(!is_same(right, left), "{right} {left}");
        }
    }

    #[test]
    fn nesting_without_end_is_compared_by_its_text() {
        let deep = |open: usize| format!("{}{}", "[".repeat(open), "]".repeat(open));
        assert!(is_same(&deep(5_000), &deep(5_000)));
        assert!(!is_same(&deep(5_000), &deep(5_001)));
    }
}
