//! LiveStore's sync-cf 0.4.0: Effect RPC as JSON, over a WebSocket or one request at a time.
//!
//! Over the socket there is one live pull, which brings what follows the cursor and then what is broadcast.
//! A pull that is asked for anew takes its place: the server keeps every pull of a socket subscribed until
//! it is interrupted, finished or not.

use driftline_protocol::livestore::{
    MAX_HTTP_ANSWER_BYTES, MAX_PUSH_BYTES, MAX_PUSH_EVENTS,
    v04::{self, Call, ClientFrame, Cursor, Exit, Failure, PageInfo, ServerFrame, Transport},
};

use super::{
    Ask, Heard, HttpRequest, HttpResponse, LiveEndpoint, Page, Position, PushItem, PushLimits, Pushed,
    WireFailure, event,
    json::{get, malformed, post, refusal},
};
use crate::{Code, ErrorInfo, FailureKind, spec::LiveStoreWire};

/// What one push takes. The server would take more, and then no pull could pass it (`spec/sync.md`).
pub(super) const LIMITS: PushLimits = PushLimits {
    items: MAX_PUSH_EVENTS,
    bytes: MAX_PUSH_BYTES - 4 * 1024,
    item_overhead_bytes: event::OVERHEAD_BYTES,
};

pub(crate) struct LiveStore {
    store_id: String,
    wire: LiveStoreWire,
    /// No WebSocket can be opened, so that it is asked by requests meanwhile.
    fell_back: bool,
    /// The number of the next call: the server knows no other ids.
    next: u64,
    pull: Option<u64>,
    push: Option<u64>,
}

impl LiveStore {
    pub fn new(store_id: &str, wire: LiveStoreWire) -> Self {
        Self { store_id: store_id.to_owned(), wire, fell_back: false, next: 0, pull: None, push: None }
    }

    pub fn asks_by_frames(&self) -> bool {
        self.transport() == Transport::WebSocket
    }

    pub fn live(&self) -> Option<LiveEndpoint> {
        match self.wire {
            LiveStoreWire::Calls { live, .. } => live.then_some(LiveEndpoint::Calls),
            LiveStoreWire::WebSocket | LiveStoreWire::Auto => Some(LiveEndpoint::WebSocket(self.socket())),
            LiveStoreWire::Http | LiveStoreWire::V03 => None,
        }
    }

    pub fn opened(&mut self) {
        self.fell_back = false;
        self.pull = None;
        self.push = None;
    }

    /// Asks for the WebSocket's address without one: the server says there whether it takes the payload.
    pub fn probe(&self) -> Option<HttpRequest> {
        // An app's own backend has no address, and over HTTP pulls show as much.
        self.asks_by_frames().then(|| get(self.socket()))
    }

    /// The server is there, and no WebSocket can be opened. Whether requests are to stand in for it.
    pub fn fall_back(&mut self) -> bool {
        self.fell_back = self.wire == LiveStoreWire::Auto;
        self.fell_back
    }

    pub fn encode_ping(&mut self) -> Option<Ask> {
        if self.asks_by_frames() {
            return Some(Ask::Frames(vec![ClientFrame::PING.to_owned()]));
        }
        let can = !matches!(self.wire, LiveStoreWire::Calls { ping: false, .. });
        can.then(|| self.call(&Call::Ping).1)
    }

    pub fn encode_pull(&mut self, at: Position<'_>) -> Ask {
        let cursor = at
            .identity
            .filter(|_| at.cursor > 0)
            .map(|identity| Cursor { backend_id: identity.to_owned(), event_sequence_number: at.cursor });
        let (id, ask) = self.call(&Call::Pull { cursor: cursor.as_ref(), live: true });
        let last = self.pull.replace(id);
        match (ask, last) {
            (Ask::Frames(mut frames), Some(request_id)) => {
                frames.insert(0, ClientFrame::Interrupt { request_id }.encode());
                Ask::Frames(frames)
            }
            (Ask::Request(request), _) => Ask::Request(HttpRequest {
                // All there is behind the cursor comes in one answer.
                response_max_bytes: MAX_HTTP_ANSWER_BYTES as u64,
                ..request
            }),
            (ask, None) => ask,
        }
    }

    pub fn encode_push(&mut self, at: Position<'_>, items: Vec<PushItem>) -> Ask {
        let batch = event::numbered(at, items);
        let (id, ask) = self.call(&Call::Push { batch: &batch, backend_id: at.identity });
        self.push = Some(id);
        ask
    }

    pub fn hear(&mut self, text: &str) -> Heard {
        if matches!(self.wire, LiveStoreWire::Calls { .. }) {
            return Heard::Head(text.parse().ok());
        }
        match ServerFrame::decode(text) {
            Err(error) => Heard::Broken(error.to_string()),
            Ok(ServerFrame::Pong) => Heard::Alive,
            Ok(ServerFrame::Chunk { request_id, pages }) if Some(request_id) == self.pull => {
                match page(pages, false) {
                    Ok(page) => Heard::Page(page, Some(ClientFrame::Ack { request_id }.encode())),
                    Err(reason) => Heard::PullFailed(malformed(Code::InvalidPull, reason)),
                }
            }
            Ok(ServerFrame::Exit { request_id, exit }) if Some(request_id) == self.push => {
                self.push = None;
                Heard::Pushed(pushed(exit))
            }
            Ok(ServerFrame::Exit { request_id, exit }) if Some(request_id) == self.pull => {
                self.pull = None;
                match exit {
                    Exit::Failure(Failure::Interrupted) | Exit::Success => {
                        // A live pull that ends is a server that goes.
                        Heard::Broken("the server ended the live pull".to_owned())
                    }
                    Exit::Failure(failure) => Heard::PullFailed(failed(failure, Code::InvalidPull)),
                }
            }
            // What belongs to a call that was given up is nobody's.
            Ok(ServerFrame::Chunk { .. } | ServerFrame::Exit { .. }) => Heard::Alive,
            // It names no call: whatever waits over this connection is not answered any more.
            Ok(ServerFrame::Defect { message }) => {
                Heard::Broken(format!("the server reports a defect: {message}"))
            }
        }
    }

    fn call(&mut self, call: &Call<'_>) -> (u64, Ask) {
        let id = self.next;
        self.next += 1;
        let transport = self.transport();
        let text = call.encode(transport, id, &self.store_id, None);
        let ask = match transport {
            Transport::WebSocket => Ask::Frames(vec![text]),
            Transport::Http => Ask::Request(post(&transport.address("", &self.store_id, None), text)),
        };
        (id, ask)
    }

    /// By what calls are made just now.
    fn transport(&self) -> Transport {
        match self.wire {
            LiveStoreWire::WebSocket => Transport::WebSocket,
            LiveStoreWire::Auto if !self.fell_back => Transport::WebSocket,
            _ => Transport::Http,
        }
    }

    fn socket(&self) -> String {
        Transport::WebSocket.address("", &self.store_id, None)
    }
}

pub(super) fn decode_pull(response: &HttpResponse) -> Result<Page, WireFailure> {
    match answer(response, Code::InvalidPull)? {
        (pages, Exit::Success) => page(pages, true).map_err(|reason| malformed(Code::InvalidPull, reason)),
        (_, Exit::Failure(failure)) => Err(failed(failure, Code::InvalidPull)),
    }
}

pub(super) fn decode_push(response: &HttpResponse) -> Result<Pushed, WireFailure> {
    answer(response, Code::InvalidPush).and_then(|(_, exit)| pushed(exit))
}

fn answer(response: &HttpResponse, code: Code) -> Result<(Vec<v04::Page>, Exit), WireFailure> {
    if response.status == 200 {
        return ServerFrame::decode_http(&response.body).map_err(|error| malformed(code, error));
    }
    Err(payload_refused(response).unwrap_or_else(|| refusal(response, code)))
}

/// What a server says at its WebSocket's address to a request that is none: whether it takes the payload. Anything else
/// that it answers shows that it is there.
pub(super) fn decode_probe(response: &HttpResponse) -> Result<(), WireFailure> {
    match payload_refused(response) {
        Some(failure) => Err(failure),
        None if response.status >= 500 => Err(refusal(response, Code::InvalidPull)),
        None => Ok(()),
    }
}

pub(super) fn decode_ping(response: &HttpResponse) -> Result<(), WireFailure> {
    match answer(response, Code::InvalidPull)? {
        (_, Exit::Success) => Ok(()),
        (_, Exit::Failure(failure)) => Err(failed(failure, Code::InvalidPull)),
    }
}

/// What the published workers answer when the app's check of the payload throws is a 400 with a text, in which the error
/// is called `UnknownError` by 0.4 and `UnexpectedError` by 0.3; other servers, and what may stand before one, say it by
/// the status.
fn payload_refused(response: &HttpResponse) -> Option<WireFailure> {
    let by_text = || ["UnknownError", "UnexpectedError"].iter().any(|name| response.body.contains(name));
    let refused = matches!(response.status, 401 | 403) || (response.status == 400 && by_text());
    refused.then(|| WireFailure {
        kind: FailureKind::AuthRequired,
        error: ErrorInfo::of(
            Code::AuthRequired,
            "the backend does not take the payload; what waits is kept. Let the payload's function give a good one, and call resume()",
        ),
        reset: false,
    })
}

fn pushed(exit: Exit) -> Result<Pushed, WireFailure> {
    match exit {
        Exit::Success => Ok(Pushed::Appended),
        Exit::Failure(Failure::ServerAhead { head, .. }) => Ok(Pushed::Ahead(Some(head))),
        Exit::Failure(failure) => Err(failed(failure, Code::InvalidPush)),
    }
}

/// The pages of one or several chunks as one.
fn page(pages: Vec<v04::Page>, is_answer: bool) -> Result<Page, &'static str> {
    let mut all = Page { events: Vec::new(), has_more: false, identity: None, is_answer };
    if pages.is_empty() {
        return Err("there is no page");
    }
    for page in pages {
        if all.identity.as_ref().is_some_and(|identity| *identity != page.backend_id) {
            return Err("backendId changes within one answer");
        }
        all.identity = Some(page.backend_id);
        all.has_more = page.page_info != PageInfo::NoMore;
        all.events.extend(event::stored(page.batch));
    }
    Ok(all)
}

fn failed(failure: Failure, code: Code) -> WireFailure {
    let (text, reset, counts_attempt) = match failure {
        Failure::BackendIdMismatch { expected, received } => {
            (format!("it was {received} and is {expected}"), true, false)
        }
        Failure::ServerAhead { head, .. } => (format!("the server's log ends at {head}"), false, true),
        Failure::Other { name, message } => (format!("the server answered {name}: {message}"), false, true),
        Failure::Defect { message } => (format!("the server broke on it: {message}"), false, true),
        Failure::Interrupted => ("the server interrupted it".to_owned(), false, false),
    };
    let code = if reset { Code::BackendReset } else { code };
    WireFailure {
        kind: FailureKind::Temporary { after_ms: reset.then_some(0), counts_attempt },
        error: ErrorInfo::of(code, text),
        reset,
    }
}
