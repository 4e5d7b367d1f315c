//! The texts that just came from JavaScript or went there: handing one over again costs a tenth of making
//! it anew, and a write has its key and its id in several places.

use std::cell::RefCell;

use driftline_core::TxId;
use wasm_bindgen::JsValue;

/// The last key and the last transaction's id, as Rust and as JavaScript have them.
#[derive(Debug, Default)]
pub struct Recent {
    key: RefCell<Option<(String, JsValue)>>,
    id: RefCell<Option<(TxId, JsValue)>>,
}

impl Recent {
    /// A key that JavaScript handed in; what is no text becomes an empty one, which the engine refuses.
    pub fn take_key(&self, key: JsValue) -> String {
        let text = key.as_string().unwrap_or_default();
        self.key.replace(Some((text.clone(), key)));
        text
    }

    /// A key for JavaScript.
    pub fn key(&self, key: &str) -> JsValue {
        match &*self.key.borrow() {
            Some((text, value)) if text == key && !text.is_empty() => value.clone(),
            _ => JsValue::from_str(key),
        }
    }

    /// A transaction's id for JavaScript.
    pub fn id(&self, id: TxId) -> JsValue {
        if let Some((known, value)) = &*self.id.borrow()
            && *known == id
        {
            return value.clone();
        }
        let value = JsValue::from_str(&id.to_string());
        self.id.replace(Some((id, value.clone())));
        value
    }
}
