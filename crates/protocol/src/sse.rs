//! Server-sent events out of a stream of bytes, for wires that need a request's headers, which `EventSource` has not.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::decode::{DecodeError, Fault};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's name; `message` if the stream names none.
    pub name: String,
    /// The last id that the stream has named, from which it can be resumed.
    pub id: Option<String>,
    /// The data's lines, joined by line feeds.
    pub data: String,
}

/// Cuts a stream into events (WHATWG HTML, section 9.2). What is left at the stream's end is no event.
#[derive(Debug)]
pub struct SseParser {
    wire: &'static str,
    limit_bytes: usize,
    /// The line that has begun.
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    /// The last byte was a carriage return: a line feed after it ends no further line.
    after_return: bool,
    at_start: bool,
}

impl SseParser {
    /// A parser for the beginning of a stream, which takes events of at most `limit_bytes`.
    pub fn new(wire: &'static str, limit_bytes: usize) -> Self {
        Self {
            wire,
            limit_bytes,
            line: Vec::new(),
            name: String::new(),
            data: String::new(),
            has_data: false,
            id: None,
            after_return: false,
            at_start: true,
        }
    }

    /// Takes the next bytes, however they were cut, and gives the events that they complete.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if an event is over the limit; the stream can't be read on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, DecodeError> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.after_return && first == b'\n' {
                rest = &rest[1..];
            }
            self.after_return = false;
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.take(rest)?;
                break;
            };
            self.take(&rest[..end])?;
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            events.extend(self.end_line());
        }
        Ok(events)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let got = self.line.len() + self.data.len() + bytes.len();
        if got > self.limit_bytes {
            let fault = Fault::TooLarge { limit: self.limit_bytes as u64, got: got as u64 };
            return Err(DecodeError { wire: self.wire, path: "data".to_owned(), fault });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = core::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = &*line;
        if core::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // A comment, an invalid id, the time after which to reconnect, which the client decides itself, or nothing
            // that the standard knows.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let name = core::mem::take(&mut self.name);
        let data = core::mem::take(&mut self.data);
        core::mem::take(&mut self.has_data).then(|| SseEvent {
            name: if name.is_empty() { "message".to_owned() } else { name },
            id: self.id.clone(),
            data,
        })
    }
}

impl SseEvent {
    /// The event's text, as a server sends it.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if self.name != "message" {
            text.push_str(&format!("event: {}\n", self.name));
        }
        if let Some(id) = &self.id {
            text.push_str(&format!("id: {id}\n"));
        }
        for line in self.data.split('\n') {
            text.push_str(&format!("data: {line}\n"));
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::ToString, vec};

    fn parse(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut parser = SseParser::new("sse", 1_000);
        pieces.iter().flat_map(|piece| parser.push(piece).expect("within the limit")).collect()
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> SseEvent {
        SseEvent { name: name.to_string(), id: id.map(ToString::to_string), data: data.to_string() }
    }

    const STREAM: &str = "\u{feff}: hello\nevent: batch\nid: 1,2,3\ndata: {\"ä\":\ndata: 1}\n\nretry: 10\r\ndata\r\n\r\nid\rdata:x\r\revent: lost\n\ndata: cut off";

    #[test]
    fn a_stream_is_cut_into_its_events_whatever_its_line_ends() {
        assert_eq!(
            parse(&[STREAM.as_bytes()]),
            vec![
                event("batch", Some("1,2,3"), "{\"ä\":\n1}"),
                event("message", Some("1,2,3"), ""),
                event("message", Some(""), "x"),
            ]
        );
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_arrive() {
        let whole = parse(&[STREAM.as_bytes()]);
        for cut in 1..STREAM.len() {
            let (left, right) = STREAM.as_bytes().split_at(cut);
            assert_eq!(parse(&[left, right]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), whole);
    }

    #[test]
    fn an_event_over_the_limit_ends_the_stream_with_an_error() {
        let mut parser = SseParser::new("sse", 10);
        assert_eq!(parser.push(b"data: abcd\n").expect("ten bytes"), []);
        let error = parser.push(b"data: abcdefg").expect_err("four and thirteen");
        assert_eq!(error.fault, Fault::TooLarge { limit: 10, got: 17 });
        let mut parser = SseParser::new("sse", 10);
        assert!(parser.push(&[b'x'; 11]).is_err());
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        for event in
            [event("batch", Some("7,3,36"), "{}"), event("message", None, "a\n\nb"), event("ping", None, "")]
        {
            assert_eq!(parse(&[event.encode().as_bytes()]), vec![event]);
        }
    }
}
