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
    /// The app's function for what is added to the query (`name=value`, or a promise of it), called for each
    /// request and each connection; for wires that carry credentials there.
    pub query: Option<Function>,
    /// The app's own backend, in the network's place: called with a path and a body, it answers
    /// `{ status, body, retryAfterMs? }`, and with `/live` and a listener a function that closes.
    pub call: Option<Function>,
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
    if let Some(call) = &endpoint.call {
        return called(call, request).await;
    }
    let headers = credentials(endpoint).await?;
    let url = address(endpoint, &request.path).await?;
    for (name, value) in &request.headers {
        headers.set(name, value);
    }
    let method = match request.method {
        Method::Get => gloo_net::http::Method::GET,
        Method::Head => gloo_net::http::Method::HEAD,
        Method::Post => gloo_net::http::Method::POST,
        Method::Put => gloo_net::http::Method::PUT,
    };
    let has_body = matches!(request.method, Method::Post | Method::Put);
    if has_body {
        headers.set("content-type", "application/json");
    }
    let built = RequestBuilder::new(&url).method(method).headers(headers).abort_signal(Some(&abort.signal()));
    let sent = if has_body {
        match built.body(request.body.as_str()) {
            Ok(whole) => whole.send().await,
            Err(error) => Err(error),
        }
    } else {
        built.send().await
    };
    let response = sent.map_err(|error| TransportError::Unreachable(error.to_string()))?;
    let status = response.status();
    let retry_after_ms = response.headers().get("retry-after").and_then(|text| retry_after_ms(&text));
    let body = read(&response, request.response_max_bytes, abort).await?;
    Ok(HttpResponse { status, retry_after_ms, body })
}

/// The address of something below a remote's, with what the app adds to the query.
///
/// # Errors
/// [`TransportError::Credentials`] if the app's function throws.
pub async fn address(endpoint: &Endpoint, path: &str) -> Result<String, TransportError> {
    // A path may be an address of its own.
    let base = if path.starts_with("http") { "" } else { endpoint.url.as_str() };
    let mut url = format!("{base}{path}");
    if let Some(ask) = &endpoint.query
        && let Some(more) = asked(ask).await?.as_string().filter(|more| !more.is_empty())
    {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&more);
    }
    Ok(url)
}

/// Reads an answer as it comes: `heard` gets its text in pieces, cut anywhere between characters. Ends when
/// the stream does.
///
/// # Errors
/// As [`TransportError`] says; an answer with another status than 200 is unreachable, with 401 or 403 it is
/// the credentials.
pub async fn stream(
    endpoint: &Endpoint,
    path: &str,
    more: &[(&'static str, String)],
    abort: &AbortController,
    opened: impl FnOnce(),
    heard: impl Fn(String),
) -> Result<(), TransportError> {
    let headers = credentials(endpoint).await?;
    let url = address(endpoint, path).await?;
    for (name, value) in more {
        headers.set(name, value);
    }
    let response = RequestBuilder::new(&url)
        .headers(headers)
        .abort_signal(Some(&abort.signal()))
        .send()
        .await
        .map_err(|error| TransportError::Unreachable(error.to_string()))?;
    match response.status() {
        200 => opened(),
        status @ (401 | 403) => {
            return Err(TransportError::Credentials(format!("the backend answered {status}")));
        }
        status => return Err(TransportError::Unreachable(format!("the backend answered {status}"))),
    }
    let mut cut = Vec::new();
    pieces(&response, |chunk| {
        cut.extend(chunk.to_vec());
        // A character that is cut in two waits for its rest.
        let whole = match core::str::from_utf8(&cut) {
            Ok(_) => cut.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => cut.len(),
        };
        let text = String::from_utf8_lossy(&cut[..whole]).into_owned();
        cut.drain(..whole);
        heard(text);
        Ok(())
    })
    .await
}

/// Asks the app's own backend.
async fn called(call: &Function, request: &HttpRequest) -> Result<HttpResponse, TransportError> {
    let failed = |error: JsValue| TransportError::Unreachable(message_of(&error));
    let answer = call
        .call2(&JsValue::UNDEFINED, &JsValue::from_str(&request.path), &JsValue::from_str(&request.body))
        .map_err(failed)?;
    let answer = JsFuture::from(Promise::resolve(&answer)).await.map_err(failed)?;
    let field = |name: &str| Reflect::get(&answer, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED);
    Ok(HttpResponse {
        status: field("status").as_f64().map_or(500, |status| status as u16),
        retry_after_ms: field("retryAfterMs").as_f64().map(|ms| ms as u64),
        body: field("body").as_string().unwrap_or_default(),
    })
}

async fn credentials(endpoint: &Endpoint) -> Result<Headers, TransportError> {
    let Some(ask) = &endpoint.headers else {
        return Ok(Headers::new());
    };
    let answer = asked(ask).await?;
    if answer.is_undefined() || answer.is_null() {
        return Ok(Headers::new());
    }
    // The constructor takes all the forms that the app may give.
    web_sys::Headers::new_with_str_sequence_sequence(&answer)
        .map(Headers::from_raw)
        .map_err(|error| TransportError::Credentials(message_of(&error)))
}

/// What an app's function answers, at once or later.
async fn asked(ask: &Function) -> Result<JsValue, TransportError> {
    let refused = |error: JsValue| TransportError::Credentials(message_of(&error));
    let answer = ask.call0(&JsValue::UNDEFINED).map_err(refused)?;
    JsFuture::from(Promise::resolve(&answer)).await.map_err(refused)
}

/// Reads the body as it comes, so that an answer that is too large is dropped before it fills the memory.
async fn read(
    response: &Response,
    limit_bytes: u64,
    abort: &AbortController,
) -> Result<String, TransportError> {
    let mut bytes = Vec::new();
    pieces(response, |chunk| {
        if bytes.len() as u64 + u64::from(chunk.length()) > limit_bytes {
            abort.abort();
            return Err(TransportError::TooLarge { limit_bytes });
        }
        bytes.extend(chunk.to_vec());
        Ok(())
    })
    .await?;
    // What is not UTF-8 is not JSON either, and its reader says so.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

async fn pieces(
    response: &Response,
    mut take: impl FnMut(&Uint8Array) -> Result<(), TransportError>,
) -> Result<(), TransportError> {
    let Some(stream) = response.body() else {
        return Ok(());
    };
    let broken = |error: JsValue| TransportError::Unreachable(message_of(&error));
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(broken)?;
        if Reflect::get(&chunk, &"done".into()).map_err(broken)?.is_truthy() {
            return Ok(());
        }
        let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).map_err(broken)?.unchecked_into();
        take(&chunk)?;
    }
}

/// `Retry-After` in milliseconds: a number of seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = Date::parse(text);
    at.is_finite().then(|| (at - Date::now()).max(0.0) as u64)
}
