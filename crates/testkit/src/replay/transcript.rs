//! Reading transcripts.

use serde_json::Value;

/// A file of recorded lines.
#[derive(Clone, Debug)]
pub struct Transcript(Vec<Value>);

/// One recorded frame or answer of a server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The status of an answer; 200 for a frame.
    pub status: u16,
    /// The frame, the body, or the piece of a stream.
    pub text: String,
}

impl Transcript {
    /// Reads a transcript's text.
    ///
    /// # Panics
    /// If a line is not JSON.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect())
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A line as it was recorded, counted from 1 as editors do.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn raw(&self, number: usize) -> &Value {
        &self.0[number - 1]
    }

    /// What the server said in a line, counted from 1.
    ///
    /// # Panics
    /// If the server says nothing there, or the line was cut when it was recorded.
    #[must_use]
    pub fn said(&self, number: usize) -> Line {
        let line = self.raw(number);
        assert_eq!(line["dir"], "<-", "line {number} is not the server's: {line}");
        let text = Self::text(line).unwrap_or_else(|| panic!("line {number} has no text, or was cut"));
        let status = line["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        Line { status, text }
    }

    /// Everything that the server said on a connection and that was not cut, in order, with the lines' numbers.
    pub fn all_said<'a>(&'a self, conn: &'a str) -> impl Iterator<Item = (usize, Line)> + 'a {
        let lines = self.0.iter().zip(1..);
        lines
            .filter(move |(line, _)| {
                line["conn"] == conn && line["dir"] == "<-" && Self::text(line).is_some()
            })
            .map(|(_, number)| (number, self.said(number)))
    }

    fn text(line: &Value) -> Option<String> {
        let text = ["raw", "body", "sse", "chunk"].into_iter().find_map(|field| line[field].as_str())?;
        (!text.contains('…')).then(|| text.to_owned())
    }
}
