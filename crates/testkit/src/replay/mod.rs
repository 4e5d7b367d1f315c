//! Recorded conversations with the published servers, and a client that is told what those said.
//!
//! - [`Transcript`]: the lines of a file of `tests/vectors/transcripts`.
//! - [`Client`]: one tab on a disk in memory, whose requests and frames wait for the test.
//! - [`Recorded`]: a backend as a transcript has it: which recorded line answers what.
//! - [`suite`]: what must come of it, the same for every backend.
//!
//! The client's own frames differ from the recorded ones in what each client makes up for itself: the ids of calls, and
//! whose an event is. [`address`] and [`own`] put the client's into a recorded frame; all else stays as it was recorded.

mod client;
pub mod suite;
mod transcript;

use driftline_core::{HttpRequest, spec::BackendSpec};
use serde_json::Value;

pub use client::Client;
pub use transcript::{Line, Transcript};

/// Something that a client has asked, and that waits for its answer.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Over the live connection.
    Frame(Value),
    /// By a request.
    Request(HttpRequest),
}

impl Asked {
    /// The frame, or the request's body, as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Frame(frame) => frame.clone(),
            Self::Request(request) => serde_json::from_str(&request.body).unwrap_or_default(),
        }
    }
}

/// What kind of question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For what is new, or for everything.
    Pull,
    /// To take what the client has written.
    Push,
}

/// What a recorded server can be made to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// There is nothing, to a pull.
    Nothing,
    /// What [`Recorded::rows`] lists, to a pull of everything.
    Rows,
    /// The push is taken.
    Taken,
    /// What was pushed, read back.
    Back,
    /// Others were faster, to a push.
    Late,
    /// What the others wrote.
    Others,
    /// What was pushed behind that, read back.
    LateBack,
    /// The cursor is of another log, or the log no longer reaches back to it, to a pull.
    Reset,
    /// Something is wrong, to a pull.
    Broken,
    /// The credentials are not taken, to a pull.
    Unauthorized,
    /// There is news, by itself.
    News,
    /// What the news are, to the pull that follows them, where they are not told at once.
    Newest,
}

/// A backend as it was recorded.
pub trait Recorded {
    /// What an app would connect.
    fn backend(&self) -> BackendSpec;

    /// What an event is called that makes a row, where the recorded app did not use the default names.
    fn event_name(&self) -> Option<&'static str>;

    /// Whether it is a question, and of which kind; `None` for acknowledgements and pings.
    fn kind(&self, asked: &Asked) -> Option<Kind>;

    /// The recorded words; what they answer, unless they come by themselves.
    fn said(&self, what: Said, asked: Option<&Asked>) -> Line;

    /// The rows behind [`Said::Rows`].
    fn rows(&self) -> Vec<Value>;

    /// The rows that [`Said::Taken`] is the answer to, and [`Said::Back`] brings, as an app writes them.
    fn written(&self) -> Vec<Value>;

    /// The rows behind [`Said::Others`], and the one that [`Said::LateBack`] brings.
    fn others(&self) -> (Vec<Value>, Value) {
        (Vec::new(), Value::Null)
    }
}

/// A recorded frame or answer of LiveStore's, as the answer to what the client asked: with its number.
#[must_use]
pub fn address(text: &str, asked: &Asked) -> String {
    let Asked::Frame(frame) = asked else { return text.to_owned() };
    let id = [&frame["id"], &frame["requestId"]].into_iter().find(|id| !id.is_null());
    let (Some(id), Ok(mut answer)) = (id, serde_json::from_str::<Value>(text)) else {
        return text.to_owned();
    };
    match answer.get_mut("requestId") {
        Some(Value::Object(context)) => drop(context.insert("requestId".into(), id.clone())),
        Some(own) => *own = id.clone(),
        None => {}
    }
    answer.to_string()
}

/// Recorded text with events that the client has pushed itself: those of equal arguments get its client and session,
/// wherever they stand. What is no JSON stays as it is.
#[must_use]
pub fn own(text: &str, pushes: &[Asked]) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let mut events = Vec::new();
    for push in pushes {
        let push = push.json();
        let batch = [&push["batch"], &push["payload"]["batch"]].into_iter().find(|batch| batch.is_array());
        events.extend(batch.and_then(Value::as_array).into_iter().flatten().cloned());
    }
    put_owners(&mut value, &events);
    value.to_string()
}

fn put_owners(value: &mut Value, events: &[Value]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| put_owners(value, events)),
        Value::Object(fields) => {
            if fields.contains_key("sessionId")
                && let Some(mine) = events.iter().find(|event| Some(&event["args"]) == fields.get("args"))
            {
                for field in ["clientId", "sessionId"] {
                    fields.insert(field.into(), mine[field].clone());
                }
            }
            fields.values_mut().for_each(|value| put_owners(value, events));
        }
        _ => {}
    }
}
