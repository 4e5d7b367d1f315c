//! Reads from the output of test runners how many tests they ran.

use crate::host::Captured;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests among the passed that failed first and passed when their file was run again.
    pub flaky: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.flaky += other.flaky;
    }
}

/// The counts of a runner; one that failed without saying where counts one failure.
pub fn counted(captured: Captured, count: fn(&str) -> Tally) -> Tally {
    let mut tally = count(&captured.text);
    if !captured.success && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Sums the `test result:` lines of `cargo test` and of wasm-bindgen's test runner.
pub fn of_rust(text: &str) -> Tally {
    let results = text.lines().filter_map(|line| line.trim().strip_prefix("test result: "));
    results.fold(Tally::default(), |mut sum, line| {
        sum += Tally { passed: before(line, " passed"), failed: before(line, " failed"), flaky: 0 };
        sum
    })
}

/// Sums the closing counts of `node --test`, in its `spec` and `tap` reporters.
pub fn of_node(text: &str) -> Tally {
    let mut sum = Tally::default();
    for line in text.lines() {
        let Some(words) = line.trim().strip_prefix("ℹ ").or_else(|| line.strip_prefix("# ")) else {
            continue;
        };
        match words.split_once(' ') {
            Some(("pass", count)) => sum.passed += count.parse().unwrap_or(0),
            Some(("fail" | "cancelled", count)) => sum.failed += count.parse().unwrap_or(0),
            _ => {}
        }
    }
    sum
}

/// The files in which tests of `node --test` failed, from the list that its `spec` reporter closes with.
pub fn failing_node_files(text: &str) -> Vec<String> {
    let mut files: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test at "))
        .filter_map(|place| place.rsplitn(3, ':').nth(2))
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Reads what the simulator says of many seeds, each of which is a test: `N seeds from …`, and `seed N fails` of the one
/// that it stopped at.
pub fn of_seeds(text: &str) -> Tally {
    let ran = text.lines().map(|line| before(line, " seeds from ")).sum::<u64>();
    let failed =
        text.lines().filter(|line| line.starts_with("seed ") && line.contains(" fails")).count() as u64;
    Tally { passed: ran.saturating_sub(failed), failed, flaky: 0 }
}

/// The number that stands before a word.
fn before(line: &str, word: &str) -> u64 {
    let Some((head, _)) = line.split_once(word) else { return 0 };
    head.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_results_of_several_binaries_are_added_up() {
        let text = "running 2 tests\n\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; finished in 0.00s\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        assert_eq!(of_rust(text), Tally { passed: 15, failed: 2, flaky: 0 });
    }

    #[test]
    fn the_runner_of_wasm_tests_is_read_alike() {
        let text = "    test result: ok. 5 passed; 0 failed; 0 ignored; 0 filtered out; finished in 1.20s\n";
        assert_eq!(of_rust(text), Tally { passed: 5, failed: 0, flaky: 0 });
    }

    #[test]
    fn node_counts_are_read_from_both_reporters_and_cancelled_is_failed() {
        assert_eq!(
            of_node("ℹ tests 4\nℹ pass 3\nℹ fail 1\nℹ cancelled 0\n"),
            Tally { passed: 3, failed: 1, flaky: 0 }
        );
        assert_eq!(
            of_node("# tests 4\n# pass 2\n# fail 1\n# cancelled 1\n"),
            Tally { passed: 2, failed: 2, flaky: 0 }
        );
    }

    #[test]
    fn files_with_failures_are_named_once() {
        let text = "✖ failing tests:\n\ntest at tests/e2e/files.test.mjs:40:1\n✖ a download (54 ms)\n\n\
                    test at tests/e2e/files.test.mjs:12:3\n✖ an upload (1 ms)\ntest at tests/e2e/a.test.mjs:1:1\n";
        assert_eq!(failing_node_files(text), ["tests/e2e/a.test.mjs", "tests/e2e/files.test.mjs"]);
    }

    #[test]
    fn the_simulator_counts_seeds() {
        let text = "3000 seeds from 1 in 41.0 s (73 a second), 900 h of virtual time\nCounts { pushes: 9 }\n";
        assert_eq!(of_seeds(text), Tally { passed: 3000, failed: 0, flaky: 0 });
        let failing = "12 seeds from 1 in 1.0 s\nseed 7 fails; looking for a smaller plan\nFAILED: 7\n";
        assert_eq!(of_seeds(failing), Tally { passed: 11, failed: 1, flaky: 0 });
    }

    #[test]
    fn output_without_a_result_counts_nothing() {
        assert_eq!(of_rust("error: could not compile"), Tally::default());
        assert_eq!(of_node("pass 3"), Tally::default());
    }
}
