//! The blob store in OPFS: the conformance suite, and what only a real browser has.

use std::{collections::BTreeMap, rc::Rc};

use driftline_core::files::Digest;
use driftline_testkit::{
    blob_store::{BlobHarness, BlobStore, blob_path, suite},
    for_each_blob_store_check,
};
use driftline_web::opfs::{BlobWriter, CHUNK_BYTES, OpfsStore, StoreErrorKind};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::Blob;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

macro_rules! tests {
    ($($name:ident)*) => { $(#[wasm_bindgen_test] async fn $name() { suite::$name(&mut Harness::default()).await; })* };
}
for_each_blob_store_check!(tests);

#[wasm_bindgen_test]
async fn a_blob_object_is_saved_with_its_intent_before_its_name() {
    for size in [10, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5] {
        let store = Rc::new(OpfsStore::open(&fresh("intent")).await.expect("a store"));
        let bytes: Vec<u8> = (0..size as u32).map(|n| (n >> 10) as u8 ^ n as u8).collect();
        let source = blob(&bytes);
        let seen = store.save(&source, async |saved| {
            assert_eq!(store.size(&saved.hash).await.expect("readable"), None, "the intent comes first");
            assert_eq!(saved.size, size as u64);
            Ok(())
        });
        let saved = seen.await.expect("saved");
        assert_eq!(store.size(&saved.hash).await.expect("readable"), Some(size as u64));
        let again = store.save(&blob(&bytes), async |_| Ok(())).await.expect("saved");
        assert_eq!(again, saved);
    }
}

#[wasm_bindgen_test]
async fn a_save_whose_intent_fails_leaves_nothing() {
    let name = fresh("refused");
    let store = Rc::new(OpfsStore::open(&name).await.expect("a store"));
    for size in [10, 2 * CHUNK_BYTES] {
        let source = blob(&vec![7; size]);
        let refused = store
            .save(&source, async |_| Err(driftline_web::opfs::StoreError::unexpected("refused by the test")));
        assert_eq!(refused.await.expect_err("refused").kind, StoreErrorKind::Other);
        assert_eq!(paths(&name).await, [""; 0]);
    }
}

#[wasm_bindgen_test]
async fn a_partial_is_found_again_at_the_byte_where_it_was_and_published_by_its_digest() {
    let name = fresh("partial");
    let store = OpfsStore::open(&name).await.expect("a store");
    let hash: Digest =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().expect("a digest");
    let mut partial = store.open_partial(&hash).await.expect("opens");
    partial.append(&Uint8Array::from(&b"ab"[..])).await.expect("written");
    partial.close().await.expect("closed");

    let mut partial = store.open_partial(&hash).await.expect("opens");
    let (mut seen, mut scratch) = (vec![], vec![]);
    partial.read_all(&mut scratch, |bytes| seen.extend_from_slice(bytes)).await.expect("read");
    assert_eq!((partial.len(), seen.as_slice()), (2, &b"ab"[..]));
    partial.append(&Uint8Array::from(&b"c"[..])).await.expect("written");
    partial.close().await.expect("closed");
    store.publish_partial(&hash, 3).await.expect("published");
    assert_eq!(paths(&name).await, [blob_path(&hash)]);
}

#[wasm_bindgen_test]
async fn a_sweep_keeps_the_partials_that_are_still_wanted() {
    let name = fresh("partials");
    let store = OpfsStore::open(&name).await.expect("a store");
    let (wanted, other) = (Digest([1; 32]), Digest([2; 32]));
    for hash in [wanted, other] {
        let mut partial = store.open_partial(&hash).await.expect("opens");
        partial.append(&Uint8Array::from(&b"part"[..])).await.expect("written");
        partial.close().await.expect("closed");
    }
    let swept = store.sweep(&BTreeMap::new(), |hash| *hash == wanted).await.expect("swept");
    assert_eq!(swept.removed, [other.to_string()]);
    assert_eq!(paths(&name).await, [format!("partial/{wanted}")]);
}

/// Opens stores under names that no other test has.
#[derive(Default)]
struct Harness {
    names: BTreeMap<String, String>,
}

/// A tab's store.
struct Store(Rc<OpfsStore>);

impl Harness {
    fn name(&mut self, database: &str) -> String {
        self.names.entry(database.to_owned()).or_insert_with(|| fresh(database)).clone()
    }
}

impl BlobHarness for Harness {
    type Store = Store;

    async fn open(&mut self, database: &str) -> Store {
        Store(Rc::new(OpfsStore::open(&self.name(database)).await.expect("a store")))
    }

    async fn litter(&mut self, database: &str, path: &str, bytes: &[u8]) {
        litter(&self.name(database), path, bytes).await;
    }

    async fn paths(&mut self, database: &str) -> Vec<String> {
        paths(&self.name(database)).await
    }
}

impl BlobStore for Store {
    type Writer = BlobWriter;

    async fn begin(&self) -> BlobWriter {
        self.0.create().await.expect("a save starts")
    }

    async fn write(&self, writer: &mut BlobWriter, bytes: &[u8]) {
        writer.write(&Uint8Array::from(bytes)).await.expect("bytes are written");
    }

    async fn publish(&self, writer: BlobWriter) -> (Digest, u64) {
        let saved = writer.publish(async |_| Ok(())).await.expect("published");
        (saved.hash, saved.size)
    }

    async fn discard(&self, writer: BlobWriter) {
        writer.discard().await.expect("discarded");
    }

    async fn size(&self, hash: &Digest) -> Option<u64> {
        self.0.size(hash).await.expect("readable")
    }

    async fn read(&self, hash: &Digest, start: u64, end: u64) -> Option<Vec<u8>> {
        let file = self.0.file(hash).await.expect("readable")?;
        let part = file.slice_with_f64_and_f64(start as f64, (end as f64).min(file.size())).expect("a slice");
        Some(Uint8Array::new(&JsFuture::from(part.array_buffer()).await.expect("readable")).to_vec())
    }

    async fn remove(&self, hash: &Digest) {
        self.0.remove(hash).await.expect("removed");
    }

    async fn sweep(&self, known: &[(Digest, u64)]) -> Vec<(Digest, u64)> {
        let known = known.iter().copied().collect();
        self.0.sweep(&known, |_| false).await.expect("swept").blobs
    }
}

fn fresh(name: &str) -> String {
    format!("{name}-{}", js_sys::Math::random())
}

fn blob(bytes: &[u8]) -> Blob {
    Blob::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(bytes))).expect("a blob")
}

/// Calls a method that answers a promise.
async fn call(object: &JsValue, method: &str, given: &[JsValue]) -> JsValue {
    let method: Function = Reflect::get(object, &method.into()).expect("an object").unchecked_into();
    let given: Array = given.iter().collect();
    let answer: Promise = method.apply(object, &given).expect("a call").unchecked_into();
    JsFuture::from(answer).await.expect("an answer")
}

fn creating() -> JsValue {
    let options = js_sys::Object::new();
    Reflect::set(&options, &"create".into(), &true.into()).expect("our own object");
    options.into()
}

async fn folder_of(database: &str) -> JsValue {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).expect("a navigator");
    let storage = Reflect::get(&navigator, &"storage".into()).expect("storage");
    let mut folder = call(&storage, "getDirectory", &[]).await;
    for name in ["driftline".to_owned(), js_sys::encode_uri_component(database).into()] {
        folder = call(&folder, "getDirectoryHandle", &[name.into(), creating()]).await;
    }
    folder
}

/// Writes through a writable stream: every engine has that.
async fn litter(database: &str, path: &str, bytes: &[u8]) {
    let mut folder = folder_of(database).await;
    let (folders, name) = path.rsplit_once('/').expect("a path in a folder");
    for part in folders.split('/') {
        folder = call(&folder, "getDirectoryHandle", &[part.into(), creating()]).await;
    }
    let handle = call(&folder, "getFileHandle", &[name.into(), creating()]).await;
    let stream = call(&handle, "createWritable", &[]).await;
    call(&stream, "write", &[Uint8Array::from(bytes).into()]).await;
    call(&stream, "close", &[]).await;
}

async fn paths(database: &str) -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![(String::new(), folder_of(database).await)];
    while let Some((path, folder)) = folders.pop() {
        let entries: Function = Reflect::get(&folder, &"entries".into()).expect("a folder").unchecked_into();
        let entries = entries.call0(&folder).expect("entries");
        loop {
            let next = call(&entries, "next", &[]).await;
            if Reflect::get(&next, &"done".into()).expect("a step").is_truthy() {
                break;
            }
            let entry: Array = Reflect::get(&next, &"value".into()).expect("a step").unchecked_into();
            let path = format!("{path}{}", entry.get(0).as_string().expect("a name"));
            let is_file = Reflect::get(&entry.get(1), &"kind".into()).expect("a handle") == "file";
            if is_file { found.push(path) } else { folders.push((format!("{path}/"), entry.get(1))) }
        }
    }
    found.sort();
    found
}
