//! One download: what an earlier try left is hashed, the rest is fetched, hashed and appended, and only
//! what has the right digest is published.

use std::rc::Rc;

use driftline_core::files::{Digest, Failure, FailureKind};
use js_sys::{Reflect, Uint8Array};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Response};

use super::{
    control::{Control, failure},
    remote::{HttpRemote, classify},
};
use crate::{
    opfs::{CHUNK_BYTES, OpenFile, OpfsStore, StoreError, StoreErrorKind},
    value::message_of,
};

/// A crash costs at most so many bytes of a download.
const FLUSH_BYTES: u64 = 4 << 20;

/// The most of an error's text that is read, in bytes.
const ERROR_MAX_BYTES: f64 = 65_536.0;

/// Fetches a blob, from the byte where an earlier try ended, and publishes it.
pub(super) async fn download(
    store: &OpfsStore,
    remote: &HttpRemote,
    hash: &Digest,
    size: u64,
    fresh: bool,
    control: &Rc<Control>,
) -> Result<(), Failure> {
    if fresh {
        store.remove_partial(hash).await.map_err(on_disk)?;
    }
    let mut partial = open(store, hash, size).await?;
    if partial.bytes.len() < size {
        control.reached(partial.bytes.len());
        let fetched = fetch(remote, hash, size, &mut partial, control).await;
        if let Err(failure) = fetched {
            let kept = partial.bytes.close().await;
            if failure.kind == FailureKind::DigestMismatch {
                store.remove_partial(hash).await.map_err(on_disk)?;
            }
            return Err(kept.map_or_else(on_disk, |()| failure));
        }
    }
    control.reached(size);
    let Partial { bytes, hasher, .. } = partial;
    bytes.close().await.map_err(on_disk)?;
    if hasher.finalize()[..] != hash.0 {
        store.remove_partial(hash).await.map_err(on_disk)?;
        return Err(mismatch("The bytes that came were not those of the file."));
    }
    store.publish_partial(hash, size).await.map_err(on_disk)
}

/// What is there, and its hash so far.
struct Partial {
    bytes: OpenFile,
    hasher: Sha256,
    scratch: Vec<u8>,
}

async fn open(store: &OpfsStore, hash: &Digest, size: u64) -> Result<Partial, Failure> {
    let mut bytes = store.open_partial(hash).await.map_err(on_disk)?;
    if bytes.len() > size {
        drop(bytes);
        store.remove_partial(hash).await.map_err(on_disk)?;
        bytes = store.open_partial(hash).await.map_err(on_disk)?;
    }
    let (mut hasher, mut scratch) = (Sha256::new(), vec![]);
    bytes.read_all(&mut scratch, |chunk| hasher.update(chunk)).await.map_err(on_disk)?;
    Ok(Partial { bytes, hasher, scratch })
}

async fn fetch(
    remote: &HttpRemote,
    hash: &Digest,
    size: u64,
    partial: &mut Partial,
    control: &Rc<Control>,
) -> Result<(), Failure> {
    let _watch = control.watch();
    let response = remote.get(hash, partial.bytes.len(), control).await?;
    match response.status() {
        200 if !partial.bytes.is_empty() => {
            // The remote knows no ranges: what there was is fetched again.
            partial.bytes.clear().await.map_err(on_disk)?;
            partial.hasher = Sha256::new();
        }
        200 => {}
        206 => check_range(&response, partial.bytes.len(), size)?,
        416 => return Err(mismatch("The file server has another size for the file.")),
        status => return Err(refused(&response, status).await),
    }
    check_tag(&response, hash)?;
    let Some(body) = response.body() else {
        return Err(failure(FailureKind::Temporary(None), "The file server's answer has no body."));
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let taken = take_all(&reader, size, partial, control).await;
    if taken.is_err() {
        // The stream is of no more use; nobody waits for how its end goes.
        drop(reader.cancel());
    }
    taken
}

async fn take_all(
    reader: &ReadableStreamDefaultReader,
    size: u64,
    partial: &mut Partial,
    control: &Control,
) -> Result<(), Failure> {
    let mut flushed = partial.bytes.len();
    loop {
        let next =
            JsFuture::from(reader.read()).await.map_err(|error| control.broken(&message_of(&error)))?;
        let field = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
        if field("done").is_truthy() {
            break;
        }
        let chunk: Uint8Array = field("value").unchecked_into();
        if partial.bytes.len() + u64::from(chunk.length()) > size {
            return Err(mismatch("The file server sent more bytes than the file has."));
        }
        let mut at = 0;
        while at < chunk.length() {
            let end = chunk.length().min(at + CHUNK_BYTES as u32);
            let piece = chunk.subarray(at, end);
            partial.scratch.resize((end - at) as usize, 0);
            piece.copy_to(&mut partial.scratch);
            partial.hasher.update(&partial.scratch);
            partial.bytes.append(&piece).await.map_err(on_disk)?;
            at = end;
        }
        if partial.bytes.len() - flushed >= FLUSH_BYTES {
            partial.bytes.flush().map_err(on_disk)?;
            flushed = partial.bytes.len();
        }
        control.moved(partial.bytes.len());
        control.check()?;
    }
    if partial.bytes.len() < size {
        return Err(failure(
            FailureKind::Temporary(None),
            "The file server's answer ended early. What came is kept.",
        ));
    }
    Ok(())
}

fn check_range(response: &Response, offset: u64, size: u64) -> Result<(), Failure> {
    let text = response.headers().get("content-range").ok().flatten().unwrap_or_default();
    let right = format!("bytes {offset}-{}/{size}", size - 1);
    if text != right {
        return Err(mismatch("The file server sent another part of the file than was asked for."));
    }
    Ok(())
}

/// A tag that is a digest must be this one's; other tags say nothing about the bytes.
fn check_tag(response: &Response, hash: &Digest) -> Result<(), Failure> {
    let tag = response.headers().get("etag").ok().flatten().unwrap_or_default();
    match tag.trim_matches('"').parse::<Digest>() {
        Ok(other) if other != *hash => {
            Err(mismatch("The file server has other bytes under the file's name."))
        }
        _ => Ok(()),
    }
}

async fn refused(response: &Response, status: u16) -> Failure {
    let header = |name: &str| response.headers().get(name).ok().flatten();
    let short = header("content-length")
        .and_then(|text| text.parse::<f64>().ok())
        .is_some_and(|bytes| bytes <= ERROR_MAX_BYTES);
    let text = match response.text() {
        Ok(text) if short => JsFuture::from(text).await.ok().and_then(|text| text.as_string()),
        _ => None,
    };
    classify(status, header("retry-after").as_deref(), &text.unwrap_or_default())
}

fn mismatch(message: &str) -> Failure {
    failure(FailureKind::DigestMismatch, format!("{message} They were thrown away; nothing of it is shown."))
}

fn on_disk(error: StoreError) -> Failure {
    let kind = match error.kind {
        StoreErrorKind::QuotaExceeded => FailureKind::QuotaExceeded,
        _ => FailureKind::Temporary(None),
    };
    failure(kind, format!("The file could not be stored on this device ({error}). What came is kept."))
}
