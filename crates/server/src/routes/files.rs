//! `/files/<sha256>`: reads through the response planner, uploads verified and resumable.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::BytesMut;
use driftline_core::response::{BlobFacts, Request as PlanRequest, plan};
use driftline_protocol::files::{
    MAX_CONTENT_TYPE_BYTES, Sha256Digest, UPLOAD_RESUME_V1, UploadRange, header as file_header,
};

use super::App;
use super::body::{content_length, drain, next_bytes};
use super::respond::{Shape, error_response};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{BlobStore, PartialGuard, Published, Upload};
use stream::planned_body;

mod stream;

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let result = match parse_digest(&name) {
        Ok(digest) => read_blob(&app, digest, &method, &headers).await,
        Err(error) => Err(error),
    };
    let mut response = result.unwrap_or_else(|error| error_response(&error, Shape::Plain));
    if method == Method::HEAD {
        let headers = response.headers_mut();
        headers.insert(file_header::UPLOAD_RESUME, HeaderValue::from_static(UPLOAD_RESUME_V1));
        headers.insert(file_header::UPLOAD_LIMIT, upload_limit(&app));
    }
    response
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut body = Some(body);
    let result = match parse_digest(&name) {
        Ok(digest) => store_blob(&app, digest, &headers, &mut body).await,
        Err(error) => Err(Refused { error, offset: None }),
    };
    if let Some(unread) = body {
        drain(unread);
    }
    result.unwrap_or_else(|Refused { error, offset }| {
        let mut response = error_response(&error, Shape::Plain);
        if let Some(offset) = offset {
            response.headers_mut().insert(file_header::UPLOAD_OFFSET, offset.into());
        }
        if error.kind() == ErrorKind::TooLarge {
            response.headers_mut().insert(file_header::UPLOAD_LIMIT, upload_limit(&app));
        }
        response
    })
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    let delete = async {
        let digest = parse_digest(&name)?;
        match on_disk(&app, move |blobs| blobs.delete(digest)).await? {
            true => Ok(empty(StatusCode::NO_CONTENT)),
            false => Err(no_such_blob()),
        }
    };
    delete.await.unwrap_or_else(|error| error_response(&error, Shape::Plain))
}

async fn read_blob(
    app: &App,
    digest: Sha256Digest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    let mut found = on_disk(app, move |blobs| blobs.read(digest)).await?;
    if found.is_none() && !app.partial_locks.is_held(digest) {
        // The last part may have been stored just before a crash: then the client, which is asking where to go on, has
        // nothing left to send.
        let _guard = app.partial_locks.acquire(digest).await?;
        let finished = on_disk(app, move |blobs| blobs.finish_interrupted(digest, SystemTime::now())).await;
        if let Ok(Some(_)) = finished {
            found = on_disk(app, move |blobs| blobs.read(digest)).await?;
        }
    }
    let Some((file, facts)) = found else {
        let mut response = error_response(&no_such_blob(), Shape::Plain);
        if let Some(offset) = on_disk(app, move |blobs| blobs.offset(digest)).await? {
            response.headers_mut().insert(file_header::UPLOAD_OFFSET, offset.into());
        }
        return Ok(response);
    };
    let fields = PlanFields::new(headers);
    let plan = plan(
        &fields.request(method),
        &BlobFacts {
            hash: &digest.to_string(),
            size: facts.size,
            media_type: &facts.media_type,
            name: "",
            last_modified: Some(facts.created_seconds),
            by_hash: true,
            isolated: false,
        },
    );
    let mut response = empty(StatusCode::from_u16(plan.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &plan.headers {
        let value = HeaderValue::from_str(value)
            .map_err(|error| Error::storage("writing an answer's head", error))?;
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    if plan.status < 300 {
        let value = HeaderValue::from_str(&digest.to_repr_digest()).expect("base64 is ASCII");
        response.headers_mut().insert(file_header::REPR_DIGEST, value);
    }
    *response.body_mut() = planned_body(plan.body, file, facts.size);
    Ok(response)
}

/// An upload that was refused; with the offset to go on from, if that is what was wrong.
struct Refused {
    error: Error,
    offset: Option<u64>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, offset: None }
    }
}

/// Takes the body out of its place once it begins to read it.
async fn store_blob(
    app: &App,
    digest: Sha256Digest,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> std::result::Result<Response, Refused> {
    check_repr_digest(headers, digest)?;
    let media_type = media_type(headers)?;
    let part = part(headers)?;
    let size = part.map(UploadRange::total).or_else(|| content_length(headers));
    let limit = app.config.max_file_bytes;
    if size.is_some_and(|size| size > limit) {
        return Err(too_large(limit, size).into());
    }
    let is_there = on_disk(app, move |blobs| blobs.facts(digest)).await?.is_some();
    check_conditions(headers, digest, is_there)?;
    if is_there {
        return Ok(with_etag(StatusCode::OK, digest));
    }
    let taken = body.take().unwrap_or_default();
    let published = match part {
        None => put_whole(app, digest, media_type, taken, body).await?,
        Some(part) => match put_part(app, digest, part, media_type, taken, body).await? {
            PartResult::Published(published) => published,
            PartResult::Stored(offset) => {
                let mut response = empty(StatusCode::ACCEPTED);
                response.headers_mut().insert(file_header::UPLOAD_OFFSET, offset.into());
                return Ok(response);
            }
        },
    };
    match published {
        Published::Stored => {
            app.metrics.blobs_stored.add(1);
            Ok(with_etag(StatusCode::CREATED, digest))
        }
        Published::AlreadyThere => Ok(with_etag(StatusCode::OK, digest)),
    }
}

async fn put_whole(
    app: &App,
    digest: Sha256Digest,
    media_type: String,
    body: Body,
    unread: &mut Option<Body>,
) -> Result<Published> {
    let upload = on_disk(app, move |blobs| blobs.begin(digest)).await?;
    let limit = app.config.max_file_bytes;
    let received = receive(app, upload, body, limit, unread, None).await;
    let upload = received.map_err(|failure| match failure {
        Failure::Exceeded => too_large(limit, None),
        Failure::Error(error) => error,
    })?;
    blocking(move || upload.publish(&media_type, SystemTime::now())).await
}

enum PartResult {
    Stored(u64),
    Published(Published),
}

async fn put_part(
    app: &App,
    digest: Sha256Digest,
    part: UploadRange,
    media_type: String,
    body: Body,
    unread: &mut Option<Body>,
) -> std::result::Result<PartResult, Refused> {
    let guard = match app.partial_locks.acquire(digest).await {
        Ok(guard) => guard,
        Err(error) => return Err(at_offset(app, digest, error, body, unread).await),
    };
    let opened = {
        let media_type = media_type.clone();
        on_disk(app, move |blobs| blobs.resume(digest, part, &media_type)).await
    };
    let upload = match opened {
        Ok(upload) => upload,
        Err(error) => return Err(at_offset(app, digest, error, body, unread).await),
    };
    let upload = match receive(app, upload, body, part.end(), unread, Some(&guard)).await {
        Ok(upload) if upload.written() == part.end() => upload,
        Ok(upload) => {
            let offset = upload.written();
            let text = format!(
                "the part ended at byte {offset}, Content-Range says {}: the bytes are kept",
                part.end()
            );
            blocking(move || upload.sync()).await?;
            return Err(Refused { error: Error::new(ErrorKind::Invalid, text), offset: Some(offset) });
        }
        Err(Failure::Exceeded) => {
            let text = format!(
                "the part has more bytes than Content-Range says: those up to {} are kept",
                part.end()
            );
            let offset = on_disk(app, move |blobs| blobs.offset(digest)).await?;
            return Err(Refused { error: Error::new(ErrorKind::Invalid, text), offset });
        }
        Err(Failure::Error(error)) => {
            let offset = on_disk(app, move |blobs| blobs.offset(digest)).await?;
            return Err(Refused { error, offset });
        }
    };
    if part.is_final() {
        let published = blocking(move || upload.publish(&media_type, SystemTime::now())).await?;
        return Ok(PartResult::Published(published));
    }
    let offset = upload.written();
    blocking(move || upload.sync()).await?;
    Ok(PartResult::Stored(offset))
}

/// A refusal that says where the upload may go on.
async fn at_offset(
    app: &App,
    digest: Sha256Digest,
    error: Error,
    body: Body,
    unread: &mut Option<Body>,
) -> Refused {
    *unread = Some(body);
    let offset = on_disk(app, move |blobs| blobs.offset(digest)).await.ok().map(Option::unwrap_or_default);
    Refused { error, offset }
}

enum Failure {
    /// More bytes came than may.
    Exceeded,
    Error(Error),
}

/// Writes the body to the upload, up to the byte `end`. What came is stored even if the rest does not come. A body that
/// is not read to its end is given back in `unread`.
async fn receive(
    app: &App,
    mut upload: Upload,
    mut body: Body,
    end: u64,
    unread: &mut Option<Body>,
    guard: Option<&PartialGuard>,
) -> std::result::Result<Upload, Failure> {
    let mut buffer = BytesMut::with_capacity(WRITE_BUFFER_BYTES);
    let outcome = loop {
        let next = async {
            match guard {
                None => next_bytes(&mut body).await,
                Some(guard) => tokio::select! {
                    error = guard.taken_over() => Err(error),
                    next = next_bytes(&mut body) => next,
                },
            }
        };
        let bytes = match next.await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break Ok(()),
            Err(error) => break Err(Failure::Error(error)),
        };
        app.metrics.upload_bytes.add(bytes.len() as u64);
        let room = end - upload.written() - buffer.len() as u64;
        if bytes.len() as u64 > room {
            buffer.extend_from_slice(&bytes[..room as usize]);
            break Err(Failure::Exceeded);
        }
        buffer.extend_from_slice(&bytes);
        if buffer.len() >= WRITE_BUFFER_BYTES {
            (upload, buffer) = flush(upload, buffer).await.map_err(Failure::Error)?;
        }
    };
    if outcome.is_err() {
        *unread = Some(body);
    }
    let (upload, _) = flush(upload, buffer).await.map_err(Failure::Error)?;
    outcome.map(|()| upload)
}

async fn flush(mut upload: Upload, mut buffer: BytesMut) -> Result<(Upload, BytesMut)> {
    blocking(move || {
        upload.write(&buffer)?;
        buffer.clear();
        Ok((upload, buffer))
    })
    .await
}

/// The request's fields that change the answer; several lines of one joined.
struct PlanFields {
    values: [Option<Vec<u8>>; 6],
}

impl PlanFields {
    fn new(headers: &HeaderMap) -> Self {
        let names = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
        ];
        let joined = |name: HeaderName| {
            let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            (!lines.is_empty()).then(|| lines.join(&b", "[..]))
        };
        Self { values: names.map(joined) }
    }

    fn request<'a>(&'a self, method: &'a Method) -> PlanRequest<'a> {
        let [range, if_range, if_match, if_none_match, if_modified_since, if_unmodified_since] =
            self.values.each_ref().map(Option::as_deref);
        PlanRequest {
            method: method.as_str(),
            range,
            if_range,
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
        }
    }
}

fn parse_digest(name: &str) -> Result<Sha256Digest> {
    Sha256Digest::parse_hex(name).ok_or_else(|| {
        let text = "a file's address ends in its SHA-256, 64 lower-case hex digits: nothing was done";
        Error::new(ErrorKind::InvalidDigest, text)
    })
}

fn check_repr_digest(headers: &HeaderMap, digest: Sha256Digest) -> Result<()> {
    let Some(value) = headers.get(file_header::REPR_DIGEST) else { return Ok(()) };
    let parsed = value.to_str().ok().map(Sha256Digest::parse_repr_digest);
    match parsed {
        Some(Ok(Some(stated))) if stated != digest => {
            let text = format!("Repr-Digest says {stated}, the address says {digest}: nothing was stored");
            Err(Error::new(ErrorKind::DigestMismatch, text))
        }
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(Error::new(ErrorKind::Invalid, format!("{error}: nothing was stored"))),
        None => Err(Error::new(ErrorKind::Invalid, "Repr-Digest is not ASCII: nothing was stored")),
    }
}

fn media_type(headers: &HeaderMap) -> Result<String> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(DEFAULT_MEDIA_TYPE.to_owned()) };
    match value.to_str() {
        Ok(text) if text.len() <= MAX_CONTENT_TYPE_BYTES => Ok(text.to_owned()),
        _ => {
            let text = format!(
                "Content-Type must be ASCII of at most {MAX_CONTENT_TYPE_BYTES} bytes: nothing was stored"
            );
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}

fn part(headers: &HeaderMap) -> Result<Option<UploadRange>> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let part = value.to_str().ok().and_then(UploadRange::parse).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "Content-Range of a part must be bytes first-last/total: nothing was stored",
        )
    })?;
    match content_length(headers) {
        Some(length) if length != part.end() - part.first() => {
            let text = "Content-Length and Content-Range say different lengths: nothing was stored";
            Err(Error::new(ErrorKind::Invalid, text))
        }
        _ => Ok(Some(part)),
    }
}

/// RFC 9110, 13.1: of a blob's entity tag, which is its name, and of `*`.
fn check_conditions(headers: &HeaderMap, digest: Sha256Digest, is_there: bool) -> Result<()> {
    let names_it = |name: HeaderName| {
        let mut lines =
            headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).peekable();
        lines.peek().is_some().then(|| {
            let tag = format!("\"{digest}\"");
            lines
                .flat_map(|line| line.split(','))
                .any(|item| item.trim() == "*" || item.trim().ends_with(&tag))
        })
    };
    if is_there && names_it(header::IF_NONE_MATCH) == Some(true) {
        return Err(Error::new(
            ErrorKind::PreconditionFailed,
            "the file is stored already: nothing more is to be sent",
        ));
    }
    match names_it(header::IF_MATCH) {
        Some(matches) if !(matches && is_there) => Err(Error::new(
            ErrorKind::PreconditionFailed,
            "the file that If-Match names is not there: nothing was stored",
        )),
        _ => Ok(()),
    }
}

fn too_large(limit: u64, size: Option<u64>) -> Error {
    let has = size.map_or_else(|| "more".to_owned(), |size| format!("{size} bytes"));
    let text = format!("the file has {has}, the server takes at most {limit} bytes: nothing was stored");
    Error::new(ErrorKind::TooLarge, text).with_limit(limit, size)
}

fn no_such_blob() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "there is no file of this digest: it was never stored whole, or has been deleted",
    )
}

fn with_etag(status: StatusCode, digest: Sha256Digest) -> Response {
    let mut response = empty(status);
    let value = HeaderValue::from_str(&format!("\"{digest}\"")).expect("hex digits are ASCII");
    response.headers_mut().insert(header::ETAG, value);
    response
}

fn upload_limit(app: &App) -> HeaderValue {
    HeaderValue::from_str(&format!("max-size={}", app.config.max_file_bytes)).expect("digits are ASCII")
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

async fn on_disk<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Arc<BlobStore>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let blobs = Arc::clone(&app.blobs);
    blocking(move || work(&blobs)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::storage("working with the disk", io::Error::other(error)))?
}

const DEFAULT_MEDIA_TYPE: &str = "application/octet-stream";
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
