//! LiveStore's sync-cf 0.3: messages over a WebSocket.
//!
//! Neither an acknowledgement nor a broadcast says that the events were stored: both are news of a head, and only
//! what a pull brings counts.

use driftline_protocol::livestore::{
    percent_encode,
    v03::{ClientFrame, Context, ServerFrame, parent_mismatch},
};

use super::{
    Ask, Heard, HttpRequest, LiveEndpoint, Page, Position, PushItem, Pushed, WireFailure, event, json::get,
};
use crate::{Code, ErrorInfo, FailureKind};

pub(crate) struct LiveStore03 {
    store_id: String,
    next: u64,
    pull: Option<String>,
    push: Option<String>,
}

impl LiveStore03 {
    pub fn new(store_id: &str) -> Self {
        Self { store_id: store_id.to_owned(), next: 0, pull: None, push: None }
    }

    pub fn live(&self) -> LiveEndpoint {
        LiveEndpoint::WebSocket(self.path())
    }

    pub fn opened(&mut self) {
        self.pull = None;
        self.push = None;
    }

    /// Asks for the WebSocket's address without one: the server says there whether it takes the payload.
    pub fn probe(&self) -> HttpRequest {
        get(self.path())
    }

    pub fn ping(&self) -> String {
        ClientFrame::Ping.encode()
    }

    pub fn encode_pull(&mut self, at: Position<'_>) -> Ask {
        let request_id = self.id();
        self.pull = Some(request_id.clone());
        let cursor = (at.cursor > 0).then_some(at.cursor);
        Ask::Frames(vec![ClientFrame::Pull { request_id, cursor }.encode()])
    }

    pub fn encode_push(&mut self, at: Position<'_>, items: Vec<PushItem>) -> Ask {
        let request_id = self.id();
        self.push = Some(request_id.clone());
        let batch = event::numbered(at, items);
        Ask::Frames(vec![ClientFrame::Push { request_id, batch }.encode()])
    }

    pub fn hear(&mut self, text: &str) -> Heard {
        let frame = match ServerFrame::decode(text) {
            Ok(frame) => frame,
            Err(error) => return Heard::Broken(error.to_string()),
        };
        match frame {
            ServerFrame::Page { batch, context: Context::Pull(id), remaining } => {
                if Some(id) != self.pull {
                    return Heard::Alive;
                }
                let has_more = remaining > 0;
                let events = event::stored(batch);
                Heard::Page(Page { events, has_more, identity: None, is_answer: true }, None)
            }
            ServerFrame::Page { batch, context: Context::Push(_), .. } => {
                Heard::Head(batch.last().map(|stored| stored.event.seq_num))
            }
            ServerFrame::PushAck { request_id } if Some(&request_id) == self.push.as_ref() => {
                self.push = None;
                Heard::Pushed(Ok(Pushed::Provisional))
            }
            ServerFrame::Error { request_id, message } if Some(&request_id) == self.push.as_ref() => {
                self.push = None;
                Heard::Pushed(match parent_mismatch(&message) {
                    Some(mismatch) => Ok(Pushed::Ahead(Some(mismatch.head))),
                    None => Err(failed(Code::InvalidPush, &message)),
                })
            }
            ServerFrame::Error { request_id, message } if Some(&request_id) == self.pull.as_ref() => {
                Heard::PullFailed(failed(Code::InvalidPull, &message))
            }
            // What was acknowledged was not stored after all.
            ServerFrame::Error { .. } => Heard::Head(None),
            _ => Heard::Alive,
        }
    }

    fn path(&self) -> String {
        format!("?storeId={}", percent_encode(&self.store_id))
    }

    fn id(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }
}

fn failed(code: Code, message: &str) -> WireFailure {
    WireFailure {
        kind: FailureKind::Temporary { after_ms: None, counts_attempt: true },
        error: ErrorInfo::of(code, format!("the server answered an error: {message}")),
        reset: false,
    }
}
