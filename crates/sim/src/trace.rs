//! What happened, line by line: hashed always, kept on demand.

use std::fmt::{self, Write};

/// A trace: its hash is the proof that one seed run twice did the same.
#[derive(Debug)]
pub struct Trace {
    hash: Fnv,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps its lines or not.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self { hash: Fnv(FNV_OFFSET), lines: keep.then(Vec::new) }
    }

    /// Notes a line.
    pub fn line(&mut self, now_ms: u64, line: fmt::Arguments<'_>) {
        // Writing into a hash can't fail.
        let _ = writeln!(self.hash, "{now_ms} {line}");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now_ms:>9} {line}"));
        }
    }

    /// The hash of all lines.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// FNV-1a: not for adversaries, the same on every machine.
#[derive(Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        Ok(())
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
