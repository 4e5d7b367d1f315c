//! Requests to a remote: bounded in time and in the size of the answer, with credentials asked for anew
//! each time.

use std::{cell::Cell, rc::Rc};

use driftline_core::{HttpRequest, HttpResponse, Method, TransportError};
use gloo_net::http::{Headers, RequestBuilder, Response};
use gloo_timers::callback::Timeout;
use js_sys::{Date, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader};

use crate::value::message_of;

/// Where a remote is, and who knows its credentials.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address that request paths are put behind, without a trailing slash.
    pub url: String,
    /// The app's function for headers (an object, `Headers` or pairs, or a promise of them), called for
    /// each request. What it answers is kept nowhere.
    pub headers: Option<Function>,
}

/// Sends one request and reads the whole answer. Dropping the future does not take the request back;
/// `abort` does.
///
/// # Errors
/// As [`TransportError`] says; an answer with an error status is an answer.
pub async fn send(
    endpoint: &Endpoint,
    request: &HttpRequest,
    abort: &AbortController,
) -> Result<HttpResponse, TransportError> {
    let timed_out = Rc::new(Cell::new(false));
    // Held until the body has been read; dropping it stops the clock.
    let _timeout = {
        let (abort, timed_out) = (abort.clone(), Rc::clone(&timed_out));
        Timeout::new(u32::try_from(request.timeout_ms).unwrap_or(u32::MAX), move || {
            timed_out.set(true);
            abort.abort();
        })
    };
    exchange(endpoint, request, abort).await.map_err(|error| match error {
        TransportError::Unreachable(_) if timed_out.get() => TransportError::TimedOut,
        other => other,
    })
}

async fn exchange(
    endpoint: &Endpoint,
    request: &HttpRequest,
    abort: &AbortController,
) -> Result<HttpResponse, TransportError> {
    let headers = credentials(endpoint).await?;
    headers.set("content-type", "application/json");
    let method = match request.method {
        Method::Get => gloo_net::http::Method::GET,
        Method::Post => gloo_net::http::Method::POST,
    };
    let built = RequestBuilder::new(&format!("{}{}", endpoint.url, request.path))
        .method(method)
        .headers(headers)
        .abort_signal(Some(&abort.signal()));
    let sent = match request.method {
        Method::Get => built.send().await,
        Method::Post => match built.body(request.body.as_str()) {
            Ok(whole) => whole.send().await,
            Err(error) => Err(error),
        },
    };
    let response = sent.map_err(|error| TransportError::Unreachable(error.to_string()))?;
    let status = response.status();
    let retry_after_ms = response.headers().get("retry-after").and_then(|text| retry_after_ms(&text));
    let body = read(&response, request.response_max_bytes, abort).await?;
    Ok(HttpResponse { status, retry_after_ms, body })
}

async fn credentials(endpoint: &Endpoint) -> Result<Headers, TransportError> {
    let Some(ask) = &endpoint.headers else {
        return Ok(Headers::new());
    };
    let refused = |error: JsValue| TransportError::Credentials(message_of(&error));
    let answer = ask.call0(&JsValue::UNDEFINED).map_err(refused)?;
    let answer = JsFuture::from(Promise::resolve(&answer)).await.map_err(refused)?;
    if answer.is_undefined() || answer.is_null() {
        return Ok(Headers::new());
    }
    // The constructor takes all the forms that the app may give.
    web_sys::Headers::new_with_str_sequence_sequence(&answer).map(Headers::from_raw).map_err(refused)
}

/// Reads the body as it comes, so that an answer that is too large is dropped before it fills the memory.
async fn read(
    response: &Response,
    limit_bytes: u64,
    abort: &AbortController,
) -> Result<String, TransportError> {
    let Some(stream) = response.body() else {
        return Ok(String::new());
    };
    let broken = |error: JsValue| TransportError::Unreachable(message_of(&error));
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(broken)?;
        if Reflect::get(&chunk, &"done".into()).map_err(broken)?.is_truthy() {
            break;
        }
        let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).map_err(broken)?.unchecked_into();
        if bytes.len() as u64 + u64::from(chunk.length()) > limit_bytes {
            abort.abort();
            return Err(TransportError::TooLarge { limit_bytes });
        }
        bytes.extend(chunk.to_vec());
    }
    // What is not UTF-8 is not JSON either, and its reader says so.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// `Retry-After` in milliseconds: a number of seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = Date::parse(text);
    at.is_finite().then(|| (at - Date::now()).max(0.0) as u64)
}
