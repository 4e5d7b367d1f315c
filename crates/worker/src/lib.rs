//! The dedicated worker's wasm module: [`FileWorker`] for `js/worker.ts`, over the OPFS store and the
//! transfers. There is no logic here, only the passage.
//!
//! What fails rejects with `{ code, message }`; the page makes errors of it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use driftline_core::files::{Digest, FileId, RecordFacts};
use driftline_web::{
    opfs::{BlobWriter, Saved, StoreError},
    transfer::{Files, to_js},
};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use web_sys::{Blob, File};

/// One database's files in this worker.
#[wasm_bindgen]
pub struct FileWorker {
    files: Rc<Files>,
    writers: RefCell<BTreeMap<u32, BlobWriter>>,
    next_writer: Cell<u32>,
}

#[wasm_bindgen]
impl FileWorker {
    /// Opens a database's files. `tell` is called with each event for the page; `ask_headers` as
    /// `(method, url)`, and answers a promise of `[name, value]` pairs.
    pub async fn open(
        database: String,
        config: JsValue,
        tell: Function,
        ask_headers: Function,
    ) -> Result<FileWorker, JsValue> {
        let config = serde_wasm_bindgen::from_value(config)?;
        let tell = move |event: &_| {
            // It only posts a message of plain data.
            let _ = tell.call1(&JsValue::UNDEFINED, &to_js(event));
        };
        let files = Files::open(&database, config, tell, ask_headers).await?;
        Ok(Self { files, writers: RefCell::default(), next_writer: Cell::new(1) })
    }

    /// Saves a blob; answers `[sha256, size]` once it is published.
    pub async fn save(&self, source: Blob) -> Result<Vec<JsValue>, JsValue> {
        let files = Rc::clone(&self.files);
        Ok(saved(files.save(&source).await?))
    }

    /// Starts a save whose bytes come in pieces; answers its number.
    #[wasm_bindgen(js_name = saveBegin)]
    pub async fn save_begin(&self) -> Result<u32, JsValue> {
        let writer = self.files.create().await?;
        let number = self.next_writer.replace(self.next_writer.get().wrapping_add(1));
        self.writers.borrow_mut().insert(number, writer);
        Ok(number)
    }

    /// Appends a piece, and answers once it is written. One at a time.
    #[wasm_bindgen(js_name = savePiece)]
    pub async fn save_piece(&self, number: u32, bytes: Uint8Array) -> Result<(), JsValue> {
        let mut writer = self.take_writer(number)?;
        let written = writer.write(&bytes).await;
        if let Err(error) = written {
            // The first error is the one to tell; the next sweep takes what is left.
            let _ = writer.discard().await;
            return Err(error.into());
        }
        self.writers.borrow_mut().insert(number, writer);
        Ok(())
    }

    /// Ends a save; answers as [`FileWorker::save`].
    #[wasm_bindgen(js_name = saveEnd)]
    pub async fn save_end(&self, number: u32) -> Result<Vec<JsValue>, JsValue> {
        let writer = self.take_writer(number)?;
        Ok(saved(self.files.publish(writer).await?))
    }

    /// Drops a save.
    #[wasm_bindgen(js_name = saveAbort)]
    pub async fn save_abort(&self, number: u32) -> Result<(), JsValue> {
        let writer = self.take_writer(number)?;
        Ok(writer.discard().await?)
    }

    /// The published blob as a file-backed `File`, or `undefined`.
    pub async fn read(&self, hash: String) -> Result<Option<File>, JsValue> {
        Ok(self.files.read(&digest(&hash)?).await?)
    }

    /// Takes records that changed, as `RecordFacts[]` and ids; `complete` once all have been told.
    pub fn records(&self, upserts: JsValue, removed: JsValue, complete: bool) -> Result<(), JsValue> {
        let upserts: Vec<RecordFacts> = serde_wasm_bindgen::from_value(upserts)?;
        let removed: Vec<FileId> = serde_wasm_bindgen::from_value(removed)?;
        self.files.records(upserts, removed, complete);
        Ok(())
    }

    /// Takes a wish, as a `Command`.
    pub fn command(&self, command: JsValue) -> Result<(), JsValue> {
        self.files.command(serde_wasm_bindgen::from_value(command)?);
        Ok(())
    }

    /// What is on this device, as a `Usage`.
    pub async fn usage(&self) -> Result<JsValue, JsValue> {
        Ok(to_js(&self.files.usage().await?))
    }

    /// Ends everything.
    pub fn close(&self) {
        self.writers.take();
        self.files.close();
    }

    fn take_writer(&self, number: u32) -> Result<BlobWriter, JsValue> {
        let writer = self.writers.borrow_mut().remove(&number);
        writer.ok_or_else(|| {
            StoreError::unexpected("There is no such save: it ended, failed, or is being written to.").into()
        })
    }
}

fn saved(saved: Saved) -> Vec<JsValue> {
    vec![saved.hash.to_string().into(), (saved.size as f64).into()]
}

fn digest(text: &str) -> Result<Digest, JsValue> {
    text.parse()
        .map_err(|_| StoreError::unexpected("A blob is named by 64 lower-case hexadecimal digits.").into())
}
