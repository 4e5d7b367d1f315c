//! Live channels: server-sent events, WebSockets, streams that are read as they come, and an app's own backend.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use driftline_core::{LiveEndpoint, LiveEvent, TransportError};
use driftline_protocol::sse::SseParser;
use js_sys::{ArrayBuffer, Function, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, BinaryType, CloseEvent, EventSource, MessageEvent, WebSocket};

use crate::{
    http::{self, Endpoint},
    value::message_of,
};

/// A channel that is open or opening; dropping it closes it, and nothing more is heard then.
pub struct LiveChannel {
    closed: Rc<Cell<bool>>,
    held: Rc<RefCell<Option<Held>>>,
}

impl LiveChannel {
    /// Opens a channel. The listener hears of its opening, its frames and, once and last, its closing;
    /// never before this call has returned.
    #[must_use]
    pub fn open(endpoint: Endpoint, live: LiveEndpoint, listener: impl Fn(LiveEvent) + 'static) -> Self {
        let closed = Rc::new(Cell::new(false));
        let held = Rc::new(RefCell::new(None));
        let tell: Tell = {
            let closed = Rc::clone(&closed);
            Rc::new(move |event| {
                let last = matches!(event, LiveEvent::Closed | LiveEvent::Refused(_));
                if !(if last { closed.replace(true) } else { closed.get() }) {
                    listener(event);
                }
            })
        };
        let channel = Self { closed: Rc::clone(&closed), held: Rc::clone(&held) };
        spawn_local(async move {
            let opened = connect(&endpoint, live, &closed, &held, &tell).await;
            match opened {
                Ok(()) => {}
                Err(TransportError::Credentials(reason)) => tell(LiveEvent::Refused(reason)),
                Err(_) => tell(LiveEvent::Closed),
            }
        });
        channel
    }

    /// Sends a text; for a WebSocket that is open.
    pub fn send(&self, text: &str) {
        if let Some(Held::Socket(socket)) = &*self.held.borrow() {
            // One that is closing takes nothing more, and tells that by itself.
            let _ = socket.socket.send_with_str(text);
        }
    }
}

impl Drop for LiveChannel {
    fn drop(&mut self) {
        self.closed.set(true);
        self.held.take();
    }
}

impl core::fmt::Debug for LiveChannel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LiveChannel").field("closed", &self.closed.get()).finish_non_exhaustive()
    }
}

type Tell = Rc<dyn Fn(LiveEvent)>;

/// What keeps a channel open. Dropping it closes the channel.
enum Held {
    Events { _source: Events },
    Socket(Socket),
    Stream { abort: AbortController },
    Calls { close: Option<Function>, _heard: Closure<dyn FnMut(JsValue)> },
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::Stream { abort } => abort.abort(),
            Self::Calls { close: Some(close), .. } => {
                // What the app's function throws here is its own affair.
                let _ = close.call0(&JsValue::UNDEFINED);
            }
            _ => {}
        }
    }
}

async fn connect(
    endpoint: &Endpoint,
    live: LiveEndpoint,
    closed: &Rc<Cell<bool>>,
    held: &Rc<RefCell<Option<Held>>>,
    tell: &Tell,
) -> Result<(), TransportError> {
    let broken = |error: JsValue| TransportError::Unreachable(message_of(&error));
    match live {
        // An `EventSource` has no headers, and so no credentials.
        LiveEndpoint::EventSource(path) if endpoint.headers.is_some() => {
            let parser = RefCell::new(SseParser::new("server-sent events", EVENT_MAX_BYTES));
            let heard = |text: String| match parser.borrow_mut().push(text.as_bytes()) {
                Ok(events) => {
                    for event in events {
                        tell(LiveEvent::Frame(event.data));
                    }
                }
                Err(_) => tell(LiveEvent::Closed),
            };
            let accept = [("accept", "text/event-stream".to_owned())];
            stream(endpoint, &path, &accept, closed, held, tell, heard).await?;
        }
        LiveEndpoint::EventSource(path) => {
            let url = http::address(endpoint, &path).await?;
            if !closed.get() {
                held.replace(Some(Held::Events { _source: Events::open(&url, tell).map_err(broken)? }));
            }
        }
        LiveEndpoint::WebSocket(path) => {
            let url = http::address(endpoint, &path).await?;
            if !closed.get() {
                // `http` becomes `ws`, `https` becomes `wss`.
                let url = url.strip_prefix("http").map_or_else(|| url.clone(), |rest| format!("ws{rest}"));
                held.replace(Some(Held::Socket(Socket::open(&url, tell).map_err(broken)?)));
            }
        }
        LiveEndpoint::EventStream(path, headers) => {
            let heard = |text| tell(LiveEvent::Frame(text));
            stream(endpoint, &path, &headers, closed, held, tell, heard).await?;
        }
        LiveEndpoint::Calls => {
            let Some(call) = &endpoint.call else { return Err(TransportError::Unreachable(String::new())) };
            let heard = {
                let tell = Rc::clone(tell);
                Closure::new(move |text: JsValue| {
                    tell(text.as_string().map_or(LiveEvent::Closed, LiveEvent::Frame));
                })
            };
            let path = JsValue::from_str("/live");
            let close =
                call.call2(&JsValue::UNDEFINED, &path, heard.as_ref()).map_err(broken)?.dyn_into().ok();
            held.replace(Some(Held::Calls { close, _heard: heard }));
            tell(LiveEvent::Opened);
        }
    }
    Ok(())
}

/// Reads a stream to its end, unless the channel is closed before.
async fn stream(
    endpoint: &Endpoint,
    path: &str,
    headers: &[(&'static str, String)],
    closed: &Rc<Cell<bool>>,
    held: &Rc<RefCell<Option<Held>>>,
    tell: &Tell,
    heard: impl Fn(String),
) -> Result<(), TransportError> {
    let abort = AbortController::new().map_err(|error| TransportError::Unreachable(message_of(&error)))?;
    if !closed.get() {
        held.replace(Some(Held::Stream { abort: abort.clone() }));
        http::stream(endpoint, path, headers, &abort, || tell(LiveEvent::Opened), heard).await?;
        tell(LiveEvent::Closed);
    }
    Ok(())
}

struct Events {
    source: EventSource,
    _on_open: Closure<dyn FnMut()>,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
}

/// The largest poke, in bytes.
const EVENT_MAX_BYTES: usize = 64 * 1024;
/// The names of events that count as frames, besides those without a name.
const EVENT_NAMES: [&str; 2] = ["poke", "sync"];

impl Events {
    fn open(url: &str, tell: &Tell) -> Result<Self, JsValue> {
        let source = EventSource::new(url)?;
        let on_open = Closure::new({
            let tell = Rc::clone(tell);
            move || tell(LiveEvent::Opened)
        });
        let on_message = Closure::new({
            let tell = Rc::clone(tell);
            move |event: MessageEvent| {
                if let Some(text) = event.data().as_string() {
                    tell(LiveEvent::Frame(text));
                }
            }
        });
        let on_error = Closure::new({
            let (source, tell) = (source.clone(), Rc::clone(tell));
            move || {
                // It would reconnect by itself, without the back-off that the engine keeps.
                source.close();
                tell(LiveEvent::Closed);
            }
        });
        source.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        source.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        source.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        for name in EVENT_NAMES {
            // Can't fail: the callback is a function.
            let _ = source.add_event_listener_with_callback(name, on_message.as_ref().unchecked_ref());
        }
        Ok(Self { source, _on_open: on_open, on_message, _on_error: on_error })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.source.close();
        self.source.set_onopen(None);
        self.source.set_onmessage(None);
        self.source.set_onerror(None);
        for name in EVENT_NAMES {
            let _ = self
                .source
                .remove_event_listener_with_callback(name, self.on_message.as_ref().unchecked_ref());
        }
    }
}

struct Socket {
    socket: WebSocket,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

/// The codes by which servers say that they close a connection for want of good credentials: a policy that is violated
/// (RFC 6455), "unauthorized" as IANA has it, and 401 and 403 in the range that is left to applications.
const REFUSALS: [u16; 4] = [1008, 3000, 4401, 4403];

impl Socket {
    fn open(url: &str, tell: &Tell) -> Result<Self, JsValue> {
        let socket = WebSocket::new(url)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let on_open = Closure::new({
            let tell = Rc::clone(tell);
            move || tell(LiveEvent::Opened)
        });
        let on_message = Closure::new({
            let tell = Rc::clone(tell);
            move |event: MessageEvent| {
                let data = event.data();
                let text = data.as_string().or_else(|| {
                    let bytes = Uint8Array::new(data.dyn_ref::<ArrayBuffer>()?).to_vec();
                    Some(String::from_utf8_lossy(&bytes).into_owned())
                });
                if let Some(text) = text {
                    tell(LiveEvent::Frame(text));
                }
            }
        });
        // What fails closes, too.
        let on_close = Closure::new({
            let tell = Rc::clone(tell);
            move |event: CloseEvent| {
                let code = event.code();
                tell(if REFUSALS.contains(&code) {
                    LiveEvent::Refused(format!(
                        "the backend closed the connection by {code}: {}",
                        event.reason()
                    ))
                } else {
                    LiveEvent::Closed
                });
            }
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Can't fail without a code and a reason.
        let _ = self.socket.close();
    }
}
