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
    json::{malformed, post, refusal},
};
use crate::{Code, ErrorInfo, FailureKind};

/// What one push takes. The server would take more, and then no pull could pass it (`spec/sync.md`).
pub(super) const LIMITS: PushLimits = PushLimits {
    items: MAX_PUSH_EVENTS,
    bytes: MAX_PUSH_BYTES - 4 * 1024,
    item_overhead_bytes: event::OVERHEAD_BYTES,
};

pub(crate) struct LiveStore {
    store_id: String,
    transport: Transport,
    /// Whether an app's own backend answers, and says when there is something new.
    calls: bool,
    /// The number of the next call: the server knows no other ids.
    next: u64,
    pull: Option<u64>,
    push: Option<u64>,
}

impl LiveStore {
    pub fn new(store_id: &str, transport: Transport, calls: bool) -> Self {
        Self { store_id: store_id.to_owned(), transport, calls, next: 0, pull: None, push: None }
    }

    pub fn asks_by_frames(&self) -> bool {
        self.transport == Transport::WebSocket
    }

    pub fn live(&self) -> Option<LiveEndpoint> {
        if self.calls {
            return Some(LiveEndpoint::Calls);
        }
        let path = || self.transport.address("", &self.store_id, None);
        self.asks_by_frames().then(|| LiveEndpoint::WebSocket(path()))
    }

    pub fn opened(&mut self) {
        self.pull = None;
        self.push = None;
    }

    pub fn ping(&self) -> Option<String> {
        self.asks_by_frames().then(|| ClientFrame::PING.to_owned())
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
        if self.calls {
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
        let text = call.encode(self.transport, id, &self.store_id, None);
        let ask = match self.transport {
            Transport::WebSocket => Ask::Frames(vec![text]),
            Transport::Http => Ask::Request(post(&self.transport.address("", &self.store_id, None), text)),
        };
        (id, ask)
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
    // What the app's check of the payload throws is a 400 with a text, and nothing else is.
    if response.status == 400 && response.body.starts_with("UnknownError") {
        return Err(WireFailure {
            kind: FailureKind::AuthRequired,
            error: ErrorInfo::of(Code::AuthRequired, "the backend does not take the payload"),
            reset: false,
        });
    }
    Err(refusal(response, code))
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
