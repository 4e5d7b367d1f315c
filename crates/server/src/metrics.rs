//! Counters for `/metrics`, in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use driftline_protocol::mizu::PushResponse;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the server counts since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers below 400.
    pub answers_ok: Counter,
    /// Answers from 400 to 499.
    pub answers_refused: Counter,
    /// Answers from 500 on.
    pub answers_failed: Counter,
    /// Mutations applied, repetitions among them.
    pub mutations_applied: Counter,
    /// Mutations refused one by one.
    pub mutations_refused: Counter,
    /// Blobs stored.
    pub blobs_stored: Counter,
    /// Bytes received in uploads.
    pub upload_bytes: Counter,
}

impl Metrics {
    /// Counts the mutations of a push that was answered.
    pub fn count_push(&self, response: &PushResponse) {
        let applied = response.results.iter().filter(|result| result.ok).count();
        self.mutations_applied.add(applied as u64);
        self.mutations_refused.add((response.results.len() - applied) as u64);
    }

    /// The text of `/metrics`; `listeners` is how many wait for pokes.
    pub fn render(&self, listeners: usize) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, labels: &str, value: u64| {
            if labels.is_empty() || labels.contains("\"ok\"") || labels.contains("\"applied\"") {
                let _ = writeln!(text, "# TYPE {name} {kind}");
            }
            let _ = writeln!(text, "{name}{labels} {value}");
        };
        let answers = "driftline_http_answers_total";
        line(answers, "counter", r#"{class="ok"}"#, self.answers_ok.value());
        line(answers, "counter", r#"{class="refused"}"#, self.answers_refused.value());
        line(answers, "counter", r#"{class="failed"}"#, self.answers_failed.value());
        let mutations = "driftline_mutations_total";
        line(mutations, "counter", r#"{result="applied"}"#, self.mutations_applied.value());
        line(mutations, "counter", r#"{result="refused"}"#, self.mutations_refused.value());
        line("driftline_blobs_stored_total", "counter", "", self.blobs_stored.value());
        line("driftline_upload_bytes_total", "counter", "", self.upload_bytes.value());
        line("driftline_poke_listeners", "gauge", "", listeners as u64);
        text
    }
}
