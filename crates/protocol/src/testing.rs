//! Transcripts of the published servers, for this crate's tests.

use std::string::String;
use std::vec::Vec;

use serde::Deserialize;

/// One line of a transcript.
#[derive(Debug, Deserialize)]
pub struct Line {
    #[serde(default)]
    pub conn: Option<String>,
    #[serde(default)]
    pub dir: Option<String>,
    #[serde(default)]
    pub http: Option<String>,
    #[serde(default)]
    pub status: Option<u16>,
    #[serde(default)]
    pub raw: Option<String>,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub sse: Option<String>,
}

/// The lines of a transcript that hold a whole frame or body, or none. Long ones were cut when they were recorded.
pub fn transcript(file: &str) -> Vec<Line> {
    let path = std::format!("{}/../../tests/vectors/transcripts/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines = lines.map(|line| serde_json::from_str::<Line>(line).expect("a transcript's line"));
    lines.filter(|line| !line.text().contains('…')).collect()
}

impl Line {
    pub fn text(&self) -> &str {
        self.raw.as_deref().or(self.body.as_deref()).or(self.sse.as_deref()).unwrap_or_default()
    }

    pub fn is_sent(&self) -> bool {
        self.dir.as_deref() == Some("->")
    }

    pub fn is_frame_from_server(&self) -> bool {
        self.raw.is_some() && self.dir.as_deref() == Some("<-")
    }
}
