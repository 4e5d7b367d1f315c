//! A web app's files, served at `/`.

use std::convert::Infallible;
use std::path::Path;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// Serves a directory, whose pages may connect to these origins and the server's own. An unknown path is 404 whatever the
/// method, never the app's page.
pub(super) fn service(
    directory: &Path,
    connect_to: &[String],
) -> BoxCloneSyncService<Request, Response, Infallible> {
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
    };
    let policy = format!("{CONTENT_SECURITY_POLICY}; connect-src 'self' {}", connect_to.join(" "));
    let policy = HeaderValue::from_str(policy.trim_end()).expect("an origin is plain text");
    let nothing = service_fn(async |_: Request| Ok::<_, Infallible>(StatusCode::NOT_FOUND.into_response()));
    let files = ServeDir::new(directory).call_fallback_on_method_not_allowed(true).fallback(nothing);
    let files = ServiceBuilder::new()
        .layer(set(header::CACHE_CONTROL, "no-cache"))
        .layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, policy))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .service(files);
    BoxCloneSyncService::new(ServiceExt::<Request>::map_response(files, IntoResponse::into_response))
}

/// `blob:` for pictures and films is what a page shows while no service worker controls it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self'; object-src 'none'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'";
