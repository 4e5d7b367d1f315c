//! The texts that just came from JavaScript or went there: handing one over again costs a tenth of making
//! it anew, and a write has its key and its id in several places.

use std::cell::RefCell;

use driftline_core::TxId;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

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
        let value = id_text(id);
        self.id.replace(Some((id, value.clone())));
        value
    }
}

/// A transaction's id as a text for JavaScript.
pub fn id_text(id: TxId) -> JsValue {
    let part = |at: u32| (id.0 >> (96 - 32 * at)) as u32;
    uuid_text(part(0), part(1), part(2), part(3))
}

#[wasm_bindgen(module = "/src/uuid.js")]
extern "C" {
    #[wasm_bindgen(js_name = uuidText)]
    fn uuid_text(first: u32, second: u32, third: u32, fourth: u32) -> JsValue;
}
