//! The decoders take anything: transcripts of the published servers, changed at random, some thousands of times.
//!
//! `DRIFTLINE_FUZZ_CASES` sets how many cases each decoder gets, `DRIFTLINE_FUZZ_SEED` with which they begin. The
//! coverage-guided fuzzer of `tests/fuzz` looks further, and needs a nightly compiler.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod decoders;

use std::panic::catch_unwind;
use std::path::Path;

/// Cases that each decoder gets when nothing else is asked for.
const CASES: u64 = 4_000;

#[test]
fn no_decoder_panics_whatever_it_is_given() {
    let corpus = corpus();
    assert!(corpus.len() > 500, "{} texts", corpus.len());
    let (cases, first) = (setting("DRIFTLINE_FUZZ_CASES", CASES), setting("DRIFTLINE_FUZZ_SEED", 0));
    for (name, decode) in decoders::ALL {
        for text in &corpus {
            decode(text);
        }
        for seed in first..first + cases {
            let input = changed(&corpus, seed);
            if catch_unwind(|| decode(&input)).is_err() {
                panic!("{name} fails with DRIFTLINE_FUZZ_SEED={seed}: {:?}", String::from_utf8_lossy(&input));
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_input_each_time() {
    let corpus = corpus();
    assert_eq!(changed(&corpus, 7), changed(&corpus, 7));
    assert_ne!(changed(&corpus, 7), changed(&corpus, 8));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Every frame, body and piece of a stream in the transcripts.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines().filter(|line| !line.is_empty()) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            for field in ["raw", "body", "sse", "chunk"] {
                texts.extend(line[field].as_str().map(|text| text.as_bytes().to_vec()));
            }
        }
    }
    texts
}

/// A text of the corpus with some of its bytes, words or stretches changed, as the seed has it.
fn changed(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut input = corpus[random.below(corpus.len())].clone();
    // The large ones say little more than the small ones.
    input.truncate(8 * 1024);
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = at + random.below(input.len() - at + 1).min(40);
        match random.below(7) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let word = WORDS[random.below(WORDS.len())].as_bytes();
                input.splice(at..end, word.iter().copied());
            }
            3 => input.insert(at, random.below(256) as u8),
            4 if at < input.len() => input[at] ^= 1 << random.below(8),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let stretch = other[from..].iter().copied().take(60);
                input.splice(at..at, stretch);
            }
            _ => {
                let stretch = input[at..end].to_vec();
                input.splice(at..at, stretch);
            }
        }
    }
    input
}

const WORDS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e999",
    "9007199254740992",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "{",
    "[",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "\u{0b}{\"scope\":\"s\",\"cursor\":1}",
    "\r\n\r",
    "data: ",
    "{\"_tag\":\"Some\"}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// xorshift64*: the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}
