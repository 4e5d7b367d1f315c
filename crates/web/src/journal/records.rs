//! Records as IndexedDB keeps them: `{ bytes: Uint8Array, values: any[], stamp?: string }`.

use driftline_core::Record;
use indexed_db_futures::{Build, KeyRange, object_store::ObjectStore, query_source::QuerySource};
use js_sys::{Array, ArrayBuffer, JsString, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

use super::failure::Failed;
use crate::value::Row;

/// How many records are read at once: enough to be fast, few enough to bound what is held twice.
pub(super) const BATCH_RECORDS: u32 = 512;

/// Records with their keys.
pub(super) type Keyed = Vec<(JsValue, Record<Row>)>;

#[wasm_bindgen]
extern "C" {
    // Setters, as a name that is passed is decoded each time.
    #[wasm_bindgen(extends = Object)]
    type Stored;
    #[wasm_bindgen(method, setter)]
    fn set_bytes(this: &Stored, bytes: &Uint8Array);
    #[wasm_bindgen(method, setter)]
    fn set_values(this: &Stored, values: &Array);
    #[wasm_bindgen(method, setter)]
    fn set_stamp(this: &Stored, stamp: &JsString);
}

/// A record in the form that is stored.
pub(super) fn record_to_js(record: &Record<Row>, stamp: Option<&JsString>) -> JsValue {
    let values: Array = record.values.iter().map(|value| &value.0).collect();
    let stored: Stored = Object::new().unchecked_into();
    stored.set_bytes(&Uint8Array::from(record.bytes.as_slice()));
    stored.set_values(&values);
    if let Some(stamp) = stamp {
        stored.set_stamp(stamp);
    }
    stored.into()
}

/// All records of a store with their keys, in order.
pub(super) async fn read_records(store: &ObjectStore<'_>) -> Result<Keyed, Failed> {
    let mut records = Keyed::new();
    loop {
        let last = records.last().map(|(key, _)| key.clone());
        let mut batch = ask_batch(store, last)?.await?;
        let is_last = batch.len() < BATCH_RECORDS as usize;
        records.append(&mut batch);
        if is_last {
            return Ok(records);
        }
    }
}

/// Asks for a batch of records with their keys, from after a key on; the answer is waited for outside. One that
/// is not full is the last.
pub(super) fn ask_batch(
    store: &ObjectStore<'_>,
    after: Option<JsValue>,
) -> Result<impl Future<Output = Result<Keyed, Failed>> + use<>, Failed> {
    let (keys, values) = (store.get_all_keys::<JsValue>(), store.get_all::<JsValue>());
    let (keys, values) = match after {
        Some(after) => {
            let range = KeyRange::LowerBound(after, true);
            (
                keys.with_query::<JsValue, _>(range.clone()).with_limit(BATCH_RECORDS).build()?,
                values.with_query::<JsValue, _>(range).with_limit(BATCH_RECORDS).build()?,
            )
        }
        None => (keys.with_limit(BATCH_RECORDS).build()?, values.with_limit(BATCH_RECORDS).build()?),
    };
    Ok(async move {
        let keys = keys.await?.collect::<Result<Vec<_>, _>>()?;
        keys.into_iter().zip(values.await?).map(|(key, value)| Ok((key, record_from_js(&value?)?))).collect()
    })
}

/// The number of the record after `after` that carries the stamp, if there is one.
pub(super) async fn stamp_of(
    log: &ObjectStore<'_>,
    after: u64,
    stamp: &JsString,
) -> Result<Option<u64>, Failed> {
    let range = KeyRange::LowerBound(JsValue::from_f64(after as f64), true);
    let keys = log.get_all_keys::<JsValue>().with_query::<JsValue, _>(range.clone()).build()?;
    let values = log.get_all::<JsValue>().with_query::<JsValue, _>(range).build()?;
    let keys = keys.await?.collect::<Result<Vec<_>, _>>()?;
    for (key, value) in keys.into_iter().zip(values.await?) {
        if Reflect::get(&value?, &"stamp".into())? == ***stamp {
            return Ok(Some(number(&key)));
        }
    }
    Ok(None)
}

/// A key of the log as a number.
pub(super) fn number(key: &JsValue) -> u64 {
    key.as_f64().unwrap_or_default() as u64
}

/// A record from the form that is stored.
pub(super) fn record_from_js(stored: &JsValue) -> Result<Record<Row>, Failed> {
    let field = |name: &str| Reflect::get(stored, &JsValue::from_str(name)).ok();
    // Not `instanceof`: test runners and drivers have globals of another realm than structured clones.
    let bytes = field("bytes").filter(ArrayBuffer::is_view).map(JsCast::unchecked_into::<Uint8Array>);
    let values = field("values").filter(Array::is_array).map(JsCast::unchecked_into::<Array>);
    match (bytes, values) {
        (Some(bytes), Some(values)) => Ok(Record { bytes: bytes.to_vec(), values: values.iter().map(Row).collect() }),
        _ => Err(Failed::Unavailable(
            "The journal holds a record that was not written by Driftline. Nothing was changed; clear the site's data to start anew.".to_owned(),
        )),
    }
}
