//! What those who run the server look at.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json as value;

use super::App;
use super::respond::{Shape, error_response, json};
use super::sync::read_engine;

/// 200 if the database answers.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    match read_engine(&app, |engine| engine.check()).await {
        Ok(()) => json(&value!({ "status": "ok" })),
        Err(error) => error_response(&error, Shape::Plain),
    }
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = app.metrics.render(app.pokes.listeners()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS));
    response
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
