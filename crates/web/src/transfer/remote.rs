//! The remote over HTTP: addresses, credentials for each request, and what its answers mean
//! (files.md, Remotes; the wire is `driftline_protocol::files`).

use std::rc::Rc;

use driftline_core::files::{Digest, Failure, FailureKind};
use driftline_protocol::files::ErrorBody;
use js_sys::{Array, Date, Function, Promise};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, Headers, ProgressEvent, Request, RequestInit, Response, WorkerGlobalScope, XmlHttpRequest,
};

use super::control::{Control, failure};
use crate::value::message_of;

/// Where the blobs are, and who knows the credentials.
#[derive(Clone, Debug)]
pub(super) struct HttpRemote {
    /// Without a trailing slash.
    pub(super) base_url: String,
    /// Asks the page for headers: `(method, url) => Promise<[name, value][]>`. They are kept nowhere.
    pub(super) ask_headers: Function,
}

/// A request's method, its own headers, and what it sends.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) headers: &'a [(&'a str, String)],
    pub(super) body: Option<&'a Blob>,
}

/// The head of an answer, and its text where it is one.
pub(super) struct Answer {
    pub(super) status: u16,
    xhr: XmlHttpRequest,
}

impl HttpRemote {
    pub(super) fn url(&self, hash: &Digest) -> String {
        format!("{}/{hash}", self.base_url)
    }

    /// Sends a request through XMLHttpRequest, which alone tells how much of a body has gone out.
    pub(super) async fn send(
        &self,
        hash: &Digest,
        ask: Ask<'_>,
        control: &Rc<Control>,
        sent: impl Fn(u64) + 'static,
    ) -> Result<Answer, Failure> {
        let url = self.url(hash);
        let credentials = self.credentials(ask.method, &url).await?;
        control.check()?;
        let broken = |error: JsValue| {
            failure(FailureKind::Rejected, format!("The request can't be made: {}", message_of(&error)))
        };
        let xhr = XmlHttpRequest::new().map_err(broken)?;
        xhr.open_with_async(ask.method, &url, true).map_err(broken)?;
        for (name, value) in credentials.iter().map(|(name, value)| (name.as_str(), value.as_str())) {
            xhr.set_request_header(name, value).map_err(broken)?;
        }
        for (name, value) in ask.headers {
            xhr.set_request_header(name, value).map_err(broken)?;
        }
        let on_progress =
            Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| sent(event.loaded() as u64));
        if ask.body.is_some() {
            xhr.upload().map_err(broken)?.set_onprogress(Some(on_progress.as_ref().unchecked_ref()));
        }
        let mut ended = None;
        let wait = Promise::new(&mut |resolve, _| ended = Some(resolve));
        xhr.set_onloadend(ended.as_ref());
        control.carries(Some(xhr.clone()));
        let _watch = control.watch();
        let posted = match ask.body {
            Some(body) => xhr.send_with_opt_blob(Some(body)),
            None => xhr.send(),
        };
        posted.map_err(broken)?;
        // Can't fail: nothing rejects it; `loadend` comes after success, error and abort alike.
        let _ = JsFuture::from(wait).await;
        control.carries(None);
        xhr.set_onloadend(None);
        match xhr.status() {
            Ok(0) | Err(_) => Err(control.broken("no answer")),
            Ok(status) => Ok(Answer { status, xhr }),
        }
    }

    /// Sends a `GET` whose answer is read as a stream.
    pub(super) async fn get(
        &self,
        hash: &Digest,
        offset: u64,
        control: &Control,
    ) -> Result<Response, Failure> {
        let url = self.url(hash);
        let credentials = self.credentials("GET", &url).await?;
        control.check()?;
        let broken = |error: JsValue| {
            failure(FailureKind::Rejected, format!("The request can't be made: {}", message_of(&error)))
        };
        let headers = Headers::new().map_err(broken)?;
        for (name, value) in &credentials {
            headers.set(name, value).map_err(broken)?;
        }
        if offset > 0 {
            headers.set("range", &format!("bytes={offset}-")).map_err(broken)?;
        }
        let init = RequestInit::new();
        init.set_headers(&headers);
        init.set_signal(Some(&control.signal()));
        // A cached part would be one more thing to verify.
        init.set_cache(web_sys::RequestCache::NoStore);
        let request = Request::new_with_str_and_init(&url, &init).map_err(broken)?;
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let answer = JsFuture::from(scope.fetch_with_request(&request)).await;
        answer.map(JsCast::unchecked_into).map_err(|error| control.broken(&message_of(&error)))
    }

    async fn credentials(&self, method: &str, url: &str) -> Result<Vec<(String, String)>, Failure> {
        let refused = |error: JsValue| {
            let message = format!(
                "The app gave no credentials for the file server: {}. Nothing was lost.",
                message_of(&error)
            );
            failure(FailureKind::AuthRequired, message)
        };
        let asked =
            self.ask_headers.call2(&JsValue::UNDEFINED, &method.into(), &url.into()).map_err(refused)?;
        let pairs = JsFuture::from(Promise::resolve(&asked)).await.map_err(refused)?;
        if !Array::is_array(&pairs) {
            return Ok(vec![]);
        }
        let pair = |pair: JsValue| -> Option<(String, String)> {
            let pair: Array = pair.dyn_into().ok()?;
            Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
        };
        Ok(Array::from(&pairs).iter().filter_map(pair).collect())
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.xhr.get_response_header(name).ok().flatten()
    }

    /// What an answer other than success means.
    pub(super) fn failure(&self) -> Failure {
        let text = self.xhr.response_text().ok().flatten().unwrap_or_default();
        classify(self.status, self.header("retry-after").as_deref(), &text)
    }
}

/// What a status means, by type (design.md, rule 6); the text is for people, and for the limit in it.
pub(super) fn classify(status: u16, retry_after: Option<&str>, text: &str) -> Failure {
    let body: Option<ErrorBody> =
        js_sys::JSON::parse(text).ok().and_then(|body| serde_wasm_bindgen::from_value(body).ok());
    let said = body.as_ref().map(|body| body.message.as_str()).filter(|said| !said.is_empty());
    let said = said.map_or_else(|| format!("The file server answered {status}."), str::to_owned);
    let kind = match status {
        401 => FailureKind::AuthRequired,
        404 | 410 => FailureKind::NotFound,
        413 => FailureKind::TooLarge(body.and_then(|body| body.limit_bytes)),
        422 => FailureKind::DigestMismatch,
        408 | 409 | 423 | 425 | 429 | 500..=599 => {
            FailureKind::Temporary(retry_after.and_then(retry_after_ms))
        }
        _ => FailureKind::Rejected,
    };
    failure(kind, said)
}

/// `Retry-After` in milliseconds: a number of seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = Date::parse(text);
    at.is_finite().then(|| (at - Date::now()).max(0.0) as u64)
}
