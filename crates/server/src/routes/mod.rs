//! The routes, and what holds on all of them: JSON errors, origins, counters, a log line each.

mod auth;
mod body;
mod events;
mod files;
mod livestore;
mod livestore_v03;
mod plan;
mod pokes;
mod respond;
pub(crate) mod sockets;
mod static_files;
mod sync;
mod system;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body::Body};
use driftline_protocol::files::header as file_header;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Config;
use crate::engine::{Engine, LocalPokes};
use crate::error::{Error, ErrorKind};
use crate::files::{BlobStore, PartialLocks};
use crate::livestore::EventLogs;
use crate::metrics::Metrics;
use crate::writer::Writer;
use respond::{Shape, error_response};

/// What the routes share.
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) writer: Writer,
    pub(crate) pokes: Arc<LocalPokes>,
    pub(crate) event_logs: Arc<EventLogs>,
    /// Tells of new events, by store.
    pub(crate) stores: Arc<LocalPokes>,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) partial_locks: PartialLocks,
    pub(crate) metrics: Metrics,
    pub(crate) config: Config,
    /// Bounds the threads that read the database at a time.
    pub(crate) readers: Arc<Semaphore>,
    /// Bounds the WebSockets that are open at a time.
    pub(crate) sockets: Arc<Semaphore>,
    /// Cancelled when the server stops: ends what would go on by itself.
    pub(crate) stopping: CancellationToken,
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let cors = (!app.config.allow_origin.is_empty()).then(|| cors_layer(&app.config));
    let (static_dir, connect_to) = (app.config.static_dir.clone(), app.config.connect_to.clone());
    let app = Arc::new(app);
    let mut router = Router::new()
        .route("/_sync/push", post(sync::push))
        .route("/_sync/pull", post(sync::pull))
        .route("/_sync/snapshot", post(sync::snapshot))
        .route("/_sync/events", get(events::events))
        .route("/events", get(events::events))
        .route("/ws", get(pokes::json))
        .route("/_sync/ws", get(pokes::json))
        .route("/plan/_sync/push", post(plan::push))
        .route("/plan/_sync/pull", post(plan::pull))
        .route("/plan/_sync/snapshot", post(plan::snapshot))
        .route("/plan/_sync/events", get(events::events))
        .route("/plan/events", get(events::events))
        .route("/plan/ws", get(pokes::binary))
        .route("/plan/_sync/ws", get(pokes::binary))
        .route("/livestore", get(livestore::socket).post(livestore::call))
        .route("/livestore/websocket", get(livestore_v03::socket))
        .route("/files/{digest}", get(files::read).put(files::put).delete(files::delete))
        .route("/metrics", get(system::metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), auth::check_token))
        .route("/healthz", get(system::health));
    router = match static_dir {
        Some(directory) => router.fallback_service(static_files::service(&directory, &connect_to)),
        None => router.fallback(not_found),
    };
    let mut router = router
        .with_state(Arc::clone(&app))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| internal_error()))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), check_origin))
        .layer(middleware::from_fn(errors_as_json));
    if let Some(cors) = cors {
        router = router.layer(cors);
    }
    router.layer(middleware::from_fn_with_state(app, observe))
}

async fn not_found() -> Response {
    axum::http::StatusCode::NOT_FOUND.into_response()
}

fn internal_error() -> Response {
    axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Counts and logs each answer. Neither queries nor bodies: rows and scopes are the users' own.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16();
    match status {
        0..400 => app.metrics.answers_ok.add(1),
        400..500 => app.metrics.answers_refused.add(1),
        _ => app.metrics.answers_failed.add(1),
    }
    let micros = started.elapsed().as_micros() as u64;
    tracing::debug!(%method, path, status, micros, "answer");
    response
}

/// Whatever refused the request, a route, a layer or a library: its answer is JSON in the shape of its wire.
async fn errors_as_json(request: Request, next: Next) -> Response {
    let shape = Shape::of_path(request.uri().path());
    let response = next.run(request).await;
    let is_json = |headers: &HeaderMap| {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.starts_with("application/json"))
    };
    if response.status().as_u16() < 400 || is_json(response.headers()) {
        return response;
    }
    let (kind, message) = match response.status().as_u16() {
        404 => (ErrorKind::NotFound, "there is nothing at this address: nothing was done; check the path"),
        405 => (ErrorKind::MethodNotAllowed, "this address takes other methods, see Allow: nothing was done"),
        413 => (ErrorKind::TooLarge, "the request is too large: nothing was done"),
        400..500 => (ErrorKind::Invalid, "the request is malformed: nothing was done"),
        _ => (ErrorKind::Internal, "the server failed: try again later"),
    };
    let mut answer = error_response(&Error::new(kind, message), shape);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}

/// Refuses changes that a page of a foreign origin asks for: a browser sends simple requests without asking first.
///
/// A client that is no browser sends neither header and passes.
async fn check_origin(State(app): State<Arc<App>>, request: Request<Body>, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || is_own_origin(request.headers()) || is_allowed_origin(&app.config, request.headers()) {
        return next.run(request).await;
    }
    let text = "a page of this origin may not change anything here: nothing was done; the server's --allow-origin names \
                the origins that may";
    error_response(&Error::new(ErrorKind::OriginNotAllowed, text), Shape::of_path(request.uri().path()))
}

fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("invalid"));
    match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some("same-origin" | "none"), _) | (None, None) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(header::HOST)
        }
    }
}

fn is_allowed_origin(config: &Config, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    origin.is_some_and(|origin| config.allow_origin.iter().any(|allowed| allowed == origin))
}

fn cors_layer(config: &Config) -> CorsLayer {
    let origins = config.allow_origin.iter().filter_map(|origin| origin.parse::<HeaderValue>().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_RANGE,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static(file_header::REPR_DIGEST),
        ])
        .expose_headers([
            header::ACCEPT_RANGES,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static(file_header::REPR_DIGEST),
            HeaderName::from_static(file_header::UPLOAD_LIMIT),
            HeaderName::from_static(file_header::UPLOAD_OFFSET),
            HeaderName::from_static(file_header::UPLOAD_RESUME),
        ])
        .max_age(PREFLIGHT_MAX_AGE)
}

const PREFLIGHT_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(600);
