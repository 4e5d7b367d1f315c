//! What a server sends.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Id, Position, WIRE, missing, unknown, write_json};
use crate::decode::{DecodeError, cut, from_json};
use crate::livestore::{MAX_FRAME_BYTES, MAX_HTTP_ANSWER_BYTES, Stored};

/// What a server sends over a WebSocket, and an entry of its answer over HTTP.
#[derive(Debug, Clone)]
pub enum ServerFrame {
    /// Pages of a pull. To be acknowledged once, however many they are.
    Chunk {
        /// The call.
        request_id: u64,
        /// In order.
        pages: Vec<Page>,
    },
    /// A call has ended.
    Exit {
        /// The call.
        request_id: u64,
        /// How.
        exit: Exit,
    },
    /// The server could not make sense of something; it does not say of what.
    Defect {
        /// Its words, cut to a line.
        message: String,
    },
    /// The answer to a ping.
    Pong,
}

/// A part of the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// In the log's order.
    pub batch: Vec<Stored>,
    /// Whether the log went on after these when the page was made.
    pub page_info: PageInfo,
    /// Identity of the log.
    pub backend_id: String,
}

/// What follows a page. A broadcast says [`PageInfo::NoMore`] too, even before the first page of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WirePageInfo")]
pub enum PageInfo {
    /// Nothing.
    NoMore,
    /// At least one page, of which only that is known.
    MoreUnknown,
    /// So many events.
    MoreKnown {
        /// How many.
        remaining: u64,
    },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Well.
    Success,
    /// Not.
    Failure(Failure),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The first event's parent is not the log's head. Also the answer to a push that has landed before.
    ServerAhead {
        /// The log's head, in the published server's words the least parent that it would take.
        head: u64,
        /// The parent that came.
        provided: u64,
    },
    /// The log is not the one that the client knows.
    BackendIdMismatch {
        /// The log's identity.
        expected: String,
        /// The one that came.
        received: String,
    },
    /// Another error of the server's, or of the app's code in it. Temporary as far as anybody can tell.
    Other {
        /// The error's tag, such as `UnknownError`, or its name where it tells more, such as `OversizeChunkItemError`.
        name: String,
        /// Its words, cut to a line.
        message: String,
    },
    /// The server could not read the call, or broke on it.
    Defect {
        /// Its words, cut to a line.
        message: String,
    },
    /// The call was interrupted, by either side: the server is going down, or asked to end it.
    Interrupted,
}

impl ServerFrame {
    /// Reads a frame of at most [`MAX_FRAME_BYTES`].
    ///
    /// # Errors
    /// If it is no frame of this wire; what the wire may say more in its frames is passed over.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        from_json::<Frame<'_>>(WIRE, MAX_FRAME_BYTES, text)?.finish("")
    }

    /// Reads an answer over HTTP of at most [`MAX_HTTP_ANSWER_BYTES`]: all pages of a pull, and how the call ended.
    ///
    /// # Errors
    /// If it is no such answer, or does not say how the call ended.
    pub fn decode_http(text: &str) -> Result<(Vec<Page>, Exit), DecodeError> {
        let frames: Vec<Frame<'_>> = from_json(WIRE, MAX_HTTP_ANSWER_BYTES, text)?;
        let mut all = Vec::new();
        for (index, frame) in frames.into_iter().enumerate() {
            match frame.finish(&format!("[{index}]"))? {
                Self::Chunk { pages, .. } => all.extend(pages),
                Self::Exit { exit, .. } => return Ok((all, exit)),
                Self::Defect { message } => return Ok((all, Exit::Failure(Failure::Defect { message }))),
                Self::Pong => return Err(unknown(&format!("[{index}]._tag"), "Pong")),
            }
        }
        Err(DecodeError::invalid(WIRE, "", "an answer without an Exit"))
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        write_json(self)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(rename = "_tag", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    request_id: Option<Id>,
    #[serde(default)]
    values: Option<Vec<Page>>,
    #[serde(default, borrow)]
    exit: Option<WireExit<'a>>,
    #[serde(default, borrow)]
    defect: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireExit<'a> {
    #[serde(rename = "_tag", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    cause: Option<&'a RawValue>,
}

impl Frame<'_> {
    fn finish(self, at: &str) -> Result<ServerFrame, DecodeError> {
        let below = |error: DecodeError| if at.is_empty() { error } else { error.below(at) };
        let request_id = || self.request_id.map(|Id(id)| id).ok_or_else(|| below(missing("requestId")));
        match &*self.kind {
            "Chunk" => Ok(ServerFrame::Chunk {
                request_id: request_id()?,
                pages: self.values.ok_or_else(|| below(missing("values")))?,
            }),
            "Exit" => {
                let exit = self.exit.ok_or_else(|| below(missing("exit")))?;
                let exit = match &*exit.kind {
                    "Success" => Exit::Success,
                    "Failure" => {
                        let cause = exit.cause.ok_or_else(|| below(missing("exit.cause")))?;
                        Exit::Failure(failure(cause).map_err(|error| below(error.below("exit.cause")))?)
                    }
                    other => return Err(below(unknown("exit._tag", other))),
                };
                Ok(ServerFrame::Exit { request_id: request_id()?, exit })
            }
            "Defect" => Ok(ServerFrame::Defect { message: self.defect.map_or_else(String::new, words) }),
            "Pong" => Ok(ServerFrame::Pong),
            other => Err(below(unknown("_tag", other))),
        }
    }
}

/// Reads why a call failed out of a tree of causes, or a list of them as the next major of the peer's library has it:
/// the first error that is told, else the first defect, else an interruption.
fn failure(cause: &RawValue) -> Result<Failure, DecodeError> {
    let causes: Vec<Cause<'_>> = if cause.get().starts_with('[') {
        from_json(WIRE, MAX_FRAME_BYTES, cause.get())?
    } else {
        [from_json(WIRE, MAX_FRAME_BYTES, cause.get())?].into()
    };
    let (mut defect, mut interrupted) = (None, causes.is_empty());
    // In order, the left before the right; what is left to look at is never more than the tree's depth and one.
    let mut rest: Vec<&Cause<'_>> = causes.iter().rev().collect();
    while let Some(cause) = rest.pop() {
        match &*cause.kind {
            "Fail" => return told(cause.error.ok_or_else(|| missing("error"))?),
            "Die" if defect.is_none() => defect = Some(cause.defect.map_or_else(String::new, words)),
            "Interrupt" | "Empty" => interrupted = true,
            _ => rest.extend([&cause.right, &cause.left].into_iter().filter_map(Option::as_deref)),
        }
    }
    match (defect, interrupted) {
        (Some(message), _) => Ok(Failure::Defect { message }),
        (None, true) => Ok(Failure::Interrupted),
        (None, false) => Err(unknown("_tag", &causes[0].kind)),
    }
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(rename = "_tag", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    defect: Option<&'a RawValue>,
    #[serde(default, borrow)]
    left: Option<Box<Cause<'a>>>,
    #[serde(default, borrow)]
    right: Option<Box<Cause<'a>>>,
}

/// Reads an error that the server's code tells.
fn told(error: &RawValue) -> Result<Failure, DecodeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told<'a> {
        #[serde(rename = "_tag", default, borrow)]
        kind: Cow<'a, str>,
        #[serde(default)]
        minimum_expected_num: Option<Position>,
        #[serde(default)]
        provided_num: Option<Position>,
        #[serde(default)]
        expected: Option<String>,
        #[serde(default)]
        received: Option<String>,
        #[serde(default, borrow)]
        cause: Option<&'a RawValue>,
        #[serde(default, borrow)]
        message: Option<Cow<'a, str>>,
    }
    let told: Told<'_> =
        from_json(WIRE, MAX_FRAME_BYTES, error.get()).map_err(|error| error.below("error"))?;
    let absent = |field: &str| missing(field).below("error");
    match &*told.kind {
        "ServerAheadError" => Ok(Failure::ServerAhead {
            head: told.minimum_expected_num.ok_or_else(|| absent("minimumExpectedNum"))?.0,
            provided: told.provided_num.ok_or_else(|| absent("providedNum"))?.0,
        }),
        "BackendIdMismatchError" => Ok(Failure::BackendIdMismatch {
            expected: told.expected.ok_or_else(|| absent("expected"))?,
            received: told.received.ok_or_else(|| absent("received"))?,
        }),
        kind => {
            let (name, words) = told.cause.map_or((None, String::new()), name_and_words);
            let message = if words.is_empty() { told.message.as_deref().map(cut) } else { Some(words) };
            let name = name.filter(|name| name != "Error").unwrap_or_else(|| cut(kind));
            Ok(Failure::Other { name, message: message.unwrap_or_default() })
        }
    }
}

/// What a value that was thrown says: a text, or an error's name and message.
fn name_and_words(thrown: &RawValue) -> (Option<String>, String) {
    #[derive(Deserialize)]
    struct Thrown<'a> {
        #[serde(default, borrow)]
        name: Option<Cow<'a, str>>,
        #[serde(default, borrow)]
        message: Option<Cow<'a, str>>,
    }
    let text = thrown.get();
    if let Ok(text) = serde_json::from_str::<String>(text) {
        return (None, cut(&text));
    }
    match serde_json::from_str::<Thrown<'_>>(text) {
        Ok(Thrown { name, message: Some(message) }) => (name.as_deref().map(cut), cut(&message)),
        _ => (None, cut(text)),
    }
}

fn words(thrown: &RawValue) -> String {
    name_and_words(thrown).1
}

impl TryFrom<WirePageInfo> for PageInfo {
    type Error = &'static str;

    fn try_from(wire: WirePageInfo) -> Result<Self, Self::Error> {
        match (wire.kind, wire.remaining) {
            (PageInfoKind::NoMore, _) => Ok(Self::NoMore),
            (PageInfoKind::MoreUnknown, _) => Ok(Self::MoreUnknown),
            (PageInfoKind::MoreKnown, Some(Position(remaining))) => Ok(Self::MoreKnown { remaining }),
            (PageInfoKind::MoreKnown, None) => Err("MoreKnown without remaining"),
        }
    }
}

#[derive(Deserialize)]
struct WirePageInfo {
    #[serde(rename = "_tag")]
    kind: PageInfoKind,
    #[serde(default)]
    remaining: Option<Position>,
}

#[derive(Deserialize)]
enum PageInfoKind {
    NoMore,
    MoreUnknown,
    MoreKnown,
}
