//! A row in the browser: a handle to a JavaScript value, which is never serialised on its way through.

use driftline_core::Value;
use js_sys::{Array, Date, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// How deep two values are compared before they count as different.
const COMPARE_MAX_DEPTH: u32 = 16;
/// How deep a row may be nested to be sent as JSON.
const JSON_MAX_DEPTH: usize = 512;

/// A row, or part of one, as the app wrote it.
#[derive(Clone, Debug)]
pub struct Row(pub JsValue);

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0, COMPARE_MAX_DEPTH)
    }
}

impl Value for Row {
    fn merge(&self, changes: &Self) -> Self {
        let (Some(row), Some(fields)) = (plain(&self.0), plain(&changes.0)) else {
            return changes.clone();
        };
        let merged = Object::assign(&Object::assign(&Object::new(), row), fields);
        for field in Object::keys(fields).iter() {
            if get(fields, &field).is_undefined() {
                // Can't fail: the object is ours, and not frozen.
                let _ = Reflect::delete_property(&merged, &field);
            }
        }
        Self(merged.into())
    }

    fn merge_changes(&self, more: &Self) -> Self {
        match (plain(&self.0), plain(&more.0)) {
            (Some(changes), Some(fields)) => {
                Self(Object::assign(&Object::assign(&Object::new(), changes), fields).into())
            }
            _ => more.clone(),
        }
    }

    fn changes_to(&self, to: &Self) -> Self {
        let (Some(row), Some(target)) = (plain(&self.0), plain(&to.0)) else {
            return to.clone();
        };
        let changes = Object::assign(&Object::new(), target);
        for field in Object::keys(row).iter() {
            if !has_own(target, &field) {
                set(&changes, &field, &JsValue::UNDEFINED);
            }
        }
        Self(changes.into())
    }

    fn with_text(&self, field: &str, text: &str) -> Self {
        let row = plain(&self.0).map_or_else(Object::new, |row| Object::assign(&Object::new(), row));
        set(&row, &JsValue::from_str(field), &JsValue::from_str(text));
        Self(row.into())
    }

    fn to_json(&self) -> Result<String, String> {
        check_json(&self.0, &mut Vec::new(), "")?;
        let value = match plain(&self.0) {
            Some(row) if Object::values(row).includes(&JsValue::UNDEFINED, 0) => {
                let copy = Object::assign(&Object::new(), row);
                for field in Object::keys(&copy).iter() {
                    if get(&copy, &field).is_undefined() {
                        set(&copy, &field, &JsValue::NULL);
                    }
                }
                copy.into()
            }
            _ => self.0.clone(),
        };
        match JSON::stringify(&value) {
            // `stringify` answers undefined for what has no JSON at all.
            Ok(text) => text.as_string().ok_or_else(|| "the row has no JSON form".to_owned()),
            Err(error) => Err(message_of(&error)),
        }
    }

    fn from_json_many(texts: &[&str]) -> Result<Vec<Self>, String> {
        let mut all = String::with_capacity(texts.iter().map(|text| text.len() + 1).sum::<usize>() + 2);
        all.push('[');
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                all.push(',');
            }
            all.push_str(text);
        }
        all.push(']');
        let parsed = JSON::parse(&all).map_err(|error| message_of(&error))?;
        let rows: Vec<Self> = parsed.unchecked_into::<Array>().iter().map(Self).collect();
        if rows.len() == texts.len() { Ok(rows) } else { Err("the rows' JSON is malformed".to_owned()) }
    }
}

/// What an exception says, for people.
#[must_use]
pub fn message_of(error: &JsValue) -> String {
    error
        .as_string()
        .or_else(|| {
            Reflect::get(error, &JsValue::from_str("message")).ok().and_then(|message| message.as_string())
        })
        .unwrap_or_else(|| "an exception that is no Error".to_owned())
}

/// The value as an object with fields, unless it is an array or a primitive.
fn plain(value: &JsValue) -> Option<&Object> {
    (value.is_object() && !Array::is_array(value)).then(|| value.unchecked_ref())
}

fn get(object: &Object, field: &JsValue) -> JsValue {
    Reflect::get(object, field).unwrap_or(JsValue::UNDEFINED)
}

fn set(object: &Object, field: &JsValue, value: &JsValue) {
    // Can't fail: the object is ours, and not frozen.
    let _ = Reflect::set(object, field, value);
}

fn has_own(object: &Object, field: &JsValue) -> bool {
    Object::has_own(object, field)
}

/// Whether a value's contents are its own enumerable fields: rows are plain, whatever the app gave.
fn is_record(value: &JsValue) -> bool {
    if !value.is_object() {
        return false;
    }
    let prototype = Object::get_prototype_of(value);
    prototype.is_null() || Object::is(&prototype, &Object::get_prototype_of(&Object::new()))
}

/// Structural equality of plain data; anything else is equal only to itself. A wrong "no" costs a
/// needless change event, so depth is bounded.
fn equal(a: &JsValue, b: &JsValue, depth: u32) -> bool {
    if Object::is(a, b) {
        return true;
    }
    if depth == 0 || !a.is_object() || !b.is_object() {
        return false;
    }
    if Array::is_array(a) && Array::is_array(b) {
        let (a, b): (&Array, &Array) = (a.unchecked_ref(), b.unchecked_ref());
        return a.length() == b.length() && a.iter().zip(b.iter()).all(|(a, b)| equal(&a, &b, depth - 1));
    }
    if let (Some(a), Some(b)) = (a.dyn_ref::<Date>(), b.dyn_ref::<Date>()) {
        return a.get_time() == b.get_time();
    }
    if !is_record(a) || !is_record(b) {
        return false;
    }
    let (a, b): (&Object, &Object) = (a.unchecked_ref(), b.unchecked_ref());
    let fields = Object::keys(a);
    fields.length() == Object::keys(b).length()
        && fields.iter().all(|field| has_own(b, &field) && equal(&get(a, &field), &get(b, &field), depth - 1))
}

/// Finds what JSON would drop or refuse, and says where: a Map that becomes `{}` would be lost in silence.
fn check_json(value: &JsValue, within: &mut Vec<JsValue>, path: &str) -> Result<(), String> {
    let refuse = |what: &str| {
        Err(format!("{what} at {} can't be sent as JSON", if path.is_empty() { "the row" } else { path }))
    };
    if value.is_bigint() {
        return refuse("the BigInt");
    }
    if !value.is_object() || value.is_instance_of::<Date>() {
        return Ok(());
    }
    if within.len() >= JSON_MAX_DEPTH {
        return refuse("the nesting");
    }
    if within.iter().any(|outer| outer == value) {
        return refuse("the cycle");
    }
    within.push(value.clone());
    if Array::is_array(value) {
        for (index, item) in value.unchecked_ref::<Array>().iter().enumerate() {
            if item.is_object() || item.is_bigint() {
                check_json(&item, within, &format!("{path}[{index}]"))?;
            }
        }
    } else if is_record(value) {
        let object: &Object = value.unchecked_ref();
        for field in Object::keys(object).iter() {
            let item = get(object, &field);
            if item.is_object() || item.is_bigint() {
                let name = field.as_string().unwrap_or_default();
                check_json(&item, within, &if path.is_empty() { name } else { format!("{path}.{name}") })?;
            }
        }
    } else {
        let kind: Object = value.unchecked_ref::<Object>().constructor().unchecked_into();
        let name = get(&kind, &JsValue::from_str("name")).as_string().unwrap_or_else(|| "object".to_owned());
        return refuse(&format!("the {name}"));
    }
    within.pop();
    Ok(())
}
